/* tests/http/test_client.c: the blocking client against scripted servers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "fake_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Answers by path, keeping the connection alive. */
static void by_path(struct fake_server *s, int fd, int nth)
{
    char head[8192], body[4096];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        const char *cl = strcasestr(head, "content-length: ");
        size_t len = cl ? strtoul(cl + 16, NULL, 10) : 0;
        if (len > sizeof body - 1 || !fake_read_all(fd, body, len))
            return;
        body[len] = '\0';
        if (strstr(head, " /echo")) {
            char out[16384];
            int n = snprintf(out, sizeof out, "%s%s", head, body);
            char start[128];
            snprintf(start, sizeof start, "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-Empty:\r\nContent-Length: %d\r\n\r\n", n);
            fake_write(fd, start);
            fake_write(fd, out);
        } else if (strstr(head, " /redirect")) {
            fake_write(fd, "HTTP/1.1 302 Found\r\nLocation: /echo\r\nContent-Length: 3\r\n\r\nbye");
        } else if (strstr(head, " /big")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for (int i = 0; i < 100; i++)
                if (!fake_write(fd, "a\r\n0123456789\r\n"))
                    return;
            fake_write(fd, "0\r\nX-Trailer: t\r\n\r\n");
        } else if (strstr(head, " /cut")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
            return;
        } else if (strstr(head, " /hints")) {
            fake_write(fd, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        } else if (strstr(head, " /headers")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\n");
            char line[4096];
            memset(line, 'x', sizeof line);
            memcpy(line, "X-H: ", 5);
            memcpy(line + sizeof line - 3, "\r\n", 3);
            for (int i = 0; i < 90; i++)
                if (!fake_write(fd, line))
                    return;
            fake_write(fd, "Content-Length: 0\r\n\r\n");
        } else if (strstr(head, " /hang")) {
            char c;
            while (read(fd, &c, 1) > 0)
                ;
            return;
        }
    }
}

struct world {
    struct fake_server server;
    struct http_client *client;
    struct arena arena;
    char base[64];
};

static int set_up_at(void **state, const char *host)
{
    struct world *w = xcalloc(1, sizeof *w);
    fake_start(&w->server, by_path, NULL, NULL);
    snprintf(w->base, sizeof w->base, "http://%s:%d", host, w->server.port);
    w->client = http_client_open();
    *state = w;
    return 0;
}

/* An address needs no libcurl, a name does. */
static int set_up(void **state)
{
    return set_up_at(state, "127.0.0.1");
}

static int set_up_name(void **state)
{
    return set_up_at(state, "localhost");
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_client_close(w->client);
    fake_stop(&w->server);
    arena_release(&w->arena);
    free(w);
    return 0;
}

static struct str url(struct world *w, const char *path)
{
    return str_printf(&w->arena, "%s%s", w->base, path);
}

static struct http_answer must_fetch(struct world *w, const struct http_fetch *f)
{
    scoped_err err = {0};
    struct http_answer res = {0};
    if (!http_fetch(w->client, &w->arena, f, &res, &err))
        fail_msg("fetch failed: %s", err_msg(&err));
    return res;
}

static void must_fail(struct world *w, const struct http_fetch *f, enum err_code code, const char *text)
{
    scoped_err err = {0};
    struct http_answer res = {.status = -7};
    assert_false(http_fetch(w->client, &w->arena, f, &res, &err));
    assert_int_equal(res.status, -7);
    if (err.code != code || !strstr(err_msg(&err), text))
        fail_msg("wanted %d with \"%s\", got %d: %s", code, text, err.code, err_msg(&err));
}

static void sends_what_was_asked_and_nothing_invented(void **state)
{
    struct world *w = *state;
    static const struct http_pair headers[] = {{STR_INIT("X-Test"), STR_INIT("yes")}, {STR_INIT("X-None"), {0}}};
    struct http_fetch f = {.url = url(w, "/echo?q=1"), .headers = headers, .header_count = 2, .body = STR("hello")};
    struct http_answer res = must_fetch(w, &f);
    assert_int_equal(res.status, 200);
    assert_true(str_starts(res.body, STR("POST /echo?q=1 HTTP/1.1\r\n")));
    assert_true(str_ends(res.body, STR("\r\n\r\nhello")));
    assert_true(str_find(res.body, STR("X-Test: yes\r\n")) != STR_NPOS);
    assert_true(str_find(res.body, STR("X-None:\r\n")) != STR_NPOS);
    assert_true(str_find(res.body, STR("Content-Type")) == STR_NPOS);
    assert_true(str_find(res.body, STR("Expect")) == STR_NPOS);
    assert_true(str_eq(http_answer_header(&res, STR("x-a")), STR("1")));
    assert_true(str_eq(res.headers[1].name, STR("X-Empty")));
    assert_int_equal(res.headers[1].value.len, 0);
}

static void keeps_connections_alive(void **state)
{
    struct world *w = *state;
    struct http_fetch f = {.url = url(w, "/echo")};
    assert_false(must_fetch(w, &f).is_reused);
    assert_true(must_fetch(w, &f).is_reused);
    f.method = STR("DELETE");
    assert_true(str_starts(must_fetch(w, &f).body, STR("DELETE /echo")));
    f.method = STR("HEAD");
    f.url = url(w, "/hints");
    assert_int_equal(must_fetch(w, &f).status, 404);
    assert_int_equal(atomic_load(&w->server.connections), 1);
}

static void early_hints_are_not_the_answer(void **state)
{
    struct world *w = *state;
    struct http_answer res = must_fetch(w, &(struct http_fetch){.url = url(w, "/hints")});
    assert_int_equal(res.status, 404);
    assert_int_equal(res.header_count, 1);
}

static bool count_body(void *arg, struct str part, struct err *err)
{
    size_t *n = arg;
    *n += part.len;
    return true;
}

static bool stop_at_once(void *arg, struct str part, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "seen enough");
}

static bool see_head(void *arg, const struct http_answer *head, struct err *err)
{
    size_t *n = arg;
    assert_int_equal(head->status, 200);
    assert_int_equal(*n, 0);
    return true;
}

static void streams_the_body_and_ignores_trailers(void **state)
{
    struct world *w = *state;
    size_t n = 0;
    struct http_fetch f = {.url = url(w, "/big"), .on_head = see_head, .on_body = count_body, .body_arg = &n, .max_body = 1};
    struct http_answer res = must_fetch(w, &f);
    assert_int_equal(n, 1000);
    assert_int_equal(res.header_count, 1);
    assert_int_equal(res.body.len, 0);
    f.on_head = NULL;
    f.on_body = stop_at_once;
    must_fail(w, &f, ERR_CONFLICT, "/big: seen enough");
}

static bool three_parts(void *arg, char *buf, size_t cap, size_t *len, struct err *err)
{
    int *left = arg;
    *len = *left > 0 ? 4 : 0;
    memcpy(buf, "part", *len);
    *left -= 1;
    return true;
}

static bool is_plain(const struct world *w)
{
    return strstr(w->base, "127.0.0.1") != NULL;
}

static void streams_a_request_body(void **state)
{
    struct world *w = *state;
    int parts = 3;
    struct http_fetch f = {.url = url(w, "/echo"), .read_body = three_parts, .read_arg = &parts, .body_size = 12};
    assert_true(str_ends(must_fetch(w, &f).body, STR("\r\n\r\npartpartpart")));
    parts = 2;
    if (is_plain(w))
        must_fail(w, &f, ERR_INVALID, "shorter than was said");
}

/* Undoes chunks; the whole body came when "0" did. */
static void by_chunks(struct fake_server *s, int fd, int nth)
{
    char head[8192], out[512] = "", line[32];
    if (fake_read_head(fd, head, sizeof head) == 0 || !strcasestr(head, "transfer-encoding: chunked"))
        return;
    for (size_t len = 1, n = 0; len > 0;) {
        size_t i = 0;
        while (i < sizeof line - 1 && fake_read_all(fd, line + i, 1) && line[i++] != '\n')
            ;
        len = strtoul(line, NULL, 16);
        if (n + len + 2 > sizeof out || !fake_read_all(fd, out + n, len + 2))
            return;
        n += len;
        out[n] = '\0';
    }
    fake_write(fd, "HTTP/1.0 200 OK\r\n\r\n"); /* until the connection closes */
    fake_write(fd, out);
}

static void streams_a_body_of_unknown_length(void **state)
{
    struct fake_server s;
    fake_start(&s, by_chunks, NULL, NULL);
    struct arena a = {0};
    scoped_err err = {0};
    scoped_http_client struct http_client *c = http_client_open();
    for (int i = 0; i < 2; i++) {
        int parts = 3;
        struct http_answer res;
        struct http_fetch f = {.url = str_printf(&a, "http://%s:%d/", i ? "localhost" : "127.0.0.1", s.port),
                               .read_body = three_parts, .read_arg = &parts};
        if (!http_fetch(c, &a, &f, &res, &err))
            fail_msg("%s", err_msg(&err));
        assert_true(str_eq(res.body, STR("partpartpart")));
    }
    fake_stop(&s);
    arena_release(&a);
}

/* Answers at once, reads no body; of the second connection too. */
static void by_refusing(struct fake_server *s, int fd, int nth)
{
    char head[8192];
    if (fake_read_head(fd, head, sizeof head) > 0)
        fake_write(fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
}

static void an_answer_before_the_body_was_sent_counts(void **state)
{
    struct fake_server s;
    fake_start(&s, by_refusing, NULL, NULL);
    struct arena a = {0};
    scoped_err err = {0};
    scoped_http_client struct http_client *c = http_client_open();
    static char large[8 << 20];
    struct http_fetch f = {.url = str_printf(&a, "http://127.0.0.1:%d/", s.port), .body = str_of(large, sizeof large)};
    struct http_answer res;
    /* What has come may be lost when the peer closes with bytes unread: then it is an error, never a hang. */
    if (http_fetch(c, &a, &f, &res, &err))
        assert_int_equal(res.status, 413);
    else
        assert_int_equal(err.code, ERR_UPSTREAM);
    fake_stop(&s);
    arena_release(&a);
}

/* One answer per connection, which then closes although it did not say so. */
static void once_each(struct fake_server *s, int fd, int nth)
{
    char head[8192];
    if (fake_read_head(fd, head, sizeof head) > 0)
        fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void a_kept_connection_that_has_closed_is_no_failure(void **state)
{
    struct fake_server s;
    fake_start(&s, once_each, NULL, NULL);
    struct arena a = {0};
    scoped_err err = {0};
    scoped_http_client struct http_client *c = http_client_open();
    struct http_fetch f = {.url = str_printf(&a, "http://127.0.0.1:%d/", s.port)};
    struct http_answer res;
    for (int i = 0; i < 50; i++) {
        if (!http_fetch(c, &a, &f, &res, &err))
            fail_msg("%s", err_msg(&err));
        assert_true(str_eq(res.body, STR("ok")));
    }
    fake_stop(&s);
    arena_release(&a);
}

static void ceilings_hold(void **state)
{
    struct world *w = *state;
    must_fail(w, &(struct http_fetch){.url = url(w, "/big"), .max_body = 999}, ERR_TOO_LARGE, "larger than 999 bytes");
    must_fail(w, &(struct http_fetch){.url = url(w, "/headers")}, ERR_TOO_LARGE, "headers are larger");
    assert_int_equal(must_fetch(w, &(struct http_fetch){.url = url(w, "/big"), .max_body = 1000}).body.len, 1000);
}

static void follows_redirects_only_when_told(void **state)
{
    struct world *w = *state;
    struct http_fetch f = {.url = url(w, "/redirect")};
    struct http_answer res = must_fetch(w, &f);
    assert_int_equal(res.status, 302);
    assert_true(str_eq(res.body, STR("bye")));
    f.max_redirects = 3;
    size_t n = 0;
    f.on_head = see_head;
    f.body_arg = &n;
    res = must_fetch(w, &f);
    assert_int_equal(res.status, 200);
    assert_true(str_ends(res.url, STR("/echo")));
}

static void authenticates_with_basic(void **state)
{
    struct world *w = *state;
    struct http_fetch f = {.url = url(w, "/echo"), .user = "admin", .password = "pw"};
    assert_true(str_find(must_fetch(w, &f).body, STR("Authorization: Basic YWRtaW46cHc=\r\n")) != STR_NPOS);
}

static void bad_requests_never_leave(void **state)
{
    struct world *w = *state;
    static const struct http_pair smuggled[] = {{STR_INIT("X"), STR_INIT("a\r\nY: b")}};
    static const struct http_pair odd_name[] = {{STR_INIT("X Y"), STR_INIT("a")}};
    must_fail(w, &(struct http_fetch){.url = url(w, "/echo"), .headers = smuggled, .header_count = 1}, ERR_INVALID, "control");
    must_fail(w, &(struct http_fetch){.url = url(w, "/echo"), .headers = odd_name, .header_count = 1}, ERR_INVALID, "not a header name");
    must_fail(w, &(struct http_fetch){.url = url(w, "/echo"), .method = STR("GET /x")}, ERR_INVALID, "not an HTTP method");
    must_fail(w, &(struct http_fetch){.url = STR("file:///etc/passwd")}, ERR_INVALID, "http://");
    must_fail(w, &(struct http_fetch){.url = STR("http://u:secret@h/")}, ERR_INVALID, "user name");
    must_fail(w, &(struct http_fetch){.url = STR("")}, ERR_INVALID, "empty");
    assert_int_equal(atomic_load(&w->server.connections), 0);
}

static void trouble_is_told_apart(void **state)
{
    struct world *w = *state;
    must_fail(w, &(struct http_fetch){.url = url(w, "/cut?token=s3cret")}, ERR_UPSTREAM, "/cut:");
    must_fail(w, &(struct http_fetch){.url = STR("http://x/"), .unix_socket = STR("/nonexistent/socket")},
              ERR_UNAVAILABLE, "GET http://x/");
    must_fail(w, &(struct http_fetch){.url = url(w, "/hang"), .idle_timeout_ms = 20}, ERR_TIMEOUT, "no progress for 20 ms");
    must_fail(w, &(struct http_fetch){.url = url(w, "/hang"), .total_timeout_ms = 20}, ERR_TIMEOUT, "/hang");
}

static void *cancel_soon(void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void another_thread_cancels(void **state)
{
    struct world *w = *state;
    atomic_bool cancel = false;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, cancel_soon, &cancel), 0);
    must_fail(w, &(struct http_fetch){.url = url(w, "/hang"), .cancel = &cancel}, ERR_CANCELLED, "cancelled");
    pthread_join(t, NULL);
}

static void talks_over_a_unix_socket(void **state)
{
    struct fake_server s;
    struct arena a = {0};
    char path[64];
    snprintf(path, sizeof path, "/tmp/openrun_test_client_%d", (int)getpid());
    fake_start(&s, by_path, NULL, path);
    struct http_client *c = http_client_open();
    scoped_err err = {0};
    struct http_answer res;
    struct http_fetch f = {.url = STR("http://docker/echo"), .unix_socket = str_from(path)};
    assert_true(http_fetch(c, &a, &f, &res, &err));
    assert_true(str_find(res.body, STR("Host: docker\r\n")) != STR_NPOS);
    assert_true(http_fetch(c, &a, &f, &res, &err));
    assert_true(res.is_reused);
    http_client_close(c);
    fake_stop(&s);
    arena_release(&a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down), cmocka_unit_test_setup_teardown(f, set_up_name, tear_down)
    const struct CMUnitTest tests[] = {
        T(sends_what_was_asked_and_nothing_invented), T(keeps_connections_alive), T(early_hints_are_not_the_answer),
        T(streams_the_body_and_ignores_trailers), T(streams_a_request_body), T(ceilings_hold),
        T(follows_redirects_only_when_told), T(authenticates_with_basic), T(bad_requests_never_leave),
        T(trouble_is_told_apart), T(another_thread_cancels), cmocka_unit_test(talks_over_a_unix_socket),
        cmocka_unit_test(streams_a_body_of_unknown_length), cmocka_unit_test(an_answer_before_the_body_was_sent_counts),
        cmocka_unit_test(a_kept_connection_that_has_closed_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
