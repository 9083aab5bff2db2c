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
    if (value.len >= 2 && (value.ptr[0] == '"' || value.ptr[0] == '\'') &&
        value.ptr[value.len - 1] == value.ptr[0])
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
typedef bool edit_fn(struct op *op, struct store_app *app, const void *arg, struct err *err);

static bool edit_unit(struct op *op, struct unit *u, edit_fn *edit, const void *arg, json_t *staged,
                      json_t *promoted, struct err *err)
{
    struct entry *e = unit_staged(u);
    json_array_append_new(staged, wire_path(e->app));
    return unit_bump_staged(op, u, err) && edit(op, e->app, arg, err) && check_load(op, e, err) &&
           (!op->opts->promote || check_promote(op, u, false, promoted, err));
}

/* `edit` NULL: there is nothing to change; `is_no_change` (may be NULL): nothing for this app. */
static bool staged_update(struct op *op, edit_fn *edit, bool (*is_no_change)(const struct op *, const struct store_app *),
                          const void *arg, json_t **reply, struct err *err)
{
    json_t *staged = json_array(), *promoted = json_array();
    bool ok = op_select(op, op->opts->app, err);
    for (size_t i = 0; ok && edit && i < op->units.len; i++) {
        struct unit *u = op->units.items[i];
        if (is_no_change && is_no_change(op, unit_staged(u)->app))
            continue;
        ok = edit_unit(op, u, edit, arg, staged, promoted, err) ||
             err_wrap(err, "error updating app " STR_FMT,
                      STR_ARG(store_path_domain(&op->arena, u->main.app->path, u->main.app->domain)));
    }
    ok = ok && op_commit(op, NULL, NULL, err);
    if (ok)
        *reply = wire_staged(op, json_incref(staged), json_incref(promoted));
    json_decref(staged);
    json_decref(promoted);
    return ok;
}

static bool edit_param(struct op *op, struct store_app *app, const void *arg, struct err *err)
{
    set_or_delete(op, &app->metadata.param_values, op->opts->name, unquote(op->opts->value));
    return true;
}

/* A value that nothing asks for is a typing error, more often than not. */
static void warn_unknown_param(struct op *op, const struct unit *u)
{
    const struct app *app = u->stage.app ? u->stage.loaded : u->main.loaded;
    if (app && !str_eq(op->opts->value, STR("-")) && app_is_unknown_param(app, op->opts->name))
        op_say(op, "warning: app " STR_FMT " has no param " STR_FMT " in its params.star",
               STR_ARG(store_path_domain(&op->arena, u->main.app->path, u->main.app->domain)),
               STR_ARG(op->opts->name));
}

bool deploy_param_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                         json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "update-param");
    if (str_is_empty(o->name))
        return err_set(err, ERR_INVALID, "paramName is required");
    if (!str_eq(o->value, STR("-")) && !check_env_name("param", o->name, true, err))
        return false;
    if (!staged_update(&op, edit_param, NULL, NULL, reply, err))
        return false;
    vec_foreach(u, &op.units) warn_unknown_param(&op, *u);
    return true;
}

static bool has_account(const struct store_app *app, struct str plugin)
{
    const struct store_account_list *list = &app->metadata.accounts;
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i].plugin, plugin))
            return true;
    return false;
}

static bool edit_account(struct op *op, struct store_app *app, const void *arg, struct err *err)
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

static bool unlinks_nothing(const struct op *op, const struct store_app *app)
{
    return str_eq(op->opts->value, STR("-")) && !has_account(app, op->opts->name);
}

bool deploy_account_link(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                         json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "account-link");
    if (str_is_empty(o->name) || str_is_empty(o->value))
        return err_set(err, ERR_INVALID, "%s is required", str_is_empty(o->name) ? "plugin" : "account");
    return staged_update(&op, edit_account, unlinks_nothing, NULL, reply, err);
}

/* --- app update --- */

struct pair {
    struct str key, value;
};

/* One UpdateAppMetadataRequest, understood. */
struct change {
    bool has_spec;
    struct str spec; /* empty: the spec is removed */
    struct src_files spec_files;
    struct str type; /* empty: no config_type, or no entries for it */
    struct str_list entries;
    VEC(struct pair) pairs; /* of the entries, for the types that have pairs */
};

static bool is_one_of(struct str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_z(s, names[i]))
            return true;
    return false;
}

/* `key=value`; a container option may be a mere name. */
static bool read_pairs(struct op *op, struct change *c, struct err *err)
{
    bool needs_value = !str_eq(c->type, STR("container_options"));
    bool is_toml = str_eq(c->type, STR("app_config"));
    vec_foreach(entry, &c->entries)
    {
        struct pair p = {0};
        bool has_value = str_cut(*entry, '=', &p.key, &p.value);
        p.key = str_trim(p.key);
        if ((!has_value && needs_value) || str_is_empty(p.key))
            return err_set(err, ERR_INVALID, "\"" STR_FMT "\" is not of the form key=value", STR_ARG(*entry));
        bool is_arg = str_eq(c->type, STR("container_args")) && !str_eq(p.value, STR("-"));
        if (is_arg && !check_env_name("build argument", p.key, false, err))
            return false;
        p.value = is_toml ? str_trim(p.value) : unquote(p.value);
        if (is_toml && !str_eq(p.value, STR("-")))
            warn_appconfig(op, p.key);
        *vec_push(&op->arena, &c->pairs) = p;
    }
    return true;
}

static bool read_change(struct op *op, json_t *body, struct change *c, struct err *err)
{
    static const char *const with_pairs[] = {"container_options", "container_args", "app_config"};
    static const char *const with_one[] = {"auth", "git_auth"};
    const struct deploy_config *config = &op->deploy->config;
    struct str spec = undefined, type = undefined;
    *c = (struct change){0};
    if (!json_read_str(body, "spec", false, &spec, err) ||
        !json_read_str(body, "config_type", false, &type, err) ||
        !json_read_list(&op->arena, body, "config_entries", false, &c->entries, err))
        return false;
    c->has_spec = !str_eq(spec, undefined);
    if (c->has_spec && !str_eq(spec, STR("-"))) {
        c->spec = spec;
        if (!src_spec_load(&op->arena, config->env->home, spec, &c->spec_files, err))
            return false;
    }
    if (str_eq(type, undefined) || str_is_empty(type) || c->entries.len == 0)
        return true;
    c->type = type;
    if (str_eq(type, STR("bindings")))
        return err_set(err, ERR_UNSUPPORTED, "bindings are not available in this version");
    if (is_one_of(type, with_pairs, ARRAY_LEN(with_pairs)))
        return read_pairs(op, c, err);
    if (str_eq(type, STR("container_volumes")))
        return true;
    if (!is_one_of(type, with_one, ARRAY_LEN(with_one)))
        return err_set(err, ERR_INVALID, "unknown config_type \"" STR_FMT "\"", STR_ARG(type));
    if (c->entries.len != 1)
        return err_set(err, ERR_INVALID, STR_FMT " takes exactly one value", STR_ARG(type));
    return !str_eq(type, STR("auth")) || config->check_auth(config->arg, c->entries.items[0], err);
}

static void edit_spec(struct op *op, struct store_metadata *m, const struct change *c)
{
    m->spec = c->spec;
    map_init(&m->spec_files, &op->arena);
    for (size_t i = 0; i < c->spec_files.len; i++) {
        const struct src_file *f = &c->spec_files.items[i];
        store_map_set(&op->arena, &m->spec_files, f->name, str_of(f->content, f->size));
    }
}

static bool edit_metadata(struct op *op, struct store_app *app, const void *arg, struct err *err)
{
    const struct change *c = arg;
    struct store_metadata *m = &app->metadata;
    bool clears = c->entries.len == 1 && str_eq(c->entries.items[0], STR("-"));
    struct map *map = str_eq(c->type, STR("container_options")) ? &m->container_options
                      : str_eq(c->type, STR("container_args"))  ? &m->container_args
                                                                : &m->appconfig;
    if (c->has_spec)
        edit_spec(op, m, c);
    vec_foreach(p, &c->pairs) set_or_delete(op, map, p->key, p->value);
    if (str_eq(c->type, STR("container_volumes")))
        m->container_volumes = clears ? (struct str_list){0} : c->entries;
    if (str_eq(c->type, STR("auth")))
        m->authn_type = c->entries.items[0];
    if (str_eq(c->type, STR("git_auth")))
        m->git_auth_name = clears ? (struct str){0} : c->entries.items[0];
    return check_appconfig(op, &m->appconfig, err) && unit_check_on_disk(app, err);
}

bool deploy_metadata_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                            json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "update_metadata");
    struct change change;
    if (!read_change(&op, body, &change, err))
        return false;
    bool is_empty = !change.has_spec && str_is_empty(change.type);
    return staged_update(&op, is_empty ? NULL : edit_metadata, NULL, &change, reply, err);
}

/* --- settings: not staged, not versioned --- */

/* 0 leaves, 1 is true, 2 is false. */
static bool read_flag(json_t *body, const char *key, int64_t *out, struct err *err)
{
    *out = 0;
    return json_read_int(body, key, false, out, err) &&
           ((*out >= 0 && *out <= 2) ||
            err_set(err, ERR_INVALID, "%s must be 0 (unchanged), 1 (true) or 2 (false), not %lld", key,
                    (long long)*out));
}

static void set_flag(bool *flag, int64_t wire)
{
    if (wire != 0)
        *flag = wire == 1;
}

/* The previews of the selected apps, as units of their own. */
static bool add_previews(struct op *op, struct err *err)
{
    scoped_store_tx *tx = store_read(op->deploy->config.store, err);
    if (!tx)
        return false;
    for (size_t i = 0, n = op->units.len; i < n; i++) {
        struct store_app_list linked = {0};
        if (!store_app_linked(tx, &op->arena, op->units.items[i]->main.app->id, &linked, err))
            return false;
        vec_foreach(app, &linked)
        {
            if (store_app_kind(app->id) != STORE_PREVIEW)
                continue;
            struct unit *u = arena_new(&op->arena, struct unit);
            u->main.app = app;
            *vec_push(&op->arena, &op->units) = u;
        }
    }
    return true;
}

bool deploy_settings_update(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                            json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "update_settings");
    int64_t stage, preview;
    if (!read_flag(body, "stage_write_access", &stage, err) ||
        !read_flag(body, "preview_write_access", &preview, err) || !op_select(&op, o->app, err) ||
        !add_previews(&op, err))
        return false;
    json_t *updated = json_array();
    vec_foreach(u, &op.units)
    {
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

/* --- versions ------------------------------------------------------------------------------------- */

/* "revert" is the recorded previous version; "next" and "previous" are neighbours in the list. */
static bool choose_version(const struct store_version_list *all, const struct store_version_metadata *now,
                           struct str want, int64_t *out, struct err *err)
{
    bool next = str_eq_nocase(want, STR("next")), previous = str_eq_nocase(want, STR("previous"));
    if (str_eq_nocase(want, STR("revert"))) {
        *out = now->previous_version;
        if (*out == 0)
            return err_set(err, ERR_INVALID, "no version found to revert to");
        return true;
    }
    if (!next && !previous) {
        if (!str_to_i64(want, out) || *out <= 0)
            return err_set(err, ERR_INVALID,
                           "version must be a number, \"previous\", \"next\" or \"revert\", not \"" STR_FMT
                           "\"",
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
        return err_set(err, ERR_INVALID, "no %s version found", next ? "next" : "previous");
    return true;
}

static bool version_metadata_of(const struct store_version_list *all, int64_t version,
                                const struct store_metadata **out, struct err *err)
{
    for (size_t i = 0; i < all->len; i++)
        if (all->items[i].version == version) {
            *out = &all->items[i].metadata;
            return true;
        }
    return err_set(err, ERR_NOT_FOUND,
                   "version %lld does not exist: \"openrun version list\" shows those there are",
                   (long long)version);
}

/* Adds what `wanted` was approved for and `now` is not to `more`, as text. */
static void find_wider(struct op *op, const struct store_metadata *now, const struct store_metadata *wanted,
                       struct str_list *more)
{
    vec_foreach(load, &wanted->loads) if (!str_list_has(&now->loads, *load))
        str_list_add(&op->arena, more, str_printf(&op->arena, "load " STR_FMT, STR_ARG(*load)));
    vec_foreach(p, &wanted->permissions)
    {
        bool has = false;
        for (size_t i = 0; i < now->permissions.len && !has; i++)
            has = store_permission_eq(p, &now->permissions.items[i]);
        if (has)
            continue;
        struct str args = {0};
        vec_foreach(arg, &p->arguments) args = str_printf(&op->arena, STR_FMT "%s" STR_FMT, STR_ARG(args),
                                                          args.len > 0 ? " " : "", STR_ARG(*arg));
        str_list_add(&op->arena, more,
                     str_printf(&op->arena, STR_FMT "." STR_FMT " [" STR_FMT "]%s", STR_ARG(p->plugin),
                                STR_ARG(p->method), STR_ARG(args),
                                p->is_read == STORE_UNSET ? "" : p->is_read == STORE_TRUE ? " <READ>" : " <WRITE>"));
    }
}

/* A version brings back what it was approved for: more than now needs to be approved again. */
static bool check_wider(struct op *op, const struct store_app *app, const struct store_metadata *wanted, struct err *err)
{
    struct str_list more = {0};
    find_wider(op, &app->metadata, wanted, &more);
    if (more.len == 0 || op->opts->approve)
        return true;
    struct str text = more.items[0];
    for (size_t i = 1; i < more.len; i++)
        text = str_printf(&op->arena, STR_FMT ", " STR_FMT, STR_ARG(text), STR_ARG(more.items[i]));
    return err_set(err, ERR_INVALID,
                   "version %lld of app " STR_FMT " may do more than what is approved now: " STR_FMT
                   "; switch with --approve to approve that again",
                   (long long)wanted->version_metadata.version,
                   STR_ARG(store_path_domain(&op->arena, app->path, app->domain)), STR_ARG(text));
}

bool deploy_version_switch(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o,
                           json_t *body, json_t **reply, struct err *err)
{
    scoped_op op;
    op_open(&op, d, who, o, "version_switch");
    struct store_app *app = arena_new(&op.arena, struct store_app);
    if (str_is_empty(o->version))
        return err_set(err, ERR_INVALID, "version is required");
    if (!op_find(&op, o->app, app, err) ||
        !op_hold(&op, str_is_empty(app->main_app) ? app->id : app->main_app, err) ||
        !op_find(&op, o->app, app, err)) /* again, now that it is held */
        return false;
    if (app->is_dev)
        return err_set(err, ERR_INVALID, "version commands not supported for dev app");
    struct store_version_metadata *vm = &app->metadata.version_metadata;
    struct store_version_list all = {0};
    const struct store_metadata *wanted = NULL;
    int64_t from = vm->version, to;
    scoped_store_tx *tx = store_read(d->config.store, err);
    if (!tx || !store_version_list(tx, &op.arena, app->id, &all, err) ||
        !choose_version(&all, vm, o->version, &to, err) || !version_metadata_of(&all, to, &wanted, err))
        return false;
    store_rollback(&tx);
    if (to == from)
        return err_set(err, ERR_INVALID, "version %lld is the active one already", (long long)to);
    if (!check_wider(&op, app, wanted, err))
        return false;
    store_metadata_copy(&op.arena, wanted, &app->metadata);
    vm->version = to;
    vm->previous_version = from;
    struct unit *u = arena_new(&op.arena, struct unit);
    u->main = (struct entry){.app = app, .is_changed = true};
    *vec_push(&op.arena, &op.units) = u;
    if (!check_load(&op, &u->main, err) || !check_awake_container(&op, &u->main, err) ||
        !op_commit(&op, NULL, NULL, err))
        return false;
    *reply = json_object();
    json_set_bool(*reply, "dry_run", o->is_dry_run);
    json_set_int(*reply, "from_version", from);
    json_set_int(*reply, "to_version", to);
    return true;
}
