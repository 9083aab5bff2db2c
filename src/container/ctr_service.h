/* container/ctr_service.h: the life of the container of one app version, shared by all loops.
 *
 * Warm path, on a loop, no lock and no call to the engine:
 *
 *     struct ctr_endpoint at;
 *     if (ctr_service_enter(svc, loop_index, &at))
 *         ... proxy to at ..., ctr_service_leave(svc, loop_index);
 *     else
 *         waiter = ctr_service_wake(svc, loop, loop_index, on_awake, arg);
 *
 * A wake starts the container once however many wait; all share the result. After a failure the next
 * attempt waits (1 s, 2 s, ... 30 s) and wakes in between get the same failure at once. Starts, stops and
 * checks run on the manager's threads, detached from the requests that asked. A container is never stopped
 * for idleness with a request in flight, and a request never gets a container that is being stopped.
 *
 * Locks: one per manager, held for list work only, never across a call to the engine. The callbacks given
 * here are called without it.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_SERVICE_H
#define CTR_SERVICE_H

#include "ctr_engine.h"

struct http_loop;
struct http_loops;
struct ctr_manager;
struct ctr_service;

struct ctr_manager_config {
    struct str container_command;       /* system.container_command */
    struct str home;                    /* $OPENRUN_HOME, absolute: label of what is ours */
    int loop_count;                     /* loop indexes are below it */
    struct http_loops *loops;           /* told when a run of a container is over, by http_upstreams_over(); NULL: none */
    int max_concurrent_builds;          /* system.max_concurrent_builds, at least 1 */
    int max_build_wait_secs;            /* system.max_build_wait_secs */
    int64_t paused_bytes_max;           /* system.paused_memory_mb: of all paused containers; <= 0: no limit */
    int keep_versions;                  /* container_versions_to_keep, for the sweep; <= 0: all */
    int64_t image_bytes_max;            /* container_disk_budget_mb, for the sweep; <= 0: no limit */
    /* The current version of the app `id`, empty if there is no such app. Called on job threads. NULL: not known. */
    bool (*app_version)(void *arg, struct arena *a, struct str id, struct str *version, struct err *err);
    void *app_arg;
    int sweep_interval_secs;            /* stale_container_cleanup_interval_mins * 60; <= 0 off */
    bool forbids_root;                  /* security.forbid_root_containers */
};

bool ctr_manager_open(const struct ctr_manager_config *config, struct ctr_manager **out, struct err *err);
/* Ends waiting and building, joins the threads. Containers keep running; the next server adopts them. If
 * anybody still waits, the loops must still run; a service that is still referenced is lost. NULL is fine. */
void ctr_manager_close(struct ctr_manager *m);
/* The loops are about to close, and nobody waits any more: nothing is posted to them from now on. NULL is fine. */
void ctr_manager_leave_loops(struct ctr_manager *m);
struct ctr_engine *ctr_manager_engine(struct ctr_manager *m);
/* The loaded service of the container `name`, with a reference, or NULL. */
struct ctr_service *ctr_manager_find(struct ctr_manager *m, struct str name);

/* Stops, and with `remove` also removes, every container of the app `app_id` except the one named `keep`
 * (may be empty), whether a service for it is loaded or not. Loaded ones are drained first, for up to
 * `drain_secs`. Blocking; for job threads. */
bool ctr_manager_end_app(struct ctr_manager *m, struct str app_id, struct str keep, bool remove,
                         int drain_secs, struct err *err);

/* What a newer version has replaced: stopped containers of this home beyond those `keep` of each app that were used last,
 * and images that we built, likewise, unless something uses them; what is left of apps that are gone; and versions used
 * longest ago while all images together have more than `bytes_max`. Never what an app's current version is made of, as far
 * as labels tell, nor what runs or is loaded. */
struct ctr_prune_policy {
    int keep;                           /* <= 0: all */
    int64_t bytes_max;                  /* <= 0: no limit */
    bool is_dry_run;                    /* only tells */
};
struct ctr_prune_item {
    bool is_image;
    struct str name, app_id;
    struct str volume, app_path;        /* of a volume: what its app called it, and where that was */
    int64_t bytes;                      /* an image with the layers that it shares; what a container has written */
    struct str problem;                 /* why it is still there; empty: removed, or would be */
};
struct ctr_prune_list {
    struct ctr_prune_item *items;
    size_t len, cap;
};
/* Blocking; for job threads. */
bool ctr_manager_prune(struct ctr_manager *m, const struct ctr_prune_policy *policy, struct arena *a, struct ctr_prune_list *out,
                       struct err *err);

/* The volumes that servers of this home have made, each with its app's id as a label. Volumes from before there were
 * labels are not among them. Blocking; for job threads. */
bool ctr_manager_volumes(struct ctr_manager *m, struct arena *a, struct ctr_volume_list *out, struct err *err);
/* Removes those whose app is no more, with all that is in them; by nobody's command but a user's: they are data. Never one of
 * an app that exists, is loaded or cannot be looked up, nor one that a container uses. Their bytes are not known. */
bool ctr_manager_prune_volumes(struct ctr_manager *m, bool is_dry_run, struct arena *a, struct ctr_prune_list *out,
                               struct err *err);

/* Removes the containers of this home that were made since then (ns since 1970) and that no loaded app uses: at start,
 * those of operations that have not come about. One of a live app, made by the same chance, is made again when
 * it is asked for. Blocking; for job threads. */
bool ctr_manager_end_since(struct ctr_manager *m, int64_t since_ns, struct err *err);

/* What the last build of the app `app_id`, or of its stage, has written, at most the last 1 MiB. `from` is `next` of an
 * earlier answer, or empty. Job threads. Fails if it cannot be read; not when there was none. */
struct ctr_build_output {
    struct str text;                    /* whole lines */
    struct str next;
    bool exists;                        /* there was a build */
    bool is_running;                    /* more is to come */
};
bool ctr_build_log_read(struct ctr_manager *m, struct arena *a, struct str app_id, struct str from,
                        struct ctr_build_output *out, struct err *err);

/* How the build context comes into being when the image is missing. Called on the manager's threads. */
struct ctr_source {
    /* Gives the folder to build in (absolute), in `a`. */
    bool (*fetch)(void *arg, struct arena *a, struct str *dir, struct err *err);
    void (*drop)(void *arg, struct str dir);       /* after the build, whatever came of it; may be NULL */
    void (*release)(void *arg);                    /* when the service goes; may be NULL */
    void *arg;
};

/* What a service is made of; copied. */
struct ctr_service_config {
    struct str app_id;
    struct ctr_run run;                 /* name, image, labels, env, mounts, port, limits */
    bool is_external_image;             /* pulled when missing, never built */
    struct ctr_source source;           /* else */
    struct str build_file, build_target;/* as in ctr_build; build_dir is part of what fetch gives */
    struct ctr_kv_list build_args;

    struct str scheme;                  /* of the app: http (default) or https (self-signed is fine) */
    struct str health_path;             /* with the app path where it is not stripped; starts with '/' */
    bool is_health_configured;          /* only 200 counts; else any answer below 500 */
    int start_attempts;                 /* deploy_health_attempts: 75; turned into a time budget */
    int health_timeout_secs;            /* per probe: 5 */
    int check_interval_secs;            /* status_check_interval_secs: 20, 0 off */
    int check_attempts;                 /* status_health_attempts: 10 */
    int idle_secs;                      /* idle_shutdown_secs: 180, 0 never */
    bool pauses;                        /* idle_action: pause first, and stop after further idle_stop_secs */
    int idle_stop_secs;                 /* 0: never, but for memory */
    int64_t idle_bytes;                 /* idle_bytes_high_watermark over idle_secs */
    int stop_grace_secs;                /* 0: the default of 1 */
    int log_lines;                      /* log_lines_to_show in failures */
    struct str hint;                    /* said when the container does not come up; empty: nothing */
};

/* The service for the container named config->run.name: the existing one, revived if retired, or a new one
 * in state UNKNOWN. An existing one takes over scheme, health, check and idle settings; the rest is what its
 * name is the hash of. Adds a reference. Starts nothing. `source` is taken over: released at once if the
 * service existed. */
struct ctr_service *ctr_service_get(struct ctr_manager *m, const struct ctr_service_config *config);
struct ctr_service *ctr_service_ref(struct ctr_service *svc);
/* What its container is made of; lives as long as the service. */
const struct ctr_run *ctr_service_run(const struct ctr_service *svc);
/* The last one to let go leaves the container as it is (a sweep stops it if nobody comes back). */
void ctr_service_unref(struct ctr_service *svc);

/*   UNKNOWN --wake--> STARTING --probe passed--> READY --idle, drained, stop--> STOPPING --> STOPPED
 *                      ^  |  ^                    |                                ^            |
 *                image |  |  '------suspect-------'              stop, retire -----'            |
 *                      |  v                                      (any state)                    |
 *                    BUILDING --fails--> FAILED --wake after the back-off--> STARTING <--wake---'
 *
 *   READY --idle, pauses--> STOPPING --> PAUSED --wake, connect--> STARTING; PAUSED --long idle--> STOPPING
 *
 * 1. Requests enter in READY only; elsewhere they wait, or fail at once during a back-off.
 * 2. At most one operation (start, stop, check) runs per service; what is asked meanwhile comes after it.
 * 3. Leaving READY closes the door first and counts who is inside second, entering counts first and looks
 *    at the door second: so one of them always sees the other. */
enum ctr_state {
    CTR_UNKNOWN,    /* nothing asked of the engine yet; ends at a wake */
    CTR_BUILDING,   /* image built or pulled, or waiting for its turn; ends with the image, or failure */
    CTR_STARTING,   /* looked for, created, started, probed; ends at the first good probe or a failure */
    CTR_READY,      /* the only state in which requests enter */
    CTR_STOPPING,   /* or pausing: no request enters; drained or its time is up; ends when the engine says so */
    CTR_STOPPED,    /* not running by our own doing; ends at a wake */
    CTR_FAILED,     /* waiters have been told; ends at a wake after the back-off, or at a deploy */
    CTR_PAUSED,     /* asleep in memory; ends at a wake, or stopped after a while or for its memory */
};
const char *ctr_state_name(enum ctr_state s);

/* --- Requests: loop threads --------------------------------------------------------------------- */

/* True, with the address, when the container takes requests: then in flight until ctr_service_leave(). */
bool ctr_service_enter(struct ctr_service *svc, int loop_index, struct ctr_endpoint *at);
void ctr_service_leave(struct ctr_service *svc, int loop_index);
/* Counts body bytes moved either way, as they move; they keep the container awake. */
void ctr_service_moved(struct ctr_service *svc, int loop_index, uint64_t bytes);
/* A request in flight became a tunnel (WebSocket, upgrade): from now on only its bytes keep the container
 * awake, but a drain waits for it. Ends with ctr_service_leave_tunnel() instead of _leave(). */
void ctr_service_tunnel(struct ctr_service *svc, int loop_index);
void ctr_service_leave_tunnel(struct ctr_service *svc, int loop_index);

/* Why a start failed. Valid while the callback that got it runs. */
struct ctr_failure {
    enum err_code code;
    const char *summary;                /* one line without logs: for anyone */
    const char *detail;                 /* with phases, last probe, last log lines: who may see logs */
    int retry_after_ms;                 /* when the next attempt is allowed */
};

/* How a wake ended. `at` is not NULL: the container runs and the caller has entered (must leave). Else
 * `why` says it. */
typedef void ctr_wake_fn(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why);
struct ctr_waiter;

/* Asks for the container. `fn` is called exactly once, later, on `loop`, unless cancelled. */
struct ctr_waiter *ctr_service_wake(struct ctr_service *svc, struct http_loop *loop, int loop_index,
                                    ctr_wake_fn *fn, void *arg);
/* The client left: `fn` will not be called. Only before it has been, on its loop. */
void ctr_waiter_cancel(struct ctr_waiter *w);

/* The proxy could not connect to the address of that generation: looks at the container at once and starts
 * it again if it is gone. Requests meanwhile wait. Cheap to call often. */
void ctr_service_suspect(struct ctr_service *svc, uint16_t generation);

/* --- Control: job threads ------------------------------------------------------------------------ */

/* Starts the container (builds its image first if need be) unless it is ready, and waits until it is, at once
 * even after a failure. `on_line` (may be NULL) gets build and phase lines as they come. On cancel
 * (may be NULL) only this caller stops waiting, unless nobody else waits: then the start ends too. */
bool ctr_service_start(struct ctr_service *svc, ctr_line_fn *on_line, void *line_arg,
                       const atomic_bool *cancel, struct err *err);
/* Lets nothing new in, waits up to `drain_secs` for what is in flight, stops the container and waits for
 * that. Requests that come meanwhile wait, and start it again afterwards. */
bool ctr_service_stop(struct ctr_service *svc, int drain_secs, struct err *err);
/* Stops the container, or with `recreate` removes it too, and starts it again as ctr_service_start() does: its source has
 * changed behind it. Requests wait meanwhile. */
bool ctr_service_restart(struct ctr_service *svc, bool recreate, int drain_secs, ctr_line_fn *on_line, void *line_arg,
                         const atomic_bool *cancel, struct err *err);
/* A newer version has taken over: when nothing is in flight any more, or after `drain_secs`, the container
 * is stopped. Late requests are served until then; afterwards a wake fails, until ctr_service_get()
 * revives it. Does not wait. */
void ctr_service_retire(struct ctr_service *svc, int drain_secs);

struct ctr_service_status {
    enum ctr_state state;
    struct str phase;                   /* "waiting for other builds", "building the image", ... */
    int64_t phase_ms;                   /* how long */
    struct str name, image;
    struct ctr_endpoint at;
    uint32_t starts;                    /* by us, since the server started */
    uint32_t in_flight, tunnels, waiting;
    int64_t idle_ms;                    /* since the last request */
    struct str failure;                 /* detail of the last failure, empty without */
    struct str summary;                 /* its one line without logs */
    int64_t begin_ms;                   /* how long ago the newest start began */
    uint64_t log_from;                  /* where its lines begin, for ctr_service_log() */
};
void ctr_service_status(struct ctr_service *svc, struct arena *a, struct ctr_service_status *out);
/* A line of it that begins so names a phase ("building the image"). */
#define CTR_PHASE_MARK "==> "
/* Build and start output since offset *at of a ring of the last 64 KiB; moves *at on. It is gone once the container sleeps. */
struct str ctr_service_log(struct ctr_service *svc, struct arena *a, uint64_t *at);

#endif
