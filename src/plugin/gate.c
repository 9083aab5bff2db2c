/* plugin/gate.c: loading plugin modules and guarding their calls (spec plugins.md 1 and 3).
 *
 * Order of the checks of a call: the server's disallow list; the permission that fits (the app's approved
 * ones, then the server's allow list), with the write gate of staging apps; an earlier failure that was not
 * looked at. All of these raise. What the function itself reports is a value.
 * SPDX-License-Identifier: Apache-2.0 */
#include "plugin_int.h"

static const struct plugin_module *const modules[] = {
    &plugin_proxy_in,
    &plugin_container_in,
};

/* Modules of the product that this version does not have: said so, rather than "not found". */
static const char *const later[] = {"exec.in",    "http.in",          "fs.in",   "store.in",
                                    "openrun.in", "openrun_admin.in", "build.in"};

/* A function of a module, bound to an app: the builtin's data. */
struct bound {
    const struct plugin_context *ctx;
    const struct plugin_module *module;
    const struct plugin_function *function;
    struct str path; /* as loaded, with "#account" */
};

static struct str base_of(struct str path)
{
    struct str base;
    str_cut(path, '#', &base, NULL);
    return base;
}

bool plugin_is_module(struct str name)
{
    struct str base = base_of(name);
    return str_ends(base, STR(".in")) || str_ends(base, STR(".ex"));
}

/* --- the gate ------------------------------------------------------------------------------------------- */

static enum star_ret refuse(struct star_run *run, const struct bound *b, const char *why)
{
    return star_fail(run, "app " STR_FMT " is not permitted to call " STR_FMT ".%s%s", STR_ARG(b->ctx->app),
                     STR_ARG(b->path), b->function->name, why);
}

static bool is_disallowed(const struct bound *b, const struct star_call *call)
{
    const struct plugin_matchers *rules = &b->ctx->rules->disallow;
    for (size_t i = 0; i < rules->len; i++) {
        const struct plugin_matcher *m = &rules->items[i];
        size_t mismatch;
        /* The account does not matter: exec.in#x is exec.in. */
        if (str_eq(base_of(m->of->plugin), base_of(b->path)) &&
            (str_is_empty(m->of->method) || plugin_pattern_match(&m->method, str_from(b->function->name))) &&
            plugin_arguments_match(m, call->pos, call->npos, &mismatch))
            return true;
    }
    return false;
}

/* What is wrong with the nearest candidate, for the message. */
struct search {
    const struct plugin_permission *candidate;
    size_t mismatch;
    bool is_write_refused;
};

static bool fits(const struct bound *b, const struct star_call *call, const struct plugin_matcher *m,
                 struct search *s)
{
    size_t mismatch;
    if (!str_eq(m->of->plugin, b->path) || !plugin_pattern_match(&m->method, str_from(b->function->name)))
        return false;
    if (!plugin_arguments_match(m, call->pos, call->npos, &mismatch)) {
        s->candidate = m->of;
        s->mismatch = mismatch;
        return false;
    }
    bool is_write = m->of->is_read == -1 ? b->function->is_write : m->of->is_read == 0;
    if (is_write && b->ctx->is_write_refused) {
        s->is_write_refused = true;
        return false;
    }
    return true;
}

static bool is_permitted(const struct bound *b, const struct star_call *call, struct search *s)
{
    const struct plugin_matchers *lists[] = {b->ctx->permissions, &b->ctx->rules->allow};
    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        for (size_t i = 0; lists[k] && i < lists[k]->len; i++)
            if (fits(b, call, &lists[k]->items[i], s))
                return true;
    return false;
}

static enum star_ret explain(struct star_run *run, const struct bound *b, const struct star_call *call,
                             const struct search *s)
{
    if (s->is_write_refused) {
        bool is_preview = str_starts(b->ctx->app_id, STR("app_pre_"));
        return star_fail(run,
                         "%s app " STR_FMT " is not permitted to call " STR_FMT
                         ".%s. %s app does not have access to "
                         "write operations",
                         is_preview ? "preview" : "stage", STR_ARG(b->ctx->app_id), STR_ARG(b->path),
                         b->function->name, is_preview ? "Preview" : "Stage");
    }
    if (!s->candidate)
        return refuse(run, b, ". Audit the app and approve permissions");
    if (s->mismatch >= call->npos)
        return star_fail(
            run,
            "app " STR_FMT " is not permitted to call " STR_FMT ".%s with %zu arguments, %zu or more "
            "positional arguments are required (permissions checks are not supported for kwargs). Audit "
            "the app and approve permissions",
            STR_ARG(b->ctx->app), STR_ARG(b->path), b->function->name, call->npos,
            s->candidate->arguments.len);
    scoped_buf value = BUF_INIT(4096);
    star_str(&value, call->pos[s->mismatch]);
    return star_fail(run,
                     "app " STR_FMT " is not permitted to call " STR_FMT
                     ".%s with argument %zu having value \"%s\", "
                     "expected \"" STR_FMT "\". Update the app or audit and approve permissions",
                     STR_ARG(b->ctx->app), STR_ARG(b->path), b->function->name, s->mismatch, buf_z(&value),
                     STR_ARG(s->candidate->arguments.items[s->mismatch]));
}

/* A function that blocks: the run is suspended, and the embedder sees to the work. */
static enum star_ret begin_wait(struct star_run *run, const struct bound *b, const struct star_call *call,
                                struct plugin_request *request, star_v *out)
{
    scoped_err err = {0};
    if (!request || !request->owner)
        return star_fail(run, STR_FMT ".%s can only be called by a handler, not while the app is loaded",
                         STR_ARG(b->path), b->function->name);
    struct plugin_wait *w = plugin_wait_new();
    w->ctx = b->ctx;
    if (b->function->start(run, call, w, &err)) {
        if (!w->item) {
            request->waits = w;
            return STAR_BLOCK;
        }
        if (!request->stream) {
            request->stream = plugin_stream_new(w);
            *out = plugin_response_stream(star_run_arena(run), request->stream);
            return STAR_OK;
        }
        err_set(&err, ERR_CONFLICT, STR_FMT ": this request has a stream already", STR_ARG(call->name));
    }
    plugin_wait_free(w);
    *out = plugin_response_failed(star_run_arena(run), request, str_from(err_msg(&err)), 1);
    return STAR_OK;
}

static enum star_ret call_guarded(struct star_run *run, const struct star_call *call, star_v *out)
{
    const struct bound *b = call->data;
    struct arena *a = star_run_arena(run);
    struct plugin_request *request = star_run_user(run);
    scoped_err err = {0};
    struct search search = {0};
    if (b->module->is_system &&
        (!request || str_is_empty(request->user_id) || str_eq(request->user_id, STR("anonymous"))))
        return star_fail(run, "plugin " STR_FMT " requires an authenticated user", STR_ARG(b->path));
    if (is_disallowed(b, call))
        return refuse(run, b, ": the call is disallowed by the server config (permissions.disallow)");
    if (!is_permitted(b, call, &search))
        return explain(run, b, call, &search);
    if (request && request->failed.ptr)
        return star_fail(run, "previous plugin call failed: " STR_FMT, STR_ARG(request->failed));
    if (b->function->start)
        return begin_wait(run, b, call, request, out);
    star_v value = STAR_NONE;
    if (b->function->call(run, call, &value, &err))
        *out = plugin_response_ok(a, value, 0);
    else
        *out = plugin_response_failed(a, request, str_from(err_msg(&err)), 1);
    return STAR_OK; /* null is the memory error */
}

static enum star_ret call_nothing(struct star_run *run, const struct star_call *call, star_v *out)
{
    *out = star_struct(star_run_arena(run), "Response", NULL, NULL, 0);
    return STAR_OK;
}

bool plugin_bind(struct star_run *run, const struct star_call *call, const struct plugin_param *params,
                 size_t n, star_v *out, struct err *err)
{
    if (call->npos > n)
        return err_set(err, ERR_INVALID, STR_FMT ": got %zu arguments, want at most %zu", STR_ARG(call->name),
                       call->npos, n);
    for (size_t i = 0; i < n; i++)
        out[i] = i < call->npos ? call->pos[i] : STAR_NULL;
    for (size_t k = 0; k < call->nkw; k++) {
        struct str name = {0};
        size_t i = 0;
        star_to_str(call->kwnames[k], &name);
        while (i < n && !str_eq_z(name, params[i].name))
            i++;
        if (i == n)
            return err_set(err, ERR_INVALID, STR_FMT ": unexpected keyword argument \"" STR_FMT "\"",
                           STR_ARG(call->name), STR_ARG(name));
        if (!star_is_null(out[i]))
            return err_set(err, ERR_INVALID, STR_FMT ": got multiple values for parameter \"" STR_FMT "\"",
                           STR_ARG(call->name), STR_ARG(name));
        out[i] = call->kwvals[k];
    }
    for (size_t i = 0; i < n; i++) {
        bool is_optional = !star_is_null(params[i].fallback);
        if (is_optional && (star_is_null(out[i]) || star_is_none(out[i]))) {
            out[i] = params[i].fallback;
            continue;
        }
        if (star_is_null(out[i]))
            return err_set(err, ERR_INVALID, STR_FMT ": missing argument for %s", STR_ARG(call->name),
                           params[i].name);
        static const struct {
            enum star_want want;
            enum star_kind kind;
            const char *name;
        } kinds[] = {{STAR_STR, STAR_KIND_STRING, "string"},
                     {STAR_BOOL, STAR_KIND_BOOL, "bool"},
                     {STAR_INT, STAR_KIND_INT, "int"},
                     {STAR_LIST, STAR_KIND_LIST, "list"},
                     {STAR_DICT, STAR_KIND_DICT, "dict"}};
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            if (kinds[k].want == params[i].want && star_kind(out[i]) != kinds[k].kind)
                return err_set(err, ERR_INVALID, STR_FMT ": for parameter %s: got %s, want %s",
                               STR_ARG(call->name), params[i].name, star_type_name(out[i]), kinds[k].name);
    }
    return true;
}

/* --- loading -------------------------------------------------------------------------------------- */

static bool may_load(const struct plugin_context *ctx, struct str module)
{
    if (ctx->is_audit || str_list_has(ctx->loads, module))
        return true;
    for (size_t i = 0; i < ctx->rules->allow.len; i++)
        if (str_eq(ctx->rules->allow_items[i].plugin, module))
            return true;
    return false;
}

static star_v make_module(struct arena *a, const struct plugin_context *ctx, const struct plugin_module *m,
                          struct str path, struct str name)
{
    size_t n = m->n_functions + m->n_constants;
    struct str *names = arena_array(a, struct str, n);
    star_v *values = arena_array(a, star_v, n);
    for (size_t i = 0; i < m->n_functions; i++) {
        struct bound *b = arena_new(a, struct bound);
        *b = (struct bound){ctx, m, &m->functions[i], path};
        names[i] = str_from(m->functions[i].name);
        values[i] = star_builtin(a, m->functions[i].name, ctx->is_audit ? call_nothing : call_guarded, b);
    }
    for (size_t i = 0; i < m->n_constants; i++) {
        names[m->n_functions + i] = str_from(m->constants[i].name);
        values[m->n_functions + i] = star_string_z(a, m->constants[i].value);
    }
    return star_struct_str(a, name, names, values, n);
}

bool plugin_load(struct arena *a, const struct plugin_context *ctx, struct str module, struct str *name,
                 star_v *value, struct err *err)
{
    struct str base = base_of(module);
    const struct plugin_module *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(modules); i++)
        if (str_eq_z(base, modules[i]->name))
            found = modules[i];
    for (size_t i = 0; !found && i < ARRAY_LEN(later); i++)
        if (str_eq_z(base, later[i]))
            return err_set(err, ERR_UNSUPPORTED, "plugin " STR_FMT " is not available in this version",
                           STR_ARG(base));
    if (!found)
        return err_set(err, ERR_INVALID, "module " STR_FMT " not found", STR_ARG(module));
    if (!may_load(ctx, module))
        return err_set(err, ERR_FORBIDDEN,
                       "app " STR_FMT " is not permitted to load plugin " STR_FMT
                       ". Audit the app and approve permissions",
                       STR_ARG(ctx->app), STR_ARG(module));
    *name = str_slice(base, 0, base.len - strlen(".in"));
    *value = make_module(a, ctx, found, str_dup(a, module), *name);
    return !star_is_null(*value) ||
           err_set(err, ERR_INTERNAL, "out of memory for plugin " STR_FMT, STR_ARG(module));
}
