/* db/time.c: times as text, the way databases keep them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db.h"
#include "timefmt.h"

#include <stdio.h>

void db_time_format(int64_t ns, char *out)
{
    struct time_fields f;
    time_split(ns, &f);
    /* The moduli only tell the compiler how long the text can be. */
    snprintf(out, DB_TIME_LEN + 1, "%04u-%02u-%02u %02u:%02u:%02u.%09u", (unsigned)f.year % 10000,
             (unsigned)f.month % 100, (unsigned)f.day % 100, (unsigned)f.hour % 100, (unsigned)f.minute % 100,
             (unsigned)f.second % 100, (unsigned)f.nsec % 1000000000);
}

static bool is_zone_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 'A' || s.ptr[i] > 'Z')
            return false;
    return s.len > 0;
}

/* Go: date " " clock [" " offset] [" " name] [" m=" monotonic]. What is left is the date, the clock and the
 * offset behind it without the space. A name without an offset before it must be UTC. */
bool db_time_parse(struct str s, int64_t *ns)
{
    char text[TIME_TEXT_MAX * 2];
    size_t len = 0;
    int parts = 0;
    bool has_offset = false;
    s = str_trim(s);
    for (struct str rest = s, part; str_next(&rest, ' ', &part); parts++) {
        bool is_offset = parts == 2 && part.len > 1 && (part.ptr[0] == '+' || part.ptr[0] == '-');
        if (parts >= 2 && str_starts(part, STR("m=")))
            break;
        if (parts >= 2 && is_zone_name(part) && (has_offset || str_eq(part, STR("UTC"))))
            continue;
        if (parts >= 2 && !is_offset)
            return false;
        has_offset = has_offset || is_offset;
        if (len + part.len + 1 > sizeof text)
            return false;
        if (parts == 1)
            text[len++] = ' ';
        memcpy(text + len, part.ptr, part.len);
        len += part.len;
    }
    int64_t value;
    if (!time_parse(str_of(text, len), &value))
        return false;
    *ns = value == TIME_NONE ? 0 : value;
    return true;
}
