"""Actions: forms made from an app's params, for people without a script, for the page's own script, and for programs."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import html
import os
import pathlib
import re
import sqlite3

import pytest
import requests

import browser
import engines
import web
from openrun import wait_for
from sources import folder

PARAMS = """
param("name", default="Ann", description="Who is greeted")
param("times", type=INT, default=2)
param("loud", type=BOOLEAN, default=True)
param("color", default="red")
param("options-color", type=LIST, default=["red", "blue"])
param("note", display_type=TEXTAREA + ":3", required=False)
param("file", display_type=FILE, required=False)
param("token", display_type=PASSWORD, default="hush")
"""

APP = """
def greet(dry_run, args):
    if not args.name:
        return ace.result("Check the form", param_errors={"name": "a name is <needed>"})
    if args.name == "boom":
        fail("greeting failed")
    if dry_run:
        return ace.result("All is well")
    ace.audit("greeted", args.name, "with care")
    word = "HELLO" if args.loud else "hello"
    return ace.result("Greeted " + args.name, ["%s %s %s" % (word, args.name, args.color)] * args.times)

def suggest(args):
    return {"name": ["Bob", "Cy"], "times": args.times + 1, "loud": not args.loud}

def table(dry_run, args):
    return ace.result("Rows", [{"z": 1.5, "a": "<b>"}, {"z": None, "a": "x" * 200}])

def tree(dry_run, args):
    return ace.result("Tree", [{"deep": {"er": [1, "<i>", None]}}])

def links(dry_run, args):
    return ace.result("Links", [{"url": "javascript:alert(1)", "name": "bad"}, {"url": "/x", "name": "good"}], report=ace.DOWNLOAD)

def upload(dry_run, args):
    return ace.result("Got", [args.file or "nothing", args.note])

app = ace.app("Greeter", actions=[
    ace.action("Greet", "/", greet, suggest, description="Says <hello>", hidden=["file"], show_validate=True),
    ace.action("Table", "/table", table),
    ace.action("Tree", "/tree", tree),
    ace.action("Links", "/links", links),
    ace.action("Upload", "/upload", upload),
])
"""

HX = {"HX-Request": "true"}
JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module", params=["docker", "podman"] if os.environ.get("OPENRUN_TEST_ALL") == "1" else ["docker"])
def engine(request):
    return engines.get(request.param)


def created(s, source, path, **files):
    """The app of these files, as app=TEXT."""
    folder(source, {f"{name}.star": text for name, text in files.items()})
    s.cli("app", "create", "--approve", str(source), path)
    return path


@pytest.fixture(scope="module")
def path(server, tmp_path_factory):
    return created(server, tmp_path_factory.mktemp("greeter"), "/greet", app=APP, params=PARAMS)


def test_the_form_and_what_belongs_to_it(server, path):
    r = server.get(path, params={"name": "<script>alert(1)</script>"})
    assert r.status_code == 200 and "script>alert" not in r.text and "hush" not in r.text
    assert "default-src 'none'" in r.headers["Content-Security-Policy"]
    assert [html.unescape(t) for t in re.findall(r'<a href="[^"]*"[^>]*>([^<]*)</a>', r.text)] == [
        "Greet", "Table", "Tree", "Links", "Upload"]
    for url in re.findall(r'(?:href|src)="(/greet/astatic/[^"]*)"', r.text):
        asset = server.get(url)
        assert asset.status_code == 200 and "immutable" in asset.headers["Cache-Control"]
    assert server.request("PUT", path).status_code == 405
    assert server.request("HEAD", path).status_code == 200


def test_without_a_script(server, path):
    r = server.post(path, data={"name": "Bo <b>", "times": "1"})
    assert r.status_code == 200 and r.text.startswith("<!doctype html>")
    text = html.unescape(r.text)
    assert "Greeted Bo <b>" in text and "hello Bo <b> red\n" in text and "HELLO" not in text
    assert 'value="Bo &lt;b&gt;"' in r.text
    r = server.post(path, data={"name": ""})
    assert "a name is &lt;needed&gt;" in r.text
    r = server.post(path + "/suggest", data={"times": "4"})
    assert 'value="5"' in r.text and ">Bob</option>" in r.text
    assert "All is well" in server.post(path + "/validate", data={}).text


def test_fragments_for_the_script(server, path):
    r = server.post(path, data={"name": "Zoë", "token": "secret", "loud": "true"}, headers=HX)
    assert r.text.startswith('<div role="status"') and '<output id="action_result" hx-swap-oob="innerHTML">' in r.text
    assert r.headers["HX-Push-Url"] == path + "/?loud=true&name=Zo%C3%AB"
    assert server.get(r.headers["HX-Push-Url"]).status_code == 200
    assert "<html" not in r.text


def test_json_for_programs(server, path):
    r = server.post(path, data={"name": "Jo", "times": 2, "loud": "1"}, headers=JSON)
    assert r.json() == {"status": "Greeted Jo", "values": ["HELLO Jo red"] * 2, "report": "TEXT", "param_errors": {}}
    assert server.post(path + "/validate", data={"name": ""}, headers=JSON).json() == {
        "status": "Check the form", "param_errors": {"name": "a name is <needed>"}}
    assert server.post(path + "/suggest", headers=JSON).json()["values"] == {"name": ["Bob", "Cy"], "times": 3, "loud": True}
    rows = server.post(path + "/table", headers=JSON).json()
    assert rows["report"] == "TABLE" and rows["values"][0] == {"z": 1.5, "a": "<b>"}


@pytest.mark.parametrize("data, status, message", [
    ({"times": "many"}, 400, "param times is not an int"),
    ({"color": "green"}, 400, "invalid value for color: must be one of the configured options"),
    ({"loud": "perhaps"}, 400, "param loud is not a boolean"),
    ({"name": "boom"}, 500, "fail: greeting failed"),
])
def test_what_is_wrong_is_said(server, path, data, status, message):
    r = server.post(path, data=data)
    assert r.status_code == status and r.text == message + "\n"
    r = server.post(path, data=data, headers=JSON)
    assert r.status_code == status and r.json() == {"error": message}


def test_reports(server, path):
    r = server.post(path + "/table", headers=HX)
    assert "<th scope=\"col\">z</th><th scope=\"col\">a</th>" in r.text and "&lt;b&gt;" in r.text and "x" * 100 + "...<" in r.text
    r = server.post(path + "/tree", headers=HX)
    assert "<details open>" in r.text and "&lt;i&gt;" in r.text and "<i>" not in r.text
    r = server.post(path + "/links", headers=HX)
    assert 'href="/x"' in r.text and "javascript" not in r.text


def test_uploads(server, path):
    data = b"\r\n--x\0" * 200000
    with_file = {"files": {"file": ("né w.bin", data)}, "data": {"note": "a\nb"}, "headers": JSON}
    r = server.post(path + "/upload", **with_file)
    assert r.status_code == 200, r.text
    name, note = r.json()["values"]
    assert name.endswith("/né w.bin") and "openrun-file-upload-" in name and note == "a\nb"
    wait_for(lambda: not pathlib.Path(name).parent.exists(), "the upload to go")
    # A path is no file.
    assert server.post(path + "/upload", data={"file": "/etc/passwd"}, headers=JSON).json()["values"][0] == "nothing"
    r = server.post(path + "/upload", files={"file": ("../../x", b"")})
    assert r.status_code == 400 and "unsafe file name" in r.text
    r = server.post(path + "/upload", files={"file": ("x", b"0" * (33 << 20))})
    assert r.status_code == 413 and "limit is 33554432 bytes" in r.text


def test_pages_of_strangers_cannot_run_it(server, path):
    r = server.post(path, data={}, headers={"Origin": "https://evil.example"})
    assert r.status_code == 403
    assert server.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_who_did_what_is_on_record(server, path):
    server.post(path, data={"name": "Audrey"}, headers=JSON)
    server.post(path + "/validate", data={"name": "Audrey"}, headers=JSON)
    server.post(path, data={"name": "boom"}, headers=JSON)

    def events():
        db = sqlite3.connect(server.home / "metadata" / "clace_audit.db", timeout=60)
        with contextlib.closing(db):
            return set(db.execute("SELECT event_type, operation, target, status FROM audit"))
    wait_for(lambda: ("action", "execute", "Greet", "Failed") in events(), "the events")
    assert {("action", "execute", "Greet", "Success"), ("action", "validate", "Greet", "Success"),
            ("custom", "greeted", "Audrey", "Success")} <= events()


def test_in_a_browser(server, path, tmp_path):
    with browser.Browser() as b:
        page = b.page()
        page.goto(server.url(path))
        page.type("#param_name", "Browser", enter=False)
        page.click("Run")
        page.wait_text("Greeted Browser")
        assert page.js("document.querySelector('#action_result textarea').value") == "HELLO Browser red\n" * 2
        assert "name=Browser" in page.js("location.search")
        page.click("Suggest")
        page.wait("document.querySelector('select#param_name') && document.querySelector('#param_times').value == '3'")
        page.type("#param_times", "no", enter=False)
        page.click("Validate")
        page.wait_text("param times is not an int")
        page.click("Table")
        page.wait("location.pathname.endsWith('/table')")
        assert page.js("document.querySelector('#param_times').value") == "no"
        page.goto(server.url(path + "/upload"))
        page.click("Run")
        page.wait_text("Got")
        assert page.js("document.querySelector('#action_result textarea').value.split('\\n')[0]") == "nothing"
        # Only what was provoked: no script failed, nothing was refused by the page's policy.
        assert [f for f in page.failures() if not f.startswith("400 ")] == []


# --- the spec image-cmd ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def command_path(box, engine):
    engines.ensure(engine, "alpine")
    box.cli("app", "create", "--spec", "image-cmd", "--approve", "--param", "image=alpine", "-", "/cmd")
    return "/cmd"


def test_image_cmd(box, engine, command_path):
    r = box.get(command_path)
    assert r.status_code == 200 and "Run command in container" in r.text and 'value="ls -l /"' in r.text
    assert "param_secrets" not in r.text and "param_image" not in r.text

    r = box.post(command_path, headers=HX)
    assert r.status_code == 200, r.text
    assert "Command completed" in r.text and "<textarea" in r.text and " etc\n" in r.text
    r = box.post(command_path, data={"command": "ls -l /"})
    assert "<!doctype html>" in r.text and " etc\n" in r.text

    said = box.post(command_path, data={"command": "echo {\"a\":1}", "json": "true"}, headers=JSON).json()
    assert said == {"status": "Command completed", "values": [{"a": 1}], "report": "TABLE", "param_errors": {}}
    said = box.post(command_path, data={"command": "echo no", "json": "true"}, headers=JSON).json()
    assert "not JSON" in said["status"]
    # What a command that fails has said is shown, too.
    said = box.post(command_path, data={"command": "ls /nothing"}, headers=JSON).json()
    assert said["status"] == "exit status 1" and "/nothing: No such file" in said["values"][0], said
    said = box.post(command_path, data={"command": "ls /nothing", "json": "true"}, headers=JSON).json()
    assert said["status"].startswith("exit status 1: ") and "/nothing: No such file" in said["status"], said

    r = box.post(command_path, data={"command": "cat /<script>"})
    assert r.status_code == 200 and "exit status 1" in r.text and "&lt;script&gt;" in r.text and "/<script>" not in r.text
    assert "a command is needed" in box.post(command_path, data={"command": " "}, headers=HX).text
    assert box.post(command_path + "/validate", data={"command": "rm -r /"}, headers=JSON).json()["status"] == "Checked"


def test_a_command_ends_with_its_client(box, engine, command_path):
    def tasks():
        return engine.run("ps", "--all", "-q", "--filter", f"label=dev.openrun.task.home={box.home}").split()
    wait_for(lambda: not tasks(), "earlier commands to go")
    with web.session() as s, pytest.raises(requests.RequestException):
        s.post(box.url(command_path), data={"command": "sleep 1000"}, timeout=3)
    wait_for(lambda: not tasks(), "the container to go with its client")


# --- output while it comes -----------------------------------------------------------------------------------

STREAM = """
load("container.in", "container")

def run(dry_run, args):
    r = container.run("sh", ["-c", args.sh], stream=True, parse=args.parse)
    if args.wrap:
        return ace.result("Started <it>", r, report=args.report)
    return r

app = ace.app("streams", actions=[ace.action("Run", "/", run, show_validate=True)],
    container=container.config("image:alpine", lifetime=container.COMMAND, volumes=["data:/data"]),
    permissions=[ace.permission("container.in", "run", ["sh"])])
"""
STREAM_PARAMS = """
param("sh", default="true")
param("parse", required=False)
param("wrap", type=BOOLEAN, default=False)
param("report", default="AUTO")
"""
WAIT = "echo 'first <b>&'; until [ -e /data/go ]; do sleep 0.1; done; echo second"


@pytest.fixture(scope="module")
def streams(box, engine, tmp_path_factory):
    engines.ensure(engine, "alpine")
    return created(box, tmp_path_factory.mktemp("streams"), "/streams", app=STREAM, params=STREAM_PARAMS)


def test_output_is_shown_while_it_comes(box, streams):
    def post(sh, headers=HX, **data):
        return box.post(streams, data={"sh": sh, **data}, headers=headers)
    r = post("echo '<one>'; echo two")
    assert ">&lt;one&gt;\ntwo\n</pre>" in r.text and r.text.rstrip().endswith("</output>")
    r = post("echo one", headers={}, wrap="true")
    assert r.text.startswith("<!doctype html>") and "Started &lt;it&gt;" in r.text and ">one\n</pre>" in r.text
    assert r.text.rstrip().endswith("</html>")
    assert post("echo one; echo two", headers=JSON, wrap="1").json() == {
        "status": "Started <it>", "values": ["one", "two"], "report": "TEXT", "param_errors": {}}
    assert post("echo '{\"a\": 1}'", headers=JSON, parse="jsonlines").json()["values"] == [{"a": 1}]
    assert post("true", headers=JSON).json()["values"] == []
    # Failures: before the first line, and after it.
    r = post("exit 3")
    assert (r.status_code, r.text) == (500, "exit status 3\n")
    r = post("echo some; exit 4")
    assert r.status_code == 200 and '>some\n</pre><p class="error" role="alert">exit status 4</p>' in r.text
    assert post("echo some; exit 4", headers=JSON).json() == {
        "status": "", "values": ["some"], "error": "exit status 4", "report": "TEXT", "param_errors": {}}
    # What cannot be.
    assert "TEXT only" in post("echo x", wrap="true", report="TABLE").text
    assert box.post(streams + "/validate", data={"sh": "echo x"}).status_code == 500


def test_output_in_a_browser_while_it_comes(box, streams):
    with browser.Browser() as b:
        page = b.page()
        page.goto(box.url(streams))
        page.type("#param_sh", WAIT, enter=False)
        run = lambda: page.click("Run")   # more than once, as engines change the network that the browser looks at
        page.until(run, "document.querySelector('#action_result pre')?.textContent == 'first <b>&\\n'")
        assert page.js("[...document.querySelectorAll('#action_form [type=submit]')].every(b => b.disabled)")
        box.post(streams, data={"sh": "touch /data/go"})
        page.wait("document.querySelector('#action_result pre').textContent == 'first <b>&\\nsecond\\n'", "the second line")
        page.wait("!document.querySelector('#action_form [type=submit]').disabled")
        box.post(streams, data={"sh": "rm /data/go"})
        page.until(run, "document.querySelector('#action_result pre')?.textContent == 'first <b>&\\n'")
        page.click("Stop")
        page.wait_text("Stopped")
        assert page.failures() == []
