/* tests/http/test_form.c: queries and url-encoded forms.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void keeps_order_and_repeats(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_pairs p = {0};
    assert_true(http_query_parse(&a, STR("b=1&a=x+y%2B&&b=2&empty=&bare&=v&a%3Db=c=d"), &p, &err));
    static const char *const want[][2] = {{"b", "1"}, {"a", "x y+"}, {"b", "2"}, {"empty", ""}, {"bare", ""}, {"", "v"}, {"a=b", "c=d"}};
    assert_int_equal(p.len, ARRAY_LEN(want));
    for (size_t i = 0; i < p.len; i++) {
        assert_true(str_eq_z(p.items[i].name, want[i][0]));
        assert_true(str_eq_z(p.items[i].value, want[i][1]));
    }
    struct str v;
    assert_true(http_pairs_get(&p, STR("b"), &v) && str_eq(v, STR("1")));
    assert_false(http_pairs_get(&p, STR("B"), &v));
    struct http_pairs again = {0};
    struct str text = http_query_build(&a, p.items, p.len);
    assert_true(str_eq(text, STR("b=1&a=x%20y%2B&b=2&empty=&bare=&=v&a%3Db=c%3Dd")));
    assert_true(http_query_parse(&a, text, &again, &err));
    assert_int_equal(again.len, p.len);
}

static void failures_leave_the_result_alone(void **state)
{
    scoped_arena a = {0};
    struct http_pairs p = {0};
    static const char *const bad[] = {"a=1&b=%", "a=%zz", "%4=1", "x=%e"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_err err = {0};
        assert_false(http_query_parse(&a, str_from(bad[i]), &p, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(p.len, 0);
    }
    scoped_err err = {0};
    assert_true(http_query_parse(&a, STR(""), &p, &err));
    assert_int_equal(p.len, 0);
}

static void pairs_are_limited(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct http_pairs p = {0};
    char text[2 * (HTTP_MAX_PAIRS + 1)];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '&' : 'a';
    assert_true(http_query_parse(&a, str_of(text, 2 * HTTP_MAX_PAIRS), &p, &err));
    assert_int_equal(p.len, HTTP_MAX_PAIRS);
    assert_false(http_query_parse(&a, STR("a"), &p, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_repeats), cmocka_unit_test(failures_leave_the_result_alone),
        cmocka_unit_test(pairs_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
