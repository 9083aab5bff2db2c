"""Fixtures: servers, sources, upstreams and container engines, each cleaned up and checked behind every test."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import re
import shutil
import signal
import uuid

import pytest

import browser
import engines
import fake_engine
import framework
import openrun
import sources
import upstream

# A run in the background of a script ignores Ctrl-C, and what it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


# These take longest: they start first, and the others fill what is left beside them.
FIRST = ("containers", "deploy_containers", "wait_page", "frameworks", "gradio", "streamlit", "shiny", "nicegui", "flask", "httpbin",
         "dev_containers", "crash", "engine_faults", "sync", "lifecycle")


def pytest_collection_modifyitems(items):
    order = {f"test_{name}": at for at, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The tests of a file share its servers and run on one worker, those on docker and those on podman each on one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndEngine(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, _, name = nodeid.partition("::")
            engine = re.search(r"[\[-](docker|podman)[]-]", name)
            return f"{file} {engine[1]}" if engine else file
    return ByFileAndEngine(config, log)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """One running server for all tests of a file; the file's CONFIG (nested dict) is laid over the defaults."""
    s = openrun.Server(tmp_path_factory.mktemp("home"), getattr(request.module, "CONFIG", {})).start()
    yield s
    s.dispose()


@pytest.fixture(autouse=True)
def _no_crashes(request):
    """A crash or sanitizer report fails the test in which it came up, not only the file, and the others go on."""
    shared = [request.getfixturevalue(name) for name in ("server", "box") if name in request.fixturenames]
    yield
    for s in shared:
        s.revive()
        s.check()


@pytest.fixture
def new_server(tmp_path):
    """Makes servers for one test: new_server(config={}, text=None, env={}); not started yet."""
    made = []

    def make(config=None, **kw):
        s = openrun.Server(tmp_path / f"home{len(made)}", config, **kw)
        made.append(s)
        return s
    yield make
    failures = []
    for s in made:
        try:
            s.dispose()
        except AssertionError as e:
            failures.append(str(e))
    assert not failures, "\n".join(failures)


@pytest.fixture
def folder(tmp_path):
    """Makes app folders: folder({"app.star": ...}, name="app")."""
    return lambda files, name="app": sources.folder(tmp_path / name, files)


@pytest.fixture
def path(request):
    """A path of this test's own on the file's server or box; what is there is deleted afterwards."""
    s = request.getfixturevalue("box" if "box" in request.fixturenames else "server")
    path = "/" + sources.slug(request)
    yield path
    s.cli("app", "delete", path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Served git repositories; a file that wants some in it from the start has a fixture `world(world)` that makes them."""
    with sources.World(tmp_path_factory.mktemp("git")) as w:
        yield w


@pytest.fixture(scope="module")
def up():
    """A local web server for the proxy to reach."""
    u = upstream.Upstream()
    yield u
    u.close()


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request):
    """Docker and podman in turn."""
    return engines.get(request.param)


@pytest.fixture(scope="module")
def docker():
    return engines.get("docker")


@pytest.fixture(scope="module")
def podman():
    return engines.get("podman")


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A fake engine for a file; where all its tests are on it: `def engine(fake): return fake`."""
    with fake_engine.FakeEngine(tmp_path_factory.mktemp("engine")) as fake:
        yield fake


@pytest.fixture(scope="module")
def box(request, engine, tmp_path_factory):
    """One running server per file and engine; its containers and images are removed at the end."""
    config = openrun.merged({"system": {"container_command": engine.command}}, getattr(request.module, "CONFIG", {}))
    s = openrun.Server(tmp_path_factory.mktemp("home"), config, env=engine.env).start()
    yield s
    s.dispose(engine)


@pytest.fixture
def new_box(new_server):
    """Makes servers on an engine: new_box(engine, config={}); what they made is removed at the end."""
    made = []

    def make(engine, config=None):
        s = new_server(openrun.merged({"system": {"container_command": engine.command}}, config or {}), env=engine.env)
        made.append((engine, s))
        return s
    yield make
    for engine, s in made:
        if s.is_running():
            s.stop()
        engine.clean(s.home)


@pytest.fixture(scope="session")
def webapp(tmp_path_factory):
    """The files of the small test app: a static program on an empty image, built in about a second."""
    binary = engines.build_webapp(tmp_path_factory.getbasetemp().parent)
    return {"webapp": binary.read_bytes(),
            "Containerfile": 'FROM scratch\nCOPY webapp /webapp\nENV VERSION=1\nEXPOSE 8080\nENTRYPOINT ["/webapp"]\n'}


@pytest.fixture
def app(webapp, folder):
    """Folders with the test app: a version, further ENV lines, and a build step of `lines` fifths of a second."""
    def make(version=1, lines=0, name="app", **env):
        more = f"ENV VERSION={version}\n" + "".join(f"ENV {k}={v}\n" for k, v in env.items())
        if lines:
            more += f'ENV UNIQUE={uuid.uuid4()}\nRUN ["/webapp", "build", "{lines}"]\n'
        return str(folder({**webapp, "Containerfile": webapp["Containerfile"].replace("ENV VERSION=1\n", more)}, name))
    return make


@pytest.fixture(scope="module")
def lab(request, tmp_path_factory):
    """A server on an engine (Docker unless its ENGINE or a test names others) that all apps of this file share."""
    engine = engines.get(getattr(request, "param", getattr(request.module, "ENGINE", "docker")))
    s = openrun.Server(tmp_path_factory.mktemp("home"), {"system": {"container_command": engine.command}}, env=engine.env)
    s.engine = engine
    s.start().keep_ports()
    yield s
    s.dispose(engine)


@pytest.fixture
def deploy(lab):
    """Deploys an app of tests/e2e/frameworks: deploy(spec, source, *options); gone again, with its containers, at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kw: stack.enter_context(framework.deployed(lab, *args, **kw))


@pytest.fixture
def page(request):
    """A page in a browser; gone before what it shows is, which would wait for its WebSockets."""
    if "deploy" in request.fixturenames:
        request.getfixturevalue("deploy")
    with browser.Browser() as b:
        yield b.page()


@pytest.fixture(scope="session", autouse=True)
def _tools():
    missing = [tool for tool in ("git", "gcc") if not shutil.which(tool)]
    assert not missing, f"not installed: {missing}"
