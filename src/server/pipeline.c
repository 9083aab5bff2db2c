/* server/pipeline.c: a request from its head to its app.
 *
 *     host, redirect -> reserved paths -> site -> sign-in -> cross-origin rule -> app (loaded on first use)
 *
 * Runs on the request's loop; nothing here takes a lock, waits or queries. What must be known when the
 * request ends (access log, audit) is kept in `struct visit`, which is req->data.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include "webhook.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

/* One request on its way. In the request's arena. */
struct visit {
    struct server *server;
    struct http_req *req;
    uint64_t number;              /* of the request id */
    const struct site_app *place; /* the app that matched; NULL before, and for our own routes */
    struct site_hold *hold;       /* keeps `place` while the request lives */
    struct app *app;              /* entered; NULL before */
    const struct auth_identity *who;
    struct str client_ip;
    bool is_https; /* as the client sees it */
    bool is_api;   /* a call of the management API */
    struct str job; /* the scheduled job that makes it; empty: none */
};

/* Numbers are dealt out to the loops in turn, so no two loops share a counter. */
uint64_t request_number(struct loop_state *state)
{
    const struct http_loop *loop = state->loop;
    return state->request_count++ * http_loops_len(state->server->loops) + http_loop_index(loop);
}

/* --- trusted proxies --- */

/* An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291 §2.5.5.2). */
static bool parse_ip(struct str text, unsigned char out[16])
{
    char z[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof z)
        return false;
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    if (inet_pton(AF_INET6, z, out) == 1)
        return true;
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    return inet_pton(AF_INET, z, out + 12) == 1;
}

bool pipeline_trust(struct server *s, const struct str_list *ranges, struct err *err)
{
    s->trusted = arena_array(&s->arena, struct ip_range, ranges->len);
    for (size_t i = 0; i < ranges->len; i++) {
        struct ip_range *r = &s->trusted[i];
        struct str addr, bits;
        bool has_bits = str_cut(ranges->items[i], '/', &addr, &bits);
        bool is_v4 = str_chr(addr, ':') == STR_NPOS;
        int64_t n = is_v4 ? 32 : 128;
        if (!parse_ip(addr, r->addr) ||
            (has_bits && (!str_to_i64(bits, &n) || n < 0 || n > (is_v4 ? 32 : 128))))
            return err_set(err, ERR_INVALID,
                           "security.trusted_proxies: \"" STR_FMT
                           "\" is neither an IP address nor a range like "
                           "10.0.0.0/8",
                           STR_ARG(ranges->items[i]));
        r->bits = (int)n + (is_v4 ? 96 : 0);
    }
    s->trusted_len = ranges->len;
    return true;
}

static bool is_trusted(const struct server *s, struct str ip)
{
    unsigned char addr[16];
    if (!parse_ip(ip, addr))
        return false;
    for (size_t i = 0; i < s->trusted_len; i++) {
        const struct ip_range *r = &s->trusted[i];
        int whole = r->bits / 8, rest = r->bits % 8;
        unsigned char mask = (unsigned char)(0xff00 >> rest);
        if (memcmp(addr, r->addr, (size_t)whole) == 0 &&
            (rest == 0 || (addr[whole] & mask) == (r->addr[whole] & mask)))
            return true;
    }
    return false;
}

/* The rightmost address of all X-Forwarded-For lines that is not one of our proxies; if all are, the
 * leftmost. */
static struct str forwarded_for(const struct server *s, const struct http_req *req)
{
    struct str leftmost = {0};
    unsigned char ignored[16];
    for (size_t i = req->header_count; i-- > 0;) {
        if (req->headers[i].id != HTTP_H_X_FORWARDED_FOR)
            continue;
        struct str rest = req->headers[i].value;
        while (rest.len > 0) {
            size_t comma = str_rchr(rest, ',');
            struct str ip = str_trim(comma == STR_NPOS ? rest : str_from_off(rest, comma + 1));
            rest = comma == STR_NPOS ? (struct str){0} : str_slice(rest, 0, comma);
            if (!parse_ip(ip, ignored))
                continue;
            if (!is_trusted(s, ip))
                return ip;
            leftmost = ip;
        }
    }
    return leftmost;
}

static void find_client(struct visit *v)
{
    struct http_req *req = v->req;
    v->client_ip = http_req_peer(req);
    v->is_https = req->is_tls;
    if (v->server->trusted_len == 0 || !is_trusted(v->server, v->client_ip))
        return;
    struct str ip = forwarded_for(v->server, req), real = http_req_known(req, HTTP_H_X_REAL_IP), proto;
    unsigned char ignored[16];
    if (!str_is_empty(ip))
        v->client_ip = ip;
    else if (parse_ip(real, ignored))
        v->client_ip = real;
    str_cut(http_req_known(req, HTTP_H_X_FORWARDED_PROTO), ',', &proto, NULL);
    if (!req->is_tls && str_eq_nocase(str_trim(proto), STR("https")))
        v->is_https = true;
}

struct str pipeline_client_ip(struct http_req *req)
{
    return ((const struct visit *)req->data)->client_ip;
}

/* --- the end of a request --- */

static bool is_safe(const struct http_req *req)
{
    return req->method == HTTP_GET || req->method == HTTP_HEAD || req->method == HTTP_OPTIONS;
}

void request_audit(struct server *s, struct http_req *req, uint64_t number, struct str app_id,
                   struct str user_id, bool redact)
{
    struct str path = redact ? STR("<REDACTED>") : req->path;
    store_audit_add(
        s->store,
        &(struct store_audit_event){
            .rid = str_printf(req->arena, STR_FMT "%" PRIu64, STR_ARG(s->rid_prefix), number),
            .app_id = app_id,
            .user_id = user_id,
            .event_type = STR("http"),
            .operation = req->method_text,
            .target = str_printf(req->arena, STR_FMT ":" STR_FMT, STR_ARG(req->authority), STR_ARG(path)),
            .status = str_printf(req->arena, "%d", req->status),
            .detail = str_printf(req->arena, STR_FMT " " STR_FMT " " STR_FMT " %d %" PRId64,
                                 STR_ARG(req->method_text), STR_ARG(req->authority), STR_ARG(path),
                                 req->status, (clock_ns() - req->start_ns) / 1000000),
        });
}

/* Unsafe requests to apps and to the management API are audited. */
static void audit(const struct visit *v, struct str app_id, struct str user_id)
{
    struct http_req *req = v->req;
    if (is_safe(req) || (!v->place && !v->is_api))
        return;
    const struct app *app = v->app;
    if (app && app_config_bool(app, "audit.skip_http_events", false))
        return;
    request_audit(v->server, req, v->number, app_id, user_id,
                  app && app_config_bool(app, "audit.redact_url", false));
}

static void on_end(struct http_req *req, void *arg)
{
    struct visit *v = arg;
    struct str user_id = v->who ? v->who->user_id : (struct str){0};
    struct str app_id = v->place ? app_slot_entry(v->place->slot)->id : (struct str){0};
    access_log_add(loop_state(req->loop)->access, req,
                   &(struct access_facts){
                       .rid_prefix = v->server->rid_prefix,
                       .number = v->number,
                       .user = user_id,
                       .app_id = app_id,
                       .client_ip = v->client_ip,
                   });
    audit(v, app_id, user_id);
    if (v->app)
        app_leave(v->app, req->loop);
    if (v->hold)
        site_hold_put(v->hold);
}

/* --- from site to app --- */

/* The Cookie field without our own cookies. Clients send one line; what an intermediary split is joined
 * again (RFC 9113 §8.2.3), so that no second line gets past. */
static struct str cookies(struct http_req *req)
{
    struct str all = {0};
    for (size_t i = 0; i < req->header_count; i++) {
        if (req->headers[i].id != HTTP_H_COOKIE)
            continue;
        struct str line = req->headers[i].value;
        all = all.ptr ? str_printf(req->arena, STR_FMT "; " STR_FMT, STR_ARG(all), STR_ARG(line)) : line;
    }
    return all.ptr ? auth_strip_cookies(req, all) : all;
}

static void serve(struct visit *v, struct app *app)
{
    struct http_req *req = v->req;
    if (!is_safe(req)) {
        if (!app_config_bool(app, "security.disable_csrf_protection", false) && !auth_cross_origin_ok(req))
            return;
    }
    struct app_request request = {
        .req = req,
        .who = v->who,
        .cookie = cookies(req),
        .client_ip = v->client_ip,
        .is_https = v->is_https,
        .is_write_gated = v->place->is_write_gated,
        .job = v->job,
    };
    app_handle(app, &request);
}

static void on_loaded(struct http_loop *loop, struct app *app, const struct err *err, void *arg);

/* Serves with the app once it is there. */
static void reach(struct visit *v)
{
    struct app *app = app_slot_peek(v->place->slot);
    if (UNLIKELY(!app)) {
        app_slot_load(v->place->slot, v->req->loop, on_loaded, v);
        return;
    }
    app_enter(app, v->req->loop);
    v->app = app;
    serve(v, app);
}

static void on_loaded(struct http_loop *loop, struct app *app, const struct err *err, void *arg)
{
    struct visit *v = arg;
    if (app)
        reach(v);
    else
        http_reply_error(v->req, err->code == ERR_UNAVAILABLE ? 503 : 500, str_from(err_msg(err)));
}

static void on_identity(struct http_req *req, const struct auth_identity *who, void *arg)
{
    struct visit *v = arg;
    v->who = who;
    reach(v);
}

/* The path as apps are matched by: decoded, cleaned. Most paths are that already. False: malformed. */
static bool canonical_path(struct http_req *req, struct str *out)
{
    struct str path = req->path;
    bool is_plain = path.len > 0 && path.ptr[0] == '/' && str_chr(path, '%') == STR_NPOS &&
                    str_find(path, STR("//")) == STR_NPOS && str_find(path, STR("/.")) == STR_NPOS;
    if (LIKELY(is_plain)) {
        *out = path.len > 1 ? str_trim_right(path, '/') : path;
        return true;
    }
    if (!http_pct_decode(req->arena, path, out))
        return false;
    *out = http_path_clean(req->arena, *out);
    return true;
}

/* The app that `path` belongs to, kept while the request lives. Answers, and false, if there is none. */
static bool find_place(struct visit *v, struct loop_state *state, struct str path)
{
    v->place = site_match(state->hold->site, v->req->host, path);
    if (!v->place) {
        http_reply_error(v->req, 404, STR("no matching app found"));
        return false;
    }
    v->hold = site_hold_get(state);
    return true;
}

static void dispatch(struct visit *v, struct loop_state *state, struct str path)
{
    struct http_req *req = v->req;
    if (str_eq(req->host, v->server->auth_domain)) {
        http_reply_error(req, 404, STR("not found"));
        return;
    }
    if (find_place(v, state, path))
        auth_check(v->server->auth, req, &v->place->rule, v->is_https, on_identity, v);
}

/* --- our own routes --- */

static void on_admin(struct http_req *req, const struct auth_identity *who, void *arg)
{
    struct visit *v = arg;
    v->who = who;
    v->is_api = true;
    if (is_safe(req) || auth_cross_origin_ok(req))
        api_serve(v->server, req, who->user_id, v->number);
}

/* Paths that start with /_openrun on every domain; but those of an app at the root, which are the app's. */
static bool reserved(struct visit *v, struct str path)
{
    struct http_req *req = v->req;
    if (LIKELY(!str_starts(path, STR("/_openrun"))) || str_eq(path, STR("/_openrun_app")) ||
        str_starts(path, STR("/_openrun_app/")))
        return false;
    struct str rest = str_from_off(path, strlen("/_openrun"));
    bool is_ours = str_is_empty(rest) || rest.ptr[0] == '/';
    if (str_eq(rest, STR("/health")))
        http_reply(req, 200, STR("text/plain; charset=utf-8"), STR("OK"));
    else if (str_starts(rest, STR("_webhook/"))) /* has events of its own: strangers must not fill the trail */
        webhook_serve(v->server->webhooks, req, str_from_off(rest, strlen("_webhook/")), v->number, v->client_ip);
    else if (is_ours && auth_route(v->server->auth, req, v->is_https))
        ;
    else if (is_ours && v->server->admin_over_tcp)
        auth_check_admin(v->server->auth, req, on_admin, v);
    else
        http_reply_error(req, 404, STR("404 page not found"));
    return true;
}

/* 308 to the https address, never to a host that is not ours. */
static void redirect_to_https(struct visit *v, const struct site *site)
{
    struct http_req *req = v->req;
    struct str host = site_has_domain(site, req->host) ? req->host : v->server->env.default_domain;
    bool is_v6 = str_chr(host, ':') != STR_NPOS;
    char port[16] = "";
    if (req->port != 0)
        snprintf(port, sizeof port, ":%d", v->server->https_port);
    struct str to = str_printf(req->arena, "https://%s" STR_FMT "%s%s" STR_FMT, is_v6 ? "[" : "",
                               STR_ARG(host), is_v6 ? "]" : "", port, STR_ARG(req->target));
    http_resp_header(req, STR("Location"), to);
    http_reply(req, 308, (struct str){0}, (struct str){0});
}

void pipeline_request(struct http_req *req, void *arg)
{
    struct server *s = arg;
    struct loop_state *state = loop_state(req->loop);
    struct visit *v = arena_new(req->arena, struct visit);
    v->server = s;
    v->req = req;
    v->number = request_number(state);
    req->data = v;
    find_client(v);
    http_req_on_end(req, on_end, v);
    if (UNLIKELY(!state->hold)) {
        http_resp_header(req, STR("Retry-After"), STR("1"));
        http_reply_error(req, 503, STR("the server is starting"));
        return;
    }
    if (str_is_empty(req->host)) {
        http_reply_error(req, 400, STR("invalid Host header"));
        return;
    }
    if (s->redirect_to_https && s->https_port > 0 && !v->is_https && req->path.ptr[0] == '/') {
        redirect_to_https(v, state->hold->site);
        return;
    }
    struct str path;
    if (!canonical_path(req, &path))
        http_reply_error(req, 400, STR("malformed percent-encoding in the request path"));
    else if (!reserved(v, path))
        dispatch(v, state, path);
}

void pipeline_job_request(struct http_req *req, void *arg)
{
    struct server *s = arg;
    struct loop_state *state = loop_state(req->loop);
    struct visit *v = arena_new(req->arena, struct visit);
    struct auth_identity *who = arena_new(req->arena, struct auth_identity);
    struct str path;
    *v = (struct visit){.server = s,
                        .req = req,
                        .number = request_number(state),
                        .client_ip = STR("127.0.0.1"),
                        .is_https = s->https_port > 0,
                        .job = http_req_header(req, STR(PIPELINE_JOB_HEADER))};
    who->user_id = STR("scheduler");
    req->data = v;
    http_req_on_end(req, on_end, v);
    if (str_is_empty(v->job) || !canonical_path(req, &path)) {
        http_reply_error(req, 400, STR("not the request of a job"));
        return;
    }
    if (!find_place(v, state, path))
        return;
    if (str_eq(app_slot_entry(v->place->slot)->id, http_req_header(req, STR(PIPELINE_JOB_APP))))
        on_identity(req, who, v);
    else
        http_reply_error(req, 403, STR("the path of the job is another app's"));
}
