"""Syncs: a declarative file that is applied at once, and then by the clock, by hand and by webhook."""
# SPDX-License-Identifier: Apache-2.0
import hashlib
import hmac
import json
import os
import re

import pytest

import sources
from openrun import wait_for
from sources import Repo, text_app

CONFIG = {"git_auth": {"mine": {"user_id": "git", "password": "s3cret"}}}
ALL = os.environ.get("OPENRUN_TEST_ALL") == "1"


class Fleet:
    """A repository that holds an apply file and the apps that it declares."""

    def __init__(self, world, name):
        self.name, self.http = name, world.http
        self.repo = Repo(world.base / name / "fleet")
        self.base = f"{world.http.url}/{name}/fleet"
        self.file = self.base + "/apps.star"

    def declare(self, apps, message="change"):
        """`apps`: name -> text that its page has."""
        lines = "".join(f'app("/{self.name}-{name}", "{self.base}/{name}")\n' for name in apps)
        files = {"apps.star": lines}
        for name, text in apps.items():
            files[f"{name}/app.star"] = text_app(text)["app.star"]
        return self.repo.commit(files, message)

    def path(self, name):
        return f"/{self.name}-{name}"


@pytest.fixture
def fleet(server, world, request):
    f = Fleet(world, sources.slug(request))
    yield f
    for entry in entries(server):
        server.cli("sync", "delete", entry["id"])
    server.cli("app", "delete", "all")


def entries(server, *args):
    return json.loads(server.cli("sync", "list", "--format", "json", *args))


def entry(server, sync_id, *args):
    return next(e for e in entries(server, *args) if e["id"] == sync_id)


def schedule(server, *args):
    out = server.cli("sync", "schedule", "--approve", "--promote", *args)
    return re.search(r"^Sync job created with Id: (cl_syn_[a-z0-9]{27})$", out, re.M).group(1)


def make_due(server, sync_id):
    """Its last run was long ago."""
    with server.metadata() as db:
        status = json.loads(db.execute("SELECT status FROM sync WHERE id = ?", (sync_id,)).fetchone()[0])
        status["last_execution_time"] = "2020-01-01T00:00:00Z"
        db.execute("UPDATE sync SET status = ? WHERE id = ?", (json.dumps(status), sync_id))


def operations(server, sync_id):
    """The runs of a sync, newest first."""
    return [o for o in json.loads(server.cli("operation", "list", "--format", "json"))
            if o["name"] == "sync_run" and o["target"] == sync_id]


def test_schedule_applies_and_the_clock_takes_what_is_new(server, fleet):
    fleet.declare({"a": "one", "b": "one"})
    out = server.cli("sync", "schedule", "--approve", "--promote", "--minutes", "7", fleet.file)
    assert "Created apps:\n" in out and "2 app(s) created, 0 app(s) updated" in out
    sync_id = re.search(r"\n\nSync job created with Id: (\S+)\n$", out).group(1)
    assert server.get(fleet.path("a")).text == "one"
    e = entry(server, sync_id)
    assert e["path"] == fleet.file and e["is_scheduled"] and e["user_id"] == "admin"
    assert e["metadata"]["schedule_frequency"] == 7 and e["metadata"]["git_branch"] == "main"
    assert (e["status"]["state"], e["status"]["failure_count"], e["status"]["error"]) == ("Enabled", 0, "")
    assert e["status"]["commit_id"] == fleet.repo.git("rev-parse", "HEAD")
    head = fleet.declare({"a": "two", "b": "one", "c": "new"})
    make_due(server, sync_id)
    wait_for(lambda: server.get(fleet.path("a")).text == "two" and server.get(fleet.path("c")).text == "new", "the clock")
    wait_for(lambda: entry(server, sync_id)["status"]["commit_id"] == head, "the status")
    run = operations(server, sync_id)[0]
    assert (run["target"], run["user_id"], run["state"]) == (sync_id, "admin", "done") and run["line_count"] > 0
    apps = server.apps()
    assert apps[fleet.path("a")]["metadata"]["version_metadata"]["applied_sync_id"] == sync_id or \
        apps[fleet.path("a")]["metadata"]["applied_sync_id"] == sync_id


def test_a_due_entry_runs_after_a_restart(server, fleet):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    fleet.declare({"a": "two"})
    server.stop()
    make_due(server, sync_id)
    server.start()
    wait_for(lambda: server.get(fleet.path("a")).text == "two", "the run after the restart")


@pytest.mark.skipif(not ALL, reason="the server waits ten seconds for what it then cancels")
def test_a_run_that_a_stop_cuts_short_runs_after_the_start(server, fleet):
    """It is no failure of the sync, and nothing of it has happened."""
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    fleet.declare({"a": "two"})
    fleet.http.gate.clear()
    try:
        make_due(server, sync_id)
        wait_for(lambda: any(o["state"] == "running" for o in operations(server, sync_id)), "the run")
        server.stop()
    finally:
        fleet.http.gate.set()
    status = json.loads(server.rows("SELECT status FROM sync WHERE id = ?", sync_id)[0]["status"])
    assert (status["state"], status["failure_count"]) == ("Enabled", 0)
    server.start()
    assert server.get(fleet.path("a")).text == "one"
    wait_for(lambda: server.get(fleet.path("a")).text == "two", "the run after the start")


def test_first_run_that_fails_stores_nothing(server, fleet):
    fleet.repo.commit({"apps.star": "app('/x', "})
    assert "error creating sync job" in server.fails("sync", "schedule", fleet.file)
    fleet.declare({"a": "one"})
    fleet.repo.commit({"a/app.star": "nonsense ("})
    assert "error creating sync job" in server.fails("sync", "schedule", "--approve", fleet.file)
    assert "not found" in server.fails("sync", "schedule", "--branch", "nothing", fleet.file)
    assert "not found" in server.fails("sync", "schedule", fleet.base + "-none/apps.star")
    assert entries(server) == [] and server.apps() == {}


def test_run_by_hand_fails_and_gets_well(server, fleet):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    fleet.declare({"a": "nonsense", "b": "two"})
    fleet.repo.commit({"a/app.star": "nonsense ("})
    for n in range(1, 6):
        assert "error running sync job" in server.fails("sync", "run", sync_id)
        status = entry(server, sync_id)["status"]
        assert (status["state"], status["failure_count"]) == ("Disabled" if n == 5 else "Failing", n)
        assert "app.star" in status["error"] and status["commit_id"] == ""
    assert server.get(fleet.path("a")).text == "one" and fleet.path("b") not in server.apps()
    assert "Disabled" in server.cli("sync", "list")
    make_due(server, sync_id)
    fleet.declare({"a": "three", "b": "two"})
    before = len(operations(server, sync_id))
    out = server.cli("sync", "run", sync_id)
    assert "1 app(s) created" in out and len(operations(server, sync_id)) == before + 1
    assert entry(server, sync_id)["status"]["state"] == "Enabled"
    assert server.get(fleet.path("a")).text == "three"


def test_a_repository_that_goes_away_and_comes_back(server, fleet, world):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    hidden = world.base / "hidden"
    (world.base / fleet.name).rename(hidden)
    make_due(server, sync_id)
    wait_for(lambda: entry(server, sync_id)["status"]["state"] == "Failing", "the failure")
    assert "fleet" in entry(server, sync_id)["status"]["error"]
    assert server.get(fleet.path("a")).text == "one"
    hidden.rename(world.base / fleet.name)
    fleet.declare({"a": "two"})
    server.cli("sync", "run", sync_id)
    assert entry(server, sync_id)["status"]["state"] == "Enabled" and server.get(fleet.path("a")).text == "two"


def test_history_that_is_rewritten(server, fleet):
    fleet.declare({"a": "one"})
    fleet.declare({"a": "two"})
    sync_id = schedule(server, fleet.file)
    fleet.repo.git("reset", "-q", "--hard", "HEAD~1")
    head = fleet.declare({"a": "instead"})
    fleet.repo.git("reflog", "expire", "--expire=now", "--all")
    fleet.repo.git("gc", "-q", "--prune=now")
    server.cli("sync", "run", sync_id)
    assert server.get(fleet.path("a")).text == "instead"
    assert entry(server, sync_id)["status"]["commit_id"] == head


def test_branch_that_is_renamed(server, fleet):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    fleet.repo.git("branch", "-m", "main", "trunk")
    message = server.fails("sync", "run", sync_id)
    assert 'branch "main" not found' in message and "trunk" in message
    assert server.get(fleet.path("a")).text == "one"
    fleet.repo.git("branch", "main")
    server.cli("sync", "run", sync_id)


def test_unchanged_repository_costs_no_version(server, fleet):
    fleet.declare({"a": "one", "b": "one"})
    sync_id = schedule(server, fleet.file)
    server.cli("sync", "run", sync_id)
    assert len(server.versions("stage.localhost:" + fleet.path("a"))) == 1
    updated = schedule(server, "--reload", "updated", fleet.file)
    fleet.http.requests.clear()
    out = server.cli("sync", "run", updated)
    assert "0 app(s) created, 0 app(s) updated, 0 app(s) reloaded" in out
    assert len([r for r in fleet.http.requests if "info/refs" in r]) == 1


def test_many_apps_of_one_repository(server, fleet):
    """One listing and one fetch or two of the repository, however many apps are in it."""
    n = 500 if ALL else 20
    fleet.declare({f"n{i}": f"{i} one" for i in range(n)})
    fleet.http.requests.clear()
    sync_id = schedule(server, fleet.file)
    assert len([r for r in fleet.http.requests if "info/refs" in r]) <= 6, fleet.http.requests
    fleet.declare({f"n{i}": f"{i} two" for i in range(n)})
    fleet.http.requests.clear()
    server.cli("sync", "run", sync_id)
    assert len([r for r in fleet.http.requests if "info/refs" in r]) <= 6, fleet.http.requests
    for i in (0, n // 2, n - 1):
        assert server.get(fleet.path(f"n{i}")).text == f"{i} two"


def test_local_file_and_glob(server, fleet, tmp_path):
    src = sources.folder(tmp_path / "app", text_app("local"))
    for name in ("one", "two"):
        (tmp_path / f"{name}.ace").write_text(f'app("/{fleet.name}-{name}", "{src}")\n')
    sync_id = schedule(server, str(tmp_path / "*.ace"))
    assert {fleet.path("one"), fleet.path("two")} <= set(server.apps())
    assert entry(server, sync_id)["path"] == str(tmp_path / "*.ace")
    assert "path does not exist" in server.fails("sync", "schedule", str(tmp_path / "none.ace"))


def test_private_repository(server, world):
    """The file by the credential of the sync, the app by its own."""
    repo = Repo(world.base / "private" / "fleet")
    base = f"{world.http.url}/private/fleet"
    repo.commit({"apps.star": f'app("/private", "{base}/a", git_auth="mine")\n', "a/app.star": text_app("one")["app.star"]})
    message = server.fails("sync", "schedule", f"{base}/apps.star")
    assert "authentication failed" in message and entries(server) == []
    sync_id = schedule(server, "--git-auth", "mine", f"{base}/apps.star")
    repo.commit({"a/app.star": text_app("two")["app.star"]})
    server.cli("sync", "run", sync_id)
    assert server.get("/private").text == "two" and entry(server, sync_id)["metadata"]["git_auth"] == "mine"
    server.cli("sync", "delete", sync_id)
    server.cli("app", "delete", "/private")


def test_dry_runs_change_nothing(server, fleet):
    fleet.declare({"a": "one"})
    out = server.cli("sync", "schedule", "--approve", "--dry-run", fleet.file)
    assert "dry-run mode" in out and "1 app(s) created" in out
    assert entries(server) == [] and server.apps() == {}
    sync_id = schedule(server, fleet.file)
    fleet.declare({"a": "two"})
    before = entry(server, sync_id)
    out = server.cli("sync", "run", "--dry-run", sync_id)
    assert "dry-run mode" in out and server.get(fleet.path("a")).text == "one"
    out = server.cli("sync", "delete", "--dry-run", sync_id)
    assert out.startswith(f"Sync job with Id {sync_id} deleted\n") and "dry-run mode" in out
    assert entry(server, sync_id) == before


def test_delete(server, fleet):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, fleet.file)
    assert server.cli("sync", "delete", sync_id) == f"Sync job with Id {sync_id} deleted\n"
    assert entries(server) == [] and server.get(fleet.path("a")).text == "one"
    assert f"no sync entry found with id for delete: {sync_id}" in server.fails("sync", "delete", sync_id)
    assert f"no sync entry found with id: {sync_id}" in server.fails("sync", "run", sync_id)


def test_formats_of_the_list(server, fleet):
    fleet.declare({"a": "one"})
    sync_id = schedule(server, "--minutes", "3", fleet.file)
    def show(f):
        return server.cli("sync", "list", "--format", f).splitlines()
    assert show("basic") == ["%-35s %-9s %-12s %s" % ("Id", "State", "SyncType", "Path"),
                             "%-35s %-9s %-12s %s" % (sync_id, "Enabled", "3 (mins)", fleet.file)]
    assert show("csv") == [f"{sync_id},Enabled,3 (mins),matched,true,true,false,false,,main,{fleet.file},,"]
    header = "%-35s %-9s %-12s %-8s %-8s %-7s %-7s %-7s %-10s %-15s %-60s %s" % (
        "Id", "State", "SyncType", "Reload", "Promote", "Approve", "Verify", "Clobber", "GitAuth", "Branch", "Path", "Error")
    row = "%-35s %-9s %-12s %-8s %-8s %-7s %-7s %-7s %-10s %-15s %-60s " % (
        sync_id, "Enabled", "3 (mins)", "matched", "true", "true", "false", "false", "", "main", fleet.file)
    assert [line.rstrip() for line in show("table")] == [header.rstrip(), row.rstrip()]
    record = json.loads(show("jsonl")[0])
    assert list(record) == ["id", "path", "is_scheduled", "user_id", "create_time", "metadata", "status"]
    assert list(record["status"]) == ["state", "failure_count", "last_execution_time", "error", "commit_id", "is_apply",
                                      "app_apply_response"]


def test_bad_arguments(server):
    assert "expected one arg : <filePath>" in server.fails("sync", "schedule")
    assert "expected one args: <syncId>" in server.fails("sync", "run")
    assert "no args expected" in server.fails("sync", "list", "x")
    assert "reload" in server.fails("sync", "schedule", "--reload", "always", "github.com/a/b/c.star")
    assert "negative" in server.fails("sync", "schedule", "--minutes", "-1", "github.com/a/b/c.star")
    assert "apply file name has to be specified" in server.fails("sync", "schedule", "http://127.0.0.1:1/a/b")


class TestWebhook:
    @pytest.fixture
    def hook(self, server, fleet):
        fleet.declare({"a": "one"})
        out = server.cli("sync", "schedule", "--webhook", "--approve", "--promote", fleet.file)

        class Hook:
            id = re.search(r"Sync job created with Id: (\S+)", out).group(1)
            url = re.search(r"^Webhook Url   : (\S+)$", out, re.M).group(1)
            secret = re.search(r"^Webhook Secret: (\S+)$", out, re.M).group(1)

            def call(self, body=b'{"ref": "refs/heads/main"}', headers=None):
                mac = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
                return server.post(f"/_openrun_webhook/sync?id={self.id}", data=body,
                                   headers={"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + mac}
                                   if headers is None else headers)
        return Hook()

    def test_push_runs_it_in_the_background(self, server, fleet, hook):
        assert hook.url == f"https://localhost:{server.https_port}/_openrun_webhook/sync?id={hook.id}"
        fleet.declare({"a": "two"})
        answer = hook.call()
        assert answer.status_code == 202
        operation = answer.json()["operation"]
        wait_for(lambda: server.get(fleet.path("a")).text == "two", "the run")
        wait_for(lambda: any(o["id"] == operation and o["state"] == "done" for o in operations(server, hook.id)), "its operation")
        fleet.declare({"a": "three"})
        assert hook.call(b"", {"Authorization": "Bearer " + hook.secret}).status_code == 202
        wait_for(lambda: server.get(fleet.path("a")).text == "three", "the script's run")
        fleet.declare({"a": "four"})
        assert hook.call(headers={"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hook.secret}).status_code == 202
        wait_for(lambda: server.get(fleet.path("a")).text == "four", "GitLab's run")

    def test_what_is_ignored_and_refused(self, server, fleet, hook):
        bearer = {"Authorization": "Bearer " + hook.secret}
        for body, headers in [(b'{"ref": "refs/heads/dev"}', bearer), (b'{"ref": "refs/tags/v1"}', bearer),
                              (b'{}', {**bearer, "X-GitHub-Event": "ping"})]:
            answer = hook.call(body, headers)
            assert answer.status_code == 200 and answer.json()["status"] == "ignored"
        scheduled = schedule(server, fleet.file)
        answers = [hook.call(headers={}), hook.call(headers={"Authorization": "Bearer x"})]
        for target in ("cl_syn_none", scheduled):
            answers.append(server.post(f"/_openrun_webhook/sync?id={target}", data=b"{}", headers=bearer))
        assert {(a.status_code, a.text) for a in answers} == {(401, answers[0].text)}
        assert operations(server, hook.id) == []

    def test_failure_is_in_the_list(self, server, fleet, hook):
        fleet.repo.commit({"a/app.star": "nonsense ("})
        assert hook.call().status_code == 202
        wait_for(lambda: entry(server, hook.id)["status"]["state"] == "Failing", "the failure")
        assert server.get(fleet.path("a")).text == "one"

    def test_secret_is_masked_and_the_clock_leaves_it_alone(self, server, fleet, hook):
        assert hook.secret not in server.cli("sync", "list", "--format", "json")
        assert hook.secret not in server.cli("sync", "list", "--format", "table")
        e = entry(server, hook.id, "--reveal")
        assert (e["metadata"]["webhook_secret"], e["metadata"]["webhook_url"]) == (hook.secret, hook.url)
        assert not e["is_scheduled"] and e["metadata"]["schedule_frequency"] == 0
        assert "Webhook" in server.cli("sync", "list", "--format", "basic")

    def test_both_clock_and_webhook(self, server, fleet):
        fleet.declare({"a": "one"})
        out = server.cli("sync", "schedule", "--webhook", "--minutes", "60", "--approve", fleet.file)
        e = entries(server)[0]
        assert "Webhook Secret: " in out and e["is_scheduled"] and e["metadata"]["schedule_frequency"] == 60

    def test_a_burst_is_few_runs(self, server, fleet, hook):
        fleet.declare({"a": "two"})
        answers = [hook.call() for _ in range(20)]
        assert {a.status_code for a in answers} == {202}
        wait_for(lambda: all(o["state"] == "done" for o in operations(server, hook.id)), "the runs")
        assert len(operations(server, hook.id)) < 20 and server.get(fleet.path("a")).text == "two"
