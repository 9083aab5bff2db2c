/* tests/app/test_template.c: the templates of secret volumes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static void render(const char *source, struct str *out, bool *ok, struct err *err)
{
    struct ctr_kv_list params = {0};
    ctr_kv_set(&now.arena, &params, STR("ZOO"), STR("z"));
    ctr_kv_set(&now.arena, &params, STR("color"), STR("gr\"een\n"));
    ctr_kv_set(&now.arena, &params, STR("empty"), STR(""));
    *ok = template_render(&now.arena, str_from(source), &params, out, err);
}

static void what_templates_give(void **state)
{
    static const struct {
        const char *name, *source, *want;
    } cases[] = {
        {"nothing", "", ""},
        {"plain text", "a = 1\n{ b }\n", "a = 1\n{ b }\n"},
        {"all params, by name", "{{range $k, $v := .params}}{{$k}}={{$v}};{{end}}",
         "ZOO=z;color=gr\"een\n;empty=;"},
        {"quoted for TOML and JSON",
         "{{- range $k, $v := .params}}\n{{$k}} = {{printf \"%q\" $v}}\n{{- end}}\n",
         "\nZOO = \"z\"\ncolor = \"gr\\\"een\\n\"\nempty = \"\"\n"},
        {"only values", "{{range $v := .params}}[{{$v}}]{{end}}", "[z][gr\"een\n][]"},
        {"the dot", "{{range .params}}[{{.}}]{{end}}", "[z][gr\"een\n][]"},
        {"one by its name", "{{.params.ZOO}}/{{ index .params \"ZOO\" }}", "z/z"},
        {"if it is there", "{{if .params.ZOO}}yes{{else}}no{{end}}", "yes"},
        {"if it is empty", "{{if .params.empty}}yes{{else}}no{{end}}", "no"},
        {"if there is none, without else", "a{{if .params.none}}yes{{end}}b", "ab"},
        {"blocks within blocks",
         "{{range $k, $v := .params}}{{if $v}}{{range $w := .params}}{{$k}}{{end}} {{end}}{{end}}",
         "ZOOZOOZOO colorcolorcolor "},
        {"trimmed on both sides", "a \n {{- \"x\" -}} \n b", "axb"},
        {"a minus that is part of a value's side", "a {{\"-\"}} b", "a - b"},
        {"a comment", "a{{/* a \" comment */}}b{{- /* more */ -}} c", "abc"},
        {"braces in a text", "{{\"}}\\\"{{\"}}", "}}\"{{"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct str out = {0};
        bool ok;
        render(cases[i].source, &out, &ok, &err);
        if (!ok || !str_eq_z(out, cases[i].want))
            fail_msg("%s: wanted \"%s\", got \"%.*s\" %s", cases[i].name, cases[i].want, STR_ARG(out),
                     err_msg(&err));
    }
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *name, *source, *error;
    } cases[] = {
        {"an action without end", "a\n{{.params.x", "line 2: {{ without }}"},
        {"an empty action", "{{ }}", "line 1: empty {{}}"},
        {"a param that is not there", "a\n\n{{.params.none}}",
         "line 3: the app has no param for .params.none"},
        {"an unknown value", "{{env \"HOME\"}}", "unknown value env"},
        {"a variable outside of its range", "{{range $k, $v := .params}}{{end}}{{$k}}", "unknown value $k"},
        {"a block without end", "{{if .params.x}}\n{{range .params}}{{end}}", "line 1: a block without end"},
        {"an end without a block", "{{end}}", "end without a block"},
        {"an else without if", "{{range .params}}{{else}}{{end}}", "else without if"},
        {"two elses", "{{if .params.x}}{{else}}{{else}}{{end}}", "else without if"},
        {"a range over something else", "{{range .secrets}}{{end}}", "range goes over .params only"},
        {"another printf", "{{printf \"%d\" .params.ZOO}}", "printf takes \"%q\""},
        {"a comment without end", "{{/* a }}", "a comment without end"},
        {"a text without end", "{{index .params \"a}}", "{{ without }}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct str out = {0};
        bool ok;
        render(cases[i].source, &out, &ok, &err);
        if (ok || !strstr(err_msg(&err), cases[i].error))
            fail_msg("%s: %s", cases[i].name, ok ? "accepted" : err_msg(&err));
    }
}

static void what_grows_has_a_ceiling(void **state)
{
    scoped_err err = {0};
    scoped_buf deep = BUF_INIT(1 << 20), wide = BUF_INIT(1 << 20);
    struct str out;
    bool ok;
    for (int i = 0; i < 100; i++)
        buf_add_z(&deep, "{{range .params}}");
    render(buf_z(&deep), &out, &ok, &err);
    assert_true(!ok && strstr(err_msg(&err), "nested too deep"));
    err_release(&err);
    for (int i = 0; i < 15; i++)
        buf_add_z(&wide, "{{range .params}}xxxxxxxx");
    for (int i = 0; i < 15; i++)
        buf_add_z(&wide, "{{end}}");
    render(buf_z(&wide), &out, &ok, &err);
    assert_false(ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_templates_give),
        TEST(what_is_refused),
        TEST(what_grows_has_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
