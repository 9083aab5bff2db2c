/* starlark/float.c: reading and printing floats, as the Go implementation does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The shortest digits that read back as |d|: d = 0.DIGITS * 10^exp. A decimal of at most 15 digits always
 * survives the way through a double, so a shorter one is the 15-digit one without its trailing zeros. */
/* Adds one unit to the last digit of a mantissa in %e form, or takes one away. False when it would carry
 * into another exponent. */
static bool nudge(char *text, int by)
{
    char *p = strchr(text, 'e');
    while (p-- > text) {
        if (*p == '.')
            continue;
        if (by > 0 ? *p < '9' : *p > '0') {
            *p = (char)(*p + by);
            return true;
        }
        *p = by > 0 ? '0' : '9';
    }
    return false;
}

/* Above a power of two the gap to the next double is twice the one below: there, a number of 16 digits may
 * read back although it is not the nearest of that length. */
static bool neighbour(char *text, size_t size, double d)
{
    for (int by = 1; by >= -1; by -= 2) {
        snprintf(text, size, "%.15e", d);
        if (nudge(text, by) && strtod(text, NULL) == d)
            return true;
    }
    return false;
}

static int shortest(double d, char digits[20], int *exp)
{
    char text[40];
    /* Subnormal numbers have fewer digits than that. */
    for (int prec = d < 2.3e-308 ? 1 : 15;; prec++) {
        snprintf(text, sizeof text, "%.*e", prec - 1, d);
        if (prec >= 17 || strtod(text, NULL) == d || (prec == 16 && neighbour(text, sizeof text, d)))
            break;
    }
    int n = 0;
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    *exp = atoi(p + 1) + 1;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

static bool not_finite(struct buf *out, double d)
{
    return buf_add_z(out, isnan(d) ? "nan" : d > 0 ? "+inf" : "-inf");
}

static bool shortest_g(struct buf *out, double d, bool upper)
{
    char digits[20], text[64];
    int exp, n, at = 0;
    if (d == 0)
        return buf_add_z(out, signbit(d) ? "-0.0" : "0.0");
    if (signbit(d))
        text[at++] = '-';
    n = shortest(fabs(d), digits, &exp);
    if (exp - 1 < -4 || exp - 1 >= 6) {
        text[at++] = digits[0];
        if (n > 1) {
            text[at++] = '.';
            memcpy(text + at, digits + 1, (size_t)n - 1);
            at += n - 1;
        }
        at += snprintf(text + at, sizeof text - (size_t)at, "%c%c%02d", upper ? 'E' : 'e', exp - 1 < 0 ? '-' : '+', abs(exp - 1));
        return buf_add(out, text, (size_t)at);
    }
    if (exp <= 0) {
        text[at++] = '0';
        text[at++] = '.';
        for (int i = exp; i < 0; i++)
            text[at++] = '0';
        memcpy(text + at, digits, (size_t)n);
        at += n;
        return buf_add(out, text, (size_t)at);
    }
    for (int i = 0; i < MAX(n, exp); i++) {
        if (i == exp)
            text[at++] = '.';
        text[at++] = i < n ? digits[i] : '0';
    }
    if (exp >= n) {
        text[at++] = '.';
        text[at++] = '0';
    }
    return buf_add(out, text, (size_t)at);
}

/* As JavaScript prints numbers: no ".0", an exponent only below 1e-6 and from 1e21 on. */
bool float_json(struct buf *out, double d)
{
    char digits[20], text[64];
    int exp, n, at = 0;
    if (d == 0)
        return buf_add_z(out, signbit(d) ? "-0" : "0");
    if (signbit(d))
        text[at++] = '-';
    n = shortest(fabs(d), digits, &exp);
    if (exp < -5 || exp > 21) {
        text[at++] = digits[0];
        if (n > 1)
            text[at++] = '.';
        memcpy(text + at, digits + 1, (size_t)n - 1);
        at += n - 1;
        at += snprintf(text + at, sizeof text - (size_t)at, "e%+d", exp - 1);
        return buf_add(out, text, (size_t)at);
    }
    if (exp <= 0) {
        text[at++] = '0';
        text[at++] = '.';
        for (int i = exp; i < 0; i++)
            text[at++] = '0';
    }
    for (int i = 0; i < MAX(n, exp); i++) {
        if (i == exp && i > 0)
            text[at++] = '.';
        text[at++] = i < n ? digits[i] : '0';
    }
    return buf_add(out, text, (size_t)at);
}

bool float_repr(struct buf *out, double d)
{
    return isfinite(d) ? shortest_g(out, d, false) : not_finite(out, d);
}

bool float_format(struct buf *out, double d, char conv)
{
    if (!isfinite(d))
        return not_finite(out, d);
    switch (conv) {
    case 'e': return buf_printf(out, "%.6e", d);
    case 'E': return buf_printf(out, "%.6E", d);
    case 'f': case 'F': return buf_printf(out, "%.6f", d);
    default: return shortest_g(out, d, conv == 'G');
    }
}

static size_t digits_at(struct str s, size_t i)
{
    size_t n = 0;
    while (i + n < s.len && isdigit((unsigned char)s.ptr[i + n]))
        n++;
    return n;
}

/* [sign] digits [. digits] [e [sign] digits], with a digit before the exponent */
static bool is_decimal(struct str s)
{
    size_t i = s.len > 0 && (s.ptr[0] == '+' || s.ptr[0] == '-');
    size_t n = digits_at(s, i);
    i += n;
    if (i < s.len && s.ptr[i] == '.') {
        size_t m = digits_at(s, ++i);
        i += m;
        n += m;
    }
    if (n == 0)
        return false;
    if (i < s.len && (s.ptr[i] | 0x20) == 'e') {
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
            i++;
        size_t m = digits_at(s, i);
        if (m == 0)
            return false;
        i += m;
    }
    return i == s.len;
}

bool float_parse(struct str s, double *out)
{
    char few[64], *text = few;
    if (!is_decimal(s))
        return false;
    if (s.len >= sizeof few && !(text = malloc(s.len + 1)))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    *out = strtod(text, NULL);
    if (text != few)
        free(text);
    return true;
}
