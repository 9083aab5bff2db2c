/* server/api_volume.c: the management API of volumes: those that this home has made and no others.
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"
#include "server_int.h"

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
        struct str id = ctr_kv_text(&v->labels, CTR_LABEL_APP_ID);
        struct store_app app;
        scoped_err why = {0};
        bool exists = store_app_get_by_id(tx, a, id, &app, &why) || why.code != ERR_NOT_FOUND;
        json_t *o = json_object();
        json_set_str(o, "name", v->name);
        json_set_str(o, "volume", ctr_kv_text(&v->labels, CTR_LABEL_VOLUME));
        json_set_str(o, "app_id", id);
        json_set_str(o, "app_path", api_app_path(tx, a, &v->labels));
        json_set_bool(o, "app_exists", exists);
        json_set_z(o, "env", api_env_of(id));
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
    bool is_dry_run = api_query_is_on(query, "dryRun");
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
