/* base/buf.h: a growing byte buffer that is born with its ceiling.
 *
 * Adding past the ceiling adds nothing, returns false and marks the buffer: a writer may make many
 * adds and check buf_is_full() once. The bytes move when the buffer grows.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "str.h"

struct buf {
    char *ptr;      /* always NUL-terminated when not NULL */
    size_t len;     /* bytes in use */
    size_t cap;     /* bytes allocated, the NUL included */
    size_t max;     /* ceiling for `len` */
    bool is_full;   /* an add was refused */
};

/* An empty buffer that holds at most `max` bytes. Nothing is allocated yet. */
static inline void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}
#define BUF_INIT(ceiling) {.max = (ceiling)}

void buf_release(struct buf *b);                    /* frees; empty and usable again */
void buf_fit(struct buf *b);                        /* frees what is not in use */
static inline void buf_clear(struct buf *b)         /* keeps the memory */
{
    b->len = 0;
    b->is_full = false;
}

bool buf_reserve(struct buf *b, size_t more);       /* room for `more` further bytes */
bool buf_add(struct buf *b, const void *ptr, size_t len);
bool buf_add_str(struct buf *b, struct str s);
bool buf_add_z(struct buf *b, const char *z);
bool buf_add_char(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool buf_vprintf(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
/* Adds `s` as the inside of a JSON string (RFC 8259 §7), bytes that are not UTF-8 as U+FFFD. */
bool buf_add_json(struct buf *b, struct str s);

void buf_drop(struct buf *b, size_t n);             /* removes the first `n` bytes */
static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->ptr, b->len};
}
/* The content as NUL-terminated text; "" when nothing was added. */
const char *buf_z(const struct buf *b);

#define scoped_buf CLEANUP(buf_release) struct buf

#endif
