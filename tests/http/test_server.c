/* tests/http/test_server.c: the HTTP/1.1 server over real sockets, with two loops.
 * SPDX-License-Identifier: Apache-2.0 */
#include "server_int.h"
#include "web.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

/* What the handlers have seen. */
static struct {
    atomic_int begun, ended, aborted_ends, abort_hooks, read_failed, last_fail, refused;
    atomic_ullong bytes;
    atomic_bool hold; /* /held waits while set */
    _Atomic(struct http_req *) held;
} seen;

static struct http_loops *loops;
static struct http_server *server;
static int port;

static void wait_for(atomic_int *what, int value)
{
    for (int i = 0; atomic_load(what) < value; i++) {
        if (i == 2000)
            fail_msg("waited 20 s for a count of %d, it is %d", value, atomic_load(what));
        usleep(10000);
    }
}

/* Handlers. */

static void on_end(struct http_req *req, void *arg)
{
    atomic_fetch_add(&seen.bytes, req->bytes_sent);
    if (req->is_aborted)
        atomic_fetch_add(&seen.aborted_ends, 1);
    atomic_fetch_add(&seen.ended, 1);
}

static void on_abort(struct http_req *req, void *arg)
{
    atomic_fetch_add(&seen.abort_hooks, 1);
}

static void on_headers(struct http_req *req, void *arg)
{
    http_resp_set_header(req, STR("X-Hook"), STR("yes"));
}

static void echo_all(struct http_req *req, struct str body, const struct err *err, void *arg)
{
    if (err) {
        atomic_fetch_add(&seen.read_failed, 1);
        atomic_store(&seen.last_fail, (int)err->code);
        http_reply_error(req, err->code == ERR_CANCELLED ? 400 : (int)err->code, str_from(err_msg(err)));
        return;
    }
    http_reply(req, 200, STR("application/octet-stream"), body);
}

/* Streams the body back; the writer's mark pauses the reader. */
static void echo_drained(struct http_req *req, void *arg)
{
    http_req_resume(req);
}

static size_t echo_piece(struct http_req *req, struct str data, enum http_body what, void *arg)
{
    if (what == HTTP_BODY_FAILED) {
        atomic_fetch_add(&seen.read_failed, 1);
        http_resp_abort(req);
        return 0;
    }
    /* Takes only a part of large pieces, so that the rest must come again. */
    size_t take = data.len > 5000 ? 5000 : data.len;
    bool more = http_resp_write(req, str_slice(data, 0, take), false);
    if (take == data.len && what == HTTP_BODY_END)
        http_resp_end(req);
    else if (take < data.len && more)
        http_req_resume(req);
    else if (!more)
        http_resp_on_drain(req, echo_drained, NULL);
    return take;
}

static void stream_more(struct http_req *req, void *arg)
{
    uint64_t *left = arg;
    static const char block[10000] = {'s'};
    while (*left > 0) {
        size_t n = (size_t)MIN(*left, (uint64_t)sizeof block);
        *left -= n;
        if (!http_resp_write(req, str_of(block, n), *left % 20000 == 0) && *left > 0) {
            http_resp_on_drain(req, stream_more, left);
            return;
        }
    }
    http_resp_end(req);
}

static void stream(struct http_req *req, bool with_length)
{
    uint64_t *left = arena_new(req->arena, uint64_t);
    str_to_u64(req->query, left);
    http_resp_start(req, 200, with_length ? (int64_t)*left : -1);
    stream_more(req, left);
}

static void reply_later(struct http_loop *loop, void *arg)
{
    struct http_req *req = arg;
    http_reply(req, 200, STR("text/plain"), req->query);
}

static void reply_held(struct http_loop *loop, void *arg)
{
    struct http_req *req = arg;
    if (atomic_load(&seen.hold)) {
        usleep(1000);
        http_loop_post(loop, reply_held, req);
        return;
    }
    http_reply(req, 200, STR("text/plain"), STR("held"));
}

static void tunnel_ready(struct http_stream *s, unsigned events, void *arg)
{
    struct http_req *req = arg;
    char block[1000];
    ssize_t n = events & HTTP_CUT ? HTTP_EOF : http_stream_read(s, block, sizeof block);
    if (n > 0)
        http_stream_write(s, block, (size_t)n);
    else if (n != HTTP_AGAIN)
        http_hijack_end(req, 77);
}

static void tunnel(struct http_req *req)
{
    struct str leftover;
    http_resp_header(req, STR("Connection"), STR("Upgrade"));
    http_resp_header(req, STR("Upgrade"), STR("echo"));
    http_resp_start(req, 101, 0);
    struct http_stream *s = http_req_hijack(req, tunnel_ready, req, &leftover);
    if (!s) {
        http_resp_end(req);
        return;
    }
    if (leftover.len > 0)
        http_stream_write(s, leftover.ptr, leftover.len);
    http_stream_want(s, HTTP_READABLE);
}

static void send_file(struct http_req *req)
{
    uint64_t len = 0;
    str_to_u64(req->query, &len);
    char path[] = "/tmp/openrun-test-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    for (uint64_t i = 0; i < len; i += 1000) {
        char block[1000];
        memset(block, 'a' + (int)(i / 1000 % 26), sizeof block);
        if (write(fd, block, sizeof block) != sizeof block)
            abort();
    }
    http_resp_start(req, 200, (int64_t)len - 10);
    http_resp_file(req, fd, 10, len - 10);
    http_resp_end(req);
}

static void describe(struct http_req *req)
{
    http_reply(req, 200, STR("text/plain"),
               str_printf(req->arena,
                          STR_FMT "|" STR_FMT "|" STR_FMT "|" STR_FMT "|%d|" STR_FMT "|" STR_FMT "|%d",
                          STR_ARG(req->method_text), STR_ARG(req->path), STR_ARG(req->query),
                          STR_ARG(req->host), req->port, STR_ARG(req->authority), STR_ARG(http_req_peer(req)),
                          http_req_peer_port(req) > 0));
}

static void odd_headers(struct http_req *req)
{
    assert_false(http_resp_header(req, STR("X-A"), STR("a\r\nSet-Cookie: b")));
    assert_false(http_resp_header(req, STR("X-A"), str_of("a\0b", 3)));
    assert_false(http_resp_header(req, STR("X A"), STR("a")));
    assert_false(http_resp_header(req, STR("Transfer-Encoding"), STR("chunked")));
    assert_true(http_resp_header(req, STR("Content-Length"), STR("1000")));
    assert_true(http_resp_header(req, STR("Connection"), STR("close")));
    assert_true(http_resp_header(req, STR("X-Two"), STR("1")));
    assert_true(http_resp_header(req, STR("x-two"), STR("2")));
    assert_true(str_eq(http_resp_get_header(req, STR("X-TWO")), STR("1")));
    assert_true(http_resp_set_header(req, STR("Vary"), STR("a")));
    assert_true(http_resp_set_header(req, STR("vary"), STR("b")));
    http_resp_info(req, 103);
    assert_true(http_resp_header(req, STR("X-Late"), STR("1")));
    http_req_on_headers(req, on_headers, NULL);
    http_reply(req, 200, STR(""), STR("ok"));
}

static void dispatch(struct http_req *req, void *arg)
{
    atomic_fetch_add(&seen.begun, 1);
    http_req_on_end(req, on_end, NULL);
    http_req_on_abort(req, on_abort, NULL);
    struct str p = req->path;
    if (str_eq(p, STR("/hello")))
        http_reply(req, 200, STR("text/plain"), STR("hello"));
    else if (str_eq(p, STR("/echo")))
        http_req_read_all(req, 4 << 20, echo_all, NULL);
    else if (str_eq(p, STR("/small")))
        http_req_read_all(req, 10, echo_all, NULL);
    else if (str_eq(p, STR("/pipe"))) {
        http_resp_start(req, 200, req->content_length);
        http_req_read(req, echo_piece, NULL);
    } else if (str_eq(p, STR("/stream")))
        stream(req, false);
    else if (str_eq(p, STR("/bytes")))
        stream(req, true);
    else if (str_eq(p, STR("/later")))
        http_loop_post(req->loop, reply_later, req);
    else if (str_eq(p, STR("/held"))) {
        atomic_store(&seen.held, req);
        http_loop_post(req->loop, reply_held, req);
    } else if (str_eq(p, STR("/204")))
        http_reply(req, 204, STR(""), STR("not sent"));
    else if (str_eq(p, STR("/304")))
        http_reply(req, 304, STR(""), STR("not sent"));
    else if (str_eq(p, STR("/nothing")))
        http_resp_end(req);
    else if (str_eq(p, STR("/short"))) {
        http_resp_start(req, 200, 100);
        http_resp_write(req, STR("only this"), true);
        http_resp_end(req);
    } else if (str_eq(p, STR("/abort"))) {
        http_resp_start(req, 200, -1);
        http_resp_write(req, STR("some"), true);
        http_resp_flush(req);
        http_resp_abort(req);
    } else if (str_eq(p, STR("/file")))
        send_file(req);
    else if (str_eq(p, STR("/tunnel")))
        tunnel(req);
    else if (str_eq(p, STR("/headers")))
        odd_headers(req);
    else
        describe(req);
}

static void on_refused(struct http_loop *loop, struct str peer, int status, struct str why, void *arg)
{
    if (str_eq(peer, STR("127.0.0.1")) && why.len > 0)
        atomic_fetch_add(&seen.refused, 1);
}

static void start(const struct http_limits *limits)
{
    scoped_err err = {0};
    loops = http_loops_open(2, &err);
    assert_non_null(loops);
    server = http_server_open(loops, limits);
    struct http_listener *l = http_listen(
        server, &(struct http_listen){.host = STR("127.0.0.1"), .handler = {dispatch, NULL, on_refused}},
        &err);
    if (!l)
        fail_msg("%s", err_msg(&err));
    port = http_listener_port(l);
    assert_true(port > 0);
}

static int set_up(void **state)
{
    memset(&seen, 0, sizeof seen);
    start(NULL);
    return 0;
}

static int set_up_hasty(void **state)
{
    memset(&seen, 0, sizeof seen);
    start(&(struct http_limits){.header_timeout_ms = 300,
                                .idle_timeout_ms = 400,
                                .body_timeout_ms = 300,
                                .write_timeout_ms = 500,
                                .drain_max = 100000});
    return 0;
}

static int tear_down(void **state)
{
    http_server_close(server);
    http_loops_close(loops);
    if (atomic_load(&seen.begun) != atomic_load(&seen.ended))
        fail_msg("%d requests begun, %d ended", atomic_load(&seen.begun), atomic_load(&seen.ended));
    return 0;
}

static void expect(const struct web_resp *r, int status, const char *body)
{
    if (r->status != status || r->is_cut || (body && strcmp(buf_z(&r->body), body) != 0))
        fail_msg("wanted %d \"%s\", got %d \"%.200s\"%s; head:\n%s", status, body ? body : "", r->status,
                 buf_z(&r->body), r->is_cut ? " cut" : "", r->head);
}

/* Tests. */

static void requests_share_a_connection(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    for (int i = 0; i < 3; i++) {
        web_say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        web_read(&w, &r, false);
        expect(&r, 200, "hello");
        assert_true(web_has_header(&r, "Content-Type: text/plain"));
        assert_non_null(strstr(r.head, "\r\nDate: "));
        assert_null(strstr(r.head, "Connection"));
    }
    web_say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    assert_true(web_has_header(&r, "Connection: close"));
    assert_true(web_is_ended(&w));
    web_close(&w);
    web_free(&r);
    struct http_stats stats;
    http_server_stats(server, &stats);
    assert_int_equal(stats.requests, 4);
    assert_int_equal(stats.accepted, 1);
}

static void the_request_is_described(void **state)
{
    struct web_resp r = {0};
    web_once(port, "GET /a%20b?c=d?e HTTP/1.1\r\nHost: Ex.AMPLE.:81\r\n\r\n", &r);
    expect(&r, 200, "GET|/a%20b|c=d?e|ex.ample|81|Ex.AMPLE.:81|127.0.0.1|1");
    web_once(port, "GET http://B?x HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    expect(&r, 200, "GET|/|x|b|0|B|127.0.0.1|1");
    web_once(port, "OPTIONS * HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", &r);
    expect(&r, 200, "OPTIONS|*||::1|8|[::1]:8|127.0.0.1|1");
    web_once(port, "GET / HTTP/1.0\r\n\r\n", &r);
    expect(&r, 200, "GET|/|||0||127.0.0.1|1");
    web_free(&r);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    scoped_buf all = BUF_INIT(1 << 20);
    for (int i = 0; i < 300; i++) {
        if (i % 3 == 0)
            buf_printf(&all, "GET /later?%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        else if (i % 3 == 1)
            buf_printf(&all, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n%04d", i);
        else
            buf_printf(&all,
                       "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n%02d\r\n"
                       "2\r\n%02d\r\n0\r\n\r\n",
                       i / 100, i % 100);
    }
    web_send(&w, all.ptr, all.len);
    for (int i = 0; i < 300; i++) {
        char want[16];
        snprintf(want, sizeof want, i % 3 == 0 ? "%d" : "%04d", i);
        web_read(&w, &r, false);
        expect(&r, 200, want);
    }
    web_close(&w);
    web_free(&r);
}

static void no_body_where_there_is_none(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, true);
    expect(&r, 200, "");
    assert_true(web_has_header(&r, "Content-Length: 5"));
    web_say(&w, "HEAD /stream?100 HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, true);
    expect(&r, 200, "");
    assert_null(strstr(r.head, "Transfer-Encoding"));
    web_read(&w, &r, false);
    expect(&r, 204, "");
    assert_null(strstr(r.head, "Content-Length"));
    web_say(&w, "GET /304 HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 304, "");
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    web_close(&w);
    web_free(&r);
}

static void http_1_0_closes_unless_asked(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    assert_true(web_has_header(&r, "Connection: keep-alive"));
    web_say(&w, "GET /stream?50000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 200, NULL);
    assert_int_equal(r.body.len, 50000);
    assert_true(web_has_header(&r, "Connection: close"));
    web_close(&w);
    web_once(port, "GET /hello HTTP/1.0\r\n\r\n", &r);
    expect(&r, 200, "hello");
    assert_true(web_has_header(&r, "Connection: close"));
    web_free(&r);
}

static void continue_is_sent_when_the_body_is_wanted(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    web_read(&w, &r, false);
    assert_int_equal(r.status, 100);
    web_say(&w, "abc");
    web_read(&w, &r, false);
    expect(&r, 200, "abc");
    /* The body came along: no need to ask for it. */
    web_say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc");
    web_read(&w, &r, false);
    expect(&r, 200, "abc");
    /* Not wanted: the connection cannot be used further, for the client may send it or not. */
    web_say(&w, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    assert_true(web_has_header(&r, "Connection: close"));
    assert_true(web_is_ended(&w));
    web_close(&w);
    web_once(port, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: tea\r\n\r\n", &r);
    expect(&r, 417, NULL);
    web_free(&r);
}

static void requests_may_come_a_byte_at_a_time(void **state)
{
    static const char text[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: u\r\n\r\n"
                               "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
    struct web w = web_open(port);
    struct web_resp r = {0};
    int on = 1;
    setsockopt(w.fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &on, sizeof on);
    for (size_t i = 0; i < sizeof text - 1; i++)
        web_send(&w, text + i, 1);
    web_read(&w, &r, false);
    expect(&r, 200, "abcd");
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    web_close(&w);
    web_free(&r);
}

static void unread_bodies_are_discarded_or_end_the_connection(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    scoped_buf big = BUF_INIT(1 << 24);
    for (int i = 0; i < 200000; i++)
        buf_add_char(&big, 'x');
    web_say(&w, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    web_send(&w, big.ptr, big.len);
    web_say(&w, "POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n");
    web_send(&w, big.ptr, big.len);
    web_say(&w, "\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        web_read(&w, &r, false);
        expect(&r, 200, "hello");
    }
    /* Too much to wait for: the response arrives all the same. */
    web_say(&w, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
    web_send(&w, big.ptr, big.len);
    web_read(&w, &r, false);
    expect(&r, 200, "hello");
    assert_true(web_has_header(&r, "Connection: close"));
    web_close(&w);
    web_once(port, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world", &r);
    expect(&r, 413, NULL);
    web_once(
        port,
        "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
        &r);
    expect(&r, 413, NULL);
    web_free(&r);
}

static void malformed_requests_are_refused(void **state)
{
    static const struct {
        const char *in;
        int status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\nHost: a\n\n", 400},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400},
        {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
    };
    struct web_resp r = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct web w = web_open(port);
        web_say(&w, cases[i].in);
        web_read(&w, &r, false);
        expect(&r, cases[i].status, NULL);
        shutdown(w.fd, SHUT_WR);
        assert_true(web_is_ended(&w));
        web_close(&w);
    }
    assert_int_equal(atomic_load(&seen.refused), 5); /* the last one had a good head */
    scoped_buf big = BUF_INIT(1 << 20);
    buf_add_z(&big, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    while (big.len < 60000)
        buf_add_char(&big, 'x');
    struct web w = web_open(port);
    web_send(&w, big.ptr, big.len);
    web_read(&w, &r, false);
    expect(&r, 431, NULL);
    web_close(&w);
    /* A large one within the limits, larger than a block. */
    big.len = 30000;
    big.ptr[30000] = '\0';
    buf_add_z(&big, "\r\n\r\n");
    web_once(port, big.ptr, &r);
    expect(&r, 200, NULL);
    web_free(&r);
}

static void a_body_after_a_large_head(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    scoped_buf b = BUF_INIT(1 << 22);
    for (size_t head = 12000; head < 17500; head += 777) {
        buf_clear(&b);
        buf_printf(&b, "POST /pipe HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nX: ");
        while (b.len < head)
            buf_add_char(&b, 'x');
        buf_add_z(&b, "\r\n\r\n");
        size_t at = b.len;
        for (int i = 0; i < 100000; i++)
            buf_add_char(&b, (char)('a' + i % 23));
        web_send(&w, b.ptr, b.len);
        web_read(&w, &r, false);
        expect(&r, 200, b.ptr + at);
    }
    web_close(&w);
    web_free(&r);
}

struct pusher {
    struct web *w;
    struct buf *b;
};

static void *push_all(void *arg)
{
    struct pusher *p = arg;
    web_send(p->w, p->b->ptr, p->b->len);
    return NULL;
}

static void bodies_stream_both_ways(void **state)
{
    for (int chunked = 0; chunked < 2; chunked++) {
        struct web w = web_open(port);
        struct web_resp r = {0};
        scoped_buf b = BUF_INIT(1 << 26), want = BUF_INIT(1 << 26);
        buf_add_z(&b, chunked ? "POST /pipe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                              : "POST /pipe HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
        for (int i = 0; i < 100; i++) {
            if (chunked)
                buf_add_z(&b, "c350\r\n");
            for (int j = 0; j < 50000; j++) {
                buf_add_char(&b, (char)('a' + (i + j) % 26));
                buf_add_char(&want, (char)('a' + (i + j) % 26));
            }
            if (chunked)
                buf_add_z(&b, "\r\n");
        }
        if (chunked)
            buf_add_z(&b, "0\r\n\r\n");
        struct pusher p = {&w, &b};
        pthread_t t;
        pthread_create(&t, NULL, push_all, &p);
        usleep(50000); /* nobody reads yet: both directions fill up and wait */
        web_read(&w, &r, false);
        pthread_join(t, NULL);
        expect(&r, 200, NULL);
        assert_int_equal(r.body.len, want.len);
        assert_memory_equal(r.body.ptr, want.ptr, want.len);
        web_close(&w);
        web_free(&r);
    }
}

static void large_responses_arrive_whole(void **state)
{
    static const char *const requests[] = {
        "GET /stream?3000000 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /bytes?3000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream?0 HTTP/1.1\r\nHost: a\r\n\r\n",       "GET /bytes?0 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /file?5000 HTTP/1.1\r\nHost: a\r\n\r\n",      "GET /file?3000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    static const size_t sizes[] = {3000000, 3000000, 0, 0, 4990, 2999990};
    struct web w = web_open(port);
    struct web_resp r = {0};
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        web_say(&w, requests[i]);
        web_read(&w, &r, false);
        expect(&r, 200, NULL);
        assert_int_equal(r.body.len, sizes[i]);
        if (i >= 4) {
            assert_int_equal(r.body.ptr[0], 'a');
            assert_int_equal(r.body.ptr[990], 'b');
        }
    }
    web_close(&w);
    web_free(&r);
}

static void headers_are_the_servers_business(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, false);
    assert_int_equal(r.status, 103);
    assert_true(web_has_header(&r, "X-Two: 1") && web_has_header(&r, "x-two: 2") &&
                web_has_header(&r, "vary: b"));
    assert_null(strstr(r.head, "Content-Length"));
    web_read(&w, &r, false);
    expect(&r, 200, "ok");
    assert_true(web_has_header(&r, "X-Late: 1") && web_has_header(&r, "X-Hook: yes"));
    assert_true(web_has_header(&r, "Content-Length: 2"));
    assert_null(strstr(r.head, "Connection"));
    assert_null(strstr(r.head, "X-Two"));
    web_close(&w);
    web_free(&r);
}

static void incomplete_responses_are_seen_to_be(void **state)
{
    struct web_resp r = {0};
    web_once(port, "GET /short HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_true(r.is_cut);
    web_once(port, "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    assert_true(r.is_cut);
    web_once(port, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    expect(&r, 500, "");
    web_free(&r);
}

static void a_client_that_leaves_is_noticed(void **state)
{
    atomic_store(&seen.hold, true);
    struct web w = web_open(port);
    web_say(&w, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for(&seen.begun, 1);
    web_close(&w);
    wait_for(&seen.abort_hooks, 1);
    assert_int_equal(atomic_load(&seen.ended), 0);
    atomic_store(&seen.hold, false);
    wait_for(&seen.ended, 1);

    /* Inside the body. */
    w = web_open(port);
    web_say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    wait_for(&seen.begun, 2);
    web_close(&w);
    wait_for(&seen.ended, 2);
    assert_int_equal(atomic_load(&seen.read_failed), 1);
    assert_int_equal(atomic_load(&seen.last_fail), ERR_CANCELLED);

    /* Inside the response, with a reset. */
    w = web_open(port);
    web_say(&w, "GET /bytes?100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for(&seen.begun, 3);
    struct linger hard = {.l_onoff = 1};
    setsockopt(w.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    web_close(&w);
    wait_for(&seen.ended, 3);
    assert_int_equal(atomic_load(&seen.aborted_ends), 1);
    assert_true(atomic_load(&seen.bytes) < 100000000);

    /* A client that has only closed its side gets its answer. */
    w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "GET /later?x HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(w.fd, SHUT_WR);
    web_read(&w, &r, false);
    expect(&r, 200, "x");
    assert_true(web_is_ended(&w));
    web_close(&w);
    web_free(&r);
}

static void a_tunnel_carries_bytes(void **state)
{
    struct web w = web_open(port);
    struct web_resp r = {0};
    web_say(&w, "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly");
    web_read(&w, &r, false);
    expect(&r, 101, "");
    assert_true(web_has_header(&r, "Connection: Upgrade") && web_has_header(&r, "Upgrade: echo"));
    scoped_buf got = BUF_INIT(100);
    assert_true(web_take(&w, &got, 5));
    web_say(&w, "late");
    assert_true(web_take(&w, &got, 4));
    assert_string_equal(buf_z(&got), "earlylate");
    web_close(&w);
    wait_for(&seen.ended, 1);
    assert_int_equal(atomic_load(&seen.bytes), 77);

    /* One that stays open is cut when the server ends (tear_down counts). */
    w = web_open(port);
    web_say(&w, "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
    web_read(&w, &r, false);
    assert_int_equal(http_server_drain(server, 50), 1);
    assert_true(web_is_ended(&w));
    web_close(&w);
    web_free(&r);
}

static void *drain_patiently(void *arg)
{
    *(size_t *)arg = http_server_drain(server, 20000);
    return NULL;
}

static void count_draining(struct http_loop *loop, void *arg)
{
    if (server->at[http_loop_index(loop)].is_draining)
        atomic_fetch_add((atomic_uint *)arg, 1);
}

static void wait_until_all_loops_drain(void)
{
    atomic_uint n;
    do {
        atomic_init(&n, 0);
        http_loops_run(loops, count_draining, &n);
    } while (atomic_load(&n) < 2);
}

static void drains_wait_for_requests(void **state)
{
    atomic_store(&seen.hold, true);
    struct web idle = web_open(port), busy = web_open(port);
    struct web_resp r = {0};
    web_say(&idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&idle, &r, false);
    web_say(&busy, "GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for(&seen.begun, 2);
    size_t cut = 99;
    pthread_t t;
    pthread_create(&t, NULL, drain_patiently, &cut);
    assert_true(web_is_ended(&idle));
    wait_until_all_loops_drain();
    atomic_store(&seen.hold, false);
    web_read(&busy, &r, false);
    expect(&r, 200, "held");
    assert_true(web_has_header(&r, "Connection: close"));
    assert_true(web_is_ended(&busy));
    pthread_join(t, NULL);
    assert_int_equal(cut, 0);
    web_close(&idle);
    web_close(&busy);
    web_free(&r);
    struct http_stats stats;
    http_server_stats(server, &stats);
    assert_int_equal(stats.open_conns, 0);
    assert_int_equal(stats.open_reqs, 0);
}

static void slow_clients_are_given_up(void **state)
{
    struct web_resp r = {0};
    /* Half a head, and single bytes do not help. */
    struct web w = web_open(port);
    web_say(&w, "GET / HT");
    for (int i = 0; i < 4; i++) {
        usleep(50000);
        web_say(&w, "T");
    }
    web_read(&w, &r, false);
    expect(&r, 408, NULL);
    web_close(&w);
    /* Nothing at all; nothing after a request. */
    w = web_open(port);
    assert_true(web_is_ended(&w));
    web_close(&w);
    w = web_open(port);
    web_say(&w, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, false);
    assert_true(web_is_ended(&w));
    web_close(&w);
    /* A body that stops; one that is slow but moves. */
    w = web_open(port);
    web_say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    web_read(&w, &r, false);
    expect(&r, 504, NULL);
    assert_int_equal(atomic_load(&seen.last_fail), ERR_TIMEOUT);
    web_close(&w);
    w = web_open(port);
    web_say(&w, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for (int i = 0; i < 10; i++) {
        usleep(80000);
        web_say(&w, "y");
    }
    web_read(&w, &r, false);
    expect(&r, 200, "yyyyyyyyyy");
    web_close(&w);
    /* A reader that stops. */
    w = web_open(port);
    web_say(&w, "GET /bytes?100000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for(&seen.aborted_ends, 1);
    web_close(&w);
    web_free(&r);
}

static void many_clients_at_once(void **state)
{
    enum { N = 60 };
    struct web w[N];
    struct web_resp r = {0};
    for (int i = 0; i < N; i++)
        w[i] = web_open(port);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++)
            web_say(&w[i], i % 2 ? "GET /later?q HTTP/1.1\r\nHost: a\r\n\r\n"
                                 : "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nq");
        for (int i = 0; i < N; i++) {
            web_read(&w[i], &r, false);
            expect(&r, 200, "q");
        }
    }
    struct http_stats stats;
    http_server_stats(server, &stats);
    assert_int_equal(stats.open_conns, N);
    for (int i = 0; i < N; i++)
        web_close(&w[i]);
    web_free(&r);
}

/* Clients that do anything at any time: whatever they do, every request ends once (tear_down counts) and
 * the server goes on. */
static void erratic_clients_break_nothing(void **state)
{
    static const char *const requests[] = {
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /later?x HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n01234567890123456789",
        "POST /pipe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n5\r\nabcde\r\n3;x\r\nfgh\r\n0\r\n\r\n",
        "POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        "GET /stream?70000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /bytes?400000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /file?90000 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /short HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /abort HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /tunnel HTTP/1.1\r\nHost: a\r\n\r\nxyz",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n012345678901234567890123456789",
        "HEAD /stream?7 HTTP/1.1\r\nHost: a\r\n\r\n",
        "BAD\r\n\r\n",
    };
    unsigned short seed[3] = {1, 2, 3};
    for (int round = 0; round < 400; round++) {
        scoped_buf all = BUF_INIT(1 << 16);
        for (long n = 1 + nrand48(seed) % 6; n > 0; n--)
            buf_add_z(&all, requests[(size_t)nrand48(seed) % ARRAY_LEN(requests)]);
        size_t len = nrand48(seed) % 2 ? all.len : (size_t)nrand48(seed) % all.len;
        struct web w = web_open(port);
        for (size_t at = 0; at < len;) {
            size_t piece = 1 + (size_t)nrand48(seed) % 200, n = MIN(len - at, piece);
            if (!web_send(&w, all.ptr + at, n))
                break;
            at += n;
        }
        long end = nrand48(seed) % 4;
        if (end == 0)
            shutdown(w.fd, SHUT_WR);
        if (end <= 1)
            for (int i = 0; i < 3 && recv(w.fd, (char[5000]){0}, 5000, MSG_DONTWAIT) > 0; i++)
                ;
        if (end == 2)
            setsockopt(w.fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
        web_close(&w);
    }
    struct web_resp r = {0};
    web_once(port, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    expect(&r, 200, "hello");
    web_free(&r);
}

static int set_up_narrow(void **state)
{
    memset(&seen, 0, sizeof seen);
    start(&(struct http_limits){.max_conns = 1});
    return 0;
}

static void connections_beyond_the_limit_wait(void **state)
{
    struct web w[8];
    struct web_resp r = {0};
    for (int i = 0; i < 8; i++) {
        w[i] = web_open(port);
        web_say(&w[i], "GET /later?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for (int i = 0; i < 8; i++) {
        web_read(&w[i], &r, false);
        expect(&r, 200, "q");
        web_close(&w[i]);
    }
    web_free(&r);
}

static void hand_off_spreads_connections(void **state)
{
    scoped_err err = {0};
    struct http_listener *l =
        http_listen(server,
                    &(struct http_listen){
                        .host = STR("localhost"), .accept = HTTP_ACCEPT_HANDOFF, .handler = {dispatch, NULL}},
                    &err);
    assert_non_null(l);
    struct web w[8];
    struct web_resp r = {0};
    for (int i = 0; i < 8; i++) {
        w[i] = web_open(http_listener_port(l));
        web_say(&w[i], "GET /later?q HTTP/1.1\r\nHost: a\r\n\r\n");
        web_read(&w[i], &r, false);
        expect(&r, 200, "q");
    }
    for (int i = 0; i < 8; i++)
        web_close(&w[i]);
    web_free(&r);
}

static void listening_fails_with_advice(void **state)
{
    scoped_err err = {0};
    struct http_listen cfg = {
        .host = STR("127.0.0.1"), .port = port, .handler = {dispatch, NULL}, .setting = "http.port"};
    assert_null(http_listen(server, &cfg, &err));
    char want[200];
    snprintf(want, sizeof want, "port %d is in use: stop the program that listens there or set http.port",
             port);
    assert_string_equal(err_msg(&err), want);
    assert_int_equal(err.code, ERR_CONFLICT);
    cfg.host = STR("0.0.0.0");
    assert_null(http_listen(server, &cfg, &err));
    assert_string_equal(err_msg(&err), want);
    cfg.host = STR("192.0.2.1");
    cfg.port = 0;
    assert_null(http_listen(server, &cfg, &err));
    assert_non_null(strstr(err_msg(&err), "is not one of this machine"));
    cfg.host = STR("0.0.0.0");
    struct http_listener *l = http_listen(server, &cfg, &err);
    assert_non_null(l);
    struct web_resp r = {0};
    web_once(http_listener_port(l), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &r);
    expect(&r, 200, "GET|/||a|0|a|127.0.0.1|1");
    web_free(&r);
}

static void unix_sockets(void **state)
{
    char dir[] = "/tmp/openrun-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    scoped_err err = {0};
    struct http_listen cfg = {.unix_path = path, .handler = {dispatch, NULL}};
    /* A dead socket is replaced. */
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path));
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (struct sockaddr *)&addr, sizeof addr), 0);
    close(dead);
    if (!http_listen(server, &cfg, &err))
        fail_msg("%s", err_msg(&err));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* A live one is not. */
    assert_null(http_listen(server, &cfg, &err));
    assert_non_null(strstr(err_msg(&err), "another server already running"));
    struct web w = {.fd = socket(AF_UNIX, SOCK_STREAM, 0), .in = BUF_INIT(1 << 20)};
    assert_int_equal(connect(w.fd, (struct sockaddr *)&addr, sizeof addr), 0);
    struct web_resp r = {0};
    web_say(&w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    web_read(&w, &r, false);
    expect(&r, 200, "GET|/||a|0|a|unix|0");
    web_close(&w);
    web_free(&r);
    http_server_drain(server, 1000);
    assert_int_equal(access(path, F_OK), -1);
    /* Something that is no socket stays. */
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_null(http_listen(server, &cfg, &err));
    assert_non_null(strstr(err_msg(&err), "is no socket"));
    unlink(path);
    rmdir(dir);
}

int main(void)
{
#define T(name)     cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define HASTY(name) cmocka_unit_test_setup_teardown(name, set_up_hasty, tear_down)
    const struct CMUnitTest tests[] = {
        T(requests_share_a_connection),
        T(the_request_is_described),
        T(pipelined_requests_are_answered_in_order),
        T(no_body_where_there_is_none),
        T(http_1_0_closes_unless_asked),
        T(continue_is_sent_when_the_body_is_wanted),
        T(requests_may_come_a_byte_at_a_time),
        T(unread_bodies_are_discarded_or_end_the_connection),
        T(malformed_requests_are_refused),
        T(a_body_after_a_large_head),
        T(bodies_stream_both_ways),
        T(large_responses_arrive_whole),
        T(headers_are_the_servers_business),
        T(incomplete_responses_are_seen_to_be),
        T(a_client_that_leaves_is_noticed),
        T(a_tunnel_carries_bytes),
        T(drains_wait_for_requests),
        HASTY(slow_clients_are_given_up),
        T(many_clients_at_once),
        cmocka_unit_test_setup_teardown(connections_beyond_the_limit_wait, set_up_narrow, tear_down),
        T(erratic_clients_break_nothing),
        T(hand_off_spreads_connections),
        T(listening_fails_with_advice),
        T(unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
