/* container/prune.c: removes what newer versions have replaced: containers and images that we made, and nothing else.
 *
 * Ours is what carries our home's label (images also our kind of name). Of each app the few used last stay, and so does
 * whatever runs, is paused, belongs to a loaded app or to an app's current version, or is the image of a container that
 * stays. What is left of apps that are no more goes. Then, while the images together exceed their budget, those used
 * longest ago go too, but for the last one of each app. While images are built none is removed. Volumes are data and are never touched. An engine refuses to
 * remove an image that any container uses; that is no failure here.
 * SPDX-License-Identifier: Apache-2.0 */
#include "log.h"
#include "service_int.h"
#include "timefmt.h"

#include <stdlib.h>

struct one_container {
    struct ctr_info info;
    struct str app_id;
    int64_t used_ns;
    bool is_ours, is_fixed, is_gone;
};

struct one_image {
    struct ctr_image image;
    struct str repo;
    int64_t used_ns;
    int rank;                    /* among those of its app, 0 was used last */
    bool is_ours, is_fixed, is_gone;
};

struct prune {
    struct ctr_manager *m;
    struct arena *a;
    struct ctr_prune_policy policy;
    struct ctr_prune_list *out;
    struct map apps;             /* id -> current version as struct str, empty for one that is gone */
    struct err *err;             /* of the first app that could not be looked up: then nothing is done */
    struct one_container *containers;
    struct one_image *images;
    size_t n_containers, n_images;
};

/* Each removal is a call that may take seconds: a server that stops does not wait for those to come. */
static bool is_stopping(const struct prune *p)
{
    pthread_mutex_lock(&p->m->lock);
    bool is = p->m->is_closing;
    pthread_mutex_unlock(&p->m->lock);
    return is;
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

const struct str *svc_app_version(struct ctr_manager *m, struct arena *a, struct map *known, struct str id, struct err *err)
{
    struct str *version = map_get(known, id);
    if (version || !m->app_version || id.len == 0)
        return version;
    version = arena_new(a, struct str);
    if (err_is_set(err) || !m->app_version(m->app_arg, a, id, version, err))
        return NULL;
    map_set(known, id, version);
    return version;
}

static const struct str *app_version(struct prune *p, struct str id)
{
    return svc_app_version(p->m, p->a, &p->apps, id, p->err);
}

static bool app_exists(struct prune *p, struct str id)
{
    const struct str *version = app_version(p, id);
    return !version || version->len > 0;
}

static bool is_current(struct prune *p, const struct one_container *c)
{
    const struct str *version = app_version(p, c->app_id);
    return version && version->len > 0 && str_eq(*version, ctr_kv_text(&c->info.labels, CTR_LABEL_APP_VERSION));
}

/* --- Containers --------------------------------------------------------------------------------------- */

static int64_t newer(int64_t ns, struct str time)
{
    int64_t other;
    return time_parse(time, &other) && other != TIME_NONE ? MAX(ns, other) : ns;
}

/* By app, and of each the one used last first. */
static int last_used_container_first(const void *x, const void *y)
{
    const struct one_container *a = x, *b = y;
    int order = str_cmp(a->app_id, b->app_id);
    if (order == 0)
        order = (a->used_ns < b->used_ns) - (a->used_ns > b->used_ns);
    return order ? order : str_cmp(a->info.name, b->info.name); /* a dry run says what comes */
}

static bool is_loaded(struct ctr_manager *m, struct str name)
{
    pthread_mutex_lock(&m->lock);
    bool found = svc_find(m, name) != NULL;
    pthread_mutex_unlock(&m->lock);
    return found;
}

/* A list does not say when a container ran. */
static void learn_use(struct prune *p, struct one_container *c)
{
    struct ctr_info more;
    scoped_err ignored = {0};
    if (c->is_fixed)
        return;
    if (c->info.started_at.len > 0)
        more = c->info;
    else if (!ctr_container_inspect(p->m->engine, p->a, c->info.name, 0, &more, &ignored))
        return;
    c->used_ns = newer(newer(c->used_ns, more.started_at), more.finished_at);
}

/* Costs a call for each container, so only where it will be asked for. */
static void learn_uses(struct prune *p, bool all)
{
    for (size_t i = 0, end; i < p->n_containers; i = end) {
        for (end = i + 1; end < p->n_containers && str_eq(p->containers[end].app_id, p->containers[i].app_id);)
            end++;
        bool is_many = p->policy.keep > 0 && end - i > (size_t)p->policy.keep;
        for (size_t k = i; k < end && (is_many || all); k++)
            learn_use(p, &p->containers[k]);
    }
}

static bool containers_list(struct prune *p, bool is_over_budget, struct err *err)
{
    struct ctr_info_list list;
    struct str home = str_from(p->m->home);
    if (!ctr_container_list(p->m->engine, p->a, STR(CTR_LABEL_HOME), home, true, &list, err))
        return false;
    p->containers = arena_array(p->a, struct one_container, list.len + 1);
    p->n_containers = list.len;
    for (size_t i = 0; i < list.len; i++) {
        const struct ctr_info *info = &list.items[i];
        struct str id = ctr_kv_text(&info->labels, CTR_LABEL_APP_ID);
        bool is_at_rest = info->status == CTR_STATUS_EXITED || info->status == CTR_STATUS_CREATED || info->status == CTR_STATUS_DEAD;
        struct one_container *c = &p->containers[i];
        *c = (struct one_container){.info = *info, .app_id = id, .used_ns = newer(0, info->created_at)};
        c->is_ours = str_eq(ctr_kv_text(&info->labels, CTR_LABEL_HOME), home) && id.len > 0 && str_starts(info->name, STR("clc-"));
        c->is_fixed = !c->is_ours || !is_at_rest || is_loaded(p->m, info->name) || is_current(p, c);
        if (c->is_fixed)
            c->used_ns = INT64_MAX; /* now, or soon */
    }
    if (list.len == 0)
        return true;
    qsort(p->containers, list.len, sizeof *p->containers, last_used_container_first);
    learn_uses(p, is_over_budget);
    qsort(p->containers, list.len, sizeof *p->containers, last_used_container_first);
    return true;
}

static void remove_container(struct prune *p, struct one_container *c)
{
    struct ctr_manager *m = p->m;
    scoped_err err = {0}, ignored = {0};
    struct ctr_size size = {0};
    ctr_container_size(m->engine, c->info.name, &size, &ignored);
    if (!p->policy.is_dry_run) {
        if (!svc_claim(m, c->info.name))
            return; /* somebody has just loaded it */
        bool ok = ctr_container_remove(m->engine, c->info.name, &err);
        svc_claim_end(m);
        if (ok)
            log_info("removed a superseded container", LOG_STR("container", c->info.name));
        else
            log_warn("removing a superseded container", LOG_STR("container", c->info.name), LOG_ERR(&err));
    }
    c->is_gone = !err_is_set(&err);
    report(p, false, c->info.name, c->app_id, size.written, &err);
}

static void prune_containers(struct prune *p)
{
    int rank = 0;
    for (size_t i = 0; i < p->n_containers && !is_stopping(p); i++) {
        struct one_container *c = &p->containers[i];
        rank = i > 0 && str_eq(c->app_id, c[-1].app_id) ? rank + 1 : 0;
        bool is_many = p->policy.keep > 0 && rank >= p->policy.keep;
        if (!c->is_fixed && (is_many || !app_exists(p, c->app_id)))
            remove_container(p, c);
    }
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

static bool is_made_of(const struct one_container *c, const struct one_image *i)
{
    return str_eq(plain_name(c->info.image), plain_name(i->image.name)) || str_eq(c->info.image, i->image.id) ||
           str_eq(c->info.image_id, i->image.id);
}

static int last_used_image_first(const void *x, const void *y)
{
    const struct one_image *a = x, *b = y;
    int order = str_cmp(a->repo, b->repo);
    if (order == 0)
        order = (a->used_ns < b->used_ns) - (a->used_ns > b->used_ns);
    return order ? order : str_cmp(a->image.name, b->image.name);
}

static bool is_of_loaded(struct ctr_manager *m, struct str image)
{
    pthread_mutex_lock(&m->lock);
    bool used = svc_is_image_loaded(m, image);
    pthread_mutex_unlock(&m->lock);
    return used;
}

static bool images_list(struct prune *p, struct err *err)
{
    struct ctr_image_list list;
    struct str home = str_from(p->m->home);
    if (!ctr_image_list(p->m->engine, p->a, STR(CTR_LABEL_IMAGE_HOME), home, &list, err))
        return false;
    p->images = arena_array(p->a, struct one_image, list.len + 1);
    p->n_images = list.len;
    for (size_t n = 0; n < list.len; n++) {
        struct one_image *i = &p->images[n];
        *i = (struct one_image){.image = list.items[n], .repo = repository(list.items[n].name), .used_ns = list.items[n].created_ns};
        i->is_ours = str_eq(ctr_kv_text(&i->image.labels, CTR_LABEL_IMAGE_HOME), home) && str_starts(i->repo, STR("cli-"));
        i->is_fixed = !i->is_ours || is_of_loaded(p->m, i->image.name);
    }
    return true;
}

static void images_rank(struct prune *p)
{
    for (size_t n = 0; n < p->n_images; n++) {
        struct one_image *i = &p->images[n];
        for (size_t k = 0; k < p->n_containers; k++) {
            if (is_made_of(&p->containers[k], i))
                i->used_ns = MAX(i->used_ns, p->containers[k].used_ns);
        }
    }
    if (p->n_images > 0)
        qsort(p->images, p->n_images, sizeof *p->images, last_used_image_first);
    for (size_t n = 1; n < p->n_images; n++)
        p->images[n].rank = str_eq(p->images[n].repo, p->images[n - 1].repo) ? p->images[n - 1].rank + 1 : 0;
}

static bool is_used(const struct prune *p, const struct one_image *i, bool by_fixed)
{
    for (size_t k = 0; k < p->n_containers; k++) {
        const struct one_container *c = &p->containers[k];
        if (!c->is_gone && (c->is_fixed || !by_fixed) && is_made_of(c, i))
            return true;
    }
    return false;
}

static bool remove_held(struct ctr_manager *m, struct str image, struct err *err)
{
    if (!svc_image_remove_begin(m, image, err))
        return false;
    bool ok = ctr_image_remove(m->engine, image, err);
    svc_image_remove_end(m);
    return ok;
}

static void remove_image(struct prune *p, struct one_image *i)
{
    scoped_err err = {0};
    if (!p->policy.is_dry_run && remove_held(p->m, i->image.name, &err))
        log_info("removed a superseded image", LOG_STR("image", i->image.name), LOG_INT("bytes", i->image.bytes));
    i->is_gone = !err_is_set(&err);
    i->is_fixed = true; /* one try */
    report(p, true, i->image.name, ctr_kv_text(&i->image.labels, CTR_LABEL_IMAGE_APP_ID), i->image.bytes, &err);
}

static bool has_app(struct prune *p, const struct one_image *i)
{
    return app_exists(p, ctr_kv_text(&i->image.labels, CTR_LABEL_IMAGE_APP_ID));
}

static void prune_images(struct prune *p)
{
    for (size_t n = 0; n < p->n_images && !is_stopping(p); n++) {
        struct one_image *i = &p->images[n];
        bool is_many = p->policy.keep > 0 && i->rank >= p->policy.keep;
        if (!i->is_fixed && (is_many || !has_app(p, i)) && !is_used(p, i, false))
            remove_image(p, i);
    }
}

/* --- The budget --------------------------------------------------------------------------------------- */

static int64_t bytes_left(const struct prune *p)
{
    int64_t sum = 0;
    for (size_t n = 0; n < p->n_images; n++)
        sum += p->images[n].is_ours && !p->images[n].is_gone ? p->images[n].image.bytes : 0;
    return sum;
}

static bool is_over_budget(const struct prune *p)
{
    return p->policy.bytes_max > 0 && bytes_left(p) > p->policy.bytes_max;
}

static void prune_to_budget(struct prune *p)
{
    while (is_over_budget(p) && !is_stopping(p)) {
        struct one_image *oldest = NULL;
        for (size_t n = 0; n < p->n_images; n++) {
            struct one_image *i = &p->images[n];
            bool is_last = i->rank == 0 && has_app(p, i);
            if (!i->is_fixed && !is_last && (!oldest || i->used_ns < oldest->used_ns) && !is_used(p, i, true))
                oldest = i;
        }
        if (!oldest)
            return;
        for (size_t k = 0; k < p->n_containers; k++) {
            if (!p->containers[k].is_gone && is_made_of(&p->containers[k], oldest))
                remove_container(p, &p->containers[k]);
        }
        remove_image(p, oldest);
    }
}

bool ctr_manager_prune(struct ctr_manager *m, const struct ctr_prune_policy *policy, struct arena *a, struct ctr_prune_list *out,
                       struct err *err)
{
    struct ctr_prune_list list = {0};
    scoped_err unknown = {0};
    struct prune p = {.m = m, .a = a, .policy = *policy, .out = &list, .err = &unknown};
    map_init(&p.apps, a);
    /* The container of an app that is being made, and is in no metadata yet, belongs to what is loaded. */
    if (!images_list(&p, err) || !containers_list(&p, is_over_budget(&p), err))
        return err_wrap(err, "looking for superseded containers and images");
    for (size_t n = 0; n < p.n_images; n++)
        app_exists(&p, ctr_kv_text(&p.images[n].image.labels, CTR_LABEL_IMAGE_APP_ID));
    if (err_is_set(&unknown))
        return err_move(err, &unknown) || err_wrap(err, "looking for superseded containers and images");
    images_rank(&p);
    prune_containers(&p);
    prune_images(&p);
    prune_to_budget(&p);
    *out = list;
    return true;
}
