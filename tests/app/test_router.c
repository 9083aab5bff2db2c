/* tests/app/test_router.c: path patterns: what matches, what wins, what is refused.
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../src/app/router.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct router *build(struct arena *a, const char *const *routes)
{
    struct router *r = router_new(a);
    for (; *routes; routes++) {
        struct str method, pattern;
        scoped_err err = {0};
        str_cut(str_from(*routes), ' ', &method, &pattern);
        if (!router_add(r, str_eq(method, STR("ANY")) ? (struct str){0} : method, pattern, *routes, &err))
            fail_msg("%s: %s", *routes, err_msg(&err));
    }
    return r;
}

/* "route | name=value name=value", "405 GET, HEAD" or "404". */
static struct str describe(struct arena *a, const struct router *r, const char *method, const char *path)
{
    struct route_match m;
    scoped_buf b = BUF_INIT(4096);
    router_match(r, a, str_from(method), str_from(path), &m);
    if (!m.target)
        return str_is_empty(m.allow) ? STR("404") : str_printf(a, "405 " STR_FMT, STR_ARG(m.allow));
    buf_add_z(&b, m.target);
    for (size_t i = 0; i < m.n_params; i++)
        buf_printf(&b, "%s" STR_FMT "=" STR_FMT, i ? " " : " | ", STR_ARG(m.params[i].name),
                   STR_ARG(m.params[i].value));
    return str_dup(a, buf_str(&b));
}

#define ROUTES(...)                                                                                          \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

static const struct {
    const char *name;
    const char *const *routes;
    const char *method, *path, *want;
} cases[] = {
    {"a literal", ROUTES("GET /a/b"), "GET", "/a/b", "GET /a/b"},
    {"a literal is not a prefix", ROUTES("GET /a"), "GET", "/a/b", "404"},
    {"the root", ROUTES("GET /"), "GET", "/", "GET /"},
    {"a slash at the end of the pattern does not count", ROUTES("GET /a/"), "GET", "/a", "GET /a/"},
    {"a parameter is one segment", ROUTES("GET /u/{id}"), "GET", "/u/7", "GET /u/{id} | id=7"},
    {"a parameter does not take a slash", ROUTES("GET /u/{id}"), "GET", "/u/7/8", "404"},
    {"a parameter is not empty", ROUTES("GET /u/{id}"), "GET", "/u", "404"},
    {"text after a parameter", ROUTES("GET /{id}.json"), "GET", "/7.json", "GET /{id}.json | id=7"},
    {"text after a parameter must be there", ROUTES("GET /{id}.json"), "GET", "/7.xml", "404"},
    {"two parameters in a segment", ROUTES("GET /{a}-{b}"), "GET", "/x-y", "GET /{a}-{b} | a=x b=y"},
    {"a regex is anchored at its start", ROUTES("GET /{n:[0-9]+}"), "GET", "/x7", "404"},
    {"a regex is anchored at its end", ROUTES("GET /{n:[0-9]+}"), "GET", "/7x", "404"},
    {"a regex with braces", ROUTES("GET /{n:[0-9]{3}}/x"), "GET", "/123/x", "GET /{n:[0-9]{3}}/x | n=123"},
    {"a regex with groups of its own", ROUTES("GET /{n:(a)(b)}-{m}"), "GET", "/ab-c",
     "GET /{n:(a)(b)}-{m} | n=ab m=c"},
    {"a regex with a slash in it", ROUTES("GET /{n:[^/]+}/x"), "GET", "/q/x", "GET /{n:[^/]+}/x | n=q"},
    {"an alternative of a regex does not get around the text beside it", ROUTES("GET /{n:a|b}c"), "GET", "/a",
     "404"},
    {"the rest", ROUTES("GET /f/*"), "GET", "/f/a/b", "GET /f/* | *=a/b"},
    {"the rest may be empty", ROUTES("GET /f/*"), "GET", "/f", "GET /f/* | *="},
    {"metacharacters of literals are themselves", ROUTES("GET /{x}.a+b"), "GET", "/q.aab", "404"},
    {"bytes that are not ASCII", ROUTES("GET /{x}\xc3\xa9"), "GET", "/q\xc3\xa9", "GET /{x}\xc3\xa9 | x=q"},

    {"literal before regex, declared last", ROUTES("GET /{n:.+}", "GET /a"), "GET", "/a", "GET /a"},
    {"regex before plain, declared last", ROUTES("GET /{x}", "GET /{n:[0-9]+}"), "GET", "/7",
     "GET /{n:[0-9]+} | n=7"},
    {"mixed before plain, declared last", ROUTES("GET /{x}", "GET /{y}.js"), "GET", "/a.js",
     "GET /{y}.js | y=a"},
    {"plain before the rest, declared last", ROUTES("GET /*", "GET /{x}"), "GET", "/a", "GET /{x} | x=a"},
    {"back from a literal that leads nowhere", ROUTES("GET /a/x", "GET /{p}/y"), "GET", "/a/y",
     "GET /{p}/y | p=a"},
    {"back to the rest, without the parameter tried before", ROUTES("GET /{p}/x", "GET /*"), "GET", "/a/y",
     "GET /* | *=a/y"},
    {"back two levels", ROUTES("GET /a/b/c/d", "GET /a/*", "GET /{x}/b/{y}/e"), "GET", "/a/b/c/e",
     "GET /a/* | *=b/c/e"},
    {"names follow the route, not the node", ROUTES("GET /{a}/x", "GET /{b}/y"), "GET", "/1/y",
     "GET /{b}/y | b=1"},
    {"names differ by method", ROUTES("GET /{a}", "POST /{b}"), "POST", "/1", "POST /{b} | b=1"},

    {"methods are told apart", ROUTES("GET /a", "POST /a"), "POST", "/a", "POST /a"},
    {"methods of patterns are in any case", ROUTES("post /a"), "POST", "/a", "post /a"},
    {"methods of requests are not", ROUTES("GET /a"), "get", "/a", "405 GET, HEAD"},
    {"HEAD is served by GET", ROUTES("GET /a"), "HEAD", "/a", "GET /a"},
    {"HEAD of its own wins", ROUTES("GET /a", "HEAD /a"), "HEAD", "/a", "HEAD /a"},
    {"another method is 405 with what is allowed", ROUTES("GET /a", "PUT /a"), "POST", "/a",
     "405 GET, HEAD, PUT"},
    {"405 gathers all routes of the path, once each", ROUTES("GET /a", "GET /{x}", "PUT /*"), "POST", "/a",
     "405 GET, HEAD, PUT"},
    {"a method elsewhere is found before 405 is said", ROUTES("GET /a", "POST /{x}"), "POST", "/a",
     "POST /{x} | x=a"},
    {"an unknown method of a known path", ROUTES("GET /a"), "BREW", "/a", "405 GET, HEAD"},
    {"any method", ROUTES("ANY /a"), "BREW", "/a", "ANY /a"},
    {"a method of its own before any", ROUTES("ANY /a", "POST /a"), "POST", "/a", "POST /a"},
    {"any method below a path", ROUTES("ANY /api", "ANY /api/*", "GET /api/me"), "GET", "/api/me",
     "GET /api/me"},
    {"and what is beside the handler", ROUTES("ANY /api", "ANY /api/*", "GET /api/me"), "POST", "/api/me",
     "ANY /api/* | *=me"},
    {"many empty segments", ROUTES("GET /a//b"), "GET", "/a/b", "GET /a//b"},
};

static void paths_find_their_routes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct str got = describe(&a, build(&a, cases[i].routes), cases[i].method, cases[i].path);
        if (!str_eq_z(got, cases[i].want))
            fail_msg("%s: %s %s: wanted \"%s\", got \"" STR_FMT "\"", cases[i].name, cases[i].method,
                     cases[i].path, cases[i].want, STR_ARG(got));
    }
}

static const struct {
    const char *name, *before, *method, *pattern, *err;
} refused[] = {
    {"no slash at the start", NULL, "GET", "a", "must start with \"/\""},
    {"an empty path", NULL, "GET", "", "must start with \"/\""},
    {"an unknown method", NULL, "BREW", "/a", "unknown method \"BREW\""},
    {"the same route twice", "/a", "GET", "/a", "declared twice"},
    {"the same route but for a slash", "/a", "GET", "/a/", "declared twice"},
    {"the same shape under another name", "/{a}", "GET", "/{b}", "declared twice"},
    {"the same regex under another name", "/{a:x+}", "GET", "/{b:x+}", "declared twice"},
    {"two parameters of one name", NULL, "GET", "/{a}/{a}", "two parameters are named \"a\""},
    {"a parameter without a name", NULL, "GET", "/{}", "needs a name"},
    {"a brace that is not closed", NULL, "GET", "/{a", "'{' is not closed"},
    {"a star in the middle", NULL, "GET", "/*/a", "'*' must be the last character"},
    {"a star after text", NULL, "GET", "/a*", "'*' must stand alone"},
    {"a bad regex", NULL, "GET", "/{a:[}", "bad regular expression"},
    {"a regex that closes our group", NULL, "GET", "/{a:x)(?<p0>y}", "bad regular expression"},
    {"a regex that could match half a character", NULL, "GET", "/{a:\\C}", "bad regular expression"},
    {"17 parameters", NULL, "GET", "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}",
     "more than 16"},
    {"33 segments", NULL, "GET", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x",
     "more than 32"},
};

static void bad_patterns_are_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        scoped_arena a = {0};
        scoped_err err = {0};
        struct router *r = router_new(&a);
        if (refused[i].before)
            assert_true(router_add(r, STR("GET"), str_from(refused[i].before), r, &err));
        if (router_add(r, str_from(refused[i].method), str_from(refused[i].pattern), r, &err))
            fail_msg("%s: \"%s\" was taken", refused[i].name, refused[i].pattern);
        if (!strstr(err_msg(&err), refused[i].err))
            fail_msg("%s: wanted \"%s\", got \"%s\"", refused[i].name, refused[i].err, err_msg(&err));
    }
}

/* A regex that needs exponential time is cut off. */
static void a_costly_regex_does_not_match(void **state)
{
    scoped_arena a = {0};
    struct router *r = build(&a, ROUTES("GET /{x:(a+)+b}"));
    struct str got = describe(&a, r, "GET", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac");
    assert_true(str_eq_z(got, "404"));
}

static void long_paths_are_no_danger(void **state)
{
    scoped_arena a = {0};
    scoped_buf path = BUF_INIT(1 << 20);
    for (int i = 0; i < 20000; i++)
        buf_add_z(&path, "/a");
    struct router *r = build(&a, ROUTES("GET /{a}/{b}", "GET /a/*"));
    struct route_match m;
    router_match(r, &a, STR("GET"), buf_str(&path), &m);
    assert_int_equal(m.n_params, 1);
    assert_int_equal(m.params[0].value.len, path.len - 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_routes),
        cmocka_unit_test(bad_patterns_are_refused),
        cmocka_unit_test(a_costly_regex_does_not_match),
        cmocka_unit_test(long_paths_are_no_danger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
