"""Container engines for the tests: made ready through tests/images/engine, or the reason why there is none."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import sqlite3
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / "tests" / "images"


class Engine:
    """`command` is the program, the value for system.container_command; `env` what it and a server that uses it need
    in their environment."""

    def __init__(self, name, env):
        self.name, self.env, self.command = name, env, env["OPENRUN_TEST_COMMAND"]

    def run(self, *args, check=True, timeout=600):
        done = subprocess.run([self.command, *args], env={**os.environ, **self.env}, capture_output=True, text=True,
                              timeout=timeout)
        assert not check or done.returncode == 0, f"{self.name} {' '.join(args)}: {done.stderr}"
        return done.stdout.strip()

    def containers(self, home, *filters, everything=True):
        """Ids of the containers that a server on this home made."""
        args = ["ps", "-q", "--no-trunc", "--filter", f"label=dev.openrun.server.home={home}"]
        for f in filters:
            args += ["--filter", f]
        return self.run(*args, *(["--all"] if everything else [])).split()

    def inspect(self, container):
        return json.loads(self.run("inspect", "--type", "container", container))[0]

    def running(self, home, app_id):
        return [self.inspect(c) for c in self.containers(home, f"label=dev.openrun.app.id={app_id}", everything=False)]

    def images(self):
        """The names of all images. Podman fails to tell them while one is removed."""
        for _ in range(100):
            done = subprocess.run([self.command, "images", "--format", "{{.Repository}}:{{.Tag}}"], env={**os.environ, **self.env},
                                  capture_output=True, text=True, timeout=600)
            if done.returncode == 0 or "not known" not in done.stderr:
                break
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def clean(self, home):
        """Removes what a server on this home made: containers, their volumes and the images of its apps."""
        ids = self.containers(home)
        if ids:
            self.run("rm", "--force", "--volumes", *ids, check=False)
        # By the names: podman's cache gives an image of one home to another, with its label. And not by force: podman
        # would also remove the containers of builds that other tests do at this moment.
        apps = _apps_of(home)
        images = [i for i in self.images() if re.sub(r"^(localhost/)?cli-|:.*$", "", i) in apps]
        if images:
            self.run("rmi", *images, check=False)
        volumes = self.run("volume", "ls", "--quiet", "--filter", f"label=dev.openrun.server.home={home}").split()
        if volumes:
            self.run("volume", "rm", *volumes, check=False)


def _apps_of(home):
    """The last parts of the ids of all apps that a home has ever had, in lower case as in names of images."""
    file = pathlib.Path(home, "metadata", "clace_audit.db")
    if not file.exists():
        return set()
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as audit:
        return {row[0].rpartition("_")[2].lower() for row in audit.execute("SELECT DISTINCT app_id FROM audit") if row[0]}


@functools.cache
def _find(name):
    """The engine, or the reason why there is none as text."""
    done = subprocess.run([IMAGES / "engine", name], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        return (done.stderr or done.stdout).strip() or f"{IMAGES / 'engine'} {name} failed"
    env = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return Engine(name, env)


def unavailable(reason):
    """Skips, or fails where engines are promised."""
    if "engines" in os.environ.get("OPENRUN_TEST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def get(name):
    found = _find(name)
    if isinstance(found, str):
        unavailable(f"no {name}: {found}")
    return found


def ensure(engine, *images):
    """Makes sure that these base images are there, pulled or made here."""
    done = subprocess.run([IMAGES / "ensure", "--command", engine.command, *images], env={**os.environ, **engine.env},
                          capture_output=True, text=True, timeout=1800)
    if done.returncode != 0:
        unavailable(f"no base images for {engine.name}: {done.stderr[-2000:]}")


def build_webapp(folder):
    """The static test program, compiled once and shared by the workers of a run, and by runs with the same source."""
    source = hashlib.sha256((IMAGES / "webapp.c").read_bytes()).hexdigest()[:16]
    out = pathlib.Path(folder) / f"webapp.{source}"
    if not out.exists():
        tmp = out.with_name(f"{out.name}.{os.getpid()}")
        subprocess.run(["gcc", "-O2", "-static", "-s", "-pthread", "-o", tmp, IMAGES / "webapp.c"], check=True)
        tmp.replace(out)
    return out


