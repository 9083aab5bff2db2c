"""A Flask app from a local folder on Podman: changed, reloaded, looked at on staging, promoted."""
# SPDX-License-Identifier: Apache-2.0
import engines
import openrun
import sources
from test_httpbin import BASES

APP = '''
import flask

app = flask.Flask(__name__)


@app.get("/")
def home():
    return "version {version}\\n"


@app.get("/where")
def where():
    return flask.jsonify(host=flask.request.host, user=flask.request.headers.get("X-Openrun-User"), color=__import__("os").environ["COLOR"])


@app.post("/echo")
def echo():
    return flask.request.get_data()
'''


def test_change_reload_promote(podman, tmp_path_factory):
    engines.ensure(podman, *BASES)
    files = {"app.py": APP.replace("{version}", "1"), "requirements.txt": "flask==3.1.2\n"}
    source = sources.folder(tmp_path_factory.mktemp("flask"), files)
    s = openrun.Server(tmp_path_factory.mktemp("home"), {"system": {"container_command": podman.command}}, env=podman.env).start().keep_ports()
    try:
        s.cli("app", "create", "--spec", "python-flask", "--approve", "--param", "COLOR=green", str(source), "/flask")
        r = s.get("/flask/", timeout=600)
        assert (r.status_code, r.text) == (200, "version 1\n"), r.text
        assert s.get("/flask/where").json()["color"] == "green"
        assert s.post("/flask/echo", data=b"x" * 100_000).content == b"x" * 100_000
        assert s.get("/flask/nothing").status_code == 404

        sources.folder(source, {"app.py": APP.replace("{version}", "2")})
        out = s.cli("app", "reload", "--verify", "/flask", timeout=900)
        assert "1 app(s) reloaded" in out
        assert s.get("/flask/", host="stage.localhost").text == "version 2\n"
        assert s.get("/flask/").text == "version 1\n", "production waits for the promote"

        # A version that does not start is refused by the reload; staging and production stay as they are.
        # (The message is one write: Podman 4 loses a last line whose end comes in a write of its own.)
        sources.folder(source, {"app.py": "import sys\nsys.stderr.write('no version 3 for you\\n')\nsys.exit(1)\n"})
        error = s.fails("app", "reload", "--verify", "/flask", timeout=900)
        assert "verify failed for app" in error and "no version 3 for you" in error
        assert "All changes have been reverted" in error
        assert s.get("/flask/", host="stage.localhost").text == "version 2\n"

        s.cli("app", "promote", "/flask")
        assert s.get("/flask/").text == "version 2\n"
        s.cli("version", "revert", "/flask")
        assert s.get("/flask/", timeout=600).text == "version 1\n"
        s.restart()
        assert s.get("/flask/").text == "version 1\n"
    finally:
        s.dispose(podman)
