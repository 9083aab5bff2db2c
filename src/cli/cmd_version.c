/* cli/cmd_version.c: `openrun version`: the versions of an app.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, "requires one argument: <appPath>", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/version"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_versions, json_get(reply, "versions"), format, false);
    return true;
}

static bool run_files(struct cli *c, struct err *err)
{
    enum format format;
    size_t n = c->args->words.len;
    if (n < 1 || n > 2)
        return err_set(err, ERR_INVALID, "requires argument: <appPath> [<version>]");
    if (!format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/version/files"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    if (n == 2)
        call_text(c, &call, "version", arg_word(c, 1));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_files, json_get(reply, "files"), format, false);
    return true;
}

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .words = "<appPath>",
    .summary = "list the versions of an app",
    .flags = list_flags,
    .exec = run_list,
};

static const struct command files_command = {
    .name = "files",
    .words = "<appPath> [<version>]",
    .summary = "list the files of a version, by default the active one",
    .flags = list_flags,
    .exec = run_files,
};

static bool switch_version(struct cli *c, struct str path, struct str version, const char *verb, struct err *err)
{
    struct call call = {.method = "POST", .path = "/version", .is_long = true};
    call_text(c, &call, "appPath", path);
    call_text(c, &call, "version", str_lower(c->arena, version));
    call_bool(c, &call, "approve", args_is_on(c->args, "approve"));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    say(c->out, "%s " STR_FMT " from version %lld to version %lld\n", verb, STR_ARG(path),
        (long long)json_get_int(reply, "from_version", 0), (long long)json_get_int(reply, "to_version", 0));
    print_dry_run(c, reply);
    return true;
}

static bool run_switch(struct cli *c, struct err *err)
{
    return want_words(c, 2, "requires argument: <version> <appPath>", err) && want_result_format(c, err) &&
           switch_version(c, arg_word(c, 1), arg_word(c, 0), "Switched", err);
}

static bool run_revert(struct cli *c, struct err *err)
{
    return want_words(c, 1, "requires argument: <appPath>", err) && want_result_format(c, err) &&
           switch_version(c, arg_word(c, 0), STR("revert"), "Reverted", err);
}

static const struct flag switch_flags[] = {
    {"approve", "a", FLAG_BOOL, NULL, "approve what the version may do beyond what is approved now"},
    FLAG_DRY_RUN,
    FLAG_RESULT_FORMAT,
    FLAG_END,
};

static const struct command switch_command = {
    .name = "switch",
    .words = "<version> <appPath>",
    .summary = "make another version the active one: a number, previous or next",
    .flags = switch_flags,
    .exec = run_switch,
};

static const struct command revert_command = {
    .name = "revert",
    .words = "<appPath>",
    .summary = "go back to the version before the active one",
    .flags = switch_flags,
    .exec = run_revert,
};

static const struct command *const commands[] = {&list_command, &files_command, &switch_command, &revert_command, NULL};

const struct command cmd_version = {.name = "version", .summary = "manage the versions of an app", .subs = commands};
