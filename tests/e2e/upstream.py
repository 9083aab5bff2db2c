"""A local web server for the proxy to reach: tells what it was asked, streams when told, echoes WebSockets."""
# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import http.server
import json
import threading
import urllib.parse



class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _body(self, on_piece=None):
        """Reads the body piece by piece as it comes."""
        digest, size = hashlib.sha256(), 0
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        left = int(self.headers.get("Content-Length") or 0)
        while True:
            if chunked and left == 0:
                left = int(self.rfile.readline().split(b";")[0], 16)
                if left == 0:
                    self.rfile.readline()
                    break
            if not chunked and left == 0:
                break
            piece = self.rfile.read1(min(left, 65536))
            if not piece:
                break
            left -= len(piece)
            if chunked and left == 0:
                self.rfile.readline()
            digest.update(piece)
            size += len(piece)
            if on_piece:
                on_piece(piece)
        return size, digest.hexdigest()

    def _answer(self, status, body, *headers):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self):
        up = self.server.owner
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        up.requests.append((self.command, self.path, list(self.headers.items())))
        if url.path == "/ws" and self.headers.get("Upgrade", "").lower() == "websocket":
            self.close_connection = True
            return self._websocket()
        if url.path == "/stream":
            self._body()
            return self._stream(up, int(query["n"]))
        if url.path == "/upload":
            def on_piece(piece):
                with up.changed:
                    up.uploaded += len(piece)
                    up.changed.notify_all()
            size, digest = self._body(on_piece)
            return self._answer(200, json.dumps({"size": size, "sha256": digest}).encode(),
                                ("Content-Type", "application/json"))
        size, digest = self._body()
        if url.path == "/bytes":
            return self._answer(200, b"x" * int(query["n"]), ("Content-Type", "application/octet-stream"))
        if url.path == "/redirect":
            to = query["to"].replace("SELF", f"http://{self.headers['Host']}")
            return self._answer(int(query.get("code", 302)), b"", ("Location", to))
        if url.path == "/cookies":
            return self._answer(200, b"", ("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; HttpOnly"))
        if url.path == "/cut":    # promises more than it sends
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.wfile.flush()
            self.close_connection = True
            return
        if url.path == "/garbage":
            self.wfile.write(b"this is no HTTP\r\n\r\n")
            self.close_connection = True
            return
        if url.path.startswith("/status/"):
            code = int(url.path.rsplit("/", 1)[1])
            if code in (204, 304):
                self.send_response(code)
                self.end_headers()
                return
            return self._answer(code, f"status {code}\n".encode(), ("X-Upstream", "yes"))
        text = json.dumps({"method": self.command, "path": self.path, "headers": list(self.headers.items()),
                           "size": size, "sha256": digest}).encode()
        self._answer(200, text, ("Content-Type", "application/json"), ("X-Upstream", "yes"),
                     ("Connection", "X-Hop"), ("X-Hop", "must not pass"))

    def _stream(self, up, n):
        """Sends one line, and each further one when the test has said so: what arrives early was not held back."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(n):
            if i and not up.go.acquire(timeout=60):
                break
            line = f"line {i}\n".encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            except OSError:
                up.client_left.set()
                return
        self.wfile.write(b"0\r\n\r\n")

    def _websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.flush()
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            size = head[1] & 127
            if size == 126:
                size = int.from_bytes(self.rfile.read(2), "big")
            elif size == 127:
                size = int.from_bytes(self.rfile.read(8), "big")
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i & 3] for i, b in enumerate(self.rfile.read(size)))
            out = bytes([head[0]])
            out += bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big") if size < 65536 else \
                bytes([127]) + size.to_bytes(8, "big")
            self.wfile.write(out + data)
            self.wfile.flush()
            if head[0] & 15 == 8:
                return

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def log_message(self, *args):
        pass


class Upstream:
    """The running server: `url`; `requests` as (method, target, headers); `go` lets /stream send its next line."""

    def __init__(self, port=0):
        self.requests, self.go, self.client_left = [], threading.Semaphore(0), threading.Event()
        self.uploaded, self.changed = 0, threading.Condition()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def wait_uploaded(self, n, timeout=60):
        with self.changed:
            assert self.changed.wait_for(lambda: self.uploaded >= n, timeout), f"only {self.uploaded} of {n} bytes came"

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
