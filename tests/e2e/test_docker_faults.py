"""A Docker daemon that is full, hangs, and is killed under traffic: a real one, of the test's own."""
# SPDX-License-Identifier: Apache-2.0
import os
import pathlib
import threading
import uuid

import pytest

import openrun
from openrun import wait_for
from private_docker import PrivateDocker
from traffic import Traffic, served

ALL = os.environ.get("OPENRUN_TEST_ALL") == "1"
QUICK = {"app_config": {"container": {"deploy_health_attempts": 20, "health_timeout_secs": 2, "wait_timeout_secs": 2}}}


@pytest.fixture(scope="module")
def docker():
    with PrivateDocker(megabytes=300) as d:
        yield d


@pytest.fixture
def new_home(new_server):
    return lambda d, config=None: new_server(openrun.merged(openrun.merged(
        {"system": {"container_command": d.command}}, QUICK), config or {}), env=d.env).start()


@pytest.fixture
def app(webapp, folder):
    def make(version=1, more="", name="app"):
        return str(folder({**webapp, "Containerfile": webapp["Containerfile"].replace("ENV VERSION=1\n", f"ENV VERSION={version}\n{more}")},
                          name))
    return make


def create(box, source, path="/x"):
    box.cli("app", "create", "--spec", "container", "--approve", source, path)


def version(box, path="/x", host="localhost"):
    return served(box, path, host=host)["env"]["VERSION"]


def test_full_disk_in_a_build(docker, new_home, app, tmp_path):
    """The message names the disk and what to do; the app is served as it was, asleep or awake; with room again the same
    deploy works."""
    box = new_home(docker)
    create(box, app(1))
    assert version(box) == "1"
    before = box.apps("--internal", "/x"), box.versions("/x")
    big = os.urandom(8 << 20)
    (tmp_path / "app" / "big").write_bytes(big)
    app(2, "COPY big /big\n")
    with docker.full(leave=4 << 20):
        with Traffic(box, "/x/json") as traffic:
            wait_for(lambda: len(traffic.answers) > 10, "traffic")
            error = box.fails("app", "reload", "--promote", "--verify", "/x")
            assert "no space left on device" in error and "disk" in error and "openrun container prune" in error, error
            seen = len(traffic.answers)
            wait_for(lambda: len(traffic.answers) > seen + 10, "more traffic")
        assert set(traffic.answers) == {200}
        assert (box.apps("--internal", "/x"), box.versions("/x")) == before
        assert version(box) == "1"
    box.cli("app", "reload", "--promote", "--verify", "/x")
    assert version(box) == version(box, host="stage.localhost") == "2"


def test_full_disk_at_a_wake(docker, new_home, app):
    """No room for the container of an image that is there: the same advice, and with room again it is served."""
    box = new_home(docker)
    create(box, app(1))
    assert version(box) == "1"
    for name in docker.run("ps", "--all", "-q", "--filter", "label=dev.openrun.app.path=/x").split():
        docker.run("rm", "--force", name)
    with docker.full():
        error = box.fails("app", "reload", "--promote", "--verify", "--force-reload", "/x")
        assert "no space left on device" in error and "openrun container prune" in error, error
        assert box.get("/x/json").status_code in (200, 500, 502, 503)   # it may have been made again before
    assert version(box) == "1"
    box.cli("container", "prune")
    assert version(box) == "1"


@pytest.mark.parametrize("phase", ["build", "publish", "published"] if ALL else ["build", "published"])
def test_server_killed_in_a_deploy(docker, new_home, app, phase):
    """kill -9 in a deploy: the old or the new version is served, the deploy can be done again, nothing is left behind."""
    box = new_home(docker).keep_ports()
    create(box, app(1))
    assert version(box) == "1"
    app(2, f'ENV UNIQUE={uuid.uuid4()}\nRUN ["/webapp", "build", "{25 if phase == "build" else 1}"]\n')
    if phase == "build":
        deploy = threading.Thread(target=box.try_cli, args=("app", "reload", "--promote", "/x"))
        deploy.start()
        wait_for(builds, "the build to run")
        box.kill()
        deploy.join()
    else:
        box.die_at(f"{phase}:1", "app", "reload", "--promote", "/x")
    box.start()
    assert version(box) in ("1", "2")
    box.cli("app", "reload", "--promote", "/x")
    assert version(box) == version(box, host="stage.localhost") == "2"
    box.cli("app", "delete", "/x")
    mine = lambda: docker.run("ps", "--all", "-q", "--filter", f"label=dev.openrun.server.home={box.home}").split()   # noqa: E731
    wait_for(lambda: not mine(), lambda: f"no containers to be left: {mine()}")


def builds():
    """Steps of builds that run, which no list of containers has."""
    return [p for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and cmdline(p)[:2] == ["/webapp", "build"]]


def cmdline(process):
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def test_daemon_that_hangs(docker, new_home, app):
    """Who is awake does not notice; who sleeps is told to come again, in time; all is well when it goes on."""
    box = new_home(docker)
    create(box, app(1, name="warm"), "/warm")
    create(box, app(1, name="cold"), "/cold")
    assert version(box, "/warm") == "1"
    docker.hang()
    try:
        with Traffic(box, "/warm/json") as traffic:
            for _ in range(3 if ALL else 1):
                r = box.get("/cold/json")
                assert r.status_code == 503 and int(r.headers["Retry-After"]) > 0, (r.status_code, r.text)
            seen = len(traffic.answers)
            wait_for(lambda: len(traffic.answers) > seen + 20, "traffic without the daemon")
            docker.go_on()
            assert version(box, "/cold") == "1"
        assert set(traffic.answers) == {200}
        docker.hang()
        box.stop()   # does not wait for it
    finally:
        docker.go_on()


@pytest.mark.parametrize("live_restore", [False, True], ids=["containers-die", "containers-live"])
def test_daemon_killed_and_started_under_traffic(new_home, app, live_restore):
    """All is served again when it is back, from the same containers if they have outlived it. Its proxies for published
    ports go with it, so that meanwhile nobody is served here; and no answer is ever another app's."""
    with PrivateDocker(megabytes=200, live_restore=live_restore) as docker:
        box = new_home(docker)
        create(box, app(1))
        create(box, app(1, name="cold"), "/cold")
        assert version(box) == "1"

        def container():
            name, = docker.run("ps", "--filter", "label=dev.openrun.app.path=/x", "--format", "{{.Names}}").split()
            return name, docker.run("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", name)
        first = container()
        for _ in range(5 if ALL else 1):
            with Traffic(box, "/x/json") as traffic:
                wait_for(lambda: len(traffic.answers) > 10, "traffic")
                docker.kill(containers=not live_restore)
                seen = len(traffic.answers)
                wait_for(lambda: len(traffic.answers) > seen + 3, "answers without the daemon")
                r = box.get("/cold/json")
                assert r.status_code in (500, 503), r.text
                docker.up()
                assert version(box, "/cold") == version(box) == "1"
                back = len(traffic.answers)
                wait_for(lambda: len(traffic.answers) > back + 20, "more traffic")
            # With live-restore nothing is wrong with the app, and it is not said to be.
            assert set(traffic.answers) <= {200, 502, 503, *([] if live_restore else [500])} and set(traffic.answers[back + 1:]) == {200}
            assert traffic.strangers == []
        assert (container() == first) == live_restore
        # Its events are heard again: what is done by hand shows.
        docker.run("rm", "--force", first[0])
        assert version(box) == "1"
        box.stop()
