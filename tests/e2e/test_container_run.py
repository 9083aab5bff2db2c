"""container.run: single commands from a handler, in containers that are gone afterwards."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import os
import threading

import pytest
import requests

import engines
import web
from openrun import wait_for

APP = """
load("container.in", "container")

def run(req):
    q = req.Query
    one = lambda name, default: q[name][0] if name in q else default
    r = container.run("sh", ["-c", one("sh", "true")], [e for e in one("env", "").split(";") if e],
                      parse=one("parse", ""), timeout=int(one("timeout", "120")), cwd=one("cwd", ""),
                      include_stderr=one("stderr", "") != "")
    return {"error": r.error, "code": r.error_code, "value": r.value if not r.error else None}

def stream(req):
    q = req.Query
    return container.run("sh", ["-c", q["sh"][0]], stream=True, parse=q["parse"][0] if "parse" in q else "",
                         process_partial="partial" in q)

def output(req):
    r = container.run("sh", ["-c", req.Query["sh"][0]], stdout_file=True)
    return {"error": r.error, "path": r.value if not r.error else None}

def not_approved(req):
    return container.run("rm", ["-r", "/"]).value

app = ace.app("tool",
    routes=[ace.api("/run", run), ace.api("/rm", not_approved), ace.api("/output", output),
            ace.api("/stream", stream), ace.api("/text", stream, type="TEXT")],
    container=container.config("image:alpine", lifetime=container.COMMAND, volumes=["data:/data"]),
    permissions=[ace.permission("container.in", "run", ["sh"])])
"""


@pytest.fixture(scope="module")
def alpine(engine):
    engines.ensure(engine, "alpine")


def tasks(box, engine):
    return engine.run("ps", "--all", "-q", "--filter", f"label=dev.openrun.task.home={box.home}").split()


def test_commands(box, engine, alpine, folder, path):
    text = 'a "b" \'c\'\nd=$HOME \\n'
    box.cli("app", "create", "--approve", "--param", f"TEXT={text}", "--copt", "memory=64m", str(folder({"app.star": APP})),
            path)

    def run(sh, **query):
        r = box.get(path + "/run", params={"sh": sh, **query})
        assert r.status_code == 200, r.text
        return r.json()

    def value(sh, **query):
        result = run(sh, **query)
        assert result["error"] is None, result
        return result["value"]
    # Lines, the app's environment whole, more of it, another folder.
    assert value("echo one; echo; echo two; echo no >&2") == ["one", "", "two"]
    assert value('printf %s "$TEXT"') == text.split("\n")
    assert value("echo $X-$CL_APP_PATH", env="X=1 2;Y=3") == [f"1 2-{path}"]
    assert value("pwd", cwd="/tmp") == ["/tmp"]
    assert sorted(value("echo out; echo err >&2", stderr="1")) == ["err", "out"]
    # Parsed, refused, failed.
    assert value("""echo '{"a": [1, 2.5]}'""", parse="json") == [{"a": [1, 2.5]}]
    assert value("""printf '{"a": 1}\\n{"a": 2}\\n'""", parse="jsonlines") == [{"a": 1}, {"a": 2}]
    assert "not JSON" in run("echo no", parse="json")["error"]
    failed = run("echo it broke >&2; exit 7")
    assert failed["code"] == 7 and failed["error"] == "exit status 7: it broke"
    r = box.get(path + "/rm")
    assert r.status_code == 500 and "is not permitted to call container.in.run" in r.text
    # Volumes are the app's, and outlive the containers.
    value("echo kept > /data/file")
    assert value("cat /data/file") == ["kept"]
    # Nothing of any of it is left, and nothing serves.
    wait_for(lambda: not tasks(box, engine), "the containers of commands to go")
    assert not engine.containers(box.home)


def test_a_deadline_and_a_client_that_leaves(box, engine, alpine, folder, path):
    box.cli("app", "create", "--approve", str(folder({"app.star": APP})), path)
    r = box.get(path + "/run", params={"sh": "sleep 1000", "timeout": "1"})
    assert r.json()["error"] == "the command was ended after 1 s (timeout)"
    wait_for(lambda: not tasks(box, engine), "the container to go")

    with web.session() as s:
        with pytest.raises(requests.RequestException):
            s.get(box.url(path + "/run"), params={"sh": "trap 'exit 0' TERM; sleep 1000 & wait"}, timeout=2)
    wait_for(lambda: not tasks(box, engine), "the container to go with its client")


def test_streams(box, engine, alpine, folder, path):
    box.cli("app", "create", "--approve", "--cvol", "data:/data", str(folder({"app.star": APP})), path)

    def get(kind, sh, **query):
        return box.get(f"{path}/{kind}", params={"sh": sh, **query})
    r = get("text", "echo one; printf two")
    assert r.text == "one\ntwo\n" and r.headers["Content-Type"] == "text/plain; charset=utf-8"
    r = get("stream", """echo '{"a": [1]}'; echo '{"b": null}'""", parse="jsonlines")
    assert [json.loads(line) for line in r.text.splitlines()] == [{"a": [1]}, {"b": None}]
    # Lines of any length.
    r = get("text", "head -c 200000 /dev/zero | tr '\\0' x; echo; yes 0123456789abcde | head -c 3000000")
    first, _, rest = r.text.partition("\n")
    assert first == "x" * 200000 and len(rest) == 3000000
    # Failures: before the first line, and after it.
    r = get("stream", "exit 3")
    assert (r.status_code, r.text.strip()) == (500, "exit status 3")
    assert get("stream", "echo some; exit 3", partial="1").text == '"some"\n'
    with pytest.raises(requests.RequestException):
        get("text", "echo begun; exit 4")
    # Each line comes when it is written: the command waits for the answer to its first one.
    with box.get(path + "/text", params={"sh": "echo first; until [ -e /data/go ]; do sleep 0.1; done; echo second"}, stream=True) as r:
        lines = r.iter_lines()
        assert next(lines) == b"first"
        assert box.get(path + "/run", params={"sh": "touch /data/go"}).json()["error"] is None
        assert next(lines) == b"second"
    # A client that leaves ends it.
    with box.get(path + "/text", params={"sh": "trap 'exit 0' TERM; echo begun; sleep 1000 & wait"}, stream=True) as r:
        lines = r.iter_lines()   # when it is collected, the connection is closed
        assert next(lines) == b"begun"
        assert tasks(box, engine)
    wait_for(lambda: not tasks(box, engine), "the container to go with its client")


def test_output_in_a_file(box, alpine, folder, path):
    box.cli("app", "create", "--approve", str(folder({"app.star": APP})), path)
    r = box.get(path + "/output", params={"sh": "echo kept"}).json()
    assert r["error"] is None and r["path"].startswith(f"{box.home}/run/output/")
    wait_for(lambda: not os.listdir(f"{box.home}/run/output"), "the file to go")
    assert box.get(path + "/output", params={"sh": "echo no; exit 2"}).json()["error"] == "exit status 2"
    wait_for(lambda: not os.listdir(f"{box.home}/run/output"), "the file of the failure to go")


def test_a_killed_server_leaves_nothing_for_long(new_box, docker, folder):
    engines.ensure(docker, "alpine")
    box = new_box(docker).start()
    box.cli("app", "create", "--approve", str(folder({"app.star": APP})), "/tool")

    def ask():
        with contextlib.suppress(requests.RequestException):
            box.get("/tool/run", params={"sh": "sleep 1000"})
    threading.Thread(target=ask, daemon=True).start()
    wait_for(lambda: tasks(box, docker), "the command to run")
    box.kill()
    assert tasks(box, docker)
    box.start()
    wait_for(lambda: not tasks(box, docker), "the next server to remove it")
