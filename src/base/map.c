/* base/map.c: linear probing at most half full; deleting leaves a dead entry until the next growth.
 * SPDX-License-Identifier: Apache-2.0 */
#include "map.h"

void map_init(struct map *m, struct arena *a)
{
    *m = (struct map){.arena = a};
}

/* Index slot of `key`, or of the empty slot where it would go. The index must not be empty. */
static size_t find_slot(const struct map *m, struct str key, uint64_t hash)
{
    size_t mask = m->index_cap - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t n = m->index[i];
        if (n == 0)
            return i;
        const struct map_entry *e = &m->entries[n - 1];
        if (e->hash == hash && str_eq(e->key, key))
            return i;
    }
}

static struct map_entry *find(const struct map *m, struct str key)
{
    if (m->index_cap == 0)
        return NULL;
    uint32_t n = m->index[find_slot(m, key, str_hash(key))];
    if (n == 0 || m->entries[n - 1].is_dead)
        return NULL;
    return &m->entries[n - 1];
}

/* Rebuilds entries and index with room for one more, leaving dead entries behind. */
static void grow(struct map *m)
{
    size_t cap = m->live < 8 ? 8 : m->live * 2;
    if (cap >= UINT32_MAX)
        BUG("map of %zu entries", m->live);
    struct map_entry *old = m->entries;
    size_t old_len = m->len;
    size_t index_cap = 16;
    while (index_cap < cap * 2)
        index_cap *= 2;
    m->entries = arena_array(m->arena, struct map_entry, cap);
    m->index = arena_array(m->arena, uint32_t, index_cap);
    m->cap = cap;
    m->index_cap = index_cap;
    m->len = 0;
    for (size_t i = 0; i < old_len; i++) {
        if (old[i].is_dead)
            continue;
        m->entries[m->len] = old[i];
        m->index[find_slot(m, old[i].key, old[i].hash)] = (uint32_t)++m->len;
    }
}

void *map_get(const struct map *m, struct str key)
{
    struct map_entry *e = find(m, key);
    return e ? e->value : NULL;
}

bool map_has(const struct map *m, struct str key)
{
    return find(m, key) != NULL;
}

void map_set(struct map *m, struct str key, void *value)
{
    if (m->len == m->cap)
        grow(m);
    uint64_t hash = str_hash(key);
    size_t slot = find_slot(m, key, hash);
    uint32_t n = m->index[slot];
    if (n != 0 && !m->entries[n - 1].is_dead) {
        m->entries[n - 1].value = value;
        return;
    }
    /* A key that was deleted comes back at the end; its dead entry keeps the probe chain whole. */
    m->entries[m->len] = (struct map_entry){.key = key, .value = value, .hash = hash};
    m->index[slot] = (uint32_t)++m->len;
    m->live++;
}

bool map_del(struct map *m, struct str key)
{
    struct map_entry *e = find(m, key);
    if (!e)
        return false;
    e->is_dead = true;
    e->value = NULL;
    m->live--;
    return true;
}
