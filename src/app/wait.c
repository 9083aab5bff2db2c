/* app/wait.c: what those see who wait for a container: the waiting page, its status, and why a start failed.
 *
 *     navigation --1 s--> page (503, no script needed: it reloads itself) --status, every half second--> reload
 *     other requests --container.wait_timeout_secs--> 503 with Retry-After
 *
 * The page loads nothing from anywhere; its style and script are allowed by their hashes. The build log is for the
 * admin, for who made the app, for all users of a dev app, and with container.wait_page_log for all users of the
 * app: it may tell more about the app than the app does.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_int.h"
#include "wait_gen.h"

enum {
    PAGE_MAX = 1 << 20,
    LOG_SHOWN = 32 << 10, /* of the log in the page itself; the script gets the rest */
    PAGE_AFTER_MS = 1000,
    STATUS_HOLD_MS = 500, /* a status without news */
    REFRESH_SECS = 2,
};

#define STATUS_PATH "/_openrun_app/wait"

/* --- who gets what ---------------------------------------------------------------------------------- */

bool wait_may_see_log(const struct app *app, const struct auth_identity *who)
{
    struct str owner = app->entry.user_id;
    bool is_owner = !str_is_empty(owner) && !str_eq(owner, STR("anonymous")) && str_eq(owner, who->user_id);
    return app->entry.is_dev || is_owner || str_eq(who->user_id, STR("admin")) ||
           app_config_bool(app, "container.wait_page_log", false);
}

static bool accepts_html(const struct http_req *req)
{
    return str_find(http_req_known(req, HTTP_H_ACCEPT), STR("text/html")) != STR_NPOS;
}

bool wait_wants_page(const struct app *app, const struct http_req *req)
{
    struct str mode = http_req_header(req, STR("Sec-Fetch-Mode"));
    return req->method == HTTP_GET && !req->wants_upgrade && accepts_html(req) &&
           (!mode.ptr || str_eq(mode, STR("navigate"))) &&
           !str_eq(app_config_str(app, "container.wait_page", STR("auto")), STR("off"));
}

int64_t wait_patience_ms(const struct app *app, bool is_page)
{
    return is_page ? PAGE_AFTER_MS : app_config_count(app, "container.wait_timeout_secs", 120) * (int64_t)1000;
}

/* --- templates -------------------------------------------------------------------------------------- */

static struct str embedded(const char *name)
{
    return embed_data(wait_gen, wait_gen_len, str_from(name));
}

static struct str fill(struct arena *a, const char *name, const struct html_value *values, size_t n)
{
    scoped_buf b = BUF_INIT(PAGE_MAX);
    html_fill(&b, embedded(name), values, n);
    return str_dup(a, buf_str(&b));
}

static struct str source_hash(struct arena *a, struct str text)
{
    unsigned char sum[SHA256_LEN];
    sha256(text, sum);
    return str_printf(a, "'sha256-" STR_FMT "'", STR_ARG(base64_encode(a, str_of((char *)sum, sizeof sum))));
}

/* --- the pages --------------------------------------------------------------------------------------- */

static struct str title_of(const struct app *app)
{
    return str_is_empty(app->name) ? STR("The app") : app->name;
}

/* The newest whole lines. */
static struct str log_tail(struct str log)
{
    if (log.len <= LOG_SHOWN)
        return log;
    log = str_from_off(log, log.len - LOG_SHOWN);
    size_t end = str_chr(log, '\n');
    return end == STR_NPOS ? log : str_from_off(log, end + 1);
}

struct page {
    const char *state; /* class of the whole */
    int status;        /* HTTP */
    struct str heading, content;
    uint64_t at;
    int64_t elapsed_ms;
    bool refreshes;
};

static void send_page(const struct app *app, struct http_req *req, const struct page *p)
{
    struct arena *a = req->arena;
    struct str style = embedded("style.css"), script = embedded("script.js");
    struct str refresh = str_printf(a, "<noscript><meta http-equiv=\"refresh\" content=\"%d\"></noscript>\n", REFRESH_SECS);
    struct html_value values[] = {
        {"title", p->heading, false},
        {"heading", p->heading, false},
        {"refresh", p->refreshes ? refresh : (struct str){0}, true},
        {"style", style, true},
        {"script", script, true},
        {"state", str_from(p->state), false},
        {"status", str_cat(a, app->path_encoded, STR(STATUS_PATH)), false},
        {"at", str_printf(a, "%llu", (unsigned long long)p->at), false},
        {"elapsed", str_printf(a, "%lld", (long long)p->elapsed_ms), false},
        {"content", p->content, true},
    };
    struct str csp = str_printf(a,
                                "default-src 'none'; style-src " STR_FMT "; script-src " STR_FMT
                                "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
                                STR_ARG(source_hash(a, style)), STR_ARG(source_hash(a, script)));
    http_resp_set_header(req, STR("Content-Security-Policy"), csp);
    http_resp_set_header(req, STR("X-Content-Type-Options"), STR("nosniff"));
    http_resp_set_header(req, STR("Cache-Control"), STR("no-store"));
    http_resp_set_header(req, STR("Vary"), STR("Accept, Sec-Fetch-Mode"));
    http_reply(req, p->status, STR("text/html; charset=utf-8"), fill(a, "page.html", values, ARRAY_LEN(values)));
}

/* Where a start is on its way: 0 fetch, 1 build, 2 start, 3 health. */
static int step_of(const struct ctr_service_status *s)
{
    if (s->state == CTR_BUILDING)
        return str_starts(s->phase, STR("building")) ? 1 : 0;
    if (s->state != CTR_STARTING)
        return s->state == CTR_READY ? 3 : 0;
    return str_starts(s->phase, STR("waiting for the app")) ? 3 : 2;
}

static struct str phase_of(const struct ctr_service_status *s)
{
    bool is_under_way = s->state == CTR_BUILDING || s->state == CTR_STARTING;
    return is_under_way ? s->phase : STR("waiting for its turn");
}

/* Output of the newest start since `*at`, for who may see it. */
static struct str log_since(const struct app *app, const struct app_request *request,
                            const struct ctr_service_status *s, uint64_t *at)
{
    *at = MAX(*at, s->log_from);
    if (!wait_may_see_log(app, request->who))
        return (struct str){0};
    return ctr_service_log(app->service, request->req->arena, at);
}

void wait_reply_page(struct app *app, const struct app_request *request)
{
    struct http_req *req = request->req;
    struct arena *a = req->arena;
    struct ctr_service_status s;
    struct page p = {.state = "waiting", .status = 503, .refreshes = true};
    ctr_service_status(app->service, a, &s);
    struct str log = log_tail(log_since(app, request, &s, &p.at));
    p.elapsed_ms = s.begin_ms;
    p.heading = str_printf(a, STR_FMT " is starting", STR_ARG(title_of(app)));
    int step = step_of(&s);
    struct str classes[4];
    for (int i = 0; i < 4; i++)
        classes[i] = i < step ? STR(" class=\"done\"") : i == step ? STR(" class=\"now\"") : (struct str){0};
    p.content = fill(a, "waiting.html",
                     (struct html_value[]){{"phase", phase_of(&s), false},
                                           {"step0", classes[0], true},
                                           {"step1", classes[1], true},
                                           {"step2", classes[2], true},
                                           {"step3", classes[3], true},
                                           {"nolog", log.len > 0 ? (struct str){0} : STR(" hidden"), true},
                                           {"log", log, false}},
                     7);
    http_resp_set_header(req, STR("Retry-After"), str_printf(a, "%d", REFRESH_SECS));
    send_page(app, req, &p);
}

/* Past what a client is held for. */
void wait_reply_late(struct app *app, struct http_req *req)
{
    struct ctr_service_status s;
    ctr_service_status(app->service, req->arena, &s);
    http_resp_set_header(req, STR("Retry-After"), STR("5"));
    http_resp_set_header(req, STR("Cache-Control"), STR("no-store"));
    http_reply_error(req, 503,
                     str_printf(req->arena, "the app is still starting (" STR_FMT ", for %lld s): try again",
                                STR_ARG(phase_of(&s)), (long long)(s.begin_ms / 1000)));
}

/* A wake that failed because this version is no longer served, or there is no room: no fault of the app. */
static bool is_passing(const struct ctr_failure *why)
{
    return why->code == ERR_UNAVAILABLE && why->retry_after_ms == 0;
}

void wait_reply_failure(struct app *app, const struct app_request *request, const struct ctr_failure *why)
{
    struct http_req *req = request->req;
    struct arena *a = req->arena;
    bool may_see = wait_may_see_log(app, request->who), is_page = wait_wants_page(app, req);
    int status = why->code == ERR_UNAVAILABLE ? 503 : 500;
    if (is_page && is_passing(why)) {
        wait_reply_page(app, request);
        return;
    }
    if (why->retry_after_ms > 0)
        http_resp_set_header(req, STR("Retry-After"), str_printf(a, "%d", (why->retry_after_ms + 999) / 1000));
    if (!is_page) {
        http_reply_error(req, status, str_from(may_see ? why->detail : why->summary));
        return;
    }
    struct page p = {.state = "failed", .status = status};
    p.heading = str_printf(a, STR_FMT " did not start", STR_ARG(title_of(app)));
    p.content = fill(a, "failed.html",
                     (struct html_value[]){{"summary", str_dup(a, str_from(why->summary)), false},
                                           {"nolog", may_see ? (struct str){0} : STR(" hidden"), true},
                                           {"log", may_see ? str_dup(a, str_from(why->detail)) : (struct str){0}, false}},
                     3);
    send_page(app, req, &p);
}

/* --- the status ---------------------------------------------------------------------------------------- */

/* A status that waits for news. In the request's arena. */
struct ask {
    struct app *app;
    struct app_request request;
    struct ctr_waiter *waiter;
    struct http_timer timer;
    uint64_t at;
};

/* `state`: "ready" and "asleep" have the page load again. */
static void reply_status(struct ask *ask, const char *state)
{
    struct http_req *req = ask->request.req;
    struct ctr_service_status s;
    ctr_service_status(ask->app->service, req->arena, &s);
    struct str log = log_since(ask->app, &ask->request, &s, &ask->at);
    scoped_json *o = json_object();
    json_set_z(o, "state", state);
    json_set_int(o, "step", step_of(&s));
    json_set_str(o, "phase", phase_of(&s));
    json_set_int(o, "elapsed_ms", s.begin_ms);
    json_set_str(o, "log", log);
    json_set_int(o, "at", (int64_t)ask->at);
    http_resp_set_header(req, STR("Cache-Control"), STR("no-store"));
    http_reply(req, 200, STR("application/json"), json_text(req->arena, o, JSON_STYLE_COMPACT));
}

static void on_news(void *arg, const struct ctr_endpoint *at, const struct ctr_failure *why)
{
    struct ask *ask = arg;
    struct http_req *req = ask->request.req;
    ask->waiter = NULL;
    http_timer_stop(&ask->timer);
    if (at)
        ctr_service_leave(ask->app->service, (int)http_loop_index(req->loop));
    reply_status(ask, at ? "ready" : is_passing(why) ? "asleep" : "failed");
}

static void on_no_news(struct http_timer *timer)
{
    struct ask *ask = CONTAINER_OF(timer, struct ask, timer);
    ctr_waiter_cancel(ask->waiter);
    ask->waiter = NULL;
    reply_status(ask, "waiting");
}

static void on_gone(struct http_req *req, void *arg)
{
    struct ask *ask = arg;
    if (!ask->waiter)
        return;
    ctr_waiter_cancel(ask->waiter);
    ask->waiter = NULL;
    http_timer_stop(&ask->timer);
    http_resp_abort(req);
}

/* Looks without waking: for a page that shows a failure, which must not start the app over and over. */
static const char *look(struct app *app, struct arena *a)
{
    struct ctr_service_status s;
    ctr_service_status(app->service, a, &s);
    switch (s.state) {
    case CTR_FAILED: return "failed";
    case CTR_READY: return "ready";
    case CTR_BUILDING:
    case CTR_STARTING: return "waiting";
    default: return "asleep";
    }
}

static void serve_status(struct app *app, const struct app_request *request)
{
    struct http_req *req = request->req;
    struct http_pairs query = {0};
    struct str text;
    struct ctr_endpoint at;
    scoped_err err = {0};
    struct ask *ask = arena_new(req->arena, struct ask);
    ask->app = app;
    ask->request = *request;
    if (!http_query_parse(req->arena, req->query, &query, &err) ||
        (http_pairs_get(&query, STR("at"), &text) && !str_to_u64(text, &ask->at))) {
        http_reply_error(req, 400, STR("malformed query"));
        return;
    }
    int loop = (int)http_loop_index(req->loop);
    if (http_pairs_get(&query, STR("look"), &text)) {
        reply_status(ask, look(app, req->arena));
    } else if (ctr_service_enter(app->service, loop, &at)) {
        ctr_service_leave(app->service, loop);
        reply_status(ask, "ready");
    } else {
        http_req_on_abort(req, on_gone, ask);
        http_timer_start(&ask->timer, req->loop, STATUS_HOLD_MS, on_no_news);
        ask->waiter = ctr_service_wake(app->service, req->loop, loop, on_news, ask);
    }
}

bool wait_serve(struct app *app, const struct app_request *request)
{
    const struct http_req *req = request->req;
    struct str path = app->path_encoded;
    if (!app->service || req->path.len != path.len + strlen(STATUS_PATH) || !str_ends(req->path, STR(STATUS_PATH)) ||
        !str_starts(req->path, path))
        return false;
    if (req->method == HTTP_GET)
        serve_status(app, request);
    else
        http_reply_error(request->req, 405, STR("method not allowed"));
    return true;
}
