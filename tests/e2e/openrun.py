"""The program under test: a server on a home of its own, and the command line against it."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time

import web

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "ERROR: ThreadSanitizer",
                     "WARNING: ThreadSanitizer")
# What `openrun password --value test-password` gives, made once: the hash is slow on purpose.
ADMIN_PASSWORD = "test-password"
_admin_hash = None


def binary():
    """OPENRUN_BIN, else the sanitizer build, else the release build."""
    named = os.environ.get("OPENRUN_BIN")
    if named:
        return pathlib.Path(named).resolve()
    for folder in ("build-san", "build"):
        if (ROOT / folder / "openrun").exists():
            return ROOT / folder / "openrun"
    raise RuntimeError("no openrun binary: build one (./dev build) or name it in OPENRUN_BIN")


def base_env(**more):
    """The environment of the tests without anything that would steer openrun."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("OPENRUN_", "CL_", "ASAN_", "UBSAN_")) and k != "DOCKER_HOST"}
    env.update(ASAN_OPTIONS="abort_on_error=0:exitcode=99", UBSAN_OPTIONS="print_stacktrace=1",
               NO_COLOR="1", GIT_CONFIG_NOSYSTEM="1", LC_ALL="C.UTF-8")
    env.update(more)
    return env


def check_sanitizers(text, who):
    for report in SANITIZER_REPORTS:
        if report in text:
            start = max(0, text.index(report) - 200)
            raise AssertionError(f"{who}: sanitizer report:\n{text[start:start + 12000]}")


def wait_for(condition, what, timeout=120):
    """Polls until `condition()` is true and returns its value. The limit only catches what never comes."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s for {what() if callable(what) else what}")
        time.sleep(0.02)


class Result:
    """What a command gave."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def __repr__(self):
        return f"openrun {' '.join(map(str, self.args))}\ncode {self.code}\nstdout: {self.out}\nstderr: {self.err}"

    @property
    def json(self):
        return json.loads(self.out)


def run(*args, env=None, cwd=None, stdin=None, timeout=300):
    """Runs openrun to its end in the given environment."""
    done = subprocess.run([binary(), *map(str, args)], env=env or base_env(), cwd=cwd, input=stdin, text=True,
                          capture_output=True, timeout=timeout, errors="replace")
    result = Result(args, done.returncode, done.stdout, done.stderr)
    check_sanitizers(result.out + result.err, result)
    return result


def admin_hash():
    global _admin_hash
    if not _admin_hash:
        done = run("password", "--value", ADMIN_PASSWORD)
        assert done.code == 0, done
        _admin_hash = re.search(r'admin_password_bcrypt = "(.*)"', done.out).group(1)
    return _admin_hash


def to_toml(config, prefix=""):
    """TOML text of nested dicts; strings, numbers, booleans and lists look alike in JSON."""
    def key(k):
        return k if re.fullmatch(r"[A-Za-z0-9_-]+", k) else json.dumps(k)
    lines, tables = [], []
    for k, v in config.items():
        if isinstance(v, dict):
            tables.append((f"{prefix}.{key(k)}" if prefix else key(k), v))
        else:
            lines.append(f"{key(k)} = {json.dumps(v)}")
    text = "\n".join(lines) + "\n" if lines else ""
    if prefix:
        text = f"[{prefix}]\n{text}"
    return text + "".join(to_toml(v, name) for name, v in tables)


def merged(base, over):
    out = dict(base)
    for k, v in over.items():
        out[k] = merged(out[k], v) if isinstance(v, dict) and isinstance(out.get(k), dict) else v
    return out


class Server:
    """A server process and its home. Ports are free ones; production and stage apps need no sign-in unless
    the configuration says otherwise; there is no container engine unless it names one."""

    def __init__(self, home, config=None, text=None, env=None):
        self.home = pathlib.Path(home)
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = base_env(OPENRUN_HOME=str(self.home), **(env or {}))
        self.process = None
        self.http_port = self.https_port = None
        self._out, self._err, self._readers = [], [], []
        self.errors_seen = 0   # of `err`, already judged
        if text is not None:
            (self.home / "openrun.toml").write_text(text)
        else:
            self.configure(config or {})

    def configure(self, config):
        defaults = {
            "http": {"port": 0}, "https": {"port": 0, "host": "127.0.0.1", "mkcert_path": "disable"},
            "security": {"admin_password_bcrypt": admin_hash(), "app_default_auth_type": "none"},
            "system": {"container_command": "", "max_build_wait_secs": 600},   # of machines that are slow
            "app_config": {"container": {"wait_timeout_secs": 600}},
        }
        self.config = merged(defaults, config)
        (self.home / "openrun.toml").write_text(to_toml(self.config))

    # --- the process ---

    @property
    def out(self):
        return "".join(self._out)

    @property
    def err(self):
        return "".join(self._err)

    def _drain(self, stream, into):
        for line in stream:
            into.append(line)

    def launch(self, **env):
        """Starts the process without waiting for it."""
        assert not self.is_running()
        # What the last process printed stays, what this one prints comes after.
        self._start_at = len(self._err)
        self.process = subprocess.Popen([binary(), "server", "start"], env={**self.env, **env}, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        errors="replace", start_new_session=True)
        self._readers = [threading.Thread(target=self._drain, args=a, daemon=True)
                         for a in ((self.process.stdout, self._out), (self.process.stderr, self._err))]
        # Reaped as soon as it ends: a zombie would look alive to `server stop --wait`.
        threading.Thread(target=self.process.wait, daemon=True).start()
        for reader in self._readers:
            reader.start()
        return self

    def _is_listening(self):
        text = "".join(self._err[self._start_at:])
        found = dict(re.findall(r"Server listening on (https?)://\S*:(\d+)\n", text))
        expected = {scheme for scheme in ("http", "https") if self.config[scheme]["port"] >= 0}
        if not self.is_running() or expected - found.keys():
            return False
        self.http_port, self.https_port = int(found.get("http", 0)), int(found.get("https", 0))
        return True

    def wait_start(self):
        """Waits until it listens, which is True, or has ended."""
        wait_for(lambda: self._is_listening() or not self.is_running(), "the server to listen")
        return self._is_listening()

    def start(self, **env):
        for _ in range(60):
            self.launch(**env)
            if self.wait_start():
                return self
            self._join()
            # A kept port may be that of somebody's connection for a moment.
            if " is in use: " not in "".join(self._err[self._start_at:]):
                break
            time.sleep(1)
        raise AssertionError(f"the server ended at its start with {self.process.returncode}\n{self.out}{self.err}")

    def keep_ports(self):
        """The ports of now for the next start too: addresses that apps and browsers have learnt stay good."""
        self.configure(merged(self.config, {"http": {"port": self.http_port}, "https": {"port": self.https_port}}))
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def _join(self, timeout=120):
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(30)
            raise AssertionError(f"the server did not end within {timeout} s\n{self.err[-4000:]}")
        for reader in self._readers:
            reader.join(30)

    def wait_end(self, timeout=120):
        """Waits until the process has ended by itself; its exit code."""
        self._join(timeout)
        return self.process.returncode

    def check(self):
        """Fails on anything a sanitizer has said so far."""
        text = self.err[self.errors_seen:]
        self.errors_seen += len(text)
        check_sanitizers(text, "server")

    def revive(self):
        """Fails if the process has died behind our back, and starts it again for the tests that follow."""
        if self.process is None or self.is_running():
            return
        code = self.process.returncode
        self._join()
        self.process = None
        try:
            self.check()
        finally:
            tail = self.err[self._start_at:][-6000:]
            self.start()
        raise AssertionError(f"the server died with {code}:\n{tail}")

    def stop(self):
        """A graceful end: exit code 0 and nothing from the sanitizers."""
        if self.process is None:
            return
        if self.is_running():
            self.process.send_signal(signal.SIGTERM)
        self._join()
        self.check()
        assert self.process.returncode == 0, f"server ended with {self.process.returncode}\n{self.err[-4000:]}"
        self.process = None

    def kill(self):
        """kill -9."""
        self.process.kill()
        self._join()
        self.check()
        self.process = None

    def restart(self, config=None):
        self.stop()
        if config:
            self.configure(merged(self.config, config))
        return self.start()

    def die_at(self, point, *args):
        """Starts anew to kill itself at this fault point, and runs the command that leads there."""
        self.stop()
        self.launch(OPENRUN_FAULT_POINT=point)
        self.wait_start()
        self.try_cli(*args)
        self.wait_end()
        self.process = None

    # --- the command line ---

    def try_cli(self, *args, **kw):
        env = {**self.env, **kw.pop("env", {})}
        return run(*args, env=env, **kw)

    def cli(self, *args, **kw):
        """Runs a command that must succeed; its stdout."""
        result = self.try_cli(*args, **kw)
        assert result.code == 0, result
        return result.out

    def fails(self, *args, **kw):
        """Runs a command that must fail as the command line does: code 1 and one `error: ` on stderr. Its message, and
        after it the lines of progress that were printed before, which it does not repeat."""
        result = self.try_cli(*args, **kw)
        assert result.code == 1, result
        assert re.search("^error: ", result.err, re.M), result
        before, message = re.split("^error: ", result.err, maxsplit=1, flags=re.M)
        return message + before

    def apps(self, *args):
        """`app list` as {"[domain:]path": record}."""
        rows = json.loads(self.cli("app", "list", "--format", "json", *args))
        return {(r["domain"] + ":" if r["domain"] else "") + r["path"]: r for r in rows}

    def versions(self, path):
        return json.loads(self.cli("version", "list", "--format", "json", path))

    # --- requests ---

    def url(self, path="/", host="localhost", scheme="https"):
        port = self.https_port if scheme == "https" else self.http_port
        return f"{scheme}://{host}:{port}{path}"

    def request(self, method, path, host="localhost", scheme="https", **kw):
        """One request on a connection of its own, redirects not followed."""
        with web.session() as s:
            kw.setdefault("allow_redirects", False)
            kw.setdefault("timeout", 600)
            response = s.request(method, self.url(path, host, scheme), **kw)
            if not kw.get("stream"):
                response.content
            return response

    def get(self, path="/", **kw):
        return self.request("GET", path, **kw)

    def post(self, path="/", **kw):
        return self.request("POST", path, **kw)

    # --- inside ---

    @contextlib.contextmanager
    def metadata(self):
        """The metadata database; for reading, and for breaking it while the server is down."""
        db = sqlite3.connect(self.home / "metadata" / "clace_metadata.db", timeout=30)
        db.row_factory = sqlite3.Row
        try:
            yield db
            db.commit()
        finally:
            db.close()

    def rows(self, sql, *args):
        with self.metadata() as db:
            return [dict(r) for r in db.execute(sql, args)]

    def log(self):
        """The server log, one object per line."""
        path = self.home / "logs" / "openrun.json"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def dispose(self, engine=None):
        """Graceful stop when running; then what was made on the engine goes, and the home when all was well."""
        try:
            self.stop()
        finally:
            if self.is_running():
                self.process.kill()
            if engine:
                engine.clean(self.home)
        shutil.rmtree(self.home, ignore_errors=True)
