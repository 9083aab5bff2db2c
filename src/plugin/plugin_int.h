/* plugin/plugin_int.h: how a plugin module describes itself, and the pattern matching of permissions.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PLUGIN_INT_H
#define PLUGIN_INT_H

#include "plugin.h"

/* A function's work, after the gate: the result in *value, or a soft error in *err. Arguments are bound by
 * the function itself with plugin_bind(). */
typedef bool plugin_call_fn(struct star_run *run, const struct star_call *call, star_v *value, struct err *err);

struct plugin_function {
    const char *name;
    bool is_write;
    plugin_call_fn *call;
};
struct plugin_constant {
    const char *name, *value;
};
struct plugin_module {
    const char *name;             /* "proxy.in" */
    bool is_system;               /* needs an authenticated caller */
    const struct plugin_function *functions;
    size_t n_functions;
    const struct plugin_constant *constants;
    size_t n_constants;
};

extern const struct plugin_module plugin_proxy_in, plugin_container_in;

/* star_unpack() whose failure is a soft error. */
struct plugin_param {
    const char *name;
    enum star_want want;
    star_v fallback;              /* STAR_NULL: required */
};
bool plugin_bind(struct star_run *run, const struct star_call *call, const struct plugin_param *params, size_t n,
                 star_v *out, struct err *err);

/* The value that stands for a call: truth is success, `.value`, `.error`, `.error_code`. */
star_v plugin_response_ok(struct arena *a, star_v value);
star_v plugin_response_failed(struct arena *a, struct str error, int code);

/* --- patterns (rules.c) --- */

/* Whether `patterns` match the first arguments of a call, one by one; *mismatch is the first that does not
 * (its index), or patterns->len when there are too few arguments. */
bool plugin_arguments_match(const struct str_list *patterns, const star_v *args, size_t n_args, struct arena *a,
                            size_t *mismatch, struct err *err);
/* `text` equals `pattern`, or is found by "regex:<pattern>" (unanchored). */
bool plugin_pattern_match(struct str pattern, struct str text, struct err *err);
/* The whole `text` must match: for methods of server rules. */
bool plugin_pattern_match_whole(struct str pattern, struct str text, struct err *err);

struct plugin_rules {
    struct plugin_permission *allow, *disallow;
    size_t n_allow, n_disallow;
};

#endif
