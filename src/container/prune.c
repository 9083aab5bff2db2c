/* container/prune.c: removes what newer versions have replaced: containers and images that we made, and nothing else.
 *
 * Ours is what carries our home's label (images also our kind of name). Of each app the newest few stay, and so does
 * whatever runs, is paused, belongs to a loaded app, or is the image of a container that stays. Volumes are data and are
 * never touched. An engine refuses to remove an image that any container uses; that is no failure here.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"

#include <stdlib.h>

struct prune {
    struct ctr_manager *m;
    struct arena *a;
    int keep;
    bool is_dry_run;
    struct ctr_prune_list *out;
    struct str_list images;      /* that containers which stay are made of: names and ids */
};

static struct str label(const struct ctr_kv_list *labels, const char *key)
{
    const struct str *value = ctr_kv_get(labels, str_from(key));
    return value ? *value : (struct str){0};
}

static void report(struct prune *p, bool is_image, struct str name, struct str app_id, int64_t bytes, const struct err *problem)
{
    *vec_push(p->a, p->out) = (struct ctr_prune_item){
        .is_image = is_image,
        .name = name,
        .app_id = app_id,
        .bytes = bytes,
        .problem = str_dup(p->a, str_from(err_msg(problem))),
    };
}

/* --- Containers --------------------------------------------------------------------------------------- */

/* By app, and of each the newest first. */
static int newest_container_first(const void *x, const void *y)
{
    const struct ctr_info *a = x, *b = y;
    int order = str_cmp(label(&a->labels, CTR_LABEL_APP_ID), label(&b->labels, CTR_LABEL_APP_ID));
    return order ? order : str_cmp(b->created_at, a->created_at);
}

static void remove_container(struct prune *p, const struct ctr_info *info)
{
    struct ctr_manager *m = p->m;
    scoped_err err = {0};
    if (!p->is_dry_run) {
        if (!svc_claim(m, info->name))
            return; /* somebody has just loaded it */
        bool ok = ctr_container_remove(m->engine, info->name, &err);
        svc_claim_end(m);
        if (ok)
            log_info("removed a superseded container", LOG_STR("container", info->name));
        else
            log_warn("removing a superseded container", LOG_STR("container", info->name), LOG_ERR(&err));
    }
    report(p, false, info->name, label(&info->labels, CTR_LABEL_APP_ID), 0, &err);
}

static bool is_loaded(struct ctr_manager *m, struct str name)
{
    pthread_mutex_lock(&m->lock);
    bool found = svc_find(m, name) != NULL;
    pthread_mutex_unlock(&m->lock);
    return found;
}

static bool prune_containers(struct prune *p, struct err *err)
{
    struct ctr_info_list list;
    struct str home = str_from(p->m->home), app = {0};
    int rank = 0;
    if (!ctr_container_list(p->m->engine, p->a, STR(CTR_LABEL_HOME), home, true, &list, err))
        return false;
    if (list.len > 0)
        qsort(list.items, list.len, sizeof *list.items, newest_container_first);
    for (size_t i = 0; i < list.len; i++) {
        const struct ctr_info *info = &list.items[i];
        struct str id = label(&info->labels, CTR_LABEL_APP_ID);
        rank = i > 0 && str_eq(id, app) ? rank + 1 : 0;
        app = id;
        bool is_ours = str_eq(label(&info->labels, CTR_LABEL_HOME), home) && id.len > 0 && str_starts(info->name, STR("clc-"));
        bool is_at_rest = info->status == CTR_STATUS_EXITED || info->status == CTR_STATUS_CREATED || info->status == CTR_STATUS_DEAD;
        if (is_ours && is_at_rest && rank >= p->keep && !is_loaded(p->m, info->name)) {
            remove_container(p, info);
            continue;
        }
        str_list_add(p->a, &p->images, info->image);
        str_list_add(p->a, &p->images, info->image_id);
    }
    return true;
}

/* --- Images ------------------------------------------------------------------------------------------- */

static struct str plain_name(struct str name)
{
    return str_starts(name, STR("localhost/")) ? str_from_off(name, strlen("localhost/")) : name;
}

static struct str repository(struct str name)
{
    struct str repo = plain_name(name);
    return str_slice(repo, 0, MIN(str_chr(repo, ':'), repo.len));
}

static int newest_image_first(const void *x, const void *y)
{
    const struct ctr_image *a = x, *b = y;
    int order = str_cmp(repository(a->name), repository(b->name));
    if (order == 0)
        order = (a->created_ns < b->created_ns) - (a->created_ns > b->created_ns);
    return order ? order : str_cmp(a->name, b->name); /* a dry run says what comes */
}

static bool is_used(const struct prune *p, const struct ctr_image *image)
{
    bool used = false;
    for (size_t i = 0; i < p->images.len && !used; i++)
        used = str_eq(plain_name(p->images.items[i]), plain_name(image->name)) || str_eq(p->images.items[i], image->id);
    pthread_mutex_lock(&p->m->lock);
    for (struct ctr_service *svc = p->m->services; svc && !used; svc = svc->next)
        used = str_eq(svc->run.image, plain_name(image->name));
    pthread_mutex_unlock(&p->m->lock);
    return used;
}

static bool prune_images(struct prune *p, struct err *err)
{
    struct ctr_image_list list;
    struct str home = str_from(p->m->home), repo = {0};
    int rank = 0;
    if (!ctr_image_list(p->m->engine, p->a, STR(CTR_LABEL_IMAGE_HOME), home, &list, err))
        return false;
    if (list.len > 0)
        qsort(list.items, list.len, sizeof *list.items, newest_image_first);
    for (size_t i = 0; i < list.len; i++) {
        const struct ctr_image *image = &list.items[i];
        scoped_err e = {0};
        rank = i > 0 && str_eq(repository(image->name), repo) ? rank + 1 : 0;
        repo = repository(image->name);
        bool is_ours = str_eq(label(&image->labels, CTR_LABEL_IMAGE_HOME), home) && str_starts(repo, STR("cli-"));
        if (!is_ours || rank < p->keep || is_used(p, image))
            continue;
        if (!p->is_dry_run && ctr_image_remove(p->m->engine, image->name, &e))
            log_info("removed a superseded image", LOG_STR("image", image->name), LOG_INT("bytes", image->bytes));
        report(p, true, image->name, label(&image->labels, CTR_LABEL_IMAGE_APP_ID), image->bytes, &e);
    }
    return true;
}

bool ctr_manager_prune(struct ctr_manager *m, int keep, bool is_dry_run, struct arena *a, struct ctr_prune_list *out,
                       struct err *err)
{
    struct ctr_prune_list list = {0};
    struct prune p = {.m = m, .a = a, .keep = MAX(keep, 1), .is_dry_run = is_dry_run, .out = &list};
    if (!prune_containers(&p, err) || !prune_images(&p, err))
        return err_wrap(err, "looking for superseded containers and images");
    *out = list;
    return true;
}
