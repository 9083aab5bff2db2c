/* base/bcrypt.c: password hashes, bcrypt through libxcrypt.
 * SPDX-License-Identifier: Apache-2.0 */
#include "bcrypt.h"

#include "id.h"

#include <crypt.h>
#include <stdlib.h>

static void crypt_data_cleanup(struct crypt_data **data)
{
    if (!*data)
        return;
    explicit_bzero(*data, sizeof **data);
    free(*data);
}

/* crypt() of a password that was checked to fit; a NUL-terminated copy of it lives only here.
 * Returns false when libcrypt refuses `setting`; else `out` has the hash. */
static bool crypt_text(struct str password, const char *setting, char out[static BCRYPT_HASH_LEN + 1])
{
    CLEANUP(crypt_data_cleanup) struct crypt_data *data = xcalloc(1, sizeof *data);
    char text[BCRYPT_PASSWORD_MAX + 1] = {0};
    memcpy(text, password.ptr, password.len);
    const char *hash = crypt_rn(text, setting, data, sizeof *data);
    explicit_bzero(text, sizeof text);
    if (!hash || hash[0] == '*' || strlen(hash) != BCRYPT_HASH_LEN)
        return false;
    memcpy(out, hash, BCRYPT_HASH_LEN + 1);
    return true;
}

bool bcrypt_hash(struct arena *a, struct str password, int cost, struct str *out, struct err *err)
{
    if (password.len == 0)
        return err_set(err, ERR_INVALID, "must specify a password value");
    if (password.len > BCRYPT_PASSWORD_MAX)
        return err_set(err, ERR_INVALID, "password is %zu bytes long: bcrypt takes at most %d", password.len,
                       BCRYPT_PASSWORD_MAX);
    if (memchr(password.ptr, '\0', password.len))
        return err_set(err, ERR_INVALID, "password must not contain a NUL byte");
    if (cost < 4 || cost > 31)
        return err_set(err, ERR_INVALID, "bcrypt cost %d is not in 4..31", cost);

    unsigned char salt_bytes[16];
    random_bytes(salt_bytes, sizeof salt_bytes);
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char hash[BCRYPT_HASH_LEN + 1];
    if (!crypt_gensalt_rn("$2a$", (unsigned long)cost, (const char *)salt_bytes, sizeof salt_bytes, setting,
                          sizeof setting) ||
        !crypt_text(password, setting, hash))
        return err_set(err, ERR_INTERNAL, "libcrypt cannot make bcrypt hashes on this machine");
    *out = str_dup(a, str_of(hash, BCRYPT_HASH_LEN));
    return true;
}

bool bcrypt_is_hash(struct str hash)
{
    static const char base64[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    if (hash.len != BCRYPT_HASH_LEN || memcmp(hash.ptr, "$2", 2) != 0 || !memchr("aby", hash.ptr[2], 3) ||
        hash.ptr[3] != '$' || hash.ptr[6] != '$')
        return false;
    for (size_t i = 4; i < 6; i++)
        if (hash.ptr[i] < '0' || hash.ptr[i] > '9')
            return false;
    for (size_t i = 7; i < hash.len; i++)
        if (!memchr(base64, hash.ptr[i], sizeof base64 - 1))
            return false;
    return true;
}

bool bcrypt_verify(struct str password, struct str hash)
{
    if (!bcrypt_is_hash(hash) || password.len == 0 || password.len > BCRYPT_PASSWORD_MAX ||
        memchr(password.ptr, '\0', password.len))
        return false;
    char setting[BCRYPT_HASH_LEN + 1] = {0};
    char again[BCRYPT_HASH_LEN + 1];
    memcpy(setting, hash.ptr, BCRYPT_HASH_LEN);
    return crypt_text(password, setting, again) && str_eq_secret(str_of(again, BCRYPT_HASH_LEN), hash);
}

struct str password_random(struct arena *a, size_t len)
{
    return random_text(a, len, STR("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@#%^&*()_-+=<>?/|"));
}
