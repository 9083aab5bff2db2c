"""Operations: a build shows its lines, can be watched and cancelled, outlives its client, and undoes."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import glob
import json
import os
import signal
import socket
import subprocess
import threading
import uuid

import pytest

import openrun
import sources
from openrun import wait_for

CONFIG = {"app_config": {"container": {"deploy_health_attempts": 20}}}

# Prints a line ten times a second for two minutes and then fails: a build that nobody waits for.
SLOW = r"""
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    for (int i = 1; i <= 1200; i++) {
        printf("build line %d\n", i);
        fflush(stdout);
        usleep(100000);
    }
    return 1;
}
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow.c").write_text(SLOW)
    subprocess.run(["gcc", "-O1", "-static", "-s", "-o", folder / "slow", folder / "slow.c"], check=True)
    return (folder / "slow").read_bytes()


class Command:
    """An openrun command under way, its output read as it comes."""

    def __init__(self, server, *args):
        self.process = subprocess.Popen([openrun.binary(), *args], env=server.env, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace")
        self._parts = {"out": [], "err": []}
        self._readers = [threading.Thread(target=self._read, args=a, daemon=True)
                         for a in ((self.process.stdout, "out"), (self.process.stderr, "err"))]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, name):
        for line in stream:
            self._parts[name].append(line)

    @property
    def out(self):
        return "".join(self._parts["out"])

    @property
    def err(self):
        return "".join(self._parts["err"])

    def wait(self, timeout=60):
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(30)
        openrun.check_sanitizers(self.out + self.err, "client")
        return code


@contextlib.contextmanager
def command(server, *args):
    c = Command(server, *args)
    try:
        yield c
    finally:
        c.process.kill()
        c.process.wait()


def is_building(token):
    """True if the build's own step runs: a process with this word on its command line."""
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = open(path, "rb").read().split(b"\0")
            if words[:2] == [b"/slow", token.encode()]:
                return True
    return False


def operation(server, id):
    return json.loads(server.cli("operation", "show", id, "--format", "json"))


def running(server):
    return [o for o in json.loads(server.cli("operation", "list", "--format", "json")) if o["state"] == "running"]


@pytest.fixture
def building(box, webapp, slow, folder, request):
    """An app that runs at version 1 and whose source is now one that takes long to build: (path, word of the build)."""
    path = "/" + sources.slug(request)
    source = folder(webapp)
    box.cli("app", "create", "--spec", "container", "--approve", source, path)
    assert box.get(path + "/json").json()["env"]["VERSION"] == "1"
    token = uuid.uuid4().hex
    text = webapp["Containerfile"].replace("VERSION=1\n", f'VERSION=2\nCOPY slow /slow\nRUN ["/slow", "{token}"]\n')
    os.chmod(folder({"slow": slow, "Containerfile": text}) / "slow", 0o755)
    before = box.versions(path), box.apps("--internal", path)
    yield path, token
    assert not is_building(token)
    assert (box.versions(path), box.apps("--internal", path)) == before, "nothing was changed"
    assert box.get(path + "/json").json()["env"]["VERSION"] == "1"
    box.cli("app", "delete", path)


def test_a_build_is_shown_and_ctrl_c_cancels_it(box, building):
    path, token = building
    with command(box, "app", "reload", "--promote", path, "--verbose") as reload:
        wait_for(lambda: "build line 3\n" in reload.err or reload.process.poll() is not None, "lines of the build")
        assert reload.process.poll() is None, reload.err
        assert is_building(token)
        (op,) = running(box)
        assert (op["name"], op["target"], op["user_id"]) == ("reload_apps", path, "admin")
        with command(box, "operation", "watch", op["id"]) as watch:
            wait_for(lambda: "build line 5\n" in watch.out, "the watcher to see the build")
            reload.process.send_signal(signal.SIGINT)
            assert reload.wait() == 130
            assert reload.err.endswith(f"error: interrupted: the server cancels operation {op['id']}\n")
            assert reload.out == ""
            assert watch.wait() == 1
            assert "build line 1\n" in watch.out and "was cancelled" in watch.err
    shown = operation(box, op["id"])
    assert shown["state"] == "cancelled" and shown["status"] == 499
    assert "build line 1" in "".join(shown["lines"])
    wait_for(lambda: not is_building(token), "the build to end", timeout=30)


def test_an_operation_outlives_its_client_and_can_be_cancelled(box, building):
    path, token = building
    with command(box, "app", "reload", path) as reload:
        wait_for(lambda: is_building(token), "the build")
        reload.process.kill()
        reload.wait()
        assert reload.out == ""
    (op,) = running(box)
    with command(box, "operation", "watch", op["id"]) as watch:
        wait_for(lambda: "build line 10\n" in watch.out, "the build to go on")
    assert box.cli("operation", "cancel", op["id"]) == f"Cancelling operation {op['id']}\n"
    wait_for(lambda: operation(box, op["id"])["state"] == "cancelled", "the operation to end")
    assert "has ended already" in box.fails("operation", "cancel", op["id"])
    wait_for(lambda: not is_building(token), "the build to end", timeout=30)


def test_a_fetch_is_cancelled(server):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"git://127.0.0.1:{silent.getsockname()[1]}/repo"
        with command(server, "app", "create", "--approve", source, "/fetched", "-V") as create:
            connection, _ = silent.accept()
            with connection:
                wait_for(lambda: "fetching" in create.err, "the fetch to be told")
                create.process.send_signal(signal.SIGINT)
                assert create.wait() == 130
                (op,) = json.loads(server.cli("operation", "list", "--format", "json"))
                wait_for(lambda: operation(server, op["id"])["state"] == "cancelled", "the operation to end")
                while connection.recv(4096):
                    pass  # git has closed it
    assert "/fetched" not in server.apps()
    assert "no such operation" in server.fails("operation", "show", "op_x")
