/* deploy/verify.c: whether the metadata is whole: what every operation must leave, also one that was killed.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

struct verify {
    struct arena *a;
    struct store_tx *tx;
    struct str_list *problems;
    struct map by_id; /* id -> struct store_app * */
};

static void PRINTF_LIKE(3, 4) found(struct verify *v, const struct store_app *app, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct str what = str_vprintf(v->a, fmt, ap);
    va_end(ap);
    str_list_add(v->a, v->problems,
                 str_printf(v->a, "app " STR_FMT " (" STR_FMT "): " STR_FMT,
                            STR_ARG(store_path_domain(v->a, app->path, app->domain)), STR_ARG(app->id),
                            STR_ARG(what)));
}

/* The version that an entry says it has, and its metadata, must be those of a version row. */
static bool verify_version(struct verify *v, const struct store_app *app, struct err *err)
{
    int64_t version = app->metadata.version_metadata.version;
    struct store_version row;
    scoped_err own = {0};
    if (!store_version_get(v->tx, v->a, app->id, version, &row, &own)) {
        if (own.code != ERR_NOT_FOUND)
            return err_move(err, &own);
        found(v, app,
              "its version %lld does not exist: switch to one that \"openrun version list\" shows",
              (long long)version);
        return true;
    }
    scoped_json *live = store_metadata_to_json(&app->metadata),
                *stored = store_metadata_to_json(&row.metadata);
    if (!json_equal(live, stored))
        found(v, app,
              "its metadata differs from that of its version %lld: what is served is right, the next change of the "
              "app stores both",
              (long long)version);
    return true;
}

static void verify_links(struct verify *v, const struct store_app *app)
{
    enum store_app_kind kind = store_app_kind(app->id);
    const struct store_app *other;
    if (kind == STORE_DEV) {
        if (!str_is_empty(app->main_app))
            found(v, app, "a dev app that belongs to " STR_FMT ": delete it and create it again", STR_ARG(app->main_app));
        return;
    }
    bool is_main = kind == STORE_PROD;
    other = map_get(&v->by_id, is_main ? store_app_id_of(v->a, app->id, STORE_STAGE) : app->main_app);
    if (!other) {
        found(v, app,
              is_main ? "it has no staging entry: delete it and create it again"
                      : "its production entry does not exist: restore a backup of the metadata to keep it");
        return;
    }
    if (is_main ? !str_is_empty(app->main_app) : str_is_empty(app->main_app))
        found(v, app, "main_app is \"" STR_FMT "\": delete it and create it again", STR_ARG(app->main_app));
    if (!str_eq(app->linked_app_path, store_path_domain(v->a, other->path, other->domain)))
        found(v, app, "linked_app_path is \"" STR_FMT "\": delete it and create it again",
              STR_ARG(app->linked_app_path));
}

bool deploy_check(struct store *store, struct arena *a, struct str_list *problems, struct err *err)
{
    struct str_list list = {0};
    struct store_app_list apps = {0};
    scoped_store_tx *tx = store_read(store, err);
    struct verify v = {.a = a, .tx = tx, .problems = &list};
    if (!tx || !store_check(tx, a, &list, err) || !store_app_list(tx, a, STORE_APPS_ALL, &apps, err))
        return false;
    map_init(&v.by_id, a);
    vec_foreach(app, &apps) map_set(&v.by_id, app->id, app);
    vec_foreach(app, &apps)
    {
        verify_links(&v, app);
        if (!app->is_dev && !verify_version(&v, app, err))
            return false;
    }
    *problems = list;
    return true;
}

/* --- on a running server --- */

/* Contents that are in the store ahead of their version are no problem: no operation may be at that point. */
static bool check_now(struct deploy *d, bool fix, json_t **reply, struct err *err)
{
    scoped_arena a = {0};
    struct str_list problems = {0};
    pthread_rwlock_wrlock(&d->contents);
    bool ok = (!fix || deploy_fix(d->config.store, err)) && deploy_check(d->config.store, &a, &problems, err);
    pthread_rwlock_unlock(&d->contents);
    if (!ok)
        return false;
    *reply = json_object();
    json_set_list(*reply, "problems", &problems);
    return true;
}

bool deploy_check_all(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                      json_t **reply, struct err *err)
{
    return check_now(d, false, reply, err);
}

bool deploy_check_fix(struct deploy *d, const struct deploy_caller *who, const struct deploy_opts *o, json_t *body,
                      json_t **reply, struct err *err)
{
    return check_now(d, true, reply, err);
}
