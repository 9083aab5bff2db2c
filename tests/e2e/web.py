"""HTTP and WebSocket clients for servers on this machine: any name resolves here, any certificate will do."""
# SPDX-License-Identifier: Apache-2.0
import asyncio
import functools
import socket
import ssl
import threading

import requests
import urllib3
import websockets.asyncio.client

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
_getaddrinfo = socket.getaddrinfo


def _local_getaddrinfo(host, *args, **kw):
    """Names below localhost and test are this machine, as browsers have it (RFC 6761)."""
    name = host.decode() if isinstance(host, bytes) else host
    name = name.removesuffix(".") if isinstance(name, str) else name
    if isinstance(name, str) and (name == "localhost" or name.endswith((".localhost", ".test"))):
        host = "127.0.0.1"
    return _getaddrinfo(host, *args, **kw)


socket.getaddrinfo = _local_getaddrinfo


def session():
    s = requests.Session()
    s.verify = False
    s.trust_env = False
    s.headers["Accept-Encoding"] = "identity"
    return s


def tls_context(alpn=None):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class _Loop:
    """An event loop on a thread of its own, for clients that are called as if they blocked. The blocking client of
    websockets will not do: it reads and writes one TLS connection from two threads, which loses bytes."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(300)


@functools.cache
def _loop():
    return _Loop()


class WebSocket:
    def __init__(self, connection):
        self._connection = connection

    def send(self, message):
        _loop().run(self._connection.send(message))

    def recv(self, timeout=60):
        return _loop().run(asyncio.wait_for(self._connection.recv(), timeout))

    def close(self):
        _loop().run(self._connection.close())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def websocket(url, **kw):
    """A connected WebSocket; a context manager."""
    if url.startswith("wss:"):
        kw["ssl"] = tls_context()

    async def connect():
        return await websockets.asyncio.client.connect(url, open_timeout=120, close_timeout=30, proxy=None, **kw)
    return WebSocket(_loop().run(connect()))


def raw(port, data=b"", tls=False, host="localhost", timeout=60):
    """A socket that has sent `data`."""
    s = socket.create_connection(("127.0.0.1", port), timeout)
    if tls:
        s = tls_context().wrap_socket(s, server_hostname=host)
    if data:
        s.sendall(data)
    return s


def read_all(sock):
    """What comes until the other side closes."""
    out = b""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return out
            out += piece
    except (ConnectionResetError, BrokenPipeError):
        return out


def exchange(port, data, **kw):
    """Sends bytes, and returns all that comes until the server closes."""
    with raw(port, data, **kw) as s:
        return read_all(s)


def status_of(answer):
    """The status code of the first response in raw bytes; None if there is none."""
    line = answer.split(b"\r\n", 1)[0].split()
    return int(line[1]) if len(line) >= 2 and line[0].startswith(b"HTTP/1.") else None
