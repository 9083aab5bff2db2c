/* tests/app/test_proxy.c: proxy routes to a fixed address: paths, headers both ways, Host, the write gate,
 * precedence.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"
#include "fake_server.h"

/* Answers with the head it got as the body; /redirect redirects to itself. */
static void echo(struct fake_server *s, int fd, int nth)
{
    char head[16384], answer[20000];
    while (fake_read_head(fd, head, sizeof head) > 0) {
        const char *length = strcasestr(head, "\r\nContent-Length: ");
        char ignored[4096];
        if (length)
            fake_read_all(fd, ignored, strtoul(length + 18, NULL, 10));
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %s\r\nContent-Length: %zu\r\nX-Frame-Options: DENY\r\nX-Theirs: 1\r\n%s\r\n%s",
                 strstr(head, "/redirect") ? "302 Found" : "200 OK", strlen(head),
                 strstr(head, "/redirect") ? "Location: /there\r\n" : "", head);
        fake_write(fd, answer);
    }
}

static struct fake_server upstream;

/* "@" in `config` stands for the upstream's address. */
static struct app *load_proxy(const char *path, const char *config, const char *more)
{
    struct str address = str_printf(&now.arena, "http://127.0.0.1:%d", upstream.port);
    scoped_buf b = BUF_INIT(8192);
    struct str f = str_printf(&now.arena,
                              "load('proxy.in', 'proxy')\ndef h(req):\n    return 'handler'\n"
                              "app = ace.app('p', routes=[ace.proxy('%s', proxy.config(%s))%s],\n"
                              "              permissions=[ace.permission('proxy.in', 'config')])\n",
                              path, config, more);
    for (size_t at; (at = str_find(f, STR("@"))) != STR_NPOS; f = str_from_off(f, at + 1)) {
        buf_add_str(&b, str_slice(f, 0, at));
        buf_add_str(&b, address);
    }
    buf_add_str(&b, f);
    return load_approved(FILES("app.star", str_z(&now.arena, str_dup(&now.arena, buf_str(&b)))));
}

static void asked_for(const char *request, const char *target)
{
    say(request);
    struct str first;
    str_cut(body(), '\r', &first, NULL);
    assert_str(first, target);
}

static const struct {
    const char *name, *app_path, *route, *config, *request, *target;
} paths[] = {
    {"the app's path is stripped", "/x", "/", "'@'", "GET /x/a/b?c=d", "GET /a/b?c=d HTTP/1.1"},
    {"the bare path is the root", "/x", "/", "'@'", "GET /x", "GET / HTTP/1.1"},
    {"unless it is told not to", "/x", "/", "'@', strip_app=False", "GET /x/a", "GET /x/a HTTP/1.1"},
    {"more can be stripped", "/x", "/api", "'@', strip_path='/api'", "GET /x/api/a", "GET /a HTTP/1.1"},
    {"a route alone strips nothing of itself", "/x", "/api", "'@'", "GET /x/api/a", "GET /api/a HTTP/1.1"},
    {"only the path is stripped", "/x", "/x", "'@', strip_path='/x', strip_app=False", "GET /x/x/a",
     "GET /x/a HTTP/1.1"},
    {"an app at the root", "/", "/", "'@'", "GET /a//b/../c", "GET /a//b/../c HTTP/1.1"},
    {"escapes are left alone", "/x", "/", "'@'", "GET /x/a%2Fb%20c", "GET /a%2Fb%20c HTTP/1.1"},
    {"escapes below a route", "/x", "/api", "'@'", "GET /x/api/a%2Fb", "GET /api/a%2Fb HTTP/1.1"},
    {"a path of the upstream goes in front", "/x", "/", "'@/base'", "GET /x/a", "GET /base/a HTTP/1.1"},
};

static void paths_are_stripped(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        setup(NULL);
        print_message("%s\n", paths[i].name);
        now.entry.path = str_from(paths[i].app_path);
        load_proxy(paths[i].route, paths[i].config, "");
        asked_for(paths[i].request, paths[i].target);
    }
}

static void the_more_specific_wins(void **state)
{
    load_proxy(
        "/", "'@'",
        ", ace.proxy('/a/b', proxy.config('@', strip_path='/a/b')), ace.api('/a/b/c', h), ace.api('/h', h),"
        " ace.api('/{x}', h, method='PUT')");
    asked_for("GET /x/a", "GET /a HTTP/1.1");
    asked_for("GET /x/a/b", "GET / HTTP/1.1");
    asked_for("GET /x/a/b/d", "GET /d HTTP/1.1");
    asked_for("GET /x/a/bc", "GET /a/bc HTTP/1.1");
    expect("GET /x/a/b/c", 200, "\"handler\"\n");
    expect("GET /x/h", 200, "\"handler\"\n");
    asked_for("POST /x/h", "POST /h HTTP/1.1");
    expect("PUT /x/q", 200, "\"handler\"\n");
    asked_for("GET /x/static/a.css", "GET /static/a.css HTTP/1.1");
    assert_null(atomic_load(&fx.app)->lone_proxy);
}

static void files_beside_a_proxy(void **state)
{
    load_proxy("/", "'@'", "");
    assert_non_null(atomic_load(&fx.app)->lone_proxy);
    struct str address = str_printf(&now.arena, "http://127.0.0.1:%d", upstream.port);
    const char *star = str_z(
        &now.arena,
        str_printf(
            &now.arena,
            "load('proxy.in', 'proxy')\napp = ace.app('p', routes=[ace.proxy('/', proxy.config('" STR_FMT
            "'))], permissions=[ace.permission('proxy.in', 'config')])\n",
            STR_ARG(address)));
    load_approved(FILES("app.star", star, "static_root/robots.txt", "robots", "static/a.css", "css"));
    expect("GET /x/robots.txt", 200, "robots");
    asked_for("GET /x/static/a.css", "GET /static/a.css HTTP/1.1");
    asked_for("GET /x/other", "GET /other HTTP/1.1");
}

static void has_line(const char *wanted)
{
    assert_has(body(), str_z(&now.arena, str_printf(&now.arena, "\r\n%s\r\n", wanted)));
}
static void has_not(const char *text)
{
    if (strcasestr(now.got.body.ptr, text))
        fail_msg("\"%s\" reached the upstream: %s", text, now.got.body.ptr);
}

static void the_upstream_learns_who_asks_from_us_alone(void **state)
{
    fx.who =
        (struct auth_identity){.user_id = STR("builtin:joe"), .email = STR("j@x.org"), .subject = STR("42")};
    fx.is_https = true;
    load_proxy("/", "'@'", "");
    say_with("GET /x/a",
             "X-Forwarded-For: evil\r\nX-Forwarded-Prefix: evil\r\nForwarded: evil\r\nX-Real-IP: "
             "evil\r\nX-Openrun-User: evil\r\n"
             "X_Openrun_Perms: evil\r\nX-Kept: yes\r\nCookie: a=b\r\nAuthorization: Bearer t\r\n");
    has_not("evil");
    has_line("X-Kept: yes");
    has_line("Cookie: a=b");
    has_line("Authorization: Bearer t");
    has_line("X-Real-IP: 127.0.0.1");
    has_line("X-Forwarded-For: 127.0.0.1");
    has_line("X-Forwarded-Host: localhost");
    has_line("X-Forwarded-Proto: https");
    has_line("X-Forwarded-Prefix: /x");
    has_line("X-Openrun-User: builtin:joe");
    has_line("X-Openrun-User-Id: 42");
    has_line("X-Openrun-User-Email: j@x.org");
    has_line("X-Openrun-Rbac-Enabled: false");
    has_line(str_z(&now.arena, str_printf(&now.arena, "Host: 127.0.0.1:%d", upstream.port)));
    fx.who = (struct auth_identity){.user_id = STR("admin"), .is_basic = true};
    now.entry.path = STR("/");
    load_proxy("/", "'@'", "");
    say_with("GET /x/a", "Authorization: Basic YTpi\r\n");
    has_not("YTpi");
    has_not("X-Forwarded-Prefix");
    has_not("X-Openrun-User-Email");
}

static void response_headers_are_set(void **state)
{
    load_proxy("/", "'@', response_headers={'X-Theirs': 'ours', 'X-Url': 'at $url'}", "");
    say("GET /x/a/b");
    assert_str(header("X-Theirs"), "ours");
    assert_str(header("X-Url"), "at /a/b");
    /* The upstream's own answer to a security question stands. */
    assert_true(web_has_header(&now.got, "X-Frame-Options: DENY"));
    assert_true(web_has_header(&now.got, "X-Content-Type-Options: nosniff"));
    say("GET /x/redirect");
    assert_str(header("Location"), "/x/there");
    put(&now.entry.metadata.appconfig, "proxy.rewrite_location", "false");
    load_proxy("/", "'@'", "");
    say("GET /x/redirect");
    assert_str(header("Location"), "/there");
}

static const struct {
    const char *name, *domain, *host, *sent;
} hosts[] = {
    {"the default domain", "", "localhost:25222", "localhost:25222"},
    {"loopback is local", "", "127.0.0.1:80", "127.0.0.1:80"},
    {"another name becomes ours", "", "evil.example:99", "localhost:99"},
    {"and without a port too", "", "evil.example", "localhost"},
    {"the app's domain", "app.example", "app.example", "app.example"},
    {"in any case", "app.example", "APP.example:8", "APP.example:8"},
    {"the default domain is not the app's", "app.example", "localhost:7", "app.example:7"},
};

static void the_host_can_be_kept(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        setup(NULL);
        print_message("%s\n", hosts[i].name);
        now.entry.domain = str_from(hosts[i].domain);
        load_proxy("/", "'@', preserve_host=True", "");
        say(str_z(&now.arena,
                  str_printf(&now.arena, "GET /x/a HTTP/1.1\r\nHost: %s\r\n\r\n", hosts[i].host)));
        has_line(str_z(&now.arena, str_printf(&now.arena, "Host: %s", hosts[i].sent)));
    }
}

static void upgrades_keep_the_host(void **state)
{
    load_proxy("/", "'@'", "");
    say_with("GET /x/a", "Connection: Upgrade\r\nUpgrade: websocket\r\n");
    has_line("Host: localhost:25222");
}

static void the_write_gate(void **state)
{
    static const struct {
        const char *id, *text;
    } kinds[] = {
        {"app_stg_2abcdefghijklmnopqrstuvwxyz", "Stage app does not have access to proxy write APIs\n"},
        {"app_pre_2abcdefghijklmnopqrstuvwxyz", "Preview app does not have access to proxy write APIs\n"}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        now.entry.id = str_from(kinds[i].id);
        load_proxy("/", "'@'", "");
        fx.is_write_gated = true;
        asked_for("GET /x/a", "GET /a HTTP/1.1");
        asked_for("OPTIONS /x/a", "OPTIONS /a HTTP/1.1");
        expect("POST /x/a", 403, kinds[i].text);
        expect("DELETE /x/a", 403, kinds[i].text);
        expect("BREW /x/a", 403, kinds[i].text);
        fx.is_write_gated = false;
        asked_for("POST /x/a", "POST /a HTTP/1.1");
    }
}

static const struct {
    const char *name, *routes, *err;
} bad[] = {
    {"no plugin result", "ace.proxy('/', 'http://x')",
     "error in proxy config: not the result of a plugin call, but string"},
    {"another plugin's result", "ace.proxy('/', container.config('auto'))",
     "expected the result of proxy.config(...)"},
    {"a failed result", "ace.proxy('/', proxy.config('http://x', strip_pth='a'))",
     "unexpected keyword argument \"strip_pth\""},
    {"a wrong type", "ace.proxy('/', proxy.config('http://x', preserve_host='no'))",
     "for parameter preserve_host: got string, want bool"},
    {"no address", "ace.proxy('/', proxy.config('nonsense'))", "proxy.config: url \"nonsense\""},
    {"a relative route", "ace.proxy('a', proxy.config('http://x'))", "path must start with \"/\""},
    {"a star", "ace.proxy('/a/*', proxy.config('http://x'))", "it needs no \"*\""},
    {"a relative strip_path", "ace.proxy('/', proxy.config('http://x', strip_path='a', strip_app=False))",
     "strip_path must start with"},
    {"two at the same place",
     "ace.proxy('/a', proxy.config('http://x')), ace.proxy('/a/', proxy.config('http://y'))",
     "declared twice"},
    {"headers with line breaks",
     "ace.proxy('/', proxy.config('http://x', response_headers={'A': 'b\\r\\nc'}))",
     "response_headers must map"},
    {"header names that are none", "ace.proxy('/', proxy.config('http://x', response_headers={'A b': 'c'}))",
     "response_headers must map"},
    {"a container that is not there", "ace.proxy('/', proxy.config(container.URL))",
     "a proxy route goes to the app's container, but there is none"},
};

static void bad_routes_are_load_errors(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setup(NULL);
        print_message("%s\n", bad[i].name);
        const char *star = str_z(
            &now.arena, str_printf(&now.arena,
                                   "load('proxy.in', 'proxy')\nload('container.in', 'container')\n"
                                   "app = ace.app('p', routes=[%s], permissions=[ace.permission('proxy.in', "
                                   "'config'), ace.permission('container.in', 'config')])\n",
                                   bad[i].routes));
        approve(make_files(FILES("app.star", star)));
        must_not_load(FILES("app.star", star), bad[i].err);
    }
    must_not_load(FILES("app.star", "load('proxy.in', 'proxy')\napp = ace.app('p', static_only=True, "
                                    "routes=[ace.proxy('/', proxy.config(ace.CONTAINER_URL))])\n"),
                  "static_only app cannot have a proxy route at /");
}

static int open_all(void **state)
{
    fake_start(&upstream, echo, NULL, NULL);
    return fx_open(state);
}

static int close_all(void **state)
{
    int rc = fx_close(state);
    fake_stop(&upstream);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(paths_are_stripped),         TEST(the_more_specific_wins),
        TEST(files_beside_a_proxy),       TEST(the_upstream_learns_who_asks_from_us_alone),
        TEST(response_headers_are_set),   TEST(the_host_can_be_kept),
        TEST(upgrades_keep_the_host),     TEST(the_write_gate),
        TEST(bad_routes_are_load_errors),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
