/* container/task.c: single commands: their names, the table of those that run, and what others have left.
 * SPDX-License-Identifier: Apache-2.0 */
#include "ctr_task.h"
#include "log.h"
#include "service_int.h"

struct svc_task {
    struct str name;
    struct svc_task *next;
};

static void enter(struct ctr_manager *m, struct svc_task *t)
{
    pthread_mutex_lock(&m->lock);
    t->next = m->tasks;
    m->tasks = t;
    pthread_mutex_unlock(&m->lock);
}

static void leave(struct ctr_manager *m, struct svc_task *t)
{
    pthread_mutex_lock(&m->lock);
    struct svc_task **at = &m->tasks;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    pthread_mutex_unlock(&m->lock);
}

static bool is_running(struct ctr_manager *m, struct str name)
{
    pthread_mutex_lock(&m->lock);
    const struct svc_task *t = m->tasks;
    while (t && !str_eq(t->name, name))
        t = t->next;
    pthread_mutex_unlock(&m->lock);
    return t != NULL;
}

bool ctr_manager_task(struct ctr_manager *m, struct str app_id, const struct ctr_run *run, const struct ctr_task_io *io,
                      struct ctr_task_end *end, struct err *err)
{
    scoped_arena a = {0};
    struct ctr_run own = *run;
    own.name = str_printf(&a, "clt-" STR_FMT "-" STR_FMT, STR_ARG(app_id), STR_ARG(id_ksuid(&a)));
    own.port = 0;
    own.labels = (struct ctr_kv_list){0};
    ctr_kv_set(&a, &own.labels, STR(CTR_LABEL_TASK_HOME), str_from(m->home));
    ctr_kv_set(&a, &own.labels, STR(CTR_LABEL_TASK_APP_ID), app_id);
    const struct str *path = ctr_kv_get(&run->labels, STR(CTR_LABEL_APP_PATH));
    if (path)
        ctr_kv_set(&a, &own.labels, STR(CTR_LABEL_TASK_APP_PATH), *path);
    struct svc_task t = {.name = own.name};
    enter(m, &t);
    bool ok = ctr_container_task(m->engine, &own, io, end, err);
    leave(m, &t);
    return ok;
}

void ctr_manager_clean_tasks(struct ctr_manager *m)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_info_list list = {0};
    if (ctr_engine_kind(m->engine) == CTR_OFF)
        return;
    if (!ctr_container_list(m->engine, &a, STR(CTR_LABEL_TASK_HOME), str_from(m->home), true, &list, &err)) {
        log_warn("looking for containers of commands that were left", LOG_ERR(&err));
        return;
    }
    for (size_t i = 0; i < list.len; i++) {
        scoped_err e = {0};
        struct str name = list.items[i].name;
        if (!str_starts(name, STR("clt-")) || is_running(m, name))
            continue;
        log_info("removing a container whose command nobody waits for", LOG_STR("container", name));
        if (!ctr_container_remove(m->engine, name, &e))
            log_warn("removing a container of a command", LOG_STR("container", name), LOG_ERR(&e));
    }
}

static void on_image_phase(void *svc, const char *name)
{
    svc_phase(svc, name);
}

bool ctr_service_make_image(struct ctr_service *svc, struct err *err)
{
    scoped_arena a = {0};
    bool exists = false;
    if (!svc_images_hold(svc, err))
        return false;
    bool ok = ctr_image_inspect(svc->m->engine, &a, svc->run.image, &exists, NULL, err) &&
              (exists || svc_image_ensure(svc, &(struct image_phase){on_image_phase, svc}, &a, err));
    svc_images_release(svc->m);
    return ok;
}
