/* tests/http/test_proxy_over.c: upstreams that vanish without a word, and that somebody else says are over.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "fake_server.h"

#include <poll.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { BIG = 24 << 20 };

/* One loop, one listener; one upstream that has two runs at the same address: who turns away from the first goes to the
 * second. Somebody else of another name is there, too. */
static struct world {
    struct http_loops *loops;
    struct http_server *server;
    int port;
    struct arena arena;
    struct http_upstream first, second, other;
    struct http_proxy_opts opts;
    struct fake_server up;
    atomic_int heads;               /* that the upstream has read */
    atomic_bool is_second, is_over, is_released; /* who comes now comes to the second run; it has been said so */
    atomic_int done, takeovers;
} w;

static void on_done(struct http_req *req, const struct http_proxy_result *r, void *arg)
{
    atomic_fetch_add(&w.done, 1);
}

static bool on_connect_failed(struct http_req *req, const char *why, void *arg)
{
    if (atomic_fetch_add(&w.takeovers, 1) > 100)
        return false;
    http_proxy(req, &w.second, &w.opts);
    return true;
}

static void on_request(struct http_req *req, void *arg)
{
    bool is_second = str_find(req->path, STR("second")) != STR_NPOS;
    bool is_other = str_find(req->path, STR("other")) != STR_NPOS;
    http_proxy(req, is_second ? &w.second : is_other ? &w.other : &w.first, &w.opts);
}

static void wait_until(const atomic_bool *flag)
{
    while (!atomic_load(flag))
        poll(NULL, 0, 5);
}

static void be_silent(int fd)
{
    char c[4096];
    while (read(fd, c, sizeof c) > 0)
        ;
}

/* The first connections, as many as heads are counted, do as their path says; later ones answer. */
static void play(struct fake_server *s, int fd, int nth)
{
    char head[4096];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        bool is_late = atomic_load(&w.is_second);
        atomic_fetch_add(&w.heads, 1);
        if (is_late || strstr(head, "/ok")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nagain");
        } else if (strstr(head, "/silent")) {
            be_silent(fd);
        } else if (strstr(head, "/head")) {
            fake_write(fd, "HTTP/1.1 200 O");
            be_silent(fd);
        } else if (strstr(head, "/half")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            be_silent(fd);
        } else if (strstr(head, "/open")) {
            fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            be_silent(fd);
        } else if (strstr(head, "/late")) {
            wait_until(&w.is_over);
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate");
        } else if (strstr(head, "/trickle")) {
            wait_until(&w.is_over);
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n");
            for (int i = 0; i < 24; i++) {
                fake_write(fd, "t");
                poll(NULL, 0, 100);
            }
        } else if (strstr(head, "/held")) {
            wait_until(&w.is_released);
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld");
        } else if (strstr(head, "/big")) {
            static char part[1 << 16];
            fake_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 25165824\r\n\r\n");
            for (int i = 0; i < BIG / (int)sizeof part; i++)
                fake_write_all(fd, part, sizeof part);
        } else if (strstr(head, "/ws")) {
            fake_write(fd, "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            be_silent(fd);
        }
    }
}

static struct http_upstream upstream(int port, const char *who, uint16_t generation)
{
    struct http_upstream u;
    scoped_err err = {0};
    assert_true(http_upstream_parse(&w.arena, str_printf(&w.arena, "http://127.0.0.1:%d", port), false, &u, &err));
    http_upstream_run(&w.arena, &u, str_from(who), generation);
    return u;
}

static int set_up(void **state)
{
    scoped_err err = {0};
    memset(&w, 0, sizeof w);
    fake_start(&w.up, play, NULL, NULL);
    /* The count of runs starts over at its end. */
    w.first = upstream(w.up.port, "app", UINT16_MAX);
    w.second = upstream(w.up.port, "app", 0);
    w.other = upstream(w.up.port, "other app", UINT16_MAX);
    w.opts.events.on_done = on_done;
    w.opts.events.on_connect_failed = on_connect_failed;
    w.loops = http_loops_open(1, &err);
    w.server = http_server_open(w.loops, NULL);
    struct http_listener *l = http_listen(w.server, &(struct http_listen){
        .host = STR("127.0.0.1"), .handler = {on_request, NULL}, .setting = "test"}, &err);
    assert_non_null(l);
    w.port = http_listener_port(l);
    return 0;
}

static int tear_down(void **state)
{
    http_server_close(w.server);
    http_loops_close(w.loops);
    fake_stop(&w.up);
    arena_release(&w.arena);
    return 0;
}

static int say(const char *request)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = 60}; /* a test that would hang fails instead */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_true(fake_write(fd, request));
    return fd;
}

/* All until the end, which must come. */
static struct str hear(int fd)
{
    scoped_buf b = BUF_INIT(1 << 20);
    char part[4096];
    ssize_t n;
    while ((n = read(fd, part, sizeof part)) > 0)
        assert_true(buf_add(&b, part, (size_t)n));
    if (n < 0 && errno != ECONNRESET)
        fail_msg("no end after \"" STR_FMT "\"", STR_ARG(buf_str(&b)));
    close(fd);
    return str_dup(&w.arena, buf_str(&b));
}

static void wait_heads(int n)
{
    while (atomic_load(&w.heads) < n)
        poll(NULL, 0, 5);
}

static void over_on_loop(struct http_loop *loop, void *arg)
{
    http_upstreams_over(loop, STR("app"), UINT16_MAX);
}

static void say_over(void)
{
    atomic_store(&w.is_second, true);
    http_loops_run(w.loops, over_on_loop, NULL);
    atomic_store(&w.is_over, true);
}

static struct http_upstream_stats stats;

static void get_stats(struct http_loop *loop, void *arg)
{
    stats = http_upstream_stats(loop, ((struct http_upstream *)arg)->key);
}

static struct http_upstream_stats stats_of(struct http_upstream *u)
{
    http_loops_run(w.loops, get_stats, u);
    return stats;
}

#define END "Host: h\r\nConnection: close\r\n"

static void those_in_flight_end_each_as_it_may(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *part;           /* of what comes */
        bool is_cut;
    } cases[] = {
        {"GET /silent HTTP/1.1\r\n" END "\r\n", 200, "again", false},
        {"HEAD /silent HTTP/1.1\r\n" END "\r\n", 200, "", false},
        {"PUT /silent HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n", 200, "again", false},
        {"POST /silent HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n", 502, "has ended before it answered", false},
        {"PUT /silent HTTP/1.1\r\n" END "Content-Length: 3\r\n\r\nabc", 502, "has ended before it answered", false},
        {"POST /silent HTTP/1.1\r\n" END "Content-Length: 100000\r\n\r\nabc", 502, "has ended before it answered", false},
        {"POST /silent HTTP/1.1\r\n" END "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 502, "has ended before it answered", false},
        {"GET /head HTTP/1.1\r\n" END "\r\n", 502, "has ended before it answered", false},
        {"GET /half HTTP/1.1\r\n" END "\r\n", 200, "half", true},
        {"GET /open HTTP/1.1\r\n" END "\r\n", 200, "half", true},
        {"GET /late HTTP/1.1\r\n" END "\r\n", 200, "late", false},
        {"GET /trickle HTTP/1.1\r\n" END "\r\n", 200, "tttttttttttttttttttttttt", false},
        {"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 101, "", true},
    };
    int fds[ARRAY_LEN(cases)];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        fds[i] = say(cases[i].request);
    wait_heads(ARRAY_LEN(cases));
    say_over();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[16];
        struct str got = hear(fds[i]);
        snprintf(line, sizeof line, "HTTP/1.1 %d ", cases[i].status);
        bool is_cut = str_find(got, STR("half")) != STR_NPOS && str_find(got, STR("0\r\n\r\n")) == STR_NPOS;
        if (!str_starts(got, str_from(line)) || str_find(got, str_from(cases[i].part)) == STR_NPOS ||
            (cases[i].status == 200 && is_cut != cases[i].is_cut))
            fail_msg("%s\n%.*s", cases[i].request, (int)got.len, got.ptr);
    }
    assert_int_equal(atomic_load(&w.takeovers), 3);
    while (stats_of(&w.first).open > 0)
        poll(NULL, 0, 5);
    assert_int_equal(atomic_load(&w.done), ARRAY_LEN(cases));
}

static void others_and_later_runs_go_on(void **state)
{
    int fds[] = {say("GET /held/second HTTP/1.1\r\n" END "\r\n"), say("POST /held/other HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n")};
    int gone = say("POST /silent HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n");
    wait_heads(3);
    say_over();
    assert_true(str_starts(hear(gone), STR("HTTP/1.1 502 ")));
    say_over(); /* again: nothing is left to end */
    poll(NULL, 0, HTTP_OVER_MS * 2);
    atomic_store(&w.is_released, true);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        assert_true(str_find(hear(fds[i]), STR("held")) != STR_NPOS);
    assert_int_equal(atomic_load(&w.takeovers), 0);
}

static void unused_connections_are_closed_and_none_is_kept(void **state)
{
    hear(say("GET /ok HTTP/1.1\r\n" END "\r\n"));
    while (stats_of(&w.first).idle != 1)
        poll(NULL, 0, 5);
    int fd = say("GET /late HTTP/1.1\r\n" END "\r\n");
    wait_heads(2);
    assert_int_equal(stats_of(&w.first).open, 1);
    int other = say("GET /late HTTP/1.1\r\n" END "\r\n");
    wait_heads(3);
    say_over();
    assert_true(str_find(hear(fd), STR("late")) != STR_NPOS);
    assert_true(str_find(hear(other), STR("late")) != STR_NPOS);
    while (stats_of(&w.first).open > 0)
        poll(NULL, 0, 5);
    /* The next one comes to the run that is there now, on a connection of its own. */
    hear(say("GET /ok/second HTTP/1.1\r\n" END "\r\n"));
    assert_int_equal(stats_of(&w.second).opened, 1);
}

static void those_who_wait_for_a_connection_turn_away_at_once(void **state)
{
    w.opts.max_conns = 1;
    int busy = say("POST /silent HTTP/1.1\r\n" END "Content-Length: 0\r\n\r\n");
    wait_heads(1);
    int waiting[3];
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        waiting[i] = say("POST /silent HTTP/1.1\r\n" END "Content-Length: 3\r\n\r\nabc");
    while (stats_of(&w.first).waiting < ARRAY_LEN(waiting))
        poll(NULL, 0, 5);
    say_over();
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        assert_true(str_find(hear(waiting[i]), STR("again")) != STR_NPOS);
    assert_true(str_starts(hear(busy), STR("HTTP/1.1 502 ")));
}

/* Packets to it are dropped: as to an address that nobody has any more. */
static void those_who_try_to_connect_turn_away_at_once(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    scoped_fd int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(full, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(listen(full, 0), 0);
    int fillers[8];
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&in, sizeof in);
    }
    poll(NULL, 0, 100);
    w.opts.connect_timeout_ms = 600000;
    w.first = upstream(ntohs(in.sin_port), "app", UINT16_MAX);
    int fd = say("POST /ok HTTP/1.1\r\n" END "Content-Length: 3\r\n\r\nabc");
    while (stats_of(&w.first).open != 1)
        poll(NULL, 0, 5);
    say_over();
    assert_true(str_find(hear(fd), STR("again")) != STR_NPOS);
    for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
        close(fillers[i]);
}

/* The answer is here, and the client takes its time: that is no silence. */
static void a_slow_client_gets_all_that_has_come(void **state)
{
    static char part[1 << 16];
    w.opts.events.on_connect_failed = NULL;
    int fd = say("GET /big HTTP/1.1\r\n" END "\r\n");
    wait_heads(1);
    say_over();
    poll(NULL, 0, HTTP_OVER_MS * 5 / 2);
    size_t total = 0;
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
        total += (size_t)n;
    close(fd);
    assert_true(total > BIG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(those_in_flight_end_each_as_it_may),
        T(others_and_later_runs_go_on),
        T(unused_connections_are_closed_and_none_is_kept),
        T(those_who_wait_for_a_connection_turn_away_at_once),
        T(those_who_try_to_connect_turn_away_at_once),
        T(a_slow_client_gets_all_that_has_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
