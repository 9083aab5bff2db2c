/* app/ace.c: the `ace` constructors: each call gives a struct of its arguments, with defaults (spec 3.1).
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum fallback { NEEDED, NOTHING, EMPTY, AN_HOUR, POST, LIST, DICT, NO, ZERO_CODE_200, CODE_303, GET, TYPE_JSON, TYPE_AUTO };

struct ace_param {
    const char *name;
    enum star_want want;
    enum fallback fallback;
};

enum { PARAMS_MAX = 14 };

struct ace_function {
    const char *name, *ctor;
    struct ace_param params[PARAMS_MAX];
    /* Checks and completes the values; may be NULL. */
    enum star_ret (*check)(struct star_run *run, star_v *values);
};

/* Upper-cases a type among `allowed` in place. */
static enum star_ret check_type(struct star_run *run, star_v *value, const char *const *allowed,
                                const char *what)
{
    struct str type = star_text(*value);
    for (; *allowed; allowed++)
        if (str_eq_nocase(type, str_from(*allowed))) {
            *value = star_string_z(star_run_arena(run), *allowed);
            return STAR_OK;
        }
    return star_fail(run, "invalid %s specified : " STR_FMT, what, STR_ARG(type));
}

static enum star_ret check_api(struct star_run *run, star_v *v)
{
    static const char *const allowed[] = {"JSON", "TEXT", NULL};
    return check_type(run, &v[3], allowed, "API type");
}

static enum star_ret check_response(struct star_run *run, star_v *v)
{
    static const char *const allowed[] = {"HTML", "JSON", "TEXT", "", NULL};
    int64_t code;
    if (check_type(run, &v[2], allowed, "type") != STAR_OK)
        return STAR_FAIL;
    if (!star_to_i64(v[3], &code) || code < 200 || code > 599)
        return star_fail(run, "response: code must be between 200 and 599");
    return STAR_OK;
}

static enum star_ret check_redirect(struct star_run *run, star_v *v)
{
    int64_t code;
    if (!star_to_i64(v[1], &code) || code < 300 || code > 399)
        return star_fail(run, "redirect: code must be between 300 and 399");
    return STAR_OK;
}

static enum star_ret check_permission(struct star_run *run, star_v *v)
{
    struct str type = star_text(v[3]);
    if (!str_is_empty(type) && !str_eq(type, STR("READ")) && !str_eq(type, STR("WRITE")))
        return star_fail(run, "permission: type must be READ or WRITE, not \"" STR_FMT "\"", STR_ARG(type));
    return STAR_OK;
}

static enum star_ret check_result(struct star_run *run, star_v *v)
{
    if (star_kind(v[1]) == STAR_KIND_LIST || plugin_stream_of(v[1]))
        return STAR_OK;
    return star_fail(run, "result: for parameter values: got %s, want list", star_type_name(v[1]));
}

static const struct ace_function functions[] = {
    {"app",
     "ace.app",
     {{"name", STAR_STR, NEEDED},
      {"routes", STAR_LIST, LIST},
      {"style", STAR_STRUCT, NOTHING},
      {"permissions", STAR_LIST, LIST},
      {"libraries", STAR_LIST, LIST},
      {"settings", STAR_DICT, DICT},
      {"custom_layout", STAR_BOOL, NO},
      {"container", STAR_ANY, NOTHING},
      {"actions", STAR_LIST, LIST},
      {"static_only", STAR_BOOL, NO},
      {"index", STAR_STR, EMPTY},
      {"single_file", STAR_BOOL, NO},
      {"redirect_bare_path", STAR_BOOL, NO},
      {"jobs", STAR_LIST, LIST}},
     NULL},
    {"job",
     "ace.job",
     {{"name", STAR_STR, NEEDED},
      {"schedule", STAR_STR, NEEDED},
      {"command", STAR_LIST, LIST},
      {"path", STAR_STR, EMPTY},
      {"method", STAR_STR, POST},
      {"time_zone", STAR_STR, EMPTY},
      {"timeout", STAR_INT, AN_HOUR},
      {"overlap", STAR_STR, EMPTY},
      {"catch_up", STAR_BOOL, NO}},
     jobs_check},
    {"html",
     "ace.html",
     {{"path", STAR_STR, NEEDED},
      {"full", STAR_STR, EMPTY},
      {"partial", STAR_STR, EMPTY},
      {"handler", STAR_CALLABLE, NOTHING},
      {"fragments", STAR_LIST, LIST},
      {"method", STAR_STR, GET}},
     NULL},
    {"fragment",
     "ace.fragment",
     {{"path", STAR_STR, NEEDED},
      {"partial", STAR_STR, EMPTY},
      {"handler", STAR_CALLABLE, NOTHING},
      {"method", STAR_STR, GET}},
     NULL},
    {"api",
     "ace.api",
     {{"path", STAR_STR, NEEDED},
      {"handler", STAR_CALLABLE, NOTHING},
      {"method", STAR_STR, GET},
      {"type", STAR_STR, TYPE_JSON}},
     check_api},
    {"proxy", "ace.proxy", {{"path", STAR_STR, NEEDED}, {"config", STAR_ANY, NEEDED}}, NULL},
    {"redirect",
     "ace.redirect",
     {{"url", STAR_STR, NEEDED}, {"code", STAR_INT, CODE_303}, {"refresh", STAR_BOOL, NO}},
     check_redirect},
    {"response",
     "ace.response",
     {{"data", STAR_ANY, NEEDED},
      {"block", STAR_STR, EMPTY},
      {"type", STAR_STR, EMPTY},
      {"code", STAR_INT, ZERO_CODE_200},
      {"retarget", STAR_STR, EMPTY},
      {"reswap", STAR_STR, EMPTY},
      {"redirect", STAR_STR, EMPTY},
      {"download", STAR_STR, EMPTY},
      {"content_type", STAR_STR, EMPTY}},
     check_response},
    {"permission",
     "ace.permission",
     {{"plugin", STAR_STR, NEEDED},
      {"method", STAR_STR, NEEDED},
      {"arguments", STAR_LIST, LIST},
      {"type", STAR_STR, EMPTY},
      {"secrets", STAR_LIST, LIST},
      {"permit", STAR_LIST, LIST}},
     check_permission},
    {"style",
     "ace.style",
     {{"library", STAR_STR, NEEDED},
      {"themes", STAR_LIST, LIST},
      {"disable_watcher", STAR_BOOL, NO},
      {"light", STAR_STR, EMPTY},
      {"dark", STAR_STR, EMPTY},
      {"custom_themes", STAR_DICT, DICT}},
     NULL},
    {"library",
     "ace.library",
     {{"name", STAR_STR, NEEDED}, {"version", STAR_STR, NEEDED}, {"args", STAR_LIST, LIST}},
     NULL},
    {"action",
     "ace.action",
     {{"name", STAR_STR, NEEDED},
      {"path", STAR_STR, NEEDED},
      {"run", STAR_CALLABLE, NEEDED},
      {"suggest", STAR_CALLABLE, NOTHING},
      {"description", STAR_STR, EMPTY},
      {"hidden", STAR_LIST, LIST},
      {"show_validate", STAR_BOOL, NO},
      {"permit", STAR_LIST, LIST}},
     NULL},
    {"result",
     "ace.result",
     {{"status", STAR_STR, EMPTY},
      {"values", STAR_ANY, LIST},
      {"report", STAR_STR, TYPE_AUTO},
      {"param_errors", STAR_DICT, DICT}},
     check_result},
};

static const char *const constants[] = {"GET",  "POST", "PUT",   "PATCH", "DELETE", "JSON",     "TEXT",
                                        "HTML", "READ", "WRITE", "AUTO",  "TABLE",  "DOWNLOAD", "IMAGE"};

static star_v fallback_value(struct arena *a, enum fallback f)
{
    switch (f) {
    case NEEDED:
    case NOTHING: return STAR_NONE;
    case EMPTY: return star_string_z(a, "");
    case LIST: return star_list(a, NULL, 0);
    case DICT: return star_dict(a, 0);
    case NO: return STAR_FALSE;
    case AN_HOUR: return star_int(a, 3600);
    case POST: return star_string_z(a, "POST");
    case ZERO_CODE_200: return star_int(a, 200);
    case CODE_303: return star_int(a, 303);
    case GET: return star_string_z(a, "GET");
    case TYPE_JSON: return star_string_z(a, "JSON");
    case TYPE_AUTO: return star_string_z(a, "AUTO");
    }
    return STAR_NONE;
}

static enum star_ret construct(struct star_run *run, const struct star_call *call, star_v *out)
{
    const struct ace_function *f = call->data;
    struct arena *a = star_run_arena(run);
    struct star_param spec[PARAMS_MAX];
    const char *names[PARAMS_MAX];
    star_v v[PARAMS_MAX];
    size_t n = 0;
    for (; n < PARAMS_MAX && f->params[n].name; n++) {
        const struct ace_param *p = &f->params[n];
        spec[n] = (struct star_param){p->name, p->want, p->fallback == NEEDED ? 0 : STAR_OR_NONE};
        names[n] = p->name;
        v[n] = fallback_value(a, p->fallback);
    }
    if (!star_unpack(run, call, spec, n, v))
        return STAR_FAIL;
    if (f->check && f->check(run, v) != STAR_OK)
        return STAR_FAIL;
    *out = star_struct(a, f->ctor, names, v, n);
    return STAR_OK; /* null is the memory error */
}

/* ace.audit(operation, target, detail=""): the last one of a request becomes an event when the handler has
 * ended. */
static enum star_ret audit_call(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param spec[] = {
        {"operation", STAR_STR, 0}, {"target", STAR_STR, 0}, {"detail", STAR_STR, STAR_OR_NONE}};
    star_v v[ARRAY_LEN(spec)] = {STAR_NULL, STAR_NULL, STAR_NULL};
    if (!star_unpack(run, call, spec, ARRAY_LEN(spec), v))
        return STAR_FAIL;
    const struct plugin_request *request = star_run_user(run);
    struct visit *visit = request ? request->owner : NULL;
    if (visit) { /* the texts live in the run's arena, as long as the request */
        visit->audit.is_set = true;
        visit->audit.operation = star_text(v[0]);
        visit->audit.target = star_text(v[1]);
        visit->audit.detail = star_text(v[2]);
    }
    *out = STAR_NONE;
    return STAR_OK;
}

/* --- ace.output ------------------------------------------------------------------------------------------
 */

struct output {
    star_v value;
    star_v error; /* a string, empty for none */
};

static enum star_ret output_attr(struct star_run *run, void *self, struct str name, star_v *out)
{
    struct output *o = self;
    if (str_eq(name, STR("error"))) {
        *out = o->error;
    } else if (str_eq(name, STR("value"))) {
        if (!str_is_empty(star_text(o->error)))
            return star_fail(run, "output has error: " STR_FMT, STR_ARG(star_text(o->error)));
        *out = o->value;
    } else {
        return STAR_MISSING;
    }
    return STAR_OK;
}

static size_t output_names(void *self, struct str *names, size_t max)
{
    static const struct str all[] = {STR_INIT("error"), STR_INIT("value")};
    for (size_t i = 0; i < ARRAY_LEN(all) && i < max; i++)
        names[i] = all[i];
    return ARRAY_LEN(all);
}

static bool output_truth(void *self)
{
    return str_is_empty(star_text(((struct output *)self)->error));
}

static void output_freeze(void *self)
{
    star_freeze(((struct output *)self)->value);
}

static const struct star_host_type output_type = {
    .name = "Output",
    .attr = output_attr,
    .attr_names = output_names,
    .truth = output_truth,
    .freeze = output_freeze,
};

static enum star_ret output_call(struct star_run *run, const struct star_call *call, star_v *out)
{
    static const struct star_param spec[] = {{"value", STAR_ANY, STAR_OPTIONAL},
                                             {"error", STAR_STR, STAR_OR_NONE}};
    struct arena *a = star_run_arena(run);
    star_v v[ARRAY_LEN(spec)] = {STAR_NONE, star_string_z(a, "")};
    if (!star_unpack(run, call, spec, ARRAY_LEN(spec), v))
        return STAR_FAIL;
    struct output *o = arena_try_alloc(a, sizeof *o);
    if (o)
        *o = (struct output){v[0], v[1]};
    *out = o ? star_host(a, &output_type, o) : STAR_NULL;
    return STAR_OK; /* null is the memory error */
}

star_v ace_object(struct eval *e)
{
    struct arena *a = e->keep;
    enum { N = ARRAY_LEN(functions) + ARRAY_LEN(constants) + 4 };
    const char *names[N];
    star_v values[N];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        names[n] = functions[i].name;
        values[n++] = star_builtin(a, functions[i].name, construct, (void *)&functions[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(constants); i++) {
        names[n] = constants[i];
        values[n++] = star_string_z(a, constants[i]);
    }
    names[n] = "CONTAINER_URL";
    values[n++] = star_string_z(a, "<CONTAINER_URL>");
    names[n] = "audit";
    values[n++] = star_builtin(a, "audit", audit_call, NULL);
    names[n] = "output";
    values[n++] = star_builtin(a, "output", output_call, NULL);
    names[n] = "config";
    values[n++] = config_builtin(e, true);
    return star_struct(a, "ace", names, values, n);
}
