"""Webhooks of apps: who is let in, what is ignored, what is done, and what strangers learn."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import hashlib
import hmac
import json
import re
import urllib.parse

import pytest

import sources
from openrun import wait_for
from sources import Repo, text_app


def signature(secret, body):
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def push(branch="main", **more):
    return json.dumps({"ref": f"refs/heads/{branch}", **more}).encode()


# Each forge's way to show that it knows the secret.
FORGES = {
    "github": lambda secret, body: {"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + signature(secret, body)},
    "gitea": lambda secret, body: {"X-Gitea-Event": "push", "X-Gitea-Signature": signature(secret, body)},
    "forgejo": lambda secret, body: {"X-Forgejo-Event": "push", "X-Forgejo-Signature": signature(secret, body)},
    "gitlab": lambda secret, body: {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": secret},
    "script": lambda secret, body: {"Authorization": f"Bearer {secret}"},
}


class Hooked:
    """An app from git with a webhook of each type."""

    def __init__(self, server, world, name):
        self.server, self.path = server, "/" + name
        self.repo = Repo(world.base / name / "apps")
        self.repo.commit(text_app("one"))
        server.cli("app", "create", f"{world.http.url}/{name}/apps", self.path)
        self.tokens = {}
        for kind in ("reload", "reload_promote", "promote"):
            out = server.cli("app-webhook", "create", kind, self.path)
            token, url = re.fullmatch(r"Token: (\S+)\nUrl  : (\S+)\n", out).groups()
            assert re.fullmatch(r"cl_tkn_[A-Za-z0-9+/]{22}==", token)
            assert url == (f"https://localhost:{server.https_port}/_openrun_webhook/{kind}"
                           f"?appPath={urllib.parse.quote(self.path, safe='')}")
            self.tokens[kind] = token

    def call(self, kind="reload", body=None, headers=None, forge="github", **kw):
        body = push() if body is None else body
        if headers is None:
            headers = FORGES[forge](self.tokens[kind], body)
        path = f"/_openrun_webhook/{kind}?appPath={urllib.parse.quote(self.path, safe='')}"
        return self.server.post(path, data=body, headers=headers, **kw)

    @property
    def texts(self):
        return self.server.get(self.path).text, self.server.get(self.path, host="stage.localhost").text

    @property
    def versions(self):
        return len(self.server.versions("stage.localhost:" + self.path))


@pytest.fixture
def app(server, world, request):
    a = Hooked(server, world, sources.slug(request))
    yield a
    server.cli("app", "delete", a.path)


def test_every_forge_reloads_and_promotes(app):
    last = "one"
    for forge in FORGES:
        app.repo.commit(text_app(forge))
        answer = app.call(forge=forge)
        assert answer.status_code == 200, (forge, answer.text)
        assert [r["Path"] for r in answer.json()["reload_results"]] == [app.path]
        assert app.texts == (last, forge)
        assert app.call("promote", body=b"", forge=forge).status_code == 200
        assert app.texts == (forge, forge)
        last = forge


def test_reload_promote(app):
    app.repo.commit(text_app("two"))
    answer = app.call("reload_promote")
    assert answer.status_code == 200 and len(answer.json()["promote_results"]) == 1
    assert app.texts == ("two", "two")


def test_github_with_its_form(app):
    app.repo.commit(text_app("two"))
    body = urllib.parse.urlencode({"payload": push().decode()}).encode()
    headers = {**FORGES["github"](app.tokens["reload"], body), "Content-Type": "application/x-www-form-urlencoded"}
    assert app.call(body=body, headers=headers).status_code == 200
    assert app.texts == ("one", "two")


def test_unchanged_commit_makes_no_version(app):
    before = app.versions
    answer = app.call()
    assert answer.status_code == 200 and len(answer.json()["skipped_results"]) == 1
    assert app.versions == before


def test_what_does_not_concern_the_app_is_ignored(app):
    app.repo.commit(text_app("two"))
    for body, headers in [
        (push("other"), {}),
        (push("main/x"), {}),
        (json.dumps({"ref": "refs/tags/main"}).encode(), {}),
        (json.dumps({"zen": "hello"}).encode(), {"X-GitHub-Event": "ping"}),
        (json.dumps({"action": "opened"}).encode(), {"X-GitHub-Event": "pull_request"}),
        (json.dumps({"object_kind": "merge_request"}).encode(), {"X-Gitlab-Event": "Merge Request Hook"}),
        (push(deleted=True), {}),
        (push(after="0" * 40), {}),
        (b"{}", {}),
    ]:
        answer = app.call(body=body, headers={"Authorization": f"Bearer {app.tokens['reload']}", **headers})
        assert answer.status_code == 200 and answer.json()["status"] == "ignored" and answer.json()["reason"], body
    assert app.texts == ("one", "one")


def test_ping_of_a_promote_hook_is_ignored(app):
    app.repo.commit(text_app("two"))
    app.server.cli("app", "reload", app.path)
    body = b'{"zen": "hello"}'
    answer = app.call("promote", body=body, headers={**FORGES["github"](app.tokens["promote"], body), "X-GitHub-Event": "ping"})
    assert answer.json()["status"] == "ignored"
    assert app.texts == ("one", "two")


def test_bodies_that_are_not_understood(app):
    for body in (b"", b"hello", b"[]", b'{"ref": ', b'{"ref": "\xff"}', b"[" * 100_000):
        answer = app.call(body=body, forge="script")
        assert answer.status_code == 400, (body[:20], answer.text)
    answer = app.call(body=b" " * ((10 << 20) + 1), forge="gitlab")
    assert answer.status_code == 413
    big = push(padding="x" * (9 << 20))
    assert app.call(body=big).status_code == 200


def wrong_ways(app):
    body, token = push(), app.tokens["reload"]
    sig = signature(token, body)
    return {
        "nothing": {},
        "another type's token": FORGES["script"](app.tokens["promote"], body),
        "shorter": FORGES["script"](token[:-1], body),
        "no scheme": {"Authorization": token},
        "basic": {"Authorization": "Basic YWRtaW46eA=="},
        "bearer wrong, signature right": {"Authorization": "Bearer x", "X-Hub-Signature-256": "sha256=" + sig},
        "signature of another body": FORGES["github"](token, b"x"),
        "sha1 prefix": {"X-Hub-Signature-256": "sha1=" + sig},
        "no prefix": {"X-Hub-Signature-256": sig},
        "gitea wrong": {"X-Gitea-Signature": "0" * 64},
        "gitlab wrong": {"X-Gitlab-Token": "x"},
        "empty": {"X-Gitlab-Token": "", "X-Gitea-Signature": ""},
    }


def test_strangers_learn_nothing(app):
    """Wrong proofs, apps that are not there and webhooks that are not enabled get the same answer."""
    app.repo.commit(text_app("two"))
    answers = {name: app.call(headers=h) for name, h in wrong_ways(app).items()}
    app.server.cli("app-webhook", "delete", "reload", app.path)
    answers["deleted"] = app.call(forge="script")
    for target in ("/no/such/app", "/**", "all", "stage.localhost:" + app.path, "a:b:c", "x"):
        answers[target] = app.server.post(f"/_openrun_webhook/reload?appPath={urllib.parse.quote(target, safe='')}",
                                          data=push(), headers=FORGES["script"](app.tokens["reload"], b""))
    seen = {(a.status_code, a.text, a.headers.get("WWW-Authenticate")) for a in answers.values()}
    assert len(seen) == 1, {k: (a.status_code, a.text) for k, a in answers.items()}
    assert seen.pop()[0] == 401
    assert app.texts == ("one", "one")


def test_shape_of_calls(server):
    assert server.get("/_openrun_webhook/reload?appPath=/x").status_code == 405
    assert server.post("/_openrun_webhook/reload").status_code == 400
    assert server.post("/_openrun_webhook/other?appPath=/x").status_code == 404
    assert server.post("/_openrun_webhook/reload?appPath=/x", headers={"Origin": "https://evil.example"}).status_code == 403


def test_new_token_replaces_the_old_one(app):
    old = app.tokens["reload"]
    out = app.server.cli("app-webhook", "create", "--dry-run", "reload", app.path)
    assert "dry-run" in out and app.call(forge="script").status_code == 200
    app.server.cli("app-webhook", "create", "reload", app.path)
    assert app.call(forge="script").status_code == 401
    rows = json.loads(app.server.cli("app-webhook", "list", "--format", "json", app.path))
    assert [r["type"] for r in rows] == ["reload", "reload_promote", "promote"] and rows[0]["token"] != old
    app.server.cli("app-webhook", "delete", "--dry-run", "reload", app.path)
    assert len(json.loads(app.server.cli("app-webhook", "list", "--format", "json", app.path))) == 3
    assert app.server.cli("app-webhook", "delete", "reload", app.path) == "Token deleted.\n"
    assert "reload webhook is not enabled" in app.server.fails("app-webhook", "delete", "reload", app.path)


def test_tokens_are_not_staged_and_survive_versions(app):
    versions = app.versions
    app.server.cli("app-webhook", "create", "reload", app.path)
    assert app.versions == versions


def test_formats_of_the_list(app):
    tokens, list_of = app.tokens, lambda f: app.server.cli("app-webhook", "list", "--format", f, app.path)
    url = f"https://localhost:{app.server.https_port}/_openrun_webhook/reload?appPath={urllib.parse.quote(app.path, safe='')}"
    lines = list_of("table").splitlines()
    assert lines[0] == "%-15s %-40s %s" % ("Type", "Token", "Url")
    assert lines[1] == "%-15s %-40s %s" % ("reload", tokens["reload"], url)
    assert list_of("csv").splitlines()[0] == f"reload,{tokens['reload']},{url}"
    first = json.loads(list_of("jsonl").splitlines()[0])
    assert list(first) == ["type", "url", "token"]


def test_listings_mask_tokens(app):
    token = app.tokens["reload"]
    assert token not in app.server.cli("app", "list", "--format", "json")
    assert token not in app.server.cli("app", "get", "--format", "json", app.path)
    assert token in app.server.cli("app", "list", "--reveal", "--format", "json")
    assert token in app.server.cli("app", "get", "--reveal", "--format", "json", app.path)


def test_bad_arguments(server):
    assert "requires two arguments: <webhookType> <appPath>" in server.fails("app-webhook", "create", "reload")
    assert "unknown webhook type" in server.fails("app-webhook", "create", "other", "/x")
    assert "no app at /nowhere" in server.fails("app-webhook", "create", "reload", "/nowhere")


def test_dev_apps_have_none(server, folder):
    server.cli("app", "create", "--dev", folder(text_app("x")), "/devhook")
    assert "dev app" in server.fails("app-webhook", "create", "reload", "/devhook")
    server.cli("app", "delete", "/devhook")


def test_local_apps_are_reloaded_without_a_body(server, folder):
    src = folder(text_app("one"))
    server.cli("app", "create", src, "/local")
    token = server.cli("app-webhook", "create", "reload_promote", "/local").split()[1]
    folder(text_app("two"))
    answer = server.post("/_openrun_webhook/reload_promote?appPath=/local", headers={"Authorization": "Bearer " + token})
    assert answer.status_code == 200 and server.get("/local").text == "two"
    server.cli("app", "delete", "/local")


def test_failure_of_the_operation_is_told_and_changes_nothing(app):
    app.repo.commit({"app.star": "this is not Starlark ("})
    answer = app.call()
    assert answer.status_code >= 400 and "app.star" in answer.json()["message"]
    assert app.texts == ("one", "one")


def test_calls_are_operations_and_audited(app):
    app.repo.commit(text_app("two"))
    assert app.call().status_code == 200
    ops = json.loads(app.server.cli("operation", "list", "--format", "json"))
    mine = [o for o in ops if o["target"] == app.path and o["user_id"] == "webhook"]
    assert [(o["name"], o["state"]) for o in mine] == [("reload_apps", "done")]
    for _ in range(3):
        assert app.call(headers={}).status_code == 401
    app.server.restart()
    rows = audit_rows(app.server)
    assert ("webhook_reload", app.path, "Success") in rows
    assert any(status == "Failed" and target.endswith("/_openrun_webhook/reload") for _, target, status in rows), rows
    refused = [r for r in rows if r[2] == "Failed" and r[1].endswith("/_openrun_webhook/reload")]
    assert len(refused) < 10, "refused calls are told once a minute, and this file has dozens"


def audit_rows(server):
    import sqlite3
    rows = []
    for file in (server.home / "metadata").glob("*.db"):
        with sqlite3.connect(file) as db:
            try:
                rows += db.execute("SELECT operation, target, status FROM audit WHERE operation LIKE 'webhook%'").fetchall()
            except sqlite3.OperationalError:
                pass
    return rows


def test_a_burst_costs_few_operations(app):
    """While a reload runs, however many calls come: one more waits, and the last commit is what is served."""
    def count():
        ops = json.loads(app.server.cli("operation", "list", "--format", "json"))
        return sum(o["target"] == app.path and o["user_id"] == "webhook" for o in ops)
    app.repo.commit(text_app("two"))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: app.call(), range(16)))
    assert {a.status_code for a in answers} <= {200, 202}, [a.text for a in answers]
    assert any("joined" in a.text for a in answers) and count() < 16
    wait_for(lambda: app.texts == ("one", "two"), "the reload")


def test_slow_operation_is_answered_before_forges_give_up(app, world):
    """A repository that does not answer for long: the caller gets the operation's id."""
    app.repo.commit(text_app("two"))
    world.http.gate.clear()
    try:
        answer = app.call("reload_promote")
    finally:
        world.http.gate.set()
    assert answer.status_code == 202 and answer.json()["operation"].startswith("op_")
    wait_for(lambda: app.texts == ("two", "two"), "the reload")
