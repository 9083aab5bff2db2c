/* tests/auth/test_basic.c: Basic credentials, the cache, back-off, the admin check, the cross-origin rule.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_test.h"

static uint64_t runs(struct rig *rig)
{
    uint64_t n;
    unsigned most;
    verify_counts(rig->auth, &n, &most);
    return n;
}

static void test_kinds(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer a = get(&rig, APP_HOST, "/none", "");
    assert_int_equal(a.status, 200);
    assert_str(a.body, STR("user=anonymous basic=0 cookie="));
    a = get(&rig, APP_HOST, "/none", basic_line(&rig, "root", "secret"));
    assert_str(a.body, STR("user=anonymous basic=0 cookie="));
    a = get(&rig, APP_HOST, "/bad", "");
    assert_int_equal(a.status, 500);
    assert_str(a.body, STR("Unsupported authentication provider: github\n"));
    a = get(&rig, APP_HOST, "/", "");
    assert_int_equal(a.status, 401);
    assert_str(a.body, STR("Authentication failed\n"));
    assert_str(header_of(&rig, &a, "WWW-Authenticate"), STR("Basic realm=\"openrun\""));
    rig_stop(&rig);
    rig.config.is_auth_required = true;
    rig_start(&rig);
    a = get(&rig, APP_HOST, "/none", "");
    assert_int_equal(a.status, 401);
    assert_str(a.body, STR("Authentication required\n"));
    rig_close(&rig);
}

static void test_credentials(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer a = get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret"));
    assert_int_equal(a.status, 200);
    assert_str(a.body, STR("user=admin basic=1 cookie="));
    assert_int_equal(runs(&rig), 1);
    /* Both loops know it by now: connections go to them in turn. */
    for (int i = 0; i < 6; i++)
        assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 200);
    assert_int_equal(runs(&rig), 1);

    static const struct { const char *name, *line; uint64_t more_runs; } bad[] = {
        {"a wrong password", "Authorization: Basic cm9vdDp3cm9uZw==\r\n", 1},
        {"an unknown user costs the same", "Authorization: Basic bm9ib2R5OnNlY3JldA==\r\n", 1},
        {"no colon", "Authorization: Basic cm9vdA==\r\n", 0},
        {"no base64", "Authorization: Basic ???\r\n", 0},
        {"nothing", "Authorization: Basic \r\n", 0},
        {"another scheme", "Authorization: Bearer abc\r\n", 0},
        {"another spelling of the scheme", "Authorization: basic cm9vdDpzZWNyZXQ=\r\n", 0},
        {"an empty password", "Authorization: Basic cm9vdDo=\r\n", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t before = runs(&rig);
        a = get(&rig, APP_HOST, "/", bad[i].line);
        if (a.status != 401 || runs(&rig) - before != bad[i].more_runs)
            fail_msg("%s: %d after %d runs", bad[i].name, a.status, (int)(runs(&rig) - before));
    }
    char *huge = str_z(&rig.arena, str_printf(&rig.arena, "Authorization: Basic %05000d\r\n", 0));
    assert_int_equal(get(&rig, APP_HOST, "/", huge).status, 401);
    char *long_password = basic_line(&rig, "root", "0123456789012345678901234567890123456789012345678901234567890123456789123");
    assert_int_equal(get(&rig, APP_HOST, "/", long_password).status, 401);
    assert_int_equal(count_audits(&rig, STR("auth_failure"), STR("(remote 127.0.0.1)")), 2); /* admin, and nobody */
    rig_close(&rig);
}

static void test_password_change(void **state)
{
    struct rig rig;
    scoped_err err = {0};
    rig_open(&rig, 4);
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 200);
    rig_stop(&rig);
    MUST(bcrypt_hash(&rig.arena, STR("changed"), 4, &rig.config.admin_password_bcrypt, &err), &err);
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 401);
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "changed")).status, 200);
    rig_close(&rig);
}

static void test_no_admin(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    rig_stop(&rig);
    rig.config.admin_user = (struct str){0};
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 401);
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "", "secret")).status, 401);
    rig_close(&rig);
}

static void test_backoff(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer a = {0};
    char *wrong[7];
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        wrong[i] = basic_line(&rig, "root", (char[]){'w', (char)('0' + i), 0});
    for (int i = 0; i < 5; i++)
        assert_int_equal(get(&rig, APP_HOST, "/", wrong[i]).status, 401);
    a = get(&rig, APP_HOST, "/", wrong[5]);
    assert_int_equal(a.status, 429);
    int64_t retry = 0;
    assert_true(str_to_i64(header_of(&rig, &a, "Retry-After"), &retry));
    assert_in_range(retry, 1, 15);
    /* The right password from there waits too; from elsewhere it does not. */
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 429);
    char *elsewhere = str_z(&rig.arena, str_cat(&rig.arena, str_from(basic_line(&rig, "root", "secret")),
                                               STR("X-Test-Ip: 203.0.113.9\r\n")));
    assert_int_equal(get(&rig, APP_HOST, "/", elsewhere).status, 200);
    /* What is known to be right is never held up. */
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 200);
    assert_int_equal(runs(&rig), 6);
    rig_close(&rig);
}

/* Addresses of one IPv6 customer count as one. */
static void test_backoff_v6(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    for (int i = 0; i < 6; i++) {
        struct str line = str_printf(&rig.arena, "%sX-Test-Ip: 2001:db8::%d\r\n",
                                     basic_line(&rig, "root", (char[]){'w', (char)('0' + i), 0}), i + 1);
        assert_int_equal(get(&rig, APP_HOST, "/", str_z(&rig.arena, line)).status, i < 5 ? 401 : 429);
    }
    rig_close(&rig);
}

static void test_address_backoff(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    int status = 0, n = 0;
    while (status != 429 && n < 100) {
        char user[16];
        snprintf(user, sizeof user, "user%d", n++);
        status = get(&rig, APP_HOST, "/", basic_line(&rig, user, "x")).status;
    }
    assert_int_equal(n, 31);
    rig_close(&rig);
}

static void send_basic(struct rig *rig, struct web *w, const char *user, const char *password)
{
    char text[512];
    *w = web_open(rig->port);
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: " APP_HOST "\r\n%s\r\n", basic_line(rig, user, password));
    web_say(w, text);
}

static void test_at_most_two_at_once(void **state)
{
    struct rig rig;
    rig_open(&rig, 8);
    struct web w[12];
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        char user[16];
        snprintf(user, sizeof user, "user%zu", i);
        send_basic(&rig, &w[i], user, "x");
    }
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct web_resp r = {0};
        web_read(&w[i], &r, false);
        assert_int_equal(r.status, 401);
        web_free(&r);
        web_close(&w[i]);
    }
    uint64_t n;
    unsigned most;
    verify_counts(rig.auth, &n, &most);
    assert_int_equal(n, 12);
    assert_in_range(most, 1, AUTH_BCRYPT_MAX);
    rig_close(&rig);
}

/* Clients that come with the same header at once wait for one hash. */
static void test_same_header_at_once(void **state)
{
    struct rig rig;
    rig_open(&rig, 10);
    struct web w[24];
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        send_basic(&rig, &w[i], "root", "secret");
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        struct web_resp r = {0};
        web_read(&w[i], &r, false);
        assert_int_equal(r.status, 200);
        web_free(&r);
        web_close(&w[i]);
    }
    assert_in_range(runs(&rig), 1, 3);
    rig_close(&rig);
}

static void test_client_leaves(void **state)
{
    struct rig rig;
    rig_open(&rig, 8);
    for (int i = 0; i < 12; i++) {
        struct web w;
        char user[16];
        snprintf(user, sizeof user, "user%d", i);
        send_basic(&rig, &w, i % 2 ? user : "root", i % 2 ? "x" : "secret");
        web_close(&w);
    }
    assert_int_equal(get(&rig, APP_HOST, "/", basic_line(&rig, "root", "secret")).status, 200);
    /* Some are still waiting when the server ends. */
    rig_close(&rig);
}

static void test_admin(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer a = get(&rig, APP_HOST, "/_openrun/api", "");
    assert_int_equal(a.status, 401);
    assert_str(a.body, STR("Unauthorized\n"));
    assert_str(header_of(&rig, &a, "WWW-Authenticate"), STR("Basic realm=\"openrun\""));
    assert_int_equal(get(&rig, APP_HOST, "/_openrun/api", NAVIGATE).status, 401);
    assert_int_equal(get(&rig, APP_HOST, "/_openrun/api", basic_line(&rig, "root", "wrong")).status, 401);
    a = get(&rig, APP_HOST, "/_openrun/api", basic_line(&rig, "root", "secret"));
    assert_str(a.body, STR("user=admin basic=1 cookie="));
    char *cookie = sign_in(&rig, "/");
    assert_int_equal(get(&rig, APP_HOST, "/_openrun/api", cookie).status, 401);
    rig_close(&rig);
}

static void test_cross_origin(void **state)
{
    static const struct { const char *name, *headers; int status; } cases[] = {
        {"a program sends neither header", "", 200},
        {"same origin", "Sec-Fetch-Site: same-origin\r\n", 200},
        {"typed by the user", "Sec-Fetch-Site: none\r\n", 200},
        {"same site is another origin", "Sec-Fetch-Site: same-site\r\n", 403},
        {"cross site", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"an unknown word", "Sec-Fetch-Site: x\r\n", 403},
        {"Sec-Fetch-Site decides before Origin", "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example\r\n", 200},
        {"the origin is the host", "Origin: http://app.localhost:PORT\r\n", 200},
        {"letter case of the origin", "Origin: http://App.Localhost:PORT\r\n", 200},
        {"another port", "Origin: http://app.localhost:1\r\n", 403},
        {"no port", "Origin: http://app.localhost\r\n", 403},
        {"another host", "Origin: http://evil.example:PORT\r\n", 403},
        {"the host as user info", "Origin: http://app.localhost@evil.example\r\n", 403},
        {"an opaque origin", "Origin: null\r\n", 403},
        {"nonsense", "Origin: ://\r\n", 403},
        {"an empty origin is none", "Origin: \r\n", 200},
    };
    struct rig rig;
    rig_open(&rig, 4);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str headers = str_from(cases[i].headers);
        size_t at = str_find(headers, STR("PORT"));
        if (at != STR_NPOS)
            headers = str_printf(&rig.arena, STR_FMT "%d\r\n", (int)at, headers.ptr, rig.port);
        struct answer a = ask(&rig, "POST", APP_HOST, "/none", str_z(&rig.arena, headers), "");
        if (a.status != cases[i].status)
            fail_msg("%s: got %d", cases[i].name, a.status);
        if (a.status == 403)
            assert_str(a.body, STR("Cross origin check failed - CSRF protection\n"));
        assert_int_equal(get(&rig, APP_HOST, "/none", str_z(&rig.arena, headers)).status, 200);
    }
    rig_close(&rig);
}

#define T(test) cmocka_unit_test_setup_teardown(test, test_dir_make, test_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_kinds), T(test_credentials), T(test_password_change), T(test_no_admin), T(test_backoff), T(test_backoff_v6),
        T(test_address_backoff), T(test_at_most_two_at_once), T(test_same_header_at_once), T(test_client_leaves),
        T(test_admin), T(test_cross_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
