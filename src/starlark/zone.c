/* starlark/zone.c: civil dates and time zones (TZif files, RFC 9636), without the C library's global zone.
 * SPDX-License-Identifier: Apache-2.0 */
#include "time_int.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TZIF = 256 * 1024, MAX_ZONES = 1024 };

/* ---- the calendar: days since 1970-01-01, proleptic Gregorian, years from March 1st ---- */

int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    y += (m - 1) / 12;
    m = (m - 1) % 12;
    if (m < 0) {
        m += 12;
        y--;
    }
    m++;
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy + d - 1 - 719468;
}

void civil_from_days(int64_t days, struct civil *c)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    c->day = (int)(doy - (153 * mp + 2) / 5 + 1);
    c->month = (int)(mp + (mp < 10 ? 3 : -9));
    c->year = yoe + era * 400 + (c->month <= 2);
    int64_t w = (days + 4) % 7;
    c->weekday = (int)(w < 0 ? w + 7 : w);
    c->yday = (int)(days - days_from_civil(c->year, 1, 1)) + 1;
}

void civil_from_unix(int64_t sec, struct civil *c)
{
    int64_t days = sec / 86400, rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil_from_days(days, c);
    c->hour = (int)(rest / 3600);
    c->min = (int)(rest / 60 % 60);
    c->sec = (int)(rest % 60);
}

/* ---- zones ---- */

struct ttype {
    int32_t offset;
    uint8_t abbr;
};
/* One change of a POSIX TZ rule: day m (month), w (week, 5 is the last), d (weekday) at `time` seconds; or a
 * day of the year when w is 0. */
struct rule {
    int m, w, d;
    int32_t time;
    bool counts_leap;
};
struct zone {
    struct zone *next;
    char name[64];
    size_t n;
    int64_t *when;
    uint8_t *type;
    size_t n_types;
    struct ttype *types;
    char *abbrs;
    /* after the last transition */
    bool has_rule, has_dst;
    char std[16], dst[16];
    int32_t std_offset, dst_offset;
    struct rule start, end;
};

static const struct zone utc = {.name = "UTC", .std = "UTC", .has_rule = true};
static pthread_mutex_t zones_lock = PTHREAD_MUTEX_INITIALIZER; /* of the list; zones never change nor go */
static struct zone *zones;
static int n_zones;

static int64_t be(const unsigned char *p, int n)
{
    uint64_t v = n == 8 ? 0 : (p[0] & 0x80 ? UINT64_MAX : 0);
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return (int64_t)v;
}

/* hh[:mm[:ss]] with a sign, in seconds. */
static bool rule_time(const char **p, int32_t *out)
{
    int sign = **p == '-' ? -1 : 1;
    if (**p == '-' || **p == '+')
        ++*p;
    int32_t v = 0, unit = 3600;
    for (; unit >= 1; unit /= 60) {
        if (**p < '0' || **p > '9')
            return false;
        int n = 0;
        while (**p >= '0' && **p <= '9' && n < 1000)
            n = n * 10 + (*(*p)++ - '0');
        v += n * unit;
        if (**p != ':')
            break;
        ++*p;
    }
    *out = sign * v;
    return true;
}

static bool rule_name(const char **p, char out[16])
{
    size_t n = 0;
    bool quoted = **p == '<';
    if (quoted)
        ++*p;
    while (**p && n < 15 && (quoted ? **p != '>' : (**p | 0x20) >= 'a' && (**p | 0x20) <= 'z'))
        out[n++] = *(*p)++;
    out[n] = 0;
    if (quoted && *(*p)++ != '>')
        return false;
    return n > 0;
}

static bool rule_day(const char **p, struct rule *r)
{
    char *end;
    *r = (struct rule){.time = 7200};
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M') {
        r->m = (int)strtol(*p + 1, &end, 10);
        if (*end != '.')
            return false;
        r->w = (int)strtol(end + 1, &end, 10);
        if (*end != '.')
            return false;
        r->d = (int)strtol(end + 1, &end, 10);
        if (r->m < 1 || r->m > 12 || r->w < 1 || r->w > 5 || r->d < 0 || r->d > 6)
            return false;
    } else {
        r->counts_leap = **p != 'J';
        r->d = (int)strtol(*p + (**p == 'J'), &end, 10);
        if (r->d < 0 || r->d > 366)
            return false;
    }
    *p = end;
    if (**p == '/') {
        ++*p;
        return rule_time(p, &r->time);
    }
    return true;
}

/* std offset [dst [offset] [,start[/time],end[/time]]] */
static bool parse_rule(struct zone *z, const char *p)
{
    if (!rule_name(&p, z->std) || !rule_time(&p, &z->std_offset))
        return false;
    z->std_offset = -z->std_offset;
    z->has_rule = true;
    if (!*p)
        return true;
    if (!rule_name(&p, z->dst))
        return false;
    z->dst_offset = z->std_offset + 3600;
    if (*p != ',') {
        if (!rule_time(&p, &z->dst_offset))
            return false;
        z->dst_offset = -z->dst_offset;
    }
    z->has_dst = rule_day(&p, &z->start) && rule_day(&p, &z->end);
    return z->has_dst;
}

/* Seconds since 1970 (in local standard or daylight time) when a rule applies in a year. */
static int64_t rule_seconds(const struct rule *r, int64_t year)
{
    int64_t day;
    if (r->w == 0) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        day = days_from_civil(year, 1, 1) + (r->counts_leap ? r->d : r->d - 1 + (leap && r->d > 59));
    } else {
        struct civil c;
        day = days_from_civil(year, r->m, 1);
        civil_from_days(day, &c);
        day += (r->d - c.weekday + 7) % 7 + (r->w - 1) * 7;
        if (day >= days_from_civil(year, r->m + 1, 1))
            day -= 7;
    }
    return day * 86400 + r->time;
}

/* The second block (64-bit) of the file; false when malformed. */
static bool parse_tzif(struct zone *z, const unsigned char *p, size_t len)
{
    enum { HEADER = 44 };
    if (len < HEADER || memcmp(p, "TZif", 4) != 0)
        return false;
    bool v2 = p[4] >= '2';
    int size = 4;
    for (int block = 0; block < (v2 ? 2 : 1); block++) {
        if (len < HEADER)
            return false;
        size_t n[6];
        for (int i = 0; i < 6; i++) {
            n[i] = (size_t)(uint32_t)be(p + 20 + 4 * i, 4);
            if (n[i] > 100000)
                return false;
        }
        size_t isut = n[0], isstd = n[1], leap = n[2], times = n[3], types = n[4], chars = n[5];
        size_t need = HEADER + times * (size_t)size + times + types * 6 + chars + leap * ((size_t)size + 4) + isstd + isut;
        if (need > len || types == 0 || chars == 0)
            return false;
        if (block == 0 && v2) {
            p += need;
            len -= need;
            size = 8;
            continue;
        }
        const unsigned char *q = p + HEADER;
        z->n = times;
        z->when = xcalloc(times + 1, sizeof *z->when);
        z->type = xcalloc(times + 1, 1);
        for (size_t i = 0; i < times; i++)
            z->when[i] = be(q + i * (size_t)size, size);
        q += times * (size_t)size;
        for (size_t i = 0; i < times; i++)
            if ((z->type[i] = q[i]) >= types)
                return false;
        q += times;
        z->n_types = types;
        z->types = xcalloc(types, sizeof *z->types);
        for (size_t i = 0; i < types; i++) {
            z->types[i] = (struct ttype){(int32_t)be(q + i * 6, 4), q[i * 6 + 5]};
            if (z->types[i].abbr >= chars)
                return false;
        }
        q += types * 6;
        z->abbrs = xcalloc(chars + 1, 1);
        memcpy(z->abbrs, q, chars);
        p += need;
        len -= need;
    }
    if (v2 && len > 2 && p[0] == '\n') {
        char text[128];
        const unsigned char *nl = memchr(p + 1, '\n', len - 1);
        if (nl && nl - p - 1 < (ptrdiff_t)sizeof text) {
            memcpy(text, p + 1, (size_t)(nl - p - 1));
            text[nl - p - 1] = 0;
            z->has_rule = text[0] && parse_rule(z, text);
        }
    }
    return true;
}

static void zone_free(struct zone *z)
{
    free(z->when);
    free(z->type);
    free(z->types);
    free(z->abbrs);
    free(z);
}

static bool read_file(const char *path, struct buf *b)
{
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    char chunk[8192];
    ssize_t n;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    while ((n = read(fd, chunk, sizeof chunk)) > 0)
        if (!buf_add(b, chunk, (size_t)n))
            return false;
    return n == 0;
}

/* A name is one of the zone database: no way out of its folder. */
static bool is_zone_name(struct str name)
{
    if (name.len == 0 || name.len >= 64 || name.ptr[0] == '/' || name.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool ok = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '+' || c == '/';
        if (!ok)
            return false;
    }
    return true;
}

static struct zone *load(struct str name, const char *path)
{
    scoped_buf b = BUF_INIT(MAX_TZIF);
    if (!read_file(path, &b))
        return NULL;
    struct zone *z = xcalloc(1, sizeof *z);
    memcpy(z->name, name.ptr, name.len);
    if (parse_tzif(z, (const unsigned char *)b.ptr, b.len))
        return z;
    zone_free(z);
    return NULL;
}

const struct zone *zone_get(struct str name)
{
    char path[128];
    bool local = str_eq(name, STR("Local"));
    if (name.len == 0 || str_eq(name, STR("UTC")))
        return &utc;
    if (!is_zone_name(name))
        return NULL;
    if (local)
        snprintf(path, sizeof path, "/etc/localtime");
    else
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", (int)name.len, name.ptr);
    pthread_mutex_lock(&zones_lock);
    struct zone *z = zones;
    while (z && !str_eq_z(name, z->name))
        z = z->next;
    if (!z && n_zones < MAX_ZONES && (z = load(name, path))) {
        z->next = zones;
        zones = z;
        n_zones++;
    }
    pthread_mutex_unlock(&zones_lock);
    return z ? z : local ? &utc : NULL;
}

struct str zone_name(const struct zone *z)
{
    return str_from(z->name);
}

void zone_at(const struct zone *z, int64_t sec, int32_t *offset, const char **abbr)
{
    if (z->n > 0 && (sec < z->when[z->n - 1] || !z->has_rule)) {
        size_t lo = 0, hi = z->n;   /* transitions at or before sec */
        while (lo < hi) {
            size_t mid = (lo + hi) / 2;
            if (z->when[mid] <= sec)
                lo = mid + 1;
            else
                hi = mid;
        }
        const struct ttype *t = &z->types[lo == 0 ? 0 : z->type[lo - 1]];
        *offset = t->offset;
        *abbr = z->abbrs + t->abbr;
        return;
    }
    if (!z->has_rule) {
        *offset = z->types[0].offset;
        *abbr = z->abbrs + z->types[0].abbr;
        return;
    }
    bool dst = false;
    if (z->has_dst) {
        struct civil c;
        civil_from_unix(sec + z->std_offset, &c);
        int64_t start = rule_seconds(&z->start, c.year) - z->std_offset, end = rule_seconds(&z->end, c.year) - z->dst_offset;
        dst = start < end ? sec >= start && sec < end : sec >= start || sec < end;
    }
    *offset = dst ? z->dst_offset : z->std_offset;
    *abbr = dst ? z->dst : z->std;
}

/* The instant of a civil time: first guess by the offset at that time as if it were UTC, then corrected. */
int64_t zone_to_unix(const struct zone *z, int64_t local)
{
    int32_t a, b;
    const char *abbr;
    zone_at(z, local, &a, &abbr);
    if (a == 0)
        return local;
    int64_t guess = local - a;
    zone_at(z, guess, &b, &abbr);
    if (b == a)
        return guess;
    int64_t other = local - b;
    zone_at(z, other, &a, &abbr);
    return a == b ? other : guess;
}

const void *star_zone_find(struct str name)
{
    return zone_get(name);
}

int32_t star_zone_offset(const void *zone, int64_t unix_s)
{
    int32_t offset;
    const char *abbr;
    zone_at(zone, unix_s, &offset, &abbr);
    return offset;
}
