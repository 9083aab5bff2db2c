/* db/time.c: times as text, the way databases keep them.
 *
 *     time = date [ ("T" | " ") clock ] [ zone ]     date = YYYY-MM-DD     clock = HH:MM[:SS[.fraction]]
 *     zone = [" "] ("Z" | ("+" | "-") HH [":"] MM) [" " letters] [" m=" anything]
 *
 * The last two parts are how Go prints a time ("2024-01-02 03:04:05.6 +0000 UTC m=+0.1"), which the
 * reference implementation stored in places.
 * SPDX-License-Identifier: Apache-2.0 */
#include "db.h"

#include <stdio.h>

/* Days from 1970-01-01 of a day of the proleptic Gregorian calendar; years count from March, so that the
 * leap day is the last of its year, in eras of 400 years. */
static int64_t days_from_date(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int64_t *y, int *m, int *d)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

void db_time_format(int64_t ns, char *out)
{
    int64_t secs = ns / 1000000000, frac = ns % 1000000000;
    if (frac < 0) {
        frac += 1000000000;
        secs--;
    }
    int64_t days = secs / 86400, rest = secs % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t y;
    int m, d;
    date_from_days(days, &y, &m, &d);
    /* The moduli only tell the compiler how long the text can be. */
    snprintf(out, DB_TIME_LEN + 1, "%04u-%02u-%02u %02u:%02u:%02u.%09u", (unsigned)y % 10000, (unsigned)m % 100,
             (unsigned)d % 100, (unsigned)(rest / 3600) % 100, (unsigned)(rest / 60 % 60),
             (unsigned)(rest % 60), (unsigned)frac % 1000000000);
}

struct scan {
    struct str s;
    size_t at;
};

static bool take_char(struct scan *p, const char *any_of)
{
    if (p->at < p->s.len && p->s.ptr[p->at] && strchr(any_of, p->s.ptr[p->at])) {
        p->at++;
        return true;
    }
    return false;
}

/* Exactly `digits` digits, with a value of at most `max`. */
static bool take_number(struct scan *p, int digits, int max, int *out)
{
    int n = 0;
    for (int i = 0; i < digits; i++) {
        if (p->at >= p->s.len || p->s.ptr[p->at] < '0' || p->s.ptr[p->at] > '9')
            return false;
        n = n * 10 + (p->s.ptr[p->at++] - '0');
    }
    *out = n;
    return n <= max;
}

/* Digits after the dot; those past the ninth are dropped. */
static bool take_fraction(struct scan *p, int64_t *ns)
{
    int64_t unit = 100000000;
    int digit, n = 0;
    while (take_number(p, 1, 9, &digit)) {
        *ns += digit * unit;
        unit /= 10;
        n++;
    }
    return n > 0;
}

static bool take_zone(struct scan *p, int *offset_secs)
{
    take_char(p, " ");
    if (p->at == p->s.len || take_char(p, "Zz"))
        return true;
    int sign = take_char(p, "-") ? -1 : take_char(p, "+") ? 1 : 0, hours = 0, minutes = 0;
    if (sign && (!take_number(p, 2, 23, &hours) || (take_char(p, ":"), !take_number(p, 2, 59, &minutes))))
        return false;
    *offset_secs = sign * (hours * 3600 + minutes * 60);
    if (sign && !take_char(p, " "))
        return true;
    /* the zone's name or a second offset, then the monotonic reading */
    struct str name = str_from_off(p->s, p->at);
    str_cut(name, ' ', &name, NULL);
    for (size_t i = 0; i < name.len; i++)
        if (!((name.ptr[i] >= 'A' && name.ptr[i] <= 'Z') || name.ptr[i] == '+' || name.ptr[i] == '-' ||
              (name.ptr[i] >= '0' && name.ptr[i] <= '9')))
            return false;
    p->at += name.len;
    if (str_starts(str_from_off(p->s, p->at), STR(" m=")))
        p->at = p->s.len;
    return name.len > 0 && (sign || str_eq(name, STR("UTC")));
}

static int days_in_month(int y, int m)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return days[m - 1] + (m == 2 && is_leap);
}

bool db_time_parse(struct str s, int64_t *ns)
{
    struct scan p = {.s = str_trim(s)};
    int y, mo, d, h = 0, mi = 0, sec = 0, offset = 0;
    int64_t frac = 0;
    if (!take_number(&p, 4, 9999, &y) || !take_char(&p, "-") || !take_number(&p, 2, 12, &mo) ||
        !take_char(&p, "-") || !take_number(&p, 2, 31, &d))
        return false;
    if (y < 1 || mo < 1 || d < 1 || d > days_in_month(y, mo))
        return false;
    if (p.at < p.s.len) {
        if (!take_char(&p, "Tt ") || !take_number(&p, 2, 23, &h) || !take_char(&p, ":") ||
            !take_number(&p, 2, 59, &mi))
            return false;
        if (take_char(&p, ":") && !take_number(&p, 2, 60, &sec))
            return false;
        if (take_char(&p, ".") && !take_fraction(&p, &frac))
            return false;
        if (!take_zone(&p, &offset) || p.at != p.s.len)
            return false;
    }
    int64_t secs = days_from_date(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - offset;
    int64_t whole;
    if (__builtin_mul_overflow(secs, (int64_t)1000000000, &whole) || __builtin_add_overflow(whole, frac, &whole))
        whole = 0;
    *ns = whole;
    return true;
}
