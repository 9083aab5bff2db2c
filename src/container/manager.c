/* container/manager.c: the manager of all services: its threads, its table, time, and the sweep.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "jobs.h"
#include "log.h"
#include "service_int.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 64, DEFAULT_GRACE_SECS = 1, DEFAULT_ATTEMPTS = 75, DEFAULT_TIMEOUT_SECS = 5, IMAGE_WAIT_MS = 5000 };

/* --- Time ----------------------------------------------------------------------------------------- */

void svc_wait(struct ctr_manager *m, pthread_cond_t *c, int64_t until_ms)
{
    if (until_ms == INT64_MAX) {
        pthread_cond_wait(c, &m->lock);
        return;
    }
    struct timespec t = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    pthread_cond_timedwait(c, &m->lock, &t); /* CLOCK_MONOTONIC, as clock_ms() */
}

void svc_due(struct ctr_service *svc, int64_t due_ms)
{
    svc->due_ms = MIN(svc->due_ms, due_ms);
    if (svc->due_ms < svc->m->timer_wakes_ms)
        pthread_cond_signal(&svc->m->timer_cond);
}

static void sweep_job(void *arg);

static void *timer_thread(void *arg)
{
    struct ctr_manager *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->is_closing) {
        int64_t now = clock_ms(), next = INT64_MAX;
        m->timer_wakes_ms = INT64_MIN; /* awake: nobody need signal */
        for (struct ctr_service *svc = m->services; svc; svc = svc->next) {
            if (svc->due_ms <= now)
                svc_tick(svc, now);
            next = MIN(next, svc->due_ms);
        }
        if (m->next_sweep_ms <= now && !m->sweep_runs) {
            m->next_sweep_ms = now + m->sweep_secs * 1000LL;
            m->sweep_runs = jobs_submit(m->jobs, sweep_job, m);
        }
        next = MIN(next, m->next_sweep_ms);
        m->timer_wakes_ms = next;
        svc_wait(m, &m->timer_cond, next);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* --- The table ------------------------------------------------------------------------------------ */

static struct ctr_service *table_find(const struct ctr_manager *m, struct str name, uint64_t hash)
{
    struct ctr_service *svc = m->buckets[hash % SVC_BUCKETS];
    while (svc && !(svc->hash == hash && str_eq(svc->run.name, name)))
        svc = svc->next_in_bucket;
    return svc;
}

struct ctr_service *svc_find(const struct ctr_manager *m, struct str name)
{
    return table_find(m, name, str_hash(name));
}

static void table_add(struct ctr_manager *m, struct ctr_service *svc)
{
    struct ctr_service **bucket = &m->buckets[svc->hash % SVC_BUCKETS];
    svc->next_in_bucket = *bucket;
    *bucket = svc;
    svc->next = m->services;
    svc->prev_next = &m->services;
    if (m->services)
        m->services->prev_next = &svc->next;
    m->services = svc;
    m->n_services++;
}

static void table_remove(struct ctr_service *svc)
{
    struct ctr_service **at = &svc->m->buckets[svc->hash % SVC_BUCKETS];
    while (*at != svc)
        at = &(*at)->next_in_bucket;
    *at = svc->next_in_bucket;
    *svc->prev_next = svc->next;
    if (svc->next)
        svc->next->prev_next = svc->prev_next;
    svc->m->n_services--;
}

struct ctr_service *svc_unref_locked(struct ctr_service *svc)
{
    bool is_up = svc->state == CTR_READY || svc->state == CTR_PAUSED;
    if (svc->refs == 1 && svc->is_retired && is_up && !svc->m->is_closing) {
        /* Replaced, and its last user has left before the timer saw it. The stop holds a reference of its own. */
        svc->stop_wanted = true;
        svc->stop_drain_until_ms = 0;
        svc_kick(svc);
    }
    if (--svc->refs > 0)
        return NULL;
    table_remove(svc);
    return svc;
}

void svc_free(struct ctr_service *svc)
{
    if (!svc)
        return;
    if (svc->source.release)
        svc->source.release(svc->source.arg);
    failure_unref(svc->failure);
    free(svc->stop_error);
    slab_free(svc->log, svc->log_size);
    slab_free(svc->lanes, sizeof *svc->lanes * (size_t)svc->m->loop_count);
    arena_release(&svc->arena);
    slab_free(svc, sizeof *svc);
}

const struct ctr_run *ctr_service_run(const struct ctr_service *svc)
{
    return &svc->run;
}

struct ctr_service *ctr_service_ref(struct ctr_service *svc)
{
    pthread_mutex_lock(&svc->m->lock);
    svc->refs++;
    pthread_mutex_unlock(&svc->m->lock);
    return svc;
}

void ctr_service_unref(struct ctr_service *svc)
{
    if (!svc)
        return;
    struct ctr_manager *m = svc->m;
    pthread_mutex_lock(&m->lock);
    struct ctr_service *dead = svc_unref_locked(svc);
    pthread_mutex_unlock(&m->lock);
    svc_free(dead);
}

/* --- Making a service ----------------------------------------------------------------------------- */

static struct ctr_kv_list kv_copy(struct arena *a, const struct ctr_kv_list *l)
{
    struct ctr_kv_list out = {.items = arena_array(a, struct ctr_kv, l->len), .len = l->len, .cap = l->len};
    for (size_t i = 0; i < l->len; i++)
        out.items[i] = (struct ctr_kv){str_dup(a, l->items[i].key), str_dup(a, l->items[i].value)};
    return out;
}

static struct ctr_run run_copy(struct arena *a, const struct ctr_run *r)
{
    struct ctr_run run = *r;
    run.name = str_dup(a, r->name);
    run.image = str_dup(a, r->image);
    run.labels = kv_copy(a, &r->labels);
    run.env = kv_copy(a, &r->env);
    run.limits.flags = kv_copy(a, &r->limits.flags);
    run.entrypoint = str_dup(a, r->entrypoint);
    run.workdir = str_dup(a, r->workdir);
    run.command = (struct str_list){0};
    for (size_t i = 0; i < r->command.len; i++)
        str_list_add(a, &run.command, str_dup(a, r->command.items[i]));
    struct ctr_mount *mounts = arena_array(a, struct ctr_mount, r->n_mounts + 1);
    for (size_t i = 0; i < r->n_mounts; i++) {
        mounts[i] = r->mounts[i];
        mounts[i].source = str_dup(a, r->mounts[i].source);
        mounts[i].target = str_dup(a, r->mounts[i].target);
        mounts[i].name = str_dup(a, r->mounts[i].name);
    }
    run.mounts = mounts;
    return run;
}

/* A new text only where it differs: whoever works on a copy of the old tunables keeps valid text. */
static struct str keep_or_dup(struct arena *a, struct str old, struct str new, struct str fallback)
{
    new = new.len > 0 ? new : fallback;
    return old.ptr && str_eq(old, new) ? old : str_dup(a, new);
}

static void tune(struct ctr_service *svc, const struct ctr_service_config *c)
{
    struct tunables *t = &svc->tune;
    *t = (struct tunables){
        .scheme = keep_or_dup(&svc->arena, t->scheme, c->scheme, STR("http")),
        .health_path = keep_or_dup(&svc->arena, t->health_path, c->health_path, STR("/")),
        .is_health_configured = c->is_health_configured,
        .start_attempts = c->start_attempts > 0 ? c->start_attempts : DEFAULT_ATTEMPTS,
        .health_timeout_secs = c->health_timeout_secs > 0 ? c->health_timeout_secs : DEFAULT_TIMEOUT_SECS,
        .check_interval_ms = MAX(c->check_interval_secs, 0) * 1000LL,
        .check_attempts = MAX(c->check_attempts, 1),
        .idle_ms = MAX(c->idle_secs, 0) * 1000LL,
        .pauses = c->pauses,
        .idle_stop_ms = MAX(c->idle_stop_secs, 0) * 1000LL,
        .idle_bytes = c->idle_bytes,
        .stop_grace_secs = c->stop_grace_secs > 0 ? c->stop_grace_secs : DEFAULT_GRACE_SECS,
        .log_lines = c->log_lines,
    };
}

static struct ctr_service *service_new(struct ctr_manager *m, const struct ctr_service_config *c)
{
    struct ctr_service *svc = slab_zalloc(sizeof *svc);
    svc->lanes = slab_zalloc(sizeof *svc->lanes * (size_t)m->loop_count);
    arena_small(&svc->arena);
    svc->m = m;
    svc->run = run_copy(&svc->arena, &c->run);
    svc->app_id = str_dup(&svc->arena, c->app_id);
    svc->build_file = str_dup(&svc->arena, c->build_file);
    svc->build_target = str_dup(&svc->arena, c->build_target);
    svc->hint = str_dup(&svc->arena, c->hint);
    svc->build_args = kv_copy(&svc->arena, &c->build_args);
    svc->is_external_image = c->is_external_image;
    svc->source = c->source;
    svc->hash = str_hash(svc->run.name);
    svc->refs = 1;
    svc->waiting_end = &svc->waiting;
    svc->due_ms = INT64_MAX;
    svc->state = CTR_UNKNOWN;
    tune(svc, c);
    return svc;
}

struct ctr_service *ctr_service_get(struct ctr_manager *m, const struct ctr_service_config *config)
{
    pthread_mutex_lock(&m->lock);
    struct ctr_service *svc = table_find(m, config->run.name, str_hash(config->run.name));
    bool is_new = !svc;
    if (is_new) {
        svc = service_new(m, config);
        table_add(m, svc);
    } else {
        svc->refs++;
        svc->is_retired = false;
        tune(svc, config);
        if (svc->state == CTR_READY || svc->state == CTR_PAUSED)
            svc_due(svc, clock_ms());
    }
    pthread_mutex_unlock(&m->lock);
    if (!is_new && config->source.release)
        config->source.release(config->source.arg);
    return svc;
}

/* --- Apps and the sweep --------------------------------------------------------------------------- */

static bool is_ours(const struct ctr_manager *m, const struct ctr_info *info)
{
    const struct str *home = ctr_kv_get(&info->labels, STR(CTR_LABEL_HOME));
    return home && str_eq(*home, str_from(m->home));
}

/* Retires the loaded services of an app and waits until they have stopped; *n their number. */
static void services_end(struct ctr_manager *m, struct str app_id, struct str keep, int drain_secs)
{
    scoped_arena a = {0};
    VEC(struct ctr_service *) list = {0};
    pthread_mutex_lock(&m->lock);
    for (struct ctr_service *svc = m->services; svc; svc = svc->next) {
        if (str_eq(svc->app_id, app_id) && !str_eq(svc->run.name, keep)) {
            svc->refs++;
            *vec_push(&a, &list) = svc;
        }
    }
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < list.len; i++)
        ctr_service_retire(list.items[i], drain_secs);
    for (size_t i = 0; i < list.len; i++) {
        struct ctr_service *svc = list.items[i];
        pthread_mutex_lock(&m->lock);
        if (svc->op == OP_START && svc->is_retired)
            atomic_store(&svc->cancel, true);
        while (!m->is_closing && svc->is_retired && (svc->op != OP_NONE || svc->state == CTR_READY))
            svc_wait(m, &m->changed, clock_ms() + 100);
        pthread_mutex_unlock(&m->lock);
        ctr_service_unref(svc);
    }
}

bool ctr_manager_end_app(struct ctr_manager *m, struct str app_id, struct str keep, bool remove,
                         int drain_secs, struct err *err)
{
    scoped_arena a = {0};
    scoped_err first = {0};
    struct ctr_info_list list;
    if (ctr_engine_kind(m->engine) == CTR_OFF)
        return true;
    services_end(m, app_id, keep, drain_secs);
    if (!ctr_container_list(m->engine, &a, STR(CTR_LABEL_APP_ID), app_id, remove, &list, err))
        return err_wrap(err, "ending the containers of app " STR_FMT, STR_ARG(app_id));
    for (size_t i = 0; i < list.len; i++) {
        const struct ctr_info *info = &list.items[i];
        scoped_err e = {0};
        if (!is_ours(m, info) || str_eq(info->name, keep))
            continue;
        bool ok = ctr_container_stop(m->engine, info->name, DEFAULT_GRACE_SECS, &e) &&
                  (!remove || ctr_container_remove(m->engine, info->name, &e));
        if (!ok && !err_is_set(&first))
            err_move(&first, &e);
    }
    return err_is_set(&first) ? err_move(err, &first) : true;
}

/* One claim at a time: the sweep and a prune that somebody asked for take turns. */
bool svc_claim(struct ctr_manager *m, struct str name)
{
    pthread_mutex_lock(&m->lock);
    while (m->sweeping.len > 0)
        svc_wait(m, &m->changed, INT64_MAX);
    bool is_free = !m->is_closing && !table_find(m, name, str_hash(name));
    if (is_free)
        m->sweeping = name;
    pthread_mutex_unlock(&m->lock);
    return is_free;
}

void svc_claim_end(struct ctr_manager *m)
{
    pthread_mutex_lock(&m->lock);
    m->sweeping = (struct str){0};
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

/* Stops containers of this home that no loaded app uses: those of deleted apps, superseded versions, and
 * apps that nobody has asked for since the server started. */
static void sweep_job(void *arg)
{
    struct ctr_manager *m = arg;
    scoped_arena a = {0};
    scoped_err err = {0};
    struct ctr_info_list list = {0};
    if (!ctr_container_list(m->engine, &a, STR(CTR_LABEL_HOME), str_from(m->home), false, &list, &err))
        log_warn("looking for stale containers", LOG_ERR(&err));
    for (size_t i = 0; i < list.len; i++) {
        struct str name = list.items[i].name;
        scoped_err e = {0};
        if (!is_ours(m, &list.items[i]) || !svc_claim(m, name))
            continue;
        log_info("stopping a container that no app uses", LOG_STR("container", name));
        if (!ctr_container_stop(m->engine, name, DEFAULT_GRACE_SECS, &e))
            log_warn("stopping a stale container", LOG_STR("container", name), LOG_ERR(&e));
        svc_claim_end(m);
    }
    ctr_manager_clean_tasks(m);
    struct ctr_prune_list pruned;
    struct ctr_prune_policy policy = {.keep = m->keep_versions, .bytes_max = m->image_bytes_max};
    if (!ctr_manager_prune(m, &policy, &a, &pruned, &err))
        log_warn("removing superseded containers and images", LOG_ERR(&err));
    pthread_mutex_lock(&m->lock);
    m->sweep_runs = false;
    pthread_mutex_unlock(&m->lock);
}

/* --- Opening and closing -------------------------------------------------------------------------- */

struct ctr_service *ctr_manager_find(struct ctr_manager *m, struct str name)
{
    pthread_mutex_lock(&m->lock);
    struct ctr_service *svc = svc_find(m, name);
    if (svc)
        svc->refs++;
    pthread_mutex_unlock(&m->lock);
    return svc;
}

struct ctr_engine *ctr_manager_engine(struct ctr_manager *m)
{
    return m->engine;
}

static void cond_init(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
}

bool ctr_manager_open_with(const struct ctr_manager_config *config, struct ctr_engine *engine,
                           const struct ctr_hooks *hooks, struct ctr_manager **out, struct err *err)
{
    scoped_arena a = {0};
    struct ctr_manager *m = xcalloc(1, sizeof *m);
    m->engine = engine;
    if (config->forbids_root)
        ctr_engine_forbid_root(engine);
    m->hooks = *hooks;
    m->home = xstrdup(str_z(&a, config->home));
    m->loop_count = MAX(config->loop_count, 1);
    m->loops = config->loops;
    m->has_forwarder = ctr_engine_kind(engine) == CTR_PODMAN && geteuid() != 0;
    m->max_builds = MAX(config->max_concurrent_builds, 1);
    m->build_wait_secs = MAX(config->max_build_wait_secs, 0);
    m->image_wait_ms = IMAGE_WAIT_MS;
    m->keep_versions = config->keep_versions;
    m->image_bytes_max = config->image_bytes_max;
    m->app_version = config->app_version;
    m->app_arg = config->app_arg;
    m->paused_max = MAX(config->paused_bytes_max, 0);
    m->sweep_secs = config->sweep_interval_secs;
    m->next_sweep_ms = m->sweep_secs > 0 && ctr_engine_kind(engine) != CTR_OFF
                           ? clock_ms() + m->sweep_secs * 1000LL
                           : INT64_MAX;
    pthread_mutex_init(&m->lock, NULL);
    cond_init(&m->changed);
    cond_init(&m->timer_cond);
    cond_init(&m->events_cond);
    m->events_stop = eventfd(0, EFD_CLOEXEC);
    m->jobs = jobs_open("container", MAX_THREADS);
    int rc = pthread_create(&m->timer, NULL, timer_thread, m);
    if (rc != 0) {
        jobs_close(m->jobs);
        close(m->events_stop);
        free(m->home);
        free(m);
        return err_set_errno(err, rc, "starting the container manager's thread");
    }
    if (ctr_engine_kind(engine) != CTR_OFF && m->events_stop >= 0)
        m->has_events = pthread_create(&m->events, NULL, svc_events_thread, m) == 0; /* else the checks remain */
    *out = m;
    return true;
}

bool ctr_manager_open(const struct ctr_manager_config *config, struct ctr_manager **out, struct err *err)
{
    static const struct ctr_hooks hooks = {.post = http_loop_post, .probe = ctr_probe, .freezer = freezer_open};
    struct ctr_engine *engine;
    if (!ctr_engine_open(config->container_command, &engine, err))
        return false;
    if (!ctr_manager_open_with(config, engine, &hooks, out, err)) {
        ctr_engine_close(engine);
        return false;
    }
    return true;
}

void ctr_manager_leave_loops(struct ctr_manager *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    m->loops = NULL;
    pthread_mutex_unlock(&m->lock);
}

void ctr_manager_close(struct ctr_manager *m)
{
    if (!m)
        return;
    struct str text = STR("the server is stopping");
    pthread_mutex_lock(&m->lock);
    m->is_closing = true;
    struct failure *why = failure_new(ERR_UNAVAILABLE, text, text);
    for (struct ctr_service *svc = m->services; svc; svc = svc->next) {
        atomic_store(&svc->cancel, true);
        svc_fail_waiters(svc, why);
    }
    failure_unref(why);
    pthread_cond_broadcast(&m->changed);
    pthread_cond_broadcast(&m->timer_cond);
    pthread_cond_broadcast(&m->events_cond);
    uint64_t one = 1;
    if (m->has_events && write(m->events_stop, &one, sizeof one) < 0)
        log_warn("ending the following of events"); /* cannot be: the counter is 0 */
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->timer, NULL);
    if (m->has_events)
        pthread_join(m->events, NULL);
    if (m->events_stop >= 0)
        close(m->events_stop);
    jobs_close(m->jobs);
    pthread_mutex_lock(&m->lock);
    size_t left = m->n_services;
    pthread_mutex_unlock(&m->lock);
    if (left > 0) {
        /* Somebody still holds a service, and will come back with it: the table must outlive them. */
        log_warn("container services are still in use at the end", LOG_INT("count", left));
        return;
    }
    ctr_engine_close(m->engine);
    pthread_cond_destroy(&m->changed);
    pthread_cond_destroy(&m->timer_cond);
    pthread_cond_destroy(&m->events_cond);
    pthread_mutex_destroy(&m->lock);
    free(m->home);
    free(m);
}
