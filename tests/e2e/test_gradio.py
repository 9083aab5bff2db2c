"""Gradio: its queue answers its own client, and its page works, at a path and at a domain."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import pathlib
import subprocess
import sys

from framework import BUILD_SECS, look

GRADIO_CLIENT = """
import json, socket, sys
ask = socket.getaddrinfo
socket.getaddrinfo = lambda host, *a, **k: ask("127.0.0.1" if str(host).endswith("localhost") else host, *a, **k)
from gradio_client import Client
c = Client(sys.argv[1], verbose=False, ssl_verify=False)
print(json.dumps([c.predict("you", api_name="/greet"), *c.submit(3, api_name="/count")]))
"""


def gradio_client(url):
    """What Gradio's own client gets from the queue; it has a Python environment of its own."""
    cache = pathlib.Path(os.environ.get("OPENRUN_TEST_CACHE") or pathlib.Path.home() / ".cache/openrun-tests") / "gradio-client"
    if not (cache / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True)
        subprocess.run([cache / "bin/pip", "install", "-q", "gradio_client==2.7.2"], check=True, timeout=BUILD_SECS)
        (cache / "ready").touch()
    done = subprocess.run([cache / "bin/python", "-c", GRADIO_CLIENT, url], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gradio(deploy, page):
    app = deploy("python-gradio", "gradio")
    for place in ("path", "domain"):
        assert gradio_client(app.url(place, scheme="http")) == ["Hello you!", "step 1", "step 2", "step 3"]
        page.goto(app.url(place))

        def greet():
            page.type("textarea, input[type=text]", "there", enter=False)
            page.click("Greet")
        page.until(greet, "[...document.querySelectorAll('textarea, input')].some(e => e.value == 'Hello there!')")
        look(page, f"gradio-{place}")
        # Gradio links a manifest at the root of the host, wherever it is served.
        assert [f for f in page.failures() if not f.endswith("/manifest.json")] == []
