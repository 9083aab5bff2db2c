/* tests/base/test_json.c: the glue over jansson.
 * SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void parses_strictly(void **state)
{
    static const struct { const char *name, *in, *err; } cases[] = {
        {"an object", "{\"a\": [1, 2.5, \"x\", null, true]}", NULL},
        {"any value", " \"x\" ", NULL},
        {"nothing", "", "line 1"},
        {"a duplicate member", "{\"a\":1,\n\"a\":2}", "line 2"},
        {"trailing text", "{} {}", "end of file expected"},
        {"bad UTF-8", "\"\xff\"", "unable to decode byte 0xff"},
        {"a NUL in a string", "\"a\\u0000b\"", "\\u0000"},
        {"a trailing comma", "[1,]", "line 1, column"},
        {"a lone surrogate", "\"\\ud800\"", "line 1"},
        {"a number over 64 bits", "123456789012345678901234567890", "too big"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        scoped_json *j = json_parse(str_from(cases[i].in), &err);
        if ((j != NULL) != (cases[i].err == NULL) || (cases[i].err && !strstr(err_msg(&err), cases[i].err)))
            fail_msg("%s: got %s", cases[i].name, err_msg(&err));
    }
}

static void bounds_nesting(void **state)
{
    scoped_buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < 100000; i++)
        buf_add_char(&b, '[');
    scoped_err err = {0};
    assert_null(json_parse(buf_str(&b), &err));
    assert_non_null(strstr(err_msg(&err), "depth"));

    /* As deep as is read can be written again. */
    scoped_arena a = {0};
    scoped_buf deep = BUF_INIT(1 << 20);
    for (int i = 0; i < 2048; i++)
        buf_add_char(&deep, '[');
    for (int i = 0; i < 2048; i++)
        buf_add_char(&deep, ']');
    scoped_json *j = json_parse(buf_str(&deep), &err);
    assert_non_null(j);
    assert_true(str_eq(json_text(&a, j, 0), buf_str(&deep)));
}

static void writes_each_style(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_json *j = json_parse_object(STR("{\"b\":[1,{}],\"a\":\"<&>\xc3\xa9/\"}"), &err);
    assert_true(str_eq(json_text(&a, j, 0), STR("{\"b\":[1,{}],\"a\":\"<&>\xc3\xa9/\"}")));
    assert_true(str_eq(json_text(&a, j, JSON_STYLE_SORTED), STR("{\"a\":\"<&>\xc3\xa9/\",\"b\":[1,{}]}")));
    assert_true(str_eq(json_text(&a, j, JSON_STYLE_INDENT | JSON_STYLE_SORTED),
                       STR("{\n  \"a\": \"<&>\xc3\xa9/\",\n  \"b\": [\n    1,\n    {}\n  ]\n}")));
    assert_null(json_parse_object(STR("[]"), &err));
}

static void getters_fall_back(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_json *j =
        json_parse(STR("{\"s\":\"x\",\"i\":5,\"f\":1.5,\"t\":true,\"n\":null,\"l\":[\"a\",1,\"b\"]}"), &err);
    assert_true(str_eq(json_get_str(j, "s", STR("d")), STR("x")));
    assert_true(str_eq(json_get_str(j, "i", STR("d")), STR("d")));
    assert_true(str_eq(json_get_str(NULL, "s", STR("d")), STR("d")));
    assert_int_equal(json_get_int(j, "i", 7), 5);
    assert_int_equal(json_get_int(j, "f", 7), 7);
    assert_true(json_get_num(j, "i", 0) == 5.0 && json_get_num(j, "f", 0) == 1.5);
    assert_true(json_get_bool(j, "t", false) && json_get_bool(j, "none", true));
    assert_null(json_get(j, "n"));
    struct str_list l = json_get_list(&a, j, "l");
    assert_true(l.len == 2 && str_eq(l.items[1], STR("b")));
}

static void readers_name_what_is_wrong(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    scoped_json *j = json_parse(STR("{\"s\":\"x\",\"i\":5,\"l\":[\"a\",1],\"m\":{\"k\":\"v\"},\"n\":null}"), &err);
    struct str s = STR("old");
    int64_t i = 1;
    bool b = true;
    struct str_list l = {0};
    struct map m;
    assert_true(json_read_str(j, "n", false, &s, &err) && str_eq(s, STR("old")));
    assert_true(json_read_str(j, "s", true, &s, &err) && str_eq(s, STR("x")));
    assert_true(json_read_int(j, "i", true, &i, &err) && i == 5);
    assert_true(json_read_map(&a, j, "m", true, &m, &err));
    assert_true(str_eq(*(struct str *)map_get(&m, STR("k")), STR("v")));
    assert_false(json_read_str(j, "n", true, &s, &err));
    assert_string_equal(err_msg(&err), "n is required");
    assert_false(json_read_bool(j, "i", false, &b, &err));
    assert_string_equal(err_msg(&err), "i must be a boolean, not an integer");
    assert_false(json_read_list(&a, j, "l", false, &l, &err));
    assert_string_equal(err_msg(&err), "l must be a list of strings, but item 2 is an integer");
}

static void builds_values(void **state)
{
    scoped_arena a = {0};
    scoped_json *j = json_object();
    struct str_list l = {0};
    str_list_add(&a, &l, STR("x"));
    str_list_add(&a, &l, STR("bad\xff\xc3\xa9"));
    json_set_list(j, "l", &l);
    json_set_str(j, "empty", (struct str){0});
    json_set_int(j, "i", -3);
    json_set_bool(j, "b", false);
    struct map m;
    map_init(&m, &a);
    map_set(&m, STR("k"), &l.items[0]);
    json_set_key(j, STR("map"), json_from_map(&m));
    assert_true(str_eq(json_text(&a, j, 0),
                       STR("{\"l\":[\"x\",\"bad\xef\xbf\xbd\xc3\xa9\"],\"empty\":\"\",\"i\":-3,\"b\":false,"
                           "\"map\":{\"k\":\"x\"}}")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_strictly),   cmocka_unit_test(bounds_nesting),
        cmocka_unit_test(writes_each_style), cmocka_unit_test(getters_fall_back),
        cmocka_unit_test(readers_name_what_is_wrong), cmocka_unit_test(builds_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
