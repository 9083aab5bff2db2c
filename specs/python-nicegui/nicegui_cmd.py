# SPDX-License-Identifier: Apache-2.0
"""Runs the NiceGUI app on the port given by PORT. NiceGUI takes the port from its caller alone, so what the app does
not say itself is filled in here: port, address, and no browser or reloader in a container."""
import os
import runpy
import sys

from nicegui import ui

run = ui.run


def run_in_container(*args, **kwargs):
    kwargs.setdefault("host", "0.0.0.0")
    kwargs.setdefault("port", int(os.environ.get("PORT") or 8080))
    kwargs.setdefault("show", False)
    kwargs.setdefault("reload", bool(os.environ.get("NICEGUI_RELOAD")))
    return run(*args, **kwargs)


ui.run = run_in_container
sys.argv = [os.environ.get("app_file") or "main.py"]
runpy.run_path(sys.argv[0], run_name=__name__)
