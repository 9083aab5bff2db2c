/* plugin/plugin_int.h: how a plugin module describes itself, and the pattern matching of permissions.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PLUGIN_INT_H
#define PLUGIN_INT_H

#include "plugin.h"

/* A function's work, after the gate: the result in *value, or a soft error in *err. Arguments are bound by
 * the function itself with plugin_bind(). */
typedef bool plugin_call_fn(struct star_run *run, const struct star_call *call, star_v *value,
                            struct err *err);

/* The same for a function whose work blocks (wait.c): reads the arguments into `w`, whose arena outlives the call, and
 * sets its functions. */
typedef bool plugin_start_fn(struct star_run *run, const struct star_call *call, struct plugin_wait *w,
                             struct err *err);

struct plugin_function {
    const char *name;
    bool is_write;
    plugin_call_fn *call;
    plugin_start_fn *start; /* instead of `call` */
};

struct plugin_wait {
    struct arena arena;
    const struct plugin_context *ctx; /* the app's */
    atomic_bool cancel;
    bool (*work)(struct plugin_wait *w, struct err *err);
    bool (*finish)(struct plugin_wait *w, struct star_run *run, star_v *value, struct err *err);
    void (*release)(struct plugin_wait *w); /* of what is not in the arena; may be NULL */
    void *data;
    bool is_ok;     /* of the work; else `err` */
    struct err err;
    int error_code; /* of the response; 0: 1 */
    /* Set by the function: nobody waits; the work is done when the handler has returned, and what it feeds to `stream` is sent,
     * an item for each line (null: none for this one). `finish` does not count. */
    bool (*item)(struct plugin_wait *w, struct arena *a, struct str line, star_v *item, struct err *err);
    struct plugin_stream *stream;
};
struct plugin_wait *plugin_wait_new(void);

/* Takes over `w`. */
struct plugin_stream *plugin_stream_new(struct plugin_wait *w);
void plugin_stream_free(struct plugin_stream *s); /* NULL is fine; not while it works */
/* On the work's thread: output; waits while much of it has not been sent. False when the work is to end: it was cancelled, or
 * a line is too long. */
bool plugin_stream_feed(struct plugin_stream *s, struct str chunk, bool *is_too_long);

/* --- what lasts as long as a request (kept.c) --- */

enum { PLUGIN_KEPT_MAX = 100 << 20 /* bytes of output that one request may keep */ };
/* How many bytes of output the request may still keep. */
size_t plugin_keep_room(const struct plugin_request *r);
/* Takes over the buffer's memory: values may share it as long as the request lives. */
void plugin_keep_buf(struct plugin_request *r, struct buf *b);
/* A name for a new file that is removed with the request, in `a`; whoever writes makes it. Fails past a number of them. */
bool plugin_keep_file(struct plugin_request *r, struct arena *a, struct str dir, struct str *path, struct err *err);
struct plugin_constant {
    const char *name, *value;
};
struct plugin_module {
    const char *name; /* "proxy.in" */
    bool is_system;   /* needs an authenticated caller */
    const struct plugin_function *functions;
    size_t n_functions;
    const struct plugin_constant *constants;
    size_t n_constants;
};

extern const struct plugin_module plugin_proxy_in, plugin_container_in;
plugin_start_fn container_run; /* container_run.c */

/* star_unpack() whose failure is a soft error. */
struct plugin_param {
    const char *name;
    enum star_want want;
    star_v fallback; /* STAR_NULL: required */
};
bool plugin_bind(struct star_run *run, const struct star_call *call, const struct plugin_param *params,
                 size_t n, star_v *out, struct err *err);

/* The value that stands for a call: truth is success, `.value`, `.error`, `.error_code`. A failure becomes
 * the request's `failed`; `request` may be NULL. The code of a success is 0, but for one that is only partial. */
star_v plugin_response_ok(struct arena *a, star_v value, int code);
star_v plugin_response_stream(struct arena *a, struct plugin_stream *s);
star_v plugin_response_failed(struct arena *a, struct plugin_request *request, struct str error, int code);

/* --- patterns (rules.c) --- */

struct pcre2_real_code_8;

/* A literal, or "regex:<pattern>". */
struct plugin_pattern {
    struct str text;
    struct pcre2_real_code_8 *re; /* NULL: literal */
};
/* `text` equals the pattern, or the regular expression is found in it (in a method's: matches all of it). */
bool plugin_pattern_match(const struct plugin_pattern *p, struct str text);

struct plugin_matcher {
    const struct plugin_permission *of;
    struct plugin_pattern method;     /* empty: any, in disallow lists */
    struct plugin_pattern *arguments; /* [of->arguments.len] */
};
struct plugin_matchers {
    struct plugin_matcher *items;
    size_t len;
};

/* Whether a matcher's patterns match the first arguments of a call, one by one; *mismatch is the first that
 * does not (its index), or the number of patterns when there are too few arguments. */
bool plugin_arguments_match(const struct plugin_matcher *m, const star_v *args, size_t n_args,
                            size_t *mismatch);

struct plugin_rules {
    struct plugin_permission *allow_items, *disallow_items;
    struct plugin_matchers allow, disallow;
};

#endif
