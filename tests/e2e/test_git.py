"""Sources in git: every transport, sub-folders, branches, commits, private and broken repositories."""
# SPDX-License-Identifier: Apache-2.0
import os
import re
import time

import pytest

import openrun
import sources
from sources import Repo, text_app


@pytest.fixture(scope="module")
def world(world):
    """A repository with history, and a private one."""
    w = world
    w.repo = Repo(w.base / "team" / "apps")
    w.commits = [w.repo.commit({**text_app("one"), "README": "x", "sub/deep/app.star": text_app("sub one")["app.star"],
                                "unrelated/large.bin": os.urandom(300_000)}, "first\n\nwith a body")]
    w.commits.append(w.repo.commit({**text_app("two"), "sub/deep/app.star": text_app("sub two")["app.star"]}, "second"))
    w.repo.branch("side")
    w.side = w.repo.commit(text_app("side"), "on the side")
    w.repo.git("checkout", "-q", "main")
    private = Repo(w.base / "private" / "apps")
    private.commit(text_app("private"))
    return w


def urls(world):
    return {"daemon": f"{world.daemon}/team/apps", "http": f"{world.http.url}/team/apps", "file": f"file://{world.base}/team/apps"}


@pytest.mark.parametrize("transport", ["daemon", "http", "file"])
class TestTransports:
    def test_create_takes_the_newest_of_main(self, server, world, path, transport):
        server.cli("app", "create", urls(world)[transport], path)
        assert server.get(path).text == "two"
        vm = server.apps()[path]["metadata"]["version_metadata"]
        assert (vm["git_branch"], vm["git_commit"]) == ("main", world.commits[1])
        assert vm["git_message"].startswith("second")

    def test_folder(self, server, world, path, transport):
        server.cli("app", "create", urls(world)[transport] + "//sub/deep", path)
        assert server.get(path).text == "sub two"
        files = server.cli("version", "files", "--format", "csv", path)
        assert "app.star" in files and "large.bin" not in files and "README" not in files

    def test_branch(self, server, world, path, transport):
        server.cli("app", "create", "--branch", "side", urls(world)[transport], path)
        assert server.get(path).text == "side"
        assert server.apps()[path]["metadata"]["version_metadata"]["git_commit"] == world.side

    def test_commit(self, server, world, path, transport):
        server.cli("app", "create", "--commit", world.commits[0], urls(world)[transport], path)
        assert server.get(path).text == "one"
        vm = server.apps()[path]["metadata"]["version_metadata"]
        assert (vm["git_branch"], vm["git_commit"]) == ("", world.commits[0])
        assert "with a body" in vm["git_message"]

    def test_reload_takes_what_is_new(self, server, world, path, transport):
        repo = Repo(world.base / f"moving-{transport}" / "apps")
        repo.commit(text_app("a"))
        url = urls(world)[transport].replace("/team/", f"/moving-{transport}/")
        server.cli("app", "create", url, path)
        out = server.cli("app", "reload", path)
        assert "Skipped apps: stage.localhost:" + path in out and "0 app(s) reloaded, 1 app(s) skipped" in out
        new = repo.commit(text_app("b"))
        assert "1 app(s) reloaded, 0 app(s) skipped" in server.cli("app", "reload", path)
        assert (server.get(path, host="stage.localhost").text, server.get(path).text) == ("b", "a")
        server.cli("app", "promote", path)
        assert server.get(path).text == "b"
        assert server.apps()[path]["metadata"]["version_metadata"]["git_commit"] == new
        assert "1 app(s) reloaded" in server.cli("app", "reload", "--force-reload", path)

    def test_missing_branch(self, server, world, path, transport):
        assert 'branch "nothing" not found' in server.fails("app", "create", "--branch", "nothing", urls(world)[transport], path)
        assert path not in server.apps()

    def test_missing_commit(self, server, world, path, transport):
        commit = "1" * 40
        assert commit in server.fails("app", "create", "--commit", commit, urls(world)[transport], path)
        assert path not in server.apps()

    def test_missing_repository(self, server, world, path, transport):
        url = urls(world)[transport].replace("/team/", "/nobody/")
        message = server.fails("app", "create", url, path)
        assert "nobody/apps" in message
        assert path not in server.apps()

    def test_missing_folder(self, server, world, path, transport):
        message = server.fails("app", "create", urls(world)[transport] + "//no/such/folder", path)
        assert "no/such/folder" in message
        assert path not in server.apps()


def test_reload_switches_branch_and_commit(server, world, path):
    url = urls(world)["daemon"]
    server.cli("app", "create", url, path)
    server.cli("app", "reload", "--branch", "side", "--promote", path)
    assert server.get(path).text == "side"
    server.cli("app", "reload", "--commit", world.commits[0], "--promote", path)
    assert server.get(path).text == "one"
    out = server.cli("app", "reload", "--commit", world.commits[0], path)
    assert "1 app(s) skipped" in out
    server.cli("app", "reload", "--branch", "main", "--promote", path)
    assert server.get(path).text == "two"


def test_private_without_credentials_fails_and_does_not_hang(server, world, path):
    started = time.monotonic()
    message = server.fails("app", "create", f"{world.http.url}/private/apps", path)
    assert time.monotonic() - started < 60
    assert re.search(r"credential|authent|git-auth|git_auth|sign in|password", message, re.I), message
    assert path not in server.apps()


def test_private_with_git_auth(new_server, world):
    s = new_server({"git_auth": {"mine": {"user_id": "git", "password": "s3cret"},
                                 "wrong": {"user_id": "git", "password": "nope"}}}).start()
    url = f"{world.http.url}/private/apps"
    s.cli("app", "create", "--git-auth", "mine", url, "/x")
    assert s.get("/x").text == "private"
    message = s.fails("app", "create", "--git-auth", "wrong", url, "/y")
    assert "nope" not in message and "s3cret" not in message
    assert "git auth entry none-such not found in server config" in s.fails("app", "create", "--git-auth", "none-such", url, "/y")
    s.restart({"security": {"default_git_auth": "mine"}})
    s.cli("app", "create", url, "/z")
    assert s.get("/z").text == "private"
    s.stop()
    for file in (s.home / "logs").iterdir():
        assert "s3cret" not in file.read_text()


def test_secrets_are_not_in_arguments_of_git(new_server, world, tmp_path):
    """While git runs, no command line of the machine shows the password."""
    import threading
    seen, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as f:
                        if b"s3cret" in f.read():
                            seen.append(pid)
                except OSError:
                    pass
    s = new_server({"git_auth": {"mine": {"user_id": "git", "password": "s3cret"}}}).start()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        s.cli("app", "create", "--git-auth", "mine", f"{world.http.url}/private/apps", "/x")
    finally:
        stop.set()
        watcher.join()
    assert not seen


def test_server_that_is_away(server, path):
    port = sources.free_port()
    message = server.fails("app", "create", f"git://127.0.0.1:{port}/a/b", path)
    assert str(port) in message


def test_server_that_never_answers_is_given_up(new_server):
    import socket
    s = new_server({"system": {"git_operation_timeout_secs": 2}}).start()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message = s.fails("app", "create", f"http://127.0.0.1:{silent.getsockname()[1]}/a/b", "/x")
    assert re.search(r"time|within|2 s", message), message


def test_reload_after_the_repository_is_gone_keeps_serving(server, world, path):
    import shutil
    repo = Repo(world.base / "gone" / "apps")
    repo.commit(text_app("still here"))
    server.cli("app", "create", f"{world.daemon}/gone/apps", path)
    shutil.rmtree(repo.path)
    assert server.try_cli("app", "reload", path).code == 1
    assert server.get(path).text == "still here"


def test_symlinks_in_repositories_are_refused(server, world, path):
    repo = Repo(world.base / "links" / "apps")
    os.symlink("/etc/passwd", repo.path / "passwd")
    repo.commit(text_app("x"))
    message = server.fails("app", "create", f"{world.daemon}/links/apps", path)
    assert "symlinks are not allowed in app sources" in message and "passwd" in message


@pytest.mark.parametrize("url", ["ext::sh -c 'touch /tmp/openrun-e2e-pwned'", "--upload-pack=touch /tmp/openrun-e2e-pwned",
                                 "git@-oProxyCommand=touch:org/repo", "https://-x/a/b", "https://host/a", "git@host:",
                                 "https://u:p@127.0.0.1:1/a/b"])
def test_urls_that_are_attempts_at_something_else(server, path, url):
    result = server.try_cli("app", "create", "--", url, path)
    assert result.code == 1, result
    assert not os.path.exists("/tmp/openrun-e2e-pwned")
    assert path not in server.apps()


@pytest.mark.parametrize("flag, value", [("--branch", "--upload-pack=x"), ("--branch", "a b"), ("--branch", "-x"), ("--branch", "a..b"),
                                         ("--commit", "--x"), ("--commit", "zzzz")])
def test_odd_branches_and_commits(server, world, path, flag, value):
    result = server.try_cli("app", "create", f"{flag}={value}", urls(world)["daemon"], path)
    assert result.code == 1, result
    assert path not in server.apps()


def test_what_is_stored_is_the_full_commit(server, world, path):
    """Whatever names a commit, the hash of it is kept."""
    result = server.try_cli("app", "create", f"--commit={world.commits[1][:10]}", urls(world)["file"], path)
    if result.code == 0:
        assert server.apps()[path]["metadata"]["version_metadata"]["git_commit"] == world.commits[1]
    else:
        assert world.commits[1][:10] in result.err


def test_fetch_is_shallow_and_leaves_nothing_behind(new_server, world, tmp_path):
    """Only what is served is fetched, and temporary folders are gone afterwards."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    s = new_server(env={"TMPDIR": str(scratch)}).start()
    s.cli("app", "create", f"{world.http.url}/team/apps//sub/deep", "/x")
    assert s.get("/x").text == "sub two"
    assert list(scratch.iterdir()) == []
    assert openrun.run("--version").code == 0


def test_many_apps_of_one_repository(server, world):
    """A reload of ten apps from one repository asks for its branches once, not for each app; a fetch each remains."""
    repo = Repo(world.base / "mono" / "apps")
    repo.commit({f"a{i}/app.star": text_app(f"{i} one")["app.star"] for i in range(10)})
    url = f"{world.http.url}/mono/apps"
    for i in range(10):
        server.cli("app", "create", f"{url}//a{i}", f"/mono/{i}")
    repo.commit({f"a{i}/app.star": text_app(f"{i} two")["app.star"] for i in range(10)})
    world.http.requests.clear()
    server.cli("app", "reload", "--promote", "/mono/**")
    assert [server.get(f"/mono/{i}").text for i in range(10)] == [f"{i} two" for i in range(10)]
    listings = [r for r in world.http.requests if "info/refs" in r]
    assert len(listings) <= 12, listings
    server.cli("app", "delete", "/mono/**")
