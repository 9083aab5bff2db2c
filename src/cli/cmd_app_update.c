/* cli/cmd_app_update.c: `openrun app settings` (at once) and `openrun app update` (staged).
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

/* On the wire: leave as it is. */
#define UNDEFINED "<OPENRUN_UNDEFINED>"

/* ---- settings ---- */

enum { SETTING_UNDEFINED, SETTING_TRUE, SETTING_FALSE };

static bool run_setting(struct cli *c, const char *name, const char *member, struct err *err)
{
    bool value;
    if (!want_words(c, 2, "requires two arguments: <value> <appPathGlob>", err) || !want_result_format(c, err))
        return false;
    if (!bool_parse(arg_word(c, 0), &value))
        return err_set(err, ERR_INVALID, "invalid value " STR_FMT " for %s, expected true or false",
                       STR_ARG(arg_word(c, 0)), name);
    scoped_json *request = json_object();
    json_set_z(request, "authn_type", UNDEFINED);
    json_set_z(request, "git_auth_name", UNDEFINED);
    json_set_z(request, "spec", UNDEFINED);
    json_set_int(request, "stage_write_access", SETTING_UNDEFINED);
    json_set_int(request, "preview_write_access", SETTING_UNDEFINED);
    json_set_int(request, member, value ? SETTING_TRUE : SETTING_FALSE);
    struct call call = {.method = "POST", .path = "/app_settings", .body = request, .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, 1));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    const json_t *updated = json_get(reply, "update_results");
    for (size_t i = 0; i < json_array_size(updated); i++)
        say(c->out, "Updating " STR_FMT "\n", STR_ARG(app_path_of(c, json_array_get(updated, i))));
    say(c->out, "%zu app(s) updated.\n", json_array_size(updated));
    print_dry_run(c, reply);
    return true;
}

static bool run_stage_write(struct cli *c, struct err *err)
{
    return run_setting(c, "stage-write-access", "stage_write_access", err);
}

static bool run_preview_write(struct cli *c, struct err *err)
{
    return run_setting(c, "preview-write-access", "preview_write_access", err);
}

static const struct flag setting_flags[] = {FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command stage_write_command = {
    .name = "stage-write-access",
    .words = "<true|false> <appPathGlob>",
    .summary = "whether staging apps may call plugin functions that write",
    .flags = setting_flags,
    .exec = run_stage_write,
};

static const struct command preview_write_command = {
    .name = "preview-write-access",
    .words = "<true|false> <appPathGlob>",
    .summary = "whether preview apps may call plugin functions that write",
    .flags = setting_flags,
    .exec = run_preview_write,
};

static const struct command *const setting_commands[] = {&stage_write_command, &preview_write_command, NULL};

const struct command cmd_app_settings = {
    .name = "settings", .summary = "change settings of apps, at once and without staging", .subs = setting_commands};

/* ---- update ---- */

static bool update_metadata(struct cli *c, struct str spec, const char *config_type, struct str_list entries,
                            struct err *err)
{
    scoped_json *request = json_object();
    json_set_str(request, "spec", spec);
    json_set_z(request, "config_type", config_type);
    json_set_list(request, "config_entries", &entries);
    struct call call = {.method = "POST", .path = "/app_metadata", .body = request, .is_long = true};
    call_text(c, &call, "appPathGlob", arg_word(c, c->args->words.len - 1));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    call_bool(c, &call, "promote", args_is_on(c->args, "promote"));
    return call_staged(c, &call, "Updated", "updated", err);
}

static bool run_spec(struct cli *c, struct err *err)
{
    if (!want_words(c, 2, "requires two arguments: <value> <appPathGlob>", err) || !want_result_format(c, err))
        return false;
    return update_metadata(c, arg_word(c, 0), UNDEFINED, (struct str_list){0}, err);
}

/* All words but the last are entries of this type. */
static bool update_entries(struct cli *c, const char *config_type, struct err *err)
{
    const struct str_list *words = &c->args->words;
    if (words->len < 2)
        return err_set(err, ERR_INVALID,
                       "requires at least two arguments: key=value [key=value ...] <appPathGlob>");
    if (!want_result_format(c, err))
        return false;
    return update_metadata(c, STR(UNDEFINED), config_type, (struct str_list){words->items, words->len - 1, words->len - 1},
                           err);
}

static bool run_container_option(struct cli *c, struct err *err)
{
    return update_entries(c, "container_options", err);
}

static bool run_container_arg(struct cli *c, struct err *err)
{
    return update_entries(c, "container_args", err);
}

static bool run_container_volumes(struct cli *c, struct err *err)
{
    const struct str_list *words = &c->args->words;
    if (words->len >= 2 && !check_volumes(words->items, words->len - 1, err))
        return false;
    return update_entries(c, "container_volumes", err);
}

static bool run_app_config(struct cli *c, struct err *err)
{
    return update_entries(c, "app_config", err);
}

static bool update_one(struct cli *c, const char *config_type, struct err *err)
{
    if (c->args->words.len > 2)
        return err_set(err, ERR_INVALID, "requires two arguments: <value> <appPathGlob>");
    return update_entries(c, config_type, err);
}

static bool run_auth(struct cli *c, struct err *err)
{
    return update_one(c, "auth", err);
}

static bool run_git_auth(struct cli *c, struct err *err)
{
    return update_one(c, "git_auth", err);
}

static bool run_bindings(struct cli *c, struct err *err)
{
    return update_entries(c, "bindings", err);
}

static const struct flag update_flags[] = {FLAG_PROMOTE, FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command update_table[] = {
    {"spec", NULL, "<spec or -> <appPathGlob>", "change the spec; - clears it", NULL, update_flags, NULL, run_spec},
    {"container-option", "copt", "<key=value>... <appPathGlob>", "change options of the container; key=- removes one",
     NULL, update_flags, NULL, run_container_option},
    {"container-arg", "carg", "<key=value>... <appPathGlob>", "change arguments of the image build; key=- removes one",
     NULL, update_flags, NULL, run_container_arg},
    {"container-volumes", "cvol", "<volume>... <appPathGlob>", "replace the volumes of the container", NULL,
     update_flags, NULL, run_container_volumes},
    {"app-config", "conf", "<key=value>... <appPathGlob>", "change app configuration (TOML values); key=- removes one",
     NULL, update_flags, NULL, run_app_config},
    {"auth", NULL, "<value> <appPathGlob>", "change who may open the app", NULL, update_flags, NULL, run_auth},
    {"git-auth", NULL, "<value> <appPathGlob>", "change the git_auth entry", NULL, update_flags, NULL, run_git_auth},
    {"bindings", "bind", "<path>... <appPathGlob>", "replace the service bindings; a single - clears them", NULL,
     update_flags, NULL, run_bindings},
};

static const struct command *const update_commands[] = {
    &update_table[0], &update_table[1], &update_table[2], &update_table[3], &update_table[4],
    &update_table[5], &update_table[6], &update_table[7], NULL,
};

const struct command cmd_app_update = {
    .name = "update", .summary = "change the metadata of apps, in staging until promoted", .subs = update_commands};
