/* cli/cmd_webhook.c: `openrun app-webhook`: URLs that reload or promote an app when a forge calls them.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const char two_args[] = "requires two arguments: <webhookType> <appPath>";

static bool check_type(struct str type, struct err *err)
{
    return str_eq(type, STR("reload")) || str_eq(type, STR("reload_promote")) || str_eq(type, STR("promote")) ||
           err_set(err, ERR_INVALID, "unknown webhook type " STR_FMT ": expected reload, reload_promote or promote",
                   STR_ARG(type));
}

static json_t *call_token(struct cli *c, const char *method, struct err *err)
{
    if (!want_words(c, 2, two_args, err) || !want_result_format(c, err) || !check_type(arg_word(c, 0), err))
        return NULL;
    struct call call = {.method = method, .path = "/app_webhook_token"};
    call_text(c, &call, "webhookType", arg_word(c, 0));
    call_text(c, &call, "appPath", arg_word(c, 1));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    return call_server(c, &call, err);
}

static bool run_create(struct cli *c, struct err *err)
{
    json_t *reply = call_token(c, "POST", err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    say(c->out, "Token: " STR_FMT "\nUrl  : " STR_FMT "\n", STR_ARG(json_str(json_at(reply, "token.token"))),
        STR_ARG(json_str(json_at(reply, "token.url"))));
    print_dry_run(c, reply);
    return true;
}

static bool run_delete(struct cli *c, struct err *err)
{
    json_t *reply = call_token(c, "DELETE", err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    say(c->out, "Token deleted.\n");
    print_dry_run(c, reply);
    return true;
}

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    if (!want_words(c, 1, "requires one argument: <appPath>", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/app_webhook_token"};
    call_text(c, &call, "appPath", arg_word(c, 0));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_webhooks, json_get(reply, "tokens"), format, true);
    return true;
}

/* ---- the list ---- */

static const struct field record_webhook[] = {
    {"type", FIELD_STR},
    {"url", FIELD_STR},
    {"token", FIELD_STR},
    {NULL},
};
static const struct column columns[] = {
    {"Type", 15, .path = "type"},
    {"Token", 40, .path = "token"},
    {"Url", 0, .path = "url"},
    {NULL},
};
static const struct csv_column csv[] = {{.path = "type"}, {.path = "token"}, {.path = "url"}, {NULL}};
const struct listing listing_webhooks = {
    .basic = columns, .table = columns, .csv = csv, .record = record_webhook, .has_gap = true};

/* ---- the commands ---- */

static const struct flag list_flags[] = {FLAG_FORMAT, FLAG_END};
static const struct flag one_flags[] = {FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};

static const struct command table[] = {
    {.name = "list",
     .words = "<appPath>",
     .summary = "list the webhooks of an app, with their tokens",
     .flags = list_flags,
     .exec = run_list},
    {.name = "create",
     .words = "<webhookType> <appPath>",
     .summary = "make a webhook: reload, reload_promote or promote",
     .about = "   GitHub, GitLab, Gitea and Forgejo take the token as their secret; scripts send it as\n"
              "   \"Authorization: Bearer <token>\". An existing token of the same type is replaced.\n",
     .flags = one_flags,
     .exec = run_create},
    {.name = "delete",
     .words = "<webhookType> <appPath>",
     .summary = "delete a webhook",
     .flags = one_flags,
     .exec = run_delete},
};
static const struct command *const commands[] = {&table[0], &table[1], &table[2], NULL};
const struct command cmd_app_webhook = {.name = "app-webhook", .summary = "manage webhooks of apps", .subs = commands};
