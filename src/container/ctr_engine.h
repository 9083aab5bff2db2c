/* container/ctr_engine.h: a container engine, docker or podman, and what we ask of it.
 *
 * Calls block and are for job threads; any number of threads may call at once. Builds and pulls go through
 * the engine's program, as the user has set it up; the rest goes through its unix socket where that answers
 * (0.6 ms for an inspect against 13 ms), else through the program too. Every call has a deadline and bounds
 * what it reads. Secrets (environment, build arguments) never appear in arguments of a process.
 *
 * Without an engine (`container_command = ""`, or `auto` finding none) the object exists all the same and
 * every call fails saying what to do.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CTR_ENGINE_H
#define CTR_ENGINE_H

#include "ctr_ident.h"
#include "ctr_options.h"

#include <stdatomic.h>

struct ctr_engine;

enum ctr_kind { CTR_OFF, CTR_DOCKER, CTR_PODMAN };

/* `command` is system.container_command: auto, docker, podman, a path, or "" for off. An engine whose
 * daemon does not answer opens (it may come up later). Fails with ERR_INVALID on a program that does not
 * exist, and ERR_UNSUPPORTED on "kubernetes". */
bool ctr_engine_open(struct str command, struct ctr_engine **out, struct err *err);
void ctr_engine_close(struct ctr_engine *e);   /* NULL is fine */

enum ctr_kind ctr_engine_kind(const struct ctr_engine *e);
/* "docker", "podman" (lower-case base name of the program), "" when off. Borrowed. */
struct str ctr_engine_command(const struct ctr_engine *e);
/* host.docker.internal or host.containers.internal. */
struct str ctr_engine_host_alias(const struct ctr_engine *e);
/* Whether the engine answers. `about` (may be NULL): "docker 20.10.24 through /var/run/docker.sock". */
bool ctr_engine_ping(struct ctr_engine *e, struct arena *a, struct str *about, struct err *err);

/* From now on no container is made that runs as root (security.forbid_root_containers). Before it is shared. */
void ctr_engine_forbid_root(struct ctr_engine *e);

/* --- Images --- */

/* Local images only. `*digest` (may be NULL) is the repository digest ("sha256:..."), else the image id. */
bool ctr_image_inspect(struct ctr_engine *e, struct arena *a, struct str image, bool *exists,
                       struct str *digest, struct err *err);
/* Pulls `image`; when that fails but it is here already, uses the local one (and *is_stale, may be NULL,
 * says so). */
bool ctr_image_pull(struct ctr_engine *e, struct arena *a, struct str image, bool *is_stale,
                    struct str *digest, const atomic_bool *cancel, struct err *err);
bool ctr_image_remove(struct ctr_engine *e, struct str image, struct err *err);  /* absent is fine */

struct ctr_image {
    struct str name, id;                /* name:tag; an image with several names is there several times */
    int64_t bytes, created_ns;          /* with the layers that it shares */
    struct ctr_kv_list labels;
};
struct ctr_image_list {
    struct ctr_image *items;
    size_t len, cap;
};
/* Images that carry label `key` with exactly `value`. */
bool ctr_image_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value,
                    struct ctr_image_list *out, struct err *err);

typedef void ctr_line_fn(void *arg, struct str line);

struct ctr_build {
    struct str image;                   /* tag */
    struct str dir;                     /* context, absolute */
    struct str file;                    /* Containerfile, absolute or relative to `dir` */
    struct str target;                  /* stage, empty for the last */
    const struct ctr_kv_list *args;     /* build arguments, may be secret; NULL for none */
    const struct ctr_kv_list *labels;   /* NULL for none */
    ctr_line_fn *on_line;               /* each line of output, as it comes; may be NULL */
    void *line_arg;
    const atomic_bool *cancel;          /* may be NULL */
    int64_t timeout_ms;                 /* 0: one hour */
};
/* Fails with the last lines of the output in the message. ERR_CANCELLED on cancel. */
bool ctr_image_build(struct ctr_engine *e, const struct ctr_build *b, struct err *err);

/* --- Volumes --- */

/* Labels are those of a new one; one that is there is left as it is. */
bool ctr_volume_ensure(struct ctr_engine *e, struct str name, const struct ctr_kv_list *labels,
                       struct err *err);

struct ctr_volume_info {
    struct str name, created_at;        /* RFC 3339 as the engine writes it; may be empty */
    struct ctr_kv_list labels;
    bool is_used;                       /* by a container, running or not */
};
struct ctr_volume_list {
    struct ctr_volume_info *items;
    size_t len, cap;
};
/* Volumes that carry label `key` with exactly `value`. */
bool ctr_volume_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value,
                     struct ctr_volume_list *out, struct err *err);
/* With all that is in it. Absent is fine; fails with ERR_CONFLICT while a container uses it, running or not. */
bool ctr_volume_remove(struct ctr_engine *e, struct str name, struct err *err);

/* --- Containers --- */

/* What a container is made of. */
struct ctr_run {
    struct str name, image;
    struct ctr_kv_list labels, env;
    const struct ctr_mount *mounts;     /* [n_mounts]; volumes are made when missing */
    size_t n_mounts;                    /* and labelled as the container is */
    uint16_t port;                      /* that the app listens on in the container; 0 for none */
    struct ctr_limits limits;
    struct str_list command;            /* replaces the image's; empty: the image's */
    struct str entrypoint;              /* one word; empty: the image's */
    struct str workdir;
};
/* Creates and starts. The port is published on a free port of 127.0.0.1 unless the host reaches the
 * container's own address. Fails if the name is taken (ERR_CONFLICT). */
bool ctr_container_run(struct ctr_engine *e, const struct ctr_run *run, struct err *err);

/* A command that runs to its end in a container of its own, which is removed with it. */
struct ctr_task_io {
    /* Output as it comes, on the calling thread. False ends the command as cancelled. May be NULL. */
    bool (*on_output)(void *arg, bool is_stderr, struct str chunk);
    void *arg;
    bool merges;                        /* what goes to stderr comes as stdout, in the order in which it was written */
    int64_t timeout_ms;                 /* 0: none */
    const atomic_bool *cancel;          /* may be NULL */
};
struct ctr_task_end {
    int exit_code;                      /* 0..255; 137 for a command that was ended by force */
    bool timed_out, cancelled;          /* why we ended it; at most one is set */
    int64_t took_ms;
};
/* Runs `run` (its `port` does not count) and waits. True whatever its exit; false when the engine could not run it.
 * Nothing of it is left, also after a cancel. Fails if the name is taken. */
bool ctr_container_task(struct ctr_engine *e, const struct ctr_run *run, const struct ctr_task_io *io,
                        struct ctr_task_end *end, struct err *err);

enum ctr_status {
    CTR_STATUS_NONE,                    /* no such container */
    CTR_STATUS_CREATED,
    CTR_STATUS_RUNNING,
    CTR_STATUS_PAUSED,
    CTR_STATUS_RESTARTING,
    CTR_STATUS_EXITED,                  /* stopped, exited */
    CTR_STATUS_DEAD,                    /* broken, being removed */
};
const char *ctr_status_name(enum ctr_status s);

/* Where a container's port is reached from the host. */
struct ctr_endpoint {
    uint32_t ip;                        /* IPv4, host byte order; 0: nowhere */
    uint16_t port;                      /* host byte order */
    uint16_t generation;                /* counts on with each start and look; for ctr_service_suspect(), http_upstream_run() */
};

struct ctr_info {
    enum ctr_status status;
    struct str id, name, image, image_id;
    int exit_code;                      /* of the last run */
    bool was_oom_killed;
    struct str error;                   /* of the engine, for a start that failed */
    struct ctr_kv_list labels;
    struct str created_at, started_at, finished_at;   /* RFC 3339 as the engine writes them */
    struct ctr_endpoint at;             /* for the port asked */
    bool is_direct;                     /* `at` is the container's own address, not a published port */
    struct str ports;                   /* "127.0.0.1:3000 -> 8080/tcp, ...", for people */
    /* of an inspect only */
    struct str command, health;
    int restart_count;
    int pid;                            /* of its first process, as the engine's machine counts; 0: it does not run */
    struct ctr_mount_info {
        struct str type, source, target;
        bool is_writable;
    } *mounts;                          /* [n_mounts] */
    size_t n_mounts;
};
/* The container named exactly `name`; status NONE if there is none. `port` is the container port to
 * resolve `at` for. */
bool ctr_container_inspect(struct ctr_engine *e, struct arena *a, struct str name, uint16_t port,
                           struct ctr_info *out, struct err *err);

struct ctr_size {
    int64_t written;                    /* bytes beside its image and volumes */
    int64_t root_fs;                    /* with its image; 0: not known */
};
/* Slow where it has written much. */
bool ctr_container_size(struct ctr_engine *e, struct str name, struct ctr_size *out, struct err *err);

bool ctr_container_start(struct ctr_engine *e, struct str name, struct err *err);
/* TERM, KILL after `grace_secs`. Stopped or absent is fine; a paused one is let go on first. */
bool ctr_container_stop(struct ctr_engine *e, struct str name, int grace_secs, struct err *err);
bool ctr_container_kill(struct ctr_engine *e, struct str name, struct err *err);
bool ctr_container_pause(struct ctr_engine *e, struct str name, struct err *err);
bool ctr_container_unpause(struct ctr_engine *e, struct str name, struct err *err);
/* By force; absent is fine. */
bool ctr_container_remove(struct ctr_engine *e, struct str name, struct err *err);

/* The last `lines` lines of output, stdout and stderr merged, at most 256 KiB. */
bool ctr_container_logs(struct ctr_engine *e, struct arena *a, struct str name, int lines, struct str *out,
                        struct err *err);

struct ctr_stats {
    double cpu_percent;                 /* of one CPU; 0 in a quick look */
    int64_t cpu_ns;                     /* used so far; 0: not known */
    int64_t mem_bytes, mem_limit;       /* without unused page cache; 0: not known */
    int64_t net_in, net_out, block_read, block_write;
    int64_t pids;
};
/* What a running or paused container uses. `quick` leaves the second out over which the CPU is measured. */
bool ctr_container_stats(struct ctr_engine *e, struct str name, bool quick, struct ctr_stats *out, struct err *err);

/* What happened to a container. */
enum ctr_event_kind { CTR_EVENT_DIED, CTR_EVENT_REMOVED, CTR_EVENT_PAUSED, CTR_EVENT_UNPAUSED, CTR_EVENT_STARTED };
struct ctr_event {
    struct str name;
    enum ctr_event_kind kind;
    int64_t at_ns;                      /* wall clock of the engine */
    int exit_code;                      /* of one that died; 0 also when it is not told */
};
/* `event` is NULL once, when the stream is open. */
typedef void ctr_event_fn(void *arg, const struct ctr_event *event);
/* Follows what happens to containers with that label until `cancel_fd` is readable or the stream breaks; always false. */
bool ctr_engine_events(struct ctr_engine *e, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                       int cancel_fd, struct err *err);

/* Output since `since_ns` (wall clock; 0: from the beginning), of it the last `lines` lines and at most 256 KiB.
 * *next is where the following call goes on. */
bool ctr_container_logs_since(struct ctr_engine *e, struct arena *a, struct str name, int lines, int64_t since_ns,
                              struct str *out, int64_t *next, struct err *err);

/* Containers that carry label `key` (with exactly `value` unless that is empty); `all`: those not running
 * too. */
struct ctr_info_list {
    struct ctr_info *items;
    size_t len, cap;
};
bool ctr_container_list(struct ctr_engine *e, struct arena *a, struct str key, struct str value, bool all,
                        struct ctr_info_list *out, struct err *err);

#endif
