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

bool eval_exec(struct eval *e, const struct star_program *p, const struct star_env *env, struct err *err)
{
    /* One budget for all files of the app: many files must not mean many budgets. */
    const struct star_limits limits = {.steps = MAX(e->steps_left, 1)};
    struct star_run *run = star_run_new(e->a, &limits);
    if (!run)
        return err_set(err, ERR_TOO_LARGE, "the app's code needs more than %d MB of memory",
                       APP_CODE_MAX >> 20);
    star_run_set_user(run, &e->request);
    star_run_set_print(run, print_line, e);
    star_run_set_loader(run, load_module, e);
    star_run_exec(run, p, env);
    enum star_state state = star_run_to_end(run);
    e->steps_left -= MIN(e->steps_left, star_run_steps(run));
    if (state != STAR_DONE)
        return star_run_err(run, err);
    e->last = star_run_module(run);
    return true;
}

bool eval_source(struct eval *e, struct str name, struct str *out, bool *found, struct err *err)
{
    const struct src_file *f = src_files_find(e->files, name);
    struct str source;
    *found = f != NULL;
    if (f && f->size > APP_SOURCE_MAX)
        return err_set(err, ERR_TOO_LARGE, STR_FMT " has more than %d bytes", STR_ARG(name), APP_SOURCE_MAX);
    if (files_are_unlisted(e->entry)) {
        /* The folder goes over the spec. */
        scoped_err missing = {0};
        if (src_disk_read(e->keep, e->entry->source_url, name, APP_SOURCE_MAX, &source, &missing))
            *found = true;
        else if (missing.code != ERR_NOT_FOUND)
            return err_move(err, &missing);
        else if (f && !src_file_read(e->keep, f, &source, err))
            return false;
    } else if (f && !src_file_read(e->keep, f, &source, err)) {
        return false;
    }
    if (!*found)
        return true;
    e->source_bytes += source.len;
    if (e->source_bytes > APP_SOURCE_TOTAL)
        return err_set(err, ERR_TOO_LARGE, "the app's .star files have more than %d bytes together",
                       APP_SOURCE_TOTAL);
    *out = source;
    return true;
}

/* Remembers which names the file wants of each plugin: load("http.in#google", "googlehttp") may call it so.
 */
static void note_loads(struct eval *e, const struct star_program *p)
{
    const struct star_load *loads;
    size_t n = star_program_loads(p, &loads);
    for (size_t i = 0; i < n; i++) {
        if (!plugin_is_module(loads[i].module))
            continue;
        struct str module = str_dup(e->keep, loads[i].module);
        if (!str_list_has(&e->loads, module))
            str_list_add(e->keep, &e->loads, module);
        if (loads[i].n_names == 1)
            *vec_push(e->keep, &e->aliases) =
                (struct plugin_alias){module, str_dup(e->keep, loads[i].names[0])};
    }
}

/* *found false: there is no such file, and no error. */
static bool compile(struct eval *e, struct str name, const struct star_program **out, bool *found,
                    struct err *err)
{
    struct str source;
    if (!eval_source(e, name, &source, found, err))
        return false;
    if (!*found)
        return true;
    *out = star_compile(e->keep, name, source, &star_options_app, &e->predeclared, err);
    if (!*out)
        return false;
    note_loads(e, *out);
    return true;
}

/* A file's globals, and one more: a struct of all of them under the file's own name. */
static struct star_module *export_module(struct eval *e, struct str file, struct star_module *m)
{
    struct arena *a = e->keep;
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
        *vec_push(a, &items) = (struct star_binding){str_z(a, name), value};
        *vec_push(a, &names) = name;
        *vec_push(a, &values) = value;
    }
    if (!has_own && !str_starts(base, STR("_")))
        *vec_push(a, &items) = (struct star_binding){
            str_z(a, base), star_struct_str(a, base, names.items, values.items, names.len)};
    return star_module_from(a, file, items.items, items.len);
}

static struct star_module *run_file(struct eval *e, struct str module, struct err *err)
{
    struct str name = path_join(e->keep, e->star_base, module);
    const struct star_program *p;
    bool found;
    if (!compile(e, name, &p, &found, err))
        return NULL;
    if (!found) {
        err_set(err, ERR_NOT_FOUND, "module " STR_FMT " not found: no such file in the app", STR_ARG(module));
        return NULL;
    }
    return eval_exec(e, p, &e->predeclared, err) ? export_module(e, name, e->last) : NULL;
}

static struct star_module *load_plugin(struct eval *e, struct str module, struct err *err)
{
    struct str name;
    star_v value;
    if (!plugin_load(e->keep, e->ctx, module, &name, &value, err))
        return NULL;
    VEC(struct star_binding) items = {0};
    *vec_push(e->keep, &items) = (struct star_binding){str_z(e->keep, name), value};
    vec_foreach(alias, &e->aliases) if (str_eq(alias->module, module) && !str_eq(alias->name, name)) *
        vec_push(e->keep, &items) = (struct star_binding){str_z(e->keep, alias->name), value};
    return star_module_from(e->keep, module, items.items, items.len);
}

static struct star_module *load_module(void *ctx, struct star_run *run, struct str module, struct err *err)
{
    struct eval *e = ctx;
    struct star_module *m = NULL;
    if (plugin_is_module(module))
        return load_plugin(e, str_dup(e->keep, module), err);
    if (!str_ends(module, STR(".star"))) {
        err_set(err, ERR_INVALID,
                "module " STR_FMT " not found: load a plugin (\"proxy.in\") or a .star file",
                STR_ARG(module));
        return NULL;
    }
    /* Clean first: a file is one module however its name is written, and cycles are seen. */
    if (!src_name_clean(e->keep, module, &module, err))
        return NULL;
    switch (star_cache_begin(e->cache, module, &m, err)) {
    case STAR_CACHE_HIT: return m;
    case STAR_CACHE_FAIL: return NULL;
    case STAR_CACHE_NEW: break;
    }
    m = run_file(e, module, err);
    star_cache_end(e->cache, module, m, err);
    return m;
}

static bool find_star_base(struct eval *e, struct err *err)
{
    struct str text = store_map_get(&e->entry->metadata.appconfig, STR("star_base"));
    struct toml_value v = {0};
    if (str_is_empty(text))
        return true;
    if (!toml_parse_value(e->keep, text, &v, err) || v.kind != TOML_STRING)
        return err_set(err, ERR_INVALID, "app config star_base must be a string in quotes");
    if (str_is_empty(str_trim_char(v.s, '/')))
        return true;
    return src_name_clean(e->keep, str_trim_char(v.s, '/'), &e->star_base, err) || err_wrap(err, "star_base");
}

bool eval_run(struct eval *e, bool is_audit, struct err *err)
{
    e->ctx->is_audit = is_audit;
    e->cache = star_cache_new(e->keep);
    e->steps_left = APP_LOAD_STEPS;
    e->app = STAR_NULL;
    if (!find_star_base(e, err) || !params_load(e, err))
        return false;
    const struct star_binding bindings[] = {
        {"ace", ace_object(e)},
        {"param", params_object(e)},
        {"config", config_builtin(e, true)},
    };
    e->predeclared = (struct star_env){arena_memdup(e->keep, bindings, sizeof bindings), ARRAY_LEN(bindings)};
    struct str name = path_join(e->keep, e->star_base, STR("app.star"));
    const struct star_program *p;
    bool found;
    if (!compile(e, name, &p, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_INVALID,
                       "app.star not found: the source has none at " STR_FMT
                       ", and no spec gives one (--spec)",
                       STR_ARG(name));
    if (!eval_exec(e, p, &e->predeclared, err))
        return false;
    e->main = e->last;
    e->app = star_module_get(e->main, STR("app"));
    if (star_is_null(e->app))
        return err_set(err, ERR_INVALID, "app not defined, check app.star, add 'app = ace.app(...)'");
    if (!str_eq(star_struct_ctor(e->app), STR("ace.app")))
        return err_set(err, ERR_INVALID, "app not of type ace.app in app.star");
    return true;
}

/* --- the audit -------------------------------------------------------------------------------------------
 */

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
        return err_set(err, ERR_INVALID, "permissions must hold ace.permission(...), not %s",
                       star_type_name(v));
    *out =
        (struct store_permission){.plugin = field_text(a, v, "plugin"), .method = field_text(a, v, "method")};
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
            .plugin = items[i].plugin,
            .method = items[i].method,
            .arguments = items[i].arguments,
            .permit = items[i].permit,
            .is_read = items[i].is_read == STORE_UNSET ? -1 : items[i].is_read == STORE_TRUE,
            .secrets = items[i].secrets.items,
            .n_secrets = items[i].secrets.len};
    return out;
}

bool context_fill(struct plugin_context *ctx, struct arena *a, const struct app_env *env,
                  const struct store_app *entry, struct err *err)
{
    enum store_app_kind kind = store_app_kind(entry->id);
    const struct store_permission_list *approved = &entry->metadata.permissions;
    *ctx = (struct plugin_context){
        .app = store_path_domain(a, entry->path, entry->domain),
        .app_id = entry->id,
        .is_write_refused = (kind == STORE_STAGE && !entry->settings.stage_write_access) ||
                            (kind == STORE_PREVIEW && !entry->settings.preview_write_access),
        .rules = env->rules,
        .loads = &entry->metadata.loads,
    };
    return plugin_matchers_new(a, to_plugin(a, approved->items, approved->len), approved->len,
                               &ctx->permissions, err) ||
           err_wrap(err, "approved permissions");
}

static bool needs_approval(struct arena *a, const struct app_env *env, const struct store_app *entry,
                           const struct app_audit *audit, const struct plugin_permission *asked)
{
    const struct store_permission_list *approved = &entry->metadata.permissions;
    return !plugin_is_approved(env->rules, &audit->loads, asked, audit->n_permissions, &entry->metadata.loads,
                               to_plugin(a, approved->items, approved->len), approved->len);
}

static bool audit_into(struct eval *e, struct arena *a, struct app_audit *out, struct err *err)
{
    struct store_permission_list permissions = {0};
    struct app_audit audit = {.name = field_text(a, e->app, "name")};
    vec_foreach(load, &e->loads) str_list_add(a, &audit.loads, str_dup(a, *load));
    star_v list = star_struct_get(e->app, STR("permissions"));
    for (size_t i = 0; i < star_len(list); i++)
        if (!read_permission(a, star_item(list, i), vec_push(a, &permissions), err))
            return false;
    audit.permissions = permissions.items;
    audit.n_permissions = permissions.len;
    struct plugin_permission *asked = to_plugin(e->keep, permissions.items, permissions.len);
    const struct plugin_matchers *ignored;
    if (!plugin_matchers_new(e->keep, asked, permissions.len, &ignored,
                             err)) /* never approve what cannot work */
        return false;
    if (!jobs_read(a, e->app, &audit.jobs, err))
        return false;
    audit.needs_approval = needs_approval(e->keep, e->env, e->entry, &audit, asked);
    *out = audit;
    return true;
}

bool app_audit(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
               struct arena *a, struct app_audit *out, struct err *err)
{
    scoped_arena keep = {0};
    scoped_arena code = {.limit = APP_CODE_MAX};
    struct src_files all;
    struct plugin_context ctx;
    struct eval e = {.a = &code, .keep = &keep, .env = env, .entry = entry, .files = &all, .ctx = &ctx};
    /* Permissions approved long ago must not stand in the way of an audit that replaces them. */
    scoped_err ignored = {0};
    context_fill(&ctx, &keep, env, entry, &ignored);
    return files_open(&keep, env, entry, files, &all, err) && eval_run(&e, true, err) &&
           routes_check(&e, err) && audit_into(&e, a, out, err);
}
