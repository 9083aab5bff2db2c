/* deploy/merge.c: the three-way merge of declarative apply, as functions of values (spec
 * app-lifecycle.md 19.3).
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

bool merge_scalar(enum merge_mode mode, struct str old, struct str now, struct str live)
{
    return !str_eq(live, now) && (mode != MERGE_NORMAL || !str_eq(old, now));
}

static bool is_in(const struct map *m, struct str key, struct str value)
{
    const struct str *has = map_get(m, key);
    return has && str_eq(*has, value);
}

static bool is_same_map(const struct map *x, const struct map *y)
{
    if (map_len(x) != map_len(y))
        return false;
    map_foreach(e, x) if (!is_in(y, e->key, *(const struct str *)e->value)) return false;
    return true;
}

static bool clobber_map(struct arena *a, const struct map *now, struct map *live)
{
    if (is_same_map(now, live))
        return false;
    map_init(live, a);
    map_foreach(e, now) store_map_set(a, live, e->key, *(const struct str *)e->value);
    return true;
}

bool merge_map(struct arena *a, enum merge_mode mode, const struct map *old, const struct map *now,
               struct map *live)
{
    bool changed = false;
    if (mode == MERGE_CLOBBER)
        return clobber_map(a, now, live);
    map_foreach(e, now)
    {
        struct str value = *(const struct str *)e->value;
        bool was_said = mode == MERGE_NORMAL && is_in(old, e->key, value);
        if (was_said || is_in(live, e->key, value))
            continue;
        store_map_set(a, live, e->key, value);
        changed = true;
    }
    if (mode == MERGE_NORMAL)
        map_foreach(e, old) if (!map_has(now, e->key)) changed |= map_del(live, e->key);
    return changed;
}

bool merge_list(struct arena *a, enum merge_mode mode, const struct str_list *old, const struct str_list *now,
                struct str_list *live)
{
    struct str_list out = {0};
    bool is_normal = mode == MERGE_NORMAL;
    vec_foreach(x, live)
    {
        bool is_gone = is_normal && str_list_has(old, *x) && !str_list_has(now, *x);
        if (mode != MERGE_CLOBBER && !is_gone)
            str_list_add(a, &out, *x);
    }
    vec_foreach(x, now)
    {
        bool was_said = is_normal && str_list_has(old, *x);
        if (mode == MERGE_CLOBBER || (!was_said && !str_list_has(&out, *x)))
            str_list_add(a, &out, *x);
    }
    if (str_list_eq(live, &out))
        return false;
    *live = out;
    return true;
}
