/* tests/auth/auth_test.h: a real server on two loops over a real store, whose handler asks auth who is calling.
 *
 *     /_openrun/api   auth_check_admin
 *     /_openrun/...   auth_route
 *     /none /bad      an app of that kind of sign-in; everything else is of kind "system"
 *
 * The answer to who got through is "user=<id> basic=<0|1> cookie=<what an app would see>". X-Test-Ip is taken
 * for the client's address.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AUTH_TEST_H
#define AUTH_TEST_H

#include "auth_int.h"
#include "store_test.h"
#include "web.h"

#define APP_HOST  "app.localhost"
#define AUTH_HOST "auth.localhost"
#define NAVIGATE  "Accept: text/html,application/xhtml+xml\r\n"

struct rig {
    struct auth_config config;
    struct store *store;
    struct http_loops *loops;
    struct jobs *jobs;
    struct auth *auth;
    struct http_server *server;
    int port;
    struct arena arena;
};

static inline struct str test_client_ip(struct http_req *req)
{
    struct str ip = http_req_header(req, STR("X-Test-Ip"));
    return str_is_empty(ip) ? http_req_peer(req) : ip;
}

static inline void test_done(struct http_req *req, const struct auth_identity *who, void *arg)
{
    if (req->method == HTTP_POST && !auth_cross_origin_ok(req))
        return;
    struct str cookie = auth_strip_cookies(req, http_req_known(req, HTTP_H_COOKIE));
    http_reply(req, 200, STR("text/plain"),
               str_printf(req->arena, "user=" STR_FMT " basic=%d cookie=" STR_FMT, STR_ARG(who->user_id), who->is_basic,
                          STR_ARG(cookie)));
}

static inline void test_handle(struct http_req *req, void *arg)
{
    struct rig *rig = arg;
    if (str_starts(req->path, STR("/_openrun/api"))) {
        auth_check_admin(rig->auth, req, test_done, NULL);
        return;
    }
    if (str_starts(req->path, STR("/_openrun/"))) {
        if (!auth_route(rig->auth, req, false))
            http_reply_error(req, 404, STR("no route"));
        return;
    }
    struct str type = str_starts(req->path, STR("/none"))  ? STR("none")
                      : str_starts(req->path, STR("/bad")) ? STR("github")
                                                           : STR("system");
    struct auth_rule rule = auth_resolve(rig->auth, req->arena, type);
    auth_check(rig->auth, req, &rule, false, test_done, NULL);
}

static inline void rig_start(struct rig *rig)
{
    scoped_err err = {0};
    rig->loops = http_loops_open(2, &err);
    assert_non_null(rig->loops);
    rig->jobs = jobs_open("test", 6);
    MUST(auth_open(&rig->config, rig->store, rig->loops, rig->jobs, &rig->auth, &err), &err);
    rig->server = http_server_open(rig->loops, NULL);
    struct http_listener *l = http_listen(rig->server, &(struct http_listen){
        .host = STR("127.0.0.1"), .accept = HTTP_ACCEPT_HANDOFF, .handler = {test_handle, rig}}, &err);
    if (!l)
        fail_msg("%s", err_msg(&err));
    rig->port = http_listener_port(l);
}

static inline void rig_stop(struct rig *rig)
{
    http_server_drain(rig->server, 5000);
    http_server_close(rig->server);
    jobs_close(rig->jobs);
    http_loops_close(rig->loops);
    auth_close(rig->auth);
}

/* `cost` of the admin's password "secret". */
static inline void rig_open(struct rig *rig, int cost)
{
    scoped_err err = {0};
    *rig = (struct rig){0};
    struct str hash = {0};
    MUST(bcrypt_hash(&rig->arena, STR("secret"), cost, &hash, &err), &err);
    rig->config = (struct auth_config){
        .admin_user = STR("root"), .admin_password_bcrypt = hash, .default_type = STR("system"),
        .default_domain = STR("localhost"), .callback_domain = STR("auth."), .session_max_age_secs = 3600,
        .is_session_https_only = true, .client_ip = test_client_ip,
    };
    rig->store = test_open("auth");
    rig_start(rig);
}

static inline void rig_close(struct rig *rig)
{
    rig_stop(rig);
    store_close(rig->store);
    arena_release(&rig->arena);
}

/* --- requests --- */

/* One exchange on a connection of its own; `headers` are whole lines. The answer's text is in the rig's arena. */
struct answer {
    int status;
    struct str head, body;
};

static inline struct answer ask(struct rig *rig, const char *method, const char *host, const char *target,
                                const char *headers, const char *body)
{
    struct web_resp r = {0};
    char *text = NULL;
    int n = asprintf(&text, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n%s%s%zu\r\n\r\n%s", method, target,
                     host, rig->port, headers, "Content-Length: ", strlen(body), body);
    assert_true(n > 0);
    web_once(rig->port, text, &r);
    free(text);
    struct answer a = {.status = r.status, .head = str_dup(&rig->arena, str_from(r.head)),
                       .body = str_dup(&rig->arena, buf_str(&r.body))};
    web_free(&r);
    return a;
}

static inline struct answer get(struct rig *rig, const char *host, const char *target, const char *headers)
{
    return ask(rig, "GET", host, target, headers, "");
}

/* The first header `name` (as we write it), or an empty slice. */
static inline struct str header_of(struct rig *rig, const struct answer *a, const char *name)
{
    struct str want = str_printf(&rig->arena, "\r\n%s: ", name);
    size_t at = str_find(a->head, want);
    if (at == STR_NPOS)
        return (struct str){0};
    struct str rest = str_from_off(a->head, at + want.len);
    return str_slice(rest, 0, str_find(rest, STR("\r\n")));
}

/* "Cookie: name=value\r\n" of the answer's Set-Cookie. */
static inline char *cookie_of(struct rig *rig, const struct answer *a)
{
    struct str set = header_of(rig, a, "Set-Cookie"), pair;
    str_cut(set, ';', &pair, NULL);
    return str_z(&rig->arena, str_printf(&rig->arena, "Cookie: " STR_FMT "\r\n", STR_ARG(pair)));
}

static inline char *basic_line(struct rig *rig, const char *user, const char *password)
{
    struct str text = str_printf(&rig->arena, "%s:%s", user, password);
    return str_z(&rig->arena, str_printf(&rig->arena, "Authorization: Basic " STR_FMT "\r\n",
                                         STR_ARG(base64_encode(&rig->arena, text))));
}

#define assert_has(text, part)                                                                          \
    do {                                                                                                \
        struct str text_ = (text);                                                                      \
        if (str_find(text_, STR(part)) == STR_NPOS)                                                     \
            fail_msg("\"%s\" is not in: %.*s", part, STR_ARG(text_));                                   \
    } while (0)

/* The target ("/path?query") of an absolute URL. */
static inline char *target_of(struct rig *rig, struct str url)
{
    size_t at = str_find(url, STR("://"));
    struct str rest = str_from_off(url, at == STR_NPOS ? 0 : at + 3);
    return str_z(&rig->arena, str_from_off(rest, str_chr(rest, '/')));
}

/* Fills in the form of `login_url`; the answer to the post. */
static inline struct answer post_form(struct rig *rig, struct str login_url, const char *user, const char *password,
                                      const char *headers)
{
    struct str state = str_from_off(login_url, str_find(login_url, STR("state=")) + 6);
    char *body = str_z(&rig->arena, str_printf(&rig->arena, "state=" STR_FMT "&system-username=%s&system-password=%s",
                                               STR_ARG(state), user, password));
    return ask(rig, "POST", AUTH_HOST, "/_openrun/auth/login/system", headers, body);
}

/* Signs in through the form from `target`; the Cookie line of the session. */
static inline char *sign_in(struct rig *rig, const char *target)
{
    struct answer start = get(rig, APP_HOST, target, NAVIGATE);
    assert_int_equal(start.status, 302);
    struct answer posted = post_form(rig, header_of(rig, &start, "Location"), "root", "secret", "");
    assert_int_equal(posted.status, 302);
    struct answer end = get(rig, APP_HOST, target_of(rig, header_of(rig, &posted, "Location")), cookie_of(rig, &start));
    assert_int_equal(end.status, 302);
    return cookie_of(rig, &end);
}

static inline size_t count_rows(struct rig *rig, struct str prefix)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct store_key_list rows = {0};
    scoped_store_tx *tx = store_read(rig->store, &err);
    MUST(tx && store_key_list(tx, &a, prefix, &rows, &err), &err);
    return rows.len;
}

static inline size_t count_audits(struct rig *rig, struct str operation, struct str detail)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct store_audit_list events = {0};
    struct store_audit_query q = {.detail = detail};
    str_list_add(&a, &q.operations, operation);
    MUST(store_audit_list(rig->store, &a, &q, &events, &err), &err);
    return events.len;
}

#endif
