/* base/timefmt.c: points in time to text and back, without the C library's time zones and locales.
 * SPDX-License-Identifier: Apache-2.0 */
#include "timefmt.h"

static const int64_t NS = 1000000000;

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char weekday_names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                          "Thursday", "Friday", "Saturday"};

/* The year starts in March here, so the leap day is its last, and 400 years are always 146,097 days. */
int64_t time_days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int64_t floor_div(int64_t n, int64_t d)
{
    return n / d - (n % d < 0);
}

static void split_s(int64_t s, struct time_fields *out)
{
    int64_t days = floor_div(s, 86400);
    int in_day = (int)(s - days * 86400);
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march_month = (int)((5 * day_of_year + 2) / 153);
    int month = march_month < 10 ? march_month + 3 : march_month - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    *out = (struct time_fields){
        .year = (int)year,
        .month = month,
        .day = (int)(day_of_year - (153 * march_month + 2) / 5 + 1),
        .hour = in_day / 3600,
        .minute = in_day / 60 % 60,
        .second = in_day % 60,
        .weekday = (int)(((days + 4) % 7 + 7) % 7),
        .yearday = (int)(days - time_days_from_civil(year, 1, 1)) + 1,
    };
}

void time_split(int64_t ns, struct time_fields *out)
{
    int64_t s = floor_div(ns, NS);
    split_s(s, out);
    out->nsec = (int)((uint64_t)ns - (uint64_t)s * (uint64_t)NS);
}

/* ---- Writing ---- */

static char *put(char *p, int n, int digits)
{
    for (int i = digits - 1; i >= 0; i--, n /= 10)
        p[i] = (char)('0' + n % 10);
    return p + digits;
}

static char *put_clock(char *p, const struct time_fields *t)
{
    p = put(p, t->hour, 2);
    *p++ = ':';
    p = put(p, t->minute, 2);
    *p++ = ':';
    return put(p, t->second, 2);
}

static char *put_date_time(char *p, const struct time_fields *t, char between)
{
    p = put(p, t->year, 4);
    *p++ = '-';
    p = put(p, t->month, 2);
    *p++ = '-';
    p = put(p, t->day, 2);
    *p++ = between;
    return put_clock(p, t);
}

static void split_or_zero(int64_t ns, struct time_fields *t)
{
    if (ns == TIME_NONE)
        *t = (struct time_fields){.year = 1, .month = 1, .day = 1};
    else
        time_split(ns, t);
}

static size_t format(char out[TIME_TEXT_MAX], int64_t ns, char between, bool fraction, bool zone)
{
    struct time_fields t;
    split_or_zero(ns, &t);
    char *p = put_date_time(out, &t, between);
    if (fraction && t.nsec != 0) {
        *p++ = '.';
        p = put(p, t.nsec, 9);
        while (p[-1] == '0')
            p--;
    }
    if (zone)
        *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - out);
}

size_t time_format_rfc3339(char out[TIME_TEXT_MAX], int64_t ns)
{
    return format(out, ns, 'T', false, true);
}

size_t time_format_rfc3339_nano(char out[TIME_TEXT_MAX], int64_t ns)
{
    return format(out, ns, 'T', true, true);
}

size_t time_format_sql(char out[TIME_TEXT_MAX], int64_t ns)
{
    return format(out, ns, ' ', false, false);
}

size_t time_format_http(char out[TIME_TEXT_MAX], int64_t unix_s)
{
    /* Four-digit years only: 0000-01-01 to 9999-12-31. */
    unix_s = MAX(MIN(unix_s, 253402300799), -62167219200);
    struct time_fields t;
    split_s(unix_s, &t);
    char *p = out;
    memcpy(p, weekday_names[t.weekday], 3);
    memcpy(p + 3, ", ", 2);
    p = put(p + 5, t.day, 2);
    *p++ = ' ';
    memcpy(p, month_names[t.month - 1], 3);
    p[3] = ' ';
    p = put(p + 4, t.year, 4);
    *p++ = ' ';
    p = put_clock(p, &t);
    memcpy(p, " GMT", 5);
    return (size_t)(p + 4 - out);
}

struct str time_rfc3339(struct arena *a, int64_t ns)
{
    char *out = arena_alloc(a, TIME_TEXT_MAX);
    return str_of(out, time_format_rfc3339(out, ns));
}

struct str time_rfc3339_nano(struct arena *a, int64_t ns)
{
    char *out = arena_alloc(a, TIME_TEXT_MAX);
    return str_of(out, time_format_rfc3339_nano(out, ns));
}

struct str time_sql(struct arena *a, int64_t ns)
{
    char *out = arena_alloc(a, TIME_TEXT_MAX);
    return str_of(out, time_format_sql(out, ns));
}

/* ---- Reading ----
 * Each take_* moves *s past what it read, or returns false. */

static bool take_char(struct str *s, const char *any_of)
{
    if (s->len == 0 || s->ptr[0] == '\0' || !strchr(any_of, s->ptr[0]))
        return false;
    *s = str_from_off(*s, 1);
    return true;
}

static bool take_digits(struct str *s, int digits, int *out)
{
    int n = 0;
    for (int i = 0; i < digits; i++) {
        if ((size_t)i >= s->len || s->ptr[i] < '0' || s->ptr[i] > '9')
            return false;
        n = n * 10 + (s->ptr[i] - '0');
    }
    *s = str_from_off(*s, (size_t)digits);
    *out = n;
    return true;
}

static bool is_real_date(const struct time_fields *t)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (t->month < 1 || t->month > 12 || t->day < 1 || t->day > days[t->month - 1])
        return false;
    bool leap = t->year % 4 == 0 && (t->year % 100 != 0 || t->year % 400 == 0);
    return t->month != 2 || t->day < 29 || leap;
}

static bool is_real_time(const struct time_fields *t)
{
    return t->hour <= 23 && t->minute <= 59 && t->second <= 60;
}

static int64_t to_seconds(const struct time_fields *t)
{
    return time_days_from_civil(t->year, t->month, t->day) * 86400 + t->hour * 3600 + t->minute * 60 + t->second;
}

static bool take_fraction(struct str *s, int *nsec)
{
    int scale = (int)NS / 10, n = 0, digits = 0, d;
    for (; take_digits(s, 1, &d); digits++, scale /= 10)
        n += d * scale;
    *nsec = n;
    return digits > 0;
}

/* "Z" or an offset, or nothing; *offset_s is what to take off for UTC. */
static bool take_zone(struct str *s, int *offset_s)
{
    *offset_s = 0;
    if (s->len == 0 || take_char(s, "Zz"))
        return true;
    int sign = s->ptr[0] == '-' ? -1 : 1, hours, minutes = 0;
    if (!take_char(s, "+-") || !take_digits(s, 2, &hours))
        return false;
    bool colon = take_char(s, ":");
    if ((colon || s->len > 0) && !take_digits(s, 2, &minutes))
        return false;
    if (hours > 23 || minutes > 59)
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool time_parse(struct str s, int64_t *ns)
{
    struct time_fields t = {0};
    int offset_s = 0;
    if (!take_digits(&s, 4, &t.year) || !take_char(&s, "-") || !take_digits(&s, 2, &t.month) ||
        !take_char(&s, "-") || !take_digits(&s, 2, &t.day) || !is_real_date(&t))
        return false;
    if (s.len > 0) {
        if (!take_char(&s, "Tt ") || !take_digits(&s, 2, &t.hour) || !take_char(&s, ":") ||
            !take_digits(&s, 2, &t.minute))
            return false;
        if (take_char(&s, ":")) {
            if (!take_digits(&s, 2, &t.second))
                return false;
            if (take_char(&s, ".,") && !take_fraction(&s, &t.nsec))
                return false;
        }
        take_char(&s, " ");
        if (!is_real_time(&t) || !take_zone(&s, &offset_s) || s.len > 0)
            return false;
    }
    if (t.year == 1) {
        *ns = TIME_NONE;
        return true;
    }
    __int128 result = (__int128)(to_seconds(&t) - offset_s) * NS + t.nsec;
    if (result <= TIME_NONE || result > INT64_MAX)
        return false;
    *ns = (int64_t)result;
    return true;
}

/* One of `n` names of which the first `len` bytes count (0: all). */
static bool take_name(struct str *s, const char *names, size_t stride, int n, size_t len, int *index)
{
    for (int i = 0; i < n; i++) {
        struct str name = str_from(names + (size_t)i * stride);
        if (len > 0)
            name = str_slice(name, 0, len);
        if (str_starts(*s, name)) {
            *s = str_from_off(*s, name.len);
            *index = i;
            return true;
        }
    }
    return false;
}

/* `form`: w short and W long weekday, D two-digit day, d the same with a space for its zero, b month name,
 * Y four-digit and y two-digit year, h m s two digits each; anything else is itself. */
static bool scan(struct str s, const char *form, struct time_fields *t)
{
    int ignored;
    for (; *form; form++) {
        bool ok = false;
        switch (*form) {
        case 'w': ok = take_name(&s, weekday_names[0], sizeof weekday_names[0], 7, 3, &ignored); break;
        case 'W': ok = take_name(&s, weekday_names[0], sizeof weekday_names[0], 7, 0, &ignored); break;
        case 'D': ok = take_digits(&s, 2, &t->day); break;
        case 'd': ok = take_char(&s, " ") ? take_digits(&s, 1, &t->day) : take_digits(&s, 2, &t->day); break;
        case 'b':
            ok = take_name(&s, month_names[0], sizeof month_names[0], 12, 0, &t->month);
            t->month++;
            break;
        case 'Y': ok = take_digits(&s, 4, &t->year); break;
        case 'y': ok = take_digits(&s, 2, &t->year); break;
        case 'h': ok = take_digits(&s, 2, &t->hour); break;
        case 'm': ok = take_digits(&s, 2, &t->minute); break;
        case 's': ok = take_digits(&s, 2, &t->second); break;
        default: ok = take_char(&s, (const char[]){*form, '\0'});
        }
        if (!ok)
            return false;
    }
    return s.len == 0;
}

bool time_parse_http(struct str s, int64_t now_s, int64_t *unix_s)
{
    struct time_fields t = {0};
    if (!scan(s, "w, D b Y h:m:s GMT", &t) && !scan(s, "w b d h:m:s Y", &t)) {
        if (!scan(s, "W, D-b-y h:m:s GMT", &t))
            return false;
        struct time_fields now;
        split_s(now_s, &now);
        t.year += now.year / 100 * 100;
        if (t.year > now.year + 50)
            t.year -= 100;
    }
    if (!is_real_date(&t) || !is_real_time(&t))
        return false;
    *unix_s = to_seconds(&t);
    return true;
}
