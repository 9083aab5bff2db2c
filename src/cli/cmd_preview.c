/* cli/cmd_preview.c: `openrun preview`: a commit of an app beside it, to be looked at.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const char *approval_text(struct cli *c, bool succeeded, bool needs_approval)
{
    bool approves = args_is_on(c->args, "approve");
    const char *tail = !needs_approval ? ". No approval required"
                       : approves      ? ". Permissions have been approved"
                                       : ", permissions need to be approved, add the --approve option";
    return str_z(c->arena, str_printf(c->arena, "App creation %s%s", succeeded ? "succeeded" : "failed", tail));
}

static void print_created_preview(struct cli *c, const json_t *reply)
{
    const json_t *result = json_get(reply, "approve_result");
    struct str http = json_get_str(reply, "http_url", (struct str){0});
    struct str https = json_get_str(reply, "https_url", (struct str){0});
    say(c->out, "App audit results " STR_FMT " - " STR_FMT "\n",
        STR_ARG(app_path_of(c, json_get(result, "app_path_domain"))),
        STR_ARG(json_get_str(result, "id", (struct str){0})));
    print_approval(c, result);
    say(c->out, "%s\n", approval_text(c, json_get_bool(reply, "success", false),
                                      json_get_bool(result, "needs_approval", false)));
    if (http.len > 0)
        say(c->out, "\n HTTP Url: " STR_FMT "\n", STR_ARG(http));
    if (https.len > 0)
        say(c->out, "HTTPS Url: " STR_FMT "\n", STR_ARG(https));
    print_dry_run(c, reply);
}

static bool run_create(struct cli *c, struct err *err)
{
    if (!want_words(c, 2, "requires two arguments: <gitCommitId> <appPath>", err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/preview", .is_long = true};
    call_text(c, &call, "commitId", arg_word(c, 0));
    call_text(c, &call, "appPath", arg_word(c, 1));
    call_bool(c, &call, "approve", args_is_on(c->args, "approve"));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (!print_result_json(c, reply))
        print_created_preview(c, reply);
    return json_get_bool(reply, "success", false) || err_set(err, ERR_INVALID, "preview app creation failed");
}

static const struct flag create_flags[] = {
    {"approve", "a", FLAG_BOOL, NULL, "approve the permissions that the commit asks for"},
    FLAG_DRY_RUN,
    FLAG_RESULT_FORMAT,
    FLAG_END,
};

static const struct command create_command = {
    .name = "create",
    .words = "<gitCommitId> <appPath>",
    .summary = "make a preview app of a commit, branch or tag of a production app's repository",
    .flags = create_flags,
    .exec = run_create,
};

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (c->args->words.len > 1)
        return err_set(err, ERR_INVALID, "expected at most one argument: [<appPath>]");
    if (!format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/preview"};
    if (c->args->words.len == 1)
        call_text(c, &call, "appPath", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_previews, json_get(reply, "previews"), format, false);
    return true;
}

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .words = "[<appPath>]",
    .summary = "list the previews, all or of one app",
    .flags = list_flags,
    .exec = run_list,
};

static bool run_delete(struct cli *c, struct err *err)
{
    if (!want_words(c, 2, "requires two arguments: <gitCommitId> <appPath>", err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "DELETE", .path = "/preview", .is_long = true};
    call_text(c, &call, "commitId", arg_word(c, 0));
    call_text(c, &call, "appPath", arg_word(c, 1));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    print_deleted(c, reply, "preview");
    print_dry_run(c, reply);
    return true;
}

static const struct flag delete_flags[] = {FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command delete_command = {
    .name = "delete",
    .words = "<gitCommitId> <appPath>",
    .summary = "delete the preview of a commit; its first digits will do",
    .flags = delete_flags,
    .exec = run_delete,
};

static const struct command *const commands[] = {&create_command, &list_command, &delete_command, NULL};

const struct command cmd_preview = {.name = "preview", .summary = "look at commits of an app beside it", .subs = commands};
