/* deploy/webhook.c: webhooks: the tokens of an app's, and what a call of one is about.
 *
 * Tokens are settings: neither staged nor versioned. They are those of the main app.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

#include "http.h"

enum { TOKEN_BYTES = 16 };

struct str hook_base(struct arena *a, const struct deploy *d)
{
    const struct app_env *env = d->config.env;
    if (!str_is_empty(d->config.callback_url))
        return str_trim_right(d->config.callback_url, '/');
    if (env->https_port > 0)
        return str_printf(a, "https://localhost:%d", env->https_port);
    return str_printf(a, "http://localhost:%d", env->http_port);
}

static struct str *token_of(struct store_settings *s, struct str type)
{
    if (str_eq(type, STR("reload")))
        return &s->webhook_tokens.reload;
    if (str_eq(type, STR("reload_promote")))
        return &s->webhook_tokens.reload_promote;
    return str_eq(type, STR("promote")) ? &s->webhook_tokens.promote : NULL;
}

static bool check_type(struct str type, struct err *err)
{
    struct store_settings ignored = {0};
    if (str_is_empty(type))
        return err_set(err, ERR_INVALID, "webhookType is required: reload, reload_promote or promote");
    return token_of(&ignored, type) || err_set(err, ERR_INVALID,
                                               "unknown webhook type \"" STR_FMT
                                               "\": expected reload, reload_promote or promote",
                                               STR_ARG(type));
}

/* AppToken. */
static json_t *token_json(struct op *op, const struct store_app *app, struct str type, struct str token)
{
    struct arena *a = &op->arena;
    struct str at = store_path_domain(a, app->path, app->domain);
    json_t *j = json_object();
    json_set_str(j, "type", type);
    json_set_str(j, "url", str_printf(a, STR_FMT "/_openrun_webhook/" STR_FMT "?appPath=" STR_FMT,
                                      STR_ARG(hook_base(a, op->deploy)), STR_ARG(type), STR_ARG(http_pct_encode(a, at))));
    json_set_str(j, "token", token);
    return j;
}

/* The main app at the exact path, held for the operation. */
static bool select_app(struct op *op, struct store_app **out, struct err *err)
{
    if (!op_select(op, op->opts->app, err))
        return false;
    if (op->units.len == 0)
        return err_set(err, ERR_NOT_FOUND, "no app at " STR_FMT ": \"openrun app list\" shows those there are",
                       STR_ARG(op->opts->app));
    *out = op->units.items[0]->main.app;
    return !(*out)->is_dev ||
           err_set(err, ERR_INVALID, "webhooks are not for dev apps: they take changes of their source at once");
}

/* Gives the type the token `token`, empty for none. */
static bool set_token(struct op *op, struct str token, struct store_app **app, struct err *err)
{
    if (!check_type(op->opts->name, err) || !select_app(op, app, err))
        return false;
    struct str *slot = token_of(&(*app)->settings, op->opts->name);
    if (str_is_empty(token) && str_is_empty(*slot))
        return err_set(err, ERR_NOT_FOUND, STR_FMT " webhook is not enabled for app " STR_FMT,
                       STR_ARG(op->opts->name), STR_ARG(op->opts->app));
    *slot = token;
    op->units.items[0]->main.is_changed = true;
    return op_commit(op, NULL, NULL, err);
}

bool deploy_webhook_create(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                           json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    struct deploy_opts exact = *o;
    exact.is_exact = true;
    op_open(&op, d, who, &exact, "webhook-create");
    struct store_app *app;
    unsigned char bytes[TOKEN_BYTES];
    random_bytes(bytes, sizeof bytes);
    struct str token =
        str_cat(&op.arena, STR("cl_tkn_"), base64_encode(&op.arena, str_of((char *)bytes, sizeof bytes)));
    if (!set_token(&op, token, &app, err))
        return false;
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_object_set_new(*reply, "token", token_json(&op, app, o->name, token));
    return true;
}

bool deploy_webhook_delete(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                           json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    struct deploy_opts exact = *o;
    exact.is_exact = true;
    op_open(&op, d, who, &exact, "webhook-delete");
    struct store_app *app;
    if (!set_token(&op, (struct str){0}, &app, err))
        return false;
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    return true;
}

bool deploy_webhook_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                         json_t *body, json_t **reply, struct err *err)
{
    static const char *const types[] = {"reload", "reload_promote", "promote"};
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct store_app app;
    if (!op_find(&op, o->app, &app, err))
        return false;
    if (app.is_dev)
        return err_set(err, ERR_INVALID, "webhooks are not for dev apps: they take changes of their source at once");
    json_t *tokens = json_array();
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct str type = str_from(types[i]), token = *token_of(&app.settings, type);
        if (!str_is_empty(token))
            json_array_append_new(tokens, token_json(&op, &app, type, token));
    }
    *reply = json_object();
    json_object_set_new(*reply, "tokens", tokens);
    return true;
}

/* --- what a call is about ------------------------------------------------------------------------- */

static bool find_sync(struct deploy *d, struct arena *a, struct str id, struct deploy_hook *out, struct err *err)
{
    struct store_sync s;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_sync_get(tx, a, id, &s, err))
        return false;
    *out = (struct deploy_hook){
        .secret = s.metadata.webhook_secret,
        .is_git = src_is_git(s.path),
        .branch = s.metadata.git_branch,
        .sync = {.id = s.id, .path = s.path, .user_id = str_is_empty(s.user_id) ? STR("scheduler") : s.user_id},
    };
    return true;
}

static bool find_app(struct deploy *d, struct arena *a, struct str type, struct str path, struct deploy_hook *out,
                     struct err *err)
{
    struct src_apppath at;
    struct store_app app;
    if (!src_apppath_parse(path, &at, err))
        return false;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_app_get(tx, a, at.path, at.domain, &app, err))
        return false;
    *out = (struct deploy_hook){
        .secret = *token_of(&app.settings, type),
        .is_git = src_is_git(app.source_url),
        .branch = app.metadata.version_metadata.git_branch,
        .app = store_path_domain(a, app.path, app.domain),
    };
    return str_is_empty(app.main_app) || err_set(err, ERR_NOT_FOUND, "not a main app");
}

bool deploy_hook_find(struct deploy *d, struct arena *a, struct str type, struct str target,
                      struct deploy_hook *out, struct err *err)
{
    struct deploy_hook hook = {0};
    bool is_sync = str_eq(type, STR("sync"));
    if (!is_sync && !check_type(type, err))
        return false;
    if (str_is_empty(target))
        return err_set(err, ERR_INVALID, "%s is required", is_sync ? "id" : "appPath");
    if (!(is_sync ? find_sync(d, a, target, &hook, err) : find_app(d, a, type, target, &hook, err)))
        return false;
    if (str_is_empty(hook.secret))
        return err_set(err, ERR_NOT_FOUND, STR_FMT " webhook is not enabled for " STR_FMT, STR_ARG(type),
                       STR_ARG(target));
    *out = hook;
    return true;
}
