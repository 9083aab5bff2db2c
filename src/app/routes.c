/* app/routes.c: from the routes of ace.app(...) to the router and the proxy table.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

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
    if (!star_is_null(r->handler) && !star_is_callable(r->handler))
        r->handler = STAR_NULL;
    r->takes_no_args = !star_is_null(r->handler) && str_ends(star_function_name(r->handler), STR("_no_args"));
    return r;
}

static bool add_api(struct app *app, star_v v, struct str path, star_v page_handler, struct err *err)
{
    star_v handler = callable_field(v, "handler");
    struct route *r = route_new(app, ROUTE_API, star_is_null(handler) ? page_handler : handler);
    r->is_text = str_eq(text_field(v, "type"), STR("TEXT"));
    return router_add(app->router, text_field(v, "method"), path, r, err);
}

/* A page or fragment; pages need the template engine, so these routes answer that it is not there. */
static bool add_html(struct app *app, star_v v, struct err *err)
{
    struct str path = text_field(v, "path");
    if (app->is_static_only)
        return err_set(err, ERR_INVALID, "static_only app cannot have HTML routes");
    star_v handler = callable_field(v, "handler"), fragments = star_struct_get(v, STR("fragments"));
    if (!router_add(app->router, text_field(v, "method"), path, route_new(app, ROUTE_HTML, handler), err))
        return false;
    for (size_t i = 0; i < star_len(fragments); i++) {
        star_v f = star_item(fragments, i);
        struct str at = http_path_clean(&app->arena, http_path_join(&app->arena, path, text_field(f, "path")));
        bool ok = str_eq(star_struct_ctor(f), STR("ace.api"))
                      ? add_api(app, f, at, handler, err)
                      : router_add(app->router, text_field(f, "method"), at, route_new(app, ROUTE_HTML, handler), err);
        if (!ok)
            return false;
    }
    return true;
}

/* --- proxy routes ----------------------------------------------------------------------------------------- */

static bool read_response_headers(struct app *app, star_v dict, struct proxy_route *p, struct err *err)
{
    p->response_set = arena_array(&app->arena, struct http_pair, star_len(dict));
    size_t at = 0;
    star_v key, value;
    while (star_dict_next(dict, &at, &key, &value)) {
        struct http_pair *pair = &p->response_set[p->response_set_count++];
        if (!star_to_str(key, &pair->name) || !star_to_str(value, &pair->value) || !http_is_token(pair->name) ||
            !http_is_field_value(pair->value))
            return err_set(err, ERR_INVALID, "proxy.config: response_headers must map header names to text");
    }
    return true;
}

/* preserve_host forwards the client's Host, so it must be known which hosts are ours. */
static bool add_proxy(struct app *app, star_v v, struct err *err)
{
    struct arena *a = &app->arena;
    star_v response = star_struct_get(v, STR("config")), config;
    scoped_err why = {0};
    if (!plugin_response_value(response, &config, &why) || !str_eq(star_struct_ctor(config), STR("ProxyConfig")))
        return err_set(err, ERR_INVALID, "error in proxy config: %s",
                       err_is_set(&why) ? err_msg(&why) : "expected the result of proxy.config(...)");
    struct proxy_route *p = arena_new(a, struct proxy_route);
    struct str path = text_field(v, "path"), url = text_field(config, "url"), strip = text_field(config, "strip_path");
    if (str_is_empty(path) || path.ptr[0] != '/')
        return err_set(err, ERR_INVALID, "ace.proxy: path must start with \"/\", not \"" STR_FMT "\"", STR_ARG(path));
    p->path = path.len > 1 ? str_trim_right(path, '/') : path;
    p->preserve_host = bool_field(config, "preserve_host");
    p->strip_prefix = bool_field(config, "strip_app") ? http_path_join(a, app->path, strip) : strip;
    if (str_eq(p->strip_prefix, STR("/")))
        p->strip_prefix = (struct str){0};
    p->is_container = str_eq(url, STR("<CONTAINER_URL>"));
    if (!p->is_container && !http_upstream_parse(a, str_dup(a, url), false, &p->upstream, err))
        return err_wrap(err, "proxy.config: url \"" STR_FMT "\"", STR_ARG(url));
    if (!read_response_headers(app, star_struct_get(config, STR("response_headers")), p, err))
        return false;
    if (app->is_static_only && str_eq(p->path, STR("/")))
        return err_set(err, ERR_INVALID, "static_only app cannot have a proxy route at /");
    app->proxies[app->n_proxies++] = p;
    return true;
}

static int longest_first(const void *x, const void *y)
{
    const struct proxy_route *const *a = x, *const *b = y;
    return ((*b)->path.len > (*a)->path.len) - ((*b)->path.len < (*a)->path.len);
}

bool routes_load(struct app *app, struct err *err)
{
    star_v list = star_struct_get(app->eval.app, STR("routes")), actions = star_struct_get(app->eval.app, STR("actions"));
    app->router = router_new(&app->arena);
    app->proxies = arena_array(&app->arena, struct proxy_route *, star_len(list));
    for (size_t i = 0; i < star_len(list); i++) {
        star_v v = star_item(list, i);
        struct str kind = star_struct_ctor(v);
        bool ok;
        if (str_eq(kind, STR("ace.api")))
            ok = add_api(app, v, text_field(v, "path"), STAR_NULL, err);
        else if (str_eq(kind, STR("ace.html")))
            ok = add_html(app, v, err);
        else if (str_eq(kind, STR("ace.proxy")))
            ok = add_proxy(app, v, err);
        else
            ok = err_set(err, ERR_INVALID, "routes must hold ace.api, ace.html or ace.proxy, not %s", star_type_name(v));
        if (!ok)
            return false;
    }
    for (size_t i = 0; i < star_len(actions); i++) {
        struct str path = text_field(star_item(actions, i), "path");
        if (!str_starts(path, STR("/")))
            path = str_cat(&app->arena, STR("/"), path);
        struct route *r = route_new(app, ROUTE_ACTION, STAR_NULL);
        if (!router_add(app->router, STR("GET"), path, r, err) || !router_add(app->router, STR("POST"), path, r, err))
            return err_wrap(err, "error adding action at path " STR_FMT, STR_ARG(path));
    }
    qsort(app->proxies, app->n_proxies, sizeof(struct proxy_route *), longest_first);
    star_v error_handler = star_module_get(app->eval.main, STR("error_handler"));
    app->error_handler = error_handler;
    if (!star_is_null(error_handler) && !star_is_callable(error_handler))
        return err_set(err, ERR_INVALID, "error_handler must be a function, not %s", star_type_name(error_handler));
    return true;
}
