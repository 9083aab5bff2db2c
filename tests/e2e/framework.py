"""Apps of the frameworks on their specs, each at a path and at the root of a domain: what the framework tests share.

The apps are in tests/e2e/frameworks/, with pinned versions; they are installed from the registries inside the build."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import pathlib
import re
import shutil
import time

import pytest

import engines
import sources
import web

APPS = pathlib.Path(__file__).parent / "frameworks"
PYTHON = ("ghcr.io/astral-sh/uv:python3.14-bookworm-slim", "python:3.14-slim-bookworm")
BUILD_SECS = 1500
# What uv, pip and npm say when the registry, or the way to it, failed them; not what they say of a package.
UNREACHABLE = re.compile(r"error sending request for url|error decoding response body|dns error|network timeout|HTTP status server error|"
                         r"Temporary failure in name resolution|ReadTimeoutError|ECONNRESET|ETIMEDOUT|EAI_AGAIN")

big = pytest.mark.skipif(os.environ.get("OPENRUN_TEST_ALL", "0") != "1", reason="a big framework: ./dev test --all")


class App:
    """An app of a spec, served at /NAME and at the root of NAME.localhost."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.places = {"path": ("localhost", f"/{name}"), "domain": (f"{name}.localhost", "")}

    def url(self, place, path="/", scheme="https"):
        host, base = self.places[place]
        return self.server.url(base + path, host, scheme)

    def request(self, method, place, path="/", **kw):
        host, base = self.places[place]
        return self.server.request(method, base + path, host=host, **kw)

    def get(self, place, path="/", **kw):
        return self.request("GET", place, path, **kw)

    def post(self, place, path="/", **kw):
        return self.request("POST", place, path, **kw)

    def websocket(self, place, path):
        return web.websocket(self.url(place, path).replace("https:", "wss:"))

    def wait(self, place, path="/"):
        """The first answer of the app itself, once it is built and started."""
        end = time.monotonic() + BUILD_SECS
        while True:
            r = self.get(place, path, timeout=BUILD_SECS)
            if r.status_code != 503 or "Retry-After" not in r.headers or time.monotonic() > end:
                return r
            time.sleep(0.5)


def why(lab, app_id):
    """The end of the app's build, and what the server has logged last."""
    lines = [json.dumps(entry)[-6000:] for entry in lab.log() if entry.get("level") in ("WARN", "ERROR", "warn", "error")]
    build = lab.home / "run" / "app" / app_id / "build.log"
    return (build.read_text(errors="replace")[-6000:] if build.exists() else "") + "\n".join(lines[-3:])


def forget(lab, app_id):
    """Frees what a deleted app's containers and volumes hold; images stay for the next run's layers."""
    for what, found in (("container", lab.engine.containers(lab.home, f"label=dev.openrun.app.id={app_id}")),
                        ("volume", lab.engine.run("volume", "ls", "-q", "--filter", f"name=clv-{app_id}-").split())):
        if found:
            lab.engine.run(what, "rm", "--force", *found, check=False)


@contextlib.contextmanager
def deployed(lab, spec, source, *options, bases=PYTHON, places=("path", "domain"), files=None):
    """The app folder `source` on this spec; gone again, with its containers, at the end."""
    engines.ensure(lab.engine, *bases)
    app = App(lab, source)
    folder = lab.home / "sources" / source
    shutil.copytree(APPS / source, folder)
    app.folder = sources.folder(folder, files or {})
    ids = []

    def create(place):
        """What is wrong with it, or None."""
        host, base = app.places[place]
        at = base if place == "path" else f"{host}:/"
        lab.cli("app", "create", "--approve", "--spec", spec, *options, folder, at)
        ids.append(lab.apps(at)[at]["id"])
        r = app.wait(place)
        return None if r.status_code < 400 else f"{spec} at its {place}: {r.status_code}\n{r.text[:6000]}\n{why(lab, ids[-1])}"
    try:
        for place in places:
            wrong = create(place)
            if wrong and UNREACHABLE.search(wrong):   # once more, and only for this
                lab.cli("app", "delete", "all")
                wrong = create(place)
            assert not wrong, wrong
        yield app
    finally:
        lab.cli("app", "delete", "all")
        for app_id in ids:
            forget(lab, app_id)
        shutil.rmtree(folder)


def look(page, name):
    """A screenshot for those who want to see, in the folder that OPENRUN_TEST_SCREENSHOTS names."""
    folder = os.environ.get("OPENRUN_TEST_SCREENSHOTS")
    if folder:
        page.screenshot(f"{folder}/{name}.png")


def events_of(app, place, path):
    """The data lines of a stream of server-sent events, and how many reads they came in."""
    host, base = app.places[place]
    with web.session() as s, s.get(app.url(place, path), stream=True, timeout=120) as r:
        assert r.headers["Content-Type"].startswith("text/event-stream")
        parts = list(r.iter_content(chunk_size=None))
    return [line[6:] for line in b"".join(parts).decode().splitlines() if line.startswith("data: ")], len(parts)
