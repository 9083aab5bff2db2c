/* base/slab.h: small blocks that live long, on pages of their own.
 *
 * A page goes back to the system when all on it is free. malloc() puts what an app keeps while it sleeps between what the
 * work of a moment needs, so that each hundred bytes of it would hold 4 KiB. Here only the like lie together.
 * From any thread; a lock is taken, so this is for what is made once per app or operation.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>

enum { SLAB_ALIGN = 64, SLAB_MAX = 2048 /* larger ones are malloc's */ };

/* `size` bytes, aligned to a cache line; zeroed or not. Stops the process when there is no memory. */
void *slab_alloc(size_t size) __attribute__((returns_nonnull, malloc));
void *slab_zalloc(size_t size) __attribute__((returns_nonnull, malloc));
/* `size` as it was asked for. NULL is fine. */
void slab_free(void *p, size_t size);

#endif
