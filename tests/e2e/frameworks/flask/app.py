import os

import flask

app = flask.Flask(__name__)


@app.get("/")
def home():
    return "version 1\n"


@app.get("/where")
def where():
    return flask.jsonify(url=flask.url_for("home"), scheme=flask.request.scheme, port=os.environ["PORT"])


@app.get("/go")
def go():
    return flask.redirect(flask.url_for("home"))


@app.get("/visit")
def visit():
    r = flask.make_response("set")
    r.set_cookie("seen", "1", path=flask.request.script_root or "/")
    return r
