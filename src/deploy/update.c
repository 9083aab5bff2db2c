/* deploy/update.c: changes of metadata: params, account links, options, settings, and switching versions.
 *
 * Staged ones make a stage version with the files of the last one; the app is evaluated before the commit, so
 * that a value which breaks it is refused here and not at the next request.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

static const struct str undefined = STR_INIT("<OPENRUN_UNDEFINED>");

/* One pair of matching quotes around the trimmed value goes. */
static struct str unquote(struct str value)
{
    value = str_trim(value);
    if (value.len >= 2 && (value.ptr[0] == '"' || value.ptr[0] == '\'') && value.ptr[value.len - 1] == value.ptr[0])
        return str_slice(value, 1, value.len - 1);
    return value;
}

/* Sets or, with "-", deletes. */
static void set_or_delete(struct op *op, struct map *m, struct str key, struct str value)
{
    if (str_eq(value, STR("-")))
        map_del(m, key);
    else
        store_map_set(&op->arena, m, key, value);
}

/* What a staged update does to one entry's metadata. */
typedef bool edit_fn(struct op *op, struct store_app *app, json_t *body, struct err *err);

static bool edit_unit(struct op *op, struct unit *u, edit_fn *edit, json_t *body, json_t *staged, json_t *promoted,
                      struct err *err)
{
    struct entry *e = unit_staged(u);
    json_array_append_new(staged, wire_path(e->app));
    if (!unit_bump_staged(op, u, err) || !edit(op, e->app, body, err) || !check_load(op, e, err))
        return false;
    if (!op->opts->promote || !unit_promote(op, u))
        return true;
    json_array_append_new(promoted, wire_path(u->main.app));
    return check_load(op, &u->main, err);
}

static bool staged_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                          const char *audit_name, edit_fn *edit, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, audit_name);
    json_t *staged = json_array(), *promoted = json_array();
    bool ok = op_select(&op, o->app, err);
    for (size_t i = 0; ok && edit && i < op.units.len; i++) {
        struct unit *u = op.units.items[i];
        ok = edit_unit(&op, u, edit, body, staged, promoted, err) ||
             err_wrap(err, "error updating app " STR_FMT,
                      STR_ARG(store_path_domain(&op.arena, u->main.app->path, u->main.app->domain)));
    }
    ok = ok && op_commit(&op, NULL, NULL, err);
    if (!ok) {
        json_decref(staged);
        json_decref(promoted);
        return false;
    }
    *reply = wire_staged(&op, staged, promoted);
    return true;
}

static bool edit_param(struct op *op, struct store_app *app, json_t *body, struct err *err)
{
    set_or_delete(op, &app->metadata.param_values, op->opts->name, unquote(op->opts->value));
    return true;
}

bool deploy_param_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                         json_t **reply, struct err *err)
{
    if (str_is_empty(o->name))
        return err_set(err, ERR_INVALID, "paramName is required");
    return staged_update(d, who, o, body, "update-param", edit_param, reply, err);
}

static bool edit_account(struct op *op, struct store_app *app, json_t *body, struct err *err)
{
    struct store_account_list *list = &app->metadata.accounts;
    struct str plugin = op->opts->name, account = op->opts->value;
    size_t kept = 0;
    for (size_t i = 0; i < list->len; i++)
        if (!str_eq(list->items[i].plugin, plugin))
            list->items[kept++] = list->items[i];
    list->len = kept;
    if (!str_eq(account, STR("-")))
        *vec_push(&op->arena, list) = (struct store_account){.plugin = plugin, .account_name = account};
    return true;
}

bool deploy_account_link(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                         json_t **reply, struct err *err)
{
    if (str_is_empty(o->name) || str_is_empty(o->value))
        return err_set(err, ERR_INVALID, "%s is required", str_is_empty(o->name) ? "plugin" : "account");
    return staged_update(d, who, o, body, "account-link", edit_account, reply, err);
}

/* --- app update -------------------------------------------------------------------------------------------- */

static bool edit_pairs(struct op *op, struct map *m, const struct str_list *entries, bool keep_quotes, struct err *err)
{
    vec_foreach (entry, entries) {
        struct str key, value;
        if (!str_cut(*entry, '=', &key, &value) || str_is_empty(str_trim(key)))
            return err_set(err, ERR_INVALID, "\"" STR_FMT "\" is not of the form key=value", STR_ARG(*entry));
        set_or_delete(op, m, str_trim(key), keep_quotes ? str_trim(value) : unquote(value));
    }
    return true;
}

/* App config values are TOML: told apart here, where the user can still mend it. */
static bool check_toml_values(struct op *op, const struct str_list *entries, struct err *err)
{
    vec_foreach (entry, entries) {
        struct str value;
        struct toml_value parsed;
        str_cut(*entry, '=', NULL, &value);
        if (str_eq(str_trim(value), STR("-")))
            continue;
        if (!toml_parse_value(&op->arena, value, &parsed, err))
            return err_wrap(err, "value of \"" STR_FMT "\" is not TOML (text needs double quotes)", STR_ARG(*entry));
    }
    return true;
}

static bool edit_config(struct op *op, struct store_app *app, struct str type, const struct str_list *entries,
                        struct err *err)
{
    struct store_metadata *m = &app->metadata;
    if (str_eq(type, STR("container_options")))
        return edit_pairs(op, &m->container_options, entries, false, err);
    if (str_eq(type, STR("container_args")))
        return edit_pairs(op, &m->container_args, entries, false, err);
    if (str_eq(type, STR("app_config")))
        return edit_pairs(op, &m->appconfig, entries, true, err) && check_toml_values(op, entries, err);
    bool clears = entries->len == 1 && str_eq(entries->items[0], STR("-"));
    if (str_eq(type, STR("container_volumes"))) {
        m->container_volumes = clears ? (struct str_list){0} : *entries;
        return true;
    }
    if (str_eq(type, STR("bindings")))
        return err_set(err, ERR_UNSUPPORTED, "bindings are not available in this version");
    if (!str_eq(type, STR("auth")) && !str_eq(type, STR("git_auth")))
        return err_set(err, ERR_INVALID, "unknown config_type \"" STR_FMT "\"", STR_ARG(type));
    if (entries->len != 1)
        return err_set(err, ERR_INVALID, STR_FMT " takes exactly one value", STR_ARG(type));
    if (str_eq(type, STR("git_auth"))) {
        m->git_auth_name = clears ? (struct str){0} : entries->items[0];
        return true;
    }
    const struct deploy_config *c = &op->deploy->config;
    m->authn_type = entries->items[0];
    return c->check_auth(c->arg, m->authn_type, err);
}

static bool edit_spec(struct op *op, struct store_app *app, struct str spec, struct err *err)
{
    struct store_metadata *m = &app->metadata;
    struct src_files files = {0};
    bool clears = str_eq(spec, STR("-"));
    if (!clears && !src_spec_load(&op->arena, op->deploy->config.env->home, spec, &files, err))
        return false;
    m->spec = clears ? (struct str){0} : spec;
    map_init(&m->spec_files, &op->arena);
    for (size_t i = 0; i < files.len; i++)
        store_map_set(&op->arena, &m->spec_files, files.items[i].name, str_of(files.items[i].content, files.items[i].size));
    return true;
}

static bool edit_metadata(struct op *op, struct store_app *app, json_t *body, struct err *err)
{
    struct str spec = undefined, type = undefined;
    struct str_list entries = {0};
    if (!json_read_str(body, "spec", false, &spec, err) || !json_read_str(body, "config_type", false, &type, err) ||
        !json_read_list(&op->arena, body, "config_entries", false, &entries, err))
        return false;
    if (!str_eq(spec, undefined) && !edit_spec(op, app, spec, err))
        return false;
    return str_eq(type, undefined) || entries.len == 0 || edit_config(op, app, type, &entries, err);
}

bool deploy_metadata_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                            json_t **reply, struct err *err)
{
    return staged_update(d, who, o, body, "update_metadata", edit_metadata, reply, err);
}

/* --- settings: not staged, not versioned ------------------------------------------------------------------- */

/* 0 leaves, 1 is true, 2 is false. */
static void set_flag(bool *flag, int64_t wire)
{
    if (wire == 1 || wire == 2)
        *flag = wire == 1;
}

bool deploy_settings_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                            json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "update_settings");
    int64_t stage = 0, preview = 0;
    if (!json_read_int(body, "stage_write_access", false, &stage, err) ||
        !json_read_int(body, "preview_write_access", false, &preview, err) || !op_select(&op, o->app, err))
        return false;
    json_t *updated = json_array();
    vec_foreach (u, &op.units) {
        struct entry *entries[] = {&(*u)->main, &(*u)->stage};
        for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
            if (!entries[i]->app)
                continue;
            set_flag(&entries[i]->app->settings.stage_write_access, stage);
            set_flag(&entries[i]->app->settings.preview_write_access, preview);
            entries[i]->is_changed = true;
            json_array_append_new(updated, wire_path(entries[i]->app));
        }
    }
    if (!op_commit(&op, NULL, NULL, err)) {
        json_decref(updated);
        return false;
    }
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_object_set_new(*reply, "update_results", updated);
    return true;
}

/* --- versions ------------------------------------------------------------------------------------------------ */

/* "revert" is the recorded previous version; "next" and "previous" are neighbours in the list. */
static bool choose_version(const struct store_version_list *all, const struct store_version_metadata *now, struct str want,
                           int64_t *out, struct err *err)
{
    bool next = str_eq_nocase(want, STR("next")), previous = str_eq_nocase(want, STR("previous"));
    if (str_eq_nocase(want, STR("revert"))) {
        *out = now->previous_version;
        if (*out == 0)
            return err_set(err, ERR_INVALID, "no previous version to revert to");
        return true;
    }
    if (!next && !previous) {
        if (!str_to_i64(want, out) || *out <= 0)
            return err_set(err, ERR_INVALID, "version must be a number, \"previous\", \"next\" or \"revert\", not \"" STR_FMT "\"",
                           STR_ARG(want));
        return true;
    }
    *out = 0;
    for (size_t i = 0; i < all->len; i++) {
        int64_t v = all->items[i].version;
        if (next && v > now->version && *out == 0)
            *out = v;
        if (previous && v < now->version)
            *out = v; /* ascending: the last below */
    }
    if (*out == 0)
        return err_set(err, ERR_INVALID, "no %s version", next ? "next" : "previous");
    return true;
}

static bool version_metadata_of(const struct store_version_list *all, int64_t version, const struct store_metadata **out,
                                struct err *err)
{
    for (size_t i = 0; i < all->len; i++)
        if (all->items[i].version == version) {
            *out = &all->items[i].metadata;
            return true;
        }
    return err_set(err, ERR_NOT_FOUND, "version %lld does not exist: \"openrun version list\" shows those there are",
                   (long long)version);
}

bool deploy_version_switch(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                           json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "version_switch");
    struct store_app *app = arena_new(&op.arena, struct store_app);
    if (str_is_empty(o->version))
        return err_set(err, ERR_INVALID, "version is required");
    if (!op_find(&op, o->app, app, err) || !op_hold(&op, str_is_empty(app->main_app) ? app->id : app->main_app, err) ||
        !op_find(&op, o->app, app, err)) /* again, now that it is held */
        return false;
    if (app->is_dev)
        return err_set(err, ERR_INVALID, "version commands not supported for dev app");
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    struct store_version_list all = {0};
    const struct store_metadata *wanted = NULL;
    int64_t from = vm->version, to;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_version_list(tx, &op.arena, app->id, &all, err) || !choose_version(&all, vm, o->version, &to, err) ||
        !version_metadata_of(&all, to, &wanted, err))
        return false;
    store_rollback(&tx);
    if (to == from)
        return err_set(err, ERR_INVALID, "version %lld is the active one already", (long long)to);
    store_metadata_copy(&op.arena, wanted, &app->metadata);
    vm->version = to;
    vm->previous_version = from;
    struct unit *u = arena_new(&op.arena, struct unit);
    u->main = (struct entry){.app = app, .is_changed = true};
    *vec_push(&op.arena, &op.units) = u;
    bool awake = !o->is_dry_run && check_is_awake(&op, app);
    if (!check_load(&op, &u->main, err) || (awake && !check_container(&op, &u->main, err)) ||
        !op_commit(&op, NULL, NULL, err))
        return false;
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_set_int(*reply, "from_version", from);
    json_set_int(*reply, "to_version", to);
    return true;
}
