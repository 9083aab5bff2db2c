/* base/map.h: a hash map from slices to pointers that keeps insertion order.
 *
 * Lives in an arena and dies with it; keys are borrowed and must live as long. Open addressing over an
 * index of entry numbers; entries are an array in insertion order. Hashes are keyed (str_hash), so keys
 * may come from outside. Reading from several threads is safe while nobody writes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "arena.h"

struct map_entry {
    struct str key;
    void *value;
    uint64_t hash;
    bool is_dead; /* deleted; skipped */
};

struct map {
    struct arena *arena;
    struct map_entry *entries; /* [len], insertion order, dead ones included */
    size_t len, cap;
    size_t live;               /* entries that are not dead */
    uint32_t *index;           /* [index_cap], entry number + 1, 0 empty */
    size_t index_cap;          /* a power of two, or 0 */
};

void map_init(struct map *m, struct arena *a);
/* The value, or NULL (a stored NULL looks the same: see map_has). */
void *map_get(const struct map *m, struct str key);
bool map_has(const struct map *m, struct str key);
/* Sets or replaces; a replaced key keeps its place. */
void map_set(struct map *m, struct str key, void *value);
bool map_del(struct map *m, struct str key);
static inline size_t map_len(const struct map *m)
{
    return m->live;
}

/* for each live entry, in insertion order: map_foreach(e, &m) use(e->key, e->value); */
#define map_foreach(e, m)                                                                               \
    for (struct map_entry *e = (m)->entries; e && e < (m)->entries + (m)->len; e++)                     \
        if (!e->is_dead)

#endif
