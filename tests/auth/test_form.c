/* tests/auth/test_form.c: signing in and out with a browser, and sessions.
 * SPDX-License-Identifier: Apache-2.0 */
#include "auth_test.h"

static void test_whole_flow(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer start = get(&rig, APP_HOST, "/page?a=1&b=%20x", NAVIGATE);
    assert_int_equal(start.status, 302);
    struct str set = header_of(&rig, &start, "Set-Cookie"), url = header_of(&rig, &start, "Location");
    assert_has(set, "system_openrun_session=");
    assert_has(set, "; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Lax");
    assert_true(str_starts(url, str_printf(&rig.arena, "http://" AUTH_HOST ":%d/_openrun/auth/login?state=", rig.port)));
    assert_int_equal(count_rows(&rig, STR("form_login:")), 1);

    struct answer form = get(&rig, AUTH_HOST, target_of(&rig, url), NAVIGATE);
    assert_int_equal(form.status, 200);
    assert_has(form.body, "<title>Sign in - OpenRun</title>");
    assert_has(form.body, "This app uses the OpenRun system auth.");
    assert_has(form.body, "autocomplete=\"section-openrun-system username\"");
    assert_has(form.body, "autocomplete=\"section-openrun-system current-password\"");
    assert_has(form.body, "action=\"/_openrun/auth/login/system\"");
    assert_str(header_of(&rig, &form, "Content-Security-Policy"),
               STR("default-src 'none'; style-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'"));
    assert_str(header_of(&rig, &form, "X-Frame-Options"), STR("DENY"));
    assert_str(header_of(&rig, &form, "Referrer-Policy"), STR("no-referrer"));
    assert_str(header_of(&rig, &form, "Cache-Control"), STR("no-store"));

    struct answer wrong = post_form(&rig, url, "ro%3C%22ot", "wrong", "Sec-Fetch-Site: same-origin\r\n");
    assert_int_equal(wrong.status, 200);
    assert_has(wrong.body, "Invalid username or password");
    assert_has(wrong.body, "value=\"ro&lt;&#34;ot\"");
    assert_has(wrong.body, "name=\"state\" value=\"Zm9ybV9sb2dpbj");

    struct answer posted = post_form(&rig, url, "root", "secret", "Sec-Fetch-Site: same-origin\r\n");
    assert_int_equal(posted.status, 302);
    struct str back = header_of(&rig, &posted, "Location");
    assert_true(str_starts(back, str_printf(&rig.arena, "http://" APP_HOST ":%d/_openrun/auth/login/complete?state=", rig.port)));
    assert_int_equal(count_rows(&rig, STR("form_login:")), 1);

    struct answer end = get(&rig, APP_HOST, target_of(&rig, back), cookie_of(&rig, &start));
    assert_int_equal(end.status, 302);
    assert_str(header_of(&rig, &end, "Location"), str_printf(&rig.arena, "http://" APP_HOST ":%d/page?a=1&b=%%20x", rig.port));
    assert_has(header_of(&rig, &end, "Set-Cookie"), "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax");
    assert_int_equal(count_rows(&rig, STR("form_login:")), 0);
    assert_int_equal(count_rows(&rig, STR("http_session:system_openrun_session:")), 1);

    /* On both loops, and the app does not see the cookie. */
    char *cookie = cookie_of(&rig, &end);
    struct str with_others = str_printf(&rig.arena, "Cookie: theme=dark; %s", cookie + strlen("Cookie: "));
    for (int i = 0; i < 4; i++) {
        struct answer a = get(&rig, APP_HOST, "/page", str_z(&rig.arena, with_others));
        assert_int_equal(a.status, 200);
        assert_str(a.body, STR("user=admin basic=0 cookie=theme=dark"));
    }
    /* A Bearer token of the app's own is no concern of ours. */
    struct str bearer = str_printf(&rig.arena, "%sAuthorization: Bearer x\r\n", cookie);
    assert_int_equal(get(&rig, APP_HOST, "/page", str_z(&rig.arena, bearer)).status, 200);
    assert_int_equal(count_audits(&rig, STR("login"), (struct str){0}), 1);
    assert_int_equal(count_audits(&rig, STR("auth_failure"), STR("wrong user name or password (remote 127.0.0.1)")), 1);
    rig_close(&rig);
}

static void test_used_and_foreign_states(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    const char *expired = "The sign-in request has expired.";
    struct answer start = get(&rig, APP_HOST, "/", NAVIGATE), other = get(&rig, APP_HOST, "/", NAVIGATE);
    struct str url = header_of(&rig, &start, "Location");
    char *nonce = cookie_of(&rig, &start), *other_nonce = cookie_of(&rig, &other);
    struct answer posted = post_form(&rig, url, "root", "secret", "");
    char *back = target_of(&rig, header_of(&rig, &posted, "Location"));

    struct { const char *name; struct answer got; } cases[] = {
        {"the form of a state that was used", get(&rig, AUTH_HOST, target_of(&rig, url), "")},
        {"a post to a state that was used", post_form(&rig, url, "root", "secret", "")},
        {"the form of a state that is through the password",
         get(&rig, AUTH_HOST, str_z(&rig.arena, str_printf(&rig.arena, "/_openrun/auth/login%s", strchr(back, '?'))), "")},
        {"no state", get(&rig, AUTH_HOST, "/_openrun/auth/login", "")},
        {"nonsense for a state", get(&rig, AUTH_HOST, "/_openrun/auth/login?state=%00%ff", "")},
        {"a state that names another row", /* constant:cookie_session_secret */
         get(&rig, AUTH_HOST, "/_openrun/auth/login?state=Y29uc3RhbnQ6Y29va2llX3Nlc3Npb25fc2VjcmV0", "")},
        {"the end without a cookie", get(&rig, APP_HOST, back, "")},
        {"the end in another browser", get(&rig, APP_HOST, back, other_nonce)},
        {"the end of a state without a password",
         get(&rig, APP_HOST, str_z(&rig.arena, str_printf(&rig.arena, "/_openrun/auth/login/complete%s",
                                                          strchr(target_of(&rig, url), '?'))), nonce)},
        {"the end on another host", get(&rig, "other.localhost", back, nonce)},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (cases[i].got.status != 200 || str_find(cases[i].got.body, str_from(expired)) == STR_NPOS ||
            str_find(cases[i].got.body, STR("<form")) != STR_NPOS ||
            str_find(cases[i].got.head, STR("Set-Cookie")) != STR_NPOS)
            fail_msg("%s: %d %.*s", cases[i].name, cases[i].got.status, STR_ARG(cases[i].got.body));
    assert_int_equal(count_rows(&rig, STR("http_session:")), 0);
    /* None of that has used it up. */
    assert_int_equal(get(&rig, APP_HOST, back, nonce).status, 302);
    struct answer again = get(&rig, APP_HOST, back, nonce);
    assert_int_equal(again.status, 200);
    assert_has(again.body, "The sign-in request has expired.");
    assert_int_equal(count_rows(&rig, STR("http_session:")), 1);
    rig_close(&rig);
}

static void test_who_gets_the_form(void **state)
{
    static const struct { const char *name, *method, *headers; int status; } cases[] = {
        {"a browser", "GET", NAVIGATE, 302},
        {"a browser's HEAD", "HEAD", NAVIGATE, 302},
        {"a program", "GET", "Accept: */*\r\n", 401},
        {"html with weight 0", "GET", "Accept: text/html;q=0, */*\r\n", 401},
        {"a browser's POST", "POST", NAVIGATE, 401},
        {"HTMX", "GET", "HX-Request: true\r\n", 200},
        {"an HTMX post from a page here", "POST", "HX-Request: true\r\nHX-Current-URL: http://app.localhost:PORT/p\r\n", 200},
        {"an HTMX post from elsewhere", "POST", "HX-Request: true\r\nHX-Current-URL: http://evil.example/p\r\n", 401},
        {"an HTMX post from a script URL", "POST", "HX-Request: true\r\nHX-Current-URL: javascript:alert(1)\r\n", 401},
        {"an HTMX post without its page", "POST", "HX-Request: true\r\n", 401},
        {"a wrong Basic header", "GET", NAVIGATE "Authorization: Basic cm9vdDp3cm9uZw==\r\n", 401},
        {"a forged cookie", "GET", NAVIGATE "Cookie: system_openrun_session=AAAA\r\n", 302},
    };
    struct rig rig;
    rig_open(&rig, 4);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str headers = str_from(cases[i].headers);
        size_t at = str_find(headers, STR("PORT"));
        if (at != STR_NPOS)
            headers = str_printf(&rig.arena, STR_FMT "%d" STR_FMT, (int)at, headers.ptr, rig.port,
                                 STR_ARG(str_from_off(headers, at + 4)));
        struct answer a = ask(&rig, cases[i].method, APP_HOST, "/x", str_z(&rig.arena, headers), "");
        if (a.status != cases[i].status)
            fail_msg("%s: got %d", cases[i].name, a.status);
        if (a.status == 200)
            assert_has(header_of(&rig, &a, "HX-Redirect"), "/_openrun/auth/login?state=");
    }
    /* A cookie for https only does not come back over http from another machine. */
    assert_int_equal(get(&rig, "app.example.com", "/", NAVIGATE).status, 401);
    rig_stop(&rig);
    rig.config.is_session_https_only = false;
    rig_start(&rig);
    struct answer a = get(&rig, "app.example.com", "/", NAVIGATE);
    assert_int_equal(a.status, 302);
    assert_true(str_find(header_of(&rig, &a, "Set-Cookie"), STR("Secure")) == STR_NPOS);
    rig_stop(&rig);
    rig.config.is_login_form_disabled = true;
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", NAVIGATE).status, 401);
    assert_int_equal(get(&rig, AUTH_HOST, "/_openrun/auth/login", "").status, 404);
    rig_close(&rig);
}

static void test_htmx_lands_on_its_page(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct str headers = str_printf(&rig.arena, "HX-Request: true\r\nHX-Current-URL: http://" APP_HOST ":%d/list?p=2\r\n", rig.port);
    struct answer start = ask(&rig, "POST", APP_HOST, "/row/1", str_z(&rig.arena, headers), "");
    struct answer posted = post_form(&rig, header_of(&rig, &start, "HX-Redirect"), "root", "secret", "");
    struct answer end = get(&rig, APP_HOST, target_of(&rig, header_of(&rig, &posted, "Location")), cookie_of(&rig, &start));
    assert_str(header_of(&rig, &end, "Location"), str_printf(&rig.arena, "http://" APP_HOST ":%d/list?p=2", rig.port));
    rig_close(&rig);
}

static void test_routes(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    static const struct { const char *method, *host, *target, *headers; int status; } cases[] = {
        {"GET", APP_HOST, "/_openrun/auth/login?state=x", "", 404},
        {"POST", APP_HOST, "/_openrun/auth/login/system", "", 404},
        {"PUT", AUTH_HOST, "/_openrun/auth/login", "", 405},
        {"GET", AUTH_HOST, "/_openrun/auth/login/system", "", 405},
        {"POST", AUTH_HOST, "/_openrun/auth/login/none", "", 404},
        {"POST", AUTH_HOST, "/_openrun/auth/login/github", "", 404},
        {"POST", AUTH_HOST, "/_openrun/auth/login/system", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"POST", AUTH_HOST, "/_openrun/auth/login/system", "Origin: http://evil.example\r\n", 403},
        {"HEAD", APP_HOST, "/_openrun/auth/login/complete?state=x", "", 405},
        {"GET", APP_HOST, "/_openrun/auth/login/missing.css", "", 404},
        {"GET", APP_HOST, "/_openrun/auth/login/layout.html", "", 404},
        {"DELETE", APP_HOST, "/_openrun/logout", "", 405},
        {"POST", APP_HOST, "/_openrun/logout", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"GET", APP_HOST, "/_openrun/logout/system", "", 405},
        {"POST", APP_HOST, "/_openrun/logout/system", "Sec-Fetch-Site: same-site\r\n", 403},
        {"POST", APP_HOST, "/_openrun/logout/a%0d%0ab", "", 404},
        {"GET", APP_HOST, "/_openrun/auth/github/login", "", 404},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct answer a = ask(&rig, cases[i].method, cases[i].host, cases[i].target, cases[i].headers, "");
        if (a.status != cases[i].status)
            fail_msg("%s %s on %s: got %d", cases[i].method, cases[i].target, cases[i].host, a.status);
    }
    char *big = str_z(&rig.arena, str_printf(&rig.arena, "state=%0*d", AUTH_FORM_MAX, 0));
    assert_int_equal(ask(&rig, "POST", AUTH_HOST, "/_openrun/auth/login/system", "", big).status, 413);
    rig_close(&rig);
}

static void test_style(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer page = get(&rig, APP_HOST, "/_openrun/logout", "");
    size_t at = str_find(page.body, STR("/_openrun/auth/login/style.css?v="));
    assert_true(at != STR_NPOS);
    struct str url = str_from_off(page.body, at);
    char *target = str_z(&rig.arena, str_slice(url, 0, str_chr(url, '"')));
    struct answer css = get(&rig, AUTH_HOST, target, "");
    assert_int_equal(css.status, 200);
    assert_str(header_of(&rig, &css, "Content-Type"), STR("text/css; charset=utf-8"));
    assert_str(header_of(&rig, &css, "Cache-Control"), STR("public, max-age=31536000, immutable"));
    struct str etag = header_of(&rig, &css, "ETag");
    assert_has(str_from(target), "?v=");
    assert_true(str_find(etag, str_from(strstr(target, "?v=") + 3)) != STR_NPOS);
    struct str match = str_printf(&rig.arena, "If-None-Match: \"x\", W/" STR_FMT "\r\n", STR_ARG(etag));
    assert_int_equal(get(&rig, AUTH_HOST, target, str_z(&rig.arena, match)).status, 304);
    rig_close(&rig);
}

static void test_restart(void **state)
{
    struct rig rig;
    scoped_err err = {0};
    rig_open(&rig, 4);
    char *cookie = sign_in(&rig, "/");
    rig_stop(&rig);
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);

    /* What the session stands on is looked at at each request. */
    struct auth_config before = rig.config;
    rig_stop(&rig);
    rig.config.admin_user = STR("other");
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 401);
    rig_stop(&rig);
    rig.config = before;
    MUST(bcrypt_hash(&rig.arena, STR("secret"), 4, &rig.config.admin_password_bcrypt, &err), &err);
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 401);
    rig_stop(&rig);
    rig.config = before;
    rig.config.is_login_form_disabled = true;
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 401);
    rig_stop(&rig);
    rig.config = before;
    rig_start(&rig);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);
    rig_close(&rig);
}

static void put_session(struct rig *rig, const unsigned char id[AUTH_ID_LEN], int64_t expires)
{
    scoped_err err = {0};
    scoped_arena a = {0};
    struct session_fact f = {.kind = auth_kind_find(STR("system")), .user = STR("root"), .expires = expires};
    memcpy(f.id, id, AUTH_ID_LEN);
    memcpy(f.print, rig->auth->admin_print, AUTH_PRINT_LEN);
    scoped_store_tx *tx = store_begin(rig->store, &err);
    MUST(tx && session_row_put(tx, &a, &f, &err) && store_commit(&tx, &err), &err);
}

static char *session_cookie(struct rig *rig, const unsigned char id[AUTH_ID_LEN])
{
    struct str name = STR("system_openrun_session");
    struct str value = cookie_seal(&rig->arena, &rig->auth->cookie_key, name, COOKIE_SESSION, id);
    return str_z(&rig->arena, str_printf(&rig->arena, "Cookie: " STR_FMT "=" STR_FMT "\r\n", STR_ARG(name), STR_ARG(value)));
}

static void test_session_of_another_process(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    unsigned char id[AUTH_ID_LEN] = {1}, gone[AUTH_ID_LEN] = {2}, brief[AUTH_ID_LEN] = {3};
    put_session(&rig, id, 0);
    put_session(&rig, brief, wall_ns() + 300000000);
    char *cookie = session_cookie(&rig, id), *brief_cookie = session_cookie(&rig, brief);
    for (int i = 0; i < 4; i++)
        assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);
    for (int i = 0; i < 4; i++)
        assert_int_equal(get(&rig, APP_HOST, "/", session_cookie(&rig, gone)).status, 401);
    int64_t until = clock_ms() + 10000;
    while (get(&rig, APP_HOST, "/", brief_cookie).status == 200)
        if (clock_ms() > until)
            fail_msg("the session does not end");
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);
    /* Of several cookies of that name one that is good is enough. */
    struct str two = str_printf(&rig.arena, "Cookie: system_openrun_session=x; %s", cookie + strlen("Cookie: "));
    assert_int_equal(get(&rig, APP_HOST, "/", str_z(&rig.arena, two)).status, 200);
    assert_has(get(&rig, APP_HOST, "/_openrun/logout", cookie).body, "Signed in as system:admin.");
    rig_close(&rig);
}

static void test_logout(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    char *cookie = sign_in(&rig, "/");
    struct answer page = get(&rig, APP_HOST, "/_openrun/logout?redirect=/a%26b&done=1", cookie);
    assert_has(page.body, "<title>Sign out - OpenRun</title>");
    assert_has(page.body, "Signed in as system:admin.");
    assert_has(page.body, "name=\"redirect\" value=\"/a&amp;b\"");
    assert_has(get(&rig, APP_HOST, "/_openrun/logout?redirect=//evil.example", cookie).body, "name=\"redirect\" value=\"/\"");
    assert_has(get(&rig, APP_HOST, "/_openrun/logout", "").body, "You are not signed in.");
    assert_has(get(&rig, APP_HOST, "/_openrun/logout?done=1", "").body, "You have been signed out.");

    struct answer out = ask(&rig, "POST", APP_HOST, "/_openrun/logout", cookie, "redirect=/a%26b");
    assert_int_equal(out.status, 303);
    assert_str(header_of(&rig, &out, "Location"), STR("/_openrun/logout?done=1&redirect=%2Fa%26b"));
    assert_str(header_of(&rig, &out, "Set-Cookie"),
               STR("system_openrun_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"));
    assert_int_equal(count_rows(&rig, STR("http_session:")), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 401);
    assert_int_equal(count_audits(&rig, STR("logout"), (struct str){0}), 1);

    cookie = sign_in(&rig, "/");
    out = ask(&rig, "POST", APP_HOST, "/_openrun/logout/github", cookie, "");
    assert_int_equal(out.status, 303);
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 200);
    out = ask(&rig, "POST", APP_HOST, "/_openrun/logout/system", cookie, "");
    assert_str(header_of(&rig, &out, "Location"), STR("/"));
    assert_int_equal(get(&rig, APP_HOST, "/", cookie).status, 401);
    out = ask(&rig, "POST", APP_HOST, "/_openrun/logout", "HX-Request: true\r\n", "redirect=https://evil.example");
    assert_int_equal(out.status, 200);
    assert_str(header_of(&rig, &out, "HX-Redirect"), STR("/_openrun/logout?done=1"));
    rig_close(&rig);
}

static void test_form_lockout(void **state)
{
    struct rig rig;
    rig_open(&rig, 4);
    struct answer start = get(&rig, APP_HOST, "/", NAVIGATE);
    struct str url = header_of(&rig, &start, "Location");
    for (int i = 0; i < 5; i++)
        assert_has(post_form(&rig, url, "root", (char[]){'w', (char)('0' + i), 0}, "").body, "Invalid username or password");
    struct answer a = post_form(&rig, url, "root", "secret", "");
    assert_int_equal(a.status, 429);
    assert_has(a.body, "Too many failed attempts. Try again in");
    assert_false(str_is_empty(header_of(&rig, &a, "Retry-After")));
    assert_int_equal(post_form(&rig, url, "root", "secret", "X-Test-Ip: 203.0.113.9\r\n").status, 302);
    rig_close(&rig);
}

static void test_client_leaves(void **state)
{
    struct rig rig;
    rig_open(&rig, 8);
    struct answer start = get(&rig, APP_HOST, "/", NAVIGATE);
    struct str url = header_of(&rig, &start, "Location"), login = str_from_off(url, str_find(url, STR("state=")));
    for (int i = 0; i < 8; i++) {
        struct str body = str_printf(&rig.arena, STR_FMT "&system-username=root&system-password=secret", STR_ARG(login));
        struct web w = web_open(rig.port);
        char text[1024];
        snprintf(text, sizeof text, "POST /_openrun/auth/login/system HTTP/1.1\r\nHost: " AUTH_HOST "\r\nContent-Length: %zu\r\n\r\n%.*s",
                 body.len, (int)body.len - (i % 2) * 4, body.ptr);
        web_say(&w, text);
        web_close(&w);
        w = web_open(rig.port);
        web_say(&w, "GET / HTTP/1.1\r\nHost: " APP_HOST "\r\n" NAVIGATE "\r\n");
        web_close(&w);
    }
    rig_close(&rig);
}

#define T(test) cmocka_unit_test_setup_teardown(test, test_dir_make, test_dir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_whole_flow), T(test_used_and_foreign_states), T(test_who_gets_the_form), T(test_htmx_lands_on_its_page),
        T(test_routes), T(test_style), T(test_restart), T(test_session_of_another_process), T(test_logout),
        T(test_form_lockout), T(test_client_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
