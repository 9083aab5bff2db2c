/* deploy/create.c: a new app: its production and its stage entry, or a dev entry.
 *
 * Creating audits but starts nothing unless it is to be verified: without approval the app exists, and
 * answers 500 until it is approved.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

static bool find_place(struct op *op, struct str path, struct str stage_at, bool is_dev, struct place *out,
                       struct err *err)
{
    const struct deploy_config *c = &op->deploy->config;
    struct str default_domain = c->env->default_domain;
    if (!src_apppath_new(&op->arena, path, default_domain, &out->main, err))
        return false;
    out->has_stage = !is_dev;
    if (str_is_empty(stage_at))
        stage_at = c->stage_at;
    if (out->has_stage && !src_apppath_stage(&op->arena, &out->main, stage_at, c->default_stage_domain,
                                             default_domain, &out->stage, err))
        return false;
    const struct src_apppath *places[] = {&out->main, out->has_stage ? &out->stage : NULL};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        struct str domain =
            places[i] && !str_is_empty(places[i]->domain) ? places[i]->domain : default_domain;
        if (places[i] && !str_is_empty(c->auth_domain) && str_eq_nocase(domain, c->auth_domain))
            return err_set(err, ERR_INVALID,
                           "apps cannot be created on the auth callback domain \"" STR_FMT "\"",
                           STR_ARG(c->auth_domain));
    }
    return true;
}

static void place_app(struct op *op, struct store_app *app, const struct src_apppath *at,
                      const struct src_apppath *linked)
{
    app->path = at->path;
    app->domain = at->domain;
    app->linked_app_path =
        linked ? store_path_domain(&op->arena, linked->path, linked->domain) : (struct str){0};
}

/* The request as entries: the stage (or dev) entry with its source fetched, and production to follow it. */
static bool make_unit(struct op *op, struct store_app *first, const struct place *place, struct unit *u,
                      struct err *err)
{
    struct arena *a = &op->arena;
    struct src_files *files;
    if (!fetch_source(op, first, &files, err))
        return false;
    first->metadata.version_metadata.version = 1;
    first->user_id = op->who->user_id;
    struct entry *staged = place->has_stage ? &u->stage : &u->main;
    *staged = (struct entry){.app = first, .is_new = true, .has_new_version = true, .files = files};
    if (!place->has_stage) {
        first->id = store_app_id_new(a, STORE_DEV);
        place_app(op, first, &place->main, NULL);
        return true;
    }
    struct str prod_id = store_app_id_new(a, STORE_PROD);
    first->id = store_app_id_of(a, prod_id, STORE_STAGE);
    first->main_app = prod_id;
    place_app(op, first, &place->stage, &place->main);
    return true;
}

static void add_production(struct op *op, const struct place *place, struct unit *u)
{
    struct store_app *stage = u->stage.app, *prod = arena_new(&op->arena, struct store_app);
    store_app_copy(&op->arena, stage, prod);
    prod->id = stage->main_app;
    prod->main_app = (struct str){0};
    place_app(op, prod, &place->main, &place->stage);
    u->main = (struct entry){.app = prod,
                             .is_new = true,
                             .has_new_version = true,
                             .is_copied = true,
                             .copy_app = stage->id,
                             .copy_version = 1,
                             .files = u->stage.files};
}

/* Audits the entries of a new unit, stage before production, adding what they ask for to `approvals`. */
static bool audit_unit(struct op *op, struct unit *u, const struct place *place, json_t *approvals,
                       struct err *err)
{
    struct entry *staged = unit_staged(u);
    bool needs_approval;
    json_t *result;
    if (!check_approval(op, staged->app, staged->files, op->opts->approve, &result, &needs_approval, err))
        return false;
    json_array_append_new(approvals, result);
    if (!place->has_stage)
        return true;
    add_production(op, place, u);
    if (!check_approval(op, u->main.app, u->main.files, op->opts->approve, &result, &needs_approval, err))
        return false;
    json_array_append_new(approvals, result);
    return true;
}

/* Evaluates a new unit as requests would, with its containers up. */
static bool verify_unit(struct op *op, struct unit *u, struct err *err)
{
    struct entry *entries[] = {&u->stage, &u->main};
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct entry *e = entries[i];
        if (!e->app || op->opts->is_dry_run || (check_load(op, e, err) && check_container(op, e, err)))
            continue;
        err_wrap(err, "verify failed for app " STR_FMT,
                 STR_ARG(store_path_domain(&op->arena, e->app->path, e->app->domain)));
        return append_reverted(err);
    }
    return true;
}

/* An app that is allowed all it asks for and yet cannot be served is made all the same, as nothing is lost by that; who
 * makes it is told at once rather than by the first visitor. Approved apps only: others cannot be loaded. */
static void warn_unloadable(struct op *op, struct unit *u)
{
    scoped_err err = {0};
    struct entry *e = &u->main;
    bool is_known = op->opts->verify || e->loaded;
    if (e->app->is_dev && op->opts->is_dry_run) /* whose folder gets files of the spec when it is loaded */
        return;
    if (is_known || !op->opts->approve)
        return;
    if (check_load(op, e, &err)) { /* nothing was started: the first request loads it again */
        app_unref(e->loaded);
        e->loaded = NULL;
        return;
    }
    op_say(op, "warning: app " STR_FMT " cannot be served as it is: %s",
           STR_ARG(store_path_domain(&op->arena, e->app->path, e->app->domain)), err_msg(&err));
}

/* The AppCreateResponse. */
static json_t *created(struct op *op, const struct unit *u, json_t *approvals)
{
    const struct store_app *main = u->main.app;
    json_t *j = json_object();
    json_object_set_new(j, "app_path_domain", wire_path(main));
    json_set_bool(j, "dry_run", op->opts->is_dry_run);
    json_set_str(j, "http_url", wire_url(op, main, "http"));
    json_set_str(j, "https_url", wire_url(op, main, "https"));
    json_object_set(j, "approve_results", approvals);
    json_set_str(j, "orig_source_url", main->settings.orig_source_url);
    json_set_str(j, "source_url", main->source_url);
    return j;
}

bool create_unit(struct op *op, const struct request *r, struct places *places, struct unit **out,
                 json_t **result, struct err *err)
{
    struct arena *a = &op->arena;
    struct store_app *app = arena_new(a, struct store_app);
    struct unit *u = arena_new(a, struct unit);
    struct place place = {0};
    scoped_json *approvals = json_array();
    if (!find_place(op, r->path, r->stage_at, r->is_dev, &place, err) || !places_take(places, &place, err) ||
        !request_to_app(op, r, app, err) || !request_snapshot_spec(op, &app->metadata, err) ||
        !fetch_check_source(op, app, err) || !make_unit(op, app, &place, u, err))
        return false;
    *vec_push(a, &op->units) = u;
    if (!audit_unit(op, u, &place, approvals, err) ||
        ((r->verify || op->opts->verify) && !verify_unit(op, u, err)))
        return false;
    warn_unloadable(op, u);
    *out = u;
    *result = created(op, u, approvals);
    return true;
}

bool deploy_create(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                   json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "create_app");
    struct request r;
    struct src_apppath at;
    struct places places;
    struct unit *u;
    json_t *result;
    if (!request_read(&op.arena, body, &r, err) || !src_check_plain(&op.arena, r.source_url, &r.source_url, err) ||
        !request_normalize(&op.arena, &r, err) ||
        !src_apppath_new(&op.arena, r.path, d->config.env->default_domain, &at, err) ||
        !op_hold(&op, src_apppath_str(&op.arena, &at), err))
        return false;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !places_read(&op, tx, &places, err))
        return false;
    store_rollback(&tx);
    map_foreach(e, &r.appconfig) warn_appconfig(&op, e->key);
    if (!create_unit(&op, &r, &places, &u, &result, err))
        return false;
    if (!op_commit(&op, places_check_new, NULL, err)) {
        json_decref(result);
        return false;
    }
    *reply = result;
    return true;
}
