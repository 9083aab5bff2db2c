/* container/container_int.h: what the files of this module share: backends of an engine.
 *
 *     engine.c   finds the engine, checks names, picks the backend, decides on publishing
 *     api.c      backend over the engine's unix socket (the Docker HTTP API, which podman speaks too)
 *     program.c  backend over the docker or podman program
 *     inspect.c  the JSON of an inspect, the same from both
 *     events.c   what the engine tells by itself, and who hears it
 *     stats.c    what a container uses
 *     logs.c     what containers have written
 *     build.c    builds and pulls, always through the program
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CONTAINER_INT_H
#define CONTAINER_INT_H

#include "container.h"
#include "json.h"

enum {
    CTR_INSPECT_MS = 10 * 1000,
    CTR_CHANGE_MS = 60 * 1000,       /* create, start, pause, remove */
    CTR_LIST_MS = 30 * 1000,
    CTR_LOGS_ALL_MS = 10 * 1000,
    CTR_TASK_GRACE_MS = 3000,        /* between TERM and KILL of a command that is ended */
    CTR_PULL_MS = 30 * 60 * 1000,
    CTR_BUILD_MS = 60 * 60 * 1000,
    CTR_ANSWER_MAX = 16 << 20,       /* bytes of one answer of the engine */
    CTR_LOG_MAX = 256 << 10,
    CTR_EVENT_LINE_MAX = 64 << 10,
};

/* One way to an engine. Names have been checked; `ctx` is the backend's own. Semantics as in ctr_engine.h. */
struct ctr_backend {
    void (*close)(void *ctx);
    bool (*ping)(void *ctx, struct arena *a, struct str *version, struct err *err);
    bool (*image_inspect)(void *ctx, struct arena *a, struct str image, bool *exists, struct str *digest,
                          struct err *err);
    /* USER of the image, "" for none; it exists. NULL: not known. */
    bool (*image_user)(void *ctx, struct arena *a, struct str image, struct str *user, struct err *err);
    bool (*image_pull)(void *ctx, struct str image, const atomic_bool *cancel, struct err *err);
    bool (*image_remove)(void *ctx, struct str image, struct err *err);
    bool (*image_build)(void *ctx, const struct ctr_build *b, struct err *err);
    bool (*image_list)(void *ctx, struct arena *a, struct str key, struct str value, struct ctr_image_list *out,
                       struct err *err);
    bool (*volume_ensure)(void *ctx, struct str name, const struct ctr_kv_list *labels, struct err *err);
    /* With a label; with `unused` instead all that no container uses, of which only the names count. */
    bool (*volume_list)(void *ctx, struct arena *a, struct str key, struct str value, bool unused,
                        struct ctr_volume_list *out, struct err *err);
    bool (*volume_remove)(void *ctx, struct str name, struct err *err);
    /* Creates and starts; the port is published on 127.0.0.1 if `publish`. */
    bool (*run)(void *ctx, const struct ctr_run *run, bool publish, struct err *err);
    bool (*inspect)(void *ctx, struct arena *a, struct str name, uint16_t port, struct ctr_info *out,
                    struct err *err);
    bool (*size)(void *ctx, struct str name, struct ctr_size *out, struct err *err);
    bool (*start)(void *ctx, struct str name, struct err *err);
    bool (*stop)(void *ctx, struct str name, int grace_secs, struct err *err);
    bool (*kill)(void *ctx, struct str name, struct err *err);
    bool (*pause)(void *ctx, struct str name, struct err *err);
    bool (*unpause)(void *ctx, struct str name, struct err *err);
    bool (*remove)(void *ctx, struct str name, struct err *err);
    /* `since_ns` 0: all. With `with_times` each line begins with its RFC 3339 time and a space. */
    /* `lines` 0: all of it, within CTR_LOGS_ALL_MS; of either the newest CTR_LOG_MAX bytes. */
    bool (*logs)(void *ctx, struct arena *a, struct str name, int lines, int64_t since_ns, bool with_times,
                 struct str *out, struct err *err);
    bool (*list)(void *ctx, struct arena *a, struct str key, struct str value, bool all,
                 struct ctr_info_list *out, struct err *err);
    bool (*stats)(void *ctx, struct str name, bool quick, struct ctr_stats *out, struct err *err);
    /* As ctr_container_task(), but for what may be left of it after a cancel. NULL: not supported. */
    bool (*task)(void *ctx, const struct ctr_run *run, const struct ctr_task_io *io, struct ctr_task_end *end,
                 struct err *err);
    /* As ctr_engine_events(). */
    bool (*events)(void *ctx, struct str key, struct str value, ctr_event_fn *fn, void *arg,
                   int cancel_fd, struct err *err);
    /* The network that containers get, as 172.17.0.0/16; empty if that cannot be told. */
    bool (*subnet)(void *ctx, struct arena *a, struct str *cidr, struct err *err);
};

/* How to run the engine's program. Set once but for `major`. */
struct ctr_program {
    enum ctr_kind kind;
    char *path;                      /* full path */
    char *name;                      /* "docker", "podman" ... */
    _Atomic int major;               /* of the client's version; 0 not asked yet, -1 cannot be told */
};
/* The client's major version, asked for once: 20 ms that a start of the server need not spend. */
int ctr_program_major(struct ctr_program *p);
extern const struct ctr_backend ctr_program_backend;   /* ctx is a struct ctr_program, borrowed */

/* A backend over the socket; NULL never. `program` (borrowed) is for what the API lacks. */
extern const struct ctr_backend ctr_api_backend;
void *ctr_api_open(struct str socket, struct ctr_program *program);
/* True if something answers the Docker API at `socket`, within `timeout_ms`. */
bool ctr_api_answers(struct str socket, int64_t timeout_ms);
/* The folder where the engine at `socket` keeps its images. */
bool ctr_api_store(struct arena *a, struct str socket, struct str *dir);

/* An engine over any backend, for tests: `ctx` is closed with it. */
struct ctr_engine *ctr_engine_open_with(enum ctr_kind kind, const struct ctr_backend *ops, void *ctx);
/* True when one of our interfaces has an address in the network `cidr`. */
bool ctr_is_on_network(struct str cidr);
/* Whether containers are reached at their own address: 1, 0, -1 not known yet. */
int ctr_engine_direct(struct ctr_engine *e);

/* stats.c */
void ctr_stats_from_json(const json_t *j, struct ctr_stats *out);  /* of the API */
void ctr_stats_from_text(const json_t *j, struct ctr_stats *out);  /* of either program's --format json */
int64_t ctr_size_parse(struct str s);                              /* "1.5MiB"; 0 for what is none */

/* events.c: one line of the stream; false for what does not concern us. */
bool ctr_event_parse(struct arena *a, struct str line, struct ctr_event *out);
/* The stream as it comes, in pieces of any size; `line` has the ceiling of a line. */
struct ctr_event_feed {
    ctr_event_fn *fn;
    void *arg;
    struct buf line;
    bool is_long; /* the line is cut already: up to its end it is dropped */
};
void ctr_events_feed(struct ctr_event_feed *f, struct str part);

/* logs.c: a buffer of 2 * CTR_LOG_MAX that keeps the newest bytes, and what it has kept. */
void ctr_log_keep(struct buf *out, struct str s);
struct str ctr_log_kept(const struct buf *out);
/* The last `lines` lines, right also where Podman's own tail is not. */
bool ctr_logs_of_podman(const struct ctr_backend *ops, void *ctx, struct arena *a, struct str name, int lines, bool with_times,
                        struct str *out, struct err *err);
/* Takes the times off, and lines from before `since_ns` away; *newest becomes the newest time, if that is newer. With
 * `has_parts` a line that was written in parts has a time before each. */
struct str ctr_logs_strip(struct arena *a, struct str text, bool has_parts, int64_t since_ns, int64_t *newest);

/* inspect.c */
bool ctr_info_from_json(struct arena *a, const json_t *j, uint16_t port, struct ctr_info *out);
/* Published ports for people: from an inspect's NetworkSettings.Ports, and from a list's Ports. */
struct str ctr_ports_of_inspect(struct arena *a, const json_t *ports);
struct str ctr_ports_of_list(struct arena *a, const json_t *ports);
bool ctr_ipv4_parse(struct str s, uint32_t *ip);
/* Adds an image, once per name, from a list's or an inspect's JSON. */
void ctr_image_from_json(struct arena *a, const json_t *j, struct ctr_image_list *out);
/* Adds a volume, from a list's or an inspect's JSON. */
void ctr_volume_from_json(struct arena *a, const json_t *j, struct ctr_volume_list *out);
bool ctr_digest_from_json(struct arena *a, const json_t *image, struct str *digest);
enum ctr_status ctr_status_parse(struct str s);
/* Flags that the API takes itself; others need the program. */
bool ctr_flag_is_native(struct str key);

/* program.c: runs the program with `args`; the output (stdout) in `a`. */
bool ctr_program_run(const struct ctr_program *p, struct arena *a, const struct str_list *args,
                     const struct str_list *env, struct str input, int64_t timeout_ms, struct str *out,
                     struct err *err);
/* True for variables that steer the program itself, so that an app's value must not be put in its
 * environment. */
bool ctr_env_is_reserved(struct str name);

/* build.c */
bool ctr_build_with_program(struct ctr_program *p, const struct ctr_build *b, struct err *err);
bool ctr_pull_with_program(const struct ctr_program *p, struct str image, const atomic_bool *cancel,
                           struct err *err);

/* hint.c: what to do, after a '\n', when the output of a build ended in `tail`; empty when its words say it. */
struct str ctr_build_hint(struct arena *a, struct str tail, struct str file_text, const struct ctr_kv_list *args);
/* Adds to any error of the engine what to do about it, once, if that can be told. Returns false. */
bool ctr_advise(struct err *err);

#endif
