/* container/volumes.c: the volumes of apps, and those that apps which are no more have left.
 *
 * Volumes are data: only a user's command removes any, and a label decides whose they are. Ours is what carries our home's
 * label and has the name that its app's id gives it. The engine refuses to remove what a container uses.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"

#include <stdlib.h>

static bool is_ours(struct ctr_manager *m, struct arena *a, const struct ctr_volume_info *v)
{
    struct str id = ctr_kv_text(&v->labels, CTR_LABEL_APP_ID);
    return str_eq_z(ctr_kv_text(&v->labels, CTR_LABEL_HOME), m->home) && id.len > 0 &&
           str_starts(v->name, str_printf(a, "clv-" STR_FMT "-", STR_ARG(id)));
}

static int by_name(const void *x, const void *y)
{
    const struct ctr_volume_info *a = x, *b = y;
    return str_cmp(a->name, b->name);
}

bool ctr_manager_volumes(struct ctr_manager *m, struct arena *a, struct ctr_volume_list *out, struct err *err)
{
    struct ctr_volume_list all, list = {0};
    if (!ctr_volume_list(m->engine, a, STR(CTR_LABEL_HOME), str_from(m->home), &all, err))
        return err_wrap(err, "looking for the volumes of apps");
    vec_foreach(v, &all)
    {
        if (is_ours(m, a, v))
            *vec_push(a, &list) = *v;
    }
    if (list.len > 0)
        qsort(list.items, list.len, sizeof *list.items, by_name);
    *out = list;
    return true;
}

/* The app that is being made is in no metadata yet. */
static bool is_loaded(struct ctr_manager *m, struct str app_id)
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    for (const struct ctr_service *svc = m->services; svc && !found; svc = svc->next)
        found = !svc->is_retired && str_eq(svc->app_id, app_id);
    pthread_mutex_unlock(&m->lock);
    return found;
}

static bool is_orphan(struct ctr_manager *m, struct arena *a, struct map *known, const struct ctr_volume_info *v, struct err *err)
{
    struct str id = ctr_kv_text(&v->labels, CTR_LABEL_APP_ID);
    const struct str *version = svc_app_version(m, a, known, id, err);
    return version && version->len == 0 && !is_loaded(m, id);
}

static void remove_one(struct ctr_manager *m, const struct ctr_volume_info *v, struct err *err)
{
    if (v->is_used)
        err_set(err, ERR_CONFLICT, "a container uses it");
    else if (ctr_volume_remove(m->engine, v->name, err))
        log_info("removed a volume of an app that is no more", LOG_STR("volume", v->name),
                 LOG_STR("app_path", ctr_kv_text(&v->labels, CTR_LABEL_APP_PATH)), LOG_STR("name", ctr_kv_text(&v->labels, CTR_LABEL_VOLUME)));
}

bool ctr_manager_prune_volumes(struct ctr_manager *m, bool is_dry_run, struct arena *a, struct ctr_prune_list *out,
                               struct err *err)
{
    struct ctr_volume_list all, orphans = {0};
    struct ctr_prune_list list = {0};
    struct map known;
    map_init(&known, a);
    if (!ctr_manager_volumes(m, a, &all, err))
        return false;
    vec_foreach(v, &all)
    {
        if (is_orphan(m, a, &known, v, err))
            *vec_push(a, &orphans) = *v;
        if (err_is_set(err)) /* nothing is removed on a guess */
            return err_wrap(err, "looking for the app of a volume");
    }
    vec_foreach(v, &orphans)
    {
        scoped_err problem = {0};
        if (!is_dry_run)
            remove_one(m, v, &problem);
        else if (v->is_used)
            err_set(&problem, ERR_CONFLICT, "a container uses it");
        *vec_push(a, &list) = (struct ctr_prune_item){
            .name = v->name,
            .app_id = ctr_kv_text(&v->labels, CTR_LABEL_APP_ID),
            .volume = ctr_kv_text(&v->labels, CTR_LABEL_VOLUME),
            .app_path = ctr_kv_text(&v->labels, CTR_LABEL_APP_PATH),
            .problem = str_dup(a, str_from(err_msg(&problem))),
        };
    }
    *out = list;
    return true;
}
