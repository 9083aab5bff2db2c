"""The life of an app: create, reload, approve, promote, params, settings, versions, delete; dry runs; many at once."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import csv
import json

import pytest

import sources

PARAM_APP = {"params.star": "param('name', default='world')\nparam('n', type=INT, default=1)\n",
             "app.star": "app = ace.app('P', routes=[ace.api('/', lambda req: '%s %d' % (param.name, param.n), type='TEXT')])\n"}


@pytest.fixture
def app(server, tmp_path, request):
    """A text app of this test's own: app.path, app.write(text), app.prod(), app.stage()."""
    class App:
        path = "/" + sources.slug(request)
        source = tmp_path / "app"

        def write(self, text):
            return sources.folder(self.source, sources.text_app(text))

        def prod(self):
            return server.get(self.path).text

        def stage(self):
            return server.get(self.path, host="stage.localhost").text

        def create(self, *flags, text="one"):
            self.write(text)
            return server.cli("app", "create", *flags, str(self.source), self.path)
    a = App()
    yield a
    server.cli("app", "delete", a.path)


def stage_of(path):
    return "stage.localhost:" + path


def test_create_tells_where_the_app_is(server, app):
    out = app.create()
    assert out == (f"      App: {app.path}\n HTTP Url: http://localhost:{server.http_port}{app.path}\n"
                   f"HTTPS Url: https://localhost:{server.https_port}{app.path}\n"
                   "  Plugins :\n  Permissions:\nApp created. No approval required\n"), out
    assert app.prod() == app.stage() == "one"
    assert server.get(app.path, scheme="http").text == "one"


def test_reload_changes_the_stage_and_promote_production(server, app):
    app.create()
    app.write("two")
    assert app.stage() == "one", "a change on disk alone changes nothing"
    out = server.cli("app", "reload", app.path)
    assert out == (f"Reloaded apps: {stage_of(app.path)}\n"
                   "1 app(s) reloaded, 0 app(s) skipped, 0 app(s) approved, 0 app(s) promoted.\n")
    assert (app.stage(), app.prod()) == ("two", "one")
    assert server.apps()[app.path]["staged_changes"] is True
    out = server.cli("app", "promote", app.path)
    assert out == f"Promoting {app.path}\n1 app(s) promoted.\n"
    assert (app.stage(), app.prod()) == ("two", "two")
    assert server.apps()[app.path]["staged_changes"] is False


def test_reload_with_promote_does_both(server, app):
    app.create()
    app.write("two")
    out = server.cli("app", "reload", "--promote", app.path)
    assert out.endswith("reloaded, 0 app(s) skipped, 0 app(s) approved, 1 app(s) promoted.\n")
    assert f"Promoted apps: {app.path}\n" in out
    assert (app.stage(), app.prod()) == ("two", "two")


def test_source_folder_may_go_after_create(server, app):
    import shutil
    app.create()
    shutil.rmtree(app.source)
    assert app.prod() == "one"
    assert "app" in server.fails("app", "reload", app.path)
    assert app.prod() == app.stage() == "one"


def test_reload_of_a_broken_source_changes_nothing(server, app):
    app.create()
    before = server.versions(stage_of(app.path))
    sources.folder(app.source, {"app.star": "app = ace.app('x'\n"})
    error = server.fails("app", "reload", "--promote", app.path)
    assert "app.star:" in error and app.path in error
    assert server.versions(stage_of(app.path)) == before
    assert app.prod() == app.stage() == "one"


def test_reload_needs_approval_for_new_permissions(server, app):
    app.create()
    sources.folder(app.source, {"app.star": '''
load("proxy.in", "proxy")
app = ace.app("P", routes=[ace.proxy("/", proxy.config("http://127.0.0.1:9"))],
              permissions=[ace.permission("proxy.in", "config", ["http://127.0.0.1:9"])])
'''})
    error = server.fails("app", "reload", app.path)
    assert "needs approval" in error and app.path in error
    assert app.stage() == "one"
    out = server.cli("app", "reload", "--approve", app.path)
    assert "Approved apps:" in out and "proxy.in.config [http://127.0.0.1:9]" in out
    assert "1 app(s) approved" in out
    assert server.get(app.path, host="stage.localhost").status_code == 502
    assert app.prod() == "one"


@pytest.mark.parametrize("command", [
    ["app", "create", "{source}", "{path}-new"],
    ["app", "reload", "{path}"],
    ["app", "reload", "--promote", "{path}"],
    ["app", "promote", "{path}"],
    ["app", "approve", "--promote", "{path}"],
    ["app", "delete", "{path}"],
    ["param", "update", "name", "x", "{path}"],
    ["app", "update", "conf", "fs.retain_versions=3", "{path}"],
    ["app", "update", "auth", "system", "{path}"],
    ["app", "settings", "stage-write-access", "false", "{path}"],
    ["version", "switch", "previous", "stage.localhost:{path}"],
], ids=lambda c: " ".join(c[:2] + [w for w in c[2:] if w.startswith("--")]))
def test_dry_run_does_all_but_changes_nothing(server, app, command):
    app.create()
    app.write("two")
    server.cli("app", "reload", app.path)
    app.write("three")
    before = server.apps("--internal"), server.versions(app.path), server.versions(stage_of(app.path))
    words = 3 if command[1] in ("update", "settings") and command[0] == "app" else 2
    out = server.cli(*[c.format(source=app.source, path=app.path) for c in command[:words]], "--dry-run",
                     *[c.format(source=app.source, path=app.path) for c in command[words:]])
    assert out.endswith("\n\n*** dry-run mode, changes have NOT been committed. ***\n"), out
    assert (server.apps("--internal"), server.versions(app.path), server.versions(stage_of(app.path))) == before
    assert (app.stage(), app.prod()) == ("two", "one")


def test_dry_run_finds_what_would_fail(server, app):
    app.create()
    sources.folder(app.source, {"app.star": "app = nonsense\n"})
    assert "app.star:1:" in server.fails("app", "reload", "--dry-run", app.path)
    assert "App already exists at" in server.fails("app", "create", "--dry-run", str(app.source), app.path)


def test_promote_when_nothing_is_staged(server, app):
    app.create()
    server.cli("app", "promote", app.path)
    assert app.prod() == "one"


def test_delete(server, app):
    app.create()
    app_id = server.apps()[app.path]["id"]
    out = server.cli("app", "delete", app.path)
    assert out == f"Deleting {app.path} - {app_id}\n1 app(s) deleted.\n"
    assert server.get(app.path).status_code == 404
    assert server.get(app.path, host="stage.localhost").status_code == 404
    for table in ("app_versions", "app_files"):
        assert server.rows(f"select * from {table} where appid like ?", "%" + app_id.removeprefix("app_prd_")) == []
    app.create(text="again")
    assert app.prod() == "again"


def test_no_match_is_success_with_zero(server):
    for command, line in ((["app", "delete"], "0 app(s) deleted."), (["app", "promote"], "0 app(s) promoted."),
                          (["app", "reload"], "0 app(s) reloaded, 0 app(s) skipped, 0 app(s) approved, 0 app(s) promoted."),
                          (["app", "approve"], "0 app(s) audited, 0 app(s) approved, 0 app(s) promoted.")):
        assert server.cli(*command, "/nothing/**").endswith(line + "\n")


# --- params, config, settings ---

def test_params_are_staged(server, app):
    sources.folder(app.source, PARAM_APP)
    server.cli("app", "create", "--param", "n=2", str(app.source), app.path)
    assert app.prod() == "world 2"
    out = server.cli("param", "update", "name", "there", app.path)
    assert out == f"Updated app {stage_of(app.path)}\n1 app(s) updated, 0 app(s) promoted.\n"
    assert (app.stage(), app.prod()) == ("there 2", "world 2")
    server.cli("app", "promote", app.path)
    assert app.prod() == "there 2"
    server.cli("param", "update", "--promote", "n", "-", app.path)
    assert app.prod() == "there 1", "- takes the default again"
    server.cli("param", "update", "--promote", "n", "-5", app.path)
    assert app.prod() == "there -5"
    out = server.cli("param", "list", app.path)
    assert out.index("n") < out.index("name") and "there" in out


def test_param_of_the_wrong_type_is_refused_and_nothing_changes(server, app):
    sources.folder(app.source, PARAM_APP)
    server.cli("app", "create", str(app.source), app.path)
    result = server.try_cli("param", "update", "n", "many", app.path)
    assert result.code == 1 and "param n is not an int" in result.err, result
    assert app.stage() == "world 1"


def test_app_config_is_staged(server, app):
    app.create()
    server.cli("app", "update", "conf", "security.headers_level=5", app.path)
    assert "Strict-Transport-Security" in server.get(app.path, host="stage.localhost").headers
    assert "Strict-Transport-Security" not in server.get(app.path).headers
    server.cli("app", "update", "conf", "--promote", "security.headers_level=0", app.path)
    assert "X-Frame-Options" not in server.get(app.path).headers


def test_spec_can_be_set_and_cleared(server, app, tmp_path):
    source = sources.folder(tmp_path / "pages", {"index.html": "page\n"})
    server.cli("app", "create", "--spec", "static", str(source), app.path)
    assert app.prod() == "page\n"
    assert "invalid app spec" in server.fails("app", "update", "spec", "nonsense", app.path)
    assert app.stage() == "page\n"


# --- versions ---

def test_versions(server, app):
    app.create()
    for text in ("two", "three"):
        app.write(text)
        server.cli("app", "reload", "--promote", app.path)
    rows = server.versions(app.path)
    assert [(r["Version"], r["PreviousVersion"], r["Active"]) for r in rows] == [(1, 0, False), (2, 1, False), (3, 2, True)]
    out = server.cli("version", "list", app.path)
    assert "=====>" in out and out.count("\n") == 4
    assert server.cli("version", "revert", app.path) == f"Reverted {app.path} from version 3 to version 2\n"
    assert (app.prod(), app.stage()) == ("two", "three")
    assert server.cli("version", "switch", "1", app.path) == f"Switched {app.path} from version 2 to version 1\n"
    assert app.prod() == "one"
    assert "no previous version found" in server.fails("version", "switch", "previous", app.path)
    server.cli("version", "switch", "next", app.path)
    assert app.prod() == "two"
    server.cli("version", "switch", "1", stage_of(app.path))
    assert (app.prod(), app.stage()) == ("two", "one")
    for bad in ("99", "x", "-1"):
        assert server.try_cli("version", "switch", bad, app.path).code == 1
    # The next stage version is a new number, whatever was switched to.
    app.write("four")
    server.cli("app", "reload", app.path)
    assert server.versions(stage_of(app.path))[-1]["Version"] == 4
    assert app.stage() == "four"


def test_version_files(server, app):
    import hashlib
    app.create()
    files = json.loads(server.cli("version", "files", "--format", "json", app.path))
    content = (app.source / "app.star").read_bytes()
    assert files == [{"Name": "app.star", "Etag": hashlib.sha256(content).hexdigest(), "Size": len(content)}]
    sources.folder(app.source, {"extra.txt": "x"})
    server.cli("app", "reload", app.path)
    assert [f["Name"] for f in json.loads(server.cli("version", "files", "--format", "json", stage_of(app.path)))] \
        == ["app.star", "extra.txt"]
    assert [f["Name"] for f in json.loads(server.cli("version", "files", "--format", "json", stage_of(app.path), "1"))] \
        == ["app.star"]


def test_old_versions_are_retired(server, app):
    app.create()
    server.cli("app", "update", "conf", "--promote", "fs.retain_versions=2", app.path)
    for i in range(6):
        app.write(f"text {i}")
        server.cli("app", "reload", "--promote", app.path)
    from openrun import wait_for
    wait_for(lambda: len(server.versions(app.path)) <= 3, "old versions to go")
    assert app.prod() == "text 5"
    server.cli("version", "switch", "previous", app.path)
    assert app.prod() == "text 4"


def test_files_are_stored_once(server, app):
    app.create(text="shared content that no other test has")
    server.cli("app", "create", str(app.source), app.path + "-twin")
    shas = [r["sha"] for r in server.rows("select sha from app_files where name = 'app.star'")]
    assert server.rows("select count(*) n from files where sha = ?", shas[-1]) == [{"n": 1}]
    server.cli("app", "delete", app.path + "-twin")
    assert app.prod() == "shared content that no other test has"


# --- places ---

@pytest.mark.parametrize("flags, stage_host, stage_path", [
    ([], "stage.localhost", ""), (["--stage-at", "domain"], "stage.localhost", ""),
    (["--stage-at", "path"], "localhost", "_cl_stage"), (["--stage-at", "preview.test"], "preview.test", ""),
    (["--stage-at", "beta."], "beta.localhost", "")], ids=["default", "domain", "path", "literal", "prefix"])
def test_where_the_stage_is(server, app, flags, stage_host, stage_path):
    app.create(*flags)
    app.write("two")
    server.cli("app", "reload", app.path)
    assert server.get(app.path + stage_path, host=stage_host).text == "two"
    assert app.prod() == "one"


def test_domains(server, app):
    app.write("shop")
    server.cli("app", "create", str(app.source), "Shop.Example.TEST:/")
    server.cli("app", "create", str(app.source), "maps.:/")
    try:
        assert server.get("/", host="shop.example.test").text == "shop"
        assert server.get("/", host="SHOP.example.test.").text == "shop"
        assert server.get("/", host="stage.shop.example.test").text == "shop"
        assert server.get("/", host="maps.localhost").text == "shop"
        assert server.get("/", host="other.test").status_code == 404
        assert server.get("/deeper", host="shop.example.test").status_code == 404
    finally:
        server.cli("app", "delete", "*:**")
    assert server.apps() == {}


def test_fallback_for_unknown_domains(new_server, folder):
    s = new_server({"system": {"fallback_unknown_domains": True}}).start()
    s.cli("app", "create", str(folder(sources.text_app("hi"))), "/x")
    assert s.get("/x", host="whatever.test").text == "hi"


def test_http_redirects_to_https(new_server, folder):
    s = new_server({"http": {"redirect_to_https": True}}).start()
    s.cli("app", "create", str(folder(sources.text_app("hi"))), "/x")
    r = s.get("/x?a=b", scheme="http")
    assert r.status_code == 308 and r.headers["Location"] == f"https://localhost:{s.https_port}/x?a=b"
    r = s.get("/x", scheme="http", host="evil.test")
    assert r.status_code == 308 and r.headers["Location"].startswith("https://localhost:")


# --- many at once ---

def test_globs_and_atomicity(server, tmp_path):
    made = []
    for i in range(5):
        source = sources.folder(tmp_path / f"a{i}", sources.text_app(f"{i} one"))
        server.cli("app", "create", str(source), f"/many/{i}")
        made.append(source)
    for i, source in enumerate(made):
        sources.folder(source, sources.text_app(f"{i} two"))
    sources.folder(made[3], {"app.star": "app = broken\n"})
    before = server.apps("--internal")
    error = server.fails("app", "reload", "--promote", "/many/**")
    assert "/many/3" in error and "app.star:1:" in error
    assert server.apps("--internal") == before, "one broken app, and none is changed"
    assert [server.get(f"/many/{i}", host="stage.localhost").text for i in range(5)] == [f"{i} one" for i in range(5)]
    sources.folder(made[3], sources.text_app("3 two"))
    out = server.cli("app", "reload", "--promote", "/many/*")
    assert "10 app(s) reloaded" in out or "5 app(s) reloaded" in out
    assert [server.get(f"/many/{i}").text for i in range(5)] == [f"{i} two" for i in range(5)]
    assert server.cli("app", "delete", "/many/**").endswith("5 app(s) deleted.\n")


@pytest.mark.parametrize("glob, expected", [
    ("all", {"/g", "/g2/a", "/g2/b/c", "g.test:/x"}), ("*:**", {"/g", "/g2/a", "/g2/b/c", "g.test:/x"}),
    ("**", {"/g", "/g2/a", "/g2/b/c"}), ("*", {"/g"}), ("/*", {"/g"}), ("/g2/**", {"/g2/a", "/g2/b/c"}),
    ("/g2/*", {"/g2/a"}), ("/g?/{a,x}", {"/g2/a"}), ("g.test:**", {"g.test:/x"}), ("*.test:**", {"g.test:/x"}),
    ("*:/x", {"g.test:/x"}), ("/G", set()), ("/g2/[ab]", {"/g2/a"})])
def test_globs_select(server, tmp_path, glob, expected):
    if "/g" not in server.apps():
        source = str(sources.folder(tmp_path / "g", sources.text_app("g")))
        for path in ("/g", "/g2/a", "/g2/b/c", "g.test:/x"):
            server.cli("app", "create", source, path)
    assert set(server.apps(glob)) == expected


def test_bad_globs(server):
    assert "path glob has to be in the format of domain:path" in server.fails("app", "list", "a:b:c")
    assert "invalid path glob" in server.fails("app", "list", "/[")


def test_list_formats(server, app):
    app.create()
    entry = server.apps()[app.path]
    assert entry["id"].startswith("app_prd_") and len(entry["id"]) == len("app_prd_") + 27
    assert list(entry)[:12] == ["id", "path", "domain", "main_app", "linked_app_path", "source_url", "is_dev", "user_id",
                                "create_time", "update_time", "settings", "metadata"]
    assert entry["metadata"]["name"] == "Text" and entry["metadata"]["version_metadata"]["version"] == 1
    lines = server.cli("app", "list", app.path).splitlines()
    assert lines[0].split() == ["Name", "Type", "Ver", "Auth", "AppPath"]
    assert lines[1] == f"{'Text':<30} {'PROD':<5} {1:4d} {'DEFAULT':<7} {app.path}"
    table = server.cli("app", "list", "--format", "table", app.path)
    assert entry["id"] in table and str(app.source) in table
    row = next(csv.reader([server.cli("app", "list", "--format", "csv", app.path).strip()]))
    assert row[0] == "Text" and row[1] == entry["id"] and row[6] == app.path
    lines = server.cli("app", "list", "--format", "jsonl", app.path).splitlines()
    assert len(lines) == 1 and json.loads(lines[0]) == entry
    assert json.loads(server.cli("app", "list", "--format", "jsonl_pretty", app.path)) == entry
    internal = server.apps("--internal", app.path)
    assert set(internal) == {app.path, stage_of(app.path)}
    assert internal[stage_of(app.path)]["main_app"] == entry["id"]
    assert server.cli("app", "list", "--format", "json", "/none") == "[]\n"


def test_default_format_of_the_client(new_server, folder):
    s = new_server({"client": {"default_format": "jsonl"}}).start()
    assert s.cli("app", "list") == ""
    s.cli("app", "create", str(folder(sources.text_app("x"))), "/x")
    assert json.loads(s.cli("app", "list"))["path"] == "/x"


def test_get_shows_one_app(server, app):
    app.create()
    shown = json.loads(server.cli("app", "get", "--format", "json", app.path))
    entry = server.apps()[app.path]
    entry.pop("staged_changes")
    shown.pop("staged_changes", None)
    assert shown == entry
    text = server.cli("app", "get", app.path)
    assert app.path in text and entry["id"] in text and str(app.source) in text
    assert "/nothing-here" in server.fails("app", "get", "/nothing-here")


# --- at the same time ---

def test_requests_never_fail_while_versions_change(server, app):
    """Deploys under load, a hundred with --all: every answer is a whole one, old or new, never of both."""
    import os
    import threading
    last = 100 if os.environ.get("OPENRUN_TEST_ALL") == "1" else 15
    app.create(text="v0 " * 10000)
    stop, seen, bad = threading.Event(), set(), []

    def load():
        import web
        with web.session() as s:
            while not stop.is_set():
                r = s.get(server.url(app.path), timeout=120)
                words = r.text.split()
                if r.status_code == 200 and len(words) == 10000 and len(set(words)) == 1:
                    seen.add(words[0])
                else:
                    bad.append((r.status_code, r.text[:200]))
    threads = [threading.Thread(target=load) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for i in range(1, last + 1):
            app.write(f"v{i} " * 10000)
            server.cli("app", "reload", "--promote", app.path)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert bad == [] and len(seen) > 1
    assert app.prod() == f"v{last} " * 10000


def test_operations_at_the_same_time(server, app, tmp_path):
    """Reloads of one app queue up; creates at one path: exactly one wins."""
    app.create()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda i: server.try_cli("app", "reload", "--promote", app.path), range(6)))
        assert all(d.code == 0 for d in done), done
        rows = server.versions(app.path)
        assert rows[-1]["Version"] == 7 and rows[-1]["Active"]
        path = app.path + "-race"
        done = list(pool.map(lambda i: server.try_cli("app", "create", str(app.source), path), range(6)))
    assert sorted(d.code for d in done) == [0, 1, 1, 1, 1, 1]
    assert all("App already exists at" in d.err for d in done if d.code)
    server.cli("app", "delete", path)


def test_everything_survives_a_restart(new_server, folder):
    s = new_server().start()
    app = folder(sources.text_app("one"))
    s.cli("app", "create", str(app), "/x")
    folder(sources.text_app("two"))
    s.cli("app", "reload", "/x")
    before = s.apps("--internal")
    s.restart()
    assert s.apps("--internal") == before
    assert s.get("/x").text == "one" and s.get("/x", host="stage.localhost").text == "two"
