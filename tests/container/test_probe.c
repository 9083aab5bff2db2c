/* tests/container/test_probe.c: one question to an app, over real sockets.
 * SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"
#include "service_int.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* An app that says `answer` (NULL: nothing, until the other side leaves) to one connection. */
struct app {
    int fd;
    uint16_t port;
    const char *answer;
    char asked[512];
    pthread_t thread;
};

static void *app_thread(void *arg)
{
    struct app *app = arg;
    scoped_fd int fd = accept(app->fd, NULL, NULL);
    size_t got = 0;
    ssize_t n;
    if (fd < 0)
        return NULL;
    while ((n = recv(fd, app->asked + got, sizeof app->asked - 1 - got, 0)) > 0) {
        got += (size_t)n;
        if (app->answer && strstr(app->asked, "\r\n\r\n")) {
            assert_int_equal(send(fd, app->answer, strlen(app->answer), MSG_NOSIGNAL), strlen(app->answer));
            return NULL;
        }
    }
    return NULL;
}

static void app_listen(struct app *app)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    *app = (struct app){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(app->fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(app->fd, 1), 0);
    assert_int_equal(getsockname(app->fd, (struct sockaddr *)&addr, &len), 0);
    app->port = ntohs(addr.sin_port);
}

static void app_open(struct app *app, const char *answer)
{
    app_listen(app);
    app->answer = answer;
    assert_int_equal(pthread_create(&app->thread, NULL, app_thread, app), 0);
}

static void app_close(struct app *app)
{
    shutdown(app->fd, SHUT_RDWR);
    pthread_join(app->thread, NULL);
    close(app->fd);
}

static struct probe_ask ask_of(uint16_t port)
{
    return (struct probe_ask){.at = {.ip = INADDR_LOOPBACK, .port = port},
                              .scheme = STR("http"),
                              .path = STR("/health"),
                              .connect_ms = 1000,
                              .timeout_ms = 20000};
}

static void the_status_decides(void **state)
{
    static const struct {
        const char *answer;
        bool needs_200, is_up;
        const char *text;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\n\r\n", false, true, "status 200"},
        {"HTTP/1.0 404 Not Found\r\n\r\n", false, true, "status 404"},
        {"HTTP/1.1 503 Wait\r\n\r\n", false, false, "status 503"},
        {"HTTP/1.1 200 OK\r\n\r\n", true, true, "status 200"},
        {"HTTP/1.1 204 No Content\r\n\r\n", true, false, "status 204"},
        {"SSH-2.0-OpenSSH_9.2p1\r\n", false, false, "the answer is not HTTP"},
        {"HTTP/1.1 abc\r\n", false, false, "the answer is not HTTP"},
        {"HTTP/1.1", false, false, "the connection was closed without an answer"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct app app;
        struct probe_answer out;
        app_open(&app, cases[i].answer);
        struct probe_ask ask = ask_of(app.port);
        ask.needs_200 = cases[i].needs_200;
        ctr_probe(&ask, &out);
        app_close(&app);
        assert_string_equal(out.text, cases[i].text);
        assert_int_equal(out.is_up, cases[i].is_up);
        assert_true(out.is_accepted);
        assert_non_null(strstr(app.asked, "GET /health HTTP/1.1\r\nHost: 127.0.0.1:"));
    }
}

/* Answers one connection after the other, each with the next of `answers`; "PORT" in one is the app's. */
struct chain {
    struct app app;
    const char *answers[8];
    int asked;
    char paths[8][64];
};

static void *chain_thread(void *arg)
{
    struct chain *c = arg;
    for (;;) {
        scoped_fd int fd = accept(c->app.fd, NULL, NULL);
        char text[512] = "", head[64];
        size_t got = 0;
        ssize_t n;
        if (fd < 0)
            return NULL;
        while (!strstr(text, "\r\n\r\n") && (n = recv(fd, text + got, sizeof text - 1 - got, 0)) > 0)
            got += (size_t)n;
        if (got == 0)
            continue; /* the connection that tells whether somebody listens */
        sscanf(text, "GET %63s", c->paths[c->asked]);
        const char *answer = c->answers[c->asked++], *port = strstr(answer, "PORT");
        snprintf(head, sizeof head, "%d", c->app.port);
        scoped_buf out = BUF_INIT(1000);
        buf_add(&out, answer, port ? (size_t)(port - answer) : strlen(answer));
        if (port)
            buf_printf(&out, "%s%s", head, port + 4);
        assert_int_equal(send(fd, out.ptr, out.len, MSG_NOSIGNAL), out.len);
    }
}

static void redirects_are_followed_within_the_app_alone(void **state)
{
#define TO(place) "HTTP/1.1 302 Found\r\nLocation: " place "\r\nContent-Length: 0\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    static const struct {
        const char *answers[8]; /* the first two are asked for the same path: by hand, then by the client */
        bool is_up;
        int asked;
        const char *last_path;
    } cases[] = {
        {{TO("/up"), TO("/up"), OK}, true, 3, "/up"},
        {{TO("up?x#y"), TO("up?x#y"), OK}, true, 3, "/up?x"},
        {{TO("http://127.0.0.1:PORT/up"), TO("http://127.0.0.1:PORT/up"), OK}, true, 3, "/up"},
        {{TO("http://127.0.0.1:1/up"), TO("http://127.0.0.1:1/up")}, false, 2, "/health"},
        {{TO("http://localhost:PORT/up"), TO("http://localhost:PORT/up")}, false, 2, "/health"},
        {{TO("//127.0.0.1:1/up"), TO("//127.0.0.1:1/up")}, false, 2, "/health"},
        {{TO("https://127.0.0.1:PORT/up"), TO("https://127.0.0.1:PORT/up")}, false, 2, "/health"},
        {{TO("file:///etc/passwd"), TO("file:///etc/passwd")}, false, 2, "/health"},
        {{TO("/1"), TO("/1"), TO("/2"), TO("/3"), TO("/4"), TO("/5"), TO("/6")}, false, 7, "/5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct chain c = {0};
        struct probe_answer out;
        app_listen(&c.app);
        memcpy(c.answers, cases[i].answers, sizeof c.answers);
        assert_int_equal(pthread_create(&c.app.thread, NULL, chain_thread, &c), 0);
        struct probe_ask ask = ask_of(c.app.port);
        ask.needs_200 = true;
        ctr_probe(&ask, &out);
        app_close(&c.app);
        if (out.is_up != cases[i].is_up || c.asked != cases[i].asked || strcmp(c.paths[c.asked - 1], cases[i].last_path) != 0)
            fail_msg("case %zu: %s, asked %d times, at last %s", i, out.text, c.asked, c.paths[c.asked - 1]);
    }
}

static void an_app_that_takes_connections_and_is_silent_is_not_up(void **state)
{
    struct app app;
    struct probe_answer out;
    (void)state;
    app_open(&app, NULL);
    struct probe_ask ask = ask_of(app.port);
    ask.timeout_ms = 30;
    ctr_probe(&ask, &out);
    app_close(&app);
    assert_false(out.is_up);
    assert_true(out.is_accepted);
    assert_string_equal(out.text, "no answer in time");
}

static void an_accepted_connection_can_be_enough(void **state)
{
    struct app app;
    struct probe_answer out;
    (void)state;
    app_open(&app, NULL);
    struct probe_ask ask = ask_of(app.port);
    ask.is_connect_enough = true;
    ctr_probe(&ask, &out);
    app_close(&app);
    assert_true(out.is_up);
}

static void nobody_listening_is_told_at_once(void **state)
{
    struct app app;
    struct probe_answer out;
    (void)state;
    app_open(&app, NULL);
    app_close(&app);
    struct probe_ask ask = ask_of(app.port);
    ctr_probe(&ask, &out);
    assert_false(out.is_up);
    assert_false(out.is_accepted);
    assert_string_equal(out.text, "no connection: nothing listens there");
}

static void a_cancelled_probe_ends(void **state)
{
    struct app app;
    struct probe_answer out;
    atomic_bool cancel = true;
    (void)state;
    app_open(&app, NULL);
    struct probe_ask ask = ask_of(app.port);
    ask.cancel = &cancel;
    ctr_probe(&ask, &out);
    app_close(&app);
    assert_false(out.is_up);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_decides),
        cmocka_unit_test(redirects_are_followed_within_the_app_alone),
        cmocka_unit_test(an_app_that_takes_connections_and_is_silent_is_not_up),
        cmocka_unit_test(an_accepted_connection_can_be_enough),
        cmocka_unit_test(nobody_listening_is_told_at_once),
        cmocka_unit_test(a_cancelled_probe_ends),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
