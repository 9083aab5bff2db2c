/* http/field.c: tokens, lists, weights and dates of header fields (RFC 9110 sections 5.6 and 12.4).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_int.h"
#include "http_url.h"

/* tchar, RFC 9110 section 5.6.2. */
static const uint8_t is_tchar[256] = {
    ['!'] = 1, ['#' ... '\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1, ['0' ... '9'] = 1,
    ['A' ... 'Z'] = 1, ['^' ... 'z'] = 1, ['|'] = 1, ['~'] = 1,
};

/* Names are short and nearly always good: no way out before the end. */
bool http_is_token(struct str s)
{
    unsigned all = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        all &= is_tchar[(unsigned char)s.ptr[i]];
    return all;
}

bool http_is_field_value(struct str s)
{
    return s.len == 0 || http_skip_value(s.ptr, s.ptr + s.len) == s.ptr + s.len;
}

/* Length of the list member at the start of `s`: up to a comma outside quotes. */
static size_t member_len(struct str s)
{
    bool in_quotes = false;
    size_t i = 0;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '"')
            in_quotes = !in_quotes;
        else if (c == '\\' && in_quotes && i + 1 < s.len)
            i++;
        else if (c == ',' && !in_quotes)
            break;
    }
    return MIN(i, s.len);
}

bool http_list_next(struct str *rest, struct str *member)
{
    while (rest->len > 0) {
        size_t n = member_len(*rest);
        struct str m = str_trim(str_slice(*rest, 0, n));
        *rest = str_from_off(*rest, n + 1);
        if (m.len > 0) {
            *member = m;
            return true;
        }
    }
    return false;
}

bool http_list_has(struct str list, struct str token)
{
    struct str m;
    while (http_list_next(&list, &m))
        if (str_eq_nocase(m, token))
            return true;
    return false;
}

/* qvalue = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] ) */
static int qvalue(struct str s)
{
    if (s.len == 0 || s.len > 5 || (s.ptr[0] != '0' && s.ptr[0] != '1') || (s.len > 1 && s.ptr[1] != '.'))
        return 0;
    int q = (s.ptr[0] - '0') * 1000, unit = 100;
    for (size_t i = 2; i < s.len; i++, unit /= 10) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return 0;
        q += (s.ptr[i] - '0') * unit;
    }
    return q <= 1000 ? q : 0;
}

int http_weight(struct str member, struct str *name)
{
    struct str rest, part;
    int q = 1000;
    str_cut(member, ';', name, &rest);
    *name = str_trim(*name);
    while (rest.ptr && str_next(&rest, ';', &part)) {
        part = str_trim(part);
        if (part.len >= 2 && (part.ptr[0] | 0x20) == 'q' && part.ptr[1] == '=')
            q = qvalue(str_from_off(part, 2));
    }
    return q;
}

int http_accepts_coding(struct str accept_encoding, struct str coding)
{
    bool is_identity = str_eq_nocase(coding, STR("identity"));
    int star = -1;
    struct str m, name;
    while (http_list_next(&accept_encoding, &m)) {
        int q = http_weight(m, &name);
        if (str_eq_nocase(name, coding) || (str_eq_nocase(coding, STR("gzip")) && str_eq_nocase(name, STR("x-gzip"))))
            return q;
        if (str_eq(name, STR("*")))
            star = q;
    }
    if (star >= 0)
        return is_identity && star > 0 ? 1000 : star;
    return is_identity ? 1000 : 0;
}

/* --- dates --- */

bool http_date_parse(struct str s, int64_t *unix_s)
{
    return time_parse_http(s, wall_ns() / 1000000000, unix_s);
}
