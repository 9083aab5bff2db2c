/* base/timefmt.h: points in time as text. Times are wall_ns() values: nanoseconds since 1970-01-01 UTC,
 * which reach from 1677 to 2262. TIME_NONE stands for "no time" and is written as year 1, the zero time of
 * the management API.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_TIMEFMT_H
#define BASE_TIMEFMT_H

#include "arena.h"

#define TIME_NONE INT64_MIN

/* Room for any of the texts below, with a NUL. */
enum { TIME_TEXT_MAX = 40 };

/* RFC 3339 in UTC: "2024-05-06T07:08:09Z", and with nanoseconds, trailing zeros cut
 * ("2024-05-06T07:08:09.5Z"). Return the length. */
size_t time_format_rfc3339(char out[TIME_TEXT_MAX], int64_t ns);
size_t time_format_rfc3339_nano(char out[TIME_TEXT_MAX], int64_t ns);
/* "2024-05-06 07:08:09": SQLite's CURRENT_TIMESTAMP. */
size_t time_format_sql(char out[TIME_TEXT_MAX], int64_t ns);
/* IMF-fixdate "Mon, 06 May 2024 07:08:09 GMT" (RFC 9110 §5.6.7) of seconds since 1970; always 29 bytes. */
size_t time_format_http(char out[TIME_TEXT_MAX], int64_t unix_s);

struct str time_rfc3339(struct arena *a, int64_t ns);
struct str time_rfc3339_nano(struct arena *a, int64_t ns);
struct str time_sql(struct arena *a, int64_t ns);

/* Reads RFC 3339 leniently: 'T', 't' or a space between date and time; fraction of any length after '.' or
 * ',' (cut to ns); offset "Z", "z", "+hh:mm", "+hhmm", "+hh", or none at all, which is UTC (so SQLite's form
 * too); seconds may be missing; a date alone is its midnight. A leap second counts as the next second.
 * Year 1 gives TIME_NONE. False, leaving *ns alone, for anything else or out of range. */
bool time_parse(struct str s, int64_t *ns);

/* Reads the three HTTP dates: IMF-fixdate, RFC 850 (a two-digit year more than 50 years after `now_s` is in
 * the past) and asctime. False, leaving *unix_s alone, for anything else. */
bool time_parse_http(struct str s, int64_t now_s, int64_t *unix_s);

/* Civil date (proleptic Gregorian) <-> days since 1970-01-01, for those who need the fields. */
struct time_fields {
    int year, month, day;              /* month and day from 1 */
    int hour, minute, second;
    int nsec;
    int weekday;                       /* 0 is Sunday */
    int yearday;                       /* from 1 */
};
void time_split(int64_t ns, struct time_fields *out);
int64_t time_days_from_civil(int64_t year, int month, int day);

#endif
