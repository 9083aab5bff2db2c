/* base/arena.h: memory that is freed all at once, when its lifetime (request, app version, parse) ends.
 *
 * Everything allocated in an arena lives until arena_release() or arena_reset(). What else must end
 * with it (a descriptor, a reference) is registered with arena_defer(). An arena belongs to one thread
 * at a time. With a limit, arena_try_alloc() returns NULL beyond it and arena_alloc() stops the process:
 * code whose sizes come from outside uses the former, or checks sizes first.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "str.h"

struct arena_chunk;
struct arena_deferred;

struct arena {
    char *cur, *end;                  /* free part of the newest chunk */
    struct arena_chunk *chunks;       /* newest first */
    struct arena_deferred *deferred;  /* newest first; run before memory goes */
    size_t used;                      /* bytes taken from the system, headers included */
    size_t limit;                     /* ceiling for `used`; 0 is none */
    bool has_own_pages, is_small;     /* arena_own_pages(), arena_small() */
};

/* Starts an empty arena (no memory taken yet) with at most `limit` bytes, 0 for no limit.
 * A zeroed struct is a valid arena without limit. */
void arena_init(struct arena *a, size_t limit);
/* For an arena of which nothing has been taken yet: its memory is mapped for it alone, in large parts that cost what is used of
 * them. So it goes back to the system at its end, whatever has come to lie around it; for what is large, lives long,
 * and ends at a time of its own. */
void arena_own_pages(struct arena *a);
/* The same for one of which many live long with little in them: the first chunks have 512 bytes instead of 4 KiB, and lie in a
 * slab (slab.h). */
void arena_small(struct arena *a);
/* Runs what was deferred, newest first, and frees everything. The arena is empty and usable again. */
void arena_release(struct arena *a);
/* As release, but keeps the oldest chunk for reuse. */
void arena_reset(struct arena *a);

/* `size` bytes aligned for any type, not zeroed. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
/* The same, NULL when the limit would be crossed. */
void *arena_try_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
void *arena_memdup(struct arena *a, const void *ptr, size_t size) __attribute__((returns_nonnull));

/* A zeroed T, or a zeroed array of n Ts. */
#define arena_new(a, T)      ((T *)arena_zalloc((a), sizeof(T)))
#define arena_array(a, T, n) ((T *)arena_zalloc_array((a), (n), sizeof(T)))
void *arena_zalloc_array(struct arena *a, size_t n, size_t size) __attribute__((returns_nonnull));

/* Calls fn(arg) when the arena is released or reset. */
void arena_defer(struct arena *a, void (*fn)(void *), void *arg);

#define scoped_arena CLEANUP(arena_release) struct arena

#endif
