"""NiceGUI in Chromium: a click over its WebSocket, and a link to another page."""
# SPDX-License-Identifier: Apache-2.0
from framework import look


def test_nicegui(deploy, page):
    app = deploy("python-nicegui", "nicegui")
    for place in ("path", "domain"):
        page.goto(app.url(place))
        page.click("More")
        page.wait_text("clicked 1 times")
        look(page, f"nicegui-{place}")
        page.click("Other")
        page.wait_text("the other page")
        assert page.websockets() and not page.failures(), (page.websockets(), page.failures())
