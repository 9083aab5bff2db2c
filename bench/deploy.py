"""deploy: operations on many apps: list of 10,000, start with 10,000, promote, creating and applying 500"""
# SPDX-License-Identifier: Apache-2.0
# deploy [APPS [PART...]]: APPS for list, start and promote (default 10000); parts: list promote start create apply git.
# The apps are rows copied from one real app, so that making them takes seconds. The times are those of the API over
# the unix socket, the reply read whole; nothing here has a peer but a full clone, each line has its target. What git
# moves is counted by a proxy before its daemon.
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time

root = pathlib.Path(__file__).resolve().parent.parent
binary = pathlib.Path(os.environ.get("OPENRUN_BIN", root / "build/openrun"))
count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
parts = sys.argv[2:] or ["list", "promote", "start", "create", "apply", "git"]
HASH = "$2a$10$J5iUQoIFqaXkPkJRyBGJTeHhEJkvaKjFsaSYNYzyLpqFbY1pM8fM6"
STAR = 'app = ace.app("bench", routes=[ace.api("/", lambda req: "v%s")])\n'


class Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=600)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Server:
    def __init__(self, home):
        self.home = home
        home.mkdir(exist_ok=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        (home / "openrun.toml").write_text(
            f'[http]\nport = {self.port}\n[https]\nport = -1\n[system]\ncontainer_command = ""\n'
            f'[security]\nadmin_password_bcrypt = "{HASH}"\napp_default_auth_type = "none"\n')

    def start(self):
        """Milliseconds until it answers a request for an app."""
        began = time.perf_counter()
        self.process = subprocess.Popen([binary, "server", "start"], env={**os.environ, "OPENRUN_HOME": str(self.home)},
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.answers():
            assert self.process.poll() is None, "the server did not start"
            time.sleep(0.0005)
        took = (time.perf_counter() - began) * 1000
        self.api = Socket(self.home / "run/openrun.sock")
        while True:   # the socket of the last run may be there still
            try:
                self.api.connect()
                return took
            except OSError:
                time.sleep(0.001)

    def answers(self):
        """False until it knows its apps: it says 503 until then."""
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as s:
                s.sendall(b"GET /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                reply = s.recv(64)
                return reply.startswith(b"HTTP/1.1 ") and not reply.startswith(b"HTTP/1.1 503")
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def call(self, method, target, body=None):
        """The reply's text and the milliseconds until all of it was there."""
        began = time.perf_counter()
        self.api.request(method, "/_openrun" + target, json.dumps(body) if body is not None else None)
        reply = self.api.getresponse()
        text = reply.read()
        assert reply.status == 200, text[:2000]
        return text, (time.perf_counter() - began) * 1000

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return tuple(int(re.search(name + r":\s+(\d+)", text)[1]) / 1024 for name in ("VmRSS", "VmHWM"))

    def create(self, path, source):
        return self.call("POST", "/app?approve=true", {"path": path, "source_url": str(source)})


def line(what, value, unit, target=""):
    print(f"{what:58} {value:>10} {unit}" + (f"   (target {target})" if target else ""), flush=True)


def multiply(home, n):
    """Copies the one app (production, staging, versions, files) until there are n."""
    db = sqlite3.connect(home / "metadata/clace_metadata.db")
    columns = {t: [r[1] for r in db.execute(f"pragma table_info({t})")] for t in ("apps", "app_versions", "app_files")}
    rows = {t: [dict(zip(columns[t], r)) for r in db.execute(f"select * from {t}")] for t in columns}
    for i in range(1, n):
        tail = f"{i:05d}"
        for table, of in rows.items():
            for row in of:
                new = dict(row)
                for name in ("id", "appid", "main_app"):
                    if new.get(name):
                        new[name] = new[name][:-5] + tail
                if table == "apps":
                    new["path"] = f"/many/a{tail}"
                    new["linked_app_path"] = (row["linked_app_path"] or "").replace("/many/a00000", new["path"])
                db.execute(f"insert into {table} ({', '.join(new)}) values ({', '.join('?' * len(new))})", list(new.values()))
    db.commit()
    db.close()


def folder(path, version):
    path.mkdir(exist_ok=True)
    (path / "app.star").write_text(STAR % version)
    return path


def many(tmp):
    s = Server(tmp / "many")
    s.start()
    source = folder(tmp / "app", 1)
    s.create("/many/a00000", source)
    s.stop()
    multiply(s.home, count)
    if "start" in parts:
        measure_start(s)
    s.start()
    if "list" in parts:
        measure_list(s)
    if "promote" in parts:
        measure_promote(s, source)
    s.stop()


def measure_start(s):
    times, rss, peak = [], [], []
    for _ in range(5):
        times.append(s.start())
        time.sleep(0.3)   # the clean-up at start is over
        now, top = s.memory()
        rss.append(now)
        peak.append(top)
        s.stop()
    line(f"server start with {count} apps, to the first answer", f"{statistics.median(times):.1f}", "ms", "< 150")
    line("  resident memory then", f"{statistics.median(rss):.1f}", "MB", "< 60")
    line("  its peak until then", f"{statistics.median(peak):.1f}", "MB")


def measure_list(s):
    times = []
    for _ in range(9):
        text, took = s.call("GET", "/apps")
        times.append(took)
    assert len(json.loads(text)["apps"]) == count
    line(f"list of {count} apps over the API, {len(text) / 1e6:.1f} MB of JSON", f"{statistics.median(times):.1f}", "ms", "< 100")
    times = [s.call("GET", "/apps?appPathGlob=/many/a00001")[1] for _ in range(9)]
    line("  of one of them", f"{statistics.median(times):.1f}", "ms")
    for args in ([], ["--format", "json"]):
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([binary, "app", "list", *args], env={**os.environ, "OPENRUN_HOME": str(s.home)},
                           stdout=subprocess.DEVNULL, check=True)
            times.append((time.perf_counter() - began) * 1000)
        line(f"  openrun {' '.join(['app', 'list', *args])}", f"{statistics.median(times):.1f}", "ms", "< 100")
    line("  resident memory then", f"{s.memory()[0]:.1f}", "MB")


def measure_promote(s, source):
    """From commit to served by every loop is in the log; the whole operation is what the client waits."""
    log = s.home / "logs/openrun.json"
    whole, seen = [], len(published(s))
    for i in range(2, 12):
        folder(source, i)
        s.call("POST", "/reload?appPathGlob=/many/a00000&approve=true")
        seen = len(published(s))
        whole.append(s.call("POST", "/promote?appPathGlob=/many/a00000")[1])
    line("promote, the whole call", f"{statistics.median(whole):.1f}", "ms")
    times = published(s)
    line(f"  commit to served by every loop, among {count} apps", f"{statistics.median(times):.2f}", "ms", "< 5")


def published(s):
    found = []
    for path in (s.home / "logs").glob("*.json"):
        for text in path.read_text().splitlines():
            if '"site published"' in text:
                found.append(json.loads(text)["us"] / 1000)
    return found


class Git:
    """`git daemon` behind a proxy that counts connections and bytes to the client."""

    def __init__(self, base):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.daemon = subprocess.Popen(["git", "daemon", "--export-all", f"--base-path={base}", "--listen=127.0.0.1",
                                        f"--port={port}", "--reuseaddr"], stderr=subprocess.DEVNULL)
        self.upstream, self.bytes, self.connections = ("127.0.0.1", port), 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"git://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()
        while True:
            try:
                socket.create_connection(self.upstream).close()
                break
            except OSError:
                time.sleep(0.01)

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            upstream = socket.create_connection(self.upstream)
            self.connections += 1
            threading.Thread(target=self.pump, args=(client, upstream, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(upstream, client, True), daemon=True).start()

    def pump(self, source, sink, counts):
        while data := source.recv(1 << 16):
            if counts:
                self.bytes += len(data)
            try:
                sink.sendall(data)
            except OSError:
                break
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def took(self, fn):
        before = self.connections, self.bytes
        result = fn()
        return result, self.connections - before[0], self.bytes - before[1]


def git(repo, *args, **kw):
    subprocess.run(["git", "-c", "user.name=b", "-c", "user.email=b@example.org", *args], cwd=repo, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


def repository(path):
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(path, "config", key, "true")
    return path


def applying(tmp):
    """500 apps of one repository, declared in it."""
    repo = repository(tmp / "repos/apps")
    for i in range(500):
        folder(repo / f"app{i}", i)
    server = Git(tmp / "repos")
    (repo / "apps.ace").write_text("".join(f'app("/all/a{i}", "{server.url}/apps//app{i}")\n' for i in range(500)))
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "-m", "apps")
    s = Server(tmp / "applying")
    s.start()
    target = f"/apply?appPathGlob=all&applyPath={server.url}/apps//apps.ace&approve=true&promote=true&reload=matched"
    (_, took), connections, moved = server.took(lambda: s.call("POST", target))
    assert len(json.loads(s.call("GET", "/apps")[0])["apps"]) == 500
    line("apply that creates 500 apps of one repository", f"{took / 1000:.2f}", "s", "< 10")
    line("  connections to git, and KB", f"{connections} {moved // 1024}", "", "one fetch")
    times = []
    for _ in range(5):
        (text, took), connections, moved = server.took(lambda: s.call("POST", target))
        assert len(json.loads(text)["skipped_results"]) == 500, text[:1000]
        times.append(took / 1000)
    line("apply of the same, unchanged", f"{statistics.median(times):.3f}", "s", "< 1")
    line("  connections to git, and KB", f"{connections} {moved // 1024}", "")
    s.stop()
    server.daemon.terminate()


def history(repo, commits):
    """A repository with that many commits, each of a new 4 KB file content in one of 200 folders."""
    feed = []
    for i in range(commits):
        content = os.urandom(2048).hex().encode()
        name = f"apps/a{i % 200}/data{i % 7}.txt"
        feed.append(b"commit refs/heads/main\ncommitter b <b@example.org> %d +0000\ndata 1\nx\nM 100644 inline %s\ndata %d\n%s\n"
                    % (1500000000 + i, name.encode(), len(content), content))
    for i in range(200):
        star = (STAR % i).encode()
        feed.append(b"commit refs/heads/main\ncommitter b <b@example.org> 1600000000 +0000\ndata 1\nx\nM 100644 inline apps/a%d/app.star\n"
                    b"data %d\n%s\n" % (i, len(star), star))
    git(repo, "fast-import", "--quiet", input=b"".join(feed))


def fetching(tmp):
    repo = repository(tmp / "large/all")
    history(repo, 14000)
    server = Git(tmp / "large")
    _, _, whole = server.took(lambda: git(tmp, "clone", "-q", "--bare", server.url + "/all", "clone.git"))
    s = Server(tmp / "fetching")
    s.start()
    _, _, created = server.took(lambda: s.create("/one", server.url + "/all//apps/a7"))
    git(repo, "reset", "-q", "--hard")
    (repo / "apps/a7/app.star").write_text(STAR % "new")
    git(repo, "commit", "-q", "-a", "-m", "change")
    (_, took), connections, moved = server.took(lambda: s.call("POST", "/reload?appPathGlob=/one"))
    line("full clone of 14,000 commits, KB", f"{whole // 1024}", "")
    line("  reload of one app of it, cold, KB", f"{moved // 1024}", f"in {took:.0f} ms, {moved / whole:.4f} of a clone", "<= 0.1")
    line("  its creation, KB", f"{created // 1024}", "")
    s.stop()
    server.daemon.terminate()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        tmp = pathlib.Path(name)
        if {"list", "promote", "start"} & set(parts):
            many(tmp)
        if {"create", "apply"} & set(parts):
            applying(tmp)
        if "git" in parts:
            fetching(tmp)
