/* tests/http/test_field.c: tokens, lists, weights, dates.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void tokens(void **state)
{
    for (int c = 0; c < 256; c++) {
        char ch = (char)c;
        bool want = c > 32 && c < 127 && !strchr("\"(),/:;<=>?@[\\]{}", c);
        if (http_is_token(str_of(&ch, 1)) != want)
            fail_msg("byte %d", c);
    }
    assert_false(http_is_token(STR("")));
    assert_false(http_is_field_value(STR("a\nb")));
    assert_true(http_is_field_value(STR("a\tb\xff")));
}

static void lists_are_cut_outside_quotes(void **state)
{
    struct str rest = STR(" a , ,b;x=\"1,2\\\",\" ,\"open, c"), m;
    static const char *const want[] = {"a", "b;x=\"1,2\\\",\"", "\"open, c"};
    size_t n = 0;
    while (http_list_next(&rest, &m)) {
        if (n >= ARRAY_LEN(want) || !str_eq_z(m, want[n]))
            fail_msg("member %zu is \"%.*s\"", n, STR_ARG(m));
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(want));
    assert_true(http_list_has(STR("keep-alive, Upgrade"), STR("upgrade")));
    assert_false(http_list_has(STR("upgrades"), STR("upgrade")));
    assert_false(http_list_has((struct str){0}, STR("x")));
    rest = STR("\"\\");
    assert_true(http_list_next(&rest, &m));
    assert_false(http_list_next(&rest, &m));
}

static void codings_are_weighed(void **state)
{
    static const struct { const char *header, *coding; int q; } cases[] = {
        {"", "gzip", 0}, {"", "identity", 1000}, {"gzip", "gzip", 1000}, {"x-gzip", "gzip", 1000}, {"GZIP", "gzip", 1000},
        {"gzip;q=0", "gzip", 0}, {"gzip; q=0.5, br", "gzip", 500}, {"gzip; q=0.5, br", "br", 1000}, {"*", "br", 1000},
        {"*;q=0.3", "br", 300}, {"*;q=0", "identity", 0}, {"*;q=0, identity", "identity", 1000},
        {"identity;q=0", "identity", 0}, {"br;q=1.000", "br", 1000}, {"br;q=1.001", "br", 0}, {"br;q=0.1234", "br", 0},
        {"br;q=x", "br", 0}, {"br;q=", "br", 0}, {"brotli", "br", 0}, {"br;Q=0.123", "br", 123}, {"*;q=0.5", "identity", 1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int q = http_accepts_coding(str_from(cases[i].header), str_from(cases[i].coding));
        if (q != cases[i].q)
            fail_msg("%s in \"%s\": wanted %d, got %d", cases[i].coding, cases[i].header, cases[i].q, q);
    }
}

static void dates_of_three_forms(void **state)
{
    static const struct { const char *in; bool ok; int64_t s; } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 784111777}, {"Sunday, 06-Nov-94 08:49:37 GMT", true, 784111777},
        {"Sun Nov  6 08:49:37 1994", true, 784111777}, {"Thu, 01 Jan 1970 00:00:00 GMT", true, 0},
        {"Tue, 29 Feb 2028 23:59:59 GMT", true, 1835481599}, {"Sun, 06 Nov 1994 08:49:37", false, 0},
        {"Sun, 06 Nov 1994 24:00:00 GMT", false, 0}, {"Sun, 00 Nov 1994 00:00:00 GMT", false, 0}, {"", false, 0},
        {"0", false, 0}, {"Sun, 06 Nov 1994 08:49:37 GMTx", false, 0}, {"Sun,", false, 0}, {"Sun, 06 Foo 1994 08:49:37 GMT", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t s = 0;
        bool ok = http_date_parse(str_from(cases[i].in), &s);
        if (ok != cases[i].ok || s != cases[i].s)
            fail_msg("%s: %d %lld", cases[i].in, ok, (long long)s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens), cmocka_unit_test(lists_are_cut_outside_quotes), cmocka_unit_test(codings_are_weighed),
        cmocka_unit_test(dates_of_three_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
