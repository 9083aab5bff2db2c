/* tests/base/test_str.c: slices.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void cuts_at_the_first_separator(void **state)
{
    struct str before, after;
    assert_true(str_cut(STR("a=b=c"), '=', &before, &after));
    assert_true(str_eq(before, STR("a")));
    assert_true(str_eq(after, STR("b=c")));
    assert_false(str_cut(STR("abc"), '=', &before, &after));
    assert_true(str_eq(before, STR("abc")));
}

static void numbers_are_whole_strings(void **state)
{
    static const struct { const char *in; bool ok; int64_t out; } cases[] = {
        {"0", true, 0}, {"-9223372036854775808", true, INT64_MIN}, {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0}, {"", false, 0}, {"-", false, 0}, {"1x", false, 0}, {"+5", true, 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t n = 0;
        if (str_to_i64(str_from(cases[i].in), &n) != cases[i].ok || n != cases[i].out)
            fail_msg("%s: got %ld", cases[i].in, (long)n);
    }
}

static void utf8_is_strict(void **state)
{
    assert_true(str_is_utf8(STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    assert_false(str_is_utf8(STR("\xc0\x80")));         /* overlong */
    assert_false(str_is_utf8(STR("\xed\xa0\x80")));     /* surrogate */
    assert_false(str_is_utf8(STR("\xf4\x90\x80\x80"))); /* past U+10FFFF */
    assert_false(str_is_utf8(STR("\xe2\x82")));         /* cut short */
}

static void clips_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t max;
        const char *want;
    } cases[] = {
        {"abc", 3, "abc"},   {"abc", 2, "ab"},          {"abc", 0, ""},     {"", 4, ""},
        {"h\u00e9", 2, "h"}, {"h\u00e9", 3, "h\u00e9"}, {"\u20ac!", 2, ""}, {"\x80\x80\x80", 2, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_true(str_eq_z(str_clip(str_from(cases[i].text), cases[i].max), cases[i].want));
}

static void nearest_finds_typos_only(void **state)
{
    const struct str names[] = {STR("create"), STR("reload"), STR("delete")};
    assert_true(str_eq(str_nearest(STR("craete"), names, 3), STR("create")));
    assert_true(str_eq(str_nearest(STR("relod"), names, 3), STR("reload")));
    assert_true(str_is_empty(str_nearest(STR("zebra"), names, 3)));
}

static void maps_keep_insertion_order(void **state)
{
    scoped_arena a = {0};
    struct map m;
    map_init(&m, &a);
    for (int i = 0; i < 1000; i++)
        map_set(&m, str_printf(&a, "k%d", i), (void *)(intptr_t)(i + 1));
    assert_true(map_del(&m, STR("k500")));
    assert_false(map_has(&m, STR("k500")));
    map_set(&m, STR("k500"), (void *)7);
    assert_int_equal(map_len(&m), 1000);
    assert_ptr_equal(map_get(&m, STR("k500")), (void *)7);
    int n = 0;
    map_foreach (e, &m)
        n++;
    assert_int_equal(n, 1000);
    assert_true(str_eq(m.entries[0].key, STR("k0")));
}

static void lists_are_equal_item_by_item(void **state)
{
    scoped_arena a = {0};
    struct str_list none = {0}, x = {0}, y = {0};
    assert_true(str_list_eq(&none, &x));
    str_list_add(&a, &x, STR("a"));
    str_list_add(&a, &x, STR("b"));
    assert_false(str_list_eq(&none, &x) || str_list_eq(&x, &none));
    str_list_add(&a, &y, STR("b"));
    str_list_add(&a, &y, STR("a"));
    assert_false(str_list_eq(&x, &y));
    y.items[0] = x.items[0];
    assert_false(str_list_eq(&x, &y));
    y.items[1] = x.items[1];
    assert_true(str_list_eq(&x, &y));
    assert_true(str_list_has(&x, STR("b")) && !str_list_has(&x, STR("c")));
}

static void hex_digits_have_their_values(void **state)
{
    for (int c = -128; c < 256; c++) {
        static const char digits[] = "0123456789abcdef";
        const char *at = c > 0 ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
        int want = at ? (int)(at - digits) : -1;
        if (hex_digit(c) != want)
            fail_msg("byte %d: wanted %d, got %d", c, want, hex_digit(c));
    }
    assert_true(str_is_lower_hex(STR("0123456789abcdef")));
    assert_false(str_is_lower_hex(STR("aBc")) || str_is_lower_hex(STR("g")) || str_is_lower_hex(STR("a\0")));
}

static void sorting_is_bytewise(void **state)
{
    struct str names[] = {STR("b"), STR("ab"), STR(""), STR("a"), STR("\xc3\xa9"), STR("B")};
    static const char *const sorted[] = {"", "B", "a", "ab", "b", "\xc3\xa9"};
    str_sort(NULL, 0);
    str_sort(names, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(str_eq_z(names[i], sorted[i]));
}

static void buffers_stop_at_their_ceiling(void **state)
{
    scoped_buf b = BUF_INIT(5);
    assert_true(buf_add_z(&b, "abc"));
    assert_false(buf_add_z(&b, "def"));
    assert_true(b.is_full);
    assert_string_equal(buf_z(&b), "abc");
}

static void errors_collect_context(void **state)
{
    scoped_err e = {0};
    assert_false(err_set(&e, ERR_NOT_FOUND, "no %s", "file"));
    err_wrap(&e, "opening %d", 3);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(err_msg(&e), "opening 3: no file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_at_the_first_separator), cmocka_unit_test(numbers_are_whole_strings),
        cmocka_unit_test(utf8_is_strict),              cmocka_unit_test(nearest_finds_typos_only),
        cmocka_unit_test(clips_between_characters),
        cmocka_unit_test(maps_keep_insertion_order),   cmocka_unit_test(buffers_stop_at_their_ceiling),
        cmocka_unit_test(errors_collect_context),      cmocka_unit_test(lists_are_equal_item_by_item),
        cmocka_unit_test(hex_digits_have_their_values), cmocka_unit_test(sorting_is_bytewise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
