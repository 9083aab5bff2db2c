"""HTTP and WebSocket clients for servers on this machine: any name resolves here, any certificate will do."""
# SPDX-License-Identifier: Apache-2.0
import socket
import ssl

import requests
import urllib3
import websockets.sync.client

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


def websocket(url, **kw):
    """A connected WebSocket; a context manager."""
    if url.startswith("wss:"):
        kw["ssl"] = tls_context()
    return websockets.sync.client.connect(url, open_timeout=120, close_timeout=30, proxy=None, **kw)


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
