/* http/form.c: queries and url-encoded forms as ordered multi-maps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_url.h"

bool http_pairs_get(const struct http_pairs *p, struct str name, struct str *value)
{
    for (size_t i = 0; i < p->len; i++) {
        if (str_eq(p->items[i].name, name)) {
            *value = p->items[i].value;
            return true;
        }
    }
    return false;
}

/* Undoes '+' and %XX. */
static bool decode(struct arena *a, struct str s, struct str *out)
{
    if (str_chr(s, '+') != STR_NPOS) {
        char *p = arena_memdup(a, s.ptr, s.len);
        for (size_t i = 0; i < s.len; i++)
            if (p[i] == '+')
                p[i] = ' ';
        s.ptr = p;
    }
    return http_pct_decode(a, s, out);
}

bool http_query_parse(struct arena *a, struct str s, struct http_pairs *out, struct err *err)
{
    struct http_pairs pairs = *out; /* so that a failure leaves *out alone */
    struct str rest = s, part;
    while (str_next(&rest, '&', &part)) {
        if (part.len == 0)
            continue;
        if (pairs.len >= HTTP_MAX_PAIRS)
            return err_set(err, ERR_TOO_LARGE, "more than %d parameters", HTTP_MAX_PAIRS);
        struct http_pair pair = {0};
        str_cut(part, '=', &pair.name, &pair.value);
        if (!decode(a, pair.name, &pair.name) || !decode(a, pair.value, &pair.value))
            return err_set(err, ERR_INVALID, "a parameter has a %% that two hexadecimal digits do not follow");
        *vec_push(a, &pairs) = pair;
    }
    *out = pairs;
    return true;
}

struct str http_query_build(struct arena *a, const struct http_pair *pairs, size_t count)
{
    scoped_buf b = BUF_INIT(SIZE_MAX / 2);
    scoped_arena tmp = {0};
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(&b, '&');
        buf_add_str(&b, http_pct_encode(&tmp, pairs[i].name));
        buf_add_char(&b, '=');
        buf_add_str(&b, http_pct_encode(&tmp, pairs[i].value));
    }
    return str_dup(a, buf_str(&b));
}
