/* app/app_int.h: the inside of a loaded app, shared by the files of this module.
 *
 *     load.c     app_load: from an entry to an app, in order; the life of a loaded app
 *     serve.c    app_handle: from a request to the part that answers it
 *     entry.c    copies of metadata entries    files.c    source and spec files as one set
 *     eval.c     running params.star and app.star: loads, predeclared names; also the audit
 *     ace.c      the `ace` constructors        params.c   param(), config(), values      node_config.c  what it reads
 *     settings.c app config: server < app.star < metadata
 *     router.c   path patterns                 routes.c   routes from ace.app
 *     handler.c  running a handler             request.c  the Request object   reply.c  its answer
 *     stream.c   answers that are sent while they are made
 *     action*.c  actions: action_int.h
 *     static.c   static files                  proxy.c    proxy routes         service.c  the container
 *     dev.c      containers of dev apps
 *     command.c  single commands with the app's image    jobs.c  scheduled jobs, as declared
 *     slot.c     lazy loading                  wait.c     those who wait for the container
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef APP_INT_H
#define APP_INT_H

#include "app.h"
#include "auth.h"
#include "base.h"
#include "container.h"
#include "http.h"
#include "plugin.h"
#include "source.h"
#include "starlark.h"
#include "store.h"

#include <pthread.h>

enum {
    APP_CODE_MAX = 256 << 20,           /* memory of an app's own Starlark values */
    APP_RUN_MAX = 64 << 20,             /* memory of one handler run */
    APP_LOAD_STEPS = 200 * 1000 * 1000, /* budget of app.star and what it loads */
    APP_RUN_STEPS = 200 * 1000 * 1000,  /* budget of one handler run */
    APP_SLICE_STEPS = 100 * 1000,       /* then other requests have their turn */
    APP_BODY_MAX = 10 << 20,            /* request body given to a handler */
    APP_SOURCE_MAX = 4 << 20,           /* one .star file */
    APP_SOURCE_TOTAL = 16 << 20,        /* all that an app loads */
};

/* Members of a struct: the text of a string, "" without one; whether there is one that is true. */
static inline struct str member_text(star_v s, const char *name)
{
    return star_text(star_struct_get(s, str_from(name)));
}
static inline bool member_is_true(star_v s, const char *name)
{
    star_v v = star_struct_get(s, str_from(name));
    return !star_is_null(v) && star_truth(v);
}

/* --- params.c --- */

enum param_type { PARAM_STRING, PARAM_INT, PARAM_BOOLEAN, PARAM_DICT, PARAM_LIST };

struct param {
    struct str name, description, display_type;
    enum param_type type;
    bool is_required, has_default;
    star_v value; /* the default, then the resolved value */
};
struct param_list {
    struct param *items;
    size_t len, cap;
};

/* --- eval.c --- */

/* A name under which a file loads a plugin. */
struct plugin_alias {
    struct str module, name;
};

/* One evaluation of an app's Starlark files. What Starlark code can make grow is in `a`, which has a ceiling
 * and fails softly; what we keep beside it, bounded by the size of the sources, is in `keep`. */
struct eval {
    struct arena *a;    /* values of the app's code; capped */
    struct arena *keep; /* programs and our own structures; lives as long as `a` */
    const struct app_env *env;
    const struct store_app *entry;
    const struct src_files *files; /* source over spec; used during the evaluation only */
    struct plugin_context *ctx;
    struct param_list params;
    struct str star_base;
    struct str_list loads;    /* plugin modules, first seen first */
    star_v app;               /* the ace.app struct */
    struct star_module *main; /* app.star */
    /* private to eval.c */
    struct {
        struct plugin_alias *items;
        size_t len, cap;
    } aliases;
    struct star_cache *cache;
    struct star_env predeclared;
    struct plugin_request request;
    struct star_module *last; /* result of eval_exec() */
    uint64_t steps_left;
    size_t source_bytes;
};

/* Runs params.star, resolves params, runs app.star. `is_audit`: plugin functions do nothing. The caller has
 * set the fields up to `ctx`. */
bool eval_run(struct eval *e, bool is_audit, struct err *err);
/* Runs a file within the app's budget; its module is e->last. */
bool eval_exec(struct eval *e, const struct star_program *p, const struct star_env *env, struct err *err);
/* The text of a .star file, in e->keep; *found false and no error if there is none. */
bool eval_source(struct eval *e, struct str name, struct str *out, bool *found, struct err *err);

/* What an entry may do, for plugin calls. Borrows from `entry`. Fails on an approved permission that is
 * malformed (the context is usable, without permissions). */
bool context_fill(struct plugin_context *ctx, struct arena *a, const struct app_env *env,
                  const struct store_app *entry, struct err *err);

/* --- template.c --- */

/* A secret volume's template with the app's params. Fails with the line of what it does not know. */
bool template_render(struct arena *a, struct str source, const struct ctr_kv_list *params, struct str *out, struct err *err);

/* --- params.c, ace.c --- */

/* Runs params.star (may be absent) and resolves every param from the entry's values. */
bool params_load(struct eval *e, struct err *err);
/* The `param` object. */
star_v params_object(struct eval *e);
/* A param's value as containers and forms see it. Fails on one that is too large. */
bool param_text(struct arena *a, const struct param *p, struct str *out, struct err *err);
/* The value that `text` means for the param, in `a`; null at its limit. Fails with "param x is not an int". */
bool param_parse(struct arena *a, const struct param *p, struct str text, star_v *out, struct err *err);
/* config(key, default), for params.star (`is_app` false) and app.star. */
star_v config_builtin(struct eval *e, bool is_app);
/* The `ace` struct. */
star_v ace_object(struct eval *e);

/* --- entry.c --- */

/* A deep copy of an entry that shares nothing with it, byte for byte. */
void entry_copy(struct arena *a, const struct store_app *from, struct store_app *to);

/* --- files.c --- */

/* Files of `entry`: `given` or, if NULL, those of its version in the store, or its folder when it is served
 * from disk; spec files underneath. Lives in `a`. */
bool files_open(struct arena *a, const struct app_env *env, const struct store_app *entry,
                const struct src_files *given, struct src_files *out, struct err *err);
bool files_are_on_disk(const struct store_app *entry);
/* On disk, and too many to list and hash (spec static_disk): files are looked up by name when they are asked
 * for. */
bool files_are_unlisted(const struct store_app *entry);

/* An app's files for a build that may come later. Shared by reference. */
struct held_files;
struct held_files *held_files_new(const struct app_env *env, const struct store_app *entry,
                                  const struct src_files *given);
struct held_files *held_files_ref(struct held_files *h);
void held_files_unref(struct held_files *h);
/* From now on those of the store are used; waits for an extraction that is reading the given ones. */
void held_files_detach(struct held_files *h);
/* A folder with all files for a build. It stays for the next build, which then sends its builder only what has changed,
 * unless the files are very large or another build of the app is reading it: then it is one of its own. */
struct build_folder {
    struct str root; /* in the arena it was made with */
    int lock;        /* of the folder that stays, else -1 */
};
bool held_files_extract(struct held_files *h, struct arena *a, struct build_folder *out, struct err *err);
void build_folder_release(struct build_folder *f);

/* --- settings.c --- */

/* Flattens the three layers: dotted key -> struct toml_value *. */
bool settings_merge(struct arena *a, const struct toml_value *server, star_v app_settings,
                    const struct map *metadata, struct map *out, struct err *err);

/* app_config_int() for things that count: never negative. */
int app_config_count(const struct app *app, const char *key, int fallback);

/* Settings of the framework: config_gen.lock, over it ace.app(settings=). */
struct framework {
    struct str htmx_version;
    bool push_events, separate_images;
    struct str_list container_exclude; /* names that no image depends on; empty: SRC_HASH_EXCLUDE */
};
bool framework_load(struct arena *a, const struct src_files *files, star_v settings, struct framework *out,
                    struct err *err);

/* --- router.c --- */

struct router;
struct route_param {
    struct str name, value;
};
enum { ROUTE_PARAMS_MAX = 16 };
struct route_match {
    const void *target; /* NULL: nothing, see `allow` */
    size_t n_params;
    struct str allow; /* methods of the path when the method is not among them */
    struct route_param params[ROUTE_PARAMS_MAX];
};
struct router *router_new(struct arena *a);
/* Adds `method pattern`; an empty method is any that has no route of its own there. Fails on a bad pattern or
 * a second route of the same method and pattern, whatever its parameters are called. */
bool router_add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err);
size_t router_len(const struct router *r);
/* `path` is clean and starts with "/"; values are slices of it. `a` is for `allow`. */
void router_match(const struct router *r, struct arena *a, struct str method, struct str path,
                  struct route_match *out);

/* --- routes.c --- */

enum route_kind { ROUTE_API, ROUTE_HTML, ROUTE_ACTION, ROUTE_PROXY };

enum { PROXY_SET_MAX = 12 };

/* Everything about a proxy route that is the same for all requests. */
struct proxy_route {
    struct str path; /* inside the app, "/" or "/x" */
    bool is_container;
    bool preserve_host;
    struct http_upstream upstream; /* unless it is the container */
    struct http_proxy_opts opts;   /* without what a request brings: `set`, `host`, `cookie`, `events` */
};

struct route {
    enum route_kind kind;
    bool is_text; /* ROUTE_API: TEXT rather than JSON */
    bool takes_no_args;
    star_v handler;                  /* null: none */
    const struct proxy_route *proxy; /* ROUTE_PROXY */
    const struct action *action;     /* ROUTE_ACTION */
    int action_op;                   /* the same; enum action_op */
};

/* --- static.c --- */

struct static_file {
    struct str name;      /* as requested, below the mount */
    struct str sha, etag; /* hex, and quoted */
    struct str body;      /* content, unless it is kept on disk */
    struct str disk_path; /* NUL-terminated; empty: in memory */
    uint64_t size;
    struct str br; /* precompressed; empty: none */
    struct str content_type;
    int64_t mtime_s;
};

/* --- the app --- */

/* A container's address made ready for the proxy. Belongs to one loop; freed when the last request that uses
 * it is over and the container has moved. */
struct container_upstream {
    struct http_upstream to;
    struct ctr_endpoint at;
    unsigned refs; /* requests, and 1 for being the current one */
    struct arena arena;
};

/* The requests of a loop that use the app. Written by the loop, each on a cache line of its own; looked at by others. */
struct app_lane {
    _Alignas(64) _Atomic uint32_t users;
    _Atomic int64_t last_ms; /* when the last one has left, clock_ms(); 0: none has */
    bool is_leaving;         /* the app is unloaded: the loop's reference to it goes with the last user */
};

struct app {
    atomic_int refs;
    struct arena arena; /* everything but what Starlark code makes */
    struct arena code;  /* Starlark values, frozen; capped */
    const struct app_env *env;
    struct store_app entry; /* a copy in `arena` */
    struct plugin_context ctx;
    struct eval eval;
    struct src_files files;  /* while loading only */
    struct str path;         /* app path, "" for the root; decoded */
    struct str path_encoded; /* as it stands in URLs and headers */
    struct str name;
    struct map settings; /* app config, flattened */
    struct framework framework;

    struct router *router;                /* over paths inside the app: handlers, proxy routes and actions */
    const struct actions *actions;        /* NULL: none */
    const struct proxy_route *lone_proxy; /* when a proxy at "/" is all there is */
    bool has_root_proxy;                  /* /static is the upstream's */
    size_t n_container_proxies;
    bool keeps_app_path;  /* among them one that passes the app's path on */
    star_v error_handler; /* null: none */
    struct star_limits run_limits;
    size_t run_memory; /* bytes of one run */

    bool is_static_only, is_single_file, redirect_bare_path, is_on_disk;
    struct str index;      /* of a static-only app; empty: none */
    struct str disk_dir;   /* source folder of an app served from disk */
    bool has_static_files; /* below static/ or static_root/ */
    struct map statics;    /* path below the app ("static/a.css", "index.html") -> struct static_file * */
    struct str static_root_cache_control;
    int headers_level;

    struct held_files *held;               /* of an app whose container's image is built */
    struct ctr_service *image;             /* of an app with a container: makes its image. The service, if there is one */
    struct ctr_service *service;           /* of an app whose container serves requests, else NULL */
    struct ctr_run run;                    /* what its containers are made of */
    struct str dev_source_hash;            /* of one with mounted source, but for what its command makes */
    struct str dev_reload;                 /* of a dev app with mounted source: none, restart, recreate; else empty */
    struct str scheme;                     /* that the container speaks: http or https */
    struct container_upstream **upstreams; /* per loop, each written by its own loop only */
    unsigned n_upstreams;                  /* an app may outlive the loops */
    struct app_lane *lanes;                /* [n_upstreams] */
    _Atomic int64_t touched_ms;            /* clock_ms() of its load, and of the newest use by a job thread */
    struct str jobs;                       /* JSON */
    bool did_start;                        /* app_start_container() started it */
};

/* As app_load() of a stored entry; `kept`, if not NULL, is the service of the app's container, made by an earlier load of
 * the same revision. */
bool app_load_again(const struct app_env *env, const struct store_app *entry, struct ctr_service *kept,
                    struct app **out, struct err *err);
/* True if no request uses the app and none has for `idle_ms`. */
bool app_is_idle(const struct app *app, int64_t idle_ms);

bool routes_load(struct app *app, struct err *err);
/* The audit's look at the routes of handlers: patterns and methods, which need no plugin. */
bool routes_check(const struct eval *e, struct err *err);
bool statics_load(struct app *app, struct err *err);
/* The index file of a static-only app. */
bool statics_choose_index(struct app *app, struct err *err);
/* Takes the container's service from `container` (the value of ace.app(container=)), with the files of the load; or `kept`,
 * whatever the sources, secrets and images that it was made from have become. */
bool service_load(struct app *app, star_v container, const struct src_files *given, struct ctr_service *kept, struct err *err);
/* Serves `rel` (a path below the app without its first "/") as a static file; false: there is none. */
bool static_serve(struct app *app, struct http_req *req, struct str rel);
/* Static-only apps: every path. */
void static_serve_only(struct app *app, struct http_req *req, struct str rel);
void proxy_serve(struct app *app, const struct app_request *request, const struct proxy_route *route);
/* Frees what the loops have kept; nobody uses the app any more. */
void proxy_release(struct app *app);
void handler_serve(struct app *app, const struct app_request *request, const struct route *route,
                   const struct route_match *match);

/* --- action.c --- */

struct action;
struct action_visit;
struct actions;
/* The actions of ace.app(actions=) and their routes. */
bool actions_load(struct app *app, struct err *err);
void action_serve(struct app *app, const struct app_request *request, const struct route *route);
/* How the run of an action ended. action_done() records that, since what was returned may be of no use. */
struct visit;
void action_done(struct visit *v, star_v value);
/* The stream that is, or is the values of, what a run has returned; else NULL. */
struct plugin_stream *action_stream(const struct visit *v, star_v value);
void action_failed(struct visit *v, struct str message);
void action_audit(const struct visit *v, const char *status);

/* --- wait.c: on loops --- */

/* A browser that goes to a page, and may be shown another one meanwhile. */
bool wait_wants_page(const struct app *app, const struct http_req *req);
/* How long a request waits for the container before it gets the page, or 503; 0: for ever. */
int64_t wait_patience_ms(const struct app *app, bool is_page);
/* Whether build output and logs may be shown to the caller. */
bool wait_may_see_log(const struct app *app, const struct auth_identity *who);
void wait_reply_page(struct app *app, const struct app_request *request);
void wait_reply_late(struct app *app, struct http_req *req);
/* Why the container did not start, as a page or as text. */
void wait_reply_failure(struct app *app, const struct app_request *request, const struct ctr_failure *why);
/* Serves the page's own status; false: it is not asked for. */
bool wait_serve(struct app *app, const struct app_request *request);

/* --- bind.c --- */

/* Makes a copy of what the relative volume `v` mounts and names it as the volume's source. While loading. */
bool bind_source(struct app *app, struct str run_dir, struct ctr_volume *v, struct err *err);

/* --- run_files.c --- */

/* `path`, which is about to be made for containers to mount, stays until `a` goes. */
void run_file_hold(struct arena *a, struct str path);

/* --- jobs.c --- */

/* The check of ace.job(); completes the values in place. */
enum star_ret jobs_check(struct star_run *run, star_v *values);
/* The jobs of ace.app(jobs=) as JSON in `a`, empty without. Fails on two of one name, and too many. */
bool jobs_read(struct arena *a, star_v app, struct str *out, struct err *err);
/* Jobs that the loaded app cannot run. */
bool jobs_load(struct app *app, struct err *err);

/* --- command.c --- */

/* A plugin_command_fn; `app` is the struct app. */
bool command_run(void *app, const struct plugin_command *c, struct plugin_command_end *end, struct err *err);

/* --- request.c, reply.c --- */

/* A handler run: in the request's arena, alive until it has answered. */
struct visit {
    struct app *app;
    struct app_request request;
    const struct route *route;
    struct route_match match;
    struct arena run_arena; /* values of the run; capped, so only what can fail allocates here */
    struct star_run *run;
    struct plugin_request plugin;
    struct str body; /* of the request, read whole */
    star_v args[2];
    bool in_error_handler;
    bool watches_client;
    struct action_visit *action; /* whose run it is; NULL: a route's */
    star_v req_value; /* the Request object */
    struct {
        bool is_set;
        struct str operation, target, detail;
    } audit; /* the last ace.audit() */
};
star_v request_object(struct visit *v);
/* Fills in a zeroed visit. Its run's memory goes with the request. */
void handler_prepare(struct visit *v, struct app *app, const struct app_request *request, const struct route *route);
/* Runs fn(v->args...); what comes of it is answered. */
void handler_call(struct visit *v, star_v fn, size_t n_args);
/* Answers with what a handler returned. */
void reply_value(struct visit *v, star_v value);
/* The stream that is, or is the data of, what a handler returned; else NULL. */
struct plugin_stream *reply_stream(star_v value);
/* One item of a stream, with its newline. */
bool reply_item(bool is_text, struct arena *a, struct buf *out, star_v item, struct err *err);

/* --- stream.c, handler.c --- */

/* Answers with the items of the visit's stream. */
void stream_serve(struct visit *v, struct plugin_stream *stream, int status, bool is_text);
/* What a stream is part of. Lives as long as the request. */
struct stream_frame {
    struct str content_type, head, tail;
    bool (*item)(struct arena *a, struct buf *out, star_v item, bool is_first, struct err *err);
    /* What stands instead of the tail after one that failed. */
    struct str (*failure)(struct arena *a, const struct stream_frame *frame, struct str why);
};
/* The same as a part of something larger, with status 200. One that fails before its first item is the caller's failure. */
void stream_serve_framed(struct visit *v, struct plugin_stream *stream, const struct stream_frame *frame);
/* The run failed, or a plugin's failure was not looked at: error_handler, or a plain 500. */
void handler_fault(struct visit *v, struct str message);
/* The run is over: what it had to say for the audit trail is recorded. */
void handler_record_end(struct visit *v, const char *status);
/* The canonical name of a header ("x-foo" -> "X-Foo"). */
struct str request_canonical_header(struct arena *a, struct str name);

#endif
