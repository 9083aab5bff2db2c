"""Requests that go on while something is done to a server or its engine."""
# SPDX-License-Identifier: Apache-2.0
import threading
import time

import requests

import web
from openrun import wait_for


def served(box, path="/x", timeout=60, **kw):
    """Asks until it is served; what else comes is an error of ours that says so."""
    def ask():
        r = box.get(path + "/json", **kw)
        assert r.status_code in (200, 500, 502, 503, 504), r.text
        return r.json() if r.status_code == 200 else None
    return wait_for(ask, f"{path} to be served", timeout)


class Traffic:
    """Requests to a path from a thread, one after the other, until stopped. `strangers` are answers of status 200 that are
    not from the app at that path; `path` must end in /json then."""

    def __init__(self, box, path, pause=0.005):
        self.box, self.path, self.pause, self.answers, self.longest, self.strangers = box, path, pause, [], 0, []
        self.done = threading.Event()

    def run(self):
        with web.session() as s:
            while not self.done.is_set():
                began = time.monotonic()
                try:
                    r = s.get(self.box.url(self.path), timeout=120)
                    status = r.status_code
                    if status == 200 and r.json()["env"]["CL_APP_PATH"] + "/json" != self.path:
                        self.strangers.append((len(self.answers), r.text))
                except requests.ConnectionError:
                    status = 0   # the server has ended
                self.longest = max(self.longest, time.monotonic() - began)
                self.answers.append(status)
                self.done.wait(self.pause)

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()
