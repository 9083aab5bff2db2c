"""Versions: switching, going back, what is kept, and what they may do."""
# SPDX-License-Identifier: Apache-2.0
import pytest

from sources import folder as make, text_app

STAGE = "stage.localhost:/v"


def needy(text, url="http://127.0.0.1:1"):
    return {"app.star": 'load("proxy.in", "proxy")\n' + text_app(text)["app.star"].replace(
        "routes=", f'permissions=[ace.permission("proxy.in", "config", ["{url}"])], routes=')}


@pytest.fixture
def app(server, folder):
    """An app with versions one, which asks for nothing, and two, which does and is approved."""
    source = folder(text_app("one"))
    server.cli("app", "create", source, "/v")
    make(source, needy("two"))
    server.cli("app", "reload", "--approve", "--promote", "/v")
    yield source
    server.cli("app", "delete", "/v")


def approved(server, path="/v"):
    return len(server.apps("--internal")[path]["metadata"]["permissions"])


def test_going_back_to_less_is_free_and_forth_to_more_is_not(server, app):
    assert "from version 2 to version 1" in server.cli("version", "revert", "/v")
    assert server.get("/v").text == "one" and approved(server) == 0
    for args in (["switch", "2"], ["switch", "next"], ["revert"]):
        message = server.fails("version", *args, "/v")
        assert "version 2 of app /v may do more than what is approved now" in message
        assert "load proxy.in, proxy.in.config [http://127.0.0.1:1]; switch with --approve" in message
    server.fails("version", "switch", "--dry-run", "2", "/v")
    assert server.get("/v").text == "one"
    assert "from version 1 to version 2" in server.cli("version", "revert", "--approve", "/v")
    assert server.get("/v").text == "two" and approved(server) == 1


def test_the_same_on_the_stage(server, app):
    server.cli("version", "switch", "1", STAGE)
    assert approved(server, STAGE) == 0 and approved(server) == 1
    assert "may do more" in server.fails("version", "switch", "2", STAGE)
    server.cli("version", "switch", "--approve", "2", STAGE)
    assert approved(server, STAGE) == 1


def test_another_argument_is_more(server, app):
    make(app, needy("three", "http://127.0.0.1:2"))
    server.cli("app", "reload", "--approve", "--promote", "/v")
    assert "proxy.in.config [http://127.0.0.1:1]" in server.fails("version", "switch", "2", "/v")


def test_a_stage_that_nobody_has_approved_is_not_promoted(server, folder):
    source = folder(needy("needy"))
    server.cli("app", "create", source, "/n")
    message = server.fails("app", "promote", "/n")
    assert "app /n needs approval before it is promoted" in message and "openrun app approve --dry-run /n" in message
    assert "needs approval" in server.fails("param", "update", "--promote", "a", "b", "/n")
    assert [v["Version"] for v in server.versions("stage.localhost:/n")] == [1]
    server.cli("app", "approve", "/n")
    server.cli("app", "promote", "/n")
    assert approved(server, "/n") == 1
    server.cli("app", "delete", "/n")


def test_a_version_that_does_not_load_is_not_switched_to(server, folder):
    source = folder({"app.star": text_app("x")["app.star"], "params.star": 'param("must", default="d")\n'})
    server.cli("app", "create", "--param", "must=1", source, "/p")
    make(source, {"params.star": 'param("must")\n'})
    server.cli("app", "reload", "/p")
    assert "required param" in server.fails("param", "update", "must", "-", "/p")
    assert [v["Version"] for v in server.versions("stage.localhost:/p")] == [1, 2]
    server.cli("app", "delete", "/p")


def test_words_and_numbers(server, folder):
    source = folder(text_app("1"))
    server.cli("app", "create", source, "/w")
    for n in (2, 3):
        make(source, text_app(str(n)))
        server.cli("app", "reload", "--promote", "/w")
    assert "from version 3 to version 2" in server.cli("version", "switch", "Previous", "/w")
    assert "from version 2 to version 1" in server.cli("version", "switch", "previous", "/w")
    assert "no previous version found" in server.fails("version", "switch", "previous", "/w")
    assert "from version 1 to version 2" in server.cli("version", "switch", "next", "/w")
    assert "from version 2 to version 3" in server.cli("version", "switch", "next", "/w")
    assert "no next version found" in server.fails("version", "switch", "next", "/w")
    assert "from version 3 to version 2" in server.cli("version", "revert", "/w")
    assert "from version 2 to version 3" in server.cli("version", "revert", "/w")
    for bad in ("0", "9", "-1", "one", ""):
        server.fails("version", "switch", "--", bad, "/w")
    assert "already" in server.fails("version", "switch", "3", "/w")
    assert server.get("/w").text == "3"
    assert "app.star" in server.cli("version", "files", "/w", "1")
    server.fails("version", "files", "/w", "9")
    server.fails("version", "files", "/w", "1", "2")
    server.cli("app", "delete", "/w")


def test_what_is_kept(server, folder):
    source = folder(text_app("1"))
    server.cli("app", "create", "--conf", "fs.retain_versions=2", source, "/r")
    for n in range(2, 7):
        make(source, text_app(str(n)))
        server.cli("app", "reload", "--promote", "/r")
    assert [v["Version"] for v in server.versions("/r")] == [4, 5, 6]
    assert [v["Version"] for v in server.versions("stage.localhost:/r")] == [4, 5, 6]
    # Newer ones stay, whatever the number.
    server.cli("version", "switch", "4", "/r")
    assert [v["Version"] for v in server.versions("/r")] == [4, 5, 6]
    assert server.cli("server", "check") == "No problems found.\n"
    server.cli("app", "delete", "/r")
    assert server.rows("select count(*) n from files") == [{"n": 0}]


def test_dev_apps_have_none(server, folder):
    server.cli("app", "create", "--dev", folder(text_app("1")), "/dev")
    for args in (["list", "/dev"], ["files", "/dev"], ["switch", "1", "/dev"], ["revert", "/dev"]):
        assert "not supported for dev app" in server.fails("version", *args)
    server.cli("app", "delete", "/dev")
