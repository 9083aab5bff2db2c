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

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar: counts years from March, so that the
 * leap day is the last one. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static bool take_number(struct str *s, size_t digits, int *out)
{
    int n = 0;
    if (s->len < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        char c = s->ptr[i];
        if (c == ' ' && i == 0 && digits == 2)
            c = '0'; /* asctime pads the day with a space */
        if (c < '0' || c > '9')
            return false;
        n = n * 10 + (c - '0');
    }
    *s = str_from_off(*s, digits);
    *out = n;
    return true;
}

static bool take(struct str *s, const char *text)
{
    struct str t = str_from(text);
    if (!str_starts(*s, t))
        return false;
    *s = str_from_off(*s, t.len);
    return true;
}

static bool take_month(struct str *s, int *month)
{
    for (int i = 0; i < 12; i++) {
        if (take(s, month_names[i])) {
            *month = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_time(struct str *s, int *seconds)
{
    int h, m, sec;
    if (!take_number(s, 2, &h) || !take(s, ":") || !take_number(s, 2, &m) || !take(s, ":") || !take_number(s, 2, &sec)
        || h > 23 || m > 59 || sec > 60)
        return false;
    *seconds = h * 3600 + m * 60 + MIN(sec, 59);
    return true;
}

/* IMF-fixdate "Sun, 06 Nov 1994 08:49:37 GMT", rfc850-date "Sunday, 06-Nov-94 08:49:37 GMT",
 * asctime-date "Sun Nov  6 08:49:37 1994". The day's name says nothing and is not checked. */
bool http_date_parse(struct str s, int64_t *unix_s)
{
    int y, m, d, t;
    struct str rest;
    if (str_cut(s, ',', NULL, &rest)) {
        bool ok = take(&rest, " ") && take_number(&rest, 2, &d);
        if (!ok || rest.len == 0)
            return false;
        bool is_rfc850 = rest.ptr[0] == '-';
        const char *sep = is_rfc850 ? "-" : " ";
        if (!take(&rest, sep) || !take_month(&rest, &m) || !take(&rest, sep)
            || !take_number(&rest, is_rfc850 ? 2 : 4, &y) || !take(&rest, " ") || !take_time(&rest, &t)
            || !str_eq(rest, STR(" GMT")))
            return false;
        if (is_rfc850)
            y += y < 70 ? 2000 : 1900;
    } else {
        rest = str_from_off(s, 3);
        if (!take(&rest, " ") || !take_month(&rest, &m) || !take(&rest, " ") || !take_number(&rest, 2, &d)
            || !take(&rest, " ") || !take_time(&rest, &t) || !take(&rest, " ") || !take_number(&rest, 4, &y) || rest.len > 0)
            return false;
    }
    if (d < 1 || d > 31)
        return false;
    *unix_s = days_from_civil(y, m, d) * 86400 + t;
    return true;
}
