/* tests/cli/test_client.c: calls of the server: what goes out, and what comes of each answer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli_int.h"
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fake_server.h"

static struct cli context(struct arena *a, const struct fake_server *s)
{
    struct str home = str_from(s->home);
    return (struct cli){
        .arena = a,
        .home = {.dir = home},
        .config = {.server_uri = str_printf(a, STR_FMT "/run/openrun.sock", STR_ARG(home)),
                   .admin_user = STR("admin"),
                   .admin_password = STR("pw")},
    };
}

static const struct {
    const char *name;
    struct fake_answer answer;
    const char *reply, *error;
} cases[] = {
    {"an object", {200, "{\"a\":1}"}, "{\"a\":1}", NULL},
    {"an array", {200, "[]"}, "[]", NULL},
    {"no body", {200, ""}, "{}", NULL},
    {"no content", {204, ""}, "{}", NULL},
    {"text that is not UTF-8", {200, "{\"a\":\"x\xff\xc3\xa9\xe2\x82\"}"},
     "{\"a\":\"x\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\"}", NULL},
    {"no JSON", {200, "<html>"}, NULL, "error parsing response: "},
    {"a message", {400, "{\"message\":\"app not found\",\"code\":400}\n"}, NULL, "app not found"},
    {"an empty message", {409, "{\"message\":\"\",\"code\":409}"}, NULL, "status code 409"},
    {"plain text", {500, "it broke\n\n"}, NULL, "it broke"},
    {"JSON without a code", {500, "{\"message\":\"x\"}"}, NULL, "{\"message\":\"x\"}"},
    {"no text", {503, ""}, NULL, "status code 503"},
    {"an unknown call", {404, "404 page not found\n"}, NULL,
     "the server does not know the call GET /thing: is it an older version?"},
    {"a closed connection", {0, NULL}, NULL, "; see the server's log "},
};

static void answers_become_replies_or_messages(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct fake_server s;
        fake_server_start(&s, &cases[i].answer, 1);
        struct cli c = context(&a, &s);
        struct call call = {.method = "GET", .path = "/thing"};
        json_t *reply = call_server(&c, &call, &err);
        http_client_close(c.http);
        fake_server_stop(&s);
        buf_release(&s.seen);
        if ((reply != NULL) != (cases[i].reply != NULL))
            fail_msg("%s: %s", cases[i].name, reply ? "no error" : err_msg(&err));
        if (reply && !str_eq_z(json_text(&a, reply, JSON_STYLE_COMPACT), cases[i].reply))
            fail_msg("%s: got " STR_FMT, cases[i].name, STR_ARG(json_text(&a, reply, JSON_STYLE_COMPACT)));
        if (!reply && !strstr(err_msg(&err), cases[i].error))
            fail_msg("%s: want %s, got %s", cases[i].name, cases[i].error, err_msg(&err));
    }
}

static void a_request_carries_what_the_api_wants(void **state)
{
    static const struct fake_answer answer = {200, "{}"};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fake_server s;
    fake_server_start(&s, &answer, 1);
    struct cli c = context(&a, &s);
    c.as_user = STR("builtin:u");
    scoped_json *body = json_pack("{s:s}", "k", "v");
    struct call call = {.method = "POST", .path = "/app", .body = body, .is_long = true};
    call_text(&c, &call, "appPathGlob", STR("a b:/x/**?&=\xc3\xa9"));
    call_bool(&c, &call, "dryRun", true);
    call_bool(&c, &call, "promote", false);
    assert_non_null(call_server(&c, &call, &err));
    http_client_close(c.http);
    fake_server_stop(&s);
    const char *seen = buf_z(&s.seen);
    static const char *const wants[] = {
        "POST /_openrun/app?appPathGlob=a%20b%3A%2Fx%2F%2A%2A%3F%26%3D%C3%A9&dryRun=true&promote=false HTTP/1.1\r\n",
        "\r\nHost: openrun\r\n",
        "\r\nAuthorization: Basic YWRtaW46cHc=\r\n",
        "\r\nAccept: application/x-ndjson\r\n",
        "\r\nContent-Type: application/json\r\n",
        "\r\nX-Openrun-As-User: builtin:u\r\n",
        "\r\n\r\n{\"k\":\"v\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(wants); i++)
        if (!strstr(seen, wants[i]))
            fail_msg("missing: %s\nin: %s", wants[i], seen);
    buf_release(&s.seen);
}

static void a_server_that_is_not_there_is_named(void **state)
{
    scoped_arena a = {0};
    struct fake_server s;
    fake_server_start(&s, NULL, 0);
    struct cli c = context(&a, &s);
    struct call call = {.method = "GET", .path = "/apps"};
    scoped_err err = {0};
    assert_null(call_server(&c, &call, &err));
    assert_string_equal(err_msg(&err), str_printf(&a, "cannot reach the OpenRun server at %s/run/openrun.sock: is it "
                                                      "running? start it with \"openrun server start\"", s.home).ptr);
    assert_false(server_accepts(&c));
    http_client_close(c.http);
    fake_server_stop(&s);
}

static void a_socket_path_may_be_longer_than_the_system_allows(void **state)
{
    static const struct fake_answer answer = {200, "{}"};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fake_server s;
    fake_server_start(&s, &answer, 1);
    struct cli c = context(&a, &s);
    char name[101], link[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(link, sizeof link, "%s/%s", s.home, name); /* the home by a long name */
    assert_int_equal(symlink(s.home, link), 0);
    c.home.dir = str_from(link);
    c.config.server_uri = str_printf(&a, "%s/run/openrun.sock", link);
    struct call call = {.method = "GET", .path = "/apps"};
    json_t *reply = call_server(&c, &call, &err);
    if (!reply)
        fail_msg("%s", err_msg(&err));
    http_client_close(c.http);
    fake_server_stop(&s);
    buf_release(&s.seen);
}

/* `c` talks to `s` over TCP, under a path. */
static struct cli tcp_context(struct arena *a, const struct fake_server *s)
{
    struct cli c = context(a, s);
    c.config.server_uri = str_printf(a, "http://127.0.0.1:%d/pre/", s->port);
    c.config.is_tcp = true;
    return c;
}

static void a_server_may_be_reached_over_tcp(void **state)
{
    static const struct fake_answer answers[] = {{200, "{\"a\":1}"}, {404, "404 page not found\n"}, {0, NULL}};
    scoped_arena a = {0};
    scoped_err err = {0};
    struct fake_server s;
    fake_server_open(&s, answers, ARRAY_LEN(answers), fake_listen_tcp);
    struct cli c = tcp_context(&a, &s);
    struct call call = {.method = "POST", .path = "/reload", .is_long = true};
    assert_non_null(call_server(&c, &call, &err));
    assert_null(call_server(&c, &call, &err));
    assert_string_equal(err_msg(&err), str_printf(&a, "http://127.0.0.1:%d/pre/ does not offer the management API: set "
                                                      "security.unsafe_admin_over_tcp = true on the server, or use its "
                                                      "unix socket", s.port).ptr);
    assert_true(server_accepts(&c)); /* uses up the third */
    http_client_close(c.http);
    c.http = NULL;
    fake_server_stop(&s);
    assert_memory_equal(buf_z(&s.seen), "POST /pre/_openrun/reload HTTP/1.1\r\n", 36);
    assert_non_null(strstr(buf_z(&s.seen), "\r\nAuthorization: Basic YWRtaW46cHc=\r\n"));
    buf_release(&s.seen);

    assert_false(server_accepts(&c));
    assert_null(call_server(&c, &call, &err));
    const char *want = str_printf(&a, "cannot reach the OpenRun server at http://127.0.0.1:%d/pre/: ", s.port).ptr;
    if (strncmp(err_msg(&err), want, strlen(want)) != 0)
        fail_msg("%s", err_msg(&err));
    http_client_close(c.http);
}

static void as_user_is_refused_over_tcp(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    struct cli c = {.arena = &a,
                    .as_user = STR("builtin:u"),
                    .config = {.server_uri = STR("https://example.invalid"), .is_tcp = true}};
    struct call call = {.method = "GET", .path = "/apps"};
    assert_null(call_server(&c, &call, &err));
    assert_string_equal(err_msg(&err), "--as works over the unix socket only, server_uri is https://example.invalid");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_become_replies_or_messages),
        cmocka_unit_test(a_request_carries_what_the_api_wants),
        cmocka_unit_test(a_server_that_is_not_there_is_named),
        cmocka_unit_test(a_socket_path_may_be_longer_than_the_system_allows),
        cmocka_unit_test(a_server_may_be_reached_over_tcp),
        cmocka_unit_test(as_user_is_refused_over_tcp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
