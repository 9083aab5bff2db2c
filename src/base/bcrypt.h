/* base/bcrypt.h: password hashes, bcrypt as in crypt(5).
 *
 * Both calls take tens of milliseconds and 32 KiB; never on a loop thread. Thread-safe.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BCRYPT_H
#define BASE_BCRYPT_H

#include "arena.h"
#include "err.h"

#define BCRYPT_COST         10
#define BCRYPT_PASSWORD_MAX 72 /* bcrypt ignores what follows, so longer passwords are refused */
#define BCRYPT_HASH_LEN     60

/* Hashes `password` with a fresh salt: "$2a$<cost>$...", BCRYPT_HASH_LEN bytes in `a`. `cost` is 4 to 31.
 * Fails on an empty password, one over BCRYPT_PASSWORD_MAX bytes, or one with a NUL byte. */
bool bcrypt_hash(struct arena *a, struct str password, int cost, struct str *out, struct err *err);

/* True if `hash` is a bcrypt hash ($2a$, $2b$, $2y$) in form. */
bool bcrypt_is_hash(struct str hash);

/* True if `hash` is a bcrypt hash of `password`; false for any other kind of hash. */
bool bcrypt_verify(struct str password, struct str hash);

/* A random password of `len` characters, uniform over letters, digits and @#%^&*()_-+=<>?/|. */
struct str password_random(struct arena *a, size_t len);

#endif
