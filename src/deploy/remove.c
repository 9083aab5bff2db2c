/* deploy/remove.c: deleting apps with everything that is theirs: linked entries, versions, containers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum { DRAIN_SECS = 10 };

bool remove_entry(struct op *op, struct store_tx *tx, struct str id, struct err *err)
{
    if (!store_app_delete(tx, id, err))
        return false;
    str_list_add(&op->arena, &op->deleted, id);
    return true;
}

/* Deletes every selected app and what is linked to it. */
static bool delete_entries(struct op *op, struct store_tx *tx, void *arg, struct err *err)
{
    if (op->opts->is_dry_run)
        return true;
    vec_foreach(u, &op->units)
    {
        struct store_app_list linked = {0};
        if (!store_app_linked(tx, &op->arena, (*u)->main.app->id, &linked, err))
            return false;
        *vec_push(&op->arena, &linked) = *(*u)->main.app;
        (*u)->main.is_deleted = true;
        vec_foreach(app, &linked) if (!remove_entry(op, tx, app->id, err)) return false;
    }
    return true;
}

/* Containers and files of what was deleted. The apps are gone, so trouble is only told. */
static void remove_traces(struct op *op)
{
    const struct deploy_config *c = &op->deploy->config;
    vec_foreach(id, &op->deleted)
    {
        scoped_err err = {0};
        bool has_engine = ctr_engine_kind(ctr_manager_engine(c->env->containers)) != CTR_OFF;
        if (has_engine &&
            !ctr_manager_end_app(c->env->containers, *id, (struct str){0}, true, DRAIN_SECS, &err))
            log_warn("container of a deleted app", LOG_STR("app", *id), LOG_ERR(&err));
        scoped_err tree = {0};
        if (!fs_remove_tree(path_join(&op->arena, c->env->home, STR("run/app"), *id), &tree))
            log_warn("files of a deleted app", LOG_STR("app", *id), LOG_ERR(&tree));
    }
}

bool remove_units(struct op *op, op_before_fn *remove, void *arg, json_t **reply, struct err *err)
{
    json_t *info = json_array();
    vec_foreach(u, &op->units) json_array_append_new(info, wire_app_info((*u)->main.app));
    if (!op_commit(op, remove, arg, err)) {
        json_decref(info);
        return false;
    }
    remove_traces(op);
    *reply = json_object();
    json_set_bool(*reply, "dry_run", op->opts->is_dry_run);
    json_object_set_new(*reply, "app_info", info);
    return true;
}

bool deploy_delete(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                   json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "delete_app");
    return op_select(&op, o->app, err) && remove_units(&op, delete_entries, NULL, reply, err);
}
