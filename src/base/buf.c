/* base/buf.c: growth by doubling, up to the ceiling.
 * SPDX-License-Identifier: Apache-2.0 */
#include "buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_release(struct buf *b)
{
    free(b->ptr);
    buf_init(b, b->max);
}

void buf_fit(struct buf *b)
{
    if (b->len == 0) {
        buf_release(b);
        return;
    }
    b->cap = b->len + 1;
    b->ptr = xrealloc(b->ptr, b->cap);
}

bool buf_reserve(struct buf *b, size_t more)
{
    if (more > b->max || b->len > b->max - more) {
        b->is_full = true;
        return false;
    }
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return true;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap *= 2;
    b->ptr = xrealloc(b->ptr, cap);
    b->cap = cap;
    return true;
}

bool buf_add(struct buf *b, const void *ptr, size_t len)
{
    if (!buf_reserve(b, len))
        return false;
    if (len > 0)
        memcpy(b->ptr + b->len, ptr, len);
    b->len += len;
    b->ptr[b->len] = '\0';
    return true;
}

bool buf_add_str(struct buf *b, struct str s)
{
    return buf_add(b, s.ptr, s.len);
}

bool buf_add_z(struct buf *b, const char *z)
{
    return buf_add(b, z, strlen(z));
}

bool buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

bool buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    bool ok = n >= 0 && buf_reserve(b, (size_t)n);
    if (ok) {
        vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return ok;
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool ok = buf_vprintf(b, fmt, ap);
    va_end(ap);
    return ok;
}

/* Length of the valid UTF-8 sequence at the start of `s`, 0 if there is none (RFC 3629 §4). */
static size_t utf8_len(struct str s)
{
    for (size_t n = 1; n <= 4 && n <= s.len; n++)
        if (str_is_utf8(str_slice(s, 0, n)))
            return n;
    return 0;
}

/* How many bytes from `i` on stand for themselves. */
static size_t json_plain(struct str s, size_t i)
{
    size_t from = i;
    while (i < s.len && (unsigned char)s.ptr[i] >= 0x20 && (unsigned char)s.ptr[i] < 0x7f && s.ptr[i] != '"' &&
           s.ptr[i] != '\\')
        i++;
    return i - from;
}

bool buf_add_json(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t plain = json_plain(s, i);
        if (plain > 0) {
            buf_add(b, s.ptr + i, plain);
            i += plain;
            continue;
        }
        unsigned char c = (unsigned char)s.ptr[i];
        if (c >= 0x80) {
            size_t n = utf8_len(str_from_off(s, i));
            if (n > 0)
                buf_add(b, s.ptr + i, n);
            else
                buf_add_z(b, "\\ufffd");
            i += MAX(n, 1);
            continue;
        }
        i++;
        switch (c) {
        case '"': buf_add_z(b, "\\\""); break;
        case '\\': buf_add_z(b, "\\\\"); break;
        case '\n': buf_add_z(b, "\\n"); break;
        case '\r': buf_add_z(b, "\\r"); break;
        case '\t': buf_add_z(b, "\\t"); break;
        default: buf_printf(b, "\\u%04x", c);
        }
    }
    return !b->is_full;
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->ptr, b->ptr + n, b->len + 1);
}

const char *buf_z(const struct buf *b)
{
    return b->ptr ? b->ptr : "";
}
