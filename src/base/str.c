/* base/str.c: slices: comparing, cutting, copying, hashing.
 * SPDX-License-Identifier: Apache-2.0 */
#include "str.h"

#include "arena.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct str str_from(const char *z)
{
    return z ? (struct str){z, strlen(z)} : (struct str){0};
}

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eq_z(struct str a, const char *z)
{
    return str_eq(a, str_from(z));
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.len, b.len);
    int c = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

static int order(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

void str_sort(struct str *items, size_t n)
{
    if (n > 1)
        qsort(items, n, sizeof *items, order);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_slice(s, 0, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_from_off(s, s.len - suffix.len), suffix);
}

size_t str_chr(struct str s, char c)
{
    const char *p = s.len > 0 ? memchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : STR_NPOS;
}

size_t str_rchr(struct str s, char c)
{
    const char *p = s.len > 0 ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : STR_NPOS;
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    const char *p = s.len > 0 ? memmem(s.ptr, s.len, needle.ptr, needle.len) : NULL;
    return p ? (size_t)(p - s.ptr) : STR_NPOS;
}

struct str str_slice(struct str s, size_t from, size_t to)
{
    to = MIN(to, s.len);
    from = MIN(from, to);
    return (struct str){s.ptr ? s.ptr + from : NULL, to - from};
}

struct str str_clip(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xC0) == 0x80)
        max--;
    return str_slice(s, 0, max);
}

struct str str_from_off(struct str s, size_t from)
{
    return str_slice(s, from, s.len);
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len > 0 && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

struct str str_trim_right(struct str s, char c)
{
    while (s.len > 0 && s.ptr[s.len - 1] == c)
        s.len--;
    return s;
}

struct str str_trim_char(struct str s, char c)
{
    while (s.len > 0 && s.ptr[0] == c)
        s.ptr++, s.len--;
    return str_trim_right(s, c);
}

bool str_cut(struct str s, char sep, struct str *before, struct str *after)
{
    size_t at = str_chr(s, sep);
    bool found = at != STR_NPOS;
    if (before)
        *before = found ? str_slice(s, 0, at) : s;
    if (after)
        *after = found ? str_from_off(s, at + 1) : (struct str){0};
    return found;
}

bool str_next(struct str *rest, char sep, struct str *part)
{
    if (!rest->ptr)
        return false;
    size_t at = str_chr(*rest, sep);
    if (at == STR_NPOS) {
        *part = *rest;
        *rest = (struct str){0};
    } else {
        *part = str_slice(*rest, 0, at);
        *rest = str_from_off(*rest, at + 1);
    }
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    if (s.len == 0)
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned d = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (d > 9 || __builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, d, &n))
            return false;
    }
    *out = n;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    if (s.len > 0 && (negative || s.ptr[0] == '+'))
        s = str_from_off(s, 1);
    uint64_t n;
    if (!str_to_u64(s, &n) || n > (uint64_t)INT64_MAX + negative)
        return false;
    *out = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool str_is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

struct str str_dup(struct arena *a, struct str s)
{
    return (struct str){arena_memdup(a, s.ptr, s.len), s.len};
}

char *str_z(struct arena *a, struct str s)
{
    char *z = arena_alloc(a, s.len + 1);
    if (s.len > 0)
        memcpy(z, s.ptr, s.len);
    z[s.len] = '\0';
    return z;
}

struct str str_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        BUG("bad format %s", fmt);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}

struct str str_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str s = str_vprintf(a, fmt, ap);
    va_end(ap);
    return s;
}

struct str str_cat(struct arena *a, struct str x, struct str y)
{
    char *p = arena_alloc(a, x.len + y.len);
    if (x.len > 0)
        memcpy(p, x.ptr, x.len);
    if (y.len > 0)
        memcpy(p + x.len, y.ptr, y.len);
    return (struct str){p, x.len + y.len};
}

struct str str_lower(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.len);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)lower(s.ptr[i]);
    return (struct str){p, s.len};
}

struct str str_hex(struct arena *a, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    char *p = arena_alloc(a, len * 2);
    for (size_t i = 0; i < len; i++) {
        p[2 * i] = digits[in[i] >> 4];
        p[2 * i + 1] = digits[in[i] & 15];
    }
    return (struct str){p, len * 2};
}

/* --- SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF") ------------------------- */

static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void hash_key_draw(void)
{
    random_bytes(hash_key, sizeof hash_key);
}

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1], v[1] = rotl(v[1], 13), v[1] ^= v[0], v[0] = rotl(v[0], 32);
    v[2] += v[3], v[3] = rotl(v[3], 16), v[3] ^= v[2];
    v[0] += v[3], v[3] = rotl(v[3], 21), v[3] ^= v[0];
    v[2] += v[1], v[1] = rotl(v[1], 17), v[1] ^= v[2], v[2] = rotl(v[2], 32);
}

uint64_t str_hash(struct str s)
{
    pthread_once(&hash_key_once, hash_key_draw);
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d,
                     hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573};
    const char *p = s.ptr;
    size_t left = s.len;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)s.len << 56, tail = 0;
    if (left > 0)
        memcpy(&tail, p, left);
    last |= tail;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    unsigned char diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return diff == 0;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr, *end = p + s.len;
    while (p < end) {
        unsigned char c = *p++;
        if (c < 0x80)
            continue;
        int more = c >= 0xc2 && c <= 0xdf ? 1 : c >= 0xe0 && c <= 0xef ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
        if (more == 0 || end - p < more)
            return false;
        /* The second byte's range closes overlong forms, surrogates and what lies past U+10FFFF. */
        unsigned char lo = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char hi = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (*p < lo || *p > hi)
            return false;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more;
    }
    return true;
}

/* Edit distance (insert, delete, replace, swap of neighbours), names up to 64 bytes. */
static size_t distance(struct str a, struct str b)
{
    enum { MAX_LEN = 64 };
    if (a.len > MAX_LEN || b.len > MAX_LEN)
        return STR_NPOS;
    unsigned char row[3][MAX_LEN + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[0][j] = (unsigned char)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned char *cur = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];
        cur[0] = (unsigned char)i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = lower(a.ptr[i - 1]) == lower(b.ptr[j - 1]);
            unsigned d = MIN(prev[j] + 1u, cur[j - 1] + 1u);
            d = MIN(d, prev[j - 1] + (same ? 0u : 1u));
            if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1])
                d = MIN(d, prev2[j - 2] + 1u);
            cur[j] = (unsigned char)d;
        }
    }
    return row[a.len % 3][b.len];
}

struct str str_nearest(struct str s, const struct str *candidates, size_t n)
{
    struct str best = {0};
    size_t best_d = STR_NPOS;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(s, candidates[i]);
        if (d < best_d && d <= MAX(s.len, candidates[i].len) / 3) {
            best = candidates[i];
            best_d = d;
        }
    }
    return best;
}

/* The length of the "user:password@" that an address begins with behind its "://"; 0 without one. A password may hold
 * a '/' that should have been escaped: then what looks like a port is no number. */
static size_t userinfo_len(struct str rest)
{
    size_t end = 0;
    while (end < rest.len && !memchr("/?#", rest.ptr[end], 3))
        end++;
    struct str authority = str_slice(rest, 0, end), port;
    uint64_t number;
    size_t at = str_rchr(authority, '@');
    bool has_port = at == STR_NPOS && !str_starts(authority, STR("[")) && str_cut(authority, ':', NULL, &port);
    if (has_port && !str_is_empty(port) && !str_to_u64(port, &number))
        at = str_rchr(rest, '@');
    return at == STR_NPOS ? 0 : at + 1;
}

struct str str_shown_url(struct arena *a, struct str url)
{
    size_t scheme = str_find(url, STR("://"));
    if (scheme == STR_NPOS)
        return url;
    struct str head = str_slice(url, 0, scheme + 3), rest = str_from_off(url, scheme + 3), name = {0};
    size_t user = userinfo_len(rest);
    struct str tail = str_from_off(rest, user);
    size_t hash = MIN(str_chr(tail, '#'), tail.len);
    struct str main = str_slice(tail, 0, hash), fragment = str_from_off(tail, hash);
    if (str_starts(url, STR("http")))
        str_cut(main, '?', &main, NULL);
    if (user == 0 && main.len + fragment.len == tail.len)
        return url;
    if (user > 0 && str_eq(head, STR("ssh://")))
        str_cut(str_slice(rest, 0, user - 1), ':', &name, NULL);
    return str_printf(a, STR_FMT STR_FMT "%s" STR_FMT STR_FMT, STR_ARG(head), STR_ARG(name), name.len > 0 ? "@" : "",
                      STR_ARG(main), STR_ARG(fragment));
}
