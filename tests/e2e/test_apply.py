"""Declarative apply, plan and diff: from files and repositories, merged, promoted, all or nothing."""
# SPDX-License-Identifier: Apache-2.0
import base64
import contextlib
import json
import os
import re
import threading

import pytest

import api
import sources
from sources import Repo, text_app

CONFIG = {"node_config": {"greeting": "from the node", "many": [1, 2], "secret_value": "n0de-s3cret"}}


@pytest.fixture
def root(server, request):
    """The path below which a test has its apps; all gone afterwards."""
    path = "/" + sources.slug(request)
    yield path
    server.cli("app", "delete", path + "/**")


@pytest.fixture
def conf(tmp_path):
    """A folder with the sources `one` and `two`; conf(text) writes apps.star in it and gives its path."""
    sources.folder(tmp_path / "conf/one", text_app("one"))
    sources.folder(tmp_path / "conf/two", text_app("two"))

    def write(text, name="apps.star"):
        (tmp_path / "conf" / name).write_text(text)
        return tmp_path / "conf" / name
    return write


def counts(out):
    """(created, updated, reloaded, skipped, approved, promoted) of the last line."""
    return tuple(map(int, re.findall(r"(\d+) app\(s\) \w+[,.]", out.strip().splitlines()[-1])))


def state(server):
    """All that an apply could have changed."""
    return server.rows("select path, domain, metadata, settings, update_time from apps order by path, domain") + \
        server.rows("select appid, version, metadata from app_versions order by appid, version") + \
        server.rows("select sha from files order by sha")


# --- local files ---

def test_create_update_promote(server, root, conf):
    file = conf(f'app("{root}/b", "./one", params={{"x": 1}})\napp("{root}/a", "two")\n')
    out = server.cli("apply", "--approve", file)
    assert counts(out) == (2, 0, 0, 0, 0, 0), out
    assert out.index(f"App: {root}/b") < out.index(f"App: {root}/a"), "not in the order of declaration"
    assert server.get(root + "/b").text == "one"
    assert counts(server.cli("apply", file)) == (0, 0, 0, 2, 0, 0)
    conf(f'app("{root}/b", "./one", params={{"x": 2}})\napp("{root}/a", "two")\n')
    out = server.cli("apply", file)
    assert counts(out) == (0, 1, 0, 1, 0, 0), out
    assert f"Updated apps: {root}/b" in out
    assert server.apps()[root + "/b"]["staged_changes"]
    sources.folder(file.parent / "two", text_app("two again"))
    out = server.cli("apply", "--promote", file)
    assert counts(out) == (0, 0, 2, 1, 0, 1), out
    assert server.get(root + "/a").text == "two again"
    info = server.apps("--internal")
    for row in (info[root + "/a"], info["stage.localhost:" + root + "/a"]):
        said = json.loads(base64.b64decode(row["metadata"]["version_metadata"]["apply_info"]))
        assert said["path"] == root + "/a" and said["source_url"] == str(file.parent / "two")


def test_paths_are_relative_to_where_the_user_is(server, root, conf):
    file = conf(f'app("{root}/x", "./one")\n')
    assert counts(server.cli("apply", "conf/apps.star", cwd=file.parent.parent)) == (1, 0, 0, 0, 0, 0)
    assert counts(server.cli("apply", "*.star", cwd=file.parent)) == (0, 0, 0, 1, 0, 0)
    assert "path does not exist" in server.fails("apply", "nothing.star", cwd=file.parent)
    assert "no matching files found" in server.fails("apply", "*.nothing", cwd=file.parent)
    assert "name the files in it" in server.fails("apply", ".", cwd=file.parent)


def test_a_glob_of_files_and_a_glob_of_apps(server, root, conf):
    conf(f'app("{root}/b", "./one")\n', "1.star")
    file = conf(f'app("{root}/a/x", "./one")\napp("{root}/a/y", "./two")\n', "2.star")
    assert counts(server.cli("apply", file.parent / "*.star", root + "/a/**")) == (2, 0, 0, 0, 0, 0)
    assert counts(server.cli("apply", file.parent / "*.star")) == (1, 0, 0, 2, 0, 0)
    conf(f'app("{root}/b", "./one")\n', "3.star")
    assert f"3.star:1:4: duplicate app {root}/b defined in file 1.star" in server.fails("apply", file.parent / "*.star")


def test_config_comes_from_the_server(server, root, conf):
    file = conf(f'app("{root}/x", "./one", params={{"g": config("greeting", "?"), "m": config("many", []), '
                f'"b": config("_branch", "no branch"), "d": config("_dev", None), "o": config("other", "default")}})\n')
    server.cli("apply", file)
    params = server.apps()[root + "/x"]["metadata"]["param_values"]
    assert params == {"g": "from the node", "m": "[1,2]", "b": "no branch", "d": "false", "o": "default"}


def test_dev_apps(server, root, conf):
    file = conf(f'app("{root}/x", "./one")\napp("{root}/y", "./two", dev=True)\n')
    server.cli("apply", "--approve", "--dev", file)
    apps = server.apps()
    assert apps[root + "/x"]["is_dev"] and apps[root + "/y"]["is_dev"]
    sources.folder(file.parent / "one", text_app("edited"))
    assert counts(server.cli("apply", "--dev", file))[2] == 2
    assert server.get(root + "/x").text == "edited"
    assert "different dev status" in server.fails("apply", file)


# --- the merge ---

def test_changes_by_hand_are_kept_beside_what_is_declared(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one", params={{"a": 1, "b": 1}})\n')
    server.cli("apply", file)
    server.cli("param", "update", "--promote", "a", "hand", path)
    server.cli("param", "update", "--promote", "c", "hand", path)
    assert counts(server.cli("apply", file)) == (0, 0, 0, 1, 0, 0)
    conf(f'app("{path}", "./one", params={{"a": 1, "b": 2}})\n')
    assert counts(server.cli("apply", "--promote", file)) == (0, 1, 0, 0, 0, 1)
    assert server.apps()[path]["metadata"]["param_values"] == {"a": "hand", "b": "2", "c": "hand"}
    conf(f'app("{path}", "./one", params={{"b": 2}})\n')
    assert counts(server.cli("apply", "--promote", file)) == (0, 1, 0, 0, 0, 1)
    assert server.apps()[path]["metadata"]["param_values"] == {"b": "2", "c": "hand"}
    assert counts(server.cli("apply", "--promote", "--clobber", file)) == (0, 1, 0, 0, 0, 1)
    assert server.apps()[path]["metadata"]["param_values"] == {"b": "2"}
    assert counts(server.cli("apply", "--promote", "--clobber", file)) == (0, 0, 0, 1, 0, 0)


def test_reload_modes(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one")\n')
    server.cli("apply", file)
    sources.folder(file.parent / "one", text_app("changed"))
    for mode in ("none", "updated"):
        assert counts(server.cli("apply", "--reload", mode, file)) == (0, 0, 0, 1, 0, 0)
    conf(f'app("{path}", "./one", params={{"a": 1}})\n')
    assert counts(server.cli("apply", "--promote", "--reload", "none", file)) == (0, 1, 0, 0, 0, 1)
    assert server.get(path).text == "one"
    conf(f'app("{path}", "./one", params={{"a": 2}})\n')
    assert counts(server.cli("apply", "--promote", "--reload", "updated", file)) == (0, 1, 2, 0, 0, 1)
    assert server.get(path).text == "changed"
    versions = len(server.versions(path))
    assert counts(server.cli("apply", "--promote", file)) == (0, 0, 0, 1, 0, 0)
    assert counts(server.cli("apply", "--promote", "--force-reload", file)) == (0, 0, 2, 0, 0, 1)
    assert len(server.versions(path)) == versions + 1
    assert "valid options are none, updated, matched" in server.fails("apply", "--reload", "always", file)


def test_permissions_need_approval(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one")\n')
    server.cli("apply", file)
    asking = text_app("asks")["app.star"].replace("ace.app('Text',", "ace.app('Text', permissions=[ace.permission(\"proxy.in\", \"config\", [\"http://127.0.0.1:1\"])],")
    sources.folder(file.parent / "one", {"app.star": 'load("proxy.in", "proxy")\n' + asking})
    before = state(server)
    assert "needs approval" in server.fails("apply", file)
    assert state(server) == before
    out = server.cli("apply", "--approve", "--promote", file)
    assert counts(out) == (0, 0, 2, 0, 1, 1), out
    assert "Approved apps:" in out and "proxy.in.config [http://127.0.0.1:1]" in out


# --- git ---

def test_from_a_repository(server, root, world):
    repo = Repo(world.base / "conf" / "apps")
    url = f"{world.daemon}/conf/apps"
    declare = f'app("{root}/%s", "{url}//src", params={{"branch": config("_branch", "?")}}, git_branch=config("_branch", "main"))\n'
    first = repo.commit({"env/a/apps.star": declare % "a", "env/b/apps.star": declare % "b", "top.star": declare % "top",
                         "src/app.star": text_app("one")["app.star"]})
    out = server.cli("apply", "--approve", f"{url}//env/*/apps.star")
    assert counts(out) == (2, 0, 0, 0, 0, 0), out
    assert server.get(root + "/a").text == "one"
    assert server.apps()[root + "/b"]["metadata"]["param_values"] == {"branch": "main"}
    repo.branch("next")
    repo.commit({"top.star": declare % "top", "src/app.star": text_app("next")["app.star"]})
    repo.git("checkout", "-q", "main")
    second = repo.commit({"src/app.star": text_app("two")["app.star"]})
    assert counts(server.cli("apply", "--branch", "next", f"{url}//top.star")) == (1, 0, 0, 0, 0, 0)
    assert server.get(root + "/top").text == "next"
    assert server.apps()[root + "/top"]["metadata"]["version_metadata"]["git_branch"] == "next"
    reply = json.loads(server.cli("apply", "--promote", "--format", "json", f"{url}//env/*/apps.star"))
    assert reply["commit_id"] == second and len(reply["reload_results"]) == 4
    assert server.get(root + "/a").text == "two"
    reply = json.loads(server.cli("apply", "--commit", first, "--format", "json", f"{url}//env/a/apps.star"))
    assert reply["commit_id"] == first
    for path, flags, message in (("//env/a/apps.star", ["--branch", "nowhere"], 'branch "nowhere" not found'),
                                 ("//env/a/apps.star", ["--commit", "1" * 40], "1" * 40),
                                 ("//env/none.star", [], "no matching files found"), ("//none/x.star", [], 'folder "none" not found'),
                                 ("", [], "apply file name has to be specified within source repo")):
        assert message in server.fails("apply", *flags, url + path)


def test_the_declared_commit_is_what_runs(server, root, world, conf):
    repo = Repo(world.base / "pinned" / "apps")
    url, path = f"{world.daemon}/pinned/apps", root + "/x"
    first, second = (repo.commit(text_app(t)) for t in ("one", "two"))
    file = conf(f'app("{path}", "{url}")\n')
    server.cli("apply", "--approve", file)
    assert server.get(path).text == "two"
    conf(f'app("{path}", "{url}", git_commit="{first}")\n')
    assert counts(server.cli("apply", "--promote", file)) == (0, 1, 2, 0, 0, 1)
    assert server.get(path).text == "one"
    assert counts(server.cli("apply", "--promote", file)) == (0, 0, 0, 1, 0, 0)
    conf(f'app("{path}", "{url}", git_commit="{second}")\n')
    assert counts(server.cli("apply", "--promote", file)) == (0, 1, 2, 0, 0, 1)
    assert server.get(path).text == "two"
    conf(f'app("{path}", "{url}", git_commit="{second}", params={{"p": "1"}})\n')  # no new commit: the param is not lost
    assert counts(server.cli("apply", "--promote", file)) == (0, 1, 0, 0, 0, 1)
    assert server.apps()[path]["metadata"]["param_values"] == {"p": "1"}
    conf(f'app("{path}", "{url}", git_commit="{"2" * 40}")\n')
    before = state(server)
    assert "2" * 40 in server.fails("apply", file)
    conf(f'app("{path}", "{url}", git_branch="nowhere")\n')
    assert 'branch "nowhere" not found' in server.fails("apply", file)
    assert state(server) == before


def test_private_repositories(new_server, world):
    repo = Repo(world.base / "private" / "conf")
    url = f"{world.http.url}/private/conf"
    repo.commit({"apps.star": f'app("/x", "{url}//src", git_auth="mine")\n', "src/app.star": text_app("private")["app.star"]})
    s = new_server({"git_auth": {"mine": {"user_id": "git", "password": "s3cret"}}}).start()
    assert "s3cret" not in s.fails("apply", f"{url}//apps.star")
    s.cli("apply", "--approve", "--git-auth", "mine", f"{url}//apps.star")
    assert s.get("/x").text == "private"


def test_a_repository_is_asked_once_for_all_its_apps(server, root, world):
    repo = Repo(world.base / "mono" / "apps")
    url = f"{world.http.url}/mono/apps"
    files = {f"a{i}/app.star": text_app(f"{i} one")["app.star"] for i in range(30)}
    files["apps.star"] = f'[app("{root}/%d" % i, "{url}//a%d" % i) for i in range(30)]\n'
    repo.commit(files)

    def requests(*args):
        world.http.requests.clear()
        out = server.cli("apply", "--approve", *args, f"{url}//apps.star")
        return counts(out), len([r for r in world.http.requests if "info/refs" in r])
    assert requests() == ((30, 0, 0, 0, 0, 0), 4)  # commit, the file, the first folder, all others
    assert requests() == ((0, 0, 0, 30, 0, 0), 2)
    repo.commit({f"a{i}/app.star": text_app(f"{i} two")["app.star"] for i in range(30)})
    assert requests("--promote") == ((0, 0, 60, 0, 0, 30), 4)
    assert server.get(root + "/29").text == "29 two"


def test_links_in_a_repository_lead_nowhere(server, root, world):
    repo = Repo(world.base / "links" / "conf")
    os.symlink("/etc/passwd", repo.path / "apps.star")
    os.symlink("/etc", repo.path / "etc")
    repo.commit({"README": "x"})
    message = server.fails("apply", f"{world.daemon}/links/conf//apps.star")
    assert "symbolic link" in message and "root:" not in message
    assert "no matching files found" in server.fails("apply", f"{world.daemon}/links/conf//*.star")
    assert "etc" in server.fails("apply", f"{world.daemon}/links/conf//etc/passwd")


# --- plan and diff ---

def test_plan_changes_nothing_and_says_what_would(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one", params={{"a": 1, "gone": "x"}})\n')
    before = state(server)
    out = server.cli("plan", file)
    assert f"+ {path} (create)" in out and "1 app(s) to create, 0 app(s) to change, 0 app(s) unchanged." in out
    assert state(server) == before
    server.cli("apply", file)
    assert server.try_cli("plan", "--detailed-exitcode", file).code == 0
    conf(f'app("{path}", "./one", params={{"a": 2}}, auth="none")\napp("{root}/y", "./two")\n')
    sources.folder(file.parent / "one", {**text_app("changed"), "new.txt": "x"})
    before = state(server)
    result = server.try_cli("plan", "--detailed-exitcode", file)
    assert result.code == 2 and state(server) == before
    for line in (f"~ {path} (reload, staging only)", '    auth: "default" -> "none"', '    params.a: "1" -> "2"',
                 '    params.gone: "x" -> (none)', "    + new.txt", "    ~ app.star", f"+ {root}/y (create)",
                 "1 app(s) to create, 1 app(s) to change, 0 app(s) unchanged."):
        assert line in result.out.splitlines(), result
    reply = json.loads(server.cli("plan", "--promote", "--format", "json", file))
    assert reply["dry_run"] and [c["action"] for c in reply["changes"]] == ["reload", "create"]
    change = reply["changes"][0]
    assert change["promoted"] and {"field": "params.a", "old": "1", "new": "2"} in change["fields"]
    assert change["files"] == {"added": ["new.txt"], "changed": ["app.star"], "removed": []}
    out = server.cli("apply", "--dry-run", file)
    assert "*** dry-run mode, changes have NOT been committed. ***" in out and state(server) == before
    assert server.fails("plan", conf(f'app("{path}", "./none")\n'))


def test_diff_shows_what_a_promote_would_change(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one", params={{"a": 1, "password": "hunter22"}})\n')
    server.cli("apply", file)
    result = server.try_cli("diff", "--detailed-exitcode", path)
    assert result.code == 0 and "are the same" in result.out
    sources.folder(file.parent / "one", {**text_app("changed"), "new.txt": "x\n", "picture.bin": b"\0\1\2"})
    conf(f'app("{path}", "./one", params={{"a": 2, "password": "hunter23"}})\n')
    server.cli("apply", file)
    for name in (path, f"stage.localhost:{path}"):
        result = server.try_cli("diff", "--detailed-exitcode", name)
        assert result.code == 2
        for line in ('    params.a: "1" -> "2"', '    params.password: "***", another one', "--- production/app.star",
                     "+++ staging/app.star", "-    return 'one'", "+    return 'changed'", "--- /dev/null", "+++ staging/new.txt",
                     "+x", "Binary files picture.bin differ"):
            assert line in result.out.splitlines(), (line, result)
        assert "hunter" not in result.out
    reply = json.loads(server.cli("diff", "--format", "json", path))
    assert (reply["version"], reply["stage_version"], reply["is_different"]) == (1, 2, True)
    assert [(f["name"], f["change"]) for f in reply["files"]] == [("app.star", "changed"), ("new.txt", "added"), ("picture.bin", "added")]
    server.cli("app", "promote", path)
    assert server.try_cli("diff", "--detailed-exitcode", path).code == 0
    assert "no app at" in server.fails("diff", root + "/none")


# --- what goes wrong ---

BAD = [
    ("app(", 400, "error loading app definitions: apps.star:1:"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "./one", parms={})', 400, "did you mean params?"),
    ('app("ROOT/n", "./one", params=["a"])', 400, "for parameter params: got list, want dict"),
    ('app("ROOT/n", "./one")\nx = 1 // 0', 400, "apps.star:2"),
    ('app("ROOT/n", "./one")\napp("ROOT/n/", "./two")', 400, "duplicate app"),
    ('app("ROOT/n", "./one")\napp("ROOT/n/m", "./two")', 400, "overlaps with the new app at"),
    ('app("ROOT/n", "./one")\napp("ROOT/there/m", "./two")', 400, "App already exists at"),
    ('app("ROOT/n", "./one")\napp("ROOT/there", "./two")', 409, "already exists with different source url"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "./none")', 400, "does not exist"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "./broken")', 400, "app.star:"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "./one", spec="no-such-spec")', 400, "invalid app spec"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "./one", auth="magic")', 400, "magic"),
    ('app("ROOT/n", "./one")\napp("ROOT/m", "git://127.0.0.1:1/a/b")', 502, "127.0.0.1:1"),
    ('app("ROOT/n", "./one")\nbinding("/db", "postgres")', 400, "bindings are not available in this version"),
    ('app("ROOT/n", "./one", bindings=["/db"])', 400, "bindings are not available in this version"),
    ('app("ROOT/n", "./one")\nload("x.star", "y")', 400, "load"),
    ('def f():\n    for i in range(1000000000):\n        pass\nf()', 400, "steps"),
]


@pytest.mark.parametrize("text, status, message", BAD, ids=[b[2][:30] for b in BAD])
def test_bad_files_leave_everything_as_it_was(server, root, conf, text, status, message):
    file = conf(f'app("{root}/there", "./one")\n')
    sources.folder(file.parent / "broken", {"app.star": "app = ace.app("})
    server.cli("apply", file)
    before = state(server)
    conf(text.replace("ROOT", root))
    assert message in server.fails("apply", "--approve", "--promote", file)
    assert message in server.fails("plan", file)
    assert state(server) == before
    with contextlib.closing(api.Api(server)) as a, pytest.raises(api.Refused) as refused:
        a.post("/apply", applyPath=file, appPathGlob="all")
    assert refused.value.status == status and message in refused.value.message, refused.value
    assert server.get(root + "/there").text == "one"


def test_secrets_in_clear_are_told_and_not_shown(server, root, conf):
    path = root + "/x"
    file = conf(f'app("{path}", "./one", params={{"db_password": "hunter22-clear", "token": config("secret_value", "")}})\n')
    results = [server.try_cli("plan", file), server.try_cli("plan", "--format", "json", file), server.try_cli("apply", "-V", file),
               server.try_cli("plan", "--clobber", file)]
    for result in results:
        assert result.code == 0, result
        assert 'params["db_password"] looks like a secret in clear text' in result.err, result
        assert 'params["token"]' not in result.err
        assert "hunter22" not in result.out + result.err and "n0de-s3cret" not in result.out + result.err
    assert all("hunter22" not in json.dumps(line) for line in server.log())


def test_two_at_once(server, root, conf):
    """Whoever comes second finds what the first has made."""
    file = conf(f'[app("{root}/%d" % i, "./one") for i in range(20)]\n')
    results = []
    threads = [threading.Thread(target=lambda: results.append(server.try_cli("apply", file))) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r.code == 0 for r in results), results
    assert sorted(counts(r.out)[0] for r in results) == [0, 0, 0, 20]
    assert len(server.apps(root + "/**")) == 20
