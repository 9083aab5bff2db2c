/* tests/fuzz/fuzz_auth_cookie.c: sealed cookie values, the rows behind them, stripping.
 * links: auth
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cookie_key key;
    static EVP_CIPHER_CTX *context;
    if (!context) {
        key.cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
        random_bytes(key.bytes, sizeof key.bytes);
        context = cookie_context(&key);
    }
    scoped_arena a = {0};
    struct str s = str_of(arena_memdup(&a, data, size), size), name = STR("system_openrun_session");
    unsigned char id[AUTH_ID_LEN], got[AUTH_ID_LEN];
    require(!cookie_open(&a, context, name, s, COOKIE_SESSION, got));

    /* The input laid over a good value: anything but the same text is refused. */
    random_bytes(id, sizeof id);
    struct str good = cookie_seal(&a, &key, name, COOKIE_SESSION, id), bad = str_dup(&a, good);
    size_t n = MIN(size, bad.len);
    for (size_t i = 0; i < n; i++)
        ((char *)bad.ptr)[i] = (char)(bad.ptr[i] ^ s.ptr[i]);
    if (cookie_open(&a, context, name, bad, COOKIE_SESSION, got))
        require(str_eq(bad, good) && memcmp(got, id, sizeof id) == 0);
    require(cookie_open(&a, context, name, good, COOKIE_SESSION, got));

    struct session_fact f;
    struct store_key row = {.key = session_row_key(&a, name, id), .value = s};
    if (session_row_parse(&a, &row, &f))
        require(memcmp(f.id, id, sizeof id) == 0 && f.user.len <= AUTH_USER_MAX);
    row = (struct store_key){.key = str_cat(&a, STR("http_session:"), s), .value = STR("{}")};
    require(!session_row_parse(&a, &row, &f));

    struct http_req req = {.arena = &a};
    struct str kept = auth_strip_cookies(&req, s);
    for (struct http_pair c; http_cookie_next(&kept, &c);)
        require(!cookie_is_ours(c.name));
    origin_is_local(s);
    struct str to = origin_local_redirect(s);
    require(to.len > 0 && to.ptr[0] == '/' && str_chr(to, '\n') == STR_NPOS);
    return 0;
}
