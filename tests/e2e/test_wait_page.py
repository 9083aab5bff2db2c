"""Waiting for a container: the page for browsers, its status, the log for those who may see it, and other clients."""
# SPDX-License-Identifier: Apache-2.0
import html

import pytest

from openrun import wait_for

CONFIG = {"app_config": {"container": {"deploy_health_attempts": 20}}}
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Mode": "navigate"}


def create(box, path, source, *flags):
    box.cli("app", "create", "--spec", "container", "--approve", "--param", "app_name=Shop <1>", *flags, source, path)


def browse(box, path, **kw):
    return box.get(path, headers=BROWSER, **kw)


def status(box, path, query="at=0", **kw):
    r = box.get(f"{path}/_openrun_app/wait?{query}", **kw)
    assert r.status_code == 200, r.text
    return r.json()


def test_a_browser_gets_a_page_that_becomes_the_app(box, app, path):
    create(box, path, app(lines=12))
    r = browse(box, path + "/json?x=1")
    assert r.status_code == 503 and r.headers["Content-Type"].startswith("text/html"), r.text
    assert int(r.headers["Retry-After"]) > 0 and r.headers["Cache-Control"] == "no-store"
    policy = r.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert "Shop &lt;1&gt; is starting" in r.text and "Shop <1>" not in r.text
    assert "http://" not in r.text.replace("http-equiv", "") and "https://" not in r.text and "src=" not in r.text
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in r.text
    assert f'data-status="{path}/_openrun_app/wait"' in r.text
    assert "build line" not in r.text, "the log is not for anybody"
    seen = set()

    def is_ready():
        s = status(box, path)
        seen.add((s["state"], s["step"]))
        assert s["log"] == ""
        return s["state"] == "ready"
    wait_for(is_ready, lambda: f"the app to be ready, {seen}")
    assert ("waiting", 1) in seen, "the build was shown"
    r = browse(box, path + "/json?x=1")
    assert r.status_code == 200 and r.json()["query"] == "x=1"


def test_the_log_is_shown_to_those_who_may_see_it(box, app, path):
    create(box, path, app(lines=12), "--conf", "container.wait_page_log=true")
    page = browse(box, path).text
    log, at = "", 0

    def is_ready():
        nonlocal log, at
        s = status(box, path, f"at={at}")
        log, at = log + s["log"], s["at"]
        return s["state"] == "ready"
    wait_for(is_ready, lambda: f"the app to be ready, {log}")
    assert "==&gt; " in page and "<&>" not in page, page
    assert all(f"build line {i} <&>" in log for i in range(12)), log
    assert log.count("build line 7 <") == 1 and "==> building the image" in log


def test_admins_see_the_log_and_others_must_sign_in_first(box, app, path):
    create(box, path, app(lines=12), "--auth", "system")
    assert browse(box, path).status_code in (302, 401), "who is not signed in starts nothing and sees nothing"
    assert box.get(path + "/_openrun_app/wait").status_code in (302, 401)
    admin = {"auth": ("admin", "test-password")}
    r = browse(box, path, **admin)
    assert r.status_code == 503 and "is starting" in r.text
    wait_for(lambda: "build line 3" in status(box, path, **admin)["log"], "the build's output")
    wait_for(lambda: status(box, path, **admin)["state"] == "ready", "the app")
    assert browse(box, path, **admin).status_code == 200


@pytest.mark.parametrize("how", ["header", "setting", "fetch"])
def test_others_are_held_until_the_app_is_ready(box, app, path, how):
    flags = ["--conf-str", "container.wait_page=off"] if how == "setting" else []
    headers = {"setting": BROWSER, "header": {"Accept": "*/*"}, "fetch": {**BROWSER, "Sec-Fetch-Mode": "cors"}}[how]
    create(box, path, app(START_DELAY_MS=2500), *flags)
    r = box.get(path + "/json", headers=headers)
    assert r.status_code == 200 and r.json()["env"]["CL_APP_PATH"] == path


def test_who_has_been_held_for_long_is_told_to_come_again(box, app, path):
    create(box, path, app(START_DELAY_MS=4000), "--conf", "container.wait_timeout_secs=1")
    r = box.post(path + "/json", data="x")
    assert r.status_code == 503 and int(r.headers["Retry-After"]) > 0 and "still starting" in r.text
    wait_for(lambda: box.get(path + "/json").status_code == 200, "the app, whose start went on")


def refused(box, path):
    """The answer of an app that does not start; asked again after its pause, it is started once more."""
    def look():
        r = browse(box, path)
        return [r] if r.status_code == 500 else None
    return wait_for(look, "the failure")[0]


def test_a_failed_start_says_why(box, app, path):
    create(box, path, app(EXIT_CODE=7), "--conf", "container.wait_page_log=true", "--conf", "container.deploy_health_attempts=2")
    r = refused(box, path)
    assert r.headers["Content-Type"].startswith("text/html")
    text = html.unescape(r.text)
    assert "did not start" in text and "exited with code 7" in text and "webapp: told to fail" in text, text
    assert "Phases: " in text and "http-equiv" not in text
    plain = box.get(path)
    assert plain.status_code == 500 and plain.headers["Content-Type"].startswith("text/plain")
    assert "webapp: told to fail" in plain.text
    app(EXIT_CODE=7)   # looking does not start it
    assert status(box, path, "look=true")["state"] == "failed"


def test_a_failed_start_keeps_its_log_from_strangers(box, app, path):
    create(box, path, app(EXIT_CODE=7), "--conf", "container.deploy_health_attempts=2")
    text = refused(box, path).text
    assert "exited with code 7" in text and "told to fail" not in text


def test_an_app_at_the_root_of_a_domain(box, app):
    create(box, "wait.localhost:/", app(START_DELAY_MS=2500))
    r = browse(box, "/a/b", host="wait.localhost")
    assert r.status_code == 503 and 'data-status="/_openrun_app/wait"' in r.text
    wait_for(lambda: status(box, "", host="wait.localhost")["state"] == "ready", "the app")
    assert browse(box, "/a/b", host="wait.localhost").status_code == 200
    box.cli("app", "delete", "wait.localhost:/")


@pytest.mark.parametrize("query, code", [("at=-1", 400), ("at=x", 400), ("at=%zz", 400), ("at=99999999999", 200), ("", 200)])
def test_odd_questions_for_the_status(box, app, path, query, code):
    create(box, path, app())
    box.get(path)
    assert box.get(f"{path}/_openrun_app/wait?{query}").status_code == code
    assert box.post(f"{path}/_openrun_app/wait").status_code == 405


def test_a_wrong_setting_is_refused(box, app, path):
    create(box, path, app(), "--conf-str", "container.wait_page=sometimes")
    assert "container.wait_page" in box.get(path).text
