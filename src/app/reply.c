/* app/reply.c: what a handler's return value becomes (spec starlark-apps.md 8).
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REPLY_MAX = 64 << 20, /* bytes of one reply */
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

/* --- text as Go prints it --------------------------------------------------------------------------------
 */

struct keyed {
    struct str key;
    star_v value;
};

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct keyed *)x)->key, ((const struct keyed *)y)->key);
}

static bool print(struct arena *a, struct buf *b, star_v v, int depth, struct err *err);

static bool add(struct buf *b, struct str s, struct err *err)
{
    return buf_add_str(b, s) || err_set(err, ERR_TOO_LARGE, "reply larger than %d MB", REPLY_MAX >> 20);
}

static bool print_dict(struct arena *a, struct buf *b, star_v v, int depth, struct err *err)
{
    size_t n = star_len(v), i = 0, at = 0;
    scoped_arena scratch = {0};
    struct keyed *items = arena_array(&scratch, struct keyed, n);
    star_v key, value;
    for (; i < n && star_dict_next(v, &at, &key, &value); i++) {
        scoped_buf text = BUF_INIT(REPLY_MAX);
        if (!print(a, &text, key, depth + 1, err))
            return false;
        items[i] = (struct keyed){str_dup(&scratch, buf_str(&text)), value};
    }
    qsort(items, n, sizeof *items, by_key);
    buf_add_z(b, "map[");
    for (i = 0; i < n; i++) {
        buf_printf(b, "%s" STR_FMT ":", i ? " " : "", STR_ARG(items[i].key));
        if (!print(a, b, items[i].value, depth + 1, err))
            return false;
    }
    return add(b, STR("]"), err);
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
    return add(b, STR("]"), err);
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
    case STAR_KIND_NONE: return add(b, STR("<nil>"), err);
    case STAR_KIND_BOOL: return add(b, star_truth(v) ? STR("true") : STR("false"), err);
    case STAR_KIND_INT:
        if (!star_to_i64(v, &i))
            return err_set(err, ERR_INVALID, "int too large for a reply");
        buf_printf(b, "%" PRId64, i);
        return add(b, (struct str){0}, err);
    case STAR_KIND_FLOAT:
        star_to_double(v, &d);
        print_float(b, d);
        return add(b, (struct str){0}, err);
    case STAR_KIND_STRING: star_to_str(v, &s); return add(b, s, err);
    case STAR_KIND_BYTES: star_to_bytes(v, &s); return add(b, s, err);
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

/* --- replies -------------------------------------------------------------------------------------- */

static void send_data(struct visit *v, int status, bool is_text, star_v data, bool with_newline)
{
    struct http_req *req = v->request.req;
    scoped_buf b = BUF_INIT(REPLY_MAX);
    scoped_err err = {0};
    bool ok = is_text ? print(&v->run_arena, &b, data, 0, &err)
                      : star_json_encode(&v->run_arena, &b, data, STAR_JSON_APP, &err);
    if (with_newline && !is_text)
        buf_add_char(&b, '\n');
    if (!ok || b.is_full) {
        fail(v, err_is_set(&err) ? err_msg(&err) : "reply too large");
        return;
    }
    http_reply(req, status, is_text ? STR("text/plain; charset=utf-8") : STR("application/json"),
               buf_str(&b));
}

static bool has_scheme(struct str url)
{
    for (size_t i = 0; i < url.len; i++) {
        char c = url.ptr[i];
        bool is_letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (c == ':')
            return i > 0;
        if (!is_letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    return false;
}

/* Where a redirect goes: an absolute URL as it is; a path clean, and if it is relative below the directory of
 * the request's path. */
static struct str resolve_location(struct http_req *req, struct str url)
{
    struct arena *a = req->arena;
    if (has_scheme(url) || str_starts(url, STR("//")))
        return url;
    size_t cut = 0;
    while (cut < url.len && url.ptr[cut] != '?' && url.ptr[cut] != '#')
        cut++;
    struct str path = str_slice(url, 0, cut), rest = str_from_off(url, cut);
    if (!str_starts(path, STR("/")))
        path = str_cat(a, str_slice(req->path, 0, str_rchr(req->path, '/') + 1), path);
    struct str clean = http_path_clean(a, path);
    if (clean.len > 1 && str_ends(path, STR("/")))
        clean = str_cat(a, clean, STR("/"));
    return str_cat(a, http_path_encode(a, clean), rest);
}

/* For clients that do not follow (RFC 9110 section 15.4). */
static struct str link_body(struct arena *a, struct str url, int status)
{
    scoped_buf b = BUF_INIT(1 << 20);
    buf_add_z(&b, "<a href=\"");
    html_escape(&b, url);
    buf_printf(&b, "\">" STR_FMT "</a>.\n", STR_ARG(http_status_text(status)));
    return b.is_full ? (struct str){0} : str_dup(a, buf_str(&b));
}

static void send_redirect(struct visit *v, star_v s)
{
    struct http_req *req = v->request.req;
    int64_t code = 303;
    star_to_i64(star_struct_get(s, STR("code")), &code);
    int status = code >= 300 && code < 400 ? (int)code : 303;
    star_v refresh = star_struct_get(s, STR("refresh"));
    struct str to = resolve_location(req, field(s, "url"));
    if (!http_resp_header(req, STR("Location"), to)) {
        fail(v, "redirect: the url must not have line breaks");
        return;
    }
    if (!star_is_null(refresh) && star_truth(refresh))
        http_resp_header(req, STR("HX-Refresh"), STR("true"));
    bool has_body = req->method == HTTP_GET || req->method == HTTP_HEAD;
    http_reply(req, status, has_body ? STR("text/html; charset=utf-8") : (struct str){0},
               has_body ? link_body(req->arena, to, status) : (struct str){0});
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
    if (quoted.is_full ||
        !http_resp_header(req, STR("Content-Disposition"),
                          str_printf(req->arena, "attachment; filename=\"%s\"", buf_z(&quoted)))) {
        fail(v, "Error handling response: bad download name");
        return;
    }
    if (!http_is_field_value(type)) {
        fail(v, "Error handling response: bad content_type");
        return;
    }
    http_reply(req, status, str_is_empty(type) ? STR("application/octet-stream") : type, data);
}

struct plugin_stream *reply_stream(star_v value)
{
    if (str_eq(star_struct_ctor(value), STR("ace.response")) && str_is_empty(field(value, "download")))
        value = star_struct_get(value, STR("data"));
    return plugin_stream_of(value);
}

bool reply_item(bool is_text, struct arena *a, struct buf *out, star_v item, struct err *err)
{
    bool ok = is_text ? print(a, out, item, 0, err) : star_json_encode(a, out, item, STAR_JSON_APP, err);
    return ok && (buf_add_char(out, '\n') || err_set(err, ERR_TOO_LARGE, "an item of a stream is too large"));
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
    struct plugin_stream *stream = reply_stream(s);
    if (stream && !str_eq(type, STR("HTML")))
        stream_serve(v, stream, (int)code, str_eq(type, STR("TEXT")));
    else if (str_eq(type, STR("HTML")))
        fail(v, "Error handling response: HTML responses need templates, which are not available in this "
                "version");
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
    else if (reply_stream(value))
        stream_serve(v, reply_stream(value), 200, v->route->is_text);
    else if (star_kind(value) == STAR_KIND_STRUCT)
        fail(v, "Error handling response: a struct must come from ace.response or ace.redirect");
    else
        send_data(v, 200, v->route->is_text, value, true);
}
