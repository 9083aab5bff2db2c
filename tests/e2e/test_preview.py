"""Previews: commits of an app beside it, from a real git server."""
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from sources import text_app


@pytest.fixture(scope="module")
def world(world):
    w = world
    w.history("team/apps")
    w.repo.git("checkout", "-q", "side")
    needy = 'load("proxy.in", "proxy")\n' + text_app("needy")["app.star"].replace(
        "routes=", 'permissions=[ace.permission("proxy.in", "config", ["http://127.0.0.1:1"])], routes=')
    w.needy = w.repo.commit({"app.star": needy}, "asks for more")
    w.broken = w.repo.commit({"app.star": "app = ace.app(\n"}, "broken")
    w.repo.git("branch", "feature", w.side)
    w.repo.git("checkout", "-q", "main")
    return w


@pytest.fixture
def app(server, world):
    server.cli("app", "create", world.url, "/shop")
    yield "/shop"
    server.cli("app", "delete", "/shop")


def previews(server, *args):
    return json.loads(server.cli("preview", "list", "--format", "json", *args))


def test_each_commit_has_its_preview(server, world, app):
    out = server.cli("preview", "create", world.one, app)
    assert "App creation succeeded. No approval required" in out
    assert f"HTTPS Url: https://localhost:{server.https_port}/shop_cl_preview_{world.one}\n" in out
    server.cli("preview", "create", world.side, app)
    assert server.get(f"/shop_cl_preview_{world.one}").text == "one"
    assert server.get(f"/shop_cl_preview_{world.side}").text == "side"
    assert server.get("/shop").text == "two"
    rows = previews(server, app)
    assert [r["metadata"]["version_metadata"]["git_commit"] for r in rows] == [world.side, world.one]
    assert len({r["id"] for r in rows}) == 2 and all(r["id"].startswith("app_pre_") for r in rows)
    main = server.apps()[app]
    assert {r["main_app"] for r in rows} == {main["id"]}
    assert all(r["metadata"]["version_metadata"]["git_branch"] == "" for r in rows)
    assert previews(server) == rows
    internal = server.cli("app", "list", "--internal", "--format", "csv")
    assert internal.count(",VIEW,") == 2 and "VIEW" not in server.cli("app", "list", "--format", "csv")
    assert world.one[:20] in server.cli("preview", "list", app)


def test_short_commits_and_branches_are_resolved(server, world, app):
    server.cli("preview", "create", world.one[:9], app)
    server.cli("preview", "create", "feature", app)
    found = {r["path"] for r in previews(server, app)}
    assert f"/shop_cl_preview_{world.one}" in found and len(found) == 2
    assert server.get(f"/shop_cl_preview_{world.one}").text == "one"


def test_a_second_preview_of_a_commit_is_refused(server, world, app):
    server.cli("preview", "create", world.one, app)
    assert "already" in server.fails("preview", "create", world.one, app)
    assert "already" in server.fails("preview", "create", world.one[:8], app)
    assert len(previews(server, app)) == 1


@pytest.mark.parametrize("path,words", [("stage.localhost:/shop", "production apps"), ("/nothing", "no app at"),
                                        ("shop", "start with")])
def test_only_production_paths(server, world, app, path, words):
    assert words in server.fails("preview", "create", world.one, path)
    assert previews(server) == []


def test_a_preview_has_no_previews_and_local_apps_have_none(server, world, app, folder):
    server.cli("preview", "create", world.one, app)
    assert "production apps" in server.fails("preview", "create", world.two, f"/shop_cl_preview_{world.one}")
    server.cli("app", "create", folder(text_app("local")), "/local")
    assert "not a git repository" in server.fails("preview", "create", world.one, "/local")
    server.cli("app", "delete", "/local")


@pytest.mark.parametrize("commit", ["0" * 40, "abcdef12", "no-such-branch", "--force", "a b", ""])
def test_commits_that_are_not_there(server, world, app, commit):
    server.fails("preview", "create", "--", commit, app)
    assert previews(server) == []


def test_a_commit_that_asks_for_more_needs_approval(server, world, app):
    result = server.try_cli("preview", "create", world.needy, app)
    assert result.code == 1 and "error: preview app creation failed" in result.err, result
    assert "App creation failed, permissions need to be approved, add the --approve option" in result.out
    assert "proxy.in.config" in result.out and "Url" not in result.out
    assert previews(server) == [] and server.rows("select count(*) n from apps")[0]["n"] == 2
    out = server.cli("preview", "create", "--approve", world.needy, app)
    assert "App creation succeeded. Permissions have been approved" in out
    assert server.get(f"/shop_cl_preview_{world.needy}").text == "needy"
    assert server.apps()[app]["metadata"]["permissions"] == []


def test_a_broken_commit_leaves_nothing(server, world, app):
    assert "app.star" in server.fails("preview", "create", world.broken, app)
    assert previews(server) == []
    assert server.cli("server", "check").strip() == "No problems found."


def test_dry_runs_change_nothing(server, world, app):
    out = server.cli("preview", "create", "--dry-run", world.one, app)
    assert "dry-run" in out and previews(server) == []
    server.cli("preview", "create", world.one, app)
    out = server.cli("preview", "delete", "--dry-run", world.one, app)
    assert "1 preview(s) deleted." in out and "dry-run" in out and len(previews(server)) == 1


def test_previews_do_not_change(server, world, app):
    server.cli("preview", "create", world.one, app)
    path = f"/shop_cl_preview_{world.one}"
    for args in (["app", "reload", path], ["app", "promote", path], ["app", "delete", path], ["param", "update", "a", "b", path]):
        server.try_cli(*args)
    assert server.apps("--internal")[path]["metadata"]["param_values"] == {}
    assert [v["Version"] for v in server.versions(path)] == [1]
    server.fails("version", "switch", "next", path)
    # A new version of the app leaves them alone.
    world.repo.commit(text_app("three"), "third")
    server.cli("app", "reload", "--promote", app)
    assert server.get("/shop").text == "three" and server.get(path).text == "one"
    world.repo.git("reset", "-q", "--hard", world.two)


def test_delete_by_commit_and_with_the_main_app(server, world, app):
    server.cli("preview", "create", world.one, app)
    server.cli("preview", "create", world.two, app)
    path = f"/shop_cl_preview_{world.one}"
    assert "no preview of commit" in server.fails("preview", "delete", world.side, app)
    assert "Deleting " + path in server.cli("preview", "delete", world.one[:10], app)
    assert server.get(path).status_code == 404
    assert len(previews(server)) == 1
    server.cli("app", "delete", app)
    assert previews(server) == [] and server.rows("select count(*) n from apps")[0]["n"] == 0
    assert server.get(f"/shop_cl_preview_{world.two}").status_code == 404
    server.cli("app", "create", world.url, app)


def test_webhook_tokens_are_not_copied(server, world, app):
    with server.metadata() as db:
        db.execute("""update apps set settings = json_set(settings, '$.webhook_tokens.reload', 'cl_tkn_x')
                      where path = '/shop' and main_app = ''""")
    server.cli("preview", "create", world.one, app)
    settings = server.rows("select settings from apps where id like 'app_pre_%'")[0]["settings"]
    assert "cl_tkn_x" not in settings


def test_folders_and_the_root_app(server, world):
    server.cli("app", "create", world.url + "//sub", "/")
    server.cli("preview", "create", world.one, "/")
    assert server.get(f"/_cl_preview_{world.one}").text == "sub one"
    assert server.get("/").text == "sub one"
    server.cli("app", "delete", "/")
    assert previews(server) == []


def test_settings_reach_previews(server, world, app):
    server.cli("preview", "create", world.one, app)
    out = server.cli("app", "settings", "preview-write-access", "false", app)
    assert f"Updating /shop_cl_preview_{world.one}" in out and "3 app(s) updated." in out
    rows = server.rows("select settings from apps")
    assert [json.loads(r["settings"])["preview_write_access"] for r in rows] == [False] * 3
