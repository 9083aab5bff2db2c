"""What the app specs are and take, as `openrun spec` tells it, with a server and without one."""
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import json

import pytest

import openrun
import sources

NAMES = ("container go image image-cmd java-spring-boot js-hono proxy python-asgi python-fasthtml python-flask python-gradio "
         "python-nicegui python-reflex python-shiny python-streamlit python-streamlit-poetry python-wsgi static static_disk "
         "static_single").split()
BUILT = [n for n in NAMES if n.startswith(("go", "java", "js", "python"))]


def specs(server, **kw):
    return json.loads(server.cli("spec", "list", "--format", "json", **kw))


def show(server, name):
    return json.loads(server.cli("spec", "show", name, "--format", "json"))


def test_all_are_bundled_and_say_what_they_are(server):
    rows = specs(server)
    assert [r["name"] for r in rows] == NAMES
    assert all(r["source"] == "bundled" and len(r["summary"]) > 5 and not r["summary"].endswith(".") for r in rows)


def test_the_list_in_each_format(server):
    text = server.cli("spec", "list")
    assert text.splitlines()[0].split() == ["Name", "Source", "Summary"] and len(text.splitlines()) == len(NAMES) + 1
    rows = list(csv.reader(io.StringIO(server.cli("spec", "list", "--format", "csv"))))
    assert [r[0] for r in rows] == NAMES and {r[1] for r in rows} == {"bundled"}
    lines = server.cli("spec", "list", "--format", "jsonl").splitlines()
    assert [json.loads(line)["name"] for line in lines] == NAMES


@pytest.mark.parametrize("name", BUILT)
def test_what_builds_an_image_has_what_it_needs(server, name):
    spec = show(server, name)
    files = {f["name"] for f in spec["files"]}
    args = {a["name"]: a["default"] for a in spec["build_args"]}
    params = {p["name"]: p for p in spec["params"]}
    assert {".dockerignore", "Containerfile", "app.star", "params.star"} <= files
    assert args.keys() & {"BASE_IMAGE", "RUN_IMAGE"}, "base images are build arguments"
    assert set(spec["images"]) <= set(args.values()), "every base image comes from one"
    assert spec["port"] > 0 or params["port"]["required"], "there is a port, or it must be given"
    assert params["secrets"]["type"] == "LIST" and params["app_name"]["default"]
    assert all(p["description"] for p in params.values())
    if name != "python-reflex":
        assert params["dev_command"]["default"] and params["dev_reload"]["default"] in ("none", "restart")


def test_show_for_people(server):
    text = server.cli("spec", "show", "go")
    assert text.startswith("go (bundled)\nA Go program")
    for part in ("port ", "INT", "required", "GO_VERSION", "golang:", "Containerfile"):
        assert part in text
    assert "Port: 5000\n" in server.cli("spec", "show", "python-flask")
    assert "Build arguments" not in server.cli("spec", "show", "static")


def test_an_unknown_one(server):
    assert "invalid app spec python-flas, did you mean python-flask?" in server.fails("spec", "show", "python-flas")
    assert "expected one argument" in server.fails("spec", "show")


def test_a_spec_of_the_user(server, folder):
    mine = server.home / "config/appspecs/mine"
    sources.folder(mine, {"params.star": 'param("color", description="Of the page", default="red")\nparam("n", type=INT)\n',
                          "app.star": sources.text_app("mine")["app.star"], "Containerfile": "ARG BASE\nARG V=1\nFROM a:$V\nEXPOSE 81\n"})
    own_static = server.home / "config/appspecs/static"
    sources.folder(own_static, {"app.star": "# My own static files\n" + sources.text_app("own")["app.star"]})
    by_name = {r["name"]: r for r in specs(server)}
    assert by_name["mine"] == {"name": "mine", "summary": "", "source": "user"}
    assert by_name["static"] == {"name": "static", "summary": "My own static files", "source": "user"}
    spec = show(server, "mine")
    assert spec["params"] == [
        {"name": "color", "type": "STRING", "default": "red", "required": False, "description": "Of the page"},
        {"name": "n", "type": "INT", "default": "", "required": True, "description": ""}]
    assert spec["build_args"] == [{"name": "BASE", "default": ""}, {"name": "V", "default": "1"}]
    assert spec["port"] == 81 and spec["images"] == ["a:1"]

    server.cli("app", "create", "--approve", "--spec", "mine", "--param", "n=1", "-", "/mine")
    assert server.get("/mine").text == "mine"

    sources.folder(mine, {"params.star": "param(1)\n"})
    assert "spec mine: " in server.fails("spec", "show", "mine")
    assert "mine" in {r["name"] for r in specs(server)}, "a broken one is listed"
    sources.folder(mine, {"params.star": 'param("x", default="\\n".join(["a", "b"]))\n'})
    assert "default: a ..." in server.cli("spec", "show", "mine")


def test_without_a_server(tmp_path):
    s = openrun.Server(tmp_path / "home")
    sources.folder(s.home / "config/appspecs/mine", {"app.star": "# Mine\n"})
    assert [r["name"] for r in specs(s)] == sorted([*NAMES, "mine"])
    assert show(s, "mine")["source"] == "user"
    assert "invalid app spec nothing" in s.fails("spec", "show", "nothing")
