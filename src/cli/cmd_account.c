/* cli/cmd_account.c: `openrun account`: which account an app uses for a plugin.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static bool run_link(struct cli *c, struct err *err)
{
    if (!want_words(c, 3, "requires three arguments: <pluginName> <accountName> <appPathGlob>", err) ||
        !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/link_account", .is_long = true};
    call_text(c, &call, "plugin", arg_word(c, 0));
    call_text(c, &call, "account", arg_word(c, 1));
    call_text(c, &call, "appPathGlob", arg_word(c, 2));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    return call_staged(c, &call, "Linked app", "linked", err);
}

static const struct flag link_flags[] = {FLAG_PROMOTE, FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command link_command = {
    .name = "link",
    .words = "<pluginName> <accountName> <appPathGlob>",
    .summary = "set the account that apps use for a plugin; - for none",
    .flags = link_flags,
    .exec = run_link,
};

static bool run_list(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, "requires one argument: <appPath>", err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "GET", .path = "/app"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    scoped_json *app = record_shape(record_app, json_get(reply, "app_entry"), false);
    json_t *accounts = json_at(app, "metadata.accounts");
    if (print_result_json(c, accounts))
        return true;
    struct str path = app_path_of(c, app), id = json_str(json_at(app, "id"));
    say(c->out, "%s for app " STR_FMT " : " STR_FMT "\n",
        json_array_size(accounts) > 0 ? "Account links" : "No account links", STR_ARG(path), STR_ARG(id));
    for (size_t i = 0; i < json_array_size(accounts); i++) {
        const json_t *account = json_array_get(accounts, i);
        say(c->out, "  " STR_FMT ": " STR_FMT "\n", STR_ARG(json_str(json_at(account, "plugin"))),
            STR_ARG(json_str(json_at(account, "account_name"))));
    }
    return true;
}

static const struct flag list_flags[] = {FLAG_RESULT_FORMAT, FLAG_DRY_RUN, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .words = "<appPath>",
    .summary = "list the accounts of an app",
    .flags = list_flags,
    .exec = run_list,
};

static const struct command *const commands[] = {&link_command, &list_command, NULL};

const struct command cmd_account = {.name = "account", .summary = "manage the plugin accounts of apps", .subs = commands};
