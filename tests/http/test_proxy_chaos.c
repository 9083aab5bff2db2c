/* tests/http/test_proxy_chaos.c: many clients and upstreams that misbehave at random, on two loops. Nothing is asked of
 * the answers; every exchange must end exactly once, and nothing may be left over. The seed is fixed; OPENRUN_TEST_SEED sets
 * another.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "fake_server.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { CLIENTS = 6, ROUNDS = 60 };

static struct http_upstream to;
static struct http_proxy_opts opts;
static atomic_int started, done, port;
static unsigned seed = 1;

static unsigned below(unsigned *rng, unsigned n)
{
    return (unsigned)rand_r(rng) % n;
}

static void on_done(struct http_req *req, const struct http_proxy_result *r, void *arg)
{
    atomic_fetch_add(&done, 1);
}

static void on_request(struct http_req *req, void *arg)
{
    atomic_fetch_add(&started, 1);
    http_proxy(req, &to, &opts);
}

/* Sends `n` bytes in odd pieces. */
static bool send_some(int fd, unsigned *rng, size_t n)
{
    static const char part[40000];
    while (n > 0) {
        size_t k = (size_t)1 + below(rng, sizeof part);
        k = MIN(n, k);
        if (!fake_write_all(fd, part, k))
            return false;
        n -= k;
    }
    return true;
}

static void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
}

static void drop_input(int fd, unsigned *rng, size_t max)
{
    char part[30000];
    while (max > 0) {
        size_t k = (size_t)1 + below(rng, sizeof part);
        ssize_t n = read(fd, part, MIN(max, k));
        if (n <= 0)
            return;
        max -= (size_t)n;
    }
}

static void misbehave(struct fake_server *s, int fd, int nth)
{
    unsigned rng = seed * 7919 + (unsigned)nth;
    char head[70000], text[256];
    struct timeval limit = {.tv_usec = 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (below(&rng, 20) > 0 && fake_read_head(fd, head, sizeof head) > 0) {
        size_t n = below(&rng, 4) == 0 ? below(&rng, 400000) : below(&rng, 300);
        const char *cl = strcasestr(head, "content-length: ");
        size_t body = cl ? strtoul(cl + 16, NULL, 10) : 0;
        if (strcasestr(head, "upgrade: websocket")) {
            fake_write(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
            send_some(fd, &rng, n);
            drop_input(fd, &rng, below(&rng, 100000));
            return;
        }
        switch (below(&rng, 12)) {
        case 0:
            return;
        case 1:
            reset(fd);
            return;
        case 2:
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Le");
            return;
        case 3:
            fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz");
            return;
        case 4: /* answers before the body, and does not read it */
            fake_write(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
            if (body > 0)
                return;
            continue;
        case 5:
            snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n + 1000);
            fake_write(fd, text);
            send_some(fd, &rng, n);
            return;
        case 6:
            fake_write(fd, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
            break;
        case 7:
            poll(NULL, 0, (int)below(&rng, 20));
            break;
        }
        if (strcasestr(head, "transfer-encoding: chunked")) {
            drop_input(fd, &rng, below(&rng, 60000));
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        drop_input(fd, &rng, body);
        if (below(&rng, 3) == 0) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            snprintf(text, sizeof text, "%zx\r\n", n + 1);
            if (!fake_write(fd, text) || !send_some(fd, &rng, n + 1) || !fake_write(fd, "\r\n0\r\n\r\n"))
                return;
        } else {
            snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
            if (!fake_write(fd, text) || !send_some(fd, &rng, n))
                return;
        }
    }
    if (below(&rng, 2) == 0)
        reset(fd);
}

static void one_connection(unsigned *rng)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)atomic_load(&port))};
    scoped_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_usec = 40000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&in, sizeof in) != 0)
        return;
    char text[512];
    for (unsigned i = 1 + below(rng, 4); i > 0; i--) {
        size_t n = below(rng, 3) == 0 ? below(rng, 500000) : below(rng, 2000);
        switch (below(rng, 8)) {
        case 0:
        case 1:
        case 2:
            fake_write(fd, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
            break;
        case 3:
            snprintf(text, sizeof text, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);
            fake_write(fd, text);
            send_some(fd, rng, below(rng, 4) == 0 ? n / 2 : n);
            break;
        case 4:
            snprintf(text, sizeof text, "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", n + 1);
            fake_write(fd, text);
            if (send_some(fd, rng, n + 1) && below(rng, 3) > 0)
                fake_write(fd, "\r\n0\r\n\r\n");
            break;
        case 5:
            fake_write(fd, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            send_some(fd, rng, n);
            break;
        case 6: /* several at once */
            fake_write(fd, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n");
            break;
        case 7:
            fake_write(fd, "PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
            send_some(fd, rng, 10);
            break;
        }
        drop_input(fd, rng, below(rng, 2) == 0 ? below(rng, 1000) : 1000000);
    }
    switch (below(rng, 3)) {
    case 0:
        reset(fd);
        break;
    case 1:
        shutdown(fd, SHUT_WR);
        drop_input(fd, rng, 1000000);
        break;
    }
}

static void *be_a_client(void *arg)
{
    unsigned rng = seed * 104729 + (unsigned)(uintptr_t)arg;
    for (int i = 0; i < ROUNDS; i++)
        one_connection(&rng);
    return NULL;
}

static void get_open(struct http_loop *loop, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, (int)http_upstream_stats(loop, to.key).open);
}

static void every_exchange_ends_once_and_leaves_nothing(void **state)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct fake_server up;
    char url[64];
    if (getenv("OPENRUN_TEST_SEED"))
        seed = (unsigned)atoi(getenv("OPENRUN_TEST_SEED"));
    fake_start(&up, misbehave, NULL, NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", up.port);
    assert_true(http_upstream_parse(&a, str_from(url), false, &to, &err));
    opts.events.on_done = on_done;
    opts.idle_conn_ms = 100;
    opts.max_conns = 3;
    opts.connect_timeout_ms = 200;
    opts.first_byte_timeout_ms = 500;
    struct http_loops *loops = http_loops_open(2, &err);
    static struct http_server *server;
    server = http_server_open(loops, &(struct http_limits){.body_timeout_ms = 300, .write_timeout_ms = 300});
    struct http_listener *l = http_listen(server, &(struct http_listen){
        .host = STR("127.0.0.1"), .handler = {on_request, NULL}, .setting = "test"}, &err);
    assert_non_null(l);
    atomic_store(&port, http_listener_port(l));
    pthread_t clients[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, be_a_client, (void *)(uintptr_t)i), 0);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    for (int open = 1; open > 0; poll(NULL, 0, 10)) {
        atomic_int n = 0;
        http_loops_run(loops, get_open, &n);
        open = atomic_load(&n);
    }
    http_server_close(server);
    assert_true(atomic_load(&started) > CLIENTS * ROUNDS / 2);
    assert_int_equal(atomic_load(&started), atomic_load(&done));
    http_loops_close(loops);
    fake_stop(&up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_exchange_ends_once_and_leaves_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
