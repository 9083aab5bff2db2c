/* deploy/create.c: a new app: its production and its stage entry, or a dev entry.
 *
 * Creating audits but starts nothing: without approval the app exists, and answers 500 until it is approved.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

/* Where the new app goes; checked again in the transaction. */
struct place {
    struct src_apppath main, stage;
    bool has_stage;
};

static bool read_request(struct op *op, json_t *body, struct store_app *app, struct str *path,
                         struct str *stage_at, struct err *err)
{
    struct arena *a = &op->arena;
    struct store_metadata *m = &app->metadata;
    bool ok = json_read_str(body, "path", true, path, err) &&
              json_read_str(body, "source_url", true, &app->source_url, err) &&
              json_read_bool(body, "is_dev", false, &app->is_dev, err) &&
              json_read_str(body, "app_authn", false, &m->authn_type, err) &&
              json_read_str(body, "git_branch", false, &m->version_metadata.git_branch, err) &&
              json_read_str(body, "git_commit", false, &m->version_metadata.git_commit, err) &&
              json_read_str(body, "git_auth_name", false, &m->git_auth_name, err) &&
              json_read_str(body, "spec", false, &m->spec, err) &&
              json_read_map(a, body, "param_values", false, &m->param_values, err) &&
              json_read_map(a, body, "container_options", false, &m->container_options, err) &&
              json_read_map(a, body, "container_args", false, &m->container_args, err) &&
              json_read_list(a, body, "container_volumes", false, &m->container_volumes, err) &&
              json_read_map(a, body, "appconfig", false, &m->appconfig, err) &&
              json_read_list(a, body, "bindings", false, &m->bindings, err) &&
              json_read_str(body, "stage_at", false, stage_at, err);
    if (ok && m->bindings.len > 0)
        return err_set(err, ERR_UNSUPPORTED, "bindings are not available in this version");
    return ok;
}

/* Text before '#' is the source, after it the folder of app.star. */
static bool split_star_base(struct op *op, struct store_app *app, struct err *err)
{
    struct str source, base;
    if (!str_cut(app->source_url, '#', &source, &base))
        return true;
    app->source_url = source;
    base = str_trim_right(base, '/');
    while (str_starts(base, STR("/")))
        base = str_from_off(base, 1);
    if (str_is_empty(base))
        return true;
    if (!src_name_clean(&op->arena, base, &base, err))
        return err_wrap(err, "the folder after \"#\" in the source");
    scoped_buf toml = BUF_INIT(16 << 10);
    buf_add_char(&toml, '"'); /* a JSON string is a TOML string */
    buf_add_json(&toml, base);
    buf_add_char(&toml, '"');
    store_map_set(&op->arena, &app->metadata.appconfig, STR("star_base"),
                  str_dup(&op->arena, buf_str(&toml)));
    return true;
}

static bool snapshot_spec(struct op *op, struct store_app *app, struct err *err)
{
    struct store_metadata *m = &app->metadata;
    struct src_files spec;
    if (str_is_empty(m->spec))
        return true;
    if (!src_spec_load(&op->arena, op->deploy->config.env->home, m->spec, &spec, err))
        return false;
    for (size_t i = 0; i < spec.len; i++)
        store_map_set(&op->arena, &m->spec_files, spec.items[i].name,
                      str_of(spec.items[i].content, spec.items[i].size));
    return true;
}

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

/* No entry may be at, above or below the new places. Runs in the transaction that inserts. */
static bool check_overlap(struct op *op, struct store_tx *tx, void *arg, struct err *err)
{
    const struct place *place = arg;
    struct str default_domain = op->deploy->config.env->default_domain;
    struct store_app_list all = {0};
    if (!store_app_list(tx, &op->arena, STORE_APPS_BRIEF, &all, err))
        return false;
    vec_foreach(app, &all)
    {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        struct str text = store_path_domain(&op->arena, app->path, app->domain);
        if (src_apppath_overlaps(&place->main, &at, default_domain))
            return err_set(err, ERR_INVALID, "App already exists at " STR_FMT, STR_ARG(text));
        if (place->has_stage && src_apppath_overlaps(&place->stage, &at, default_domain))
            return err_set(err, ERR_INVALID, "stage app overlaps with existing app at " STR_FMT,
                           STR_ARG(text));
    }
    return true;
}

/* The same ahead of the work, so that a taken path costs no fetch. */
static bool check_overlap_now(struct op *op, struct place *place, struct err *err)
{
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    return tx && check_overlap(op, tx, place, err);
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

static struct str url_of(struct op *op, const struct store_app *app, const char *scheme, int port)
{
    struct src_apppath at = {.domain = app->domain, .path = app->path};
    if (port <= 0)
        return (struct str){0};
    return src_apppath_url(&op->arena, &at, scheme, op->deploy->config.env->default_domain, (unsigned)port);
}

bool deploy_create(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                   json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "create_app");
    struct arena *a = &op.arena;
    struct store_app *app = arena_new(a, struct store_app);
    struct str path = {0}, stage_at = {0};
    struct place place = {0};
    store_app_init(a, app);
    if (!read_request(&op, body, app, &path, &stage_at, err) || !split_star_base(&op, app, err) ||
        !check_appconfig(&op, &app->metadata.appconfig, err))
        return false;
    struct store_metadata *m = &app->metadata;
    if (str_is_empty(m->authn_type))
        m->authn_type = STR("default");
    if (!str_is_empty(m->version_metadata.git_commit))
        m->version_metadata.git_branch = (struct str){0};
    else if (str_is_empty(m->version_metadata.git_branch))
        m->version_metadata.git_branch = STR("main");
    if (!src_is_git(app->source_url))
        m->version_metadata.git_branch = m->version_metadata.git_commit = (struct str){0};
    app->settings.stage_write_access = d->config.stage_write_access;
    app->settings.preview_write_access = d->config.preview_write_access;

    struct unit *u = arena_new(a, struct unit);
    bool needs_approval;
    json_t *approvals = json_array(), *result;
    bool ok = find_place(&op, path, stage_at, app->is_dev, &place, err) &&
              d->config.check_auth(d->config.arg, m->authn_type, err) &&
              op_hold(&op, src_apppath_str(a, &place.main), err) && check_overlap_now(&op, &place, err) &&
              snapshot_spec(&op, app, err) && fetch_check_source(&op, app, err) &&
              make_unit(&op, app, &place, u, err) &&
              check_approval(&op, app, unit_staged(u)->files, o->approve, &result, &needs_approval, err);
    if (ok) {
        *vec_push(a, &op.units) = u;
        json_array_append_new(approvals, result);
        if (place.has_stage) {
            add_production(&op, &place, u);
            ok = check_approval(&op, u->main.app, u->main.files, o->approve, &result, &needs_approval, err);
            if (ok)
                json_array_append_new(approvals, result);
        }
    }
    ok = ok && op_commit(&op, check_overlap, &place, err);
    if (!ok) {
        json_decref(approvals);
        return false;
    }
    const struct store_app *main = u->main.app;
    *reply = json_object();
    json_object_set_new(*reply, "app_path_domain", wire_path(main));
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_set_str(*reply, "http_url", url_of(&op, main, "http", d->config.env->http_port));
    json_set_str(*reply, "https_url", url_of(&op, main, "https", d->config.env->https_port));
    json_object_set_new(*reply, "approve_results", approvals);
    json_set_str(*reply, "orig_source_url", main->settings.orig_source_url);
    json_set_str(*reply, "source_url", main->source_url);
    return true;
}
