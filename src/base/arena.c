/* base/arena.c: bump allocation in chunks that double from 4 KiB to 1 MiB.
 * SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

enum { ARENA_ALIGN = 16, CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20 };

struct arena_chunk {
    struct arena_chunk *next; /* older */
    size_t size;              /* with this header */
};

struct arena_deferred {
    struct arena_deferred *next;
    void (*fn)(void *);
    void *arg;
};

static_assert(sizeof(struct arena_chunk) % ARENA_ALIGN == 0, "data after the header is aligned");

void arena_init(struct arena *a, size_t limit)
{
    *a = (struct arena){.limit = limit};
}

static void run_deferred(struct arena *a)
{
    /* One at a time: a deferred function may itself allocate or defer. */
    while (a->deferred) {
        struct arena_deferred *d = a->deferred;
        a->deferred = d->next;
        d->fn(d->arg);
    }
}

static void free_chunks(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *older = c->next;
        UNPOISON(c, c->size);
        free(c);
        c = older;
    }
}

void arena_release(struct arena *a)
{
    run_deferred(a);
    free_chunks(a->chunks);
    arena_init(a, a->limit);
}

void arena_reset(struct arena *a)
{
    run_deferred(a);
    struct arena_chunk *first = a->chunks;
    if (!first)
        return;
    /* Keep the oldest: it is the smallest, and a long-lived reused arena settles on it. */
    struct arena_chunk **link = &a->chunks;
    while ((*link)->next)
        link = &(*link)->next;
    struct arena_chunk *oldest = *link;
    *link = NULL;
    free_chunks(a->chunks);
    a->chunks = oldest;
    a->cur = (char *)(oldest + 1);
    a->end = (char *)oldest + oldest->size;
    a->used = oldest->size;
    POISON(a->cur, (size_t)(a->end - a->cur));
}

static void *alloc_slow(struct arena *a, size_t size)
{
    size_t want = a->chunks ? MIN(a->chunks->size * 2, (size_t)CHUNK_MAX) : (size_t)CHUNK_MIN;
    size_t need = size + sizeof(struct arena_chunk);
    if (need < size)
        return NULL;
    if (want < need)
        want = need;
    if (a->limit && (want > a->limit || a->used > a->limit - want)) {
        /* Near the ceiling: a chunk of just this size may still fit. */
        want = need;
        if (want > a->limit || a->used > a->limit - want)
            return NULL;
    }
    struct arena_chunk *c = malloc(want);
    if (!c)
        return NULL;
    c->size = want;
    a->used += want;
    char *data = (char *)(c + 1);
    POISON(data, want - sizeof *c);
    size_t left_here = (size_t)(a->end - a->cur);
    if (a->chunks && want == need && left_here > 0) {
        /* An oversized block goes behind the current chunk, whose free part stays in use. */
        c->next = a->chunks->next;
        a->chunks->next = c;
    } else {
        c->next = a->chunks;
        a->chunks = c;
        a->cur = data + size;
        a->end = (char *)c + want;
    }
    UNPOISON(data, size);
    return data;
}

void *arena_try_alloc(struct arena *a, size_t size)
{
    if (UNLIKELY(size > SIZE_MAX - ARENA_ALIGN))
        return NULL;
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (LIKELY(a->cur && size <= (size_t)(a->end - a->cur))) { /* an empty arena has no byte to point at, even for size 0 */
        void *p = a->cur;
        a->cur += size;
        UNPOISON(p, size);
        return p;
    }
    return alloc_slow(a, size);
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = arena_try_alloc(a, size);
    if (!p)
        BUG("arena: no memory for %zu bytes (used %zu, limit %zu)", size, a->used, a->limit);
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

void *arena_zalloc_array(struct arena *a, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        BUG("arena: array of %zu x %zu bytes", n, size);
    return arena_zalloc(a, total);
}

void *arena_memdup(struct arena *a, const void *ptr, size_t size)
{
    void *p = arena_alloc(a, size);
    if (size > 0)
        memcpy(p, ptr, size);
    return p;
}

void arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
    struct arena_deferred *d = arena_alloc(a, sizeof *d);
    *d = (struct arena_deferred){.next = a->deferred, .fn = fn, .arg = arg};
    a->deferred = d;
}
