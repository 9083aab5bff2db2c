/* starlark/time_int.h: the parts of the time module.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef STARLARK_TIME_INT_H
#define STARLARK_TIME_INT_H

#include "lib_int.h"

struct civil {
    int64_t year;
    int month, day, hour, min, sec, weekday /* 0 Sunday */, yday /* from 1 */;
};
/* Month and day may be out of range: they carry over. */
int64_t days_from_civil(int64_t y, int64_t m, int64_t d);
void civil_from_days(int64_t days, struct civil *c);
void civil_from_unix(int64_t sec, struct civil *c);

struct zone;
/* "" and "UTC", "Local", or a name of the system's zone database; NULL: unknown. Immortal. */
const struct zone *zone_get(struct str name);
struct str zone_name(const struct zone *z);
void zone_at(const struct zone *z, int64_t sec, int32_t *offset, const char **abbr);
int64_t zone_to_unix(const struct zone *z, int64_t local);

/* An instant with the zone it is shown in. */
struct star_time {
    int64_t sec;    /* since 1970 UTC */
    int32_t nsec;
    bool is_fixed;  /* parsed with an offset: `offset` and `abbr` rather than a zone */
    int32_t offset;
    char abbr[8];
    const struct zone *zone;
};

/* Layouts are written with Go's reference time, "2006-01-02 15:04:05". */
bool layout_format(struct buf *out, const struct star_time *t, struct str layout);
/* Fails with Go's kind of message in *err. Times without a zone are in `zone`. */
bool layout_parse(struct str layout, struct str value, const struct zone *zone, struct star_time *out, struct err *err);
bool duration_format(struct buf *out, int64_t ns);
bool duration_parse(struct str s, int64_t *out);

#endif
