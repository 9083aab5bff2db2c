/* deploy/declare.c: what declarative files say: Starlark without load, whose calls of app() are the
 * declarations (spec app-lifecycle.md 19.1).
 *
 * A file is data that happens to be written as a program, perhaps by somebody whom the server does not trust:
 * it reaches nothing but config(), and its steps, its memory and the number of its apps have limits. Values
 * are copied out of its memory as soon as app() is called.
 * SPDX-License-Identifier: Apache-2.0 */
#include "deploy_int.h"

enum {
    STEPS_MAX = 100 * 1000 * 1000, /* of all files together */
    SLICE_STEPS = 1000 * 1000,     /* between looks at whether it was cancelled */
    VALUES_MAX = 256 << 20,        /* bytes of one file's values */
    APPS_MAX = 20 * 1000,
    TEXT_MAX = 1 << 20, /* of one value */
    DEPTH_MAX = 16,     /* of values in each other */
};

/* One evaluation. */
struct eval {
    struct arena *a; /* what is declared */
    const struct declare_env *env;
    const struct config_files *files;
    const struct config_file *file; /* which is evaluated */
    struct declarations out;
    struct map seen; /* "domain:path" -> struct str *, the file that declares it */
    uint64_t steps_left;
};

bool declare_is_secret(struct str name)
{
    static const char *const parts[] = {"password", "passwd", "passphrase", "secret", "token", "credential"};
    static const char *const ends[] = {"key", "pwd", "pass"};
    scoped_arena a = {0};
    struct str lower = str_lower(&a, name);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (str_find(lower, str_from(parts[i])) != STR_NPOS)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (str_ends(lower, str_from(ends[i])))
            return true;
    return false;
}

/* A value with such a name that stands in the file as it is: not one from config(), and not a reference. */
static void warn_secret(struct eval *e, struct str app, const char *what, struct str name, star_v v)
{
    struct str text;
    if (!declare_is_secret(name) || !star_to_str(v, &text) || text.len < 3 ||
        str_find(text, STR("{{")) != STR_NPOS || str_find(e->file->text, text) == STR_NPOS)
        return;
    str_list_add(e->a, &e->out.warnings,
                 str_printf(e->a,
                            "app " STR_FMT " in " STR_FMT ": %s[\"" STR_FMT
                            "\"] looks like a secret in clear text: take it from [node_config] with "
                            "config(\"NAME\", \"\")",
                            STR_ARG(app), STR_ARG(e->file->name), what, STR_ARG(name)));
}

/* --- values --- */

static enum star_ret bad_value(struct star_run *run, const char *what, struct str key, const struct err *err)
{
    return star_fail(run, "app: %s[\"" STR_FMT "\"]: %s", what, STR_ARG(key), err_msg(err));
}

/* Strings as they are, other values as JSON. */
static bool plain_text(struct eval *e, struct arena *values, star_v v, struct str *out, struct err *err)
{
    if (star_to_str(v, out)) {
        if (out->len > TEXT_MAX)
            return err_set(err, ERR_TOO_LARGE, "more than %d bytes", TEXT_MAX);
        *out = str_dup(e->a, *out);
        return true;
    }
    scoped_buf b = BUF_INIT(TEXT_MAX);
    if (!star_json_encode(values, &b, v, 0, err))
        return false;
    *out = str_dup(e->a, buf_str(&b));
    return true;
}

static bool add_toml(struct buf *b, star_v v, int depth, struct err *err);

static bool add_toml_list(struct buf *b, star_v v, int depth, struct err *err)
{
    buf_add_char(b, '[');
    for (size_t i = 0; i < star_len(v); i++) {
        if (i > 0)
            buf_add_z(b, ", ");
        if (!add_toml(b, star_item(v, i), depth + 1, err))
            return false;
    }
    return buf_add_char(b, ']');
}

static bool add_toml(struct buf *b, star_v v, int depth, struct err *err)
{
    struct str text;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_INVALID, "lists in lists in lists: too deep");
    switch (star_kind(v)) {
    case STAR_KIND_STRING:
        star_to_str(v, &text);
        buf_add_char(b, '"'); /* a JSON string is a TOML string */
        buf_add_json(b, text);
        return buf_add_char(b, '"');
    case STAR_KIND_BOOL: return buf_add_z(b, star_truth(v) ? "true" : "false");
    case STAR_KIND_INT:
    case STAR_KIND_FLOAT: return star_repr(b, v);
    case STAR_KIND_LIST:
    case STAR_KIND_TUPLE: return add_toml_list(b, v, depth, err);
    default:
        return err_set(err, ERR_INVALID, "must be a string, a number, a bool, a list or a dict, not %s",
                       star_type_name(v));
    }
}

static bool toml_text(struct eval *e, star_v v, struct str *out, struct err *err)
{
    scoped_buf b = BUF_INIT(TEXT_MAX);
    if (!add_toml(&b, v, 0, err))
        return false;
    if (b.is_full)
        return err_set(err, ERR_TOO_LARGE, "more than %d bytes", TEXT_MAX);
    *out = str_dup(e->a, buf_str(&b));
    return true;
}

/* A dict of strings to values; of app config, a dict in it is a section: {"a": {"b": 1}} is {"a.b": 1}. */
struct dict_arg {
    struct eval *e;
    struct str app;
    const char *what;
    bool is_toml;
    struct map *out;
};

static enum star_ret take_dict(struct star_run *run, const struct dict_arg *d, struct str prefix, star_v dict,
                               int depth)
{
    struct eval *e = d->e;
    size_t at = 0;
    star_v k, v;
    while (star_dict_next(dict, &at, &k, &v)) {
        struct str key, text;
        scoped_err err = {0};
        if (!star_to_str(k, &key))
            return star_fail(run, "app: keys of %s must be strings, not %s", d->what, star_type_name(k));
        if (str_is_empty(key))
            return star_fail(run, "app: a key of %s is empty", d->what);
        key = str_is_empty(prefix) ? str_dup(e->a, key)
                                   : str_printf(e->a, STR_FMT "." STR_FMT, STR_ARG(prefix), STR_ARG(key));
        if (d->is_toml && star_kind(v) == STAR_KIND_DICT) {
            if (depth == DEPTH_MAX)
                return star_fail(run, "app: %s: dicts in dicts in dicts: too deep", d->what);
            if (take_dict(run, d, key, v, depth + 1) != STAR_OK)
                return STAR_FAIL;
            continue;
        }
        warn_secret(e, d->app, d->what, key, v);
        if (d->is_toml ? !toml_text(e, v, &text, &err) : !plain_text(e, star_run_arena(run), v, &text, &err))
            return bad_value(run, d->what, key, &err);
        store_map_set(e->a, d->out, key, text);
    }
    return STAR_OK;
}

static enum star_ret take_list(struct star_run *run, struct eval *e, const char *what, star_v list,
                               struct str_list *out)
{
    for (size_t i = 0; i < star_len(list); i++) {
        struct str text;
        star_v item = star_item(list, i);
        if (!star_to_str(item, &text))
            return star_fail(run, "app: %s[%zu] must be a string, not %s", what, i, star_type_name(item));
        str_list_add(e->a, out, str_dup(e->a, text));
    }
    return STAR_OK;
}

static struct str text_of(struct eval *e, star_v v)
{
    struct str s = {0};
    star_to_str(v, &s);
    return str_dup(e->a, s);
}

/* --- app() --- */

enum {
    A_PATH,
    A_SOURCE,
    A_DEV,
    A_AUTH,
    A_GIT_AUTH,
    A_GIT_BRANCH,
    A_GIT_COMMIT,
    A_PARAMS,
    A_SPEC,
    A_STAGE_AT,
    A_APP_CONFIG,
    A_CONTAINER_OPTS,
    A_CONTAINER_ARGS,
    A_CONTAINER_VOLS,
    A_BINDINGS,
    A_VERIFY,
    A_COUNT,
};
static const struct star_param app_params[A_COUNT] = {
    [A_PATH] = {"path", STAR_STR, 0},
    [A_SOURCE] = {"source", STAR_STR, 0},
    [A_DEV] = {"dev", STAR_BOOL, STAR_OR_NONE},
    [A_AUTH] = {"auth", STAR_STR, STAR_OR_NONE},
    [A_GIT_AUTH] = {"git_auth", STAR_STR, STAR_OR_NONE},
    [A_GIT_BRANCH] = {"git_branch", STAR_STR, STAR_OR_NONE},
    [A_GIT_COMMIT] = {"git_commit", STAR_STR, STAR_OR_NONE},
    [A_PARAMS] = {"params", STAR_DICT, STAR_OR_NONE},
    [A_SPEC] = {"spec", STAR_STR, STAR_OR_NONE},
    [A_STAGE_AT] = {"stage_at", STAR_STR, STAR_OR_NONE},
    [A_APP_CONFIG] = {"app_config", STAR_DICT, STAR_OR_NONE},
    [A_CONTAINER_OPTS] = {"container_opts", STAR_DICT, STAR_OR_NONE},
    [A_CONTAINER_ARGS] = {"container_args", STAR_DICT, STAR_OR_NONE},
    [A_CONTAINER_VOLS] = {"container_vols", STAR_LIST, STAR_OR_NONE},
    [A_BINDINGS] = {"bindings", STAR_LIST, STAR_OR_NONE},
    [A_VERIFY] = {"verify", STAR_BOOL, STAR_OR_NONE},
};
static const char no_bindings[] = "bindings are not available in this version";

/* A local source is relative to the folder of the file. */
static enum star_ret take_source(struct star_run *run, struct eval *e, star_v v, struct str *out)
{
    struct str s = text_of(e, v);
    *out = s;
    if (str_is_empty(s))
        return star_fail(run, "app: source is empty: name a folder, a git URL, or \"-\"");
    if (str_eq(s, STR("-")) || src_is_git(s) || path_is_abs(s)) {
        scoped_err err = {0};
        return src_check_plain(e->a, s, out, &err) ? STAR_OK : star_fail(run, "app: %s", err_msg(&err));
    }
    if (s.ptr[0] == '~')
        return star_fail(run, "app: source " STR_FMT ": write the whole path of the folder", STR_ARG(s));
    if (str_is_empty(e->files->dir))
        return star_fail(run,
                         "app: source " STR_FMT " is a local path, in a file from git: write the URL of the "
                         "repository, with //FOLDER behind it",
                         STR_ARG(s));
    *out = path_join(e->a, e->files->dir, s);
    return STAR_OK;
}

/* Where it is to be; no two are at the same place. */
static enum star_ret take_place(struct star_run *run, struct eval *e, struct declaration *d)
{
    scoped_err err = {0};
    if (!src_apppath_parse(d->request.path, &d->at, &err) ||
        !src_domain_normalize(e->a, d->at.domain, e->env->env->default_domain, &d->at.domain, &err))
        return star_fail(run, "app: %s", err_msg(&err));
    struct str key = src_apppath_str(e->a, &d->at);
    if (map_has(&e->seen, key))
        return star_fail(run, "duplicate app " STR_FMT " defined in file " STR_FMT, STR_ARG(key),
                         STR_ARG(*(struct str *)map_get(&e->seen, key)));
    if (map_len(&e->seen) == APPS_MAX)
        return star_fail(run, "more than %d apps", APPS_MAX);
    store_map_set(e->a, &e->seen, key, e->file->name);
    return STAR_OK;
}

static enum star_ret take_dicts(struct star_run *run, struct eval *e, const star_v *v, struct request *r)
{
    const struct {
        int i;
        bool is_toml;
        struct map *out;
    } dicts[] = {
        {A_PARAMS, false, &r->param_values},
        {A_APP_CONFIG, true, &r->appconfig},
        {A_CONTAINER_OPTS, false, &r->container_options},
        {A_CONTAINER_ARGS, false, &r->container_args},
    };
    for (size_t i = 0; i < ARRAY_LEN(dicts); i++) {
        const struct dict_arg arg = {e, r->path, app_params[dicts[i].i].name, dicts[i].is_toml, dicts[i].out};
        if (take_dict(run, &arg, (struct str){0}, v[dicts[i].i], 0) != STAR_OK)
            return STAR_FAIL;
    }
    return STAR_OK;
}

static bool is_text(struct str s)
{
    return str_is_utf8(s) && str_chr(s, '\0') == STR_NPOS;
}

/* Bytes that are no text cannot be kept, nor passed on. */
static enum star_ret check_text(struct star_run *run, const struct request *r)
{
    const struct str scalars[] = {r->path,       r->source_url, r->stage_at,      r->authn_type,
                                  r->git_branch, r->git_commit, r->git_auth_name, r->spec};
    const struct map *maps[] = {&r->param_values, &r->container_options, &r->container_args, &r->appconfig};
    bool ok = true;
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
        ok &= is_text(scalars[i]);
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        map_foreach(e, maps[i]) ok &= is_text(e->key) && is_text(*(const struct str *)e->value);
    vec_foreach(v, &r->container_volumes) ok &= is_text(*v);
    return ok ? STAR_OK
              : star_fail(run, "app: an argument holds bytes that are not UTF-8, or a NUL character");
}

/* The arguments as attributes, absent ones with their defaults. */
static star_v struct_of(struct arena *a, const char *ctor, const struct star_param *params, const star_v *v,
                        size_t n)
{
    const char *names[A_COUNT];
    for (size_t i = 0; i < n; i++)
        names[i] = params[i].name;
    return star_struct(a, ctor, names, v, n);
}

static enum star_ret app_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct eval *e = call->data;
    struct arena *values = star_run_arena(run);
    star_v v[A_COUNT];
    for (size_t i = 0; i < A_COUNT; i++) {
        enum star_want want = app_params[i].want;
        v[i] = want == STAR_BOOL   ? STAR_FALSE
               : want == STAR_DICT ? star_dict(values, 0)
               : want == STAR_LIST ? star_list(values, NULL, 0)
                                   : star_string_z(values, "");
    }
    if (!star_unpack(run, call, app_params, A_COUNT, v))
        return STAR_FAIL;
    if (star_len(v[A_BINDINGS]) > 0)
        return star_fail(run, "app: %s", no_bindings);
    struct declaration d = {.file = e->file->name};
    struct request *r = &d.request;
    request_init(e->a, r);
    r->path = text_of(e, v[A_PATH]);
    r->is_dev = star_truth(v[A_DEV]) || e->env->is_dev;
    r->verify = star_truth(v[A_VERIFY]);
    r->authn_type = text_of(e, v[A_AUTH]);
    r->git_auth_name = text_of(e, v[A_GIT_AUTH]);
    r->git_branch = text_of(e, v[A_GIT_BRANCH]);
    r->git_commit = text_of(e, v[A_GIT_COMMIT]);
    r->spec = text_of(e, v[A_SPEC]);
    r->stage_at = text_of(e, v[A_STAGE_AT]);
    if (take_source(run, e, v[A_SOURCE], &r->source_url) != STAR_OK || take_place(run, e, &d) != STAR_OK ||
        take_dicts(run, e, v, r) != STAR_OK ||
        take_list(run, e, "container_vols", v[A_CONTAINER_VOLS], &r->container_volumes) != STAR_OK ||
        check_text(run, r) != STAR_OK)
        return STAR_FAIL;
    *vec_push(e->a, &e->out) = d;
    *out = struct_of(values, "app", app_params, v, A_COUNT);
    return STAR_OK;
}

static enum star_ret binding_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    return star_fail(run, "binding: %s", no_bindings);
}

static enum star_ret config_call(struct star_run *run, const struct star_call *call, star_v *out)
{
    const struct eval *e = call->data;
    struct arena *a = star_run_arena(run);
    static const struct star_param params[] = {{"key", STAR_STR, 0}, {"default", STAR_ANY, 0}};
    star_v v[2] = {STAR_NULL, STAR_NULL};
    struct str key;
    if (!star_unpack(run, call, params, 2, v))
        return STAR_FAIL;
    star_to_str(v[0], &key);
    if (str_eq(key, STR("_branch")) && !str_is_empty(e->env->branch))
        *out = star_string(a, e->env->branch);
    else if (str_eq(key, STR("_dev")))
        *out = star_bool(e->env->is_dev);
    else
        *out = app_node_config(e->env->env, a, key, v[1]);
    return STAR_OK;
}

/* --- files --- */

static void print_line(struct star_run *run, void *ctx, struct str line)
{
    const struct eval *e = ctx;
    log_info("print", LOG_STR("file", e->file->name), LOG_STR("line", line));
}

static bool run_file(struct eval *e, const struct star_program *p, const struct star_env *env,
                     struct arena *values, struct err *err)
{
    const struct star_limits limits = {.steps = MAX(e->steps_left, 1), .slice_steps = SLICE_STEPS};
    struct star_run *run = star_run_new(values, &limits);
    star_run_set_print(run, print_line, e);
    star_run_exec(run, p, env);
    enum star_state state;
    while ((state = star_run_resume(run)) == STAR_YIELD)
        if (e->env->cancel && atomic_load(e->env->cancel))
            return err_set(err, ERR_CANCELLED, "cancelled");
    e->steps_left -= MIN(e->steps_left, star_run_steps(run));
    return state == STAR_DONE || star_run_err(run, err);
}

static bool eval_file(struct eval *e, const struct config_file *file, struct err *err)
{
    scoped_arena code = {0};
    scoped_arena values = {0};
    arena_init(&values, VALUES_MAX);
    e->file = file;
    const struct star_binding builtins[] = {
        {"app", star_builtin(&code, "app", app_builtin, e)},
        {"binding", star_builtin(&code, "binding", binding_builtin, e)},
        {"config", star_builtin(&code, "config", config_call, e)},
    };
    const struct star_env env = {builtins, ARRAY_LEN(builtins)};
    const struct star_program *p =
        star_compile(&code, file->name, file->text, &star_options_config, &env, err);
    return p && run_file(e, p, &env, &values, err);
}

bool declare_eval(struct arena *a, const struct declare_env *env, const struct config_files *files,
                  struct declarations *out, struct err *err)
{
    struct eval e = {.a = a, .env = env, .files = files, .steps_left = STEPS_MAX};
    map_init(&e.seen, a);
    vec_foreach(file, files)
    {
        if (!eval_file(&e, file, err)) {
            if (err->code != ERR_CANCELLED)
                err->code = ERR_INVALID; /* also what outgrew its limits */
            return err_wrap(err, "error loading app definitions");
        }
    }
    *out = e.out;
    return true;
}
