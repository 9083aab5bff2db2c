"""The management API over the unix socket, on one connection that stays open."""
# SPDX-License-Identifier: Apache-2.0
import collections
import http.client
import json
import socket
import urllib.parse


class Refused(Exception):
    """The server said no."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class _Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=300)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """For one thread. Raises Refused for what the server refuses, OSError or HTTPException when it goes away."""

    def __init__(self, server):
        self.connection = _Socket(server.home / "run/openrun.sock")
        self.recent = collections.deque(maxlen=10)   # changes asked for, with their outcome

    def close(self):
        self.connection.close()

    def call(self, method, target, body=None, **query):
        query = {k: str(v).lower() if isinstance(v, bool) else v for k, v in query.items()}
        if query:
            target += "?" + urllib.parse.urlencode(query)
        self.connection.request(method, "/_openrun" + target, json.dumps(body) if body is not None else None)
        reply = self.connection.getresponse()
        text = reply.read()
        if method != "GET":
            self.recent.append(f"{method} {target} {body or ''} -> {reply.status} {text[:100]}")
        parsed = json.loads(text) if text.strip().startswith(b"{") else {}
        if reply.status != 200:
            raise Refused(reply.status, parsed.get("message", text.decode(errors="replace")))
        return parsed

    def get(self, target, **query):
        return self.call("GET", target, **query)

    def post(self, target, body=None, **query):
        return self.call("POST", target, body, **query)

    def delete(self, target, **query):
        return self.call("DELETE", target, **query)
