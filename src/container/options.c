/* container/options.c: container options and volume entries as users write them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

enum { MAX_DIGITS = 18, MAX_FRACTION = 9, REGEX_MATCH_LIMIT = 100000 };

/* A decimal number in pieces: digits[.digits]suffix */
struct quantity {
    uint64_t whole;
    uint64_t fraction; /* of `scale` */
    uint64_t scale;    /* a power of ten, 1 without a fraction */
    struct str suffix; /* trimmed at its left */
};

static size_t take_digits(struct str s, size_t at, size_t max, uint64_t *value, size_t *used)
{
    size_t from = at;
    for (*value = 0, *used = 0; at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9'; at++) {
        if (*used < max) {
            *value = *value * 10 + (uint64_t)(s.ptr[at] - '0');
            ++*used;
        }
    }
    return at - from;
}

static bool quantity_parse(struct str s, struct quantity *q)
{
    size_t used, at;
    *q = (struct quantity){.scale = 1};
    at = take_digits(s, 0, MAX_DIGITS, &q->whole, &used);
    if (at == 0 || at > MAX_DIGITS)
        return false;
    if (at < s.len && s.ptr[at] == '.') {
        size_t n = take_digits(s, at + 1, MAX_FRACTION, &q->fraction, &used);
        if (n == 0)
            return false;
        for (size_t i = 0; i < used; i++)
            q->scale *= 10;
        at += 1 + n;
    }
    q->suffix = str_trim(str_from_off(s, at));
    return true;
}

/* q times num/den, rounded up; false when it does not fit `max`. */
static bool quantity_times(const struct quantity *q, uint64_t num, uint64_t den, int64_t max, int64_t *out)
{
    __extension__ typedef unsigned __int128 u128;
    u128 parts = (u128)q->whole * q->scale + q->fraction; /* < 2^60 * 10^9 */
    if (num > 0 && parts > (~(u128)0 >> 1) / num)
        return false;
    u128 below = (u128)q->scale * den;
    u128 v = (parts * num + below - 1) / below;
    if (v > (u128)max)
        return false;
    *out = (int64_t)v;
    return true;
}

bool ctr_parse_cpus(struct str s, int64_t *milli, struct err *err)
{
    struct quantity q;
    int64_t v = 0;
    s = str_trim(s);
    bool ok = quantity_parse(s, &q);
    if (ok && q.suffix.len == 0)
        ok = quantity_times(&q, 1000, 1, 1000000, &v);
    else if (ok && str_eq(q.suffix, STR("m")))
        ok = quantity_times(&q, 1, 1, 1000000, &v);
    else
        ok = false;
    if (!ok || v < 1)
        return err_set(err, ERR_INVALID, "cpus \"" STR_FMT "\" must be a number like 2, 0.5 or 500m, and at most 1000",
                       STR_ARG(s));
    *milli = v;
    return true;
}

static bool memory_unit(struct str suffix, uint64_t *unit)
{
    static const struct {
        char letter;
        int shift;
    } binary[] = {{'b', 0}, {'k', 10}, {'m', 20}, {'g', 30}, {'t', 40}, {'e', 60}};
    if (suffix.len == 0) {
        *unit = 1;
        return true;
    }
    if (suffix.len == 1 || (suffix.len == 2 && (suffix.ptr[1] | 0x20) == 'b')) {
        for (size_t i = 0; i < ARRAY_LEN(binary); i++) {
            if ((suffix.ptr[0] | 0x20) == binary[i].letter) {
                *unit = 1ULL << binary[i].shift;
                return true;
            }
        }
    }
    static const struct {
        const char *name;
        uint64_t unit;
    } k8s[] = {
        {"Ki", 1ULL << 10}, {"Mi", 1ULL << 20}, {"Gi", 1ULL << 30},         {"Ti", 1ULL << 40},
        {"Pi", 1ULL << 50}, {"Ei", 1ULL << 60}, {"P", 1000000000000000ULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(k8s); i++) {
        if (str_eq_z(suffix, k8s[i].name)) {
            *unit = k8s[i].unit;
            return true;
        }
    }
    /* A decimal exponent, e6 or E6, as Kubernetes writes quantities. */
    uint64_t exp = 0;
    if (suffix.len >= 2 && (suffix.ptr[0] | 0x20) == 'e' && str_to_u64(str_from_off(suffix, 1), &exp) &&
        exp <= 18) {
        for (*unit = 1; exp > 0; exp--)
            *unit *= 10;
        return true;
    }
    return false;
}

bool ctr_parse_memory(struct str s, int64_t *bytes, struct err *err)
{
    struct quantity q;
    uint64_t unit = 0;
    int64_t v = 0;
    s = str_trim(s);
    if (!quantity_parse(s, &q) || !memory_unit(q.suffix, &unit) ||
        !quantity_times(&q, unit, 1, INT64_MAX / 2, &v) || v < 1)
        return err_set(err, ERR_INVALID,
                       "memory \"" STR_FMT "\" must be a size like 512Mi, 1.5g or a number of bytes",
                       STR_ARG(s));
    *bytes = v;
    return true;
}

/* True if `pattern` matches somewhere in `value`. */
static bool regex_matches(struct str pattern, struct str value, bool *matches, struct err *err)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
                                   &code, &at, NULL);
    if (!re)
        return err_set(err, ERR_INVALID,
                       "security.allowed_container_args: regex:" STR_FMT " is not a regular expression "
                       "(at offset %zu)",
                       STR_ARG(pattern), (size_t)at);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    if (!data || !limits)
        BUG("out of memory");
    pcre2_set_match_limit(limits, REGEX_MATCH_LIMIT);
    *matches = pcre2_match(re, (PCRE2_SPTR)(value.ptr ? value.ptr : ""), value.len, 0, 0, data, limits) >= 0;
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(re);
    return true;
}

static bool flag_is_name(struct str s)
{
    if (s.len == 0 || s.len > 64 || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return true;
}

static bool flag_check(struct str key, struct str value, const struct ctr_kv_list *allowed, struct err *err)
{
    const struct str *rule = ctr_kv_get(allowed, key);
    if (!flag_is_name(key) || !rule)
        return err_set(err, ERR_FORBIDDEN,
                       "container argument \"" STR_FMT "\" is not allowed; an administrator may list it in "
                       "security.allowed_container_args",
                       STR_ARG(key));
    if (value.len > 4096 || memchr(value.ptr ? value.ptr : "", 0, value.len))
        return err_set(err, ERR_INVALID, "container argument \"" STR_FMT "\" has a malformed value",
                       STR_ARG(key));
    bool ok = false;
    if (rule->len == 0) {
        if (value.len > 0)
            return err_set(err, ERR_FORBIDDEN, "container argument \"" STR_FMT "\" takes no value",
                           STR_ARG(key));
        return true;
    }
    /* Without its value the flag would take the next argument for it: the image, and after it the app's own words would be
     * flags. */
    if (value.len == 0)
        return err_set(err, ERR_INVALID, "container argument \"" STR_FMT "\" needs a value", STR_ARG(key));
    if (str_starts(*rule, STR("regex:"))) {
        if (!regex_matches(str_from_off(*rule, 6), value, &ok, err))
            return false;
    } else {
        ok = str_eq(*rule, value);
    }
    if (!ok)
        return err_set(err, ERR_FORBIDDEN,
                       "container argument \"" STR_FMT "\" is not allowed with the value \"" STR_FMT
                       "\" (security.allowed_container_args)",
                       STR_ARG(key), STR_ARG(value));
    return true;
}

static int kv_order(const void *x, const void *y)
{
    return str_cmp(((const struct ctr_kv *)x)->key, ((const struct ctr_kv *)y)->key);
}

bool ctr_options_resolve(struct arena *a, const struct ctr_kv_list *options, struct str command,
                         const struct ctr_kv_list *allowed, struct ctr_limits *out, struct err *err)
{
    struct ctr_limits limits = {0};
    for (size_t i = 0; i < options->len; i++) {
        struct str key = options->items[i].key, value = options->items[i].value, before, after;
        if (str_cut(key, '.', &before, &after)) {
            if (!str_eq(before, STR("command")) && !str_eq(before, command)) {
                if (str_eq(before, STR("docker")) || str_eq(before, STR("podman")) ||
                    str_eq(before, STR("kubernetes")))
                    continue;
                return err_set(err, ERR_INVALID,
                               "container option \"" STR_FMT "\": unknown prefix, use command., docker., "
                               "podman. or kubernetes.",
                               STR_ARG(key));
            }
            key = after;
        }
        if (str_eq(key, STR("min_replicas")) || str_eq(key, STR("max_replicas")))
            continue;
        if (str_eq(key, STR("cpus"))) {
            if (!ctr_parse_cpus(value, &limits.milli_cpus, err))
                return err_wrap(err, "container option " STR_FMT, STR_ARG(options->items[i].key));
        } else if (str_eq(key, STR("memory"))) {
            if (!ctr_parse_memory(value, &limits.memory_bytes, err))
                return err_wrap(err, "container option " STR_FMT, STR_ARG(options->items[i].key));
        } else {
            if (!flag_check(key, value, allowed, err))
                return false;
            ctr_kv_set(a, &limits.flags, key, value);
        }
    }
    if (limits.flags.len > 0)
        qsort(limits.flags.items, limits.flags.len, sizeof limits.flags.items[0], kv_order);
    *out = limits;
    return true;
}
