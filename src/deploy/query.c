/* deploy/query.c: what reads and changes nothing: apps, versions, files.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

/* Versions of the stages by id, so that a list needs no query per app. */
static void index_by_id(struct op *op, const struct store_app_list *all, struct map *by_id)
{
    map_init(by_id, &op->arena);
    vec_foreach(app, all) map_set(by_id, app->id, app);
}

static bool has_staged_changes(struct op *op, const struct map *by_id, const struct store_app *app)
{
    if (store_app_kind(app->id) != STORE_PROD)
        return false;
    const struct store_app *stage = map_get(by_id, store_app_id_of(&op->arena, app->id, STORE_STAGE));
    return stage && stage->metadata.version_metadata.version != app->metadata.version_metadata.version;
}

bool deploy_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                 json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct src_appglob glob;
    struct store_app_list all = {0};
    struct map by_id;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !src_appglob_compile(&op.arena, o->app, &glob, err) ||
        !store_app_list(tx, &op.arena, STORE_APPS_ALL, &all, err))
        return false;
    store_rollback(&tx);
    index_by_id(&op, &all, &by_id);
    json_t *apps = json_array();
    vec_foreach(app, &all)
    {
        /* A linked app follows its main app. */
        const struct store_app *main = str_is_empty(app->main_app) ? app : map_get(&by_id, app->main_app);
        struct src_apppath at = {.domain = main ? main->domain : app->domain,
                                 .path = main ? main->path : app->path};
        if ((main != app && !o->internal) || !src_appglob_match(&glob, &at))
            continue;
        json_t *j = store_app_to_json(app);
        json_set_bool(j, "staged_changes", has_staged_changes(&op, &by_id, app));
        json_array_append_new(apps, j);
    }
    *reply = json_object();
    json_object_set_new(*reply, "apps", apps);
    return true;
}

bool deploy_get(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct store_app app;
    if (!op_find(&op, o->app, &app, err))
        return false;
    *reply = json_object();
    json_object_set_new(*reply, "app_entry", store_app_to_json(&app));
    return true;
}

/* The app at an exact path that has versions. */
static bool find_versioned(struct op *op, struct store_app *app, struct err *err)
{
    if (!op_find(op, op->opts->app, app, err))
        return false;
    return !app->is_dev || err_set(err, ERR_INVALID, "version commands not supported for dev app");
}

bool deploy_version_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                         json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct store_app app;
    struct store_version_list all = {0};
    if (!find_versioned(&op, &app, err))
        return false;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_version_list(tx, &op.arena, app.id, &all, err))
        return false;
    json_t *versions = json_array();
    vec_foreach(v, &all) json_array_append_new(
        versions, store_version_to_json(v, v->version == app.metadata.version_metadata.version));
    *reply = json_object();
    json_object_set_new(*reply, "versions", versions);
    return true;
}

bool deploy_version_files(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                          json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct store_app app;
    struct store_file_list all = {0};
    if (!find_versioned(&op, &app, err))
        return false;
    int64_t version = app.metadata.version_metadata.version;
    if (!str_is_empty(o->version) && !str_to_i64(o->version, &version))
        return err_set(err, ERR_INVALID, "version must be a number, not \"" STR_FMT "\"",
                       STR_ARG(o->version));
    struct store_version ignored;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_version_get(tx, &op.arena, app.id, version, &ignored, err) ||
        !store_file_list(tx, &op.arena, app.id, version, &all, err))
        return false;
    json_t *files = json_array();
    vec_foreach(f, &all)
    {
        json_t *j = json_object();
        json_set_str(j, "Name", f->name);
        json_set_str(j, "Etag", f->sha);
        json_set_int(j, "Size", f->size);
        json_array_append_new(files, j);
    }
    *reply = json_object();
    json_object_set_new(*reply, "files", files);
    return true;
}
