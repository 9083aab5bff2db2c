/* tests/deploy/test_declare.c: what declarative files say, and what they may not say.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_test.h"

#include "toml.h"

struct files {
    struct config_files list;
    struct config_file items[4];
};

/* Files named f0.star, f1.star ... of `text`, split at lines of "---". */
static void split(struct files *f, const char *text)
{
    static const char *const names[] = {"f0.star", "f1.star", "f2.star", "f3.star"};
    struct str rest = str_from(text);
    *f = (struct files){0};
    size_t n = 0;
    for (;;) {
        size_t at = str_find(rest, STR("\n---\n"));
        f->items[n] = (struct config_file){str_from(names[n]), str_slice(rest, 0, at)};
        n++;
        if (at == STR_NPOS)
            break;
        rest = str_from_off(rest, at + 5);
    }
    f->list = (struct config_files){.items = f->items, .len = n, .cap = n, .dir = STR("/conf")};
}

static bool eval(struct arena *a, const char *text, const char *node, const char *branch, bool is_dev,
                 struct declarations *out, struct err *err)
{
    struct files f;
    struct toml_value root = {0};
    MUST(toml_parse(a, str_from(node), &root, err), err);
    struct app_env app_env = {.default_domain = STR("localhost"), .node_config = &root};
    str_list_add(a, &app_env.allowed_env, STR("HOME"));
    const struct declare_env env = {.env = &app_env, .branch = str_from(branch), .is_dev = is_dev};
    split(&f, text);
    return declare_eval(a, &env, &f.list, out, err);
}

static void check(const char *text, const char *node, const char *branch, bool is_dev, const char *member,
                  const char *wanted)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct declarations d;
    if (!eval(&a, text, node, branch, is_dev, &d, &err))
        fail_msg("%s\n%s", text, err_msg(&err));
    struct str all = STR("");
    vec_foreach(x, &d)
    {
        scoped_json *j = json_parse(request_text(&a, &x->request), &err);
        const json_t *value = json_object_get(j, member);
        struct str one =
            json_is_string(value) ? str_dup(&a, json_str(value)) : json_text(&a, value, JSON_STYLE_SORTED);
        all = str_printf(&a, STR_FMT "%s" STR_FMT, STR_ARG(all), all.len ? " | " : "", STR_ARG(one));
    }
    if (!str_eq_z(all, wanted))
        fail_msg("%s\n%s: wanted %s, got %.*s", text, member, wanted, STR_ARG(all));
}

static const struct {
    const char *text, *member, *wanted;
} said[] = {
    {"app('/a', '/s')\napp('/b', '/s')\napp('/c', '-', spec='x')", "path", "/a | /b | /c"},
    {"app('/z', '/s')\n---\napp('/a', '/s')", "path", "/z | /a"},
    {"[app('/n/%d' % i, '/s') for i in range(3)]", "path", "/n/0 | /n/1 | /n/2"},
    {"def mk(p, **kw):\n    return app(p, '/s', **kw)\nx = mk('/a', auth='none')\napp(x.path + '/b', "
     "x.source)",
     "path", "/a | /a/b"},
    {"app('/a', '/s', True, 'none', 'ga', 'br', 'co', {'k': 'v'}, 'sp', 'path', {'c': 'd'})", "is_dev",
     "true"},
    {"app('/a', '/s', True, 'none', 'ga', 'br', 'co', {'k': 'v'}, 'sp', 'path', {'c': 'd'})", "git_commit",
     "co"},
    {"app('/a', '/s', True, 'none', 'ga', 'br', 'co', {'k': 'v'}, 'sp', 'path', {'c': 'd'})", "stage_at",
     "path"},
    {"app('/a', './x')", "source_url", "/conf/x"},
    {"app('/a', '../x#sub')", "source_url", "/x#sub"},
    {"app('/a', 'github.com/org/repo')", "source_url", "github.com/org/repo"},
    {"app('/a', '/s', params={'s': 'x', 'i': 1, 'f': 1.5, 'b': True, 'l': [1, 'a'], 'd': {'x': None}, 'e': "
     "''})",
     "param_values",
     "{\"b\":\"true\",\"d\":\"{\\\"x\\\":null}\",\"e\":\"\",\"f\":\"1.5\",\"i\":\"1\",\"l\":\"[1,\\\"a\\\"]"
     "\",\"s\":\"x\"}"},
    {"app('/a', '/s', container_opts={'limits': {'cpu': 1}})", "container_options",
     "{\"limits\":\"{\\\"cpu\\\":1}\"}"},
    {"app('/a', '/s', container_args={'A': 'x y'})", "container_args", "{\"A\":\"x y\"}"},
    {"app('/a', '/s', container_vols=['/x', '/y:/z'])", "container_volumes", "[\"/x\",\"/y:/z\"]"},
    {"app('/a', '/s', app_config={'s': 'q\"\\\\', 'i': 5, 'b': False, 'f': 1.5, 'l': ['a', 2]})", "appconfig",
     "{\"b\":\"false\",\"f\":\"1.5\",\"i\":\"5\",\"l\":\"[\\\"a\\\", "
     "2]\",\"s\":\"\\\"q\\\\\\\"\\\\\\\\\\\"\"}"},
    {"app('/a', '/s', app_config={'container': {'idle': {'secs': 5}}, 'x.y': 1})", "appconfig",
     "{\"container.idle.secs\":\"5\",\"x.y\":\"1\"}"},
    {"app('/a', '/s', auth=None, params=None)", "app_authn", ""},
    {"app('/a', '/s', verify=True)", "verify", "true"},
    {"app('maps.:/a', '/s')", "path", "maps.:/a"},
    {"app('/a', '/s', git_branch=config('_branch', 'none'))", "git_branch", "none"},
    {"app('/a', '/s', git_branch=config('where', 'none'))", "git_branch", "here"},
    {"app('/a', '/s', git_branch=config('_where', 'none'))", "git_branch", "none"},
    {"app('/a', '/s', params={'n': config('list', [])})", "param_values", "{\"n\":\"[1,2]\"}"},
    {"app('/a', '/s', params={'n': config('_dev', 'x')})", "param_values", "{\"n\":\"false\"}"},
    {"app('/a', '/s', params={'n': config('no', 7)})", "param_values", "{\"n\":\"7\"}"},
    {"app('/a', '/s', params={'n': config('no', '$NOT_ALLOWED x')})", "param_values",
     "{\"n\":\"$NOT_ALLOWED x\"}"},
    {"print('hello')", "path", ""},
};

static void files_are_understood(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        check(said[i].text, "where = 'here'\n_where = 'x'\nlist = [1, 2]\n", "", false, said[i].member,
              said[i].wanted);
    check("app('/a', '/s', git_branch=config('_branch', 'none'))", "", "prod", false, "git_branch", "prod");
    check("app('/a', '/s', params={'n': config('_dev', 'x')})", "", "", true, "param_values",
          "{\"n\":\"true\"}");
    check("app('/a', '/s')\napp('/b', '/s', dev=True)", "", "", true, "is_dev", "true | true");
}

static const struct {
    const char *text, *message;
} refused[] = {
    {"app(", "f0.star:1:"},
    {"app('/a', '/s')\n\napp('/b')", "f0.star:3:4: app: missing argument for source"},
    {"app(1, '/s')", "app: for parameter path: got int, want string"},
    {"app('/a', '/s', parms={})", "unexpected keyword argument \"parms\" (did you mean params?)"},
    {"app('/a', '/s', params=[])", "app: for parameter params: got list, want dict"},
    {"app('/a', '/s', params={1: 2})", "keys of params must be strings, not int"},
    {"app('/a', '/s', params={'': 2})", "a key of params is empty"},
    {"app('/a', '/s', params={'f': print})", "params[\"f\"]: "},
    {"app('/a', '/s', params={'f': float('nan')})", "params[\"f\"]: "},
    {"app('/a', '/s', app_config={'f': None})",
     "app_config[\"f\"]: must be a string, a number, a bool, a list or a dict, not NoneType"},
    {"app('/a', '/s', app_config={'f': [{}]})", "app_config[\"f\"]: must be"},
    {"app('/a', '/s', container_vols=[1])", "container_vols[0] must be a string, not int"},
    {"app('/a', '/s', dev='yes')", "app: for parameter dev: got string, want bool"},
    {"app('/a', '')", "source is empty"},
    {"app('/a', '~/x')", "write the whole path"},
    {"app('a', '/s')", "expected path to start with \"/\""},
    {"app('/a', '/s')\napp('/a/', '/s')", "f0.star:2:4: duplicate app /a defined in file f0.star"},
    {"app('/a', '/s')\n---\napp('/a', '/s')", "f1.star:1:4: duplicate app /a defined in file f0.star"},
    {"app('m.:/a', '/s')\napp('m.localhost:/a', '/s')", "duplicate app m.localhost:/a"},
    {"app('bad domain:/a', '/s')", "bad domain"},
    {"app('/a', '/s', bindings=['/db'])", "bindings are not available in this version"},
    {"binding('/db', 'postgres')", "bindings are not available in this version"},
    {"load('x.star', 'y')", "load"},
    {"if True:\n    app('/a', '/s')", "f0.star:1:1: if"},
    {"x = 1\nx = 2", "f0.star:2:1:"},
    {"def f():\n    f()\nf()", "called recursively"},
    {"while True:\n    pass", "while"},
    {"[app('/%d' % i, '/s') for i in range(100000)]", "more than 20000 apps"},
    {"def f():\n    for i in range(1000000000):\n        pass\nf()", "steps"},
    {"x = ['x' * 1000000 for i in range(10000)]", "memory"},
    {"app('/a', '/s', params={'x': 'x' * 2000000})", "params[\"x\"]: more than"},
    {"app('/a', '/s\\x00x')", "bytes that are not UTF-8, or a NUL"},
    {"app('/a', '/s', params={'\\x00': 1})", "bytes that are not UTF-8, or a NUL"},
    {"app('/a\xff', '/s')", "bytes that are not UTF-8, or a NUL"},
    {"config('x')", "missing argument for default"},
    {"open('/etc/passwd')", "undefined: open"},
    {"fail('no good')", "no good"},
    {"app('/a', '/s').nothing", "nothing"},
};

static void what_cannot_be_is_refused_with_its_place(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct declarations d;
        if (eval(&a, refused[i].text, "", "", false, &d, &err))
            fail_msg("%s: accepted", refused[i].text);
        if (err.code != ERR_INVALID || !strstr(err_msg(&err), refused[i].message) ||
            strncmp(err_msg(&err), "error loading app definitions: f", 32) != 0)
            fail_msg("%s\nwanted %s\ngot %d %s", refused[i].text, refused[i].message, (int)err.code,
                     err_msg(&err));
    }
}

static void a_source_beside_a_file_from_git_is_refused(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct config_file file = {STR("apps.star"), STR("app('/a', './x')")};
    const struct config_files files = {.items = &file, .len = 1, .is_git = true};
    struct app_env app_env = {.default_domain = STR("localhost")};
    const struct declare_env env = {.env = &app_env};
    struct declarations d;
    assert_false(declare_eval(&a, &env, &files, &d, &err));
    assert_non_null(strstr(err_msg(&err), "write the URL of the repository"));
}

static const struct {
    const char *text;
    bool warns;
} secrets[] = {
    {"app('/a', '/s', params={'db_password': 'hunter22'})", true},
    {"app('/a', '/s', params={'API_KEY': 'hunter22'})", true},
    {"app('/a', '/s', params={'authToken': 'hunter22'})", true},
    {"app('/a', '/s', container_args={'NPM_TOKEN': 'hunter22'})", true},
    {"app('/a', '/s', params={'password': '{{secret \"env\" \"hunter22\"}}'})", false},
    {"app('/a', '/s', params={'password': config('pw', '')})", false},
    {"app('/a', '/s', params={'password': ''})", false},
    {"app('/a', '/s', params={'keyboard': 'hunter22'})", false},
    {"app('/a', '/s', params={'monkeys': 'hunter22'})", false},
};

static void secrets_in_clear_are_told_and_never_shown(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct declarations d;
        MUST(eval(&a, secrets[i].text, "pw = 'from-config-9'", "", false, &d, &err), &err);
        if ((d.warnings.len > 0) != secrets[i].warns)
            fail_msg("%s: %zu warnings", secrets[i].text, d.warnings.len);
        vec_foreach(w, &d.warnings) assert_true(str_find(*w, STR("hunter22")) == STR_NPOS);
    }
}

static void an_evaluation_can_be_cancelled(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct files f;
    atomic_bool cancel = true;
    struct app_env app_env = {.default_domain = STR("localhost")};
    const struct declare_env env = {.env = &app_env, .cancel = &cancel};
    struct declarations d;
    split(&f, "def f():\n    for i in range(1000000000):\n        pass\nf()");
    assert_false(declare_eval(&a, &env, &f.list, &d, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_understood),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_place),
        cmocka_unit_test(a_source_beside_a_file_from_git_is_refused),
        cmocka_unit_test(secrets_in_clear_are_told_and_never_shown),
        cmocka_unit_test(an_evaluation_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
