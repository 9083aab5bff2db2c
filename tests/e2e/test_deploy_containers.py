"""Deploys of containers: verified before they count, drained after, their builds shown live and kept."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import os
import pty
import re
import select
import signal
import subprocess
import threading
import uuid

import pytest

import openrun
import web
from openrun import wait_for

CONFIG = {"app_config": {"container": {"deploy_health_attempts": 20}}}


def create(box, path, source, *flags):
    return box.cli("app", "create", "--spec", "container", "--approve", *flags, source, path)


def version(box, path, host="localhost"):
    return box.get(path + "/json", host=host).json()["env"]["VERSION"]


def ids(box, path):
    apps = box.apps("--internal", path)
    return apps[path]["id"], apps["stage.localhost:" + path]["id"]


# --- verified ---

def test_create_verify_starts_both_or_creates_nothing(box, engine, app, path):
    error = box.fails("app", "create", "--spec", "container", "--approve", "--verify", "--conf", "container.deploy_health_attempts=2",
                      app(EXIT_CODE=4), path)
    assert "verify failed" in error and "exited with code 4" in error and "webapp: told to fail" in error, error
    assert "All changes have been reverted" in error
    assert box.apps() == {} or path not in box.apps()
    create(box, path, app(2), "--verify")
    prod, stage = ids(box, path)
    assert len(engine.running(box.home, prod)) == len(engine.running(box.home, stage)) == 1, "both are up before anybody asks"
    assert version(box, path) == "2"


def test_reload_verify_of_a_broken_version_changes_nothing(box, engine, app, path):
    create(box, path, app(1), "--verify")
    before = box.apps("--internal", path), box.versions(path)
    app(2, EXIT_CODE=9)
    error = box.fails("app", "reload", "--promote", "--verify", path)
    assert "verify failed" in error and "exited with code 9" in error, error
    assert (box.apps("--internal", path), box.versions(path)) == before
    assert version(box, path) == version(box, path, "stage.localhost") == "1"


def test_promote_of_an_awake_app_has_the_new_container_up_before_the_switch(box, engine, app, path):
    """Every answer during the promotion comes from one version or the other, and quickly: nobody waits for a start."""
    create(box, path, app(1), "--verify")
    app(2, START_DELAY_MS=2000)
    box.cli("app", "reload", path)
    stop, slowest, seen = threading.Event(), [0.0], []

    def load():
        with web.session() as s:
            while not stop.is_set():
                r = s.get(box.url(path + "/json"), timeout=120)
                assert r.status_code == 200, r.text
                slowest[0] = max(slowest[0], r.elapsed.total_seconds())
                seen.append(r.json()["env"]["VERSION"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        try:
            wait_for(lambda: "1" in seen, "the old version")
            box.cli("app", "promote", path)
            assert version(box, path) == "2"
        finally:
            stop.set()
        loading.result()
    assert "".join(seen) == "1" * seen.count("1") + "2" * seen.count("2"), "never back to the old one"


# --- drained ---

def test_slow_answers_and_streams_outlive_a_promote(box, engine, app, path):
    create(box, path, app(1), "--verify")
    prod, _ = ids(box, path)
    app(2)
    box.cli("app", "reload", path)
    bad, stop = [], threading.Event()

    def ask(what, check):
        with web.session() as s:
            while not stop.is_set():
                r = s.get(box.url(path + what), timeout=120)
                if r.status_code != 200 or not check(r.text):
                    bad.append((what, r.status_code, r.text))
    lines = "".join(f"line {i}\n" for i in range(15))
    jobs = [("/slow?ms=1500", lambda t: t == "slow\n"), ("/stream?n=15", lambda t: t == lines),
            ("/json", lambda t: '"VERSION"' in t), ("/bytes?n=3000000", lambda t: len(t) == 3000000)]
    threads = [threading.Thread(target=ask, args=j) for j in jobs]
    with web.websocket(box.url(path + "/ws").replace("https", "wss")) as ws:
        for t in threads:
            t.start()
        try:
            box.cli("app", "promote", path)
            assert version(box, path) == "2"
            ws.send("still here?")
            assert ws.recv() == "still here?", "a WebSocket stays with the old version"
            assert len(engine.running(box.home, prod)) == 2, "which lives as long as it is used"
        finally:
            stop.set()
            for t in threads:
                t.join()
    assert bad == []
    wait_for(lambda: len(engine.running(box.home, prod)) == 1, "the old version to stop once its last user has gone")


def test_what_does_not_end_is_cut_off_after_the_drain_time(new_box, engine, app):
    s = new_box(engine, {"restart": {"drain_timeout_secs": 1}}).start()
    create(s, "/x", app(1), "--verify")
    prod, _ = ids(s, "/x")
    app(2)
    with web.websocket(s.url("/x/ws").replace("https", "wss")) as ws:
        ws.send("a")
        assert ws.recv() == "a"
        s.cli("app", "reload", "--promote", "/x")
        wait_for(lambda: len(engine.running(s.home, prod)) == 1, "the old version to be stopped")
        with pytest.raises(Exception, match="close frame|closed|reset"):
            for _ in range(100):
                ws.send("b")
                ws.recv()
    assert version(s, "/x") == "2"


# --- crashes ---

def test_a_crashed_container_is_started_again_at_once(box, engine, app, path):
    create(box, path, app(1), "--verify")
    prod, _ = ids(box, path)
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={prod}")

    def started():
        return engine.run("logs", container).count("webapp: starting")
    # The event stream says so: nobody has to ask for it.
    assert box.get(path + "/exit?code=5").status_code == 200
    wait_for(lambda: started() == 2 and engine.running(box.home, prod), lambda: f"the second start, there were {started()}")
    assert version(box, path) == "1"
    engine.run("stop", "-t", "1", container)
    assert not engine.running(box.home, prod), "who stops it by hand wants it stopped"
    assert version(box, path) == "1"


def test_a_crash_loop_backs_off(box, engine, app, path):
    create(box, path, app(1, CRASH_AFTER_MS=150))
    prod, _ = ids(box, path)

    def refusal():
        r = box.get(path + "/json")
        return [r] if r.status_code == 500 and "keeps ending" in r.text else None
    (r,) = wait_for(refusal, "the crash loop to be seen")
    assert int(r.headers["Retry-After"]) > 0
    assert "Logs" not in r.text, "logs are not for anybody"
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={prod}")
    starts = engine.run("logs", container).count("webapp: starting")
    for _ in range(20):
        box.get(path + "/json")
    # Where each of them takes long, a pause may end between two.
    assert engine.run("logs", container).count("webapp: starting") < starts + 10, "requests meanwhile do not start it"


# --- builds ---

def test_build_output_comes_as_lines_and_is_kept(box, app, path):
    create(box, path, app(1, lines=3))
    assert "no image" in box.fails("app", "logs", path, "--build")
    result = box.try_cli("app", "reload", path)
    assert result.code == 0, result
    assert "==> building the image\n" in result.err and re.search(r"build line 2 <&>\n", result.err), result.err
    assert "build line" not in result.out
    for host in ("", "stage.localhost:"):
        log = box.cli("app", "logs", host + path, "--build")
        assert log.startswith("==> building image cli-") and re.search(r"build line 2 <&>\n", log), log
        assert re.search(r"==> built after \d+\.\d s\n$", log), log
    assert box.cli("app", "logs", path, "--build", "--tail", "1").startswith("==> built after")
    prod, _ = ids(box, path)
    file = box.home / "run" / "app" / prod / "build.log"
    assert file.stat().st_mode & 0o777 == 0o600
    app(1, lines=1, EXIT_CODE=1)
    box.try_cli("app", "reload", path)
    assert "build line 2" not in box.cli("app", "logs", path, "--build"), "the last one only"
    box.cli("app", "delete", path)
    assert not file.exists()


def test_a_build_under_way_is_followed_to_its_end(box, app, path):
    create(box, path, app(1))
    app(2, lines=20)
    reload = subprocess.Popen([openrun.binary(), "app", "reload", path], env=box.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: "build line 1 " in box.try_cli("app", "logs", path, "--build").out, "the build's output")
        log = box.cli("app", "logs", path, "--build", "-f")
        assert [f"build line {i} <&>" in log for i in range(20)] == [True] * 20, log
        assert log.count("build line 7 <") == 1 and "==> built after" in log
    finally:
        reload.communicate(timeout=120)


def test_a_failed_build_is_kept_and_shown(box, webapp, folder, path):
    source = folder({**webapp, "Containerfile": webapp["Containerfile"] + f'ENV U={uuid.uuid4()}\nRUN ["/nothing-here"]\n'})
    create(box, path, str(source))
    error = box.fails("app", "reload", path)
    assert "nothing-here" in error and "exit code" in error, error
    log = box.cli("app", "logs", path, "--build")
    assert "nothing-here" in log and re.search(r"==> building image .* failed .* after \d+\.\d s\n$", log), log


def test_a_terminal_shows_the_phase_and_the_last_lines(box, app, path):
    create(box, path, app(1))
    app(2, lines=8)
    main, end = pty.openpty()
    child = subprocess.Popen([openrun.binary(), "app", "reload", path], env={**box.env, "TERM": "xterm"}, stdin=end, stdout=end,
                             stderr=end)
    os.close(end)
    text = b""
    while True:
        readable, _, _ = select.select([main], [], [], 120)
        assert readable, text
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(main)
    assert child.wait(60) == 0, text
    text = text.decode()
    assert re.search(r"building the image  \d+ s", text), text
    assert "build line" in text and "==>" not in text
    last = text.rsplit("\033[J", 1)[1]
    assert re.match(r"\d+\.\d s: .*building the image \d+\.\d s", last), last
    assert "1 app(s) reloaded" in last and "build line" not in last


def test_ctrl_c_ends_the_build(box, app, path):
    create(box, path, app(1), "--verify")
    before = box.versions(path)
    mark = uuid.uuid4().hex
    app(2, lines=2000, MARK=mark)
    reload = subprocess.Popen([openrun.binary(), "app", "reload", path], env=box.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    wait_for(lambda: "build line 1 " in box.try_cli("app", "logs", path, "--build").out, "the build to run")
    reload.send_signal(signal.SIGINT)
    _, err = reload.communicate(timeout=120)
    assert reload.returncode == 130 and "cancels operation" in err, err

    def processes():
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                environment = open(f"/proc/{pid}/environ", "rb").read()
            except OSError:
                continue
            if mark.encode() in environment:
                found.append(pid)
        return found
    wait_for(lambda: not processes(), lambda: f"the build's processes to end: {processes()}")
    wait_for(lambda: "cancelled after" in box.cli("app", "logs", path, "--build"), "its end in the log")
    assert box.versions(path) == before and version(box, path) == "1"
