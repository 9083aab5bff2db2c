/* tests/container/test_ident.c: names and hashes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "container.h"
#include "id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define assert_str(got, want) assert_true(str_eq((got), str_from(want)))

static void a_map_hash_ignores_the_order_of_insertion(void **state)
{
    scoped_arena a = {0};
    struct ctr_kv_list x = {0}, y = {0};
    ctr_kv_set(&a, &x, STR("B"), STR("2"));
    ctr_kv_set(&a, &x, STR("A"), STR("1"));
    ctr_kv_set(&a, &y, STR("A"), STR("0"));
    ctr_kv_set(&a, &y, STR("B"), STR("2"));
    ctr_kv_set(&a, &y, STR("A"), STR("1"));
    assert_int_equal(y.len, 2);
    struct str want = sha256_hex(&a, str_of("A\0001\0B\0002\0", 8));
    assert_true(str_eq(ctr_map_hash(&a, &x), want));
    assert_true(str_eq(ctr_map_hash(&a, &y), want));
    assert_true(str_eq(x.items[0].key, STR("B")));   /* the list itself is not sorted */
}

static void hashes_of_nothing_are_the_hash_of_the_empty_text(void **state)
{
    scoped_arena a = {0};
    struct ctr_kv_list none = {0};
    struct str_list empty = {0};
    const char *want = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_str(ctr_map_hash(&a, &none), want);
    assert_str(ctr_list_hash(&a, &empty), want);
}

static void the_version_hash_joins_its_parts_with_dashes(void **state)
{
    scoped_arena a = {0};
    struct str s = STR("s"), e = STR("e"), o = STR("o"), c = STR("c"), v = STR("v"), none = {0};
    assert_true(str_eq(ctr_version_hash(&a, s, e, o, c, v, none, none), sha256_hex(&a, STR("s-e-o-c-v"))));
    assert_true(str_eq(ctr_version_hash(&a, s, e, o, c, v, STR("d"), STR("l")),
                       sha256_hex(&a, STR("s-e-o-c-v-d-lsl"))));
    assert_true(str_eq(ctr_build_hash(&a, s, c, STR("FROM x"), STR("web")),
                       sha256_hex(&a, STR("s\0c\0FROM x\0web\0"))));
}

static void names_carry_the_app_and_half_a_hash(void **state)
{
    scoped_arena a = {0};
    struct str build = STR("0123456789ABCDEF0123"), version = STR("fedcba9876543210fedc"), none = {0};
    assert_str(ctr_container_name(&a, STR("app_prd_x"), version), "clc-app_prd_x-fedcba9876543210");
    assert_str(ctr_container_name(&a, STR("app_dev_x"), none), "clc-app_dev_x-");
    assert_str(ctr_image_name(&a, STR("app_prd_x"), build, version, false), "cli-x:0123456789abcdef");
    assert_str(ctr_image_name(&a, STR("app_stg_x"), build, version, false), "cli-x:0123456789abcdef");
    assert_str(ctr_image_name(&a, STR("app_stg_x"), build, version, true), "cli-app_stg_x:fedcba9876543210");
    assert_str(ctr_image_name(&a, STR("app_pre_x"), build, version, false), "cli-app_pre_x:fedcba9876543210");
    struct str volume = ctr_volume_name(&a, STR("app_prd_x"), STR("data"));
    assert_true(str_starts(volume, STR("clv-app_prd_x-3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7")));
}

static void label_text_is_one_line_without_commas(void **state)
{
    scoped_arena a = {0};
    assert_str(ctr_label_text(&a, STR("  fix: a, b\nand c\t")), "fix: a  b and c");
    char wide[402];
    for (size_t i = 0; i < sizeof wide; i += 2)
        memcpy(wide + i, "\xc3\xa9", 2);
    struct str cut = ctr_label_text(&a, str_of(wide + 0, 401));
    assert_int_equal(cut.len, 200);
    assert_true(str_is_utf8(cut));
    cut = ctr_label_text(&a, str_of(wide + 1, 401));   /* starts inside a character: still cut at a border */
    assert_int_equal(cut.len, 199);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_hash_ignores_the_order_of_insertion),
        cmocka_unit_test(hashes_of_nothing_are_the_hash_of_the_empty_text),
        cmocka_unit_test(the_version_hash_joins_its_parts_with_dashes),
        cmocka_unit_test(names_carry_the_app_and_half_a_hash),
        cmocka_unit_test(label_text_is_one_line_without_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
