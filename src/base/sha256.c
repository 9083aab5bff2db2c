/* base/sha256.c: SHA-256 and HMAC through libcrypto, which uses the processor's instructions for it.
 * libcrypto fails here only when memory is out or SHA-256 itself is missing: no caller could go on.
 * SPDX-License-Identifier: Apache-2.0 */
#include "id.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

void sha256_init(struct sha256 *h)
{
    h->ctx = EVP_MD_CTX_new();
    if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1)
        BUG("libcrypto has no SHA-256");
}

void sha256_add(struct sha256 *h, const void *ptr, size_t len)
{
    if (len > 0 && EVP_DigestUpdate(h->ctx, ptr, len) != 1)
        BUG("libcrypto: EVP_DigestUpdate");
}

void sha256_end(struct sha256 *h, unsigned char out[SHA256_LEN])
{
    if (EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
        BUG("libcrypto: EVP_DigestFinal");
    sha256_release(h);
}

void sha256_release(struct sha256 *h)
{
    EVP_MD_CTX_free(h->ctx);
    h->ctx = NULL;
}

void sha256(struct str data, unsigned char out[SHA256_LEN])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_add(&h, data.ptr, data.len);
    sha256_end(&h, out);
}

struct str sha256_hex(struct arena *a, struct str data)
{
    unsigned char digest[SHA256_LEN];
    sha256(data, digest);
    return str_hex(a, digest, sizeof digest);
}

void hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_LEN])
{
    /* HMAC() refuses NULL for an empty key, and takes its length as an int. */
    if (key.len > INT32_MAX)
        BUG("hmac_sha256: key of %zu bytes", key.len);
    const void *k = key.len > 0 ? (const void *)key.ptr : "";
    const void *d = data.len > 0 ? (const void *)data.ptr : "";
    if (!HMAC(EVP_sha256(), k, (int)key.len, d, data.len, out, NULL))
        BUG("libcrypto: HMAC");
}
