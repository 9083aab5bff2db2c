/* deploy/reload.c: reload, approve and promote: an app's next version and its way to production.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

void results_init(struct results *r)
{
    *r = (struct results){json_array(), json_array(), json_array(), json_array()};
}

void results_release(struct results *r)
{
    json_decref(r->reloaded);
    json_decref(r->approved);
    json_decref(r->promoted);
    json_decref(r->skipped);
}

static struct str text_of(struct op *op, const struct store_app *app)
{
    return store_path_domain(&op->arena, app->path, app->domain);
}

/* --- reload --- */

static void choose_commit(const struct deploy_opts *o, struct store_version_metadata *vm)
{
    if (!str_is_empty(o->commit)) {
        vm->git_commit = o->commit;
        vm->git_branch = (struct str){0};
    } else if (!str_is_empty(o->branch)) {
        vm->git_branch = o->branch;
    }
}

static bool evaluate(struct op *op, struct entry *e, struct err *err)
{
    const struct deploy_opts *o = op->opts;
    if (check_load(op, e, err) && (o->is_dry_run || e->app->is_dev || check_container(op, e, err)))
        return true;
    if (o->verify) {
        err_wrap(err, "verify failed for app " STR_FMT, STR_ARG(text_of(op, e->app)));
        return append_reverted(err);
    }
    return err_wrap(err, "error reloading app " STR_FMT, STR_ARG(text_of(op, e->app)));
}

bool unit_advance(struct op *op, struct unit *u, bool is_same, bool starts, const struct src_files *files,
                  struct results *r, struct err *err)
{
    const struct deploy_opts *o = op->opts;
    struct entry *staged = unit_staged(u);
    struct store_app *app = staged->app;
    struct src_files *stored = NULL;
    json_t *approval;
    bool needs_approval, is_stored = is_same && !app->is_dev && !unit_is_on_disk(app);
    if (is_stored &&
        !unit_stored_files(op, app->id, app->metadata.version_metadata.version, &stored, err))
        return false;
    bool is_bumped = is_same ? unit_bump_staged(op, u, err) : unit_bump(op, staged, files, err);
    if (!is_bumped ||
        !check_approval(op, app, is_stored ? stored : files, o->approve, &approval, &needs_approval, err))
        return err_wrap(err, "error reloading app " STR_FMT, STR_ARG(text_of(op, app)));
    if (!is_same)
        staged->is_copied = false; /* also when the source gives no files: served from disk */
    if (needs_approval)
        json_array_append_new(r->approved, approval);
    else
        json_decref(approval);
    if (needs_approval && !o->approve)
        return err_set(err, ERR_INVALID, "app " STR_FMT " needs approval", STR_ARG(text_of(op, app)));
    if (starts ? !evaluate(op, staged, err)
               : !check_load(op, staged, err) || !check_awake_container(op, staged, err))
        return false;
    return !o->promote || !u->stage.app || check_promote(op, u, starts, r->promoted, err);
}

/* Takes the app's spec as it is now; *changed if that is not what the app has. */
static bool refresh_spec(struct op *op, struct store_metadata *m, bool *changed, struct err *err)
{
    struct map had = m->spec_files;
    if (!request_snapshot_spec(op, m, err))
        return false;
    *changed = map_len(&had) != map_len(&m->spec_files);
    map_foreach(e, &m->spec_files)
    {
        const struct str *old = map_get(&had, e->key);
        *changed |= !old || !str_eq(*old, *(const struct str *)e->value);
    }
    return true;
}

static bool reload_unit(struct op *op, struct unit *u, struct results *r, struct err *err)
{
    const struct deploy_opts *o = op->opts;
    struct store_app *app = unit_staged(u)->app;
    bool is_git = src_is_git(app->source_url), current = false, has_new_spec = false;
    if (is_git && !str_is_empty(o->git_auth))
        app->metadata.git_auth_name = o->git_auth;
    if (o->refresh_spec && !refresh_spec(op, &app->metadata, &has_new_spec, err))
        return err_wrap(err, "error reloading app " STR_FMT, STR_ARG(text_of(op, app)));
    if (is_git && !o->force_reload && !has_new_spec &&
        !fetch_is_current(op, app, o->branch, o->commit, &current, err))
        return err_wrap(err, "error reloading app " STR_FMT, STR_ARG(text_of(op, app)));
    if (current) {
        json_array_append_new(r->skipped, wire_path(app));
        return true;
    }
    struct src_files *files;
    if (is_git)
        choose_commit(o, &app->metadata.version_metadata);
    if (!fetch_source(op, app, &files, err))
        return err_wrap(err, "error reloading app " STR_FMT, STR_ARG(text_of(op, app)));
    if (!unit_advance(op, u, false, true, files, r, err))
        return false;
    json_array_append_new(r->reloaded, wire_path(app));
    if (o->promote && u->stage.app)
        json_array_append_new(r->reloaded, wire_path(u->main.app));
    return true;
}

bool deploy_reload(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                   json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "reload");
    struct results r;
    results_init(&r);
    bool ok = op_select(&op, o->app, err);
    for (size_t i = 0; ok && i < op.units.len; i++)
        ok = reload_unit(&op, op.units.items[i], &r, err);
    ok = ok && op_commit(&op, NULL, NULL, err);
    if (ok) {
        *reply = json_object();
        json_set_bool(*reply, "dry_run", o->is_dry_run);
        json_object_set(*reply, "reload_results", r.reloaded);
        json_object_set(*reply, "approve_results", r.approved);
        json_object_set(*reply, "promote_results", r.promoted);
        json_object_set(*reply, "skipped_results", r.skipped);
    }
    results_release(&r);
    return ok;
}

/* --- approve --- */

static bool approve_unit(struct op *op, struct unit *u, struct results *r, struct err *err)
{
    struct entry *staged = unit_staged(u);
    struct store_app *app = staged->app;
    struct src_files *files = NULL;
    bool needs_approval;
    json_t *approval;
    if (!app->is_dev && !unit_is_on_disk(app) &&
        !unit_stored_files(op, app->id, app->metadata.version_metadata.version, &files, err))
        return false;
    if (!unit_bump_staged(op, u, err) ||
        !check_approval(op, app, files, true, &approval, &needs_approval, err))
        return err_wrap(err, "error auditing app " STR_FMT, STR_ARG(text_of(op, app)));
    json_array_append_new(r->approved, approval);
    return !op->opts->promote || check_promote(op, u, false, r->promoted, err);
}

bool deploy_approve(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                    json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "approve");
    struct results r;
    results_init(&r);
    bool ok = op_select(&op, o->app, err);
    for (size_t i = 0; ok && i < op.units.len; i++)
        ok = approve_unit(&op, op.units.items[i], &r, err);
    ok = ok && op_commit(&op, NULL, NULL, err);
    if (ok)
        *reply = wire_staged(&op, json_incref(r.approved), json_incref(r.promoted));
    results_release(&r);
    return ok;
}

/* --- promote --- */

bool deploy_promote(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                    json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "promote");
    json_t *promoted = json_array();
    bool ok = op_select(&op, o->app, err);
    for (size_t i = 0; ok && i < op.units.len; i++)
        ok = check_promote(&op, op.units.items[i], false, promoted, err);
    ok = ok && op_commit(&op, NULL, NULL, err);
    if (!ok) {
        json_decref(promoted);
        return false;
    }
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_object_set_new(*reply, "promote_results", promoted);
    return true;
}
