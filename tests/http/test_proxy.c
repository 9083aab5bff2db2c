/* tests/http/test_proxy.c: the reverse proxy between raw client sockets and scripted upstreams.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "fake_server.h"

#include <poll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The proxy under test: one loop, one listener, one upstream. */
struct world {
    struct http_loops *loops;
    struct http_server *server;
    int port;
    struct arena arena;
    struct http_upstream to;
    struct http_proxy_opts opts;
    struct fake_server up;
    _Atomic(void *) script_arg;
    int tell[2];                    /* a pipe for words from the test to a script */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done;                       /* on_done calls */
    struct http_proxy_result last;
    uint64_t in, out;               /* by on_bytes */
    int takeovers;                  /* on_connect_failed calls to accept */
};

static void on_bytes(struct http_req *req, uint64_t in, uint64_t out, void *arg)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->in += in;
    w->out += out;
    pthread_mutex_unlock(&w->lock);
}

static void on_done(struct http_req *req, const struct http_proxy_result *r, void *arg)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    w->done++;
    w->last = *r;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static bool on_connect_failed(struct http_req *req, const char *why, void *arg)
{
    struct world *w = arg;
    if (w->takeovers-- <= 0)
        return false;
    http_reply(req, 503, STR("text/plain"), STR("waking up"));
    return true;
}

static void on_request(struct http_req *req, void *arg)
{
    struct world *w = arg;
    http_proxy(req, &w->to, &w->opts);
}

/* Waits until `n` exchanges are over, and gives the last one's result. */
static struct http_proxy_result wait_done(struct world *w, int n)
{
    pthread_mutex_lock(&w->lock);
    while (w->done < n)
        pthread_cond_wait(&w->changed, &w->lock);
    struct http_proxy_result r = w->last;
    pthread_mutex_unlock(&w->lock);
    return r;
}

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    scoped_err err = {0};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    assert_int_equal(pipe(w->tell), 0);
    w->loops = http_loops_open(1, &err);
    assert_non_null(w->loops);
    w->server = http_server_open(w->loops, NULL);
    struct http_listener *l = http_listen(w->server, &(struct http_listen){
        .host = STR("127.0.0.1"), .handler = {on_request, w}, .setting = "test"}, &err);
    if (!l)
        fail_msg("%s", err_msg(&err));
    w->port = http_listener_port(l);
    w->opts.events.on_bytes = on_bytes;
    w->opts.events.on_done = on_done;
    w->opts.events.on_connect_failed = on_connect_failed;
    w->opts.events.arg = w;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_server_close(w->server);
    http_loops_close(w->loops);
    if (w->up.script)
        fake_stop(&w->up);
    close(w->tell[0]);
    close(w->tell[1]);
    arena_release(&w->arena);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return 0;
}

static void upstream_at(struct world *w, const char *url)
{
    scoped_err err = {0};
    if (!http_upstream_parse(&w->arena, str_from(url), false, &w->to, &err))
        fail_msg("%s", err_msg(&err));
}

static void start_upstream(struct world *w, fake_script *script)
{
    char url[64];
    fake_start(&w->up, script, w, NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", w->up.port);
    upstream_at(w, url);
}

static int dial(struct world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* A test that would hang fails instead. */
    struct timeval limit = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    return fd;
}

/* Sends `request` on a new connection and reads to the end of the response's stream, which the request should end with
 * Connection: close. */
static struct str ask(struct world *w, const char *request)
{
    scoped_fd int fd = dial(w);
    scoped_buf b = BUF_INIT(64 << 20);
    assert_true(fake_write(fd, request));
    char part[65536];
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
        assert_true(buf_add(&b, part, (size_t)n));
    return str_dup(&w->arena, buf_str(&b));
}

static struct str body_of(struct str response)
{
    size_t at = str_find(response, STR("\r\n\r\n"));
    return at == STR_NPOS ? (struct str){0} : str_from_off(response, at + 4);
}

static bool has(struct str text, const char *part)
{
    return str_find(text, str_from(part)) != STR_NPOS;
}

static void check_has(struct str text, const char *part)
{
    if (!has(text, part))
        fail_msg("\"%s\" is missing in:\n%.*s", part, (int)MIN(text.len, (size_t)2000), text.ptr);
}

static void check_lacks(struct str text, const char *part)
{
    if (has(text, part))
        fail_msg("\"%s\" should not be in:\n%.*s", part, (int)MIN(text.len, (size_t)2000), text.ptr);
}

static void check_status(struct str response, int status)
{
    char line[16];
    snprintf(line, sizeof line, "HTTP/1.1 %d ", status);
    if (!str_starts(response, str_from(line)))
        fail_msg("wanted %d, got:\n%.*s", status, (int)MIN(response.len, (size_t)500), response.ptr);
}

/* ---- Heads ---- */

/* Answers each request with its own head as the body. */
static void echo_head(struct fake_server *s, int fd, int nth)
{
    char head[65536], start[128];
    for (size_t n; (n = fake_read_head(fd, head, sizeof head)) > 0;) {
        snprintf(start, sizeof start, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-Up: yes\r\n\r\n", n);
        if (!fake_write(fd, start) || !fake_write_all(fd, head, n))
            return;
    }
}

static void the_request_is_passed_on_with_its_fields(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    struct str r = ask(w, "GET /a%20b?q=1 HTTP/1.1\r\nHost: app.example\r\nAccept: */*\r\nX-Mixed-Case: v\r\nConnection: close\r\n\r\n");
    check_status(r, 200);
    check_has(r, "X-Up: yes\r\n");
    struct str head = body_of(r);
    assert_true(str_starts(head, STR("GET /a%20b?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")));
    check_has(head, "Accept: */*\r\nX-Mixed-Case: v\r\n");
    check_lacks(head, "Connection");
    check_lacks(head, "User-Agent");
    check_lacks(head, "Content-Length");
    struct http_proxy_result res = wait_done(w, 1);
    assert_true(res.is_ok && res.status == 200 && res.first_byte_ns > 0);
    assert_int_equal(res.bytes_out, body_of(r).len);
    assert_int_equal(w->out, body_of(r).len);
}

static void fields_of_one_hop_and_forged_ones_are_dropped(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    static const struct http_pair set[] = {
        {STR_INIT("X-Openrun-User"), STR_INIT("alice")}, {STR_INIT("X-Forwarded-For"), STR_INIT("9.9.9.9")},
        {STR_INIT("X-Custom"), STR_INIT("ours")},
    };
    w->opts.drop = http_proxy_drop_forwarded;
    w->opts.drop_count = http_proxy_drop_forwarded_count;
    w->opts.set = set;
    w->opts.set_count = ARRAY_LEN(set);
    struct str head = body_of(ask(w,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop, X-Openrun-User\r\nX-Hop: gone1\r\nKeep-Alive: gone2\r\n"
        "Proxy-Authorization: gone3\r\nTE: trailers, deflate\r\nForwarded: gone4\r\nx-forwarded-for: gone5\r\n"
        "X-Forwarded-Port: gone6\r\nX_Forwarded_Host: gone7\r\nX-REAL-IP: gone8\r\nx-openrun-anything: gone9\r\n"
        "X_OpenRun_User: gone10\r\nx-custom: gone11\r\nHTTP2-Settings: gone12\r\nUpgrade: h2c\r\nX-Openrunner: stays\r\n"
        "X-Realm: stays\r\nCookie: a=1\r\n\r\n"));
    check_lacks(head, "gone");
    check_lacks(head, "h2c");
    check_has(head, "TE: trailers\r\n");
    check_has(head, "X-Openrun-User: alice\r\n");
    check_has(head, "X-Forwarded-For: 9.9.9.9\r\n");
    check_has(head, "X-Custom: ours\r\n");
    check_has(head, "X-Openrunner: stays\r\n");
    check_has(head, "X-Realm: stays\r\n");
    check_has(head, "Cookie: a=1\r\n");
    check_lacks(head, "Connection");
}

static void host_cookie_and_query_follow_the_options(void **state)
{
    struct world *w = *state;
    char url[64];
    fake_start(&w->up, echo_head, w, NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/base/?key=k", w->up.port);
    upstream_at(w, url);
    w->opts.host = STR("public.example");
    w->opts.has_cookie = true;
    w->opts.cookie = STR("kept=1");
    w->opts.strip_prefix = STR("/my app");
    struct str head = body_of(ask(w, "GET /my%20app/x/y?q=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nCookie: secret=1; kept=1\r\n\r\n"));
    assert_true(str_starts(head, STR("GET /base/x/y?key=k&q=1 HTTP/1.1\r\nHost: public.example\r\n")));
    check_lacks(head, "secret");
    check_has(head, "Cookie: kept=1\r\n");
    head = body_of(ask(w, "GET /my%20app HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(str_starts(head, STR("GET /base/?key=k HTTP/1.1\r\n")));
    check_status(ask(w, "GET /my%20apple HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 404);
    check_status(ask(w, "GET /my%20app%2Fx HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 404);
    w->opts.path = STR("/given");
    head = body_of(ask(w, "GET /my%20app/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    assert_true(str_starts(head, STR("GET /base/given?key=k HTTP/1.1\r\n")));
}

static void a_header_that_would_split_is_refused(void **state)
{
    struct world *w = *state;
    static const struct http_pair set[] = {{STR_INIT("X-User"), STR_INIT("a\r\nX-Admin: yes")}};
    start_upstream(w, echo_head);
    w->opts.set = set;
    w->opts.set_count = 1;
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 500);
    assert_int_equal(atomic_load(&w->up.connections), 0);
    assert_int_equal(wait_done(w, 1).status, 500);
}

static void large_heads_pass(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    scoped_buf b = BUF_INIT(1 << 20);
    buf_add_z(&b, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Big: ");
    for (int i = 0; i < 30000; i++)
        buf_add_char(&b, 'b');
    buf_add_z(&b, "\r\n\r\n");
    struct str r = ask(w, buf_z(&b));
    check_status(r, 200);
    assert_true(body_of(r).len > 30000);
}

static void redirects(struct fake_server *s, int fd, int nth)
{
    char head[4096], out[8192], where[4096];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        const char *x = strstr(head, "X-Where: ");
        if (!x || sscanf(x + 9, "%1000s", where) != 1)
            return;
        char *self = strstr(where, "SELF");
        if (self) {
            char with[4000];
            snprintf(with, sizeof with, "%.*s127.0.0.1:%d%s", (int)(self - where), where, s->port, self + 4);
            snprintf(where, sizeof where, "%s", with);
        }
        snprintf(out, sizeof out, "HTTP/1.1 302 Found\r\nLocation: %s\r\nX-Set: theirs\r\nContent-Length: 0\r\n\r\n", where);
        if (!fake_write(fd, out))
            return;
    }
}

static void locations_are_rewritten(void **state)
{
    struct world *w = *state;
    start_upstream(w, redirects);
    static const struct { const char *prefix, *in, *out; bool off; } cases[] = {
        {"", "/x", "/x"}, {"", "http://SELF/x?y#z", "/x?y#z"}, {"", "http://SELF", "/"}, {"", "https://SELF?q", "/?q"},
        {"", "http://other/x", "http://other/x"}, {"", "rel", "rel"}, {"", "//evil/x", "//evil/x"},
        {"", "http://SELF//evil/x", "/evil/x"}, {"", "http://SELF/\\evil", "/evil"}, {"", "http://SELF///e", "/e"},
        {"/app", "/x", "/app/x"}, {"/app", "/app/x", "/app/x"}, {"/app", "/app", "/app"}, {"/app", "/apple", "/app/apple"},
        {"/app", "http://SELF/x", "/app/x"}, {"/app", "http://SELF/app?x", "/app?x"}, {"/app", "http://other/x", "http://other/x"},
        {"/app", "x/y", "x/y"}, {"/app", "//evil", "//evil"}, {"/a b", "/x", "/a%20b/x"}, {"/app", "/?u=/app/", "/app/?u=/app/"},
        {"/app", "http://public.example/x", "/app/x"}, {"", "http://public.example/x", "http://public.example/x"},
        {"/app", "/x", "/x", true}, {"", "http://SELF@evil/x", "http://127.0.0.1:PORT@evil/x"},
    };
    w->opts.host = STR("public.example");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w->opts.rewrite_location = !cases[i].off;
        w->opts.strip_prefix = str_from(cases[i].prefix);
        w->opts.path = STR("/");
        char req[512], want[512], port[16];
        snprintf(req, sizeof req, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Where: %s\r\n\r\n", cases[i].in);
        const char *hole = strstr(cases[i].out, "PORT");
        snprintf(port, sizeof port, "%d", w->up.port);
        snprintf(want, sizeof want, "\r\nLocation: %.*s%s%s\r\n", hole ? (int)(hole - cases[i].out) : (int)strlen(cases[i].out),
                 cases[i].out, hole ? port : "", hole ? hole + 4 : "");
        struct str r = ask(w, req);
        if (!has(r, want))
            fail_msg("%s under \"%s\": wanted%sgot %.*s", cases[i].in, cases[i].prefix, want, STR_ARG(r));
    }
}

/* Says it back: a cookie per line of X-Cookie. */
static void cookies(struct fake_server *s, int fd, int nth)
{
    char head[4096], out[8192];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        const char *x = strstr(head, "X-Cookie: ");
        if (!x)
            return;
        snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nSet-Cookie: %.*s\r\nSet-Cookie: second=2; path=/two\r\nContent-Length: 0\r\n\r\n",
                 (int)strcspn(x + 10, "\r"), x + 10);
        if (!fake_write(fd, out))
            return;
    }
}

static void cookie_paths_are_rewritten(void **state)
{
    struct world *w = *state;
    start_upstream(w, cookies);
    static const struct { const char *prefix, *in, *out; bool off; } cases[] = {
        {"/app", "a=1; Path=/", "a=1; Path=/app"}, {"/app", "a=1; Path=/x; HttpOnly", "a=1; Path=/app/x; HttpOnly"},
        {"/app", "a=1;path=/x/;Secure", "a=1; Path=/app/x/;Secure"}, {"/app", "a=1; PATH = /x ; Secure", "a=1; Path=/app/x; Secure"},
        {"/app", "a=1; Path=/app", "a=1; Path=/app"}, {"/app", "a=1; Path=/app/x", "a=1; Path=/app/x"},
        {"/app", "a=1; Path=/apple", "a=1; Path=/app/apple"}, {"/app", "a=1; Path=/;x; Path=/y", "a=1; Path=/app;x; Path=/app/y"},
        {"/app", "a=1", "a=1"}, {"/app", "a=1; Path=", "a=1; Path="}, {"/app", "a=1; Path", "a=1; Path"},
        {"/app", "a=1; Path=x", "a=1; Path=x"}, {"/app", "path=/; Secure", "path=/; Secure"},
        {"/app", "a=\"b; Path=/\"", "a=\"b; Path=/app/\""}, {"/app", "a=1; Path=/%61pp/x", "a=1; Path=/%61pp/x"},
        {"/app", "__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"},
        {"/app", "__Secure-a=1; Secure; Path=/", "__Secure-a=1; Secure; Path=/app"},
        {"/a b", "a=1; Path=/x", "a=1; Path=/a%20b/x"}, {"/a;b", "a=1; Path=/x", "a=1; Path=/x"},
        {"", "a=1; Path=/x", "a=1; Path=/x"}, {"/app", "a=1; Path=/x", "a=1; Path=/x", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w->opts.rewrite_cookie_path = !cases[i].off;
        w->opts.strip_prefix = str_from(cases[i].prefix);
        w->opts.path = STR("/");
        char req[512], want[512];
        snprintf(req, sizeof req, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Cookie: %s\r\n\r\n", cases[i].in);
        snprintf(want, sizeof want, "\r\nSet-Cookie: %s\r\n", cases[i].out);
        struct str r = ask(w, req);
        if (!has(r, want) || !has(r, "\r\nSet-Cookie: second=2; "))
            fail_msg("%s under \"%s\": wanted%sgot %.*s", cases[i].in, cases[i].prefix, want, STR_ARG(r));
    }
}

static void response_headers_replace(void **state)
{
    struct world *w = *state;
    static const struct http_pair set[] = {{STR_INIT("X-Set"), STR_INIT("at $url and $url")}};
    start_upstream(w, redirects);
    w->opts.response_set = set;
    w->opts.response_set_count = 1;
    w->opts.strip_prefix = STR("/app");
    struct str r = ask(w, "GET /app/p?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Where: /\r\n\r\n");
    check_has(r, "X-Set: at /p and /p\r\n");
    check_lacks(r, "theirs");
}

/* ---- Response framing ---- */

/* Answers with the text in w->script_arg, whole or a byte at a time (for an odd nth connection), then closes. */
static void canned(struct fake_server *s, int fd, int nth)
{
    struct world *w = s->arg;
    const char *text = w->script_arg;
    char head[4096];
    if (fake_read_head(fd, head, sizeof head) == 0)
        return;
    if (nth % 2 == 0) {
        fake_write(fd, text);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &(int){1}, sizeof(int));
    for (size_t i = 0; text[i]; i++)
        if (!fake_write_all(fd, text + i, 1))
            return;
}

static void responses_of_every_framing_arrive_whole(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    static const struct { const char *name, *in; int status; const char *body, *has; } cases[] = {
        {"a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", "Content-Length: 5\r\n"},
        {"no body at all", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", NULL},
        {"length zero", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", "Content-Length: 0\r\n"},
        {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n", 200, NULL,
         "Transfer-Encoding: chunked\r\n"},
        {"until close", "HTTP/1.1 200 OK\r\n\r\nhello", 200, NULL, "Transfer-Encoding: chunked\r\n"},
        {"HTTP/1.0 until close", "HTTP/1.0 200 OK\r\n\r\nhello", 200, NULL, "Transfer-Encoding: chunked\r\n"},
        {"304 with the length of what it stands for", "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"x\"\r\n\r\n", 304, "",
         "Content-Length: 77\r\n"},
        {"early hints first", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 103, NULL,
         "Link: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"},
        {"a 100 nobody asked for", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", NULL},
        {"fields of one hop",
         "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: gone\r\nUpgrade: gone\r\nContent-Length: 1\r\n\r\nx",
         200, "x", NULL},
        {"an unknown status", "HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", 599, "ok", NULL},
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        size_t k = i / 2;
        w->script_arg = (void *)cases[k].in;
        struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        check_status(r, cases[k].status);
        check_lacks(r, "gone");
        if (cases[k].has)
            check_has(r, cases[k].has);
        if (cases[k].body && !str_eq_z(body_of(r), cases[k].body))
            fail_msg("%s: body \"%.*s\"", cases[k].name, STR_ARG(body_of(r)));
        if (has(r, "chunked")) {
            /* however it was cut, it ends properly */
            assert_true(str_ends(r, STR("\r\n0\r\n\r\n")));
            check_lacks(r, "T: v");
        }
        wait_done(w, (int)i + 1);
        assert_true(w->last.is_ok);
    }
}

static void to_old_clients_chunks_become_until_close(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    w->script_arg = (void *)"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    struct str r = ask(w, "GET / HTTP/1.0\r\n\r\n");
    assert_true(str_eq(body_of(r), STR("hello")));
    check_lacks(r, "chunked");
}

static void head_has_the_headers_and_no_body(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    w->script_arg = (void *)"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    struct str r = ask(w, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 200);
    check_has(r, "Content-Length: 5000\r\n");
    assert_int_equal(body_of(r).len, 0);
    assert_true(wait_done(w, 1).is_ok);
}

static void bad_answers_become_502(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    static const char *const cases[] = {
        "", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", "HTTP/1.1 200 OK\nX: y\n\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 200 OK\r\nX: cut",
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        w->script_arg = (void *)cases[i / 2];
        struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        size_t at = str_find(r, STR("HTTP/1.1 502 "));
        if (at == STR_NPOS)
            fail_msg("case %zu: %.*s", i / 2, STR_ARG(r));
        wait_done(w, (int)i + 1);
        assert_true(!w->last.is_ok && w->last.why && w->last.status == 502);
    }
}

static void an_answer_cut_short_is_seen_as_such(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    static const char *const cases[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nffffffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        w->script_arg = (void *)cases[i / 2];
        struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        if (str_ends(r, STR("\r\n0\r\n\r\n")) || (has(r, "Content-Length") && has(r, " 200 ") && body_of(r).len == 10))
            fail_msg("case %zu looks complete: %.*s", i / 2, STR_ARG(r));
        wait_done(w, (int)i + 1);
        assert_false(w->last.is_ok);
    }
}

static void bytes_after_a_response_are_never_the_next_one(void **state)
{
    struct world *w = *state;
    start_upstream(w, canned);
    w->script_arg = (void *)"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (int i = 0; i < 4; i++) {
        struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert_true(str_eq(body_of(r), STR("ok")));
        assert_int_equal(wait_done(w, i + 1).bytes_out, 2);
    }
    assert_int_equal(atomic_load(&w->up.connections), 4);
}

/* ---- Connections ---- */

static void get_stats(struct http_loop *loop, void *arg)
{
    struct { struct world *w; struct http_upstream_stats s; } *q = arg;
    q->s = http_upstream_stats(loop, q->w->to.key);
}

static struct http_upstream_stats stats(struct world *w)
{
    struct { struct world *w; struct http_upstream_stats s; } q = {.w = w};
    http_loops_run(w->loops, get_stats, &q);
    return q.s;
}

static void connections_are_kept_and_used_again(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    for (int i = 0; i < 20; i++)
        check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 200);
    wait_done(w, 20);
    struct http_upstream_stats s = stats(w);
    assert_int_equal(s.opened, 1);
    assert_int_equal(s.reused, 19);
    assert_true(s.open == 1 && s.idle == 1);
    /* Pipelined requests of one client take turns on it too. */
    struct str r = ask(w, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_has(r, "GET /1 ");
    check_has(r, "GET /2 ");
    assert_int_equal(atomic_load(&w->up.connections), 1);
}

static void idle_connections_expire(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    w->opts.idle_conn_ms = 1;
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 200);
    while (stats(w).open > 0)
        poll(NULL, 0, 5);
}

static void short_lived(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    while (fake_read_head(fd, head, sizeof head) > 0)
        fake_write(fd, "HTTP/1.1 200 OK\r\nKeep-Alive: max=9, timeout=1\r\nContent-Length: 0\r\n\r\n");
}

static void connections_close_before_the_upstream_does(void **state)
{
    struct world *w = *state;
    start_upstream(w, short_lived);
    w->opts.idle_conn_ms = 3600000;
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 200);
    check_lacks(r, "Keep-Alive");
    while (stats(w).open > 0)
        poll(NULL, 0, 5);
}

/* Serves one request per connection, then closes once told to without having said so. */
static void closes_silently(struct fake_server *s, int fd, int nth)
{
    struct world *w = s->arg;
    char head[4096];
    if (fake_read_head(fd, head, sizeof head) == 0)
        return;
    fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    /* The second head is read and then the connection dropped, as if it had been lost on the way. */
    if (nth == 0 && w->script_arg && fake_read_head(fd, head, sizeof head) > 0)
        return;
    while (read(fd, head, sizeof head) > 0)
        ;
}

static void a_dead_connection_is_replaced_once_for_harmless_requests(void **state)
{
    struct world *w = *state;
    w->script_arg = w;
    start_upstream(w, closes_silently);
    assert_true(str_eq(body_of(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), STR("ok")));
    wait_done(w, 1);
    assert_true(str_eq(body_of(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), STR("ok")));
    assert_int_equal(atomic_load(&w->up.connections), 2);
    struct http_upstream_stats s = stats(w);
    assert_true(s.opened == 2 && s.reused == 1);
}

static void a_post_on_a_dead_connection_is_not_repeated(void **state)
{
    struct world *w = *state;
    w->script_arg = w;
    start_upstream(w, closes_silently);
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 200);
    wait_done(w, 1);
    check_status(ask(w, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), 502);
    assert_int_equal(atomic_load(&w->up.connections), 1);
}

static void refused_connections_are_told(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", w->up.port);
    fake_stop(&w->up);
    w->up.script = NULL;
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 502);
    check_has(r, "refused");
    assert_true(wait_done(w, 1).is_connect_failed);
    w->takeovers = 1;
    r = ask(w, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
    check_status(r, 503);
    check_has(r, "waking up");
    upstream_at(w, "unix:/nonexistent/socket");
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 502);
    upstream_at(w, "http://no-such-host.invalid");
    r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 502);
    check_has(r, "resolved");
}

/* As a forwarded port behind which nobody listens. */
static void slams_the_door(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    fake_read_head(fd, head, sizeof head);
}

static void a_fresh_connection_that_closes_is_as_good_as_none(void **state)
{
    struct world *w = *state;
    start_upstream(w, slams_the_door);
    w->takeovers = 1;
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 503);
    assert_int_equal(w->done, 0);
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 502);
    check_has(r, "without a response");
    w->takeovers = 1;
    check_status(ask(w, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), 502);
    assert_int_equal(w->takeovers, 1);
}

static void names_are_resolved(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    char url[64];
    snprintf(url, sizeof url, "http://localhost:%d", w->up.port);
    upstream_at(w, url);
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 200);
    check_has(body_of(r), "Host: localhost:");
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 200);
}

static void unix_sockets_work(void **state)
{
    struct world *w = *state;
    char path[64], url[80];
    snprintf(path, sizeof path, "/tmp/openrun_test_proxy_%d", (int)getpid());
    snprintf(url, sizeof url, "unix:%s", path);
    fake_start(&w->up, echo_head, w, path);
    upstream_at(w, url);
    struct str r = ask(w, "GET /u HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_has(body_of(r), "GET /u HTTP/1.1\r\nHost: localhost\r\n");
}

/* Says nothing until the peer is gone. */
static void silent(struct fake_server *s, int fd, int nth)
{
    char c[4096];
    while (read(fd, c, sizeof c) > 0)
        ;
}

static void a_late_first_byte_is_a_504(void **state)
{
    struct world *w = *state;
    start_upstream(w, silent);
    w->opts.first_byte_timeout_ms = 50;
    check_status(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), 504);
}

static void more_than_the_limit_wait_for_a_connection(void **state)
{
    struct world *w = *state;
    start_upstream(w, echo_head);
    w->opts.max_conns = 1;
    int fds[8];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = dial(w);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        assert_true(fake_write(fds[i], "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
    char buf[4096];
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        assert_true(read(fds[i], buf, sizeof buf) > 12);
        assert_memory_equal(buf, "HTTP/1.1 200", 12);
        while (read(fds[i], buf, sizeof buf) > 0)
            ;
        close(fds[i]);
    }
    assert_int_equal(atomic_load(&w->up.connections), 1);
}

enum { RUSH = 300 };

/* Answers nobody before all of the rush are here: each on a connection of its own. */
static void answers_when_all_are_here(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    if (fake_read_head(fd, head, sizeof head) == 0)
        return;
    while (atomic_load(&s->connections) < RUSH && !atomic_load(&s->is_stopping))
        poll(NULL, 0, 1);
    fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

/* On the loop, so that it sees none of the requests before it sees all. */
static void write_the_rush(struct http_loop *loop, void *arg)
{
    const int *fds = arg;
    for (size_t i = 0; i < RUSH; i++)
        assert_true(fake_write(fds[i], "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
}

static void a_rush_opens_connections_in_bursts_until_all_are_served(void **state)
{
    struct world *w = *state;
    start_upstream(w, answers_when_all_are_here);
    static int fds[RUSH];
    for (size_t i = 0; i < RUSH; i++)
        fds[i] = dial(w);
    int64_t began = clock_ms();
    http_loops_run(w->loops, write_the_rush, fds);
    while (atomic_load(&w->up.connections) < RUSH) {
        uint64_t opened = stats(w).opened;
        int64_t took = clock_ms() - began;
        assert_true((int64_t)opened <= 32 * (took / 5 + 2)); /* a burst at each end, and those between */
        poll(NULL, 0, 1);
    }
    char buf[4096];
    for (size_t i = 0; i < RUSH; i++) {
        assert_true(read(fds[i], buf, sizeof buf) > 12);
        assert_memory_equal(buf, "HTTP/1.1 200", 12);
        close(fds[i]);
    }
}

static void waiting_too_long_for_a_connection_is_a_504(void **state)
{
    struct world *w = *state;
    start_upstream(w, silent);
    w->opts.max_conns = 1;
    w->opts.connect_timeout_ms = 100;
    scoped_fd int first = dial(w);
    assert_true(fake_write(first, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    while (atomic_load(&w->up.connections) == 0)
        poll(NULL, 0, 1);
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 504);
    check_has(r, "in use");
}

/* ---- Bodies ---- */

/* Reads a request with a body of either framing; answers with the number of body bytes and a checksum. */
static void count_body(struct fake_server *s, int fd, int nth)
{
    char head[8192], out[256];
    static _Thread_local char part[65536];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        uint64_t n = 0, sum = 0;
        const char *cl = strcasestr(head, "content-length: ");
        bool chunked = strcasestr(head, "transfer-encoding: chunked") != NULL;
        uint64_t left = cl ? strtoull(cl + 16, NULL, 10) : 0;
        for (;;) {
            if (chunked && left == 0) {
                char line[64];
                size_t k = 0;
                while (k < sizeof line - 1 && read(fd, line + k, 1) == 1 && line[k++] != '\n')
                    ;
                line[k] = '\0';
                left = strtoull(line, NULL, 16);
                if (left == 0) {
                    if (!fake_read_all(fd, line, 2))
                        return;
                    break;
                }
            }
            if (left == 0)
                break;
            ssize_t r = read(fd, part, MIN(left, sizeof part));
            if (r <= 0)
                return;
            for (ssize_t i = 0; i < r; i++)
                sum = sum * 31 + (unsigned char)part[i];
            left -= (uint64_t)r;
            n += (uint64_t)r;
            if (chunked && left == 0 && !fake_read_all(fd, part, 2))
                return;
        }
        char text[64];
        int len = snprintf(text, sizeof text, "%llu %llx", (unsigned long long)n, (unsigned long long)sum);
        snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Framing: %s\r\n\r\n%s", len, chunked ? "chunked" : "length", text);
        if (!fake_write(fd, out))
            return;
    }
}

struct upload {
    int fd;
    size_t len;
    bool chunked;
};

static void *send_upload(void *arg)
{
    struct upload *u = arg;
    char part[10007];
    for (size_t done = 0; done < u->len;) {
        size_t n = MIN(sizeof part, u->len - done);
        for (size_t i = 0; i < n; i++)
            part[i] = (char)((done + i) * 7 >> 3);
        char size[32];
        snprintf(size, sizeof size, "%zx\r\n", n);
        if ((u->chunked && !fake_write(u->fd, size)) || !fake_write_all(u->fd, part, n)
            || (u->chunked && !fake_write(u->fd, "\r\n")))
            return NULL;
        done += n;
    }
    if (u->chunked)
        fake_write(u->fd, "0\r\n\r\n");
    return NULL;
}

static void uploads_arrive_whole(void **state)
{
    struct world *w = *state;
    start_upstream(w, count_body);
    static const struct { size_t len; bool chunked; } cases[] = {
        {1, false}, {1, true}, {0, true}, {20000, false}, {20000, true}, {10 << 20, false}, {10 << 20, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t sum = 0;
        for (size_t k = 0; k < cases[i].len; k++)
            sum = sum * 31 + (unsigned char)(char)(k * 7 >> 3);
        scoped_fd int fd = dial(w);
        char head[256], want[64], got[4096] = "";
        snprintf(head, sizeof head, "POST /up HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s: ", cases[i].chunked ? "Transfer-Encoding" : "Content-Length");
        if (cases[i].chunked)
            strncat(head, "chunked\r\n\r\n", sizeof head - strlen(head) - 1);
        else
            snprintf(head + strlen(head), sizeof head - strlen(head), "%zu\r\n\r\n", cases[i].len);
        assert_true(fake_write(fd, head));
        struct upload u = {fd, cases[i].len, cases[i].chunked};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, send_upload, &u), 0);
        size_t n = 0;
        for (ssize_t r; n < sizeof got - 1 && (r = read(fd, got + n, sizeof got - 1 - n)) > 0;)
            n += (size_t)r;
        pthread_join(t, NULL);
        snprintf(want, sizeof want, "\r\n\r\n%zu %llx", cases[i].len, (unsigned long long)sum);
        if (!strstr(got, want) || !strstr(got, cases[i].chunked ? "X-Framing: chunked" : "X-Framing: length"))
            fail_msg("case %zu: wanted %s got %s", i, want, got);
        assert_int_equal(wait_done(w, (int)i + 1).bytes_in, cases[i].len);
    }
    assert_int_equal(stats(w).opened, 1);
}

/* Sends `big` bytes as fast as they are taken, counting them, in the framing that the path names. */
enum { BIG = 10 << 20, ENDLESS = 512 << 20 };
static atomic_size_t produced;

static void produce(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    static _Thread_local char part[65536];
    memset(part, 'p', sizeof part);
    while (fake_read_head(fd, head, sizeof head) > 0) {
        bool chunked = strstr(head, " /chunked") != NULL, close_it = strstr(head, " /close") != NULL;
        size_t total = strstr(head, "/endless") ? ENDLESS : BIG;
        char start[128];
        snprintf(start, sizeof start, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", total);
        if (!fake_write(fd, chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" : close_it ? "HTTP/1.1 200 OK\r\n\r\n" : start))
            return;
        for (size_t done = 0; done < total;) {
            size_t n = MIN(total - done, chunked ? (size_t)1000 : sizeof part);
            char size[16];
            snprintf(size, sizeof size, "%zx\r\n", n);
            if ((chunked && !fake_write(fd, size)) || !fake_write_all(fd, part, n) || (chunked && !fake_write(fd, "\r\n")))
                return;
            done += n;
            atomic_fetch_add(&produced, n);
        }
        if (close_it || (chunked && !fake_write(fd, "0\r\n\r\n")))
            return;
    }
}

static void downloads_arrive_whole(void **state)
{
    struct world *w = *state;
    start_upstream(w, produce);
    static const char *const paths[] = {"/length", "/chunked", "/close"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char req[128];
        snprintf(req, sizeof req, "GET %s HTTP/1.0\r\n\r\n", paths[i]);
        struct str body = body_of(ask(w, req));
        assert_int_equal(body.len, BIG);
        for (size_t k = 0; k < body.len; k++)
            if (body.ptr[k] != 'p')
                fail_msg("%s: byte %zu", paths[i], k);
        assert_int_equal(wait_done(w, (int)i + 1).bytes_out, BIG);
    }
}

/* Waits until `counter` has not moved for a while: everything that can hold bytes is full. */
static size_t wait_stall(atomic_size_t *counter)
{
    size_t last = atomic_load(counter);
    for (int quiet = 0; quiet < 20;) {
        poll(NULL, 0, 10);
        size_t now = atomic_load(counter);
        quiet = now == last && now > 0 ? quiet + 1 : 0;
        last = now;
    }
    return last;
}

static void a_slow_client_stops_a_fast_upstream(void **state)
{
    struct world *w = *state;
    atomic_store(&produced, 0);
    start_upstream(w, produce);
    scoped_fd int fd = dial(w);
    assert_true(fake_write(fd, "GET /length/endless HTTP/1.1\r\nHost: h\r\n\r\n"));
    size_t held = wait_stall(&produced);
    /* What is held is in socket buffers, whose size the kernel chooses; far from all is what matters. */
    if (held > 64 << 20)
        fail_msg("%zu bytes were taken from the upstream", held);
    /* It goes on when the client reads, */
    char part[65536];
    for (size_t n = 0; n < held + (1 << 20);) {
        ssize_t r = read(fd, part, sizeof part);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_true(atomic_load(&produced) > held);
    /* and the upstream is let go when the client leaves. */
    shutdown(fd, SHUT_RDWR);
    struct http_proxy_result r = wait_done(w, 1);
    assert_true(r.is_client_gone && !r.is_ok);
    assert_int_equal(stats(w).open, 0);
}

static atomic_size_t uploaded;

static void *send_endless(void *arg)
{
    static char part[65536];
    int fd = *(int *)arg;
    for (ssize_t n; (n = send(fd, part, sizeof part, MSG_NOSIGNAL)) > 0;)
        atomic_fetch_add(&uploaded, (size_t)n);
    return NULL;
}

/* Reads a head, then nothing until told; then answers early. */
static void reads_no_body(struct fake_server *s, int fd, int nth)
{
    struct world *w = s->arg;
    char head[4096], c;
    if (fake_read_head(fd, head, sizeof head) == 0 || read(w->tell[0], &c, 1) != 1)
        return;
    fake_write(fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig!");
    shutdown(fd, SHUT_WR);
    while (read(fd, head, sizeof head) > 0)
        ;
}

static void a_slow_upstream_stops_a_fast_client_and_may_answer_early(void **state)
{
    struct world *w = *state;
    atomic_store(&uploaded, 0);
    start_upstream(w, reads_no_body);
    int fd = dial(w);
    assert_true(fake_write(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000\r\n\r\n"));
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_endless, &fd), 0);
    size_t held = wait_stall(&uploaded);
    if (held > 64 << 20)
        fail_msg("%zu bytes were taken from the client", held);
    assert_int_equal(write(w->tell[1], "x", 1), 1);
    char got[4096];
    ssize_t n = read(fd, got, sizeof got);
    assert_true(n > 12);
    check_status(str_of(got, (size_t)n), 413);
    wait_done(w, 1);
    shutdown(fd, SHUT_RDWR);
    pthread_join(t, NULL);
    close(fd);
}

/* Answers Expect: 100-continue as the path says. */
static void expecting(struct fake_server *s, int fd, int nth)
{
    char head[4096], body[16];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        if (!strcasestr(head, "expect: 100-continue\r\n")) {
            fake_write(fd, "HTTP/1.1 500 No Expect\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        if (strstr(head, " /refuse")) {
            fake_write(fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            continue;
        }
        if (strstr(head, " /agree"))
            fake_write(fd, "HTTP/1.1 100 Continue\r\n\r\n");
        if (!fake_read_all(fd, body, 5))
            return;
        fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        fake_write_all(fd, body, 5);
    }
}

static void an_expectation_is_the_upstreams_to_meet(void **state)
{
    struct world *w = *state;
    start_upstream(w, expecting);
    static const struct { const char *path; bool continues; const char *end; } cases[] = {
        {"/agree", true, "\r\n\r\nhello"}, {"/silent", true, "\r\n\r\nhello"}, {"/refuse", false, "HTTP/1.1 401 "},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_fd int fd = dial(w);
        char req[256], got[4096];
        snprintf(req, sizeof req, "PUT %s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", cases[i].path);
        assert_true(fake_write(fd, req));
        if (cases[i].continues) {
            assert_true(fake_read_head(fd, got, sizeof got) > 0);
            assert_string_equal(got, "HTTP/1.1 100 Continue\r\n\r\n");
            assert_true(fake_write(fd, "hello"));
        }
        size_t n = fake_read_head(fd, got, sizeof got - 5);
        assert_true(n > 0);
        if (cases[i].continues)
            assert_true(fake_read_all(fd, got + n, 5));
        check_has(str_of(got, n + (cases[i].continues ? 5 : 0)), cases[i].end);
    }
}

/* Sends one event, waits for the test's word, sends the next. */
static void events(struct fake_server *s, int fd, int nth)
{
    struct world *w = s->arg;
    char head[4096], c;
    if (fake_read_head(fd, head, sizeof head) == 0)
        return;
    fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    while (read(w->tell[0], &c, 1) == 1 && c != 'q')
        if (!fake_write(fd, "data: x\n\n"))
            return;
}

static void events_pass_at_once(void **state)
{
    struct world *w = *state;
    start_upstream(w, events);
    scoped_fd int fd = dial(w);
    char got[512];
    assert_true(fake_write(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_true(fake_read_head(fd, got, sizeof got) > 0); /* the head alone */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(write(w->tell[1], "n", 1), 1);
        assert_true(fake_read_all(fd, got, 14));
        assert_memory_equal(got, "9\r\ndata: x\n\n\r\n", 14);
    }
    assert_int_equal(write(w->tell[1], "q", 1), 1);
    assert_true(fake_read_all(fd, got, 5));
    assert_memory_equal(got, "0\r\n\r\n", 5);
    assert_true(wait_done(w, 1).is_ok);
}

static void a_client_that_leaves_ends_the_upstreams_work(void **state)
{
    struct world *w = *state;
    start_upstream(w, silent);
    int fd = dial(w);
    assert_true(fake_write(fd, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    while (atomic_load(&w->up.connections) == 0)
        poll(NULL, 0, 1);
    close(fd);
    struct http_proxy_result r = wait_done(w, 1);
    assert_true(r.is_client_gone && r.status == 0);
    while (stats(w).open > 0)
        poll(NULL, 0, 1);
}

/* ---- Tunnels ---- */

/* Switches to the offered protocol and echoes; "quit\n" closes. With /early sends bytes with the head. */
static void websocket(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    static _Thread_local char part[65536];
    if (fake_read_head(fd, head, sizeof head) == 0 || !strcasestr(head, "\r\nConnection: Upgrade\r\n")
        || !strcasestr(head, "\r\nUpgrade: websocket\r\n"))
        return;
    fake_write(fd, strstr(head, "/early")   ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nX-Key: k\r\n\r\nearly"
                   : strstr(head, "/other") ? "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"
                   : strstr(head, "/no")    ? "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
                                            : "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: k\r\n\r\n");
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;) {
        if (n == 5 && memcmp(part, "quit\n", 5) == 0)
            return;
        if (!fake_write_all(fd, part, (size_t)n))
            return;
    }
}

static int open_tunnel(struct world *w, const char *path, const char *extra)
{
    char req[256], got[1024];
    int fd = dial(w);
    snprintf(req, sizeof req, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n%s", path, extra);
    assert_true(fake_write(fd, req));
    assert_true(fake_read_head(fd, got, sizeof got) > 0);
    check_status(str_from(got), 101);
    check_has(str_from(got), "X-Key: k\r\n");
    assert_non_null(strcasestr(got, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strcasestr(got, "\r\nConnection: upgrade\r\n"));
    return fd;
}

static void upgrades_become_tunnels(void **state)
{
    struct world *w = *state;
    start_upstream(w, websocket);
    int fd = open_tunnel(w, "/early", "with the head");
    char got[64];
    assert_true(fake_read_all(fd, got, 5 + 13));
    assert_memory_equal(got, "earlywith the head", 18);
    for (int i = 0; i < 100; i++) {
        assert_true(fake_write(fd, "ping!"));
        assert_true(fake_read_all(fd, got, 5));
        assert_memory_equal(got, "ping!", 5);
    }
    assert_true(fake_write(fd, "quit\n"));
    assert_int_equal(read(fd, got, 1), 0);
    close(fd);
    struct http_proxy_result r = wait_done(w, 1);
    assert_true(r.is_tunnel && r.is_ok && r.status == 101);
    assert_int_equal(r.bytes_in, 13 + 500 + 5);
    assert_int_equal(r.bytes_out, 18 + 500);
    assert_true(w->in == r.bytes_in && w->out == r.bytes_out);
    assert_int_equal(stats(w).open, 0);
}

static void half_closed_tunnels_finish_the_other_half(void **state)
{
    struct world *w = *state;
    start_upstream(w, websocket);
    int fd = open_tunnel(w, "/", "");
    assert_true(fake_write(fd, "last words"));
    shutdown(fd, SHUT_WR);
    char got[16];
    assert_true(fake_read_all(fd, got, 10));
    assert_int_equal(read(fd, got, 1), 0);
    close(fd);
    assert_true(wait_done(w, 1).is_ok);
}

static void tunnels_have_back_pressure(void **state)
{
    struct world *w = *state;
    start_upstream(w, websocket);
    int fd = open_tunnel(w, "/", "");
    atomic_store(&uploaded, 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_endless, &fd), 0);
    size_t held = wait_stall(&uploaded); /* the echo comes back and is not read */
    if (held > 64 << 20)
        fail_msg("%zu bytes were taken", held);
    char part[65536];
    for (size_t n = 0; n < held;) {
        ssize_t r = read(fd, part, sizeof part);
        assert_true(r > 0);
        n += (size_t)r;
    }
    shutdown(fd, SHUT_RDWR);
    pthread_join(t, NULL);
    close(fd);
    wait_done(w, 1);
}

static void refused_and_odd_upgrades(void **state)
{
    struct world *w = *state;
    start_upstream(w, websocket);
    const char *tail = " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n";
    char req[256];
    snprintf(req, sizeof req, "GET /no%s", tail);
    struct str r = ask(w, req);
    check_status(r, 403);
    assert_true(str_eq(body_of(r), STR("no")));
    snprintf(req, sizeof req, "GET /other%s", tail);
    check_status(ask(w, req), 502);
}

static void draining_cuts_tunnels(void **state)
{
    struct world *w = *state;
    start_upstream(w, websocket);
    int fd = open_tunnel(w, "/", "");
    assert_int_equal(http_server_drain(w->server, 10), 1);
    char c;
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
    assert_true(wait_done(w, 1).is_tunnel);
}

/* ---- TLS upstreams ---- */

static struct http_cert *pick(struct http_loop *loop, struct str name, void *arg)
{
    return arg;
}

static size_t echo_body(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    if (what == HTTP_BODY_FAILED) {
        http_resp_abort(req);
        return 0;
    }
    http_resp_write(req, data, false);
    if (what == HTTP_BODY_END)
        http_resp_end(req);
    return data.len;
}

static void on_tls_request(struct http_req *req, void *arg)
{
    http_resp_header(req, STR("X-Tls"), req->is_tls ? STR("yes") : STR("no"));
    http_resp_start(req, 200, req->content_length);
    http_req_read(req, echo_body, NULL);
}

static void upstreams_may_speak_tls(void **state)
{
    struct world *w = *state;
    scoped_err err = {0};
    struct str name = STR("localhost"), cert_pem, key_pem;
    assert_true(http_cert_self_signed(&w->arena, &name, 1, 1, &cert_pem, &key_pem, &err));
    struct http_cert *cert = http_cert_from_pem(cert_pem, key_pem, &err);
    struct http_tls *tls = http_tls_open(pick, cert, &err);
    struct http_server *server = http_server_open(w->loops, NULL);
    struct http_listener *l = http_listen(server, &(struct http_listen){
        .host = STR("127.0.0.1"), .tls = tls, .handler = {on_tls_request, NULL}, .setting = "test"}, &err);
    assert_non_null(l);
    struct str url = str_printf(&w->arena, "https://127.0.0.1:%d", http_listener_port(l));

    assert_true(http_upstream_parse(&w->arena, url, true, &w->to, &err));
    static const size_t sizes[] = {0, 1, 20000, 3 << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (int chunked = 0; chunked < 2; chunked++) {
            scoped_fd int fd = dial(w);
            scoped_buf b = BUF_INIT(8 << 20);
            char head[256];
            snprintf(head, sizeof head, "POST / HTTP/1.0\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
            assert_true(fake_write(fd, chunked ? "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" : head));
            struct upload u = {fd, sizes[i], chunked};
            pthread_t t;
            assert_int_equal(pthread_create(&t, NULL, send_upload, &u), 0);
            char part[65536];
            for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
                assert_true(buf_add(&b, part, (size_t)n));
            pthread_join(t, NULL);
            struct http_proxy_result r = wait_done(w, (int)i * 2 + chunked + 1);
            assert_true(r.is_ok && r.bytes_in == sizes[i] && r.bytes_out == sizes[i]);
            check_has(str_slice(buf_str(&b), 0, 300), "X-Tls: yes\r\n");
        }
    }
    assert_int_equal(stats(w).opened, 1);
    /* Nobody vouches for that certificate. */
    assert_true(http_upstream_parse(&w->arena, url, false, &w->to, &err));
    struct str r = ask(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    check_status(r, 502);
    check_has(r, "self-signed certificate");
    http_server_close(server);
    http_tls_close(tls);
    http_cert_unref(cert);
}

static void targets_are_checked(void **state)
{
    struct world *w = *state;
    struct http_upstream u;
    static const char *const bad[] = {"", "ftp://x", "unix:relative", "unix:", "http://", "http://u@h/", "/path"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_err err = {0};
        assert_false(http_upstream_parse(&w->arena, str_from(bad[i]), false, &u, &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    scoped_err err = {0};
    assert_true(http_upstream_parse(&w->arena, STR("https://[::1]:8443/x"), true, &u, &err));
    assert_true(u.is_tls && u.port == 8443 && u.addr_len > 0 && str_eq(u.authority, STR("[::1]:8443")));
    assert_true(str_eq(u.key, STR("tls-any:8443:::1")));
    assert_true(http_upstream_parse(&w->arena, STR("http://Name.example"), false, &u, &err));
    assert_true(u.addr_len == 0 && u.port == 80 && str_eq(u.key, STR("tcp:80:name.example")));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(targets_are_checked),
        T(the_request_is_passed_on_with_its_fields),
        T(fields_of_one_hop_and_forged_ones_are_dropped),
        T(host_cookie_and_query_follow_the_options),
        T(a_header_that_would_split_is_refused),
        T(large_heads_pass),
        T(locations_are_rewritten),
        T(cookie_paths_are_rewritten),
        T(response_headers_replace),
        T(responses_of_every_framing_arrive_whole),
        T(to_old_clients_chunks_become_until_close),
        T(head_has_the_headers_and_no_body),
        T(bad_answers_become_502),
        T(an_answer_cut_short_is_seen_as_such),
        T(bytes_after_a_response_are_never_the_next_one),
        T(connections_are_kept_and_used_again),
        T(idle_connections_expire),
        T(connections_close_before_the_upstream_does),
        T(a_dead_connection_is_replaced_once_for_harmless_requests),
        T(a_post_on_a_dead_connection_is_not_repeated),
        T(refused_connections_are_told),
        T(a_fresh_connection_that_closes_is_as_good_as_none),
        T(names_are_resolved),
        T(unix_sockets_work),
        T(a_late_first_byte_is_a_504),
        T(more_than_the_limit_wait_for_a_connection),
        T(a_rush_opens_connections_in_bursts_until_all_are_served),
        T(waiting_too_long_for_a_connection_is_a_504),
        T(uploads_arrive_whole),
        T(downloads_arrive_whole),
        T(a_slow_client_stops_a_fast_upstream),
        T(a_slow_upstream_stops_a_fast_client_and_may_answer_early),
        T(an_expectation_is_the_upstreams_to_meet),
        T(events_pass_at_once),
        T(a_client_that_leaves_ends_the_upstreams_work),
        T(upgrades_become_tunnels),
        T(half_closed_tunnels_finish_the_other_half),
        T(tunnels_have_back_pressure),
        T(refused_and_odd_upgrades),
        T(draining_cuts_tunnels),
        T(upstreams_may_speak_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
