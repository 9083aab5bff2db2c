/* deploy/preview.c: previews: one commit of a production app as an app of its own, never changed after.
 *
 * A preview belongs to its main app: operations on it hold the main app, and it goes with it. No other
 * operation selects it, since only main apps are selected.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum {
    COMMIT_LEN = 40,
    PREFIX_MIN = 4, /* digits that name a commit, as git wants them */
};

static const struct str marker = STR_INIT("_cl_preview_");

static bool is_hex(struct str s)
{
    return str_is_lower_hex(s) && s.len >= PREFIX_MIN && s.len <= COMMIT_LEN;
}

static struct str text_of(struct op *op, const struct store_app *app)
{
    return store_path_domain(&op->arena, app->path, app->domain);
}

/* Reads the production app at the exact path, and makes the operation the only one on it. */
static bool hold_main(struct op *op, struct store_app *main, struct err *err)
{
    if (!op_find(op, op->opts->app, main, err))
        return false;
    if (store_app_kind(main->id) != STORE_PROD)
        return err_set(err, ERR_INVALID,
                       STR_FMT " is a %s app: previews are made of production apps, name it by its own path",
                       STR_ARG(text_of(op, main)),
                       main->is_dev                              ? "development"
                       : store_app_kind(main->id) == STORE_STAGE ? "staging"
                                                                 : "preview");
    return op_hold(op, main->id, err) &&
           op_find(op, op->opts->app, main, err); /* again, now that it is held */
}

static struct str preview_path(struct op *op, const struct store_app *main, struct str commit)
{
    return str_printf(&op->arena, STR_FMT STR_FMT STR_FMT, STR_ARG(main->path), STR_ARG(marker),
                      STR_ARG(commit));
}

/* The previews of a production app, or of all if `main_id` is empty; newest first. */
static bool read_previews(struct op *op, struct str main_id, struct store_app_list *out, struct err *err)
{
    struct store_app_list all = {0};
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx || !(str_is_empty(main_id) ? store_app_list(tx, &op->arena, STORE_APPS_ALL, &all, err)
                                       : store_app_linked(tx, &op->arena, main_id, &all, err)))
        return false;
    vec_foreach(app, &all) if (store_app_kind(app->id) == STORE_PREVIEW) * vec_push(&op->arena, out) = *app;
    return true;
}

/* --- create --- */

/* Nothing may be at, above or below the new place. Also ahead of the work: `tx` is then one for reading. */
static bool check_place(struct op *op, struct store_tx *tx, void *arg, struct err *err)
{
    const struct store_app *preview = arg;
    struct src_apppath place = {.domain = preview->domain, .path = preview->path};
    struct store_app_list all = {0};
    if (!store_app_list(tx, &op->arena, STORE_APPS_BRIEF, &all, err))
        return false;
    vec_foreach(app, &all)
    {
        struct src_apppath at = {.domain = app->domain, .path = app->path};
        bool is_root = str_eq(app->path, STR("/")); /* leaves the places of previews alone */
        if (src_apppath_eq(&place, &at))
            return err_set(err, ERR_CONFLICT, "there is a preview at " STR_FMT " already",
                           STR_ARG(text_of(op, app)));
        if (!is_root && src_apppath_overlaps(&place, &at, op->deploy->config.env->default_domain))
            return err_set(err, ERR_CONFLICT,
                           "the preview at " STR_FMT " would overlap with the app at " STR_FMT,
                           STR_ARG(text_of(op, preview)), STR_ARG(text_of(op, app)));
    }
    return true;
}

static bool check_place_now(struct op *op, struct store_app *preview, struct err *err)
{
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    return tx && check_place(op, tx, preview, err);
}

/* What production is now, as a new entry without a version, a place and a history. */
static void copy_production(struct op *op, const struct store_app *main, struct store_app *preview)
{
    store_app_copy(&op->arena, main, preview);
    preview->id = store_app_id_new(&op->arena, STORE_PREVIEW);
    preview->main_app = main->id;
    preview->linked_app_path = text_of(op, main);
    preview->user_id = op->who->user_id;
    preview->create_time = preview->update_time = 0;
    memset(&preview->settings.webhook_tokens, 0, sizeof preview->settings.webhook_tokens);
    preview->metadata.applied_sync_id = (struct str){0};
    preview->metadata.version_metadata = (struct store_version_metadata){.version = 1};
}

/* Text that may be a hash is one, unless there is no such commit and a branch is called like that. */
static bool fetch_commit(struct op *op, struct store_app *preview, struct src_files **files, struct err *err)
{
    struct store_version_metadata *vm = &preview->metadata.version_metadata;
    struct str wanted = str_trim(op->opts->commit);
    scoped_err no_commit = {0};
    if (is_hex(str_lower(&op->arena, wanted))) {
        vm->git_commit = str_lower(&op->arena, wanted);
        if (fetch_source(op, preview, files, &no_commit))
            return true;
        if (no_commit.code != ERR_NOT_FOUND || wanted.len == COMMIT_LEN)
            return err_move(err, &no_commit);
    }
    vm->git_commit = (struct str){0};
    vm->git_branch = wanted;
    scoped_err no_branch = {0};
    if (fetch_source(op, preview, files, &no_branch)) {
        vm->git_branch = (struct str){0};
        return true;
    }
    return err_move(err, err_is_set(&no_commit) && no_branch.code == ERR_NOT_FOUND ? &no_commit : &no_branch);
}

static bool make_preview(struct op *op, const struct store_app *main, struct unit *u, struct err *err)
{
    struct store_app *preview = arena_new(&op->arena, struct store_app);
    struct str wanted = str_lower(&op->arena, str_trim(op->opts->commit));
    struct src_files *files;
    copy_production(op, main, preview);
    if (wanted.len == COMMIT_LEN && is_hex(wanted)) { /* a taken place costs no fetch */
        preview->path = preview_path(op, main, wanted);
        if (!check_place_now(op, preview, err))
            return false;
    }
    if (!fetch_commit(op, preview, &files, err))
        return false;
    preview->path = preview_path(op, main, preview->metadata.version_metadata.git_commit);
    u->main = (struct entry){.app = preview, .is_new = true, .has_new_version = true, .files = files};
    return check_place_now(op, preview, err);
}

static json_t *created_reply(struct op *op, const struct store_app *preview, bool success, json_t *approval)
{
    json_t *j = json_object();
    json_set_bool(j, "dry_run", op->opts->is_dry_run);
    json_set_str(j, "http_url", success ? wire_url(op, preview, "http") : (struct str){0});
    json_set_str(j, "https_url", success ? wire_url(op, preview, "https") : (struct str){0});
    json_set_bool(j, "success", success);
    json_object_set(j, "approve_result", approval);
    return j;
}

bool deploy_preview_create(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                           json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "preview");
    struct store_app main;
    struct unit *u = arena_new(&op.arena, struct unit);
    scoped_json *approval = NULL;
    bool needs_approval;
    if (str_is_empty(str_trim(o->commit)))
        return err_set(err, ERR_INVALID, "commitId is required");
    if (!hold_main(&op, &main, err))
        return false;
    if (!src_is_git(main.source_url))
        return err_set(err, ERR_INVALID,
                       "the source of " STR_FMT " is not a git repository, so it has no commits to preview",
                       STR_ARG(text_of(&op, &main)));
    if (!make_preview(&op, &main, u, err) ||
        !check_approval(&op, u->main.app, u->main.files, o->approve, &approval, &needs_approval, err))
        return false;
    if (needs_approval && !o->approve) {
        *reply = created_reply(&op, u->main.app, false, approval);
        return true;
    }
    *vec_push(&op.arena, &op.units) = u;
    if (!check_load(&op, &u->main, err))
        return err_wrap(err, "error loading preview " STR_FMT, STR_ARG(text_of(&op, u->main.app)));
    if (!op_commit(&op, check_place, u->main.app, err))
        return false;
    *reply = created_reply(&op, u->main.app, true, approval);
    return true;
}

/* --- list --- */

bool deploy_preview_list(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                         json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "read");
    struct store_app main = {0};
    struct store_app_list previews = {0};
    if (!str_is_empty(o->app) && !op_find(&op, o->app, &main, err))
        return false;
    if (!read_previews(&op, main.id, &previews, err))
        return false;
    json_t *list = json_array();
    vec_foreach(app, &previews)
    {
        store_mask_sources(&op.arena, &app->source_url, &app->settings, &app->metadata);
        json_t *j = store_app_to_json(app);
        json_set_str(j, "http_url", wire_url(&op, app, "http"));
        json_set_str(j, "https_url", wire_url(&op, app, "https"));
        json_array_append_new(list, j);
    }
    *reply = json_object();
    json_object_set_new(*reply, "previews", list);
    return true;
}

/* --- delete --- */

static bool choose_preview(struct op *op, const struct store_app *main, struct store_app *out,
                           struct err *err)
{
    struct str prefix = str_lower(&op->arena, str_trim(op->opts->commit));
    struct store_app_list previews = {0};
    const struct store_app *found = NULL;
    if (!is_hex(prefix))
        return err_set(err, ERR_INVALID,
                       "commitId must be the commit of the preview, or its first digits, not \"" STR_FMT "\"",
                       STR_ARG(op->opts->commit));
    if (!read_previews(op, main->id, &previews, err))
        return false;
    vec_foreach(app, &previews)
    {
        if (!str_starts(app->metadata.version_metadata.git_commit, prefix))
            continue;
        if (found)
            return err_set(err, ERR_INVALID,
                           STR_FMT " has several previews of commits that start with " STR_FMT
                                   ": give more digits",
                           STR_ARG(text_of(op, main)), STR_ARG(prefix));
        found = app;
    }
    if (!found)
        return err_set(err, ERR_NOT_FOUND,
                       STR_FMT " has no preview of commit " STR_FMT
                               ": \"openrun preview list\" shows those there are",
                       STR_ARG(text_of(op, main)), STR_ARG(prefix));
    *out = *found;
    return true;
}

static bool delete_preview(struct op *op, struct store_tx *tx, void *arg, struct err *err)
{
    struct unit *u = arg;
    u->main.is_deleted = true;
    return op->opts->is_dry_run || remove_entry(op, tx, u->main.app->id, err);
}

bool deploy_preview_delete(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                           json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "preview_delete");
    struct store_app main;
    struct unit *u = arena_new(&op.arena, struct unit);
    u->main.app = arena_new(&op.arena, struct store_app);
    if (!hold_main(&op, &main, err) || !choose_preview(&op, &main, u->main.app, err))
        return false;
    *vec_push(&op.arena, &op.units) = u;
    return remove_units(&op, delete_preview, u, reply, err);
}
