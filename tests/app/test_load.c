/* tests/app/test_load.c: loading and auditing: params, modules, plugins, permissions, errors with their
 * place.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static const char ok_app[] = "app = ace.app('ok')\n";

/* --- params --- */

static const char all_params[] = "param('s', default='text')\n"
                                 "param('n', type=INT, default=5)\n"
                                 "param('b', type=BOOLEAN, default=True)\n"
                                 "param('d', type=DICT, default={'k': [1]})\n"
                                 "param('l', type=LIST, default=['x'])\n"
                                 "param('none_s', required=False)\n"
                                 "param('none_n', type=INT, required=False)\n"
                                 "param('none_b', type=BOOLEAN, required=False)\n"
                                 "param('none_d', type=DICT, required=False)\n"
                                 "param('none_l', type=LIST, required=False)\n"
                                 "param('pw', required=False, display_type=PASSWORD)\n"
                                 "param('area', required=False, display_type='textarea:10')\n"
                                 "param('options-x', default='dash')\n";
static const char show_params[] = "def h(req):\n"
                                  "    return [param.s, param.n, param.b, param.d, param.l, param.none_s, "
                                  "param.none_n, param.none_b, param.none_d,\n"
                                  "            param.none_l, getattr(param, 'options-x')]\n"
                                  "app = ace.app('p', routes=[ace.api('/', h)])\n";

static void params_have_defaults_and_zero_values(void **state)
{
    load_app(FILES("app.star", show_params, "params.star", all_params));
    expect("GET /x", 200, "[\"text\",5,true,{\"k\":[1]},[\"x\"],\"\",0,false,{},[],\"dash\"]\n");
}

static void params_take_the_values_of_the_entry(void **state)
{
    static const char *const given[][2] = {
        {"s", ""},   {"n", "-7"},        {"b", "f"},      {"d", "{\"a\": 1}"},
        {"l", "[]"}, {"none_b", "TRUE"}, {"none_s", "x"}, {"undeclared", "kept for the container"}};
    for (size_t i = 1; i < ARRAY_LEN(given); i++)
        put(&now.entry.metadata.param_values, given[i][0], given[i][1]);
    load_app(FILES("app.star", show_params, "params.star", all_params));
    expect("GET /x", 200, "[\"text\",-7,false,{\"a\":1},[],\"x\",0,true,{},[],\"dash\"]\n");
}

static const struct {
    const char *name, *params, *key, *value, *err;
} bad_params[] = {
    {"twice", "param('a', default='')\nparam('a', default='')", NULL, NULL, "param a already defined"},
    {"no name", "param('')", NULL, NULL, "param name is required"},
    {"white space", "param('a b')", NULL, NULL, "param name \"a b\" has space"},
    {"unknown type", "param('a', type='X')", NULL, NULL, "unknown type X for a"},
    {"default of another type", "param('a', type=INT, default='5')", NULL, NULL,
     "must be an int, not string"},
    {"unknown display type", "param('a', required=False, display_type='x')", NULL, NULL,
     "unknown display type x"},
    {"display type of an INT, without default", "param('a', type=INT, required=False, display_type=FILE)",
     NULL, NULL, "display_type is for STRING"},
    {"required and not given", "param('a')", NULL, NULL,
     "param a is a required param, a value has to be provided"},
    {"required and empty", "param('a')", "a", "", "value cannot be empty"},
    {"not an int", "param('a', type=INT)", "a", "5x", "param a is not an int"},
    {"too large an int", "param('a', type=INT)", "a", "9223372036854775808", "param a is not an int"},
    {"not a boolean", "param('a', type=BOOLEAN)", "a", "yes", "param a is not a boolean"},
    {"not a dict", "param('a', type=DICT)", "a", "[]", "param a is not a json dict"},
    {"not a list", "param('a', type=LIST)", "a", "{", "param a is not a json list"},
    {"a while loop", "def f():\n  while True:\n    pass", NULL, NULL, "does not support while loops"},
    {"a load", "load('x.star', 'x')", NULL, NULL, "params.star:1"},
    {"a syntax error has its place", "param('a',\n)(", NULL, NULL, "params.star:2:"},
    {"more steps than it may take", "[x for x in range(1000000000)]", NULL, NULL, "params.star:1"},
};

static void wrong_params_are_explained(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_params); i++) {
        setup(NULL);
        if (bad_params[i].key)
            put(&now.entry.metadata.param_values, bad_params[i].key, bad_params[i].value);
        print_message("%s\n", bad_params[i].name);
        must_not_load(FILES("app.star", ok_app, "params.star", bad_params[i].params), bad_params[i].err);
    }
}

/* --- modules --- */

static void modules_are_loaded_once_and_export_a_struct(void **state)
{
    load_app(FILES("app.star",
                   "load('lib/util.star', 'double', 'util')\nload('./lib//util.star', "
                   "again='util')\nload('two.star', 'x')\n"
                   "def h(req):\n    return [double(4), util.double(5), again == util, util.count, x]\n"
                   "app = ace.app('m', routes=[ace.api('/', h)])\n",
                   "lib/util.star", "def double(n):\n    return n * 2\ncount = 1\n_hidden = 2\n", "two.star",
                   "load('lib/util.star', 'util')\nx = util.count + 1\n"));
    expect("GET /x", 200, "[8,10,true,1,2]\n");
}

static void a_global_of_the_modules_name_wins(void **state)
{
    load_app(FILES("app.star",
                   "load('util.star', 'util')\ndef h(req):\n    return util\n"
                   "app = ace.app('m', routes=[ace.api('/', h)])\n",
                   "util.star", "util = 'mine'\n"));
    expect("GET /x", 200, "\"mine\"\n");
}

static void star_base_moves_the_code(void **state)
{
    put(&now.entry.metadata.appconfig, "star_base", "\"code/\"");
    load_app(FILES("code/app.star",
                   "load('u.star', 'u')\ndef h(req):\n    return [u.a, param.p]\n"
                   "app = ace.app('m', routes=[ace.api('/', h)])\n",
                   "code/u.star", "a = 1\n", "code/params.star", "param('p', default='v')\n"));
    expect("GET /x", 200, "[1,\"v\"]\n");
}

static void source_goes_over_spec(void **state)
{
    put(&now.entry.metadata.spec_files, "app.star", "fail('the spec was taken')");
    put(&now.entry.metadata.spec_files, "u.star", "a = 'spec'\n");
    load_app(FILES(
        "app.star",
        "load('u.star', 'a')\ndef h(req):\n    return a\napp = ace.app('m', routes=[ace.api('/', h)])\n"));
    expect("GET /x", 200, "\"spec\"\n");
}

static const struct {
    const char *name;
    const char *files[8];
    const char *err;
} bad_apps[] = {
    {"no app.star", {"x", ""}, "app.star not found"},
    {"no app", {"app.star", "x = 1"}, "app not defined, check app.star, add 'app = ace.app(...)'"},
    {"another kind of app", {"app.star", "app = ace.api('/')"}, "app not of type ace.app in app.star"},
    {"a syntax error has its place", {"app.star", "x = 1\ny = = 2"}, "app.star:2:5"},
    {"an unknown name has its place", {"app.star", "x = 1\ny = xx"}, "app.star:2:5"},
    {"a failure has its place", {"app.star", "x = 1\nfail('my words')"}, "my words"},
    {"a failure in a module has the module's place",
     {"app.star", "load('u.star', 'x')", "u.star", "\n\nx = 1 // 0"},
     "u.star:3:"},
    {"a missing module", {"app.star", "load('u.star', 'x')"}, "module u.star not found"},
    {"a missing name", {"app.star", "load('u.star', 'y')", "u.star", "x = 1"}, "y"},
    {"a hidden name", {"app.star", "load('u.star', '_x')", "u.star", "_x = 1"}, "_x"},
    {"a module out of the app", {"app.star", "load('../u.star', 'x')"}, "u.star"},
    {"an absolute module", {"app.star", "load('/etc/u.star', 'x')"}, "u.star"},
    {"neither plugin nor file", {"app.star", "load('util', 'x')"}, "module util not found"},
    {"a cycle",
     {"app.star", "load('a.star', 'a')", "a.star", "load('b.star', 'b')", "b.star", "load('./a.star', 'a')"},
     "cycle in star"},
    {"a cycle of one", {"app.star", "load('app.star', 'a')"}, ""},
    {"a frozen global",
     {"app.star", "load('u.star', 'l')\nl.append(1)", "u.star", "l = []"},
     "cannot append to frozen list"},
    {"an if at the top", {"app.star", "if True:\n  x = 1"}, "not within a function"},
    {"a handler that is none",
     {"app.star", "handler = 5\napp = ace.app('x')"},
     "handler must be a function, not int"},
    {"an error_handler that is none",
     {"app.star", "error_handler = 5\napp = ace.app('x')"},
     "error_handler must be a function"},
    {"a route that is none", {"app.star", "app = ace.app('x', routes=['a'])"}, "routes must hold ace.api"},
    {"a duplicate route",
     {"app.star", "app = ace.app('x', routes=[ace.api('/a'), ace.api('/a/')])"},
     "route GET \"/a/\": declared twice"},
    {"an unknown keyword", {"app.star", "app = ace.app('x', foo=1)"}, "unexpected keyword argument"},
    {"a wrong type", {"app.star", "app = ace.app('x', routes=())"}, "got tuple, want list"},
    {"an unknown API type",
     {"app.star", "app = ace.app('x', routes=[ace.api('/', type='XML')])"},
     "invalid API type specified : XML"},
    {"a redirect code", {"app.star", "ace.redirect('/', code=200)"}, "code must be between 300 and 399"},
    {"pages of a static app",
     {"app.star", "app = ace.app('x', routes=[ace.html('/')], static_only=True)"},
     "cannot have HTML routes"},
    {"an action that is none",
     {"app.star", "app = ace.app('x', actions=[1])"},
     "actions must hold ace.action"},
    {"an action where a route is",
     {"app.star",
      "def r(d, a):\n  pass\napp = ace.app('x', routes=[ace.api('/a')], actions=[ace.action('A', '/a', r)])"},
     "error adding action at path /a"},
    {"static_from_disk by the app itself",
     {"app.star", "app = ace.app('x', settings={'app_config': {'static_from_disk': True}})"},
     "static_from_disk"},
    {"too much memory", {"app.star", "x = [1] * 1000000000"}, "app.star:1"},
    {"too many steps", {"app.star", "def f():\n  while True:\n    pass\nf()"}, "app.star"},
    {"endless recursion", {"app.star", "def f():\n  f()\nf()"}, "app.star"},
};

static void broken_apps_are_explained(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_apps); i++) {
        print_message("%s\n", bad_apps[i].name);
        must_not_load(bad_apps[i].files, bad_apps[i].err);
    }
}

static void a_chain_of_modules_has_one_budget_and_a_depth(void **state)
{
    static char names[60][16], texts[60][64];
    const char *pairs[130];
    size_t n = 0;
    pairs[n++] = "app.star";
    pairs[n++] = "load('m0.star', 'x')\napp = ace.app('x')\n";
    for (int i = 0; i < 60; i++) {
        snprintf(names[i], sizeof names[i], "m%d.star", i);
        if (i < 59)
            snprintf(texts[i], sizeof texts[i], "load('m%d.star', y='x')\nx = y + 1\n", i + 1);
        else
            snprintf(texts[i], sizeof texts[i], "x = 0\n");
        pairs[n++] = names[i];
        pairs[n++] = texts[i];
    }
    pairs[n] = NULL;
    load_app(pairs);
}

/* --- plugins --- */

static const char proxy_app[] =
    "load('proxy.in', 'proxy')\n"
    "app = ace.app('p', routes=[ace.proxy('/', proxy.config('http://127.0.0.1:1'))],\n"
    "              permissions=[ace.permission('proxy.in', 'config', ['http://127.0.0.1:1'])])\n";

static void plugins_need_approval(void **state)
{
    const struct src_files *files = make_files(FILES("app.star", proxy_app));
    /* The server's allow list lets proxy.in be loaded, but not called with this address. */
    must_not_load(FILES("app.star", proxy_app), "expected \"<CONTAINER_URL>\"");
    approve(files);
    use_files(files);
    now.entry.metadata.permissions.items[0].arguments.items[0] = STR("http://elsewhere");
    must_not_load(FILES("app.star", proxy_app), "is not permitted to call proxy.in.config with argument 0");
    must_not_load(FILES("app.star", "load('proxy.in#a', 'proxy')\n"),
                  "app /x is not permitted to load plugin proxy.in#a. Audit the app and approve permissions");
    must_not_load(FILES("app.star", "load('exec.in', 'exec')\n"),
                  "plugin exec.in is not available in this version");
    must_not_load(FILES("app.star", "load('nothing.in', 'nothing')\n"), "module nothing.in not found");
}

static void a_plugin_may_be_called_by_any_name(void **state)
{
    static const char text[] =
        "load('container.in', c='container')\nload('proxy.in', 'myproxy')\nload('u.star', 'p')\n"
        "def h(req):\n    return [c.URL, type(myproxy.config), type(p)]\n"
        "app = ace.app('p', routes=[ace.api('/', h)])\n";
    load_app(FILES("app.star", text, "u.star", "load('proxy.in', 'proxy')\np = proxy.config\n"));
    expect("GET /x", 200,
           "[\"<CONTAINER_URL>\",\"builtin_function_or_method\",\"builtin_function_or_method\"]\n");
}

static void bad_approved_permissions_are_a_load_error(void **state)
{
    struct store_permission p = {.plugin = STR("proxy.in"), .method = STR("config")};
    str_list_add(&now.arena, &p.arguments, STR("regex:["));
    *vec_push(&now.arena, &now.entry.metadata.permissions) = p;
    must_not_load(FILES("app.star", ok_app), "permission proxy.in.config: bad regular expression \"[\"");
    struct app_audit audit; /* but the audit that can replace them goes on */
    MUST(app_audit(&fx.env, &now.entry, make_files(FILES("app.star", ok_app)), &now.arena, &audit, &now.err),
         &now.err);
}

/* --- audit --- */

static struct app_audit audit_of(const char *const *pairs)
{
    struct app_audit audit;
    MUST(app_audit(&fx.env, &now.entry, make_files(pairs), &now.arena, &audit, &now.err), &now.err);
    return audit;
}

static void an_audit_lists_what_is_asked_for(void **state)
{
    struct app_audit audit = audit_of(
        FILES("app.star",
              "load('u.star', 'u')\nload('container.in', 'container')\n"
              "app = ace.app('My app', container=container.config('auto', volumes=u.v), permissions=[\n"
              "  ace.permission('container.in', 'config', [param.a], secrets=[['a', 'b'], []]),\n"
              "  ace.permission('proxy.in', 'config', ['x'], type='READ', permit=['p']),\n"
              "  ace.permission('proxy.in', 'config', type=ace.WRITE)])\n",
              "u.star",
              "load('proxy.in#acct', 'proxy')\nload('container.in', 'container')\nx = proxy.config('nothing "
              "is called')\nv = []\n",
              "params.star", "param('a', default='auto')\n"));
    assert_str(audit.name, "My app");
    assert_int_equal(audit.loads.len, 2);
    assert_str(audit.loads.items[0], "container.in");
    assert_str(audit.loads.items[1], "proxy.in#acct");
    assert_int_equal(audit.n_permissions, 3);
    assert_str(audit.permissions[0].arguments.items[0], "auto");
    assert_int_equal(audit.permissions[0].is_read, STORE_UNSET);
    assert_int_equal(audit.permissions[0].secrets.len, 2);
    assert_str(audit.permissions[0].secrets.items[0].items[1], "b");
    assert_int_equal(audit.permissions[1].is_read, STORE_TRUE);
    assert_str(audit.permissions[1].permit.items[0], "p");
    assert_int_equal(audit.permissions[2].is_read, STORE_FALSE);
    assert_true(audit.needs_approval);
}

static void an_audit_calls_no_plugin(void **state)
{
    struct err err = {0};
    struct app_audit audit;
    const char *text =
        "load('proxy.in', 'proxy')\nx = proxy.config(1, 2, 3, 4, 5, 6, 7, foo=8)\napp = ace.app('a')\n";
    audit_of(FILES("app.star", text));
    text = "load('proxy.in', 'proxy')\nx = proxy.config('a').value\napp = ace.app('a')\n";
    assert_false(
        app_audit(&fx.env, &now.entry, make_files(FILES("app.star", text)), &now.arena, &audit, &err));
    assert_has(str_from(err_msg(&err)), "app.star:2:");
    err_release(&err);
}

static const struct {
    const char *name, *permissions, *err;
} bad_permissions[] = {
    {"another kind of thing", "['x']", "permissions must hold ace.permission(...), not string"},
    {"arguments that are no strings", "[ace.permission('a.in', 'b', [1])]",
     "arguments must hold strings, not int"},
    {"secrets that are no lists", "[ace.permission('a.in', 'b', secrets=['x'])]",
     "secrets must be a list of lists"},
    {"an unknown type", "[ace.permission('a.in', 'b', type='read')]", "type must be READ or WRITE"},
    {"a regex that is none", "[ace.permission('a.in', 'b', ['regex:('])]", "bad regular expression"},
};

static void an_audit_refuses_malformed_permissions(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_permissions); i++) {
        scoped_err err = {0};
        struct app_audit audit;
        const char *text = str_z(&now.arena, str_printf(&now.arena, "app = ace.app('a', permissions=%s)\n",
                                                        bad_permissions[i].permissions));
        if (app_audit(&fx.env, &now.entry, make_files(FILES("app.star", text)), &now.arena, &audit, &err))
            fail_msg("%s: taken", bad_permissions[i].name);
        if (!strstr(err_msg(&err), bad_permissions[i].err))
            fail_msg("%s: wanted \"%s\", got \"%s\"", bad_permissions[i].name, bad_permissions[i].err,
                     err_msg(&err));
    }
}

/* Before anything is changed: a deploy must not find them out when it loads. */
static void an_audit_looks_at_routes(void **state)
{
    static const char *const bad[][2] = {
        {"ace.api('/a/{x'), ", "'{' is not closed"},
        {"ace.api('/a'), ace.api('/a')", "declared twice"},
        {"ace.api('/a', method='BREW')", "unknown method"},
        {"ace.html('/a', fragments=[5])", "fragments must hold"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_err err = {0};
        struct app_audit audit;
        const char *text = str_z(&now.arena, str_printf(&now.arena, "app = ace.app('a', routes=[%s])\n", bad[i][0]));
        assert_false(
            app_audit(&fx.env, &now.entry, make_files(FILES("app.star", text)), &now.arena, &audit, &err));
        assert_has(str_from(err_msg(&err)), bad[i][1]);
    }
}

/* What is approved already (an app.star), what is asked for, whether an administrator must look. */
static const struct {
    const char *name, *approved, *asked;
    bool needs_approval;
} approvals[] = {
    {"nothing asked", "", "", false},
    {"the same", "P('a.in', 'm', ['x'])", "P('a.in', 'm', ['x'])", false},
    {"another argument", "P('a.in', 'm', ['x'])", "P('a.in', 'm', ['y'])", true},
    {"one more", "P('a.in', 'm')", "P('a.in', 'm'), P('a.in', 'n')", true},
    {"one less", "P('a.in', 'm'), P('a.in', 'n')", "P('a.in', 'm')", false},
    {"another order", "P('a.in', 'm'), P('a.in', 'n')", "P('a.in', 'n'), P('a.in', 'm')", false},
    {"a write relabelled as a read", "P('a.in', 'm')", "P('a.in', 'm', type='READ')", true},
    {"a read relabelled as a write", "P('a.in', 'm', type='READ')", "P('a.in', 'm', type='WRITE')", true},
    {"new secrets", "P('a.in', 'm')", "P('a.in', 'm', secrets=[['k']])", true},
    {"fewer permits", "P('a.in', 'm', permit=['x'])", "P('a.in', 'm')", true},
    {"what the server allows", "", "P('container.in', 'config', ['auto'])", false},
    {"what the server allows, with secrets", "", "P('container.in', 'config', ['auto'], secrets=[['k']])",
     true},
    {"what the server allows, relabelled", "", "P('container.in', 'config', ['auto'], type='READ')", true},
    {"what the server allows, with too few arguments", "", "P('container.in', 'config')", true},
    {"the container's address", "", "P('proxy.in', 'config', ['<CONTAINER_URL>'])", false},
    {"another address", "", "P('proxy.in', 'config', ['http://x'])", true},
    {"another method of an allowed plugin", "", "P('container.in', 'run', ['auto'])", true},
};

static void approval_is_asked_for_when_it_is_needed(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(approvals); i++) {
        setup(NULL);
        static const char format[] = "P = ace.permission\napp = ace.app('a', permissions=[%s])\n";
        approve(make_files(
            FILES("app.star", str_z(&now.arena, str_printf(&now.arena, format, approvals[i].approved)))));
        struct app_audit audit = audit_of(
            FILES("app.star", str_z(&now.arena, str_printf(&now.arena, format, approvals[i].asked))));
        if (audit.needs_approval != approvals[i].needs_approval)
            fail_msg("%s: wanted %d", approvals[i].name, approvals[i].needs_approval);
    }
}

static void loads_need_approval_too(void **state)
{
    assert_false(
        audit_of(FILES("app.star", "load('proxy.in', 'proxy')\napp = ace.app('a')\n")).needs_approval);
    assert_true(
        audit_of(FILES("app.star", "load('proxy.in#x', 'proxy')\napp = ace.app('a')\n")).needs_approval);
    str_list_add(&now.arena, &now.entry.metadata.loads, STR("proxy.in#x"));
    assert_false(
        audit_of(FILES("app.star", "load('proxy.in#x', 'proxy')\napp = ace.app('a')\n")).needs_approval);
}

/* --- config() --- */

static void config_reads_what_the_server_lets_it(void **state)
{
    struct toml_value node;
    MUST(toml_parse(&now.arena, STR("k = \"at $HOME\"\nn = 5\nt = {a = [1, true]}\ns = \"$SECRET_THING\"\n"),
                    &node, &now.err),
         &now.err);
    setenv("HOME", "/home/me", 1);
    setenv("SECRET_THING", "hidden", 1);
    struct app_env env = fx.env;
    fx.env.node_config = &node;
    str_list_add(&now.arena, &fx.env.allowed_env, STR("HOME"));
    load_app(FILES(
        "params.star", "param('p', default=config('k', 'none'))\n", "app.star",
        "def h(req):\n"
        "    return [param.p, config('k', ''), ace.config('n', 0), config('t', None), config('s', ''),\n"
        "            config('absent', '$HOME/x'), config('_app_url', ''), config('_dev', False)]\n"
        "app = ace.app('c', routes=[ace.api('/', h)])\n"));
    expect("GET /x", 200,
           "[\"at /home/me\",\"at /home/me\",5,{\"a\":[1,true]},\"$SECRET_THING\",\"/home/me/x\","
           "\"https://localhost:25223/x\",false]\n");
    drop_app();
    fx.env = env;
}

static void an_app_is_freed_with_its_last_reference(void **state)
{
    struct app *app = load_app(FILES("app.star", ok_app));
    assert_ptr_equal(app_ref(app), app);
    app_unref(app);
    assert_int_equal(atomic_load(&app->refs), 1);
    assert_str(app_id(app), "app_prd_2abcdefghijklmnopqrstuvwxyz");
    assert_false(app_has_container(app));
    assert_true(app_start_container(app, NULL, &now.err));
    app_detach_files(app);
    app_undo_start(app);
    app_retire(app, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(params_have_defaults_and_zero_values),
        TEST(params_take_the_values_of_the_entry),
        TEST(wrong_params_are_explained),
        TEST(modules_are_loaded_once_and_export_a_struct),
        TEST(a_global_of_the_modules_name_wins),
        TEST(star_base_moves_the_code),
        TEST(source_goes_over_spec),
        TEST(broken_apps_are_explained),
        TEST(a_chain_of_modules_has_one_budget_and_a_depth),
        TEST(plugins_need_approval),
        TEST(a_plugin_may_be_called_by_any_name),
        TEST(bad_approved_permissions_are_a_load_error),
        TEST(an_audit_lists_what_is_asked_for),
        TEST(an_audit_calls_no_plugin),
        TEST(an_audit_looks_at_routes),
        TEST(an_audit_refuses_malformed_permissions),
        TEST(approval_is_asked_for_when_it_is_needed),
        TEST(loads_need_approval_too),
        TEST(config_reads_what_the_server_lets_it),
        TEST(an_app_is_freed_with_its_last_reference),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
