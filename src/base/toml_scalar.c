/* base/toml_scalar.c: TOML strings, numbers, booleans and times.
 * SPDX-License-Identifier: Apache-2.0 */
#include "toml_int.h"

#include "timefmt.h"

#include <stdlib.h>

/* ---- Strings ---- */

static bool is_control(int c)
{
    return (c < 0x20 && c != '\t') || c == 0x7f;
}

static void add_utf8(struct buf *b, uint32_t c)
{
    if (c < 0x80) {
        buf_add_char(b, (char)c);
    } else if (c < 0x800) {
        buf_add_char(b, (char)(0xc0 | c >> 6));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(b, (char)(0xe0 | c >> 12));
        buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(b, (char)(0xf0 | c >> 18));
        buf_add_char(b, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(b, (char)(0x80 | (c & 0x3f)));
    }
}

/* 4HEXDIG or 8HEXDIG, a Unicode scalar value; the parser is past the 'u'. */
static bool unicode_escape(struct toml_parser *p, int digits)
{
    uint32_t c = 0;
    for (int i = 0; i < digits; i++) {
        int d = hex_digit(toml_peek(p, (size_t)i));
        if (d < 0)
            return toml_fail_at(p, p->pos - 2, "\\%c needs %d hexadecimal digits", digits == 4 ? 'u' : 'U', digits);
        c = c << 4 | (uint32_t)d;
    }
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return toml_fail_at(p, p->pos - 2, "U+%04X is not a character", c);
    p->pos += (size_t)digits;
    add_utf8(&p->scratch, c);
    return true;
}

/* mlb-escaped-nl = escape ws newline *( wschar / newline ); the parser is past the backslash. */
static bool skip_line_ending(struct toml_parser *p, size_t backslash)
{
    toml_skip_ws(p);
    if (!toml_take_newline(p))
        return toml_fail_at(p, backslash, "a backslash before white space must end its line");
    do
        toml_skip_ws(p);
    while (toml_take_newline(p));
    return true;
}

/* escaped = escape escape-seq-char */
static bool escape(struct toml_parser *p, bool multi)
{
    size_t backslash = p->pos++;
    int c = toml_peek(p, 0);
    if (multi && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
        return skip_line_ending(p, backslash);
    p->pos++;
    switch (c) {
    case 'b': return buf_add_char(&p->scratch, '\b');
    case 't': return buf_add_char(&p->scratch, '\t');
    case 'n': return buf_add_char(&p->scratch, '\n');
    case 'f': return buf_add_char(&p->scratch, '\f');
    case 'r': return buf_add_char(&p->scratch, '\r');
    case '"': return buf_add_char(&p->scratch, '"');
    case '\\': return buf_add_char(&p->scratch, '\\');
    case 'u': return unicode_escape(p, 4);
    case 'U': return unicode_escape(p, 8);
    }
    if (c > 0x20 && c < 0x7f)
        return toml_fail_at(p, backslash, "there is no escape \\%c (write \\\\ for a backslash, or use '...')", c);
    return toml_fail_at(p, backslash, "there is no such escape (write \\\\ for a backslash, or use '...')");
}

/* Quotes in a multi-line string: three close it, of which up to two more before them belong to it.
 * Sets *closed. */
static void quotes(struct toml_parser *p, int quote, bool *closed)
{
    size_t n = 0;
    while (n < 5 && toml_peek(p, n) == quote)
        n++;
    p->pos += n;
    *closed = n >= 3;
    for (size_t i = *closed ? 3 : 0; i < n; i++)
        buf_add_char(&p->scratch, (char)quote);
}

bool toml_string(struct toml_parser *p, bool multi_line_ok, struct str *out)
{
    size_t start = p->pos;
    int quote = toml_peek(p, 0);
    bool multi = toml_peek(p, 1) == quote && toml_peek(p, 2) == quote;
    if (multi && !multi_line_ok)
        return toml_fail_at(p, start, "a key cannot be a multi-line string");
    p->pos += multi ? 3 : 1;
    if (multi)
        toml_take_newline(p); /* the one right after the opening is not content */
    size_t content = p->pos, end = p->pos;
    buf_clear(&p->scratch);
    for (bool closed = false; !closed;) {
        end = p->pos;
        int c = toml_peek(p, 0);
        if (c < 0)
            return toml_fail_at(p, start, "the string that begins here is not closed");
        if (c == quote && multi) {
            quotes(p, quote, &closed);
            end = p->pos - (closed ? 3 : 0);
        } else if (c == quote) {
            p->pos++;
            closed = true;
        } else if (c == '\\' && quote == '"') {
            if (!escape(p, multi))
                return false;
        } else if (c == '\n' || (c == '\r' && toml_peek(p, 1) == '\n')) {
            if (!multi)
                return toml_fail_at(p, start, "the string that begins here is not closed on its line");
            toml_take_newline(p);
            buf_add_char(&p->scratch, '\n');
        } else if (is_control(c)) {
            return toml_fail_at(p, p->pos, "control character 0x%02x in a string%s", (unsigned)c,
                                quote == '"' ? ": write it as \\u00XX" : "");
        } else {
            buf_add_char(&p->scratch, (char)c);
            p->pos++;
        }
    }
    /* Whatever is not itself in the content is shorter there: the same length means the same bytes. */
    bool same = p->scratch.len == end - content;
    *out = same ? str_slice(p->text, content, end) : str_dup(p->arena, buf_str(&p->scratch));
    return true;
}

/* ---- Times ---- */

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

/* `form`'s 'd' stand for digits; returns what follows, or a slice with NULL if `s` does not begin so. */
static struct str match(struct str s, const char *form)
{
    size_t i = 0;
    for (; form[i]; i++)
        if (i >= s.len || (form[i] == 'd' ? !is_digit(s.ptr[i]) : s.ptr[i] != form[i]))
            return (struct str){0};
    return str_from_off(s, i);
}

static int number2(const char *p)
{
    return (p[0] - '0') * 10 + p[1] - '0';
}

static bool date_is_real(const char *p)
{
    int year = number2(p) * 100 + number2(p + 2), month = number2(p + 5), day = number2(p + 8);
    if (month < 1 || month > 12 || day < 1)
        return false;
    int64_t next = month == 12 ? time_days_from_civil(year + 1, 1, 1) : time_days_from_civil(year, month + 1, 1);
    return time_days_from_civil(year, month, day) < next;
}

static bool time_is_real(const char *p)
{
    return number2(p) <= 23 && number2(p + 3) <= 59 && number2(p + 6) <= 60;
}

/* partial-time = time-hour ":" time-minute ":" time-second [ "." 1*DIGIT ]; moves *s past it. */
static bool partial_time(struct str *s)
{
    struct str rest = match(*s, "dd:dd:dd");
    if (!rest.ptr || !time_is_real(s->ptr))
        return false;
    if (rest.len > 0 && rest.ptr[0] == '.') {
        size_t n = 1;
        while (n < rest.len && is_digit(rest.ptr[n]))
            n++;
        if (n == 1)
            return false;
        rest = str_from_off(rest, n);
    }
    *s = rest;
    return true;
}

/* time-offset = "Z" / time-numoffset, all of `s` */
static bool is_offset(struct str s)
{
    if (str_eq_nocase(s, STR("z")))
        return true;
    if (s.len != 6 || (s.ptr[0] != '+' && s.ptr[0] != '-') || !match(str_from_off(s, 1), "dd:dd").ptr)
        return false;
    return number2(s.ptr + 1) <= 23 && number2(s.ptr + 4) <= 59;
}

static bool time_kind(struct str s, enum toml_kind *kind)
{
    if (match(s, "dd:").ptr) {
        *kind = TOML_LOCAL_TIME;
        return partial_time(&s) && s.len == 0;
    }
    struct str rest = match(s, "dddd-dd-dd");
    if (!rest.ptr || !date_is_real(s.ptr))
        return false;
    *kind = TOML_LOCAL_DATE;
    if (rest.len == 0)
        return true;
    if (rest.ptr[0] != 'T' && rest.ptr[0] != 't' && rest.ptr[0] != ' ')
        return false;
    rest = str_from_off(rest, 1);
    if (!partial_time(&rest))
        return false;
    *kind = rest.len == 0 ? TOML_LOCAL_DATETIME : TOML_OFFSET_DATETIME;
    return rest.len == 0 || is_offset(rest);
}

/* ---- Numbers ---- */

static int digit_in(int c, unsigned base)
{
    int d = hex_digit(c);
    return d >= 0 && (unsigned)d < base ? d : -1;
}

/* Digits of `base` with single underscores between them; at least one. Adds the digits to scratch and gives
 * what follows, or a slice with NULL. */
static struct str digits(struct toml_parser *p, struct str s, unsigned base)
{
    size_t i = 0;
    for (;; i++) {
        if (i >= s.len || digit_in((unsigned char)s.ptr[i], base) < 0)
            return (struct str){0};
        for (; i < s.len && digit_in((unsigned char)s.ptr[i], base) >= 0; i++)
            buf_add_char(&p->scratch, s.ptr[i]);
        if (i >= s.len || s.ptr[i] != '_')
            return str_from_off(s, i);
    }
}

/* Where an integer's digits are all of scratch. */
static bool to_int(struct toml_parser *p, size_t start, unsigned base, bool negative, struct toml_value *v)
{
    uint64_t n = 0, limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    for (size_t i = 0; i < p->scratch.len; i++) {
        uint64_t d = (uint64_t)hex_digit(p->scratch.ptr[i]);
        if (n > (limit - d) / base)
            return toml_fail_at(p, start, "the integer does not fit 64 bits");
        n = n * base + d;
    }
    v->kind = TOML_INT;
    v->i = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* float = float-int-part ( exp / frac [ exp ] ); `rest` is what follows the integer part in scratch. */
static bool to_float(struct toml_parser *p, struct str rest, struct toml_value *v)
{
    if (rest.ptr[0] == '.') {
        buf_add_char(&p->scratch, '.');
        rest = digits(p, str_from_off(rest, 1), 10);
        if (!rest.ptr)
            return false;
    }
    if (rest.len > 0) {
        if ((rest.ptr[0] | 0x20) != 'e')
            return false;
        buf_add_char(&p->scratch, 'e');
        rest = str_from_off(rest, 1);
        if (rest.len > 0 && (rest.ptr[0] == '+' || rest.ptr[0] == '-')) {
            buf_add_char(&p->scratch, rest.ptr[0]);
            rest = str_from_off(rest, 1);
        }
        rest = digits(p, rest, 10);
        if (!rest.ptr || rest.len > 0)
            return false;
    }
    v->kind = TOML_FLOAT;
    v->f = strtod(buf_z(&p->scratch), NULL);
    return true;
}

static bool bad_number(struct toml_parser *p, size_t start, struct str token)
{
    token = str_slice(token, 0, 40);
    return toml_fail_at(p, start, STR_FMT " is not a number or a time (strings need quotes)", STR_ARG(token));
}

static bool number(struct toml_parser *p, size_t start, struct str token, struct toml_value *v)
{
    buf_clear(&p->scratch);
    unsigned base = 10;
    if (token.len > 1 && token.ptr[0] == '0')
        base = token.ptr[1] == 'x' ? 16 : token.ptr[1] == 'o' ? 8 : token.ptr[1] == 'b' ? 2 : 10;
    if (base != 10) {
        struct str rest = digits(p, str_from_off(token, 2), base);
        return rest.ptr && rest.len == 0 ? to_int(p, start, base, false, v) : bad_number(p, start, token);
    }
    bool negative = token.ptr[0] == '-';
    struct str body = str_from_off(token, negative || token.ptr[0] == '+');
    if (str_eq(body, STR("inf")) || str_eq(body, STR("nan"))) {
        v->kind = TOML_FLOAT;
        v->f = body.ptr[0] == 'i' ? __builtin_inf() : __builtin_nan("");
        v->f = negative ? -v->f : v->f;
        return true;
    }
    struct str rest = digits(p, body, 10);
    if (!rest.ptr)
        return bad_number(p, start, token);
    if (p->scratch.len > 1 && p->scratch.ptr[0] == '0')
        return toml_fail_at(p, start, "a decimal number has no leading zeros");
    if (rest.len == 0)
        return to_int(p, start, 10, negative, v);
    if (!to_float(p, rest, v))
        return bad_number(p, start, token);
    v->f = negative ? -v->f : v->f;
    return true;
}

static bool is_token_byte(int c)
{
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '+' || c == '-' ||
           c == '.' || c == ':';
}

bool toml_scalar(struct toml_parser *p, struct toml_value *v)
{
    size_t start = p->pos;
    while (is_token_byte(toml_peek(p, 0)))
        p->pos++;
    /* A date may have a space, not a 'T', before its time. */
    bool date = match(str_slice(p->text, start, p->pos), "dddd-dd-dd").ptr != NULL;
    if (date && p->pos - start == 10 && toml_peek(p, 0) == ' ' && is_digit(toml_peek(p, 1)))
        for (p->pos++; is_token_byte(toml_peek(p, 0));)
            p->pos++;
    struct str token = str_slice(p->text, start, p->pos);
    if (token.len == 0)
        return toml_fail_at(p, start, "a value is missing here");
    if (str_eq(token, STR("true")) || str_eq(token, STR("false"))) {
        v->kind = TOML_BOOL;
        v->b = token.ptr[0] == 't';
        return true;
    }
    if (match(token, "dddd-").ptr || match(token, "dd:").ptr) {
        v->s = token;
        struct str shown = str_slice(token, 0, 40);
        return time_kind(token, &v->kind) ||
               toml_fail_at(p, start, STR_FMT " is not a valid date or time", STR_ARG(shown));
    }
    return number(p, start, token, v);
}
