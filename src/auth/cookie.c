/* auth/cookie.c: the values of our cookies, and which cookies are ours.
 *
 * A value is base64url of: version (1), 12 random bytes, AES-256-GCM(what || id), 16 bytes of tag; the
 * version and the cookie's name are authenticated with it, so a value is good under its own name only.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <openssl/crypto.h>

enum {
    VERSION = 1,
    IV_LEN = 12,
    TAG_LEN = 16,
    PLAIN_LEN = 1 + AUTH_ID_LEN,
    SEALED_LEN = 1 + IV_LEN + PLAIN_LEN + TAG_LEN,
    TEXT_LEN = (SEALED_LEN * 8 + 5) / 6,
    NAME_MAX_LEN = 1024,
};

static bool load_secret(struct store_tx *tx, struct arena *a, struct str key, struct str *out, struct err *err)
{
    char fresh[32];
    random_bytes(fresh, sizeof fresh);
    if (!store_key_put_once(tx, a, &(struct store_key){.key = key, .value = str_of(fresh, sizeof fresh)}, out, err))
        return false;
    if (out->len != sizeof fresh)
        return err_set(err, ERR_INTERNAL, "key " STR_FMT " of the metadata has %zu bytes, not 32: delete that row of "
                       "the keystore table to have it made anew", STR_ARG(key), out->len);
    return true;
}

bool cookie_key_load(struct cookie_key *key, struct store *store, struct err *err)
{
    scoped_arena a = {0};
    struct str secret, block;
    scoped_store_tx *tx = store_begin(store, err);
    if (!tx || !load_secret(tx, &a, STR("constant:cookie_session_secret"), &secret, err) ||
        !load_secret(tx, &a, STR("constant:cookie_session_block_key"), &block, err) || !store_commit(&tx, err))
        return err_wrap(err, "reading the keys of session cookies");
    hmac_sha256(secret, str_cat(&a, STR("session cookie 1 "), block), key->bytes);
    key->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    return key->cipher || err_set(err, ERR_INTERNAL, "libcrypto has no AES-256-GCM");
}

struct str cookie_seal(struct arena *a, const struct cookie_key *key, struct str name, enum cookie_what what,
                       const unsigned char id[AUTH_ID_LEN])
{
    unsigned char out[SEALED_LEN], plain[PLAIN_LEN];
    int n;
    out[0] = VERSION;
    random_bytes(out + 1, IV_LEN);
    plain[0] = (unsigned char)what;
    memcpy(plain + 1, id, AUTH_ID_LEN);
    unsigned char *sealed = out + 1 + IV_LEN;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!c || EVP_EncryptInit_ex2(c, key->cipher, key->bytes, out + 1, NULL) != 1 ||
        EVP_EncryptUpdate(c, NULL, &n, out, 1) != 1 ||
        EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)name.ptr, (int)name.len) != 1 ||
        EVP_EncryptUpdate(c, sealed, &n, plain, PLAIN_LEN) != 1 || EVP_EncryptFinal_ex(c, sealed + n, &n) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, sealed + PLAIN_LEN) != 1)
        BUG("libcrypto cannot encrypt");
    EVP_CIPHER_CTX_free(c);
    return base64url_encode(a, str_of(out, sizeof out));
}

EVP_CIPHER_CTX *cookie_context(const struct cookie_key *key)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    if (!c || EVP_DecryptInit_ex2(c, key->cipher, key->bytes, NULL, NULL) != 1)
        BUG("libcrypto cannot decrypt");
    return c;
}

bool cookie_open(struct arena *a, EVP_CIPHER_CTX *c, struct str name, struct str value, enum cookie_what what,
                 unsigned char id[AUTH_ID_LEN])
{
    struct str raw;
    if (value.len != TEXT_LEN || name.len > NAME_MAX_LEN || !base64url_decode(a, value, &raw) ||
        raw.len != SEALED_LEN)
        return false;
    unsigned char in[SEALED_LEN], plain[PLAIN_LEN];
    memcpy(in, raw.ptr, SEALED_LEN);
    unsigned char *sealed = in + 1 + IV_LEN;
    int n;
    if (in[0] != VERSION || EVP_DecryptInit_ex2(c, NULL, NULL, in + 1, NULL) != 1 ||
        EVP_DecryptUpdate(c, NULL, &n, in, 1) != 1 ||
        EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)name.ptr, (int)name.len) != 1 ||
        EVP_DecryptUpdate(c, plain, &n, sealed, PLAIN_LEN) != 1 ||
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, sealed + PLAIN_LEN) != 1 ||
        EVP_DecryptFinal_ex(c, plain + n, &n) != 1)
        return false;
    if (plain[0] != (unsigned char)what)
        return false;
    memcpy(id, plain + 1, AUTH_ID_LEN);
    return true;
}

bool cookie_is_ours(struct str name)
{
    return str_eq(name, STR("_gothic_session")) || str_ends(name, STR("_openrun_session")) ||
           str_ends(name, STR("_openrun_saml_session"));
}

bool cookie_set(const struct auth *auth, struct http_req *req, struct str name, struct str value, int64_t max_age_secs)
{
    scoped_err err = {0};
    struct http_cookie cookie = {
        .name = name,
        .value = value,
        .path = STR("/"),
        .max_age_s = max_age_secs,
        .same_site = HTTP_SAME_SITE_LAX,
        .is_secure = auth->config.is_session_https_only,
        .is_http_only = true,
    };
    struct str text;
    return http_cookie_build(req->arena, &cookie, &text, &err) && http_resp_header(req, STR("Set-Cookie"), text);
}

static bool is_ours(void *arg, struct str name)
{
    return cookie_is_ours(name);
}

struct str auth_strip_cookies(struct http_req *req, struct str header)
{
    /* Most requests have none: a look at the bytes settles it. */
    if (str_find(header, STR("_openrun_")) == STR_NPOS && str_find(header, STR("_gothic_session")) == STR_NPOS)
        return header;
    return http_cookie_filter(req->arena, header, is_ours, NULL);
}
