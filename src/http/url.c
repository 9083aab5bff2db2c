/* http/url.c: percent-encoding, paths, URLs, hosts, safe redirect targets (RFC 3986).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_url.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

bool http_pct_decode(struct arena *a, struct str s, struct str *out)
{
    size_t first = str_chr(s, '%');
    if (first == STR_NPOS) {
        *out = s;
        return true;
    }
    char *p = arena_alloc(a, s.len);
    memcpy(p, s.ptr, first);
    size_t n = first;
    for (size_t i = first; i < s.len; i++) {
        if (s.ptr[i] != '%') {
            p[n++] = s.ptr[i];
            continue;
        }
        int hi = i + 2 < s.len ? hex_digit(s.ptr[i + 1]) : -1;
        int lo = i + 2 < s.len ? hex_digit(s.ptr[i + 2]) : -1;
        if (hi < 0 || lo < 0)
            return false;
        p[n++] = (char)(hi << 4 | lo);
        i += 2;
    }
    *out = str_of(p, n);
    return true;
}

static struct str encode(struct arena *a, struct str s, const char *also_plain, bool keep_triplets)
{
    static const char digits[] = "0123456789ABCDEF";
    char *p = arena_alloc(a, s.len * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool is_triplet = keep_triplets && c == '%' && i + 2 < s.len && hex_digit(s.ptr[i + 1]) >= 0
                          && hex_digit(s.ptr[i + 2]) >= 0;
        if (is_alnum(c) || is_one_of(c, "-._~") || is_one_of(c, also_plain) || is_triplet) {
            p[n++] = c;
        } else {
            p[n++] = '%';
            p[n++] = digits[(unsigned char)c >> 4];
            p[n++] = digits[(unsigned char)c & 15];
        }
    }
    return str_of(p, n);
}

struct str http_pct_encode(struct arena *a, struct str s)
{
    return encode(a, s, "", false);
}

struct str http_path_encode(struct arena *a, struct str path)
{
    return encode(a, path, "/!$&'()*+,;=:@", true);
}

/* --- paths --- */

/* A path needs cleaning if it lacks the leading '/', ends in '/', or has an empty or dot segment. */
static bool is_clean(struct str path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    if (path.len == 1)
        return true;
    struct str rest = str_from_off(path, 1), part;
    while (str_next(&rest, '/', &part))
        if (part.len == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
            return false;
    return true;
}

struct str http_path_clean(struct arena *a, struct str path)
{
    if (LIKELY(is_clean(path)))
        return path;
    char *p = arena_alloc(a, path.len + 1);
    size_t n = 0; /* p[0..n) is "" or "/seg/seg" */
    struct str rest = path, part;
    while (str_next(&rest, '/', &part)) {
        if (part.len == 0 || str_eq(part, STR(".")))
            continue;
        if (str_eq(part, STR(".."))) {
            size_t slash = str_rchr(str_of(p, n), '/');
            n = slash == STR_NPOS ? 0 : slash;
            continue;
        }
        p[n++] = '/';
        memcpy(p + n, part.ptr, part.len);
        n += part.len;
    }
    return n == 0 ? STR("/") : str_of(p, n);
}

struct str http_path_join(struct arena *a, struct str base, struct str rest)
{
    if (rest.len == 0)
        return base.len > 0 ? base : STR("/");
    base = str_trim_right(base, '/');
    while (rest.len > 0 && rest.ptr[0] == '/')
        rest = str_from_off(rest, 1);
    char *p = arena_alloc(a, base.len + rest.len + 1);
    if (base.len > 0)
        memcpy(p, base.ptr, base.len);
    p[base.len] = '/';
    if (rest.len > 0)
        memcpy(p + base.len + 1, rest.ptr, rest.len);
    return str_of(p, base.len + rest.len + 1);
}

bool http_path_under(struct str path, struct str prefix, struct str *rest)
{
    prefix = str_trim_right(prefix, '/');
    if (!str_starts(path, prefix) || (path.len > prefix.len && prefix.len > 0 && path.ptr[prefix.len] != '/'))
        return false;
    *rest = str_from_off(path, prefix.len);
    return true;
}

bool http_encoded_path_under(struct str path, struct str prefix, struct str *rest)
{
    prefix = str_trim_right(prefix, '/');
    size_t i = 0;
    for (size_t k = 0; k < prefix.len; k++) {
        if (i >= path.len)
            return false;
        char c = path.ptr[i++];
        if (c == '%' && i + 1 < path.len && hex_digit(path.ptr[i]) >= 0 && hex_digit(path.ptr[i + 1]) >= 0) {
            c = (char)(hex_digit(path.ptr[i]) << 4 | hex_digit(path.ptr[i + 1]));
            i += 2;
            if (c == '/')
                return false; /* an encoded slash is data, not structure */
        }
        if (c != prefix.ptr[k])
            return false;
    }
    if (i < path.len && path.ptr[i] != '/' && prefix.len > 0)
        return false;
    *rest = str_from_off(path, i);
    return true;
}

/* --- URLs and hosts --- */

static bool port_parse(struct str s, uint16_t *port)
{
    uint64_t n = 0;
    if (s.len == 0) { /* "host:" is allowed and means no port (RFC 3986 section 3.2.3) */
        *port = 0;
        return true;
    }
    if (s.len > 5 || s.ptr[0] == '+' || !str_to_u64(s, &n) || n == 0 || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

static bool is_ip6_text(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (hex_digit(s.ptr[i]) < 0 && s.ptr[i] != ':' && s.ptr[i] != '.')
            return false;
    return s.len >= 2 && s.len <= 45 && str_chr(s, ':') != STR_NPOS;
}

bool http_host_parse(struct str s, struct str *name, uint16_t *port)
{
    struct str host, after = {0};
    if (s.len > 0 && s.ptr[0] == '[') {
        size_t end = str_chr(s, ']');
        if (end == STR_NPOS)
            return false;
        host = str_slice(s, 1, end);
        after = str_from_off(s, end + 1);
        if (!is_ip6_text(host) || (after.len > 0 && after.ptr[0] != ':'))
            return false;
        after = str_from_off(after, 1);
    } else {
        str_cut(s, ':', &host, &after);
        if (host.len == 0 || host.len > 255)
            return false;
        for (size_t i = 0; i < host.len; i++)
            if (!is_alnum(host.ptr[i]) && !is_one_of(host.ptr[i], "-._~"))
                return false;
    }
    if (!port_parse(after, port))
        return false;
    *name = host;
    return true;
}

/* The offset of the first byte of `s` that is in `set`, or its length. */
static size_t span_until(struct str s, const char *set)
{
    size_t i = 0;
    while (i < s.len && !is_one_of(s.ptr[i], set))
        i++;
    return i;
}

/* URI = scheme ":" "//" authority path-abempty [ "?" query ] [ "#" fragment ] */
bool http_url_parse(struct str s, struct http_url *out, struct err *err)
{
    struct http_url u = {0};
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return err_set(err, ERR_INVALID, "a URL cannot contain spaces or control characters");
    size_t colon = str_find(s, STR("://"));
    u.scheme = str_slice(s, 0, colon == STR_NPOS ? 0 : colon);
    u.is_tls = str_eq_nocase(u.scheme, STR("https")) || str_eq_nocase(u.scheme, STR("wss"));
    if (!u.is_tls && !str_eq_nocase(u.scheme, STR("http")) && !str_eq_nocase(u.scheme, STR("ws")))
        return err_set(err, ERR_INVALID, "the URL must start with http:// or https://");
    struct str rest = str_from_off(s, colon + 3);
    size_t end = span_until(rest, "/?#\\");
    u.authority = str_slice(rest, 0, end);
    rest = str_from_off(rest, end);
    if (str_chr(u.authority, '@') != STR_NPOS)
        return err_set(err, ERR_INVALID, "the URL has a user name in it, which is not supported here");
    if (!http_host_parse(u.authority, &u.host, &u.port))
        return err_set(err, ERR_INVALID, "\"%.*s\" is not a host name with an optional port", STR_ARG(u.authority));
    if (rest.len > 0 && rest.ptr[0] == '\\')
        return err_set(err, ERR_INVALID, "a URL cannot have a backslash after its host");
    str_cut(rest, '#', &rest, &u.fragment);
    u.has_query = str_cut(rest, '?', &u.path, &u.query);
    *out = u;
    return true;
}

uint16_t http_url_port(const struct http_url *u)
{
    return u->port != 0 ? u->port : u->is_tls ? 443 : 80;
}

bool http_is_local_redirect(struct str t)
{
    if (t.len == 0 || t.ptr[0] != '/' || (t.len > 1 && t.ptr[1] == '/'))
        return false;
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] < ' ' || t.ptr[i] == 0x7f || t.ptr[i] == '\\')
            return false; /* browsers drop tabs and newlines, and read '\' as '/' (WHATWG URL) */
    return true;
}
