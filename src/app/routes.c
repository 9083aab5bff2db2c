/* app/routes.c: from the routes of ace.app(...) to the router and the proxy table.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

static star_v callable_field(star_v s, const char *name)
{
    star_v v = star_struct_get(s, str_from(name));
    return star_is_callable(v) ? v : STAR_NULL;
}

static struct route *route_new(struct app *app, enum route_kind kind, star_v handler)
{
    struct route *r = arena_new(&app->arena, struct route);
    r->kind = kind;
    r->handler = star_is_null(handler) ? star_module_get(app->eval.main, STR("handler")) : handler;
    r->takes_no_args = !star_is_null(r->handler) && str_ends(star_function_name(r->handler), STR("_no_args"));
    return r;
}

static bool add_api(struct app *app, star_v v, struct str path, star_v page_handler, struct err *err)
{
    star_v handler = callable_field(v, "handler");
    struct route *r = route_new(app, ROUTE_API, star_is_null(handler) ? page_handler : handler);
    r->is_text = str_eq(member_text(v, "type"), STR("TEXT"));
    return router_add(app->router, member_text(v, "method"), path, r, err);
}

/* A page or fragment; pages need the template engine, so these routes answer that it is not there. */
static bool add_html(struct app *app, star_v v, struct err *err)
{
    struct str path = member_text(v, "path");
    if (app->is_static_only)
        return err_set(err, ERR_INVALID, "static_only app cannot have HTML routes");
    star_v handler = callable_field(v, "handler"), fragments = star_struct_get(v, STR("fragments"));
    if (!router_add(app->router, member_text(v, "method"), path, route_new(app, ROUTE_HTML, handler), err))
        return false;
    for (size_t i = 0; i < star_len(fragments); i++) {
        star_v f = star_item(fragments, i);
        if (!str_eq(star_struct_ctor(f), STR("ace.api")) && !str_eq(star_struct_ctor(f), STR("ace.fragment")))
            return err_set(err, ERR_INVALID, "fragments must hold ace.fragment or ace.api, not %s",
                           star_type_name(f));
        star_v own = callable_field(f, "handler");
        struct str at =
            http_path_clean(&app->arena, http_path_join(&app->arena, path, member_text(f, "path")));
        bool ok = str_eq(star_struct_ctor(f), STR("ace.api"))
                      ? add_api(app, f, at, handler, err)
                      : router_add(app->router, member_text(f, "method"), at,
                                   route_new(app, ROUTE_HTML, star_is_null(own) ? handler : own), err);
        if (!ok)
            return false;
    }
    return true;
}

/* --- proxy routes -----------------------------------------------------------------------------------------
 */

static bool read_response_headers(struct app *app, star_v dict, struct http_proxy_opts *o, struct err *err)
{
    struct http_pair *pairs = arena_array(&app->arena, struct http_pair, star_len(dict));
    size_t at = 0, n = 0;
    star_v key, value;
    while (star_dict_next(dict, &at, &key, &value)) {
        struct http_pair *pair = &pairs[n++];
        if (!star_to_str(key, &pair->name) || !star_to_str(value, &pair->value) ||
            !http_is_token(pair->name) || !http_is_field_value(pair->value))
            return err_set(err, ERR_INVALID, "proxy.config: response_headers must map header names to text");
    }
    o->response_set = pairs;
    o->response_set_count = n;
    return true;
}

/* What a client must not say for itself. The last one goes only when the password in it was ours. */
static const struct str drop[] = {STR_INIT("Forwarded"), STR_INIT("X-Forwarded-"), STR_INIT("X-Real-IP"),
                                  STR_INIT("X-Openrun-"), STR_INIT("Authorization")};

static bool fill_opts(struct app *app, star_v config, struct proxy_route *p, struct err *err)
{
    struct str strip = member_text(config, "strip_path");
    struct str prefix =
        member_is_true(config, "strip_app") ? http_path_join(&app->arena, app->path, strip) : strip;
    if (!str_is_empty(prefix) && prefix.ptr[0] != '/')
        return err_set(err, ERR_INVALID,
                       "proxy.config: strip_path must start with \"/\", not \"" STR_FMT "\"",
                       STR_ARG(prefix));
    p->opts = (struct http_proxy_opts){
        .strip_prefix = str_trim_right(prefix, '/'),
        .drop = drop,
        .drop_count = ARRAY_LEN(drop) - 1,
        .rewrite_location = app_config_bool(app, "proxy.rewrite_location", true),
        .rewrite_cookie_path = app_config_bool(app, "proxy.rewrite_cookie_path", true),
        .idle_conn_ms =
            MIN(app_config_count(app, "proxy.idle_conn_timeout_secs", 15), INT32_MAX / 1000) * 1000,
        .max_idle = (unsigned)app_config_count(app, "proxy.max_idle_conns", 250),
    };
    return read_response_headers(app, star_struct_get(config, STR("response_headers")), &p->opts, err);
}

/* The route is for its path and everything below, whatever the method. */
static bool mount(struct app *app, const struct proxy_route *p, struct err *err)
{
    struct route *r = arena_new(&app->arena, struct route);
    *r = (struct route){.kind = ROUTE_PROXY, .handler = STAR_NULL, .proxy = p};
    return router_add(app->router, (struct str){0}, p->path, r, err) &&
           router_add(app->router, (struct str){0}, http_path_join(&app->arena, p->path, STR("*")), r, err);
}

static bool add_proxy(struct app *app, star_v v, struct err *err)
{
    struct arena *a = &app->arena;
    star_v response = star_struct_get(v, STR("config")), config;
    scoped_err why = {0};
    if (!plugin_response_value(response, &config, &why) ||
        !str_eq(star_struct_ctor(config), STR("ProxyConfig")))
        return err_set(err, ERR_INVALID, "error in proxy config: %s",
                       err_is_set(&why) ? err_msg(&why) : "expected the result of proxy.config(...)");
    struct proxy_route *p = arena_new(a, struct proxy_route);
    struct str path = member_text(v, "path"), url = member_text(config, "url");
    if (str_is_empty(path) || path.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "ace.proxy: path must start with \"/\", not \"" STR_FMT "\"",
                       STR_ARG(path));
    if (str_chr(path, '*') != STR_NPOS)
        return err_set(err, ERR_INVALID,
                       "ace.proxy: path takes in everything below it, it needs no \"*\": \"" STR_FMT "\"",
                       STR_ARG(path));
    p->path = http_path_clean(a, path);
    p->preserve_host = member_is_true(config, "preserve_host");
    p->is_container = str_eq(url, STR("<CONTAINER_URL>"));
    if (!p->is_container && !http_upstream_parse(a, str_dup(a, url), false, &p->upstream, err))
        return err_wrap(err, "proxy.config: url \"" STR_FMT "\"", STR_ARG(url));
    bool is_root = str_eq(p->path, STR("/"));
    if (app->is_static_only && is_root)
        return err_set(err, ERR_INVALID, "static_only app cannot have a proxy route at /");
    if (!fill_opts(app, config, p, err) || !mount(app, p, err))
        return false;
    app->has_root_proxy |= is_root;
    app->n_container_proxies += p->is_container;
    app->keeps_app_path |= p->is_container && str_is_empty(p->opts.strip_prefix);
    if (is_root && !app->redirect_bare_path)
        app->lone_proxy = p;
    return true;
}

/* --- all together --------------------------------------------------------------------------------- */

static bool must_be_function(struct app *app, const char *name, struct err *err)
{
    star_v v = star_module_get(app->eval.main, str_from(name));
    return star_is_null(v) || star_is_callable(v) ||
           err_set(err, ERR_INVALID, "%s must be a function, not %s", name, star_type_name(v));
}

bool routes_load(struct app *app, struct err *err)
{
    star_v list = star_struct_get(app->eval.app, STR("routes"));
    if (!must_be_function(app, "handler", err) || !must_be_function(app, "error_handler", err))
        return false;
    app->error_handler = star_module_get(app->eval.main, STR("error_handler"));
    app->router = router_new(&app->arena);
    for (size_t i = 0; i < star_len(list); i++) {
        star_v v = star_item(list, i);
        struct str kind = star_struct_ctor(v);
        bool ok;
        if (str_eq(kind, STR("ace.api")))
            ok = add_api(app, v, member_text(v, "path"), STAR_NULL, err);
        else if (str_eq(kind, STR("ace.html")))
            ok = add_html(app, v, err);
        else if (str_eq(kind, STR("ace.proxy")))
            ok = add_proxy(app, v, err);
        else
            ok = err_set(err, ERR_INVALID, "routes must hold ace.api, ace.html or ace.proxy, not %s",
                         star_type_name(v));
        if (!ok)
            return false;
    }
    if (!actions_load(app, err))
        return false;
    if (router_len(app->router) > 2) /* the proxy's own two */
        app->lone_proxy = NULL;
    return true;
}

bool routes_check(const struct eval *e, struct err *err)
{
    struct app trial = {.eval = *e};
    star_v list = star_struct_get(e->app, STR("routes")), static_only = star_struct_get(e->app, STR("static_only"));
    trial.is_static_only = !star_is_null(static_only) && star_truth(static_only);
    trial.router = router_new(&trial.arena);
    bool ok = true;
    for (size_t i = 0; ok && i < star_len(list); i++) {
        star_v v = star_item(list, i);
        if (str_eq(star_struct_ctor(v), STR("ace.api")))
            ok = add_api(&trial, v, member_text(v, "path"), STAR_NULL, err);
        else if (str_eq(star_struct_ctor(v), STR("ace.html")))
            ok = add_html(&trial, v, err);
    }
    arena_release(&trial.arena);
    return ok;
}
