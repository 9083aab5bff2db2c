"""sleeping: memory and CPU of a server with 200 apps whose containers sleep, and calls to the engine per warm request"""
# SPDX-License-Identifier: Apache-2.0
# sleeping [APPS [SECONDS]]: on the fake engine of the tests, so that the engine itself costs nothing. Targets: < 15 MB resident,
# < 0.1 % of a CPU, 0 calls. Memory is told for apps that were served once and sleep now, and after a restart of the server.
# The server gives memory back when it has been idle for some 45 seconds, so SECONDS (60) should not be much less.
import asyncio
import http.client
import json
import os
import pathlib
import socket
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(root / "tests/e2e"))
os.environ["OPENRUN_BIN"] = str(root / "build/openrun")
import aclient   # noqa: E402
import openrun   # noqa: E402
from fake_engine import FakeEngine   # noqa: E402

apps, seconds = (int(n) for n in (sys.argv[1:] + ["200", "60"][len(sys.argv) - 1:])[:2])


def memory(pid):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return ", ".join(f"{name} {int(fields[name].split()[0]) / 1024:.1f}" for name in ("Rss", "Pss", "Private_Dirty")) + " MB"


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def create(home, path):
    c = http.client.HTTPConnection("localhost")
    c.sock = socket.socket(socket.AF_UNIX)
    c.sock.connect(str(home / "run/openrun.sock"))
    c.request("POST", "/_openrun/app?approve=true", json.dumps({
        "path": path, "source_url": "-", "spec": "image", "app_authn": "none",
        "param_values": {"image": "openrun-test/webapp:latest", "port": "8080"}}))
    assert c.getresponse().status == 200


async def ask_all(port):
    for first in range(0, apps, 20):
        for r in await asyncio.gather(*(aclient.get(port, f"/a{i}/json") for i in range(first, min(first + 20, apps)))):
            assert r.status == 200, r


with tempfile.TemporaryDirectory(prefix="bench-") as tmp, FakeEngine(pathlib.Path(tmp, "engine")) as fake:
    s = openrun.Server(pathlib.Path(tmp, "home"), {"system": {"container_command": fake.command, "app_unload_secs": 10}, "https": {"port": -1},
                                                   "app_config": {"container": {"idle_shutdown_secs": 5}}}, env=fake.env).start()
    print(f"no apps            {memory(s.process.pid)}")
    for i in range(apps):
        create(s.home, f"/a{i}")
    print(f"{apps} apps made      {memory(s.process.pid)}")
    asyncio.run(ask_all(s.http_port))
    before = fake.calls()
    with socket.create_connection(("127.0.0.1", s.http_port)) as c, c.makefile("rb") as f:
        for _ in range(200):
            c.sendall(b"GET /a0/json HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert f.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := f.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            f.read(length)
    more = {k: n for k, n in (fake.calls() - before).items() if k in ("inspect", "start", "create", "image_inspect")}
    print(f"engine calls       {sum(more.values())} in 200 warm requests (target 0)")
    openrun.wait_for(lambda: not fake.containers(s.home, "running"), "all to sleep")
    time.sleep(20)   # connections that were kept alive are closed by now
    began, used = time.monotonic(), cpu(s.process.pid)
    time.sleep(seconds)
    share = (cpu(s.process.pid) - used) / (time.monotonic() - began) * 100
    print(f"{apps} apps asleep    {memory(s.process.pid)}, {share:.3f} % CPU over {seconds} s (targets < 15 resident, < 0.1)")
    s.restart()
    time.sleep(2)
    print(f"after a restart    {memory(s.process.pid)} (target < 15 resident)")
    s.dispose()
