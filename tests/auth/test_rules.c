/* tests/auth/test_rules.c: settings of apps, the sign-in domain, configuration, stripped cookies, redirects.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_test.h"

static struct auth with_default(const char *type)
{
    return (struct auth){.config = {.default_type = str_from(type)}};
}

static void test_resolve(void **state)
{
    static const struct { const char *name, *type, *otherwise, *wanted, *problem; } cases[] = {
        {"a kind by its name", "system", "none", "system", ""},
        {"none", "none", "system", "none", ""},
        {"empty is the default", "", "none", "none", ""},
        {"default is the default", "default", "none", "none", ""},
        {"no default is system", "default", "", "system", ""},
        {"a default called default is system", "", "default", "system", ""},
        {"the legacy prefix is ignored", "rbac:system", "none", "system", ""},
        {"the legacy prefix of the default too", "rbac:default", "rbac:none", "none", ""},
        {"another provider", "github_prod", "none", "github_prod", "Unsupported authentication provider: github_prod"},
        {"a forward modifier is not served", "system+forward_x", "none", "system",
         "auth modifier forward_x: forward auth is not available in this version"},
        {"the default's modifier counts", "", "system+forward_y", "system",
         "auth modifier forward_y: forward auth is not available in this version"},
        {"the app's modifier stays with the default", "default+forward_x", "none+forward_y", "none",
         "auth modifier forward_x: forward auth is not available in this version"},
        {"letter case matters", "System", "none", "System", "Unsupported authentication provider: System"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct auth auth = with_default(cases[i].otherwise);
        struct auth_rule rule = auth_resolve(&auth, &a, str_from(cases[i].type));
        if (!str_eq_z(rule.type, cases[i].wanted) || !str_eq_z(rule.problem, cases[i].problem) ||
            (rule.kind == NULL) != (cases[i].problem[0] != '\0'))
            fail_msg("%s: got \"%.*s\", problem \"%.*s\"", cases[i].name, STR_ARG(rule.type), STR_ARG(rule.problem));
    }
}

static void test_validate(void **state)
{
    static const struct { const char *type, *problem; } cases[] = {
        {"", NULL}, {"default", NULL}, {"none", NULL}, {"system", NULL}, {"rbac:none", NULL},
        {"github", "invalid authentication type github"},
        {"cert_x", "invalid authentication type cert_x"},
        {"system+forward_x", "not available in this version"},
        {"system+other", "invalid auth modifier other"},
        {"system+forward_x+forward_y", "invalid auth modifier"},
        {"system+", "invalid auth modifier"},
    };
    struct auth auth = with_default("none");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_err err = {0};
        bool ok = auth_type_validate(&auth, str_from(cases[i].type), &err);
        if (ok != (cases[i].problem == NULL) || (!ok && !strstr(err_msg(&err), cases[i].problem)))
            fail_msg("\"%s\": %s", cases[i].type, ok ? "accepted" : err_msg(&err));
    }
}

static void test_auth_open(void **state)
{
    static const struct { const char *name; struct auth_config config; const char *domain, *problem; } cases[] = {
        {"a prefix and the default domain", {.callback_domain = STR_INIT("auth."), .default_domain = STR_INIT("example.com")},
         "auth.example.com", NULL},
        {"a whole domain", {.callback_domain = STR_INIT("Login.Example.com"), .default_domain = STR_INIT("x.y")},
         "login.example.com", NULL},
        {"a prefix without a default domain", {.callback_domain = STR_INIT("auth.")}, "", NULL},
        {"blank", {.callback_domain = STR_INIT("  "), .default_domain = STR_INIT("x.y")}, "", NULL},
        {"an admin without a hash", {.admin_user = STR_INIT("admin")}, NULL, "openrun password"},
        {"a hash of another kind", {.admin_user = STR_INIT("admin"), .admin_password_bcrypt = STR_INIT("$6$abc")}, NULL,
         "not a bcrypt hash"},
        {"a negative age", {.session_max_age_secs = -1}, NULL, "session_max_age"},
    };
    scoped_err err = {0};
    struct store *store = test_open("rules");
    struct jobs *jobs = jobs_open("test", 2);
    struct http_loops *loops = http_loops_open(2, &err);
    struct auth *opened[ARRAY_LEN(cases)] = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct auth *auth = NULL;
        if (cases[i].problem) {
            MUST_FAIL(auth_open(&cases[i].config, store, loops, jobs, &auth, &err), &err, ERR_INVALID, cases[i].problem);
            continue;
        }
        MUST(auth_open(&cases[i].config, store, loops, jobs, &auth, &err), &err);
        opened[i] = auth;
        if (!str_eq_z(auth_domain(auth), cases[i].domain))
            fail_msg("%s: got \"%.*s\"", cases[i].name, STR_ARG(auth_domain(auth)));
    }
    jobs_close(jobs);
    http_loops_close(loops);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        auth_close(opened[i]);
    auth_close(NULL);
    store_close(store);
}

static void test_strip(void **state)
{
    static const struct { const char *in, *out; } cases[] = {
        {"", ""},
        {"a=1; b=2", "a=1; b=2"},
        {"a=1;b=2", "a=1;b=2"},
        {"system_openrun_session=x", ""},
        {"a=1; system_openrun_session=x; b=2", "a=1; b=2"},
        {"github_x_openrun_session=x; b=\"q\"", "b=\"q\""},
        {"saml_x_openrun_saml_session=x; c=3", "c=3"},
        {"_gothic_session=x; c=3", "c=3"},
        {"my_gothic_session=x", "my_gothic_session=x"},
        {"x_openrun_session2=1", "x_openrun_session2=1"},
        {"a=_openrun_session", "a=_openrun_session"},
        {" system_openrun_session = x ;a=1", "a=1"},
        {"system_openrun_session=x; system_openrun_session=y", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        scoped_arena a = {0};
        struct http_req req = {.arena = &a};
        struct str in = str_from(cases[i].in), out = auth_strip_cookies(&req, in);
        if (!str_eq_z(out, cases[i].out))
            fail_msg("\"%s\": got \"%.*s\"", cases[i].in, STR_ARG(out));
        if (str_eq(in, out))
            assert_ptr_equal(out.ptr, in.ptr);
    }
    scoped_arena a = {0};
    struct http_req req = {.arena = &a};
    auth_strip_cookies(&req, STR("theme=dark; sid=0123456789"));
    assert_int_equal(a.used, 0);
}

static void test_redirect(void **state)
{
    static const struct { const char *in, *out; } cases[] = {
        {"/", "/"}, {"/a?b=c#d", "/a?b=c#d"}, {"", "/"}, {"a", "/"}, {"//evil.example", "/"}, {"/\\evil.example", "/"},
        {"\\\\evil.example", "/"}, {"https://evil.example/", "/"}, {"javascript:alert(1)", "/"}, {"/a\r\nX: y", "/"},
        {"/a\\b", "/"}, {"/\t/evil.example", "/"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_str(origin_local_redirect(str_from(cases[i].in)), str_from(cases[i].out));
}

static void test_local(void **state)
{
    static const struct { const char *host; bool is_local; } cases[] = {
        {"localhost", true}, {"127.0.0.1", true}, {"::1", true}, {"auth.localhost", true}, {"a.b.localhost", true},
        {"notlocalhost", false}, {"localhost.example.com", false}, {".localhost", false}, {"10.0.0.1", false}, {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (origin_is_local(str_from(cases[i].host)) != cases[i].is_local)
            fail_msg("%s", cases[i].host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve),  cmocka_unit_test(test_validate), cmocka_unit_test(test_auth_open),
        cmocka_unit_test(test_strip),    cmocka_unit_test(test_redirect), cmocka_unit_test(test_local),
    };
    return cmocka_run_group_tests(tests, test_dir_make, test_dir_remove);
}
