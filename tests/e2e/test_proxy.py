"""The reverse proxy: what reaches the upstream, what comes back, streaming both ways, upgrades, failures."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import hashlib
import socket

import pytest
import websockets.exceptions

import sources
import web
from openrun import wait_for


@pytest.fixture(scope="module")
def proxy(server, up):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "-", "/p")
    return server


def upstream_headers(response):
    out = {}
    for name, value in response.json()["headers"]:
        out.setdefault(name.lower(), []).append(value)
    return out


def test_path_query_method_and_body_arrive(proxy, up):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        body = b"x" * 1000 if method in ("POST", "PUT", "PATCH") else b""
        r = proxy.request(method, "/p/some/path%20x?q=a%2Fb&r", data=body or None)
        assert r.status_code == 200, (method, r.text)
        got = r.json()
        assert (got["method"], got["path"], got["size"]) == (method, "/some/path%20x?q=a%2Fb&r", len(body))
    assert proxy.get("/p").json()["path"] == "/"
    assert proxy.get("/p/").json()["path"] == "/"
    r = proxy.request("HEAD", "/p/x")
    assert r.status_code == 200 and r.content == b""


def test_request_headers(proxy, up):
    r = proxy.get("/p/h", headers={
        "X-Openrun-User": "root", "X-Openrun-Anything": "1", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil",
        "X-Forwarded-Proto": "gopher", "X-Forwarded-Prefix": "/evil", "Forwarded": "for=1.2.3.4", "X-Real-IP": "1.2.3.4",
        "X-Mine": "kept", "Connection": "close, X-Hop-Req", "X-Hop-Req": "must not pass",
        "Cookie": "a=1; system_openrun_session=secret; b=2"})
    h = upstream_headers(r)
    assert h["x-openrun-user"] == ["anonymous"] and "x-openrun-anything" not in h
    assert h["x-openrun-rbac-enabled"] == ["false"]
    assert h["x-forwarded-for"] == ["127.0.0.1"] and h["x-real-ip"] == ["127.0.0.1"]
    assert h["x-forwarded-host"] == ["localhost"] and h["x-forwarded-proto"] == ["https"]
    assert h["x-forwarded-prefix"] == ["/p"] and "forwarded" not in h
    assert h["x-mine"] == ["kept"] and "x-hop-req" not in h
    assert h["cookie"] == ["a=1; b=2"], "our own cookies stay here"
    assert h["host"] == [f"127.0.0.1:{up.port}"]
    assert upstream_headers(proxy.get("/p/h", scheme="http"))["x-forwarded-proto"] == ["http"]


def test_response_headers(proxy):
    r = proxy.get("/p/h")
    assert r.headers["X-Upstream"] == "yes" and "X-Hop" not in r.headers
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    r = proxy.get("/p/cookies")
    assert sorted(c.name for c in r.cookies) == ["a", "b"]
    assert r.raw.headers.getlist("Set-Cookie") == ["a=1; Path=/p", "b=2; HttpOnly"]


def test_cookies_of_an_app_stay_with_it(proxy, up):
    """What an app sets for all it knows of is for all below its path, there and back, and not for its neighbour."""
    proxy.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "-", "/neighbour")
    proxy.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "--conf", "proxy.rewrite_cookie_path=false",
              "-", "/shares")

    def cookies(s, path):
        return [v for k, v in s.get(proxy.url(path)).json()["headers"] if k == "Cookie"]
    with web.session() as s:
        s.get(proxy.url("/p/cookies"))
        assert cookies(s, "/p") == cookies(s, "/p/deep/er") == ["a=1; b=2"]
        assert cookies(s, "/neighbour") == []
        s.get(proxy.url("/shares/cookies"))
        assert cookies(s, "/neighbour") == ["a=1"]
    proxy.cli("app", "delete", "/neighbour")
    proxy.cli("app", "delete", "/shares")


@pytest.mark.parametrize("code", [204, 304, 400, 404, 418, 500, 503])
def test_statuses_pass_through(proxy, code):
    r = proxy.get(f"/p/status/{code}")
    assert r.status_code == code
    assert r.text == ("" if code in (204, 304) else f"status {code}\n")


@pytest.mark.parametrize("to, expected", [
    ("/next?x=1", "/p/next?x=1"),
    ("SELF/next", "/p/next"),
    ("/p/already", "/p/already"),
    ("https://example.org/x", "https://example.org/x"),
    ("next", "next"),
])
def test_location_is_rewritten(proxy, up, to, expected):
    r = proxy.get("/p/redirect", params={"to": to.replace("SELF", up.url)})
    assert r.status_code == 302 and r.headers["Location"] == expected


def test_response_streams(proxy, up):
    """Each line arrives before the upstream is let to send the next."""
    with web.session() as s:
        r = s.get(proxy.url("/p/stream?n=5"), stream=True, timeout=60)
        lines = r.iter_lines(chunk_size=1)
        for i in range(5):
            assert next(lines) == f"line {i}".encode()
            up.go.release()
    while up.go.acquire(blocking=False):
        pass


def test_request_streams(proxy, up):
    """The first part of an upload reaches the upstream while the client still holds back the rest."""
    up.uploaded = 0
    part = b"y" * 100_000

    def body():
        yield part
        up.wait_uploaded(len(part))
        yield part
    r = proxy.post("/p/upload", data=body())
    assert r.json() == {"size": 200_000, "sha256": hashlib.sha256(part * 2).hexdigest()}


def test_large_bodies_both_ways(proxy):
    data = bytes(range(256)) * (40 * 1024)   # 10 MiB
    r = proxy.post("/p/upload", data=data)
    assert r.json() == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert len(proxy.get("/p/bytes?n=10485760").content) == 10 << 20
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda i: len(proxy.get("/p/bytes?n=2000000").content), range(16)))
    assert sizes == [2_000_000] * 16


def test_slow_reader_does_not_fill_memory(proxy, up):
    """Back-pressure: a client that reads nothing of 200 MB leaves the server small."""
    import pathlib
    status = pathlib.Path(f"/proc/{proxy.process.pid}/status")

    def resident():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    before = resident()
    with web.raw(proxy.http_port, b"GET /p/bytes?n=200000000 HTTP/1.1\r\nHost: localhost\r\n\r\n") as s:
        assert s.recv(1) == b"H"
        wait_for(lambda: proxy.get("/p/h").status_code == 200, "others being served")
        for _ in range(50):
            proxy.get("/p/h")
        assert resident() - before < 100_000, "kB more resident memory"


def test_client_that_leaves_ends_the_upstream_request(proxy, up):
    up.client_left.clear()
    with web.session() as s:
        r = s.get(proxy.url("/p/stream?n=100000"), stream=True, timeout=60)
        assert next(r.iter_lines(chunk_size=1)) == b"line 0"
        r.close()

    def push():
        up.go.release()
        return up.client_left.is_set()
    wait_for(push, "the upstream to notice")
    while up.go.acquire(blocking=False):
        pass


def test_websocket_echo(proxy):
    with web.websocket(proxy.url("/p/ws", scheme="https").replace("https", "wss")) as ws:
        for message in ("hello", "é" * 1000, b"\x00\xff" * 40_000):
            ws.send(message)
            assert ws.recv(timeout=60) == message
    with web.websocket(proxy.url("/p/ws", scheme="http").replace("http", "ws")) as ws:
        ws.send("plain")
        assert ws.recv(timeout=60) == "plain"


def test_many_websockets_at_once(proxy):
    def one(i):
        with web.websocket(proxy.url("/p/ws", scheme="http").replace("http", "ws")) as ws:
            for n in range(10):
                ws.send(f"{i} {n}")
                assert ws.recv(timeout=60) == f"{i} {n}"
        return True
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(32)))


def test_websocket_refused_by_the_upstream_passes_its_answer(proxy):
    with pytest.raises(websockets.exceptions.InvalidStatus) as e:
        web.websocket(proxy.url("/p/status/403", scheme="https").replace("https", "wss"))
    assert e.value.response.status_code == 403 and e.value.response.body == b"status 403\n"


def test_many_requests_at_once_get_their_own_answers(proxy):
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        paths = list(pool.map(lambda i: proxy.get(f"/p/n/{i}").json()["path"], range(300)))
    assert paths == [f"/n/{i}" for i in range(300)]


def test_upstream_down_is_502(server):
    port = sources.free_port()
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url=http://127.0.0.1:{port}", "-", "/down")
    r = server.get("/down/x")
    assert r.status_code == 502
    r = server.post("/down/x", data=b"z" * 3_000_000)
    assert r.status_code == 502
    assert server.get("/_openrun/health").status_code == 200


def test_upstream_name_that_does_not_resolve_is_502(server):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", "url=http://no-such-host.invalid:80", "-", "/name")
    assert server.get("/name/x").status_code == 502


def test_upstream_that_breaks_off_or_talks_nonsense(proxy):
    assert proxy.get("/p/garbage").status_code == 502
    answer = web.exchange(proxy.http_port, b"GET /p/cut HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"Content-Length: 100\r\n" in answer or b"content-length: 100\r\n" in answer
    assert answer.endswith(b"half"), "the connection closes short, so the client knows"


def test_upstream_that_closes_idle_connections(server, folder):
    """A kept connection that the upstream has closed meanwhile costs no request."""
    import upstream
    u = upstream.Upstream()
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={u.url}", "-", "/closing")
    assert server.get("/closing/a").status_code == 200
    u.close()
    u2 = upstream.Upstream(u.port)
    try:
        for i in range(20):
            assert server.get(f"/closing/{i}").status_code == 200
    finally:
        u2.close()


def test_response_headers_param(server, up):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "--param",
               'response_headers={"X-Where": "at $url", "Cache-Control": "no-store"}', "-", "/rh")
    r = server.get("/rh/a/b")
    assert r.headers["X-Where"] == "at /a/b" and r.headers["Cache-Control"] == "no-store"


def test_cross_origin_posts_are_refused(proxy):
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        r = proxy.post("/p/x", headers=headers, data=b"1")
        assert r.status_code == 403 and "Cross origin check failed - CSRF protection" in r.text
        assert proxy.get("/p/x", headers=headers).status_code == 200
    origin = f"https://localhost:{proxy.https_port}"
    assert proxy.post("/p/x", headers={"Origin": origin}, data=b"1").status_code == 200
    assert proxy.post("/p/x", headers={"Sec-Fetch-Site": "same-origin", "Origin": "https://evil"}, data=b"1").status_code == 200


def test_proxy_at_the_root_of_a_domain(server, up):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "-", "shop.localhost:/")
    r = server.get("/a/b?c", host="shop.localhost")
    assert r.json()["path"] == "/a/b?c"
    h = upstream_headers(r)
    assert "x-forwarded-prefix" not in h and h["x-forwarded-host"] == ["shop.localhost"]
    assert server.get("/redirect?to=/next", host="shop.localhost").headers["Location"] == "/next"


def test_stage_without_write_access_is_read_only(server, up):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "-", "/ro")
    assert server.post("/ro/x", host="stage.localhost").status_code == 200
    server.cli("app", "settings", "stage-write-access", "false", "/ro")
    assert server.get("/ro/x", host="stage.localhost").status_code == 200
    assert server.post("/ro/x", host="stage.localhost").status_code == 403
    assert server.post("/ro/x").status_code == 200, "production is not concerned"


def test_expect_continue(proxy):
    with web.raw(proxy.http_port, b"POST /p/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
                                  b"Expect: 100-continue\r\nConnection: close\r\n\r\n") as s:
        s.settimeout(60)
        assert s.recv(4096).startswith(b"HTTP/1.1 100 ")
        s.sendall(b"hello")
        assert b'"size": 5' in web.read_all(s)


def test_half_closed_clients_do_no_harm(proxy):
    """Ending one's side before the answer is ambiguous: an answer, an end, and an answer that is visibly cut off are fine,
    waiting is not."""
    with web.raw(proxy.http_port, b"GET /p/bytes?n=500000 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as s:
        s.shutdown(socket.SHUT_WR)
        answer = web.read_all(s)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer == b"" or (b"\r\nContent-Length: 500000" in head and len(body) <= 500_000), head
    assert proxy.get("/p/h").status_code == 200
