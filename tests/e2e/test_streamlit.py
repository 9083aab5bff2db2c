"""Streamlit in Chromium: its page, and widgets that change it over its WebSocket."""
# SPDX-License-Identifier: Apache-2.0
from framework import look


def test_streamlit(deploy, page):
    app = deploy("python-streamlit", "streamlit", "--param", "COLOR=teal")
    for place in ("path", "domain"):
        page.goto(app.url(place))
        page.wait_text("clicked 0 times")
        page.wait_text("color is teal")
        page.click("More")
        page.wait_text("clicked 1 times")
        page.type("input[aria-label=Name]", "world")
        page.wait_text("hello world")
        look(page, f"streamlit-{place}")
        assert page.websockets() and not page.failures(), (page.websockets(), page.failures())
