/* base/slab.c: regions of blocks of one size, a multiple of 64 bytes.
 *
 * 1. A region is REGION bytes at a multiple of REGION: so a block tells where its region begins.
 * 2. regions[class] are those with room. Full ones are in no list: their blocks know them.
 * 3. A region without blocks is unmapped at once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "slab.h"

#include "util.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)) && !defined(SLAB_TEST)
enum { HAS_REGIONS = 0 }; /* sanitizers know the blocks of malloc, and LeakSanitizer looks for pointers only there */
#else
enum { HAS_REGIONS = 1 };
#endif

enum { REGION = 64 << 10, CLASSES = SLAB_MAX / SLAB_ALIGN };

struct free_block {
    struct free_block *next;
};

struct region {
    struct region *next, **at; /* with room; at is NULL while it is full */
    struct free_block *free;
    char *fresh; /* from here on nothing has been used yet, so no page been touched */
    unsigned used;
} __attribute__((aligned(SLAB_ALIGN)));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct region *regions[CLASSES]; /* guarded by it, as all in them */

static size_t rounded(size_t size)
{
    return MAX((size + SLAB_ALIGN - 1) / SLAB_ALIGN, (size_t)1) * SLAB_ALIGN;
}

static bool is_ours(size_t size)
{
    return HAS_REGIONS && size <= SLAB_MAX;
}

static void list_add(struct region **list, struct region *r)
{
    r->next = *list;
    r->at = list;
    if (r->next)
        r->next->at = &r->next;
    *list = r;
}

static void list_remove(struct region *r)
{
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    r->at = NULL;
}

static bool has_room(const struct region *r, size_t size)
{
    return r->free || r->fresh + size <= (const char *)r + REGION;
}

static struct region *region_new(void)
{
    char *p = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        BUG("out of memory");
    size_t before = (size_t)(-(uintptr_t)p % REGION), after = REGION - before;
    if (before > 0)
        munmap(p, before);
    if (after > 0)
        munmap(p + before + REGION, after);
    struct region *r = (struct region *)(void *)(p + before);
    r->fresh = (char *)(r + 1);
    return r;
}

void *slab_alloc(size_t size)
{
    if (!is_ours(size)) {
        void *p = size <= SIZE_MAX - SLAB_ALIGN ? aligned_alloc(SLAB_ALIGN, rounded(size)) : NULL;
        if (!p)
            BUG("out of memory: %zu bytes", size);
        return p;
    }
    size = rounded(size);
    pthread_mutex_lock(&lock);
    struct region **list = &regions[size / SLAB_ALIGN - 1];
    if (!*list)
        list_add(list, region_new());
    struct region *r = *list;
    struct free_block *b = r->free;
    if (b) {
        r->free = b->next;
    } else {
        b = (struct free_block *)(void *)r->fresh;
        r->fresh += size;
    }
    r->used++;
    if (!has_room(r, size))
        list_remove(r);
    pthread_mutex_unlock(&lock);
    return b;
}

void *slab_zalloc(size_t size)
{
    return memset(slab_alloc(size), 0, size);
}

void slab_free(void *p, size_t size)
{
    if (!p || !is_ours(size)) {
        free(p);
        return;
    }
    struct region *r = (struct region *)((uintptr_t)p & ~(uintptr_t)(REGION - 1));
    struct free_block *b = p;
    pthread_mutex_lock(&lock);
    b->next = r->free;
    r->free = b;
    r->used--;
    if (!r->at)
        list_add(&regions[rounded(size) / SLAB_ALIGN - 1], r);
    if (r->used == 0) {
        list_remove(r);
        munmap(r, REGION);
    }
    pthread_mutex_unlock(&lock);
}
