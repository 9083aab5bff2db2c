"""wake: our share of a first request to a sleeping container, a crowd before one, and a deploy of changed source against docker build"""
# SPDX-License-Identifier: Apache-2.0
# wake [ROUNDS [PART...]]: parts: stopped paused crowd deploy. A static C server in a container, stopped; per round, in turn:
# a request through OpenRun that wakes it, and by hand the engine's start call followed by a request as soon as the port answers.
# The engine's start takes anything between 150 and 350 ms, so our share is what is left of a wake without the start call in
# it, as the server's log tells. It is below 0 for a paused one: the app answers before the engine does.
# Then 1,000 requests at once on the sleeping app, and an app with a layer of dependencies of which only the source changes.
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
parts = sys.argv[2:] or ["stopped", "paused", "crowd", "deploy"]
openrun = root / "build/openrun"


class Docker(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("docker")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/var/run/docker.sock")


def docker(method, path):
    c = Docker()
    c.request(method, "/v1.40" + path)
    r = c.getresponse()
    body = r.read()
    if r.status >= 400:
        sys.exit(f"docker {method} {path}: {r.status} {body.decode()}")
    return json.loads(body) if body else None


def get(port, path, host="127.0.0.1"):
    c = http.client.HTTPConnection(host, port, timeout=60)
    c.request("GET", path)
    r = c.getresponse()
    r.read()
    return r.status


def wait(condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("wake: waited for a minute in vain")
        time.sleep(0.02)


engine = dict(line.split("=", 1) for line in subprocess.run([root / "tests/images/engine", "docker"], check=True, capture_output=True,
                                                            text=True).stdout.split())
subprocess.run([root / "tests/images/ensure", "--engine", "docker", "openrun-test/webapp:latest"], check=True, stdout=subprocess.DEVNULL)
home = tempfile.mkdtemp(prefix="openrun-wake-")
env = dict(os.environ, OPENRUN_HOME=home)
pathlib.Path(home, "openrun.toml").write_text(
    f'[system]\ncontainer_command = "{engine["OPENRUN_TEST_COMMAND"]}"\n[http]\nport = 0\n[https]\nport = -1\n'
    "[app_config]\ncontainer.idle_shutdown_secs = 1\ncontainer.idle_action = \"stop\"\n")
app = pathlib.Path(home, "app")
app.mkdir()
(app / "Containerfile").write_text("FROM openrun-test/webapp:latest\nEXPOSE 8080\n")
server = subprocess.Popen([openrun, "server", "start"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
peer = None
try:
    port = int(server.stderr.readline().rsplit(":", 1)[1])
    subprocess.run([openrun, "app", "create", "--auth", "none", "--approve", "--spec", "container", app, "/wake"], env=env, check=True,
                   stdout=subprocess.DEVNULL)
    assert get(port, "/wake/") == 200
    subprocess.run([openrun, "app", "create", "--auth", "none", "--approve", "--spec", "container", "--conf-str",
                    "container.idle_action=pause", app, "/nap"], env=env, check=True, stdout=subprocess.DEVNULL)
    assert get(port, "/nap/") == 200

    def container_of(path):
        return next(c["Id"] for c in docker("GET", "/containers/json?all=1")
                    if c["Labels"].get("dev.openrun.server.home") == home and c["Labels"]["dev.openrun.app.path"] == path)

    ours, napping = container_of("/wake"), container_of("/nap")
    image = docker("GET", f"/containers/{ours}/json")["Image"]
    peer = subprocess.run(["docker", "create", image], check=True, capture_output=True, text=True).stdout.strip()

    def status(name):
        return docker("GET", f"/containers/{name}/json")["State"]["Status"]

    def by_hand(verb, undo):
        start = time.perf_counter()
        docker("POST", f"/containers/{peer}/{verb}")
        started = time.perf_counter()
        address = docker("GET", f"/containers/{peer}/json")["NetworkSettings"]["IPAddress"]
        while True:
            try:
                assert get(8080, "/", address) == 200
                break
            except OSError:
                time.sleep(0.001)
        end = time.perf_counter()
        docker("POST", f"/containers/{peer}/{undo}")
        return end - start, started - start

    def engine_calls():
        lines = map(json.loads, pathlib.Path(home, "logs/openrun.json").read_text().splitlines())
        return [line["engine_ms"] / 1000 for line in lines if "engine_ms" in line]

    def through_us(name, path, sleeping):
        wait(lambda: status(name) == sleeping)
        seen = len(engine_calls())
        start = time.perf_counter()
        assert get(port, path) == 200
        took = time.perf_counter() - start
        wait(lambda: len(engine_calls()) > seen)
        return took, engine_calls()[-1]

    def table(title, name, path, sleeping, verb, undo, target_ms):
        times = [(*through_us(name, path, sleeping), *by_hand(verb, undo)) for _ in range(rounds + 1)][1:]
        ratio = statistics.median(t[0] for t in times) / statistics.median(t[2] for t in times)
        us, us_call, hand, hand_call = (statistics.median(column) * 1000 for column in zip(*times))
        ours_ms, hands_ms = (statistics.median(t[i] - t[i + 1] for t in times) * 1000 for i in (0, 2))
        print(f"{title:<18} {'whole':>8} {verb + ' call':>13} {'the rest':>10}\n"
              f"through OpenRun    {us:8.1f} {us_call:13.1f} {ours_ms:10.1f} ms\n"
              f"by hand            {hand:8.1f} {hand_call:13.1f} {hands_ms:10.1f} ms   (medians of {rounds}, interleaved)\n"
              f"whole: ratio {ratio:.2f} (target <= 1.05); our share {ours_ms:.1f} ms (target < {target_ms})")

    if "stopped" in parts:
        table("from stopped", ours, "/wake/", "exited", "start", "stop?t=1", 5)
    if "paused" in parts:
        docker("POST", f"/containers/{peer}/start")
        docker("POST", f"/containers/{peer}/pause")
        table("from paused", napping, "/nap/", "paused", "unpause", "pause", 2)

    # --- a crowd before a sleeping app ---

    load = root / "build/bench_load"
    subprocess.run(["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", root / "bench/load.c", "-o", load], check=True)

    def crowd(at):
        line = subprocess.run([load, "-c", "1000", "-n", "1000", "-w", "0", at, "/wake/"], check=True, capture_output=True, text=True).stdout
        assert line.rstrip().endswith(" 0 errors"), line
        return float(re.search(r"p99 ([0-9.]+)", line).group(1))

    def crowds():
        over = []
        for _ in range(3):
            wait(lambda: status(ours) == "exited")
            starts = len(engine_calls())
            asleep = crowd(f"127.0.0.1:{port}")
            wait(lambda: len(engine_calls()) > starts)
            wake = engine_calls()[-1] * 1000
            over.append((asleep - wake, wake, len(engine_calls()) - starts, crowd(f"127.0.0.1:{port}")))
        more, wake, starts, awake = sorted(over)[1]
        print(f"1000 at once       all 200, {starts} start (target 1), p99 {more:.0f} ms more than the start call of {wake:.0f} ms (target < 50; "
              f"the same crowd on the app when awake: {awake:.0f} ms; median of {len(over)})")

    if "crowd" in parts:
        crowds()

    # --- a deploy of changed source ---

    def build_times():
        lines = map(json.loads, pathlib.Path(home, "logs/openrun.json").read_text().splitlines())
        return [line["build_ms"] for line in lines if "build_ms" in line]

    def layers(image):
        return docker("GET", f"/images/{image}/json")["RootFS"]["Layers"]

    def newest_image():
        found = docker("GET", '/images/json?filters={"label":["dev.openrun.image.home=' + home + '"]}')
        return max(found, key=lambda i: i["Created"])["Id"]

    def changed_source(title, name, dependencies):
        deploy = pathlib.Path(home, name)
        deploy.mkdir()
        (deploy / "Containerfile").write_text(f"FROM openrun-test/webapp:latest\n{dependencies}\nCOPY source /source\nEXPOSE 8080\n")
        (deploy / "source").mkdir()
        for i in range(100):
            (deploy / "source" / f"{i}.py").write_text(f"# {name} {i}\n" * 100)
        if "deps" in dependencies:
            (deploy / "deps").write_bytes(os.urandom(30 << 20))
        subprocess.run([openrun, "app", "create", "--auth", "none", "--approve", "--spec", "container", "--conf", "container.idle_shutdown_secs=600",
                        deploy, f"/{name}"], env=env, check=True, stdout=subprocess.DEVNULL)
        assert get(port, f"/{name}/") == 200
        pairs, whole, kept = [], [], True
        by_hand_env = dict(os.environ, DOCKER_BUILDKIT="1")

        def through_us_build(i):
            before = layers(newest_image())
            (deploy / "source/0.py").write_text(f"ours {i}")
            start = time.perf_counter()
            subprocess.run([openrun, "app", "reload", "--promote", f"/{name}"], env=env, check=True, capture_output=True)
            whole.append((time.perf_counter() - start) * 1000)
            return build_times()[-1], layers(newest_image())[:-1] == before[:-1]

        def by_hand_build(i):
            (deploy / "source/0.py").write_text(f"hand {i}")
            start = time.perf_counter()
            subprocess.run([engine["OPENRUN_TEST_COMMAND"], "build", "-q", "-t", "openrun-bench-hand", "-f", "Containerfile", "."], cwd=deploy,
                           check=True, env=by_hand_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return (time.perf_counter() - start) * 1000

        for i in range(rounds):
            times = {}
            # In turn one and the other comes first, both after a rest: what went before is then over for either, and
            # images are told apart by the second.
            for one in sorted(["us", "hand"], reverse=i % 2 == 0):
                time.sleep(1.5)
                times[one] = through_us_build(i) if one == "us" else by_hand_build(i)
            kept = kept and times["us"][1]
            pairs.append((times["us"][0], times["hand"]))
        mine, hand = (statistics.median(column) for column in zip(*pairs))
        print(f"{title:<18} build {mine:.0f} ms, docker build by hand {hand:.0f} ms: ratio {mine / hand:.2f} (target <= 1.05); the layer of "
              f"dependencies {'stays' if kept else 'IS REBUILT'}; whole deploy of stage and production {statistics.median(whole):.0f} ms")

    if "deploy" in parts:
        changed_source("changed source", "deploy", 'RUN ["/webapp", "build", "1"]')
        changed_source("beside 30 MB", "vendored", "COPY deps /deps")
except SystemExit:
    print("\n".join(pathlib.Path(home, "logs/openrun.json").read_text().splitlines()[-20:]), file=sys.stderr)
    raise
finally:
    server.terminate()
    server.wait()
    for c in docker("GET", "/containers/json?all=1"):
        if c["Labels"].get("dev.openrun.server.home") == home:
            docker("DELETE", f"/containers/{c['Id']}?force=1")
    subprocess.run(["docker", "rmi", "--force", "openrun-bench-hand"], capture_output=True)
    ids = subprocess.run(["docker", "images", "-q", "--filter", f"label=dev.openrun.image.home={home}"], capture_output=True, text=True).stdout.split()
    if ids:
        subprocess.run(["docker", "rmi", "--force", *set(ids)], capture_output=True)
    if peer:
        docker("DELETE", f"/containers/{peer}?force=1")
    shutil.rmtree(home)
