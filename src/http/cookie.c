/* http/cookie.c: Cookie and Set-Cookie (RFC 6265).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

/* Cuts one `name=value` as it stands in a Cookie header; false when it is not one. */
static bool cut_cookie(struct str part, struct http_pair *cookie)
{
    struct str name, value;
    if (!str_cut(part, '=', &name, &value))
        return false;
    name = str_trim(name);
    value = str_trim(value);
    if (name.len == 0)
        return false;
    if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
        value = str_slice(value, 1, value.len - 1);
    *cookie = (struct http_pair){name, value};
    return true;
}

bool http_cookie_next(struct str *rest, struct http_pair *cookie)
{
    struct str part;
    while (str_next(rest, ';', &part))
        if (cut_cookie(part, cookie))
            return true;
    return false;
}

bool http_cookie_get(struct str header, struct str name, struct str *value)
{
    struct http_pair c;
    while (http_cookie_next(&header, &c)) {
        if (str_eq(c.name, name)) {
            *value = c.value;
            return true;
        }
    }
    return false;
}

struct str http_cookie_filter(struct arena *a, struct str header, bool (*drop)(void *arg, struct str name), void *arg)
{
    struct str rest = header;
    struct http_pair c;
    bool any = false;
    while (!any && http_cookie_next(&rest, &c))
        any = drop(arg, c.name);
    if (!any)
        return header;
    char *p = arena_alloc(a, header.len * 2); /* "a;b" becomes "a; b" */
    size_t n = 0;
    struct str part;
    rest = header;
    while (str_next(&rest, ';', &part)) {
        if (cut_cookie(part, &c) && drop(arg, c.name))
            continue;
        part = str_trim(part);
        if (part.len == 0)
            continue;
        if (n > 0) {
            p[n++] = ';';
            p[n++] = ' ';
        }
        memcpy(p + n, part.ptr, part.len);
        n += part.len;
    }
    return str_of(p, n);
}

/* cookie-octet and av-octet differ only in what they add to the plain ones. */
static bool is_plain(struct str s, const char *forbidden)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || (unsigned char)s.ptr[i] >= 0x7f || strchr(forbidden, s.ptr[i]))
            return false;
    return true;
}

bool http_cookie_build(struct arena *a, const struct http_cookie *c, struct str *out, struct err *err)
{
    static const char *const same_site[] = {"", "; SameSite=Lax", "; SameSite=Strict", "; SameSite=None"};
    if (!http_is_token(c->name))
        return err_set(err, ERR_INVALID, "\"%.*s\" is not a cookie name", STR_ARG(c->name));
    if (!is_plain(c->value, " \",;\\"))
        return err_set(err, ERR_INVALID, "the value of cookie %.*s has characters that need encoding", STR_ARG(c->name));
    if (!is_plain(c->path, ";") || !is_plain(c->domain, "; ,"))
        return err_set(err, ERR_INVALID, "path or domain of cookie %.*s cannot be sent", STR_ARG(c->name));
    scoped_buf b = BUF_INIT(64 << 10);
    buf_printf(&b, "%.*s=%.*s", STR_ARG(c->name), STR_ARG(c->value));
    if (c->path.len > 0)
        buf_printf(&b, "; Path=%.*s", STR_ARG(c->path));
    if (c->domain.len > 0)
        buf_printf(&b, "; Domain=%.*s", STR_ARG(c->domain));
    if (c->max_age_s != 0)
        buf_printf(&b, "; Max-Age=%lld", (long long)MAX(c->max_age_s, 0));
    if (c->is_http_only)
        buf_add_z(&b, "; HttpOnly");
    if (c->is_secure)
        buf_add_z(&b, "; Secure");
    buf_add_z(&b, same_site[c->same_site]);
    if (b.is_full)
        return err_set(err, ERR_TOO_LARGE, "cookie %.*s is larger than %zu bytes", STR_ARG(c->name), b.max);
    *out = str_dup(a, buf_str(&b));
    return true;
}
