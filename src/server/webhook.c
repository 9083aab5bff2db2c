/* server/webhook.c: the public webhooks: POST /_openrun_webhook/{reload|reload_promote|promote}?appPath= and
 * /_openrun_webhook/sync?id=.
 *
 *     loop: fields, body ──> job thread: look up, prove, judge, start ──> loop: answer ──> over
 *                                          │ (an app's)                    │
 *                                          '─> background operation ──> loop: answer, unless 8 s have passed
 *
 * Forges give up on an answer after some ten seconds, so an app's operation that takes longer is answered with 202
 * and its id, as syncs always are. It goes on whatever the caller does.
 *
 * 1. Who has not proved that he knows the secret gets the same 401, whether there is such an app, such a webhook,
 *    or neither; and the same work is done for it.
 * 2. `req` and what comes with it are touched on its loop only. The body lives until the request is answered, which
 *    is after the job thread has done with it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"

#include "background.h"
#include "hook.h"
#include "webhook.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    BODY_MAX = 10 << 20,
    AT_ONCE_MAX = 32,          /* calls being read and judged: what strangers can make us hold */
    PATIENCE_MS = 8000,        /* how long a caller waits for an app's operation */
    FAILURES_KEPT = 64,        /* kinds of refused calls that are told apart */
    FAILURE_EVERY_MS = 60000,  /* one event in the audit trail for each kind */
};

struct webhooks {
    struct server *server;
    atomic_int busy;
    pthread_mutex_t lock; /* guards what follows */
    int64_t refused_ms[FAILURES_KEPT]; /* when the last refused call of each kind was told */
};

struct webhooks *webhooks_open(struct server *s)
{
    struct webhooks *w = xcalloc(1, sizeof *w);
    w->server = s;
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

void webhooks_close(struct webhooks *w)
{
    if (!w)
        return;
    assert(atomic_load(&w->busy) == 0);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* One call. Referred to by whoever will still touch it: the loop's turn after the judgement, and the end of its
 * operation. */
struct hook_call {
    struct arena arena;
    atomic_int refs;
    struct webhooks *all;
    struct http_loop *loop;
    struct http_req *req;           /* NULL once answered */
    struct http_timer timer;        /* armed while the caller waits for the operation */
    struct str type, target, place; /* place: host and path, for the audit trail */
    struct str rid, client_ip;
    struct hook_fields fields;
    struct str body;

    int status;                     /* of the answer as judged; 0: wait for the operation */
    struct str answer;
    struct str operation;           /* its id, if there is one */
    bool is_judged, is_over;        /* both on the loop */
    int end_status;                 /* how the operation ended, once is_over */
    struct str end_answer;
};

static void call_put(struct hook_call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    arena_release(&c->arena);
    free(c);
}

/* --- answers -------------------------------------------------------------------------------------- */

static struct str reply_text(struct arena *a, json_t *reply)
{
    struct str text = json_text(a, reply, JSON_STYLE_COMPACT);
    json_decref(reply);
    return str_cat(a, text, STR("\n"));
}

static void reply_with(struct hook_call *c, int status, struct str text)
{
    bool is_json = str_starts(text, STR("{"));
    struct http_req *req = c->req;
    c->req = NULL;
    http_timer_stop(&c->timer);
    if (status == 401)
        http_resp_header(req, STR("WWW-Authenticate"), STR("Bearer realm=\"openrun\""));
    http_reply(req, status, is_json ? STR("application/json") : STR("text/plain; charset=utf-8"),
               str_dup(req->arena, text));
}

static struct str accepted_text(struct arena *a, const struct hook_call *c, bool is_joined)
{
    json_t *j = json_object();
    json_set_z(j, "status", is_joined ? "joined" : "accepted");
    json_set_str(j, "operation", c->operation);
    return reply_text(a, j);
}

static void on_patience(struct http_timer *timer)
{
    struct hook_call *c = (struct hook_call *)((char *)timer - offsetof(struct hook_call, timer));
    reply_with(c, 202, accepted_text(c->req->arena, c, false)); /* c->arena is the operation's now */
}

/* On the loop: what has come about is answered, in whichever order it came. */
static void answer(struct hook_call *c)
{
    if (!c->req || !c->is_judged)
        return;
    if (c->status != 0)
        reply_with(c, c->status, c->answer);
    else if (c->is_over)
        reply_with(c, c->end_status, c->end_answer);
    else if (!http_timer_is_armed(&c->timer))
        http_timer_start(&c->timer, c->loop, PATIENCE_MS, on_patience);
}

/* --- on a job thread ------------------------------------------------------------------------------ */

static void audit(struct hook_call *c, struct str target, bool is_ok, struct str detail)
{
    store_audit_add_wait(c->all->server->store, &(struct store_audit_event){
        .rid = c->rid,
        .user_id = STR("webhook"),
        .event_type = STR("system"),
        .operation = str_cat(&c->arena, STR("webhook_"), c->type),
        .target = target,
        .status = is_ok ? STR("Success") : STR("Failed"),
        .detail = detail,
    });
}

/* True if this kind of refusal has not been told within the last minute. Strangers choose the kinds, so only so
 * many are remembered; two that share a place count as one. */
static bool is_news(struct webhooks *w, const struct hook_call *c)
{
    uint64_t kind = str_hash(c->place) ^ str_hash(c->type);
    int64_t now = clock_ms();
    bool news = false;
    pthread_mutex_lock(&w->lock);
    int64_t *last = &w->refused_ms[kind % FAILURES_KEPT];
    if (*last == 0 || now - *last >= FAILURE_EVERY_MS) {
        *last = now;
        news = true;
    }
    pthread_mutex_unlock(&w->lock);
    return news;
}

static void refuse(struct hook_call *c, struct str why)
{
    c->status = 401;
    c->answer = STR("Unauthorized");
    if (!is_news(c->all, c))
        return; /* strangers fill neither log nor trail */
    log_warn("webhook refused", LOG_STR("type", c->type), LOG_STR("remote", c->client_ip), LOG_STR("reason", why));
    audit(c, c->place, false,
          str_printf(&c->arena, STR_FMT " (remote " STR_FMT ")", STR_ARG(why), STR_ARG(c->client_ip)));
}

static void on_over(struct http_loop *loop, void *arg)
{
    struct hook_call *c = arg;
    c->is_over = true;
    answer(c);
    call_put(c);
}

/* At the end of the operation. `end_*` are read on the loop after the message. */
static void operation_over(void *arg, const json_t *reply, const struct err *err)
{
    struct hook_call *c = arg;
    if (err_is_set(err)) {
        json_t *j = json_object();
        c->end_status = err->code >= 400 && err->code <= 599 ? (int)err->code : 500;
        if (c->end_status == 401) /* the repository's, not the caller's */
            c->end_status = 502;
        json_set_z(j, "message", err_msg(err));
        json_set_int(j, "code", c->end_status);
        c->end_answer = reply_text(&c->arena, j);
    } else {
        c->end_status = 200;
        c->end_answer = str_cat(&c->arena, json_text(&c->arena, reply, JSON_STYLE_COMPACT), STR("\n"));
    }
    http_loop_post(c->loop, on_over, c);
}

static void start(struct hook_call *c, const struct deploy_hook *hook)
{
    struct server *s = c->all->server;
    bool is_sync = str_eq(c->type, STR("sync")), is_promote = str_eq(c->type, STR("promote"));
    struct background_work work = {
        .key = str_printf(&c->arena, STR_FMT " " STR_FMT, STR_ARG(c->type),
                          STR_ARG(is_sync ? hook->sync.id : hook->app)),
        .name = is_sync ? "sync_run" : is_promote ? "promote_apps" : "reload_apps",
        .audit = is_sync ? "webhook_sync" : is_promote ? "webhook_promote"
                 : str_eq(c->type, STR("reload"))      ? "webhook_reload"
                                                       : "webhook_reload_promote",
        .target = is_sync ? hook->sync.id : hook->app,
        .user_id = is_sync ? hook->sync.user_id : STR("webhook"),
        .op = is_sync ? deploy_sync_run : is_promote ? deploy_promote : deploy_reload,
        .opts = {.app = hook->app, .is_exact = true, .is_fresh = true, .sync_id = hook->sync.id,
                 .promote = str_eq(c->type, STR("reload_promote"))},
        .done = is_sync ? NULL : operation_over,
        .arg = c,
    };
    if (!is_sync)
        atomic_fetch_add(&c->refs, 1);
    enum background_start started = background_start(s->background, &work, &c->arena, &c->operation);
    if (!is_sync && started != BACKGROUND_TAKEN)
        atomic_fetch_sub(&c->refs, 1);
    if (started == BACKGROUND_REFUSED) {
        c->status = 503;
        c->answer = STR("the server is stopping or overloaded: try again");
    } else if (is_sync || started == BACKGROUND_JOINED) {
        c->status = 202;
        c->answer = accepted_text(&c->arena, c, started == BACKGROUND_JOINED);
    }
}

static void judge(struct hook_call *c, const struct deploy_hook *hook)
{
    bool is_sync = str_eq(c->type, STR("sync")), is_promote = str_eq(c->type, STR("promote"));
    enum hook_kind kind = is_promote || !hook->is_git ? HOOK_ANY : is_sync ? HOOK_MAYBE : HOOK_PUSH;
    struct str why = {0};
    json_t *j;
    switch (hook_judge(&c->arena, &c->fields, c->body, kind, hook->branch, &why)) {
    case HOOK_RUN:
        start(c, hook);
        return;
    case HOOK_IGNORE:
        j = json_object();
        json_set_z(j, "status", "ignored");
        json_set_str(j, "reason", why);
        c->status = 200;
        c->answer = reply_text(&c->arena, j);
        audit(c, is_sync ? hook->sync.id : hook->app, true, str_cat(&c->arena, STR("ignored: "), why));
        return;
    case HOOK_BAD:
        c->status = 400;
        c->answer = why;
        audit(c, is_sync ? hook->sync.id : hook->app, false, why);
        return;
    }
}

static void on_judged(struct http_loop *loop, void *arg)
{
    struct hook_call *c = arg;
    atomic_fetch_sub(&c->all->busy, 1);
    c->is_judged = true;
    answer(c);
    call_put(c);
}

static void judge_job(void *arg)
{
    struct hook_call *c = arg;
    scoped_err err = {0};
    struct deploy_hook hook = {.secret = STR("no such webhook")};
    bool is_there = deploy_hook_find(c->all->server->deploy, &c->arena, c->type, c->target, &hook, &err);
    bool is_authentic = hook_is_authentic(&c->fields, hook.secret, c->body); /* inv. 1: in any case */
    if (!is_there && err.code != ERR_NOT_FOUND && err.code != ERR_INVALID) {
        log_error("looking up a webhook", LOG_ERR(&err));
        c->status = 503;
        c->answer = STR("try again later");
    } else if (!is_there) {
        refuse(c, str_dup(&c->arena, str_from(err_msg(&err))));
    } else if (!is_authentic) {
        refuse(c, STR("wrong token or signature"));
    } else {
        judge(c, &hook);
    }
    http_loop_post(c->loop, on_judged, c);
}

/* --- on the loop ---------------------------------------------------------------------------------- */

static void on_body(struct http_req *req, struct str body, const struct err *err, void *arg)
{
    struct hook_call *c = arg;
    c->body = body;
    if (!err && jobs_submit(c->all->server->jobs, judge_job, c))
        return;
    atomic_fetch_sub(&c->all->busy, 1);
    reply_with(c, err ? (int)err->code : 503, err ? str_from(err_msg(err)) : STR("the server is stopping or overloaded"));
    call_put(c);
}

static struct str field(struct hook_call *c, const char *name)
{
    struct str value = http_req_header(c->req, str_from(name));
    return value.ptr ? str_dup(&c->arena, value) : value;
}

static struct str first_field(struct hook_call *c, const char *const *names, size_t n)
{
    struct str value = {0};
    for (size_t i = 0; i < n && !value.ptr; i++)
        value = field(c, names[i]);
    return value;
}

static void read_fields(struct hook_call *c)
{
    static const char *const gitea[] = {"X-Gitea-Signature", "X-Forgejo-Signature", "X-Gogs-Signature"};
    static const char *const events[] = {"X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event", "X-Gogs-Event",
                                         "X-Gitlab-Event"};
    c->fields = (struct hook_fields){
        .authorization = field(c, "Authorization"),
        .github_signature = field(c, "X-Hub-Signature-256"),
        .gitea_signature = first_field(c, gitea, ARRAY_LEN(gitea)),
        .gitlab_token = field(c, "X-Gitlab-Token"),
        .event = first_field(c, events, ARRAY_LEN(events)),
        .content_type = field(c, "Content-Type"),
    };
}

static bool is_type(struct str type)
{
    return str_eq(type, STR("reload")) || str_eq(type, STR("reload_promote")) || str_eq(type, STR("promote")) ||
           str_eq(type, STR("sync"));
}

void webhook_serve(struct webhooks *w, struct http_req *req, struct str type, uint64_t number, struct str client_ip)
{
    struct http_pairs query = {0};
    struct str target = {0};
    scoped_err err = {0};
    const char *param = str_eq(type, STR("sync")) ? "id" : "appPath";
    if (!is_type(type)) {
        http_reply_error(req, 404, STR("404 page not found"));
    } else if (req->method != HTTP_POST) {
        http_resp_header(req, STR("Allow"), STR("POST"));
        http_reply_error(req, 405, STR("webhooks are called with POST"));
    } else if (!auth_cross_origin_ok(req)) {
        return;
    } else if (!http_query_parse(req->arena, req->query, &query, &err)) {
        http_reply_error(req, 400, str_from(err_msg(&err)));
    } else if (!http_pairs_get(&query, str_from(param), &target) || str_is_empty(target)) {
        http_reply_error(req, 400, str_printf(req->arena, "%s is required", param));
    } else if (atomic_fetch_add(&w->busy, 1) >= AT_ONCE_MAX) {
        atomic_fetch_sub(&w->busy, 1);
        http_resp_header(req, STR("Retry-After"), STR("5"));
        http_reply_error(req, 503, STR("too many webhook calls at once: try again"));
    } else {
        struct hook_call *c = xcalloc(1, sizeof *c);
        atomic_init(&c->refs, 1);
        c->all = w;
        c->loop = req->loop;
        c->req = req;
        c->type = str_dup(&c->arena, type);
        c->target = str_dup(&c->arena, target);
        c->place = str_printf(&c->arena, STR_FMT ":" STR_FMT, STR_ARG(req->authority), STR_ARG(req->path));
        c->client_ip = str_dup(&c->arena, client_ip);
        c->rid = str_printf(&c->arena, STR_FMT "%" PRIu64, STR_ARG(w->server->rid_prefix), number);
        read_fields(c);
        http_req_read_all(req, BODY_MAX, on_body, c);
    }
}
