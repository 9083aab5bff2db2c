/* tests/source/test_glob.c: path patterns and app globs.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_patterns(void **state)
{
    static const struct {
        const char *name, *pattern, *yes[6], *no[6];
    } cases[] = {
        {"a literal", "/a", {"/a"}, {"/", "/ab", "/a/", "/A", ""}},
        {"the empty pattern", "", {""}, {"a", "/"}},
        {"a star is a run within a segment", "/a*c", {"/ac", "/abc"}, {"/a/c", "/ab"}},
        {"a star alone", "*", {"", "abc", ".x"}, {"a/b"}},
        {"a star as a segment may be empty", "/*", {"/", "/x"}, {"/x/y", ""}},
        {"two stars", "*a*b", {"ab", "xaxb", "aab"}, {"ba", "a/b"}},
        {"a question mark is one character",
         "a?c",
         {"abc", "a\xc3\xa9"
                 "c"},
         {"ac", "a/c", "abbc"}},
        {"a class", "[a-cx]", {"a", "c", "x"}, {"d", "", "ab"}},
        {"a negated class", "[^a-c]", {"d", "\xc3\xa9"}, {"a", "/", ""}},
        {"the other negation", "[!a]b", {"bb"}, {"ab"}},
        {"a dash at the edges of a class", "[-a][b-]", {"-b", "a-"}, {"bb"}},
        {"a class of characters beyond ASCII", "[\xc3\xa0-\xc3\xbf]", {"\xc3\xa9"}, {"a"}},
        {"an escape in a class", "[\\]\\\\]", {"]", "\\"}, {"a"}},
        {"alternatives", "{a,bc}d", {"ad", "bcd"}, {"d", "abcd"}},
        {"an empty alternative", "a{,b}c", {"ac", "abc"}, {"abbc"}},
        {"nested alternatives", "{a,b{c,d{e,f}}}", {"a", "bc", "bde", "bdf"}, {"b", "bd", "c"}},
        {"alternatives over segments", "{a/b,c}/d", {"a/b/d", "c/d"}, {"a/d", "b/d"}},
        {"a comma outside of braces", "a,b", {"a,b"}, {"a"}},
        {"an escape", "\\*\\{", {"*{"}, {"a{"}},
        {"double star alone", "**", {"", "/", "/x", "/x/y", "a"}, {NULL}},
        {"double star at the end", "/utils/**", {"/utils", "/utils/a", "/utils/a/b"}, {"/utilsx", "/"}},
        {"double star at the start", "**/x", {"x", "a/x", "/a/b/x"}, {"ax", "x/a"}},
        {"double star in the middle", "a/**/b", {"a/b", "a/x/b", "a/x/y/b"}, {"ab", "a/xb"}},
        {"double stars in a row", "a/**/**/b/**", {"a/b", "a/x/b/c"}, {"a"}},
        {"double star and star", "static/**/*", {"static/x", "static/a/b.css"}, {"static", "x/static/y"}},
        {"double star glued to text is a star", "a**b", {"ab", "axb"}, {"a/b"}},
        {"triple star is a star", "/***", {"/", "/x"}, {"/x/y"}},
        {"double star in braces", "/a/{**,b}", {"/a", "/a/x/y", "/a/b"}, {"/ab"}},
        {"double star in braces before a slash", "{x,**}/c", {"c", "x/c", "a/b/c"}, {"xc"}},
        {"double star behind braces", "{a,b/}/**", {"a", "a/x", "b/"}, {"b"}},
        {"bytes that are no UTF-8 match themselves", "\xff*", {"\xff", "\xffz"}, {"\xfe", "\xc3\xbf"}},
        {"a dot is no wildcard", "*.go.html", {"x.go.html"}, {"x.goxhtml", "a/x.go.html"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_glob *g = src_glob_compile(&a, str_from(cases[i].pattern), &err);
        if (!g)
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        for (size_t k = 0; k < 6 && cases[i].yes[k]; k++)
            if (!src_glob_match(g, str_from(cases[i].yes[k])))
                fail_msg("%s: %s should match \"%s\"", cases[i].name, cases[i].pattern, cases[i].yes[k]);
        for (size_t k = 0; k < 6 && cases[i].no[k]; k++)
            if (src_glob_match(g, str_from(cases[i].no[k])))
                fail_msg("%s: %s should not match \"%s\"", cases[i].name, cases[i].pattern, cases[i].no[k]);
    }
}

static void test_malformed(void **state)
{
    static const struct {
        const char *name, *pattern, *err;
    } cases[] = {
        {"an empty class", "a[]", "is empty"},
        {"an empty negated class", "[^]", "is empty"},
        {"a class without end", "[a", "has no \"]\""},
        {"a class that ends in an escape", "[a\\", "nothing follows"},
        {"a backward range", "[z-a]", "backwards"},
        {"braces without end", "{a,b", "has no \"}\""},
        {"braces whose end is in a class", "{a[}]", "has no \"}\""},
        {"a closing brace alone", "a}", "has no \"{\""},
        {"an escape at the end", "a\\", "nothing follows"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        if (src_glob_compile(&a, str_from(cases[i].pattern), &err) || !strstr(err_msg(&err), cases[i].err))
            fail_msg("%s: got \"%s\"", cases[i].name, err_msg(&err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_false(src_glob_match_once(str_from(cases[i].pattern), str_from(cases[i].pattern)));
    }
}

/* What makes a backtracking matcher take exponential time, and the ceilings. */
static void test_hard_patterns(void **state)
{
    scoped_arena a = {0};
    scoped_err err = {0};
    char text[4096], pattern[SRC_GLOB_MAX + 2];
    memset(text, 'a', sizeof text);
    size_t n = 0;
    while (n + 2 < SRC_GLOB_MAX) {
        pattern[n++] = '*';
        pattern[n++] = 'a';
    }
    pattern[n++] = 'b';
    assert_false(src_glob_match_once(str_of(pattern, n), str_of(text, sizeof text)));

    struct str nested = STR("{a,{a,{a,{a,{a,{a,{a,{a,{a,a}}}}}}}}}");
    struct str many = STR("");
    for (int i = 0; i < 20; i++)
        many = str_cat(&a, many, nested);
    assert_true(src_glob_match_once(many, str_of(text, 20)));
    assert_false(src_glob_match_once(many, str_of(text, 21)));

    memset(pattern, '{', sizeof pattern);
    assert_null(src_glob_compile(&a, str_of(pattern, SRC_GLOB_MAX), &err));
    memset(pattern, 'a', sizeof pattern);
    assert_null(src_glob_compile(&a, str_of(pattern, SRC_GLOB_MAX + 1), &err));
    assert_non_null(strstr(err_msg(&err), "too long"));
    memset(pattern, '*', sizeof pattern);
    assert_non_null(src_glob_compile(&a, str_of(pattern, SRC_GLOB_MAX), &err));
    for (size_t i = 0; i < SRC_GLOB_MAX; i++)
        pattern[i] = "**/"[i % 3];
    assert_true(src_glob_match_once(str_of(pattern, SRC_GLOB_MAX), str_of(text, sizeof text)));

    char deep[100];
    memset(deep, '{', 40);
    memset(deep + 40, '}', 40);
    assert_null(src_glob_compile(&a, str_of(deep, 80), &err));
    assert_non_null(strstr(err_msg(&err), "nested too deep"));
}

static void test_app_globs(void **state)
{
    static const struct {
        const char *name, *glob, *yes[6], *no[6];
    } cases[] = {
        {"nothing selects all", "", {"/", "/x/y", "d.com:/x"}, {NULL}},
        {"all selects all", "ALL", {"/", "/x/y", "d.com:/x"}, {NULL}},
        {"star colon double star selects all", "*:**", {"/", "/x/y", "d.com:/x"}, {NULL}},
        {"star", "*", {"/", "/x"}, {"/x/y", "d.com:/", "d.com:/x"}},
        {"double star", "**", {"/", "/x", "/x/y"}, {"d.com:/x"}},
        {"below a path", "/utils/**", {"/utils", "/utils/a", "/utils/a/b"}, {"/utilsx"}},
        {"all of a domain",
         "example.com:**",
         {"example.com:/", "example.com:/a/b"},
         {"sub.example.com:/", "/"}},
        {"sub-domains at any depth",
         "*.example.com:**",
         {"a.example.com:/", "a.b.example.com:/x"},
         {"example.com:/"}},
        {"a path in every domain", "*:/x", {"/x", "d.com:/x"}, {"/y", "d.com:/x/y"}},
        {"a domain's root", "example.com:", {"example.com:/"}, {"example.com:/x", "/"}},
        {"a domain's first level",
         "example.com:*",
         {"example.com:/", "example.com:/x"},
         {"example.com:/x/y"}},
        {"a slash at the end is not trimmed", "/myapp/", {NULL}, {"/myapp", "/"}},
        {"a relative domain is not completed", "maps.:/", {NULL}, {"maps.localhost:/", "/"}},
        {"an exact path", "/x/y", {"/x/y"}, {"/x", "/X/y"}},
        {"the domain is case-sensitive", "D.com:/", {NULL}, {"d.com:/"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_appglob g;
        if (!src_appglob_compile(&a, str_from(cases[i].glob), &g, &err))
            fail_msg("%s: %s", cases[i].name, err_msg(&err));
        for (int want = 0; want < 2; want++) {
            const char *const *texts = want ? cases[i].yes : cases[i].no;
            for (size_t k = 0; k < 6 && texts[k]; k++) {
                struct src_apppath p;
                assert_true(src_apppath_parse(str_from(texts[k]), &p, &err));
                if (src_appglob_match(&g, &p) != (bool)want)
                    fail_msg("%s: \"%s\" and %s: wanted %d", cases[i].name, cases[i].glob, texts[k], want);
            }
        }
    }
    scoped_arena a = {0};
    scoped_err err = {0};
    struct src_appglob g;
    assert_false(src_appglob_compile(&a, STR("a:b:c"), &g, &err));
    assert_non_null(strstr(err_msg(&err), "path glob has to be in the format of domain:path"));
    assert_false(src_appglob_compile(&a, STR("/[]"), &g, &err));
    assert_non_null(strstr(err_msg(&err), "invalid path glob app value"));
    assert_false(src_appglob_compile(&a, STR("[]:/"), &g, &err));
    assert_non_null(strstr(err_msg(&err), "invalid path glob domain value"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_hard_patterns),
        cmocka_unit_test(test_app_globs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
