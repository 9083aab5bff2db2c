/* tests/http/test_url.c: percent-encoding, paths, URLs, hosts, redirect targets.
 * SPDX-License-Identifier: Apache-2.0 */
#include "http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;

static void check(const char *what, struct str got, const char *want)
{
    if (!str_eq_z(got, want))
        fail_msg("%s: wanted \"%s\", got \"%.*s\"", what, want, STR_ARG(got));
}

static void decoding_is_strict(void **state)
{
    static const struct { const char *in, *out; } cases[] = {
        {"", ""}, {"abc", "abc"}, {"a%20b", "a b"}, {"%2F%2f", "//"}, {"%c3%A9", "\xc3\xa9"}, {"a+b", "a+b"},
        {"%", NULL}, {"%2", NULL}, {"a%2", NULL}, {"%zz", NULL}, {"%2g", NULL}, {"%%32", NULL}, {"ok%20%", NULL},
        {"%+1", NULL}, {"%41", "A"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str out = STR("untouched");
        bool ok = http_pct_decode(&arena, str_from(cases[i].in), &out);
        assert_int_equal(ok, cases[i].out != NULL);
        check(cases[i].in, out, ok ? cases[i].out : "untouched");
    }
    struct str nul;
    assert_true(http_pct_decode(&arena, STR("a%00b"), &nul));
    assert_true(str_eq(nul, STR("a\0b")));
}

static void encoding_round_trips_every_byte(void **state)
{
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct str enc = http_pct_encode(&arena, str_of(all, sizeof all)), dec;
    assert_true(http_pct_decode(&arena, enc, &dec));
    assert_true(str_eq(dec, str_of(all, sizeof all)));
    check("path", http_path_encode(&arena, STR("/a b/%2F/%zz?#\"")), "/a%20b/%2F/%25zz%3F%23%22");
}

static void paths_are_cleaned(void **state)
{
    static const struct { const char *in, *out; } cases[] = {
        {"", "/"}, {"/", "/"}, {"//", "/"}, {"/a", "/a"}, {"/a/", "/a"}, {"a", "/a"}, {"//a//b//", "/a/b"},
        {"/a/./b", "/a/b"}, {"/a/../b", "/b"}, {"/..", "/"}, {"/../../etc", "/etc"}, {"/a/b/../..", "/"},
        {"/a/..b", "/a/..b"}, {"/a/...", "/a/..."}, {"/.", "/"}, {"/a/.", "/a"}, {"/a/b/..", "/a"},
        {"/%2e%2e/a", "/%2e%2e/a"}, {"../a", "/a"}, {"/.hidden", "/.hidden"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str once = http_path_clean(&arena, str_from(cases[i].in));
        check(cases[i].in, once, cases[i].out);
        assert_ptr_equal(http_path_clean(&arena, once).ptr, once.ptr);
    }
}

static void paths_join_and_nest(void **state)
{
    check("join", http_path_join(&arena, STR("/a/"), STR("/b")), "/a/b");
    check("join", http_path_join(&arena, STR("/a"), STR("b/")), "/a/b/");
    check("join", http_path_join(&arena, STR(""), STR("")), "/");
    check("join", http_path_join(&arena, STR("/"), STR("/x")), "/x");
    check("join", http_path_join(&arena, STR("/a"), STR("")), "/a");
    check("join", http_path_join(&arena, STR("/a"), STR("/")), "/a/");
    struct str rest;
    assert_true(http_path_under(STR("/a/b"), STR("/a"), &rest));
    check("rest", rest, "/b");
    assert_true(http_path_under(STR("/a"), STR("/a/"), &rest));
    check("rest", rest, "");
    assert_false(http_path_under(STR("/ab"), STR("/a"), &rest));
    assert_true(http_path_under(STR("/ab"), STR("/"), &rest));
    check("rest", rest, "/ab");
    assert_true(http_path_under(STR("/ab"), STR(""), &rest));
    assert_true(http_encoded_path_under(STR("/%61b/c%2Fd"), STR("/ab/"), &rest));
    check("rest", rest, "/c%2Fd");
    assert_false(http_encoded_path_under(STR("/a%2Fb"), STR("/a/b"), &rest));
    assert_false(http_encoded_path_under(STR("/ab%63"), STR("/ab"), &rest));
    assert_true(http_encoded_path_under(STR("/%2F"), STR("/"), &rest));
    check("rest", rest, "/%2F");
}

static void urls_are_taken_apart(void **state)
{
    struct http_url u;
    scoped_err err = {0};
    assert_true(http_url_parse(STR("https://Ex.org:8443/a%20b/?q=1&x#frag?x"), &u, &err));
    check("scheme", u.scheme, "https");
    check("authority", u.authority, "Ex.org:8443");
    check("host", u.host, "Ex.org");
    check("path", u.path, "/a%20b/");
    check("query", u.query, "q=1&x");
    check("fragment", u.fragment, "frag?x");
    assert_true(u.is_tls && u.has_query && http_url_port(&u) == 8443);
    assert_true(http_url_parse(STR("HTTP://[::1]:80"), &u, &err));
    check("host", u.host, "::1");
    check("path", u.path, "");
    assert_true(!u.is_tls && !u.has_query && u.port == 80);
    assert_true(http_url_parse(STR("http://h?x"), &u, &err));
    check("query", u.query, "x");
    assert_int_equal(http_url_port(&u), 80);
    static const char *const bad[] = {
        "", "/a", "//h/", "ftp://h/", "http:/h", "http://", "http:///a", "http://u:p@h/", "http://h:0/", "http://h:65536/",
        "http://h:+1/", "http://h:8x/", "http://a b/", "http://h/a b", "http://h\\@evil/", "http://[::1/", "http://[]/",
        "http://[g::]/", "http://[::1]x/", "http://h:1:2/", "http://h/\x01", "javascript://x",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        scoped_err e = {0};
        if (http_url_parse(str_from(bad[i]), &u, &e))
            fail_msg("accepted %s", bad[i]);
        assert_int_equal(e.code, ERR_INVALID);
    }
}

static void hosts_are_checked(void **state)
{
    static const struct { const char *in, *name; int port; } cases[] = {
        {"a.example", "a.example", 0}, {"a:80", "a", 80}, {"a:", "a", 0}, {"[::1]:9", "::1", 9}, {"[::1]", "::1", 0},
        {"under_score", "under_score", 0}, {"", NULL, 0}, {":80", NULL, 0}, {"a/b", NULL, 0}, {"a b", NULL, 0},
        {"a@b", NULL, 0}, {"a,b", NULL, 0}, {"a:99999", NULL, 0}, {"a\r", NULL, 0}, {"[::1", NULL, 0}, {"%61", NULL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str name;
        uint16_t port;
        bool ok = http_host_parse(str_from(cases[i].in), &name, &port);
        if (ok != (cases[i].name != NULL))
            fail_msg("%s: wrong verdict", cases[i].in);
        if (ok) {
            check(cases[i].in, name, cases[i].name);
            assert_int_equal(port, cases[i].port);
        }
    }
}

static void redirects_stay_here(void **state)
{
    static const struct { const char *in; bool ok; } cases[] = {
        {"/", true}, {"/a?b=//c", true}, {"/a//b", true}, {"", false}, {"a", false}, {"//evil", false}, {"/\\evil", false},
        {"\\/evil", false}, {"/\t/evil", false}, {"/\n/evil", false}, {"https://evil", false}, {"/a\\b", false},
        {" /a", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (http_is_local_redirect(str_from(cases[i].in)) != cases[i].ok)
            fail_msg("%s", cases[i].in);
}

static int release(void **state)
{
    arena_release(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_is_strict), cmocka_unit_test(encoding_round_trips_every_byte),
        cmocka_unit_test(paths_are_cleaned), cmocka_unit_test(paths_join_and_nest),
        cmocka_unit_test(urls_are_taken_apart), cmocka_unit_test(hosts_are_checked),
        cmocka_unit_test(redirects_stay_here),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
