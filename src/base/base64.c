/* base/base64.c: base64, base64url, base32 (RFC 4648) and hex.
 * SPDX-License-Identifier: Apache-2.0 */
#include "id.h"

static const char std_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char base32_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/* Bytes as digits of `bits` bits each, without padding; the last digit is filled up with zero bits. */
static size_t encode(struct str bytes, unsigned bits, const char *digits, char *out)
{
    uint32_t acc = 0;
    unsigned have = 0;
    size_t w = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        acc = acc << 8 | (unsigned char)bytes.ptr[i];
        for (have += 8; have >= bits; have -= bits)
            out[w++] = digits[acc >> (have - bits) & ((1u << bits) - 1)];
    }
    if (have > 0)
        out[w++] = digits[acc << (bits - have) & ((1u << bits) - 1)];
    return w;
}

struct str base64_encode(struct arena *a, struct str bytes)
{
    char *out = arena_alloc(a, (bytes.len + 2) / 3 * 4);
    size_t w = encode(bytes, 6, std_digits, out);
    while (w % 4 != 0)
        out[w++] = '=';
    return str_of(out, w);
}

struct str base64url_encode(struct arena *a, struct str bytes)
{
    char *out = arena_alloc(a, (bytes.len + 2) / 3 * 4);
    return str_of(out, encode(bytes, 6, url_digits, out));
}

struct str base32_encode(struct arena *a, struct str bytes)
{
    char *out = arena_alloc(a, (bytes.len + 4) / 5 * 8);
    return str_of(out, encode(bytes, 5, base32_digits, out));
}

static int digit64(char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == c62 ? 62 : c == c63 ? 63 : -1;
}

/* `text` without its padding. */
static bool decode64(struct arena *a, struct str text, const char *digits, struct str *out)
{
    if (text.len % 4 == 1)
        return false;
    char *p = arena_alloc(a, text.len / 4 * 3 + 3);
    size_t w = 0;
    uint32_t acc = 0;
    unsigned have = 0;
    for (size_t i = 0; i < text.len; i++) {
        int d = digit64(text.ptr[i], digits[62], digits[63]);
        if (d < 0)
            return false;
        acc = acc << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            p[w++] = (char)(acc >> have);
        }
    }
    if (acc & ((1u << have) - 1))
        return false;
    *out = str_of(p, w);
    return true;
}

bool base64_decode(struct arena *a, struct str text, struct str *out)
{
    if (text.len % 4 != 0)
        return false;
    for (int i = 0; i < 2 && text.len > 0 && text.ptr[text.len - 1] == '='; i++)
        text.len--;
    return decode64(a, text, std_digits, out);
}

bool base64url_decode(struct arena *a, struct str text, struct str *out)
{
    if (text.len > 0 && text.ptr[text.len - 1] == '=') {
        if (text.len % 4 != 0)
            return false;
        for (int i = 0; i < 2 && text.ptr[text.len - 1] == '='; i++)
            text.len--;
    }
    return decode64(a, text, url_digits, out);
}

bool hex_decode(struct arena *a, struct str text, struct str *out)
{
    if (text.len % 2 != 0)
        return false;
    char *p = arena_alloc(a, text.len / 2);
    for (size_t i = 0; i < text.len; i += 2) {
        int hi = hex_digit(text.ptr[i]), lo = hex_digit(text.ptr[i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        p[i / 2] = (char)(hi << 4 | lo);
    }
    *out = str_of(p, text.len / 2);
    return true;
}
