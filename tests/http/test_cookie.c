/* tests/http/test_cookie.c: Cookie and Set-Cookie.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void reads_cookies_in_order(void **state)
{
    struct str rest = STR("a=1; b=\"q q\";junk;; =no; c=x=y ;d="), v;
    static const char *const want[][2] = {{"a", "1"}, {"b", "q q"}, {"c", "x=y"}, {"d", ""}};
    struct http_pair c;
    size_t n = 0;
    while (http_cookie_next(&rest, &c)) {
        assert_true(n < ARRAY_LEN(want) && str_eq_z(c.name, want[n][0]) && str_eq_z(c.value, want[n][1]));
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(want));
    assert_true(http_cookie_get(STR("s=1; t=2"), STR("t"), &v) && str_eq(v, STR("2")));
    assert_false(http_cookie_get(STR("s=1"), STR("S"), &v));
    assert_false(http_cookie_get((struct str){0}, STR("S"), &v));
}

static bool is_ours(void *arg, struct str name)
{
    return str_ends(name, STR("_session"));
}

static void filters_cookies_without_touching_the_rest(void **state)
{
    scoped_arena a = {0};
    static const struct { const char *in, *out; } cases[] = {
        {"a=1; x_session=s; b=\"2\"", "a=1; b=\"2\""}, {"x_session=s", ""}, {"a=1;b=2", "a=1;b=2"}, {"", ""},
        {"x_session=1;a=1;b=2;junk;c=3", "a=1; b=2; junk; c=3"}, {"a=1; x_session=s", "a=1"},
        {"_session=;a;b;c;d;e;f", "a; b; c; d; e; f"}, {" x_session =1; y=2", "y=2"},
        {"a_session=;a;b;c;d;e;f;g;h;i;j;k;l;m;n;o;p;q", "a; b; c; d; e; f; g; h; i; j; k; l; m; n; o; p; q"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str out = http_cookie_filter(&a, str_from(cases[i].in), is_ours, NULL);
        if (!str_eq_z(out, cases[i].out))
            fail_msg("%s: got \"%.*s\"", cases[i].in, STR_ARG(out));
    }
}

static void builds_only_what_browsers_read_back(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct str out;
    struct http_cookie c = {.name = STR("s"), .value = STR("abc"), .path = STR("/"), .max_age_s = 300,
                            .same_site = HTTP_SAME_SITE_LAX, .is_secure = true, .is_http_only = true};
    assert_true(http_cookie_build(&a, &c, &out, &err));
    assert_true(str_eq(out, STR("s=abc; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Lax")));
    c = (struct http_cookie){.name = STR("s"), .max_age_s = -1, .domain = STR("ex.org")};
    assert_true(http_cookie_build(&a, &c, &out, &err));
    assert_true(str_eq(out, STR("s=; Domain=ex.org; Max-Age=0")));
    const struct http_cookie bad[] = {
        {.name = STR("")}, {.name = STR("a=b")}, {.name = STR("a"), .value = STR("x;y")}, {.name = STR("a"), .value = STR("x\r\ny")},
        {.name = STR("a"), .path = STR("/;x")}, {.name = STR("a"), .domain = STR("a b")}, {.name = STR("a"), .value = STR("x y")},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_err e = {0};
        assert_false(http_cookie_build(&a, &bad[i], &out, &e));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_cookies_in_order), cmocka_unit_test(filters_cookies_without_touching_the_rest),
        cmocka_unit_test(builds_only_what_browsers_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
