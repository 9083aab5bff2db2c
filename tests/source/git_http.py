#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""git_http.py ROOT [USER:PASSWORD]: serves the repositories below ROOT over smart HTTP with `git http-backend`, on a
free port of 127.0.0.1 that it prints. /dumb/PATH serves the plain files of PATH instead. With USER:PASSWORD, requests
without it get a 401. Each request's method, path and whether it carried credentials go to ROOT/http.log."""
import base64, http.server, os, pathlib, subprocess, sys

root = pathlib.Path(sys.argv[1])
want = "Basic " + base64.b64encode(sys.argv[2].encode()).decode() if len(sys.argv) > 2 else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, headers, body):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_git(self):
        auth = self.headers.get("Authorization")
        with open(root / "http.log", "a") as log:
            log.write(f"{self.command} {self.path} {'credentials' if auth else '-'}\n")
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if want and auth != want:
            return self.answer(401, [("WWW-Authenticate", 'Basic realm="test"')], b"")
        if path.startswith("/dumb/"):
            f = root / path[6:]
            return self.answer(200, [], f.read_bytes()) if f.is_file() else self.answer(404, [], b"")
        env = dict(os.environ, GIT_PROJECT_ROOT=str(root), GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path, QUERY_STRING=query,
                   REQUEST_METHOD=self.command, CONTENT_TYPE=self.headers.get("Content-Type", ""),
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                   GIT_PROTOCOL=self.headers.get("Git-Protocol", ""), CONTENT_LENGTH=str(len(body)))
        out = subprocess.run(["git", "http-backend"], env=env, input=body, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(v[:3]) for k, v in headers if k == "Status"), 200)
        self.answer(status, [h for h in headers if h[0] != "Status"], rest)

    do_GET = do_POST = handle_git

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
