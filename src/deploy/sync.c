/* deploy/sync.c: sync entries: a declarative apply that is done at once, and then again and again.
 *
 *     (new) --first run ok--> ENABLED --run fails--> FAILING --too often--> DISABLED
 *       '--fails: nothing stored  ^-------run ok--------'                      |
 *                                 '----------------run by hand ok--------------'
 *
 * ENABLED, FAILING: the clock runs it, FAILING at growing intervals. DISABLED: by hand or by its webhook only.
 *
 * 1. Of an entry, one run at a time: it holds the key "sync <id>", taken before any app's.
 * 2. A run is one apply operation, committed or not. Its outcome is written afterwards, in a transaction of its
 *    own: a server that is killed in between runs it again, which changes nothing.
 * 3. A run that was cancelled has no outcome.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include <inttypes.h>

enum {
    BACKOFF_STEPS = 3,         /* the interval doubles that often at most */
    SECRET_BYTES = 24,         /* of a generated webhook secret */
    SECRET_LEN_MIN = 16,       /* of one that the creator has chosen */
    MINUTES_MAX = 366 * 24 * 60,
    ERROR_MAX = 16 << 10,      /* of a failure's text that is kept */
};

static const int64_t second_ns = 1000000000;
static const int64_t clock_slack_ns = 60 * second_ns; /* clocks are set back by less all the time */

#define ENABLED STR("Enabled")
#define FAILING STR("Failing")
#define DISABLED STR("Disabled")

/* --- the state machine ---------------------------------------------------------------------------- */

/* How long after a run the next one is due. */
static int64_t interval_ns(const struct store_sync *s)
{
    int64_t minutes = MIN(s->metadata.schedule_frequency, MINUTES_MAX);
    int64_t steps = MIN(MAX(s->status.failure_count - 1, 0), BACKOFF_STEPS);
    return (minutes << steps) * 60 * second_ns;
}

static bool is_given_up(const struct store_sync *s, int64_t max_failures)
{
    return max_failures > 0 && s->status.failure_count >= max_failures;
}

/* A last run in the future means that the clock was set back: rather once too often than not for years. */
static bool is_due(const struct store_sync *s, int64_t now_ns, int64_t max_failures)
{
    if (!s->is_scheduled || s->metadata.schedule_frequency <= 0 || is_given_up(s, max_failures))
        return false;
    int64_t last = s->status.last_execution_time;
    return last == 0 || now_ns - last >= interval_ns(s) || last - now_ns > clock_slack_ns;
}

/* The status after a run at `now_ns`. `reply` is that of the apply, NULL if it has failed with `message`. */
static void run_ended(struct arena *a, struct store_sync *s, const json_t *reply, struct str message, int64_t now_ns,
                      int64_t max_failures)
{
    s->status.last_execution_time = now_ns;
    s->status.is_apply = true;
    if (reply) {
        s->status.state = ENABLED;
        s->status.failure_count = 0;
        s->status.error = (struct str){0};
        s->status.commit_id = str_dup(a, json_get_str(reply, "commit_id", (struct str){0}));
        s->status.app_apply_response = json_text(a, reply, JSON_STYLE_COMPACT);
        return;
    }
    s->status.failure_count++;
    s->status.state = is_given_up(s, max_failures) ? DISABLED : FAILING;
    s->status.error = str_slice(message, 0, ERROR_MAX);
    s->status.commit_id = (struct str){0};
}

/* What an entry shows after a failure: nothing was done, but it is still about these apps. */
static struct str failed_response(struct arena *a, struct str before)
{
    scoped_err ignored = {0};
    scoped_json *old = str_is_empty(before) ? NULL : json_parse(before, &ignored);
    json_t *apps = json_get(old, "filtered_apps");
    if (!json_is_array(apps))
        return (struct str){0};
    scoped_json *j = json_object();
    json_object_set(j, "filtered_apps", apps);
    return json_text(a, j, JSON_STYLE_COMPACT);
}

bool deploy_sync_due(struct deploy *d, struct arena *a, int64_t now_ns, struct deploy_sync_list *out,
                     struct err *err)
{
    scoped_arena scratch = {0};
    struct store_sync_list all = {0};
    struct deploy_sync_list due = {0};
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_sync_list(tx, &scratch, &all, err))
        return false;
    vec_foreach(s, &all)
    {
        if (!is_due(s, now_ns, d->config.max_sync_failure_count))
            continue;
        *vec_push(a, &due) = (struct deploy_sync){
            .id = str_dup(a, s->id),
            .path = str_dup(a, s->path),
            .user_id = str_is_empty(s->user_id) ? STR("scheduler") : str_dup(a, s->user_id),
        };
    }
    *out = due;
    return true;
}

/* --- a run ---------------------------------------------------------------------------------------- */

static struct deploy_opts apply_opts(const struct store_sync *s, const struct deploy_opts *o)
{
    return (struct deploy_opts){
        .app = STR("all"),
        .path = s->path,
        .branch = s->metadata.git_branch,
        .git_auth = s->metadata.git_auth,
        .reload = s->metadata.reload,
        .promote = s->metadata.promote,
        .approve = s->metadata.approve,
        .verify = s->metadata.verify,
        .clobber = s->metadata.clobber,
        .force_reload = s->metadata.force_reload,
        .is_dry_run = o->is_dry_run,
        .is_fresh = o->is_fresh,
        .sync_id = s->id,
        .last_commit = s->status.commit_id,
    };
}

static bool read_entry(struct op *op, struct str id, struct store_sync *s, struct err *err)
{
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    return tx && store_sync_get(tx, &op->arena, id, s, err);
}

/* False: it could not be written. That the entry was deleted meanwhile is fine. */
static bool save_status(struct op *op, const struct store_sync *s, struct err *err)
{
    scoped_err own = {0};
    scoped_store_tx *tx = store_begin(op->deploy->config.store, err);
    if (!tx)
        return false;
    if (store_sync_update_status(tx, s, &own))
        return store_commit(&tx, err);
    return own.code == ERR_NOT_FOUND || err_move(err, &own);
}

/* SyncStatus as the API shows it. */
static json_t *status_reply(const struct store_sync *s, bool is_dry_run)
{
    scoped_json *entry = store_sync_to_json(s);
    json_t *status = json_incref(json_get(entry, "status"));
    json_set_bool(status, "dry_run", is_dry_run);
    return status;
}

/* Keeps the failure of a run in its entry; `err` stays what it is. */
static void save_failure(struct op *op, struct store_sync *s, const struct err *err)
{
    scoped_err why = {0};
    if (op->opts->is_dry_run || err->code == ERR_CANCELLED)
        return; /* inv. 3 */
    struct str before = s->status.app_apply_response;
    run_ended(&op->arena, s, NULL, str_dup(&op->arena, str_from(err_msg(err))), wall_ns(),
              op->deploy->config.max_sync_failure_count);
    s->status.app_apply_response = failed_response(&op->arena, before);
    if (!save_status(op, s, &why))
        log_warn("the status of a sync could not be saved", LOG_STR("sync", s->id), LOG_ERR(&why));
    log_warn("sync failed", LOG_STR("sync", s->id), LOG_STR("path", src_shown(&op->arena, s->path)), LOG_STR("state", s->status.state),
             LOG_INT("failures", s->status.failure_count), LOG_ERR(err));
    if (str_eq(s->status.state, DISABLED))
        op_say(op, "failed %" PRId64 " times in a row: not run again until \"openrun sync run " STR_FMT "\" succeeds",
               s->status.failure_count, STR_ARG(s->id));
}

bool deploy_sync_run(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                     json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "sync_run");
    struct store_sync s;
    if (str_is_empty(o->sync_id))
        return err_set(err, ERR_INVALID, "id is required");
    struct str key = str_cat(&op.arena, STR("sync "), o->sync_id);
    if (!op_hold(&op, key, err) || !read_entry(&op, o->sync_id, &s, err)) /* inv. 1 */
        return false;
    struct deploy_opts opts = apply_opts(&s, o);
    json_t *applied = NULL;
    op_say(&op, "applying " STR_FMT, STR_ARG(src_shown(&op.arena, s.path)));
    if (!deploy_apply(d, who, &opts, NULL, &applied, err)) {
        save_failure(&op, &s, err);
        return false;
    }
    run_ended(&op.arena, &s, applied, (struct str){0}, wall_ns(), d->config.max_sync_failure_count);
    bool is_saved = o->is_dry_run || save_status(&op, &s, err);
    if (is_saved)
        *reply = status_reply(&s, o->is_dry_run);
    json_decref(applied);
    return is_saved || err_wrap(err, "the apps are what the file says, but the status of the sync was not saved");
}

/* --- creation ------------------------------------------------------------------------------------- */

static struct str webhook_url(struct arena *a, const struct deploy *d, const struct store_sync *s)
{
    if (str_is_empty(s->metadata.webhook_secret))
        return (struct str){0};
    return str_printf(a, STR_FMT "/_openrun_webhook/sync?id=" STR_FMT, STR_ARG(hook_base(a, d)), STR_ARG(s->id));
}

static bool is_reload_option(struct str text)
{
    return str_is_empty(text) || str_eq(text, STR("none")) || str_eq(text, STR("updated")) ||
           str_eq(text, STR("matched"));
}

/* The entry that a request describes. */
static bool read_request(struct op *op, json_t *body, struct store_sync *s, struct err *err)
{
    const struct deploy_opts *o = op->opts;
    *s = (struct store_sync){.path = o->path, .user_id = op->who->user_id, .is_scheduled = o->is_scheduled};
    if (str_is_empty(o->path))
        return err_set(err, ERR_INVALID, "path is required: the file to apply");
    if (!src_check_plain(&op->arena, o->path, &s->path, err) || !store_sync_metadata_from_json(&op->arena, body, s, err))
        return false;
    if (!is_reload_option(s->metadata.reload))
        return err_set(err, ERR_INVALID, "reload must be none, updated or matched, not \"" STR_FMT "\"",
                       STR_ARG(s->metadata.reload));
    struct str secret = s->metadata.webhook_secret;
    if (secret.len > 0 && secret.len < SECRET_LEN_MIN)
        return err_set(err, ERR_INVALID,
                       "webhook_secret must have at least %d characters; leave it out to have one made",
                       SECRET_LEN_MIN);
    bool has_webhook = !s->is_scheduled || o->has_webhook;
    if (!has_webhook)
        s->metadata.webhook_secret = (struct str){0};
    else if (str_is_empty(secret))
        s->metadata.webhook_secret = random_hex(&op->arena, SECRET_BYTES);
    s->metadata.webhook_url = s->metadata.rbac = (struct str){0}; /* the server's to say */
    s->metadata.schedule_frequency = MIN(s->metadata.schedule_frequency, MINUTES_MAX);
    if (!s->is_scheduled)
        s->metadata.schedule_frequency = 0;
    else if (s->metadata.schedule_frequency <= 0)
        s->metadata.schedule_frequency = MAX(op->deploy->config.default_schedule_mins, 1);
    if (src_is_git(s->path) && str_is_empty(s->metadata.git_branch))
        s->metadata.git_branch = STR("main");
    s->id = store_sync_id_new(&op->arena);
    return true;
}

/* The entry in the transaction of its first run. */
struct creation {
    struct store_sync *sync;
    bool is_stored;
};

static bool store_entry(void *arg, struct store_tx *tx, struct err *err)
{
    struct creation *c = arg;
    c->is_stored = store_sync_insert(tx, c->sync, err);
    return c->is_stored;
}

/* For a first run that had nothing to commit, so that there was no transaction. */
static bool store_entry_alone(struct op *op, struct creation *c, struct err *err)
{
    scoped_store_tx *tx = store_begin(op->deploy->config.store, err);
    return tx && store_entry(c, tx, err) && store_commit(&tx, err);
}

static json_t *creation_reply(struct op *op, const struct store_sync *s)
{
    json_t *j = json_object();
    json_set_bool(j, "dry_run", op->opts->is_dry_run);
    json_set_str(j, "id", s->id);
    json_set_str(j, "webhook_url", webhook_url(&op->arena, op->deploy, s));
    json_set_str(j, "webhook_secret", s->metadata.webhook_secret);
    json_set_int(j, "schedule_minutes", s->metadata.schedule_frequency);
    json_object_set_new(j, "sync_job_status", status_reply(s, op->opts->is_dry_run));
    return j;
}

bool deploy_sync_create(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                        json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "sync_create");
    struct store_sync s;
    struct creation c = {.sync = &s};
    if (!read_request(&op, body, &s, err) || !op_hold(&op, str_cat(&op.arena, STR("sync "), s.id), err))
        return false;
    struct deploy_opts opts = apply_opts(&s, o);
    opts.in_commit = store_entry;
    opts.in_commit_arg = &c;
    s.status.state = ENABLED;
    json_t *applied = NULL;
    if (!deploy_apply(d, who, &opts, NULL, &applied, err))
        return false;
    bool ok = o->is_dry_run || c.is_stored || store_entry_alone(&op, &c, err);
    if (ok) {
        run_ended(&op.arena, &s, applied, (struct str){0}, wall_ns(), d->config.max_sync_failure_count);
        ok = o->is_dry_run || save_status(&op, &s, err);
    }
    json_decref(applied);
    if (ok)
        *reply = creation_reply(&op, &s);
    return ok;
}

/* --- deletion, list ------------------------------------------------------------------------------- */

/* Does not wait for a run: that ends as it would have. */
bool deploy_sync_delete(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                        json_t *body, json_t **reply, struct err *err)
{
    if (str_is_empty(o->sync_id))
        return err_set(err, ERR_INVALID, "id is required");
    scoped_err own = {0};
    scoped_store_tx *tx = store_begin(d->config.store, err);
    if (!tx)
        return false;
    if (!store_sync_delete(tx, o->sync_id, &own)) {
        if (own.code == ERR_NOT_FOUND)
            own.code = ERR_INVALID; /* as scripts know it */
        return err_move(err, &own);
    }
    if (!o->is_dry_run && !store_commit(&tx, err))
        return false;
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_set_str(*reply, "id", o->sync_id);
    return true;
}

bool deploy_sync_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                      json_t *body, json_t **reply, struct err *err)
{
    scoped_arena a = {0};
    struct store_sync_list all = {0};
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_sync_list(tx, &a, &all, err))
        return false;
    store_rollback(&tx);
    json_t *entries = json_array();
    vec_foreach(s, &all)
    {
        s->metadata.webhook_url = webhook_url(&a, d, s);
        if (!o->reveal && !str_is_empty(s->metadata.webhook_secret))
            s->metadata.webhook_secret = STORE_MASK;
        s->path = src_shown(&a, s->path);
        json_array_append_new(entries, store_sync_to_json(s));
    }
    *reply = json_object();
    json_object_set_new(*reply, "entries", entries);
    return true;
}
