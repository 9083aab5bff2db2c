/* tests/cli/test_args.c: the rules of the command line.
 * SPDX-License-Identifier: Apache-2.0 */
#include "args.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool nothing(struct cli *c, struct err *err)
{
    return true;
}

static const struct flag make_flags[] = {
    {"approve", "a", FLAG_BOOL}, {"branch", "b", FLAG_STR, "main"}, {"minutes", "s", FLAG_INT, "0"},
    {"param", "p", FLAG_LIST},   {"bind", "binding bindings", FLAG_LIST}, {NULL},
};
static const struct command make = {.name = "make", .aliases = "mk", .flags = make_flags, .exec = nothing};
static const struct command talk = {.name = "talk", .flags = make_flags, .exec = nothing, .takes_text = true};
static const struct command raw = {.name = "raw", .exec = nothing, .is_raw = true};
static const struct command *const thing_commands[] = {&make, &talk, NULL};
static const struct command thing = {.name = "thing", .subs = thing_commands};
static const struct command *const root_commands[] = {&thing, &raw, NULL};
static const struct flag root_flags[] = {
    {"config-file", "c", FLAG_STR}, {"as", NULL, FLAG_STR}, {"version", "v", FLAG_BOOL}, {NULL}};
static const struct command root = {.name = "openrun", .flags = root_flags, .subs = root_commands};

#define ARGV_MAX 16

/* Splits `line` at spaces; "''" is an empty token. */
static int split(struct arena *a, const char *line, char **argv)
{
    struct str rest = str_from(line), part;
    int n = 0;
    while (str_next(&rest, ' ', &part))
        argv[n++] = str_z(a, str_eq(part, STR("''")) ? (struct str){0} : part);
    return n;
}

/* Everything that parsing found out, as text. */
static struct str show(struct arena *a, const struct args *args)
{
    struct str out = args_path(a, args);
    const struct flag_value *sets[] = {args->global, args->own};
    for (size_t i = 0; i < 2; i++) {
        for (const struct flag_value *v = sets[i]; v && v->flag; v++) {
            if (!v->form)
                continue;
            out = str_printf(a, STR_FMT " %s", STR_ARG(out), v->flag->name);
            if (v->flag->kind == FLAG_BOOL)
                out = str_printf(a, STR_FMT "=%d", STR_ARG(out), v->is_on);
            else if (v->flag->kind == FLAG_INT)
                out = str_printf(a, STR_FMT "=%lld", STR_ARG(out), (long long)v->number);
            else if (v->flag->kind == FLAG_STR)
                out = str_printf(a, STR_FMT "=" STR_FMT, STR_ARG(out), STR_ARG(v->text));
            for (size_t j = 0; j < v->list.len; j++)
                out = str_printf(a, STR_FMT "%c" STR_FMT, STR_ARG(out), j > 0 ? '+' : '=', STR_ARG(v->list.items[j]));
        }
    }
    for (size_t i = 0; i < args->words.len; i++)
        out = str_printf(a, STR_FMT " [" STR_FMT "]", STR_ARG(out), STR_ARG(args->words.items[i]));
    return args->wants_help ? str_printf(a, STR_FMT " HELP", STR_ARG(out)) : out;
}

#define USAGE      "\nrun 'openrun thing make --help' for usage"
#define ROOT_USAGE "\nrun 'openrun --help' for usage"

static const struct {
    const char *name, *line, *want, *error;
} cases[] = {
    {"no command", "openrun", "openrun", NULL},
    {"a command by name", "openrun thing make x", "openrun thing make [x]", NULL},
    {"a command by alias", "openrun thing mk x", "openrun thing make [x]", NULL},
    {"root flags come first", "openrun --as u:v thing make", "openrun thing make as=u:v", NULL},
    {"a short root flag", "openrun -c f thing make", "openrun thing make config-file=f", NULL},
    {"long root flags may follow the command", "openrun thing make x --as u:v", "openrun thing make as=u:v [x]", NULL},
    {"short root flags may not", "openrun thing make -c f", NULL,
     "flag provided but not defined: -c" USAGE},
    {"flags before words", "openrun thing make --approve -b dev x y", "openrun thing make approve=1 branch=dev [x] [y]",
     NULL},
    {"flags between and after words", "openrun thing make x --approve y -b dev",
     "openrun thing make approve=1 branch=dev [x] [y]", NULL},
    {"one dash or two are the same", "openrun thing make -approve --b dev", "openrun thing make approve=1 branch=dev",
     NULL},
    {"no clusters", "openrun thing make -ab x", NULL, "flag provided but not defined: -ab (did you mean \"-a\"?)" USAGE},
    {"a value after =", "openrun thing make --branch=a=b", "openrun thing make branch=a=b", NULL},
    {"an empty value after =", "openrun thing make --branch=", "openrun thing make branch=", NULL},
    {"a value that starts with a dash", "openrun thing make --branch --approve", "openrun thing make branch=--approve",
     NULL},
    {"a value is missing at the end", "openrun thing make --branch", NULL, "flag needs an argument: -branch" USAGE},
    {"a value is missing after a word", "openrun thing make x -b", NULL, "flag needs an argument: -b" USAGE},
    {"the last value wins", "openrun thing make -b a -b c", "openrun thing make branch=c", NULL},
    {"a bool with a value", "openrun thing make --approve=F", "openrun thing make approve=0", NULL},
    {"a bool never takes the next token", "openrun thing make --approve false", "openrun thing make approve=1 [false]",
     NULL},
    {"a bool with a bad value", "openrun thing make -a=maybe", NULL,
     "invalid boolean value \"maybe\" for -a: parse error" USAGE},
    {"an integer", "openrun thing make -s 15", "openrun thing make minutes=15", NULL},
    {"a negative integer", "openrun thing make -s -15", "openrun thing make minutes=-15", NULL},
    {"no integer", "openrun thing make -s x", NULL, "invalid value \"x\" for flag -s: parse error" USAGE},
    {"an integer too large", "openrun thing make -s 99999999999999999999", NULL,
     "invalid value \"99999999999999999999\" for flag -s: parse error" USAGE},
    {"a list by repetition, never split", "openrun thing make -p a,b -p c", "openrun thing make param=a,b+c", NULL},
    {"a list may mix its names", "openrun thing make --bind a --binding b --bindings c",
     "openrun thing make bind=a+b+c", NULL},
    {"two forms of one flag", "openrun thing make --branch a -b c", NULL,
     "Cannot use two forms of the same flag: b branch" USAGE},
    {"two forms of one flag, the other way round", "openrun thing make -b a --branch c", NULL,
     "Cannot use two forms of the same flag: b branch" USAGE},
    {"-- ends the flags", "openrun thing make -- --approve -x", "openrun thing make [--approve] [-x]", NULL},
    {"a lone dash is a word", "openrun thing make -", "openrun thing make [-]", NULL},
    {"an empty token is a word", "openrun thing make ''", "openrun thing make []", NULL},
    {"an unknown flag", "openrun thing make --aprove", NULL,
     "flag provided but not defined: -aprove (did you mean \"--approve\"?)" USAGE},
    {"an unknown flag with a value", "openrun thing make --brunch=x", NULL,
     "flag provided but not defined: -brunch (did you mean \"--branch\"?)" USAGE},
    {"an unknown flag like nothing", "openrun thing make -9", NULL, "flag provided but not defined: -9" USAGE},
    {"an unknown short token after a word is a word", "openrun thing make port -5", "openrun thing make [port] [-5]",
     NULL},
    {"an unknown long token after a word is refused", "openrun thing make a=b --promot /x", NULL,
     "flag provided but not defined: -promot (did you mean \"-p\"?)" USAGE},
    {"free text takes unknown long tokens", "openrun thing talk db select --all -a",
     "openrun thing talk approve=1 [db] [select] [--all]", NULL},
    {"an unknown root flag", "openrun --verson", NULL,
     "flag provided but not defined: -verson (did you mean \"--version\"?)" ROOT_USAGE},
    {"an unknown command", "openrun thin", NULL, "unknown command \"thin\". Did you mean \"thing\"?" ROOT_USAGE},
    {"an unknown command of a group", "openrun thing tolk", NULL, "No help topic for 'tolk'. Did you mean \"talk\"?"},
    {"help for the root", "openrun --help", "openrun HELP", NULL},
    {"help for a group", "openrun thing -h", "openrun thing HELP", NULL},
    {"help for a leaf stops there", "openrun thing make -h --nonsense", "openrun thing make HELP", NULL},
    {"the command help", "openrun help thing make", "openrun thing make HELP", NULL},
    {"the command help of a group", "openrun thing h make", "openrun thing make HELP", NULL},
    {"help as a leaf's word is a word", "openrun thing make help", "openrun thing make [help]", NULL},
    {"the version flag", "openrun -v", "openrun version=1", NULL},
    {"a raw command keeps everything", "openrun raw --help -x --", "openrun raw [--help] [-x] [--]", NULL},
};

static void lines_parse_as_specified(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        char *argv[ARGV_MAX];
        struct args args;
        int argc = split(&a, cases[i].line, argv);
        bool ok = args_parse(&a, &root, argc, argv, &args, &err);
        const char *got = ok ? show(&a, &args).ptr : err_msg(&err);
        const char *want = cases[i].want ? cases[i].want : cases[i].error;
        if (ok != (cases[i].want != NULL) || strcmp(got, want) != 0)
            fail_msg("%s: %s\nwant %s\ngot  %s", cases[i].name, cases[i].line, want, got);
    }
}

static void defaults_hold_without_flags(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    char *argv[] = {(char *)"openrun", (char *)"thing", (char *)"make"};
    struct args args;
    assert_true(args_parse(&a, &root, 3, argv, &args, &err));
    assert_true(str_eq(args_text(&args, "branch"), STR("main")));
    assert_false(args_has(&args, "branch"));
    assert_false(args_is_on(&args, "approve"));
    assert_int_equal(args_number(&args, "minutes"), 0);
    assert_int_equal(args_list(&args, "param")->len, 0);
}

static void similarity_is_jaro_winkler(void **state)
{
    static const struct { const char *a, *b; double want; } pairs[] = {
        {"martha", "marhta", 0.9611}, {"dwayne", "duane", 0.84}, {"dixon", "dicksonx", 0.8133},
        {"abc", "abc", 1},            {"abc", "xyz", 0},         {"", "a", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        double got = suggest_similarity(str_from(pairs[i].a), str_from(pairs[i].b));
        if (got < pairs[i].want - 0.0001 || got > pairs[i].want + 0.0001)
            fail_msg("%s, %s: want %f, got %f", pairs[i].a, pairs[i].b, pairs[i].want, got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_parse_as_specified),
        cmocka_unit_test(defaults_hold_without_flags),
        cmocka_unit_test(similarity_is_jaro_winkler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
