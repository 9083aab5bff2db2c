/* cli/cmd_param.c: `openrun param`: the parameters of apps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static bool run_update(struct cli *c, struct err *err)
{
    if (!want_words(c, 3, "requires three arguments: <paramName> <paramValue> <appPathGlob>", err) ||
        !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/update_param", .is_long = true};
    call_text(c, &call, "paramName", arg_word(c, 0));
    call_text(c, &call, "paramValue", arg_word(c, 1));
    call_text(c, &call, "appPathGlob", arg_word(c, 2));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    return call_staged(c, &call, "Updated app", "updated", err);
}

static const struct flag update_flags[] = {FLAG_PROMOTE, FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command update_command = {
    .name = "update",
    .words = "<paramName> <paramValue> <appPathGlob>",
    .summary = "set a parameter of apps; the value - removes it",
    .flags = update_flags,
    .exec = run_update,
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
    scoped_json *app = record_shape(record_app, json_get(reply, "app_entry"), false); /* sorts the parameters */
    json_t *params = json_at(app, "metadata.param_values");
    if (print_result_json(c, params))
        return true;
    struct str path = app_path_of(c, app), id = json_str(json_at(app, "id"));
    say(c->out, "%s for app " STR_FMT " : " STR_FMT "\n",
        json_object_size(params) > 0 ? "Param values" : "No param values", STR_ARG(path), STR_ARG(id));
    for (void *it = json_object_iter(params); it; it = json_object_iter_next(params, it))
        say(c->out, "  %s: " STR_FMT "\n", json_object_iter_key(it), STR_ARG(json_str(json_object_iter_value(it))));
    return true;
}

static const struct flag list_flags[] = {FLAG_RESULT_FORMAT, FLAG_DRY_RUN, FLAG_END};

static const struct command list_command = {
    .name = "list",
    .words = "<appPath>",
    .summary = "list the parameters set for an app",
    .flags = list_flags,
    .exec = run_list,
};

static const struct command *const commands[] = {&update_command, &list_command, NULL};

const struct command cmd_param = {.name = "param", .summary = "manage the parameters of apps", .subs = commands};
