"""kill -9 in the middle of operations: after the restart the metadata is as before or as after, and what is served agrees."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import random
import sqlite3
import subprocess
import time

import pytest

import openrun
import sources
from openrun import wait_for

# Written and read by hand, so that a broken row shows.
TABLES = {"apps": "id, path, domain, main_app, source_url, settings, metadata",
          "app_versions": "appid, version, previous_version, metadata", "app_files": "appid, version, name, sha"}


def state(home):
    """All metadata of apps, and the check that every file row has its content."""
    db = sqlite3.connect(f"file:{home}/metadata/clace_metadata.db?mode=ro", uri=True, timeout=30)
    try:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        missing = db.execute("select name from app_files where sha not in (select sha from files)").fetchall()
        assert missing == [], "file rows without content"
        return {t: sorted(map(str, db.execute(f"select {c} from {t}").fetchall())) for t, c in TABLES.items()}
    finally:
        db.close()


def versions_of(home):
    """What must be the same whenever an operation is done, ids and times aside."""
    db = sqlite3.connect(f"file:{home}/metadata/clace_metadata.db?mode=ro", uri=True, timeout=30)
    try:
        apps = db.execute("select domain, path, json_extract(metadata, '$.version_metadata.version'), "
                          "json_extract(metadata, '$.version_metadata.previous_version'), json_extract(metadata, '$.name'), "
                          "json_extract(metadata, '$.param_values') from apps order by 1, 2").fetchall()
        rows = db.execute("select substr(appid, 1, 8), version, previous_version from app_versions order by 1, 2").fetchall()
        files = db.execute("select substr(appid, 1, 8), version, name, sha from app_files order by 1, 2, 3").fetchall()
        return apps, rows, files
    finally:
        db.close()


def served(s, path="/x"):
    out = []
    for host in ("localhost", "stage.localhost"):
        r = s.get(path, host=host)
        out.append(r.text if r.status_code == 200 else r.status_code)
    return tuple(out)


def interrupted(s):
    """The outcome of each operation that the last server did not finish."""
    rows = json.loads(s.cli("operation", "list", "--format", "json"))
    return [r["outcome"] for r in rows if r["state"] == "interrupted"]


# name -> (what is there first, the operation, what is served before, what after)
OPERATIONS = {
    "create": ([], ["app", "create", "{source}", "/x"], (404, 404), ("two", "two")),
    "reload": (["one"], ["app", "reload", "/x"], ("one", "one"), ("one", "two")),
    "promote": (["one", "reload"], ["app", "promote", "/x"], ("one", "two"), ("two", "two")),
    "reload --promote": (["one"], ["app", "reload", "--promote", "/x"], ("one", "one"), ("two", "two")),
    "delete": (["one"], ["app", "delete", "/x"], ("one", "one"), (404, 404)),
    "switch": (["one", "reload"], ["version", "switch", "1", "stage.localhost:/x"], ("one", "two"), ("one", "one")),
    "param --promote": (["one"], ["param", "update", "--promote", "p", "v", "/x"], ("one", "one"), ("one", "one")),
    # /x is there already; nineteen more are new.
    "apply": (["one"], ["apply", "--approve", "--promote", "--clobber", "{source}/../apps.ace"], ("one", "one"), ("two", "two")),
}
OTHERS = [f"/y{i}" for i in range(19)]


class Case:
    """A home in the state before an operation, kept as a copy to return to."""

    def __init__(self, tmp_path, name):
        setup, self.command, self.served_before, self.served_after = OPERATIONS[name]
        self.source, self.server = tmp_path / "app", openrun.Server(tmp_path / "home")
        self.kept = tmp_path / "kept"
        s = self.server
        sources.folder(self.source, sources.text_app("one"))
        (tmp_path / "apps.ace").write_text("".join(f'app("{path}", "{self.source}")\n' for path in ["/x", *OTHERS]))
        s.start()
        if setup:
            s.cli("app", "create", str(self.source), "/x")
        sources.folder(self.source, sources.text_app("two"))
        if "reload" in setup:
            s.cli("app", "reload", "/x")
        s.stop()
        subprocess.run(["cp", "-a", s.home, self.kept], check=True)
        self.before = state(s.home)

    def rewind(self):
        subprocess.run(["rm", "-rf", self.server.home], check=True)
        subprocess.run(["cp", "-a", self.kept, self.server.home], check=True)

    def run(self):
        return self.server.try_cli(*[c.format(source=self.source) for c in self.command])

    def judge(self, after, told_success):
        """Starts again after the kill; the state must be one of the two. True if it is the one after."""
        s = self.server
        now = versions_of(s.home)
        is_before = state(s.home) == self.before
        assert is_before or now == after, f"neither before nor after:\n{now}\n{after}"
        assert not (told_success and is_before), "the client was told of a success that is lost"
        s.start()
        assert served(s) == (self.served_before if is_before else self.served_after)
        if self.command[0] == "apply":
            for path in OTHERS[:1] + OTHERS[-1:]:
                assert served(s, path) == ((404, 404) if is_before else ("two", "two"))
        # It says which.
        assert interrupted(s) in ([], ["undone" if is_before else "done"])
        assert interrupted(s) or told_success or is_before, "an operation that was cut short is not listed"
        # And life goes on: the same operation can be done, or is done.
        if is_before:
            result = self.run()
            assert result.code == 0, result
            assert served(s) == self.served_after
            assert versions_of(s.home) == after
        s.stop()
        return not is_before


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_fault_point(tmp_path, name):
    """Dies at the 1st, 2nd, ... write or commit of the operation, until it gets through."""
    case = Case(tmp_path, name)
    s = case.server
    # What a run without faults gives.
    s.start()
    result = case.run()
    assert result.code == 0, result
    assert served(s) == case.served_after
    s.stop()
    after = versions_of(s.home)
    outcomes = []
    # An apply of twenty apps has hundreds of them.
    is_all = os.environ.get("OPENRUN_TEST_ALL") == "1"
    step = (7 if is_all else 97) if name == "apply" else 1 if is_all or name == "create" else 2
    for point in range(1, 60 * step, step):
        case.rewind()
        s.launch(OPENRUN_FAULT_POINT=f"metadata:{point}")
        s.wait_start()   # or it dies of the fault at its start
        seen = len(s.err)
        result = case.run() if s.is_running() else None
        told_success = result is not None and result.code == 0
        if told_success:   # it may still die in what comes after the answer
            s.kill()
        else:              # the connection ends before the process does
            s.wait_end()
            s.process = None
        assert told_success or f"fault point {point}:" in s.err, result
        is_after = case.judge(after, told_success)
        if told_success and f"fault point {point}:" not in s.err[seen:]:
            break          # got through: no fault point was left
        outcomes.append(is_after)
    else:
        pytest.fail("no end of fault points")
    assert outcomes, "the operation met fault points"
    assert outcomes == sorted(outcomes), "once it is done it is done"


@pytest.mark.parametrize("name", ["create", "reload", "promote"])
def test_kill_at_any_time(tmp_path, name):
    """kill -9 after a random short time; the operation is done or not, nothing else."""
    case = Case(tmp_path, name)
    s = case.server
    s.start()
    started = time.monotonic()
    result = case.run()
    whole = time.monotonic() - started
    assert result.code == 0, result
    s.stop()
    after = versions_of(s.home)
    random.seed(name)
    for _ in range(4):
        case.rewind()
        s.start()
        operation = subprocess.Popen([openrun.binary(), *[c.format(source=case.source) for c in case.command]], env=s.env,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(random.uniform(0, whole))
        s.kill()
        _, err = operation.communicate(timeout=120)
        assert operation.returncode == 0 or "error: " in err
        case.judge(after, operation.returncode == 0)


def test_kill_with_running_containers(docker, new_box, webapp, folder):
    """During a reload that builds and starts a container: old containers are adopted, leftovers do no harm."""
    s = new_box(docker).start().keep_ports()
    app = folder(webapp)
    s.cli("app", "create", "--spec", "container", "--approve", str(app), "/x")
    version = lambda host: s.get("/x/json", host=host).json()["env"]["VERSION"]   # noqa: E731
    assert version("localhost") == version("stage.localhost") == "1"
    containers = set(docker.containers(s.home))
    folder({"Containerfile": webapp["Containerfile"].replace("VERSION=1", "VERSION=2\nENV START_DELAY_MS=1500")})
    for delay in (0.1, 0.6, 1.2):
        operation = subprocess.Popen([openrun.binary(), "app", "reload", "--promote", "/x"], env=s.env, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        s.kill()
        _, err = operation.communicate(timeout=120)
        assert operation.returncode == 1 and "error: " in err
        s.start()
        assert version("localhost") == version("stage.localhost") == "1"
        assert containers <= set(docker.containers(s.home, everything=False)), "adopted, not made anew"
        wait_for(lambda: set(docker.containers(s.home)) == containers, "the container of the reload to be gone")
        assert interrupted(s) in ([], ["undone"])
    s.cli("app", "reload", "--promote", "/x")
    assert version("localhost") == version("stage.localhost") == "2"


def test_many_kills_in_a_row_lose_nothing_that_was_told(tmp_path):
    """A stream of creates under kill -9: every app that was reported as created is there and serves."""
    s = openrun.Server(tmp_path / "home").start()
    source = str(sources.folder(tmp_path / "app", sources.text_app("hi")))
    told, n = [], 0
    random.seed(7)
    for _ in range(4):
        stop = time.monotonic() + random.uniform(0.3, 1.0)
        pending = None
        while time.monotonic() < stop:
            n += 1
            result = s.try_cli("app", "create", source, f"/a{n}")
            if result.code == 0:
                told.append(f"/a{n}")
        n += 1
        pending = subprocess.Popen([openrun.binary(), "app", "create", source, f"/a{n}"], env=s.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, 0.2))
        s.kill()
        if pending.wait(60) == 0:
            told.append(f"/a{n}")
        s.start()
    apps = s.apps()
    assert set(told) <= set(apps) and told
    assert all(s.get(path).text == "hi" for path in apps)
    s.dispose()
