/* starlark/unicode.c: UTF-8 and the few character properties that the language looks at.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

struct uni_range {
    uint32_t from, to;
};
/* Every `stride`-th code point from..to maps to itself plus delta. */
struct uni_map {
    uint32_t from, to, stride;
    int32_t delta;
};
#include "unicode_gen.h"

uint32_t utf8_decode(struct str s, size_t *width)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    uint32_t c = p[0];
    *width = 1;
    if (c < 0x80)
        return c;
    if (c >= 0xC2 && c < 0xE0 && s.len >= 2 && (p[1] & 0xC0) == 0x80) {
        *width = 2;
        return (c & 0x1F) << 6 | (p[1] & 0x3Fu);
    }
    if (c >= 0xE0 && c < 0xF0 && s.len >= 3 && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80) {
        uint32_t r = (c & 0xF) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        if (r >= 0x800 && (r < 0xD800 || r > 0xDFFF)) {
            *width = 3;
            return r;
        }
    }
    if (c >= 0xF0 && c < 0xF5 && s.len >= 4 && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80 && (p[3] & 0xC0) == 0x80) {
        uint32_t r = (c & 7) << 18 | (p[1] & 0x3Fu) << 12 | (p[2] & 0x3Fu) << 6 | (p[3] & 0x3Fu);
        if (r >= 0x10000 && r <= 0x10FFFF) {
            *width = 4;
            return r;
        }
    }
    return 0xFFFD;
}

size_t utf8_encode(uint32_t r, char out[4])
{
    if (r > 0x10FFFF || (r >= 0xD800 && r < 0xE000))
        r = 0xFFFD;
    if (r < 0x80) {
        out[0] = (char)r;
        return 1;
    }
    if (r < 0x800) {
        out[0] = (char)(0xC0 | r >> 6);
        out[1] = (char)(0x80 | (r & 0x3F));
        return 2;
    }
    if (r < 0x10000) {
        out[0] = (char)(0xE0 | r >> 12);
        out[1] = (char)(0x80 | (r >> 6 & 0x3F));
        out[2] = (char)(0x80 | (r & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | r >> 18);
    out[1] = (char)(0x80 | (r >> 12 & 0x3F));
    out[2] = (char)(0x80 | (r >> 6 & 0x3F));
    out[3] = (char)(0x80 | (r & 0x3F));
    return 4;
}

size_t utf8_count(struct str s)
{
    size_t n = 0, w;
    for (size_t i = 0; i < s.len; i += w, n++)
        utf8_decode(str_of(s.ptr + i, s.len - i), &w);
    return n;
}

static bool in_ranges(const struct uni_range *r, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c > r[mid].to)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && c >= r[lo].from;
}
#define IN(table, c) in_ranges(table, ARRAY_LEN(table), c)

static uint32_t map_case(const struct uni_map *m, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c > m[mid].to)
            lo = mid + 1;
        else
            hi = mid;
    }
    /* Ranges with a stride may overlap with the one before. */
    for (size_t i = lo; i < n && i < lo + 3; i++)
        if (c >= m[i].from && c <= m[i].to && (c - m[i].from) % m[i].stride == 0)
            return (uint32_t)((int32_t)c + m[i].delta);
    return c;
}

bool uni_is_letter(uint32_t r)
{
    if (r < 0x80)
        return (r | 0x20) >= 'a' && (r | 0x20) <= 'z';
    return IN(letter_ranges, r);
}
bool uni_is_digit(uint32_t r)
{
    return r < 0x80 ? r >= '0' && r <= '9' : IN(digit_ranges, r);
}
bool uni_is_upper(uint32_t r)
{
    return r < 0x80 ? r >= 'A' && r <= 'Z' : IN(upper_ranges, r);
}
bool uni_is_lower(uint32_t r)
{
    return r < 0x80 ? r >= 'a' && r <= 'z' : IN(lower_ranges, r);
}
bool uni_is_title(uint32_t r)
{
    return r >= 0x80 && IN(title_ranges, r);
}
bool uni_is_space(uint32_t r)
{
    return r < 0x80 ? r == ' ' || (r >= '\t' && r <= '\r') : IN(space_ranges, r);
}
bool uni_is_print(uint32_t r)
{
    return r < 0x80 ? r >= 0x20 && r < 0x7f : IN(print_ranges, r);
}

uint32_t uni_to_upper(uint32_t r)
{
    if (r < 0x80)
        return r >= 'a' && r <= 'z' ? r - 32 : r;
    return map_case(upper_map, ARRAY_LEN(upper_map), r);
}
uint32_t uni_to_lower(uint32_t r)
{
    if (r < 0x80)
        return r >= 'A' && r <= 'Z' ? r + 32 : r;
    return map_case(lower_map, ARRAY_LEN(lower_map), r);
}
uint32_t uni_to_title(uint32_t r)
{
    if (r < 0x80)
        return uni_to_upper(r);
    return map_case(title_map, ARRAY_LEN(title_map), r);
}
bool uni_is_cased(uint32_t r)
{
    return uni_to_upper(r) != r || uni_to_lower(r) != r;
}
