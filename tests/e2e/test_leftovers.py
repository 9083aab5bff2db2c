"""What kill -9 leaves in the home is gone after the next start, and what is a user's stays."""
# SPDX-License-Identifier: Apache-2.0
import os
import threading

import pytest

import openrun
import sources
from openrun import wait_for
from sources import Repo, text_app


@pytest.fixture
def git(tmp_path):
    repo = Repo(tmp_path / "git" / "org" / "apps")
    repo.commit({**text_app("from git"), "secret.txt": "x"})
    with sources.git_http(tmp_path / "git") as http:
        yield http


@pytest.fixture
def box(new_server, tmp_path):
    (tmp_path / "tmp").mkdir()
    return new_server(env={"TMPDIR": str(tmp_path / "tmp")}).start().keep_ports()


def files(box):
    """All there is in the home but logs, databases, and what is there while a server runs."""
    out = set()
    for root, folders, names in os.walk(box.home):
        relative = os.path.relpath(root, box.home)
        if relative.split("/")[0] in ("logs", "metadata"):
            folders.clear()
            continue
        out |= {os.path.join(relative, n) for n in [*folders, *names]}
    return out - {"./app_src", "run/tmp", "run/clones"}


def killed(box, http, *args):
    """kill -9 while the operation waits for git."""
    http.gate.clear()
    seen = len(http.requests)
    operation = threading.Thread(target=box.try_cli, args=args)
    operation.start()
    wait_for(lambda: len(http.requests) > seen, "git to ask")
    there = files(box)
    box.kill()
    http.gate.set()
    operation.join()
    return there


def test_clone_of_a_dev_app_that_was_cut_short(box, git, tmp_path):
    box.cli("app", "create", "--dev", f"{git.url}/org/apps", "/first")
    (box.home / "app_src" / "mine").mkdir()
    (box.home / "app_src" / "mine" / "work").write_text("precious")
    before = files(box)
    there = killed(box, git, "app", "create", "--dev", f"{git.url}/org/apps", "/second")
    assert "app_src/apps2" in there, "it was at the clone"
    # One that looks like it, made by hand: another folder, that stays.
    box.start()
    wait_for(lambda: files(box) == before, lambda: f"the rest to go: {files(box) ^ before}")
    assert not any((box.home / "run" / "clones").iterdir()) and list((tmp_path / "tmp").iterdir()) == []
    assert box.get("/first").text == "from git"
    box.cli("app", "create", "--dev", f"{git.url}/org/apps", "/second")
    assert box.get("/second").text == "from git" and (box.home / "app_src" / "apps2").is_dir()
    assert not any((box.home / "run" / "clones").iterdir())
    box.restart()
    assert box.get("/second").text == "from git", "what came about stays"


def test_clone_that_the_user_has_replaced_stays(box, git):
    killed(box, git, "app", "create", "--dev", f"{git.url}/org/apps", "/x")
    clone = box.home / "app_src" / "apps"
    clone.rename(clone.with_name("kept"))
    clone.mkdir()
    (clone / "work").write_text("precious")
    box.start()
    assert (clone / "work").read_text() == "precious" and clone.with_name("kept").is_dir()


@pytest.mark.parametrize("args", [["app", "create", "{git}/org/apps", "/x"], ["app", "reload", "--force-reload", "/there"],
                                  ["apply", "--approve", "{git}/org/apps/apps.star"]], ids=["create", "reload", "apply"])
def test_checkout_that_was_cut_short(box, git, tmp_path, args):
    box.cli("app", "create", f"{git.url}/org/apps", "/there")
    before = files(box)
    there = killed(box, git, *[a.format(git=git.url) for a in args])
    assert any(f.startswith("run/tmp/") for f in there), "it was at a checkout"
    assert list((tmp_path / "tmp").iterdir()) == [], "keys and checkouts are nowhere but in the home"
    box.start()
    wait_for(lambda: files(box) == before, lambda: f"the rest to go: {files(box) ^ before}")


def test_files_of_unfinished_builds_and_of_apps_that_are_gone(box, folder):
    box.cli("app", "create", str(folder(text_app("here"))), "/x")
    id = box.apps()["/x"]["id"]
    gone = id[:-4] + "zzzz"
    box.stop()
    run = box.home / "run" / "app"
    for name in (f"{id}/build-0123/app.star", f"{id}/bind/0123.tmp-4567/files/a", f"{id}/secret/.tmp-0123", f"{gone}/secret/a.gen"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    (run / id / "build.log").write_text("kept")
    box.start()
    wait_for(lambda: {str(p.relative_to(run)) for p in run.rglob("*")} == {id, f"{id}/build.log", f"{id}/bind", f"{id}/secret"},
             lambda: f"the rest to go: {list(run.rglob('*'))}")
    assert box.get("/x").text == "here"
