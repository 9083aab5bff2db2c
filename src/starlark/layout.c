/* starlark/layout.c: times as text, by Go's layouts; durations as text ("1h2m3.5s").
 * SPDX-License-Identifier: Apache-2.0 */
#include "time_int.h"

#include <stdio.h>

enum unit {
    U_TEXT, U_YEAR4, U_YEAR2, U_MONTH_LONG, U_MONTH_SHORT, U_MONTH2, U_MONTH1, U_WEEKDAY_LONG, U_WEEKDAY_SHORT, U_DAY2,
    U_DAY_SPACE, U_DAY1, U_YDAY3, U_HOUR24, U_HOUR12_2, U_HOUR12_1, U_MIN2, U_MIN1, U_SEC2, U_SEC1, U_PM, U_pm, U_ZONE,
    U_OFF_COLON_Z, U_OFF_Z, U_OFF_COLON, U_OFF, U_OFF_H, U_FRAC0, U_FRAC9,
};
/* Longest first where one begins another. */
static const struct {
    const char *text;
    enum unit unit;
} units[] = {
    {"January", U_MONTH_LONG}, {"Jan", U_MONTH_SHORT}, {"Monday", U_WEEKDAY_LONG}, {"Mon", U_WEEKDAY_SHORT}, {"MST", U_ZONE},
    {"2006", U_YEAR4}, {"002", U_YDAY3}, {"01", U_MONTH2}, {"02", U_DAY2}, {"03", U_HOUR12_2}, {"04", U_MIN2}, {"05", U_SEC2},
    {"06", U_YEAR2}, {"15", U_HOUR24}, {"PM", U_PM}, {"pm", U_pm}, {"-07:00", U_OFF_COLON}, {"-0700", U_OFF}, {"-07", U_OFF_H},
    {"Z07:00", U_OFF_COLON_Z}, {"Z0700", U_OFF_Z}, {"_2", U_DAY_SPACE}, {"1", U_MONTH1}, {"2", U_DAY1}, {"3", U_HOUR12_1},
    {"4", U_MIN1}, {"5", U_SEC1},
};
static const char *const months[] = {"January", "February", "March", "April", "May", "June", "July", "August", "September",
                                     "October", "November", "December"};
static const char *const weekdays[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

/* The next piece of a layout: literal text before *unit, and how much of the layout both take. */
static size_t next_unit(struct str layout, struct str *text, enum unit *unit, int *digits)
{
    for (size_t i = 0; i < layout.len; i++) {
        struct str rest = str_from_off(layout, i);
        if ((rest.ptr[0] == '.' || rest.ptr[0] == ',') && rest.len > 1 && (rest.ptr[1] == '0' || rest.ptr[1] == '9')) {
            size_t n = 1;
            while (n < rest.len && rest.ptr[n] == rest.ptr[1])
                n++;
            if ((n == rest.len || rest.ptr[n] < '0' || rest.ptr[n] > '9') && n <= 10) {
                *text = str_slice(layout, 0, i);
                *unit = rest.ptr[1] == '0' ? U_FRAC0 : U_FRAC9;
                *digits = (int)n - 1;
                return i + n;
            }
        }
        for (size_t k = 0; k < ARRAY_LEN(units); k++) {
            struct str u = str_from(units[k].text);
            if (!str_starts(rest, u))
                continue;
            if ((units[k].unit == U_MONTH_SHORT || units[k].unit == U_WEEKDAY_SHORT) && rest.len > u.len && rest.ptr[u.len] >= 'a' && rest.ptr[u.len] <= 'z')
                break;
            *text = str_slice(layout, 0, i);
            *unit = units[k].unit;
            return i + u.len;
        }
    }
    *text = layout;
    *unit = U_TEXT;
    return layout.len;
}

static void add_offset(struct buf *b, int32_t offset, enum unit u)
{
    if (offset == 0 && (u == U_OFF_COLON_Z || u == U_OFF_Z)) {
        buf_add_char(b, 'Z');
        return;
    }
    int m = (offset < 0 ? -offset : offset) / 60;
    buf_printf(b, "%c%02d", offset < 0 ? '-' : '+', m / 60);
    if (u != U_OFF_H)
        buf_printf(b, u == U_OFF_COLON || u == U_OFF_COLON_Z ? ":%02d" : "%02d", m % 60);
}

static void add_fraction(struct buf *b, int32_t nsec, enum unit u, int digits)
{
    char text[16];
    snprintf(text, sizeof text, "%09d", nsec);
    text[digits] = 0;
    if (u == U_FRAC9) {
        while (digits > 0 && text[digits - 1] == '0')
            text[--digits] = 0;
        if (digits == 0)
            return;
    }
    buf_printf(b, ".%s", text);
}

bool layout_format(struct buf *b, const struct star_time *t, struct str layout)
{
    struct civil c;
    int32_t offset = t->offset;
    const char *abbr = t->abbr;
    if (!t->is_fixed)
        zone_at(t->zone, t->sec, &offset, &abbr);
    civil_from_unix(t->sec + offset, &c);
    int h12 = c.hour % 12 ? c.hour % 12 : 12;
    while (layout.len > 0) {
        struct str text;
        enum unit u;
        int digits = 0;
        layout = str_from_off(layout, next_unit(layout, &text, &u, &digits));
        buf_add_str(b, text);
        switch (u) {
        case U_TEXT: break;
        case U_YEAR4: buf_printf(b, "%04lld", (long long)c.year); break;
        case U_YEAR2: buf_printf(b, "%02d", (int)(((c.year % 100) + 100) % 100)); break;
        case U_MONTH_LONG: buf_add_z(b, months[c.month - 1]); break;
        case U_MONTH_SHORT: buf_add(b, months[c.month - 1], 3); break;
        case U_MONTH2: buf_printf(b, "%02d", c.month); break;
        case U_MONTH1: buf_printf(b, "%d", c.month); break;
        case U_WEEKDAY_LONG: buf_add_z(b, weekdays[c.weekday]); break;
        case U_WEEKDAY_SHORT: buf_add(b, weekdays[c.weekday], 3); break;
        case U_DAY2: buf_printf(b, "%02d", c.day); break;
        case U_DAY_SPACE: buf_printf(b, "%2d", c.day); break;
        case U_DAY1: buf_printf(b, "%d", c.day); break;
        case U_YDAY3: buf_printf(b, "%03d", c.yday); break;
        case U_HOUR24: buf_printf(b, "%02d", c.hour); break;
        case U_HOUR12_2: buf_printf(b, "%02d", h12); break;
        case U_HOUR12_1: buf_printf(b, "%d", h12); break;
        case U_MIN2: buf_printf(b, "%02d", c.min); break;
        case U_MIN1: buf_printf(b, "%d", c.min); break;
        case U_SEC2: buf_printf(b, "%02d", c.sec); break;
        case U_SEC1: buf_printf(b, "%d", c.sec); break;
        case U_PM: buf_add_z(b, c.hour >= 12 ? "PM" : "AM"); break;
        case U_pm: buf_add_z(b, c.hour >= 12 ? "pm" : "am"); break;
        case U_ZONE:
            if (abbr[0] && abbr[0] != '-' && abbr[0] != '+')
                buf_add_z(b, abbr);
            else
                add_offset(b, offset, offset % 3600 ? U_OFF : U_OFF_H);
            break;
        case U_FRAC0: case U_FRAC9: add_fraction(b, t->nsec, u, digits); break;
        default: add_offset(b, offset, u);
        }
    }
    return !b->is_full;
}

/* ---- parsing ---- */

struct parsed {
    int64_t year;
    int month, day, hour, min, sec, yday;
    int32_t nsec, offset;
    bool pm_set, pm, has_offset, has_abbr;
    char abbr[8];
    const char *range;  /* what is out of range, NULL when nothing is */
};

static bool number(struct str *v, int min, int max, int *out)
{
    int n = 0, i = 0;
    while (i < max && (size_t)i < v->len && v->ptr[i] >= '0' && v->ptr[i] <= '9')
        n = n * 10 + (v->ptr[i++] - '0');
    if (i < min)
        return false;
    *v = str_from_off(*v, (size_t)i);
    *out = n;
    return true;
}

static bool name_of(struct str *v, const char *const *names, int n, bool is_short, int *out)
{
    for (int i = 0; i < n; i++) {
        struct str name = str_from(names[i]);
        if (is_short)
            name.len = 3;
        if (v->len >= name.len && str_eq_nocase(str_slice(*v, 0, name.len), name)) {
            *v = str_from_off(*v, name.len);
            *out = i;
            return true;
        }
    }
    return false;
}

static bool fraction(struct str *v, int32_t *nsec)
{
    int64_t n = 0, scale = 1000000000;
    size_t i = 1;
    for (; i < v->len && v->ptr[i] >= '0' && v->ptr[i] <= '9'; i++) {
        if (scale > 1) {
            n = n * 10 + (v->ptr[i] - '0');
            scale /= 10;
        }
    }
    if (i == 1)
        return false;
    *nsec = (int32_t)(n * scale);
    *v = str_from_off(*v, i);
    return true;
}

static bool parse_offset(struct str *v, enum unit u, struct parsed *p)
{
    if ((u == U_OFF_COLON_Z || u == U_OFF_Z) && v->len > 0 && v->ptr[0] == 'Z') {
        *v = str_from_off(*v, 1);
        p->has_offset = true;
        p->offset = 0;
        memcpy(p->abbr, "UTC", 4);
        return true;
    }
    if (v->len == 0 || (v->ptr[0] != '+' && v->ptr[0] != '-'))
        return false;
    bool neg = v->ptr[0] == '-';
    int h, m = 0;
    *v = str_from_off(*v, 1);
    if (!number(v, 2, 2, &h))
        return false;
    if (u == U_OFF_COLON || u == U_OFF_COLON_Z) {
        if (v->len == 0 || v->ptr[0] != ':')
            return false;
        *v = str_from_off(*v, 1);
    }
    if (u != U_OFF_H && !number(v, 2, 2, &m))
        return false;
    p->offset = (neg ? -1 : 1) * (h * 3600 + m * 60);
    p->has_offset = true;
    return h <= 24 && m < 60;
}

static bool in_range(struct parsed *p, int v, int lo, int hi, const char *what)
{
    if ((v < lo || v > hi) && !p->range)
        p->range = what;
    return true;
}

static bool parse_unit(struct str *v, enum unit u, struct parsed *p, bool frac_follows)
{
    int n = 0;
    switch (u) {
    case U_TEXT: return true;
    case U_YEAR4: return number(v, 4, 4, &n) && (p->year = n, true);
    case U_YEAR2: return number(v, 2, 2, &n) && (p->year = n >= 69 ? 1900 + n : 2000 + n, true);
    case U_MONTH_LONG: return name_of(v, months, 12, false, &n) && (p->month = n + 1, true);
    case U_MONTH_SHORT: return name_of(v, months, 12, true, &n) && (p->month = n + 1, true);
    case U_MONTH2: return number(v, 2, 2, &p->month) && in_range(p, p->month, 1, 12, "month");
    case U_MONTH1: return number(v, 1, 2, &p->month) && in_range(p, p->month, 1, 12, "month");
    case U_WEEKDAY_LONG: return name_of(v, weekdays, 7, false, &n);
    case U_WEEKDAY_SHORT: return name_of(v, weekdays, 7, true, &n);
    case U_DAY2: return number(v, 2, 2, &p->day);
    case U_DAY_SPACE:
        if (v->len > 0 && v->ptr[0] == ' ')
            *v = str_from_off(*v, 1);
        return number(v, 1, 2, &p->day);
    case U_DAY1: return number(v, 1, 2, &p->day);
    case U_YDAY3: return number(v, 3, 3, &p->yday);
    case U_HOUR24: return number(v, 1, 2, &p->hour) && in_range(p, p->hour, 0, 23, "hour");
    case U_HOUR12_2: return number(v, 2, 2, &p->hour) && in_range(p, p->hour, 0, 12, "hour");
    case U_HOUR12_1: return number(v, 1, 2, &p->hour) && in_range(p, p->hour, 0, 12, "hour");
    case U_MIN2: return number(v, 2, 2, &p->min) && in_range(p, p->min, 0, 59, "minute");
    case U_MIN1: return number(v, 1, 2, &p->min) && in_range(p, p->min, 0, 59, "minute");
    case U_SEC2:
    case U_SEC1:
        if (!number(v, u == U_SEC2 ? 2 : 1, 2, &p->sec))
            return false;
        in_range(p, p->sec, 0, 59, "second");
        /* A fraction is taken even where the layout has none. */
        if (!frac_follows && v->len > 1 && (v->ptr[0] == '.' || v->ptr[0] == ',') && v->ptr[1] >= '0' && v->ptr[1] <= '9')
            return fraction(v, &p->nsec);
        return true;
    case U_PM: case U_pm: {
        static const char *const up[] = {"AM", "PM"};
        struct str two = str_slice(*v, 0, 2);
        for (int i = 0; i < 2; i++) {
            if (!str_eq_nocase(two, str_from(up[i])))
                continue;
            p->pm_set = true;
            p->pm = i;
            *v = str_from_off(*v, 2);
            return true;
        }
        return false;
    }
    case U_ZONE: {
        size_t i = 0;
        while (i < v->len && i < 5 && v->ptr[i] >= 'A' && v->ptr[i] <= 'Z')
            i++;
        if (i < 3)
            return false;
        memcpy(p->abbr, v->ptr, i);
        p->abbr[i] = 0;
        p->has_abbr = true;
        *v = str_from_off(*v, i);
        return true;
    }
    case U_FRAC0:
        return v->len > 1 && (v->ptr[0] == '.' || v->ptr[0] == ',') && fraction(v, &p->nsec);
    case U_FRAC9:
        return !(v->len > 1 && (v->ptr[0] == '.' || v->ptr[0] == ',') && v->ptr[1] >= '0' && v->ptr[1] <= '9') || fraction(v, &p->nsec);
    default:
        return parse_offset(v, u, p);
    }
}

static bool cannot(struct err *err, struct str value, struct str layout, struct str rest, struct str elem)
{
    return err_set(err, ERR_INVALID, "parsing time \"" STR_FMT "\" as \"" STR_FMT "\": cannot parse \"" STR_FMT "\" as \"" STR_FMT "\"",
                   STR_ARG(value), STR_ARG(layout), STR_ARG(rest), STR_ARG(elem));
}

bool layout_parse(struct str layout, struct str value, const struct zone *zone, struct star_time *out, struct err *err)
{
    struct parsed p = {.month = 1, .day = 1};
    struct str whole = layout, v = value;
    while (layout.len > 0) {
        struct str text, before = v;
        enum unit u;
        int digits = 0;
        size_t n = next_unit(layout, &text, &u, &digits);
        struct str elem = str_slice(layout, text.len, n);
        if (!str_starts(v, text))
            return cannot(err, value, whole, v, text);
        v = str_from_off(v, text.len);
        before = v;
        layout = str_from_off(layout, n);
        bool frac = layout.len > 1 && (layout.ptr[0] == '.' || layout.ptr[0] == ',') && (layout.ptr[1] == '0' || layout.ptr[1] == '9');
        if (!parse_unit(&v, u, &p, frac))
            return cannot(err, value, whole, before, elem);
    }
    if (v.len > 0)
        return err_set(err, ERR_INVALID, "parsing time \"" STR_FMT "\": extra text: \"" STR_FMT "\"", STR_ARG(value), STR_ARG(v));
    int64_t first = days_from_civil(p.year, p.month, 1), next = days_from_civil(p.year, p.month + 1, 1);
    if (!p.range && (p.day < 1 || p.day > next - first))
        p.range = "day";
    if (p.range)
        return err_set(err, ERR_INVALID, "parsing time \"" STR_FMT "\": %s out of range", STR_ARG(value), p.range);
    if (p.pm_set)
        p.hour = p.pm ? (p.hour < 12 ? p.hour + 12 : p.hour) : (p.hour == 12 ? 0 : p.hour);
    int64_t days = p.yday ? days_from_civil(p.year, 1, 1) + p.yday - 1 : first + p.day - 1;
    int64_t local = days * 86400 + p.hour * 3600 + p.min * 60 + p.sec;
    *out = (struct star_time){.nsec = p.nsec, .zone = zone};
    if (p.has_offset) {
        out->sec = local - p.offset;
        int32_t here;
        const char *abbr;
        zone_at(zone, out->sec, &here, &abbr);
        if (here != p.offset) {
            out->is_fixed = true;
            out->offset = p.offset;
            memcpy(out->abbr, p.abbr, sizeof out->abbr);
        }
    } else {
        out->sec = zone_to_unix(zone, local);
    }
    return true;
}

/* ---- durations ---- */

bool duration_format(struct buf *b, int64_t ns)
{
    uint64_t u = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
    char text[48];
    if (u == 0)
        return buf_add_z(b, "0s");
    if (ns < 0)
        buf_add_char(b, '-');
    if (u < 1000)
        return buf_printf(b, "%lluns", (unsigned long long)u);
    uint64_t unit = u < 1000000 ? 1000 : u < 1000000000 ? 1000000 : 1000000000;
    const char *suffix = unit == 1000 ? "\xC2\xB5s" : unit == 1000000 ? "ms" : "s";
    uint64_t whole = u / unit;
    if (unit == 1000000000 && whole >= 60) {
        if (whole >= 3600)
            buf_printf(b, "%lluh", (unsigned long long)(whole / 3600));
        buf_printf(b, "%llum", (unsigned long long)(whole / 60 % 60));
        whole %= 60;
    }
    int digits = unit == 1000 ? 3 : unit == 1000000 ? 6 : 9;
    int n = snprintf(text, sizeof text, "%llu.%0*llu", (unsigned long long)whole, digits, (unsigned long long)(u % unit));
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    return buf_add(b, text, (size_t)n) && buf_add_z(b, suffix);
}

bool duration_parse(struct str s, int64_t *out)
{
    static const struct {
        const char *name;
        double ns;
    } table[] = {{"ns", 1}, {"us", 1e3}, {"\xC2\xB5s", 1e3}, {"\xCE\xBCs", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 6e10}, {"h", 3.6e12}};
    bool neg = s.len > 0 && s.ptr[0] == '-';
    if (neg || (s.len > 0 && s.ptr[0] == '+'))
        s = str_from_off(s, 1);
    if (str_eq(s, STR("0"))) {
        *out = 0;
        return true;
    }
    if (s.len == 0)
        return false;
    long double total = 0;
    while (s.len > 0) {
        long double v = 0, scale = 1;
        size_t i = 0, digits = 0;
        bool point = false;
        for (; i < s.len && ((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] == '.' && !point)); i++) {
            if (s.ptr[i] == '.') {
                point = true;
                continue;
            }
            digits++;
            v = v * 10 + (s.ptr[i] - '0');
            if (point)
                scale *= 10;
        }
        if (digits == 0)
            return false;
        s = str_from_off(s, i);
        size_t n = 0;
        while (n < s.len && s.ptr[n] != '.' && (s.ptr[n] < '0' || s.ptr[n] > '9'))
            n++;
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(table) && !known; k++) {
            if (str_eq_z(str_slice(s, 0, n), table[k].name)) {
                total += v * (long double)table[k].ns / scale;
                known = true;
            }
        }
        if (!known || total > 9.3e18L)
            return false;
        s = str_from_off(s, n);
    }
    if (total >= 0x1p63L)
        return false;
    *out = neg ? -(int64_t)total : (int64_t)total;
    return true;
}
