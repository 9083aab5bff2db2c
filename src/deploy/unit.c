/* deploy/unit.c: one app in an operation: versions, promotion, files in the store.
 *
 * S = stage version, P = production version, H = highest stage version ever issued: a new stage version is
 * H+1, a promotion makes P = S (so P has gaps).
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

bool unit_read(struct op *op, struct store_tx *tx, struct store_app *main, struct unit **out, struct err *err)
{
    struct unit *u = arena_new(&op->arena, struct unit);
    u->main.app = main;
    if (!main->is_dev) {
        struct str stage_id = store_app_id_of(&op->arena, main->id, STORE_STAGE);
        u->stage.app = arena_new(&op->arena, struct store_app);
        if (!store_app_get_by_id(tx, &op->arena, stage_id, u->stage.app, err))
            return err_wrap(err, "the stage of " STR_FMT,
                            STR_ARG(store_path_domain(&op->arena, main->path, main->domain)));
    }
    *out = u;
    return true;
}

bool unit_is_on_disk(const struct store_app *app)
{
    return str_eq(store_map_get(&app->metadata.appconfig, STR("static_from_disk")), STR("true")) ||
           str_eq(app->metadata.spec, STR("static_disk"));
}

bool unit_check_on_disk(const struct store_app *app, struct err *err)
{
    if (!unit_is_on_disk(app) || (path_is_abs(app->source_url) && !src_is_git(app->source_url)))
        return true;
    scoped_arena a = {0};
    return err_set(err, ERR_INVALID,
                   "an app served from disk needs a local folder as its source, not " STR_FMT,
                   STR_ARG(src_shown(&a, app->source_url)));
}

bool unit_bump(struct op *op, struct entry *e, const struct src_files *files, struct err *err)
{
    struct store_version_metadata *vm = &e->app->metadata.version_metadata;
    int64_t next;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx || !store_version_next(tx, e->app->id, &next, err))
        return false;
    if (!e->has_new_version) { /* several changes in one operation are one version */
        e->is_copied = true;
        e->copy_app = e->read_app = e->app->id;
        e->copy_version = e->read_version = vm->version;
        vm->previous_version = vm->version;
        vm->version = next;
    }
    e->has_new_version = e->is_changed = true;
    if (files) {
        e->files = files;
        e->is_copied = false;
    }
    return true;
}

bool unit_bump_staged(struct op *op, struct unit *u, struct err *err)
{
    if (u->stage.app)
        return unit_bump(op, &u->stage, NULL, err);
    u->main.is_changed = true;
    return true;
}

bool unit_promote(struct op *op, struct unit *u)
{
    if (!u->stage.app)
        return false;
    struct store_app *stage = u->stage.app, *main = u->main.app;
    int64_t had = main->metadata.version_metadata.version;
    int64_t had_previous = main->metadata.version_metadata.previous_version;
    store_metadata_copy(&op->arena, &stage->metadata, &main->metadata);
    struct store_version_metadata *vm = &main->metadata.version_metadata;
    vm->previous_version = vm->version != had ? had : had_previous;
    u->main.is_changed = true;
    if (vm->version != had) {
        const struct entry *from = &u->stage;
        u->main.has_new_version = u->main.is_copied = true;
        u->main.files = from->files;
        u->main.copy_app = stage->id; /* written before production is */
        u->main.copy_version = vm->version;
        u->main.read_app = from->has_new_version ? from->read_app : stage->id;
        u->main.read_version = from->has_new_version ? from->read_version : vm->version;
    }
    return true;
}

bool unit_stored_files(struct op *op, struct str app_id, int64_t version, struct src_files **out,
                       struct err *err)
{
    struct src_files *files = arena_new(&op->arena, struct src_files);
    if (!app_stored_files(&op->arena, op->deploy->config.store, app_id, version, files, err))
        return false;
    *out = files;
    return true;
}
