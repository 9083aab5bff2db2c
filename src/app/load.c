/* app/load.c: from an entry to a loaded app, and a request to the part of it that answers.
 *
 * Order of a request inside the app: proxy routes (longest path first, unless a more specific static or handler
 * route exists), static files, handlers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

/* Metadata is copied through its JSON form: one deep copy that cannot forget a field. */
void entry_copy(struct arena *a, const struct store_app *from, struct store_app *to)
{
    scoped_err err = {0};
    scoped_json *j = store_app_to_json(from);
    struct str text = json_text(a, j, JSON_STYLE_COMPACT);
    scoped_json *own = json_parse(text, &err);
    if (!own || !store_app_from_json(a, own, to, &err))
        BUG("copying an app entry: %s", err_msg(&err));
    to->update_time = from->update_time;
    to->create_time = from->create_time;
}

static struct str text_field(star_v s, const char *name)
{
    struct str text = {0};
    star_to_str(star_struct_get(s, str_from(name)), &text);
    return text;
}

static bool bool_field(star_v s, const char *name)
{
    star_v v = star_struct_get(s, str_from(name));
    return !star_is_null(v) && star_truth(v);
}

static bool choose_index(struct app *app, struct err *err)
{
    static const struct str names[] = {STR_INIT("index.html"), STR_INIT("index.htm")};
    app->index = text_field(app->eval.app, "index");
    for (size_t i = 0; i < ARRAY_LEN(names) && str_is_empty(app->index); i++)
        if (app->is_on_disk ? src_files_find(&app->files, names[i]) != NULL : map_has(&app->statics, names[i]))
            app->index = names[i];
    if (app->is_single_file && str_is_empty(app->index))
        return err_set(err, ERR_INVALID, "single_file needs an index file: set index=, or add an index.html");
    return true;
}

static bool load(struct app *app, const struct src_files *given, struct err *err)
{
    const struct app_env *env = app->env;
    app->path = str_eq(app->entry.path, STR("/")) ? (struct str){0} : app->entry.path;
    app->is_on_disk = files_are_on_disk(&app->entry);
    app->disk_dir = app->entry.source_url;
    app->eval.ctx = &app->ctx;
    context_fill(&app->ctx, &app->arena, env, &app->entry);
    if (!files_open(&app->arena, env, &app->entry, given, &app->files, err) ||
        !eval_run(&app->eval, &app->code, env, &app->entry, &app->files, false, err))
        return false;
    star_v a = app->eval.app, container = star_struct_get(a, STR("container"));
    if (!settings_merge(&app->arena, env->app_config, star_struct_get(a, STR("settings")), &app->entry.metadata.appconfig,
                        &app->settings, err))
        return false;
    app->name = text_field(a, "name");
    app->is_static_only = bool_field(a, "static_only");
    app->is_single_file = bool_field(a, "single_file");
    app->redirect_bare_path = bool_field(a, "redirect_bare_path");
    app->static_root_cache_control = app_config_str(app, "static_root_cache_control", (struct str){0});
    app->headers_level = (int)app_config_int(app, "security.headers_level", 2);
    if (!routes_load(app, err) || !statics_load(app, err))
        return false;
    if (app->is_static_only && !choose_index(app, err))
        return false;
    return star_is_none(container) || service_load(app, container, err);
}

bool app_load(const struct app_env *env, const struct store_app *entry, const struct src_files *files,
              struct app **out, struct err *err)
{
    struct app *app = xcalloc(1, sizeof *app);
    atomic_init(&app->refs, 1);
    pthread_mutex_init(&app->files_lock, NULL);
    app->env = env;
    app->given = files;
    arena_init(&app->code, APP_CODE_MAX);
    entry_copy(&app->arena, entry, &app->entry);
    if (!load(app, files, err)) {
        app_unref(app);
        return false;
    }
    *out = app;
    return true;
}

struct app *app_ref(struct app *app)
{
    atomic_fetch_add_explicit(&app->refs, 1, memory_order_relaxed);
    return app;
}

void app_unref(struct app *app)
{
    if (!app || atomic_fetch_sub_explicit(&app->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (app->service)
        ctr_service_unref(app->service);
    pthread_mutex_destroy(&app->files_lock);
    arena_release(&app->code);
    arena_release(&app->arena);
    free(app);
}

void app_detach_files(struct app *app)
{
    pthread_mutex_lock(&app->files_lock);
    app->given = NULL;
    pthread_mutex_unlock(&app->files_lock);
}

struct str app_id(const struct app *app)
{
    return app->entry.id;
}

const struct store_app *app_entry(const struct app *app)
{
    return &app->entry;
}

bool app_has_container(const struct app *app)
{
    return app->service != NULL;
}

static void on_line(void *arg, struct str line)
{
    const struct app_progress *progress = arg;
    if (progress && progress->line)
        progress->line(progress->arg, line);
}

bool app_start_container(struct app *app, const struct app_progress *progress, struct err *err)
{
    if (!app->service)
        return true;
    scoped_arena a = {0};
    struct ctr_service_status status;
    ctr_service_status(app->service, &a, &status);
    bool was_up = status.state == CTR_READY;
    if (!ctr_service_start(app->service, on_line, (void *)progress, progress ? progress->cancel : NULL, err))
        return false;
    app->did_start = !was_up;
    return true;
}

void app_undo_start(struct app *app)
{
    scoped_err err = {0};
    if (app->did_start && !ctr_service_stop(app->service, 0, &err))
        log_warn("stopping the container of a change that was undone", LOG_STR("app", app->entry.id), LOG_ERR(&err));
}

void app_retire(struct app *app, const struct app *successor, int drain_secs)
{
    if (app->service && (!successor || successor->service != app->service))
        ctr_service_retire(app->service, drain_secs);
}

/* --- serving ------------------------------------------------------------------------------------------------------- */

/* Set only where the app has not said otherwise (spec server.md 6). */
static void security_headers(struct http_req *req, void *arg)
{
    static const struct {
        int level;
        bool is_forced;
        struct str name, value;
    } headers[] = {
        {2, false, STR_INIT("X-Content-Type-Options"), STR_INIT("nosniff")},
        {2, false, STR_INIT("X-Frame-Options"), STR_INIT("SAMEORIGIN")},
        {2, false, STR_INIT("Referrer-Policy"), STR_INIT("strict-origin-when-cross-origin")},
        {5, true, STR_INIT("X-Frame-Options"), STR_INIT("DENY")},
        {5, false, STR_INIT("Strict-Transport-Security"), STR_INIT("max-age=31536000; includeSubDomains")},
        {5, false, STR_INIT("Cross-Origin-Opener-Policy"), STR_INIT("same-origin")},
        {5, false, STR_INIT("X-Permitted-Cross-Domain-Policies"), STR_INIT("none")},
        {10, true, STR_INIT("Strict-Transport-Security"), STR_INIT("max-age=63072000; includeSubDomains; preload")},
        {10, false, STR_INIT("Content-Security-Policy"), STR_INIT("default-src 'self'")},
        {10, false, STR_INIT("Cross-Origin-Embedder-Policy"), STR_INIT("require-corp")},
        {10, false, STR_INIT("Cross-Origin-Resource-Policy"), STR_INIT("same-origin")},
        {10, false, STR_INIT("Permissions-Policy"), STR_INIT("geolocation=(), microphone=(), camera=()")},
    };
    const struct app *app = arg;
    if (req->status == 101)
        return;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        if (headers[i].level > app->headers_level)
            continue;
        if (headers[i].is_forced)
            http_resp_set_header(req, headers[i].name, headers[i].value);
        else if (!http_resp_get_header(req, headers[i].name).ptr)
            http_resp_header_ref(req, headers[i].name, headers[i].value);
    }
}

/* The path inside the app, clean, starting with "/"; false if the request is not below the app's path. */
static bool inner_path(const struct app *app, struct http_req *req, struct str *out)
{
    struct str path = req->path, rest;
    bool is_plain = str_chr(path, '%') == STR_NPOS && str_find(path, STR("//")) == STR_NPOS &&
                    str_find(path, STR("/.")) == STR_NPOS;
    if (!is_plain && (!http_pct_decode(req->arena, path, &path) || str_chr(path, '\0') != STR_NPOS))
        return false;
    path = is_plain ? (path.len > 1 ? str_trim_right(path, '/') : path) : http_path_clean(req->arena, path);
    if (str_is_empty(app->path))
        rest = path;
    else if (!str_starts(path, app->path) || (path.len > app->path.len && path.ptr[app->path.len] != '/'))
        return false;
    else
        rest = str_from_off(path, app->path.len);
    *out = str_is_empty(rest) ? STR("/") : rest;
    return true;
}

static const struct proxy_route *find_proxy(const struct app *app, struct str path)
{
    for (size_t i = 0; i < app->n_proxies; i++) {
        const struct proxy_route *p = app->proxies[i];
        if (str_eq(p->path, STR("/")) || (str_starts(path, p->path) && (path.len == p->path.len || path.ptr[p->path.len] == '/')))
            return p;
    }
    return NULL;
}

static void not_found(struct http_req *req, const struct route_match *match)
{
    if (str_is_empty(match->allow)) {
        http_reply_error(req, 404, STR("404 page not found"));
        return;
    }
    http_resp_header(req, STR("Allow"), match->allow);
    http_reply(req, 405, (struct str){0}, (struct str){0});
}

void app_handle(struct app *app, const struct app_request *request)
{
    struct http_req *req = request->req;
    struct str path;
    if (app->headers_level >= 2)
        http_req_on_headers(req, security_headers, app);
    if (!inner_path(app, req, &path)) {
        http_reply_error(req, 404, STR("404 page not found"));
        return;
    }
    if (app->redirect_bare_path && str_eq(req->path, app->path) && app->path.len > 0) {
        struct str to = str_cat(req->arena, app->path, STR("/"));
        if (req->query.ptr)
            to = str_printf(req->arena, STR_FMT "?" STR_FMT, STR_ARG(to), STR_ARG(req->query));
        http_resp_header(req, STR("Location"), to);
        http_reply(req, 307, (struct str){0}, (struct str){0});
        return;
    }
    struct str rel = str_from_off(path, 1);
    const struct proxy_route *proxy = find_proxy(app, path);
    bool is_root_proxy = proxy && str_eq(proxy->path, STR("/"));
    if (proxy && !is_root_proxy) {
        proxy_serve(app, request, proxy);
        return;
    }
    /* A proxy at the root leaves /static to the upstream, but the app's own handlers and static_root files stay. */
    bool may_be_static = !is_root_proxy || !str_starts(rel, STR("static/"));
    if (app->is_static_only) {
        static_serve_only(app, req, rel);
        return;
    }
    struct route_match match;
    router_match(app->router, req->arena, req->method_text, path, &match);
    if (match.target)
        handler_serve(app, request, match.target, &match);
    else if (may_be_static && static_serve(app, req, rel))
        return;
    else if (is_root_proxy)
        proxy_serve(app, request, proxy);
    else
        not_found(req, &match);
}
