/* base/id.h: identifiers, random secrets, and the text forms of bytes.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "arena.h"

/* KSUID: 4 bytes of big-endian seconds since 1400000000, 16 random bytes, as 27 base62 digits (0-9A-Za-z),
 * so that text order is time order. The lower-case form is what row ids use. */
enum { KSUID_BYTES = 20, KSUID_LEN = 27 };
struct str id_ksuid(struct arena *a);
struct str id_ksuid_lower(struct arena *a);
/* `prefix` followed by a lower-case KSUID: id_new(a, "app_prd_"). */
struct str id_new(struct arena *a, const char *prefix);
void ksuid_encode(const unsigned char bytes[KSUID_BYTES], char out[KSUID_LEN]);
/* False if `s` is not 27 base62 digits or over the largest 160-bit number. */
bool ksuid_decode(struct str s, unsigned char bytes[KSUID_BYTES]);

/* `len` characters, each uniform over `alphabet` (1 to 256 bytes); NUL-terminated after. For passwords:
 * password_random(). */
struct str random_text(struct arena *a, size_t len, struct str alphabet);
/* `n` random bytes as lower-case hex, and as unpadded base64url. */
struct str random_hex(struct arena *a, size_t n);
struct str random_base64url(struct arena *a, size_t n);

/* RFC 4648. Decoding is strict: no white space, no other alphabet, no stray bits in the last digit. The
 * standard form needs its padding; the url form is written without and read with or without.
 * False, leaving *out alone, on malformed input. */
struct str base64_encode(struct arena *a, struct str bytes);
bool base64_decode(struct arena *a, struct str text, struct str *out);
struct str base64url_encode(struct arena *a, struct str bytes);
bool base64url_decode(struct arena *a, struct str text, struct str *out);
struct str base32_encode(struct arena *a, struct str bytes);   /* upper case, unpadded */
/* Either case. (str_hex() encodes.) */
bool hex_decode(struct arena *a, struct str text, struct str *out);

/* SHA-256, at once or in pieces. */
enum { SHA256_LEN = 32 };
void sha256(struct str data, unsigned char out[SHA256_LEN]);
struct str sha256_hex(struct arena *a, struct str data);

struct sha256 {
    void *ctx; /* EVP_MD_CTX */
};
void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *ptr, size_t len);
void sha256_end(struct sha256 *h, unsigned char out[SHA256_LEN]); /* releases */
void sha256_release(struct sha256 *h);                            /* for giving up early; twice is fine */

void hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_LEN]);

#endif
