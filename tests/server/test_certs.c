/* tests/server/test_certs.c: the certificate folder.
 * SPDX-License-Identifier: Apache-2.0 */
#include "certs.h"

#include "../store/store_test.h"

static void put(const char *name, struct str text)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    MUST(fs_write_atomic(str_printf(&a, "%s/certs/%s", test_dir, name), text, 0600, &err), &err);
}

static void the_default_is_made_kept_and_replaced(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct certs_config config = {.dir = str_printf(&a, "%s/certs", test_dir),
                                  .default_domain = STR("example.com"),
                                  .enable_lookup = true};
    struct certs *first, *second;
    MUST(certs_load(&config, &first, &err), &err);
    uint64_t print = certs_fingerprint(&config);
    struct http_cert *cert = certs_pick(first, STR(""));
    assert_true(http_cert_covers(cert, STR("example.com")) &&
                http_cert_covers(cert, STR("stage.example.com")));
    assert_true(http_cert_covers(cert, STR("localhost")) && http_cert_covers(cert, STR("127.0.0.1")));
    struct stat st;
    assert_int_equal(stat(str_z(&a, path_join(&a, config.dir, STR("default.key"))), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(str_z(&a, config.dir), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);

    MUST(certs_load(&config, &second, &err), &err); /* not made again */
    assert_int_equal(certs_fingerprint(&config), print);
    certs_unref(second);

    struct str crt, key, names[] = {STR("mine.com")};
    MUST(http_cert_self_signed(&a, names, 1, 2, &crt, &key, &err),
         &err); /* over soon, but not ours: left alone */
    put("default.crt", crt);
    put("default.key", key);
    assert_int_not_equal(certs_fingerprint(&config), print);
    MUST(certs_load(&config, &second, &err), &err);
    assert_true(http_cert_covers(certs_pick(second, STR("any")), STR("mine.com")));
    assert_true(
        http_cert_covers(certs_pick(first, STR("any")), STR("example.com"))); /* its holders keep it */
    certs_unref(certs_ref(second));
    certs_unref(second);
    certs_unref(first);

    put("default.key", STR("rubbish"));
    assert_false(certs_load(&config, &second, &err));
    assert_non_null(strstr(err_msg(&err), "default certificate"));
}

static void domains_have_their_own(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct certs_config config = {.dir = str_printf(&a, "%s/certs", test_dir),
                                  .default_domain = STR("localhost"),
                                  .enable_lookup = true};
    MUST(fs_mkdir_p(config.dir, 0700, &err), &err);
    struct str crt, key, names[] = {STR("x.com")};
    MUST(http_cert_self_signed(&a, names, 1, 10, &crt, &key, &err), &err);
    put("x.com.crt", crt);
    put("x.com.key", key);
    put("broken.com.crt", STR("rubbish"));
    put("broken.com.key", STR("rubbish"));
    put("keyless.com.crt", crt);
    put("..x.crt", crt);
    put("note.txt", STR("hello"));
    log_set_level(LOG_LEVEL_ERROR);
    struct certs *certs;
    MUST(certs_load(&config, &certs, &err), &err);
    assert_true(http_cert_covers(certs_pick(certs, STR("x.com")), STR("x.com")));
    static const char *const others[] = {"",       "broken.com", "keyless.com", "y.com",
                                         "x.com.", "default",    "../default",  ".."};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(http_cert_covers(certs_pick(certs, str_from(others[i])), STR("x.com")));
    certs_unref(certs);
    config.enable_lookup = false;
    MUST(certs_load(&config, &certs, &err), &err);
    assert_false(http_cert_covers(certs_pick(certs, STR("x.com")), STR("x.com")));
    certs_unref(certs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_default_is_made_kept_and_replaced, test_dir_make,
                                        test_dir_remove),
        cmocka_unit_test_setup_teardown(domains_have_their_own, test_dir_make, test_dir_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
