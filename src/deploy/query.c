/* deploy/query.c: what reads and changes nothing: apps, versions, files.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

/* Linked apps follow their main app. */
static bool pick(void *arg, const struct store_row *row)
{
    struct src_apppath at = {.domain = row->main_domain, .path = row->main_path};
    return src_appglob_match(arg, &at);
}

bool deploy_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, struct buf *reply,
                 struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct src_appglob glob;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !src_appglob_compile(&op.arena, op_expand(&op, o->app), &glob, err))
        return false;
    buf_add_z(reply, "{\"apps\":[");
    if (!store_app_list_text(tx, o->internal ? STORE_APPS_ALL : STORE_APPS_MAIN, o->reveal, pick, &glob, reply,
                             err))
        return false;
    buf_add_z(reply, "]}");
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
    if (!o->reveal)
        store_settings_mask(&app.settings);
    store_mask_sources(&op.arena, &app.source_url, &app.settings, &app.metadata);
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
    vec_foreach(v, &all)
    {
        store_mask_sources(&op.arena, NULL, NULL, &v->metadata);
        json_array_append_new(versions, store_version_to_json(v, v->version == app.metadata.version_metadata.version));
    }
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
