/* app/serve.c: from a request to the part of the app that answers it.
 *
 * Order inside an app: files under their full names, then the router (handlers and proxy routes, the more
 * specific first), then what a static-only or a disk-served app finds by name. An app that is nothing but a
 * proxy at "/" skips all that.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

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
        {10, true, STR_INIT("Strict-Transport-Security"),
         STR_INIT("max-age=63072000; includeSubDomains; preload")},
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

/* True if `path` has a '/' that is written as %2F. */
static bool has_encoded_slash(struct str path)
{
    for (size_t i = 0; i + 2 < path.len; i++)
        if (path.ptr[i] == '%' && path.ptr[i + 1] == '2' && (path.ptr[i + 2] | 0x20) == 'f')
            return true;
    return false;
}

/* The path inside the app, clean, starting with "/"; false if the request is not below the app's path. It is
 * decoded, unless it has an encoded slash: then it stays as it was sent, so that the slash cannot be taken
 * for structure. */
static bool inner_path(const struct app *app, struct http_req *req, struct str *out)
{
    struct str path = req->path, rest;
    if (str_is_empty(path) || path.ptr[0] != '/')
        return false; /* OPTIONS * */
    bool is_plain = str_chr(path, '%') == STR_NPOS && str_find(path, STR("//")) == STR_NPOS &&
                    str_find(path, STR("/.")) == STR_NPOS;
    if (LIKELY(is_plain)) {
        path = path.len > 1 ? str_trim_right(path, '/') : path;
    } else {
        struct str decoded;
        if (!http_pct_decode(req->arena, path, &decoded) || str_chr(decoded, '\0') != STR_NPOS)
            return false;
        if (has_encoded_slash(path)) {
            if (!http_encoded_path_under(http_path_clean(req->arena, path), app->path, &rest))
                return false;
            *out = str_is_empty(rest) ? STR("/") : rest;
            return true;
        }
        path = http_path_clean(req->arena, decoded);
    }
    if (!http_path_under(path, app->path, &rest))
        return false;
    *out = str_is_empty(rest) ? STR("/") : rest;
    return true;
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

static void redirect_bare(const struct app *app, struct http_req *req)
{
    struct str to = str_cat(req->arena, app->path_encoded, STR("/"));
    if (req->query.ptr)
        to = str_printf(req->arena, STR_FMT "?" STR_FMT, STR_ARG(to), STR_ARG(req->query));
    http_resp_header(req, STR("Location"), to);
    http_reply(req, 307, (struct str){0}, (struct str){0});
}

/* A file of static/ or static_root/ that has this very name is the most specific route there is. */
static bool serve_named_file(struct app *app, struct http_req *req, struct str rel)
{
    if (app->is_static_only || !app->has_static_files)
        return false;
    bool is_static = str_starts(rel, STR("static/"));
    if (is_static ? app->has_root_proxy : req->method != HTTP_GET && req->method != HTTP_HEAD)
        return false;
    return static_serve(app, req, rel);
}

void app_handle(struct app *app, const struct app_request *request)
{
    struct http_req *req = request->req;
    struct str path;
    if (app->headers_level >= 2)
        http_req_on_headers(req, security_headers, app);
    if (UNLIKELY(wait_serve(app, request)))
        return;
    if (LIKELY(app->lone_proxy != NULL)) {
        proxy_serve(app, request, app->lone_proxy);
        return;
    }
    if (!inner_path(app, req, &path)) {
        http_reply_error(req, 404, STR("404 page not found"));
        return;
    }
    if (app->redirect_bare_path && app->path.len > 0 && str_eq(path, STR("/")) &&
        !str_ends(req->path, STR("/"))) {
        redirect_bare(app, req);
        return;
    }
    struct str rel = str_from_off(path, 1);
    if (serve_named_file(app, req, rel))
        return;
    struct route_match match = {.n_params = 0};
    if (router_len(app->router) > 0) {
        router_match(app->router, req->arena, req->method_text, path, &match);
        const struct route *route = match.target;
        if (route && route->kind == ROUTE_PROXY)
            proxy_serve(app, request, route->proxy);
        else if (route && route->kind == ROUTE_ACTION)
            action_serve(app, request, route);
        else if (route)
            handler_serve(app, request, route, &match);
        if (route)
            return;
    }
    if (app->is_static_only)
        static_serve_only(app, req, rel);
    else
        not_found(req, &match);
}
