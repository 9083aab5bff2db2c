/* auth/auth.c: opening, the kinds of sign-in, and the check of a request.
 *
 *     auth_check ─ rule.kind
 *        none ─────────────> anonymous
 *        kinds with a form
 *           "Basic " header ─> basic_check       (verify.c)
 *           session cookie ──> this loop's table (session.c) ─ not there ─> the store, once
 *           neither ─────────> login_start       (login.c) or the Basic challenge
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_int.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { AUDIT_EACH_MS = 60 * 1000, AUDIT_EACH_MAX = 60 };

/* --- kinds --- */

static bool find_nobody(const struct auth *auth, struct str user, struct auth_account *out)
{
    return false;
}

static bool find_admin(const struct auth *auth, struct str user, struct auth_account *out)
{
    if (str_is_empty(auth->config.admin_user) || !str_eq_secret(user, auth->config.admin_user))
        return false;
    *out = (struct auth_account){
        .user_id = STR("admin"),
        .hash = auth->config.admin_password_bcrypt,
        .print = auth->admin_print,
    };
    return true;
}

static const struct auth_kind kinds[] = {
    {.name = STR_INIT("none"), .find = find_nobody},
    {.name = STR_INIT("system"), .cookie = STR_INIT("system_openrun_session"),
     .form_text = STR_INIT("This app uses the OpenRun system auth."), .find = find_admin},
};
#define KIND_NONE   (&kinds[0])
#define KIND_SYSTEM (&kinds[1])

const struct auth_kind *auth_kind_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

const struct auth_kind *auth_kind_form(size_t i)
{
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        if (!str_is_empty(kinds[k].form_text) && i-- == 0)
            return &kinds[k];
    return NULL;
}

/* --- rules --- */

/* `[rbac:]<type>[+<modifier>]` taken apart. */
struct auth_setting {
    struct str type, modifier;
    bool has_modifier;
};

static struct auth_setting parse_setting(struct str text)
{
    struct auth_setting s;
    text = str_trim(text);
    if (str_starts(text, STR("rbac:")))
        text = str_from_off(text, strlen("rbac:"));
    s.has_modifier = str_cut(text, '+', &s.type, &s.modifier);
    return s;
}

static bool is_default(struct str type)
{
    return str_is_empty(type) || str_eq(type, STR("default"));
}

/* An app's own modifier stays when its type is the default. */
static struct auth_setting resolve(const struct auth *auth, struct str text)
{
    struct auth_setting s = parse_setting(text);
    if (!is_default(s.type))
        return s;
    struct auth_setting d = parse_setting(auth->config.default_type);
    if (is_default(d.type))
        d.type = STR("system");
    if (s.has_modifier) {
        d.modifier = s.modifier;
        d.has_modifier = true;
    }
    return d;
}

static bool check_modifier(const struct auth_setting *s, struct err *err)
{
    if (!s->has_modifier)
        return true;
    if (!str_starts(s->modifier, STR("forward_")) || str_chr(s->modifier, '+') != STR_NPOS)
        return err_set(err, ERR_INVALID, "invalid auth modifier " STR_FMT ": only +forward_<name> may follow the type",
                       STR_ARG(s->modifier));
    return err_set(err, ERR_INVALID, "auth modifier " STR_FMT ": forward auth is not available in this version",
                   STR_ARG(s->modifier));
}

bool auth_type_validate(const struct auth *auth, struct str type, struct err *err)
{
    struct auth_setting s = parse_setting(type);
    if (!check_modifier(&s, err))
        return false;
    if (is_default(s.type) || auth_kind_find(s.type))
        return true;
    return err_set(err, ERR_INVALID, "invalid authentication type " STR_FMT ": this version has default, none and system",
                   STR_ARG(s.type));
}

struct auth_rule auth_resolve(const struct auth *auth, struct arena *a, struct str type)
{
    struct auth_setting s = resolve(auth, type);
    struct auth_rule rule = {.type = str_dup(a, s.type), .kind = auth_kind_find(s.type)};
    scoped_err err = {0};
    if (!rule.kind)
        rule.problem = str_printf(a, "Unsupported authentication provider: " STR_FMT, STR_ARG(s.type));
    else if (!check_modifier(&s, &err))
        rule.problem = str_dup(a, str_from(err_msg(&err)));
    if (!str_is_empty(rule.problem))
        rule.kind = NULL;
    return rule;
}

struct str auth_domain(const struct auth *auth)
{
    return auth->domain;
}

/* --- opening --- */

static struct str resolve_domain(struct arena *a, const struct auth_config *c)
{
    struct str domain = str_trim(c->callback_domain);
    if (str_ends(domain, STR(".")))
        domain = str_is_empty(c->default_domain) ? (struct str){0} : str_cat(a, domain, c->default_domain);
    return str_lower(a, domain);
}

static void print_of(struct str hash, unsigned char out[AUTH_PRINT_LEN])
{
    unsigned char full[SHA256_LEN];
    sha256(hash, full);
    memcpy(out, full, AUTH_PRINT_LEN);
}

static void copy_config(struct auth *auth, const struct auth_config *c)
{
    struct arena *a = &auth->arena;
    auth->config = *c;
    auth->config.admin_user = str_dup(a, c->admin_user);
    auth->config.admin_password_bcrypt = str_dup(a, c->admin_password_bcrypt);
    auth->config.default_type = str_dup(a, c->default_type);
    auth->config.default_domain = str_dup(a, c->default_domain);
    auth->config.callback_domain = str_dup(a, c->callback_domain);
}

static bool check_config(const struct auth_config *c, struct err *err)
{
    if (c->admin_user.len > AUTH_USER_MAX)
        return err_set(err, ERR_INVALID, "admin_user is longer than %d bytes", AUTH_USER_MAX);
    if (!str_is_empty(c->admin_user) && !bcrypt_is_hash(c->admin_password_bcrypt))
        return err_set(err, ERR_INVALID,
                       "security.admin_password_bcrypt is not a bcrypt hash: make one with \"openrun password\"");
    if (c->session_max_age_secs < 0)
        return err_set(err, ERR_INVALID, "security.session_max_age is negative: set it in seconds, or 0 for sessions "
                                         "that end with the browser");
    return true;
}

bool auth_open(const struct auth_config *config, struct store *store, struct http_loops *loops, struct jobs *jobs,
               struct auth **out, struct err *err)
{
    if (!check_config(config, err))
        return false;
    struct auth *auth = xcalloc(1, sizeof *auth);
    copy_config(auth, config);
    auth->store = store;
    auth->loops = loops;
    auth->jobs = jobs;
    auth->domain = resolve_domain(&auth->arena, config);
    auth->has_form = !config->is_login_form_disabled && !str_is_empty(auth->domain);
    print_of(auth->config.admin_password_bcrypt, auth->admin_print);
    random_bytes(auth->digest_key, sizeof auth->digest_key);
    auth->sha512 = EVP_MD_fetch(NULL, "SHA2-512", NULL);
    auth->limits = limits_open();
    auth->verifier = verifier_open(jobs);
    if ((!auth->sha512 && !err_set(err, ERR_INTERNAL, "libcrypto has no SHA-512")) ||
        !cookie_key_load(&auth->cookie_key, store, err) || !sessions_open(auth, err)) {
        auth_close(auth);
        return false;
    }
    *out = auth;
    return true;
}

void auth_close(struct auth *auth)
{
    if (!auth)
        return;
    verifier_close(auth->verifier);
    limits_close(auth->limits);
    EVP_CIPHER_free(auth->cookie_key.cipher);
    EVP_MD_free(auth->sha512);
    arena_release(&auth->arena);
    explicit_bzero(auth, sizeof *auth);
    free(auth);
}

/* --- answers --- */

struct str auth_client_ip(const struct auth *auth, struct http_req *req)
{
    return auth->config.client_ip ? auth->config.client_ip(req) : http_req_peer(req);
}

struct str auth_client_group(const struct auth *auth, struct http_req *req)
{
    struct str ip = auth_client_ip(auth, req);
    char z[INET6_ADDRSTRLEN];
    unsigned char addr[16];
    if (str_chr(ip, ':') == STR_NPOS || ip.len >= sizeof z)
        return ip;
    memcpy(z, ip.ptr, ip.len);
    z[ip.len] = '\0';
    return inet_pton(AF_INET6, z, addr) == 1 ? str_hex(req->arena, addr, 8) : ip;
}

void auth_admit(struct http_req *req, struct str user_id, bool is_basic, auth_done_fn done, void *arg)
{
    struct auth_identity *who = arena_new(req->arena, struct auth_identity);
    who->user_id = user_id;
    who->is_basic = is_basic;
    done(req, who, arg);
}

void auth_challenge(const struct auth_ask *ask)
{
    http_resp_header(ask->req, STR("WWW-Authenticate"), STR("Basic realm=\"openrun\""));
    http_reply_error(ask->req, 401, ask->is_api ? STR("Unauthorized") : STR("Authentication failed"));
}

void auth_refuse(struct http_req *req, int status, int retry_secs, struct str why)
{
    http_resp_header(req, STR("Retry-After"), str_printf(req->arena, "%d", MAX(retry_secs, 1)));
    http_resp_header(req, STR("Cache-Control"), STR("no-store"));
    http_reply_error(req, status, why);
}

static void add_audit(const struct auth *auth, struct http_req *req, struct str operation, struct str user_id,
                      struct str target, struct str status, const char *what)
{
    store_audit_add(auth->store, &(struct store_audit_event){
        .user_id = user_id,
        .event_type = STR("system"),
        .operation = operation,
        .target = target,
        .status = status,
        .detail = str_printf(req->arena, "%s (remote " STR_FMT ")", what, STR_ARG(auth_client_ip(auth, req))),
    });
}

static struct str audit_target(struct http_req *req)
{
    return str_printf(req->arena, STR_FMT ":" STR_FMT, STR_ARG(req->authority), STR_ARG(req->path));
}

void auth_audit_failure(const struct auth *auth, struct http_req *req, struct str user_id, const char *why)
{
    struct str target = audit_target(req);
    struct str key = str_printf(req->arena, "audit " STR_FMT " " STR_FMT, STR_ARG(user_id), STR_ARG(target));
    if (limit_rate(auth->limits, key, 1, AUDIT_EACH_MS, NULL) &&
        limit_rate(auth->limits, STR("audits"), AUDIT_EACH_MAX, AUDIT_EACH_MS, NULL))
        add_audit(auth, req, STR("auth_failure"), user_id, target, STR("Failed"), why);
}

void auth_audit(const struct auth *auth, struct http_req *req, struct str operation, struct str user_id)
{
    add_audit(auth, req, operation, user_id, audit_target(req), STR("Success"), "by form");
}

/* --- tasks --- */

static void end_task(struct http_loop *loop, void *arg)
{
    struct auth_task *task = arg;
    atomic_fetch_sub_explicit(&task->auth->tasks, 1, memory_order_relaxed);
    task->then(task);
    arena_release(&task->arena);
    err_release(&task->err);
    free(task);
}

static void run_task(void *arg)
{
    struct auth_task *task = arg;
    task->work(task, &task->err);
    http_loop_post(task->loop, end_task, task);
}

void auth_task_start(struct auth *auth, struct http_req *req, struct auth_task *task)
{
    task->auth = auth;
    task->req = req;
    task->loop = req->loop;
    bool has_room = atomic_fetch_add_explicit(&auth->tasks, 1, memory_order_relaxed) < AUTH_TASKS_MAX;
    if (has_room && jobs_submit(auth->jobs, run_task, task))
        return;
    atomic_fetch_sub_explicit(&auth->tasks, 1, memory_order_relaxed);
    arena_release(&task->arena);
    free(task);
    auth_refuse(req, 503, 1, STR("too many sign-ins are under way, try again in a moment"));
}

bool auth_task_ok(struct auth_task *task)
{
    if (!err_is_set(&task->err))
        return true;
    log_error("sign-in: the metadata cannot be used", LOG_ERR(&task->err));
    auth_refuse(task->req, 503, 5, STR("sign-in is not available at the moment, try again"));
    return false;
}

/* --- the check --- */

/* A session that the loop did not know. */
struct look_up {
    struct auth_task task;
    struct auth_ask ask;
    unsigned char id[AUTH_ID_LEN];
    uint64_t removals;
    struct session_fact fact;
    bool found;
};

static bool look_up_work(struct auth_task *task, struct err *err)
{
    struct look_up *l = CONTAINER_OF(task, struct look_up, task);
    scoped_store_tx *tx = store_read(task->auth->store, err);
    return tx && session_row_get(tx, &task->arena, l->ask.kind->cookie, l->id, &l->fact, &l->found, err);
}

static void look_up_then(struct auth_task *task)
{
    struct look_up *l = CONTAINER_OF(task, struct look_up, task);
    if (!auth_task_ok(task))
        return;
    struct auth_loop *loop = auth_loop_of(task->loop);
    struct auth_account account;
    if (l->found)
        session_learn(loop, &l->fact, l->removals);
    else
        session_forget(loop, l->id, http_loop_now_ms(task->loop));
    if (l->found && session_is_good(task->auth, &l->fact, &account))
        auth_admit(task->req, account.user_id, false, l->ask.done, l->ask.arg);
    else
        login_start(&l->ask);
}

static void check_form_kind(const struct auth_ask *ask)
{
    struct http_req *req = ask->req;
    struct str authorization = http_req_known(req, HTTP_H_AUTHORIZATION);
    if (str_starts(authorization, STR("Basic "))) {
        basic_check(ask, authorization);
        return;
    }
    struct auth_account account;
    unsigned char id[AUTH_ID_LEN];
    switch (session_find(ask->auth, req, ask->kind, &account, id)) {
    case SESSION_LIVE:
        auth_admit(req, account.user_id, false, ask->done, ask->arg);
        return;
    case SESSION_NONE:
        login_start(ask);
        return;
    case SESSION_PENDING:
        break;
    }
    struct look_up *l = xcalloc(1, sizeof *l);
    l->task.work = look_up_work;
    l->task.then = look_up_then;
    l->ask = *ask;
    memcpy(l->id, id, sizeof id);
    l->removals = auth_loop_of(req->loop)->removals;
    auth_task_start(ask->auth, req, &l->task);
}

void auth_check(struct auth *auth, struct http_req *req, const struct auth_rule *rule, bool is_https, auth_done_fn done,
                void *arg)
{
    static const struct auth_identity anonymous = {.user_id = STR_INIT("anonymous")};
    if (UNLIKELY(!rule->kind)) {
        http_reply_error(req, 500, rule->problem);
    } else if (rule->kind != KIND_NONE) {
        check_form_kind(&(struct auth_ask){
            .auth = auth, .req = req, .kind = rule->kind, .done = done, .arg = arg, .is_https = is_https});
    } else if (auth->config.is_auth_required) {
        http_reply_error(req, 401, STR("Authentication required"));
    } else {
        done(req, &anonymous, arg);
    }
}

void auth_check_admin(struct auth *auth, struct http_req *req, auth_done_fn done, void *arg)
{
    struct auth_ask ask = {.auth = auth, .req = req, .kind = KIND_SYSTEM, .done = done, .arg = arg, .is_api = true};
    struct str authorization = http_req_known(req, HTTP_H_AUTHORIZATION);
    if (str_starts(authorization, STR("Basic "))) {
        basic_check(&ask, authorization);
        return;
    }
    auth_audit_failure(auth, req, (struct str){0}, "no credentials");
    auth_challenge(&ask);
}
