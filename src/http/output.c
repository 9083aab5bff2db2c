/* http/output.c: the queue of bytes and file ranges that a connection has still to send.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { IOV_MAX_HERE = 16, SENDFILE_MAX = 1 << 20 };

void out_init(struct out *o)
{
    *o = (struct out){0};
    for (int i = 0; i < OUT_SPARES; i++) {
        o->spares[i].next = o->free_segs;
        o->free_segs = &o->spares[i];
    }
}

static bool is_spare(const struct out *o, const struct out_seg *s)
{
    return s >= o->spares && s < o->spares + OUT_SPARES;
}

static struct out_seg *push(struct out *o, enum out_kind kind)
{
    struct out_seg *s = o->free_segs;
    if (s)
        o->free_segs = s->next;
    else
        s = xmalloc(sizeof *s);
    *s = (struct out_seg){.kind = kind, .fd = -1};
    if (o->last)
        o->last->next = s;
    else
        o->first = s;
    o->last = s;
    return s;
}

static void pop(struct out *o, struct http_loop *loop)
{
    struct out_seg *s = o->first;
    o->first = s->next;
    if (!o->first)
        o->last = NULL;
    if (s->kind == OUT_BLOCK)
        http_block_put(loop, s->mem);
    else if (s->kind == OUT_MALLOC)
        free(s->mem);
    else if (s->kind == OUT_FILE)
        close(s->fd);
    if (is_spare(o, s)) {
        s->next = o->free_segs;
        o->free_segs = s;
    } else {
        free(s);
    }
}

char *out_reserve(struct out *o, struct http_loop *loop, size_t len)
{
    struct out_seg *s = o->last;
    if (s && (s->kind == OUT_BLOCK || s->kind == OUT_MALLOC) && s->cap - s->end >= len)
        return s->mem + s->end;
    s = push(o, len <= HTTP_BLOCK ? OUT_BLOCK : OUT_MALLOC);
    s->cap = MAX(len, (size_t)HTTP_BLOCK);
    s->mem = s->kind == OUT_BLOCK ? http_block_get(loop) : xmalloc(len);
    return s->mem;
}

void out_commit(struct out *o, size_t len)
{
    assert(o->last->cap - o->last->end >= len);
    o->last->end += len;
    o->len += len;
}

void out_copy(struct out *o, struct http_loop *loop, struct str data)
{
    while (data.len > 0) {
        struct out_seg *s = o->last;
        size_t room = s && (s->kind == OUT_BLOCK || s->kind == OUT_MALLOC) ? s->cap - s->end : 0;
        size_t n = MIN(data.len, room > 0 ? room : (size_t)HTTP_BLOCK);
        memcpy(out_reserve(o, loop, n), data.ptr, n);
        out_commit(o, n);
        data = str_from_off(data, n);
    }
}

void out_borrow(struct out *o, struct str data)
{
    if (data.len == 0)
        return;
    struct out_seg *s = push(o, OUT_BORROWED);
    s->mem = (char *)(uintptr_t)data.ptr;
    s->end = data.len;
    o->len += data.len;
}

void out_file(struct out *o, int fd, uint64_t off, uint64_t len)
{
    struct out_seg *s = push(o, OUT_FILE);
    s->fd = fd;
    s->pos = off;
    s->end = off + len;
    o->len += len;
}

void out_own(struct out *o, struct http_loop *loop)
{
    for (struct out_seg *s = o->first; s; s = s->next) {
        if (s->kind != OUT_BORROWED)
            continue;
        size_t len = (size_t)(s->end - s->pos);
        const char *from = s->mem + s->pos;
        s->kind = len <= HTTP_BLOCK ? OUT_BLOCK : OUT_MALLOC;
        s->cap = MAX(len, (size_t)HTTP_BLOCK);
        s->mem = s->kind == OUT_BLOCK ? http_block_get(loop) : xmalloc(len);
        memcpy(s->mem, from, len);
        s->pos = 0;
        s->end = len;
    }
}

static void consume(struct out *o, struct http_loop *loop, uint64_t n)
{
    o->len -= n;
    while (o->first) {
        struct out_seg *s = o->first;
        uint64_t part = MIN(n, s->end - s->pos);
        s->pos += part;
        n -= part;
        if (s->pos < s->end)
            return;
        pop(o, loop);
    }
}

/* Part of the file range at the front. 0: the file is shorter than was promised. */
static ssize_t send_file(const struct out_seg *seg, struct http_stream *s)
{
    size_t want = (size_t)MIN(seg->end - seg->pos, (uint64_t)SENDFILE_MAX);
    if (s->ssl) {
        char *scratch = http_loop_scratch(s->loop);
        ssize_t got = pread(seg->fd, scratch, MIN(want, (size_t)HTTP_BLOCK), (off_t)seg->pos);
        return got > 0 ? http_stream_write(s, scratch, (size_t)got) : HTTP_BROKEN;
    }
    off_t off = (off_t)seg->pos;
    ssize_t n = sendfile(s->fd, seg->fd, &off, want);
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? HTTP_AGAIN : HTTP_BROKEN;
}

static ssize_t send_memory(const struct out *o, struct http_stream *s, size_t *offered)
{
    struct iovec iov[IOV_MAX_HERE];
    int n = 0;
    *offered = 0;
    for (const struct out_seg *seg = o->first; seg && seg->kind != OUT_FILE && n < IOV_MAX_HERE;
         seg = seg->next) {
        iov[n] = (struct iovec){seg->mem + seg->pos, (size_t)(seg->end - seg->pos)};
        *offered += iov[n++].iov_len;
    }
    return http_stream_writev(s, iov, n);
}

bool out_flush(struct out *o, struct http_stream *s, bool *moved)
{
    o->is_blocked = false;
    while (o->first) {
        bool is_file = o->first->kind == OUT_FILE;
        size_t offered = 0;
        ssize_t n = is_file ? send_file(o->first, s) : send_memory(o, s, &offered);
        if (n == HTTP_AGAIN) {
            o->is_blocked = true;
            return true;
        }
        if (n < 0)
            return false;
        *moved = true;
        consume(o, s->loop, (uint64_t)n);
        /* A plain socket that took less than offered is full: another call would only say so. */
        if (!s->ssl && !is_file && (size_t)n < offered) {
            o->is_blocked = true;
            return true;
        }
    }
    return true;
}

void out_clear(struct out *o, struct http_loop *loop)
{
    while (o->first)
        pop(o, loop);
    o->len = 0;
    o->is_blocked = false;
}
