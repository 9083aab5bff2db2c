/* http/proxy_head.c: what a proxy changes in heads: hop-by-hop fields, identity fields, Host, Location, cookies' paths.
 *
 * Fields of one hop (RFC 9110 section 7.6.1) and framing never pass: each side's framing is made anew from what
 * was understood, so that two parsers cannot disagree about it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "proxy_int.h"

#include <stdio.h>

enum { COOKIE_MAX = 8 << 10 }; /* browsers take half of that */

static const struct str drop_forwarded[] = {
    STR_INIT("Forwarded"), STR_INIT("X-Forwarded-"), STR_INIT("X-Real-IP"), STR_INIT("X-Openrun-"),
};

/* ---- Names ---- */

static unsigned char fold(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned char)(c | 0x20);
    return (unsigned char)(c == '_' ? '-' : c);
}

/* CGI and WSGI fold '-' and '_' into one, so X_Openrun_User must be as unwelcome as X-Openrun-User. */
static bool name_matches(struct str name, struct str pattern)
{
    bool is_prefix = pattern.len > 0 && pattern.ptr[pattern.len - 1] == '-';
    if (name.len < pattern.len || (name.len > pattern.len && !is_prefix))
        return false;
    for (size_t i = 0; i < pattern.len; i++)
        if (fold(name.ptr[i]) != fold(pattern.ptr[i]))
            return false;
    return true;
}

/* A bit per first letter: rules out most names with one test. */
static uint32_t letter(struct str name)
{
    return name.len > 0 ? 1u << (fold(name.ptr[0]) & 31) : 0;
}

struct name_set {
    uint32_t letters;
    const struct http_proxy_opts *opts;
    struct str connection[4];   /* Connection values that name other fields */
    size_t connection_count;
};

/* True if a Connection value names more than what we handle by itself. */
static bool names_fields(struct str connection)
{
    struct str option;
    while (http_list_next(&connection, &option))
        if (!str_eq_nocase(option, STR("close")) && !str_eq_nocase(option, STR("keep-alive"))
            && !str_eq_nocase(option, STR("upgrade")) && !str_eq_nocase(option, STR("te")))
            return true;
    return false;
}

/* False if there are more such Connection fields than any honest peer sends. */
static bool find_connection_names(struct name_set *set, const struct http_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (headers[i].id != HTTP_H_CONNECTION || !names_fields(headers[i].value))
            continue;
        if (set->connection_count == ARRAY_LEN(set->connection))
            return false;
        set->connection[set->connection_count++] = headers[i].value;
    }
    return true;
}

static bool is_named_by_connection(const struct name_set *set, struct str name)
{
    for (size_t i = 0; i < set->connection_count; i++)
        if (http_list_has(set->connection[i], name))
            return true;
    return false;
}

static bool is_dropped(const struct name_set *set, struct str name)
{
    if (!(set->letters & letter(name)))
        return false;
    for (size_t i = 0; i < set->opts->drop_count; i++)
        if (name_matches(name, set->opts->drop[i]))
            return true;
    for (size_t i = 0; i < set->opts->set_count; i++)
        if (name_matches(name, set->opts->set[i].name))
            return true;
    return false;
}

/* ---- Requests ---- */

bool proxy_may_upgrade(const struct http_req *req)
{
    if (!req->wants_upgrade || req->version < 11 || req->content_length != 0)
        return false;
    for (size_t i = 0; i < req->header_count; i++) {
        if (req->headers[i].id != HTTP_H_UPGRADE)
            continue;
        struct str list = req->headers[i].value, protocol, name;
        while (http_list_next(&list, &protocol)) {
            str_cut(protocol, '/', &name, NULL);
            if (str_eq_nocase(name, STR("h2c")) || str_eq_nocase(name, STR("h2")) || str_eq_nocase(name, STR("HTTP"))
                || str_eq_nocase(name, STR("TLS")))
                return false;
        }
    }
    return true;
}

struct out {
    char *p, *end;
    bool is_full;
};

static void put(struct out *o, struct str s)
{
    if (UNLIKELY((size_t)(o->end - o->p) < s.len)) {
        o->is_full = true;
        return;
    }
    if (s.len > 0)
        memcpy(o->p, s.ptr, s.len);
    o->p += s.len;
}

static void put_field(struct out *o, struct str name, struct str value)
{
    size_t len = name.len + value.len + 4;
    if (UNLIKELY((size_t)(o->end - o->p) < len)) {
        o->is_full = true;
        return;
    }
    char *p = o->p;
    memcpy(p, name.ptr, name.len);
    p += name.len;
    *p++ = ':';
    *p++ = ' ';
    if (value.len > 0)
        memcpy(p, value.ptr, value.len);
    p += value.len;
    *p++ = '\r';
    *p++ = '\n';
    o->p = p;
}

static void put_target(struct out *o, const struct http_req *req, const struct http_upstream *to, struct str path)
{
    struct str base = str_trim_right(to->path, '/');
    put(o, base);
    if (path.len == 0 || (path.ptr[0] != '/' && base.len > 0))
        put(o, STR("/"));
    put(o, path);
    if (req->query.ptr || to->query.len > 0) {
        put(o, STR("?"));
        put(o, to->query);
        if (to->query.len > 0 && req->query.len > 0)
            put(o, STR("&"));
        put(o, req->query);
    }
}

static void put_client_fields(struct out *o, const struct http_req *req, const struct name_set *set, bool upgrades)
{
    for (size_t i = 0; i < req->header_count; i++) {
        const struct http_header *h = &req->headers[i];
        switch (h->id) {
        case HTTP_H_HOST:
        case HTTP_H_CONNECTION:
        case HTTP_H_KEEP_ALIVE:
        case HTTP_H_PROXY_CONNECTION:
        case HTTP_H_PROXY_AUTHENTICATE:
        case HTTP_H_PROXY_AUTHORIZATION:
        case HTTP_H_TRAILER:
        case HTTP_H_TRANSFER_ENCODING:
        case HTTP_H_CONTENT_LENGTH:
            continue;
        case HTTP_H_UPGRADE:
            if (!upgrades)
                continue;
            break;
        case HTTP_H_TE:
            if (http_list_has(h->value, STR("trailers")))
                put(o, STR("TE: trailers\r\n"));
            continue;
        case HTTP_H_EXPECT:
            if (req->content_length == 0)
                continue;
            break;
        case HTTP_H_COOKIE:
            if (set->opts->has_cookie)
                continue;
            break;
        case HTTP_H_OTHER:
            if (str_eq_nocase(h->name, STR("HTTP2-Settings")))
                continue;
            break;
        default:
            break;
        }
        if (UNLIKELY(set->connection_count > 0) && h->id != HTTP_H_UPGRADE && is_named_by_connection(set, h->name))
            continue;
        if (!is_dropped(set, h->name))
            put_field(o, h->name, h->value);
    }
}

static void put_framing(struct out *o, const struct http_req *req)
{
    if (req->content_length < 0) {
        put(o, STR("Transfer-Encoding: chunked\r\n"));
        return;
    }
    /* A POST without a body says so; a GET never mentioned it. */
    if (req->content_length == 0 && !http_req_known(req, HTTP_H_CONTENT_LENGTH).ptr)
        return;
    char text[48];
    int n = snprintf(text, sizeof text, "Content-Length: %lld\r\n", (long long)req->content_length);
    put(o, str_of(text, (size_t)n));
}

size_t proxy_write_head(const struct http_req *req, const struct http_upstream *to,
                             const struct http_proxy_opts *opts, struct str path, char *out, size_t cap)
{
    struct out o = {out, out + cap, false};
    struct name_set set = {.opts = opts};
    for (size_t i = 0; i < opts->drop_count; i++)
        set.letters |= letter(opts->drop[i]);
    for (size_t i = 0; i < opts->set_count; i++)
        set.letters |= letter(opts->set[i].name);
    if (http_req_known(req, HTTP_H_CONNECTION).ptr && !find_connection_names(&set, req->headers, req->header_count))
        return 0;
    bool upgrades = proxy_may_upgrade(req);

    put(&o, req->method_text);
    put(&o, STR(" "));
    put_target(&o, req, to, path);
    put(&o, STR(" HTTP/1.1\r\n"));
    put_field(&o, STR("Host"), opts->host.len > 0 ? opts->host : to->authority);
    put_client_fields(&o, req, &set, upgrades);
    if (opts->has_cookie && opts->cookie.len > 0)
        put_field(&o, STR("Cookie"), opts->cookie);
    for (size_t i = 0; i < opts->set_count; i++)
        put_field(&o, opts->set[i].name, opts->set[i].value);
    put_framing(&o, req);
    if (upgrades)
        put(&o, STR("Connection: Upgrade\r\n"));
    put(&o, STR("\r\n"));
    return o.is_full ? 0 : (size_t)(o.p - out);
}

size_t proxy_head_bound(const struct http_req *req, const struct http_upstream *to,
                             const struct http_proxy_opts *opts, struct str path)
{
    size_t n = 256 + req->method_text.len + path.len + req->query.len + to->path.len + to->query.len
               + MAX(opts->host.len, to->authority.len) + opts->cookie.len;
    for (size_t i = 0; i < req->header_count; i++)
        n += req->headers[i].name.len + req->headers[i].value.len + 4;
    for (size_t i = 0; i < opts->set_count; i++)
        n += opts->set[i].name.len + opts->set[i].value.len + 4;
    return n;
}

/* ---- Responses ---- */

/* The value with each "$url" replaced by `path`. */
static struct str expand_url(struct arena *a, struct str value, struct str path)
{
    size_t at = str_find(value, STR("$url"));
    if (LIKELY(at == STR_NPOS))
        return value;
    scoped_buf b = BUF_INIT(64 << 10);
    do {
        buf_add_str(&b, str_slice(value, 0, at));
        buf_add_str(&b, path);
        value = str_from_off(value, at + 4);
        at = str_find(value, STR("$url"));
    } while (at != STR_NPOS);
    buf_add_str(&b, value);
    return str_dup(a, buf_str(&b));
}

/* Cuts "scheme://authority" off; false when `s` has none. */
static bool cut_origin(struct str s, struct str *authority, struct str *rest)
{
    size_t skip = str_eq_nocase(str_slice(s, 0, 7), STR("http://"))    ? 7
                  : str_eq_nocase(str_slice(s, 0, 8), STR("https://")) ? 8
                                                                       : 0;
    if (skip == 0)
        return false;
    size_t end = skip;
    while (end < s.len && !strchr("/?#\\", s.ptr[end]))
        end++;
    *authority = str_slice(s, skip, end);
    *rest = str_from_off(s, end);
    return true;
}

struct str proxy_location(struct arena *a, const struct http_upstream *to, const struct http_proxy_opts *opts,
                               struct str location)
{
    struct str prefix = str_trim_right(opts->strip_prefix, '/'), authority, path = location;
    if (cut_origin(location, &authority, &path)) {
        bool is_upstream = str_eq_nocase(authority, to->authority);
        /* Under the public host, what the application calls /x is known outside as <prefix>/x. */
        bool is_public = prefix.len > 0 && opts->host.len > 0 && str_eq_nocase(authority, opts->host);
        if (!is_upstream && !is_public)
            return location;
        if (path.len == 0 || path.ptr[0] != '/')
            path = str_cat(a, STR("/"), path);
        /* "http://upstream//evil" must not become the other-host reference "//evil". */
        while (path.len > 1 && (path.ptr[1] == '/' || path.ptr[1] == '\\'))
            path = str_cat(a, STR("/"), str_from_off(path, 2));
    } else if (path.len == 0 || path.ptr[0] != '/' || (path.len > 1 && (path.ptr[1] == '/' || path.ptr[1] == '\\'))) {
        return location;
    }
    if (prefix.len == 0)
        return path;
    struct str rest, only_path = path;
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '?' || path.ptr[i] == '#') {
            only_path = str_slice(path, 0, i);
            break;
        }
    }
    if (http_encoded_path_under(only_path, prefix, &rest))
        return path;
    return str_cat(a, http_path_encode(a, prefix), path);
}

/* Under the prefix, for browsers as they compare the path in a request with it (RFC 6265 5.1.4). */
static void add_cookie_path(struct arena *a, struct buf *b, struct str prefix, struct str path)
{
    struct str rest;
    if (!http_encoded_path_under(path, prefix, &rest)) {
        buf_add_str(b, http_path_encode(a, prefix));
        if (str_eq(path, STR("/"))) /* with the slash it would not be sent to the prefix itself */
            return;
    }
    buf_add_str(b, path);
}

struct str proxy_cookie(struct arena *a, const struct http_proxy_opts *opts, struct str cookie)
{
    struct str prefix = str_trim_right(opts->strip_prefix, '/'), rest = cookie, part, name, value;
    bool is_host = str_eq_nocase(str_slice(cookie, 0, 7), STR("__Host-")); /* refused with another path than / */
    if (prefix.len == 0 || is_host || cookie.len > COOKIE_MAX || str_chr(prefix, ';') != STR_NPOS)
        return cookie;
    scoped_buf b = BUF_INIT(2 * (COOKIE_MAX + 3 * prefix.len));
    bool is_changed = false;
    for (bool is_first = true; str_next(&rest, ';', &part); is_first = false) {
        if (!is_first)
            buf_add_char(&b, ';');
        /* Without an absolute path it is for the folder of the request (5.1.4), which is under the prefix anyway. */
        bool is_path = !is_first && str_cut(part, '=', &name, &value) && str_eq_nocase(str_trim(name), STR("path"));
        value = is_path ? str_trim(value) : (struct str){0};
        if (!is_path || value.len == 0 || value.ptr[0] != '/') {
            buf_add_str(&b, part);
            continue;
        }
        buf_add_z(&b, " Path=");
        add_cookie_path(a, &b, prefix, value);
        is_changed = true;
    }
    return is_changed && !b.is_full ? str_dup(a, buf_str(&b)) : cookie;
}

static bool is_replaced(const struct http_proxy_opts *opts, struct str name)
{
    for (size_t i = 0; i < opts->response_set_count; i++)
        if (str_eq_nocase(opts->response_set[i].name, name))
            return true;
    return false;
}

void proxy_relay_fields(struct http_req *req, const struct http_upstream *to, const struct http_proxy_opts *opts,
                             struct str path, const struct http_head *head)
{
    struct name_set set = {.opts = opts};
    if (head->known[HTTP_H_CONNECTION])
        find_connection_names(&set, head->headers, head->header_count);
    bool is_switch = head->status == 101;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];
        struct str value = h->value;
        switch (h->id) {
        case HTTP_H_CONNECTION:
        case HTTP_H_KEEP_ALIVE:
        case HTTP_H_PROXY_CONNECTION:
        case HTTP_H_TE:
        case HTTP_H_TRAILER:
        case HTTP_H_TRANSFER_ENCODING:
        case HTTP_H_CONTENT_LENGTH:
            continue;
        case HTTP_H_UPGRADE:
            if (!is_switch)
                continue;
            break;
        case HTTP_H_LOCATION:
            if (opts->rewrite_location)
                value = proxy_location(req->arena, to, opts, value);
            break;
        case HTTP_H_SET_COOKIE:
            if (opts->rewrite_cookie_path)
                value = proxy_cookie(req->arena, opts, value);
            break;
        default:
            break;
        }
        if (UNLIKELY(set.connection_count > 0) && h->id != HTTP_H_UPGRADE && is_named_by_connection(&set, h->name))
            continue;
        if (opts->response_set_count > 0 && is_replaced(opts, h->name))
            continue;
        http_resp_header_ref(req, h->name, value);
    }
    for (size_t i = 0; i < opts->response_set_count; i++)
        http_resp_set_header(req, opts->response_set[i].name, expand_url(req->arena, opts->response_set[i].value, path));
}

const struct str *const http_proxy_drop_forwarded = drop_forwarded;
const size_t http_proxy_drop_forwarded_count = ARRAY_LEN(drop_forwarded);
