"""Repositories kept between operations: what is fetched again and what is not, and that it is never wrong."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import os
import shutil

import pytest

from openrun import wait_for
from sources import Repo, text_app

CONFIG = {"system": {"git_checkout_cache_entries": 2},
          "git_auth": {"mine": {"user_id": "git", "password": "s3cret"}, "wrong": {"user_id": "git", "password": "x"}}}


@pytest.fixture
def repo(server, world, request):
    r = Repo(world.base / request.node.name / "apps")
    r.url = f"{world.http.url}/{request.node.name}/apps"
    r.commit({f"{n}/app.star": text_app(f"{n} one")["app.star"] for n in "abc"} | {"large.bin": os.urandom(500_000)})
    yield r
    server.cli("app", "delete", "all")


def mirrors(server):
    return sorted(p.name for p in (server.home / "run" / "git").iterdir())


def size(server):
    return sum(f.stat().st_size for f in (server.home / "run" / "git").rglob("*") if f.is_file())


def test_only_what_is_new_is_fetched(server, world, repo):
    server.cli("app", "create", repo.url + "/a", "/a")
    assert len(mirrors(server)) >= 1
    before = size(server)
    head = repo.commit({"a/app.star": text_app("a two")["app.star"], "b/app.star": text_app("b two")["app.star"]})
    server.cli("app", "reload", "--promote", "/a")
    assert server.get("/a").text == "a two"
    assert size(server) - before < 100_000, "the large file came again"
    server.cli("app", "create", repo.url + "/b", "/b")
    assert server.get("/b").text == "b two"
    world.http.requests.clear()
    server.cli("app", "create", "--commit", head, repo.url + "/c", "/c")
    assert server.get("/c").text == "c one" and world.http.requests == []


def test_history_that_is_rewritten(server, repo):
    server.cli("app", "create", repo.url + "/a", "/a")
    repo.git("checkout", "-q", "--orphan", "fresh")
    repo.commit({"a/app.star": text_app("a instead")["app.star"]})
    repo.git("branch", "-M", "fresh", "main")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "-q", "--prune=now")
    server.cli("app", "reload", "--promote", "/a")
    assert server.get("/a").text == "a instead"


def test_branches_tags_and_commits(server, repo):
    first = repo.git("rev-parse", "HEAD")
    repo.git("tag", "v1")
    repo.branch("side/way")
    repo.commit({"a/app.star": text_app("a side")["app.star"]})
    repo.git("checkout", "-q", "main")
    repo.branch("side2")
    repo.commit({"a/app.star": text_app("a side2")["app.star"]})
    for i, (args, text) in enumerate([(["--branch", "main"], "a one"), (["--branch", "side/way"], "a side"),
                                      (["--branch", "side2"], "a side2"), (["--branch", "v1"], "a one"),
                                      (["--commit", first], "a one"), (["--commit", first[:9]], "a one"),
                                      (["--commit", "v1"], "a one")]):
        server.cli("app", "create", *args, repo.url + "/a", f"/t{i}")
        assert server.get(f"/t{i}").text == text
    assert 'branch "none" not found' in server.fails("app", "create", "--branch", "none", repo.url + "/a", "/x")
    assert "1" * 40 in server.fails("app", "create", "--commit", "1" * 40, repo.url + "/a", "/x")
    assert "no/folder" in server.fails("app", "create", repo.url + "/no/folder", "/x")


def test_credentials_do_not_share(server, world):
    repo = Repo(world.base / "private" / "apps")
    head = repo.commit(text_app("private"))
    url = f"{world.http.url}/private/apps"
    server.cli("app", "create", "--git-auth", "mine", url, "/p")
    for args in ([], ["--git-auth", "wrong"]):
        assert "authentication failed" in server.fails("app", "create", *args, url, "/q")
        assert "authentication failed" in server.fails("app", "create", *args, "--commit", head, url, "/q")
    server.cli("app", "delete", "all")


def test_no_more_mirrors_than_are_allowed(server, world):
    for i in range(4):
        repo = Repo(world.base / f"many{i}" / "apps")
        repo.commit(text_app(f"m{i}"))
        server.cli("app", "create", f"{world.http.url}/many{i}/apps", f"/m{i}")
        assert len(mirrors(server)) <= 2
    server.cli("app", "delete", "all")


def test_many_at_once(server, repo):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: server.cli("app", "create", f"{repo.url}/{'abc'[i % 3]}", f"/w{i}"), range(9)))
    assert [server.get(f"/w{i}").text for i in range(9)] == [f"{'abc'[i % 3]} one" for i in range(9)]
    assert len(mirrors(server)) <= 2


def test_a_broken_mirror_is_done_without(server, repo):
    server.cli("app", "create", repo.url + "/a", "/a")
    for mirror in (server.home / "run" / "git").iterdir():
        for part in ("objects", "refs"):
            shutil.rmtree(mirror / ".git" / part)
        (mirror / ".git" / "HEAD").write_text("nonsense")
    repo.commit({"a/app.star": text_app("a two")["app.star"]})
    server.cli("app", "reload", "--promote", "/a")
    assert server.get("/a").text == "a two"
    repo.commit({"a/app.star": text_app("a three")["app.star"]})
    server.cli("app", "reload", "--promote", "/a")
    assert server.get("/a").text == "a three"


def test_nothing_is_left_of_the_last_start(server, repo):
    server.cli("app", "create", repo.url + "/a", "/a")
    assert mirrors(server)
    server.kill()
    server.start()
    assert mirrors(server) == []
    server.cli("app", "reload", "--force-reload", "/a")


def test_heads_are_believed_for_a_while(new_server, world, tmp_path):
    """Not by webhooks, which know better."""
    repo = Repo(world.base / "heads" / "apps")
    repo.commit(text_app("one"))
    s = new_server({"system": {"git_remote_check_interval_secs": 3600}}).start()
    s.cli("app", "create", f"{world.http.url}/heads/apps", "/h")
    token = s.cli("app-webhook", "create", "reload_promote", "/h").split()[1]
    repo.commit(text_app("two"))
    world.http.requests.clear()
    assert "1 app(s) skipped" in s.cli("app", "reload", "/h")
    assert world.http.requests == []
    answer = s.post("/_openrun_webhook/reload_promote?appPath=/h", data='{"ref": "refs/heads/main"}',
                    headers={"Authorization": "Bearer " + token})
    assert answer.status_code in (200, 202)
    wait_for(lambda: s.get("/h").text == "two", "the reload")
    repo.commit(text_app("three"))
    s.cli("app", "reload", "--force-reload", "--promote", "/h")
    assert s.get("/h").text == "three"
