"""Apps in containers, on Docker and on Podman: build, serve, stage and promote, sleep and wake, adoption, failures."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import threading

import pytest
import websockets

import engines
import sources
import web
from openrun import wait_for

CONFIG = {"app_config": {"container": {"deploy_health_attempts": 20}}}


def version(box, path, host="localhost"):
    return box.get(path + "/json", host=host).json()["env"]["VERSION"]


def ids(box, path):
    """(production id, stage id) of the app."""
    apps = box.apps("--internal", path)
    return apps[path]["id"], apps["stage.localhost:" + path]["id"]


def test_build_serve_and_what_the_container_gets(box, engine, app, path):
    out = box.cli("app", "create", "--spec", "container", "--approve", "--param", "COLOR=blue", app(), path)
    assert out.endswith("App created. Permissions have been approved\n")
    prod, stage = ids(box, path)
    assert box.apps()[path]["metadata"]["spec"] == "container"
    assert not engine.running(box.home, prod), "create starts nothing"
    r = box.get(path + "/json?x=1")
    assert r.status_code == 200, r.text
    got = r.json()
    assert got["path"] == "/json" and got["query"] == "x=1"
    assert got["env"]["CL_APP_PATH"] == path and got["env"]["PORT"] == "8080" and got["env"]["COLOR"] == "blue"
    assert got["env"]["CL_APP_URL"] == f"https://localhost:{box.https_port}{path}"
    headers = {k.lower(): v for k, v in got["headers"].items()}
    assert headers["x-forwarded-prefix"] == path and headers["x-openrun-user"] == "anonymous"
    (container,) = engine.running(box.home, prod)
    labels = container["Config"]["Labels"]
    assert labels["dev.openrun.app.id"] == prod and labels["dev.openrun.app.path"] == path
    assert labels["dev.openrun.server.home"] == str(box.home) and labels["dev.openrun.dev"] == "false"
    name = container["Name"].lstrip("/")
    assert re.fullmatch(rf"clc-{prod}-[0-9a-f]{{16}}", name)
    assert labels["dev.openrun.version.hash"].startswith(name[-16:])
    assert not engine.running(box.home, stage), "a twin nobody asks for does not run"
    assert box.get(path + "/json", host="stage.localhost").json()["env"]["CL_APP_PATH"] == path
    assert len(engine.running(box.home, stage)) == 1


def test_bodies_streams_and_statuses(box, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(), path)
    assert box.get(path).text.startswith("hello from ")
    assert len(box.get(path + "/bytes?n=5000000").content) == 5_000_000
    r = box.post(path + "/other", data=b"z" * 10_000_000)
    assert r.json()["body_bytes"] == 10_000_000 and r.json()["method"] == "POST"

    def chunks():
        for _ in range(100):
            yield b"c" * 1000
    assert box.post(path + "/other", data=chunks()).json()["body_bytes"] == 100_000
    assert box.get(path + "/status/418").status_code == 418
    assert box.get(path + "/stream?n=5").text == "".join(f"line {i}\n" for i in range(5))
    r = box.get(path + "/status/302")
    assert r.status_code == 302 and r.headers["Location"] == path + "/json"


def test_websocket_echo(box, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(), path)
    with web.websocket(box.url(path + "/ws").replace("https", "wss")) as ws:
        for message in ("hello", "x" * 50_000, b"\x00\x01" * 100):
            ws.send(message)
            assert ws.recv(timeout=60) == message


def test_reload_promote_and_back(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(1), path)
    assert version(box, path) == "1"
    app(2)
    box.cli("app", "reload", path)
    assert (version(box, path, "stage.localhost"), version(box, path)) == ("2", "1")
    box.cli("app", "promote", path)
    assert version(box, path) == "2"
    prod, stage = ids(box, path)
    for id in (prod, stage):
        names = lambda: [c["Name"] for c in engine.running(box.home, id)]   # noqa: B023,E731
        wait_for(lambda: len(names()) == 1, lambda: f"one container of {id}, there are {names()}")
    box.cli("version", "revert", path)
    assert version(box, path) == "1"
    assert version(box, path, "stage.localhost") == "2"


def test_reload_with_a_broken_new_version_keeps_the_old_one(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(1), path)
    assert version(box, path) == version(box, path, "stage.localhost") == "1"
    before = box.apps("--internal", path)
    app(2, EXIT_CODE=7)
    error = box.fails("app", "reload", "--promote", path)
    assert "7" in error and "webapp: told to fail" in error
    assert box.apps("--internal", path) == before
    assert version(box, path) == version(box, path, "stage.localhost") == "1"
    for id in ids(box, path):
        assert len(engine.running(box.home, id)) == 1, "nothing is left of the attempt"


def test_requests_never_fail_during_a_deploy(box, app, path):
    """Requests in flight, slow ones too, survive reloads with promote."""
    box.cli("app", "create", "--spec", "container", "--approve", app(1), path)
    assert version(box, path) == "1"
    stop, bad, seen = threading.Event(), [], set()

    def load(slow):
        with web.session() as s:
            while not stop.is_set():
                r = s.get(box.url(path + ("/slow?ms=300" if slow else "/json")), timeout=120)
                if r.status_code != 200:
                    bad.append((r.status_code, r.text))
                elif not slow:
                    seen.add(r.json()["env"]["VERSION"])
    threads = [threading.Thread(target=load, args=(i == 0,)) for i in range(4)]
    for t in threads:
        t.start()
    try:
        for v in (2, 3):
            app(v)
            box.cli("app", "reload", "--promote", path)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert bad == []
    assert {"1", "3"} <= seen | {version(box, path)} and version(box, path) == "3"


def test_params_and_options_make_a_new_container_when_promoted(box, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", "--param", "COLOR=blue", app(), path)
    assert box.get(path + "/json").json()["env"]["COLOR"] == "blue"
    box.cli("param", "update", "COLOR", "red", path)
    assert box.get(path + "/json").json()["env"]["COLOR"] == "blue"
    assert box.get(path + "/json", host="stage.localhost").json()["env"]["COLOR"] == "red"
    box.cli("app", "promote", path)
    assert box.get(path + "/json").json()["env"]["COLOR"] == "red"


def test_limits_reach_the_engine(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", "--copt", "cpus=500m", "--copt", "memory=64Mi", app(), path)
    assert box.get(path + "/json").status_code == 200
    (container,) = engine.running(box.home, ids(box, path)[0])
    host = container["HostConfig"]
    assert host["Memory"] == 64 << 20
    assert host.get("NanoCpus") == 500_000_000 or host["CpuQuota"] / host["CpuPeriod"] == 0.5


def test_options_that_are_not_allowed(box, app, path):
    result = box.try_cli("app", "create", "--spec", "container", "--approve", "--copt", "command.privileged", app(), path)
    message = result.err if result.code else box.get(path + "/json").text
    assert 'container argument "privileged" is not allowed' in message


def test_volumes_keep_their_data_between_versions(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", "--cvol", "data:/data", app(1), path)
    assert box.get(path + "/json").status_code == 200
    prod = ids(box, path)[0]
    (first,) = engine.running(box.home, prod)
    app(2)
    box.cli("app", "reload", "--promote", path)
    assert version(box, path) == "2"
    second = next(c for c in engine.running(box.home, prod) if c["Id"] != first["Id"])

    def volume(c):
        return next(m["Name"] for m in c["Mounts"] if m["Destination"] == "/data")
    assert volume(first) == volume(second) and volume(first).startswith(f"clv-{prod}-")
    engine.run("volume", "rm", "--force", volume(first), check=False)


def test_mounts_outside_the_allowed_folders_are_refused(box, app, path):
    result = box.try_cli("app", "create", "--spec", "container", "--approve", "--cvol", "/etc:/host-etc", app(), path)
    message = result.err if result.code else box.get(path + "/json").text
    assert "/etc" in message and "is not within an allowed mount directory" in message


def test_delete_removes_the_containers(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(), path)
    assert version(box, path) == "1"
    prod, _ = ids(box, path)
    box.cli("app", "delete", path)
    assert box.get(path).status_code == 404
    wait_for(lambda: not engine.containers(box.home, f"label=dev.openrun.app.id={prod}"), "the container to be removed")


# --- sleep and wake ---

def idle_app(box, app, path, *flags, **env):
    box.cli("app", "create", "--spec", "container", "--approve", "--conf", "container.idle_shutdown_secs=1",
            "--conf-str", "container.idle_action=stop", *flags, app(**env), path)
    assert version(box, path) == "1"
    return ids(box, path)[0]


def wait_asleep(box, engine, app_id):
    wait_for(lambda: not engine.running(box.home, app_id), "the container to stop")


def starts(engine, container):
    """How often it was started, as the engine says: its start time changes with each."""
    return engine.inspect(container)["State"]["StartedAt"]


def test_idle_stop_and_one_start_for_200_waiting_requests(box, engine, app, path):
    app_id = idle_app(box, app, path, START_DELAY_MS=2000)   # so that all are there before it is up
    wait_asleep(box, engine, app_id)
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={app_id}")
    # The engine's own record of starts, from here on. It ends by itself: `--until` in the future cuts it off.
    began = engine.run("info", "--format", "{{.SystemTime}}") if engine.name == "docker" else None
    waiting = [web.raw(box.http_port, f"GET {path}/json?n={i} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(),
                       timeout=120) for i in range(200)]
    for i, sock in enumerate(waiting):
        with sock:
            answer = web.read_all(sock)
        assert web.status_of(answer) == 200 and f'"n={i}"'.encode() in answer, answer
    assert engine.containers(box.home, f"label=dev.openrun.app.id={app_id}") == [container], "no second container"
    if began:
        until = engine.run("info", "--format", "{{.SystemTime}}")
        events = engine.run("events", "--since", began, "--until", until, "--filter", f"container={container}", "--filter",
                            "event=start", "--format", "{{.Status}}")
        assert events.split() == ["start"], events
    logs = engine.run("logs", container)
    assert logs.count("webapp: starting") == 2, f"the first start and exactly one more:\n{logs}"


def test_asleep_it_is_paused_and_later_stopped(box, engine, app, path):
    app_id = idle_app(box, app, path, "--conf-str", "container.idle_action=pause", "--conf", "container.idle_stop_secs=2")
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={app_id}")
    wait_for(lambda: engine.inspect(container)["State"]["Status"] == "paused", "the container to be paused")
    assert version(box, path) == "1"
    assert engine.run("logs", container).count("webapp: starting") == 1, "it went on where it was"
    wait_for(lambda: engine.inspect(container)["State"]["Status"] == "exited", "the container to stop")
    assert version(box, path) == "1"


def test_a_paused_one_is_seen_to_go_on(box, engine, app, path):
    """Where the kernel tells, requests need not wait until the engine has said so."""
    app_id = idle_app(box, app, path, "--conf-str", "container.idle_action=pause")
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={app_id}")
    about = engine.inspect(container)
    groups = pathlib.Path(f"/proc/{about['State']['Pid']}/cgroup").read_text()
    seen = []
    while not any(seen) and len(seen) < 10:    # the engine may be faster, once
        wait_for(lambda: engine.inspect(container)["State"]["Status"] == "paused", "the container to be paused")
        assert version(box, path) == "1"
        wait_for(lambda: engine.inspect(container)["State"]["Status"] == "running", "the engine to know, too")
        def wakes():
            return [line["thaw_ms"] for line in box.log() if line["message"] == "container started" and app_id in line["container"]]
        wait_for(lambda: len(wakes()) == len(seen) + 2, "the wake to be logged")     # noqa: B023
        seen = wakes()[1:]
    assert any(seen) == (about["Id"] in groups), (seen, groups)
    assert engine.run("logs", container).count("webapp: starting") == 1


def test_wake_by_a_client_that_leaves_early(box, engine, app, path):
    app_id = idle_app(box, app, path, START_DELAY_MS=500)
    wait_asleep(box, engine, app_id)
    request = f"GET {path}/json HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with web.raw(box.http_port, request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as patient:
        for _ in range(10):
            web.raw(box.http_port, request).close()
        assert web.status_of(web.read_all(patient)) == 200, "who stays is served"
    wait_asleep(box, engine, app_id)
    for _ in range(10):
        web.raw(box.http_port, request).close()
    assert version(box, path) == "1", "when all have left, the next one is served as ever"
    box.check()


def test_traffic_and_open_websockets_keep_it_awake(box, engine, app, path):
    app_id = idle_app(box, app, path, "--conf", "container.idle_bytes_high_watermark=1")
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={app_id}")
    with web.websocket(box.url(path + "/ws").replace("https", "wss")) as ws:
        done = threading.Event()

        def chat():
            while not done.is_set():
                ws.send("y" * 200)
                assert ws.recv(timeout=60) == "y" * 200
                done.wait(0.2)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            chatting = pool.submit(chat)
            try:
                # The engine's program takes its time, so it is asked while there is traffic only.
                first = starts(engine, container)
                done.wait(5)   # longer than several idle periods
                assert starts(engine, container) == first and engine.running(box.home, app_id)
            finally:
                done.set()
            chatting.result()
    r = box.get(path + "/slow?ms=4000")
    assert r.status_code == 200, "a request in flight is activity, however slow"
    assert starts(engine, container) == first
    wait_asleep(box, engine, app_id)


def test_requests_that_meet_the_stop_are_served(box, engine, app, path):
    """Requests spaced about one idle period apart: some arrive just as the container is being stopped."""
    app_id = idle_app(box, app, path)
    for i in range(6):
        threading.Event().wait(0.8 + i * 0.13)
        assert box.get(path + "/json").status_code == 200
    assert engine.containers(box.home, f"label=dev.openrun.app.id={app_id}")


# --- restart of the server, death of containers ---

def test_container_is_adopted_after_a_restart_and_after_a_crash(engine, new_box, app):
    s = new_box(engine).start().keep_ports()
    s.cli("app", "create", "--spec", "container", "--approve", app(), "/x")
    assert version(s, "/x") == "1"
    (container,) = engine.containers(s.home)
    first = starts(engine, container)
    s.restart()
    assert engine.containers(s.home, everything=False) == [container], "it kept running"
    assert version(s, "/x") == "1"
    s.kill()
    s.start()
    assert version(s, "/x") == "1"
    assert engine.containers(s.home) == [container] and starts(engine, container) == first


def test_container_that_dies_is_started_again(box, engine, app, path):
    box.cli("app", "create", "--spec", "container", "--approve", app(), path)
    assert version(box, path) == "1"
    (container,) = engine.containers(box.home, f"label=dev.openrun.app.id={ids(box, path)[0]}")
    for how in (["kill"], ["rm", "--force"]):
        engine.run(*how, container)
        # Its address may be anybody's now: until it is back the answer is an error of ours, never a stranger's.
        def is_back():
            r = box.get(path + "/json")
            assert r.status_code in (200, 500, 502, 503), r.text
            return r.status_code == 200 and r.json()["env"]["CL_APP_PATH"] == path
        wait_for(is_back, f"the app to be back after {how}", timeout=30)


def test_container_whose_network_vanishes(box, engine, app, path):
    """Neither the end of a connection nor a refusal comes from it: what is in flight ends when the engine tells of its death."""
    if os.geteuid() != 0 or not shutil.which("nsenter") or not shutil.which("ip"):
        pytest.skip("root, nsenter and ip are needed to take a container's network away")
    box.cli("app", "create", "--spec", "container", "--approve", app(), path)
    assert version(box, path) == "1"
    info, = engine.running(box.home, ids(box, path)[0])
    with concurrent.futures.ThreadPoolExecutor(20) as pool, web.websocket(box.url(path + "/ws").replace("https", "wss")) as ws:
        ws.send("there")
        assert ws.recv() == "there"
        list(pool.map(lambda _: box.get(path + "/slow?ms=300"), range(8)))   # connections for the pool
        asks = [("GET", 3000, {}), ("GET", 3000, {}), ("POST", 600000, {}), ("POST", 600000, {"data": b"x"})]
        futures = [pool.submit(box.request, method, f"{path}/slow?ms={ms}&say=1", timeout=100, **more) for method, ms, more in asks]
        wait_for(lambda: engine.run("logs", info["Id"]).count("slow ") == 4, "all to have arrived")
        subprocess.run(["nsenter", "--net", "--target", str(info["State"]["Pid"]), "ip", "link", "set", "eth0", "down"], check=True)
        engine.run("kill", info["Id"])
        answers = [f.result() for f in futures]
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            ws.recv(timeout=100)
        assert [r.status_code for r in answers] == [200, 200, 502, 502]
        assert all("the application has ended before it answered" in r.text for r in answers[2:])
        assert {r.status_code for r in pool.map(lambda _: box.get(path + "/json"), range(20))} == {200}


# --- failures explain themselves ---

@pytest.mark.parametrize("env, expected", [
    ({"EXIT_CODE": 3}, ["exited with code 3", "Logs", "webapp: told to fail"]),
    ({"NO_LISTEN": 1}, ["did not answer", "8080", "Logs", "webapp: starting"]),
    ({"HEALTH_STATUS": 500}, ["did not answer GET /health", "500", "Logs", "webapp: listening on port 8080"]),
], ids=["exits-at-once", "never-listens", "answers-500"])
def test_container_that_does_not_come_up(box, engine, app, path, env, expected):
    conf = ["--conf", "container.deploy_health_attempts=3", "--conf-str", "container.health_url=/health"]
    box.cli("app", "create", "--spec", "container", "--approve", *conf, app(**env), path)
    r = box.get(path + "/json")
    assert r.status_code in (500, 502, 503)
    # What the client of the app may not see, the operator is told.
    message = r.text + box.fails("app", "reload", path)
    for text in [*expected, "Phases: "]:
        assert text in message, message
    prod, stage = ids(box, path)
    wait_for(lambda: not engine.running(box.home, prod) and not engine.running(box.home, stage), "the failed container to be stopped")


def test_last_words_that_are_written_in_parts(box, engine, path, folder):
    """As Python writes the reason for which it ends: the text, and then the end of the line."""
    engines.ensure(engine, "alpine")
    words = "CMD echo one; echo two; printf 'no module ' >&2; sleep 0.2; printf 'named app' >&2; sleep 0.2; echo >&2; exit 3\n"
    source = folder({"Containerfile": "FROM alpine\nEXPOSE 8080\n" + words})
    box.cli("app", "create", "--spec", "container", "--approve", "--conf", "container.deploy_health_attempts=3", str(source), path)
    error = box.fails("app", "reload", path)
    assert "exited with code 3" in error and "one\ntwo\nno module named app" in error, error
    (id,) = engine.containers(box.home, f"label=dev.openrun.app.id={ids(box, path)[1]}")
    name = engine.inspect(id)["Name"].lstrip("/")
    for tail, lines in ((1, ["no module named app"]), (2, ["two", "no module named app"]), (100, ["one", "two", "no module named app"])):
        for how in ([], ["--since", "1d"]):
            assert box.cli("container", "logs", "--tail", str(tail), *how, name).splitlines()[-len(lines):] == lines


def test_failure_is_cured_by_a_reload(box, app, path):
    conf = ["--conf", "container.deploy_health_attempts=2"]
    box.cli("app", "create", "--spec", "container", "--approve", *conf, app(EXIT_CODE=1), path)
    assert box.get(path + "/json").status_code in (500, 502, 503)
    app(2)
    box.cli("app", "reload", "--promote", path)
    assert version(box, path) == "2"


def test_build_that_fails_shows_its_last_lines(box, folder, webapp, path):
    broken = folder({**webapp, "Containerfile": webapp["Containerfile"] + "COPY no-such-file /x\n"})
    box.cli("app", "create", "--spec", "container", "--approve", str(broken), path)
    r = box.get(path + "/json")
    assert r.status_code in (500, 502, 503)
    error = box.fails("app", "reload", path)
    assert "no-such-file" in error and re.search("build", error), error
    folder(webapp)
    box.cli("app", "reload", "--promote", path)
    assert version(box, path) == "1"


@pytest.mark.parametrize("file, message", [
    (None, "container file"), ("FROM scratch\nCOPY webapp /webapp\nENTRYPOINT [\"/webapp\"]\n", "port not specified"),
    ("", "container"), ("NONSENSE here\n", "")], ids=["none", "no-port", "empty", "nonsense"])
def test_containerfiles_that_are_none(box, folder, webapp, path, file, message):
    files = {"webapp": webapp["webapp"]} | ({"Containerfile": file} if file is not None else {})
    result = box.try_cli("app", "create", "--spec", "container", "--approve", str(folder(files)), path)
    text = result.err if result.code else box.get(path + "/json").text + box.fails("app", "reload", path)
    assert message in text, text


def test_many_apps_build_one_after_the_other(box, app):
    """Builds share the one slot; every first request is served."""
    paths = [f"/queue/{i}" for i in range(4)]
    for i, p in enumerate(paths):
        box.cli("app", "create", "--spec", "container", "--approve", app(f"q{i}", name=f"app{i}"), p)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda p: version(box, p), paths)) == [f"q{i}" for i in range(4)]
    box.cli("app", "delete", "/queue/**")


def test_image_spec_with_a_local_image(box, engine, path):
    engines.ensure(engine, "openrun-test/webapp")
    box.cli("app", "create", *sources.IMAGE_APP, "-", path)
    r = box.get(path + "/json")
    assert r.status_code == 200, r.text
    assert r.json()["env"]["CL_APP_PATH"] == path


def test_image_that_does_not_exist(box, path):
    box.cli("app", "create", "--spec", "image", "--approve", "--param", "image=127.0.0.1:1/no/such-image:1", "--param",
            "port=80", "-", path)
    r = box.get(path + "/")
    assert r.status_code in (500, 502, 503)
    assert "127.0.0.1:1/no/such-image:1" in r.text + box.try_cli("app", "reload", path).err


def test_other_apps_are_served_while_one_is_starting(box, app, folder, path):
    box.cli("app", "create", str(folder(sources.text_app("quick"), "quick")), path + "-quick")
    box.cli("app", "create", "--spec", "container", "--approve", app(START_DELAY_MS=3000), path)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(version, box, path) for _ in range(20)]
        for _ in range(20):
            assert box.get(path + "-quick").text == "quick"
        assert {w.result() for w in waiting} == {"1"}
    box.cli("app", "delete", path + "-quick")


def test_browsers_without_a_sign_in_start_nothing(box, engine, app, path):
    """Signing in comes before waking."""
    box.cli("app", "create", "--spec", "container", "--approve", "--auth", "system", app(), path)
    assert box.get(path + "/json").status_code == 401
    assert not engine.containers(box.home, f"label=dev.openrun.app.id={ids(box, path)[0]}")
    assert box.get(path + "/json", auth=("admin", "test-password")).status_code == 200


def test_engine_with_a_dead_socket(new_server, webapp, folder, tmp_path):
    """The engine is configured and its program is there, but its daemon is not: a clear 503, and all else works."""
    import shutil
    docker = shutil.which("docker")
    if not docker:
        engines.unavailable("no docker program")
    s = new_server({"system": {"container_command": docker}}, env={"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}).start()
    s.cli("app", "create", str(folder(sources.text_app("hi"), "text")), "/text")
    s.cli("app", "create", "--spec", "container", "--approve", str(folder(webapp, "web")), "/web")
    r = s.get("/web/")
    assert r.status_code in (500, 502, 503)
    assert f"{tmp_path}/nothing.sock" in r.text and re.search(r"running|answer", r.text), r.text
    assert s.get("/text").text == "hi"
    error = s.fails("app", "reload", "/web")
    assert "nothing.sock" in error


def test_environment_is_not_on_command_lines(box, engine, app, path):
    """Params may be secret: no process of ours or of the engine's program shows them."""
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        line = f.read()
                except OSError:
                    continue
                if b"hush-hush" in line and b"--param" not in line:
                    seen.add(line)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        box.cli("app", "create", "--spec", "container", "--approve", "--param", "TOKEN=hush-hush", app(), path)
        assert box.get(path + "/json").json()["env"]["TOKEN"] == "hush-hush"
    finally:
        stop.set()
        watcher.join()
    assert not seen
    for file in (box.home / "logs").iterdir():
        assert "hush-hush" not in file.read_text()
