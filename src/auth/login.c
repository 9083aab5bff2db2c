/* auth/login.c: form sign-in, which crosses hosts so that only one host ever sees passwords.
 *
 *     app host       login_start()     row 1 {redirect, nonce}; the nonce goes to the browser in a sealed cookie
 *       │ 302 ?state=<row 1>
 *     sign-in host   login_page()      the form
 *                    login_post()      password right: row 1 is deleted, row 2 {authenticated, user} made
 *       │ 302 ?state=<row 2>
 *     app host       login_complete()  the cookie's nonce is row 2's: row 2 is deleted, a session made
 *       │ 302
 *     where it began
 *
 * 1. A row is used once: it is read and deleted in one transaction. Whoever is second sees the "expired" page.
 * 2. The browser that ends a flow is the one that began it (the nonce), so nobody can hand a half-finished
 *    flow to somebody else; and row 2's name was never seen by who began it, only by who knew the password.
 * 3. Rows are bounded: rates per client and in all, and expiry.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <stdlib.h>

enum {
    STATE_ID_LEN = 32,              /* base64url of 24 bytes */
    STARTS_WINDOW_MS = AUTH_LOGIN_SECS * 1000,
    STARTS_PER_CLIENT = 600,        /* in that window; an office behind one address signs in too */
    STARTS_MAX = 20000,
    NONCES_MAX = 8,
    URL_SHOWN_MAX = 16 << 10,
};

#define ROW_PREFIX STR("form_login:")

/* --- rows --- */

struct login_row {
    bool is_authenticated;
    struct str provider, redirect, nonce;
    struct str user, print;         /* once authenticated; print is hex */
};

static bool put_row(struct store_tx *tx, struct arena *a, struct str key, const struct login_row *r, int64_t secs,
                    struct err *err)
{
    scoped_json *j = json_object();
    json_set_bool(j, "authenticated", r->is_authenticated);
    json_set_str(j, "provider_name", r->provider);
    json_set_str(j, "redirect", r->redirect);
    json_set_str(j, "nonce", r->nonce);
    if (r->is_authenticated) {
        json_set_str(j, "user", r->user);
        json_set_str(j, "cred_fp", r->print);
    }
    struct store_key row = {
        .key = key,
        .value = json_text(a, j, JSON_STYLE_COMPACT),
        .expires = wall_ns() + secs * 1000000000,
    };
    return store_key_put(tx, &row, err);
}

static struct str member(struct arena *a, const json_t *j, const char *key)
{
    return str_dup(a, json_get_str(j, key, (struct str){0}));
}

static bool get_row(struct store_tx *tx, struct arena *a, struct str key, struct login_row *out, bool *found,
                    struct err *err)
{
    struct store_key row;
    scoped_err bad = {0};
    if (!store_key_get(tx, a, key, &row, found, err))
        return false;
    if (!*found)
        return true;
    scoped_json *j = json_parse_object(row.value, &bad);
    *out = (struct login_row){
        .is_authenticated = json_get_bool(j, "authenticated", false),
        .provider = member(a, j, "provider_name"),
        .redirect = member(a, j, "redirect"),
        .nonce = member(a, j, "nonce"),
        .user = member(a, j, "user"),
        .print = member(a, j, "cred_fp"),
    };
    *found = !str_is_empty(out->nonce) && !str_is_empty(out->redirect);
    return true;
}

/* The row's key from the text of a state; false for anything that we did not make. */
static bool state_key(struct arena *a, struct str state, struct str *key)
{
    struct str text;
    if (state.len > 256 || !base64url_decode(a, state, &text) || !str_starts(text, ROW_PREFIX) ||
        text.len != ROW_PREFIX.len + STATE_ID_LEN)
        return false;
    for (size_t i = ROW_PREFIX.len; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    *key = text;
    return true;
}

static struct str new_key(struct arena *a)
{
    return str_cat(a, ROW_PREFIX, random_base64url(a, 24));
}

/* The key named by ?state=. */
static bool query_key(struct http_req *req, struct str *state, struct str *key)
{
    struct http_pairs query = {0};
    scoped_err err = {0};
    return http_query_parse(req->arena, req->query, &query, &err) && http_pairs_get(&query, STR("state"), state) &&
           state_key(req->arena, *state, key);
}

/* --- pages --- */

static void send_expired(struct http_req *req)
{
    page_send(req, 200, STR("Sign in - OpenRun"), page_fill(req->arena, STR("expired.html"), NULL, 0));
}

static void send_form(struct http_req *req, const struct auth_kind *kind, int status, struct str state, struct str user,
                      struct str problem)
{
    struct arena *a = req->arena;
    struct str alert = {0};
    if (!str_is_empty(problem))
        alert = page_fill(a, STR("alert.html"), (struct html_value[]){{"text", problem}}, 1);
    /* Who has typed a name already goes on with the password. */
    bool has_user = !str_is_empty(user);
    struct html_value values[] = {
        {"alert", alert, .is_raw = true}, {"text", kind->form_text}, {"type", kind->name}, {"state", state}, {"user", user},
        {"focus_user", has_user ? (struct str){0} : STR(" autofocus")},
        {"focus_password", has_user ? STR(" autofocus") : (struct str){0}},
    };
    page_send(req, status, STR("Sign in - OpenRun"), page_fill(a, STR("login.html"), values, ARRAY_LEN(values)));
}

/* --- app host: the start --- */

struct login_start {
    struct auth_task task;
    struct auth_ask ask;
    unsigned char nonce[AUTH_ID_LEN];
    struct str redirect, key;
};

static bool start_work(struct auth_task *task, struct err *err)
{
    struct login_start *s = CONTAINER_OF(task, struct login_start, task);
    struct login_row row = {
        .provider = s->ask.kind->name,
        .redirect = s->redirect,
        .nonce = base64url_encode(&task->arena, str_of(s->nonce, AUTH_ID_LEN)),
    };
    s->key = new_key(&task->arena);
    scoped_store_tx *tx = store_begin(task->auth->store, err);
    return tx && put_row(tx, &task->arena, s->key, &row, AUTH_LOGIN_SECS, err) && store_commit(&tx, err);
}

static void start_then(struct auth_task *task)
{
    struct login_start *s = CONTAINER_OF(task, struct login_start, task);
    struct http_req *req = task->req;
    struct auth *auth = task->auth;
    if (!auth_task_ok(task))
        return;
    struct str cookie = s->ask.kind->cookie;
    cookie_set(auth, req, cookie, cookie_seal(req->arena, &auth->cookie_key, cookie, COOKIE_NONCE, s->nonce),
               AUTH_LOGIN_SECS);
    struct str to = str_printf(req->arena, STR_FMT "/_openrun/auth/login?state=" STR_FMT,
                               STR_ARG(origin_text(req, s->ask.is_https, auth->domain)),
                               STR_ARG(base64url_encode(req->arena, s->key)));
    page_redirect(req, to, false);
}

static bool is_navigation(const struct http_req *req)
{
    if (page_is_htmx(req))
        return true;
    if (req->method != HTTP_GET && req->method != HTTP_HEAD)
        return false;
    struct str accept = http_req_known(req, HTTP_H_ACCEPT), name;
    for (struct str part; http_list_next(&accept, &part);)
        if (http_weight(part, &name) > 0 && str_eq_nocase(str_trim(name), STR("text/html")))
            return true;
    return false;
}

/* A cookie that is for https only would not come back over http, except on this machine. */
static bool is_transport_ok(const struct auth_ask *ask)
{
    return !ask->auth->config.is_session_https_only || ask->is_https ||
           (origin_is_local(ask->req->host) && origin_is_local(ask->auth->domain));
}

/* Where to go when signed in: here; after an unsafe request, which cannot be made again, the page it came from. */
static bool landing(const struct auth_ask *ask, struct str *out)
{
    struct http_req *req = ask->req;
    if (req->method == HTTP_GET || req->method == HTTP_HEAD) {
        *out = str_printf(req->arena, STR_FMT STR_FMT "%s" STR_FMT,
                          STR_ARG(origin_text(req, ask->is_https, (struct str){0})), STR_ARG(req->path),
                          req->query.ptr ? "?" : "", STR_ARG(req->query));
        return true;
    }
    struct http_url url;
    scoped_err err = {0};
    struct str page = http_req_header(req, STR("HX-Current-URL"));
    if (page.len > URL_SHOWN_MAX || !http_url_parse(page, &url, &err) || !origin_is_request(req, &url) ||
        !(str_eq(url.scheme, STR("http")) || str_eq(url.scheme, STR("https"))))
        return false;
    *out = page;
    return true;
}

void login_start(const struct auth_ask *ask)
{
    struct auth *auth = ask->auth;
    struct http_req *req = ask->req;
    struct str redirect;
    if (ask->is_api || !auth->has_form || !is_navigation(req) || !is_transport_ok(ask) || !landing(ask, &redirect)) {
        auth_challenge(ask);
        return;
    }
    int retry_secs = 1;
    struct str client = str_printf(req->arena, "start " STR_FMT, STR_ARG(auth_client_group(auth, req)));
    if (!limit_rate(auth->limits, client, STARTS_PER_CLIENT, STARTS_WINDOW_MS, &retry_secs) ||
        !limit_rate(auth->limits, STR("starts"), STARTS_MAX, STARTS_WINDOW_MS, &retry_secs)) {
        auth_refuse(req, 429, retry_secs, STR("too many sign-ins were begun, try again later"));
        return;
    }
    struct login_start *s = xcalloc(1, sizeof *s);
    s->task.work = start_work;
    s->task.then = start_then;
    s->ask = *ask;
    s->redirect = redirect;
    random_bytes(s->nonce, sizeof s->nonce);
    auth_task_start(auth, req, &s->task);
}

/* --- sign-in host: the form --- */

/* Loads the row of a state that is still to be filled in. */
struct login_load {
    struct auth_task task;
    struct str key;
    bool found;
    struct login_row row;
    void (*then)(struct login_load *l);
    void *arg;
};

static bool load_work(struct auth_task *task, struct err *err)
{
    struct login_load *l = CONTAINER_OF(task, struct login_load, task);
    scoped_store_tx *tx = store_read(task->auth->store, err);
    return tx && get_row(tx, &task->arena, l->key, &l->row, &l->found, err);
}

static void load_then(struct auth_task *task)
{
    struct login_load *l = CONTAINER_OF(task, struct login_load, task);
    if (!auth_task_ok(task))
        return;
    if (!l->found || l->row.is_authenticated)
        send_expired(task->req);
    else
        l->then(l);
}

static void load_row(struct auth *auth, struct http_req *req, struct str key, void (*then)(struct login_load *l), void *arg)
{
    struct login_load *l = xcalloc(1, sizeof *l);
    l->task.work = load_work;
    l->task.then = load_then;
    l->key = key;
    l->then = then;
    l->arg = arg;
    auth_task_start(auth, req, &l->task);
}

static void show_form(struct login_load *l)
{
    const struct auth_kind *kind = auth_kind_find(l->row.provider);
    if (kind && !str_is_empty(kind->form_text))
        send_form(l->task.req, kind, 200, base64url_encode(l->task.req->arena, l->key), (struct str){0}, (struct str){0});
    else
        send_expired(l->task.req);
}

void login_page(struct auth *auth, struct http_req *req)
{
    struct str state, key;
    if (query_key(req, &state, &key))
        load_row(auth, req, key, show_form, NULL);
    else
        send_expired(req);
}

/* One posted form on its way: body -> row 1 -> password -> row 2. */
struct login_post {
    struct auth *auth;
    struct http_req *req;
    const struct auth_kind *kind;
    struct str state, key, user;
    struct verify verify;
};

/* Trades row 1 for row 2. */
struct login_trade {
    struct auth_task task;
    struct login_post *post;
    struct auth_account account;
    struct str key;                 /* of row 2; empty: row 1 is gone */
    struct login_row row;
};

static bool trade_work(struct auth_task *task, struct err *err)
{
    struct login_trade *t = CONTAINER_OF(task, struct login_trade, task);
    struct arena *a = &task->arena;
    bool found;
    scoped_store_tx *tx = store_begin(task->auth->store, err);
    if (!tx || !get_row(tx, a, t->post->key, &t->row, &found, err))
        return false;
    if (!found || t->row.is_authenticated || !str_eq(t->row.provider, t->post->kind->name))
        return true;
    t->row.is_authenticated = true;
    t->row.user = t->post->user;
    t->row.print = str_hex(a, t->account.print, AUTH_PRINT_LEN);
    struct str key = new_key(a);
    if (!store_key_delete(tx, t->post->key, err) || !put_row(tx, a, key, &t->row, AUTH_COMPLETE_SECS, err) ||
        !store_commit(&tx, err))
        return false;
    t->key = key;
    return true;
}

static void trade_then(struct auth_task *task)
{
    struct login_trade *t = CONTAINER_OF(task, struct login_trade, task);
    struct http_req *req = task->req;
    struct http_url url;
    scoped_err err = {0};
    if (!auth_task_ok(task))
        return;
    if (str_is_empty(t->key) || !http_url_parse(t->row.redirect, &url, &err)) {
        send_expired(req);
        return;
    }
    struct str to = str_printf(req->arena, STR_FMT "://" STR_FMT "/_openrun/auth/login/complete?state=" STR_FMT,
                               STR_ARG(url.scheme), STR_ARG(url.authority),
                               STR_ARG(base64url_encode(req->arena, t->key)));
    page_redirect(req, to, false);
}

static void refuse_post(struct login_post *p, int status, struct str problem, const char *why)
{
    struct auth_account account = {0};
    struct str user_id = p->kind->find(p->auth, p->user, &account) ? account.user_id : (struct str){0};
    auth_audit_failure(p->auth, p->req, user_id, why);
    send_form(p->req, p->kind, status, p->state, p->user, problem);
}

static void on_password(struct verify *v)
{
    struct login_post *p = v->arg;
    struct auth_account account;
    if (!v->is_right || !p->kind->find(p->auth, p->user, &account)) {
        refuse_post(p, 200, STR("Invalid username or password"), "wrong user name or password");
        return;
    }
    struct login_trade *t = xcalloc(1, sizeof *t);
    t->task.work = trade_work;
    t->task.then = trade_then;
    t->post = p;
    t->account = account;
    auth_task_start(p->auth, p->req, &t->task);
}

static void check_password(struct login_load *l)
{
    struct login_post *p = l->arg;
    struct http_req *req = p->req;
    if (!str_eq(l->row.provider, p->kind->name)) {
        send_expired(req);
        return;
    }
    struct verify *v = &p->verify;
    if (v->user.len == 0 || v->user.len > AUTH_USER_MAX || v->password.len == 0 || v->password.len > BCRYPT_PASSWORD_MAX) {
        refuse_post(p, 200, STR("Invalid username or password"), "wrong user name or password");
        return;
    }
    unsigned char digest[AUTH_DIGEST_LEN];
    auth_digest(p->auth, auth_loop_of(req->loop), (struct str[]){STR("form"), p->kind->name, v->user, v->password}, 4,
                digest);
    int retry_secs = 1;
    switch (verify_start(v, digest, false, &retry_secs)) {
    case VERIFY_STARTED:
        return;
    case VERIFY_BUSY:
        auth_refuse(req, 503, 1, STR("too many sign-ins are under way, try again in a moment"));
        return;
    case VERIFY_LOCKED:
        http_resp_header(req, STR("Retry-After"), str_printf(req->arena, "%d", MAX(retry_secs, 1)));
        refuse_post(p, 429, str_printf(req->arena, "Too many failed attempts. Try again in %d seconds.", MAX(retry_secs, 1)),
                    "locked out after failed attempts");
        return;
    }
}

static struct str field(struct arena *a, const struct http_pairs *form, struct str kind, const char *name)
{
    struct str value = {0};
    http_pairs_get(form, str_printf(a, STR_FMT "-%s", STR_ARG(kind), name), &value);
    return value;
}

bool login_fields_parse(struct arena *a, struct str body, struct str kind, struct login_fields *out, struct err *err)
{
    struct http_pairs form = {0};
    struct login_fields f = {0};
    if (!http_query_parse(a, body, &form, err))
        return false;
    if (!http_pairs_get(&form, STR("state"), &f.state) || !state_key(a, f.state, &f.key))
        f.key = (struct str){0};
    f.user = field(a, &form, kind, "username");
    f.password = field(a, &form, kind, "password");
    *out = f;
    return true;
}

static void on_form(struct http_req *req, struct str body, const struct err *failed, void *arg)
{
    struct login_post *p = arg;
    struct login_fields f;
    scoped_err err = {0};
    if (failed || !login_fields_parse(req->arena, body, p->kind->name, &f, &err)) {
        const struct err *e = failed ? failed : &err;
        http_reply_error(req, e->code == ERR_TOO_LARGE ? 413 : 400, str_from(err_msg(e)));
        return;
    }
    if (str_is_empty(f.key)) {
        send_expired(req);
        return;
    }
    p->state = f.state;
    p->key = f.key;
    p->user = f.user;
    p->verify = (struct verify){
        .auth = p->auth, .req = req, .loop = req->loop, .kind = p->kind, .user = f.user, .password = f.password,
        .ip = auth_client_group(p->auth, req), .then = on_password, .arg = p,
    };
    load_row(p->auth, req, p->key, check_password, p);
}

void login_post(struct auth *auth, struct http_req *req, const struct auth_kind *kind)
{
    struct login_post *p = arena_new(req->arena, struct login_post);
    p->auth = auth;
    p->req = req;
    p->kind = kind;
    http_req_read_all(req, AUTH_FORM_MAX, on_form, p);
}

/* --- app host: the end --- */

/* A nonce that came in a cookie. */
struct nonce {
    const struct auth_kind *kind;
    unsigned char bytes[AUTH_ID_LEN];
};

struct login_complete {
    struct auth_task task;
    struct str key;
    struct nonce nonces[NONCES_MAX];
    size_t nonce_count;
    struct login_row row;
    struct session_fact fact;
    struct auth_account account;
    bool is_done;
};

static size_t read_nonces(struct http_req *req, struct nonce *out)
{
    struct str header = http_req_known(req, HTTP_H_COOKIE);
    struct auth_loop *l = auth_loop_of(req->loop);
    struct http_pair c;
    size_t n = 0;
    for (int tried = 0; n < NONCES_MAX && tried < 2 * NONCES_MAX && http_cookie_next(&header, &c);) {
        const struct auth_kind *kind = NULL;
        for (size_t i = 0; (kind = auth_kind_form(i)) && !str_eq(kind->cookie, c.name); i++)
            ;
        if (!kind)
            continue;
        tried++;
        out[n].kind = kind;
        n += cookie_open(req->arena, l->cipher, c.name, c.value, COOKIE_NONCE, out[n].bytes);
    }
    return n;
}

static bool has_nonce(const struct login_complete *c, struct arena *a, const struct auth_kind *kind, struct str nonce)
{
    bool found = false;
    for (size_t i = 0; i < c->nonce_count; i++)
        found |= c->nonces[i].kind == kind &&
                 str_eq_secret(base64url_encode(a, str_of(c->nonces[i].bytes, AUTH_ID_LEN)), nonce);
    return found;
}

/* True if this row may become a session here and now. */
static bool is_completable(const struct login_complete *c, struct arena *a, const struct auth_kind *kind,
                           struct auth_account *account)
{
    struct http_url url;
    scoped_err err = {0};
    return c->row.is_authenticated && kind && !str_is_empty(kind->cookie) && has_nonce(c, a, kind, c->row.nonce) &&
           http_url_parse(c->row.redirect, &url, &err) && origin_is_request(c->task.req, &url) &&
           kind->find(c->task.auth, c->row.user, account) &&
           str_eq(c->row.print, str_hex(a, account->print, AUTH_PRINT_LEN));
}

static bool complete_work(struct auth_task *task, struct err *err)
{
    struct login_complete *c = CONTAINER_OF(task, struct login_complete, task);
    struct arena *a = &task->arena;
    struct auth *auth = task->auth;
    bool found;
    scoped_store_tx *tx = store_begin(auth->store, err);
    if (!tx || !get_row(tx, a, c->key, &c->row, &found, err))
        return false;
    const struct auth_kind *kind = found ? auth_kind_find(c->row.provider) : NULL;
    if (!found || !is_completable(c, a, kind, &c->account))
        return true;
    int64_t secs = auth->config.session_max_age_secs;
    c->fact = (struct session_fact){
        .kind = kind,
        .user = c->row.user,
        .expires = wall_ns() + (secs > 0 ? secs : AUTH_SESSION_MAX_SECS) * 1000000000,
    };
    random_bytes(c->fact.id, AUTH_ID_LEN);
    memcpy(c->fact.print, c->account.print, AUTH_PRINT_LEN);
    if (!store_key_delete(tx, c->key, err) || !session_row_put(tx, a, &c->fact, err) || !store_commit(&tx, err))
        return false;
    sessions_add(auth, &c->fact);
    c->is_done = true;
    return true;
}

static void complete_then(struct auth_task *task)
{
    struct login_complete *c = CONTAINER_OF(task, struct login_complete, task);
    struct http_req *req = task->req;
    struct auth *auth = task->auth;
    if (!auth_task_ok(task))
        return;
    if (!c->is_done) {
        send_expired(req);
        return;
    }
    struct str cookie = c->fact.kind->cookie;
    cookie_set(auth, req, cookie, cookie_seal(req->arena, &auth->cookie_key, cookie, COOKIE_SESSION, c->fact.id),
               auth->config.session_max_age_secs);
    auth_audit(auth, req, STR("login"), c->account.user_id);
    page_redirect(req, c->row.redirect, false);
}

void login_complete(struct auth *auth, struct http_req *req)
{
    struct str state, key;
    struct nonce nonces[NONCES_MAX];
    size_t n = 0;
    /* Without one of our nonces the store need not be asked. */
    if (!auth->has_form || !query_key(req, &state, &key) || (n = read_nonces(req, nonces)) == 0) {
        send_expired(req);
        return;
    }
    struct login_complete *c = xcalloc(1, sizeof *c);
    c->task.work = complete_work;
    c->task.then = complete_then;
    c->key = key;
    memcpy(c->nonces, nonces, n * sizeof *nonces);
    c->nonce_count = n;
    auth_task_start(auth, req, &c->task);
}
