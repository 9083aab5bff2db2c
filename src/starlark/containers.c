/* starlark/containers.c: the methods of list, dict and set.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

#define NAME(call) STR_ARG((call)->name)

static enum star_ret result(star_v v, star_v *out)
{
    *out = v;
    return STAR_OK;
}

enum star_ret prefix_failure(struct star_run *run, struct str name)
{
    if (!run->has_msg)
        return memory_fail(run);
    if (run->why != STAR_ERR_RAISED)
        return STAR_FAIL;
    struct str old = run->msg;
    run->has_msg = false;
    return star_fail(run, STR_FMT ": " STR_FMT, STR_ARG(name), STR_ARG(old));
}
static enum star_ret named(struct star_run *run, const struct star_call *call)
{
    return prefix_failure(run, call->name);
}

static bool want_iterable(struct star_run *run, const struct star_call *call, star_v v, size_t i)
{
    return star_is_iterable(v) ||
           FAIL_FALSE(run, STR_FMT ": for parameter %zu: got %s, want iterable", NAME(call), i + 1, star_type_name(v));
}

/* ---- list ---- */

static star_v fast_append(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    struct list_obj *l = LIST_OBJ(recv);
    if (LIKELY(n == 1 && !l->h.frozen && l->h.aux == 0 && list_push(run->arena, l, args[0])))
        return STAR_NONE;
    return STAR_NULL;
}

static enum star_ret list_append(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    struct list_obj *l = LIST_OBJ(call->recv);
    if (!list_mutable(run, l, "append to"))
        return named(run, call);
    if (!list_push(run->arena, l, a[0]))
        return memory_fail(run);
    return result(STAR_NONE, out);
}

static enum star_ret list_clear(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    if (!list_mutable(run, LIST_OBJ(call->recv), "clear"))
        return named(run, call);
    LIST_OBJ(call->recv)->len = 0;
    return result(STAR_NONE, out);
}

static enum star_ret list_extend_method(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a) || !want_iterable(run, call, a[0], 0))
        return STAR_FAIL;
    if (!list_mutable(run, LIST_OBJ(call->recv), "extend"))
        return named(run, call);
    return list_extend(run, LIST_OBJ(call->recv), a[0]) ? result(STAR_NONE, out) : STAR_FAIL;
}

/* The place of v in items [from, to), or `to`; fails when too deep. */
static bool find_item(struct star_run *run, const struct list_obj *l, star_v v, int64_t from, int64_t to, int64_t *at)
{
    for (*at = from; *at < to; ++*at) {
        int eq = value_equal(l->items[*at], v, 0);
        if (eq == CMP_FAIL)
            return FAIL_FALSE(run, "comparison exceeded maximum recursion depth");
        if (eq)
            break;
    }
    return star_charge(run, (uint64_t)(*at - from) / 32);
}

static enum star_ret list_index(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[3];
    int64_t from, to, at;
    if (!star_unpack_pos(run, call, 1, 3, a))
        return STAR_FAIL;
    struct list_obj *l = LIST_OBJ(call->recv);
    if (!index_range(run, a[1], a[2], l->len, &from, &to) || !find_item(run, l, a[0], from, to, &at))
        return named(run, call);
    if (at >= to)
        return star_fail(run, "index: value not in list");
    return result(small_int(at), out);
}

static enum star_ret list_insert(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    int64_t i;
    if (!star_unpack_pos(run, call, 2, 2, a) || !arg_int(run, call, a[0], 0, &i))
        return STAR_FAIL;
    struct list_obj *l = LIST_OBJ(call->recv);
    if (!list_mutable(run, l, "insert into"))
        return named(run, call);
    if (i < 0)
        i = MAX(i + l->len, 0);
    i = MIN(i, (int64_t)l->len);
    if (!list_reserve(run->arena, l, 1) || !star_charge(run, (l->len - (uint64_t)i) / 64))
        return STAR_FAIL;
    memmove(l->items + i + 1, l->items + i, (l->len - (size_t)i) * sizeof *l->items);
    l->items[i] = a[1];
    l->len++;
    return result(STAR_NONE, out);
}

static void list_delete(struct list_obj *l, int64_t i)
{
    memmove(l->items + i, l->items + i + 1, (l->len - (size_t)i - 1) * sizeof *l->items);
    l->len--;
}

static enum star_ret list_remove(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    int64_t at;
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    struct list_obj *l = LIST_OBJ(call->recv);
    if (!list_mutable(run, l, "remove from") || !find_item(run, l, a[0], 0, l->len, &at))
        return named(run, call);
    if (at >= l->len)
        return star_fail(run, "remove: element not found");
    list_delete(l, at);
    return result(STAR_NONE, out);
}

static star_v fast_pop(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    struct list_obj *l = LIST_OBJ(recv);
    if (n != 0 || l->len == 0 || l->h.frozen || l->h.aux > 0)
        return STAR_NULL;
    return l->items[--l->len];
}

static enum star_ret list_pop(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    struct list_obj *l = LIST_OBJ(call->recv);
    int64_t n = l->len, given = n - 1;
    if (!star_unpack_pos(run, call, 0, 1, a) || (!star_is_null(a[0]) && !arg_int(run, call, a[0], 0, &given)))
        return STAR_FAIL;
    int64_t i = given < 0 ? given + n : given;
    if (i < 0 || i >= n) {
        if (n == 0)
            return star_fail(run, "pop: index %lld out of range: empty list", (long long)given);
        return star_fail(run, "pop: list index %lld out of range [%lld:%lld]", (long long)given, (long long)-n, (long long)n - 1);
    }
    if (!list_mutable(run, l, "pop from"))
        return named(run, call);
    *out = l->items[i];
    list_delete(l, i);
    return star_charge(run, (uint64_t)(n - i) / 64) ? STAR_OK : STAR_FAIL;
}

const struct method list_methods[] = {
    {"append", list_append, fast_append}, {"clear", list_clear, NULL}, {"extend", list_extend_method, NULL},
    {"index", list_index, NULL}, {"insert", list_insert, NULL}, {"pop", list_pop, fast_pop}, {"remove", list_remove, NULL}, {0},
};

/* ---- dict ---- */

static star_v fast_get(struct star_run *run, star_v recv, const star_v *args, size_t n)
{
    if ((n != 1 && n != 2) || !is_string(args[0]))
        return STAR_NULL;
    const struct dict_entry *e = dict_find(DICT_OBJ(recv), args[0], string_hash(args[0]));
    return e ? e->value : n == 2 ? args[1] : STAR_NONE;
}

static enum star_ret dict_get(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    uint32_t h;
    if (!star_unpack_pos(run, call, 1, 2, a))
        return STAR_FAIL;
    if (!key_hash(run, a[0], &h))
        return named(run, call);
    const struct dict_entry *e = dict_find(DICT_OBJ(call->recv), a[0], h);
    return result(e ? e->value : star_is_null(a[1]) ? STAR_NONE : a[1], out);
}

static enum star_ret dict_clear_method(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    struct dict_obj *d = DICT_OBJ(call->recv);
    if (!dict_mutable(run, d, "clear"))
        return STAR_FAIL;
    dict_clear(d);
    return result(STAR_NONE, out);
}

enum dict_part { DICT_KEYS, DICT_VALUES, DICT_ITEMS };

static enum star_ret dict_list(struct star_run *run, const struct star_call *call, star_v *out, enum dict_part part)
{
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    const struct dict_obj *d = DICT_OBJ(call->recv);
    struct list_obj *l = list_new(run->arena, d->live);
    if (!l || !star_charge(run, d->live / 16))
        return STAR_FAIL;
    for (uint32_t i = 0; i < d->len; i++) {
        const struct dict_entry *e = &d->entries[i];
        if (star_is_null(e->key))
            continue;
        star_v v = part == DICT_KEYS ? e->key : e->value;
        if (part == DICT_ITEMS) {
            struct tuple_obj *t = tuple_new(run->arena, 2);
            if (!t)
                return memory_fail(run);
            t->items[0] = e->key;
            t->items[1] = e->value;
            v = obj_v(t);
        }
        l->items[l->len++] = v;
    }
    return result(obj_v(l), out);
}
static enum star_ret dict_keys(struct star_run *run, const struct star_call *call, star_v *out)
{
    return dict_list(run, call, out, DICT_KEYS);
}
static enum star_ret dict_values(struct star_run *run, const struct star_call *call, star_v *out)
{
    return dict_list(run, call, out, DICT_VALUES);
}
static enum star_ret dict_items(struct star_run *run, const struct star_call *call, star_v *out)
{
    return dict_list(run, call, out, DICT_ITEMS);
}

static enum star_ret dict_pop(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    uint32_t h;
    if (!star_unpack_pos(run, call, 1, 2, a))
        return STAR_FAIL;
    struct dict_obj *d = DICT_OBJ(call->recv);
    if (!dict_mutable(run, d, "delete from") || !key_hash(run, a[0], &h))
        return named(run, call);
    struct dict_entry *e = dict_find(d, a[0], h);
    if (e)
        return result(dict_remove(d, e), out);
    if (star_is_null(a[1]))
        return star_fail(run, "pop: missing key");
    return result(a[1], out);
}

/* The first entry that is left. Deleted ones before it are squeezed out now and then, so that emptying a
 * dict from the front is not quadratic. */
static struct dict_entry *first_entry(struct dict_obj *d)
{
    uint32_t i = 0;
    while (i < d->len && star_is_null(d->entries[i].key))
        i++;
    if (i >= d->len)
        return NULL;
    if (i > 64 && !d->index) {
        memmove(d->entries, d->entries + i, (d->len - i) * sizeof *d->entries);
        d->len -= i;
        i = 0;
    }
    return &d->entries[i];
}

static enum star_ret dict_popitem(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    struct dict_obj *d = DICT_OBJ(call->recv);
    if (d->live == 0)
        return star_fail(run, "popitem: empty dict");
    if (!dict_mutable(run, d, "delete from"))
        return named(run, call);
    struct dict_entry *e = first_entry(d);
    star_v pair[2] = {e->key, e->value};
    if (!star_charge(run, (uint64_t)(e - d->entries) / 64))
        return STAR_FAIL;
    dict_remove(d, e);
    return result(star_tuple(run->arena, pair, 2), out);
}

static enum star_ret dict_setdefault(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[2];
    uint32_t h;
    if (!star_unpack_pos(run, call, 1, 2, a))
        return STAR_FAIL;
    struct dict_obj *d = DICT_OBJ(call->recv);
    if (!key_hash(run, a[0], &h))
        return named(run, call);
    const struct dict_entry *e = dict_find(d, a[0], h);
    if (e)
        return result(e->value, out);
    star_v dflt = star_is_null(a[1]) ? STAR_NONE : a[1];
    if (!dict_set_checked(run, d, a[0], dflt))
        return named(run, call);
    return result(dflt, out);
}

static bool add_pair(struct star_run *run, struct dict_obj *d, star_v pair, size_t i)
{
    if (!star_is_iterable(pair))
        return FAIL_FALSE(run, "dictionary update sequence element #%zu is not iterable (%s)", i, star_type_name(pair));
    int64_t len = value_len(pair);
    if (len < 0)
        return FAIL_FALSE(run, "dictionary update sequence element #%zu has unknown length (%s)", i, star_type_name(pair));
    if (len != 2)
        return FAIL_FALSE(run, "dictionary update sequence element #%zu has length %lld, want 2", i, (long long)len);
    star_v *kv;
    size_t n;
    const star_v *items;
    if (!seq_items(pair, &items, &n)) {
        if (!iter_collect(run, pair, &kv, &n))
            return false;
        items = kv;
    }
    return n == 2 && dict_set_checked(run, d, items[0], items[1]);
}

/* dict(...) and d.update(...): one optional mapping or sequence of pairs, then keywords. */
bool dict_update_args(struct star_run *run, struct dict_obj *d, const struct star_call *call)
{
    if (call->npos == 1) {
        star_v from = call->pos[0];
        if (is_type(from, O_DICT)) {
            if (DICT_OBJ(from)->live > 0 && !dict_mutable(run, d, "insert into"))
                return false;
            if (!dict_add_all(run, d, DICT_OBJ(from)))
                return false;
        } else {
            struct iter it;
            star_v pair;
            bool ok = true;
            if (!star_is_iterable(from))
                return FAIL_FALSE(run, "got %s, want iterable", star_type_name(from));
            if (!iter_begin(run, &it, from))
                return false;
            for (size_t i = 0; ok && iter_next(run, &it, &pair); i++)
                ok = add_pair(run, d, pair, i) && star_charge(run, (i & 15) == 0);
            iter_end(&it);
            if (!ok || run->has_msg)
                return false;
        }
    }
    for (size_t i = 0; i < call->nkw; i++) {
        for (size_t k = 0; k < i && call->nkw < 500; k++)
            if (string_equal(call->kwnames[i], call->kwnames[k]))
                return FAIL_FALSE(run, "duplicate keyword arg: %s", msg_repr(run, call->kwnames[i]));
        if (!dict_set_checked(run, d, call->kwnames[i], call->kwvals[i]))
            return false;
    }
    return true;
}

static enum star_ret dict_update(struct star_run *run, const struct star_call *call, star_v *out)
{
    if (call->npos > 1)
        return star_fail(run, "update: got %zu arguments, want at most 1", call->npos);
    if (!dict_update_args(run, DICT_OBJ(call->recv), call))
        return named(run, call);
    return result(STAR_NONE, out);
}

const struct method dict_methods[] = {
    {"clear", dict_clear_method, NULL}, {"get", dict_get, fast_get}, {"items", dict_items, NULL}, {"keys", dict_keys, NULL},
    {"pop", dict_pop, NULL}, {"popitem", dict_popitem, NULL}, {"setdefault", dict_setdefault, NULL},
    {"update", dict_update, NULL}, {"values", dict_values, NULL}, {0},
};

/* ---- set ---- */

/* The argument as a set: itself, or a new one of its items. */
static struct dict_obj *as_set(struct star_run *run, star_v v)
{
    if (is_type(v, O_SET))
        return DICT_OBJ(v);
    struct dict_obj *s = dict_new(run->arena, 0, O_SET);
    return s && set_add_items(run, s, v) ? s : NULL;
}

bool set_add_items(struct star_run *run, struct dict_obj *s, star_v v)
{
    struct iter it;
    star_v x;
    uint32_t h;
    if (!iter_begin(run, &it, v))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && iter_next(run, &it, &x); i++) {
        ok = dict_mutable(run, s, "insert into") && key_hash(run, x, &h);
        if (ok && !dict_put(run->arena, s, x, h, STAR_NONE, NULL))
            ok = (memory_fail(run), false);
        if (ok && (i & 31) == 0)
            ok = star_charge(run, 1);
    }
    iter_end(&it);
    return ok && !run->has_msg;
}

static enum star_ret set_add(struct star_run *run, const struct star_call *call, star_v *out)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (!dict_set_checked(run, DICT_OBJ(call->recv), a[0], STAR_NONE))
        return named(run, call);
    return result(STAR_NONE, out);
}

static enum star_ret set_clear(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *s = DICT_OBJ(call->recv);
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    if (s->live > 0) {
        if (!dict_mutable(run, s, "clear"))
            return named(run, call);
        dict_clear(s);
    }
    return result(STAR_NONE, out);
}

static enum star_ret set_delete(struct star_run *run, const struct star_call *call, star_v *out, bool must)
{
    star_v a[1];
    uint32_t h;
    struct dict_obj *s = DICT_OBJ(call->recv);
    if (!star_unpack_pos(run, call, 1, 1, a))
        return STAR_FAIL;
    if (!dict_mutable(run, s, "delete from") || !key_hash(run, a[0], &h))
        return named(run, call);
    struct dict_entry *e = dict_find(s, a[0], h);
    if (e)
        dict_remove(s, e);
    else if (must)
        return star_fail(run, "remove: missing key");
    return result(STAR_NONE, out);
}
static enum star_ret set_remove(struct star_run *run, const struct star_call *call, star_v *out)
{
    return set_delete(run, call, out, true);
}
static enum star_ret set_discard(struct star_run *run, const struct star_call *call, star_v *out)
{
    return set_delete(run, call, out, false);
}

static enum star_ret set_pop(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *s = DICT_OBJ(call->recv);
    if (!star_unpack_pos(run, call, 0, 0, NULL))
        return STAR_FAIL;
    if (s->live == 0)
        return star_fail(run, "pop: empty set");
    if (!dict_mutable(run, s, "delete from"))
        return named(run, call);
    struct dict_entry *e = first_entry(s);
    *out = e->key;
    uint64_t skipped = (uint64_t)(e - s->entries);
    dict_remove(s, e);
    return star_charge(run, skipped / 64) ? STAR_OK : STAR_FAIL;
}

/* One iterable argument as a set; NULL: failed. */
static struct dict_obj *other_set(struct star_run *run, const struct star_call *call)
{
    star_v a[1];
    if (!star_unpack_pos(run, call, 1, 1, a) || !want_iterable(run, call, a[0], 0))
        return NULL;
    struct dict_obj *s = as_set(run, a[0]);
    if (!s)
        named(run, call);
    return s;
}

static enum star_ret set_difference(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *o = other_set(run, call);
    return o ? result(set_select(run, DICT_OBJ(call->recv), o, false, false), out) : STAR_FAIL;
}
static enum star_ret set_intersection(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *o = other_set(run, call);
    return o ? result(set_select(run, DICT_OBJ(call->recv), o, true, false), out) : STAR_FAIL;
}
static enum star_ret set_symmetric_difference(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *o = other_set(run, call);
    return o ? result(set_select(run, DICT_OBJ(call->recv), o, false, true), out) : STAR_FAIL;
}

static bool contains_all(const struct dict_obj *s, const struct dict_obj *of)
{
    for (uint32_t i = 0; i < of->len; i++)
        if (!star_is_null(of->entries[i].key) && !dict_find(s, of->entries[i].key, of->entries[i].hash))
            return false;
    return true;
}
static enum star_ret set_issubset(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *o = other_set(run, call);
    return o ? result(star_bool(contains_all(o, DICT_OBJ(call->recv))), out) : STAR_FAIL;
}
static enum star_ret set_issuperset(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *o = other_set(run, call);
    return o ? result(star_bool(contains_all(DICT_OBJ(call->recv), o)), out) : STAR_FAIL;
}

static enum star_ret add_args(struct star_run *run, const struct star_call *call, struct dict_obj *s)
{
    if (call->nkw > 0)
        return star_fail(run, STR_FMT ": does not accept keyword arguments", NAME(call));
    for (size_t i = 0; i < call->npos; i++) {
        if (!star_is_iterable(call->pos[i]))
            return star_fail(run, STR_FMT ": argument #%zu is not iterable: %s", NAME(call), i + 1, star_type_name(call->pos[i]));
        if (!set_add_items(run, s, call->pos[i]))
            return named(run, call);
    }
    return STAR_OK;
}
static enum star_ret set_update(struct star_run *run, const struct star_call *call, star_v *out)
{
    *out = STAR_NONE;
    return add_args(run, call, DICT_OBJ(call->recv));
}
static enum star_ret set_union(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct dict_obj *s = dict_new(run->arena, DICT_OBJ(call->recv)->live, O_SET);
    if (!s || !dict_add_all(run, s, DICT_OBJ(call->recv)))
        return memory_fail(run);
    *out = obj_v(s);
    return add_args(run, call, s);
}

const struct method set_methods[] = {
    {"add", set_add, NULL}, {"clear", set_clear, NULL}, {"difference", set_difference, NULL}, {"discard", set_discard, NULL},
    {"intersection", set_intersection, NULL}, {"issubset", set_issubset, NULL}, {"issuperset", set_issuperset, NULL},
    {"pop", set_pop, NULL}, {"remove", set_remove, NULL}, {"symmetric_difference", set_symmetric_difference, NULL},
    {"union", set_union, NULL}, {"update", set_update, NULL}, {0},
};
