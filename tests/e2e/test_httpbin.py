"""The published httpbin package, unmodified, from a git repository, at a sub-path, over HTTPS, against itself reached directly."""
# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys

import pytest

import engines
import sources
import web

BASES = ("ghcr.io/astral-sh/uv:python3.14-bookworm-slim", "python:3.14-slim-bookworm")
CONFIG = {"https": {"port": 0}}
# The package asks for a version of this one that builds on old Pythons only.
REQUIREMENTS = "httpbin==0.10.2\n"


@pytest.fixture(scope="module")
def httpbin(docker, tmp_path_factory):
    """The app at /httpbin; `bin.get` asks through us, `bin.direct` its container."""
    import openrun
    engines.ensure(docker, *BASES)
    base = tmp_path_factory.mktemp("git")
    sources.Repo(base / "team" / "httpbin").commit({"requirements.txt": REQUIREMENTS}, "only a name")
    s = openrun.Server(tmp_path_factory.mktemp("home"), {"system": {"container_command": docker.command}}, env=docker.env).start()
    with sources.git_daemon(base) as daemon:
        out = s.cli("app", "create", "--spec", "python-wsgi", "--approve", "--param", "APP_MODULE=httpbin:app",
                    f"{daemon}/team/httpbin", "/httpbin")
    assert out.endswith("App created. Permissions have been approved\n")
    r = s.get("/httpbin/get", timeout=600)
    assert r.status_code == 200, r.text
    (container,) = docker.running(s.home, s.apps()["/httpbin"]["id"])
    network = container["NetworkSettings"]
    port = (network["Ports"].get("8000/tcp") or [{}])[0].get("HostPort")
    address = f"127.0.0.1:{port}" if port else next(n["IPAddress"] for n in network["Networks"].values()) + ":8000"

    def direct(method, path, **kw):
        with web.session() as session:
            return session.request(method, f"http://{address}{path}", allow_redirects=False, timeout=120,
                                   **{**kw, "headers": {"X-Forwarded-Proto": "https", **kw.get("headers", {})}})
    s.direct = direct
    yield s
    s.dispose(docker)


def normal(response):
    """What must be equal however it was reached: the JSON without what names the way."""
    if response.headers.get("Content-Encoding") == "br":
        return response.content[:1]   # no decoder here, and the content names the way
    value = response.json()
    for key in ("origin", "url"):
        value.pop(key, None)
    headers = value.get("headers", {})
    for key in list(headers):
        if key.lower().startswith(("x-forwarded-", "x-openrun-")) or key.lower() in ("host", "x-real-ip", "connection",
                                                                                       "content-length", "transfer-encoding"):
            del headers[key]
    return value


def both(bin, method, path, **kw):
    """The answer through us and the direct one, equal in status and essential headers."""
    ours, direct = bin.request(method, "/httpbin" + path, **kw), bin.direct(method, "/httpbin" + path, **kw)
    assert ours.status_code == direct.status_code, (path, ours.text[:500])
    for header in ("Content-Type", "Content-Encoding", "Location", "Allow", "ETag", "WWW-Authenticate", "Cache-Control",
                   "Content-Range", "Access-Control-Allow-Origin"):
        assert ours.headers.get(header) == direct.headers.get(header), (path, header)
    return ours, direct


@pytest.mark.parametrize("method, path, kw", [
    ("GET", "/get?a=1&b=%20&a=2", {}),
    ("POST", "/post", {"data": {"x": "1", "y": "é"}}),
    ("POST", "/post", {"json": {"nested": [1, 2, {"a": None}]}}),
    ("POST", "/post", {"files": {"f": ("name.txt", b"content" * 1000)}}),
    ("PUT", "/put", {"data": b"\x00\x01\x02"}),
    ("PATCH", "/patch", {"data": "text", "headers": {"Content-Type": "text/plain"}}),
    ("DELETE", "/delete", {}),
    ("GET", "/headers", {"headers": {"X-One": "1", "X-Two": "two, 2"}}),
    ("GET", "/user-agent", {"headers": {"User-Agent": "tester/1.0"}}),
    ("GET", "/gzip", {}), ("GET", "/deflate", {}), ("GET", "/brotli", {}),
    ("GET", "/json", {}),
    ("GET", "/response-headers?X-Test=yes&X-Other=1", {}),
    ("GET", "/anything/a%2Fb/c?x=%26", {}),
    ("GET", "/cookies", {"headers": {"Cookie": "a=1; b=2"}}),
    ("GET", "/delay/1", {}),
    ("GET", "/basic-auth/u/p", {"headers": {"Authorization": "Basic dTpw"}}),
    ("GET", "/bearer", {"headers": {"Authorization": "Bearer token"}}),
], ids=lambda v: v if isinstance(v, str) else None)
def test_json_answers_are_the_same(httpbin, method, path, kw):
    kw = json.loads(json.dumps(kw)) if "files" not in kw and not isinstance(kw.get("data"), bytes) else dict(kw)
    if "files" in kw:   # the boundary is made per request: fix it
        body, content_type = _multipart(kw.pop("files"))
        kw.update(data=body, headers={"Content-Type": content_type})
    ours, direct = both(httpbin, method, path, **kw)
    assert normal(ours) == normal(direct)


def _multipart(files):
    from urllib3.filepost import encode_multipart_formdata
    return encode_multipart_formdata(files, boundary="boundary")


@pytest.mark.parametrize("path", ["/html", "/xml", "/robots.txt", "/encoding/utf8", "/image/png", "/image/svg", "/range/2000", "/stream-bytes/50000?seed=2", "/base64/aGVsbG8=", "/links/3/0", "/forms/post"])
def test_other_answers_are_the_same_to_the_byte(httpbin, path):
    ours, direct = both(httpbin, "GET", path)
    assert ours.content == direct.content and ours.status_code in (200, 302)


@pytest.mark.parametrize("code", [200, 201, 204, 301, 302, 304, 400, 401, 403, 404, 405, 418, 429, 500, 502, 503])
def test_statuses(httpbin, code):
    for method in ("GET", "POST"):
        ours, direct = both(httpbin, method, f"/status/{code}")
        assert ours.status_code == code and ours.content == direct.content


def test_upload_of_10_megabytes(httpbin):
    data = ("0123456789abcdef" * 65536)[:1 << 20] * 10
    r = httpbin.post("/httpbin/post", data=data, headers={"Content-Type": "text/plain"})
    assert r.status_code == 200 and r.json()["data"] == data
    assert httpbin.direct("POST", "/httpbin/post", data=data, headers={"Content-Type": "text/plain"}).json()["data"] == data


def test_stream_of_20(httpbin):
    ours, direct = both(httpbin, "GET", "/stream/20")
    lines = [json.loads(line) for line in ours.text.splitlines()]
    assert [line["id"] for line in lines] == list(range(20)) and len(direct.text.splitlines()) == 20


def test_redirects_stay_below_the_path(httpbin):
    for path, to in (("/redirect/3", "/httpbin/relative-redirect/2"), ("/relative-redirect/2", "/httpbin/relative-redirect/1"),
                     ("/redirect-to?url=https%3A%2F%2Fexample.org%2F", "https://example.org/"),
                     ("/redirect-to?url=%2Fhttpbin%2Fget", "/httpbin/get")):
        r = httpbin.get("/httpbin" + path)
        assert (r.status_code, r.headers["Location"]) == (302, to), path
    r = httpbin.get("/httpbin/absolute-redirect/2")
    assert r.headers["Location"] in (f"https://localhost:{httpbin.https_port}/httpbin/absolute-redirect/1",
                                     "/httpbin/absolute-redirect/1", "https://localhost/httpbin/absolute-redirect/1") or \
        r.headers["Location"].startswith("/httpbin/"), r.headers["Location"]
    with web.session() as s:
        r = s.get(httpbin.url("/httpbin/redirect/5"), timeout=120)
        assert r.status_code == 200 and len(r.history) == 5 and r.url == httpbin.url("/httpbin/get")


def test_cookies_are_set_and_come_back(httpbin):
    with web.session() as s:
        r = s.get(httpbin.url("/httpbin/cookies/set?a=1&b=two"), timeout=120)
        assert r.json() == {"cookies": {"a": "1", "b": "two"}}
        s.get(httpbin.url("/httpbin/cookies/delete?a"), timeout=120)
        assert s.get(httpbin.url("/httpbin/cookies"), timeout=120).json() == {"cookies": {"b": "two"}}


def test_conditions_and_ranges(httpbin):
    ours, _ = both(httpbin, "GET", "/etag/abc", headers={"If-None-Match": "abc"})
    assert ours.status_code == 304
    ours, direct = both(httpbin, "GET", "/range/1000", headers={"Range": "bytes=10-19"})
    assert ours.status_code == 206 and ours.content == direct.content and len(ours.content) == 10
    ours, _ = both(httpbin, "HEAD", "/get")
    assert ours.content == b""
    both(httpbin, "OPTIONS", "/get")
    both(httpbin, "GET", "/basic-auth/u/p")


def test_it_knows_where_it_is(httpbin):
    r = httpbin.get("/httpbin/get?x=1").json()
    assert r["url"].startswith("https://") and r["url"].endswith("/httpbin/get?x=1")
    assert r["origin"] == "127.0.0.1"
    page = httpbin.get("/httpbin/")
    assert page.status_code == 200 and "httpbin" in page.text


def test_a_real_client_program(httpbin):
    """curl, with its own idea of HTTP, if it is here."""
    import shutil
    if not shutil.which("curl"):
        pytest.skip("no curl")
    done = subprocess.run(["curl", "-sk", "--fail-with-body", "--compressed", httpbin.url("/httpbin/gzip")], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0 and json.loads(done.stdout)["gzipped"] is True, (done, sys.version)
