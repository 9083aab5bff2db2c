/* tests/container/fake_engine.h: an engine in memory, which can be slow, fail, and check what is asked of it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include "service_int.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { FAKE_MAX = 16 };

struct fake {
    pthread_mutex_t lock;
    struct {
        char name[80];
        enum ctr_status status;
        const char *app, *image, *created, *started, *version, *home; /* NULL: none; home: /home */
        uint16_t ip_tail;
        int dies_in_probes; /* exits after so many probes; 0: lives */
    } list[FAKE_MAX];
    int count;
    bool has_image;
    struct ctr_image images[FAKE_MAX];
    size_t image_count;
    struct ctr_volume_info volumes[FAKE_MAX];
    size_t volume_count;
    bool volume_remove_fails;
    int removals_by_others; /* so many calls find that it is being removed */
    struct {
        char name[128], home[32], app[48], path[32], volume[240]; /* of the last one that was wanted */
    } wanted;
    char removed[4096]; /* names of containers, images and volumes, in order */
    _Atomic int builds, runs, starts, stops, inspects, pauses, unpauses, pulls, probes, checks;
    int max_building, building;
    _Atomic int slow_ms; /* each call takes 0..slow_ms */
    int build_ms;
    unsigned seed;
    _Atomic bool is_dead;
    bool run_fails, build_fails, stop_fails, never_up, exits_at_once;
    int freezer;                      /* file that says whether the container is paused; 0: none */
    _Atomic int unpauses_held;        /* the answer to an unpause, which has been done, waits for 0 */
    _Atomic int unpause_fails_one_in; /* and is then a failure, so often; 0: never */
    int probes_until_up;
    /* what a stop must find: nobody inside */
    _Atomic int inside;
    _Atomic int stopped_with_inside;
    bool guard_stops;
    struct {
        enum ctr_event_kind kind;
        char name[80];
        int64_t at_ns;
    } events[FAKE_MAX];
    int exit_code;                    /* of what dies from now on */
    int events_told, events_known;
    _Atomic int streams;
    bool is_stream_cut;
};

/* The hooks ask the one fake engine of the running test. */
static struct fake *fake_now;

static inline void fake_sleep(int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    if (ms > 0)
        nanosleep(&t, NULL);
}

/* Waits for a condition that other threads bring about. */
#define wait_for(condition)                                              \
    do {                                                                 \
        int64_t until_ = clock_ms() + 60000;                             \
        while (!(condition)) {                                           \
            if (clock_ms() > until_)                                     \
                fail_msg("waited in vain for: %s", #condition);          \
            fake_sleep(1);                                               \
        }                                                                \
    } while (0)

static inline unsigned fake_random(struct fake *f, unsigned below)
{
    pthread_mutex_lock(&f->lock);
    f->seed = f->seed * 1103515245u + 12345u;
    unsigned n = below ? (f->seed >> 16) % below : 0;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static inline bool fake_call(struct fake *f, struct err *err)
{
    if (f->slow_ms)
        fake_sleep((int)fake_random(f, (unsigned)f->slow_ms + 1));
    pthread_mutex_lock(&f->lock);
    if (!f->is_dead)
        return true;
    pthread_mutex_unlock(&f->lock);
    return err_set(err, ERR_UNAVAILABLE, "the container engine does not answer");
}

static inline int fake_find(struct fake *f, struct str name)
{
    for (int i = 0; i < f->count; i++) {
        if (str_eq_z(name, f->list[i].name))
            return i;
    }
    return -1;
}

static inline bool fake_image_inspect(void *ctx, struct arena *a, struct str image, bool *exists,
                                      struct str *digest, struct err *err)
{
    struct fake *f = ctx;
    (void)a, (void)image;
    if (!fake_call(f, err))
        return false;
    *exists = f->has_image;
    if (digest)
        *digest = STR("sha256:fake");
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_image_pull(void *ctx, struct str image, const atomic_bool *cancel, struct err *err)
{
    struct fake *f = ctx;
    (void)image, (void)cancel;
    if (!fake_call(f, err))
        return false;
    f->pulls++;
    f->has_image = true;
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_image_build(void *ctx, const struct ctr_build *b, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    f->builds++;
    f->building++;
    f->max_building = MAX(f->max_building, f->building);
    pthread_mutex_unlock(&f->lock);
    if (b->on_line)
        b->on_line(b->line_arg, STR("STEP 1/1: FROM fake"));
    for (int t = 0; t < f->build_ms && !(b->cancel && atomic_load(b->cancel)); t++)
        fake_sleep(1);
    pthread_mutex_lock(&f->lock);
    f->building--;
    bool ok = !f->build_fails;
    f->has_image = f->has_image || ok;
    pthread_mutex_unlock(&f->lock);
    if (b->cancel && atomic_load(b->cancel))
        return err_set(err, ERR_CANCELLED, "building was cancelled");
    return ok || err_set(err, ERR_UPSTREAM, "building image failed (exit code 1):\nno such file");
}

static inline bool fake_volume_ensure(void *ctx, struct str name, const struct ctr_kv_list *labels,
                                      struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    memset(&f->wanted, 0, sizeof f->wanted);
    snprintf(f->wanted.name, sizeof f->wanted.name, STR_FMT, STR_ARG(name));
    for (size_t i = 0; labels && i < labels->len; i++) {
        struct str key = labels->items[i].key, value = labels->items[i].value;
        if (str_eq_z(key, CTR_LABEL_HOME))
            snprintf(f->wanted.home, sizeof f->wanted.home, STR_FMT, STR_ARG(value));
        else if (str_eq_z(key, CTR_LABEL_APP_ID))
            snprintf(f->wanted.app, sizeof f->wanted.app, STR_FMT, STR_ARG(value));
        else if (str_eq_z(key, CTR_LABEL_APP_PATH))
            snprintf(f->wanted.path, sizeof f->wanted.path, STR_FMT, STR_ARG(value));
        else if (str_eq_z(key, CTR_LABEL_VOLUME))
            snprintf(f->wanted.volume, sizeof f->wanted.volume, STR_FMT, STR_ARG(value));
    }
    pthread_mutex_unlock(&f->lock);
    return true;
}

/* All, whatever the label: who asks must not rely on the engine's filter. */
static inline bool fake_volume_list(void *ctx, struct arena *a, struct str key, struct str value, bool unused,
                                    struct ctr_volume_list *out, struct err *err)
{
    struct fake *f = ctx;
    (void)key, (void)value;
    if (!fake_call(f, err))
        return false;
    *out = (struct ctr_volume_list){0};
    for (size_t i = 0; i < f->volume_count; i++)
        if (!unused || !f->volumes[i].is_used)
            *vec_push(a, out) = f->volumes[i];
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_volume_remove(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    bool ok = !f->volume_remove_fails || err_set(err, ERR_CONFLICT, "volume is in use");
    size_t n = strlen(f->removed);
    snprintf(f->removed + n, sizeof f->removed - n, "%.*s ", STR_ARG(name));
    pthread_mutex_unlock(&f->lock);
    return ok;
}

static inline bool fake_run(void *ctx, const struct ctr_run *run, bool publish, struct err *err)
{
    struct fake *f = ctx;
    (void)publish;
    if (!fake_call(f, err))
        return false;
    bool ok = true;
    if (f->run_fails)
        ok = err_set(err, ERR_UPSTREAM, "create: no such runtime");
    else if (fake_find(f, run->name) >= 0)
        ok = err_set(err, ERR_CONFLICT, "the name is taken");
    if (ok) {
        int i = f->count++;
        snprintf(f->list[i].name, sizeof f->list[i].name, "%.*s", STR_ARG(run->name));
        f->list[i].status = f->exits_at_once ? CTR_STATUS_EXITED : CTR_STATUS_RUNNING;
        f->list[i].ip_tail = (uint16_t)(i + 1);
        f->runs++;
    }
    pthread_mutex_unlock(&f->lock);
    return ok;
}

static inline bool fake_inspect(void *ctx, struct arena *a, struct str name, uint16_t port,
                                struct ctr_info *out, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    f->inspects++;
    int i = fake_find(f, name);
    *out = (struct ctr_info){.status = CTR_STATUS_NONE};
    if (i >= 0) {
        *out = (struct ctr_info){.status = f->list[i].status,
                                 .started_at = str_from(f->list[i].started),
                                 .name = str_dup(a, name),
                                 .id = STR("0123456789abcdef"),
                                 .pid = 7,
                                 .exit_code = 3,
                                 .at = {.ip = 0x0A000000u + f->list[i].ip_tail, .port = port}};
    }
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_size(void *ctx, struct str name, struct ctr_size *out, struct err *err)
{
    (void)ctx, (void)name, (void)err;
    *out = (struct ctr_size){10, 1000};
    return true;
}

static inline bool fake_start(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    int i = fake_find(f, name);
    if (i >= 0) {
        f->list[i].status = f->exits_at_once ? CTR_STATUS_EXITED : CTR_STATUS_RUNNING;
        f->starts++;
    }
    pthread_mutex_unlock(&f->lock);
    return i >= 0 || err_set(err, ERR_NOT_FOUND, "no such container");
}

static inline bool fake_stop(void *ctx, struct str name, int grace_secs, struct err *err)
{
    struct fake *f = ctx;
    (void)grace_secs;
    if (f->guard_stops && atomic_load(&f->inside) > 0)
        atomic_fetch_add(&f->stopped_with_inside, 1);
    if (!fake_call(f, err))
        return false;
    int i = fake_find(f, name);
    bool is_paused = i >= 0 && f->list[i].status == CTR_STATUS_PAUSED;
    bool ok = (!f->stop_fails && !is_paused) || err_set(err, ERR_UPSTREAM, "it does not stop");
    if (ok && i >= 0 && f->list[i].status != CTR_STATUS_EXITED) {
        f->list[i].status = CTR_STATUS_EXITED;
        f->stops++;
    }
    pthread_mutex_unlock(&f->lock);
    return ok;
}

/* Both have seven bytes: whoever reads sees the one or the other. */
static inline void fake_freezer_say(struct fake *f, const char *state)
{
    if (f->freezer > 0 && pwrite(f->freezer, state, 7, 0) != 7)
        abort();
}

static inline bool fake_freeze(struct fake *f, struct str name, enum ctr_status from, enum ctr_status to, _Atomic int *count,
                               struct err *err)
{
    if (!fake_call(f, err))
        return false;
    int i = fake_find(f, name);
    bool ok = i >= 0 && f->list[i].status == from;
    if (ok) {
        f->list[i].status = to;
        (*count)++;
        fake_freezer_say(f, to == CTR_STATUS_PAUSED ? "FROZEN\n" : "THAWED\n");
    }
    pthread_mutex_unlock(&f->lock);
    return ok || err_set(err, ERR_CONFLICT, "not in the state for that");
}

static inline int fake_freezer(int pid, struct str id)
{
    return fake_now->freezer > 0 && pid == 7 && str_eq(id, STR("0123456789abcdef")) ? dup(fake_now->freezer) : -1;
}

static inline bool fake_pause(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    if (f->guard_stops && atomic_load(&f->inside) > 0)
        atomic_fetch_add(&f->stopped_with_inside, 1);
    return fake_freeze(f, name, CTR_STATUS_RUNNING, CTR_STATUS_PAUSED, &f->pauses, err);
}

static inline bool fake_unpause(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    bool ok = fake_freeze(f, name, CTR_STATUS_PAUSED, CTR_STATUS_RUNNING, &f->unpauses, err);
    if (f->freezer > 0 && f->slow_ms)
        fake_sleep((int)fake_random(f, (unsigned)f->slow_ms + 1));
    while (atomic_load(&f->unpauses_held))
        fake_sleep(1);
    int one_in = atomic_load(&f->unpause_fails_one_in);
    return ok && (one_in == 0 || fake_random(f, (unsigned)one_in) > 0 || err_set(err, ERR_UNAVAILABLE, "the engine has ended"));
}

static inline bool fake_remove(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    if (f->removals_by_others > 0) {
        f->removals_by_others--;
        pthread_mutex_unlock(&f->lock);
        return err_set(err, ERR_CONFLICT, "removal of container " STR_FMT " is already in progress", STR_ARG(name));
    }
    int i = fake_find(f, name);
    size_t n = strlen(f->removed);
    snprintf(f->removed + n, sizeof f->removed - n, "%.*s ", STR_ARG(name));
    if (i >= 0)
        f->list[i] = f->list[--f->count];
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_logs(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times,
                             struct str *out, struct err *err)
{
    (void)a, (void)name, (void)lines, (void)since_ns;
    if (!fake_call(ctx, err))
        return false;
    *out = with_times ? STR("1970-01-01T00:00:01.5Z one two\n1970-01-01T00:00:02Z\nno time\n1970-01-01T00:00:01Z old\n")
                      : STR("Traceback: no module named app\n");
    pthread_mutex_unlock(&((struct fake *)ctx)->lock);
    return true;
}

static inline bool fake_list(void *ctx, struct arena *a, struct str key, struct str value, bool all,
                             struct ctr_info_list *out, struct err *err)
{
    struct fake *f = ctx;
    (void)key, (void)value;
    if (!fake_call(f, err))
        return false;
    *out = (struct ctr_info_list){0};
    for (int i = 0; i < f->count; i++) {
        if (!all && f->list[i].status != CTR_STATUS_RUNNING)
            continue;
        struct ctr_info info = {.status = f->list[i].status, .name = str_dup(a, str_from(f->list[i].name))};
        ctr_kv_set(a, &info.labels, STR(CTR_LABEL_HOME), f->list[i].home ? str_from(f->list[i].home) : STR("/home"));
        if (f->list[i].app)
            ctr_kv_set(a, &info.labels, STR(CTR_LABEL_APP_ID), str_from(f->list[i].app));
        if (f->list[i].version)
            ctr_kv_set(a, &info.labels, STR(CTR_LABEL_APP_VERSION), str_from(f->list[i].version));
        info.image = str_from(f->list[i].image);
        info.created_at = str_from(f->list[i].created);
        *vec_push(a, out) = info;
    }
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_image_list(void *ctx, struct arena *a, struct str key, struct str value,
                                   struct ctr_image_list *out, struct err *err)
{
    struct fake *f = ctx;
    (void)key, (void)value;
    if (!fake_call(f, err))
        return false;
    *out = (struct ctr_image_list){0};
    for (size_t i = 0; i < f->image_count; i++)
        *vec_push(a, out) = f->images[i];
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_image_remove(void *ctx, struct str name, struct err *err)
{
    struct fake *f = ctx;
    if (!fake_call(f, err))
        return false;
    size_t n = strlen(f->removed);
    snprintf(f->removed + n, sizeof f->removed - n, "%.*s ", STR_ARG(name));
    bool ok = !str_ends(name, STR(":busy")) || err_set(err, ERR_CONFLICT, "it is used");
    for (size_t i = 0; i < f->image_count && ok; i++) {
        if (str_eq(f->images[i].name, name))
            f->images[i] = f->images[--f->image_count];
    }
    pthread_mutex_unlock(&f->lock);
    return ok;
}

static inline bool fake_stats(void *ctx, struct str name, bool quick, struct ctr_stats *out, struct err *err)
{
    struct fake *f = ctx;
    (void)quick;
    if (!fake_call(f, err))
        return false;
    *out = (struct ctr_stats){.mem_bytes = fake_find(f, name) >= 0 ? 100 << 20 : 0};
    pthread_mutex_unlock(&f->lock);
    return true;
}

static inline bool fake_events(void *ctx, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                               int cancel_fd, struct err *err)
{
    struct fake *f = ctx;
    struct pollfd stop = {.fd = cancel_fd, .events = POLLIN};
    (void)key, (void)value;
    if (!fake_call(f, err))
        return false;
    pthread_mutex_unlock(&f->lock);
    fn(arg, NULL);
    pthread_mutex_lock(&f->lock);
    f->streams++;
    while (poll(&stop, 1, 0) == 0 && !f->is_stream_cut) {
        if (f->events_told < f->events_known) {
            int i = f->events_told++ % FAKE_MAX;
            char name[80];
            memcpy(name, f->events[i].name, sizeof name);
            struct ctr_event event = {str_from(name), f->events[i].kind, f->events[i].at_ns, f->exit_code};
            pthread_mutex_unlock(&f->lock);
            fn(arg, &event);
        } else {
            pthread_mutex_unlock(&f->lock);
            fake_sleep(1);
        }
        pthread_mutex_lock(&f->lock);
    }
    f->is_stream_cut = false;
    pthread_mutex_unlock(&f->lock);
    return err_set(err, ERR_UPSTREAM, "the stream is over");
}

static inline bool fake_ping(void *ctx, struct arena *a, struct str *version, struct err *err)
{
    (void)ctx, (void)a, (void)err;
    *version = STR("fake 1");
    return true;
}

static inline bool fake_nothing(void *ctx, struct str name, struct err *err)
{
    (void)ctx, (void)name, (void)err;
    return true;
}

static inline bool fake_subnet(void *ctx, struct arena *a, struct str *cidr, struct err *err)
{
    (void)ctx, (void)a, (void)err;
    *cidr = (struct str){0};
    return true;
}

static const struct ctr_backend fake_backend = {
    .ping = fake_ping,
    .image_inspect = fake_image_inspect,
    .image_pull = fake_image_pull,
    .image_remove = fake_image_remove,
    .image_list = fake_image_list,
    .image_build = fake_image_build,
    .volume_ensure = fake_volume_ensure,
    .volume_list = fake_volume_list,
    .volume_remove = fake_volume_remove,
    .run = fake_run,
    .inspect = fake_inspect,
    .size = fake_size,
    .start = fake_start,
    .stop = fake_stop,
    .kill = fake_nothing,
    .pause = fake_pause,
    .unpause = fake_unpause,
    .remove = fake_remove,
    .logs = fake_logs,
    .list = fake_list,
    .stats = fake_stats,
    .events = fake_events,
    .subnet = fake_subnet,
};

static inline void fake_probe(const struct probe_ask *ask, struct probe_answer *out)
{
    struct fake *f = fake_now;
    *out = (struct probe_answer){0};
    pthread_mutex_lock(&f->lock);
    bool up = false;
    f->probes++;
    for (int i = 0; i < f->count; i++) {
        if (0x0A000000u + f->list[i].ip_tail != ask->at.ip || f->list[i].status != CTR_STATUS_RUNNING)
            continue;
        if (f->list[i].dies_in_probes > 0 && --f->list[i].dies_in_probes == 0)
            f->list[i].status = CTR_STATUS_EXITED;
        else
            up = f->probes > f->probes_until_up && !f->never_up;
    }
    pthread_mutex_unlock(&f->lock);
    out->is_up = up;
    out->is_refused = !up;
    snprintf(out->text, sizeof out->text, "%s", up ? "status 200" : "connection refused");
}

/* The status of a container; CTR_STATUS_NONE if there is none. */
static inline enum ctr_status fake_status(struct fake *f, struct str name)
{
    pthread_mutex_lock(&f->lock);
    int i = fake_find(f, name);
    enum ctr_status s = i >= 0 ? f->list[i].status : CTR_STATUS_NONE;
    pthread_mutex_unlock(&f->lock);
    return s;
}

/* Somebody else does that to a container, and the engine tells; `late_ms` ago. */
static inline void fake_happen(struct fake *f, const char *name, enum ctr_event_kind kind, int late_ms)
{
    static const enum ctr_status after[] = {[CTR_EVENT_DIED] = CTR_STATUS_EXITED, [CTR_EVENT_REMOVED] = CTR_STATUS_NONE,
                                            [CTR_EVENT_PAUSED] = CTR_STATUS_PAUSED, [CTR_EVENT_UNPAUSED] = CTR_STATUS_RUNNING,
                                            [CTR_EVENT_STARTED] = CTR_STATUS_RUNNING};
    pthread_mutex_lock(&f->lock);
    int i = fake_find(f, str_from(name)), e = f->events_known++ % FAKE_MAX;
    if (i >= 0 && late_ms == 0) {
        f->list[i].status = after[kind];
        if (kind == CTR_EVENT_REMOVED)
            f->list[i] = f->list[--f->count];
    }
    snprintf(f->events[e].name, sizeof f->events[e].name, "%s", name);
    f->events[e].kind = kind;
    f->events[e].at_ns = wall_ns() - late_ms * 1000000LL;
    pthread_mutex_unlock(&f->lock);
}

static inline void fake_set_status(struct fake *f, struct str name, enum ctr_status s)
{
    pthread_mutex_lock(&f->lock);
    int i = fake_find(f, name);
    if (i >= 0)
        f->list[i].status = s;
    pthread_mutex_unlock(&f->lock);
}

#endif
