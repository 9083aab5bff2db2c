/* tests/app/test_action.c: actions over a real server: forms, submissions, uploads, answers of each kind.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

#include <dirent.h>
#include <glob.h>

#define PARAMS                                                                                               \
    "param('name', default='Ann', description='Who <b>')\n"                                                  \
    "param('count', type=INT, default=3)\n"                                                                  \
    "param('loud', type=BOOLEAN, default=True)\n"                                                            \
    "param('tags', type=LIST, default=['a'])\n"                                                              \
    "param('color', default='red')\nparam('options-color', type=LIST, default=['red', 'blue'])\n"            \
    "param('size', default='m', display_type=COMBO)\nparam('options_size', type=LIST, default=['s', 'm'])\n"  \
    "param('note', default='', required=False, display_type=TEXTAREA + ':7')\n"                              \
    "param('secret', default='hush', display_type=PASSWORD)\n"                                               \
    "param('hid', default='inner')\n"

static const char app_star[] =
    "def run(dry_run, args):\n"
    "    if args.name == 'boom':\n        fail('it broke')\n"
    "    if args.name == 'plain':\n        return 'just text'\n"
    "    if args.name == 'wrong':\n        return ace.result('No', param_errors={'name': 'not <that>', 'count': 'nor this'})\n"
    "    if args.name == 'unknown':\n        return args.nothing\n"
    "    if args.name == 'custom':\n        return ace.result('x', ['a'], report='mine')\n"
    "    if dry_run:\n        return ace.result('Checked ' + args.name)\n"
    "    return ace.result('Done <' + args.name + '>', [str([args.count, args.loud, args.tags, args.color, args.size,\n"
    "        args.note, args.secret, args.hid])])\n"
    "def suggest(args):\n"
    "    if args.name == 'text':\n        return 'try <again>'\n"
    "    if args.name == 'number':\n        return 7\n"
    "    return {'name': ['Bob', 'Cy'], 'count': 9, 'loud': False, 'options-color': ['x'], 'hid': 'no', 'none': 1}\n"
    "def other(dry_run, args):\n    return ace.result('other')\n"
    "app = ace.app('My app', actions=[\n"
    "    ace.action('First', '/', run, suggest, description='Does <it>', hidden=['hid'], show_validate=True, permit=['p']),\n"
    "    ace.action('Second', 'two', other, hidden=['name']),\n"
    "], routes=[ace.api('/two/validate', lambda req: 'mine', method='POST')])\n";

static void load(void)
{
    load_app(FILES("params.star", PARAMS, "app.star", app_star));
}

static void submit(const char *path, const char *extra, const char *text)
{
    scoped_arena a = {0};
    say(str_z(&a, str_printf(&a,
                             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                             "%sContent-Length: %zu\r\n\r\n%s",
                             path, extra, strlen(text), text)));
}

static void must(int status, const char *part)
{
    if (now.got.status != status || str_find(body(), str_from(part)) == STR_NPOS)
        fail_msg("wanted %d \"...%s...\", got %d \"" STR_FMT "\"", status, part, now.got.status, STR_ARG(body()));
}

static void must_not(const char *part)
{
    if (str_find(body(), str_from(part)) != STR_NPOS)
        fail_msg("\"%s\" is in \"" STR_FMT "\"", part, STR_ARG(body()));
}

#define HX   "HX-Request: true\r\n"
#define JSON "Accept: application/json\r\n"

static void the_form(void **state)
{
    load();
    expect_part("GET /x", 200, "<h1>First</h1>");
    assert_str(header("Content-Type"), "text/html; charset=utf-8");
    assert_str(header("Cache-Control"), "no-store");
    assert_has(header("Content-Security-Policy"), "default-src 'none'; style-src 'nonce-");
    static const char *const parts[] = {
        "Does &lt;it&gt;", "Who &lt;b&gt;", "action=\"/x/\"", "formaction=\"/x/suggest\"", "formaction=\"/x/validate\"",
        "id=\"param_name\" name=\"name\" aria-describedby=\"param_name_help param_name_error\" type=\"text\" value=\"Ann\"",
        "name=\"loud\" aria-describedby=\"param_loud_error\" type=\"checkbox\" value=\"true\" checked",
        "<option value=\"red\" selected>", "list=\"param_size_list\"", "rows=\"7\"", "type=\"password\"",
        "enctype=\"application/x-www-form-urlencoded\"", "href=\"/x/\" aria-current=\"page\">First", "href=\"/x/two\">Second",
        "id=\"ActionMessage\"", "id=\"action_result\"", "id=\"param_tags_div\"", "value=\"[&#34;a&#34;]\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        must(200, parts[i]);
    must_not("hush");
    must_not("options-color");
    must_not("param_hid");
    must_not("role=\"status\"");
}

static void a_form_is_prefilled_from_the_address(void **state)
{
    load();
    expect_part("GET /x?name=%3Cscript%3E&loud=false&color=blue&secret=q&hid=z&count=no", 200, "value=\"&lt;script&gt;\"");
    must_not("<script>");
    must(200, "type=\"checkbox\" value=\"true\">");
    must(200, "<option value=\"blue\" selected>");
    must(200, "value=\"no\"");
    must(200, "href=\"/x/two?color=blue&amp;count=no&amp;loud=false\">Second");
    expect_part("GET /x?name=%zz", 400, "%");
}

static void methods(void **state)
{
    load();
    say("HEAD /x");
    assert_int_equal(now.got.status, 200);
    assert_int_equal(now.got.body.len, 0);
    expect("PUT /x", 405, "");
    assert_str(header("Allow"), "GET, HEAD, POST");
    expect("GET /x/suggest", 405, "");
    expect("GET /x/three", 404, "404 page not found\n");
    expect("POST /x/two/suggest", 501, "suggest not supported for this action\n");
    expect("POST /x/two/validate", 200, "\"mine\"\n");
}

static void assets(void **state)
{
    scoped_arena a = {0};
    load();
    say("GET /x/two");
    size_t at = str_find(body(), STR("/x/astatic/"));
    assert_true(at != STR_NPOS);
    struct str url = str_from_off(body(), at);
    url = str_dup(&a, str_slice(url, 0, str_chr(url, '"')));
    say(str_z(&a, str_printf(&a, "GET " STR_FMT, STR_ARG(url))));
    assert_int_equal(now.got.status, 200);
    assert_str(header("Content-Type"), "text/css; charset=utf-8");
    assert_has(header("Cache-Control"), "immutable");
    expect_part("GET /x/astatic/other.css", 404, "not found");
}

static void a_plain_post_gets_a_page(void **state)
{
    load();
    submit("/x", "", "name=Zed+Z&count=5&color=blue&size=xxl&note=n&tags=[1]");
    must(200, "<div role=\"status\" class=\"status\">Done &lt;Zed Z&gt;</div>");
    must(200, "[5, False, [1], &#34;blue&#34;, &#34;xxl&#34;, &#34;n&#34;, &#34;hush&#34;, &#34;inner&#34;]");
    must(200, "<!doctype html>");
    must(200, "value=\"Zed Z\"");
    must_not("hx-swap-oob");
    assert_false(header("HX-Push-Url").ptr != NULL);
    /* Values may be in the address; those of the body go before. */
    submit("/x?name=q&count=8", "", "name=body");
    must(200, "Done &lt;body&gt;");
    must(200, "[8, ");
    submit("/x", "", "secret=known&hid=not&options-color=[]");
    must(200, "&#34;known&#34;, &#34;inner&#34;]");
    expect_part("POST /x", 200, "Done &lt;Ann&gt;");
    submit("/x", "", "name=wrong");
    must(200, "class=\"status bad\"");
    must(200, "id=\"param_name_error\" for=\"param_name\">not &lt;that&gt;</output>");
    must(200, "aria-invalid=\"true\"");
}

static void a_script_gets_fragments(void **state)
{
    load();
    submit("/x", HX, "name=Z+Z&loud=true&secret=s&count=5");
    must(200, "<div role=\"status\" class=\"status\">Done &lt;Z Z&gt;</div>");
    must(200, "<output id=\"param_name_error\" hx-swap-oob=\"innerHTML\"></output>");
    must(200, "<output id=\"param_hid_error\" hx-swap-oob=\"innerHTML\"></output>");
    must(200, "<output id=\"action_result\" hx-swap-oob=\"innerHTML\"><textarea");
    must_not("<html");
    must_not("options");
    assert_str(header("HX-Push-Url"), "/x/?count=5&loud=true&name=Z%20Z");
    submit("/x/validate", HX, "name=wrong");
    must(200, "hx-swap-oob=\"innerHTML\">not &lt;that&gt;</output>");
    must_not("action_result");
    submit("/x/suggest", HX, "name=x");
    must(200, "Suggesting values");
    must(200, "<div id=\"param_name_div\" hx-swap-oob=\"innerHTML\"><select id=\"param_name\"");
    must(200, "<option value=\"Bob\" selected>Bob</option>");
    must(200, "<div id=\"param_count_div\" hx-swap-oob=\"innerHTML\"><input id=\"param_count\"");
    must_not("param_hid");
    must_not("options-color");
    submit("/x/suggest", HX, "name=text");
    must(200, "try &lt;again&gt;");
    must_not("hx-swap-oob");
    submit("/x/suggest", "", "name=x");
    must(200, "<!doctype html>");
    must(200, "<option value=\"Bob\" selected>Bob</option>");
    submit("/x/suggest", HX, "name=number");
    must(500, "must return a message or a dict");
}

static void a_program_gets_json(void **state)
{
    load();
    submit("/x", JSON, "name=Z");
    must(200, "{\"status\":\"Done <Z>\",\"values\":[\"[3, False, ");
    must(200, "\"report\":\"TEXT\",\"param_errors\":{}}\n");
    assert_str(header("Content-Type"), "application/json");
    submit("/x/validate", JSON, "name=wrong");
    must(200, "{\"status\":\"No\",\"param_errors\":{\"name\":\"not <that>\",\"count\":\"nor this\"}}\n");
    submit("/x/suggest", JSON, "");
    must(200, "{\"status\":\"Suggesting values\",\"values\":{\"name\":[\"Bob\",\"Cy\"],");
    submit("/x", JSON, "count=x");
    must(400, "{\"error\":\"param count is not an int\"}");
    submit("/x", "Accept: text/html, application/json;q=0.5\r\n", "");
    must(200, "<!doctype html>");
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text;
        int status;
        const char *part;
    } cases[] = {
        {"count=x", 400, "param count is not an int\n"},
        {"count=", 400, "param count is not an int\n"},
        {"loud=maybe", 400, "param loud is not a boolean\n"},
        {"tags={}", 400, "param tags is not a json list\n"},
        {"color=green", 400, "invalid value for color: must be one of the configured options\n"},
        {"color=", 200, "&#34;&#34;, &#34;m&#34;"},
        {"a=%zz", 400, "%"},
        {"name=boom", 500, "it broke\n"},
        {"name=unknown", 500, "nothing"},
        {"name=plain", 200, "class=\"status\">just text</div>"},
        {"name=custom", 501, "needs a template"},
    };
    load();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        submit("/x", "", cases[i].text);
        must(cases[i].status, cases[i].part);
    }
    post("/x", "application/json", "{}");
    must(400, "must be a form");
    post("/x", "multipart/form-data", "x");
    must(400, "no boundary");
    post("/x", "multipart/form-data; boundary=b", "--b\r\n");
    must(400, "has no end");
}

static void a_dev_app_says_where(void **state)
{
    now.entry.is_dev = true;
    load();
    submit("/x", "", "name=boom");
    must(500, "it broke : Function run, Position app.star:3:");
}

static void bodies_have_a_limit(void **state)
{
    put(&now.entry.metadata.appconfig, "action.max_request_body_bytes", "20");
    load();
    submit("/x", "", "name=0123456789012345");
    must(413, "request body too large: limit is 20 bytes\n");
    say("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1e\r\nname=0123456789012345678901234\r\n0\r\n\r\n");
    must(413, "limit is 20 bytes\n");
    say("POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Transfer-Encoding: chunked\r\n\r\n1e\r\nname=0123456789012345678901234\r\n0\r\n\r\n");
    must(413, "limit is 20 bytes\n");
    submit("/x", "", "name=0123456789");
    must(200, "Done");
}

/* --- files --- */

static const char file_star[] =
    "def run(dry_run, args):\n"
    "    return ace.result('got', [args.f or 'none', args.g or 'none', args.name])\n"
    "app = ace.app('Files', actions=[ace.action('Upload', '/up', run)])\n";
#define FILE_PARAMS                                                                                          \
    "param('f', display_type=FILE + ':.txt', default='/etc/passwd')\nparam('g', required=False, display_type=FILE)\n" \
    "param('name', default='n')\n"

#define PART_FILE(field, name) "Content-Disposition: form-data; name=\"" field "\"; filename=\"" name "\"\r\n\r\n"

static void upload(const char *extra, const char *text)
{
    scoped_arena a = {0};
    say(str_z(&a, str_printf(&a,
                             "POST /x/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                             "%sContent-Length: %zu\r\n\r\n%s",
                             extra, strlen(text), text)));
}

static size_t folders_left(void)
{
    size_t n = 0;
    scoped_arena a = {0};
    DIR *d = opendir(str_z(&a, str_printf(&a, "%s/run/tmp", fx.home)));
    for (struct dirent *e; d && (e = readdir(d));)
        n += strncmp(e->d_name, "openrun-file-upload-", 20) == 0;
    if (d)
        closedir(d);
    return n;
}

static void wait_until_removed(void)
{
    int64_t end = clock_ms() + 60000;
    while (folders_left() > 0 && clock_ms() < end)
        usleep(1000);
    assert_int_equal(folders_left(), 0);
}

static void files_are_there_for_the_run(void **state)
{
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    expect_part("GET /x/up", 200, "enctype=\"multipart/form-data\"");
    must(200, "type=\"file\" accept=\".txt\">");
    must_not("passwd");
    upload(JSON, "--b\r\n" PART_FILE("f", "a b.txt") "one\r\n--b\r\n" PART_FILE("g", "a b.txt") "two\r\n--b\r\n"
                 "Content-Disposition: form-data; name=\"name\"\r\n\r\nx\r\n--b\r\n" PART_FILE("f", "again") "no\r\n--b\r\n"
                 PART_FILE("other", "../no") "no\r\n--b--\r\n");
    must(200, "\"values\":[\"");
    scoped_arena a = {0};
    struct str home = str_printf(&a, "%s/run/tmp/openrun-file-upload-", fx.home);
    struct str first = str_from_off(body(), str_find(body(), home)), second = str_from_off(first, 10);
    second = str_from_off(second, str_find(second, home));
    first = str_slice(first, 0, str_chr(first, '"'));
    second = str_slice(second, 0, str_chr(second, '"'));
    assert_true(str_ends(first, STR("/a b.txt")) && str_ends(second, STR("/a b.txt")) && !str_eq(first, second));
    must(200, ",\"x\"]");
    wait_until_removed();
}

static void no_file_is_no_path(void **state)
{
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    upload(JSON, "--b\r\n" PART_FILE("f", "") "\r\n--b\r\nContent-Disposition: form-data; name=\"g\"\r\n\r\n/etc/shadow\r\n--b--");
    must(200, "\"values\":[\"none\",\"none\",\"n\"]");
    submit("/x/up?f=/etc/passwd", JSON, "g=/etc/shadow");
    must(200, "\"values\":[\"none\",\"none\",\"n\"]");
    static const char *const names[] = {"../x", "a/b", "a\\\\b", ".", "..", "C:\\\\x"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        upload("", str_z(&now.arena, str_printf(&now.arena,
                                                "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%s\"\r\n\r\n"
                                                "x\r\n--b--",
                                                names[i])));
        must(400, "unsafe file name for f\n");
    }
    /* What is wrong at the end of a body does not leave its files. */
    upload("", "--b\r\n" PART_FILE("f", "a.txt") "one\r\n--bad");
    must(400, "neither CRLF nor");
    wait_until_removed();
}

static void a_large_file_comes_in_pieces(void **state)
{
    enum { SIZE = 5 << 20 };
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    char *text = arena_alloc(&now.arena, SIZE + 1);
    memset(text, 'x', SIZE);
    text[SIZE] = '\0';
    upload(JSON, str_z(&now.arena, str_printf(&now.arena, "--b\r\n" PART_FILE("f", "big") "%s\r\n--b--\r\n", text)));
    must(200, "/big\",\"none\",\"n\"]");
    wait_until_removed();
}

static void wait_until_some(void)
{
    int64_t end = clock_ms() + 60000;
    while (folders_left() == 0 && clock_ms() < end)
        usleep(1000);
    assert_true(folders_left() > 0);
}

/* The server has seen `n` connections more than `before`, and the end of all. */
static void wait_until_closed(uint64_t before, uint64_t n)
{
    struct http_stats stats;
    int64_t end = clock_ms() + 60000;
    do {
        http_server_stats(fx.server, &stats);
        usleep(1000);
    } while ((stats.accepted < before + n || stats.open_conns > 0) && clock_ms() < end);
    assert_int_equal(stats.open_conns, 0);
}

/* Far more than is written at once, so that the client leaves in the middle of a file. */
static void a_client_that_leaves_in_the_middle(void **state)
{
    enum { SIZE = 1 << 20 };
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    char *text = arena_alloc(&now.arena, SIZE);
    memset(text, 'x', SIZE);
    struct http_stats before;
    http_server_stats(fx.server, &before);
    for (int i = 0; i < 5; i++) {
        struct web w = web_open(fx.port);
        assert_true(web_say(&w, "POST /x/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                                "Content-Length: 9000000\r\n\r\n--b\r\n" PART_FILE("f", "half")));
        assert_true(web_send(&w, text, i == 4 ? 1000 : SIZE));
        if (i < 4)
            wait_until_some();
        web_close(&w);
        wait_until_closed(before.accepted, (uint64_t)i + 1);
        wait_until_removed();
    }
}

/* The second file pushes the first one out before the request has ended. */
static void what_is_written_is_what_was_sent(void **state)
{
    enum { SIZE = 400 << 10 };
    glob_t found = {0};
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    char *text = arena_alloc(&now.arena, SIZE);
    for (int i = 0; i < SIZE; i++)
        text[i] = "\r\n--b\r\r\n-\0x"[(i + i / 11) % 11];
    struct web w = web_open(fx.port);
    assert_true(web_say(&w, "POST /x/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=bound\r\n"
                            "Content-Length: 9000000\r\n\r\n--bound\r\n" PART_FILE("f", "whole")) &&
                web_send(&w, text, SIZE) && web_say(&w, "\r\n--bound\r\n" PART_FILE("g", "more")) && web_send(&w, text, SIZE));
    struct str pattern = str_printf(&now.arena, "%s/run/tmp/openrun-file-upload-*/whole", fx.home), got = {0};
    for (int64_t end = clock_ms() + 60000; got.len < SIZE && clock_ms() < end; usleep(1000)) {
        scoped_err err = {0};
        if (glob(str_z(&now.arena, pattern), 0, NULL, &found) == 0)
            fs_read_all(&now.arena, str_from(found.gl_pathv[0]), 1 << 20, &got, &err);
        globfree(&found);
    }
    assert_int_equal(got.len, SIZE);
    assert_memory_equal(got.ptr, text, SIZE);
    web_close(&w);
    wait_until_removed();
}

static void many_upload_at_once(void **state)
{
    enum { N = 8, SIZE = 700 << 10 };
    struct web w[N];
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    char *text = arena_alloc(&now.arena, SIZE);
    memset(text, 'x', SIZE);
    const char *head = "--b\r\n" PART_FILE("f", "same");
    for (int i = 0; i < N; i++) {
        w[i] = web_open(fx.port);
        assert_true(web_say(&w[i], str_z(&now.arena, str_printf(&now.arena,
            "POST /x/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            "Accept: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(head) + SIZE + 7, head))));
    }
    for (size_t at = 0; at < SIZE; at += SIZE / 7)
        for (int i = 0; i < N; i++)
            assert_true(web_send(&w[i], text, MIN((size_t)SIZE - at, (size_t)SIZE / 7)));
    for (int i = 0; i < N; i++)
        assert_true(web_say(&w[i], "\r\n--b--"));
    for (int i = 0; i < N; i++) {
        web_free(&now.got);
        now.got = (struct web_resp){0};
        web_read(&w[i], &now.got, false);
        web_close(&w[i]);
        must(200, "/same\",\"none\",\"n\"]");
    }
    wait_until_removed();
}

static void uploads_together_have_a_ceiling(void **state)
{
    put(&now.entry.metadata.appconfig, "action.max_upload_bytes_at_once", "1000");
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    const char *body = str_z(&now.arena, str_printf(&now.arena, "--b\r\n" PART_FILE("f", "a") "%0800d\r\n--b--", 0));
    struct web slow = web_open(fx.port);
    upload("", body);
    assert_int_equal(now.got.status, 200);
    assert_true(web_say(&slow, "POST /x/up HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                               "Content-Length: 2000\r\n\r\n") &&
                web_say(&slow, body));
    for (int64_t end = clock_ms() + 60000; now.got.status != 503 && clock_ms() < end;)
        upload("", body);
    must(503, "too many files");
    web_close(&slow);
    for (int64_t end = clock_ms() + 60000; now.got.status != 200 && clock_ms() < end;)
        upload("", body);
    assert_int_equal(now.got.status, 200);
    wait_until_removed();
}

static void a_folder_that_cannot_be_written(void **state)
{
    scoped_err err = {0};
    struct str dir = str_printf(&now.arena, "%s/run/tmp", fx.home);
    assert_true(fs_remove_tree(dir, &err) && fs_write_atomic(dir, STR("no folder"), 0600, &err));
    load_app(FILES("params.star", FILE_PARAMS, "app.star", file_star));
    upload("", "--b\r\n" PART_FILE("f", "a.txt") "one\r\n--b--");
    assert_true(now.got.status >= 400 && now.got.status < 600);
    assert_true(fs_remove(dir, &err));
}

/* --- loading --- */

static void what_cannot_be_loaded(void **state)
{
    static const char *const cases[][3] = {
        {"", "actions=['x']", "actions must hold ace.action"},
        {"", "actions=[ace.action('a', '/{x}', f)]", "has no parameters"},
        {"", "actions=[ace.action('a', '/x', f), ace.action('b', 'x/', f)]", "error adding action at path x/: "},
        {"", "actions=[ace.action('a', '/x', f)], routes=[ace.api('/x', f)]", "declared twice"},
        {"", "actions=[ace.action('a', '/x', f, hidden=[1])]", "hidden must hold strings"},
        {"", "actions=[ace.action('a', '/x', f, permit=[1])]", "permit must hold strings"},
        {"param('a', default='')\nparam('options-a', type=LIST, default=[1])\n", "actions=[ace.action('a', '/x', f)]",
         "param options-a must hold strings"},
        {"param('a', default='')\nparam('options_a', default='[')\n", "actions=[ace.action('a', '/x', f)]",
         "param options_a is not a json list"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_not_load(FILES("params.star", cases[i][0], "app.star",
                            str_z(&now.arena, str_printf(&now.arena, "def f(a, b=1):\n    return 1\napp = ace.app('a', %s)\n",
                                                         cases[i][1]))),
                      cases[i][2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_form),
        TEST(a_form_is_prefilled_from_the_address),
        TEST(methods),
        TEST(assets),
        TEST(a_plain_post_gets_a_page),
        TEST(a_script_gets_fragments),
        TEST(a_program_gets_json),
        TEST(what_is_wrong_is_said),
        TEST(a_dev_app_says_where),
        TEST(bodies_have_a_limit),
        TEST(files_are_there_for_the_run),
        TEST(no_file_is_no_path),
        TEST(a_large_file_comes_in_pieces),
        TEST(a_client_that_leaves_in_the_middle),
        TEST(what_is_written_is_what_was_sent),
        TEST(many_upload_at_once),
        TEST(uploads_together_have_a_ceiling),
        TEST(a_folder_that_cannot_be_written),
        TEST(what_cannot_be_loaded),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
