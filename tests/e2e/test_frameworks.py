"""The app specs with their frameworks, installed from the registries inside the build, each at a path and at a domain.

FastAPI runs always; the others with OPENRUN_TEST_ALL=1 (./dev test --all), one after the other: they are big.
The apps are in tests/e2e/frameworks/, with pinned versions."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

import browser
import engines
import openrun
import sources
import web

APPS = pathlib.Path(__file__).parent / "frameworks"
PYTHON = ("ghcr.io/astral-sh/uv:python3.14-bookworm-slim", "python:3.14-slim-bookworm")
BUILD_SECS = 1500

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


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory):
    """A server on an engine (Docker unless a test names others) that all apps of this file share."""
    engine = engines.get(getattr(request, "param", "docker"))
    s = openrun.Server(tmp_path_factory.mktemp("home"), {"system": {"container_command": engine.command}}, env=engine.env)
    s.engine = engine
    s.start().keep_ports()
    yield s
    try:
        s.dispose()
    finally:
        engine.clean(s.home)
        images = engine.run("images", "-q", "--filter", f"label=dev.openrun.image.home={s.home}").split()
        if images:
            engine.run("rmi", "--force", *sorted(set(images)), check=False)


def why(lab):
    """What the server has logged of its builds and containers last."""
    lines = [json.dumps(entry)[-6000:] for entry in lab.log() if entry.get("level") in ("WARN", "ERROR", "warn", "error")]
    return "\n".join(lines[-3:])


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
    try:
        for place in places:
            host, base = app.places[place]
            at = base if place == "path" else f"{host}:/"
            lab.cli("app", "create", "--approve", "--spec", spec, *options, folder, at)
            ids.append(lab.apps(at)[at]["id"])
            r = app.wait(place)
            assert r.status_code < 400, f"{spec} at its {place}: {r.status_code}\n{r.text[:6000]}\n{why(lab)}"
        yield app
    finally:
        lab.cli("app", "delete", "all")
        for app_id in ids:
            forget(lab, app_id)
        shutil.rmtree(folder)


@pytest.fixture
def page():
    with browser.Browser() as b:
        yield b.page()


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


def installs_nothing(build):
    """True if the output of a build (BuildKit's) says that its step that installs packages was there already."""
    steps = [line.split()[0] for line in build.splitlines() if "uv pip install" in line and line.lstrip().startswith("#")]
    return bool(steps) and all(f"{step} CACHED" in build for step in steps)


# --- always ----------------------------------------------------------------------------------------

def test_fastapi(lab):
    """JSON, checks, uploads, redirects, docs, a WebSocket and server-sent events, at a path and at a domain."""
    with deployed(lab, "python-asgi", "fastapi") as app:
        for place in ("path", "domain"):
            base = app.places[place][1]
            home = app.get(place).json()
            assert home["root_path"] == base and home["scheme"] == "https" and home["client"] == "127.0.0.1"
            assert app.request("PUT", place, "/items/7", json={"name": "x", "price": 2.5}).json() == {"id": 7, "total": 5.0}
            wrong = app.request("PUT", place, "/items/seven", json={"name": "x"})
            assert wrong.status_code == 422 and {"path", "body"} == {e["loc"][0] for e in wrong.json()["detail"]}
            schema = app.get(place, "/openapi.json").json()
            assert schema["info"]["title"] == "Shop" and "/items/{item_id}" in schema["paths"]
            assert schema.get("servers", [{"url": ""}]) == [{"url": base}]
            assert f"{base}/openapi.json" in app.get(place, "/docs").text
            r = app.get(place, "/go")
            assert r.status_code == 307 and r.headers["Location"].endswith(f"{base}/"), r.headers
            assert app.post(place, "/size", data=b"x" * 3_000_000).json() == {"bytes": 3_000_000}
            data, reads = events_of(app, place, "/events")
            assert data == [f"tick {i}" for i in range(5)] and reads > 1, "each event is passed on as it comes"
            with app.websocket(place, "/ws/blue") as ws:
                assert json.loads(ws.recv()) == {"room": "blue", "path": base}
                for text in ("hello", "x" * 70_000):
                    ws.send(text)
                    assert ws.recv() == text.upper()

        # Only the code has changed: nothing is installed again.
        code = (app.folder / "app.py").read_text()
        sources.folder(app.folder, {"app.py": code.replace('title="Shop"', 'title="Other"')})
        out = lab.try_cli("--verbose", "app", "reload", "--verify", "--promote", "/fastapi", timeout=BUILD_SECS)
        assert out.code == 0, out
        assert installs_nothing(out.out + out.err), out
        assert app.get("path", "/openapi.json").json()["info"]["title"] == "Other"

        # An APP_MODULE that is not there: the user hears it from the framework.
        lab.cli("param", "update", "APP_MODULE", "nowhere:app", "/fastapi")
        error = lab.fails("app", "reload", "--verify", "/fastapi", timeout=BUILD_SECS)
        assert 'Could not import module "nowhere"' in error, error

        # Nor is FastAPI without a requirements.txt: what to do is said beside.
        lab.cli("param", "update", "APP_MODULE", "-", "/fastapi")
        sources.folder(app.folder, {"requirements.txt": None})
        error = lab.fails("app", "reload", "--verify", "/fastapi", timeout=BUILD_SECS)
        assert "No module named 'fastapi'" in error and "Name the packages that the app needs in a requirements.txt" in error, error
        assert app.get("path", "/openapi.json").json()["info"]["title"] == "Other"


# --- with --all ------------------------------------------------------------------------------------

@big
@pytest.mark.parametrize("spec", ["python-wsgi", "python-flask"])
def test_flask(lab, spec):
    """On another port. Behind gunicorn it knows its path; Flask's own server does not, and the proxy repairs redirects and
    cookies."""
    with deployed(lab, spec, "flask", "--param", "port=9321") as app:
        for place in ("path", "domain"):
            base = app.places[place][1]
            known = base if spec == "python-wsgi" else ""
            assert app.get(place).text == "version 1\n"
            where = app.get(place, "/where").json()
            assert where["url"] == f"{known}/" and where["port"] == "9321"
            assert spec != "python-wsgi" or where["scheme"] == "https"
            assert app.get(place, "/go").headers["Location"] == f"{base}/"
            assert f"Path={base or '/'}" in app.get(place, "/visit").headers["Set-Cookie"]


@big
@pytest.mark.parametrize("lab", ["docker", "podman"], indirect=True)
def test_fasthtml(lab):
    with deployed(lab, "python-fasthtml", "fasthtml", "--param", "WORKERS=1") as app:
        for place in ("path", "domain"):
            assert app.post(place, "/more", headers={"HX-Request": "true"}).text.isdigit()
            with app.websocket(place, "/ws") as ws:
                ws.send(json.dumps({"msg": "hi", "HEADERS": {}}))
                assert "you said hi" in ws.recv()


@big
def test_streamlit(lab, page):
    with deployed(lab, "python-streamlit", "streamlit", "--param", "COLOR=teal") as app:
        for place in ("path", "domain"):
            page.goto(app.url(place))
            page.wait_text("clicked 0 times")
            page.wait_text("color is teal")
            page.click("More")
            page.wait_text("clicked 1 times")
            page.type("input[aria-label=Name]", "world")
            page.wait_text("hello world")
            look(page, f"streamlit-{place}")
            assert page.websockets() and not page.failures(), (page.websockets(), page.failures())


GRADIO_CLIENT = """
import json, socket, sys
ask = socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: ask("127.0.0.1" if str(host).endswith("localhost") else host, *a, **k)
from gradio_client import Client
c = Client(sys.argv[1], verbose=False, ssl_verify=False)
print(json.dumps([c.predict("you", api_name="/greet"), *c.submit(3, api_name="/count")]))
"""


def gradio_client(url):
    """What Gradio's own client gets from the queue; it has a Python environment of its own."""
    cache = pathlib.Path(os.environ.get("OPENRUN_TEST_CACHE") or pathlib.Path.home() / ".cache/openrun-tests") / "gradio-client"
    if not (cache / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True)
        subprocess.run([cache / "bin/pip", "install", "-q", "gradio_client==2.7.2"], check=True, timeout=BUILD_SECS)
        (cache / "ready").touch()
    done = subprocess.run([cache / "bin/python", "-c", GRADIO_CLIENT, url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@big
def test_gradio(lab, page):
    with deployed(lab, "python-gradio", "gradio") as app:
        for place in ("path", "domain"):
            assert gradio_client(app.url(place, scheme="http")) == ["Hello you!", "step 1", "step 2", "step 3"]
            page.goto(app.url(place))

            def greet():
                page.type("textarea, input[type=text]", "there", enter=False)
                page.click("Greet")
            page.until(greet, "[...document.querySelectorAll('textarea, input')].some(e => e.value == 'Hello there!')")
            look(page, f"gradio-{place}")
            # Gradio links a manifest at the root of the host, wherever it is served.
            assert [f for f in page.failures() if not f.endswith("/manifest.json")] == []


@big
def test_nicegui(lab, page):
    with deployed(lab, "python-nicegui", "nicegui") as app:
        for place in ("path", "domain"):
            page.goto(app.url(place))
            page.click("More")
            page.wait_text("clicked 1 times")
            look(page, f"nicegui-{place}")
            page.click("Other")
            page.wait_text("the other page")
            assert page.websockets() and not page.failures(), (page.websockets(), page.failures())


@big
def test_shiny(lab, page):
    with deployed(lab, "python-shiny", "shiny") as app:
        for place in ("path", "domain"):
            page.goto(app.url(place))
            page.wait_text("clicked 0 times")
            page.click("More")
            page.wait_text("clicked 1 times")
            look(page, f"shiny-{place}")
            assert page.websockets() and not page.failures(), (page.websockets(), page.failures())


@big
def test_go(lab):
    with deployed(lab, "go", "go", "--param", "port=9123", "--param", "APP_ARGS=-greeting bonjour",
                  bases=("golang:1.23.3", "alpine:latest")) as app:
        for place in ("path", "domain"):
            assert app.get(place).text == f"bonjour from {app.places[place][1]}\n"
            assert app.get(place, "/name/you").text == "bonjour you\n"
            with app.websocket(place, "/ws") as ws:
                ws.send("echo")
                assert ws.recv() == "echo"


@big
@pytest.mark.parametrize("lab", ["docker", "podman"], indirect=True)
def test_hono(lab):
    with deployed(lab, "js-hono", "hono", bases=("node:22-alpine",)) as app:
        for place in ("path", "domain"):
            assert f"<h1>Hono at {app.places[place][1] or '/'}</h1>" in app.get(place).text
            assert app.post(place, "/sum", json=[1, 2, 3]).json() == {"sum": 6}
            assert events_of(app, place, "/events")[0] == ["tick 0", "tick 1", "tick 2"]


@big
def test_spring_boot(lab):
    bases = ("maven:3-eclipse-temurin-17", "eclipse-temurin:17-jre")
    with deployed(lab, "java-spring-boot", "spring-boot", "--param", "java_version=17", bases=bases) as app:
        for place in ("path", "domain"):
            assert app.get(place).json()["hello"] == "spring"
            assert app.post(place, "/sum", json=[1, 2, 3]).json() == {"sum": 6}
            assert app.get(place, "/nowhere").status_code == 404


@big
def test_streamlit_poetry(lab, page):
    """Poetry resolves through the simple index that pip uses here: not every index has PyPI's own interface."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip() or "https://pypi.org/simple/"
    project = (APPS / "streamlit-poetry/pyproject.toml").read_text()
    project += f'\n[[tool.poetry.source]]\nname = "simple"\nurl = "{index}"\npriority = "primary"\n'
    with deployed(lab, "python-streamlit-poetry", "streamlit-poetry", "--param", "COLOR=teal", "--carg", "POETRY_VERSION=2.5.1",
                  bases=("python:3.12.5-slim",), files={"pyproject.toml": project}) as app:
        for place in ("path", "domain"):
            page.goto(app.url(place))
            page.wait_text("color is teal")
            page.click("More")
            page.wait_text("clicked 1 times")


REFLEX_BASE = """
FROM {python}
COPY --from=node:22-bookworm-slim /usr/local /usr/local
RUN npm install -g bun@1.4.5
ENV REFLEX_USE_SYSTEM_BUN=1
"""


@big
def test_reflex(lab, page, tmp_path):
    """On a base with Node and bun from the npm registry: Reflex else fetches them from their sites."""
    bases = ("ghcr.io/astral-sh/uv:python3.13-bookworm-slim", "python:3.13-slim-bookworm", "node:22-bookworm-slim")
    engines.ensure(lab.engine, *bases)
    (tmp_path / "Containerfile").write_text(REFLEX_BASE.format(python=bases[0]))
    lab.engine.run("build", "-t", "openrun-test/reflex", "-f", str(tmp_path / "Containerfile"), str(tmp_path), timeout=BUILD_SECS)
    with deployed(lab, "python-reflex", "reflex", "--carg", "BUILDER_IMAGE=openrun-test/reflex", bases=bases,
                  places=("domain",)) as app:
        page.goto(app.url("domain"))
        page.wait_text("clicked 0 times")
        page.click("More")
        page.wait_text("clicked 1 times")
        look(page, "reflex-domain")
        assert page.websockets() and not page.failures(), (page.websockets(), page.failures())


@big
@pytest.mark.parametrize("spec, name, file, old, new", [
    ("python-flask", "flask", "app.py", "version 1", "version 2"),
    ("python-asgi", "fastapi", "app.py", '"root_path"', '"changed"'),
    ("go", "go", "main.go", '"hello"', '"changed"'),
], ids=["flask", "fastapi", "go"])
def test_an_edit_shows_in_development(lab, spec, name, file, old, new):
    """The source is mounted; Flask and uvicorn reload by themselves, the Go program is built and started again."""
    bases, options = (PYTHON, ()) if spec != "go" else (("golang:1.23.3", "alpine:latest"), ("--param", "port=9123"))
    engines.ensure(lab.engine, *bases)
    folder = lab.home / "sources" / f"dev-{name}"
    shutil.copytree(APPS / name, folder)
    app, app_id = App(lab, name), "none"
    try:
        lab.cli("app", "create", "--dev", "--approve", "--spec", spec, *options, folder, f"/{name}")
        app_id = lab.apps(f"/{name}")[f"/{name}"]["id"]
        r = app.wait("path")
        assert r.status_code == 200 and old.strip('"') in r.text, r.text[:6000]
        source = folder / file
        source.write_text(source.read_text().replace(old, new))
        openrun.wait_for(lambda: new.strip('"') in app.get("path", timeout=BUILD_SECS).text, "the edit", timeout=300)
    finally:
        lab.cli("app", "delete", "all")
        forget(lab, app_id)
        shutil.rmtree(folder)
