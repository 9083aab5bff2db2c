/* starlark/dict.c: the hash table behind dict and set, in insertion order.
 *
 *   entries  [k v h] [k v h] [--- deleted] [k v h]          up to `cap`, `len` in use, `live` not deleted
 *   index    . 1 . . 4 . 2 .                                entry number + 1; only above DICT_SMALL entries
 *
 * An index slot keeps naming a deleted entry until the next rebuild, so probing never stops early.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

static bool index_build(struct arena *a, struct dict_obj *d, uint32_t cap)
{
    uint32_t slots = 16;
    while (slots < cap + cap / 2)
        slots *= 2;
    if (slots > d->mask + 1 || !d->index) {
        uint32_t *index = star_alloc(a, slots * sizeof *index);
        if (!index)
            return false;
        d->index = index;
        d->mask = slots - 1;
    }
    memset(d->index, 0, ((size_t)d->mask + 1) * sizeof *d->index);
    for (uint32_t i = 0; i < d->len; i++) {
        uint32_t at = d->entries[i].hash & d->mask;
        while (d->index[at])
            at = (at + 1) & d->mask;
        d->index[at] = i + 1;
    }
    return true;
}

/* Room for one more entry: squeezes out deleted ones, or grows. */
static bool make_room(struct arena *a, struct dict_obj *d)
{
    uint32_t cap = d->cap;
    if (d->live * 4 > cap * 3 || cap == 0) {
        if (cap > UINT32_MAX / 4)
            return false;
        cap = cap ? cap * 2 : 4;
    }
    struct dict_entry *to = d->entries;
    if (cap != d->cap && !(to = star_alloc(a, cap * sizeof *to)))
        return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->len; i++)
        if (!star_is_null(d->entries[i].key))
            to[n++] = d->entries[i];
    d->entries = to;
    d->len = n;
    d->cap = cap;
    return cap <= DICT_SMALL || index_build(a, d, cap);
}

struct dict_obj *dict_new(struct arena *a, size_t expected, enum obj_type type)
{
    struct dict_obj *d = new_obj(a, sizeof *d, type);
    if (!d)
        return NULL;
    d->len = d->live = d->cap = d->mask = 0;
    d->entries = NULL;
    d->index = NULL;
    if (expected > 0 && expected < UINT32_MAX / 4) {
        d->entries = star_alloc(a, expected * sizeof *d->entries);
        if (!d->entries)
            return NULL;
        d->cap = (uint32_t)expected;
        if (expected > DICT_SMALL && !index_build(a, d, d->cap))
            return NULL;
    }
    return d;
}

static inline bool key_equal(star_v x, star_v y)
{
    if (x.bits == y.bits)
        return true;
    if (is_int(x) && is_int(y))
        return false;
    if (is_string(x))
        return is_string(y) && string_equal(x, y);
    return value_equal(x, y, 0) == 1;
}

struct dict_entry *dict_find(const struct dict_obj *d, star_v key, uint32_t hash)
{
    if (!d->index) {
        for (uint32_t i = 0; i < d->len; i++) {
            struct dict_entry *e = &d->entries[i];
            if (e->hash == hash && !star_is_null(e->key) && key_equal(e->key, key))
                return e;
        }
        return NULL;
    }
    for (uint32_t at = hash & d->mask, n; (n = d->index[at]) != 0; at = (at + 1) & d->mask) {
        struct dict_entry *e = &d->entries[n - 1];
        if (e->hash == hash && !star_is_null(e->key) && key_equal(e->key, key))
            return e;
    }
    return NULL;
}

struct dict_entry *dict_find_str(const struct dict_obj *d, struct str key, uint32_t hash)
{
    struct str_obj s = {.h = {.type = O_STRING, .frozen = 1, .aux = hash}, .len = (uint32_t)key.len, .ptr = key.ptr};
    _Alignas(16) struct str_obj copy = s;
    return dict_find(d, obj_v(&copy), hash);
}

bool dict_put(struct arena *a, struct dict_obj *d, star_v key, uint32_t hash, star_v value, bool *added)
{
    struct dict_entry *e = dict_find(d, key, hash);
    if (added)
        *added = e == NULL;
    if (e) {
        e->value = value;
        return true;
    }
    if (UNLIKELY(d->len == d->cap) && !make_room(a, d))
        return false;
    d->entries[d->len] = (struct dict_entry){.key = key, .value = value, .hash = hash};
    d->len++;
    d->live++;
    if (d->index) {
        uint32_t at = hash & d->mask;
        while (d->index[at])
            at = (at + 1) & d->mask;
        d->index[at] = d->len;
    }
    return true;
}

star_v dict_remove(struct dict_obj *d, struct dict_entry *e)
{
    star_v v = e->value;
    e->key = STAR_NULL;
    e->value = STAR_NULL;
    d->live--;
    if (d->live == 0)
        dict_clear(d);
    else
        while (!d->index && d->len > 0 && star_is_null(d->entries[d->len - 1].key))
            d->len--;
    return v;
}

void dict_clear(struct dict_obj *d)
{
    d->len = d->live = 0;
    if (d->index)
        memset(d->index, 0, ((size_t)d->mask + 1) * sizeof *d->index);
}

bool dict_mutable(struct star_run *run, const struct dict_obj *d, const char *verb)
{
    if (LIKELY(!d->h.frozen && d->h.aux == 0))
        return true;
    if (d->h.frozen)
        return FAIL_FALSE(run, "cannot %s frozen hash table", verb);
    return FAIL_FALSE(run, "cannot %s hash table during iteration", verb);
}

bool list_mutable(struct star_run *run, const struct list_obj *l, const char *verb)
{
    if (LIKELY(!l->h.frozen && l->h.aux == 0))
        return true;
    if (l->h.frozen)
        return FAIL_FALSE(run, "cannot %s frozen list", verb);
    return FAIL_FALSE(run, "cannot %s list during iteration", verb);
}

bool key_hash(struct star_run *run, star_v key, uint32_t *hash)
{
    const char *why;
    if (LIKELY(is_string(key))) {
        *hash = string_hash(key);
        return true;
    }
    if (value_hash(key, hash, &why))
        return true;
    bool is_container = is_type(key, O_LIST) || is_type(key, O_DICT) || is_type(key, O_SET) || is_type(key, O_TUPLE);
    return FAIL_FALSE(run, "%s%s", why == hash_too_deep ? "" : is_container ? "unhashable type: " : "unhashable: ", why);
}

bool dict_set_checked(struct star_run *run, struct dict_obj *d, star_v key, star_v value)
{
    uint32_t hash;
    if (!dict_mutable(run, d, "insert into") || !key_hash(run, key, &hash))
        return false;
    if (!dict_put(run->arena, d, key, hash, value, NULL)) {
        memory_fail(run);
        return false;
    }
    return true;
}

/* ---- public ---- */

star_v star_dict(struct arena *a, size_t expected)
{
    return obj_or_null(dict_new(a, expected, O_DICT));
}

star_v star_set(struct arena *a, size_t expected)
{
    return obj_or_null(dict_new(a, expected, O_SET));
}

static bool put(struct arena *a, star_v dict, enum obj_type type, star_v key, star_v value)
{
    uint32_t hash;
    const char *why;
    if (!is_type(dict, type) || star_is_null(key) || star_is_null(value) || !value_hash(key, &hash, &why))
        return false;
    struct dict_obj *d = DICT_OBJ(dict);
    return !d->h.frozen && d->h.aux == 0 && dict_put(a, d, key, hash, value, NULL);
}

bool star_dict_set(struct arena *a, star_v dict, star_v key, star_v value)
{
    return put(a, dict, O_DICT, key, value);
}

bool star_dict_set_z(struct arena *a, star_v dict, const char *key, star_v value)
{
    return put(a, dict, O_DICT, star_string_z(a, key), value);
}

bool star_set_add(struct arena *a, star_v set, star_v item)
{
    return put(a, set, O_SET, item, STAR_NONE);
}

star_v star_dict_get(star_v dict, star_v key)
{
    uint32_t hash;
    const char *why;
    if (!is_type(dict, O_DICT) || !value_hash(key, &hash, &why))
        return STAR_NULL;
    const struct dict_entry *e = dict_find(DICT_OBJ(dict), key, hash);
    return e ? e->value : STAR_NULL;
}

star_v star_dict_get_str(star_v dict, struct str key)
{
    if (!is_type(dict, O_DICT))
        return STAR_NULL;
    const struct dict_entry *e = dict_find_str(DICT_OBJ(dict), key, bytes_hash(key.ptr, key.len));
    return e ? e->value : STAR_NULL;
}

static bool next_entry(star_v dict, enum obj_type type, size_t *at, star_v *key, star_v *value)
{
    if (!is_type(dict, type))
        return false;
    const struct dict_obj *d = DICT_OBJ(dict);
    while (*at < d->len && star_is_null(d->entries[*at].key))
        ++*at;
    if (*at >= d->len)
        return false;
    *key = d->entries[*at].key;
    *value = d->entries[*at].value;
    ++*at;
    return true;
}

bool star_dict_next(star_v dict, size_t *at, star_v *key, star_v *value)
{
    return next_entry(dict, O_DICT, at, key, value);
}

bool star_set_next(star_v set, size_t *at, star_v *item)
{
    star_v unused;
    return next_entry(set, O_SET, at, item, &unused);
}
