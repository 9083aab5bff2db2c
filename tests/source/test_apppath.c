/* tests/source/test_apppath.c: app paths, domains, overlap and stage locations.
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CHECK(cond, ...)                                                                                     \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            fail_msg(__VA_ARGS__);                                                                           \
    } while (0)

static void test_parse(void **state)
{
    static const struct {
        const char *name, *in, *domain, *path, *err;
    } cases[] = {
        {"a plain path", "/x", "", "/x", NULL},
        {"the root", "/", "", "/", NULL},
        {"nothing is the root", "", "", "/", NULL},
        {"slashes at the end go", "/x/y///", "", "/x/y", NULL},
        {"a domain and a path", "example.com:/x", "example.com", "/x", NULL},
        {"a domain alone", "example.com:", "example.com", "/", NULL},
        {"an empty domain", ":/x", "", "/x", NULL},
        {"two colons", "a:b:/x", NULL, NULL, "invalid app path a:b:/x, expected one \":\""},
        {"a path without slash", "x", NULL, NULL, "invalid app path x, expected path to start with \"/\""},
        {"a domain's path without slash", "d:x", NULL, NULL,
         "invalid app path d:x, expected path to start with \"/\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        struct src_apppath p = {0};
        bool ok = src_apppath_parse(str_from(cases[i].in), &p, &err);
        if (cases[i].err) {
            CHECK(!ok && strcmp(err_msg(&err), cases[i].err) == 0, "%s: got %s", cases[i].name,
                  err_msg(&err));
            assert_int_equal(err.code, ERR_INVALID);
        } else {
            CHECK(ok && str_eq_z(p.domain, cases[i].domain) && str_eq_z(p.path, cases[i].path),
                  "%s: got [" STR_FMT "] [" STR_FMT "] %s", cases[i].name, STR_ARG(p.domain), STR_ARG(p.path),
                  err_msg(&err));
        }
    }
}

static void test_new(void **state)
{
    static const struct {
        const char *name, *in, *want, *err;
    } cases[] = {
        {"a plain path", "/x", "/x", NULL},
        {"a path in UTF-8", "/caf\xc3\xa9", "/caf\xc3\xa9", NULL},
        {"a dot inside a segment", "/a.b", "/a.b", NULL},
        {"_cl_ before the last segment", "/a_cl_b/c", "/a_cl_b/c", NULL},
        {"a domain is lowered", "App.Example.COM:/X", "app.example.com:/X", NULL},
        {"a relative domain is completed", "maps.:/", "maps.localhost:/", NULL},
        {"an underscore in a domain", "a_b.example.com:/", "a_b.example.com:/", NULL},
        {"a dot-dot segment", "/a/../b", NULL, "as segments"},
        {"a dot-dot at the end", "/a/..", NULL, "as segments"},
        {"a dot segment", "/a/./b", NULL, "as segments"},
        {"a dot at the end", "/a/.", NULL, "as segments"},
        {"an empty segment", "/a//b", NULL, "empty segment"},
        {"_cl_ in the last segment", "/a/b_cl_stage", NULL, "reserved for staging"},
        {"the reserved root prefix", "/_openrun/x", NULL, "reserved"},
        {"a longer reserved root prefix", "/_openrunner", NULL, "reserved"},
        {"the reserved inner segment", "/a/_openrun_app/b", NULL, "reserved"},
        {"a control character", "/a\nb", NULL, "control character"},
        {"a query", "/a?b", NULL, "not allowed"},
        {"a percent sign", "/a%2fb", NULL, "not allowed"},
        {"a backslash", "/a\\b", NULL, "not allowed"},
        {"bytes that are not UTF-8", "/\xff", NULL, "UTF-8"},
        {"a domain with a space", "a b:/", NULL, "invalid domain"},
        {"a domain with an empty label", "a..b:/", NULL, "invalid domain"},
        {"a domain that starts with a dash", "-a.b:/", NULL, "invalid domain"},
        {"a wildcard domain", "*.example.com:/", NULL, "invalid domain"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_apppath p = {0};
        bool ok = src_apppath_new(&a, str_from(cases[i].in), STR("localhost"), &p, &err);
        if (cases[i].err)
            CHECK(!ok && strstr(err_msg(&err), cases[i].err), "%s: got \"%s\"", cases[i].name, err_msg(&err));
        else
            CHECK(ok && str_eq_z(src_apppath_str(&a, &p), cases[i].want), "%s: got %s", cases[i].name,
                  ok ? str_z(&a, src_apppath_str(&a, &p)) : err_msg(&err));
    }
    scoped_arena a = {0};
    scoped_err err = {0};
    struct src_apppath p;
    assert_false(src_apppath_new(&a, STR("maps.:/"), STR(""), &p, &err));
    assert_non_null(strstr(err_msg(&err), "system.default_domain"));
}

static struct src_apppath path_of(const char *text)
{
    scoped_err err = {0};
    struct src_apppath p = {0};
    if (!src_apppath_parse(str_from(text), &p, &err))
        fail_msg("%s", err_msg(&err));
    return p;
}

static void test_overlaps(void **state)
{
    static const struct {
        const char *name, *x, *y;
        bool want;
    } cases[] = {
        {"equal paths", "/a", "/a", true},
        {"a path below", "/a", "/a/b", true},
        {"the root holds all", "/", "/a", true},
        {"no slash boundary", "/a", "/ab", false},
        {"siblings", "/a/b", "/a/c", false},
        {"another domain", "d.com:/a", "/a", false},
        {"the same domain", "d.com:/a", "d.com:/a/b", true},
        {"the same domain in capitals", "d.com:/a", "D.com:/a", true},
        {"the default domain spelt out", "localhost:/a", "/a/b", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct src_apppath x = path_of(cases[i].x), y = path_of(cases[i].y);
        CHECK(src_apppath_overlaps(&x, &y, STR("localhost")) == cases[i].want, "%s", cases[i].name);
        CHECK(src_apppath_overlaps(&y, &x, STR("localhost")) == cases[i].want, "%s, turned", cases[i].name);
    }
}

static void test_stage(void **state)
{
    static const struct {
        const char *name, *app, *stage_at, *stage_domain, *want, *err;
    } cases[] = {
        {"by default in a domain", "/x", "", "", "stage.localhost:/x", NULL},
        {"in the domain of the app", "example.com:/x", "domain", "stage", "stage.example.com:/x", NULL},
        {"a stage domain with its dot", "/x", "Domain", "st.", "st.localhost:/x", NULL},
        {"at a path", "/x", " path ", "", "/x_cl_stage", NULL},
        {"the root at a path", "d.com:/", "PATH", "", "d.com:/_cl_stage", NULL},
        {"at a domain", "/x", "Test.example.com", "", "test.example.com:/x", NULL},
        {"at a relative domain", "/x", "test.", "", "test.localhost:/x", NULL},
        {"a path is no domain", "/x", "a.com:/y", "", NULL, "invalid stage_at"},
        {"at its own location", "/x", "localhost", "", NULL, "own location"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct src_apppath p = path_of(cases[i].app), out = {0};
        bool ok = src_apppath_stage(&a, &p, str_from(cases[i].stage_at), str_from(cases[i].stage_domain),
                                    STR("localhost"), &out, &err);
        if (cases[i].err)
            CHECK(!ok && strstr(err_msg(&err), cases[i].err), "%s: got \"%s\"", cases[i].name, err_msg(&err));
        else
            CHECK(ok && str_eq_z(src_apppath_str(&a, &out), cases[i].want), "%s: got %s", cases[i].name,
                  ok ? str_z(&a, src_apppath_str(&a, &out)) : err_msg(&err));
    }
}

static void test_url(void **state)
{
    scoped_arena a = {0};
    struct src_apppath p = path_of("/x y/\xc3\xa9"), q = path_of("d.com:/");
    assert_true(str_eq_z(src_apppath_url(&a, &p, "https", STR("localhost"), 25223),
                         "https://localhost:25223/x%20y/%C3%A9"));
    assert_true(str_eq_z(src_apppath_url(&a, &q, "http", STR("localhost"), 0), "http://d.com/"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_new), cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_stage), cmocka_unit_test(test_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
