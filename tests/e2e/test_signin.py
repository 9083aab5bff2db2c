"""Signing in with the admin account: Basic for programs, the form for browsers, sessions, signing out."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import re
import urllib.parse

import pytest

import openrun
import sources
import web

CONFIG = {"security": {"app_default_auth_type": "system"}}
ADMIN = ("admin", openrun.ADMIN_PASSWORD)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
WHO = {"app.star": 'def who(req):\n    return {"user": req.UserId, "cookies": req.Headers.get("Cookie", []),\n'
                   '            "authorization": req.Headers.get("Authorization", [])}\n\n'
                   'app = ace.app("Who", routes=[ace.api("/", who), ace.api("/", who, method="POST")])\n'}


@pytest.fixture(scope="module")
def who(server, tmp_path_factory):
    source = str(sources.folder(tmp_path_factory.mktemp("who"), WHO))
    server.cli("app", "create", source, "/who")                       # default: system
    server.cli("app", "create", "--auth", "system", source, "/other")
    server.cli("app", "create", "--auth", "none", source, "/open")
    server.cli("app", "create", "--auth", "system", source, "shop.localhost:/")
    return server


def sign_in(s, server, path="/who", host="localhost", password=openrun.ADMIN_PASSWORD, user="admin"):
    """Goes through the form as a browser does; the last response."""
    r = s.get(server.url(path, host), headers=BROWSER, timeout=120)
    assert r.status_code == 200 and "Sign in - OpenRun" in r.text, (r.status_code, r.text[:300])
    where = urllib.parse.urlsplit(r.url)
    assert where.hostname == "auth.localhost" and where.path == "/_openrun/auth/login"
    action = re.search(r'<form[^>]*action="([^"]*)"', r.text).group(1)
    state = re.search(r'name="state"[^>]*value="([^"]*)"', r.text).group(1)
    post_to = urllib.parse.urljoin(r.url, action.replace("&amp;", "&"))
    return s.post(post_to, data={"state": state, "system-username": user, "system-password": password},
                  headers={**BROWSER, "Origin": f"https://{where.netloc}", "Sec-Fetch-Site": "same-origin"}, timeout=120)


@pytest.fixture
def guarded(new_server, folder):
    """A server of its own: wrong passwords slow down what comes from the same address."""
    server = new_server(CONFIG).start()
    server.cli("app", "create", str(folder(WHO)), "/who")
    server.cli("app", "create", "--auth", "none", str(folder(WHO)), "/open")
    return server


def test_apps_need_a_sign_in_by_default(who):
    r = who.get("/who")
    assert r.status_code == 401 and r.text.strip() == "Authentication failed"
    assert r.headers["WWW-Authenticate"] == 'Basic realm="openrun"'
    assert who.get("/open").json()["user"] == "anonymous"


def test_basic_for_programs(who):
    r = who.get("/who", auth=ADMIN)
    assert r.status_code == 200 and r.json()["user"] == "admin"
    assert r.json()["authorization"] == [], "the admin password does not reach the app"
    assert who.post("/who", auth=ADMIN).json()["user"] == "admin"


@pytest.mark.parametrize("user, password", [("admin", "wrong"), ("admin", ""), ("root", openrun.ADMIN_PASSWORD), ("", ""),
                                            ("admin", openrun.ADMIN_PASSWORD + "x"), ("admin", "x" * 5000)])
def test_wrong_basic_credentials(guarded, user, password):
    r = guarded.get("/who", auth=(user, password))
    assert r.status_code == 401 and "set-cookie" not in r.headers


@pytest.mark.parametrize("value", ["Basic", "Basic ", "Basic !!!", "Basic YWRtaW4=", "Bearer abc", "Digest x",
                                   "Basic " + "A" * 8000])
def test_odd_authorization_headers(who, value):
    assert who.get("/who", headers={"Authorization": value}).status_code == 401


def test_after_a_success_other_passwords_still_fail_and_the_right_one_still_works(guarded):
    for _ in range(3):
        assert guarded.get("/who", auth=ADMIN).status_code == 200
        assert guarded.get("/who", auth=("admin", "nope")).status_code == 401


def test_guessing_is_slowed_down_and_blocks_nobody(guarded):
    with web.session() as s:
        assert sign_in(s, guarded).json()["user"] == "admin"
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            wrong = [pool.submit(guarded.get, "/who", auth=("admin", f"guess {i}")) for i in range(64)]
            for _ in range(10):
                assert guarded.get("/open").status_code == 200
            answers = [f.result() for f in wrong]
        assert {r.status_code for r in answers} == {401, 429}
        r = next(r for r in answers if r.status_code == 429)
        assert int(r.headers["Retry-After"]) > 0
        assert s.get(guarded.url("/who")).json()["user"] == "admin", "who has signed in already is not concerned"


def test_form_leads_to_the_page_asked_for(who):
    with web.session() as s:
        r = sign_in(s, who, "/who?x=1&y=%20z")
        assert r.status_code == 200 and r.json()["user"] == "admin", r.text
        assert r.url == who.url("/who?x=1&y=%20z")
        cookie = next(c for c in s.cookies if c.name.endswith("_openrun_session") and c.value)
        assert cookie.name == "system_openrun_session" and cookie.secure and cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.path == "/" and not cookie.domain_specified
        r = s.get(who.url("/other"))
        assert r.json()["user"] == "admin", "apps on one host share the session"
        assert not any("openrun_session" in c for c in r.json()["cookies"]), "our cookie does not reach the app"
        r = s.get(who.url("/", "shop.localhost"), headers=BROWSER)
        assert "Sign in" in r.text, "another host needs its own sign-in"


def test_session_survives_a_restart(new_server, folder):
    server = new_server(CONFIG).start()
    server.cli("app", "create", str(folder(WHO)), "/who")
    with web.session() as s:
        assert sign_in(s, server).json()["user"] == "admin"
        server.keep_ports().restart()
        assert s.get(server.url("/who")).json()["user"] == "admin"


def test_new_password_ends_the_sessions(new_server, folder):
    server = new_server(CONFIG).start()
    server.cli("app", "create", str(folder(WHO)), "/who")
    with web.session() as s:
        assert sign_in(s, server).json()["user"] == "admin"
        other = openrun.run("password", "--value", "another").out.split('"')[1]
        server.keep_ports().restart({"security": {"admin_password_bcrypt": other}})
        r = s.get(server.url("/who"))
        assert r.status_code == 401
        assert server.get("/who", auth=("admin", "another")).status_code == 200
        assert server.get("/who", auth=ADMIN).status_code == 401


def test_wrong_password_shows_the_form_again(guarded):
    with web.session() as s:
        r = sign_in(s, guarded, password="wrong")
        assert r.status_code == 200 and "Invalid username or password" in r.text
        r = sign_in(s, guarded, user="nobody")
        assert "Invalid username or password" in r.text
        assert s.get(guarded.url("/who")).status_code == 401
        assert sign_in(s, guarded).json()["user"] == "admin"


def test_state_is_used_once(who):
    with web.session() as s:
        r = s.get(who.url("/who"), headers=BROWSER)
        state = re.search(r'name="state"[^>]*value="([^"]*)"', r.text).group(1)
        login = who.url("/_openrun/auth/login/system", "auth.localhost")
        data = {"state": state, "system-username": "admin", "system-password": openrun.ADMIN_PASSWORD}
        ok = s.post(login, data=data, allow_redirects=False)
        assert ok.status_code == 302
        complete = ok.headers["Location"]
        assert complete.startswith(who.url("/_openrun/auth/login/complete?state="))
        again = s.post(login, data=data, allow_redirects=False)
        assert again.status_code == 200 and "The sign-in request has expired." in again.text
        # The victim of a stolen link: another browser has no nonce.
        with web.session() as thief:
            r = thief.get(complete, allow_redirects=False)
            assert r.status_code == 200 and "The sign-in request has expired." in r.text
        assert s.get(complete, allow_redirects=False).status_code == 302, "a mismatch does not use it up"
        r = s.get(complete, allow_redirects=False)
        assert "The sign-in request has expired." in r.text


@pytest.mark.parametrize("state", ["", "x", "AAAA", "Zm9ybV9sb2dpbjpub25l", "'%00", "a" * 10_000])
def test_made_up_states(who, state):
    r = who.get("/_openrun/auth/login", host="auth.localhost", params={"state": state}, headers=BROWSER)
    assert r.status_code == 200 and "The sign-in request has expired." in r.text and "<form" not in r.text
    r = who.get("/_openrun/auth/login/complete", params={"state": state}, headers=BROWSER)
    assert r.status_code == 200 and "The sign-in request has expired." in r.text


def test_headers_of_the_form(who):
    with web.session() as s:
        r = s.get(who.url("/who"), headers=BROWSER)
    assert r.headers["Content-Security-Policy"] == ("default-src 'none'; style-src 'self'; font-src 'self'; "
                                                   "frame-ancestors 'none'; base-uri 'none'")
    assert r.headers["X-Frame-Options"] == "DENY" and r.headers["Referrer-Policy"] == "no-referrer"
    assert r.headers["Cache-Control"] == "no-store"
    assert "This app uses the OpenRun system auth." in r.text
    css = re.search(r'href="(/_openrun/auth/login/style\.css[^"]*)"', r.text).group(1)
    r = who.get(css, host="auth.localhost")
    assert r.status_code == 200 and r.headers["Content-Type"].startswith("text/css") and "immutable" in r.headers["Cache-Control"]
    etag = r.headers["ETag"]
    assert who.get(css, host="auth.localhost", headers={"If-None-Match": etag}).status_code == 304


def test_form_pages_are_on_the_sign_in_domain_only(who):
    assert who.get("/_openrun/auth/login?state=x").status_code == 404
    assert who.post("/_openrun/auth/login/system", data={"state": "x"}).status_code == 404
    assert who.get("/who", host="auth.localhost").status_code == 404
    assert who.get("/", host="auth.localhost").status_code == 404
    error = who.fails("app", "create", "--spec", "static", "-", "auth.localhost:/x")
    assert "auth callback domain" in error


def test_cross_site_posts_to_the_form_are_refused(who):
    r = who.post("/_openrun/auth/login/system", host="auth.localhost", data={"state": "x"},
                 headers={"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"})
    assert r.status_code == 403
    with web.session() as s:
        sign_in(s, who)
        r = s.post(who.url("/who"), headers={"Origin": "https://evil.example"})
        assert r.status_code == 403 and "Cross origin check failed" in r.text
        r = s.post(who.url("/_openrun/logout"), headers={"Origin": "https://evil.example"}, allow_redirects=False)
        assert r.status_code == 403
        assert s.get(who.url("/who")).json()["user"] == "admin"


def test_who_gets_the_form_and_who_a_challenge(who):
    r = who.get("/who", headers={"Accept": "text/html"})
    assert r.status_code == 302 and r.headers["Location"].startswith(who.url("/_openrun/auth/login?state=", "auth.localhost"))
    assert who.get("/who", headers={"Accept": "application/json"}).status_code == 401
    assert who.post("/who", headers={"Accept": "text/html"}).status_code == 401
    r = who.get("/who", headers={"HX-Request": "true", "Accept": "*/*"})
    assert r.status_code == 200 and "/_openrun/auth/login?state=" in r.headers["HX-Redirect"]


def test_sign_out(who):
    with web.session() as s:
        assert "You are not signed in." in s.get(who.url("/_openrun/logout")).text
        sign_in(s, who)
        page = s.get(who.url("/_openrun/logout"))
        assert "Sign out - OpenRun" in page.text and "admin" in page.text
        cookies = dict(s.cookies)
        r = s.post(who.url("/_openrun/logout"), data={"redirect": "/who"}, allow_redirects=False)
        assert r.status_code == 303 and r.headers["Location"].startswith("/_openrun/logout?done=1")
        assert "You have been signed out." in s.get(who.url(r.headers["Location"])).text
        assert s.get(who.url("/who")).status_code == 401
        with web.session() as old:   # the old cookie is worth nothing now
            assert old.get(who.url("/who"), cookies=cookies).status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_sign_out_does_not_lead_elsewhere(who, target):
    with web.session() as s:
        sign_in(s, who)
        r = s.post(who.url("/_openrun/logout"), data={"redirect": target}, allow_redirects=False)
        assert r.status_code == 303 and "evil" not in r.headers["Location"] and "alert" not in r.headers["Location"]


@pytest.mark.parametrize("value", ["x", "A" * 4000, "%00", "../../etc", '"; drop'])
def test_forged_session_cookies(who, value):
    r = who.get("/who", headers={"Cookie": f"system_openrun_session={value}"})
    assert r.status_code == 401


def test_sign_in_form_can_be_turned_off(new_server, folder):
    server = new_server(openrun.merged(CONFIG, {"security": {"disable_login_form": True}})).start()
    server.cli("app", "create", str(folder(WHO)), "/who")
    r = server.get("/who", headers=BROWSER)
    assert r.status_code == 401 and "WWW-Authenticate" in r.headers
    assert server.get("/who", auth=ADMIN).status_code == 200


def test_auth_required_closes_open_apps(new_server, folder):
    server = new_server(openrun.merged(CONFIG, {"security": {"auth_required": True}})).start()
    server.cli("app", "create", "--auth", "none", str(folder(WHO)), "/open")
    r = server.get("/open")
    assert r.status_code == 401 and "Authentication required" in r.text


def test_auth_is_staged_and_promoted(who, folder):
    who.cli("app", "create", "--auth", "none", str(folder(WHO)), "/staged")
    who.cli("app", "update", "auth", "system", "/staged")
    assert who.get("/staged").status_code == 200
    assert who.get("/staged", host="stage.localhost").status_code == 401
    who.cli("app", "promote", "/staged")
    assert who.get("/staged").status_code == 401
    assert "invalid authentication type" in who.fails("app", "update", "auth", "nonsense", "/staged")
    assert "invalid authentication type" in who.fails("app", "create", "--auth", "nonsense", str(folder(WHO)), "/nope")


def test_passwords_are_not_in_the_logs(who):
    who.get("/who", auth=ADMIN)
    with web.session() as s:
        sign_in(s, who)
    text = "".join(p.read_text() for p in (who.home / "logs").iterdir()) + who.out + who.err
    assert openrun.ADMIN_PASSWORD not in text
