/* base/arena.c: bump allocation in chunks that double from 4 KiB to 1 MiB.
 * SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include "slab.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MAY_MAP = 0 }; /* LeakSanitizer looks for pointers in allocated memory only */
#else
enum { MAY_MAP = 1 };
#endif

enum { ARENA_ALIGN = 16, SMALL = 512, CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20, MAP_MIN = 64 << 10 };

struct arena_chunk {
    struct arena_chunk *next; /* older */
    size_t size;              /* with this header; a multiple of ARENA_ALIGN, and one of these more */
};
enum { IS_MAPPED = 1, IS_SLAB = 2 };

static inline size_t size_of(const struct arena_chunk *c)
{
    return c->size & ~(size_t)(IS_MAPPED | IS_SLAB);
}

static inline char *end_of(struct arena_chunk *c)
{
    return (char *)c + size_of(c);
}

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

void arena_own_pages(struct arena *a)
{
    a->has_own_pages = true;
}

void arena_small(struct arena *a)
{
    a->is_small = true;
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
        UNPOISON(c, size_of(c));
        if (c->size & IS_MAPPED)
            munmap(c, size_of(c));
        else if (c->size & IS_SLAB)
            slab_free(c, size_of(c));
        else
            free(c);
        c = older;
    }
}

void arena_release(struct arena *a)
{
    run_deferred(a);
    free_chunks(a->chunks);
    *a = (struct arena){.limit = a->limit, .has_own_pages = a->has_own_pages, .is_small = a->is_small};
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
    a->end = end_of(oldest);
    a->used = size_of(oldest);
    POISON(a->cur, (size_t)(a->end - a->cur));
}

/* Whole pages, from the system if the arena has its own; NULL when there is no memory. */
static struct arena_chunk *chunk_new(const struct arena *a, size_t size)
{
    if (a->is_small && size <= SLAB_MAX) {
        struct arena_chunk *c = slab_alloc(size);
        c->size = size | IS_SLAB;
        return c;
    }
    if (!MAY_MAP || !a->has_own_pages || size % CHUNK_MIN != 0) {
        struct arena_chunk *c = malloc(size);
        if (c)
            c->size = size;
        return c;
    }
    struct arena_chunk *c = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return NULL;
    c->size = size | IS_MAPPED;
    return c;
}

/* The usual size of the next chunk. */
static size_t next_size(const struct arena *a)
{
    if (a->is_small && a->used < CHUNK_MIN)
        return SMALL;
    if (!a->chunks)
        return a->has_own_pages ? MAP_MIN : CHUNK_MIN;
    return MIN(size_of(a->chunks) * 2, (size_t)CHUNK_MAX);
}

static void *alloc_slow(struct arena *a, size_t size)
{
    size_t want = next_size(a), need = size + sizeof(struct arena_chunk);
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
    struct arena_chunk *c = chunk_new(a, want);
    if (!c)
        return NULL;
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
