/* tests/auth/test_limit.c: back-off and rates.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_test.h"

static void test_backoff(void **state)
{
    struct auth_limits *l = limits_open();
    int retry = 0;
    for (int i = 0; i < 3; i++)
        assert_true(limit_try(l, STR("joe"), 3, &retry));
    assert_false(limit_try(l, STR("joe"), 3, &retry));
    assert_in_range(retry, 1, 15);
    assert_true(limit_try(l, STR("ann"), 3, &retry));
    limit_undo(l, STR("joe"), 3, true);
    for (int i = 0; i < 3; i++)
        assert_true(limit_try(l, STR("joe"), 3, &retry));
    limit_undo(l, STR("joe"), 3, false);
    assert_true(limit_try(l, STR("joe"), 3, &retry));
    assert_false(limit_try(l, STR("joe"), 3, &retry));
    limits_close(l);
}

static void test_rate(void **state)
{
    struct auth_limits *l = limits_open();
    int retry = 0;
    for (int i = 0; i < 10; i++)
        assert_true(limit_rate(l, STR("k"), 10, 60000, &retry));
    assert_false(limit_rate(l, STR("k"), 10, 60000, &retry));
    assert_in_range(retry, 50, 60);
    assert_true(limit_rate(l, STR("other"), 10, 60000, &retry));
    assert_true(limit_rate(l, STR("k"), 10, 0, &retry));
    limits_close(l);
}

/* However many keys come by, the table stays as it is and the newest are counted. */
static void test_many_keys(void **state)
{
    struct auth_limits *l = limits_open();
    int retry = 0;
    for (int i = 0; i < 50000; i++) {
        scoped_arena a = {0};
        assert_true(limit_try(l, str_printf(&a, "key %d", i), 2, &retry));
    }
    assert_true(limit_try(l, STR("key 49999"), 2, &retry));
    assert_false(limit_try(l, STR("key 49999"), 2, &retry));
    limits_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff), cmocka_unit_test(test_rate), cmocka_unit_test(test_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
