"""Chromium without a window, driven over its DevTools protocol: enough to load a page, click, type and look."""
# SPDX-License-Identifier: Apache-2.0
import base64
import json
import re
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

import web

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--ignore-certificate-errors",
         "--no-first-run", "--disable-extensions", "--disable-background-networking", "--no-proxy-server",
         "--window-size=1000,800", "--remote-debugging-port=0", "--remote-allow-origins=*")


class Browser:
    """One Chromium with a profile of its own; its pages end with it."""

    def __init__(self):
        program = next(filter(None, map(shutil.which, NAMES)), None)
        if not program:
            pytest.skip("no chromium here (Debian: chromium)")
        self._profile = tempfile.TemporaryDirectory(prefix="openrun-browser-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen([program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         text=True, errors="replace", start_new_session=True)
        said = []
        for line in self._process.stderr:
            said.append(line)
            found = re.search(r"DevTools listening on (ws://\S+)", line)
            if found:
                break
        else:
            self.close()
            raise AssertionError("chromium did not start:\n" + "".join(said[-20:]))
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        self._ws = web.websocket(found[1], max_size=None, ping_interval=None)
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

    def page(self):
        return Page(self)

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
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
