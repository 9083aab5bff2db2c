/* starlark/sort.c: sorted, min and max.
 *
 * Key functions are called through the VM (star_then), one after the other, so they may do anything that
 * Starlark code may, suspend included; then the values are ordered natively: a stable merge sort.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

struct keyed {
    star_v key, value;
};

struct sorting {
    struct keyed *items;    /* [n] */
    struct keyed *scratch;  /* [n], for merging */
    size_t n;
    size_t next;            /* whose key is being computed */
    star_v fn;              /* key function, or null */
    bool reverse;
    bool is_extreme;        /* min or max rather than sorted */
    enum opcode op;         /* OP_LT for min, OP_GT for max */
    struct str name;
    struct str failure;     /* of the last comparison that failed; sorting goes on, as in the Go implementation */
};

/* Does y go before x? With `reverse` equal ones still keep their order. */
static inline bool goes_before(struct star_run *run, struct sorting *s, star_v y, star_v x, bool *ok)
{
    bool r;
    if (both_int(x, y))
        return s->reverse ? (int64_t)y.bits > (int64_t)x.bits : (int64_t)y.bits < (int64_t)x.bits;
    star_v a = s->reverse ? x : y, b = s->reverse ? y : x;
    if (is_string(a) && is_string(b))
        return str_cmp(str_of_v(a), str_of_v(b)) < 0;
    if (!value_compare(run, OP_LT, a, b, &r)) {
        *ok = run->why == STAR_ERR_RAISED;
        if (*ok) {
            s->failure = run->msg;
            run->has_msg = false;
        }
        return false;
    }
    return r;
}

static bool insertion(struct star_run *run, struct sorting *s, struct keyed *a, size_t n)
{
    bool ok = true;
    for (size_t i = 1; i < n && ok; i++) {
        struct keyed x = a[i];
        size_t k = i;
        while (k > 0 && goes_before(run, s, x.key, a[k - 1].key, &ok) && ok) {
            a[k] = a[k - 1];
            k--;
        }
        a[k] = x;
    }
    return ok;
}

static bool merge(struct star_run *run, struct sorting *s, struct keyed *a, size_t mid, size_t n)
{
    bool ok = true;
    if (!goes_before(run, s, a[mid].key, a[mid - 1].key, &ok))
        return ok;  /* in order already */
    struct keyed *left = s->scratch;
    memcpy(left, a, mid * sizeof *a);
    size_t i = 0, k = mid, to = 0;
    while (i < mid && k < n && ok) {
        if (goes_before(run, s, a[k].key, left[i].key, &ok))
            a[to++] = a[k++];
        else
            a[to++] = left[i++];
    }
    memcpy(a + to, left + i, (mid - i) * sizeof *a);
    return ok;
}

/* Bottom-up: no recursion. */
static bool merge_sort(struct star_run *run, struct sorting *s)
{
    enum { RUN = 20 };
    for (size_t i = 0; i < s->n; i += RUN) {
        if (!insertion(run, s, s->items + i, MIN((size_t)RUN, s->n - i)))
            return false;
        if (i % (RUN * 64) == 0 && !star_charge(run, 64))
            return false;
    }
    for (size_t width = RUN; width < s->n; width *= 2) {
        for (size_t i = 0; i + width < s->n; i += 2 * width) {
            size_t n = MIN(2 * width, s->n - i);
            if (!merge(run, s, s->items + i, width, n) || !star_charge(run, n / 16))
                return false;
        }
    }
    return true;
}

static enum star_ret extreme(struct star_run *run, const struct sorting *s, star_v *out)
{
    size_t best = 0;
    for (size_t i = 1; i < s->n; i++) {
        bool better;
        if (both_int(s->items[i].key, s->items[best].key))
            better = s->op == OP_GT ? (int64_t)s->items[i].key.bits > (int64_t)s->items[best].key.bits
                                    : (int64_t)s->items[i].key.bits < (int64_t)s->items[best].key.bits;
        else if (!value_compare(run, s->op, s->items[i].key, s->items[best].key, &better))
            return prefix_failure(run, s->name);
        if (better)
            best = i;
    }
    *out = s->items[best].value;
    return star_charge(run, s->n / 16) ? STAR_OK : STAR_FAIL;
}

static enum star_ret finish(struct star_run *run, struct sorting *s, star_v *out)
{
    if (s->is_extreme)
        return extreme(run, s, out);
    s->scratch = star_alloc(run->arena, (s->n / 2 + s->n % 2 + 16 + s->n) * sizeof *s->scratch);
    if (!s->scratch)
        return memory_fail(run);
    if (!merge_sort(run, s))
        return STAR_FAIL;
    if (s->failure.ptr)
        return star_fail_str(run, s->failure);
    struct list_obj *l = list_new(run->arena, s->n);
    if (!l)
        return memory_fail(run);
    for (size_t i = 0; i < s->n; i++)
        l->items[i] = s->items[i].value;
    l->len = (uint32_t)s->n;
    *out = obj_v(l);
    return STAR_OK;
}

static enum star_ret next_key(struct star_run *run, void *state, star_v key, star_v *out)
{
    struct sorting *s = state;
    if (s->next > 0)
        s->items[s->next - 1].key = key;
    if (s->next == s->n)
        return finish(run, s, out);
    return star_then(run, s->fn, &s->items[s->next++].value, 1, next_key, s);
}

static enum star_ret start(struct star_run *run, struct sorting from, star_v iterable, star_v *out)
{
    star_v *values;
    struct sorting *s = star_alloc(run->arena, sizeof *s);
    if (!s || !iter_collect(run, iterable, &values, &from.n))
        return STAR_FAIL;
    *s = from;
    if (s->is_extreme && s->n == 0)
        return star_fail(run, STR_FMT ": argument is an empty sequence", STR_ARG(s->name));
    s->items = star_alloc(run->arena, (s->n + 1) * sizeof *s->items);
    if (!s->items)
        return memory_fail(run);
    for (size_t i = 0; i < s->n; i++)
        s->items[i] = (struct keyed){values[i], values[i]};
    if (star_is_null(s->fn) || s->n == 0)
        return finish(run, s, out);
    return next_key(run, s, STAR_NULL, out);
}

enum star_ret star_sorted(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {
        {"iterable", STAR_ITERABLE, 0}, {"key", STAR_CALLABLE, STAR_OPTIONAL}, {"reverse", STAR_BOOL, STAR_OPTIONAL},
    };
    star_v a[3] = {STAR_NULL, STAR_NULL, STAR_FALSE};
    if (!star_unpack(run, call, params, 3, a))
        return STAR_FAIL;
    return start(run, (struct sorting){.fn = a[1], .reverse = a[2].bits == STAR_TRUE.bits, .name = call->name}, a[0], out);
}

/* A few ints or strings as arguments: nothing is collected. */
star_v fast_minmax(struct star_run *run, const star_v *args, size_t n, bool max)
{
    (void)run;
    if (n < 2)
        return STAR_NULL;
    star_v best = args[0];
    for (size_t i = 1; i < n; i++) {
        int c;
        if (both_int(args[i], best))
            c = ((int64_t)args[i].bits > (int64_t)best.bits) - ((int64_t)args[i].bits < (int64_t)best.bits);
        else if (is_string(args[i]) && is_string(best))
            c = str_cmp(str_of_v(args[i]), str_of_v(best));
        else
            return STAR_NULL;
        if (max ? c > 0 : c < 0)
            best = args[i];
    }
    return best;
}

enum star_ret star_minmax(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {{"key", STAR_CALLABLE, STAR_OPTIONAL}};
    struct star_call kw = *call;
    star_v key = STAR_NULL, iterable;
    if (call->npos == 0)
        return star_fail(run, STR_FMT " requires at least one positional argument", STR_ARG(call->name));
    kw.npos = 0;
    if (!star_unpack(run, &kw, params, 1, &key))
        return STAR_FAIL;
    if (call->npos == 1) {
        iterable = call->pos[0];
        if (!star_is_iterable(iterable))
            return star_fail(run, STR_FMT ": %s value is not iterable", STR_ARG(call->name), star_type_name(iterable));
    } else {
        iterable = star_tuple(run->arena, call->pos, call->npos);
        if (star_is_null(iterable))
            return memory_fail(run);
    }
    bool is_max = str_eq(call->name, STR("max"));
    return start(run, (struct sorting){.fn = key, .is_extreme = true, .op = is_max ? OP_GT : OP_LT, .name = call->name}, iterable, out);
}
