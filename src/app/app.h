/* app/app.h: a loaded app: what its app.star declares, compiled once, serving requests on every loop.
 *
 *     slot (app.id + metadata version, lazily loaded, shared) --load on a job--> app (immutable, ref-counted)
 *
 * An app is immutable after app_load(); every loop shares it. A request runs app_handle() on its loop: the
 * app's router picks a static file, a proxy route (to a fixed URL or to its container) or a Starlark handler,
 * which runs as a resumable VM in the request's arena. Nothing here blocks a loop: loading, auditing and
 * container work happen on job threads.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_H
#define APP_H

#include "base.h"

#include <stdatomic.h>

struct auth_identity;
struct ctr_manager;
struct http_loop;
struct http_loops;
struct http_req;
struct jobs;
struct jobs_lane;
struct plugin_rules;
struct src_files;
struct star_value;
struct store;
struct store_app;
struct store_brief;
struct store_permission;
struct toml_value;

/* What apps need of the server, the same for all of them. Immutable after the server has started. */
struct app_env {
    struct str home;                      /* $OPENRUN_HOME, absolute */
    struct str default_domain;            /* system.default_domain */
    int http_port, https_port;            /* as listened on; < 0: that listener is off */
    const struct toml_value *app_config;  /* merged server-level [app_config] table */
    const struct toml_value *node_config; /* [node_config] table or NULL */
    struct str_list allowed_env;          /* system.allowed_env */
    struct str_list allowed_mounts;       /* security.allowed_mounts, expanded */
    const struct toml_value *allowed_container_args;
    const struct plugin_rules *rules; /* server-level permissions.allow / disallow (plugin.h) */
    struct str_list trusted_proxies;  /* IPs and CIDRs as text, validated */
    struct store *store;
    struct ctr_manager *containers;
    struct http_loops *loops;
    struct jobs *jobs;
    struct jobs_lane *commands; /* single commands that handlers wait for */
    struct jobs_lane *streams;  /* those whose output is sent as it comes: they may last */
};

struct app;
struct app_slot;

/* Removes the rendered secrets and the copies of source folders in run/app that no loaded app and no container uses any
 * more. Blocking; job threads. Fails when the engine does not tell what is mounted; then the rest stays. */
bool app_sweep_files(const struct app_env *env, struct err *err);

/* --- Files ---------------------------------------------------------------------------------------- */

/* The source's files in `version` of the app `app_id`, as a set that reads from the store. The set needs the arena and the
 * store for as long as it is read. */
bool app_stored_files(struct arena *a, struct store *store, struct str app_id, int64_t version, struct src_files *out,
                      struct err *err);

/* --- Auditing: what an app asks for (job thread) -------------------------------------------------- */

/* The result of the dry evaluation of app.star (spec plugins.md 2.4). Lives in the arena given. */
struct app_audit {
    struct str name;                            /* ace.app(name) */
    struct str_list loads;                      /* plugin modules, first-seen order */
    const struct store_permission *permissions; /* [n_permissions], declared order */
    size_t n_permissions;
    bool needs_approval; /* differs from what entry->metadata approves */
    struct str jobs;     /* as app_jobs() */
};

/* Evaluates `files` (as in app_load) under `entry`'s params with plugin functions replaced by ones that do
 * nothing. Fails with the app author's error (file:line:column) or a missing required param. */
bool app_audit(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
               struct arena *a, struct app_audit *out, struct err *err);

/* A declaration of params.star. */
struct app_param {
    struct str name, description;
    const char *type;      /* "STRING", "INT", "BOOLEAN", "DICT" or "LIST" */
    struct str value;      /* the default as a command line would give it; without one what no value means, empty if required */
    bool is_required, has_default;
};
struct app_param_list {
    struct app_param *items;
    size_t len, cap;
};
/* What an app made from `files` can be told: the declarations of their params.star (none without one), evaluated
 * without values. */
bool app_params_declared(const struct app_env *env, const struct src_files *files, struct arena *a,
                         struct app_param_list *out, struct err *err);

/* --- Loading (job thread) ------------------------------------------------------------------------- */

/* Runs params.star and app.star, builds routes, static files and the container handle. Starts no container.
 * `files` are the source's own (spec files come from entry->metadata.spec_files) and must stay readable until
 * app_detach_files(). NULL: those of entry's active version are read from the store, or from the disk
 * for apps served from disk and dev apps. `entry` is copied. Fails with a message fit for the app's
 * author. */
bool app_load(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
              struct app **out, struct err *err);
struct app *app_ref(struct app *app);
void app_unref(struct app *app);

/* The operation that gave `files` is over and committed: what is still needed (an image built later) is read
 * from the store. Any thread; waits for a build that is reading them. */
void app_detach_files(struct app *app);

struct app_progress {
    void (*line)(void *arg, struct str line); /* one line of build or start output; may be NULL */
    void *arg;
    atomic_bool *cancel; /* may be NULL */
};

/* Builds the app's image if it is missing and starts its container, waiting until it is healthy; with lifetime
 * "command" there is but the image; true at once for an app without container. Used by reload and --verify; requests do the same through the app's
 * own wake-up. */
bool app_start_container(struct app *app, const struct app_progress *progress, struct err *err);
/* After a change that was not committed: stops the container if app_start_container() of this app started it.
 * Requests to a live app that uses the same container wake it again. */
void app_undo_start(struct app *app);
/* True if the app has a container, or with lifetime "command" an image to run commands in. */
bool app_has_container(const struct app *app);
/* After a change of a dev app's source: its running container is started again, or made anew, as dev_settings say. Nothing
 * for other apps, for a container that is not up, and when nothing differs from what was `seen` the last time (which begins
 * empty): so what the app's own command builds into the source does not start it again. Job threads.
 * A `seen` that begins with APP_DEV_NEW_ROOT says that the folder itself is another one: what is mounted is the old one then,
 * and the container is started again even if it looks for changes itself. */
enum { APP_DEV_SEEN = 65, APP_DEV_NEW_ROOT = '!' };
bool app_dev_refresh(struct app *app, const struct app_progress *progress, char seen[APP_DEV_SEEN], struct err *err);
/* Takes the app out of service: no request is sent to its container any more; when those in flight have
 * ended, or after `drain_secs`, the container is stopped (kept for a later return to this version). Does
 * nothing to a container that `successor` (may be NULL) goes on using. */
void app_retire(struct app *app, const struct app *successor, int drain_secs);
/* True if the app declares params, and none of this name. */
bool app_is_unknown_param(const struct app *app, struct str name);
/* The id of the entry that it was loaded from, and that entry. */
struct str app_id(const struct app *app);
const struct store_app *app_entry(const struct app *app);

/* --- Scheduled jobs --------------------------------------------------------------------------------- */

enum app_overlap { APP_OVERLAP_SKIP, APP_OVERLAP_QUEUE, APP_OVERLAP_PARALLEL };

/* One that app.star declares with ace.job(): a command in the app's image, or a request to the app. */
struct app_job {
    struct str name;          /* letters, digits, '-', '_'; at most 64 */
    struct str schedule, time_zone;
    struct cron cron;
    const void *zone;         /* for star_zone_offset() */
    struct str_list command;  /* empty: a request */
    struct str path, method;  /* of the request, inside the app */
    int64_t timeout_secs;
    enum app_overlap overlap; /* when the last run has not ended */
    bool catch_up;            /* a run that was missed happens later, once */
};
struct app_job_list {
    struct app_job *items;
    size_t len, cap;
};
/* What an app declares, as JSON: kept in its metadata (store_metadata.jobs), so that a schedule is known without the app
 * being loaded. Empty: no jobs. */
struct str app_jobs(const struct app *app);
/* Reads that JSON; slices are borrowed from `a`. Fails on what no version of ours has written. */
bool app_jobs_parse(struct arena *a, struct str text, struct app_job_list *out, struct err *err);
const char *app_overlap_name(enum app_overlap o);

/* Runs a command in a container of its own from the app's image, as container.run does. Blocking; false when it could not
 * be run. */
struct plugin_command;
struct plugin_command_end;
bool app_run_command(struct app *app, const struct plugin_command *c, struct plugin_command_end *end, struct err *err);

/* --- Slots: an app of the site, loaded on first use -------------------------------------------------
 * A slot is made from an entry when a site is built and passes from site to site while its entry is
 * unchanged, so a loaded app and its container survive other apps' deploys. It is small: the rest of the entry is
 * read from the store when the app is loaded, and when nobody asks for the app any more it is unloaded (unload.c). */

struct app_slot *app_slot_new(const struct app_env *env, const struct store_brief *entry);
struct app_slot *app_slot_ref(struct app_slot *slot);
void app_slot_unref(struct app_slot *slot);
const struct store_brief *app_slot_entry(const struct app_slot *slot);
/* Puts an already loaded app in (a deploy that has verified it). Takes its own reference. */
void app_slot_set(struct app_slot *slot, struct app *app);
/* The loaded app, or NULL. One atomic load. On a loop, before anything else there can run: app_enter(). */
struct app *app_slot_peek(struct app_slot *slot);
/* A request of `loop` uses the app that it has peeked, from app_enter() to app_leave(), both there. */
void app_enter(struct app *app, const struct http_loop *loop);
void app_leave(struct app *app, const struct http_loop *loop);

/* The app is sure to live during the call only: a request peeks again, for it may have been unloaded meanwhile. */
typedef void (*app_ready_fn)(struct http_loop *loop, struct app *app, const struct err *err, void *arg);
/* Loads the app on a job thread (once, however many ask) and calls `ready` on `loop`: with the app, or
 * with the error that every waiter shares. The next call after a failure tries again. */
void app_slot_load(struct app_slot *slot, struct http_loop *loop, app_ready_fn ready, void *arg);
/* The same for a job thread: waits, and gives the app with a reference. */
bool app_slot_wait(struct app_slot *slot, struct app **app, struct err *err);
/* The site goes on with `next` instead (NULL: without the app): app_retire(), for an app that is unloaded too. But an
 * app whose `next` nobody has loaded yet may go on with the same container, which is left alone then. */
void app_slot_retire(struct app_slot *slot, struct app_slot *next, int drain_secs);

struct app_list {
    struct app **items;
    size_t len, cap;
};
/* Empties the slot if no request uses its app and none has for `idle_ms`, and adds the app to `out`, in `a`. The service
 * of its container stays. Not for apps that are served from disk: what they are may have changed there. */
bool app_slot_unload(struct app_slot *slot, int64_t idle_ms, struct arena *a, struct app_list *out);
/* Frees those apps once the requests that have reached them meanwhile have ended. Waits for every loop. */
void app_let_go(struct http_loops *loops, struct app_list *apps);

/* --- Serving (loop thread) ------------------------------------------------------------------------ */

/* Answers `req`, now or later. Identity, cookie stripping and the cross-origin rule have been dealt with:
 * `who` lives in the request's arena, `cookie` is the Cookie header to pass on, `is_https` the scheme
 * as the client sees it, `client_ip` the client's address (trusted proxies considered). */
struct app_request {
    struct http_req *req;
    const struct auth_identity *who;
    struct str cookie;
    struct str client_ip;
    bool is_https;
    bool is_write_gated; /* a stage or preview app without write access */
    struct str job;      /* the scheduled job that asks, rather than a client; empty: none */
};
void app_handle(struct app *app, const struct app_request *request);

/* What config(key, otherwise) gives: the value of [node_config] (keys that start with '_' have none there), else
 * `otherwise`; in strings $NAME of system.allowed_env is replaced. In `a`; null at its limit. Any thread. */
struct star_value app_node_config(const struct app_env *env, struct arena *a, struct str key,
                                  struct star_value otherwise);

/* app_config value for `key` (dotted) as this app sees it: metadata, then app.star settings, then server. */
struct str app_config_str(const struct app *app, const char *key, struct str fallback);
int64_t app_config_int(const struct app *app, const char *key, int64_t fallback);
bool app_config_bool(const struct app *app, const char *key, bool fallback);

#endif
