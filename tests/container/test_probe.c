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

static void app_open(struct app *app, const char *answer)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    *app = (struct app){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer};
    assert_int_equal(bind(app->fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(app->fd, 1), 0);
    assert_int_equal(getsockname(app->fd, (struct sockaddr *)&addr, &len), 0);
    app->port = ntohs(addr.sin_port);
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
        cmocka_unit_test(an_app_that_takes_connections_and_is_silent_is_not_up),
        cmocka_unit_test(an_accepted_connection_can_be_enough),
        cmocka_unit_test(nobody_listening_is_told_at_once),
        cmocka_unit_test(a_cancelled_probe_ends),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
