/* tests/app/test_static.c: static files: names, hashes, folders, what is hidden, apps served from disk,
 * response headers.
 * SPDX-License-Identifier: Apache-2.0 */
#include "app_test.h"

static const char plain[] = "app = ace.app('s')\n";
static const char static_only[] = "app = ace.app('s', static_only=True)\n";

static struct str sha_of(const char *text)
{
    return sha256_hex(&now.arena, str_from(text));
}

static struct str line(const char *fmt, struct str s)
{
    scoped_buf b = BUF_INIT(4096);
    struct str f = str_from(fmt);
    size_t at = str_find(f, STR("@"));
    buf_add_str(&b, str_slice(f, 0, at));
    buf_add_str(&b, s);
    buf_add_str(&b, str_from_off(f, at + 1));
    return str_dup(&now.arena, buf_str(&b));
}
#define LINE(fmt, s) str_z(&now.arena, line(fmt, s))

static void files_of_the_static_folders(void **state)
{
    load_app(FILES("app.star", plain, "static/css/a.min.css", "css", "static_root/robots.txt", "robots",
                   "static_root/.well-known/x", "wk", "other.txt", "hidden", "index.go.html", "page"));
    expect("GET /x/static/css/a.min.css", 200, "css");
    assert_has(header("Content-Type"), "text/css");
    assert_str(header("Cache-Control"), "");
    expect("GET /x/robots.txt", 200, "robots");
    expect("GET /x/.well-known/x", 200, "wk");
    static const char *const missing[] = {
        "GET /x/other.txt",
        "GET /x/static_root/robots.txt",
        "GET /x/app.star",
        "GET /x/index.go.html",
        "GET /x/static/",
        "GET /x/static/css",
        "GET /x/static/b.css",
        "GET /x/static/../other.txt",
        "GET /x/static/%2e%2e/other.txt",
        "GET /x/static/..%2fother.txt",
        "GET /x/static/css%2Fa.min.css",
        "GET /x/static/a.css%00",
    };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        expect(missing[i], 404, "404 page not found\n");
    expect("GET //x/static//css/./a.min.css", 200, "css");
    say("POST /x/static/css/a.min.css");
    assert_int_equal(now.got.status, 405);
    expect("POST /x/robots.txt", 404, "404 page not found\n");
}

static void hashed_names_are_cached_for_ever(void **state)
{
    load_app(FILES("app.star", plain, "static/a.min.js", "js", "static/noext", "n", "static/d.r/x.txt", "t"));
    expect(LINE("GET /x/static/a-@.min.js", sha_of("js")), 200, "js");
    assert_str(header("Cache-Control"), "public, max-age=31536000, immutable");
    assert_str(header("ETag"), LINE("\"@\"", sha_of("js")));
    expect(LINE("GET /x/static/noext-@", sha_of("n")), 200, "n");
    expect(LINE("GET /x/static/d.r/x-@.txt", sha_of("t")), 200, "t");
    expect(LINE("GET /x/static/a-@.min.js", sha_of("other")), 404, "404 page not found\n");
    expect(LINE("GET /x/static/a.min-@.js", sha_of("js")), 404, "404 page not found\n");
    say_with(LINE("GET /x/static/a-@.min.js", sha_of("js")), LINE("If-None-Match: \"@\"\r\n", sha_of("js")));
    assert_int_equal(now.got.status, 304);
    /* A literal name that looks like a hash is a literal name. */
    const char *name = LINE("static/b-@.css", sha_of("zzz"));
    load_app(FILES("app.star", plain, name, "literal"));
    expect(LINE("GET /x/@", str_from(name)), 200, "literal");
    assert_str(header("Cache-Control"), "");
}

static void ranges_and_compression(void **state)
{
    char big[2000];
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    load_app(FILES("app.star", plain, "static/a.txt", big, "static/a.png", big));
    say_with("GET /x/static/a.txt", "Accept-Encoding: gzip, br\r\n");
    assert_str(header("Content-Encoding"), "br");
    assert_str(header("X-OpenRun-Compressed"), "true");
    assert_has(header("Vary"), "Accept-Encoding");
    assert_true(now.got.body.len < 100);
    say_with("GET /x/static/a.txt", "Accept-Encoding: br;q=0\r\n");
    assert_int_equal(now.got.body.len, sizeof big - 1);
    assert_str(header("X-OpenRun-Compressed"), "");
    say_with("GET /x/static/a.png", "Accept-Encoding: br\r\n");
    assert_str(header("Content-Encoding"), "");
    say_with("GET /x/static/a.txt", "Accept-Encoding: br\r\nRange: bytes=10-19\r\n");
    assert_int_equal(now.got.status, 206);
    assert_str(body(), "aaaaaaaaaa");
}

static void large_files_are_served_from_disk(void **state)
{
    size_t n = 700 * 1000;
    char *big = xmalloc(n + 1);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)('a' + i % 23);
    big[n] = '\0';
    load_app(FILES("app.star", plain, "static/big.bin", big));
    say("GET /x/static/big.bin");
    assert_int_equal(now.got.body.len, n);
    assert_memory_equal(now.got.body.ptr, big, n);
    say_with("GET /x/static/big.bin", "Range: bytes=699990-\r\n");
    assert_str(body(), big + 699990);
    free(big);
}

static void handlers_and_files_side_by_side(void **state)
{
    load_app(FILES("app.star",
                   "def h(req):\n    return req.UrlParams['*'] or 'h'\n"
                   "app = ace.app('s', routes=[ace.api('/{any}', h), ace.api('/w/*', h), ace.api('/both', h, "
                   "method='POST')])\n",
                   "static_root/file", "file", "static_root/w/f", "wf", "static_root/both", "get"));
    expect("GET /x/file", 200, "file");
    expect("GET /x/w/f", 200, "wf");
    expect("GET /x/w/g", 200, "\"g\"\n");
    expect("GET /x/other", 200, "\"h\"\n");
    expect("GET /x/both", 200, "get");
    expect("POST /x/both", 200, "\"h\"\n");
}

/* --- static-only apps --- */

static void a_static_only_app(void **state)
{
    load_app(FILES("app.star", static_only, "index.html", "home", "a/index.html", "folder", "a/b.html", "b",
                   "no/x", "x", "lib.star", "s = 1", "config_gen.lock", "{}", ".env", "secret", ".git/config",
                   "secret", "a/.hid/x", "secret", ".well-known/acme", "ok", "%41.txt", "percent",
                   "q uote.txt", "space", "Containerfile", "FROM x"));
    expect("GET /x", 200, "home");
    expect("GET /x/", 200, "home");
    expect("GET /x/index.html", 200, "home");
    expect("GET /x/a/", 200, "folder");
    expect("GET /x/a/b.html", 200, "b");
    expect("GET /x/.well-known/acme", 200, "ok");
    expect("GET /x/%2541.txt", 200, "percent");
    expect("GET /x/q%20uote.txt", 200, "space");
    expect("GET /x/a?q=1", 307, "");
    assert_str(header("Location"), "/x/a/?q=1");
    expect("GET //x//a", 307, "");
    assert_str(header("Location"), "/x/a/");
    static const char *const missing[] = {
        "GET /x/app.star",   "GET /x/lib.star",      "GET /x/config_gen.lock",
        "GET /x/.env",       "GET /x/.git/config",   "GET /x/a/.hid/x",
        "GET /x/no",         "GET /x/no/",           "GET /x/a/b.html/",
        "GET /x/%61pp.star", "GET /x/a/../app.star", "GET /x/A.txt",
    };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        expect(missing[i], 404, "404 page not found\n");
}

/* "//evil.example" must not become the Location of a folder of that name. */
static void a_folder_redirect_stays_here(void **state)
{
    now.entry.path = STR("/");
    load_app(FILES("app.star", static_only, "evil.example/index.html", "i", "index.html", "home"));
    expect("GET //evil.example", 307, "");
    assert_str(header("Location"), "/evil.example/");
}

static void spec_files_are_not_content(void **state)
{
    put(&now.entry.metadata.spec_files, "app.star", static_only);
    put(&now.entry.metadata.spec_files, "notes.txt", "of the spec");
    load_app(FILES("a.txt", "a"));
    expect("GET /x/a.txt", 200, "a");
    expect("GET /x/notes.txt", 404, "404 page not found\n");
    expect("GET /x", 404, "404 page not found\n");
}

static void the_index_can_be_chosen(void **state)
{
    load_app(FILES("app.star", "app = ace.app('s', static_only=True, index='start.html')\n", "index.html",
                   "i", "start.html", "s", "d/start.html", "ds"));
    expect("GET /x/", 200, "s");
    expect("GET /x/d/", 200, "ds");
    load_app(FILES("app.star", static_only, "index.htm", "htm"));
    expect("GET /x", 200, "htm");
    must_not_load(FILES("app.star", "app = ace.app('s', static_only=True, index='../x')\n"), "index");
}

static void a_single_file_app(void **state)
{
    load_app(FILES("app.star", "app = ace.app('s', static_only=True, single_file=True)\n", "index.html", "i",
                   "b.html", "b"));
    expect("GET /x", 200, "i");
    expect("GET /x/", 200, "i");
    expect("GET /x/index.html", 200, "i");
    expect("GET /x/b.html", 404, "404 page not found\n");
    must_not_load(FILES("app.star", "app = ace.app('s', static_only=True, single_file=True)\n"),
                  "single_file needs an index file");
    must_not_load(
        FILES("app.star", "app = ace.app('s', static_only=True, single_file=True, index='no.html')\n"),
        "\"no.html\" is not there");
}

static void a_static_only_app_may_have_an_api(void **state)
{
    load_app(FILES(
        "app.star",
        "def h(req):\n    return 1\napp = ace.app('s', static_only=True, routes=[ace.api('/api/n', h)])\n",
        "a", "a"));
    expect("GET /x/api/n", 200, "1\n");
    expect("GET /x/a", 200, "a");
    expect("POST /x/api/n", 404, "404 page not found\n");
}

/* --- from disk --- */

static const char *disk_path(const char *name)
{
    return str_z(&now.arena, str_printf(&now.arena, "%s/disk/%s", fx.home, name));
}

static void write_disk(const char *name, const char *text)
{
    scoped_arena a = {0};
    MUST(fs_mkdir_p(path_dir(str_from(disk_path(name))), 0755, &now.err), &now.err);
    MUST(fs_write_atomic(str_from(disk_path(name)), str_from(text), 0644, &now.err), &now.err);
}

static struct app *load_disk(void)
{
    struct app *app;
    now.entry.source_url = str_printf(&now.arena, "%s/disk", fx.home);
    MUST(app_load(&fx.env, &now.entry, NULL, &app, &now.err), &now.err);
    drop_app();
    atomic_store(&fx.app, app);
    return app;
}

static void an_app_of_spec_static_disk(void **state)
{
    now.entry.metadata.spec = STR("static_disk");
    put(&now.entry.metadata.spec_files, "app.star", "app = ace.app(param.n, static_only=True)\n");
    put(&now.entry.metadata.spec_files, "params.star", "param('n', default='x')\n");
    write_disk("index.html", "home");
    write_disk("a/index.html", "folder");
    write_disk("a/b.txt", "b");
    write_disk(".git/config", "secret");
    write_disk("code.star", "secret");
    assert_int_equal(symlink("/etc/passwd", disk_path("link")), 0);
    assert_int_equal(symlink("/etc", disk_path("dirlink")), 0);
    assert_int_equal(symlink("a", disk_path("inside")), 0);
    assert_int_equal(mkfifo(disk_path("fifo"), 0644), 0);
    struct app *app = load_disk();
    assert_int_equal(app->files.len, 0);
    expect("GET /x", 200, "home");
    expect("GET /x/a/b.txt", 200, "b");
    expect("GET /x/a/", 200, "folder");
    expect("GET /x/a", 307, "");
    static const char *const missing[] = {
        "GET /x/.git/config",
        "GET /x/code.star",
        "GET /x/link",
        "GET /x/dirlink/passwd",
        "GET /x/inside/b.txt",
        "GET /x/fifo",
        "GET /x/../../../etc/passwd",
        "GET /x/..%2f..%2fetc%2fpasswd",
        "GET /x/a/..%2f..%2f..%2fetc/passwd",
        "GET /x/a/b.txt%00",
        "GET /x/nothing",
        "GET /x/a%5c..%5c..%5cetc%5cpasswd",
    };
    for (size_t i = 0; i < ARRAY_LEN(missing); i++)
        expect(missing[i], 404, "404 page not found\n");
    /* The disk is looked at for each request. */
    write_disk("a/b.txt", "changed");
    write_disk("new.txt", "new");
    expect("GET /x/a/b.txt", 200, "changed");
    expect("GET /x/new.txt", 200, "new");
    say_with("GET /x/new.txt", LINE("If-None-Match: @\r\n", header("ETag")));
    assert_int_equal(now.got.status, 304);
    /* Code of the folder goes over the spec's. */
    write_disk("params.star", "param('n', default='of the folder')\n");
    load_disk();
    assert_str(atomic_load(&fx.app)->name, "of the folder");
}

static void a_dev_app_is_served_from_its_folder(void **state)
{
    now.entry.is_dev = true;
    now.entry.id = STR("app_dev_2abcdefghijklmnopqrstuvwxyz");
    scoped_err ignored = {0};
    fs_remove_tree(str_printf(&now.arena, "%s/disk", fx.home), &ignored);
    write_disk("app.star", "def h(req):\n    return 'h'\napp = ace.app('d', routes=[ace.api('/h', h)])\n");
    write_disk("static/a.css", "one");
    write_disk("static_root/r.txt", "root");
    write_disk("private.txt", "secret");
    load_disk();
    expect("GET /x/h", 200, "\"h\"\n");
    expect("GET /x/static/a.css", 200, "one");
    expect("GET /x/r.txt", 200, "root");
    write_disk("static/a.css", "two");
    expect("GET /x/static/a.css", 200, "two");
    expect("GET /x/private.txt", 404, "404 page not found\n");
    expect("GET /x/static/../private.txt", 404, "404 page not found\n");
}

static void disk_apps_need_a_folder(void **state)
{
    now.entry.source_url = STR("github.com/a/b");
    put(&now.entry.metadata.appconfig, "static_from_disk", "true");
    must_not_load(FILES("app.star", static_only),
                  "needs a local folder as its source, not \"github.com/a/b\"");
}

/* --- headers --- */

static const struct {
    const char *level;
    int has[6]; /* indexes of lines[] */
    int hasnot[6];
} levels[] = {
    {"0", {0}, {1, 2}},          {"2", {1, 2, 3}, {4, 5}},        {"3", {1, 2, 3}, {4, 5}},
    {"5", {1, 3, 4, 5, 6}, {2}}, {"10", {1, 4, 7, 8, 9}, {2, 5}}, {"99", {1, 4, 7, 8, 9}, {2, 5}},
};
static const char *const lines[] = {
    "Server: OpenRun",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: SAMEORIGIN",
    "Referrer-Policy: strict-origin-when-cross-origin",
    "X-Frame-Options: DENY",
    "Strict-Transport-Security: max-age=31536000; includeSubDomains",
    "Cross-Origin-Opener-Policy: same-origin",
    "Strict-Transport-Security: max-age=63072000; includeSubDomains; preload",
    "Content-Security-Policy: default-src 'self'",
    "Permissions-Policy: geolocation=(), microphone=(), camera=()",
};

static void security_headers_by_level(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        setup(NULL);
        put(&now.entry.metadata.appconfig, "security.headers_level", levels[i].level);
        load_star("def h(req):\n    return 1\napp = ace.app('a', routes=[ace.api('/', h)])\n");
        say("GET /x");
        for (size_t k = 0; k < ARRAY_LEN(levels[i].has); k++) {
            if (!web_has_header(&now.got, lines[levels[i].has[k]]))
                fail_msg("level %s: no %s", levels[i].level, lines[levels[i].has[k]]);
            if (levels[i].hasnot[k] && web_has_header(&now.got, lines[levels[i].hasnot[k]]))
                fail_msg("level %s: has %s", levels[i].level, lines[levels[i].hasnot[k]]);
        }
        expect("GET /x/nowhere", 404, "404 page not found\n");
        assert_int_equal(str_is_empty(header("Referrer-Policy")), str_eq_z(STR("0"), levels[i].level));
    }
}

static void the_bare_path_can_be_redirected(void **state)
{
    load_star(
        "def h(req):\n    return 1\napp = ace.app('a', routes=[ace.api('/', h)], redirect_bare_path=True)\n");
    expect("GET /x?a=b", 307, "");
    assert_str(header("Location"), "/x/?a=b");
    expect("GET /x/", 200, "1\n");
    now.entry.path = STR("/");
    load_star(
        "def h(req):\n    return 1\napp = ace.app('a', routes=[ace.api('/', h)], redirect_bare_path=True)\n");
    expect("GET /", 200, "1\n");
}

static void static_root_has_its_own_caching(void **state)
{
    put(&now.entry.metadata.appconfig, "static_root_cache_control", "\"max-age=5\"");
    load_app(FILES("app.star", plain, "static_root/r", "r", "static/s", "s"));
    expect("GET /x/r", 200, "r");
    assert_str(header("Cache-Control"), "max-age=5");
    expect("GET /x/static/s", 200, "s");
    assert_str(header("Cache-Control"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_of_the_static_folders),
        TEST(hashed_names_are_cached_for_ever),
        TEST(ranges_and_compression),
        TEST(large_files_are_served_from_disk),
        TEST(handlers_and_files_side_by_side),
        TEST(a_static_only_app),
        TEST(a_folder_redirect_stays_here),
        TEST(spec_files_are_not_content),
        TEST(the_index_can_be_chosen),
        TEST(a_single_file_app),
        TEST(a_static_only_app_may_have_an_api),
        TEST(an_app_of_spec_static_disk),
        TEST(a_dev_app_is_served_from_its_folder),
        TEST(disk_apps_need_a_folder),
        TEST(security_headers_by_level),
        TEST(the_bare_path_can_be_redirected),
        TEST(static_root_has_its_own_caching),
    };
    return cmocka_run_group_tests(tests, fx_open, fx_close);
}
