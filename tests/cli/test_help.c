/* tests/cli/test_help.c: help and completion of the real tree.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ARGV_MAX 16

static char *text;
static size_t text_len;

/* What `openrun <line>` prints as help, in `text`. */
static void help_of(const char *line)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    char *argv[ARGV_MAX] = {(char *)"openrun"};
    struct str rest = str_from(line), part;
    int argc = 1;
    while (str_next(&rest, ' ', &part))
        argv[argc++] = str_z(&a, part);
    struct args args;
    if (!args_parse(&a, &cmd_root, argc, argv, &args, &err))
        fail_msg("%s: %s", line, err_msg(&err));
    free(text);
    FILE *out = open_memstream(&text, &text_len);
    print_help(out, &args);
    fclose(out);
}

static int free_text(void **state)
{
    free(text);
    text = NULL;
    return 0;
}

static void want(const char *part)
{
    if (!strstr(text, part))
        fail_msg("missing: %s\nin:\n%s", part, text);
}

static void a_leaf_has_usage_and_aligned_options(void **state)
{
    help_of("version switch --help");
    assert_string_equal(text,
                        "NAME:\n"
                        "   openrun version switch - make another version the active one: a number, previous or next\n"
                        "\n"
                        "USAGE:\n"
                        "   openrun version switch [options] <version> <appPath>\n"
                        "\n"
                        "OPTIONS:\n"
                        "   --approve, -a   approve what the version may do beyond what is approved now (default: false)\n"
                        "   --dry-run       show what would be done, change nothing (default: false)\n"
                        "   --format value  print the reply as json, jsonl or jsonl_pretty\n"
                        "   --help, -h      show help\n");
}

static void a_group_lists_its_commands(void **state)
{
    help_of("param");
    assert_string_equal(text, "NAME:\n"
                              "   openrun param - manage the parameters of apps\n"
                              "\n"
                              "USAGE:\n"
                              "   openrun param command [command options]\n"
                              "\n"
                              "COMMANDS:\n"
                              "   update   set a parameter of apps; the value - removes it\n"
                              "   list     list the parameters set for an app\n"
                              "   help, h  show the commands, or help for one\n"
                              "\n"
                              "OPTIONS:\n"
                              "   --help, -h  show help\n");
}

static void flags_show_aliases_values_and_defaults(void **state)
{
    help_of("app create --help");
    want("   --branch value, -b value ");
    want("git branch (default: \"main\")");
    want("   --container-option value, --copt value ");
    want("(may be repeated)");
    want("   --dev, -d ");
    want("USAGE:\n   openrun app create [options] <app_source_url> <app_path>\n");
}

static void what_comes_later_is_marked(void **state)
{
    help_of("--help");
    want("GLOBAL OPTIONS:\n");
    want("manage secrets (later)\n");
    help_of("server help");
    want("restart the server in place, keeping its listeners (later)\n");
    help_of("replication status --help");
    want("(later: not in this version yet)");
    help_of("app help");
    assert_null(strstr(text, "later"));
}

/* Every command has its help, and no two names of a level, or flags of a command, are the same. */
static void check_names(const struct command *cmd, int depth)
{
    assert_non_null(cmd->summary);
    assert_true(depth < COMMAND_DEPTH_MAX);
    for (const struct flag *f = cmd->flags; f && f->name; f++) {
        assert_non_null(f->help);
        for (const struct flag *g = cmd->flags; g < f; g++)
            for (size_t i = 0; name_at(f->name, f->aliases, i).len > 0; i++)
                for (size_t j = 0; name_at(g->name, g->aliases, j).len > 0; j++)
                    if (str_eq(name_at(f->name, f->aliases, i), name_at(g->name, g->aliases, j)))
                        fail_msg("%s: flags %s and %s share a name", cmd->name, f->name, g->name);
    }
    for (size_t i = 0; cmd->subs && cmd->subs[i]; i++) {
        assert_ptr_equal(command_find(cmd, str_from(cmd->subs[i]->name)), cmd->subs[i]);
        check_names(cmd->subs[i], depth + 1);
    }
}

static void the_tree_is_sound(void **state)
{
    check_names(&cmd_root, 0);
}

static const struct {
    const char *name, *line, *want;
} completions[] = {
    {"commands of a group", "openrun param", "update\nlist\nhelp\nh\n"},
    {"a command with its alias", "openrun pretty-print", ""},
    {"flags after a dash", "openrun server stop -", "--wait\n-w\n--help\n-h\n"},
};

static void completion_lists_candidates(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(completions); i++) {
        scoped_arena a = {0};
        char *argv[ARGV_MAX];
        struct str rest = str_from(completions[i].line), part;
        int argc = 0;
        while (str_next(&rest, ' ', &part))
            argv[argc++] = str_z(&a, part);
        free(text);
        FILE *out = open_memstream(&text, &text_len);
        print_completions(out, &cmd_root, argc, argv);
        fclose(out);
        if (strcmp(text, completions[i].want) != 0)
            fail_msg("%s: got %s", completions[i].name, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_leaf_has_usage_and_aligned_options, free_text),
        cmocka_unit_test_teardown(a_group_lists_its_commands, free_text),
        cmocka_unit_test_teardown(flags_show_aliases_values_and_defaults, free_text),
        cmocka_unit_test_teardown(what_comes_later_is_marked, free_text),
        cmocka_unit_test(the_tree_is_sound),
        cmocka_unit_test_teardown(completion_lists_candidates, free_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
