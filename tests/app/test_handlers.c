/* tests/app/test_handlers.c: Starlark handlers over a real server: what they get, what their answers become,
 * and what happens to those that fail, run on, or eat memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static void one(const char *value, int status, const char *json)
{
    load_star(str_z(&now.arena,
                    str_printf(&now.arena,
                               "def h(req):\n    return %s\napp = ace.app('a', routes=[ace.api('/', h)])\n",
                               value)));
    expect("GET /x", status, json);
}

static void text(const char *value, const char *wanted)
{
    load_star(str_z(
        &now.arena,
        str_printf(&now.arena,
                   "def h(req):\n    return %s\napp = ace.app('a', routes=[ace.api('/', h, type='text')])\n",
                   value)));
    expect("GET /x", 200, wanted);
}

static void values_become_json(void **state)
{
    one("None", 200, "null\n");
    one("[True, 1, 1.0, 1.5, -0.25, 'a<b&\"', 'x\\ny']", 200,
        "[true,1,1,1.5,-0.25,\"a<b&\\\"\",\"x\\ny\"]\n");
    one("{'b': 1, 'a': (1, 2), 3: {}}", 200, "{\"b\":1,\"a\":[1,2],\"3\":{}}\n");
    one("b'ab'", 200, "\"YWI=\"\n");
    one("'\\u00e9'", 200, "\"\xc3\xa9\"\n");
    assert_str(header("Content-Type"), "application/json");
    assert_str(header("Server"), "OpenRun");
    assert_str(header("Vary"), "HX-Request, HX-Boosted");
}

static void values_become_text(void **state)
{
    text("None", "<nil>");
    text("'plain'", "plain");
    text("{'b': 1, 'a': [True, None, 'x']}", "map[a:[true <nil> x] b:1]");
    text("[1.0, 0.5, 1e21, 1e20, 0.00001, 123456.789, float('nan'), float('-inf')]",
         "[1 0.5 1e+21 100000000000000000000 1e-05 123456.789 NaN -Inf]");
    text("()", "[]");
    assert_str(header("Content-Type"), "text/plain; charset=utf-8");
}

static void what_cannot_be_answered_is_a_500(void **state)
{
    static const char *const cases[][2] = {
        {"1 << 70", "int"},
        {"h", "unrecognized starlark type: function"},
        {"req", "unrecognized starlark type: Request"},
        {"ace.output('x')", "unrecognized starlark type: Output"},
        {"ace.style('x')", "a struct must come from"},
        {"'\\u00e9'[:1]", "UTF-8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        load_star(
            str_z(&now.arena,
                  str_printf(&now.arena,
                             "def h(req):\n    return %s\napp = ace.app('a', routes=[ace.api('/', h)])\n",
                             cases[i][0])));
        expect_part("GET /x", 500, cases[i][1]);
    }
    load_star("def h(req):\n    l = []\n    for i in range(200):\n        l = [l]\n    return l\n"
              "app = ace.app('a', routes=[ace.api('/', h), ace.api('/t', h, type='TEXT')])\n");
    expect_part("GET /x", 500, "depth");
    expect_part("GET /x/t", 500, "value nesting exceeds max depth");
}

static void routes_without_handlers(void **state)
{
    load_star("app = ace.app('a', routes=[ace.api('/j'), ace.api('/t', type='TEXT')])\n");
    expect("GET /x/j", 200, "{}\n");
    expect("GET /x/t", 200, "map[]");
    load_star(
        "def handler(req):\n    return 'global'\ndef other_no_args():\n    return 'none'\n"
        "app = ace.app('a', routes=[ace.api('/j'), ace.api('/n', other_no_args), ace.html('/h', fragments=[\n"
        "  ace.api('f', other_no_args, method='POST'), ace.fragment('g')])])\n");
    expect("GET /x/j", 200, "\"global\"\n");
    expect("GET /x/n", 200, "\"none\"\n");
    expect("POST /x/h/f", 200, "\"none\"\n");
    expect_part("GET /x/h", 501, "HTML pages");
    expect_part("GET /x/h/g", 501, "HTML pages");
}

static void methods_and_missing_paths(void **state)
{
    load_star("def h(req):\n    return req.Method\n"
              "app = ace.app('a', routes=[ace.api('/a', h), ace.api('/a', h, method='put'), ace.api('/q', h, "
              "method='QUERY')])\n");
    expect("GET /x/a", 200, "\"GET\"\n");
    expect("GET /x/a/", 200, "\"GET\"\n");
    expect("PUT /x/a", 200, "\"PUT\"\n");
    expect("QUERY /x/q", 200, "\"QUERY\"\n");
    say("HEAD /x/a");
    assert_int_equal(now.got.status, 200);
    assert_int_equal(now.got.body.len, 0);
    expect("POST /x/a", 405, "");
    assert_str(header("Allow"), "GET, HEAD, PUT");
    expect("GET /x/b", 404, "404 page not found\n");
    expect("GET /x", 404, "404 page not found\n");
    expect("GET /xa/a", 404, "404 page not found\n");
}

static void paths_are_cleaned_and_decoded(void **state)
{
    load_star(
        "def h(req):\n    return req.UrlParams\n"
        "app = ace.app('a', routes=[ace.api('/p/{id}', h), ace.api('/w/*', h), ace.api('/p/{a}/{b}', h)])\n");
    expect("GET /x/p/7", 200, "{\"*\":\"\",\"id\":\"7\"}\n");
    expect("GET //x//p//7//", 200, "{\"*\":\"\",\"id\":\"7\"}\n");
    expect("GET /x/./q/../p/7", 200, "{\"*\":\"\",\"id\":\"7\"}\n");
    expect("GET /x/p/a%20b%C3%A9", 200, "{\"*\":\"\",\"id\":\"a b\xc3\xa9\"}\n");
    expect("GET /%78/p/%2e%2e/p/7", 200, "{\"*\":\"\",\"id\":\"7\"}\n");
    /* An encoded slash is data: the path is matched as sent, values stay encoded. */
    expect("GET /x/p/a%2Fb", 200, "{\"*\":\"\",\"id\":\"a%2Fb\"}\n");
    expect("GET /%78/p/a%2fb", 200, "{\"*\":\"\",\"id\":\"a%2fb\"}\n");
    expect("GET /x%2Fp/7", 404, "404 page not found\n");
    expect("GET /x/p/..%2f..%2fetc", 200, "{\"*\":\"\",\"id\":\"..%2f..%2fetc\"}\n");
    expect("GET /x/w/a/b%20c", 200, "{\"*\":\"a/b c\"}\n");
    expect("GET /x/../x/p/7", 200, "{\"*\":\"\",\"id\":\"7\"}\n");
    expect("GET /x/../../p/7", 404, "404 page not found\n");
    expect("GET /x/p/%00", 404, "404 page not found\n");
    expect("GET /x/p/%zz", 404, "404 page not found\n");
}

static void an_app_at_the_root(void **state)
{
    now.entry.path = STR("/");
    load_star("def h(req):\n    return [req.AppPath, req.PagePath, req.AppUrl, req.PageUrl]\n"
              "app = ace.app('a', routes=[ace.api('/', h), ace.api('/a/b', h)])\n");
    expect("GET /", 200, "[\"\",\"\",\"http://localhost:25222\",\"http://localhost:25222/\"]\n");
    expect("GET /a/b", 200, "[\"\",\"/a/b\",\"http://localhost:25222\",\"http://localhost:25222/a/b\"]\n");
    say("OPTIONS *");
    assert_int_equal(now.got.status, 404);
}

/* --- the request --- */

static void a_request_has_its_attributes(void **state)
{
    fx.who =
        (struct auth_identity){.user_id = STR("builtin:joe"), .email = STR("j@x.org"), .subject = STR("42")};
    fx.is_https = true;
    load_star("def h(req):\n"
              "    return [req.AppName, req.AppPath, req.AppUrl, req.PagePath, req.PageUrl, req.Method, "
              "req.IsDev, req.IsPartial,\n"
              "            req.PushEvents, req.HtmxVersion, req.RemoteIP, req.UserId, req.UserSubject, "
              "req.UserEmail,\n"
              "            req.CustomPerms, req.AppRBACEnabled, req.Data, type(req), 'Form' in dir(req)]\n"
              "app = ace.app('My app', routes=[ace.api('/a', h)])\n");
    say_with("GET /x/a?q=1", "HX-Request: true\r\n");
    assert_str(
        body(),
        "[\"My "
        "app\",\"/x\",\"https://localhost:25222/x\",\"/x/a\",\"https://localhost:25222/x/"
        "a\",\"GET\",false,true,"
        "false,\"2.0.3\",\"127.0.0.1\",\"builtin:joe\",\"42\",\"j@x.org\",[],false,null,\"Request\",true]\n");
    say_with("GET /x/a", "HX-Request: true\r\nHX-Boosted: true\r\n");
    assert_has(body(), "\"GET\",false,false,");
}

static void an_unknown_attribute_is_explained(void **state)
{
    load_star("def h(req):\n    return req.Qeury\napp = ace.app('a', routes=[ace.api('/', h)])\n");
    expect("GET /x", 500, "request has no attribute 'Qeury' (did you mean Query?)\n");
}

static void headers_have_canonical_names_and_no_forgeries(void **state)
{
    fx.who.user_id = STR("admin");
    load_star("def h(req):\n    return req.Headers\napp = ace.app('a', routes=[ace.api('/', h)])\n");
    say_with("GET /x",
             "x-lower-CASE: v\r\nMulti: 1\r\nmulti: 2\r\nX-Openrun-User: evil\r\nx_openrun_perms: evil\r\n"
             "Authorization: Bearer t\r\nCookie: a=b\r\n");
    assert_str(body(), "{\"Host\":[\"localhost:25222\"],\"X-Lower-Case\":[\"v\"],\"Multi\":[\"1\",\"2\"],"
                       "\"Authorization\":[\"Bearer t\"],"
                       "\"Cookie\":[\"a=b\"],\"X-Openrun-User\":[\"admin\"],\"X-Openrun-Perms\":[\"\"],\"X-"
                       "Openrun-Rbac-Enabled\":[\"false\"]}\n");
    fx.who.is_basic = true; /* then the password was for us */
    say_with("GET /x", "Authorization: Basic YTpi\r\n");
    assert_true(str_find(body(), STR("Authorization")) == STR_NPOS);
}

static void forms_queries_and_bodies(void **state)
{
    load_star("def h(req):\n    return [req.Query, req.PostForm, req.Form, req.Body]\n"
              "def j(req):\n    return req.Json\n"
              "app = ace.app('a', routes=[ace.api('/', h), ace.api('/', h, method='POST'), ace.api('/j', j, "
              "method='POST')])\n");
    expect("GET /x?a=1&b=x+y%21&a=2&&c", 200,
           "[{\"a\":[\"1\",\"2\"],\"b\":[\"x y!\"],\"c\":[\"\"]},{},"
           "{\"a\":[\"1\",\"2\"],\"b\":[\"x y!\"],\"c\":[\"\"]},\"\"]\n");
    expect("GET /x?a=1&b=%zz&c=3", 200,
           "[{\"a\":[\"1\"],\"c\":[\"3\"]},{},{\"a\":[\"1\"],\"c\":[\"3\"]},\"\"]\n");
    post("/x?a=q", "application/x-www-form-urlencoded; charset=utf-8", "a=b&z=1");
    assert_str(
        body(),
        "[{\"a\":[\"q\"]},{\"a\":[\"b\"],\"z\":[\"1\"]},{\"a\":[\"b\",\"q\"],\"z\":[\"1\"]},\"a=b&z=1\"]\n");
    post("/x", "text/plain", "a=b");
    assert_str(body(), "[{},{},{},\"a=b\"]\n");
    post("/x/j", "application/json", "{\"b\": [1, 2.5, \"x\"], \"a\": null}");
    assert_str(body(), "{\"b\":[1,2.5,\"x\"],\"a\":null}\n");
    post("/x/j", "application/json", "{");
    assert_int_equal(now.got.status, 500);
    assert_has(body(), "request body is not JSON");
}

static void too_large_a_body_is_refused(void **state)
{
    load_star("def h(req):\n    return len(req.Body)\napp = ace.app('a', routes=[ace.api('/', h, "
              "method='POST')])\n");
    say("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10485761\r\nConnection: close\r\n\r\n");
    assert_int_equal(now.got.status, 413);
}

/* --- answers --- */

static void responses(void **state)
{
    load_star("def a(req):\n    return ace.response({'k': 1}, code=201)\n"
              "def t(req):\n    return ace.response('text', type='text', code=404)\n"
              "def h(req):\n    return ace.response({}, type='html', block='b')\n"
              "def d(req):\n    return ace.response('a,b', download='a \"b\".csv', content_type='text/csv')\n"
              "def e(req):\n    return ace.response(b'\\xff', download='x', code=202)\n"
              "def f(req):\n    return ace.response(1, download='x')\n"
              "def g(req):\n    return ace.response('x', download='a\\r\\nb')\n"
              "app = ace.app('a', routes=[ace.api('/' + n, f) for n, f in [('a', a), ('t', t), ('h', h), "
              "('d', d), ('e', e), ('f', f), ('g', g)]])\n");
    expect("GET /x/a", 201, "{\"k\":1}");
    expect("GET /x/t", 404, "text");
    expect_part("GET /x/h", 500, "HTML responses need templates");
    expect("GET /x/d", 200, "a,b");
    assert_str(header("Content-Disposition"), "attachment; filename=\"a \\\"b\\\".csv\"");
    assert_str(header("Content-Type"), "text/csv");
    expect("GET /x/e", 202, "\xff");
    assert_str(header("Content-Type"), "application/octet-stream");
    expect_part("GET /x/f", 500, "download data must be a string or bytes");
    expect_part("GET /x/g", 500, "bad download name");
}

static const struct {
    const char *url, *location;
} redirects[] = {
    {"/y", "/y"},
    {"/y/", "/y/"},
    {"/a/../b?c=/../d", "/b?c=/../d"},
    {"rel", "/x/d/rel"},
    {"../up", "/x/up"},
    {"", "/x/d/"},
    {"?q=1", "/x/d/?q=1"},
    {"http://e.org/a/../b", "http://e.org/a/../b"},
    {"//e.org/x", "//e.org/x"},
    {"mailto:a@b", "mailto:a@b"},
    {"to?next=http://e.org", "/x/d/to?next=http://e.org"},
    {"/caf\xc3\xa9", "/caf%C3%A9"},
};

static void redirects_are_resolved(void **state)
{
    load_star(
        "def h(req):\n    return ace.redirect(req.Form['u'][0], code=int(req.Form['c'][0]), refresh=True)\n"
        "app = ace.app('a', routes=[ace.api('/d/{n}', h), ace.api('/d/{n}', h, method='POST')])\n");
    for (size_t i = 0; i < ARRAY_LEN(redirects); i++) {
        scoped_arena a = {0};
        struct str u = http_pct_encode(&a, str_from(redirects[i].url));
        say(str_z(&a, str_printf(&a, "GET /x/d/7?c=302&u=" STR_FMT, STR_ARG(u))));
        assert_int_equal(now.got.status, 302);
        assert_str(header("Location"), redirects[i].location);
        assert_str(header("HX-Refresh"), "true");
    }
    say("GET /x/d/7?c=303&u=/%3Ca%26b%22");
    assert_str(body(), "<a href=\"/%3Ca&amp;b%22\">See Other</a>.\n");
    say("POST /x/d/7?c=303&u=/y");
    assert_int_equal(now.got.body.len, 0);
    expect_part("GET /x/d/7?c=303&u=/a%0d%0aX-Evil:1", 303, "a");
    assert_false(web_has_header(&now.got, "X-Evil:1"));
    expect_part("GET /x/d/7?c=200&u=/", 500, "code must be between 300 and 399");
}

/* --- failures --- */

static void failures_are_explained(void **state)
{
    load_star("def h(req):\n    return 1 // 0\napp = ace.app('a', routes=[ace.api('/', h)])\n");
    expect("GET /x", 500, "floored division by zero\n");
    assert_str(header("Content-Type"), "text/plain; charset=utf-8");
}

static void dev_apps_say_where(void **state)
{
    now.entry.is_dev = true;
    now.entry.id = STR("app_dev_2abcdefghijklmnopqrstuvwxyz");
    load_star("def h(req):\n    return 1 // 0\napp = ace.app('a', routes=[ace.api('/', h)])\n");
    expect("GET /x", 500, "floored division by zero : Function h, Position app.star:2:14\n");
}

static void the_error_handler_answers(void **state)
{
    load_star("def h(req):\n    return fail('oh', 'no')\n"
              "def error_handler(req, e):\n    return ace.response([req.Method, e], code=418)\n"
              "app = ace.app('a', routes=[ace.api('/', h)])\n");
    expect("GET /x", 418, "[\"GET\",{\"error\":\"fail: oh no\"}]");
    load_star("def h(req):\n    return 1 // 0\ndef error_handler(req, e):\n    return e['nope']\napp = "
              "ace.app('a', routes=[ace.api('/', h)])\n");
    expect_part("GET /x", 500, "nope");
}

static void a_failed_plugin_call_that_nobody_looks_at_fails_the_request(void **state)
{
    load_approved(
        FILES("app.star",
              "load('container.in', 'container')\n"
              "def bad():\n    return container.config('auto', port=-1)\n"
              "def ignored(req):\n    bad()\n    return 'done'\n"
              "def read(req):\n    r = bad()\n    return [r.error, r.error_code, bool(r), r.is_stream]\n"
              "def tested(req):\n    if not bad():\n        return 'handled'\n"
              "def code_only(req):\n    r = bad()\n    return r.error_code\n"
              "def again(req):\n    bad()\n    bad()\n"
              "def value(req):\n    return bad().value\n"
              "def whole(req):\n    r = bad()\n    if not r:\n        return r\n"
              "def good(req):\n    r = container.config('auto')\n    return [r.error, r.error_code, bool(r), "
              "r.value.source]\n"
              "def wrong(req):\n    return container.config('auto').nothing\n"
              "kept = container.config('auto', port=5)\n"
              "def old(req):\n    return [bool(kept), kept.error, kept.value.port]\n"
              "app = ace.app('a', routes=[ace.api('/' + n, f) for n, f in [('ignored', ignored), ('read', "
              "read), ('tested', tested),\n"
              "  ('code_only', code_only), ('again', again), ('value', value), ('whole', whole), ('good', "
              "good), ('wrong', wrong), ('old', old)]],\n"
              "  permissions=[ace.permission('container.in', 'config')])\n"));
    expect("GET /x/ignored", 500, "container.config: port must be between 0 and 65535\n");
    expect("GET /x/read", 200, "[\"container.config: port must be between 0 and 65535\",1,false,false]\n");
    expect("GET /x/tested", 200, "\"handled\"\n");
    expect("GET /x/code_only", 500, "container.config: port must be between 0 and 65535\n");
    expect("GET /x/again", 500,
           "previous plugin call failed: container.config: port must be between 0 and 65535\n");
    expect("GET /x/value", 500, "container.config: port must be between 0 and 65535\n");
    expect("GET /x/whole", 200,
           "{\"error_code\":1,\"error\":\"container.config: port must be between 0 and "
           "65535\",\"value\":null,\"is_stream\":false}\n");
    expect("GET /x/good", 200, "[null,0,true,\"auto\"]\n");
    expect_part("GET /x/wrong", 500, "response has no attribute 'nothing'");
    expect("GET /x/old", 200, "[true,null,5]\n");
}

static void globals_are_frozen(void **state)
{
    load_star("seen = []\ndef h(req):\n    seen.append(1)\napp = ace.app('a', routes=[ace.api('/', h)])\n");
    expect_part("GET /x", 500, "cannot append to frozen list");
}

static void output_carries_a_value_or_an_error(void **state)
{
    load_star("def h(req):\n    a = ace.output(5)\n    b = ace.output(error='bad')\n    return [bool(a), "
              "a.value, a.error, bool(b), b.error, type(b)]\n"
              "def v(req):\n    return ace.output(error='bad').value\n"
              "app = ace.app('a', routes=[ace.api('/', h), ace.api('/v', v)])\n");
    expect("GET /x", 200, "[true,5,\"\",false,\"bad\",\"Output\"]\n");
    expect("GET /x/v", 500, "output has error: bad\n");
}

/* --- limits --- */

static const char endless[] =
    "def loop(req):\n    while True:\n        pass\n"
    "def quick(req):\n    return 'quick'\n"
    "def error_handler(req, e):\n    return 'never asked'\n"
    "app = ace.app('a', routes=[ace.api('/loop', loop), ace.api('/quick', quick)])\n";

static void an_endless_handler_is_ended(void **state)
{
    struct app *app = load_star(endless);
    app->run_limits.steps = 1000 * 1000;
    say("GET /x/loop");
    assert_int_equal(now.got.status, 500);
    assert_has(body(), "step");
}

/* The loop has one thread: others are served only because the run gives way. */
static void others_are_served_meanwhile(void **state)
{
    struct app *app = load_star(endless);
    app->run_limits.steps = 0; /* no limit at all */
    app->run_limits.slice_steps = 1000;
    struct web slow = web_open(fx.port);
    web_say(&slow, "GET /x/loop HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 50; i++)
        expect("GET /x/quick", 200, "\"quick\"\n");
    web_close(&slow); /* and the run ends with its client */
    for (int i = 0; i < 5; i++)
        expect("GET /x/quick", 200, "\"quick\"\n");
}

static void an_abandoned_run_stops(void **state)
{
    struct app *app = load_star(endless);
    app->run_limits.steps = 0;
    app->run_limits.slice_steps = 1000;
    struct web slow = web_open(fx.port);
    web_say(&slow, "GET /x/loop HTTP/1.1\r\nHost: x\r\n\r\n");
    expect("GET /x/quick", 200, "\"quick\"\n");
    web_close(&slow);
    for (int i = 0;; i++) {
        struct http_stats stats;
        http_server_stats(fx.server, &stats);
        if (stats.open_reqs == 0)
            break;
        if (i == 2000)
            fail_msg("the run goes on without its client");
        usleep(5000);
    }
}

static void memory_has_a_ceiling(void **state)
{
    load_star("def h(req):\n    l = []\n    while True:\n        l.append('x' * 10000)\n"
              "def q(req):\n    return 'quick'\n"
              "app = ace.app('a', routes=[ace.api('/h', h), ace.api('/q', q)])\n");
    expect_part("GET /x/h", 500, "memory");
    expect("GET /x/q", 200, "\"quick\"\n");
}

/* Nothing that a full arena meets may end the process: every attribute and builtin is tried with little room
 * left. */
static void a_full_arena_is_an_error_whatever_is_asked_for(void **state)
{
    static const char *const asks[] = {
        "req.AppUrl",
        "req.PageUrl",
        "req.Headers",
        "req.Query",
        "req.Form",
        "req.UrlParams",
        "req.Body",
        "req.AppName",
        "req.Json",
        "ace.redirect('/' * 3)",
        "ace.response({})",
        "ace.output('x')",
        "config('_app_url', 'x')",
        "config('y', '$HOME')",
        "ace.audit('a', 'b')",
        "container.config('auto')",
        "container.config('auto', port=-1).error",
        "container.config(str(req.Query))",
        "req.Nothing",
        "ace.permission('a', 'b')",
        "dir(req)",
        "param.a",
        "repr(req.Headers)",
    };
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        setup(NULL);
        /* Fill coarsely, then finely, then ask until it fails. */
        const char *text =
            str_z(&now.arena,
                  str_printf(
                      &now.arena,
                      "load('container.in', 'container')\n"
                      "def h(req):\n    keep = []\n    n = int(req.Query['n'][0])\n    keep.append('x' * n)\n"
                      "    for i in range(100000):\n        keep.append(%s)\n"
                      "app = ace.app('a', routes=[ace.api('/', h, method='POST')], "
                      "permissions=[ace.permission('container.in', 'config')])\n",
                      asks[i]));
        load_approved(FILES("app.star", text, "params.star", "param('a', default='b')\n"))->run_memory = 1 << 20;
        for (size_t left = 0; left < 4096; left += 128) {
            scoped_arena a = {0};
            say(str_z(&a, str_printf(&a,
                                     "POST /x?n=%zu HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                                     "Content-Type: application/x-www-form-urlencoded\r\n\r\n[]",
                                     ((size_t)1 << 20) - 200000 - left)));
            if (now.got.status != 500 && now.got.status != 200)
                fail_msg("%s: the server is gone", asks[i]);
        }
    }
}

static void print_goes_to_the_log(void **state)
{
    load_star("print('at load')\ndef h(req):\n    print('in', 'handler')\n    return 1\napp = ace.app('a', "
              "routes=[ace.api('/', h)])\n");
    expect("GET /x", 200, "1\n");
}

/* Two loops' worth of requests at once, sharing an app's frozen values. */
static void *hammer(void *arg)
{
    struct web w = web_open(fx.port);
    struct web_resp r = {0};
    for (int i = 0; i < 200; i++) {
        web_say(&w, "GET /x?n=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        web_read(&w, &r, false);
        if (r.status != 200)
            abort();
    }
    web_free(&r);
    web_close(&w);
    return NULL;
}

static void many_at_once(void **state)
{
    load_star("table = {str(i): i for i in range(100)}\ndef h(req):\n    return [config('a', '$HOME/x'), "
              "table[req.Query['n'][0]]]\n"
              "app = ace.app('a', routes=[ace.api('/', h)])\n");
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_create(&threads[i], NULL, hammer, NULL);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(values_become_json),
        TEST(values_become_text),
        TEST(what_cannot_be_answered_is_a_500),
        TEST(routes_without_handlers),
        TEST(methods_and_missing_paths),
        TEST(paths_are_cleaned_and_decoded),
        TEST(an_app_at_the_root),
        TEST(a_request_has_its_attributes),
        TEST(an_unknown_attribute_is_explained),
        TEST(headers_have_canonical_names_and_no_forgeries),
        TEST(forms_queries_and_bodies),
        TEST(too_large_a_body_is_refused),
        TEST(responses),
        TEST(redirects_are_resolved),
        TEST(failures_are_explained),
        TEST(dev_apps_say_where),
        TEST(the_error_handler_answers),
        TEST(a_failed_plugin_call_that_nobody_looks_at_fails_the_request),
        TEST(globals_are_frozen),
        TEST(output_carries_a_value_or_an_error),
        TEST(an_endless_handler_is_ended),
        TEST(others_are_served_meanwhile),
        TEST(an_abandoned_run_stops),
        TEST(memory_has_a_ceiling),
        TEST(a_full_arena_is_an_error_whatever_is_asked_for),
        TEST(print_goes_to_the_log),
        TEST(many_at_once),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
