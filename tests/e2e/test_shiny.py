"""Shiny for Python in Chromium: a click over its WebSocket."""
# SPDX-License-Identifier: Apache-2.0
from framework import look


def test_shiny(deploy, page):
    app = deploy("python-shiny", "shiny")
    for place in ("path", "domain"):
        page.goto(app.url(place))
        page.wait_text("clicked 0 times")
        page.click("More")
        page.wait_text("clicked 1 times")
        look(page, f"shiny-{place}")
        assert page.websockets() and not page.failures(), (page.websockets(), page.failures())
