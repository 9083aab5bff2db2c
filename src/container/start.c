/* container/start.c: starting a container: adopt it, start it, or make image and container; then probe until
 * it answers. Also the status check of a running one. On job threads, without the lock.
 *
 * A failure tells which phase, how long each took, what the last probe got and what the app last wrote.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"
#include "log.h"
#include "service_int.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* A container that has ended leaves an address where nobody even refuses a connection, and one that is being
 * plugged in may miss the first packet, which the kernel repeats after a second: at its own address an app gets
 * little time to take a connection, and is asked again at once. */
enum {
    FIRST_CONNECT_MS = 20,
    DIRECT_CONNECT_MS = 200,
    PUBLISHED_CONNECT_MS = 2000,
    NO_ADDRESS_MS = 3000,
    ATTEMPT_SLEEP_MS = 100,
    ATTEMPT_SLEEP_MAX_MS = 2000,
    MAX_PHASES = 16,
    FORWARDER_LOST_MS = 1500, /* refused for so long where a program should listen for the app */
    FORWARDER_TRIES = 3,
    LOGS_SHOWN_MAX = 48 << 10,
    THAW_LOOK_US = 250, THAW_SOON_MS = 100, THAW_LATE_LOOK_US = 2000,
    LOGS_EARLY_MS = 125, LOGS_LATE_MS = 4000 /* after its end a container's output is complete */
};

struct start {
    struct ctr_service *svc;
    struct ctr_engine *engine;
    struct arena arena;
    struct arena look; /* of `info`: reset by each inspect */
    struct tunables tune;
    bool is_check;    /* of a running container: leaves phase and log alone */
    bool was_stopped; /* by us: most likely it only needs a start */
    bool was_paused;  /* by us */
    bool recreates;   /* what there is goes */
    bool is_awake;    /* only went on: an accepted connection is enough */
    struct ctr_endpoint at; /* where it was */
    bool is_direct;
    struct svc_process process;
    bool has_let_in; /* svc_ready() has been called before the engine's answer */
    int64_t thaw_ms; /* then: how long that took */
    int crash_streak;
    int64_t ready_ms;
    struct {
        const char *name;
        int64_t from_ms;
    } phases[MAX_PHASES];
    int n_phases;
    int64_t begin_ms;
    int64_t engine_ms; /* of a wake: how long the engine's own start took */
    bool is_fresh; /* made or started by us: stopped again on failure */
    bool has_adopted; /* it ran, or was paused, before */
    bool is_over;  /* what ran before is not there any more */
    int64_t refused_ms; /* since when its published port is refused; 0: it is not */
    int forwarders_lost;
    struct str last_probe;
    struct ctr_info info;
};

static void sleep_us(int64_t us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static void sleep_ms(int64_t ms)
{
    sleep_us(ms * 1000);
}

static void phase(struct start *st, const char *name)
{
    if (st->n_phases < MAX_PHASES) {
        st->phases[st->n_phases].name = name;
        st->phases[st->n_phases++].from_ms = clock_ms();
    }
    if (!st->is_check)
        svc_phase(st->svc, name);
}

static bool inspect(struct start *st, struct err *err)
{
    struct ctr_info info;
    arena_reset(&st->look);
    st->info = (struct ctr_info){.status = CTR_STATUS_NONE};
    if (!ctr_container_inspect(st->engine, &st->look, st->svc->run.name, st->svc->run.port, &info, err))
        return false;
    st->info = info;
    st->process.pid = info.pid;
    snprintf(st->process.id, sizeof st->process.id, STR_FMT, STR_ARG(info.id));
    return true;
}

static bool is_cancelled(const struct start *st)
{
    return atomic_load(&st->svc->cancel);
}

static bool check_cancel(const struct start *st, struct err *err)
{
    return !is_cancelled(st) || err_set(err, ERR_CANCELLED, "starting container " STR_FMT " was cancelled",
                                        STR_ARG(st->svc->run.name));
}

/* Asked before a container is started again. A failure is no reason to make it anew: that would mount the same. */
static bool check_mounts(const struct start *st, struct err *err)
{
    return ctr_mounts_check(st->svc->run.mounts, st->svc->run.n_mounts, err);
}

static bool start_again(struct start *st, struct err *err)
{
    st->has_adopted = false;
    svc_run_begins(st->svc);
    return ctr_container_start(st->engine, st->svc->run.name, err);
}

static void to_state(struct start *st, enum ctr_state s)
{
    pthread_mutex_lock(&st->svc->m->lock);
    svc_set_state(st->svc, s);
    pthread_mutex_unlock(&st->svc->m->lock);
}

static void on_image_phase(void *st, const char *name)
{
    phase(st, name);
}

/* The container, and its image if that is not there. *is_gone when somebody has removed the image since. */
static bool create_held(struct start *st, bool *is_gone, struct err *err)
{
    struct ctr_service *svc = st->svc;
    bool exists = false;
    if (!ctr_image_inspect(st->engine, &st->arena, svc->run.image, &exists, NULL, err))
        return false;
    if (!exists) {
        to_state(st, CTR_BUILDING);
        if (!svc_image_ensure(svc, &(struct image_phase){on_image_phase, st}, &st->arena, err))
            return false;
        to_state(st, CTR_STARTING);
    }
    if (!check_cancel(st, err))
        return false;
    phase(st, "creating the container");
    scoped_err e = {0}, ignored = {0};
    st->is_fresh = true;
    st->has_adopted = false;
    svc_run_begins(svc);
    if (ctr_container_run(st->engine, &svc->run, &e))
        return true;
    *is_gone = e.code == ERR_NOT_FOUND && ctr_image_inspect(st->engine, &st->arena, svc->run.image, &exists, NULL, &ignored) &&
               !exists;
    /* Another server of this home, or a person, was faster: take theirs. */
    return e.code == ERR_CONFLICT ? true : err_move(err, &e);
}

static bool create(struct start *st, struct err *err)
{
    scoped_err first = {0};
    bool is_gone = false, ignored;
    if (!svc_images_hold(st->svc, err))
        return false;
    bool ok = create_held(st, &is_gone, &first);
    if (!ok && is_gone && !is_cancelled(st)) {
        log_warn("an image was removed while it was about to be used, and is made again", LOG_STR("image", st->svc->run.image),
                 LOG_ERR(&first));
        err_release(&first);
        ok = create_held(st, &ignored, &first);
    }
    svc_images_release(st->svc->m);
    return ok || err_move(err, &first);
}

static bool recreate(struct start *st, struct err *err)
{
    phase(st, "removing the old container");
    if (!ctr_container_remove(st->engine, st->svc->run.name, err))
        return false;
    st->is_over = true;
    return create(st, err);
}

/* True, with the error, when the container keeps ending soon after it got ready: starting it over and over
 * helps nobody. */
static bool is_crash_loop(struct start *st, struct err *err)
{
    int64_t lived = st->begin_ms - st->ready_ms; /* how long the restart takes says nothing */
    if (lived >= SVC_STABLE_MS || st->crash_streak + 1 < SVC_CRASHES)
        return false;
    err_set(err, ERR_UPSTREAM,
            "the app's container keeps ending soon after its start: %d times in a row, now after "
            "%lld ms with exit code %d%s",
            st->crash_streak + 1, (long long)lived, st->info.exit_code,
            st->info.was_oom_killed ? " (out of memory)" : "");
    return true;
}

static bool probe_once(struct start *st, int64_t since_ms, int64_t left_ms, int *slow);

/* Sees a paused container go on, which is some milliseconds before the engine says so: by then its runtime has ended, and
 * those between have told each other. */
struct thaw {
    struct start *st;
    int fd; /* of freezer_open() */
    int64_t begin_ms;
    atomic_bool is_answered;
    pthread_t thread;
};

/* Its processes run: it is ready when it takes a connection, as after the engine's answer. */
static void let_in(struct start *st, int64_t begin_ms)
{
    struct ctr_service *svc = st->svc;
    int slow = 0;
    if (!probe_once(st, 0, st->tune.health_timeout_secs * 1000LL, &slow))
        return;
    pthread_mutex_lock(&svc->m->lock);
    if (svc->state == CTR_STARTING && !svc->m->is_closing && !is_cancelled(st)) {
        svc_ready(svc, st->info.at, st->info.is_direct);
        st->has_let_in = true;
        st->thaw_ms = MAX(clock_ms() - begin_ms, 1);
    }
    pthread_mutex_unlock(&svc->m->lock);
}

static void *thaw_thread(void *arg)
{
    struct thaw *t = arg;
    enum freezer state;
    while ((state = freezer_read(t->fd)) == FREEZER_FROZEN && !atomic_load(&t->is_answered))
        sleep_us(clock_ms() - t->begin_ms < THAW_SOON_MS ? THAW_LOOK_US : THAW_LATE_LOOK_US);
    if (state == FREEZER_THAWED)
        let_in(t->st, t->begin_ms);
    return NULL;
}

/* False where it cannot be seen. */
static bool thaw_begin(struct thaw *t, struct start *st)
{
    const struct svc_process *p = &st->process;
    *t = (struct thaw){.st = st, .begin_ms = clock_ms()};
    t->fd = st->svc->m->hooks.freezer && p->pid > 0 ? st->svc->m->hooks.freezer(p->pid, str_from(p->id)) : -1;
    if (t->fd < 0)
        return false;
    /* What is not frozen now was let go on by somebody else, or is no such container: the engine knows. */
    if (freezer_read(t->fd) == FREEZER_FROZEN && pthread_create(&t->thread, NULL, thaw_thread, t) == 0)
        return true;
    close(t->fd);
    return false;
}

static void thaw_end(struct thaw *t)
{
    atomic_store(&t->is_answered, true);
    pthread_join(t->thread, NULL);
    close(t->fd);
}

/* The engine has not said yes after all: it may have ended, or hang, which takes nothing from a container that went on and
 * took a connection. What it says when asked again counts. */
static void look_again(struct start *st, const struct err *why)
{
    log_warn("the engine did not say that a container goes on, although it does", LOG_STR("container", st->svc->run.name),
             LOG_ERR(why));
    pthread_mutex_lock(&st->svc->m->lock);
    st->svc->check_wanted = true;
    pthread_mutex_unlock(&st->svc->m->lock);
}

/* A container that we paused is where it was. False leaves it to a closer look. */
static bool unpause(struct start *st)
{
    scoped_err err = {0};
    struct thaw thaw;
    phase(st, "unpausing the container");
    int64_t begin = clock_ms();
    st->is_awake = true;
    st->info = (struct ctr_info){.status = CTR_STATUS_RUNNING, .at = st->at, .is_direct = st->is_direct};
    bool is_watched = thaw_begin(&thaw, st);
    bool ok = ctr_container_unpause(st->engine, st->svc->run.name, &err);
    if (is_watched)
        thaw_end(&thaw);
    st->is_awake = st->is_fresh = ok || st->has_let_in;
    if (!ok && st->has_let_in)
        look_again(st, &err);
    if (st->is_awake)
        st->engine_ms = clock_ms() - begin;
    else
        st->info = (struct ctr_info){.status = CTR_STATUS_NONE};
    return st->is_awake;
}

static bool has_ended(const struct start *st)
{
    return st->info.status == CTR_STATUS_EXITED || st->info.status == CTR_STATUS_DEAD;
}

/* What was found cannot be what ran before. */
static bool is_another_run(const struct start *st)
{
    bool has_moved = st->info.at.ip != 0 && (st->info.at.ip != st->at.ip || st->info.at.port != st->at.port);
    return has_moved || (st->info.status != CTR_STATUS_RUNNING && st->info.status != CTR_STATUS_PAUSED);
}

/* From whatever there is to a running container with an address; *was_running if nothing was to do, *was_dead
 * if it had ended. */
static bool bring_up(struct start *st, bool is_restart, bool *was_running, bool *was_dead, struct err *err)
{
    scoped_err e = {0};
    bool ok = true;
    *was_running = *was_dead = false;
    if (st->recreates)
        return recreate(st, err) && inspect(st, err);
    if (st->was_paused && unpause(st))
        return true;
    if (st->was_stopped) {
        /* Through a program each look costs 40 ms: start first, and look only if that fails. */
        phase(st, "starting the container");
        int64_t begin = clock_ms();
        if (!check_mounts(st, err))
            return false;
        if (start_again(st, &e)) {
            st->engine_ms = clock_ms() - begin;
            st->is_fresh = st->is_over = true;
            return inspect(st, err);
        }
        err_release(&e);
    }
    phase(st, "looking for the container");
    if (!inspect(st, err))
        return false;
    st->is_over |= is_another_run(st);
    /* One that is not there at all was removed: no crash. */
    *was_dead = has_ended(st);
    if (is_restart && *was_dead && is_crash_loop(st, err))
        return false;
    switch (st->info.status) {
    case CTR_STATUS_RUNNING:
    case CTR_STATUS_RESTARTING:
        if (st->info.is_direct && ctr_engine_direct(st->engine) == 0) {
            ok = recreate(st, err); /* made when its own address could be reached, and no longer can */
        } else {
            *was_running = st->has_adopted = true;
        }
        break;
    case CTR_STATUS_PAUSED:
        st->has_adopted = true;
        phase(st, "unpausing the container");
        ok = ctr_container_unpause(st->engine, st->svc->run.name, err);
        st->is_over |= !ok;
        break;
    case CTR_STATUS_EXITED:
    case CTR_STATUS_CREATED:
        phase(st, "starting the container");
        st->is_fresh = true;
        if (!check_mounts(st, err))
            return false;
        if (!start_again(st, &e)) {
            log_warn("an existing container does not start and is made anew",
                     LOG_STR("container", st->svc->run.name), LOG_ERR(&e));
            ok = recreate(st, err);
        }
        break;
    case CTR_STATUS_DEAD: ok = recreate(st, err); break;
    case CTR_STATUS_NONE: ok = create(st, err); break;
    }
    return ok && (*was_running || inspect(st, err));
}

/* The spec counts attempts with growing sleeps between them; that sum is our time budget, within which we
 * ask far more often. */
static int64_t budget_ms(int attempts)
{
    int64_t sum = 0, sleep = ATTEMPT_SLEEP_MS;
    for (int i = 0; i < attempts && i < 100000; i++) {
        sum += sleep;
        sleep = MIN(sleep * 2, (int64_t)ATTEMPT_SLEEP_MAX_MS);
    }
    return sum;
}

/* Milliseconds until the next probe after `since_ms` of probing: at first as fast as a small app starts. */
static int64_t probe_pause_ms(int64_t since_ms)
{
    return since_ms < 100 ? 1 : since_ms < 500 ? 5 : since_ms < 3000 ? 20 : since_ms < 15000 ? 100 : 250;
}

static bool exited(struct start *st, struct err *err)
{
    if (st->info.error.len > 0)
        return err_set(err, ERR_UPSTREAM, "the container ended at once: " STR_FMT,
                       STR_ARG(str_slice(st->info.error, 0, 500)));
    return err_set(err, ERR_UPSTREAM, "the app's container exited with code %d%s before it was ready",
                   st->info.exit_code, st->info.was_oom_killed ? " (out of memory)" : "");
}

static bool check_running(struct start *st, struct err *err)
{
    bool is_running = st->info.status == CTR_STATUS_RUNNING || st->info.status == CTR_STATUS_RESTARTING;
    st->is_over |= !is_running;
    if (st->info.status == CTR_STATUS_NONE)
        return err_set(err, ERR_UPSTREAM, "the container was removed while it started");
    return is_running || exited(st, err);
}

/* One question to the app. True when it is up: *slow counts connections that were taken and not answered. */
static bool probe_once(struct start *st, int64_t since_ms, int64_t left_ms, int *slow)
{
    int64_t begin = clock_ms(), timeout = st->tune.health_timeout_secs * 1000LL;
    struct probe_answer answer;
    struct probe_ask ask = {
        .at = st->info.at,
        .scheme = st->tune.scheme,
        .path = st->tune.health_path,
        .needs_200 = st->tune.is_health_configured,
        .is_connect_enough = st->is_awake,
        .connect_ms = !st->info.is_direct ? (int64_t)PUBLISHED_CONNECT_MS
                                          : MIN(FIRST_CONNECT_MS + since_ms, (int64_t)DIRECT_CONNECT_MS),
        .timeout_ms = MIN(timeout, MAX(left_ms, 1000)),
        .cancel = &st->svc->cancel,
    };
    st->svc->m->hooks.probe(&ask, &answer);
    st->last_probe = str_dup(&st->arena, str_from(answer.text));
    st->refused_ms = !answer.is_refused || st->info.is_direct ? 0 : st->refused_ms ? st->refused_ms : begin;
    int64_t took = clock_ms() - begin;
    *slow += st->info.is_direct && answer.is_accepted && took > ask.connect_ms && took >= timeout * 9 / 10;
    /* An app that takes connections at its own address but is slow to draw its front page is up. */
    return answer.is_up || (*slow >= 2 && !st->tune.is_health_configured);
}

/* Rootless Podman forwards a port by a program that listens before the app is started. When a container is started while what
 * its last run has left is still being cleaned up, that can take the new run's program away: the app runs, and nobody
 * will ever come to it. */
static bool is_forwarder_lost(const struct start *st)
{
    return st->svc->m->has_forwarder && !st->is_check && st->forwarders_lost < FORWARDER_TRIES && st->refused_ms != 0 &&
           clock_ms() - st->refused_ms >= FORWARDER_LOST_MS;
}

static bool restart_forwarder(struct start *st, struct err *err)
{
    log_warn("the engine has lost the port of a container, which is started again", LOG_STR("container", st->svc->run.name));
    phase(st, "restarting the container, whose port the engine has lost");
    st->is_fresh = st->is_over = true;
    st->refused_ms = 0;
    if (!ctr_container_stop(st->engine, st->svc->run.name, st->tune.stop_grace_secs, err))
        return false;
    sleep_ms(FORWARDER_LOST_MS * ++st->forwarders_lost); /* for the engine to clean up */
    return check_cancel(st, err) && start_again(st, err) && inspect(st, err);
}

/* Asks until the app is up, the container has ended or time is. */
static bool wait_healthy(struct start *st, int attempts, struct err *err)
{
    int64_t begin = clock_ms(), until = begin + budget_ms(attempts), last_look = begin;
    int slow = 0;
    phase(st, "waiting for the app to answer");
    for (;;) {
        int64_t since = clock_ms() - begin;
        if (!check_cancel(st, err) || !check_running(st, err))
            return false;
        if (st->info.at.ip &&
            probe_once(st, since, until - clock_ms(), &slow))
            return true;
        since = clock_ms() - begin;
        if (st->info.at.ip == 0 && since >= NO_ADDRESS_MS)
            return err_set(err, ERR_UPSTREAM, "the container has no address that this host can reach");
        if (begin + since >= until)
            return err_set(err, ERR_UPSTREAM,
                           "the app in the container did not answer GET " STR_FMT
                           " on port %u within %lld s (last answer: " STR_FMT ")",
                           STR_ARG(st->tune.health_path), (unsigned)st->svc->run.port,
                           (long long)(since + 500) / 1000, STR_ARG(st->last_probe));
        if (begin + since - last_look >= (since < 1000 ? 50 : 500)) {
            if (!inspect(st, err))
                return false;
            last_look = clock_ms();
        }
        if (is_forwarder_lost(st) && !restart_forwarder(st, err))
            return false;
        sleep_ms(probe_pause_ms(since));
    }
}

static struct str read_logs(struct start *st)
{
    struct str logs = {0};
    scoped_err ignored = {0};
    ctr_container_logs(st->engine, &st->arena, st->svc->run.name, st->tune.log_lines, &logs, &ignored);
    return str_trim(logs);
}

/* The newest whole lines of the container's output. An engine may know that a container has ended before it has
 * written down the last words, which say why: then they are read until they stay the same. */
static struct str last_logs(struct start *st)
{
    if (st->tune.log_lines <= 0 || st->info.status == CTR_STATUS_NONE)
        return (struct str){0};
    struct str logs = read_logs(st), before;
    for (int wait_ms = LOGS_EARLY_MS; has_ended(st) && wait_ms < LOGS_LATE_MS; wait_ms *= 2) {
        before = logs;
        sleep_ms(wait_ms);
        logs = read_logs(st);
        if (logs.len > 0 && str_eq(logs, before))
            break;
    }
    if (logs.len > LOGS_SHOWN_MAX) {
        logs = str_from_off(logs, logs.len - LOGS_SHOWN_MAX);
        logs = str_from_off(logs, str_chr(logs, '\n') == STR_NPOS ? 0 : str_chr(logs, '\n') + 1);
    }
    return logs;
}

static struct failure *explain(struct start *st, struct err *why)
{
    ctr_advise(why);
    scoped_buf text = BUF_INIT(60 << 10);
    struct str full = str_from(err_msg(why)), first;
    str_cut(full, '\n', &first, NULL);
    struct str summary = str_trim_right(first, ':');
    int64_t now = clock_ms();
    struct str logs = why->code == ERR_CANCELLED ? (struct str){0} : last_logs(st);
    buf_printf(&text, "%s\n" STR_FMT "%sContainer " STR_FMT ", image " STR_FMT ". Phases: ", err_msg(why),
               STR_ARG(st->svc->hint), st->svc->hint.len > 0 ? "\n" : "",
               STR_ARG(st->svc->run.name), STR_ARG(st->svc->run.image));
    for (int i = 0; i < st->n_phases; i++) {
        int64_t end = i + 1 < st->n_phases ? st->phases[i + 1].from_ms : now;
        buf_printf(&text, "%s%s %lld ms", i ? ", " : "", st->phases[i].name,
                   (long long)(end - st->phases[i].from_ms));
    }
    buf_add_char(&text, '.');
    if (st->last_probe.len > 0)
        buf_printf(&text, "\nLast probe: GET " STR_FMT ": " STR_FMT, STR_ARG(st->tune.health_path),
                   STR_ARG(st->last_probe));
    if (logs.len > 0)
        buf_printf(&text, "\nLogs\n" STR_FMT, STR_ARG(logs));
    return failure_new(why->code, summary, buf_str(&text));
}

static void start_init(struct start *st, struct ctr_service *svc)
{
    *st = (struct start){.svc = svc, .engine = svc->m->engine, .begin_ms = clock_ms()};
    pthread_mutex_lock(&svc->m->lock);
    st->tune = svc->tune;
    st->was_stopped = svc->was_stopped;
    st->was_paused = svc->was_paused;
    st->at = svc->at;
    st->is_direct = svc->is_direct;
    st->process = svc->process;
    st->crash_streak = svc->crash_streak;
    st->ready_ms = svc->ready_ms;
    pthread_mutex_unlock(&svc->m->lock);
}

static void start_release(struct start *st)
{
    arena_release(&st->arena);
    arena_release(&st->look);
}

/* A container that never got ready must not be found running, and adopted, by the next attempt. When the
 * server stops it stays: the next server will see for itself. */
static void give_up(struct start *st, bool was_running)
{
    struct ctr_manager *m = st->svc->m;
    scoped_err err = {0};
    pthread_mutex_lock(&m->lock);
    bool leave = m->is_closing;
    pthread_mutex_unlock(&m->lock);
    if (leave || !(st->is_fresh || was_running) || st->info.status == CTR_STATUS_NONE)
        return;
    st->is_over = true;
    if (!ctr_container_stop(st->engine, st->svc->run.name, st->tune.stop_grace_secs, &err))
        log_warn("stopping a container that did not get ready", LOG_STR("container", st->svc->run.name),
                 LOG_ERR(&err));
}

/* A running container that stopped answering is given a short while, then started anew. */
static bool revive(struct start *st, struct err *err)
{
    scoped_err e = {0};
    if (wait_healthy(st, st->tune.check_attempts, &e))
        return true;
    if (e.code == ERR_CANCELLED)
        return err_move(err, &e);
    log_warn("container does not answer and is started anew", LOG_STR("container", st->svc->run.name),
             LOG_ERR(&e));
    phase(st, "restarting the container");
    st->is_fresh = st->is_over = true;
    return ctr_container_stop(st->engine, st->svc->run.name, st->tune.stop_grace_secs, err) &&
           check_mounts(st, err) && start_again(st, err) && inspect(st, err) &&
           wait_healthy(st, st->tune.start_attempts, err);
}

void svc_run_start(struct ctr_service *svc, bool is_restart, struct start_result *out)
{
    struct start st;
    scoped_err err = {0}, ignored = {0};
    bool was_running = false, was_dead = false;
    start_init(&st, svc);
    pthread_mutex_lock(&svc->m->lock);
    st.recreates = svc->recreate_wanted;
    svc->recreate_wanted = false;
    pthread_mutex_unlock(&svc->m->lock);
    bool ok = bring_up(&st, is_restart, &was_running, &was_dead, &err);
    if (ok && svc->run.port == 0)
        ok = err_set(&err, ERR_INVALID, "the container has no port to send requests to");
    if (ok && !st.has_let_in)
        ok = is_restart && was_running ? revive(&st, &err) : wait_healthy(&st, st.tune.start_attempts, &err);
    if (!ok && st.has_adopted && !is_cancelled(&st) && inspect(&st, &ignored) &&
        (has_ended(&st) || st.info.status == CTR_STATUS_NONE)) {
        /* What ended is not what we started: that is still to come. */
        log_warn("container has ended as it was taken over", LOG_STR("container", svc->run.name), LOG_ERR(&err));
        err_release(&err);
        st.was_paused = st.was_stopped = false;
        ok = bring_up(&st, is_restart, &was_running, &was_dead, &err) && wait_healthy(&st, st.tune.start_attempts, &err);
    }
    *out = (struct start_result){.ok = ok,
                                 .at = st.info.at,
                                 .is_direct = st.info.is_direct,
                                 .process = st.process,
                                 .has_let_in = st.has_let_in,
                                 .was_running = was_running && !st.is_fresh,
                                 .has_crashed = is_restart && was_dead,
                                 .cancelled = err.code == ERR_CANCELLED};
    int64_t took = clock_ms() - st.begin_ms;
    if (ok) {
        svc_log_line(svc, str_printf(&st.arena, "ready after %lld ms", (long long)took));
        log_info(out->was_running ? "container adopted" : "container started",
                 LOG_STR("container", svc->run.name), LOG_INT("ms", took), LOG_INT("engine_ms", st.engine_ms),
                 LOG_INT("thaw_ms", st.thaw_ms));
    } else {
        out->why = explain(&st, &err);
        svc_log_line(svc, str_from(out->why->summary));
        give_up(&st, was_running);
    }
    out->is_over = st.is_over;
    start_release(&st);
}

bool svc_run_check(struct ctr_service *svc, struct failure **why)
{
    struct start st;
    scoped_err err = {0};
    start_init(&st, svc);
    st.is_check = true;
    bool ok = inspect(&st, &err);
    if (!ok) {
        /* The engine does not answer: that says nothing about the container. */
        log_warn("checking a container", LOG_STR("container", svc->run.name), LOG_ERR(&err));
        ok = true;
    } else if (st.info.status != CTR_STATUS_RUNNING) {
        ok = exited(&st, &err);
    } else {
        ok = wait_healthy(&st, st.tune.check_attempts, &err) || err.code == ERR_CANCELLED ||
             err.code == ERR_UNAVAILABLE;
    }
    if (!ok)
        *why = explain(&st, &err);
    start_release(&st);
    return ok;
}
