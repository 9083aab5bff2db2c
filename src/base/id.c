/* base/id.c: KSUIDs and random text.
 * SPDX-License-Identifier: Apache-2.0 */
#include "id.h"

enum { KSUID_EPOCH_S = 1400000000 };

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Long division of the 160-bit big-endian number by 62, the digits coming last first. 62^27 is over
 * 2^160, so 27 rounds leave nothing. */
void ksuid_encode(const unsigned char bytes[KSUID_BYTES], char out[KSUID_LEN])
{
    unsigned char n[KSUID_BYTES];
    memcpy(n, bytes, sizeof n);
    for (int digit = KSUID_LEN - 1; digit >= 0; digit--) {
        unsigned rest = 0;
        for (size_t i = 0; i < KSUID_BYTES; i++) {
            unsigned v = rest << 8 | n[i];
            n[i] = (unsigned char)(v / 62);
            rest = v % 62;
        }
        out[digit] = base62[rest];
    }
}

bool ksuid_decode(struct str s, unsigned char bytes[KSUID_BYTES])
{
    if (s.len != KSUID_LEN)
        return false;
    unsigned char n[KSUID_BYTES] = {0};
    for (size_t d = 0; d < s.len; d++) {
        const char *at = memchr(base62, s.ptr[d], 62);
        if (!at)
            return false;
        unsigned carry = (unsigned)(at - base62);
        for (size_t i = KSUID_BYTES; i-- > 0;) {
            unsigned v = n[i] * 62u + carry;
            n[i] = (unsigned char)v;
            carry = v >> 8;
        }
        if (carry)
            return false;
    }
    memcpy(bytes, n, sizeof n);
    return true;
}

struct str id_ksuid(struct arena *a)
{
    unsigned char bytes[KSUID_BYTES];
    random_bytes(bytes, sizeof bytes);
    uint32_t s = (uint32_t)(wall_ns() / 1000000000 - KSUID_EPOCH_S);
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(s >> (24 - 8 * i));
    char *out = arena_alloc(a, KSUID_LEN);
    ksuid_encode(bytes, out);
    return str_of(out, KSUID_LEN);
}

struct str id_ksuid_lower(struct arena *a)
{
    return str_lower(a, id_ksuid(a));
}

struct str id_new(struct arena *a, const char *prefix)
{
    return str_cat(a, str_from(prefix), id_ksuid_lower(a));
}

struct str random_text(struct arena *a, size_t len, struct str alphabet)
{
    if (alphabet.len < 1 || alphabet.len > 256)
        BUG("random_text: alphabet of %zu bytes", alphabet.len);
    /* Bytes past the last whole multiple of the alphabet would favour its start: they are drawn again. */
    unsigned usable = 256 / (unsigned)alphabet.len * (unsigned)alphabet.len;
    char *out = arena_alloc(a, len + 1);
    out[len] = '\0';
    unsigned char pool[64];
    for (size_t i = 0, used = sizeof pool; i < len;) {
        if (used == sizeof pool) {
            random_bytes(pool, sizeof pool);
            used = 0;
        }
        unsigned char b = pool[used++];
        if (b < usable)
            out[i++] = alphabet.ptr[b % alphabet.len];
    }
    explicit_bzero(pool, sizeof pool);
    return str_of(out, len);
}

struct str random_hex(struct arena *a, size_t n)
{
    unsigned char *bytes = arena_alloc(a, n);
    random_bytes(bytes, n);
    return str_hex(a, bytes, n);
}

struct str random_base64url(struct arena *a, size_t n)
{
    unsigned char *bytes = arena_alloc(a, n);
    random_bytes(bytes, n);
    return base64url_encode(a, str_of(bytes, n));
}
