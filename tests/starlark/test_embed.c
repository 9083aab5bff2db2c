/* tests/starlark/test_embed.c: what embedders rely on: JSON of app responses, argument unpacking, host objects,
 * null values at the cap, static inspection.
 * SPDX-License-Identifier: Apache-2.0 */
#include "star_test.h"

static star_v eval(struct arena *a, const char *expr, const struct star_env *env)
{
    char src[1000];
    snprintf(src, sizeof src, "x = %s\n", expr);
    return star_module_get(must_exec(a, src, env), STR("x"));
}

static void app_json_follows_the_table_of_conversions(void **state)
{
    static const struct {
        const char *expr, *want, *err;
    } cases[] = {
        {"[None, True, False, 1, -5]", "[null,true,false,1,-5]", NULL},
        {"[1.0, 0.1, 1e20, 1e21, -2.5e-7, 100.0]", "[1,0.1,100000000000000000000,1e+21,-2.5e-7,100]", NULL},
        {"[0.0, 1e-6, 0.00001234, 123.456, 1.5e300, 12345678.5]", "[0,0.000001,0.00001234,123.456,1.5e+300,12345678.5]", NULL},
        {"\"<a> & \\\"q\\\" \\n é\"", "\"<a> & \\\"q\\\" \\n é\"", NULL},
        {"{\"b\": 1, \"a\": {2: (1, 2)}}", "{\"b\":1,\"a\":{\"2\":[1,2]}}", NULL},
        {"set([1, 2])", "[1,2]", NULL},
        {"b\"hello\"", "\"aGVsbG8=\"", NULL},
        {"1 << 70", NULL, "more than 64 bits"},
        {"struct(a = 1)", NULL, "unrecognized starlark type: struct"},
        {"[len]", NULL, "unrecognized starlark type: builtin_function_or_method"},
        {"float(\"nan\")", NULL, "cannot encode non-finite float nan"},
        {"\"\\u00e9\"[:1]", NULL, "not valid UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        scoped_buf out = BUF_INIT(10000);
        struct star_binding b[] = {{"struct", star_lib_struct()}};
        struct star_env env = {b, 1};
        bool ok = star_json_encode(&a, &out, eval(&a, cases[i].expr, &env), STAR_JSON_APP, &err);
        if (ok != (cases[i].want != NULL) || (ok ? strcmp(buf_z(&out), cases[i].want) != 0 : !strstr(err_msg(&err), cases[i].err)))
            fail_msg("%s: got %s %s", cases[i].expr, buf_z(&out), err_msg(&err));
    }
}

static void app_json_is_at_most_a_hundred_deep(void **state)
{
    for (int depth = 99; depth <= 101; depth++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        scoped_buf out = BUF_INIT(10000);
        star_v v = star_list(&a, NULL, 0);
        for (int i = 1; i < depth; i++)
            v = star_list(&a, &v, 1);
        assert_int_equal(star_json_encode(&a, &out, v, STAR_JSON_APP, &err), depth <= 100);
        if (depth > 100)
            assert_string_equal(err_msg(&err), "value nesting exceeds max depth");
    }
}

static enum star_ret html(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param params[] = {
        {"path", STAR_STR, 0}, {"full", STAR_STR, STAR_OPTIONAL}, {"handler", STAR_CALLABLE, STAR_OPTIONAL},
        {"size", STAR_INT, STAR_OR_NONE},
    };
    star_v a[4] = {STAR_NULL, star_string_z(star_run_arena(run), "dflt"), STAR_NULL, STAR_NULL};
    if (!star_unpack(run, call, params, 4, a))
        return STAR_FAIL;
    for (int i = 2; i < 4; i++)
        if (star_is_null(a[i]))
            a[i] = STAR_NONE;
    *out = star_tuple(star_run_arena(run), a, 4);
    return STAR_OK;
}

static void arguments_are_unpacked_with_the_usual_messages(void **state)
{
    static const struct {
        const char *call, *want;
    } cases[] = {
        {"html(\"/\")", "(\"/\", \"dflt\", None, None)"},
        {"html(\"/\", \"f\", size = 3)", "(\"/\", \"f\", None, 3)"},
        {"html(path = \"/\", size = None)", "(\"/\", \"dflt\", None, None)"},
        {"html()", "html: missing argument for path"},
        {"html(1)", "html: for parameter path: got int, want string"},
        {"html(\"/\", handler = None)", "html: for parameter handler: got NoneType, want callable"},
        {"html(\"/\", x = 1)", "html: unexpected keyword argument \"x\""},
        {"html(\"/\", handlr = len)", "html: unexpected keyword argument \"handlr\" (did you mean handler?)"},
        {"html(\"/\", path = \"/\")", "html: got multiple values for keyword argument \"path\""},
        {"html(1, 2, 3, 4, 5)", "html: got 5 arguments, want at most 4"},
        {"html(\"/\", size = 1 << 64)", "html: for parameter size: 18446744073709551616 out of range"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        char src[300];
        struct star_binding b[] = {{"html", star_builtin(&a, "html", html, NULL)}};
        struct star_env env = {b, 1};
        snprintf(src, sizeof src, "def f(): return %s\n", cases[i].call);
        struct star_run *run = star_run_new(&a, NULL);
        star_run_call(run, star_module_get(must_exec(&a, src, &env), STR("f")), NULL, 0);
        const char *got = star_run_to_end(run) == STAR_DONE ? repr_z(&a, star_run_result(run)) : str_z(&a, star_run_error(run)->msg);
        if (strncmp(got, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("%s: got %s, want %s", cases[i].call, got, cases[i].want);
    }
}

static enum star_ret req_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    if (!str_eq_z(name, "Method"))
        return STAR_MISSING;
    *out = star_string_z(star_run_arena(run), self);
    return STAR_OK;
}
static size_t req_names(void *self, struct str *names, size_t max)
{
    names[0] = STR("Method");
    return 1;
}
static const struct star_host_type req_type = {.name = "Request", .attr = req_attr, .attr_names = req_names};

static void host_objects_have_attributes_and_hints(void **state)
{
    scoped_arena a = {0};
    struct star_module *m = must_exec(&a, "def f(r): return r.Method + type(r) + str(hasattr(r, 'x')) + getattr(r, 'y', 'z')\ndef g(r): return r.Metod\n", NULL);
    struct star_run *run = star_run_new(&a, NULL);
    star_v r = star_host(&a, &req_type, (char *)"GET");
    star_run_call(run, star_module_get(m, STR("f")), &r, 1);
    assert_int_equal(star_run_to_end(run), STAR_DONE);
    assert_string_equal(repr_z(&a, star_run_result(run)), "\"GETRequestFalsez\"");
    star_run_call(run, star_module_get(m, STR("g")), &r, 1);
    assert_int_equal(star_run_to_end(run), STAR_ERROR);
    assert_string_equal(str_z(&a, star_run_error(run)->msg), "Request has no .Metod field or method (did you mean .Method?)");
}

/* Values made at the cap are null, and everything takes a null without harm. */
static void null_values_pass_through(void **state)
{
    scoped_arena a = {0};
    arena_init(&a, 100000);
    star_v list = star_list(&a, NULL, 0), v;
    while (!star_is_null(v = star_string_z(&a, "some text that takes memory")))
        if (!star_list_append(&a, list, v))
            break;
    star_v none = STAR_NULL;
    assert_false(star_list_append(&a, list, none));
    assert_false(star_dict_set_z(&a, none, "k", none));
    assert_true(star_is_null(star_list(&a, &none, 1)));
    assert_true(star_is_null(star_dict_get_str(none, STR("x"))));
    assert_int_equal(star_len(none), 0);
    assert_true(star_len(list) > 10);
    star_freeze(list);
    assert_false(star_list_append(&a, list, STAR_NONE));
}

static void numbers_keep_their_value(void **state)
{
    scoped_arena a = {0};
    static const int64_t ints[] = {0, 1, -1, INT64_MAX, INT64_MIN, (INT64_C(1) << 61) - 1, INT64_C(1) << 61, -(INT64_C(1) << 61), -(INT64_C(1) << 61) - 1};
    for (size_t i = 0; i < ARRAY_LEN(ints); i++) {
        int64_t back;
        assert_true(star_to_i64(star_int(&a, ints[i]), &back));
        assert_int_equal(back, ints[i]);
    }
    static const double floats[] = {0.0, -0.0, 1.0, -1.5, 5e-324, 1.7976931348623157e308, 0x1p-255, 0x1p-256, 0x1p256, 0x1p257, 1.0 / 0.0};
    for (size_t i = 0; i < ARRAY_LEN(floats); i++) {
        double back;
        assert_true(star_to_double(star_float(&a, floats[i]), &back));
        assert_memory_equal(&back, &floats[i], sizeof back);
    }
}

static void loads_are_listed_without_running_anything(void **state)
{
    scoped_arena a = {0};
    const struct star_load *loads;
    struct star_program *p = must_compile(&a, "load('store.in', 'store')\nload('lib/x.star', 'a', b = 'c')\nfail()\n", NULL);
    assert_int_equal(star_program_loads(p, &loads), 2);
    assert_true(str_eq_z(loads[0].module, "store.in"));
    assert_true(str_eq_z(loads[1].module, "lib/x.star"));
    assert_int_equal(loads[1].n_names, 2);
    assert_true(str_eq_z(loads[1].names[1], "c"));
    assert_int_equal(loads[1].line, 2);
    assert_int_equal(loads[1].col, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(app_json_follows_the_table_of_conversions), cmocka_unit_test(app_json_is_at_most_a_hundred_deep),
        cmocka_unit_test(arguments_are_unpacked_with_the_usual_messages), cmocka_unit_test(host_objects_have_attributes_and_hints),
        cmocka_unit_test(null_values_pass_through), cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(loads_are_listed_without_running_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
