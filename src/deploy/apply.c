/* deploy/apply.c: makes apps what declarative files say (spec app-lifecycle.md 19): however many they are,
 * one operation and one transaction.
 *
 *     files -> declarations -> those that the glob takes -> for each, in order: create, or merge and advance
 * -> commit
 *
 * An existing app is merged: what was declared last (apply_info), what is declared, and what is. What then
 * happens:
 *
 *     reload option   merge changed it                       it did not
 *     none            next version with the same files       nothing
 *     updated         source fetched; next version           nothing
 *     matched         source fetched; next version           source fetched; next version if it has changed
 *
 * The last declaration is remembered in any case: else a later merge would take changes made by hand for old
 * ones.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum { HOLD_TRIES = 5 };

enum reload_mode { RELOAD_NONE, RELOAD_UPDATED, RELOAD_MATCHED };

/* One app of the operation. */
struct target {
    const struct declaration *declared;
    struct unit *u; /* NULL: it is to be created */
};

struct apply {
    struct op *op;
    enum reload_mode mode;
    struct config_files files;
    struct declarations declared;
    VEC(struct target) targets;
    struct places places;
    bool has_places;
    struct results results;
    json_t *created, *updated, *filtered, *changes, *warnings; /* members of the reply */
};

/* --- which apps --- */

static bool read_mode(struct str text, enum reload_mode *out, struct err *err)
{
    static const char *const names[] = {"none", "updated", "matched"};
    *out = RELOAD_UPDATED;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eq_z(text, names[i])) {
            *out = (enum reload_mode)i;
            return true;
        }
    }
    return str_is_empty(text) ||
           err_set(err, ERR_INVALID,
                   "invalid reload option \"" STR_FMT "\": valid options are none, updated, matched",
                   STR_ARG(text));
}

static bool filter(struct apply *ap, struct err *err)
{
    struct op *op = ap->op;
    struct src_appglob glob;
    if (!src_appglob_compile(&op->arena, op_expand(op, op->opts->app), &glob, err))
        return false;
    vec_foreach(d, &ap->declared)
    {
        if (!src_appglob_match(&glob, &d->at))
            continue;
        vec_push(&op->arena, &ap->targets)->declared = d;
        json_t *path = json_object();
        json_set_str(path, "Path", d->at.path);
        json_set_str(path, "Domain", d->at.domain);
        json_array_append_new(ap->filtered, path);
    }
    return true;
}

/* The main app at the place, if there is one. */
static bool find_main(struct op *op, struct store_tx *tx, const struct src_apppath *at,
                      struct store_app **out, struct err *err)
{
    struct store_app *app = arena_new(&op->arena, struct store_app);
    scoped_err own = {0};
    *out = NULL;
    if (!store_app_get(tx, &op->arena, at->path, at->domain, app, &own))
        return own.code == ERR_NOT_FOUND || err_move(err, &own);
    if (str_is_empty(app->main_app))
        *out = app;
    return true;
}

/* The keys to hold: the place of each app, and the id of each that exists. */
static bool list_keys(struct apply *ap, struct str_list *keys, struct err *err)
{
    struct op *op = ap->op;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    vec_foreach(t, &ap->targets)
    {
        struct store_app *app;
        if (!find_main(op, tx, &t->declared->at, &app, err))
            return false;
        str_list_add(&op->arena, keys, src_apppath_str(&op->arena, &t->declared->at));
        if (app)
            str_list_add(&op->arena, keys, app->id);
    }
    return true;
}

/* Reads the state of each app, held now; *again if one has come into being before it was. */
static bool read_units(struct apply *ap, const struct map *held, bool *again, struct err *err)
{
    struct op *op = ap->op;
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    *again = false;
    op->units.len = 0;
    vec_foreach(t, &ap->targets)
    {
        struct store_app *app;
        t->u = NULL;
        if (!find_main(op, tx, &t->declared->at, &app, err))
            return false;
        if (!app)
            continue;
        *again |= !map_has(held, app->id);
        if (!unit_read(op, tx, app, &t->u, err))
            return false;
        *vec_push(&op->arena, &op->units) = t->u;
    }
    return true;
}

static bool hold_and_read(struct apply *ap, struct err *err)
{
    struct op *op = ap->op;
    for (int i = 0; i < HOLD_TRIES; i++) {
        struct str_list keys = {0};
        struct map held;
        bool again;
        if (!list_keys(ap, &keys, err) || !op_hold_all(op, &keys, err))
            return false;
        map_init(&held, &op->arena);
        vec_foreach(key, &keys) map_set(&held, *key, op);
        if (!read_units(ap, &held, &again, err))
            return false;
        if (!again)
            return true;
        op_let_go(op);
    }
    return err_set(err, ERR_CONFLICT, "apps of this file are being created by others: try again");
}

/* --- warnings --- */

static void warn(struct apply *ap, struct str text)
{
    json_array_append_new(ap->warnings, json_from_str(text));
    op_say(ap->op, "warning: " STR_FMT, STR_ARG(text));
}

static void warn_config(struct apply *ap)
{
    struct arena *a = &ap->op->arena;
    vec_foreach(t, &ap->targets)
    {
        map_foreach(e, &t->declared->request.appconfig)
        {
            struct str doubt = appconfig_doubt(ap->op, e->key);
            if (doubt.len > 0)
                warn(ap, str_printf(a, "app " STR_FMT " in " STR_FMT ": app_config \"" STR_FMT "\" " STR_FMT,
                                    STR_ARG(t->declared->request.path), STR_ARG(t->declared->file), STR_ARG(e->key),
                                    STR_ARG(doubt)));
        }
    }
}

/* --- the plan of a dry run --- */

/* One app that would be different. Takes over `fields` and `files`. */
static void add_change(struct apply *ap, const struct unit *u, const char *action, json_t *fields,
                       json_t *files)
{
    json_t *j = json_object();
    json_object_set_new(j, "app_path_domain", wire_path(u->main.app));
    json_set_z(j, "action", action);
    json_set_bool(j, "promoted", u->stage.app && ap->op->opts->promote);
    json_object_set_new(j, "fields", fields);
    json_object_set_new(j, "files", files);
    json_array_append_new(ap->changes, j);
}

static void plan_create(struct apply *ap, const struct request *r, const struct unit *u)
{
    struct arena *a = &ap->op->arena;
    struct store_metadata empty = {0};
    store_metadata_init(a, &empty);
    const struct entry *e = u->stage.app ? &u->stage : &u->main;
    json_t *fields = json_array(), *source = json_object();
    json_set_z(source, "field", "source");
    json_object_set_new(source, "old", json_null());
    json_object_set_new(source, "new", json_from_str(src_shown(a, r->source_url)));
    json_array_append_new(fields, source);
    json_t *more = changes_metadata(a, &empty, &e->app->metadata);
    json_array_extend(fields, more);
    json_decref(more);
    add_change(ap, u, "create", fields, changes_files(NULL, e->files));
}

static bool plan_update(struct apply *ap, struct unit *u, const struct store_metadata *before, bool is_same,
                        const struct src_files *files, struct err *err)
{
    struct op *op = ap->op;
    const struct store_app *app = unit_staged(u)->app;
    struct src_files *had = NULL;
    if (!is_same && files && !unit_stored_files(op, app->id, before->version_metadata.version, &had, err))
        return false;
    add_change(ap, u, is_same ? "update" : "reload", changes_metadata(&op->arena, before, &app->metadata),
               changes_files(had, is_same ? NULL : files));
    return true;
}

/* --- an app that is to be --- */

static bool create_app(struct apply *ap, struct target *t, struct err *err)
{
    struct op *op = ap->op;
    struct request r = t->declared->request;
    struct str said = request_text(&op->arena, &r);
    json_t *result;
    if (!ap->has_places) {
        scoped_store_tx *tx = store_read(op->deploy->config.store, err);
        if (!tx || !places_read(op, tx, &ap->places, err))
            return false;
        ap->has_places = true;
    }
    op_say(op, "creating " STR_FMT, STR_ARG(r.path));
    if (!request_normalize(&op->arena, &r, err) || !create_unit(op, &r, &ap->places, &t->u, &result, err))
        return false;
    json_array_append_new(ap->created, result);
    struct store_app *apps[] = {t->u->main.app, t->u->stage.app};
    for (size_t i = 0; i < ARRAY_LEN(apps); i++) {
        if (!apps[i])
            continue;
        apps[i]->metadata.version_metadata.apply_info = said;
        apps[i]->metadata.version_metadata.applied_sync_id = op->opts->sync_id;
        apps[i]->metadata.applied_sync_id = op->opts->sync_id;
    }
    if (op->opts->is_dry_run)
        plan_create(ap, &r, t->u);
    return true;
}

/* --- an app that is --- */

/* The same source, however it is written. */
static bool is_same_source(struct op *op, struct str x, struct str y)
{
    struct src_giturl gx, gy;
    struct str px = x, py = y;
    scoped_err ignored = {0};
    if (str_eq(x, y))
        return true;
    if (src_is_git(x) != src_is_git(y) || str_eq(x, STR("-")) || str_eq(y, STR("-")))
        return false;
    if (src_is_git(x))
        return src_giturl_parse(&op->arena, x, (struct str){0}, &gx, &ignored) &&
               src_giturl_parse(&op->arena, y, (struct str){0}, &gy, &ignored) && str_eq(gx.repo, gy.repo) &&
               str_eq(gx.folder, gy.folder);
    if (!fs_real_path(&op->arena, x, &px, &ignored))
        px = path_clean(&op->arena, x);
    if (!fs_real_path(&op->arena, y, &py, &ignored))
        py = path_clean(&op->arena, y);
    return str_eq(px, py);
}

static bool check_same_app(struct op *op, const struct store_app *app, const struct request *now,
                           struct err *err)
{
    if (!is_same_source(op, app->source_url, now->source_url) &&
        !is_same_source(op, app->settings.orig_source_url, now->source_url))
        return err_set(err, ERR_CONFLICT,
                       "app " STR_FMT " already exists with different source url: " STR_FMT
                       ": delete the app first, or keep its source",
                       STR_ARG(now->path), STR_ARG(src_shown(&op->arena, app->source_url)));
    if (app->is_dev != now->is_dev)
        return err_set(err, ERR_CONFLICT,
                       "app " STR_FMT " already exists with different dev status: it is %s",
                       STR_ARG(now->path), app->is_dev ? "a dev app" : "no dev app");
    return true;
}

static void drop_json(void *j)
{
    json_decref(j);
}

/* What was declared last, in *old. How to merge with it. */
static enum merge_mode read_old(struct apply *ap, const struct store_app *app, struct request *old)
{
    struct op *op = ap->op;
    struct str info = app->metadata.version_metadata.apply_info;
    scoped_err err = {0};
    request_init(&op->arena, old);
    /* The slices of the request are borrowed from the JSON: it lives as long as the operation. */
    json_t *j = str_is_empty(info) ? NULL : json_parse_object(info, &err);
    if (j)
        arena_defer(&op->arena, drop_json, j);
    bool has_old = j && request_read(&op->arena, j, old, &err) && request_normalize(&op->arena, old, &err);
    if (!has_old)
        request_init(&op->arena, old);
    return op->opts->clobber ? MERGE_CLOBBER : has_old ? MERGE_NORMAL : MERGE_ADOPT;
}

/* --- branch and commit --- */

/* True if the app was loaded from what is declared; nothing declared is the branch main. */
static bool is_live_target(const struct request *r, const struct store_version_metadata *vm)
{
    if (!str_is_empty(r->git_commit))
        return fetch_is_pinned(vm) && str_starts(vm->git_commit, r->git_commit);
    struct str branch = str_is_empty(r->git_branch) ? STR("main") : r->git_branch;
    return !fetch_is_pinned(vm) && str_eq(vm->git_branch, branch);
}

/* Branch and commit are one value: what to load. */
static bool merge_target(enum merge_mode mode, const struct request *old, const struct request *now,
                         const struct store_app *app)
{
    const struct store_version_metadata *vm = &app->metadata.version_metadata;
    bool is_declared = !str_is_empty(now->git_branch) || !str_is_empty(now->git_commit);
    bool is_said = str_eq(old->git_branch, now->git_branch) && str_eq(old->git_commit, now->git_commit);
    if (!src_is_git(app->source_url) || is_live_target(now, vm))
        return false;
    return mode == MERGE_NORMAL ? !is_said : is_declared;
}

static void set_target(const struct request *now, struct store_version_metadata *vm)
{
    if (!str_is_empty(now->git_commit)) {
        vm->git_commit = now->git_commit;
        vm->git_branch = (struct str){0};
    } else {
        vm->git_branch = str_is_empty(now->git_branch) ? STR("main") : now->git_branch;
    }
}

/* --- the merge --- */

static bool set_scalar(enum merge_mode mode, struct str old, struct str now, struct str *live)
{
    if (!merge_scalar(mode, old, now, *live))
        return false;
    *live = now;
    return true;
}

/* All but what to load. */
static bool merge_app(struct op *op, enum merge_mode mode, const struct request *old,
                      const struct request *now, struct store_app *app, bool *changed, struct err *err)
{
    struct arena *a = &op->arena;
    struct store_metadata *m = &app->metadata;
    const struct deploy_config *c = &op->deploy->config;
    bool has_auth = set_scalar(mode, old->authn_type, now->authn_type, &m->authn_type);
    bool has_spec = set_scalar(mode, old->spec, now->spec, &m->spec);
    *changed = has_auth || has_spec;
    *changed |= set_scalar(mode, old->git_auth_name, now->git_auth_name, &m->git_auth_name);
    *changed |= merge_map(a, mode, &old->param_values, &now->param_values, &m->param_values);
    *changed |= merge_map(a, mode, &old->container_options, &now->container_options, &m->container_options);
    *changed |= merge_map(a, mode, &old->container_args, &now->container_args, &m->container_args);
    *changed |= merge_map(a, mode, &old->appconfig, &now->appconfig, &m->appconfig);
    *changed |= merge_list(a, mode, &old->container_volumes, &now->container_volumes, &m->container_volumes);
    return (!has_auth || c->check_auth(c->arg, m->authn_type, err)) &&
           (!has_spec || request_snapshot_spec(op, m, err)) && check_appconfig(op, &m->appconfig, err) &&
           unit_check_on_disk(app, err);
}

/* Whether the source is to be looked at, and there what it has. *is_same: it has nothing new. */
static bool look_at_source(struct apply *ap, struct store_app *app, const struct store_metadata *before,
                           const struct request *now, bool has_target, bool *is_same,
                           struct src_files **files, struct err *err)
{
    struct op *op = ap->op;
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    bool is_git = src_is_git(app->source_url), is_forced = op->opts->force_reload, is_current = false;
    *files = NULL;
    *is_same = true;
    if (has_target)
        set_target(now, vm);
    else if (is_git && !is_forced &&
             !fetch_is_current(op, app, (struct str){0}, (struct str){0}, &is_current, err))
        return false;
    if (is_current)
        return true;
    if (!fetch_source(op, app, files, err))
        return false;
    *is_same = false;
    if (is_forced || app->is_dev || unit_is_on_disk(app))
        return true;
    if (is_git) {
        *is_same = str_eq(vm->git_commit, before->version_metadata.git_commit);
        return true;
    }
    struct src_files *had;
    if (!unit_stored_files(op, app->id, vm->version, &had, err))
        return false;
    *is_same = !changes_have_files(had, *files);
    return true;
}

/* Remembers the declaration where nothing else has changed. */
static void remember(struct unit *u, struct str said)
{
    struct entry *staged = unit_staged(u);
    struct store_version_metadata *vm = &staged->app->metadata.version_metadata;
    if (str_eq(vm->apply_info, said))
        return;
    vm->apply_info = said;
    staged->is_changed = true;
    struct store_version_metadata *prod = &u->main.app->metadata.version_metadata;
    if (u->stage.app && prod->version == vm->version) {
        prod->apply_info = said;
        u->main.is_changed = true;
    }
}

/* The merged app's next version. */
static bool advance(struct apply *ap, struct target *t, const struct store_metadata *before, bool has_changed,
                    bool is_same, const struct src_files *files, struct err *err)
{
    struct op *op = ap->op;
    const struct deploy_opts *o = op->opts;
    struct unit *u = t->u;
    struct store_metadata *m = &unit_staged(u)->app->metadata;
    if (!str_is_empty(o->sync_id))
        m->applied_sync_id = m->version_metadata.applied_sync_id = o->sync_id;
    op_say(op, "%s " STR_FMT, is_same ? "updating" : "reloading", STR_ARG(t->declared->request.path));
    bool starts = !is_same || o->verify || t->declared->request.verify;
    if (!unit_advance(op, u, is_same, starts, files, &ap->results, err))
        return false;
    if (has_changed)
        json_array_append_new(ap->updated, wire_path(u->main.app));
    if (!is_same)
        json_array_append_new(ap->results.reloaded, wire_path(unit_staged(u)->app));
    if (!is_same && o->promote && u->stage.app)
        json_array_append_new(ap->results.reloaded, wire_path(u->main.app));
    return !o->is_dry_run || plan_update(ap, u, before, is_same, files, err);
}

static bool update_app(struct apply *ap, struct target *t, struct err *err)
{
    struct op *op = ap->op;
    struct arena *a = &op->arena;
    struct store_app *app = unit_staged(t->u)->app;
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    struct request now = t->declared->request, old, said = now;
    struct store_metadata before;
    struct src_files *files = NULL;
    bool has_changed, is_same = true;
    if (!request_normalize(a, &now, err) || !check_same_app(op, app, &now, err))
        return false;
    store_metadata_copy(a, &app->metadata, &before);
    enum merge_mode mode = read_old(ap, app, &old);
    if (!merge_app(op, mode, &old, &now, app, &has_changed, err))
        return false;
    bool has_target = !app->is_dev && merge_target(mode, &old, &now, app);
    if (has_target && ap->mode == RELOAD_NONE) {
        /* What is not loaded is not there yet; the next merge must see that it was not. */
        op_say(op, STR_FMT ": another branch or commit is declared, which comes with a reload",
               STR_ARG(now.path));
        said.git_branch = fetch_is_pinned(vm) ? (struct str){0} : vm->git_branch;
        said.git_commit = fetch_is_pinned(vm) ? vm->git_commit : (struct str){0};
    }
    bool looks = ap->mode == RELOAD_MATCHED || (ap->mode == RELOAD_UPDATED && (has_changed || has_target));
    if (looks && !look_at_source(ap, app, &before, &now, has_target, &is_same, &files, err))
        return false;
    has_changed |= looks && has_target && !str_eq(vm->git_branch, before.version_metadata.git_branch);
    has_changed |= looks && has_target && !str_eq(vm->git_commit, before.version_metadata.git_commit);
    struct str text = request_text(a, &said);
    if (has_changed || !is_same) {
        vm->apply_info = text;
        return advance(ap, t, &before, has_changed, is_same, files, err);
    }
    remember(t->u, text);
    json_array_append_new(ap->results.skipped, wire_path(app));
    return true;
}

/* --- the operation --- */

static bool apply_all(struct apply *ap, struct err *err)
{
    vec_foreach(t, &ap->targets)
    {
        const struct declaration *d = t->declared;
        if (op_is_cancelled(ap->op, err))
            return false;
        if (!(t->u ? update_app(ap, t, err) : create_app(ap, t, err)))
            return err_wrap(err, "app " STR_FMT " in " STR_FMT, STR_ARG(d->request.path), STR_ARG(d->file));
    }
    return true;
}

static bool run(struct apply *ap, struct err *err)
{
    struct op *op = ap->op;
    const struct deploy_config *c = &op->deploy->config;
    if (!read_mode(op->opts->reload, &ap->mode, err) || !files_read(op, &ap->files, err))
        return false;
    if (ap->files.is_skipped)
        return true;
    const struct declare_env env = {
        .env = c->env, .branch = ap->files.branch, .is_dev = op->opts->is_dev, .cancel = op->who->cancel};
    if (!declare_eval(&op->arena, &env, &ap->files, &ap->declared, err) || !filter(ap, err))
        return false;
    vec_foreach(w, &ap->declared.warnings) warn(ap, *w);
    warn_config(ap);
    return hold_and_read(ap, err) && apply_all(ap, err) && op_commit(op, places_check_new, NULL, err);
}

static json_t *reply_of(struct apply *ap)
{
    const struct deploy_opts *o = ap->op->opts;
    const struct {
        const char *name;
        json_t *list;
    } lists[] = {
        {"create_results", ap->created},           {"update_results", ap->updated},
        {"approve_results", ap->results.approved}, {"promote_results", ap->results.promoted},
        {"reload_results", ap->results.reloaded},  {"skipped_results", ap->results.skipped},
        {"filtered_apps", ap->filtered},
    };
    static const char *const empty[] = {"create_binding_results", "update_binding_results",
                                        "promote_binding_results"};
    json_t *j = json_object();
    json_set_bool(j, "dry_run", o->is_dry_run);
    json_set_str(j, "commit_id", ap->files.commit);
    json_set_bool(j, "skipped_apply", ap->files.is_skipped);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        json_object_set(j, lists[i].name, lists[i].list);
    for (size_t i = 0; i < ARRAY_LEN(empty); i++)
        json_object_set_new(j, empty[i], json_array());
    json_object_set(j, "warnings", ap->warnings);
    if (o->is_dry_run)
        json_object_set(j, "changes", ap->changes);
    return j;
}

bool deploy_apply(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                  json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "apply");
    struct apply ap = {.op = &op};
    struct str plain;
    /* A sync that an older program made may have one: it is not used. */
    if (str_is_empty(o->sync_id) && !src_check_plain(&op.arena, o->path, &plain, err))
        return false;
    json_t **lists[] = {&ap.created, &ap.updated, &ap.filtered, &ap.changes, &ap.warnings};
    results_init(&ap.results);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        *lists[i] = json_array();
    bool ok = run(&ap, err);
    if (ok)
        *reply = reply_of(&ap);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        json_decref(*lists[i]);
    results_release(&ap.results);
    return ok;
}
