"""start: time from `server start` to the first answer, and memory, with 100 deployed sleeping apps"""
# SPDX-License-Identifier: Apache-2.0
# start [APPS [ROUNDS]]: apps of the python-flask spec are created once; each round starts the server, asks until it answers,
# reads its memory from /proc and stops it. Nothing is a peer here: the targets are < 100 ms and < 20 MB.
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
apps, rounds = (int(n) for n in (sys.argv[1:] + ["100", "10"][len(sys.argv) - 1:])[:2])


class Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def call(home, method, target, body=None):
    c = Socket(home / "run/openrun.sock")
    c.request(method, "/_openrun" + target, json.dumps(body) if body is not None else None)
    reply = c.getresponse()
    text = reply.read()
    c.close()
    assert reply.status == 200, text
    return json.loads(text)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port, path):
    """True once the server has answered, whatever it says but 503 (it says that until it knows its apps)."""
    try:
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            reply = s.recv(64)
            return reply.startswith(b"HTTP/1.1 ") and not reply.startswith(b"HTTP/1.1 503")
    except OSError:
        return False


def start(home, port, path="/_openrun/health"):
    began = time.perf_counter()
    server = subprocess.Popen([root / "build/openrun", "server", "start"], env={**os.environ, "OPENRUN_HOME": str(home)},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not answers(port, path):
        assert server.poll() is None, "the server did not start"
        time.sleep(0.0005)
    return server, (time.perf_counter() - began) * 1000


def stop(server):
    server.send_signal(signal.SIGTERM)
    assert server.wait(30) == 0


def memory(pid):
    fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return {name: int(fields[name].split()[0]) / 1024 for name in ("Rss", "Pss", "Private_Dirty")}


with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
    home, source, port = pathlib.Path(tmp, "home"), pathlib.Path(tmp, "app"), free_port()
    home.mkdir()
    source.mkdir()
    (source / "app.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    (source / "requirements.txt").write_text("flask\n")
    (home / "openrun.toml").write_text(f"""[http]
port = {port}
[https]
port = 0
[security]
admin_password_bcrypt = "$2a$10$J5iUQoIFqaXkPkJRyBGJTeHhEJkvaKjFsaSYNYzyLpqFbY1pM8fM6"
""")
    server, first = start(home, port)
    print(f"first start of a home: {first:.1f} ms")
    while not (home / "run/openrun.sock").exists():
        time.sleep(0.01)
    began = time.perf_counter()
    for i in range(apps):
        call(home, "POST", "/app?approve=true", {"path": f"/apps/a{i}", "source_url": str(source), "spec": "python-flask",
                                                 "app_authn": "none"})
    print(f"{apps} apps created in {time.perf_counter() - began:.2f} s")
    stop(server)
    times, memories = [], []
    for _ in range(rounds):
        server, took = start(home, port)
        times.append(took)
        while not (home / "run/openrun.pid").read_text():
            time.sleep(0.01)
        time.sleep(0.2)   # the clean-up at start is over
        memories.append(memory(server.pid))
        stop(server)
    print(f"start to first answer: median {statistics.median(times):.1f} ms, best {min(times):.1f}, worst {max(times):.1f} (target < 100)")
    for name in memories[0]:
        print(f"{name:14} median {statistics.median(m[name] for m in memories):.1f} MB" + (" (target < 20)" if name == "Rss" else ""))
