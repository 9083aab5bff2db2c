/* starlark/lib_time.c: the time module: instants, durations and their arithmetic.
 * SPDX-License-Identifier: Apache-2.0 */
#include "time_int.h"

#include <stdio.h>
#include <stdlib.h>

static const struct star_host_type time_type, duration_type;

static star_v new_time(struct arena *a, const struct star_time *t)
{
    struct star_time *copy = star_alloc(a, sizeof *copy);
    if (!copy)
        return STAR_NULL;
    *copy = *t;
    return star_host(a, &time_type, copy);
}

static star_v new_duration(struct arena *a, int64_t ns)
{
    int64_t *copy = star_alloc(a, sizeof *copy);
    if (!copy)
        return STAR_NULL;
    *copy = ns;
    return star_host(a, &duration_type, copy);
}

static enum star_ret give(star_v v, star_v *out)
{
    *out = v;
    return STAR_OK;
}

/* ---- durations ---- */

static enum star_ret duration_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    int64_t ns = *(int64_t *)self;
    struct arena *a = run->arena;
    if (str_eq(name, STR("hours")))
        return give(float_v(a, (double)(ns / 3600000000000) + (double)(ns % 3600000000000) / 3.6e12), out);
    if (str_eq(name, STR("minutes")))
        return give(float_v(a, (double)(ns / 60000000000) + (double)(ns % 60000000000) / 6e10), out);
    if (str_eq(name, STR("seconds")))
        return give(float_v(a, (double)(ns / 1000000000) + (double)(ns % 1000000000) / 1e9), out);
    if (str_eq(name, STR("milliseconds")))
        return give(star_int(a, ns / 1000000), out);
    if (str_eq(name, STR("microseconds")))
        return give(star_int(a, ns / 1000), out);
    if (str_eq(name, STR("nanoseconds")))
        return give(star_int(a, ns), out);
    return STAR_MISSING;
}

static size_t fill_names(const char *const *from, size_t n, struct str *names, size_t max)
{
    for (size_t i = 0; i < n && i < max; i++)
        names[i] = str_from(from[i]);
    return n;
}

static size_t duration_names(void *self, struct str *names, size_t max)
{
    static const char *const all[] = {"hours", "microseconds", "milliseconds", "minutes", "nanoseconds", "seconds"};
    (void)self;
    return fill_names(all, ARRAY_LEN(all), names, max);
}

static enum star_ret duration_no_attr(struct star_run *run, void *self, struct str name)
{
    (void)self;
    return star_fail(run, "unrecognized time.duration attribute \"" STR_FMT "\"", STR_ARG(name));
}

static bool duration_truth(void *self)
{
    return *(int64_t *)self != 0;
}
static bool duration_repr(void *self, struct buf *out)
{
    return duration_format(out, *(int64_t *)self);
}
static bool duration_hash(void *self, uint64_t *out)
{
    *out = *(uint64_t *)self;
    return true;
}
static bool duration_equal(void *self, void *other)
{
    return *(int64_t *)self == *(int64_t *)other;
}
static enum star_ret duration_compare(struct star_run *run, void *self, void *other, int *cmp)
{
    (void)run;
    int64_t x = *(int64_t *)self, y = *(int64_t *)other;
    *cmp = (x > y) - (x < y);
    return STAR_OK;
}

static void time_add(struct star_time *t, int64_t ns)
{
    int64_t sum = (int64_t)t->nsec + ns % 1000000000;
    t->sec = (int64_t)((uint64_t)t->sec + (uint64_t)(ns / 1000000000));
    if (sum < 0) {
        sum += 1000000000;
        t->sec--;
    } else if (sum >= 1000000000) {
        sum -= 1000000000;
        t->sec++;
    }
    t->nsec = (int32_t)sum;
}

static enum star_ret by_zero(struct star_run *run)
{
    return star_fail(run, "time.duration division by zero");
}

static enum star_ret duration_divide(struct star_run *run, int64_t x, star_v other, bool left, star_v *out)
{
    int64_t *d = star_host_data(other, &duration_type), i;
    struct arena *a = run->arena;
    if (d)
        return *d == 0 ? by_zero(run) : give(float_v(a, (double)x / (double)*d), out);
    if (is_any_int(other)) {
        if (!left)
            return star_fail(run, "unsupported operation");
        if (!star_to_i64(other, &i))
            return star_fail(run, "int value out of range (want signed 64-bit value)");
        return i == 0 ? by_zero(run) : give(new_duration(a, i == -1 ? (int64_t)-(uint64_t)x : x / i), out);
    }
    if (is_float(other)) {
        double f = float_of(other);
        if (f == 0)
            return by_zero(run);
        f = (double)x / f;
        return give(new_duration(a, f >= 9.2233720368547748e18 ? INT64_MAX : f <= -9.2233720368547748e18 ? INT64_MIN : (int64_t)f), out);
    }
    return STAR_MISSING;
}

static enum star_ret duration_binary(struct star_run *run, enum star_op op, void *self, star_v other, bool left, star_v *out)
{
    int64_t x = *(int64_t *)self, *d = star_host_data(other, &duration_type), i;
    struct star_time *t = star_host_data(other, &time_type);
    struct arena *a = run->arena;
    switch (op) {
    case STAR_OP_ADD:
        if (d)
            return give(new_duration(a, (int64_t)((uint64_t)x + (uint64_t)*d)), out);
        if (t) {
            struct star_time sum = *t;
            time_add(&sum, x);
            return give(new_time(a, &sum), out);
        }
        break;
    case STAR_OP_SUB:
        if (d)
            return give(new_duration(a, (int64_t)((uint64_t)x - (uint64_t)*d)), out);
        break;
    case STAR_OP_DIV:
        return duration_divide(run, x, other, left, out);
    case STAR_OP_FLOORDIV:
        if (d)
            return *d == 0 ? by_zero(run) : give(star_int(a, *d == -1 ? (int64_t)-(uint64_t)x : x / *d), out);
        break;
    case STAR_OP_MUL:
        if (is_any_int(other)) {
            if (!star_to_i64(other, &i))
                return star_fail(run, "int value out of range (want signed 64-bit value)");
            return give(new_duration(a, (int64_t)((uint64_t)x * (uint64_t)i)), out);
        }
        break;
    default:
        break;
    }
    return STAR_MISSING;
}

static const struct star_host_type duration_type = {
    .name = "time.duration", .attr = duration_attr, .attr_names = duration_names, .no_attr = duration_no_attr,
    .truth = duration_truth, .repr = duration_repr, .hash = duration_hash, .equal = duration_equal,
    .compare = duration_compare, .binary = duration_binary,
};

/* ---- instants ---- */

static void civil_of(const struct star_time *t, struct civil *c)
{
    int32_t offset = t->offset;
    const char *abbr;
    if (!t->is_fixed)
        zone_at(t->zone, t->sec, &offset, &abbr);
    civil_from_unix(t->sec + offset, c);
}

static enum star_ret time_format_method(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct str layout;
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_str(run, call, a[0], 0, &layout))
        return STAR_FAIL;
    scoped_buf b = BUF_INIT(MIN(text_max(run), 1u << 20));
    if (!layout_format(&b, star_host_data(call->recv, &time_type), layout))
        return memory_fail(run);
    return give(star_string(run->arena, buf_str(&b)), out);
}

static enum star_ret unknown_zone(struct star_run *run, struct str name)
{
    return star_fail(run, "unknown time zone " STR_FMT, STR_ARG(name));
}

static enum star_ret time_in_location(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct str name;
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_str(run, call, a[0], 0, &name))
        return STAR_FAIL;
    struct star_time t = *(struct star_time *)star_host_data(call->recv, &time_type);
    t.zone = zone_get(name);
    t.is_fixed = false;
    return t.zone ? give(new_time(run->arena, &t), out) : unknown_zone(run, name);
}

static enum star_ret time_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    const struct star_time *t = self;
    struct arena *a = run->arena;
    struct civil c;
    civil_of(t, &c);
    const struct {
        struct str name;
        int64_t value;
    } fields[] = {
        {STR("year"), c.year}, {STR("month"), c.month}, {STR("day"), c.day}, {STR("hour"), c.hour}, {STR("minute"), c.min},
        {STR("second"), c.sec}, {STR("nanosecond"), t->nsec}, {STR("unix"), t->sec},
        {STR("unix_nano"), (int64_t)((uint64_t)t->sec * 1000000000u + (uint64_t)t->nsec)},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (str_eq(name, fields[i].name))
            return give(star_int(a, fields[i].value), out);
    /* The receiver of a bound method is a value: the same instant again. */
    if (str_eq(name, STR("format")))
        return give(star_builtin_bound(a, "format", time_format_method, NULL, star_host(a, &time_type, self)), out);
    if (str_eq(name, STR("in_location")))
        return give(star_builtin_bound(a, "in_location", time_in_location, NULL, star_host(a, &time_type, self)), out);
    return STAR_MISSING;
}

static size_t time_names(void *self, struct str *names, size_t max)
{
    static const char *const all[] = {"day", "format", "hour", "in_location", "minute", "month", "nanosecond", "second", "unix", "unix_nano", "year"};
    (void)self;
    return fill_names(all, ARRAY_LEN(all), names, max);
}

static bool time_truth(void *self)
{
    const struct star_time *t = self;
    return t->sec != days_from_civil(1, 1, 1) * 86400 || t->nsec != 0;
}
static bool time_repr(void *self, struct buf *out)
{
    return layout_format(out, self, STR("2006-01-02 15:04:05.999999999 -0700 MST"));
}
static bool time_hash(void *self, uint64_t *out)
{
    const struct star_time *t = self;
    *out = (uint64_t)t->sec * 1000000007u + (uint64_t)t->nsec;
    return true;
}
static int time_cmp(const struct star_time *x, const struct star_time *y)
{
    if (x->sec != y->sec)
        return x->sec < y->sec ? -1 : 1;
    return (x->nsec > y->nsec) - (x->nsec < y->nsec);
}
static bool time_equal(void *self, void *other)
{
    return time_cmp(self, other) == 0;
}
static enum star_ret time_compare(struct star_run *run, void *self, void *other, int *cmp)
{
    (void)run;
    *cmp = time_cmp(self, other);
    return STAR_OK;
}

static int64_t time_diff(const struct star_time *x, const struct star_time *y)
{
    int64_t ns, sec;
    if (__builtin_sub_overflow(x->sec, y->sec, &sec) || __builtin_mul_overflow(sec, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, (int64_t)x->nsec - y->nsec, &ns))
        return time_cmp(x, y) < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

static enum star_ret time_binary(struct star_run *run, enum star_op op, void *self, star_v other, bool left, star_v *out)
{
    struct star_time sum = *(struct star_time *)self, *t = star_host_data(other, &time_type);
    int64_t *d = star_host_data(other, &duration_type);
    if (d && (op == STAR_OP_ADD || (op == STAR_OP_SUB && left))) {
        time_add(&sum, op == STAR_OP_ADD ? *d : (int64_t)-(uint64_t)*d);
        return give(new_time(run->arena, &sum), out);
    }
    if (t && op == STAR_OP_SUB)
        return give(new_duration(run->arena, left ? time_diff(&sum, t) : time_diff(t, &sum)), out);
    return STAR_MISSING;
}

static star_v time_plain(struct arena *a, void *self)
{
    scoped_buf b = BUF_INIT(200);
    layout_format(&b, self, STR("2006-01-02T15:04:05.999999999Z07:00"));
    return star_string(a, buf_str(&b));
}

static const struct star_host_type time_type = {
    .name = "time.time", .attr = time_attr, .attr_names = time_names, .truth = time_truth, .repr = time_repr,
    .hash = time_hash, .equal = time_equal, .compare = time_compare, .binary = time_binary, .plain = time_plain,
};

/* ---- the module ---- */

static enum star_ret from_timestamp(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    int64_t sec, nsec = 0;
    if (!star_unpack_pos(run, call, 1, 2, a) || !arg_int(run, call, a[0], 0, &sec) ||
        (!star_is_null(a[1]) && !arg_int(run, call, a[1], 1, &nsec)))
        return STAR_FAIL;
    struct star_time t = {.sec = sec, .zone = zone_get(STR("Local"))};
    time_add(&t, nsec);
    return give(new_time(run->arena, &t), out);
}

static enum star_ret is_valid_timezone(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct str name;
    if (!star_unpack_pos(run, call, 1, 1, a) || !arg_str(run, call, a[0], 0, &name))
        return STAR_FAIL;
    return give(star_bool(zone_get(name) != NULL), out);
}

static enum star_ret now(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    int64_t ns = wall_ns();
    struct star_time t = {.sec = ns / 1000000000, .nsec = (int32_t)(ns % 1000000000), .zone = zone_get(STR("Local"))};
    return give(new_time(run->arena, &t), out);
}

static enum star_ret parse_duration(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct str s;
    int64_t ns;
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (star_host_data(a[0], &duration_type))
        return give(a[0], out);
    if (!star_to_str(a[0], &s))
        return star_fail(run, "parse_duration: for parameter 1: got %s, want a duration, string, or int", star_type_name(a[0]));
    if (!duration_parse(s, &ns))
        return star_fail(run, "parse_duration: for parameter 1: time: invalid duration \"" STR_FMT "\"", STR_ARG(s));
    return give(new_duration(run->arena, ns), out);
}

static enum star_ret parse_time(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {
        {"x", STAR_STR, 0}, {"format", STAR_STR, STAR_OPTIONAL}, {"location", STAR_STR, STAR_OPTIONAL},
    };
    star_v a[3] = {STAR_NULL, STAR_NULL, STAR_NULL};
    struct str x, layout = STR("2006-01-02T15:04:05Z07:00"), name = STR("UTC");
    struct star_time t;
    scoped_err err = {0};
    if (!star_unpack(run, call, params, 3, a))
        return STAR_FAIL;
    star_to_str(a[0], &x);
    star_to_str(a[1], &layout);
    star_to_str(a[2], &name);
    const struct zone *zone = zone_get(name);
    if (!zone)
        return unknown_zone(run, name);
    if (!layout_parse(layout, x, zone, &t, &err))
        return star_fail(run, "%s", err_msg(&err));
    return give(new_time(run->arena, &t), out);
}

static enum star_ret make_time(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {
        {"year", STAR_INT, STAR_OPTIONAL}, {"month", STAR_INT, STAR_OPTIONAL}, {"day", STAR_INT, STAR_OPTIONAL},
        {"hour", STAR_INT, STAR_OPTIONAL}, {"minute", STAR_INT, STAR_OPTIONAL}, {"second", STAR_INT, STAR_OPTIONAL},
        {"nanosecond", STAR_INT, STAR_OPTIONAL}, {"location", STAR_STR, STAR_OPTIONAL},
    };
    star_v a[8];
    int64_t n[7] = {0};
    struct str name = STR("");
    for (int i = 0; i < 8; i++)
        a[i] = STAR_NULL;
    if (!star_unpack(run, call, params, 8, a))
        return STAR_FAIL;
    if (call->npos > 0)
        return star_fail(run, "time: unexpected positional arguments");
    for (int i = 0; i < 7; i++) {
        star_to_i64(a[i], &n[i]);
        if (n[i] > INT64_C(1) << 40 || n[i] < -(INT64_C(1) << 40))
            return star_fail(run, "time: %s is out of range", params[i].name);
    }
    star_to_str(a[7], &name);
    const struct zone *zone = zone_get(name);
    if (!zone)
        return unknown_zone(run, name);
    int64_t days = days_from_civil(n[0], n[1], n[2]);
    struct star_time t = {.zone = zone};
    t.sec = zone_to_unix(zone, (int64_t)((uint64_t)days * 86400u + (uint64_t)(n[3] * 3600 + n[4] * 60 + n[5])));
    time_add(&t, n[6]);
    return give(new_time(run->arena, &t), out);
}

_Alignas(16) static struct builtin_obj functions[] = {
    BUILTIN_INIT("from_timestamp", from_timestamp, NULL), BUILTIN_INIT("is_valid_timezone", is_valid_timezone, NULL),
    BUILTIN_INIT("now", now, NULL), BUILTIN_INIT("parse_duration", parse_duration, NULL),
    BUILTIN_INIT("parse_time", parse_time, NULL), BUILTIN_INIT("time", make_time, NULL),
};

static void fill_constants(struct arena *a, struct lib *lib)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        {"nanosecond", 1}, {"microsecond", 1000}, {"millisecond", 1000000}, {"second", 1000000000}, {"minute", 60000000000},
        {"hour", 3600000000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        lib->constants[i] = (struct star_binding){units[i].name, new_duration(a, units[i].ns)};
}

star_v star_lib_time(void)
{
    static struct star_binding constants[6];
    static struct lib lib = {
        .name = "time", .functions = functions, .n = ARRAY_LEN(functions), .constants = constants, .n_constants = 6,
        .fill = fill_constants,
    };
    return lib_get(&lib);
}
