/* server/api.c: the management API: a table of routes over deploy/ and the server itself.
 *
 * A call is read on its loop and run on a job thread (it may fetch, build, commit). What changes something is an
 * operation. A client that accepts application/x-ndjson gets its progress and its end as a stream, and may
 * leave: the operation goes on. Any other is answered on its loop at the end, and its going away cancels what it
 * asked for, up to the commit. Every call leaves a system event in the audit trail.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"
#include "source.h"
#include "starlark.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { BODY_MAX = 32 << 20, LIST_MAX = 512 << 20 };

struct api_call;
typedef bool api_fn(struct api_call *call, json_t **reply, struct err *err);
typedef bool deploy_text(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, struct buf *reply,
                         struct err *err);

enum {
    NEEDS_GLOB = 1,    /* query appPathGlob */
    NEEDS_PATH = 2,    /* query appPath */
    HAS_BODY = 4,
    OPTIONAL_GLOB = 8,
    SHOWS_PROMOTE = 16,/* the audit operation gets _promote and _approve appended */
};

struct api_route {
    const char *method, *path, *operation;
    unsigned flags;
    deploy_op *op;     /* an operation of deploy/ ... */
    api_fn *fn;        /* ... or one of the server ... */
    api_query_fn *query_fn; /* ... or one that needs its query only, */
    deploy_text *text_fn;   /* ... or an operation whose reply is text. */
};

/* One call: made on the loop, used by one job thread, freed on the loop; a streamed one by the job thread. */
struct api_call {
    struct arena arena;
    struct server *server;
    struct http_req *req;         /* NULL once submitted as a stream: it may be over before the call is */
    struct operation *operation;  /* NULL: it only reads */
    const struct api_route *route;
    struct str user_id, rid;
    struct str target;         /* for the audit trail */
    struct deploy_opts opts;
    struct http_pairs query;
    json_t *body, *reply;
    struct buf text;           /* the reply of a text_fn */
    struct err err;
    atomic_bool cancel;           /* of a call without operation */
};

/* --- the server's own calls --------------------------------------------------------------------- */

static bool call_stop(struct api_call *call, json_t **reply, struct err *err)
{
    *reply = json_pack("{s:i, s:I}", "pid", (int)getpid(), "drain_secs", (json_int_t)server_drain_secs(call->server));
    log_info("stop asked for through the API", LOG_STR("user", call->user_id));
    kill(getpid(), SIGTERM);
    return true;
}

static bool call_status(struct api_call *call, json_t **reply, struct err *err)
{
    *reply = json_pack("{s:s}", "status", "ok");
    return true;
}

static bool call_version(struct api_call *call, json_t **reply, struct err *err)
{
    *reply = json_pack("{s:s, s:s}", "version", server_version, "commit", server_commit);
    return true;
}

static bool call_config(struct api_call *call, json_t **reply, struct err *err)
{
    struct store_config config;
    bool found = false;
    scoped_store_tx *tx = store_read(call->server->store, err);
    if (!tx || !store_config_get(tx, &call->arena, &config, &found, err))
        return false;
    json_t *document = found ? json_parse_object(config.config, err) : json_object();
    if (!document)
        return err_wrap(err, "the stored dynamic configuration");
    *reply = json_pack("{s:o}", "dynamic_config", document);
    return true;
}

/* A file on this machine in its layout. */
static bool call_pretty_print(struct api_call *call, json_t **reply, struct err *err)
{
    struct str path = call->opts.path, text;
    if (str_is_empty(path))
        return err_set(err, ERR_INVALID, "applyPath is required");
    if (src_is_git(path) || !path_is_abs(path) || fs_is_dir(path))
        return err_set(err, ERR_INVALID, "applyPath must be the absolute path of a local file, not " STR_FMT, STR_ARG(path));
    if (!fs_read_all(&call->arena, path, BODY_MAX, &text, err) || !star_fmt(&call->arena, path, text, &text, err))
        return false;
    *reply = json_object();
    json_set_str(*reply, "config", text);
    return true;
}

static const struct api_route routes[] = {
    {"POST", "/stop", "stop_server", 0, NULL, call_stop},
    {"GET", "/server_status", "server_status", 0, NULL, call_status},
    {"GET", "/server_version", "server_version", 0, NULL, call_version},
    {"GET", "/config", "config_get", 0, NULL, call_config},
    {"GET", "/apps", "list_apps", OPTIONAL_GLOB, .text_fn = deploy_list},
    {"GET", "/app", "get_app", NEEDS_PATH, deploy_get, NULL},
    {"POST", "/app", "create_app", HAS_BODY, deploy_create, NULL},
    {"DELETE", "/app", "delete_apps", NEEDS_GLOB, deploy_delete, NULL},
    {"POST", "/approve", "approve_apps", NEEDS_GLOB | SHOWS_PROMOTE, deploy_approve, NULL},
    {"POST", "/reload", "reload_apps", NEEDS_GLOB | SHOWS_PROMOTE, deploy_reload, NULL},
    {"POST", "/promote", "promote_apps", NEEDS_GLOB, deploy_promote, NULL},
    {"GET", "/diff", "diff_app", NEEDS_PATH, deploy_diff, NULL},
    {"POST", "/apply", "apply", NEEDS_GLOB | SHOWS_PROMOTE, deploy_apply, NULL},
    {"POST", "/app_settings", "update_settings", NEEDS_GLOB | HAS_BODY, deploy_settings_update, NULL},
    {"POST", "/app_metadata", "update_metadata", NEEDS_GLOB | HAS_BODY | SHOWS_PROMOTE, deploy_metadata_update, NULL},
    {"POST", "/link_account", "account_link", NEEDS_GLOB | SHOWS_PROMOTE, deploy_account_link, NULL},
    {"POST", "/update_param", "update_params", NEEDS_GLOB | SHOWS_PROMOTE, deploy_param_update, NULL},
    {"GET", "/version", "version_list", NEEDS_PATH, deploy_version_list, NULL},
    {"GET", "/version/files", "version_files", NEEDS_PATH, deploy_version_files, NULL},
    {"POST", "/version", "version_switch", NEEDS_PATH | SHOWS_PROMOTE, deploy_version_switch, NULL},
    {"POST", "/preview", "preview_app", NEEDS_PATH | SHOWS_PROMOTE, deploy_preview_create, NULL},
    {"GET", "/preview", "list_previews", 0, deploy_preview_list, NULL},
    {"DELETE", "/preview", "preview_delete", NEEDS_PATH, deploy_preview_delete, NULL},
    {"GET", "/export", "export_apps", OPTIONAL_GLOB, deploy_export, NULL},
    {"GET", "/pretty_print", "pretty_print", 0, NULL, call_pretty_print},
    {"GET", "/check", "check", 0, deploy_check_all, NULL},
    {"POST", "/check", "check_fix", 0, deploy_check_fix, NULL},
    {"GET", "/app_webhook_token", "token_list", NEEDS_PATH, deploy_webhook_list, NULL},
    {"POST", "/app_webhook_token", "token_create", NEEDS_PATH, deploy_webhook_create, NULL},
    {"DELETE", "/app_webhook_token", "token_delete", NEEDS_PATH, deploy_webhook_delete, NULL},
    {"GET", "/sync", "list_sync", 0, deploy_sync_list, NULL},
    {"POST", "/sync", "sync_create", HAS_BODY, deploy_sync_create, NULL},
    {"POST", "/sync/run", "sync_run", 0, deploy_sync_run, NULL},
    {"DELETE", "/sync", "sync_delete", 0, deploy_sync_delete, NULL},
    {"GET", "/containers", "list_containers", 0, NULL, NULL, api_container_list},
    {"GET", "/container", "get_container", 0, NULL, NULL, api_container_get},
    {"GET", "/container/logs", "container_logs", 0, NULL, NULL, api_container_logs},
    {"GET", "/container/build_log", "container_build_log", 0, NULL, NULL, api_build_log},
    {"GET", "/container/stats", "container_stats", 0, NULL, NULL, api_container_stats},
    {"POST", "/container/start", "container_start", 0, NULL, NULL, api_container_start},
    {"POST", "/container/stop", "container_stop", 0, NULL, NULL, api_container_stop},
    {"GET", "/specs", "list_specs", 0, NULL, NULL, api_spec_list},
    {"GET", "/spec", "get_spec", 0, NULL, NULL, api_spec_get},
    {"GET", "/jobs", "list_jobs", 0, NULL, NULL, api_job_list},
    {"GET", "/job/runs", "job_runs", 0, NULL, NULL, api_job_runs},
    {"GET", "/job/logs", "job_logs", 0, NULL, NULL, api_job_logs},
    {"POST", "/job/run", "job_run", 0, NULL, NULL, api_job_run},
    {"POST", "/job/cancel", "job_cancel", 0, NULL, NULL, api_job_cancel},
    {"POST", "/container/prune", "container_prune", 0, NULL, NULL, api_container_prune},
    {"GET", "/volumes", "list_volumes", 0, NULL, NULL, api_volume_list},
    {"POST", "/volume/prune", "volume_prune", 0, NULL, NULL, api_volume_prune},
};

/* --- answering ------------------------------------------------------------------------------------ */

void api_reply_error(struct http_req *req, int status, const char *message)
{
    json_t *body = json_pack("{s:o, s:i}", "message", json_from_str(str_from(message)), "code", status);
    struct str text = json_text(req->arena, body, JSON_STYLE_COMPACT);
    json_decref(body);
    http_reply(req, status, STR("application/json"), str_cat(req->arena, text, STR("\n")));
}

static void call_free(struct api_call *call)
{
    json_decref(call->body);
    json_decref(call->reply);
    buf_release(&call->text);
    if (call->operation)
        operation_unref(call->operation);
    err_release(&call->err);
    arena_release(&call->arena);
    free(call);
}

static void finish(struct http_loop *loop, void *arg)
{
    struct api_call *call = arg;
    struct http_req *req = call->req;
    if (err_is_set(&call->err)) {
        int status = call->err.code >= 400 && call->err.code <= 599 ? (int)call->err.code : 500;
        api_reply_error(req, status, err_msg(&call->err));
    } else {
        struct str text = call->reply ? json_text(req->arena, call->reply, JSON_STYLE_COMPACT) : buf_str(&call->text);
        http_reply(req, 200, STR("application/json"), text);
    }
    call_free(call);
}

static void audit(struct api_call *call)
{
    struct deploy_opts *o = &call->opts;
    bool shows = call->route->flags & SHOWS_PROMOTE;
    store_audit_add_wait(call->server->store, &(struct store_audit_event){
        .rid = call->rid,
        .user_id = call->user_id,
        .event_type = STR("system"),
        .operation = str_printf(&call->arena, "%s%s%s%s", call->route->operation, shows && o->promote ? "_promote" : "",
                                shows && o->approve ? "_approve" : "", o->is_dry_run ? "_dryrun" : ""),
        .target = call->target,
        .status = err_is_set(&call->err) ? STR("Failed") : STR("Success"),
        .detail = str_from(err_msg(&call->err)),
    });
}

static atomic_bool *cancel_flag(struct api_call *call)
{
    return call->operation ? operation_cancel_flag(call->operation) : &call->cancel;
}

static bool perform(struct api_call *call)
{
    const struct api_route *route = call->route;
    if (route->query_fn)
        return route->query_fn(call->server, &call->arena, &call->query, &call->reply, &call->err);
    if (route->fn)
        return route->fn(call, &call->reply, &call->err);
    struct deploy_caller who = {.user_id = call->user_id, .cancel = cancel_flag(call)};
    if (route->text_fn)
        return route->text_fn(call->server->deploy, &who, &call->opts, &call->text, &call->err);
    if (atomic_load(who.cancel))
        return err_set(&call->err, ERR_CANCELLED, "cancelled before it began");
    if (call->operation) {
        who.operation_id = operation_id(call->operation);
        who.progress = operation_line;
        who.progress_arg = call->operation;
        operation_begin(call->operation);
    }
    return route->op(call->server->deploy, &who, &call->opts, call->body, &call->reply, &call->err);
}

static void run(void *arg)
{
    struct api_call *call = arg;
    if (!perform(call) && !err_is_set(&call->err))
        BUG("%s %s failed without a reason", call->route->method, call->route->path);
    audit(call);
    if (call->operation)
        operation_finish(call->operation, call->reply, &call->err);
    if (call->req)
        http_loop_post(call->req->loop, finish, call);
    else
        call_free(call);
}

/* --- reading the call ----------------------------------------------------------------------------- */

/* `1 t T TRUE true True 0 f F FALSE false False`; empty is false. */
static bool parse_bool(struct str name, struct str value, bool *out, struct err *err)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False", ""};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (str_eq_z(value, yes[i]))
            return *out = true;
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (str_eq_z(value, no[i])) {
            *out = false;
            return true;
        }
    return err_set(err, ERR_INVALID, "invalid value for " STR_FMT ": \"" STR_FMT "\" is neither true nor false",
                   STR_ARG(name), STR_ARG(value));
}

bool api_query_is_on(const struct http_pairs *query, const char *name)
{
    struct str value = {0};
    bool is_on = false;
    scoped_err checked = {0};
    http_pairs_get(query, str_from(name), &value);
    return parse_bool(str_from(name), value, &is_on, &checked) && is_on;
}

static bool parse_query(struct api_call *call, struct err *err)
{
    struct deploy_opts *o = &call->opts;
    const struct {
        const char *name;
        struct str *text;
        bool *flag;
    } params[] = {
        {"appPathGlob", &o->app}, {"appPath", &o->app}, {"branch", &o->branch}, {"commit", &o->commit},
        {"gitAuth", &o->git_auth}, {"paramName", &o->name}, {"plugin", &o->name}, {"paramValue", &o->value},
        {"account", &o->value}, {"version", &o->version}, {"applyPath", &o->path}, {"reload", &o->reload},
        {"commitId", &o->commit}, {"serviceRef", &o->service_ref}, {"gitAuthRef", &o->git_auth_ref},
        {"exactCommit", NULL, &o->exact_commit}, {"excludeDeclarative", NULL, &o->exclude_declarative}, {"clobber", NULL, &o->clobber}, {"dev", NULL, &o->is_dev},
        {"webhookType", &o->name}, {"path", &o->path}, {"id", &o->sync_id}, {"scheduled", NULL, &o->is_scheduled},
        {"webhook", NULL, &o->has_webhook}, {"reveal", NULL, &o->reveal},
        {"dryRun", NULL, &o->is_dry_run},
        {"approve", NULL, &o->approve}, {"promote", NULL, &o->promote}, {"verify", NULL, &o->verify},
        {"forceReload", NULL, &o->force_reload}, {"refreshSpec", NULL, &o->refresh_spec}, {"internal", NULL, &o->internal},
    };
    if (!http_query_parse(&call->arena, str_dup(&call->arena, call->req->query), &call->query, err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        struct str name = str_from(params[i].name), value;
        if (!http_pairs_get(&call->query, name, &value))
            continue;
        if (params[i].flag && !parse_bool(name, value, params[i].flag, err))
            return false;
        if (params[i].text)
            *params[i].text = value;
    }
    unsigned flags = call->route->flags;
    if ((flags & (NEEDS_GLOB | NEEDS_PATH)) && str_is_empty(o->app))
        return err_set(err, ERR_INVALID, "%s is required", flags & NEEDS_GLOB ? "appPathGlob" : "appPath");
    return true;
}

static void on_gone(struct http_req *req, void *arg)
{
    struct api_call *call = arg;
    atomic_store(cancel_flag(call), true);
}

/* What changes apps is an operation. The request of a create names its app in the body. */
static void make_operation(struct api_call *call)
{
    if (!call->route->op || str_eq(call->req->method_text, STR("GET")))
        return;
    call->operation = operation_new(call->server->operations, call->route->operation, call->target, call->user_id);
}

static void refuse(struct api_call *call, struct http_req *req)
{
    err_set(&call->err, ERR_UNAVAILABLE, "the server is stopping or overloaded: try again");
    if (call->operation)
        operation_finish(call->operation, NULL, &call->err);
    api_reply_error(req, ERR_UNAVAILABLE, err_msg(&call->err));
    call_free(call);
}

static void submit(struct api_call *call)
{
    struct http_req *req = call->req;
    /* What an operation is about is in the query, but for a creation. */
    call->target = call->body && str_is_empty(call->opts.app) ? json_get_str(call->body, "path", (struct str){0})
                                                              : call->opts.app;
    if (call->route->op == deploy_apply)
        call->target = src_shown(&call->arena, call->opts.path);
    if (str_is_empty(call->target))
        call->target = str_is_empty(call->opts.sync_id) ? src_shown(&call->arena, call->opts.path) : call->opts.sync_id;
    if (call->route->query_fn)
        http_pairs_get(&call->query, STR("id"), &call->target);
    make_operation(call);
    struct operation *streamed =
        http_req_list_has(req, HTTP_H_ACCEPT, STR("application/x-ndjson")) ? call->operation : NULL;
    if (streamed) {
        operation_ref(streamed);
        call->req = NULL;
    } else {
        http_req_on_abort(req, on_gone, call);
    }
    if (!jobs_lane_submit(call->server->api_lane, run, call)) {
        if (streamed)
            operation_unref(streamed);
        refuse(call, req);
    } else if (streamed) {
        operation_stream(streamed, req); /* the call may be over and gone */
    }
}

static void on_body(struct http_req *req, struct str body, const struct err *err, void *arg)
{
    struct api_call *call = arg;
    if (err) {
        api_reply_error(req, (int)err->code, err_msg(err));
        call_free(call);
        return;
    }
    call->body = json_parse_object(body, &call->err);
    if (!call->body) {
        err_wrap(&call->err, "request body");
        api_reply_error(req, 400, err_msg(&call->err));
        call_free(call);
        return;
    }
    submit(call);
}

static const struct api_route *find_route(struct str method, struct str path, bool *path_exists)
{
    *path_exists = false;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (!str_eq_z(path, routes[i].path))
            continue;
        *path_exists = true;
        if (str_eq_z(method, routes[i].method))
            return &routes[i];
    }
    return NULL;
}

void api_serve(struct server *s, struct http_req *req, struct str user_id, uint64_t number)
{
    struct str path = req->path;
    bool path_exists = false;
    const struct api_route *route = NULL;
    if (str_starts(path, STR("/_openrun/")) &&
        operation_serve(s, req, str_from_off(path, strlen("/_openrun")), user_id))
        return;
    if (str_starts(path, STR("/_openrun/")))
        route = find_route(req->method_text, str_from_off(path, strlen("/_openrun")), &path_exists);
    if (!route) {
        api_reply_error(req, path_exists ? 405 : 404,
                    path_exists ? "this path does not take this method" : "404 page not found");
        return;
    }
    struct api_call *call = xcalloc(1, sizeof *call);
    call->server = s;
    call->req = req;
    call->route = route;
    buf_init(&call->text, LIST_MAX);
    call->user_id = str_dup(&call->arena, user_id);
    call->rid = str_printf(&call->arena, STR_FMT "%" PRIu64, STR_ARG(s->rid_prefix), number);
    if (!parse_query(call, &call->err)) {
        api_reply_error(req, (int)call->err.code, err_msg(&call->err));
        call_free(call);
    } else if (route->flags & HAS_BODY) {
        http_req_read_all(req, BODY_MAX, on_body, call);
    } else {
        submit(call);
    }
}

/* A request on the unix socket. In its arena. */
struct socket_call {
    struct server *server;
    uint64_t number;
};

static void on_end(struct http_req *req, void *arg)
{
    const struct socket_call *c = arg;
    access_log_add(loop_state(req->loop)->access, req, &(struct access_facts){
        .rid_prefix = c->server->rid_prefix,
        .number = c->number,
        .user = STR("admin"),
    });
    if (req->method != HTTP_GET && req->method != HTTP_HEAD && req->method != HTTP_OPTIONS)
        request_audit(c->server, req, c->number, (struct str){0}, STR("admin"), false);
}

void api_request(struct http_req *req, void *arg)
{
    struct socket_call *c = arena_new(req->arena, struct socket_call);
    *c = (struct socket_call){.server = arg, .number = request_number(loop_state(req->loop))};
    http_req_on_end(req, on_end, c);
    api_serve(arg, req, STR("admin"), c->number);
}
