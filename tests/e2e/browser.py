"""Chromium without a window, driven over its DevTools protocol: enough to load a page, click, type and look."""
# SPDX-License-Identifier: Apache-2.0
import base64
import concurrent.futures
import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

import engines
import web

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
         "--no-first-run", "--disable-extensions", "--disable-background-networking", "--no-proxy-server",
         "--window-size=1000,800", "--remote-debugging-port=0", "--remote-allow-origins=*")


class Quiet:
    """A network without interfaces that come and go, and in it ports of this machine's loopback.

    Chromium breaks off what a page has asked for (ERR_NETWORK_CHANGED) whenever an address appears or goes on any
    interface, and each container that any test starts or stops does that: pages stay blank then, or in parts. In here
    nothing happens; to pages the machine is offline (navigator.onLine). Where a network of one's own is not permitted
    (that needs root) it is this machine's."""
    CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1

    def __init__(self):
        self._inside = concurrent.futures.ThreadPoolExecutor(1)   # a network belongs to a thread and what it starts
        self._ports = {}
        self._is_own = self.do(self._enter)

    def _enter(self):
        if ctypes.CDLL(None, use_errno=True).unshare(self.CLONE_NEWNET) != 0:
            return False
        with socket.socket() as s:
            fcntl.ioctl(s, self.SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", self.IFF_UP))
        return True

    def do(self, fn, *args, **kw):
        """Calls fn inside: sockets that it makes and programs that it starts stay there."""
        return self._inside.submit(fn, *args, **kw).result()

    def reach(self, port):
        """From now on a connection to this port inside is one to the same port outside."""
        if self._is_own and port not in self._ports:
            self._ports[port] = self.do(socket.create_server, ("127.0.0.1", port), backlog=128)
            threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port):
        while True:
            try:
                inner, _ = self._ports[port].accept()
            except OSError:   # closed
                return
            try:
                outer = socket.create_connection(("127.0.0.1", port))
            except OSError:
                inner.close()
                continue
            for a, b in ((inner, outer), (outer, inner)):
                threading.Thread(target=self._pass_on, args=(a, b), daemon=True).start()

    @staticmethod
    def _pass_on(a, b):
        try:
            while data := a.recv(1 << 16):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)
        except OSError:   # the end of one is that of both
            for s in (a, b):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def close(self):
        for listener in self._ports.values():
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._inside.shutdown()


class Browser:
    """One Chromium with a profile of its own; its pages end with it."""

    def __init__(self):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if not program:
            engines.unavailable("no chromium here (Debian: chromium-headless-shell or chromium)")
        self._profile = tempfile.TemporaryDirectory(prefix="openrun-browser-", ignore_cleanup_errors=True)
        self._network = Quiet()
        self._process = self._network.do(
            subprocess.Popen, [program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        said, self._rest = [], threading.Thread(target=self._process.stderr.read, daemon=True)
        for line in self._process.stderr:
            said.append(line)
            found = re.search(r"DevTools listening on (ws://\S+)", line)
            if found:
                break
        else:
            self.close()
            raise AssertionError("chromium did not start:\n" + "".join(said[-20:]))
        self._rest.start()
        control = self._network.do(socket.create_connection, ("127.0.0.1", urllib.parse.urlsplit(found[1]).port))
        self._ws = web.websocket(found[1], max_size=None, ping_interval=None, sock=control)
        self._last = 0
        self._events = {}   # session -> events not looked at yet

    def call(self, method, session=None, **params):
        """One command; its result. Events that come meanwhile are kept for their page."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self._ws.send(json.dumps(message))
        while True:
            reply = json.loads(self._ws.recv(timeout=120))
            if reply.get("id") == self._last:
                assert "error" not in reply, f"{method}: {reply['error']}"
                return reply["result"]
            if "method" in reply:
                self._events.setdefault(reply.get("sessionId"), []).append(reply)

    def take_events(self, session):
        return self._events.pop(session, [])

    def reach(self, url):
        """Makes the server of this URL, which is on this machine, reachable for pages."""
        parts = urllib.parse.urlsplit(url)
        if parts.port:
            self._network.reach(parts.port)

    def page(self):
        return Page(self)

    def close(self):
        # The program may be a script that waits for the browser: all of them have closed stderr when they are gone.
        for end in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, end)
            if self._rest.ident:
                self._rest.join(20)
        self._process.wait()
        self._network.close()
        self._profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Page:
    def __init__(self, browser):
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._seen = []
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        return self._browser.call(method, session=self._session, **params)

    def goto(self, url):
        self._browser.reach(url)
        for _ in range(20):
            reply = self.call("Page.navigate", url=url)
            if reply.get("errorText") != "net::ERR_NETWORK_CHANGED":   # an engine has made or removed an interface
                break
            time.sleep(0.5)
        assert "errorText" not in reply, (url, reply)
        self.wait("document.readyState == 'complete'", "the page to load")

    def js(self, expression):
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, (expression, reply["exceptionDetails"])
        return reply["result"].get("value")

    def text(self):
        return self.js("document.body ? document.body.innerText : ''")

    def wait(self, condition, what=None, timeout=120):
        """Until the JavaScript expression is true; its value."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                value = self.js(condition)
            except AssertionError:   # the page is between two documents
                value = None
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout} s for {what or condition}; failures {self.failures()}; "
                                     f"the page says:\n{self.text()[:3000]}")
            time.sleep(0.05)

    def wait_text(self, text):
        self.wait(f"document.body && document.body.innerText.includes({json.dumps(text)})", f"the text {text!r}")

    def click(self, text, selector="button, a"):
        """Clicks the first element of that selector that shows exactly this text, with the mouse, in its middle."""
        find = (f"[...document.querySelectorAll({json.dumps(selector)})]"
                f".find(e => e.innerText.trim().toLowerCase() == {json.dumps(text.lower())})")
        self.wait(f"!!{find}", f"{selector} that says {text!r}")
        self._click_at(find)

    def _click_at(self, find):
        box = self.js(f"(() => {{ const e = {find}; e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
                      " return [r.x + r.width / 2, r.y + r.height / 2] })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector, text, enter=True):
        find = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{find}", selector)
        self._click_at(find)
        self.js("document.activeElement.select && document.activeElement.select()")   # what is there is replaced
        self.call("Input.insertText", text=text)
        if enter:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13,
                          text="\r" if kind == "keyDown" else "")

    def until(self, act, condition, timeout=120):
        """Acts until the JavaScript expression is true: a page that is drawn may not listen yet."""
        deadline = time.monotonic() + timeout
        while True:
            act()
            try:
                return self.wait(condition, timeout=3)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _events(self):
        self.js("1")   # brings in what has happened
        self._seen += self._browser.take_events(self._session)
        return self._seen

    def failures(self):
        """What did not load, and exceptions of the page's scripts."""
        bad = []
        for e in self._events():
            p = e["params"]
            if e["method"] == "Network.responseReceived" and p["response"]["status"] >= 400:
                if p["response"]["url"].endswith("/favicon.ico"):   # asked for by the browser, not by the page
                    continue
                bad.append(f"{p['response']['status']} {p['response']['url']}")
            elif e["method"] == "Network.webSocketHandshakeResponseReceived" and p["response"]["status"] != 101:
                bad.append(f"{p['response']['status']} {e['method']}")
            elif e["method"] == "Runtime.exceptionThrown":
                bad.append(p["exceptionDetails"].get("exception", {}).get("description", "exception")[:300])
        return bad

    def websockets(self):
        """The URLs of the WebSockets that were opened."""
        return [e["params"]["url"] for e in self._events() if e["method"] == "Network.webSocketCreated"]
