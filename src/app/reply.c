/* app/reply.c: what a handler's return value becomes (spec starlark-apps.md 8).
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REPLY_MAX = 64 << 20,    /* bytes of one reply */
    NESTING_MAX = 100,
};

static void fail(struct visit *v, const char *message)
{
    http_reply_error(v->request.req, 500, str_from(message));
}

static struct str field(star_v s, const char *name)
{
    struct str text = {0};
    star_to_str(star_struct_get(s, str_from(name)), &text);
    return text;
}

/* --- text as Go prints it -------------------------------------------------------------------------------- */

struct keyed {
    struct str key;
    star_v value;
};

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct keyed *)x)->key, ((const struct keyed *)y)->key);
}

static bool print(struct arena *a, struct buf *b, star_v v, int depth, struct err *err);

static bool print_dict(struct arena *a, struct buf *b, star_v v, int depth, struct err *err)
{
    size_t n = star_len(v), i = 0, at = 0;
    struct keyed *items = arena_try_alloc(a, n * sizeof *items + 1);
    star_v key;
    if (!items)
        return err_set(err, ERR_TOO_LARGE, "reply too large");
    for (; star_dict_next(v, &at, &key, &items[i].value); i++) {
        scoped_buf text = BUF_INIT(REPLY_MAX);
        if (!print(a, &text, key, depth + 1, err))
            return false;
        items[i].key = str_dup(a, buf_str(&text));
    }
    qsort(items, n, sizeof *items, by_key);
    buf_add_z(b, "map[");
    for (i = 0; i < n; i++) {
        buf_printf(b, "%s" STR_FMT ":", i ? " " : "", STR_ARG(items[i].key));
        if (!print(a, b, items[i].value, depth + 1, err))
            return false;
    }
    return buf_add_char(b, ']');
}

static bool print_list(struct arena *a, struct buf *b, star_v v, int depth, struct err *err)
{
    size_t at = 0;
    star_v item;
    bool is_set = star_kind(v) == STAR_KIND_SET;
    buf_add_char(b, '[');
    for (size_t i = 0; is_set ? star_set_next(v, &at, &item) : i < star_len(v); i++) {
        if (i > 0)
            buf_add_char(b, ' ');
        if (!print(a, b, is_set ? item : star_item(v, i), depth + 1, err))
            return false;
    }
    return buf_add_char(b, ']');
}

/* Shortest form that reads back; an exponent below 1e-4 and from 1e21 (as Go's %v). */
static bool print_float(struct buf *b, double d)
{
    char text[40];
    for (int precision = 1; precision <= 17; precision++) {
        bool plain = d == 0 || (fabs(d) >= 1e-4 && fabs(d) < 1e21);
        snprintf(text, sizeof text, "%.*e", precision - 1, d);
        if (strtod(text, NULL) != d && precision < 17)
            continue;
        if (!plain || isnan(d) || isinf(d))
            break;
        int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
        return buf_printf(b, "%.*f", MAX(precision - 1 - exponent, 0), d);
    }
    return buf_add_z(b, isnan(d) ? "NaN" : isinf(d) ? (d > 0 ? "+Inf" : "-Inf") : text);
}

static bool print(struct arena *a, struct buf *b, star_v v, int depth, struct err *err)
{
    struct str s;
    int64_t i;
    double d;
    star_v inner;
    if (depth > NESTING_MAX)
        return err_set(err, ERR_INVALID, "value nesting exceeds max depth");
    switch (star_kind(v)) {
    case STAR_KIND_NULL:
    case STAR_KIND_NONE: return buf_add_z(b, "<nil>");
    case STAR_KIND_BOOL: return buf_add_z(b, star_truth(v) ? "true" : "false");
    case STAR_KIND_INT:
        if (!star_to_i64(v, &i))
            return err_set(err, ERR_INVALID, "int too large for a reply");
        return star_repr(b, v);
    case STAR_KIND_FLOAT: return star_to_double(v, &d) && print_float(b, d);
    case STAR_KIND_STRING: return star_to_str(v, &s) && buf_add_str(b, s);
    case STAR_KIND_BYTES: return star_to_bytes(v, &s) && buf_add_str(b, s);
    case STAR_KIND_LIST:
    case STAR_KIND_TUPLE:
    case STAR_KIND_SET: return print_list(a, b, v, depth, err);
    case STAR_KIND_DICT: return print_dict(a, b, v, depth, err);
    case STAR_KIND_HOST:
        if (star_host_type_of(v)->plain) {
            inner = star_host_type_of(v)->plain(a, star_host_self(v));
            return print(a, b, inner, depth + 1, err);
        }
        /* fall through */
    default: return err_set(err, ERR_INVALID, "unrecognized starlark type: %s", star_type_name(v));
    }
}

/* --- replies ------------------------------------------------------------------------------------------------- */

static void send_data(struct visit *v, int status, bool is_text, star_v data, bool with_newline)
{
    struct http_req *req = v->request.req;
    scoped_buf b = BUF_INIT(REPLY_MAX);
    scoped_err err = {0};
    bool ok = is_text ? print(&v->run_arena, &b, data, 0, &err)
                      : star_json_encode(&v->run_arena, &b, data, STAR_JSON_APP, &err);
    if (!ok || b.is_full) {
        fail(v, err_is_set(&err) ? err_msg(&err) : "reply too large");
        return;
    }
    if (with_newline && !is_text)
        buf_add_char(&b, '\n');
    http_reply(req, status, is_text ? STR("text/plain; charset=utf-8") : STR("application/json"), buf_str(&b));
}

/* Where a Location that is not absolute points: below the directory of the request's path. */
static struct str resolve_location(struct http_req *req, struct str url)
{
    if (str_starts(url, STR("/")) || str_find(url, STR("://")) != STR_NPOS)
        return url;
    struct str dir = str_slice(req->path, 0, str_rchr(req->path, '/') + 1), path, query;
    bool has_query = str_cut(url, '?', &path, &query);
    bool is_dir = str_is_empty(path) || str_ends(path, STR("/"));
    struct str clean = http_path_clean(req->arena, str_cat(req->arena, dir, path));
    if (is_dir && clean.len > 1)
        clean = str_cat(req->arena, clean, STR("/"));
    return has_query ? str_printf(req->arena, STR_FMT "?" STR_FMT, STR_ARG(clean), STR_ARG(query)) : clean;
}

static void send_redirect(struct visit *v, star_v s)
{
    struct http_req *req = v->request.req;
    int64_t code = 303;
    star_to_i64(star_struct_get(s, STR("code")), &code);
    star_v refresh = star_struct_get(s, STR("refresh"));
    if (!star_is_null(refresh) && star_truth(refresh))
        http_resp_header(req, STR("HX-Refresh"), STR("true"));
    if (!http_resp_header(req, STR("Location"), resolve_location(req, field(s, "url")))) {
        fail(v, "redirect: the url must not have line breaks");
        return;
    }
    http_reply(req, code >= 300 && code < 400 ? (int)code : 303, (struct str){0}, (struct str){0});
}

static void send_download(struct visit *v, star_v s, int status)
{
    struct http_req *req = v->request.req;
    struct str name = field(s, "download"), type = field(s, "content_type"), data;
    star_v value = star_struct_get(s, STR("data"));
    if (!star_to_str(value, &data) && !star_to_bytes(value, &data)) {
        fail(v, "Error handling response: download data must be a string or bytes");
        return;
    }
    scoped_buf quoted = BUF_INIT(4096);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"' || name.ptr[i] == '\\')
            buf_add_char(&quoted, '\\');
        buf_add_char(&quoted, name.ptr[i]);
    }
    if (!http_resp_header(req, STR("Content-Disposition"),
                          str_printf(req->arena, "attachment; filename=\"%s\"", buf_z(&quoted)))) {
        fail(v, "Error handling response: bad download name");
        return;
    }
    http_reply(req, status, str_is_empty(type) ? STR("application/octet-stream") : type, data);
}

static void send_response(struct visit *v, star_v s)
{
    struct str type = field(s, "type");
    int64_t code = 200;
    star_to_i64(star_struct_get(s, STR("code")), &code);
    if (!str_is_empty(field(s, "download"))) {
        send_download(v, s, (int)code);
        return;
    }
    if (str_is_empty(type))
        type = v->route->is_text ? STR("TEXT") : v->route->kind == ROUTE_API ? STR("JSON") : STR("HTML");
    if (str_eq(type, STR("HTML")))
        fail(v, "Error handling response: HTML responses need templates, which are not available in this version");
    else
        send_data(v, (int)code, str_eq(type, STR("TEXT")), star_struct_get(s, STR("data")), false);
}

void reply_value(struct visit *v, star_v value)
{
    struct http_req *req = v->request.req;
    struct str ignored;
    http_resp_header(req, STR("Server"), STR("OpenRun"));
    http_resp_header(req, STR("Vary"), STR("HX-Request, HX-Boosted"));
    if (star_kind(value) == STAR_KIND_STRUCT && star_to_str(star_struct_get(value, STR("url")), &ignored))
        send_redirect(v, value);
    else if (str_eq(star_struct_ctor(value), STR("ace.response")))
        send_response(v, value);
    else if (star_kind(value) == STAR_KIND_STRUCT)
        fail(v, "Error handling response: a struct must come from ace.response or ace.redirect");
    else
        send_data(v, 200, v->route->is_text, value, true);
}
