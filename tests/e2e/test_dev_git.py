"""Dev apps from git: a clone that stays and is worked in."""
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess

import pytest

from sources import Repo, text_app


@pytest.fixture(scope="module")
def world(world):
    world.history("team/my.apps")
    return world


def git(path, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(["git", *args], cwd=path, env=env, check=True, capture_output=True, text=True).stdout.strip()


def clones(server):
    folder = server.home / "app_src"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_a_clone_is_made_and_worked_in(server, world):
    out = server.cli("app", "create", "--dev", world.url, "/dev")
    clone = server.home / "app_src" / "my.apps"
    assert f"   Source: {clone} (created from {world.url})" in out
    app = server.apps()["/dev"]
    assert (app["source_url"], app["settings"]["orig_source_url"]) == (str(clone), world.url)
    assert server.get("/dev").text == "two"
    assert git(clone, "log", "--format=%s") == "second\nfirst" and git(clone, "status", "--porcelain") == ""
    assert git(clone, "branch", "--show-current") == "main"
    (clone / "app.star").write_text(text_app("mine")["app.star"])
    server.cli("app", "reload", "/dev")
    assert server.get("/dev").text == "mine"
    git(clone, "checkout", "-q", "app.star")
    new = world.repo.commit(text_app("three"), "third")
    git(clone, "pull", "-q")
    server.cli("app", "reload", "/dev")
    assert server.get("/dev").text == "three" and git(clone, "rev-parse", "HEAD") == new
    world.repo.git("reset", "-q", "--hard", world.two)
    # Another one has a folder of its own; what a deleted app was worked on in stays.
    server.cli("app", "create", "--dev", "--branch", "side", world.url, "/dev2")
    assert server.get("/dev2").text == "side" and clones(server) == ["my.apps", "my.apps2"]
    server.cli("app", "delete", "all")
    assert clones(server) == ["my.apps", "my.apps2"]


def test_folders_and_commits(new_server, world):
    s = new_server().start()
    s.cli("app", "create", "--dev", "--commit", world.one, world.url + "//sub", "/sub")
    assert s.get("/sub").text == "sub one"
    clone = s.home / "app_src" / "my.apps"
    assert s.apps()["/sub"]["source_url"] == str(clone / "sub")
    assert git(clone, "rev-parse", "HEAD") == world.one and (clone / "app.star").exists()


def test_nothing_is_left_behind(new_server, world):
    s = new_server().start()
    out = s.cli("app", "create", "--dev", "--dry-run", world.url, "/dry")
    assert "dry-run" in out and not (s.home / "app_src").exists() and s.apps() == {}
    broken = Repo(world.base / "broken")
    broken.commit({"app.star": "app = ace.app(\n"})
    for args in (["--branch", "none", world.url], ["--commit", "0" * 40, world.url], [world.url + "//nowhere"],
                 [world.url.replace("my.apps", "missing")], [world.url.replace("team/my.apps", "broken")]):
        s.fails("app", "create", "--dev", *args, "/dev")
        assert not (s.home / "app_src").exists(), args
    assert s.apps() == {}
    assert not (s.home / "run" / "app").exists() or list((s.home / "run" / "app").iterdir()) == []


def test_it_can_be_declared(new_server, world, tmp_path):
    s = new_server().start()
    s.cli("app", "create", "--dev", "--branch", "side", world.url, "/d")
    file = tmp_path / "apps.star"
    file.write_text(s.cli("export"))
    assert f'source="{world.url}",\n    dev=True,\n    git_branch="side")' in file.read_text()
    assert "0 app(s) created, 0 app(s) updated" in s.cli("apply", "--reload", "none", file)
    other = new_server().start()
    assert "1 app(s) created" in other.cli("apply", file)
    assert other.get("/d").text == "side" and clones(other) == ["my.apps"]
    assert other.cli("export") == file.read_text()
