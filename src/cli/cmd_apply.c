/* cli/cmd_apply.c: `openrun apply`, `plan` and `diff`: declarative files, what they would change, and what
 * staging has that production has not.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

#include <errno.h>
#include <unistd.h>

enum { DIFFERENT = 2 }; /* exit code of --detailed-exitcode when there are differences */

#define FLAG_DETAILED                                                                                        \
    {                                                                                                        \
        "detailed-exitcode", NULL, FLAG_BOOL, NULL,                                                          \
            "exit with 2 if there are differences, 0 if there are none"                                      \
    }
#define FLAGS_OF_FILE                                                                                        \
    {"dev", "d", FLAG_BOOL, NULL, "create apps in development mode"},                                        \
        {"branch", "b", FLAG_STR, "main", "git branch of the file"},                                         \
        {"commit", "c", FLAG_STR, NULL, "git commit of the file"},                                           \
        {"git-auth", "g", FLAG_STR, NULL, "git_auth entry for the file"},                                    \
        {"approve", "a", FLAG_BOOL, NULL, "approve the permissions that apps ask for"},                      \
        {"reload", "r", FLAG_STR, "matched",                                                                 \
         "which apps to reload: none, updated (those whose configuration changes) or matched (all in the "   \
         "file)"},                                                                                           \
        FLAG_PROMOTE,                                                                                        \
        {"verify", NULL, FLAG_BOOL, NULL, "start new versions' containers before the change is made"},       \
        {"clobber", NULL, FLAG_BOOL, NULL, "overwrite changes that were made by other commands"},            \
    {                                                                                                        \
        "force-reload", "f", FLAG_BOOL, NULL, "reload even if sources have not changed"                      \
    }

#define FILE_ABOUT                                                                                           \
    "   <filePath> is a file, a glob, or a git URL with a file or glob inside: "                             \
    "github.com/org/repo/apps.star,\n"                                                                       \
    "   https://git.example.com/group/repo//env/*.star. <appPathGlob> takes some of its apps; all if not "   \
    "given.\n"

/* ---- the file ---- */

bool want_reload_mode(const struct cli *c, struct err *err)
{
    static const char *const modes[] = {"none", "updated", "matched"};
    struct str mode = args_text(c->args, "reload");
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (str_eq_z(mode, modes[i]))
            return true;
    return err_set(err, ERR_INVALID,
                   "invalid reload option \"" STR_FMT "\": valid options are none, updated, matched",
                   STR_ARG(mode));
}

static bool is_glob(struct str path)
{
    for (size_t i = 0; i < path.len; i++)
        if (strchr("*?[{", path.ptr[i]))
            return true;
    return false;
}

bool resolve_apply_path(struct cli *c, struct str text, struct str *out, struct err *err)
{
    if (!is_glob(text) || is_remote_source(text))
        return resolve_source(c, text, out, err);
    if (path_is_abs(text)) {
        *out = path_clean(c->arena, text);
        return true;
    }
    scoped_free char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return err_set_errno(err, errno, "finding out the current directory");
    *out = path_join(c->arena, str_from(cwd), text);
    return true;
}

/* The reply of an apply with the flags of this command. NULL on failure. */
static json_t *call_apply(struct cli *c, bool is_dry_run, struct err *err)
{
    size_t n = c->args->words.len;
    struct str path;
    if (n < 1 || n > 2) {
        err_set(err, ERR_INVALID, "expected one or two arguments: <filePath> [<appPathGlob>]");
        return NULL;
    }
    if (!want_result_format(c, err) || !want_reload_mode(c, err) ||
        !resolve_apply_path(c, arg_word(c, 0), &path, err))
        return NULL;
    struct call call = {.method = "POST", .path = "/apply", .is_long = true};
    call_text(c, &call, "applyPath", path);
    call_text(c, &call, "appPathGlob", n == 2 ? arg_word(c, 1) : STR("all"));
    call_bool(c, &call, "approve", args_is_on(c->args, "approve"));
    call_bool(c, &call, "dryRun", is_dry_run);
    call_text(c, &call, "branch", args_text(c->args, "branch"));
    call_text(c, &call, "commit", args_text(c->args, "commit"));
    call_text(c, &call, "gitAuth", args_text(c->args, "git-auth"));
    call_text(c, &call, "reload", args_text(c->args, "reload"));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    call_bool(c, &call, "verify", args_is_on(c->args, "verify"));
    call_bool(c, &call, "clobber", args_is_on(c->args, "clobber"));
    call_bool(c, &call, "forceReload", args_is_on(c->args, "force-reload"));
    call_bool(c, &call, "dev", args_is_on(c->args, "dev"));
    json_t *reply = call_server(c, &call, err);
    const json_t *warnings = json_get(reply, "warnings");
    for (size_t i = 0; i < json_array_size(warnings); i++)
        say(c->err, "warning: " STR_FMT "\n", STR_ARG(json_str(json_array_get(warnings, i))));
    return reply;
}

/* ---- apply ---- */

static bool run_apply(struct cli *c, struct err *err)
{
    json_t *reply = call_apply(c, args_is_on(c->args, "dry-run"), err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    print_applied(c, reply, args_is_on(c->args, "approve"));
    print_dry_run(c, reply);
    return true;
}

static const struct flag apply_flags[] = {FLAGS_OF_FILE, FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

const struct command cmd_apply = {
    .name = "apply",
    .words = "<filePath> [<appPathGlob>]",
    .summary = "make apps what a declarative file says",
    .about = FILE_ABOUT,
    .flags = apply_flags,
    .exec = run_apply,
};

/* ---- differences, as text ---- */

static const char *colour(const struct cli *c, const char *code)
{
    return c->has_colour ? code : "";
}
#define RED   "\033[31m"
#define GREEN "\033[32m"
#define AMBER "\033[33m"
#define PLAIN "\033[0m"

static struct str value_text(struct cli *c, const json_t *v)
{
    return !v || json_is_null(v) ? STR("(none)") : json_text(c->arena, v, JSON_STYLE_COMPACT);
}

static void print_field(struct cli *c, const json_t *field)
{
    struct str name = json_get_str(field, "field", (struct str){0});
    struct str old = value_text(c, json_get(field, "old")), now = value_text(c, json_get(field, "new"));
    bool is_new = !json_get(field, "old");
    if (is_new)
        say(c->out, "    " STR_FMT ": " STR_FMT "\n", STR_ARG(name), STR_ARG(now));
    else if (str_eq(old, now)) /* secrets look the same */
        say(c->out, "    " STR_FMT ": " STR_FMT ", another one\n", STR_ARG(name), STR_ARG(now));
    else
        say(c->out, "    " STR_FMT ": " STR_FMT " -> " STR_FMT "\n", STR_ARG(name), STR_ARG(old),
            STR_ARG(now));
}

static void print_file_names(struct cli *c, const char *mark, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        say(c->out, "    %s " STR_FMT "\n", mark, STR_ARG(json_str(json_array_get(names, i))));
}

/* ---- plan ---- */

static void print_change(struct cli *c, const json_t *change)
{
    struct str action = json_get_str(change, "action", (struct str){0});
    bool is_new = str_eq(action, STR("create"));
    bool is_promoted = json_get_bool(change, "promoted", false);
    const json_t *fields = json_get(change, "fields"), *files = json_get(change, "files");
    fputs(colour(c, is_new ? GREEN : AMBER), c->out);
    say(c->out, "%s " STR_FMT " (" STR_FMT "%s)", is_new ? "+" : "~",
        STR_ARG(app_path_of(c, json_get(change, "app_path_domain"))), STR_ARG(action),
        is_new        ? ""
        : is_promoted ? ", promoted"
                      : ", staging only");
    fprintf(c->out, "%s\n", colour(c, PLAIN));
    for (size_t i = 0; i < json_array_size(fields); i++)
        if (!str_eq(json_get_str(json_array_get(fields, i), "field", (struct str){0}), STR("git_message")))
            print_field(c, json_array_get(fields, i));
    if (is_new) {
        say(c->out, "    files: %zu\n", json_array_size(json_get(files, "added")));
        return;
    }
    print_file_names(c, "+", json_get(files, "added"));
    print_file_names(c, "~", json_get(files, "changed"));
    print_file_names(c, "-", json_get(files, "removed"));
}

static bool run_plan(struct cli *c, struct err *err)
{
    json_t *reply = call_apply(c, true, err);
    if (!reply)
        return false;
    const json_t *changes = json_get(reply, "changes");
    size_t n = json_array_size(changes), created = json_array_size(json_get(reply, "create_results"));
    if (n > 0 && args_is_on(c->args, "detailed-exitcode"))
        c->exit_code = DIFFERENT;
    if (print_result_json(c, reply))
        return true;
    for (size_t i = 0; i < n; i++)
        print_change(c, json_array_get(changes, i));
    if (n > 0)
        say(c->out, "\n");
    say(c->out, "%zu app(s) to create, %zu app(s) to change, %zu app(s) unchanged.\n", created, n - created,
        json_array_size(json_get(reply, "filtered_apps")) - n);
    return true;
}

static const struct flag plan_flags[] = {FLAGS_OF_FILE, FLAG_DETAILED, FLAG_RESULT_FORMAT, FLAG_END};

const struct command cmd_plan = {
    .name = "plan",
    .words = "<filePath> [<appPathGlob>]",
    .summary = "show what apply would change, and change nothing",
    .about = FILE_ABOUT,
    .flags = plan_flags,
    .exec = run_plan,
};

/* ---- diff ---- */

static void print_diff_text(struct cli *c, struct str text)
{
    struct str line;
    while (str_next(&text, '\n', &line)) {
        if (line.len == 0 && text.ptr == NULL)
            return; /* after the last line feed */
        const char *code = line.len == 0        ? ""
                           : line.ptr[0] == '+' ? GREEN
                           : line.ptr[0] == '-' ? RED
                           : line.ptr[0] == '@' ? AMBER
                                                : "";
        bool has = *code && c->has_colour;
        fputs(has ? code : "", c->out);
        say(c->out, STR_FMT, STR_ARG(line));
        fputs(has ? PLAIN "\n" : "\n", c->out);
    }
}

static bool run_diff(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, "requires one argument: <appPath>", err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "GET", .path = "/diff"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    bool is_different = json_get_bool(reply, "is_different", false);
    if (is_different && args_is_on(c->args, "detailed-exitcode"))
        c->exit_code = DIFFERENT;
    if (print_result_json(c, reply))
        return true;
    const json_t *fields = json_get(reply, "fields"), *files = json_get(reply, "files");
    struct str path = app_path_of(c, json_get(reply, "app_path_domain"));
    long long prod = json_get_int(reply, "version", 0), stage = json_get_int(reply, "stage_version", 0);
    if (!is_different) {
        say(c->out, "Staging and production of " STR_FMT " are the same (version %lld and %lld).\n",
            STR_ARG(path), stage, prod);
        return true;
    }
    say(c->out, STR_FMT ": production (version %lld) -> staging (version %lld)\n", STR_ARG(path), prod,
        stage);
    for (size_t i = 0; i < json_array_size(fields); i++)
        print_field(c, json_array_get(fields, i));
    for (size_t i = 0; i < json_array_size(files); i++)
        print_diff_text(c, json_get_str(json_array_get(files, i), "diff", (struct str){0}));
    return true;
}

static const struct flag diff_flags[] = {FLAG_DETAILED, FLAG_RESULT_FORMAT, FLAG_END};

const struct command cmd_diff = {
    .name = "diff",
    .words = "<appPath>",
    .summary = "show what a promote would change: staging against production",
    .flags = diff_flags,
    .exec = run_diff,
};
