/* container/service.c: the state machine of a service: its door, its waiters, its operations.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "jobs.h"
#include "log.h"
#include "service_int.h"

#include <stdlib.h>
#include <time.h>

/* --- The door ------------------------------------------------------------------------------------- */

static uint64_t door_pack(struct ctr_endpoint at)
{
    return (uint64_t)at.ip << 32 | (uint64_t)at.port << 16 | at.generation;
}

static struct ctr_endpoint door_unpack(uint64_t door)
{
    return (struct ctr_endpoint){
        .ip = (uint32_t)(door >> 32), .port = (uint16_t)(door >> 16), .generation = (uint16_t)door};
}

/* clock_ms() as of the last kernel tick: a third of the cost, and activity needs no more. */
static int64_t clock_coarse_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool ctr_service_enter(struct ctr_service *svc, int loop_index, struct ctr_endpoint *at)
{
    struct lane *lane = &svc->lanes[loop_index];
    /* inv. 3: count first, look second, both sequentially consistent. */
    atomic_fetch_add(&lane->in_flight, 1);
    uint64_t door = atomic_load(&svc->door);
    if (UNLIKELY(door == 0)) {
        atomic_fetch_sub(&lane->in_flight, 1);
        return false;
    }
    atomic_store_explicit(&lane->last_ms, clock_coarse_ms(), memory_order_relaxed);
    *at = door_unpack(door);
    return true;
}

void ctr_service_leave(struct ctr_service *svc, int loop_index)
{
    struct lane *lane = &svc->lanes[loop_index];
    atomic_store_explicit(&lane->last_ms, clock_coarse_ms(), memory_order_relaxed);
    atomic_fetch_sub_explicit(&lane->in_flight, 1, memory_order_release);
}

void ctr_service_moved(struct ctr_service *svc, int loop_index, uint64_t bytes)
{
    atomic_fetch_add_explicit(&svc->lanes[loop_index].bytes, bytes, memory_order_relaxed);
}

void ctr_service_tunnel(struct ctr_service *svc, int loop_index)
{
    struct lane *lane = &svc->lanes[loop_index];
    atomic_fetch_add_explicit(&lane->tunnels, 1, memory_order_relaxed);
    ctr_service_leave(svc, loop_index);
}

void ctr_service_leave_tunnel(struct ctr_service *svc, int loop_index)
{
    struct lane *lane = &svc->lanes[loop_index];
    atomic_store_explicit(&lane->last_ms, clock_coarse_ms(), memory_order_relaxed);
    atomic_fetch_sub_explicit(&lane->tunnels, 1, memory_order_release);
}

struct use {
    uint32_t in_flight, tunnels;
    int64_t last_ms;
    uint64_t bytes;
};

static struct use use_count(const struct ctr_service *svc)
{
    struct use u = {0};
    for (int i = 0; i < svc->m->loop_count; i++) {
        u.in_flight += atomic_load(&svc->lanes[i].in_flight);
        u.tunnels += atomic_load(&svc->lanes[i].tunnels);
        u.bytes += atomic_load_explicit(&svc->lanes[i].bytes, memory_order_relaxed);
        u.last_ms = MAX(u.last_ms, atomic_load_explicit(&svc->lanes[i].last_ms, memory_order_relaxed));
    }
    return u;
}

/* --- Failures ------------------------------------------------------------------------------------- */

static char *dup_z(struct str s)
{
    char *z = xmalloc(s.len + 1);
    if (s.len > 0)
        memcpy(z, s.ptr, s.len);
    z[s.len] = '\0';
    return z;
}

struct failure *failure_new(enum err_code code, struct str summary, struct str detail)
{
    struct failure *f = xcalloc(1, sizeof *f);
    atomic_store(&f->refs, 1);
    f->code = code;
    f->summary = dup_z(summary);
    f->detail = dup_z(detail);
    return f;
}

static struct failure *failure_ref(struct failure *f)
{
    atomic_fetch_add(&f->refs, 1);
    return f;
}

void failure_unref(struct failure *f)
{
    if (!f || atomic_fetch_sub(&f->refs, 1) != 1)
        return;
    free(f->summary);
    free(f->detail);
    free(f);
}

static void failure_keep(struct ctr_service *svc, struct failure *why)
{
    failure_unref(svc->failure);
    svc->failure = why;
}

/* --- Waiters -------------------------------------------------------------------------------------- */

static void queue_add(struct ctr_service *svc, struct ctr_waiter *w)
{
    w->next = NULL;
    w->at = svc->waiting_end;
    *svc->waiting_end = w;
    svc->waiting_end = &w->next;
    svc->waiting_count++;
}

static void queue_remove(struct ctr_waiter *w)
{
    struct ctr_service *svc = w->svc;
    *w->at = w->next;
    if (w->next)
        w->next->at = w->at;
    else
        svc->waiting_end = w->at;
    w->at = NULL;
    w->next = NULL;
    svc->waiting_count--;
}

/* On the loop: tells one list of waiters of this loop, in order. A callback may cancel a later one. */
static void deliver(struct http_loop *loop, void *arg)
{
    (void)loop;
    struct ctr_waiter *w = arg;
    while (w) {
        struct ctr_waiter *next = w->next;
        if (w->is_cancelled) {
            if (w->to.ip)
                ctr_service_leave(w->svc, w->lane);
        } else if (w->to.ip) {
            w->fn(w->arg, &w->to, NULL);
        } else {
            int64_t left = w->why->retry_at_ms - clock_ms();
            struct ctr_failure f = {.code = w->why->code,
                                    .summary = w->why->summary,
                                    .detail = w->why->detail,
                                    .retry_after_ms = (int)MAX(left, 0)};
            w->fn(w->arg, NULL, &f);
        }
        failure_unref(w->why);
        ctr_service_unref(w->svc);
        free(w);
        w = next;
    }
}

/* Sets the outcome; the one who lets a request in counts it, so that no idle stop slips in between. */
static void settle(struct ctr_waiter *w, struct failure *why)
{
    struct ctr_service *svc = w->svc;
    if (why) {
        w->why = failure_ref(why);
    } else {
        w->to = svc->at;
        if (w->loop) {
            atomic_fetch_add(&svc->lanes[w->lane].in_flight, 1);
            atomic_store_explicit(&svc->lanes[w->lane].last_ms, clock_ms(), memory_order_relaxed);
        }
    }
    w->is_done = true;
}

/* Tells all who wait: one message per loop, however many they are. */
static void settle_all(struct ctr_service *svc, struct failure *why)
{
    struct ctr_waiter *list = svc->waiting;
    svc->waiting = NULL;
    svc->waiting_end = &svc->waiting;
    svc->waiting_count = 0;
    while (list) {
        struct http_loop *loop = list->loop;
        struct ctr_waiter *mine = NULL, **mine_end = &mine, *rest = NULL, **rest_end = &rest;
        for (struct ctr_waiter *w = list, *next; w; w = next) {
            next = w->next;
            w->at = NULL;
            w->next = NULL;
            if (w->loop == loop) {
                settle(w, why);
                *mine_end = w;
                mine_end = &w->next;
            } else {
                *rest_end = w;
                rest_end = &w->next;
            }
        }
        if (loop)
            svc->m->hooks.post(loop, deliver, mine);
        list = rest;
    }
    pthread_cond_broadcast(&svc->m->changed);
}

void svc_fail_waiters(struct ctr_service *svc, struct failure *why)
{
    settle_all(svc, why);
}

/* --- States --------------------------------------------------------------------------------------- */

const char *ctr_state_name(enum ctr_state s)
{
    static const char *const names[] = {"unknown",  "building", "starting", "ready",
                                        "stopping", "stopped",  "failed",   "paused"};
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}

#define TO(s) (1u << (s))
static const unsigned legal[] = {
    [CTR_UNKNOWN] = TO(CTR_STARTING) | TO(CTR_STOPPING),
    [CTR_PAUSED] = TO(CTR_STARTING) | TO(CTR_STOPPING) | TO(CTR_READY) | TO(CTR_UNKNOWN),
    [CTR_BUILDING] = TO(CTR_STARTING) | TO(CTR_FAILED) | TO(CTR_UNKNOWN),
    [CTR_STARTING] = TO(CTR_BUILDING) | TO(CTR_READY) | TO(CTR_FAILED) | TO(CTR_UNKNOWN),
    [CTR_READY] = TO(CTR_STOPPING) | TO(CTR_STARTING) | TO(CTR_UNKNOWN),
    [CTR_STOPPING] = TO(CTR_STOPPED) | TO(CTR_PAUSED) | TO(CTR_UNKNOWN),
    [CTR_STOPPED] = TO(CTR_STARTING) | TO(CTR_STOPPING),
    [CTR_FAILED] = TO(CTR_STARTING) | TO(CTR_STOPPING),
};

struct run_over {
    uint16_t generation;
    struct str name;
};

static void on_run_over(struct http_loop *loop, void *arg)
{
    struct run_over *r = arg;
    http_upstreams_over(loop, r->name, r->generation);
    free(r);
}

/* What ran up to now is over: connections to it end, on every loop. Its door is closed: who has entered by it has come to the
 * proxy before this message does. (L) */
static void run_over(struct ctr_service *svc)
{
    struct ctr_manager *m = svc->m;
    for (unsigned i = 0; m->loops && svc->at.ip != 0 && i < http_loops_len(m->loops); i++) {
        struct run_over *r = xmalloc(sizeof *r + svc->run.name.len);
        memcpy(r + 1, svc->run.name.ptr, svc->run.name.len);
        *r = (struct run_over){svc->at.generation, str_of(r + 1, svc->run.name.len)};
        m->hooks.post(http_loops_at(m->loops, i), on_run_over, r);
    }
}

static void enter_ready(struct ctr_service *svc)
{
    int64_t now = clock_ms();
    svc->ready_ms = now;
    svc->next_check_ms = svc->tune.check_interval_ms > 0 ? now + SVC_FIRST_CHECK_MS : INT64_MAX;
    svc->sample_count = svc->sample_at = 0;
    svc->next_sample_ms = now;
    svc_due(svc, now);
}

void svc_set_state(struct ctr_service *svc, enum ctr_state to)
{
    if (!(legal[svc->state] & TO(to)))
        BUG("container %.*s: %s -> %s", STR_ARG(svc->run.name), ctr_state_name(svc->state),
            ctr_state_name(to));
    log_debug("container state", LOG_STR("container", svc->run.name),
              LOG_Z("from", ctr_state_name(svc->state)), LOG_Z("to", ctr_state_name(to)));
    svc->state = to;
    svc->phase = NULL;
    svc->phase_ms = clock_ms();
    atomic_store(&svc->door, to == CTR_READY ? door_pack(svc->at) : 0); /* inv. 1 */
    if (to == CTR_READY)
        enter_ready(svc);
    pthread_cond_broadcast(&svc->m->changed);
}

void svc_phase(struct ctr_service *svc, const char *phase)
{
    pthread_mutex_lock(&svc->m->lock);
    svc->phase = phase;
    svc->phase_ms = clock_ms();
    pthread_mutex_unlock(&svc->m->lock);
    scoped_arena a = {0};
    svc_log_line(svc, str_printf(&a, CTR_PHASE_MARK "%s", phase));
}

/* Somebody has come within the time after which it would have been put to sleep. Its starts do not count: one that crashes
 * every minute would never sleep. */
static bool is_in_use(const struct ctr_service *svc)
{
    struct use u = use_count(svc);
    return svc->tune.idle_ms <= 0 || u.in_flight > 0 || u.tunnels > 0 ||
           clock_ms() - MAX(u.last_ms, svc->wanted_ms) < svc->tune.idle_ms;
}

/* --- Operations ----------------------------------------------------------------------------------- */

static int64_t backoff_ms(int fail_count)
{
    int64_t ms = SVC_BACKOFF_MIN_MS;
    for (int i = 1; i < fail_count && ms < SVC_BACKOFF_MAX_MS; i++)
        ms *= 2;
    return MIN(ms, (int64_t)SVC_BACKOFF_MAX_MS);
}

static void op_end(struct ctr_service *svc)
{
    svc->op = OP_NONE;
    svc_kick(svc);
    pthread_cond_broadcast(&svc->m->changed);
    struct ctr_service *dead = svc_unref_locked(svc);
    pthread_mutex_unlock(&svc->m->lock);
    svc_free(dead);
}

/* It was up and has ended. After a crash it is started at once if it is in use, else by the next request. */
static void note_end(struct ctr_service *svc, bool is_crash)
{
    svc->has_ended = true;
    svc->revive_wanted = is_crash && !svc->is_retired && is_in_use(svc);
    svc_set_state(svc, CTR_UNKNOWN);
    run_over(svc);
}

void svc_run_begins(struct ctr_service *svc)
{
    pthread_mutex_lock(&svc->m->lock);
    svc->began_ns = wall_ns();
    svc->died = false;
    pthread_mutex_unlock(&svc->m->lock);
}

void svc_ready(struct ctr_service *svc, struct ctr_endpoint at, bool is_direct)
{
    uint16_t generation = svc->at.generation;
    svc->at = at;
    svc->at.generation = (uint16_t)(generation + 1);
    svc->is_direct = is_direct;
    svc->suspect_ok_ms = clock_ms() + SVC_SUSPECT_PAUSE_MS;
    svc->retry_at_ms = 0;
    if (svc->crash_streak < SVC_CRASHES)
        svc->fail_count = 0;
    svc_set_state(svc, CTR_READY);
    if (svc->died) { /* between the answer to the last probe and now, or we have seen our own doing: a look tells */
        log_warn("container has ended as it got ready", LOG_STR("container", svc->run.name));
        note_end(svc, svc->died_crashing);
    } else {
        settle_all(svc, NULL);
    }
}

/* A start has ended: READY and all in, or FAILED and all told. */
static void start_ended(struct ctr_service *svc, struct start_result *res)
{
    int64_t now = clock_ms();
    if (res->is_over)
        run_over(svc);
    svc->starts += !res->was_running;
    if (res->has_crashed)
        svc->crash_streak = svc->begin_ms - svc->ready_ms < SVC_STABLE_MS ? svc->crash_streak + 1 : 1;
    svc->process = res->process;
    if (res->ok) {
        if (!res->has_let_in)
            svc_ready(svc, res->at, res->is_direct);
        return;
    }
    if (res->cancelled) {
        svc_set_state(svc, CTR_UNKNOWN);
        if (!svc->stop_wanted && !svc->m->is_closing) { /* those who came since are no part of it */
            failure_unref(res->why);
            return;
        }
    } else {
        svc->fail_count++;
        svc->retry_at_ms = now + backoff_ms(svc->fail_count);
        res->why->retry_at_ms = svc->retry_at_ms;
        svc_set_state(svc, CTR_FAILED);
        log_warn("container did not start", LOG_STR("container", svc->run.name),
                 LOG_Z("why", res->why->summary), LOG_INT("retry_ms", svc->retry_at_ms - now));
    }
    settle_all(svc, res->why);
    failure_keep(svc, res->why);
}

static void start_job(void *arg)
{
    struct ctr_service *svc = arg;
    struct start_result res = {0};
    pthread_mutex_lock(&svc->m->lock);
    /* The sweep found this container without a service and is stopping it: it will be started again. */
    while (svc->m->sweeping.len > 0 && str_eq(svc->m->sweeping, svc->run.name))
        svc_wait(svc->m, &svc->m->changed, INT64_MAX);
    bool is_restart = svc->is_restart;
    svc->began_ns = wall_ns();
    svc->died = false;
    svc->begin_ms = clock_ms();
    svc->log_from = svc->log_end;
    pthread_mutex_unlock(&svc->m->lock);
    svc_run_start(svc, is_restart, &res);
    pthread_mutex_lock(&svc->m->lock);
    start_ended(svc, &res);
    op_end(svc);
}

static void stop_job(void *arg)
{
    struct ctr_service *svc = arg;
    struct ctr_manager *m = svc->m;
    scoped_err err = {0};
    pthread_mutex_lock(&m->lock);
    for (;;) {
        struct use u = use_count(svc);
        int64_t now = clock_ms();
        if ((u.in_flight == 0 && u.tunnels == 0) || now >= svc->stop_drain_until_ms || m->is_closing)
            break;
        svc_wait(m, &m->changed, MIN(now + 10, svc->stop_drain_until_ms));
    }
    int grace = svc->tune.stop_grace_secs;
    pthread_mutex_unlock(&m->lock);
    bool ok = ctr_container_stop(m->engine, svc->run.name, grace, &err);
    pthread_mutex_lock(&m->lock);
    free(svc->stop_error);
    svc->stop_error = ok ? NULL : xstrdup(err_msg(&err));
    svc->stops_done++;
    svc->has_ended = false;
    if (!ok)
        log_warn("container did not stop", LOG_STR("container", svc->run.name), LOG_ERR(&err));
    svc_set_state(svc, ok ? CTR_STOPPED : CTR_UNKNOWN);
    if (ok)
        run_over(svc);
    svc_log_drop(svc);
    op_end(svc);
}

/* Stops paused containers, the least recently used first, until the others fit in the memory allowed. (L) */
static void trim_paused(struct ctr_manager *m)
{
    for (;;) {
        struct ctr_service *oldest = NULL;
        int64_t total = 0, oldest_ms = INT64_MAX;
        for (struct ctr_service *svc = m->services; svc; svc = svc->next) {
            if (svc->state != CTR_PAUSED || svc->stop_wanted)
                continue;
            int64_t last_ms = MAX(use_count(svc).last_ms, svc->ready_ms);
            total += svc->paused_bytes;
            if (!oldest || last_ms < oldest_ms) {
                oldest = svc;
                oldest_ms = last_ms;
            }
        }
        if (!oldest || m->paused_max <= 0 || total <= m->paused_max)
            return;
        log_info("paused containers keep too much memory: the least used is stopped",
                 LOG_STR("container", oldest->run.name), LOG_INT("bytes", oldest->paused_bytes),
                 LOG_INT("all_bytes", total));
        oldest->stop_wanted = true;
        oldest->stop_drain_until_ms = 0;
        svc_kick(oldest);
    }
}

static void pause_job(void *arg)
{
    struct ctr_service *svc = arg;
    struct ctr_manager *m = svc->m;
    scoped_err err = {0}, ignored = {0};
    struct ctr_stats stats = {0}; /* unknown: it counts as nothing, and is stopped after its time */
    ctr_container_stats(m->engine, svc->run.name, true, &stats, &ignored);
    bool ok = ctr_container_pause(m->engine, svc->run.name, &err);
    pthread_mutex_lock(&m->lock);
    if (ok) {
        int64_t now = clock_ms();
        svc->paused_ms = now;
        svc->paused_bytes = stats.mem_bytes;
        svc->began_ns = wall_ns();
        svc->begin_ms = now;
        svc->log_from = svc->log_end;
        svc_log_drop(svc);
        svc_set_state(svc, CTR_PAUSED);
        svc_due(svc, now);
        trim_paused(m);
    } else {
        log_warn("container cannot be paused and is stopped", LOG_STR("container", svc->run.name), LOG_ERR(&err));
        svc_set_state(svc, CTR_UNKNOWN);
        svc->stop_wanted = !svc->waiting;
        svc->stop_drain_until_ms = 0;
    }
    op_end(svc);
}

static void check_job(void *arg)
{
    struct ctr_service *svc = arg;
    struct ctr_manager *m = svc->m;
    struct failure *why = NULL;
    bool ok = svc_run_check(svc, &why);
    pthread_mutex_lock(&m->lock);
    /* One that is only looked at when something may have happened is not checked over and over from then on. */
    svc->next_check_ms = svc->tune.check_interval_ms > 0 ? clock_ms() + svc->tune.check_interval_ms : INT64_MAX;
    svc_due(svc, svc->next_check_ms);
    if (!ok && svc->state == CTR_READY && !m->is_closing) {
        log_warn("container is unhealthy and will be stopped", LOG_STR("container", svc->run.name),
                 LOG_Z("why", why->summary));
        failure_keep(svc, why);
        why = NULL;
        svc->stop_wanted = true;
        svc->stop_drain_until_ms = 0;
    }
    failure_unref(why);
    op_end(svc);
}

static void op_begin(struct ctr_service *svc, enum svc_op op)
{
    static void (*const jobs[])(void *) = {
        [OP_START] = start_job, [OP_STOP] = stop_job, [OP_CHECK] = check_job, [OP_PAUSE] = pause_job};
    svc->op = op;
    svc->refs++;
    atomic_store(&svc->cancel, false);
    if (jobs_submit(svc->m->jobs, jobs[op], svc))
        return;
    /* Too many jobs wait, or the server stops: nothing has happened to the container. */
    svc->refs--;
    svc->op = OP_NONE;
    struct failure *why =
        failure_new(ERR_UNAVAILABLE, STR("the server has too much to do or is stopping: try again"),
                    STR("the server has too much to do or is stopping: try again"));
    if (op == OP_START) {
        svc_set_state(svc, CTR_FAILED);
        svc->retry_at_ms = why->retry_at_ms = clock_ms() + SVC_BACKOFF_MIN_MS;
        settle_all(svc, why);
    } else if (op == OP_STOP || op == OP_PAUSE) {
        svc->stops_done += op == OP_STOP;
        svc_set_state(svc, CTR_UNKNOWN);
    }
    failure_unref(why);
}

static bool is_at_rest(enum ctr_state s)
{
    return s == CTR_UNKNOWN || s == CTR_STOPPED || s == CTR_FAILED || s == CTR_PAUSED;
}

/* Begins the next operation that somebody wants, if none runs (inv. 2). */
void svc_kick(struct ctr_service *svc)
{
    struct ctr_manager *m = svc->m;
    if (svc->op != OP_NONE || m->is_closing)
        return;
    if (svc->stop_wanted) {
        svc->stop_wanted = svc->restart_wanted = svc->check_wanted = svc->pause_wanted = svc->revive_wanted = false;
        if (svc->state == CTR_STARTING) /* suspected, and its look had not begun */
            svc_set_state(svc, CTR_UNKNOWN);
        if (svc->state != CTR_STOPPED) {
            svc_set_state(svc, CTR_STOPPING);
            op_begin(svc, OP_STOP);
            return;
        }
        svc->stops_done++;
        pthread_cond_broadcast(&m->changed);
    }
    bool pause = svc->pause_wanted && svc->state == CTR_READY;
    svc->pause_wanted = false;
    if (pause) {
        svc_set_state(svc, CTR_STOPPING);
        svc->phase = "pausing";
        op_begin(svc, OP_PAUSE);
    } else if (svc->restart_wanted && svc->state == CTR_STARTING) {
        svc->restart_wanted = false;
        svc->is_restart = true;
        svc->was_stopped = svc->was_paused = false;
        op_begin(svc, OP_START);
    } else if ((svc->waiting || svc->revive_wanted) && is_at_rest(svc->state)) {
        svc->revive_wanted = false;
        if (svc->waiting)
            svc->wanted_ms = clock_ms();
        if (svc->is_retired) {
            struct str text = STR("this version of the app has been replaced: try again");
            struct failure *why = failure_new(ERR_UNAVAILABLE, text, text);
            settle_all(svc, why);
            failure_unref(why);
            return;
        }
        svc->is_restart = svc->has_ended;
        svc->has_ended = false;
        svc->was_stopped = svc->state == CTR_STOPPED;
        svc->was_paused = svc->state == CTR_PAUSED;
        svc_set_state(svc, CTR_STARTING);
        op_begin(svc, OP_START);
    } else if (svc->check_wanted) {
        svc->check_wanted = false;
        if (svc->state == CTR_READY)
            op_begin(svc, OP_CHECK);
    }
}

/* Closes the door, unless somebody is inside: then it stays open. (inv. 3) */
static bool door_try_close(struct ctr_service *svc, bool tunnels_count)
{
    atomic_store(&svc->door, 0);
    struct use u = use_count(svc);
    if (u.in_flight == 0 && (!tunnels_count || u.tunnels == 0))
        return true;
    atomic_store(&svc->door, door_pack(svc->at));
    return false;
}

/* --- Time ----------------------------------------------------------------------------------------- */

/* Bytes moved during about the last idle window. */
static uint64_t bytes_in_window(struct ctr_service *svc, uint64_t now_bytes)
{
    if (svc->sample_count == 0)
        return 0;
    unsigned oldest = svc->sample_count < SVC_SAMPLES ? 0 : svc->sample_at;
    return now_bytes - svc->samples[oldest];
}

static void tick_idle(struct ctr_service *svc, int64_t now)
{
    int64_t window = svc->tune.idle_ms;
    if (window <= 0)
        return;
    struct use u = use_count(svc);
    if (now >= svc->next_sample_ms) {
        svc->samples[svc->sample_at] = u.bytes;
        svc->sample_at = (svc->sample_at + 1) % SVC_SAMPLES;
        svc->sample_count = MIN(svc->sample_count + 1, (unsigned)SVC_SAMPLES);
        svc->next_sample_ms = now + window / SVC_SAMPLES;
    }
    int64_t idle_at = MAX(u.last_ms, svc->ready_ms) + window;
    if (now < idle_at || u.in_flight > 0 || svc->waiting ||
        bytes_in_window(svc, u.bytes) > (uint64_t)MAX(svc->tune.idle_bytes, 0)) {
        svc_due(svc, MIN(MAX(idle_at, now + MIN(window / SVC_SAMPLES, 1000)), svc->next_sample_ms));
        return;
    }
    if (!door_try_close(svc, false)) {
        svc_due(svc, now + 100);
        return;
    }
    /* A paused app would not hear what comes over its tunnels; a stopped one ends them. */
    svc->pause_wanted = svc->tune.pauses && u.tunnels == 0;
    svc->stop_wanted = !svc->pause_wanted;
    svc->stop_drain_until_ms = 0;
    if (now - svc->ready_ms >= SVC_STABLE_MS) /* it has not crashed: a later crash is no crash in a row */
        svc->crash_streak = 0;
    log_info(svc->pause_wanted ? "container is idle and will be paused" : "container is idle and will be stopped",
             LOG_STR("container", svc->run.name));
    svc_kick(svc);
}

static void tick_paused(struct ctr_service *svc, int64_t now)
{
    int64_t stop_at = svc->tune.idle_stop_ms > 0 ? svc->paused_ms + svc->tune.idle_stop_ms : INT64_MAX;
    if (now < stop_at) {
        svc_due(svc, stop_at);
        return;
    }
    if (svc->op != OP_NONE) {
        svc_due(svc, now + 50);
        return;
    }
    log_info("container has been paused for long and will be stopped", LOG_STR("container", svc->run.name));
    svc->stop_wanted = true;
    svc->stop_drain_until_ms = 0;
    svc_kick(svc);
}

static void tick_retired(struct ctr_service *svc, int64_t now)
{
    if (now < svc->retire_at_ms && !door_try_close(svc, true)) {
        svc_due(svc, MIN(now + 20, svc->retire_at_ms));
        return;
    }
    svc->stop_wanted = true;
    svc->stop_drain_until_ms = 0;
    svc_kick(svc);
}

void svc_tick(struct ctr_service *svc, int64_t now)
{
    svc->due_ms = INT64_MAX;
    if (svc->state == CTR_PAUSED)
        tick_paused(svc, now);
    if (svc->state != CTR_READY)
        return;
    if (svc->op != OP_NONE) {
        svc_due(svc, now + 50);
        return;
    }
    if (svc->is_retired) {
        tick_retired(svc, now);
        return;
    }
    tick_idle(svc, now);
    if (svc->state != CTR_READY)
        return;
    if (now >= svc->next_check_ms) {
        svc->check_wanted = true;
        svc->next_check_ms = INT64_MAX;
        svc_kick(svc);
    } else {
        svc_due(svc, svc->next_check_ms);
    }
}

/* --- Told by the engine --------------------------------------------------------------------------- */

enum { EXIT_BY_TERM = 128 + 15 };

/* Who stops it by hand wants it stopped; what dies by itself, or for want of memory, is missed at once. */
static bool is_crash(const struct ctr_event *event)
{
    return event->kind == CTR_EVENT_DIED && event->exit_code != 0 && event->exit_code != EXIT_BY_TERM;
}

void svc_event(struct ctr_service *svc, const struct ctr_event *event)
{
    bool is_up = event->kind == CTR_EVENT_STARTED || event->kind == CTR_EVENT_UNPAUSED;
    bool is_awake = svc->state == CTR_PAUSED && event->kind == CTR_EVENT_UNPAUSED && svc->op == OP_NONE;
    bool is_end = event->kind == CTR_EVENT_DIED || event->kind == CTR_EVENT_REMOVED;
    if (event->at_ns < svc->began_ns) {
        /* Of an earlier run; or of an engine whose clock is behind ours, or has been set back. */
        if (!is_up)
            svc_look(svc);
        return;
    }
    if (is_awake && !svc->is_retired) {
        svc_set_state(svc, CTR_READY); /* it was healthy, and is where it was */
        return;
    }
    if (!(svc->state == CTR_READY && !is_up) && !(svc->state == CTR_PAUSED && is_end && svc->op == OP_NONE)) {
        if (is_end) /* our own doing, mostly; whoever did it, that run is over */
            run_over(svc);
        svc->died_crashing = is_crash(event) || (svc->died && svc->died_crashing);
        svc->died |= is_end && svc->op == OP_START;
        return;
    }
    struct use u = use_count(svc);
    log_warn(is_end ? "container has ended" : "container was paused", LOG_STR("container", svc->run.name),
             LOG_INT("in_flight", u.in_flight));
    if (is_end && svc->state == CTR_READY) {
        note_end(svc, is_crash(event));
    } else {
        /* Requests that are with one that was paused would wait for ever. */
        svc->revive_wanted = !is_end && !svc->is_retired && (u.in_flight > 0 || u.tunnels > 0);
        svc->has_ended = false;
        svc_set_state(svc, CTR_UNKNOWN);
        if (is_end)
            run_over(svc);
    }
    svc_kick(svc);
}

void svc_look(struct ctr_service *svc)
{
    if (svc->state != CTR_READY)
        return;
    svc->check_wanted = true;
    svc_kick(svc);
}

/* --- For loops ------------------------------------------------------------------------------------ */

struct ctr_waiter *ctr_service_wake(struct ctr_service *svc, struct http_loop *loop, int loop_index,
                                    ctr_wake_fn *fn, void *arg)
{
    struct ctr_manager *m = svc->m;
    struct ctr_waiter *w = xcalloc(1, sizeof *w);
    struct failure *why = NULL;
    *w = (struct ctr_waiter){.svc = svc, .loop = loop, .lane = loop_index, .fn = fn, .arg = arg};
    pthread_mutex_lock(&m->lock);
    svc->refs++;
    bool in_backoff = svc->state == CTR_FAILED && clock_ms() < svc->retry_at_ms && svc->failure;
    if (in_backoff)
        why = failure_ref(svc->failure);
    else if (svc->waiting_count >= SVC_MAX_WAITERS || m->is_closing)
        why = failure_new(ERR_UNAVAILABLE, STR("too many requests wait for this app: try again later"),
                          STR("too many requests wait for this app: try again later"));
    if (why || svc->state == CTR_READY) {
        settle(w, why);
        m->hooks.post(loop, deliver, w);
    } else {
        queue_add(svc, w);
        svc_kick(svc);
    }
    pthread_mutex_unlock(&m->lock);
    failure_unref(why);
    return w;
}

void ctr_waiter_cancel(struct ctr_waiter *w)
{
    struct ctr_manager *m = w->svc->m;
    struct ctr_service *dead = NULL;
    pthread_mutex_lock(&m->lock);
    bool is_queued = w->at != NULL;
    if (is_queued) {
        queue_remove(w);
        dead = svc_unref_locked(w->svc);
    } else {
        w->is_cancelled = true; /* its message is on the way to this very thread */
    }
    pthread_mutex_unlock(&m->lock);
    svc_free(dead);
    if (is_queued)
        free(w);
}

void ctr_service_suspect(struct ctr_service *svc, uint16_t generation)
{
    struct ctr_manager *m = svc->m;
    uint64_t door = atomic_load(&svc->door);
    if (door == 0 || door_unpack(door).generation != generation)
        return;
    pthread_mutex_lock(&m->lock);
    if (svc->state == CTR_READY && svc->at.generation == generation && clock_ms() >= svc->suspect_ok_ms &&
        !m->is_closing && !svc->stop_wanted) {
        svc_set_state(svc, CTR_STARTING);
        svc->restart_wanted = true;
        svc_kick(svc);
    }
    pthread_mutex_unlock(&m->lock);
}

/* --- For job threads ------------------------------------------------------------------------------ */

bool ctr_service_start(struct ctr_service *svc, ctr_line_fn *on_line, void *line_arg,
                       const atomic_bool *cancel, struct err *err)
{
    struct ctr_manager *m = svc->m;
    struct ctr_waiter w = {.svc = svc};
    scoped_buf line = BUF_INIT(SVC_LOG_MAX);
    bool ok = false;
    pthread_mutex_lock(&m->lock);
    uint64_t at = svc->log_end;
    if (svc->state == CTR_READY || m->is_closing) {
        ok = svc->state == CTR_READY;
        pthread_mutex_unlock(&m->lock);
        return ok || err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    }
    svc->fail_count = svc->crash_streak = 0;
    svc->retry_at_ms = 0;
    queue_add(svc, &w);
    svc_kick(svc);
    while (!w.is_done) {
        if (cancel && atomic_load(cancel)) {
            queue_remove(&w);
            if (!svc->waiting && svc->op == OP_START)
                atomic_store(&svc->cancel, true);
            break;
        }
        svc_log_pump(svc, &at, &line, on_line, line_arg);
        if (!w.is_done)
            svc_wait(m, &m->changed, clock_ms() + SVC_FOLLOW_MS);
    }
    if (w.is_done)
        svc_log_pump(svc, &at, &line, on_line, line_arg);
    pthread_mutex_unlock(&m->lock);
    if (!w.is_done)
        return err_set(err, ERR_CANCELLED, "starting container " STR_FMT " was cancelled",
                       STR_ARG(svc->run.name));
    ok = w.to.ip != 0;
    if (!ok)
        err_set(err, w.why->code, "%s", w.why->detail);
    failure_unref(w.why);
    return ok;
}

bool ctr_service_stop(struct ctr_service *svc, int drain_secs, struct err *err)
{
    struct ctr_manager *m = svc->m;
    pthread_mutex_lock(&m->lock);
    if (m->is_closing) {
        pthread_mutex_unlock(&m->lock);
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    }
    /* A stop that runs already counts only if it was asked for as this one is: wait for one more. */
    uint64_t target = svc->stops_done + (svc->op == OP_STOP && svc->state == CTR_STOPPING ? 2 : 1);
    svc->stop_wanted = true;
    svc->stop_drain_until_ms = clock_ms() + MAX(drain_secs, 0) * 1000LL;
    if (svc->op == OP_START)
        atomic_store(&svc->cancel, true);
    svc_kick(svc);
    while (svc->stops_done < target && !m->is_closing)
        svc_wait(m, &m->changed, INT64_MAX);
    bool ok = svc->stops_done >= target && !svc->stop_error;
    if (!ok)
        err_set(err, ERR_UPSTREAM, "%s", svc->stop_error ? svc->stop_error : "the server is stopping");
    pthread_mutex_unlock(&m->lock);
    return ok;
}

bool ctr_service_restart(struct ctr_service *svc, bool recreate, int drain_secs, ctr_line_fn *on_line, void *line_arg,
                         const atomic_bool *cancel, struct err *err)
{
    pthread_mutex_lock(&svc->m->lock);
    svc->recreate_wanted |= recreate;
    pthread_mutex_unlock(&svc->m->lock);
    return ctr_service_stop(svc, drain_secs, err) && ctr_service_start(svc, on_line, line_arg, cancel, err);
}

void ctr_service_retire(struct ctr_service *svc, int drain_secs)
{
    struct ctr_manager *m = svc->m;
    int64_t until_ms = clock_ms() + MAX(drain_secs, 0) * 1000LL;
    pthread_mutex_lock(&m->lock);
    /* Who is told again to go is not given more time: apps that go together drain together. */
    svc->retire_at_ms = svc->is_retired ? MIN(svc->retire_at_ms, until_ms) : until_ms;
    svc->is_retired = true;
    if (svc->state == CTR_READY) {
        svc_due(svc, clock_ms());
    } else if ((svc->state == CTR_UNKNOWN && svc->op == OP_NONE) || svc->state == CTR_PAUSED || svc->op == OP_PAUSE) {
        svc->stop_wanted = true; /* it may run since before this server did; or is paused */
        svc->stop_drain_until_ms = 0;
        svc_kick(svc);
    }
    pthread_mutex_unlock(&m->lock);
}

void ctr_service_status(struct ctr_service *svc, struct arena *a, struct ctr_service_status *out)
{
    pthread_mutex_lock(&svc->m->lock);
    struct use u = use_count(svc);
    int64_t now = clock_ms();
    *out = (struct ctr_service_status){
        .state = svc->state,
        .phase = str_from(svc->phase ? svc->phase : ctr_state_name(svc->state)),
        .phase_ms = svc->phase_ms ? now - svc->phase_ms : 0,
        .name = str_dup(a, svc->run.name),
        .image = str_dup(a, svc->run.image),
        .starts = svc->starts,
        .in_flight = u.in_flight,
        .tunnels = u.tunnels,
        .waiting = svc->waiting_count,
        .idle_ms = now - MAX(u.last_ms, svc->ready_ms),
        .begin_ms = svc->begin_ms ? now - svc->begin_ms : 0,
        .log_from = svc->log_from,
    };
    if (svc->state == CTR_READY)
        out->at = svc->at;
    if (svc->failure) {
        out->failure = str_dup(a, str_from(svc->failure->detail));
        out->summary = str_dup(a, str_from(svc->failure->summary));
    }
    pthread_mutex_unlock(&svc->m->lock);
}
