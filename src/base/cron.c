/* base/cron.c: reading a schedule, and walking to its next time.
 *
 * The walk is over instants, not over local times: each instant has one local time, so clock changes need no inverse.
 * It strides over days and hours that do not match, and goes by minutes where the offset changes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cron.h"
#include "timefmt.h"

enum { SEARCH_YEARS = 50, DAY_S = 86400, HOUR_S = 3600, MINUTE_S = 60, TEXT_MAX = 1024 };

/* What time_split() reaches, with room for the search: 1900 to 2199. */
#define TIME_MIN (-2208988800LL)
#define TIME_MAX 7226582400LL

/* --- reading -------------------------------------------------------------------------------------- */

struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min, min + 1, ...; NULL: numbers only */
    int n_names;
};

static const char *const month_names[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                          "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const weekday_names[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

static const struct field fields[] = {
    {"minute", 0, 59, NULL, 0},
    {"hour", 0, 23, NULL, 0},
    {"day of the month", 1, 31, NULL, 0},
    {"month", 1, 12, month_names, 12},
    {"day of the week", 0, 7, weekday_names, 7},
};

static bool fail(const struct field *f, struct str text, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "%s \"" STR_FMT "\": %s", f->name, STR_ARG(text), why);
}

/* A number or a name. */
static bool read_value(const struct field *f, struct str text, int *out, struct err *err)
{
    uint64_t n;
    for (int i = 0; i < f->n_names; i++)
        if (str_eq_nocase(text, str_from(f->names[i]))) {
            *out = f->min + i;
            return true;
        }
    if (text.len == 0 || text.len > 4 || !str_to_u64(text, &n))
        return fail(f, text, f->names ? "must be a number or a name like MON or JAN" : "must be a number", err);
    if (n < (uint64_t)f->min || n > (uint64_t)f->max)
        return err_set(err, ERR_INVALID, "%s \"" STR_FMT "\": must be between %d and %d", f->name, STR_ARG(text),
                       f->min, f->max);
    *out = (int)n;
    return true;
}

/* part = ("*" | value ["-" value]) ["/" step] */
static bool read_part(const struct field *f, struct str text, uint64_t *bits, struct err *err)
{
    struct str range, step_text, first, last;
    uint64_t step = 1;
    int from = f->min, to = f->max;
    bool has_step = str_cut(text, '/', &range, &step_text);
    if (has_step && (!str_to_u64(step_text, &step) || step == 0 || step > 1000))
        return fail(f, text, "the step after '/' must be a number from 1 on", err);
    if (!str_eq(range, STR("*"))) {
        bool has_end = str_cut(range, '-', &first, &last);
        if (!read_value(f, first, &from, err))
            return false;
        to = has_step ? f->max : from;
        if (has_end && !read_value(f, last, &to, err))
            return false;
        /* SAT-SUN: the week may as well end with Sunday. */
        if (has_end && f->n_names == 7 && to == 0 && from > 0)
            to = 7;
        if (from > to)
            return fail(f, text, "the range ends before it begins", err);
    }
    for (uint64_t i = (uint64_t)from; i <= (uint64_t)to; i += step)
        *bits |= 1ULL << i;
    return true;
}

static bool read_field(const struct field *f, struct str text, uint64_t *bits, struct err *err)
{
    struct str rest = text, part;
    while (str_next(&rest, ',', &part))
        if (!read_part(f, part, bits, err))
            return false;
    return true;
}

static bool split(struct str text, struct str out[5])
{
    int n = 0;
    size_t i = 0;
    for (;;) {
        while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\t'))
            i++;
        if (i == text.len)
            return n == 5;
        size_t from = i;
        while (i < text.len && text.ptr[i] != ' ' && text.ptr[i] != '\t')
            i++;
        if (n == 5)
            return false;
        out[n++] = str_slice(text, from, i);
    }
}

static const struct {
    const char *name, *means;
} nicknames[] = {
    {"@yearly", "0 0 1 1 *"},  {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

static int days_in(int month)
{
    return month == 2 ? 29 : month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* A day of the month that none of the months has can only come by its weekday. */
static bool can_come(const struct cron *c)
{
    if (!c->any_day && !c->any_weekday)
        return true;
    for (int month = 1; month <= 12; month++)
        if (c->months >> month & 1)
            for (int day = 1; day <= days_in(month); day++)
                if (c->days >> day & 1)
                    return true;
    return false;
}

bool cron_parse(struct str text, struct cron *out, struct err *err)
{
    struct str parts[5];
    uint64_t bits[5] = {0};
    text = str_trim(text);
    if (text.len > TEXT_MAX)
        return err_set(err, ERR_INVALID, "a schedule has at most %d bytes", TEXT_MAX);
    struct str whole = text;
    for (size_t i = 0; i < ARRAY_LEN(nicknames); i++)
        if (str_eq_nocase(text, str_from(nicknames[i].name)))
            text = str_from(nicknames[i].means);
    if (str_starts(text, STR("@")))
        return err_set(err, ERR_INVALID,
                       "schedule \"" STR_FMT "\": known are @hourly, @daily, @weekly, @monthly and @yearly",
                       STR_ARG(whole));
    if (!split(text, parts))
        return err_set(err, ERR_INVALID,
                       "schedule \"" STR_FMT "\" must have five fields (minute, hour, day of the month, month, day of "
                       "the week), like \"*/5 * * * *\", or be one of @hourly, @daily, @weekly, @monthly, @yearly",
                       STR_ARG(whole));
    for (size_t i = 0; i < 5; i++)
        if (!read_field(&fields[i], parts[i], &bits[i], err))
            return err_wrap(err, "schedule \"" STR_FMT "\"", STR_ARG(whole));
    struct cron c = {
        .minutes = bits[0],
        .hours = (uint32_t)bits[1],
        .days = (uint32_t)bits[2],
        .months = (uint16_t)bits[3],
        .weekdays = (uint8_t)((bits[4] | bits[4] >> 7) & 0x7F),
        .any_day = parts[2].ptr[0] == '*',
        .any_weekday = parts[4].ptr[0] == '*',
    };
    if (!can_come(&c))
        return err_set(err, ERR_INVALID, "schedule \"" STR_FMT "\" never comes: none of its months has such a day",
                       STR_ARG(whole));
    *out = c;
    return true;
}

/* --- the next time -------------------------------------------------------------------------------- */

struct walk {
    const struct cron *c;
    cron_offset_fn *offset;
    const void *zone;
};

static int32_t offset_at(const struct walk *w, int64_t t)
{
    return w->offset ? w->offset(w->zone, t) : 0;
}

static bool has_day(const struct cron *c, const struct time_fields *f)
{
    bool day = c->days >> f->day & 1, weekday = c->weekdays >> f->weekday & 1;
    if (!(c->months >> f->month & 1))
        return false;
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

static void split_local(int64_t local_s, struct time_fields *f)
{
    time_split(local_s * 1000000000LL, f);
}

static bool matches(const struct cron *c, const struct time_fields *f)
{
    return has_day(c, f) && c->hours >> f->hour & 1 && c->minutes >> f->minute & 1;
}

/* Whether a schedule that names hours has a time among the local minutes that the change at `t` skipped. */
static bool is_in_gap(const struct walk *w, int64_t t, int32_t before, int32_t now)
{
    for (int64_t local = t + before; local < t + now; local += MINUTE_S) {
        struct time_fields f;
        split_local(local, &f);
        if (matches(w->c, &f))
            return true;
    }
    return false;
}

/* Whether the clock has shown this local time before, ahead of a change within the last day. */
static bool is_repeated(const struct walk *w, int64_t t, int32_t now)
{
    int32_t earlier = offset_at(w, t - DAY_S);
    return earlier > now && offset_at(w, t - (earlier - now)) == earlier;
}

static int64_t seconds_to(const struct time_fields *f, int64_t unit)
{
    int64_t of_day = f->hour * HOUR_S + f->minute * MINUTE_S + f->second;
    return unit - of_day % unit;
}

/* As far as the offset stays what it is at `t`. */
static int64_t stride(const struct walk *w, int64_t t, int32_t offset, int64_t wanted)
{
    if (offset_at(w, t + wanted) == offset)
        return wanted;
    int64_t hour = MIN(wanted, (int64_t)HOUR_S);
    return offset_at(w, t + hour) == offset ? hour : MINUTE_S;
}

bool cron_next(const struct cron *c, int64_t after_s, cron_offset_fn *offset, const void *zone, int64_t *out)
{
    struct walk w = {c, offset, zone};
    bool is_hourly = c->hours == 0xFFFFFF;
    if (after_s < TIME_MIN || after_s > TIME_MAX)
        return false;
    int64_t floor = after_s - ((after_s % MINUTE_S) + MINUTE_S) % MINUTE_S;
    int64_t end = floor + SEARCH_YEARS * 366LL * DAY_S;
    for (int64_t t = floor + MINUTE_S; t < end;) {
        int32_t now = offset_at(&w, t), before = offset_at(&w, t - MINUTE_S);
        struct time_fields f;
        split_local(t + now, &f);
        if (!is_hourly && now > before && is_in_gap(&w, t, before, now)) {
            *out = t;
            return true;
        }
        if (!has_day(c, &f)) {
            t += stride(&w, t, now, seconds_to(&f, DAY_S));
        } else if (!(c->hours >> f.hour & 1)) {
            t += stride(&w, t, now, seconds_to(&f, HOUR_S));
        } else if (!(c->minutes >> f.minute & 1) || (!is_hourly && is_repeated(&w, t, now))) {
            t += MINUTE_S;
        } else {
            *out = t;
            return true;
        }
    }
    return false;
}
