/* deploy/check.c: what must hold before a change is committed: approval, evaluation, a healthy container.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

static struct store_permission_list permissions_of(const struct app_audit *audit)
{
    return (struct store_permission_list){.items = (struct store_permission *)audit->permissions,
                                          .len = audit->n_permissions,
                                          .cap = audit->n_permissions};
}

bool check_approval(struct op *op, struct store_app *app, const struct src_files *files, bool approve,
                    json_t **result, bool *needs_approval, struct err *err)
{
    struct app_audit audit;
    if (!app_audit(op->deploy->config.env, app, files, &op->arena, &audit, err))
        return false;
    struct store_permission_list asked = permissions_of(&audit);
    json_t *r = json_object();
    json_set_str(r, "id", app->id);
    json_object_set_new(r, "app_path_domain", wire_path(app));
    json_set_list(r, "new_loads", &audit.loads);
    json_object_set_new(r, "new_permissions", store_permissions_to_json(&asked));
    json_set_list(r, "approved_loads", &app->metadata.loads);
    json_object_set_new(r, "approved_permissions", store_permissions_to_json(&app->metadata.permissions));
    json_set_bool(r, "needs_approval", audit.needs_approval);
    *result = r;
    *needs_approval = audit.needs_approval;
    app->metadata.name = audit.name;
    app->metadata.jobs = audit.jobs;
    if (approve) {
        app->metadata.loads = audit.loads;
        app->metadata.permissions = asked;
    }
    return true;
}

bool check_load(struct op *op, struct entry *e, struct err *err)
{
    struct src_files *files = (struct src_files *)e->files;
    if (op_is_cancelled(op, err))
        return false;
    /* A version that is not stored yet gives its files itself; so does one that will be a copy. */
    if (!files && e->has_new_version && !e->app->is_dev && !unit_is_on_disk(e->app) &&
        !unit_stored_files(op, e->read_app, e->read_version, &files, err))
        return false;
    if (e->loaded) {
        app_unref(e->loaded);
        e->loaded = NULL;
    }
    if (!app_load(op->deploy->config.env, e->app, files, &e->loaded, err))
        return false;
    e->app->metadata.jobs = str_dup(&op->arena, app_jobs(e->loaded));
    return true;
}

static void on_line(void *arg, struct str line)
{
    op_say(arg, STR_FMT, STR_ARG(line));
}

bool check_container(struct op *op, struct entry *e, struct err *err)
{
    if (!app_has_container(e->loaded))
        return true;
    struct app_progress progress = {.line = on_line, .arg = op, .cancel = op->who->cancel};
    return app_start_container(e->loaded, &progress, err);
}

static bool is_awake(struct op *op, const struct store_app *app)
{
    struct ctr_engine *engine = ctr_manager_engine(op->deploy->config.env->containers);
    struct ctr_info_list running = {0};
    scoped_err ignored = {0};
    return ctr_engine_kind(engine) != CTR_OFF &&
           ctr_container_list(engine, &op->arena, STR(CTR_LABEL_APP_ID), app->id, false, &running,
                              &ignored) &&
           running.len > 0;
}

bool check_awake_container(struct op *op, struct entry *e, struct err *err)
{
    return op->opts->is_dry_run || !app_has_container(e->loaded) || !is_awake(op, e->app) ||
           check_container(op, e, err);
}

/* The files of an entry as it will be; NULL for what is on disk. */
static bool entry_files(struct op *op, const struct entry *e, struct src_files **out, struct err *err)
{
    *out = (struct src_files *)e->files;
    if (*out || e->app->is_dev || unit_is_on_disk(e->app))
        return true;
    return e->has_new_version
               ? unit_stored_files(op, e->read_app, e->read_version, out, err)
               : unit_stored_files(op, e->app->id, e->app->metadata.version_metadata.version, out, err);
}

/* Production never gets what nobody has approved. */
static bool check_stage_approved(struct op *op, struct unit *u, struct err *err)
{
    struct src_files *files;
    scoped_json *ignored = NULL;
    bool needs_approval;
    if (!entry_files(op, &u->stage, &files, err) ||
        !check_approval(op, u->stage.app, files, false, &ignored, &needs_approval, err))
        return false;
    if (!needs_approval)
        return true;
    struct str path = store_path_domain(&op->arena, u->main.app->path, u->main.app->domain);
    return err_set(err, ERR_INVALID,
                   "app " STR_FMT " needs approval before it is promoted: look at what it asks for with \"openrun app "
                   "approve --dry-run " STR_FMT "\", then approve it with --promote",
                   STR_ARG(path), STR_ARG(path));
}

bool check_promote(struct op *op, struct unit *u, bool start, json_t *promoted, struct err *err)
{
    if (!u->stage.app)
        return true;
    if (!check_stage_approved(op, u, err))
        return false;
    unit_promote(op, u);
    json_array_append_new(promoted, wire_path(u->main.app));
    bool is_started = start && !op->opts->is_dry_run;
    if (check_load(op, &u->main, err) &&
        (is_started ? check_container(op, &u->main, err) : check_awake_container(op, &u->main, err)))
        return true;
    return err_wrap(err, "error promoting app " STR_FMT,
                    STR_ARG(store_path_domain(&op->arena, u->main.app->path, u->main.app->domain)));
}

bool check_appconfig(struct op *op, const struct map *appconfig, struct err *err)
{
    map_foreach(e, appconfig)
    {
        struct toml_value parsed;
        struct str value = *(const struct str *)e->value;
        if (!toml_parse_value(&op->arena, value, &parsed, err))
            return err_wrap(err, "app config " STR_FMT "=" STR_FMT " is not TOML (text needs double quotes)",
                            STR_ARG(e->key), STR_ARG(value));
    }
    return true;
}

static void add_keys(struct arena *a, struct str prefix, const struct toml_value *table, struct str_list *out)
{
    map_foreach(e, &table->table) /* no deeper than TOML_DEPTH_MAX */
    {
        struct str key = str_is_empty(prefix)
                             ? e->key
                             : str_printf(a, STR_FMT "." STR_FMT, STR_ARG(prefix), STR_ARG(e->key));
        const struct toml_value *v = e->value;
        if (v->kind == TOML_TABLE)
            add_keys(a, key, v, out);
        else
            str_list_add(a, out, key);
    }
}

/* App config is open: a key that the server does not know may be for a feature that it lacks, or be mistyped. */
struct str appconfig_doubt(struct op *op, struct str key)
{
    struct arena *a = &op->arena;
    const struct toml_value *known = op->deploy->config.env->app_config;
    struct str_list keys = {0};
    if (!known)
        return (struct str){0};
    add_keys(a, (struct str){0}, known, &keys);
    if (str_list_has(&keys, key))
        return (struct str){0};
    struct str near = str_nearest(key, keys.items, keys.len);
    return str_printf(a, "is not known%s" STR_FMT "%s", near.len ? " (did you mean \"" : "", STR_ARG(near),
                      near.len ? "\"?)" : "");
}

void warn_appconfig(struct op *op, struct str key)
{
    struct str doubt = appconfig_doubt(op, key);
    if (doubt.len > 0)
        op_say(op, "warning: app config \"" STR_FMT "\" " STR_FMT, STR_ARG(key), STR_ARG(doubt));
}

/* Logs end in lines of their own, which are not the place for a word of ours. */
bool append_reverted(struct err *err)
{
    struct str text = str_from(err_msg(err));
    const char *glue = str_chr(text, '\n') != STR_NPOS ? "\n" : str_ends(text, STR(".")) ? " " : ". ";
    return err_append(err, "%sAll changes have been reverted", glue);
}
