/* base/vec.h: a growing array in an arena: `VEC(struct item) items = {0}; *vec_push(a, &items) = x;`
 *
 * Growth copies into a new block of the arena, so pointers to items are good until the next push.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_VEC_H
#define BASE_VEC_H

#include "arena.h"

#define VEC(T)       \
    struct {         \
        T *items;    \
        size_t len;  \
        size_t cap;  \
    }

/* Adds one zeroed item and gives its address. */
#define vec_push(a, v)                                                                                  \
    ((v)->items = vec_grow((a), (v)->items, (v)->len, &(v)->cap, sizeof *(v)->items),                   \
     memset(&(v)->items[(v)->len], 0, sizeof *(v)->items), &(v)->items[(v)->len++])

#define vec_foreach(item, v) \
    for (__typeof__((v)->items[0]) *item = (v)->items; item && item < (v)->items + (v)->len; item++)

static inline void *vec_grow(struct arena *a, void *items, size_t len, size_t *cap, size_t size)
{
    if (len < *cap)
        return items;
    size_t bigger = *cap ? *cap * 2 : 8;
    void *p = arena_zalloc_array(a, bigger, size);
    if (len > 0)
        memcpy(p, items, len * size);
    *cap = bigger;
    return p;
}

/* A list of slices, the most common vector. */
struct str_list {
    struct str *items;
    size_t len;
    size_t cap;
};
static inline void str_list_add(struct arena *a, struct str_list *l, struct str s)
{
    *vec_push(a, l) = s;
}
bool str_list_has(const struct str_list *l, struct str s);
/* The same slices in the same order. */
bool str_list_eq(const struct str_list *x, const struct str_list *y);

#endif
