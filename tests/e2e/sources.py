"""Sources of apps: folders, git repositories and the ways to serve them."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import functools
import http.server
import os
import pathlib
import re
import socket
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]

SITE = {"app.star": 'app = ace.app("Site", static_only=True)\n', "index.html": "<h1>one</h1>\n"}


def folder(path, files):
    """Makes the folder hold exactly these files; a value of None removes one. Returns the folder."""
    path = pathlib.Path(path)
    for name, content in files.items():
        file = path / name
        if content is None:
            file.unlink()
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def slug(request):
    """The name of the running test as a segment of a path."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]


def text_app(text, name="Text"):
    """An app that answers / with this text."""
    return {"app.star": f'def say(req):\n    return {text!r}\n\napp = ace.app({name!r}, '
                        'routes=[ace.api("/", say, type="TEXT")])\n'}


# Options of `app create - PATH` for the small test app of an image that is there: no build.
IMAGE_APP = ("--spec", "image", "--param", "image=openrun-test/webapp:latest", "--param", "port=8080", "--approve")


def tool_app(volumes="[]"):
    """An app that runs shell commands, each in a container of its own with these volumes: /run?sh=COMMAND."""
    return {"app.star": f"""
load("container.in", "container")

def run(req):
    r = container.run("sh", ["-c", req.Query["sh"][0]])
    return {{"error": r.error, "value": r.value if not r.error else None}}

app = ace.app("tool", routes=[ace.api("/run", run)],
    container=container.config("image:alpine", lifetime=container.COMMAND, volumes={volumes}),
    permissions=[ace.permission("container.in", "run", ["sh"])])
"""}


_git_env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.org", "GIT_COMMITTER_NAME": "Tester", "GIT_COMMITTER_EMAIL": "tester@example.org"}


class Repo:
    """A git repository with a work tree; what is served is its .git folder."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            self.git("config", key, "true")

    def git(self, *args):
        return subprocess.run(["git", *args], cwd=self.path, env=_git_env, check=True, capture_output=True,
                              text=True, timeout=120).stdout.strip()

    def commit(self, files, message="change"):
        """Commits these files; the hash."""
        folder(self.path, files)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, name):
        self.git("checkout", "-q", "-B", name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def git_daemon(base):
    """git:// for every repository below `base`; gives the URL of `base`. Retries if the port was taken meanwhile."""
    for _ in range(5):
        port = free_port()
        daemon = subprocess.Popen(
            ["git", "daemon", "--export-all", f"--base-path={base}", "--listen=127.0.0.1", f"--port={port}",
             "--reuseaddr", "--log-destination=stderr", "--verbose"],
            env=_git_env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
        ready = any("Ready to rumble" in line for line in iter(daemon.stderr.readline, ""))
        if ready:
            break
        daemon.wait()
    else:
        raise AssertionError("git daemon does not start")
    threading.Thread(target=daemon.stderr.read, daemon=True).start()
    try:
        yield f"git://127.0.0.1:{port}"
    finally:
        daemon.terminate()
        daemon.wait()


class _Backend(http.server.BaseHTTPRequestHandler):
    """git http-backend behind a web server; repositories below private/ need a password."""
    protocol_version = "HTTP/1.1"

    def _serve(self):
        path, _, query = self.path.partition("?")
        self.server.requests.append(self.path)
        self.server.gate.wait(300)
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path.startswith("/private/") and self.headers.get("Authorization") != self.server.authorization:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        env = {**_git_env, "GIT_PROJECT_ROOT": str(self.server.base), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
               "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, timeout=120)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
        self.send_response(status)
        for k, v in fields:
            if k != "Status":
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = _serve

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def git_http(base, user="git", password="s3cret"):
    """http:// for every repository below `base`; gives the server, its URL is `.url`, the requests it had `.requests`;
    while `.gate` is clear it does not answer."""
    import base64
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Backend)
    server.daemon_threads = True
    server.base, server.requests, server.gate = base, [], threading.Event()
    server.gate.set()
    server.authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class World:
    """Git repositories below `base`, served while it is open by what a test asks for: `daemon` is the URL of `base` by
    git://, `http` the web server."""

    def __init__(self, base, user="git"):
        self.base, self._user, self._open = base, user, contextlib.ExitStack()

    @functools.cached_property
    def daemon(self):
        return self._open.enter_context(git_daemon(self.base))

    @functools.cached_property
    def http(self):
        return self._open.enter_context(git_http(self.base, self._user))

    def history(self, name, first=None):
        """A repository `repo`, at `url`, of the commits `one` (with an app in sub/ too) and `two`, and `side` on its branch."""
        self.repo, self.url = Repo(self.base / name), f"{self.daemon}/{name}"
        self.one = self.repo.commit(first or {**text_app("one"), "sub/app.star": text_app("sub one")["app.star"]}, "first")
        self.two = self.repo.commit(text_app("two"), "second")
        self.repo.branch("side")
        self.side = self.repo.commit(text_app("side"), "on the side")
        self.repo.git("checkout", "-q", "main")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._open.close()
