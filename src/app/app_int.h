/* app/app_int.h: the inside of a loaded app, shared by the files of this module.
 *
 *     load.c     app_load: from an entry to an app, in order
 *     eval.c     running params.star and app.star: loads, predeclared names; also the audit
 *     ace.c      the `ace` constructors        params.c   param(), config(), values
 *     files.c    source and spec files as one set
 *     settings.c app config: server < app.star < metadata
 *     router.c   path patterns                 routes.c   routes from ace.app
 *     handler.c  running a handler             request.c  the Request object   reply.c  its answer
 *     static.c   static files                  proxy.c    proxy routes         service.c  the container
 *     slot.c     lazy loading
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
    APP_SOURCE_MAX = 16 << 20,          /* one .star file */
};

/* --- params.c --- */

enum param_type { PARAM_STRING, PARAM_INT, PARAM_BOOLEAN, PARAM_DICT, PARAM_LIST };

struct param {
    struct str name, description, display_type;
    enum param_type type;
    bool is_required, has_default;
    star_v value;                       /* the default, then the resolved value */
};
struct param_list {
    struct param *items;
    size_t len, cap;
};

/* --- eval.c --- */

/* One evaluation of an app's Starlark files. */
struct eval {
    struct arena *a;                    /* code arena: values live as long as it */
    const struct app_env *env;
    const struct store_app *entry;
    const struct src_files *files;      /* source over spec */
    struct plugin_context *ctx;
    struct param_list params;
    struct str star_base;
    struct str_list loads;              /* plugin modules, first seen first */
    star_v app;                         /* the ace.app struct */
    struct star_module *main;           /* app.star */
    /* private to eval.c */
    struct star_cache *cache;
    struct star_env predeclared;
    struct plugin_request request;
};

/* Runs params.star, resolves params, runs app.star. `is_audit`: plugin functions do nothing. */
bool eval_run(struct eval *e, struct arena *a, const struct app_env *env, const struct store_app *entry,
              const struct src_files *files, bool is_audit, struct err *err);

/* What an entry may do, for plugin calls. Borrows from `entry`. */
void context_fill(struct plugin_context *ctx, struct arena *a, const struct app_env *env, const struct store_app *entry);

/* --- params.c, ace.c --- */

/* Runs params.star (may be absent) and resolves every param from the entry's values. */
bool params_load(struct eval *e, struct err *err);
/* The `param` object. */
star_v params_object(struct eval *e);
/* A param's value as containers and forms see it. */
struct str param_text(struct arena *a, const struct param *p);
/* config(key, default), for params.star (`is_app` false) and app.star. */
star_v config_builtin(struct eval *e, bool is_app);
/* The `ace` struct. */
star_v ace_object(struct eval *e);

/* --- load.c --- */

/* A deep copy of an entry that shares nothing with it. */
void entry_copy(struct arena *a, const struct store_app *from, struct store_app *to);

/* --- files.c --- */

/* Files of `entry`: `given` or, if NULL, those of its version in the store, or its folder when it is served from
 * disk; spec files underneath. Lives in `a`. */
bool files_open(struct arena *a, const struct app_env *env, const struct store_app *entry, const struct src_files *given,
                struct src_files *out, struct err *err);
bool files_are_on_disk(const struct store_app *entry);

/* --- settings.c --- */

/* Flattens the three layers: dotted key -> struct toml_value *. */
bool settings_merge(struct arena *a, const struct toml_value *server, star_v app_settings, const struct map *metadata,
                    struct map *out, struct err *err);

/* --- router.c --- */

struct router;
struct route_param {
    struct str name, value;
};
enum { ROUTE_PARAMS_MAX = 16 };
struct route_match {
    const void *target;                 /* NULL: nothing, see `allow` */
    struct route_param params[ROUTE_PARAMS_MAX];
    size_t n_params;
    struct str allow;                   /* methods of the path when the method is not among them */
};
struct router *router_new(struct arena *a);
/* Adds `method pattern`; fails on a bad pattern or a second route of the same method and pattern. */
bool router_add(struct router *r, struct str method, struct str pattern, const void *target, struct err *err);
/* `path` is clean and starts with "/". `a` is for `allow`. */
void router_match(const struct router *r, struct arena *a, struct str method, struct str path, struct route_match *out);

/* --- routes.c --- */

enum route_kind { ROUTE_API, ROUTE_HTML, ROUTE_ACTION, ROUTE_PROXY };

struct proxy_route {
    struct str path;                    /* inside the app, "/" or "/x" */
    bool is_container;
    bool preserve_host;
    struct str strip_prefix;
    struct http_upstream upstream;      /* unless it is the container */
    struct http_pair *response_set;
    size_t response_set_count;
};

struct route {
    enum route_kind kind;
    bool is_text;                       /* ROUTE_API: TEXT rather than JSON */
    bool takes_no_args;
    star_v handler;                     /* null: none */
    struct proxy_route *proxy;
};

/* --- static.c --- */

struct static_file {
    struct str name;                    /* as requested, below the mount */
    struct str sha, etag;               /* hex, and quoted */
    struct str body;                    /* content, unless it is kept on disk */
    struct str disk_path;               /* NUL-terminated; empty: in memory */
    uint64_t size;
    struct str br;                      /* precompressed; empty: none */
    struct str content_type;
    int64_t mtime_s;
};

/* --- the app --- */

struct app {
    atomic_int refs;
    struct arena arena;                 /* everything but Starlark values */
    struct arena code;                  /* Starlark values, frozen */
    const struct app_env *env;
    struct store_app entry;             /* a copy in `arena` */
    struct plugin_context ctx;
    struct eval eval;
    struct src_files files;
    struct str path;                    /* app path, "" for the root */
    struct str name;
    struct map settings;                /* app config, flattened */

    struct router *router;              /* over paths inside the app */
    struct proxy_route **proxies;       /* [n_proxies], longest path first */
    size_t n_proxies;
    star_v error_handler;               /* null: none */

    bool is_static_only, is_single_file, redirect_bare_path, is_on_disk;
    struct str index;                   /* of a static-only app; empty: none */
    struct str disk_dir;                /* source folder of an app served from disk */
    struct map statics;                 /* path below the app ("static/a.css", "index.html") -> struct static_file * */
    struct str static_root_cache_control;
    int headers_level;

    struct ctr_service *service;        /* NULL: no container */
    struct str scheme;                  /* that the container speaks: http or https */
    bool did_start;                     /* app_start_container() started it */
    pthread_mutex_t files_lock;         /* guards `given` against app_detach_files() */
    const struct src_files *given;      /* the operation's files, until detached */
};

bool routes_load(struct app *app, struct err *err);
bool statics_load(struct app *app, struct err *err);
/* Builds the container's service from `container` (the value of ace.app(container=)). */
bool service_load(struct app *app, star_v container, struct err *err);
/* Serves `rel` (a path below the app without its first "/") as a static file; false: there is none. */
bool static_serve(struct app *app, struct http_req *req, struct str rel);
/* Static-only apps: every path. */
void static_serve_only(struct app *app, struct http_req *req, struct str rel);
void proxy_serve(struct app *app, const struct app_request *request, const struct proxy_route *route);
void handler_serve(struct app *app, const struct app_request *request, const struct route *route,
                   const struct route_match *match);

/* --- request.c, reply.c --- */

/* A handler run: in the request's arena, alive until it has answered. */
struct visit {
    struct app *app;
    struct app_request request;
    const struct route *route;
    struct route_match match;
    struct arena run_arena;             /* values of the run; capped */
    struct star_run *run;
    struct plugin_request plugin;
    struct str body;                    /* of the request, read whole */
    star_v args[2];
    bool in_error_handler;
    star_v req_value;                   /* the Request object */
};
star_v request_object(struct visit *v);
/* Answers with what a handler returned. */
void reply_value(struct visit *v, star_v value);
/* The canonical name of a header ("x-foo" -> "X-Foo"). */
struct str request_canonical_header(struct arena *a, struct str name);

#endif
