/* starlark/iter.c: iteration from C, for builtins. The VM's own loops are in vm.c and call.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include "starlark_int.h"

/* The same two registers that a loop uses. */
bool iter_begin(struct star_run *run, struct iter *it, star_v v)
{
    it->r[0] = v;
    it->run = run;
    it->is_active = loop_begin(run, it->r);
    return it->is_active;
}

bool iter_next(struct star_run *run, struct iter *it, star_v *out)
{
    if (is_type(it->r[0], O_LIST)) {
        const struct list_obj *l = LIST_OBJ(it->r[0]);
        uint64_t i = it->r[1].bits / 4;
        if (i >= l->len)
            return false;
        it->r[1].bits += 4;
        *out = l->items[i];
        return true;
    }
    int got = loop_next(run, it->r, out);
    if (got == 1)
        return true;
    if (got == -2) {
        run->waiting = WAIT_NONE;
        star_fail(run, "%s value waits, so it can only be iterated by a for loop", star_type_name(it->r[0]));
    } else if (got < 0 && !run->has_msg) {
        memory_fail(run);
    }
    return false;
}

void iter_end(struct iter *it)
{
    if (it->is_active)
        loop_end(it->r);
    it->is_active = false;
}

int64_t value_len(star_v v)
{
    if (!is_obj(v))
        return -1;
    switch (obj_of(v)->type) {
    case O_STRING: case O_BYTES: return STR_OBJ(v)->len;
    case O_LIST: return LIST_OBJ(v)->len;
    case O_TUPLE: return TUPLE_OBJ(v)->h.aux;
    case O_DICT: case O_SET: return DICT_OBJ(v)->live;
    case O_RANGE: return RANGE_OBJ(v)->len;
    case O_HOST: {
        const struct star_host_type *t = HOST_OBJ(v)->type;
        return t->len ? (int64_t)t->len(HOST_OBJ(v)->self) : -1;
    }
    case O_ELEMS: {
        const struct elems_obj *e = (struct elems_obj *)obj_of(v);
        return e->h.flags == ELEMS_BYTES_STR || e->h.flags == ELEMS_BYTES_ORD ? (int64_t)STR_OBJ(e->str)->len : -1;
    }
    default: return -1;
    }
}

bool iter_collect(struct star_run *run, star_v v, star_v **items, size_t *n)
{
    const star_v *from;
    size_t len;
    if (seq_items(v, &from, &len)) {
        star_v *copy = star_alloc(run->arena, (len + 1) * sizeof *copy);
        if (!copy)
            return memory_fail(run), false;
        if (len > 0)
            memcpy(copy, from, len * sizeof *copy);
        *items = copy;
        *n = len;
        return star_charge(run, len / 16 + 1);
    }
    struct iter it;
    int64_t hint = value_len(v);
    struct list_obj *l = list_new(run->arena, hint > 0 && hint < 1 << 20 ? (size_t)hint : 0);
    if (!l)
        return memory_fail(run), false;
    if (!iter_begin(run, &it, v))
        return false;
    star_v x;
    bool ok = true;
    while (ok && iter_next(run, &it, &x)) {
        if (UNLIKELY(!list_push(run->arena, l, x)))
            ok = (memory_fail(run), false);
        else if ((l->len & 255) == 0)
            ok = star_charge(run, 16);
    }
    iter_end(&it);
    *items = l->items;
    *n = l->len;
    return ok && !run->has_msg;
}
