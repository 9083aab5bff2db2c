"""Apps whose answers are Starlark: JSON and text handlers, params, modules, errors, budgets, approval."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import time

import pytest

import sources
from openrun import ROOT

API = {
    "app.star": '''
load("lib/books.star", "find", short="titles")

def echo(req):
    return {"method": req.Method, "path": req.AppPath, "page": req.PagePath, "query": req.Query, "params": req.UrlParams,
            "app": req.AppName, "user": req.UserId, "dev": req.IsDev, "form": req.Form}

def types(req):
    return {"none": None, "yes": True, "int": 1 << 40, "float": 1.0, "half": 0.5, "text": "<a> & \\u00e9", "list": [1, "two", None],
            "tuple": (1, 2), "nested": {"b": 1, "a": {"c": []}}, "bytes": b"abc"}

def hello_no_args():
    return "%s, %d times" % (param.greeting, param.times)

def book(req):
    found = find(int(req.UrlParams["id"]))
    if not found:
        return ace.response({"error": "no such book"}, type="json", code=404)
    return found

def plain(req):
    return ace.response("teapot", type="text", code=418)

def here(req):
    return ace.redirect(req.AppPath + "/echo", code=302)

def file(req):
    return ace.response("a,b\\n1,2\\n", download="data.csv", content_type="text/csv")

def rest(req):
    return req.UrlParams["*"]

def divide(req):
    return 1 // int(req.Query["by"][0])

def wrong(req):
    return divide(req)

def stuck(req):
    n = 0
    while True:
        n += 1

def big(req):
    x = "0123456789abcdef" * 65536
    l = []
    for i in range(100000):
        l.append(x + str(i))
    return l

def recurse(req):
    return recurse(req)

def frozen(req):
    param.list.append(1)
    return param.list

app = ace.app("API", routes=[
    ace.api("/echo", echo),
    ace.api("/echo", echo, method="POST"),
    ace.api("/types", types),
    ace.api("/hello", hello_no_args, type="TEXT"),
    ace.api("/books", lambda req: short(), type="json"),
    ace.api("/books/{id}", book),
    ace.api("/only/{n:[0-9]+}", lambda req: req.UrlParams["n"], type="TEXT"),
    ace.api("/file/{name}.json", lambda req: req.UrlParams["name"], type="TEXT"),
    ace.api("/rest/*", rest, type="TEXT"),
    ace.api("/plain", plain), ace.api("/here", here), ace.api("/file", file),
    ace.api("/wrong", wrong), ace.api("/stuck", stuck), ace.api("/big", big), ace.api("/recurse", recurse),
    ace.api("/frozen", frozen), ace.api("/delete", lambda req: "gone", method="DELETE", type="TEXT"),
    ace.api("/ünï", lambda req: "unicode", type="TEXT"),
    ace.api("/", lambda req: "root", type="TEXT"),
])
''',
    "lib/books.star": '_books = [{"id": 1, "title": "C"}, {"id": 2, "title": "Make"}]\n\ndef find(id):\n'
                      '    for b in _books:\n        if b["id"] == id:\n            return b\n    return None\n\n'
                      'def titles():\n    return [b["title"] for b in _books]\n',
    "params.star": 'param("greeting", default="Hello", description="first word")\n'
                   'param("times", type=INT, default=3)\nparam("list", type=LIST, default=[1])\n',
}


@pytest.fixture(scope="module")
def api(server, tmp_path_factory):
    server.cli("app", "create", "--param", "times=5", str(sources.folder(tmp_path_factory.mktemp("api"), API)), "/api")
    return server


def test_json_and_text(api):
    r = api.get("/api/types")
    assert r.status_code == 200 and r.headers["Content-Type"].startswith("application/json")
    assert r.json() == {"none": None, "yes": True, "int": 1 << 40, "float": 1, "half": 0.5, "text": "<a> & é",
                        "list": [1, "two", None], "tuple": [1, 2], "nested": {"b": 1, "a": {"c": []}}, "bytes": "YWJj"}
    assert "<a> & é" in r.text, "no HTML escaping in JSON"
    assert list(r.json()["nested"]) == ["b", "a"], "dict order is kept"
    assert r.headers["Server"] == "OpenRun" and r.headers["X-Content-Type-Options"] == "nosniff"
    r = api.get("/api/hello")
    assert r.text == "Hello, 5 times" and r.headers["Content-Type"].startswith("text/plain")
    assert api.get("/api").text == api.get("/api/").text == "root"


def test_request_object(api):
    r = api.get("/api/echo?a=1&a=2&b=%20x").json()
    assert r["method"] == "GET" and r["path"] == "/api" and r["page"] == "/api/echo" and r["app"] == "API"
    assert r["query"] == {"a": ["1", "2"], "b": [" x"]} and r["user"] == "anonymous" and r["dev"] is False
    r = api.post("/api/echo?q=1", data={"name": "é", "n": "1"}).json()
    assert r["method"] == "POST" and r["form"] == {"name": ["é"], "n": ["1"], "q": ["1"]}


def test_modules_and_url_params(api):
    assert api.get("/api/books").json() == ["C", "Make"]
    assert api.get("/api/books/2").json() == {"id": 2, "title": "Make"}
    assert api.get("/api/file/a-b.json").text == "a-b"
    assert api.get("/api/only/42").text == "42"
    assert api.get("/api/only/x").status_code == 404
    assert api.get("/api/rest/a/b/c").text == "a/b/c"
    assert api.get("/api/%C3%BCn%C3%AF").text == "unicode"


def test_responses_redirects_downloads(api):
    r = api.get("/api/books/9")
    assert r.status_code == 404 and r.json() == {"error": "no such book"}
    r = api.get("/api/plain")
    assert (r.status_code, r.text) == (418, "teapot")
    r = api.get("/api/here")
    assert r.status_code == 302 and r.headers["Location"] == "/api/echo"
    r = api.get("/api/file")
    assert r.text == "a,b\n1,2\n" and r.headers["Content-Type"].startswith("text/csv")
    assert r.headers["Content-Disposition"] == 'attachment; filename="data.csv"'


def test_not_found_and_wrong_method(api):
    r = api.get("/api/nothing")
    assert (r.status_code, r.text) == (404, "404 page not found\n")
    r = api.request("PUT", "/api/echo")
    assert r.status_code == 405 and r.text == ""
    assert {m.strip() for m in r.headers["Allow"].split(",")} >= {"GET", "POST"}
    assert api.request("DELETE", "/api/delete").text == "gone"
    assert api.get("/api/delete").status_code == 405
    r = api.request("HEAD", "/api/hello")
    assert r.status_code == 200 and r.content == b""
    assert api.get("/elsewhere").status_code == 404


def test_paths_are_cleaned(api):
    for path in ("/api//echo", "/api/./echo", "/api/x/../echo", "/api/echo/", "/%61pi/echo"):
        r = api.get("/")   # the client cleans paths itself, so they go raw
        import web
        answer = web.exchange(api.http_port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert web.status_of(answer) == 200, (path, answer)
    assert r.status_code in (200, 404)


def test_error_of_a_handler_is_500_with_its_message(api):
    r = api.get("/api/wrong?by=0")
    assert r.status_code == 500 and "division by zero" in r.text
    assert r.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert api.get("/api/wrong?by=1").json() == 1
    assert "key" in api.get("/api/wrong").text
    assert "frozen" in api.get("/api/frozen").text
    assert "overflow" in api.get("/api/recurse").text.lower() or "recurs" in api.get("/api/recurse").text.lower()


def test_endless_loop_ends_by_budget_and_blocks_nobody(api):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        stuck = [pool.submit(api.get, "/api/stuck") for _ in range(2)]
        times = []
        for _ in range(20):
            started = time.monotonic()
            assert api.get("/api/hello").status_code == 200
            times.append(time.monotonic() - started)
        results = [f.result() for f in stuck]
    assert all(r.status_code == 500 for r in results)
    assert all("step" in r.text or "budget" in r.text or "long" in r.text for r in results), results[0].text


def test_memory_hog_ends_by_cap(api):
    r = api.get("/api/big")
    assert r.status_code == 500 and "memory" in r.text, r.text
    assert api.get("/api/hello").status_code == 200


def test_many_requests_at_once(api):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: api.get(f"/api/echo?n={i}").json()["query"]["n"], range(200)))
    assert answers == [[str(i)] for i in range(200)]


def test_error_handler_gets_the_message(server, folder):
    app = folder({"app.star": '''
def error_handler(req, err):
    return ace.response({"sorry": err["error"]}, type="json", code=503)

def bad(req):
    fail("no luck")

app = ace.app("E", routes=[ace.api("/", bad)])
'''})
    server.cli("app", "create", str(app), "/handled")
    r = server.get("/handled")
    assert r.status_code == 503 and "no luck" in r.json()["sorry"]


@pytest.mark.parametrize("source, message", [
    ("app = ace.app('x'\n", r"app\.star:\d+:\d+"),
    ("app = ace.app(nam='x')\n", r"app\.star:1:\d+.*nam"),
    ("def f():\n    return undefined_name\n\napp = ace.app('x')\n", r"app\.star:2:12.*undefined.*undefined_name"),
    ("def f():\n    return 1 // 0\n\nf()\napp = ace.app('x')\n", r"app\.star:2:\d+.*division"),
    ("if True:\n    app = ace.app('x')\n", r"app\.star:1:1.*if statement not within a function"),
    ("x = 1\nx = 2\napp = ace.app('x')\n", r"app\.star:2:1.*cannot reassign global x"),
    ("y = 1\n", r"app not defined, check app\.star, add 'app = ace\.app\(\.\.\.\)'"),
    ("app = 1\n", r"app not of type ace\.app in app\.star"),
    ("load('nowhere.in', 'nowhere')\napp = ace.app('x')\n", r"module nowhere\.in not found"),
    ("load('a.star', 'a')\napp = ace.app('x')\n", r"a\.star"),
    ("load('loop.star', 'a')\napp = ace.app('x')\n", r"cycle"),
    ("app = ace.app('x', routes=[ace.api('/', lambda req: 1, type='XML')])\n", r"invalid API type specified : XML"),
], ids=["syntax", "argument", "resolve", "run", "top-level-if", "reassign", "no-app", "not-an-app", "plugin", "module",
        "cycle", "type"])
def test_errors_of_app_star_name_the_place(server, folder, source, message):
    """Create fails, says where, and leaves nothing."""
    import re
    app = folder({"app.star": source, "loop.star": "load('loop.star', 'b')\na = 1\n"})
    error = server.fails("app", "create", "--approve", str(app), "/broken")
    assert re.search(message, error), error
    assert "/broken" not in server.apps()
    assert server.get("/broken").status_code == 404


@pytest.mark.parametrize("routes, message", [
    ("ace.api('no-slash', lambda req: 1)", "no-slash"), ("ace.api('/{a}/{a}', lambda req: 1)", "a"),
    ("ace.api('/{a', lambda req: 1)", "{a"), ("ace.api('/*/x', lambda req: 1)", r"\*"), ("ace.api('/{a:[}', lambda req: 1)", "\\["),
    ("ace.api('/', lambda req: 1, method='FETCH')", "FETCH"),
    ("ace.api('/x', lambda req: 1), ace.api('/x', lambda req: 2)", "/x"), ("1", "int|route")])
def test_errors_of_routes(server, folder, routes, message):
    """Routes are evaluated when the app is loaded, not at create: the request and the next reload tell."""
    import re
    app = folder({"app.star": f"app = ace.app('x', routes=[{routes}])\n"})
    result = server.try_cli("app", "create", str(app), "/routes")
    if result.code == 0:
        r = server.get("/routes/x")
        assert r.status_code == 500 and re.search(message, r.text), r.text
        error = server.fails("app", "reload", "/routes")
        server.cli("app", "delete", "/routes")
    else:
        error = result.err
    assert re.search(message, error), error


@pytest.mark.parametrize("params, given, message", [
    ("param('a')\n", [], "param a is a required param, a value has to be provided"),
    ("param('a')\n", ["a="], "param a is a required param, value cannot be empty"),
    ("param('n', type=INT)\n", ["n=many"], "param n is not an int"),
    ("param('b', type=BOOLEAN)\n", ["b=perhaps"], "param b is not a boolean"),
    ("param('d', type=DICT)\n", ["d=[1]"], "param d is not a json dict"),
    ("param('l', type=LIST)\n", ["l={}"], "param l is not a json list"),
    ("param('a')\nparam('a')\n", ["a=1"], "param a already defined"),
    ("param('a b')\n", [], "a b"),
    ("param('a', type=INT, default='x')\n", [], "a"),
    ("param('a'\n", [], "params.star:"),
], ids=lambda v: v if isinstance(v, str) and "param" not in v else None)
def test_errors_of_params(server, folder, params, given, message):
    app = folder({"params.star": params, "app.star": "app = ace.app('x')\n"})
    flags = [x for g in given for x in ("--param", g)]
    assert message in server.fails("app", "create", *flags, str(app), "/params")
    assert "/params" not in server.apps()


def test_param_values_of_all_types(server, folder):
    app = folder({
        "params.star": "param('s')\nparam('i', type=INT)\nparam('b', type=BOOLEAN)\nparam('d', type=DICT)\n"
                       "param('l', type=LIST)\nparam('opt', type=INT, required=False)\n",
        "app.star": "app = ace.app('x', routes=[ace.api('/', lambda req: [param.s, param.i, param.b, param.d, param.l, "
                    "param.opt])])\n"})
    server.cli("app", "create", "--param", "s=a=b", "--param", "i=-7", "--param", "b=T", "--param", 'd={"k": [1]}',
               "--param", "l=[1, 2]", str(app), "/values")
    assert server.get("/values").json() == ["a=b", -7, True, {"k": [1]}, [1, 2], 0]


def test_unapproved_app_exists_but_does_not_serve(server, folder):
    app = folder({"app.star": '''
load("proxy.in", "proxy")
app = ace.app("P", routes=[ace.proxy("/", proxy.config("http://127.0.0.1:1"))],
              permissions=[ace.permission("proxy.in", "config", ["http://127.0.0.1:1"])])
'''})
    out = server.cli("app", "create", str(app), "/needs")
    assert "    proxy.in\n" in out and "    proxy.in.config [http://127.0.0.1:1] \n" in out
    assert out.endswith("App created. Permissions need to be approved\n")
    r = server.get("/needs/")
    assert r.status_code == 500 and "approve" in r.text and "proxy.in" in r.text
    out = server.cli("app", "approve", "--promote", "/needs")
    assert "App permissions have been approved /needs - " in out or "App permissions have been approved stage.localhost:/needs" in out
    assert out.endswith("1 app(s) audited, 1 app(s) approved, 1 app(s) promoted.\n")
    assert server.get("/needs/").status_code == 502, "approved: now it is the upstream that is missing"


def test_call_outside_what_was_approved_is_refused(server, folder):
    """The permission names one URL, the code asks for another."""
    app = folder({"app.star": '''
load("proxy.in", "proxy")
app = ace.app("P", routes=[ace.proxy("/", proxy.config("http://127.0.0.1:2"))],
              permissions=[ace.permission("proxy.in", "config", ["http://127.0.0.1:1"])])
'''})
    result = server.try_cli("app", "create", "--approve", str(app), "/outside")
    if result.code == 0:
        r = server.get("/outside/")
        assert r.status_code == 500 and "not permitted" in r.text and "proxy.in" in r.text, r.text
    else:
        assert "not permitted" in result.err


def test_the_examples_deploy_as_they_are(server):
    server.cli("app", "create", str(ROOT / "examples/notes"), "/notes")
    assert server.get("/notes/books?q=unix").json()["books"][0]["title"] == "The Art of Unix Programming"
    assert server.get("/notes/books/7").status_code == 404
    server.cli("app", "create", str(ROOT / "examples/site"), "/sample")
    assert "<h1>" in server.get("/sample/").text
    assert server.get("/sample/style.css").headers["Content-Type"].startswith("text/css")
