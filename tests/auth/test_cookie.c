/* tests/auth/test_cookie.c: sealed cookie values.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_test.h"

#define NAME STR("system_openrun_session")

struct keyed {
    struct store *store;
    struct cookie_key key;
    EVP_CIPHER_CTX *context;
    struct arena a;
};

static void open_keyed(struct keyed *k)
{
    scoped_err err = {0};
    *k = (struct keyed){.store = test_open("cookie")};
    MUST(cookie_key_load(&k->key, k->store, &err), &err);
    k->context = cookie_context(&k->key);
}

static void close_keyed(struct keyed *k)
{
    EVP_CIPHER_CTX_free(k->context);
    EVP_CIPHER_free(k->key.cipher);
    store_close(k->store);
    arena_release(&k->a);
}

static const unsigned char id[AUTH_ID_LEN] = "0123456789abcdef0123456789abcde";

static void test_round_trip(void **state)
{
    struct keyed k;
    open_keyed(&k);
    struct str one = cookie_seal(&k.a, &k.key, NAME, COOKIE_SESSION, id);
    struct str two = cookie_seal(&k.a, &k.key, NAME, COOKIE_SESSION, id);
    unsigned char got[AUTH_ID_LEN] = {0};
    assert_false(str_eq(one, two));
    assert_true(str_find(one, STR("0123")) == STR_NPOS);
    assert_true(cookie_open(&k.a, k.context, NAME, one, COOKIE_SESSION, got));
    assert_memory_equal(got, id, AUTH_ID_LEN);
    assert_true(cookie_open(&k.a, k.context, NAME, two, COOKIE_SESSION, got));
    close_keyed(&k);
}

static void test_tamper(void **state)
{
    struct keyed k;
    open_keyed(&k);
    struct str good = cookie_seal(&k.a, &k.key, NAME, COOKIE_SESSION, id);
    unsigned char got[AUTH_ID_LEN] = {7}, untouched[AUTH_ID_LEN] = {7};
    struct str raw;
    assert_true(base64url_decode(&k.a, good, &raw));
    for (size_t i = 0; i < raw.len * 8; i++) {
        char *bad = arena_memdup(&k.a, raw.ptr, raw.len);
        bad[i / 8] = (char)(bad[i / 8] ^ 1 << i % 8);
        if (cookie_open(&k.a, k.context, NAME, base64url_encode(&k.a, str_of(bad, raw.len)), COOKIE_SESSION, got))
            fail_msg("bit %zu may be flipped", i);
    }
    for (size_t n = 0; n < good.len; n++)
        assert_false(cookie_open(&k.a, k.context, NAME, str_slice(good, 0, n), COOKIE_SESSION, got));
    assert_false(cookie_open(&k.a, k.context, NAME, str_cat(&k.a, good, STR("A")), COOKIE_SESSION, got));
    assert_false(cookie_open(&k.a, k.context, STR("github_openrun_session"), good, COOKIE_SESSION, got));
    assert_false(cookie_open(&k.a, k.context, NAME, good, COOKIE_NONCE, got));
    assert_memory_equal(got, untouched, AUTH_ID_LEN);
    assert_true(cookie_open(&k.a, k.context, NAME, good, COOKIE_SESSION, got));
    close_keyed(&k);
}

static void test_key_is_kept(void **state)
{
    struct keyed k;
    open_keyed(&k);
    struct str good = cookie_seal(&k.a, &k.key, NAME, COOKIE_SESSION, id);
    struct keyed again;
    store_close(k.store);
    open_keyed(&again);
    unsigned char got[AUTH_ID_LEN];
    assert_true(cookie_open(&again.a, again.context, NAME, good, COOKIE_SESSION, got));
    k.store = NULL;
    close_keyed(&again);
    close_keyed(&k);
}

static void test_broken_key(void **state)
{
    scoped_err err = {0};
    struct store *store = test_open("broken");
    scoped_store_tx *tx = store_begin(store, &err);
    MUST(store_key_put(tx, &(struct store_key){.key = STR("constant:cookie_session_secret"), .value = STR("short")}, &err) &&
             store_commit(&tx, &err), &err);
    struct cookie_key key = {0};
    MUST_FAIL(cookie_key_load(&key, store, &err), &err, ERR_INTERNAL, "delete that row");
    store_close(store);
}

static void test_rows(void **state)
{
    scoped_arena a = {0};
    struct str key = session_row_key(&a, NAME, id);
    const char *good = "{\"authenticated\":true,\"provider_name\":\"system\",\"user\":\"root\","
                       "\"cred_fp\":\"000102030405060708090a0b0c0d0e0f\"}";
    struct session_fact f;
    assert_true(session_row_parse(&a, &(struct store_key){.key = key, .value = str_from(good), .expires = 5}, &f));
    assert_memory_equal(f.id, id, AUTH_ID_LEN);
    assert_str(f.user, STR("root"));
    assert_int_equal(f.print[15], 15);
    assert_int_equal(f.expires, 5);
    static const struct { const char *name, *key, *value; } bad[] = {
        {"another prefix", "http_sessions:x", NULL},
        {"no id", "http_session:system_openrun_session:", NULL},
        {"an id with another alphabet", "http_session:system_openrun_session:1111111111111111111111111111111111111111111111111111", NULL},
        {"a kind under another cookie", "http_session:x_openrun_session:GAYTEMZUGU3DOOBZMFRGGZDFMYYDCMRTGQ2TMNZYHFQWEY3EMUAA", NULL},
        {"no JSON", NULL, "x"},
        {"not authenticated", NULL, "{\"authenticated\":false,\"provider_name\":\"system\",\"user\":\"root\",\"cred_fp\":\"00\"}"},
        {"an unknown kind", NULL, "{\"authenticated\":true,\"provider_name\":\"x\",\"user\":\"root\",\"cred_fp\":\"000102030405060708090a0b0c0d0e0f\"}"},
        {"a short fingerprint", NULL, "{\"authenticated\":true,\"provider_name\":\"system\",\"user\":\"root\",\"cred_fp\":\"0001\"}"},
        {"no user", NULL, "{\"authenticated\":true,\"provider_name\":\"system\",\"cred_fp\":\"000102030405060708090a0b0c0d0e0f\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct store_key row = {.key = bad[i].key ? str_from(bad[i].key) : key,
                                .value = str_from(bad[i].value ? bad[i].value : good)};
        if (session_row_parse(&a, &row, &f))
            fail_msg("%s: accepted", bad[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_tamper), cmocka_unit_test(test_key_is_kept),
        cmocka_unit_test(test_broken_key), cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
