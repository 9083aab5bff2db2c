/* http/range.c: what a Range header asks for (RFC 9110 section 14).
 * SPDX-License-Identifier: Apache-2.0 */
#include "http_static.h"
#include "http_url.h"

static bool is_number(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0;
}

/* Digits past 64 bits are more than any content has: as good as the largest number. */
static uint64_t number_of(struct str s)
{
    uint64_t n;
    return str_to_u64(s, &n) ? n : UINT64_MAX;
}

/* bytes-range = "bytes=" ( first-pos "-" [ last-pos ] / "-" suffix-length ) */
enum http_range_kind http_range_parse(struct str range, uint64_t size, uint64_t *first, uint64_t *len)
{
    struct str unit, set, from_text, to_text;
    range = str_trim(range);
    if (!str_cut(range, '=', &unit, &set) || !str_eq_nocase(str_trim(unit), STR("bytes")))
        return HTTP_RANGE_NONE;
    if (str_chr(set, ',') != STR_NPOS || !str_cut(str_trim(set), '-', &from_text, &to_text))
        return HTTP_RANGE_NONE;
    if ((from_text.len > 0 && !is_number(from_text)) || (to_text.len > 0 && !is_number(to_text)))
        return HTTP_RANGE_NONE;

    if (from_text.len == 0) {
        if (to_text.len == 0)
            return HTTP_RANGE_NONE;
        uint64_t n = MIN(number_of(to_text), size);
        if (n == 0)
            return HTTP_RANGE_BAD;
        *first = size - n;
        *len = n;
        return HTTP_RANGE_ONE;
    }
    uint64_t from = number_of(from_text), to = to_text.len > 0 ? number_of(to_text) : UINT64_MAX;
    if (to < from)
        return HTTP_RANGE_NONE; /* an invalid range set is ignored (section 14.2) */
    if (from >= size)
        return HTTP_RANGE_BAD;
    *first = from;
    *len = MIN(to, size - 1) - from + 1;
    return HTTP_RANGE_ONE;
}
