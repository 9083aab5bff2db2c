/* cli/cmd_sync.c: `openrun sync`: declarative files that are applied again and again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"

static const char one_id[] = "expected one args: <syncId>";

static bool is_reload_option(struct str s)
{
    return str_eq(s, STR("none")) || str_eq(s, STR("updated")) || str_eq(s, STR("matched"));
}

/* A local file as the server needs it. A glob, or a file of another machine, is for the server to find. */
static bool resolve_file(struct cli *c, struct str text, struct str *out, struct err *err)
{
    bool is_glob = false;
    for (size_t i = 0; i < text.len; i++)
        is_glob |= strchr("*?[{", text.ptr[i]) && text.ptr[i] != '\0';
    if (!is_glob || is_remote_source(text))
        return resolve_source(c, text, out, err);
    struct str dir;
    if (!resolve_source(c, path_dir(text), &dir, err))
        return false;
    *out = path_join(c->arena, dir, path_base(text));
    return true;
}

/* SyncMetadata. A new reference. */
static json_t *schedule_request(struct cli *c)
{
    static const char *const flags[][2] = {{"promote", "promote"},   {"approve", "approve"},
                                           {"verify", "verify"},     {"clobber", "clobber"},
                                           {"force_reload", "force-reload"}};
    json_t *r = json_object();
    json_set_str(r, "git_branch", args_text(c->args, "branch"));
    json_set_str(r, "git_auth", args_text(c->args, "git-auth"));
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        json_set_bool(r, flags[i][0], args_is_on(c->args, flags[i][1]));
    json_set_str(r, "reload", args_text(c->args, "reload"));
    json_set_z(r, "webhook_url", "");
    json_set_z(r, "webhook_secret", "");
    json_set_int(r, "schedule_frequency", args_number(c->args, "minutes"));
    return r;
}

static void print_scheduled(struct cli *c, const json_t *reply)
{
    struct str url = json_get_str(reply, "webhook_url", (struct str){0});
    print_applied(c, json_at(reply, "sync_job_status.app_apply_response"), args_is_on(c->args, "approve"));
    say(c->out, "\nSync job created with Id: " STR_FMT "\n", STR_ARG(json_get_str(reply, "id", (struct str){0})));
    if (url.len > 0)
        say(c->out, "Webhook Url   : " STR_FMT "\nWebhook Secret: " STR_FMT "\n", STR_ARG(url),
            STR_ARG(json_get_str(reply, "webhook_secret", (struct str){0})));
    print_dry_run(c, reply);
}

static bool run_schedule(struct cli *c, struct err *err)
{
    struct str path, reload = args_text(c->args, "reload");
    int64_t minutes = args_number(c->args, "minutes");
    bool has_webhook = args_is_on(c->args, "webhook");
    if (!want_words(c, 1, "expected one arg : <filePath>", err) || !want_result_format(c, err))
        return false;
    if (!is_reload_option(reload))
        return err_set(err, ERR_INVALID, "invalid value " STR_FMT " for --reload: expected none, updated or matched",
                       STR_ARG(reload));
    if (minutes < 0)
        return err_set(err, ERR_INVALID, "--minutes must not be negative; 0 is the server's default");
    if (!resolve_file(c, arg_word(c, 0), &path, err))
        return false;
    scoped_json *request = schedule_request(c);
    struct call call = {.method = "POST", .path = "/sync", .body = request, .is_long = true};
    call_text(c, &call, "path", path);
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    call_bool(c, &call, "scheduled", !has_webhook || minutes > 0);
    if (has_webhook)
        call_bool(c, &call, "webhook", true);
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return err_wrap(err, "error creating sync job");
    if (!print_result_json(c, reply))
        print_scheduled(c, reply);
    return true;
}

/* Whether the job approves what the apps ask for; its status does not say. */
static bool does_approve(struct cli *c, struct str id)
{
    scoped_err ignored = {0};
    struct call call = {.method = "GET", .path = "/sync"};
    const json_t *entries = json_get(call_server(c, &call, &ignored), "entries");
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        if (str_eq(json_get_str(entry, "id", (struct str){0}), id))
            return json_is_true(json_at(entry, "metadata.approve"));
    }
    return false;
}

static bool run_run(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_id, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "POST", .path = "/sync/run", .is_long = true};
    call_text(c, &call, "id", arg_word(c, 0));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return err_wrap(err, "error running sync job");
    if (print_result_json(c, reply))
        return true;
    const json_t *applied = json_get(reply, "app_apply_response");
    bool has_created = json_array_size(json_get(applied, "create_results")) > 0;
    print_applied(c, applied, has_created && does_approve(c, arg_word(c, 0)));
    print_dry_run(c, reply);
    return true;
}

static bool run_list(struct cli *c, struct err *err)
{
    enum format format;
    bool reveal = args_is_on(c->args, "reveal");
    if (!want_words(c, 0, "no args expected", err) || !format_of_list(c, &format, err))
        return false;
    struct call call = {.method = "GET", .path = "/sync"};
    if (reveal)
        call_bool(c, &call, "reveal", true);
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    print_list(c, &listing_syncs, json_get(reply, "entries"), format, reveal);
    return true;
}

static bool run_delete(struct cli *c, struct err *err)
{
    if (!want_words(c, 1, one_id, err) || !want_result_format(c, err))
        return false;
    struct call call = {.method = "DELETE", .path = "/sync"};
    call_text(c, &call, "id", arg_word(c, 0));
    call_bool(c, &call, "dryRun", args_is_on(c->args, "dry-run"));
    json_t *reply = call_server(c, &call, err);
    if (!reply)
        return false;
    if (print_result_json(c, reply))
        return true;
    struct str id = json_get_str(reply, "id", (struct str){0});
    if (id.len > 0)
        say(c->out, "Sync job with Id " STR_FMT " deleted\n", STR_ARG(id));
    print_dry_run(c, reply);
    return true;
}

/* ---- the list ---- */

static const struct field record_metadata[] = {
    {"git_branch", FIELD_STR},
    {"git_auth", FIELD_STR},
    {"promote", FIELD_BOOL},
    {"approve", FIELD_BOOL},
    {"verify", FIELD_BOOL},
    {"reload", FIELD_STR},
    {"clobber", FIELD_BOOL},
    {"force_reload", FIELD_BOOL},
    {"webhook_url", FIELD_STR},
    {"webhook_secret", FIELD_STR, .is_secret = true},
    {"schedule_frequency", FIELD_INT},
    {"rbac", FIELD_ANY, .is_optional = true},
    {NULL},
};
static const struct field record_status[] = {
    {"state", FIELD_STR},
    {"failure_count", FIELD_INT},
    {"last_execution_time", FIELD_TIME},
    {"error", FIELD_STR},
    {"commit_id", FIELD_STR},
    {"is_apply", FIELD_BOOL},
    {"app_apply_response", FIELD_ANY},
    {NULL},
};
static const struct field record_sync[] = {
    {"id", FIELD_STR},
    {"path", FIELD_STR},
    {"is_scheduled", FIELD_BOOL},
    {"user_id", FIELD_STR},
    {"create_time", FIELD_TIME},
    {"metadata", FIELD_OBJECT, record_metadata},
    {"status", FIELD_OBJECT, record_status},
    {NULL},
};

static void cell_sync_type(struct buf *out, const json_t *sync)
{
    int64_t minutes = json_integer_value(json_at(sync, "metadata.schedule_frequency"));
    if (minutes > 0)
        buf_printf(out, "%lld (mins)", (long long)minutes);
    else
        buf_add_z(out, "Webhook");
}

static void add_bool(struct buf *out, const json_t *value)
{
    buf_add_z(out, json_is_true(value) ? "true" : "false");
}
static void cell_promote(struct buf *out, const json_t *sync)
{
    add_bool(out, json_at(sync, "metadata.promote"));
}
static void cell_approve(struct buf *out, const json_t *sync)
{
    add_bool(out, json_at(sync, "metadata.approve"));
}
static void cell_verify(struct buf *out, const json_t *sync)
{
    add_bool(out, json_at(sync, "metadata.verify"));
}
static void cell_clobber(struct buf *out, const json_t *sync)
{
    add_bool(out, json_at(sync, "metadata.clobber"));
}

/* A line: git's words may be several. */
static void cell_error(struct buf *out, const json_t *sync)
{
    struct str line;
    str_cut(json_str(json_at(sync, "status.error")), '\n', &line, NULL);
    buf_add_str(out, line);
}

static const struct column syncs_basic[] = {
    {"Id", 35, .path = "id"},
    {"State", 9, .path = "status.state"},
    {"SyncType", 12, .cell = cell_sync_type},
    {"Path", 0, .path = "path"},
    {NULL},
};
static const struct column syncs_table[] = {
    {"Id", 35, .path = "id"},
    {"State", 9, .path = "status.state"},
    {"SyncType", 12, .cell = cell_sync_type},
    {"Reload", 8, .path = "metadata.reload"},
    {"Promote", 8, .cell = cell_promote},
    {"Approve", 7, .cell = cell_approve},
    {"Verify", 7, .cell = cell_verify},
    {"Clobber", 7, .cell = cell_clobber},
    {"GitAuth", 10, .path = "metadata.git_auth"},
    {"Branch", 15, .path = "metadata.git_branch"},
    {"Path", 60, .path = "path"},
    {"Error", 0, .cell = cell_error},
    {NULL},
};
static const struct csv_column syncs_csv[] = {
    {.path = "id"},
    {.path = "status.state"},
    {.cell = cell_sync_type},
    {.path = "metadata.reload"},
    {.cell = cell_promote},
    {.cell = cell_approve},
    {.cell = cell_verify},
    {.cell = cell_clobber},
    {.path = "metadata.git_auth"},
    {.path = "metadata.git_branch"},
    {.path = "path"},
    {.path = "metadata.webhook_url"},
    {.path = "status.error"},
    {NULL},
};
const struct listing listing_syncs = {
    .basic = syncs_basic, .table = syncs_table, .csv = syncs_csv, .record = record_sync};

/* ---- the commands ---- */

static const struct flag schedule_flags[] = {
    {"branch", "b", FLAG_STR, "main", "git branch of the apply file"},
    {"git-auth", "g", FLAG_STR, NULL, "git_auth entry for the apply file"},
    {"approve", "a", FLAG_BOOL, NULL, "approve the permissions that apps ask for"},
    {"reload", "r", FLAG_STR, "matched", "which apps to reload: none, updated or matched"},
    FLAG_PROMOTE,
    {"verify", NULL, FLAG_BOOL, NULL, "start new versions' containers before the change is made"},
    {"clobber", NULL, FLAG_BOOL, NULL, "overwrite changes that were made by other commands"},
    {"force-reload", "f", FLAG_BOOL, NULL, "reload even if sources have not changed"},
    {"minutes", "s", FLAG_INT, "0", "how often to look; 0 is the server's default"},
    {"webhook", "w", FLAG_BOOL, NULL, "run when its webhook is called; with --minutes on a schedule too"},
    FLAG_DRY_RUN,
    FLAG_RESULT_FORMAT,
    FLAG_END,
};
static const struct flag one_flags[] = {FLAG_DRY_RUN, FLAG_RESULT_FORMAT, FLAG_END};
static const struct flag list_flags[] = {
    FLAG_FORMAT,
    {"reveal", NULL, FLAG_BOOL, NULL, "show webhook secrets in JSON instead of masking them"},
    FLAG_DRY_RUN,
    FLAG_END,
};

static const struct command table[] = {
    {.name = "schedule",
     .words = "<filePath>",
     .summary = "apply a declarative file now and again and again",
     .about = "   The file is applied at once; if that fails, nothing is stored. A job that fails is tried again, at\n"
              "   growing intervals, and given up after some failures in a row until \"openrun sync run\" succeeds.\n\n"
              "   openrun sync schedule --approve --promote github.com/org/repo/apps.star\n"
              "   openrun sync schedule --webhook github.com/org/repo/apps.star\n",
     .flags = schedule_flags,
     .exec = run_schedule},
    {.name = "run", .words = "<syncId>", .summary = "run a sync job now", .flags = one_flags, .exec = run_run},
    {.name = "list", .summary = "list sync jobs", .flags = list_flags, .exec = run_list},
    {.name = "delete", .words = "<syncId>", .summary = "delete a sync job", .flags = one_flags, .exec = run_delete},
};
static const struct command *const commands[] = {&table[0], &table[1], &table[2], &table[3], NULL};
const struct command cmd_sync = {
    .name = "sync", .summary = "keep apps what a declarative file says", .subs = commands};
