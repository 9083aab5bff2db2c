/* tests/plugin/test_gate.c: what a program may load and call, and with which words it is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../src/plugin/gate.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A module to guard: one function that reads, one that writes, one that fails. */
static int calls;
static bool do_call(struct star_run *run, const struct star_call *call, star_v *value, struct err *err)
{
    calls++;
    *value = star_int(star_run_arena(run), calls);
    return true;
}
static bool do_fail(struct star_run *run, const struct star_call *call, star_v *value, struct err *err)
{
    return err_set(err, ERR_INVALID, "it failed");
}
static const struct plugin_function test_functions[] = {
    {"read", false, do_call}, {"write", true, do_call}, {"bad", false, do_fail}};
static const struct plugin_constant test_constants[] = {{"C", "constant"}};
static const struct plugin_module normal = {"t.in", false, test_functions, 3, test_constants, 1},
                                  system_module = {"t.in", true, test_functions, 3, NULL, 0};

static const struct {
    const char *name;
    const char *approved; /* [[p]] tables: plugin, method, arguments, is_read */
    const char *rules;    /* [[allow]] and [[disallow]] */
    const char *code;     /* an expression over `t` */
    const char *user;
    bool is_system, is_write_refused;
    const char *app_id;
    const char *want; /* str() of the value, or "! message" */
} cases[] = {
    {.name = "nothing is approved",
     .code = "t.read()",
     .want = "! app /x is not permitted to call t.in#a.read. Audit the app and approve permissions"},
    {.name = "constants need nothing", .code = "t.C", .want = "constant"},
    {.name = "an approved call",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "t.read('x').value",
     .want = "1"},
    {.name = "approved for another account",
     .approved = "[[p]]\nplugin='t.in'\nmethod='read'\n",
     .code = "t.read()",
     .want = "! app /x is not permitted to call t.in#a.read. Audit the app and approve permissions"},
    {.name = "a method's regex counts in the server's lists only",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='regex:.*'\n",
     .code = "t.read()",
     .want = "! app /x is not permitted to call t.in#a.read. Audit the app and approve permissions"},
    {.name = "allowed by the server",
     .rules = "[[allow]]\nplugin='t.in#a'\nmethod='regex:re.*'\n",
     .code = "t.read().value",
     .want = "1"},
    {.name = "another argument",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\narguments=['ls']\n",
     .code = "t.read('rm')",
     .want = "! app /x is not permitted to call t.in#a.read with argument 0 having value \"rm\", expected "
             "\"ls\". Update the app or audit and approve permissions"},
    {.name = "a keyword cannot stand for a checked argument",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\narguments=['ls']\n",
     .code = "t.read(path='ls')",
     .want = "! app /x is not permitted to call t.in#a.read with 0 arguments, 1 or more positional arguments "
             "are required (permissions checks are "
             "not supported for kwargs). Audit the app and approve permissions"},
    {.name = "a later entry fits",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\narguments=['ls']\n[[p]]\nplugin='t.in#a'\nmethod='"
                 "read'\narguments=['rm']\n",
     .code = "t.read('rm').value",
     .want = "1"},
    {.name = "disallowed",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .rules = "[[disallow]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "t.read()",
     .want = "! app /x is not permitted to call t.in#a.read: the call is disallowed by the server config "
             "(permissions.disallow)"},
    {.name = "disallowed without the account",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .rules = "[[disallow]]\nplugin='t.in'\n",
     .code = "t.read()",
     .want = "! app /x is not permitted to call t.in#a.read: the call is disallowed by the server config "
             "(permissions.disallow)"},
    {.name = "disallowed with an argument",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .rules = "[[disallow]]\nplugin='t.in'\narguments=['regex:^r']\n",
     .code = "t.read('rm')",
     .want = "! app /x is not permitted to call t.in#a.read: the call is disallowed by the server config "
             "(permissions.disallow)"},
    {.name = "another argument is not disallowed",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .rules = "[[disallow]]\nplugin='t.in'\narguments=['regex:^r']\n",
     .code = "t.read('ls').value",
     .want = "1"},
    {.name = "a write where none may be",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='write'\n",
     .code = "t.write()",
     .is_write_refused = true,
     .app_id = "app_stg_1",
     .want = "! stage app app_stg_1 is not permitted to call t.in#a.write. Stage app does not have access to "
             "write operations"},
    {.name = "a write of a preview",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='write'\n",
     .code = "t.write()",
     .is_write_refused = true,
     .app_id = "app_pre_1",
     .want = "! preview app app_pre_1 is not permitted to call t.in#a.write. Preview app does not have "
             "access to write operations"},
    {.name = "a write that an administrator called a read",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='write'\nis_read=true\n",
     .code = "t.write().value",
     .is_write_refused = true,
     .app_id = "app_stg_1",
     .want = "1"},
    {.name = "a read that an administrator called a write",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\nis_read=false\n",
     .code = "t.read()",
     .is_write_refused = true,
     .app_id = "app_stg_1",
     .want = "! stage app app_stg_1 is not permitted to call t.in#a.read. Stage app does not have access to "
             "write operations"},
    {.name = "a later entry after the write gate",
     .approved =
         "[[p]]\nplugin='t.in#a'\nmethod='write'\n[[p]]\nplugin='t.in#a'\nmethod='write'\nis_read=true\n",
     .code = "t.write().value",
     .is_write_refused = true,
     .app_id = "app_stg_1",
     .want = "1"},
    {.name = "a system module, nobody signed in",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "t.read()",
     .is_system = true,
     .user = "anonymous",
     .want = "! plugin t.in#a requires an authenticated user"},
    {.name = "a system module at load",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "t.read()",
     .is_system = true,
     .want = "! plugin t.in#a requires an authenticated user"},
    {.name = "a system module, signed in",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "t.read().value",
     .is_system = true,
     .user = "admin",
     .want = "1"},
    {.name = "a failure is a value",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n",
     .code = "t.bad().error",
     .want = "it failed"},
    {.name = "whose value raises",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n",
     .code = "t.bad().value",
     .want = "! it failed"},
    {.name = "and stops the next call",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "[t.bad(), t.read()]",
     .want = "! previous plugin call failed: it failed"},
    {.name = "unless it was looked at",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "[t.bad().error, t.read().value]",
     .want = "[\"it failed\", 1]"},
    {.name = "or tested",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n[[p]]\nplugin='t.in#a'\nmethod='read'\n",
     .code = "not t.bad() and t.read().value",
     .want = "1"},
    {.name = "a refusal comes before a pending failure",
     .approved = "[[p]]\nplugin='t.in#a'\nmethod='bad'\n",
     .code = "[t.bad(), t.read()]",
     .want = "! app /x is not permitted to call t.in#a.read. Audit the app and approve permissions"},
};

static struct plugin_permission *permissions(struct arena *a, const char *text, size_t *n)
{
    struct toml_value root;
    scoped_err err = {0};
    assert_true(toml_parse(a, str_from(text ? text : ""), &root, &err));
    const struct toml_value *list = toml_get(&root, STR("p"));
    *n = list ? list->array.len : 0;
    struct plugin_permission *out = arena_array(a, struct plugin_permission, *n);
    for (size_t i = 0; i < *n; i++) {
        const struct toml_value *item = list->array.items[i];
        bool is_read = false;
        assert_true(toml_read_str(item, "plugin", &out[i].plugin, &err) &&
                    toml_read_str(item, "method", &out[i].method, &err) &&
                    toml_read_list(a, item, "arguments", &out[i].arguments, &err) &&
                    toml_read_bool(item, "is_read", &is_read, &err));
        out[i].is_read = toml_get(item, STR("is_read")) ? is_read : -1;
    }
    return out;
}

static struct str run_code(struct arena *a, const char *code, star_v t, struct plugin_request *request)
{
    scoped_err err = {0};
    scoped_buf out = BUF_INIT(1 << 16);
    const struct star_binding bindings[] = {{"t", t}};
    const struct star_env env = {bindings, 1};
    const struct star_limits limits = {.steps = 100000};
    struct str source = str_printf(a, "def f():\n    return %s\n", code);
    const struct star_program *p = star_compile(a, STR("test.star"), source, &star_options_app, &env, &err);
    struct star_module *m = p ? star_exec(a, p, &env, &limits, NULL, NULL, &err) : NULL;
    if (!m)
        fail_msg("%s", err_msg(&err));
    struct star_run *run = star_run_new(a, &limits);
    star_run_set_user(run, request);
    star_run_call(run, star_module_get(m, STR("f")), NULL, 0);
    if (star_run_to_end(run) != STAR_DONE)
        return str_printf(a, "! " STR_FMT, STR_ARG(star_run_error(run)->msg));
    star_str(&out, star_run_result(run));
    return str_dup(a, buf_str(&out));
}

static void calls_pass_the_gate_or_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct toml_value root;
        struct plugin_rules *rules;
        size_t n;
        assert_true(toml_parse(&a, str_from(cases[i].rules ? cases[i].rules : ""), &root, &err) &&
                    plugin_rules_new(&a, &root, &rules, &err));
        struct plugin_permission *approved = permissions(&a, cases[i].approved, &n);
        struct plugin_context ctx = {.app = STR("/x"),
                                     .app_id = str_from(cases[i].app_id ? cases[i].app_id : "app_prd_1"),
                                     .rules = rules,
                                     .is_write_refused = cases[i].is_write_refused};
        assert_true(plugin_matchers_new(&a, approved, n, &ctx.permissions, &err));
        struct plugin_request request = {.user_id = str_from(cases[i].user)};
        calls = 0;
        star_v t =
            make_module(&a, &ctx, cases[i].is_system ? &system_module : &normal, STR("t.in#a"), STR("t"));
        struct str got = run_code(&a, cases[i].code, t, &request);
        if (!str_eq_z(got, cases[i].want))
            fail_msg("%s: wanted \"%s\", got \"" STR_FMT "\"", cases[i].name, cases[i].want, STR_ARG(got));
    }
}

static void an_audit_calls_nothing(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct plugin_rules *rules;
    assert_true(plugin_rules_new(&a, NULL, &rules, &err));
    struct plugin_context ctx = {.app = STR("/x"), .rules = rules, .is_audit = true};
    struct plugin_request request = {0};
    calls = 0;
    star_v t = make_module(&a, &ctx, &system_module, STR("t.in"), STR("t"));
    struct str got = run_code(&a, "type(t.write(1, x=2))", t, &request);
    assert_true(str_eq_z(got, "struct"));
    assert_int_equal(calls, 0);
    struct str why = run_code(&a, "t.write().value", t, &request);
    assert_true(str_starts(why, STR("! ")));
}

static void modules_are_found_and_guarded(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct plugin_rules *rules;
    struct str_list loads = {0};
    struct str name;
    star_v value;
    assert_true(plugin_rules_new(&a, NULL, &rules, &err));
    str_list_add(&a, &loads, STR("proxy.in#acct"));
    const struct plugin_context ctx = {.app = STR("/x"), .rules = rules, .loads = &loads};
    assert_true(plugin_load(&a, &ctx, STR("proxy.in#acct"), &name, &value, &err));
    assert_true(str_eq(name, STR("proxy")));
    assert_true(star_is_callable(star_struct_get(value, STR("config"))));
    static const char *const wrong[][2] = {
        {"proxy.in",
         "app /x is not permitted to load plugin proxy.in. Audit the app and approve permissions"},
        {"proxy.in#other", "not permitted to load plugin proxy.in#other"},
        {"http.in", "not available in this version"},
        {"proxy.ex", "module proxy.ex not found"},
        {"nothing.in", "module nothing.in not found"},
        {".in", "module .in not found"}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(plugin_load(&a, &ctx, str_from(wrong[i][0]), &name, &value, &err));
        assert_non_null(strstr(err_msg(&err), wrong[i][1]));
    }
    assert_true(plugin_is_module(STR("a.in")) && plugin_is_module(STR("a.in#b.star")) &&
                plugin_is_module(STR("a.ex")));
    assert_false(plugin_is_module(STR("a.star")) || plugin_is_module(STR("a.star#b.in")) ||
                 plugin_is_module(STR("in")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_pass_the_gate_or_are_refused),
        cmocka_unit_test(an_audit_calls_nothing),
        cmocka_unit_test(modules_are_found_and_guarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
