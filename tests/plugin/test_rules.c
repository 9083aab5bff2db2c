/* tests/plugin/test_rules.c: permissions: patterns, the server's lists, what counts as approved.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool rules_from(struct arena *a, const char *text, struct plugin_rules **out, struct err *err)
{
    struct toml_value *root = arena_new(a, struct toml_value);
    return toml_parse(a, str_from(text), root, err) && plugin_rules_new(a, root, out, err);
}

static struct plugin_permission permission(struct arena *a, const char *plugin, const char *method,
                                           const char *arguments)
{
    struct plugin_permission p = {.plugin = str_from(plugin), .method = str_from(method), .is_read = -1};
    struct str rest = str_from(arguments), part;
    while (*arguments && str_next(&rest, ';', &part))
        str_list_add(a, &p.arguments, part);
    return p;
}

static const struct {
    const char *name, *patterns,
        *argument; /* patterns by ';', the argument is a Starlark JSON value, "" for none */
    bool matches;
    size_t mismatch;
} arguments[] = {
    {"no patterns match no arguments", "", "[]", true, 0},
    {"no patterns match any", "", "[1, \"x\"]", true, 0},
    {"a literal", "x", "[\"x\"]", true, 0},
    {"a literal is the whole", "x", "[\"xy\"]", false, 0},
    {"more arguments than patterns", "x", "[\"x\", \"y\"]", true, 0},
    {"fewer arguments than patterns", "x;y", "[\"x\"]", false, 2},
    {"the second is wrong", "x;y", "[\"x\", \"z\"]", false, 1},
    {"a regex is found anywhere", "regex:b+", "[\"abbc\"]", true, 0},
    {"unless it is anchored", "regex:^b+$", "[\"abbc\"]", false, 0},
    {"a regex does not look at quotes", "regex:^a$", "[\"a\"]", true, 0},
    {"the text of a pattern itself", "regex:x", "[\"regex:x\"]", true, 0},
    {"regex: alone is a literal", "regex:", "[\"regex:\"]", true, 0},
    {"and matches nothing else", "regex:", "[\"x\"]", false, 0},
    {"an int", "5", "[5]", true, 0},
    {"a bool", "True", "[true]", true, 0},
    {"None", "None", "[null]", true, 0},
    {"a list as Starlark writes it", "[\"a\", \"b\"]", "[[\"a\", \"b\"]]", true, 0},
    {"a string that looks like a list", "[\"a\"]", "[\"[\\\"a\\\"]\"]", true, 0},
    {"a quote inside a string", "a\"b", "[\"a\\\"b\"]", true, 0},
    {"a regex that takes too long matches nothing", "regex:^(a+)+$",
     "[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"]", false, 0},
};

static void arguments_match_their_patterns(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct plugin_permission p = permission(&a, "a.in", "m", arguments[i].patterns);
        const struct plugin_matchers *m;
        star_v list;
        size_t mismatch = 99;
        assert_true(plugin_matchers_new(&a, &p, 1, &m, &err));
        assert_true(star_json_decode(&a, str_from(arguments[i].argument), &list, &err));
        star_v items[8];
        for (size_t k = 0; k < star_len(list); k++)
            items[k] = star_item(list, k);
        bool ok = plugin_arguments_match(&m->items[0], items, star_len(list), &mismatch);
        if (ok != arguments[i].matches || (!ok && mismatch != arguments[i].mismatch))
            fail_msg("%s: matches %d, mismatch %zu", arguments[i].name, ok, mismatch);
    }
}

static const struct {
    const char *name, *text, *err;
} bad_rules[] = {
    {"a bad argument", "[[allow]]\nplugin = 'a.in'\narguments = ['regex:(']\n",
     "permissions.allow: permission a.in.: bad regular expression \"(\""},
    {"a bad method", "[[disallow]]\nplugin = 'a.in'\nmethod = 'regex:['\n", "permissions.disallow"},
    {"another type", "[[allow]]\nplugin = 5\n", "plugin must be a string"},
    {"no list", "allow = 5\n", "permissions.allow must be a list of tables"},
    {"secrets that are no lists", "[[allow]]\nplugin = 'a.in'\nsecrets = ['x']\n",
     "secrets must be a list of lists of strings"},
    {"secrets that are no strings", "[[allow]]\nplugin = 'a.in'\nsecrets = [[5]]\n",
     "secrets must be a list of lists of strings"},
    {"secrets that are no list", "[[allow]]\nplugin = 'a.in'\nsecrets = 'x'\n",
     "secrets must be a list of lists of strings"},
};

static void bad_rules_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad_rules); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct plugin_rules *rules;
        if (rules_from(&a, bad_rules[i].text, &rules, &err) || !strstr(err_msg(&err), bad_rules[i].err))
            fail_msg("%s: wanted \"%s\", got \"%s\"", bad_rules[i].name, bad_rules[i].err, err_msg(&err));
    }
    scoped_arena a = {0};
    scoped_err err = {0};
    struct plugin_rules *rules;
    assert_true(plugin_rules_new(&a, NULL, &rules, &err));
    assert_int_equal(rules->allow.len + rules->disallow.len, 0);
}

/* A server entry, one that is asked for, and whether the first covers the second. */
static const struct {
    const char *name, *rule, *plugin, *method, *arguments, *secrets;
    int is_read;
    bool covered;
} coverage[] = {
    {"the same", "method = 'm'\n", "a.in", "m", "", "", -1, true},
    {"another plugin", "method = 'm'\n", "b.in", "m", "", "", -1, false},
    {"an account is another plugin", "method = 'm'\n", "a.in#x", "m", "", "", -1, false},
    {"another method", "method = 'm'\n", "a.in", "mm", "", "", -1, false},
    {"a method by regex", "method = 'regex:m.*'\n", "a.in", "mm", "", "", -1, true},
    {"a method's regex is of the whole", "method = 'regex:m'\n", "a.in", "mm", "", "", -1, false},
    {"more arguments are asked for", "method = 'm'\narguments = ['x']\n", "a.in", "m", "x;y", "", -1, true},
    {"fewer arguments are asked for", "method = 'm'\narguments = ['x']\n", "a.in", "m", "", "", -1, false},
    {"an argument by regex", "method = 'm'\narguments = ['regex:^x']\n", "a.in", "m", "xyz", "", -1, true},
    {"a read that the server does not call one", "method = 'm'\n", "a.in", "m", "", "", 1, false},
    {"a read that it calls one", "method = 'm'\nis_read = true\n", "a.in", "m", "", "", 1, true},
    {"secrets", "method = 'm'\n", "a.in", "m", "", "k", -1, false},
    {"secrets that are granted", "method = 'm'\nsecrets = [['k']]\n", "a.in", "m", "", "k", -1, true},
    {"other secrets than are granted", "method = 'm'\nsecrets = [['l']]\n", "a.in", "m", "", "k", -1, false},
    {"a permit that is dropped", "method = 'm'\npermit = ['p']\n", "a.in", "m", "", "", -1, false},
};

static void the_servers_list_covers(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(coverage); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct plugin_rules *rules;
        const char *text = str_z(&a, str_printf(&a, "[[allow]]\nplugin = 'a.in'\n%s", coverage[i].rule));
        if (!rules_from(&a, text, &rules, &err))
            fail_msg("%s", err_msg(&err));
        struct plugin_permission p =
            permission(&a, coverage[i].plugin, coverage[i].method, coverage[i].arguments);
        struct str_list secrets = {0}, none = {0};
        p.is_read = coverage[i].is_read;
        if (*coverage[i].secrets) {
            str_list_add(&a, &secrets, str_from(coverage[i].secrets));
            p.secrets = &secrets;
            p.n_secrets = 1;
        }
        if (plugin_is_approved(rules, &none, &p, 1, &none, NULL, 0) != coverage[i].covered)
            fail_msg("%s: wanted %d", coverage[i].name, coverage[i].covered);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_match_their_patterns),
        cmocka_unit_test(bad_rules_are_refused),
        cmocka_unit_test(the_servers_list_covers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
