"""`server check`: faults in the metadata, told by a running server and without one."""
# SPDX-License-Identifier: Apache-2.0
from sources import text_app

ORPHAN = "insert into files(sha, compression_type, content, create_time) values ('ab', '', x'00', '2026-01-01 00:00:00')"


def test_a_running_server_is_asked(server, folder):
    server.cli("app", "create", folder(text_app("one")), "/one")
    assert server.cli("server", "check") == "No problems found.\n"
    assert server.try_cli("server", "check", "--format", "json").json == {"problems": []}
    with server.metadata() as db:
        db.execute(ORPHAN)
    result = server.try_cli("server", "check")
    assert result.code == 1 and result.err == "", result
    assert result.out == 'content ab () is used by no version: "openrun server check --fix" removes it\n' \
                         "1 problem(s) found.\n"
    assert server.cli("server", "check", "--fix") == "No problems found.\n"
    assert server.rows("select count(*) n from files where sha = 'ab'") == [{"n": 0}]
    with server.metadata() as db:
        db.execute("delete from app_versions where appid like 'app_prd_%'")
    out = server.try_cli("server", "check").out
    assert "app /one (app_prd_" in out and "its version 1 does not exist" in out
    server.cli("app", "delete", "/one")


def test_a_stopped_server_is_looked_into(new_server, folder):
    s = new_server()
    assert "no server has been started here" in s.fails("server", "check")
    assert not (s.home / "metadata").exists()
    s.start()
    s.cli("app", "create", folder(text_app("one")), "/one")
    s.stop()
    before = s.rows("select * from apps order by id")
    assert s.cli("server", "check") == "No problems found.\n"
    with s.metadata() as db:
        db.execute("delete from apps where id like 'app_stg_%'")
        db.execute(ORPHAN)
    result = s.try_cli("server", "check")
    assert result.code == 1 and "it has no staging entry: delete it" in result.out, result
    assert "used by no version" in s.try_cli("server", "check").out
    assert "used by no version" not in s.try_cli("server", "check", "--fix").out
    assert s.rows("select * from apps order by id") == [r for r in before if not r["id"].startswith("app_stg_")]
    s.kill() if s.is_running() else None


def test_an_exact_path_that_matches_nothing_is_told(server):
    result = server.try_cli("app", "reload", "/nothing/here/")
    assert result.code == 0 and "0 app(s) reloaded" in result.out
    assert 'Warning: there is no app at /nothing/here: "openrun app list"' in result.err
    assert "Warning" not in server.try_cli("app", "reload", "/nothing/**").err


def test_a_staging_path_is_told_apart(server, folder):
    server.cli("app", "create", folder(text_app("one")), "/main")
    err = server.try_cli("app", "reload", "stage.localhost:/main").err
    assert err == "Warning: stage.localhost:/main is the staging of /main: name that app\n"
    server.cli("app", "delete", "/main")


def test_a_param_that_nothing_asks_for_is_told(server, folder):
    server.cli("app", "create", folder({**text_app("one"), "params.star": 'param("colour", default="red")\n'}), "/par")
    assert server.try_cli("param", "update", "colour", "blue", "/par").err == ""
    assert "Warning: app /par has no param color in its params.star" in server.try_cli("param", "update", "color", "x", "/par").err
    assert server.try_cli("param", "update", "color", "-", "/par").err == ""
    server.cli("app", "delete", "/par")


def test_paths_and_globs_are_as_at_create(server, folder):
    server.cli("app", "create", folder(text_app("one")), "maps.:/a/b/")
    for name in ("maps.:/a/b", "maps.localhost:/a/b/", "MAPS.:/a/**", "maps.:/a/*/"):
        assert "1 app(s) reloaded" in server.cli("app", "reload", name), name
    assert server.cli("param", "list", "maps.:/a/b/").startswith("No param values for app maps.localhost:/a/b")
    file = server.home / "apps.star"
    file.write_text(server.cli("export", "maps.:/a/b/"))
    assert "0 app(s) created" in server.cli("apply", "--reload", "none", file, "maps.:/a/b/")
    assert "1 app(s) deleted" in server.cli("app", "delete", "maps.:/a/b/")
    assert "1 app(s) created" in server.cli("apply", file, "maps.:/a/*/")
    server.cli("app", "delete", "maps.:/a/b/")


def test_unlinking_an_absent_account_changes_nothing(server, folder):
    server.cli("app", "create", folder(text_app("one")), "/acc")
    assert "0 app(s) linked" in server.cli("account", "link", "http.in", "-", "/acc")
    server.cli("account", "link", "http.in", "work", "/acc")
    assert "1 app(s) linked" in server.cli("account", "link", "http.in", "-", "/acc")
    assert "0 app(s) linked" in server.cli("account", "link", "http.in", "-", "/acc")
    assert [v["Version"] for v in server.versions("stage.localhost:/acc")] == [1, 2, 3]
    server.cli("app", "update", "cvol", "data:/data", "/acc")
    server.cli("app", "update", "cvol", "-", "/acc")
    assert server.apps("--internal")["stage.localhost:/acc"]["metadata"]["container_volumes"] == []
    server.cli("app", "update", "copt", "privileged", "/acc")
    assert server.apps("--internal")["stage.localhost:/acc"]["metadata"]["container_options"] == {"privileged": ""}
    server.cli("app", "delete", "/acc")


def test_a_spec_is_refreshed_when_asked_for(server, folder):
    spec = server.home / "config" / "appspecs" / "own"
    spec.mkdir(parents=True)
    (spec / "app.star").write_text(text_app("old")["app.star"])
    server.cli("app", "create", "--spec", "own", folder({"readme.txt": "x"}), "/spec")
    (spec / "app.star").write_text(text_app("new")["app.star"])
    server.cli("app", "reload", "--promote", "/spec")
    assert server.get("/spec").text == "old"
    server.cli("app", "reload", "--promote", "--refresh-spec", "/spec")
    assert server.get("/spec").text == "new"
    server.cli("app", "delete", "/spec")
