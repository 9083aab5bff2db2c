/* container/service_int.h: what the files of the service share.
 *
 *     manager.c   threads, the table of services, timers (idle, checks, drains), the sweep
 *     service.c   the state machine: doors, waiters, operations
 *     service_log.c  what its builds and starts say
 *     start.c     the start operation: image, container, probe; and the check of a running one
 *     prune.c     what newer versions have replaced
 *     image.c     images made once: build slots; buildlog.c keeps what their builds wrote
 *     freezer.c   sees a paused container go on
 *     task.c      single commands
 *     probe.c     asks an app whether it is up
 *
 * One lock, ctr_manager.lock, guards everything marked (L). No call to the engine, a callback or a loop is
 * made under it, except posting.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVICE_INT_H
#define SERVICE_INT_H

#include "container_int.h"

#include <pthread.h>

enum {
    SVC_LOG_MIN = 128,
    SVC_LOG_MAX = 64 << 10,       /* a power of two times SVC_LOG_MIN */
    SVC_MAX_WAITERS = 20000,
    SVC_BACKOFF_MIN_MS = 1000,
    SVC_BACKOFF_MAX_MS = 30000,
    SVC_STABLE_MS = 10000,        /* ready for so long: a later crash is not part of a crash loop */
    SVC_CRASHES = 3,              /* in a row, each sooner than that: a failure with back-off */
    SVC_SUSPECT_PAUSE_MS = 20,    /* after a look that found all well */
    SVC_FIRST_CHECK_MS = 60000,
    SVC_SAMPLES = 16,             /* of the byte counter in one idle window */
    SVC_BUCKETS = 1024,
    SVC_FOLLOW_MS = 100,          /* who follows the output of a start gets it so often */
};

/* What one probe brought. */
struct probe_answer {
    bool is_up;
    bool is_accepted;             /* the connection was accepted, whatever came then */
    bool is_refused;              /* nothing listens there */
    char text[200];               /* "status 503", "connection refused", ... */
};
struct probe_ask {
    struct ctr_endpoint at;
    struct str scheme, path;
    bool needs_200;
    bool is_connect_enough;       /* an accepted connection says it all */
    int64_t connect_ms, timeout_ms;
    const atomic_bool *cancel;
};
void ctr_probe(const struct probe_ask *ask, struct probe_answer *out);

/* freezer.c */
enum freezer { FREEZER_UNKNOWN, FREEZER_FROZEN, FREEZER_THAWED };
/* The file that tells it of the container `id` whose process is `pid`; -1 where there is none. The caller closes it. */
int freezer_open(int pid, struct str id);
enum freezer freezer_read(int fd);
enum freezer freezer_parse(struct str text);
/* Its path, from /proc/PID/cgroup; false if the process is not in a group of the container, or that is not told. */
bool freezer_path(struct arena *a, struct str cgroups, struct str id, struct str *path);

/* What tests replace. */
struct ctr_hooks {
    void (*post)(struct http_loop *loop, void (*fn)(struct http_loop *, void *), void *arg);
    void (*probe)(const struct probe_ask *ask, struct probe_answer *out);
    int (*freezer)(int pid, struct str id);   /* NULL: there is none */
};

/* Per loop, on its own cache line: written by that loop, and by the manager for waiters that it lets in. */
struct lane {
    _Alignas(64) _Atomic uint32_t in_flight;
    _Atomic uint32_t tunnels;
    _Atomic int64_t last_ms;      /* of the newest request start or end; clock_ms() */
    _Atomic uint64_t bytes;
};

/* A failure, shared by all who waited. */
struct failure {
    atomic_int refs;
    enum err_code code;
    char *summary, *detail;
    int64_t retry_at_ms;
};
void failure_unref(struct failure *f);

enum svc_op { OP_NONE, OP_START, OP_STOP, OP_CHECK, OP_PAUSE };

/* The first process of a container. */
struct svc_process {
    int pid;                      /* 0: not known */
    char id[65];                  /* of the container */
};

struct ctr_waiter {
    struct ctr_service *svc;      /* holds a reference */
    struct http_loop *loop;       /* NULL: a thread that waits for `is_done` */
    int lane;
    ctr_wake_fn *fn;
    void *arg;
    struct ctr_waiter *next, **at; /* (L) in the queue; at is NULL outside */
    bool is_cancelled;            /* loop's own */
    bool is_done;                 /* (L) */
    struct ctr_endpoint to;       /* ip 0: failed */
    struct failure *why;
};

/* Settings that do not change the container; a start or check works on a copy. */
struct tunables {
    struct str scheme, health_path;
    bool is_health_configured;
    int start_attempts, health_timeout_secs, check_attempts, stop_grace_secs, log_lines;
    int64_t idle_ms, idle_stop_ms, check_interval_ms;   /* 0: never */
    bool pauses;
    int64_t idle_bytes;
};

struct ctr_service {
    /* read by every request; `door` written on each change of state */
    struct lane *lanes;
    struct ctr_manager *m;
    _Alignas(64) _Atomic uint64_t door;   /* packed endpoint while READY, else 0 */

    /* set once */
    _Alignas(64) struct arena arena;
    struct ctr_run run;
    struct str app_id, build_file, build_target, hint;
    struct ctr_kv_list build_args;
    struct ctr_source source;
    bool is_external_image;
    atomic_bool cancel;                   /* ends the running start */

    /* (L) */
    struct tunables tune;
    struct ctr_service *next_in_bucket, *next, **prev_next;
    uint64_t hash;
    int refs;
    enum ctr_state state;
    enum svc_op op;
    struct ctr_endpoint at;               /* generation counts on; ip of the last READY */
    struct ctr_waiter *waiting, **waiting_end;
    uint32_t waiting_count;
    bool stop_wanted, restart_wanted, check_wanted;
    bool pause_wanted;
    bool was_paused;                      /* the running start began in PAUSED */
    bool is_direct;                       /* `at` is the container's own address */
    struct svc_process process;           /* of the last start */
    int64_t paused_ms, paused_bytes;      /* in PAUSED: since when, and what it keeps */
    bool was_stopped;                     /* the running start began in STOPPED */
    bool is_restart;                      /* the running start looks after a suspicion */
    bool recreate_wanted;                 /* the next start makes it anew */
    int64_t wanted_ms;                    /* when somebody last asked for a start */
    bool revive_wanted;                   /* it has crashed: started again although nobody waits */
    bool has_ended;                       /* by itself or somebody else's hand: the next start is a restart */
    int64_t began_ns;                     /* of the newest start, wall clock: older events are history */
    bool died;                            /* since then, while the start was still at it */
    bool died_crashing;                   /* and nobody's hand did it */
    int64_t stop_drain_until_ms;
    uint64_t stops_done;
    char *stop_error;                     /* of the last stop; NULL: it went well */
    bool is_retired;
    int64_t retire_at_ms;
    struct failure *failure;              /* the last one */
    int fail_count, crash_streak;
    uint32_t starts;
    int64_t ready_ms, retry_at_ms, next_check_ms, due_ms, suspect_ok_ms;
    const char *phase;
    int64_t phase_ms;
    uint64_t samples[SVC_SAMPLES];        /* of the byte counter, one each idle_ms / SVC_SAMPLES */
    unsigned sample_at, sample_count;
    int64_t next_sample_ms;
    char *log;                            /* ring of SVC_LOG_MAX, smaller while it has not been full */
    size_t log_size;
    uint64_t log_base;                    /* bytes ever written, when log[0] was */
    uint64_t log_end;                     /* bytes ever written */
    uint64_t log_told;                    /* of them when those who follow were last woken */
    uint64_t log_from;                    /* of them before the newest start */
    int64_t begin_ms;                     /* when it began, clock_ms() */
};

struct build_slot;
struct svc_task;
struct build_log;
struct jobs;

struct ctr_manager {
    struct ctr_engine *engine;
    struct jobs *jobs;
    struct ctr_hooks hooks;
    char *home;
    struct http_loops *loops;             /* (L) may be NULL */
    bool has_forwarder;                   /* a program listens on each published port, whether the app does or not */
    int loop_count, max_builds, build_wait_secs, sweep_secs;

    pthread_mutex_t lock;
    pthread_cond_t changed;               /* any state, waiter, log or slot changed */
    pthread_cond_t timer_cond;
    pthread_t timer, events;
    pthread_cond_t events_cond;
    int events_stop;                      /* readable when the thread is to end */
    bool has_events;                      /* the thread runs */
    bool is_closing;                      /* (L) */
    struct ctr_service *buckets[SVC_BUCKETS], *services; /* (L) */
    size_t n_services;
    int64_t timer_wakes_ms;               /* (L) when the timer thread looks next; INT64_MAX: when told */
    int building;                         /* (L) */
    struct build_slot *slots;             /* (L) */
    int image_holds;                      /* (L) those who rely on images; see svc_images_hold() */
    bool is_removing_image;               /* (L) */
    int image_wait_ms;                    /* how long a removal waits for them */
    struct svc_task *tasks;               /* (L) single commands that run */
    struct build_log *build_logs;         /* (L) of the builds that run */
    struct str sweeping;                  /* (L) container that the sweep is stopping */
    int keep_versions;
    int64_t image_bytes_max;
    bool (*app_version)(void *arg, struct arena *a, struct str id, struct str *version, struct err *err);
    void *app_arg;
    int64_t paused_max;                   /* bytes; 0: no limit */
    int64_t next_sweep_ms;                /* (L) */
    bool sweep_runs;                      /* (L) */
};

bool ctr_manager_open_with(const struct ctr_manager_config *config, struct ctr_engine *engine,
                           const struct ctr_hooks *hooks, struct ctr_manager **out, struct err *err);

/* The file for a build of that app; never NULL, a failure to write is only logged. Then its lines, and its end. */
struct build_log *build_log_open(struct ctr_manager *m, struct str app_id);
void build_log_line(struct build_log *l, struct str line);
void build_log_close(struct ctr_manager *m, struct build_log *l);

/* Waits on `c` until `until_ms` (clock_ms) or a signal. (L) */
void svc_wait(struct ctr_manager *m, pthread_cond_t *c, int64_t until_ms);
/* The timer looks at `svc` at `due_ms` or before. (L) */
void svc_due(struct ctr_service *svc, int64_t due_ms);
void svc_tick(struct ctr_service *svc, int64_t now);                    /* (L) */
void svc_kick(struct ctr_service *svc);                                 /* (L) begins what is wanted */
void svc_set_state(struct ctr_service *svc, enum ctr_state to);         /* (L) */
void svc_phase(struct ctr_service *svc, const char *phase);             /* takes the lock */
void svc_log_line(struct ctr_service *svc, struct str line);            /* takes the lock */
void svc_log_drop(struct ctr_service *svc);                             /* (L) a container that sleeps keeps none */
/* Hands over log lines written since *at; the lock is let go meanwhile. (L) */
void svc_log_pump(struct ctr_service *svc, uint64_t *at, struct buf *line, ctr_line_fn *on_line, void *arg);
void svc_fail_waiters(struct ctr_service *svc, struct failure *why);    /* (L) */
struct ctr_service *svc_unref_locked(struct ctr_service *svc);          /* (L) what is to be freed */
void svc_event(struct ctr_service *svc, const struct ctr_event *event); /* (L) somebody did that to it */
void svc_look(struct ctr_service *svc);                                 /* (L) something may have */
/* The current version of an app, asked for once (`known`: id -> it): empty if the app is gone, NULL if that is not known. */
const struct str *svc_app_version(struct ctr_manager *m, struct arena *a, struct map *known, struct str id, struct err *err);
void svc_run_begins(struct ctr_service *svc);   /* takes the lock; the engine is about to be told to start it */
/* Claims a container that no service knows, against starts of it, until svc_claim_end(); false when one does. */
bool svc_claim(struct ctr_manager *m, struct str name);
void svc_claim_end(struct ctr_manager *m);
struct ctr_service *svc_find(const struct ctr_manager *m, struct str name); /* (L) no reference */
void *svc_events_thread(void *manager);                                 /* events.c */
void svc_free(struct ctr_service *svc);                                 /* without the lock; NULL is fine */
struct failure *failure_new(enum err_code code, struct str summary, struct str detail);

/* Opens the door to `at` and lets all in who wait. (L) */
void svc_ready(struct ctr_service *svc, struct ctr_endpoint at, bool is_direct);

/* start.c; on a job thread, without the lock. */
struct start_result {
    bool ok;
    struct ctr_endpoint at;
    bool is_direct;
    struct svc_process process;
    bool has_let_in;              /* svc_ready() has been called; the state may have changed since */
    bool was_running;             /* adopted: it was up already, nothing was started */
    bool has_crashed;             /* a restart, and it was found dead */
    struct failure *why;          /* when !ok; one reference */
    bool is_over;                 /* what ran before is gone, or as good as */
    bool cancelled;
};
void svc_run_start(struct ctr_service *svc, bool is_restart, struct start_result *out);
/* One status check; false with the reason in `why` (one reference). */
bool svc_run_check(struct ctr_service *svc, struct failure **why);

/* Who hears what making the image is at; never called with the manager's lock. */
struct image_phase {
    void (*fn)(void *arg, const char *name);
    void *arg;
};
/* Images that are found or made, and the layers that a build has found, stay until svc_images_release(): an engine may take
 * a layer away while another call builds on it. Waits for a removal that is under way; false when cancelled. */
bool svc_images_hold(struct ctr_service *svc, struct err *err);
void svc_images_release(struct ctr_manager *m);
/* Some service runs it; `image` may begin with podman's "localhost/". (L) */
bool svc_is_image_loaded(const struct ctr_manager *m, struct str image);
/* The other way round: true when the caller may remove one image, up to svc_image_remove_end(). Waits a while for holds to end,
 * which meanwhile may begin; false, with the reason, when they do not, or something loaded uses the image now. */
bool svc_image_remove_begin(struct ctr_manager *m, struct str image, struct err *err);
void svc_image_remove_end(struct ctr_manager *m);
/* image.c: makes sure the image is there; builds or pulls it once however many ask. */
bool svc_image_ensure(struct ctr_service *svc, const struct image_phase *phase, struct arena *a, struct err *err);

#endif
