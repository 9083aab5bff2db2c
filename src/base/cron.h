/* base/cron.h: schedules in the notation of cron: when is the next time?
 *
 *     minute (0-59)  hour (0-23)  day of the month (1-31)  month (1-12, JAN-DEC)  day of the week (0-7, SUN-SAT)
 *
 * A field is a list of values and ranges with steps: `*`, `5`, `1,15`, `9-17`, `MON-FRI`, `* / 5` (without the blanks),
 * `10-40/10`, `3/20` (from 3 on). 0 and 7 are both Sunday. Where both the day of the month and that of the week are
 * restricted (neither begins with `*`) one of them is enough, as in every cron since 1987. Instead of five fields:
 * @yearly (@annually), @monthly, @weekly, @daily (@midnight), @hourly.
 *
 * When clocks change. A schedule that names hours keeps to what the clock on the wall says: a time that is skipped comes
 * at the moment of the change, a time that comes twice counts once. One for every hour follows the passing of time: it
 * comes in each hour that there is, twice in the one that is repeated and never in the one that is not there.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CRON_H
#define BASE_CRON_H

#include "err.h"
#include "str.h"

struct cron {
    uint64_t minutes;          /* bit n: minute n */
    uint32_t hours, days;      /* days from bit 1 */
    uint16_t months;           /* from bit 1 */
    uint8_t weekdays;          /* bit 0 is Sunday */
    bool any_day, any_weekday; /* the field begins with '*' */
};

/* Fails naming the field, and on a schedule that never comes ("0 0 30 2 *"). */
bool cron_parse(struct str text, struct cron *out, struct err *err);

/* Seconds east of UTC in force at `unix_s`. */
typedef int32_t cron_offset_fn(const void *zone, int64_t unix_s);

/* The first time later than `after_s` (seconds since 1970, of the years 1900 to 2198), a whole minute. `offset` NULL is
 * UTC. False when there is none within 50 years, or out of that range. */
bool cron_next(const struct cron *c, int64_t after_s, cron_offset_fn *offset, const void *zone, int64_t *out);

#endif
