/* plugin/plugin.h: what Starlark code may do: plugin modules, and the permissions that guard them.
 *
 * A program loads a module (`load("proxy.in", "proxy")`) and calls its functions. Both are checked against
 * what an administrator has approved for the app and against the server's own lists, at the load and again
 * at each call. A function's failure is a value (`resp.error`), a refusal raises.
 *
 * A module is a `const struct plugin_module` in one file (proxy_in.c, container_in.c), listed in modules[].
 * Threads: rules and contexts are immutable once made; a request's state is its own.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PLUGIN_H
#define PLUGIN_H

#include "base.h"
#include "starlark.h"

#include <stdatomic.h>

struct toml_value;

/* --- permissions ---------------------------------------------------------------------------------- */

/* One permission: who asks for it, or who was given it. Shapes as in the app's metadata. */
struct plugin_permission {
    struct str plugin, method;
    struct str_list arguments, permit;
    int is_read;                    /* -1 not said, 0 false, 1 true */
    const struct str_list *secrets; /* [n_secrets] */
    size_t n_secrets;
};

/* The server's own lists: [[permissions.allow]] and [[permissions.disallow]]. Immutable, shared. */
struct plugin_rules;
/* From the merged [permissions] table (NULL: none). Regular expressions are compiled here; fails naming a
 * bad one. Lives in `a`. */
bool plugin_rules_new(struct arena *a, const struct toml_value *permissions, struct plugin_rules **out,
                      struct err *err);

/* What an app asks for is what it has been given, or is covered by the server's allow list
 * (spec plugins.md 2.4; is_read and secrets count). */
bool plugin_is_approved(const struct plugin_rules *rules, const struct str_list *loads,
                        const struct plugin_permission *asked, size_t n_asked,
                        const struct str_list *approved_loads, const struct plugin_permission *approved,
                        size_t n_approved);

/* A list of permissions made ready for the calls of an app: regular expressions compiled. Immutable. */
struct plugin_matchers;
/* Fails naming a bad regular expression: at the audit, so that it is never approved, and at the load. Borrows
 * `items`; lives in `a`. */
bool plugin_matchers_new(struct arena *a, const struct plugin_permission *items, size_t n,
                         const struct plugin_matchers **out, struct err *err);

/* --- commands in the app's container ---------------------------------------------------------------- */

/* One command, in a container of its own made from the app's image. */
struct plugin_command {
    struct str_list argv;           /* goes where the image's own command would */
    struct str_list env;            /* "NAME=value", over the app's own */
    struct str cwd;                 /* absolute in the container; empty: the image's */
    int64_t timeout_ms;
    bool merges;                    /* stderr is part of stdout */
    const atomic_bool *cancel;
    /* Output as it comes, on the calling thread; false ends the command. */
    bool (*on_output)(void *arg, bool is_stderr, struct str chunk);
    void *arg;
};
struct plugin_command_end {
    int exit_code;
    bool timed_out, cancelled;
};
/* Blocks, for job threads. False when it could not be run. */
typedef bool plugin_command_fn(void *app, const struct plugin_command *c, struct plugin_command_end *end,
                               struct err *err);

/* --- modules for one app ---------------------------------------------------------------------------- */

/* Whose code it is. Everything is borrowed and must live as long as the values made with it. */
struct plugin_context {
    struct str app; /* path-domain, for messages */
    struct str app_id;
    bool is_write_refused; /* a stage or preview app without write access */
    const struct plugin_rules *rules;
    const struct str_list *loads;              /* approved */
    const struct plugin_matchers *permissions; /* approved; NULL: none */
    bool is_audit;                             /* functions do nothing and return an empty struct */
    plugin_command_fn *run_command;            /* NULL: the app has no container */
    void *run_command_app;
    struct str output_dir;                     /* for files that last as long as a request; made when needed */
};

/* True for a module that is a plugin ("x.in", "x.in#account", "x.ex"), not a .star file. */
bool plugin_is_module(struct str name);
/* Makes the module for load(): *value is a struct of its functions and constants, *name what it binds
 * ("proxy"). Fails if the app may not load it, or there is none of that name. `a` has no limit, and `*ctx`
 * lives as long as it. */
bool plugin_load(struct arena *a, const struct plugin_context *ctx, struct str module, struct str *name,
                 star_v *value, struct err *err);

/* --- during a run --------------------------------------------------------------------------------------- */

/* State of one request (or of one load of an app); the run's user pointer points at it, and it lives as long
 * as the run's values that are not frozen. */
struct plugin_wait;
struct plugin_stream;
struct plugin_kept;
struct plugin_request {
    struct plugin_wait *waits;  /* of a run that is suspended; whoever resumes it takes it out */
    struct plugin_stream *stream; /* made by a call, for the handler to return; at most one */
    struct plugin_kept *kept;   /* what goes with the request */
    struct str failed;  /* error of a failed call that nobody has looked at; ptr NULL: none */
    struct str user_id; /* who asks; empty at load time */
    void *owner;        /* the embedder's request; NULL at load time */
};

/* What a suspended run waits for. The embedder calls plugin_wait_work() on a job thread, then, on the run's thread, takes
 * it out of the request and calls plugin_wait_end() and resumes the run; or plugin_wait_free() when nobody waits for the
 * run any more. */
void plugin_wait_work(struct plugin_wait *w);   /* blocks */
void plugin_wait_cancel(struct plugin_wait *w); /* from any thread, as long as it is there: the work ends early */
void plugin_wait_fail(struct plugin_wait *w, const char *why); /* instead of the work */
void plugin_wait_end(struct plugin_wait *w, struct star_run *run); /* frees it */
void plugin_wait_free(struct plugin_wait *w);

/* Frees what calls have made that lasts as long as the request: when its response has been sent. */
void plugin_request_release(struct plugin_request *r);
/* Files among it that are to be removed: the request forgets them. NULL without. plugin_kept_free() removes them, which may
 * take a while, so it is for job threads. */
struct plugin_kept *plugin_request_files(struct plugin_request *r);
void plugin_kept_free(struct plugin_kept *k);
/* Removes such files of servers that are no more, from $OPENRUN_HOME/PLUGIN_OUTPUT_DIR. Blocks; before the first request. */
#define PLUGIN_OUTPUT_DIR "run/output"
void plugin_clean_files(struct str output_dir);

/* --- streams: results that are sent while they are made (stream.c) -------------------------------------- */

/* The stream that is the result of a call; NULL for all other values. It belongs to the request that made it. */
struct plugin_stream *plugin_stream_of(star_v v);
/* Does the work: blocks, for a job thread. on_ready(arg), from that thread, says that there are items to take, once for each
 * time that plugin_stream_next() has found none; not for the end, which is when this returns. */
void plugin_stream_work(struct plugin_stream *s, void (*on_ready)(void *arg), void *arg);
void plugin_stream_fail(struct plugin_stream *s, const char *why); /* instead of the work */
enum plugin_next {
    PLUGIN_ITEM,
    PLUGIN_NONE_YET,
    PLUGIN_END,
    PLUGIN_FAILED, /* of the stream as a whole: an item that cannot be made fails it too, but does not end the work */
};
/* On the loop: the next item, in `a`; or why there is none. */
enum plugin_next plugin_stream_next(struct plugin_stream *s, struct arena *a, star_v *item, struct err *err);
/* On the loop: the work ends early. */
void plugin_stream_cancel(struct plugin_stream *s);

/* The result of a plugin call. */
bool plugin_is_response(star_v v);
/* Its value; false with its error if it failed. */
bool plugin_response_value(star_v v, star_v *value, struct err *err);

#endif
