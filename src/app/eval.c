/* app/eval.c: running an app's Starlark files, for real and for the audit.
 *
 * Each .star file runs once; its globals are frozen and shared. Paths in load() are relative to the app's
 * root (and star_base), never to the loading file.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

static void print_line(struct star_run *run, void *ctx, struct str line)
{
    struct eval *e = ctx;
    log_info("print", LOG_STR("app", e->ctx->app), LOG_STR("line", line));
}

static struct star_module *load_module(void *ctx, struct star_run *run, struct str module, struct err *err);

static void setup(struct star_run *run, void *ctx)
{
    struct eval *e = ctx;
    star_run_set_user(run, &e->request);
    star_run_set_print(run, print_line, e);
    star_run_set_loader(run, load_module, e);
}

static const struct star_program *compile(struct eval *e, struct str name, struct err *err)
{
    struct str source;
    if (!src_files_read(e->a, e->files, name, &source, err))
        return NULL;
    if (source.len > APP_SOURCE_MAX) {
        err_set(err, ERR_TOO_LARGE, STR_FMT " has more than %d bytes", STR_ARG(name), APP_SOURCE_MAX);
        return NULL;
    }
    const struct star_program *p = star_compile(e->a, name, source, &star_options_app, &e->predeclared, err);
    if (!p)
        return NULL;
    const struct star_load *loads;
    size_t n = star_program_loads(p, &loads);
    for (size_t i = 0; i < n; i++)
        if (plugin_is_module(loads[i].module) && !str_list_has(&e->loads, loads[i].module))
            str_list_add(e->a, &e->loads, str_dup(e->a, loads[i].module));
    return p;
}

/* A file's globals, and one more: a struct of all of them under the file's own name. */
static struct star_module *export_module(struct eval *e, struct str file, struct star_module *m)
{
    VEC(struct star_binding) items = {0};
    VEC(struct str) names = {0};
    VEC(star_v) values = {0};
    struct str base = path_base(file), name;
    base = str_slice(base, 0, base.len - strlen(".star"));
    size_t at = 0;
    star_v value;
    bool has_own = false;
    while (star_module_next(m, &at, &name, &value)) {
        if (str_starts(name, STR("_")))
            continue;
        has_own |= str_eq(name, base);
        *vec_push(e->a, &items) = (struct star_binding){str_z(e->a, name), value};
        *vec_push(e->a, &names) = name;
        *vec_push(e->a, &values) = value;
    }
    if (!has_own)
        *vec_push(e->a, &items) = (struct star_binding){
            str_z(e->a, base), star_struct_str(e->a, base, names.items, values.items, names.len)};
    return star_module_from(e->a, file, items.items, items.len);
}

static struct star_module *run_file(struct eval *e, struct str module, struct err *err)
{
    struct str name;
    if (!src_name_clean(e->a, module, &name, err))
        return NULL;
    name = path_join(e->a, e->star_base, name);
    if (!src_files_find(e->files, name)) {
        err_set(err, ERR_NOT_FOUND, "module " STR_FMT " not found: no such file in the app", STR_ARG(module));
        return NULL;
    }
    const struct star_program *p = compile(e, name, err);
    const struct star_limits limits = {.steps = APP_LOAD_STEPS};
    struct star_module *m = p ? star_exec(e->a, p, &e->predeclared, &limits, setup, e, err) : NULL;
    return m ? export_module(e, name, m) : NULL;
}

static struct star_module *load_plugin(struct eval *e, struct str module, struct err *err)
{
    struct str name;
    star_v value;
    if (!plugin_load(e->a, e->ctx, module, &name, &value, err))
        return NULL;
    const struct star_binding item = {str_z(e->a, name), value};
    return star_module_from(e->a, module, &item, 1);
}

static struct star_module *load_module(void *ctx, struct star_run *run, struct str module, struct err *err)
{
    struct eval *e = ctx;
    struct star_module *m = NULL;
    module = str_dup(e->a, module);
    switch (star_cache_begin(e->cache, module, &m, err)) {
    case STAR_CACHE_HIT: return m;
    case STAR_CACHE_FAIL: return NULL;
    case STAR_CACHE_NEW: break;
    }
    if (plugin_is_module(module))
        m = load_plugin(e, module, err);
    else if (str_ends(module, STR(".star")))
        m = run_file(e, module, err);
    else
        err_set(err, ERR_INVALID, "module " STR_FMT " not found: load a plugin (\"proxy.in\") or a .star file", STR_ARG(module));
    star_cache_end(e->cache, module, m, err);
    return m;
}

static bool find_star_base(struct eval *e, struct err *err)
{
    struct str text = store_map_get(&e->entry->metadata.appconfig, STR("star_base"));
    struct toml_value v = {0};
    if (str_is_empty(text))
        return true;
    if (!toml_parse_value(e->a, text, &v, err) || v.kind != TOML_STRING)
        return err_set(err, ERR_INVALID, "app config star_base must be a string in quotes");
    if (str_is_empty(str_trim_char(v.s, '/')))
        return true;
    return src_name_clean(e->a, str_trim_char(v.s, '/'), &e->star_base, err) || err_wrap(err, "star_base");
}

bool eval_run(struct eval *e, struct arena *a, const struct app_env *env, const struct store_app *entry,
              const struct src_files *files, bool is_audit, struct err *err)
{
    e->a = a;
    e->env = env;
    e->entry = entry;
    e->files = files;
    e->ctx->is_audit = is_audit;
    e->cache = star_cache_new(a);
    e->app = STAR_NULL;
    if (!find_star_base(e, err) || !params_load(e, err))
        return false;
    const struct star_binding bindings[] = {
        {"ace", ace_object(e)},
        {"param", params_object(e)},
        {"config", config_builtin(e, true)},
    };
    e->predeclared = (struct star_env){arena_memdup(a, bindings, sizeof bindings), ARRAY_LEN(bindings)};
    struct str name = path_join(a, e->star_base, STR("app.star"));
    if (!src_files_find(files, name))
        return err_set(err, ERR_INVALID, "app.star not found: the source has none at " STR_FMT ", and no spec gives one (--spec)",
                       STR_ARG(name));
    const struct star_program *p = compile(e, name, err);
    const struct star_limits limits = {.steps = APP_LOAD_STEPS};
    if (!p || !(e->main = star_exec(a, p, &e->predeclared, &limits, setup, e, err)))
        return false;
    e->app = star_module_get(e->main, STR("app"));
    if (star_is_null(e->app))
        return err_set(err, ERR_INVALID, "app not defined, check app.star, add 'app = ace.app(...)'");
    if (!str_eq(star_struct_ctor(e->app), STR("ace.app")))
        return err_set(err, ERR_INVALID, "app not of type ace.app in app.star");
    return true;
}

/* --- the audit ------------------------------------------------------------------------------------------- */

static bool read_texts(struct arena *a, star_v list, const char *what, struct str_list *out, struct err *err)
{
    for (size_t i = 0; i < star_len(list); i++) {
        struct str s;
        if (!star_to_str(star_item(list, i), &s))
            return err_set(err, ERR_INVALID, "ace.permission: %s must hold strings, not %s", what,
                           star_type_name(star_item(list, i)));
        str_list_add(a, out, str_dup(a, s));
    }
    return true;
}

static struct str field_text(struct arena *a, star_v s, const char *name)
{
    struct str text = {0};
    star_to_str(star_struct_get(s, str_from(name)), &text);
    return str_dup(a, text);
}

static bool read_permission(struct arena *a, star_v v, struct store_permission *out, struct err *err)
{
    if (!str_eq(star_struct_ctor(v), STR("ace.permission")))
        return err_set(err, ERR_INVALID, "permissions must hold ace.permission(...), not %s", star_type_name(v));
    *out = (struct store_permission){.plugin = field_text(a, v, "plugin"), .method = field_text(a, v, "method")};
    struct str type = field_text(a, v, "type");
    out->is_read = str_is_empty(type) ? STORE_UNSET : str_eq(type, STR("READ")) ? STORE_TRUE : STORE_FALSE;
    star_v secrets = star_struct_get(v, STR("secrets"));
    for (size_t i = 0; i < star_len(secrets); i++)
        if (star_kind(star_item(secrets, i)) != STAR_KIND_LIST)
            return err_set(err, ERR_INVALID, "ace.permission: secrets must be a list of lists");
        else if (!read_texts(a, star_item(secrets, i), "secrets", vec_push(a, &out->secrets), err))
            return false;
    return read_texts(a, star_struct_get(v, STR("arguments")), "arguments", &out->arguments, err) &&
           read_texts(a, star_struct_get(v, STR("permit")), "permit", &out->permit, err);
}

static struct plugin_permission *to_plugin(struct arena *a, const struct store_permission *items, size_t n)
{
    struct plugin_permission *out = arena_array(a, struct plugin_permission, n);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct plugin_permission){
            .plugin = items[i].plugin, .method = items[i].method, .arguments = items[i].arguments, .permit = items[i].permit,
            .is_read = items[i].is_read == STORE_UNSET ? -1 : items[i].is_read == STORE_TRUE,
            .secrets = items[i].secrets.items, .n_secrets = items[i].secrets.len};
    return out;
}

void context_fill(struct plugin_context *ctx, struct arena *a, const struct app_env *env, const struct store_app *entry)
{
    enum store_app_kind kind = store_app_kind(entry->id);
    *ctx = (struct plugin_context){
        .app = store_path_domain(a, entry->path, entry->domain),
        .app_id = entry->id,
        .is_write_refused = (kind == STORE_STAGE && !entry->settings.stage_write_access) ||
                            (kind == STORE_PREVIEW && !entry->settings.preview_write_access),
        .rules = env->rules,
        .loads = &entry->metadata.loads,
        .permissions = to_plugin(a, entry->metadata.permissions.items, entry->metadata.permissions.len),
        .n_permissions = entry->metadata.permissions.len,
    };
}

bool app_audit(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
               struct arena *a, struct app_audit *out, struct err *err)
{
    struct arena code;
    arena_init(&code, APP_CODE_MAX);
    struct src_files all;
    struct plugin_context ctx;
    struct eval e = {.ctx = &ctx};
    context_fill(&ctx, &code, env, entry);
    bool ok = files_open(&code, env, entry, files, &all, err) && eval_run(&e, &code, env, entry, &all, true, err);
    struct app_audit audit = {0};
    struct store_permission_list permissions = {0};
    if (ok) {
        audit.name = field_text(a, e.app, "name");
        vec_foreach (load, &e.loads)
            str_list_add(a, &audit.loads, str_dup(a, *load));
        star_v list = star_struct_get(e.app, STR("permissions"));
        for (size_t i = 0; ok && i < star_len(list); i++)
            ok = read_permission(a, star_item(list, i), vec_push(a, &permissions), err);
    }
    if (ok) {
        audit.permissions = permissions.items;
        audit.n_permissions = permissions.len;
        audit.needs_approval = !plugin_is_approved(env->rules, &audit.loads, to_plugin(&code, permissions.items, permissions.len),
                                                   permissions.len, &entry->metadata.loads, ctx.permissions, ctx.n_permissions);
        *out = audit;
    }
    arena_release(&code);
    return ok;
}
