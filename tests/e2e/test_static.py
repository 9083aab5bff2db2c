"""Static files: validators, ranges, hashed names, indexes, compression, and what must not be served."""
# SPDX-License-Identifier: Apache-2.0
import email.utils
import gzip
import hashlib

import pytest

import sources
import web

CSS = "body { color: red }\n" * 200
SITE = {
    "app.star": 'app = ace.app("Site", static_only=True)\n',
    "index.html": "<h1>index</h1>\n",
    "css/site.min.css": CSS,
    "data/big.bin": bytes(range(256)) * 4096,
    "sub/index.html": "sub\n",
    "empty.txt": "",
    "noext": "plain",
    "with space & ü.txt": "odd name\n",
    "app.js": "console.log(1)\n",
}


@pytest.fixture(scope="module")
def site(server, tmp_path_factory):
    server.cli("app", "create", str(sources.folder(tmp_path_factory.mktemp("site"), SITE)), "/site")
    return server


def test_files_types_and_index(site):
    for path in ("/site", "/site/", "/site/index.html"):
        r = site.get(path)
        assert (r.status_code, r.text) == (200, SITE["index.html"]), path
        assert r.headers["Content-Type"] == "text/html; charset=utf-8"
    assert site.get("/site/css/site.min.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert site.get("/site/app.js").headers["Content-Type"].startswith("text/javascript")
    r = site.get("/site/data/big.bin")
    assert r.content == SITE["data/big.bin"] and r.headers["Content-Length"] == str(1 << 20)
    assert r.headers["Content-Type"] == "application/octet-stream"
    r = site.get("/site/empty.txt")
    assert r.status_code == 200 and r.content == b""
    assert site.get("/site/with%20space%20&%20%C3%BC.txt").text == "odd name\n"
    r = site.request("HEAD", "/site/data/big.bin")
    assert r.content == b"" and r.headers["Content-Length"] == str(1 << 20)


def test_folders_with_an_index(site):
    assert site.get("/site/sub/").text == "sub\n"
    r = site.get("/site/sub?x=1")
    assert r.status_code in (301, 302, 307, 308) and r.headers["Location"] == "/site/sub/?x=1"
    r = site.get("//evil.example/..//site/sub")
    assert "evil" not in r.headers.get("Location", "")


def test_what_is_no_file(site):
    r = site.get("/site/nothing.html")
    assert r.status_code == 404
    assert site.get("/site/data").status_code in (403, 404), "a folder without an index"
    for path in ("/site/../../etc/passwd", "/site/%2e%2e/%2e%2e/etc/passwd", "/site/..%2f..%2fetc/passwd", "/site/data\\big.bin",
                 "/site/index.html%00.txt"):
        answer = web.exchange(site.http_port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert web.status_of(answer) in (400, 404), (path, answer[:100])
        assert b"root:" not in answer
    assert site.get("/site/app.star").status_code == 404, "the source of the app itself is not served"
    assert site.post("/site/index.html").status_code in (404, 405)


def test_conditional_requests(site):
    r = site.get("/site/css/site.min.css")
    modified = r.headers["Last-Modified"]
    assert email.utils.parsedate_to_datetime(modified)
    etag = r.headers.get("ETag")
    r = site.get("/site/css/site.min.css", headers={"If-Modified-Since": modified})
    assert r.status_code == 304 and r.content == b""
    r = site.get("/site/css/site.min.css", headers={"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"})
    assert r.status_code == 200
    if etag:
        assert site.get("/site/css/site.min.css", headers={"If-None-Match": etag}).status_code == 304
        assert site.get("/site/css/site.min.css", headers={"If-None-Match": '"x", ' + etag}).status_code == 304
        assert site.get("/site/css/site.min.css", headers={"If-None-Match": '"x"'}).status_code == 200


def test_hashed_names(site):
    sha = hashlib.sha256(CSS.encode()).hexdigest()
    r = site.get(f"/site/css/site-{sha}.min.css")
    assert r.status_code == 200 and r.text == CSS
    assert r.headers["ETag"].strip('W/"') == sha
    assert r.headers["Cache-Control"].startswith("public, max-age=31536000")
    assert site.get(f"/site/css/site-{sha}.min.css", headers={"If-None-Match": r.headers["ETag"]}).status_code == 304
    assert site.get(f"/site/css/site-{'0' * 64}.min.css").status_code == 404


@pytest.mark.parametrize("asked, status, first, last", [
    ("bytes=0-99", 206, 0, 99),
    ("bytes=100-", 206, 100, (1 << 20) - 1),
    ("bytes=-10", 206, (1 << 20) - 10, (1 << 20) - 1),
    ("bytes=5-99999999", 206, 5, (1 << 20) - 1),
    ("bytes=2000000-", 416, None, None),
    ("bytes=9-5", 200, None, None),
    ("lines=1-2", 200, None, None),
])
def test_ranges(site, asked, status, first, last):
    r = site.get("/site/data/big.bin", headers={"Range": asked})
    assert r.status_code == status
    if status == 206:
        assert r.content == SITE["data/big.bin"][first:last + 1]
        assert r.headers["Content-Range"] == f"bytes {first}-{last}/{1 << 20}"
    elif status == 416:
        assert r.headers["Content-Range"] == f"bytes */{1 << 20}"
    else:
        assert r.content == SITE["data/big.bin"]


def test_if_range(site):
    modified = site.get("/site/data/big.bin").headers["Last-Modified"]
    headers = {"Range": "bytes=0-9", "If-Range": modified}
    assert site.get("/site/data/big.bin", headers=headers).status_code in (200, 206)
    headers["If-Range"] = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert site.get("/site/data/big.bin", headers=headers).status_code == 200


def test_compression(site):
    r = site.get("/site/css/site.min.css", headers={"Accept-Encoding": "br"}, stream=True)
    raw = r.raw.read(decode_content=False)
    if r.headers.get("Content-Encoding") == "br":
        assert len(raw) < len(CSS) / 4 and "Accept-Encoding" in r.headers["Vary"]
    else:
        assert raw == CSS.encode()
    r = site.get("/site/css/site.min.css", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = r.raw.read(decode_content=False)
    if r.headers.get("Content-Encoding") == "gzip":
        assert gzip.decompress(raw) == CSS.encode() and "Accept-Encoding" in r.headers["Vary"]
    else:
        assert raw == CSS.encode()
    for refused in ("br;q=0, gzip;q=0", "identity", ""):
        r = site.get("/site/css/site.min.css", headers={"Accept-Encoding": refused}, stream=True)
        assert "Content-Encoding" not in r.headers, refused
        assert r.raw.read(decode_content=False) == CSS.encode()


def test_static_folder_of_an_api_app(server, folder):
    app = folder({"app.star": 'app = ace.app("x", routes=[ace.api("/", lambda req: "hi", type="TEXT")])\n',
                  "static/a.css": "a{}", "static_root/robots.txt": "none\n", "other/secret.txt": "no"})
    server.cli("app", "create", str(app), "/mixed")
    assert server.get("/mixed/").text == "hi"
    assert server.get("/mixed/static/a.css").text == "a{}"
    assert server.get("/mixed/robots.txt").text == "none\n"
    assert server.get("/mixed/other/secret.txt").status_code == 404
    assert server.get("/mixed/static/nothing.css").status_code == 404


def test_specs_static_and_single_file(server, folder):
    files = {"page.html": "page\n", "other.html": "other\n"}
    server.cli("app", "create", "--spec", "static", "--param", "index=page.html", str(folder(files)), "/spec")
    assert server.get("/spec/").text == "page\n" and server.get("/spec/other.html").text == "other\n"
    server.cli("app", "create", "--spec", "static_single", "--param", "index=page.html", str(folder(files)), "/single")
    assert server.get("/single").text == "page\n"
    assert server.get("/single/other.html").status_code == 404
    assert "index" in server.fails("app", "create", "--spec", "static_single", str(folder(files)), "/none")


def test_symlinks_are_refused_and_named(server, folder, tmp_path):
    app = folder(SITE)
    (app / "link").symlink_to("/etc/passwd")
    error = server.fails("app", "create", str(app), "/links")
    assert "symlinks are not allowed in app sources" in error and "link" in error
    assert "/links" not in server.apps()
