/* app/proxy.c: proxy routes: to a fixed upstream, or to the app's container, which is woken when it sleeps.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"

#include <stdlib.h>

enum {
    TRIES_MAX = 4, /* of a request whose container refuses connections although it is up as far as we know */
    PAUSE_MS = 30, /* before the second of them; then twice and three times as long */
};

struct passage {
    struct app *app;
    struct app_request request;
    const struct proxy_route *route;
    struct http_proxy_opts opts;
    struct http_pair set[PROXY_SET_MAX];
    struct container_upstream *upstream; /* referenced while the exchange runs */
    struct ctr_endpoint at;
    struct ctr_waiter *waiter;
    struct http_timer pause; /* before another try */
    struct http_timer patience; /* armed while `waiter` is set: then it gets an answer of ours */
    int64_t patient_until_ms;   /* http_loop_now_ms() scale; 0: has not waited yet */
    int tries;
    bool wants_page;
    bool has_entered, is_tunnel, has_abort_hook;
};

/* --- headers -----------------------------------------------------------------------------------------------
 */

static inline void set_header(struct passage *p, struct str name, struct str value)
{
    assert(p->opts.set_count < PROXY_SET_MAX);
    p->set[p->opts.set_count++] = (struct http_pair){name, value};
}

static bool is_local_name(struct str host)
{
    return str_eq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) || str_eq(host, STR("::1"));
}

/* The Host for preserve_host: the client's if it is the app's own domain, else that domain with the client's
 * port. */
static struct str preserved_host(const struct passage *p)
{
    const struct http_req *req = p->request.req;
    struct str domain =
        str_is_empty(p->app->entry.domain) ? p->app->env->default_domain : p->app->entry.domain;
    if (str_eq_nocase(req->host, domain) || (is_local_name(req->host) && is_local_name(domain)))
        return req->authority;
    return req->port ? str_printf(req->arena, STR_FMT ":%d", STR_ARG(domain), req->port) : domain;
}

static void prepare(struct passage *p)
{
    const struct app_request *r = &p->request;
    struct http_req *req = r->req;
    p->opts = p->route->opts;
    p->opts.set = p->set;
    p->opts.drop_count += r->who->is_basic; /* Authorization: our own password stays here */
    p->opts.cookie = r->cookie;
    p->opts.has_cookie = http_req_known(req, HTTP_H_COOKIE).ptr != NULL;
    if (req->wants_upgrade)
        p->opts.host = req->authority; /* what the Origin that the upstream checks was made with */
    else if (p->route->preserve_host)
        p->opts.host = preserved_host(p);
    set_header(p, STR("X-Real-IP"), r->client_ip);
    set_header(p, STR("X-Forwarded-For"), r->client_ip);
    set_header(p, STR("X-Forwarded-Host"), req->host);
    set_header(p, STR("X-Forwarded-Proto"), r->is_https ? STR("https") : STR("http"));
    if (!str_is_empty(p->app->path))
        set_header(p, STR("X-Forwarded-Prefix"), p->app->path_encoded);
    set_header(p, STR("X-Openrun-User"), r->who->user_id);
    if (!str_is_empty(r->who->subject))
        set_header(p, STR("X-Openrun-User-Id"), r->who->subject);
    if (!str_is_empty(r->who->email))
        set_header(p, STR("X-Openrun-User-Email"), r->who->email);
    if (!str_is_empty(r->job))
        set_header(p, STR("X-Openrun-Job"), r->job);
    set_header(p, STR("X-Openrun-Perms"), (struct str){0});
    set_header(p, STR("X-Openrun-Rbac-Enabled"), STR("false"));
}

/* --- the container's address ---------------------------------------------------------------------- */

static void upstream_put(struct container_upstream *u)
{
    if (!u || --u->refs > 0)
        return;
    arena_release(&u->arena);
    free(u);
}

void proxy_release(struct app *app)
{
    for (unsigned i = 0; i < app->n_upstreams; i++)
        upstream_put(app->upstreams[i]);
}

/* The container's address as this loop knows it, made anew only when it has moved or been started. */
static struct container_upstream *upstream_get(struct app *app, unsigned loop, const struct ctr_endpoint *at,
                                               struct err *err)
{
    struct container_upstream *u = app->upstreams[loop];
    if (LIKELY(u && memcmp(&u->at, at, sizeof *at) == 0)) {
        u->refs++;
        return u;
    }
    u = xcalloc(1, sizeof *u);
    u->at = *at;
    u->refs = 1;
    struct str url = str_printf(&u->arena, STR_FMT "://%u.%u.%u.%u:%u", STR_ARG(app->scheme), at->ip >> 24,
                                at->ip >> 16 & 255, at->ip >> 8 & 255, at->ip & 255, at->port);
    if (!http_upstream_parse(&u->arena, url, true, &u->to, err)) {
        upstream_put(u);
        return NULL;
    }
    http_upstream_run(&u->arena, &u->to, ctr_service_run(app->service)->name, at->generation);
    upstream_put(app->upstreams[loop]);
    app->upstreams[loop] = u;
    u->refs++;
    return u;
}

/* --- the container -------------------------------------------------------------------------------- */

static int loop_index(const struct passage *p)
{
    return (int)http_loop_index(p->request.req->loop);
}

static void leave(struct passage *p)
{
    upstream_put(p->upstream);
    p->upstream = NULL;
    if (!p->has_entered)
        return;
    p->has_entered = false;
    if (p->is_tunnel)
        ctr_service_leave_tunnel(p->app->service, loop_index(p));
    else
        ctr_service_leave(p->app->service, loop_index(p));
}

static void to_container(struct passage *p);

static void watch_client(struct passage *p);

static void on_pause_over(struct http_timer *timer)
{
    to_container(CONTAINER_OF(timer, struct passage, pause));
}

/* The container may be on its way down, or busy: a suspicion either closes the door, and then we wait with
 * the others, or it was looked at a moment ago and found well. */
static bool on_connect_failed(struct http_req *req, const char *why, void *arg)
{
    struct passage *p = arg;
    ctr_service_suspect(p->app->service, p->at.generation);
    leave(p);
    if (++p->tries >= TRIES_MAX)
        return false;
    watch_client(p);
    http_timer_start(&p->pause, req->loop, p->tries * PAUSE_MS, on_pause_over);
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

static void pass(struct passage *p)
{
    struct http_req *req = p->request.req;
    scoped_err err = {0};
    p->upstream = upstream_get(p->app, http_loop_index(req->loop), &p->at, &err);
    if (!p->upstream) {
        leave(p);
        http_reply_error(req, 502, STR("bad upstream address"));
        return;
    }
    http_proxy(req, &p->upstream->to, &p->opts);
}

static void on_awake(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why)
{
    struct passage *p = arg;
    p->waiter = NULL;
    http_timer_stop(&p->patience);
    if (at) {
        p->at = *at;
        p->has_entered = true;
        pass(p);
        return;
    }
    wait_reply_failure(p->app, &p->request, why);
}

/* The client left while nothing was on its way to the container. */
static void on_gone(struct http_req *req, void *arg)
{
    struct passage *p = arg;
    if (!p->waiter && !http_timer_is_armed(&p->pause))
        return;
    if (p->waiter)
        ctr_waiter_cancel(p->waiter);
    p->waiter = NULL;
    http_timer_stop(&p->pause);
    http_timer_stop(&p->patience);
    http_resp_abort(req);
}

static void watch_client(struct passage *p)
{
    if (!p->has_abort_hook)
        http_req_on_abort(p->request.req, on_gone, p);
    p->has_abort_hook = true;
}

static void on_patience_over(struct http_timer *timer)
{
    struct passage *p = CONTAINER_OF(timer, struct passage, patience);
    ctr_waiter_cancel(p->waiter); /* the start goes on */
    p->waiter = NULL;
    if (p->wants_page)
        wait_reply_page(p->app, &p->request);
    else
        wait_reply_late(p->app, p->request.req);
}

static void be_patient(struct passage *p)
{
    const struct http_req *req = p->request.req;
    int64_t now = http_loop_now_ms(req->loop);
    if (p->patient_until_ms == 0) {
        p->wants_page = wait_wants_page(p->app, req);
        int64_t ms = wait_patience_ms(p->app, p->wants_page);
        p->patient_until_ms = ms > 0 ? now + ms : INT64_MAX;
    }
    if (p->patient_until_ms < INT64_MAX)
        http_timer_start(&p->patience, req->loop, MAX(p->patient_until_ms - now, 1), on_patience_over);
}

static void to_container(struct passage *p)
{
    struct ctr_service *service = p->app->service;
    struct http_req *req = p->request.req;
    if (LIKELY(ctr_service_enter(service, loop_index(p), &p->at))) {
        p->has_entered = true;
        pass(p);
        return;
    }
    watch_client(p);
    be_patient(p);
    p->waiter = ctr_service_wake(service, req->loop, loop_index(p), on_awake, p);
}

static bool is_write(const struct http_req *req)
{
    return req->method != HTTP_GET && req->method != HTTP_HEAD && req->method != HTTP_OPTIONS;
}

void proxy_serve(struct app *app, const struct app_request *request, const struct proxy_route *route)
{
    struct http_req *req = request->req;
    if (UNLIKELY(request->is_write_gated) && is_write(req)) {
        bool is_preview = store_app_kind(app->entry.id) == STORE_PREVIEW;
        http_reply_error(req, 403,
                         is_preview ? STR("Preview app does not have access to proxy write APIs")
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
    p->opts.events = (struct http_proxy_events){on_connect_failed, on_bytes, on_done, p};
    if (req->wants_upgrade)
        http_req_on_headers(req, on_head, p);
    to_container(p);
}
