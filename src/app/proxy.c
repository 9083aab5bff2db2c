/* app/proxy.c: proxy routes: to a fixed upstream, or to the app's container, which is woken when it sleeps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

enum {
    TRIES_MAX = 3,           /* of a request whose container went away between two of them */
    SET_MAX = 12,
};

struct passage {
    struct app *app;
    struct app_request request;
    const struct proxy_route *route;
    struct http_upstream upstream;
    struct http_proxy_opts opts;
    struct http_pair set[SET_MAX];
    struct ctr_endpoint at;
    struct ctr_waiter *waiter;
    int tries;
    bool has_entered, is_tunnel;
};

/* --- headers ----------------------------------------------------------------------------------------------- */

static void set_header(struct passage *p, struct str name, struct str value)
{
    assert(p->opts.set_count < SET_MAX);
    p->set[p->opts.set_count++] = (struct http_pair){name, value};
}

static bool is_local_name(struct str host)
{
    return str_eq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) || str_eq(host, STR("::1"));
}

/* The Host for preserve_host: the client's if it is the app's own domain, else that domain with the client's port. */
static struct str preserved_host(const struct passage *p)
{
    const struct http_req *req = p->request.req;
    struct str domain = str_is_empty(p->app->entry.domain) ? p->app->env->default_domain : p->app->entry.domain;
    if (str_eq_nocase(req->host, domain) || (is_local_name(req->host) && is_local_name(domain)))
        return req->authority;
    return req->port ? str_printf(req->arena, STR_FMT ":%d", STR_ARG(domain), req->port) : domain;
}

static void prepare(struct passage *p)
{
    const struct app_request *r = &p->request;
    struct http_req *req = r->req;
    static const struct str drop[] = {STR_INIT("Forwarded"), STR_INIT("X-Forwarded-"), STR_INIT("X-Real-IP"),
                                      STR_INIT("X-Openrun-"), STR_INIT("Authorization")};
    p->opts = (struct http_proxy_opts){
        .strip_prefix = p->route->strip_prefix,
        .drop = drop,
        .drop_count = ARRAY_LEN(drop) - (r->who->is_basic ? 0 : 1), /* the last: our own password stays here */
        .set = p->set,
        .cookie = r->cookie,
        .has_cookie = http_req_known(req, HTTP_H_COOKIE).ptr != NULL,
        .response_set = p->route->response_set,
        .response_set_count = p->route->response_set_count,
        .rewrite_location = app_config_bool(p->app, "proxy.rewrite_location", true),
        .idle_conn_ms = (int)app_config_int(p->app, "proxy.idle_conn_timeout_secs", 15) * 1000,
        .max_idle = (unsigned)app_config_int(p->app, "proxy.max_idle_conns", 250),
    };
    if (p->route->preserve_host || req->wants_upgrade)
        p->opts.host = preserved_host(p);
    set_header(p, STR("X-Real-IP"), r->client_ip);
    set_header(p, STR("X-Forwarded-For"), r->client_ip);
    set_header(p, STR("X-Forwarded-Host"), req->host);
    set_header(p, STR("X-Forwarded-Proto"), r->is_https ? STR("https") : STR("http"));
    if (!str_is_empty(p->app->path))
        set_header(p, STR("X-Forwarded-Prefix"), p->app->path);
    set_header(p, STR("X-Openrun-User"), r->who->user_id);
    if (!str_is_empty(r->who->subject))
        set_header(p, STR("X-Openrun-User-Id"), r->who->subject);
    if (!str_is_empty(r->who->email))
        set_header(p, STR("X-Openrun-User-Email"), r->who->email);
    set_header(p, STR("X-Openrun-Perms"), STR(""));
    set_header(p, STR("X-Openrun-Rbac-Enabled"), STR("false"));
}

/* --- the container ------------------------------------------------------------------------------------------ */

static int loop_index(const struct passage *p)
{
    return (int)http_loop_index(p->request.req->loop);
}

static void leave(struct passage *p)
{
    if (!p->has_entered)
        return;
    p->has_entered = false;
    if (p->is_tunnel)
        ctr_service_leave_tunnel(p->app->service, loop_index(p));
    else
        ctr_service_leave(p->app->service, loop_index(p));
}

static void to_container(struct passage *p);

static bool on_connect_failed(struct http_req *req, const char *why, void *arg)
{
    struct passage *p = arg;
    ctr_service_suspect(p->app->service, p->at.generation);
    leave(p);
    if (++p->tries >= TRIES_MAX)
        return false;
    to_container(p);
    return true;
}

static void on_bytes(struct http_req *req, uint64_t in, uint64_t out, void *arg)
{
    struct passage *p = arg;
    ctr_service_moved(p->app->service, loop_index(p), in + out);
}

static void on_done(struct http_req *req, const struct http_proxy_result *result, void *arg)
{
    leave(arg);
}

/* From the switch of protocols on, only bytes count as activity. */
static void on_head(struct http_req *req, void *arg)
{
    struct passage *p = arg;
    if (req->status != 101 || !p->has_entered || p->is_tunnel)
        return;
    p->is_tunnel = true;
    ctr_service_tunnel(p->app->service, loop_index(p));
}

static bool make_upstream(struct passage *p, struct err *err)
{
    struct arena *a = p->request.req->arena;
    struct str url = str_printf(a, STR_FMT "://%u.%u.%u.%u:%u", STR_ARG(p->app->scheme), p->at.ip >> 24, p->at.ip >> 16 & 255,
                                p->at.ip >> 8 & 255, p->at.ip & 255, p->at.port);
    return http_upstream_parse(a, url, true, &p->upstream, err);
}

static void pass(struct passage *p)
{
    struct http_req *req = p->request.req;
    scoped_err err = {0};
    if (!make_upstream(p, &err)) {
        leave(p);
        http_reply_error(req, 502, STR("bad upstream address"));
        return;
    }
    p->opts.events = (struct http_proxy_events){on_connect_failed, on_bytes, on_done, p};
    http_proxy(req, &p->upstream, &p->opts);
}

static void on_awake(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why)
{
    struct passage *p = arg;
    struct http_req *req = p->request.req;
    p->waiter = NULL;
    if (at) {
        p->at = *at;
        p->has_entered = true;
        pass(p);
        return;
    }
    if (why->retry_after_ms > 0)
        http_resp_header(req, STR("Retry-After"), str_printf(req->arena, "%d", (why->retry_after_ms + 999) / 1000));
    /* Logs are for those who may see them: the admin, and in dev whoever uses the app. */
    bool may_see = p->app->entry.is_dev || str_eq(p->request.who->user_id, STR("admin"));
    http_reply_error(req, why->code == ERR_UNAVAILABLE ? 503 : 500, str_from(may_see ? why->detail : why->summary));
}

static void on_gone(struct http_req *req, void *arg)
{
    struct passage *p = arg;
    if (!p->waiter)
        return;
    ctr_waiter_cancel(p->waiter);
    p->waiter = NULL;
    http_resp_abort(req);
}

static void to_container(struct passage *p)
{
    struct ctr_service *service = p->app->service;
    if (LIKELY(ctr_service_enter(service, loop_index(p), &p->at))) {
        p->has_entered = true;
        pass(p);
        return;
    }
    p->waiter = ctr_service_wake(service, p->request.req->loop, loop_index(p), on_awake, p);
}

void proxy_serve(struct app *app, const struct app_request *request, const struct proxy_route *route)
{
    struct http_req *req = request->req;
    if (request->is_write_gated && req->method != HTTP_GET && req->method != HTTP_HEAD && req->method != HTTP_OPTIONS) {
        bool is_preview = store_app_kind(app->entry.id) == STORE_PREVIEW;
        http_reply_error(req, 403, is_preview ? STR("Preview app does not have access to proxy write APIs")
                                              : STR("Stage app does not have access to proxy write APIs"));
        return;
    }
    struct passage *p = arena_new(req->arena, struct passage);
    p->app = app;
    p->request = *request;
    p->route = route;
    prepare(p);
    if (!route->is_container) {
        http_proxy(req, &route->upstream, &p->opts);
        return;
    }
    http_req_on_abort(req, on_gone, p);
    if (req->wants_upgrade)
        http_req_on_headers(req, on_head, p);
    to_container(p);
}
