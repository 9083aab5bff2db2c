/* server/server_int.h: what the parts of the server share: the server itself and each loop's state.
 *
 *     server.c    opens and closes everything in order, signals
 *     housekeeping.c  what is done now and then
 *     publish.c   builds the site from the store and hands it to the loops
 *     pipeline.c  a request from its head to its app
 *     api.c       the management API: a route table over deploy/
 *     operation.c operation_api.c  long work as an object that can be watched and cancelled
 *     journal.c recover.c  which operations a crash cut short, and what became of them
 *     leftovers.c files that nobody needs any more
 *     scheduler.c what is called again and again
 *     background.c operations that nobody waits for
 *     syncs.c     scheduled syncs
 *     webhook.c hook.c  the public webhooks, and what a call of one proves and says
 *     config.c site.c certs.c access.c bootstrap.c  their nouns
 *
 * Threads: `struct server` is written by the main thread before the listeners open and read-only after,
 * but for what says otherwise. `struct loop_state` belongs to its loop.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVER_INT_H
#define SERVER_INT_H

#include "access.h"
#include "app.h"
#include "auth.h"
#include "base.h"
#include "certs.h"
#include "config.h"
#include "container.h"
#include "deploy.h"
#include "http.h"
#include "operation.h"
#include "plugin.h"
#include "scheduler.h"
#include "server.h"
#include "site.h"
#include "store.h"
#include "watch.h"

#include <pthread.h>

/* An address range of security.trusted_proxies. */
struct ip_range {
    unsigned char addr[16]; /* IPv4 as ::ffff:a.b.c.d */
    int bits;               /* of 128 */
};

struct server {
    struct arena arena;
    const struct home *home;
    struct config config;

    int lock_fd;                      /* run/openrun.pid, locked as long as this process lives; -1: not yet */
    struct log_file *access_file;     /* NULL: no access log */
    struct store *store;
    struct jobs *jobs;
    struct jobs *task_jobs;           /* threads of their own for work that takes minutes or hours */
    struct jobs_lane *api_lane;       /* calls of the management API: they wait for each other, and must leave threads
                                         for loading apps and checking passwords */
    struct http_loops *loops;
    struct ctr_manager *containers;
    struct auth *auth;
    struct app_env env;
    struct src_cache *git_cache;
    struct deploy *deploy;
    struct operations *operations;
    int64_t started_ns;               /* wall time; older files of unfinished work are not this server's */
    int64_t undone_since;             /* of operations that the last server left unfinished: recover_operations() */
    struct watch *watch;              /* of the source of dev apps; NULL: not open yet */
    struct job_table *job_table;      /* scheduled jobs of apps */
    struct http_server *job_http;     /* run/jobs.sock: their requests */
    struct scheduler *scheduler;      /* of everything that happens by the clock */
    struct background *background;    /* operations that nobody waits for */
    struct syncs *syncs;
    struct webhooks *webhooks;
    struct certs_config certs_config;
    struct http_tls *tls;
    struct http_server *http;         /* TCP listeners */
    struct http_server *control;      /* the unix socket */
    int http_port, https_port;        /* as bound; -1: off */

    /* What the pipeline needs of the configuration. */
    struct str auth_domain;           /* no app is served there */
    bool redirect_to_https, admin_over_tcp;
    struct ip_range *trusted;         /* [trusted_len] */
    size_t trusted_len;
    struct str rid_prefix;            /* "rid_<ksuid>_": of the ids of all requests of this process */

    pthread_mutex_t publish_lock;     /* one publish at a time; guards `site` and `is_site_stale` */
    uint64_t site_number;             /* counts publishes; guarded by publish_lock */
    bool is_site_stale;               /* a publish has failed: `site` lacks what was to be in it */
    struct site *site;                /* the newest */
    struct certs *certs;              /* the newest; main thread */
    uint64_t certs_print;             /* certs_fingerprint() of it; main thread */
};

/* A loop's share in a site: requests count themselves here, without an atomic, and the loop's one
 * reference to the site goes with the last of them. */
struct site_hold {
    struct site *site;
    uint32_t users;                   /* requests, and one for being the current site */
};

/* One per loop, in HTTP_SLOT_SITE. */
struct loop_state {
    struct server *server;
    struct http_loop *loop;
    struct site_hold *hold;           /* of the current site; never NULL once listeners are open */
    struct certs *certs;
    struct access_log *access;
    uint64_t request_count;           /* for request ids */
};
static inline struct loop_state *loop_state(const struct http_loop *loop)
{
    return http_loop_data(loop, HTTP_SLOT_SITE);
}

/* How long requests under way are given to end at a stop. */
int64_t server_drain_secs(const struct server *s);

/* --- housekeeping.c: main thread --- */

/* Has what the last server left behind cleaned up. */
void housekeeping_start(struct server *s);
/* Once for each second since the start, in order. */
void housekeeping_turn(struct server *s, int64_t second);

/* --- publish.c --- */

/* Gives every loop its state. Before the listeners open. */
void loops_start(struct server *s);
/* Builds the next site: that of now with the changes, or without one (`what` NULL at start, or the last time failed)
 * all of the store. Returns when every loop serves it. The `publish` of deploy_config. Apps that are gone are retired. */
bool publish_site(void *server, const struct deploy_published *what, struct err *err);
/* On the loop's thread. */
struct site_hold *site_hold_get(struct loop_state *state);
void site_hold_put(struct site_hold *hold);
/* Hands `certs` (its reference) to every loop. Main thread. */
void publish_certs(struct server *s, struct certs *certs);

/* --- leftovers.c --- */

/* Temporary files of operations, below the home: on its disk, and gone with the next start whatever happens. */
#define HOME_TMP_DIR "run/tmp"
/* Before the first operation. */
void leftovers_empty_tmp(struct server *s);
/* What the last server's end left in run/app: on a job thread, after the start. */
void leftovers_clean(struct server *s);
/* Now and then, on a job thread. */
void leftovers_sweep(struct server *s);

/* --- pipeline.c --- */

/* The handler of the TCP listeners. `arg` is the server. */
void pipeline_request(struct http_req *req, void *arg);
/* The number of the next request, for its id: rid_prefix and the number. */
uint64_t request_number(struct loop_state *state);
/* The audit event of a request that may have changed something. `app_id` and `user_id` may be empty. */
void request_audit(struct server *s, struct http_req *req, uint64_t number, struct str app_id, struct str user_id,
                   bool redact);
/* The client's address, trusted proxies considered. */
struct str pipeline_client_ip(struct http_req *req);
/* Parses security.trusted_proxies into the server. */
bool pipeline_trust(struct server *s, const struct str_list *ranges, struct err *err);

/* --- api.c --- */

/* The handler of the unix socket, and of /_openrun/ over TCP once the admin has been checked. */
void api_request(struct http_req *req, void *arg);
/* The same with the user who asks and the request's number. */
void api_serve(struct server *s, struct http_req *req, struct str user_id, uint64_t number);

/* Ends a request with an error as the API shows it. */
void api_reply_error(struct http_req *req, int status, const char *message);

/* --- operation_api.c --- */

/* Answers `req` with all that the operation says and its end, as it comes. Takes over the caller's reference. */
void operation_stream(struct operation *op, struct http_req *req);
/* Serves the calls on operations; `path` is without the prefix. False: it is none of them. */
bool operation_serve(struct server *s, struct http_req *req, struct str path, struct str user_id);

/* --- journal.c --- */

/* The note that an operation runs, in `dir`. Trouble is only logged. */
void journal_begin(struct str dir, struct str id, const json_t *note);
void journal_end(struct str dir, struct str id);
struct str journal_path(struct arena *a, struct str dir, struct str id);

/* --- recover.c --- */

/* Lists and logs the operations that the last server left notes of, as interrupted. *undone_since is when the first of
 * those that are undone began, in ns since 1970; 0: there was none. */
bool recover_operations(struct server *s, struct str dir, int64_t *undone_since, struct err *err);

/* --- api_container.c --- */

/* Calls that read the query only; on a job thread. */
typedef bool api_query_fn(struct server *s, struct arena *a, const struct http_pairs *query, json_t **reply, struct err *err);
api_query_fn api_container_list, api_container_get, api_container_logs, api_container_start, api_container_stop,
    api_container_stats, api_container_prune, api_build_log, api_volume_list, api_volume_prune;
/* True if the query says so of a flag that parse_query() has checked. */
bool api_query_is_on(const struct http_pairs *query, const char *name);
/* What containers and volumes are of: prod, stage, dev or preview; and the path of the main app with its domain, as labelled
 * when the app is no more. `tx` may be NULL. */
const char *api_env_of(struct str app_id);
struct str api_app_path(struct store_tx *tx, struct arena *a, const struct ctr_kv_list *labels);

/* --- api_job.c --- */

api_query_fn api_job_list, api_job_runs, api_job_run, api_job_cancel, api_job_logs;

/* The handler of run/jobs.sock: a request that a job makes, without sign-in. The headers say which job, and the id of its app:
 * another one that lies below it, or where it was, is not to be reached without sign-in. */
#define JOB_SOCKET          "run/jobs.sock"
#define PIPELINE_JOB_HEADER "X-Openrun-Job"
#define PIPELINE_JOB_APP    "X-Openrun-Job-App"
void pipeline_job_request(struct http_req *req, void *arg);

/* --- api_spec.c --- */

api_query_fn api_spec_list, api_spec_get;

/* --- bootstrap.c --- */

/* First start in the default home: makes it with a configuration that holds only a new admin password,
 * and says so on stderr. Does nothing when it need not. */
bool bootstrap_home(const struct home *home, struct err *err);

#endif
