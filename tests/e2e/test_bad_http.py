"""Malformed, oversized and slow requests against the real server, as raw bytes."""
# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import os
import socket
import time

import pytest

import sources
import web
from openrun import wait_for


@pytest.fixture(scope="module")
def target(server, up, tmp_path_factory):
    server.cli("app", "create", "--spec", "proxy", "--approve", "--param", f"url={up.url}", "-", "/p")
    server.cli("app", "create", str(sources.folder(tmp_path_factory.mktemp("t"), sources.text_app("hi"))), "/t")
    return server


def alive(server):
    assert server.get("/t").text == "hi"


HEAD = b"GET /t HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /p/upload HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("data, statuses", [
    (b"GET /t HTTP/1.1\r\n\r\n", {400}),                                              # no Host
    (b"GET /t HTTP/1.1\r\nHost:\r\n\r\n", {400}),                                     # an empty one
    (b"GET /t HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
    (b"GET /t HTTP/1.1\r\nHost: localhost/x\r\n\r\n", {400}),
    (b"GET /t HTTP/1.1\r\nHost: localhost:99999\r\n\r\n", {400}),
    (b"GET /t HTTP/1.1\r\nHost: user@localhost\r\n\r\n", {400}),
    (HEAD + b"Host: other\r\n\r\n", {400}),                                           # two
    (b"GET /t HTTP/1.1\nHost: localhost\n\n", {400}),                                 # bare line feeds
    (b"GET /t HTTP/1.1\r\nHost: localhost\rX: 1\r\n\r\n", {400}),                     # a bare carriage return
    (b"GET  /t HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),                          # two spaces
    (b"GET /t\r\n\r\n", {400}),                                                       # HTTP/0.9
    (b"GET /t HTTP/2.0\r\nHost: localhost\r\n\r\n", {400, 505}),
    (b"GET /t HTTP/1.x\r\nHost: localhost\r\n\r\n", {400, 505}),
    (b"GET t HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    (b"GET /t\x00x HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {400, 404}),
    (b"GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {400}),
    (b"GE\x01T /t HTTP/1.1\r\nHost: localhost\r\n\r\n", {400}),
    (HEAD + b"Bad Name: 1\r\n\r\n", {400}),
    (HEAD + b"Space : 1\r\n\r\n", {400}),                                             # smuggling: space before the colon
    (HEAD + b": nameless\r\n\r\n", {400}),
    (HEAD + b"NoColon\r\n\r\n", {400}),
    (HEAD + b"X: a\r\n folded\r\n\r\n", {400}),                                       # obsolete folding
    (HEAD + b"X: a\x00b\r\n\r\n", {400}),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, {400}),          # TLS on the plain port
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    (b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n", {400, 404, 405, 501}),
    (b"TRACE /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", {405, 501}),
    (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", {400}),
    (POST + b"Content-Length: 5, 6\r\n\r\nhello!", {400}),
    (POST + b"Content-Length: -1\r\n\r\n", {400}),
    (POST + b"Content-Length: +5\r\n\r\nhello", {400}),
    (POST + b"Content-Length: 0x5\r\n\r\nhello", {400}),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n", {400, 413}),
    (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),  # smuggling: both
    (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", {400, 501}),
    (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", {400, 501}),
    (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", {400, 501}),
    (b"POST /p/upload HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", {400, 502}),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", {400, 502}),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", {400, 413, 502}),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n", {400, 502}),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", {400, 502}),
    (b"\r\n" * 5 + b"nonsense\r\n\r\n", {400}),
    (os.urandom(0) + b"\x00" * 100 + b"\r\n\r\n", {400}),
], ids=lambda v: v[:48].decode("latin-1").replace("\r\n", "~") + f"...{len(v)}" if isinstance(v, bytes) else "")
def test_malformed_requests_are_refused_and_the_connection_closes(target, data, statuses):
    answer = web.exchange(target.http_port, data)
    assert web.status_of(answer) in statuses, answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, "one answer: what came after the error was not taken for a request"
    alive(target)


@pytest.mark.parametrize("data, statuses", [
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {414, 400, 431}),
    (HEAD + b"X: " + b"a" * 2_000_000 + b"\r\n\r\n", {431}),
    (HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(5000)) + b"\r\n", {431}),
    (b"A" * 3_000_000, {400, 414, 431}),
    (HEAD + b"Cookie: " + b"a=1; " * 20_000 + b"\r\n\r\n", {431}),
], ids=["target", "field", "fields", "method", "cookies"])
def test_oversized_heads(target, data, statuses):
    with web.raw(target.http_port) as s:
        try:
            s.sendall(data)
        except OSError:
            pass   # refused in the middle
        answer = web.read_all(s)
    # A reset may overtake the answer when much was left unread; silence is then all that is seen.
    assert answer == b"" or web.status_of(answer) in statuses, answer[:200]
    alive(target)


def test_ordinary_large_heads_pass(target):
    r = target.get("/t?" + "q" * 8000, headers={"X-Long": "y" * 12_000})
    assert r.status_code == 200


def test_pipelined_requests_are_answered_in_order(target):
    requests = b"".join(b"GET /p/n/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(20))
    answer = web.exchange(target.http_port, requests + b"GET /t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    positions = [answer.find(b'"path": "/n/%d"' % i) for i in range(20)]
    assert -1 not in positions and positions == sorted(positions)
    assert answer.count(b"HTTP/1.1 200 ") == 21


def test_body_left_unread_does_not_become_a_request(target):
    """The app answers without reading: the smuggled request in the body is never run."""
    smuggled = b"GET /t HTTP/1.1\r\nHost: localhost\r\n\r\n"
    data = b"POST /t HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(smuggled) + smuggled
    answer = web.exchange(target.http_port, data + b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") <= 2 and b"hi" not in answer.split(b"\r\n\r\n", 1)[1][:2]
    assert web.status_of(answer) == 405


def test_http_1_0(target):
    answer = web.exchange(target.http_port, b"GET /t HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert web.status_of(answer) == 200 and answer.endswith(b"\r\n\r\nhi")
    assert b"chunked" not in web.exchange(target.http_port, b"GET /p/bytes?n=100000 HTTP/1.0\r\nHost: localhost\r\n\r\n")[:500]


def test_absolute_form_names_the_host(target):
    answer = web.exchange(target.http_port, b"GET http://localhost/t HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert web.status_of(answer) == 200


def test_head_byte_by_byte(target):
    with web.raw(target.http_port) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HEAD + b"Connection: close\r\n\r\n":
            s.sendall(bytes([byte]))
        assert web.read_all(s).endswith(b"hi")


def test_hundreds_of_idle_and_half_sent_connections_block_nobody(target):
    held = []
    try:
        for i in range(400):
            held.append(web.raw(target.http_port, b"" if i % 2 else b"GET /t HTTP/1.1\r\nHost: loc"))
        for _ in range(10):
            alive(target)
        assert target.get("/t", scheme="http").text == "hi"
    finally:
        for s in held:
            s.close()
    alive(target)


def test_a_head_that_never_ends_is_cut(target):
    """Slow loris: one byte a second does not buy more time."""
    started = time.monotonic()
    with web.raw(target.http_port, b"GET /t HTTP/1.1\r\n") as s:
        s.settimeout(1)
        while time.monotonic() - started < 120:
            try:
                answer = s.recv(4096)
                break
            except TimeoutError:
                s.sendall(b"X")
            except ConnectionError:
                answer = b""
                break
        else:
            pytest.fail("still open after 120 s")
    assert answer == b"" or web.status_of(answer) in (400, 408)
    alive(target)


def test_clients_that_vanish(target):
    """Resets at every stage: before, in the middle of and after a request, in a body, while reading the answer."""
    import struct
    pieces = [b"", b"GET", HEAD, HEAD + b"\r\n", POST + b"Content-Length: 100000\r\n\r\nabc",
              POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", b"GET /p/bytes?n=50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n",
              b"GET /p/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]

    def vanish(i):
        tls = i % 3 == 0
        s = web.raw(target.https_port if tls else target.http_port, pieces[i % len(pieces)], tls=tls)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(vanish, range(160)))
    alive(target)
    target.check()


def test_tls_noise(target):
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + os.urandom(500), os.urandom(2000)):
        with web.raw(target.https_port, data) as s:
            s.shutdown(socket.SHUT_WR)
            web.read_all(s)
    alive(target)


@pytest.mark.parametrize("name", ["../../etc/passwd", "-flag", "a" * 300, "xn--nxasmq6b", "*.localhost", "stage.localhost",
                                  "nobody.example"])
def test_server_names_do_not_reach_the_disk(target, name):
    """Any SNI gets a certificate of ours or a refusal, and leaves no files."""
    import ssl
    before = sorted(p.name for p in (target.home / "config/certificates").iterdir())
    try:
        with web.raw(target.https_port) as plain, web.tls_context().wrap_socket(plain, server_hostname=name):
            pass
    except (ssl.SSLError, ValueError, OSError, UnicodeError):
        pass
    assert sorted(p.name for p in (target.home / "config/certificates").iterdir()) == before
    alive(target)


def test_old_tls_is_refused(target):
    import ssl
    context = web.tls_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with web.raw(target.https_port) as plain, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(plain, server_hostname="localhost")
    assert web.status_of(web.exchange(target.https_port, HEAD + b"Connection: close\r\n\r\n", tls=True)) == 200


def test_descriptors_and_memory_come_back(target):
    """After all the abuse above, nothing is held."""
    count = lambda: len(os.listdir(f"/proc/{target.process.pid}/fd"))   # noqa: E731
    before = count()
    for _ in range(100):
        web.exchange(target.http_port, b"nonsense\r\n\r\n")
    wait_for(lambda: count() <= before + 5, "descriptors to be closed")


def test_management_socket_takes_bad_requests_too(target):
    path = target.home / "run/openrun.sock"

    def ask(data):
        with socket.socket(socket.AF_UNIX) as s:
            old = os.getcwd()
            os.chdir(target.home)
            try:
                s.connect("run/openrun.sock")
            finally:
                os.chdir(old)
            s.sendall(data)
            return web.read_all(s)
    assert path.exists()
    h = b" HTTP/1.1\r\nHost: openrun\r\nConnection: close\r\n"
    assert web.status_of(ask(b"GET /_openrun/nothing" + h + b"\r\n")) == 404
    assert web.status_of(ask(b"DELETE /_openrun/apps" + h + b"\r\n")) == 405
    assert web.status_of(ask(b"GET /t" + h + b"\r\n")) == 404, "no apps on the socket"
    assert web.status_of(ask(b"DELETE /_openrun/app" + h + b"\r\n")) == 400
    assert web.status_of(ask(b"GET /_openrun/apps?internal=perhaps" + h + b"\r\n")) == 400
    for body in (b"", b"{", b"[]", b"null", b'"x"', b'{"path": 5}', b'{"path": "/x", "path": "/y", "source_url": "-"}',
                 b'{"path": "/x"}', b"\xff\xfe", b"[" * 100_000, b'{"path":"/x","source_url":"/","param_values":[1]}'):
        answer = ask(b"POST /_openrun/app" + h + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert web.status_of(answer) == 400, (body[:40], answer[:300])
        assert b'"message"' in answer and b'"code":400' in answer.replace(b" ", b"")
    alive(target)
