/* auth/logout.c: signing out of this host.
 *
 * Every cookie of ours that opens is a session; its row is deleted first, then every loop forgets it, then the
 * browser is told to. If the row cannot be deleted the cookie stays, so that the user can try again.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <stdlib.h>

enum { COOKIES_MAX = 32, KINDS_MAX = 8 };

static const struct str title = STR_INIT("Sign out - OpenRun");

/* --- the page --- */

/* Who is signed in, kind by kind; sessions that this loop does not know are looked up first. */
struct logout_page {
    struct auth_task task;
    struct {
        const struct auth_kind *kind;
        unsigned char id[AUTH_ID_LEN];
        struct session_fact fact;
        bool found;
    } pending[KINDS_MAX];
    size_t pending_count;
    struct str users;               /* "system:admin", comma joined; in the request's arena */
    struct str redirect;
    bool wants_done;
};

static void add_user(struct arena *a, struct str *users, const struct auth_kind *kind, struct str user_id)
{
    *users = str_printf(a, STR_FMT "%s" STR_FMT ":" STR_FMT, STR_ARG(*users), users->len > 0 ? ", " : "",
                        STR_ARG(kind->name), STR_ARG(user_id));
}

static void send_page(struct http_req *req, const struct logout_page *p)
{
    struct html_value values[] = {{"user", p->users}, {"redirect", p->redirect}};
    struct str name = p->users.len > 0 ? STR("sign-out.html") : p->wants_done ? STR("signed-out.html")
                                                                              : STR("not-signed-in.html");
    page_send(req, 200, title, page_fill(req->arena, name, values, ARRAY_LEN(values)));
}

static bool page_work(struct auth_task *task, struct err *err)
{
    struct logout_page *p = CONTAINER_OF(task, struct logout_page, task);
    scoped_store_tx *tx = store_read(task->auth->store, err);
    bool ok = tx != NULL;
    for (size_t i = 0; ok && i < p->pending_count; i++)
        ok = session_row_get(tx, &task->arena, p->pending[i].kind->cookie, p->pending[i].id, &p->pending[i].fact,
                             &p->pending[i].found, err);
    return ok;
}

static void page_then(struct auth_task *task)
{
    struct logout_page *p = CONTAINER_OF(task, struct logout_page, task);
    if (!auth_task_ok(task))
        return;
    struct auth_account account;
    for (size_t i = 0; i < p->pending_count; i++)
        if (p->pending[i].found && session_is_good(task->auth, &p->pending[i].fact, &account))
            add_user(task->req->arena, &p->users, p->pending[i].kind, account.user_id);
    send_page(task->req, p);
}

void logout_page(struct auth *auth, struct http_req *req)
{
    struct http_pairs query = {0};
    scoped_err err = {0};
    struct str redirect = {0}, done = {0};
    if (http_query_parse(req->arena, req->query, &query, &err)) {
        http_pairs_get(&query, STR("redirect"), &redirect);
        http_pairs_get(&query, STR("done"), &done);
    }
    struct logout_page *p = xcalloc(1, sizeof *p);
    p->task.work = page_work;
    p->task.then = page_then;
    p->redirect = origin_local_redirect(redirect);
    p->wants_done = str_eq(done, STR("1"));
    const struct auth_kind *kind;
    for (size_t i = 0; i < KINDS_MAX && (kind = auth_kind_form(i)); i++) {
        struct auth_account account;
        unsigned char *id = p->pending[p->pending_count].id;
        enum session_found found = session_find(auth, req, kind, &account, id);
        if (found == SESSION_LIVE)
            add_user(req->arena, &p->users, kind, account.user_id);
        else if (found == SESSION_PENDING)
            p->pending[p->pending_count++].kind = kind;
    }
    if (p->pending_count > 0) {
        auth_task_start(auth, req, &p->task);
        return;
    }
    send_page(req, p);
    free(p);
}

/* --- the deed --- */

struct logout {
    struct auth_task task;
    struct {
        struct str name;
        bool is_session;
        unsigned char id[AUTH_ID_LEN];
    } cookies[COOKIES_MAX];
    size_t count;
    struct str to;
    struct str user_id;             /* of the first that is live, for the audit trail */
};

static bool logout_work(struct auth_task *task, struct err *err)
{
    struct logout *l = CONTAINER_OF(task, struct logout, task);
    scoped_store_tx *tx = store_begin(task->auth->store, err);
    bool ok = tx != NULL;
    for (size_t i = 0; ok && i < l->count; i++)
        if (l->cookies[i].is_session)
            ok = store_key_delete(tx, session_row_key(&task->arena, l->cookies[i].name, l->cookies[i].id), err);
    if (!ok || !store_commit(&tx, err))
        return false;
    for (size_t i = 0; i < l->count; i++)
        if (l->cookies[i].is_session)
            sessions_remove(task->auth, l->cookies[i].id);
    return true;
}

static void end_logout(struct auth *auth, struct http_req *req, const struct logout *l)
{
    for (size_t i = 0; i < l->count; i++) {
        bool is_repeated = false;
        for (size_t k = 0; k < i; k++)
            is_repeated |= str_eq(l->cookies[k].name, l->cookies[i].name);
        if (!is_repeated)
            cookie_set(auth, req, l->cookies[i].name, (struct str){0}, -1);
    }
    page_redirect(req, l->to, true);
}

static void logout_then(struct auth_task *task)
{
    struct logout *l = CONTAINER_OF(task, struct logout, task);
    if (err_is_set(&task->err)) {
        log_error("signing out: the session cannot be deleted", LOG_ERR(&task->err));
        http_reply_error(task->req, 500, STR("Sign out failed, please try again."));
        return;
    }
    auth_audit(task->auth, task->req, STR("logout"), l->user_id);
    end_logout(task->auth, task->req, l);
}

/* Ends the sessions in the cookies called `only`, or in all of ours when that is empty, then goes `to`. */
static void start_logout(struct auth *auth, struct http_req *req, struct str only, struct str to)
{
    struct logout *l = xcalloc(1, sizeof *l);
    l->task.work = logout_work;
    l->task.then = logout_then;
    l->to = to;
    struct str header = http_req_known(req, HTTP_H_COOKIE);
    struct auth_loop *loop = auth_loop_of(req->loop);
    bool has_sessions = false;
    const struct auth_kind *kind;
    struct auth_account account;
    unsigned char ignored[AUTH_ID_LEN];
    for (size_t i = 0; str_is_empty(l->user_id) && (kind = auth_kind_form(i)); i++)
        if (session_find(auth, req, kind, &account, ignored) == SESSION_LIVE)
            l->user_id = account.user_id;
    for (struct http_pair c; l->count < COOKIES_MAX && http_cookie_next(&header, &c);) {
        if (!cookie_is_ours(c.name) || (only.len > 0 && !str_eq(c.name, only)))
            continue;
        size_t i = l->count++;
        l->cookies[i].name = c.name;
        l->cookies[i].is_session = cookie_open(req->arena, loop->cipher, c.name, c.value, COOKIE_SESSION, l->cookies[i].id);
        has_sessions |= l->cookies[i].is_session;
    }
    if (has_sessions) {
        auth_task_start(auth, req, &l->task);
        return;
    }
    end_logout(auth, req, l);
    free(l);
}

static void on_form(struct http_req *req, struct str body, const struct err *failed, void *arg)
{
    struct auth *auth = arg;
    struct http_pairs form = {0};
    struct str redirect = {0}, to = STR("/_openrun/logout?done=1");
    scoped_err err = {0};
    if (failed) {
        http_reply_error(req, failed->code == ERR_TOO_LARGE ? 413 : 400, str_from(err_msg(failed)));
        return;
    }
    if (http_query_parse(req->arena, body, &form, &err) && http_pairs_get(&form, STR("redirect"), &redirect)) {
        redirect = origin_local_redirect(redirect);
        if (!str_eq(redirect, STR("/")))
            to = str_printf(req->arena, STR_FMT "&redirect=" STR_FMT, STR_ARG(to),
                            STR_ARG(http_pct_encode(req->arena, redirect)));
    }
    start_logout(auth, req, (struct str){0}, to);
}

void logout_post(struct auth *auth, struct http_req *req)
{
    http_req_read_all(req, AUTH_FORM_MAX, on_form, auth);
}

void logout_provider(struct auth *auth, struct http_req *req, struct str provider)
{
    start_logout(auth, req, str_cat(req->arena, provider, STR("_openrun_session")), STR("/"));
}
