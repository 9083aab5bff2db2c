/* tests/http/test_static.c: ranges, conditions, media types; static answers over a socket.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include "fake_server.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void ranges_are_cut_out(void **state)
{
    static const struct { const char *in; uint64_t size; enum http_range_kind kind; uint64_t first, len; } cases[] = {
        {"bytes=0-0", 10, HTTP_RANGE_ONE, 0, 1}, {"bytes=2-5", 10, HTTP_RANGE_ONE, 2, 4}, {"bytes=5-", 10, HTTP_RANGE_ONE, 5, 5},
        {"bytes=-3", 10, HTTP_RANGE_ONE, 7, 3}, {"bytes=-30", 10, HTTP_RANGE_ONE, 0, 10}, {"bytes=5-500", 10, HTTP_RANGE_ONE, 5, 5},
        {"BYTES=1-1", 10, HTTP_RANGE_ONE, 1, 1}, {" bytes = 1-1", 10, HTTP_RANGE_ONE, 1, 1},
        {"bytes=0-18446744073709551615", 10, HTTP_RANGE_ONE, 0, 10}, {"bytes=0-99999999999999999999999", 10, HTTP_RANGE_ONE, 0, 10},
        {"bytes=10-", 10, HTTP_RANGE_BAD, 0, 0}, {"bytes=99999999999999999999999-", 10, HTTP_RANGE_BAD, 0, 0},
        {"bytes=-0", 10, HTTP_RANGE_BAD, 0, 0}, {"bytes=0-", 0, HTTP_RANGE_BAD, 0, 0}, {"bytes=-5", 0, HTTP_RANGE_BAD, 0, 0},
        {"bytes=5-2", 10, HTTP_RANGE_NONE, 0, 0}, {"bytes=0-1,3-4", 10, HTTP_RANGE_NONE, 0, 0}, {"lines=0-1", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes", 10, HTTP_RANGE_NONE, 0, 0}, {"bytes=", 10, HTTP_RANGE_NONE, 0, 0}, {"bytes=-", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=a-b", 10, HTTP_RANGE_NONE, 0, 0}, {"bytes=+1-2", 10, HTTP_RANGE_NONE, 0, 0}, {"bytes=--5", 10, HTTP_RANGE_NONE, 0, 0},
        {"bytes=1 -2", 10, HTTP_RANGE_NONE, 0, 0}, {"", 10, HTTP_RANGE_NONE, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t first = 0, len = 0;
        enum http_range_kind kind = http_range_parse(str_from(cases[i].in), cases[i].size, &first, &len);
        if (kind != cases[i].kind || first != cases[i].first || len != cases[i].len)
            fail_msg("%s: kind %d, %llu+%llu", cases[i].in, kind, (unsigned long long)first, (unsigned long long)len);
    }
}

#define OLD "Sun, 06 Nov 1994 08:49:36 GMT"
#define NOW "Sun, 06 Nov 1994 08:49:37 GMT"
#define NEW "Sun, 06 Nov 1994 08:49:38 GMT"
enum { MTIME = 784111777 };

static void conditions_follow_their_order(void **state)
{
    static const struct { const char *name, *match, *none, *since, *unmod; int want; } cases[] = {
        {"none", NULL, NULL, NULL, NULL, 0},
        {"same tag", NULL, "\"a\"", NULL, NULL, 304}, {"weak form of it", NULL, "W/\"a\"", NULL, NULL, 304},
        {"in a list", NULL, "\"x\", \"a,b\" ,\"a\"", NULL, NULL, 304}, {"any", NULL, "*", NULL, NULL, 304},
        {"another tag", NULL, "\"b\"", NULL, NULL, 0}, {"a tag beats a date", NULL, "\"b\"", NEW, NULL, 0},
        {"not modified since now", NULL, NULL, NOW, NULL, 304}, {"nor since later", NULL, NULL, NEW, NULL, 304},
        {"modified since", NULL, NULL, OLD, NULL, 0}, {"an unreadable date", NULL, NULL, "yesterday", NULL, 0},
        {"must match and does", "\"a\"", NULL, NULL, NULL, 0}, {"must match and does not", "\"b\"", NULL, NULL, NULL, 412},
        {"a weak tag matches nothing strongly", "W/\"a\"", NULL, NULL, NULL, 412}, {"must be anything", "*", NULL, NULL, NULL, 0},
        {"unmodified", NULL, NULL, NULL, NOW, 0}, {"modified meanwhile", NULL, NULL, NULL, OLD, 412},
        {"match and none match", "\"a\"", "\"a\"", NULL, NULL, 304}, {"match beats unmodified", "\"a\"", NULL, NULL, OLD, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_conditions c = {str_from(cases[i].match), str_from(cases[i].none), str_from(cases[i].since),
                                    str_from(cases[i].unmod), {0}, true};
        int got = http_conditions_check(&c, STR("\"a\""), MTIME);
        if (got != cases[i].want)
            fail_msg("%s: wanted %d, got %d", cases[i].name, cases[i].want, got);
    }
    struct http_conditions put = {.if_none_match = STR("*")};
    assert_int_equal(http_conditions_check(&put, STR("\"a\""), MTIME), 412);
    assert_true(http_if_range_holds((struct str){0}, STR("\"a\""), 0));
    assert_true(http_if_range_holds(STR("\"a\""), STR("\"a\""), 0));
    assert_false(http_if_range_holds(STR("W/\"a\""), STR("W/\"a\""), 0));
    assert_false(http_if_range_holds(STR("\"b\""), STR("\"a\""), MTIME));
    assert_true(http_if_range_holds(STR(NOW), STR("\"a\""), MTIME));
    assert_false(http_if_range_holds(STR(NEW), STR("\"a\""), MTIME));
}

static void types_go_by_extension(void **state)
{
    static const struct { const char *name, *type; } cases[] = {
        {"a.html", "text/html; charset=utf-8"}, {"x/y.z/a.min.JS", "text/javascript; charset=utf-8"}, {"a.7z", "application/x-7z-compressed"},
        {"a.zst", "application/zstd"}, {"a.svg", "image/svg+xml"}, {"a.woff2", "font/woff2"}, {"dir.html/file", "application/octet-stream"},
        {"Makefile", "application/octet-stream"}, {"", "application/octet-stream"}, {"a.", "application/octet-stream"},
        {".css", "text/css; charset=utf-8"}, {"a.waytoolongextension", "application/octet-stream"}, {"a.webmanifest", "application/manifest+json"},
        {"a.mp4", "video/mp4"}, {"a.wasm", "application/wasm"}, {"a.png", "image/png"}, {"a.m4a", "audio/mp4"}, {"a.json", "application/json"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (!str_eq_z(http_mime_type(str_from(cases[i].name)), cases[i].type))
            fail_msg("%s: %.*s", cases[i].name, STR_ARG(http_mime_type(str_from(cases[i].name))));
}

/* ---- Over a socket ---- */

static char file_path[64];

static void on_request(struct http_req *req, void *arg)
{
    static const struct http_variant variants[] = {{STR_INIT("br"), STR_INIT("BROTLI")}, {STR_INIT("gzip"), STR_INIT("GZIP")}};
    struct http_static f = {.body = STR("0123456789"), .fd = -1, .etag = STR("\"tag\""), .mtime_s = MTIME,
                            .content_type = STR("text/plain"), .cache_control = STR("public, max-age=31536000")};
    if (str_starts(req->path, STR("/file"))) {
        f.fd = open(file_path, O_RDONLY | O_CLOEXEC);
        f.size = 100000;
    }
    if (str_starts(req->path, STR("/variants"))) {
        f.variants = variants;
        f.variant_count = ARRAY_LEN(variants);
    }
    http_serve_static(req, &f);
}

struct world {
    struct http_loops *loops;
    struct http_server *server;
    int port;
    struct arena arena;
};

static int set_up(void **state)
{
    struct world *w = xcalloc(1, sizeof *w);
    scoped_err err = {0};
    w->loops = http_loops_open(1, &err);
    w->server = http_server_open(w->loops, NULL);
    struct http_listener *l = http_listen(w->server, &(struct http_listen){
        .host = STR("127.0.0.1"), .handler = {on_request, NULL}, .setting = "test"}, &err);
    assert_non_null(l);
    w->port = http_listener_port(l);
    snprintf(file_path, sizeof file_path, "/tmp/openrun_test_static_%d", (int)getpid());
    int fd = open(file_path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(write(fd, "abcdefghij", 10), 10);
    close(fd);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    http_server_close(w->server);
    http_loops_close(w->loops);
    arena_release(&w->arena);
    unlink(file_path);
    free(w);
    return 0;
}

static struct str ask(struct world *w, const char *method, const char *path, const char *headers)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)w->port)};
    scoped_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    scoped_buf b = BUF_INIT(1 << 20);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof in), 0);
    struct str req = str_printf(&w->arena, "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", method, path, headers);
    assert_true(fake_write_all(fd, req.ptr, req.len));
    char part[65536];
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;)
        buf_add(&b, part, (size_t)n);
    return str_dup(&w->arena, buf_str(&b));
}

static void answers_over_a_socket(void **state)
{
    struct world *w = *state;
    static const struct { const char *method, *path, *headers; int status; const char *body, *has, *lacks; } cases[] = {
        {"GET", "/", "", 200, "0123456789", "ETag: \"tag\"\r\nLast-Modified: " NOW "\r\nCache-Control: public, max-age=31536000\r\n", "Vary"},
        {"HEAD", "/", "", 200, "", "Content-Length: 10\r\n", NULL},
        {"POST", "/", "", 405, "", "Allow: GET, HEAD\r\n", "ETag"},
        {"GET", "/", "If-None-Match: \"tag\"\r\n", 304, "", "ETag: \"tag\"\r\n", "Content-Length"},
        {"GET", "/", "If-Modified-Since: " NOW "\r\n", 304, "", "Cache-Control: public", "Content-Type"},
        {"GET", "/", "If-Match: \"other\"\r\n", 412, "", "Content-Length: 0\r\n", "Content-Type"},
        {"GET", "/", "Range: bytes=2-4\r\n", 206, "234", "Content-Range: bytes 2-4/10\r\n", NULL},
        {"GET", "/", "Range: bytes=-2\r\n", 206, "89", "Content-Length: 2\r\n", NULL},
        {"GET", "/", "Range: bytes=10-\r\n", 416, "", "Content-Range: bytes */10\r\n", NULL},
        {"GET", "/", "Range: bytes=0-1,4-5\r\n", 200, "0123456789", NULL, "Content-Range"},
        {"GET", "/", "Range: bytes=2-4\r\nIf-Range: \"tag\"\r\n", 206, "234", NULL, NULL},
        {"GET", "/", "Range: bytes=2-4\r\nIf-Range: \"old\"\r\n", 200, "0123456789", NULL, "Content-Range"},
        {"HEAD", "/", "Range: bytes=2-4\r\n", 200, "", "Content-Length: 10\r\n", "Content-Range"},
        {"GET", "/variants", "Accept-Encoding: gzip, br\r\n", 200, "BROTLI", "Content-Encoding: br\r\n", NULL},
        {"GET", "/variants", "Accept-Encoding: gzip, br\r\n", 200, NULL, "ETag: \"tag-br\"\r\n", NULL},
        {"GET", "/variants", "Accept-Encoding: gzip, br;q=0.5\r\n", 200, "GZIP", "Vary: Accept-Encoding\r\n", NULL},
        {"GET", "/variants", "Accept-Encoding: br;q=0, gzip;q=0\r\n", 200, "0123456789", "Vary: Accept-Encoding\r\n", "Content-Encoding"},
        {"GET", "/variants", "", 200, "0123456789", "ETag: \"tag\"\r\n", "Content-Encoding"},
        {"GET", "/variants", "Accept-Encoding: identity, br;q=0.5\r\n", 200, "0123456789", NULL, "Content-Encoding"},
        {"GET", "/variants", "Accept-Encoding: br\r\nRange: bytes=0-1\r\n", 206, "01", "Content-Range: bytes 0-1/10\r\n", "Content-Encoding"},
        {"GET", "/variants", "Accept-Encoding: br\r\nIf-None-Match: \"tag-br\"\r\n", 304, "", "ETag: \"tag-br\"\r\n", NULL},
        {"GET", "/variants", "Accept-Encoding: br\r\nIf-None-Match: \"tag\"\r\n", 200, "BROTLI", NULL, NULL},
        {"GET", "/file", "Range: bytes=99995-\r\n", 206, "fghij", "Content-Range: bytes 99995-99999/100000\r\n", NULL},
        {"GET", "/file", "If-None-Match: *\r\n", 304, "", NULL, NULL},
        {"HEAD", "/file", "", 200, "", "Content-Length: 100000\r\n", NULL},
        {"DELETE", "/file", "", 405, "", NULL, NULL},
        {"GET", "/file", "Range: bytes=100000-\r\n", 416, "", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str r = ask(w, cases[i].method, cases[i].path, cases[i].headers);
        char line[16];
        snprintf(line, sizeof line, "HTTP/1.1 %d ", cases[i].status);
        size_t at = str_find(r, STR("\r\n\r\n"));
        bool ok = str_starts(r, str_from(line)) && at != STR_NPOS;
        struct str body = ok ? str_from_off(r, at + 4) : (struct str){0}, head = str_slice(r, 0, at + 2);
        ok &= !cases[i].body || str_eq_z(body, cases[i].body);
        ok &= !cases[i].has || str_find(head, str_from(cases[i].has)) != STR_NPOS;
        ok &= !cases[i].lacks || str_find(head, str_from(cases[i].lacks)) == STR_NPOS;
        if (!ok)
            fail_msg("case %zu, %s %s %swanted %d, %s, %s, without %s; got\n%.*s", i, cases[i].method, cases[i].path, cases[i].headers,
                     cases[i].status, cases[i].body, cases[i].has, cases[i].lacks, (int)MIN(r.len, (size_t)800), r.ptr);
    }
    struct str whole = ask(w, "GET", "/file", "");
    assert_true(str_ends(whole, STR("abcdefghij")) && whole.len > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_cut_out), cmocka_unit_test(conditions_follow_their_order),
        cmocka_unit_test(types_go_by_extension), cmocka_unit_test_setup_teardown(answers_over_a_socket, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
