/* server/api_volume.c: the management API of volumes: those that this home has made and no others.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "server_int.h"

static struct str label(const struct ctr_volume_info *v, const char *key)
{
    const struct str *value = ctr_kv_get(&v->labels, str_from(key));
    return value ? *value : (struct str){0};
}

static const char *env_of(struct str app_id)
{
    return str_starts(app_id, STR("app_dev_"))   ? "dev"
           : str_starts(app_id, STR("app_stg_")) ? "stage"
           : str_starts(app_id, STR("app_pre_")) ? "preview"
                                                 : "prod";
}

/* Where the main app is, with its domain; as labelled when it is no more. */
static struct str app_path(struct store_tx *tx, struct arena *a, const struct ctr_volume_info *v, bool *exists)
{
    struct str id = label(v, CTR_LABEL_APP_ID);
    struct store_app app;
    scoped_err ignored = {0}, also = {0};
    *exists = store_app_get_by_id(tx, a, id, &app, &ignored) || ignored.code != ERR_NOT_FOUND;
    if (str_starts(id, STR("app_stg_")))
        id = str_cat(a, STR("app_prd_"), str_from_off(id, strlen("app_stg_")));
    if (!store_app_get_by_id(tx, a, id, &app, &also))
        return label(v, CTR_LABEL_APP_PATH);
    return str_is_empty(app.domain) ? app.path : str_printf(a, STR_FMT ":" STR_FMT, STR_ARG(app.domain), STR_ARG(app.path));
}

bool api_volume_list(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ctr_volume_list list;
    (void)query;
    if (!ctr_manager_volumes(s->containers, a, &list, err))
        return false;
    scoped_store_tx *tx = store_read(s->store, err);
    if (!tx)
        return false;
    json_t *rows = json_array();
    vec_foreach (v, &list) {
        bool exists;
        struct str path = app_path(tx, a, v, &exists);
        json_t *o = json_object();
        json_set_str(o, "name", v->name);
        json_set_str(o, "volume", label(v, CTR_LABEL_VOLUME));
        json_set_str(o, "app_id", label(v, CTR_LABEL_APP_ID));
        json_set_str(o, "app_path", path);
        json_set_bool(o, "app_exists", exists);
        json_set_z(o, "env", env_of(label(v, CTR_LABEL_APP_ID)));
        json_set_bool(o, "in_use", v->is_used);
        json_set_str(o, "created_at", v->created_at);
        json_array_append_new(rows, o);
    }
    *reply = json_pack("{s:o}", "volumes", rows);
    return true;
}

bool api_volume_prune(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err)
{
    struct ctr_prune_list list;
    struct str dry_run = {0}; /* checked by the reader of the query */
    http_pairs_get(query, STR("dryRun"), &dry_run);
    bool is_dry_run = str_eq(dry_run, STR("1")) || str_eq_nocase(dry_run, STR("t")) || str_eq_nocase(dry_run, STR("true"));
    if (!ctr_manager_prune_volumes(s->containers, is_dry_run, a, &list, err))
        return false;
    json_t *rows = json_array();
    vec_foreach (item, &list) {
        json_t *o = json_object();
        json_set_str(o, "name", item->name);
        json_set_str(o, "volume", item->volume);
        json_set_str(o, "app_id", item->app_id);
        json_set_str(o, "app_path", item->app_path);
        json_set_str(o, "problem", item->problem);
        json_array_append_new(rows, o);
    }
    *reply = json_pack("{s:o, s:b}", "items", rows, "dry_run", is_dry_run);
    return true;
}
