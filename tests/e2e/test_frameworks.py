"""FastAPI and FastHTML always, and with OPENRUN_TEST_ALL=1 (./dev test --all) the bigger ones, one after the other.

Streamlit, Gradio, NiceGUI and Shiny have files of their own, httpbin and Flask too."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil
import subprocess
import sys

import pytest

import engines
import openrun
import sources
from framework import APPS, BUILD_SECS, PYTHON, App, big, events_of, forget, look


def installs_nothing(build):
    """True if the output of a build (BuildKit's) says that its step that installs packages was there already."""
    steps = [line.split()[0] for line in build.splitlines() if "uv pip install" in line and line.lstrip().startswith("#")]
    return bool(steps) and all(f"{step} CACHED" in build for step in steps)


# --- always ----------------------------------------------------------------------------------------

def test_fastapi(lab, deploy):
    """JSON, checks, uploads, redirects, docs, a WebSocket and server-sent events, at a path and at a domain."""
    app = deploy("python-asgi", "fastapi")
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


@pytest.mark.parametrize("lab", ["podman", pytest.param("docker", marks=big)], indirect=True)
def test_fasthtml(deploy):
    """What HTMX asks for when a button is pressed, as the page says it, and its WebSocket."""
    app = deploy("python-fasthtml", "fasthtml", "--param", "WORKERS=1")
    for place in ("path", "domain"):
        base = app.places[place][1]
        html = app.get(place).text
        assert f'hx-post="{base}/more"' in html and f'ws-connect="{base}/ws"' in html, html
        first, second = (app.post(place, "/more", headers={"HX-Request": "true", "HX-Target": "n"}).text for _ in range(2))
        assert int(second) == int(first) + 1
        with app.websocket(place, "/ws") as ws:
            ws.send(json.dumps({"msg": "hi", "HEADERS": {}}))
            assert "you said hi" in ws.recv()


# --- with --all ------------------------------------------------------------------------------------

@big
@pytest.mark.parametrize("spec", ["python-wsgi", "python-flask"])
def test_flask(deploy, spec):
    """On another port. Behind gunicorn it knows its path; Flask's own server does not, and the proxy repairs redirects and
    cookies."""
    app = deploy(spec, "flask", "--param", "port=9321")
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
def test_go(deploy):
    app = deploy("go", "go", "--param", "port=9123", "--param", "APP_ARGS=-greeting bonjour",
                 bases=("golang:1.23.3", "alpine:latest"))
    for place in ("path", "domain"):
        assert app.get(place).text == f"bonjour from {app.places[place][1]}\n"
        assert app.get(place, "/name/you").text == "bonjour you\n"
        with app.websocket(place, "/ws") as ws:
            ws.send("echo")
            assert ws.recv() == "echo"


@big
@pytest.mark.parametrize("lab", ["docker", "podman"], indirect=True)
def test_hono(deploy):
    app = deploy("js-hono", "hono", bases=("node:22-alpine",))
    for place in ("path", "domain"):
        assert f"<h1>Hono at {app.places[place][1] or '/'}</h1>" in app.get(place).text
        assert app.post(place, "/sum", json=[1, 2, 3]).json() == {"sum": 6}
        assert events_of(app, place, "/events")[0] == ["tick 0", "tick 1", "tick 2"]


@big
def test_spring_boot(deploy):
    bases = ("maven:3-eclipse-temurin-17", "eclipse-temurin:17-jre")
    app = deploy("java-spring-boot", "spring-boot", "--param", "java_version=17", bases=bases)
    for place in ("path", "domain"):
        assert app.get(place).json()["hello"] == "spring"
        assert app.post(place, "/sum", json=[1, 2, 3]).json() == {"sum": 6}
        assert app.get(place, "/nowhere").status_code == 404


@big
def test_streamlit_poetry(deploy, page):
    """Poetry resolves through the simple index that pip uses here: not every index has PyPI's own interface."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True)
    index = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip() or "https://pypi.org/simple/"
    project = (APPS / "streamlit-poetry/pyproject.toml").read_text()
    project += f'\n[[tool.poetry.source]]\nname = "simple"\nurl = "{index}"\npriority = "primary"\n'
    app = deploy("python-streamlit-poetry", "streamlit-poetry", "--param", "COLOR=teal", "--carg", "POETRY_VERSION=2.5.1",
                 bases=("python:3.12.5-slim",), files={"pyproject.toml": project})
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
def test_reflex(lab, deploy, page, tmp_path):
    """On a base with Node and bun from the npm registry: Reflex else fetches them from their sites."""
    bases = ("ghcr.io/astral-sh/uv:python3.13-bookworm-slim", "python:3.13-slim-bookworm", "node:22-bookworm-slim")
    engines.ensure(lab.engine, *bases)
    (tmp_path / "Containerfile").write_text(REFLEX_BASE.format(python=bases[0]))
    lab.engine.run("build", "-t", "openrun-test/reflex", "-f", str(tmp_path / "Containerfile"), str(tmp_path), timeout=BUILD_SECS)
    app = deploy("python-reflex", "reflex", "--carg", "BUILDER_IMAGE=openrun-test/reflex", bases=bases,
                 places=("domain",))
    page.goto(app.url("domain"))
    page.wait_text("clicked 0 times")
    page.click("More")
    page.wait_text("clicked 1 times")
    look(page, "reflex-domain")
    assert page.websockets() and not page.failures(), (page.websockets(), page.failures())


@big
@pytest.mark.parametrize("spec, name, file, old, new", [
    ("python-flask", "flask", "app.py", "version 1", "version 2"),
    ("python-asgi", "fastapi", "app.py", '"root_path":', '"changed":'),
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
