/* base/jsonscan.c: a checking walk over JSON text (RFC 8259), one value at a time.
 *
 * Values are skipped with a stack of bits, one for each level: set for an object, clear for a list.
 * SPDX-License-Identifier: Apache-2.0 */
#include "jsonscan.h"

#include <string.h>

static_assert(JSON_SCAN_DEPTH <= 64, "a level is a bit");

static bool bad(struct json_scan *s)
{
    s->is_bad = true;
    return false;
}

static void skip_space(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

static bool take(struct json_scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

/* The value of \uXXXX at `p`, or -1. */
static int32_t unit_at(const char *p, const char *end)
{
    int32_t n = 0;
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        n = n << 4 | digit;
    }
    return n;
}

/* An escape, of a surrogate pair both halves (§7). */
static bool skip_escape(struct json_scan *s)
{
    if (s->end - s->at >= 2 && s->at[1] != 0 && strchr("\"\\/bfnrt", s->at[1])) {
        s->at += 2;
        return true;
    }
    int32_t unit = unit_at(s->at, s->end);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
        return bad(s);
    s->at += 6;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    unit = unit_at(s->at, s->end);
    if (unit < 0xdc00 || unit > 0xdfff)
        return bad(s);
    s->at += 6;
    return true;
}

/* string = quotation-mark *char quotation-mark; at the opening quote. */
static bool skip_string(struct json_scan *s)
{
    const char *p = s->at + 1, *end = s->end;
    for (;;) {
        while (p < end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
            p++;
        s->at = p;
        if (p == end || (unsigned char)*p < 0x20)
            return bad(s);
        if (*p == '"') {
            s->at++;
            return true;
        }
        if (!skip_escape(s))
            return false;
        p = s->at;
    }
}

static bool skip_digits(struct json_scan *s)
{
    const char *start = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return s->at > start || bad(s);
}

/* number = [ minus ] int [ frac ] [ exp ] */
static bool skip_number(struct json_scan *s)
{
    s->at += *s->at == '-';
    const char *start = s->at;
    if (!skip_digits(s) || (*start == '0' && s->at - start > 1))
        return bad(s);
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!skip_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        s->at += s->at < s->end && (*s->at == '+' || *s->at == '-');
        return skip_digits(s);
    }
    return true;
}

static bool skip_word(struct json_scan *s, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return bad(s);
    s->at += len;
    return true;
}

static bool skip_scalar(struct json_scan *s)
{
    switch (*s->at) {
    case '"': return skip_string(s);
    case 't': return skip_word(s, "true");
    case 'f': return skip_word(s, "false");
    case 'n': s->has_null = true; return skip_word(s, "null");
    default: return skip_number(s);
    }
}

/* member name and colon */
static bool skip_name(struct json_scan *s)
{
    skip_space(s);
    if (s->at == s->end || *s->at != '"' || !skip_string(s))
        return bad(s);
    return take(s, ':') || bad(s);
}

/* Whatever a value may end: lists and objects around it, and the comma before the next one. 1: another value
 * comes, 0: the whole is over, -1: no JSON. */
static int after_value(struct json_scan *s, uint64_t *objects, int *depth)
{
    while (*depth > 0) {
        bool in_object = *objects & 1;
        if (take(s, ','))
            return !in_object || skip_name(s) ? 1 : -1;
        if (!take(s, in_object ? '}' : ']'))
            return -1;
        *objects >>= 1;
        --*depth;
    }
    return 0;
}

static bool skip_value(struct json_scan *s)
{
    uint64_t objects = 0; /* bit 0: the innermost level */
    int depth = 0;
    for (;;) {
        skip_space(s);
        if (s->at == s->end)
            return bad(s);
        char c = *s->at;
        if (c == '{' || c == '[') {
            s->at++;
            if (!take(s, c == '{' ? '}' : ']')) {
                if (depth == JSON_SCAN_DEPTH)
                    return bad(s);
                objects = objects << 1 | (c == '{');
                depth++;
                if (c == '{' && !skip_name(s))
                    return bad(s);
                continue;
            }
        } else if (!skip_scalar(s)) {
            return false;
        }
        int next = after_value(s, &objects, &depth);
        if (next <= 0)
            return next == 0 || bad(s);
    }
}

void json_scan_open(struct json_scan *s, struct str text)
{
    *s = (struct json_scan){.at = text.ptr ? text.ptr : ""};
    s->end = s->at + text.len;
    if (!take(s, '{'))
        bad(s);
}

bool json_scan_next(struct json_scan *s, struct str *key, struct str *value)
{
    if (s->is_bad || s->has_ended)
        return false;
    if (take(s, '}')) {
        s->has_ended = true;
        return false;
    }
    if (s->has_begun && !take(s, ','))
        return bad(s);
    s->has_begun = true;
    skip_space(s);
    const char *name = s->at;
    if (s->at == s->end || *name != '"' || !skip_string(s))
        return bad(s);
    struct str k = str_of(name + 1, (size_t)(s->at - name) - 2);
    if (!take(s, ':'))
        return bad(s);
    skip_space(s);
    const char *start = s->at;
    if (!skip_value(s))
        return false;
    *key = k;
    *value = str_of(start, (size_t)(s->at - start));
    return true;
}

bool json_scan_end(struct json_scan *s)
{
    skip_space(s);
    return s->has_ended && s->at == s->end;
}

bool json_scan_plain(struct str value, struct str *out)
{
    if (value.len < 2 || value.ptr[0] != '"' || memchr(value.ptr, '\\', value.len))
        return false;
    *out = str_slice(value, 1, value.len - 1);
    return true;
}
