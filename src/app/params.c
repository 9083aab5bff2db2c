/* app/params.c: params.star: what an app can be told, and the values it is told (spec starlark-apps.md 3.2).
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

static const struct {
    const char *name;
    enum star_kind kind;
    const char *article;
} types[] = {
    [PARAM_STRING] = {"STRING", STAR_KIND_STRING, "a string"},
    [PARAM_INT] = {"INT", STAR_KIND_INT, "an int"},
    [PARAM_BOOLEAN] = {"BOOLEAN", STAR_KIND_BOOL, "a boolean"},
    [PARAM_DICT] = {"DICT", STAR_KIND_DICT, "a json dict"},
    [PARAM_LIST] = {"LIST", STAR_KIND_LIST, "a json list"},
};

enum { PARAM_TEXT_MAX = 1 << 20 };

static const char *const display_types[] = {"password", "textarea", "file", "combo"};

static star_v zero_value(struct arena *a, enum param_type type)
{
    switch (type) {
    case PARAM_STRING: return star_string_z(a, "");
    case PARAM_INT: return star_int(a, 0);
    case PARAM_BOOLEAN: return STAR_FALSE;
    case PARAM_DICT: return star_dict(a, 0);
    case PARAM_LIST: return star_list(a, NULL, 0);
    }
    return STAR_NONE;
}

static bool has_space(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == ' ' || (s.ptr[i] >= '\t' && s.ptr[i] <= '\r'))
            return true;
    return false;
}

static bool is_declared(const struct eval *e, struct str name)
{
    vec_foreach(p, &e->params) if (str_eq(p->name, name)) return true;
    return false;
}

static enum star_ret check_display(struct star_run *run, const struct param *p)
{
    struct str kind;
    if (str_is_empty(p->display_type))
        return STAR_OK;
    str_cut(p->display_type, ':', &kind, NULL);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(display_types); i++)
        known |= str_eq_z(kind, display_types[i]);
    if (!known)
        return star_fail(
            run, "param " STR_FMT ": unknown display type " STR_FMT ": use PASSWORD, TEXTAREA, FILE or COMBO",
            STR_ARG(p->name), STR_ARG(kind));
    if (p->type != PARAM_STRING)
        return star_fail(run, "param " STR_FMT ": display_type is for STRING params only", STR_ARG(p->name));
    return STAR_OK;
}

/* param(name, type=STRING, default=None, description="", required=True, display_type="") */
static enum star_ret param_builtin(struct star_run *run, const struct star_call *call, star_v *out)
{
    struct eval *e = call->data;
    static const struct star_param spec[] = {
        {"name", STAR_STR, 0},
        {"type", STAR_STR, STAR_OR_NONE},
        {"default", STAR_ANY, STAR_OR_NONE},
        {"description", STAR_STR, STAR_OR_NONE},
        {"required", STAR_BOOL, STAR_OR_NONE},
        {"display_type", STAR_STR, STAR_OR_NONE},
    };
    star_v v[ARRAY_LEN(spec)] = {STAR_NULL, STAR_NULL, STAR_NULL, STAR_NULL, STAR_NULL, STAR_NULL};
    if (!star_unpack(run, call, spec, ARRAY_LEN(spec), v))
        return STAR_FAIL;
    struct param p = {.is_required = star_is_null(v[4]) || star_truth(v[4])};
    struct str type = STR("STRING");
    star_to_str(v[0], &p.name);
    star_to_str(v[1], &type);
    star_to_str(v[3], &p.description);
    star_to_str(v[5], &p.display_type);
    if (str_is_empty(p.name))
        return star_fail(run, "param name is required");
    if (has_space(p.name))
        return star_fail(run, "param name \"" STR_FMT "\" has space", STR_ARG(p.name));
    if (is_declared(e, p.name))
        return star_fail(run, "param " STR_FMT " already defined", STR_ARG(p.name));
    size_t i = 0;
    while (i < ARRAY_LEN(types) && !str_eq_z(type, types[i].name))
        i++;
    if (i == ARRAY_LEN(types))
        return star_fail(run,
                         "unknown type " STR_FMT " for " STR_FMT ": use STRING, INT, BOOLEAN, DICT or LIST",
                         STR_ARG(type), STR_ARG(p.name));
    p.type = (enum param_type)i;
    p.has_default = !star_is_null(v[2]);
    if (p.has_default && star_kind(v[2]) != types[i].kind)
        return star_fail(run, "default value for param " STR_FMT " must be %s, not %s", STR_ARG(p.name),
                         types[i].article, star_type_name(v[2]));
    if (check_display(run, &p) != STAR_OK)
        return STAR_FAIL;
    p.value = p.has_default ? v[2] : STAR_NULL;
    *vec_push(e->keep, &e->params) = p;
    *out = STAR_NONE;
    return STAR_OK;
}

/* --- values ----------------------------------------------------------------------------------------- */

static bool parse_bool(struct str text, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_z(text, yes[i]) || str_eq_z(text, no[i])) {
            *out = str_eq_z(text, yes[i]);
            return true;
        }
    }
    return false;
}

static bool parse_value(struct arena *a, const struct param *p, struct str text, star_v *out)
{
    int64_t n;
    bool b;
    scoped_err ignored = {0};
    switch (p->type) {
    case PARAM_STRING: *out = star_string(a, text); return true;
    case PARAM_INT:
        if (!str_to_i64(text, &n))
            return false;
        *out = star_int(a, n);
        return true;
    case PARAM_BOOLEAN:
        if (!parse_bool(text, &b))
            return false;
        *out = star_bool(b);
        return true;
    case PARAM_DICT:
    case PARAM_LIST:
        return star_json_decode(a, text, out, &ignored) && star_kind(*out) == types[p->type].kind;
    }
    return false;
}

bool param_parse(struct arena *a, const struct param *p, struct str text, star_v *out, struct err *err)
{
    return parse_value(a, p, text, out) ||
           err_set(err, ERR_INVALID, "param " STR_FMT " is not %s", STR_ARG(p->name), types[p->type].article);
}

static bool resolve(struct eval *e, struct param *p, struct err *err)
{
    const struct str *given = map_get(&e->entry->metadata.param_values, p->name);
    if (given) {
        if (p->type == PARAM_STRING && p->is_required && given->len == 0)
            return err_set(err, ERR_INVALID, "param " STR_FMT " is a required param, value cannot be empty",
                           STR_ARG(p->name));
        if (!param_parse(e->a, p, *given, &p->value, err))
            return err_wrap(err, "error parsing param " STR_FMT, STR_ARG(p->name));
    } else if (!p->has_default) {
        if (p->is_required)
            return err_set(err, ERR_INVALID,
                           "param " STR_FMT
                           " is a required param, a value has to be provided (--param " STR_FMT "=VALUE)",
                           STR_ARG(p->name), STR_ARG(p->name));
        p->value = zero_value(e->a, p->type);
    }
    star_freeze(p->value);
    return true;
}

/* Runs params.star, which may be absent: what it declares is in e->params, with defaults for values. */
static bool params_declare(struct eval *e, struct err *err)
{
    struct arena *a = e->keep;
    const struct star_binding bindings[] = {
        {"param", star_builtin(a, "param", param_builtin, e)},
        {"config", config_builtin(e, false)},
        {"INT", star_string_z(a, "INT")},
        {"STRING", star_string_z(a, "STRING")},
        {"BOOLEAN", star_string_z(a, "BOOLEAN")},
        {"DICT", star_string_z(a, "DICT")},
        {"LIST", star_string_z(a, "LIST")},
        {"PASSWORD", star_string_z(a, "password")},
        {"TEXTAREA", star_string_z(a, "textarea")},
        {"FILE", star_string_z(a, "file")},
        {"COMBO", star_string_z(a, "combo")},
    };
    const struct star_env env = {arena_memdup(a, bindings, sizeof bindings), ARRAY_LEN(bindings)};
    struct str name = path_join(a, e->star_base, STR("params.star")), source;
    bool found;
    if (!eval_source(e, name, &source, &found, err))
        return false;
    if (!found)
        return true;
    const struct star_program *p = star_compile(a, name, source, &star_options_config, &env, err);
    return p && eval_exec(e, p, &env, err);
}

bool params_load(struct eval *e, struct err *err)
{
    if (!params_declare(e, err))
        return false;
    vec_foreach(param, &e->params) if (!resolve(e, param, err)) return false;
    return true;
}

bool app_params_declared(const struct app_env *env, const struct src_files *files, struct arena *a,
                         struct app_param_list *out, struct err *err)
{
    scoped_arena keep = {0};
    scoped_arena code = {.limit = APP_CODE_MAX};
    struct plugin_context ctx = {0};
    struct store_app entry = {.id = STR("app_prd_declared"), .path = STR("/"), .source_url = STR("-")};
    struct eval e = {.a = &code, .keep = &keep, .env = env, .entry = &entry, .files = files, .ctx = &ctx,
                     .steps_left = APP_LOAD_STEPS};
    struct app_param_list list = {0};
    if (!params_declare(&e, err))
        return false;
    vec_foreach(p, &e.params)
    {
        struct str text = {0};
        bool is_required = p->is_required && !p->has_default;
        if (!p->has_default)
            p->value = zero_value(&keep, p->type);
        if (!is_required && !param_text(&keep, p, &text, err))
            return false;
        *vec_push(a, &list) = (struct app_param){.name = str_dup(a, p->name),
                                                 .description = str_dup(a, p->description),
                                                 .type = types[p->type].name,
                                                 .value = str_dup(a, text),
                                                 .is_required = is_required,
                                                 .has_default = p->has_default};
    }
    *out = list;
    return true;
}

star_v params_object(struct eval *e)
{
    struct str *names = arena_array(e->keep, struct str, e->params.len);
    star_v *values = arena_array(e->keep, star_v, e->params.len);
    for (size_t i = 0; i < e->params.len; i++) {
        names[i] = e->params.items[i].name;
        values[i] = e->params.items[i].value;
    }
    return star_struct_str(e->keep, STR("param"), names, values, e->params.len);
}

bool param_text(struct arena *a, const struct param *p, struct str *out, struct err *err)
{
    if (star_to_str(p->value, out))
        return true;
    if (p->type == PARAM_BOOLEAN) {
        *out = star_truth(p->value) ? STR("true") : STR("false");
        return true;
    }
    scoped_buf b = BUF_INIT(PARAM_TEXT_MAX);
    if (!star_json_encode(a, &b, p->value, 0, err))
        return err_wrap(err, "param " STR_FMT, STR_ARG(p->name));
    *out = str_dup(a, buf_str(&b));
    return true;
}

/* --- config() ----------------------------------------------------------------------------------------- */

/* config() is called at load, and by handlers on any loop: what it makes belongs to the run that calls. */
struct config_site {
    const struct eval *eval;
    bool is_app;
};
static struct str app_url(const struct eval *e, struct arena *scratch)
{
    const struct app_env *env = e->env;
    struct src_apppath at = {.domain = e->entry->domain, .path = e->entry->path};
    bool tls = env->https_port > 0;
    struct str url = src_apppath_url(scratch, &at, tls ? "https" : "http", env->default_domain,
                                     (unsigned)MAX(tls ? env->https_port : env->http_port, 0));
    return str_trim_right(url, '/');
}

static enum star_ret config_call(struct star_run *run, const struct star_call *call, star_v *out)
{
    const struct config_site *site = call->data;
    const struct eval *e = site->eval;
    struct arena *a = star_run_arena(run);
    static const struct star_param spec[] = {{"key", STAR_STR, 0}, {"default", STAR_ANY, 0}};
    star_v v[2] = {STAR_NULL, STAR_NULL};
    struct str key;
    if (!star_unpack(run, call, spec, 2, v))
        return STAR_FAIL;
    star_to_str(v[0], &key);
    if (str_eq(key, STR("_app_url")) && site->is_app) {
        scoped_arena scratch = {0};
        *out = star_string(a, app_url(e, &scratch));
    } else {
        *out = app_node_config(e->env, a, key, v[1]);
    }
    return STAR_OK; /* null is the memory error */
}

star_v config_builtin(struct eval *e, bool is_app)
{
    struct config_site *site = arena_new(e->keep, struct config_site);
    *site = (struct config_site){e, is_app};
    return star_builtin(e->keep, "config", config_call, site);
}

bool app_is_unknown_param(const struct app *app, struct str name)
{
    return app->eval.params.len > 0 && !is_declared(&app->eval, name);
}
