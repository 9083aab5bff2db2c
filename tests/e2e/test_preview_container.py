"""Previews of apps with containers: each has its own, and it goes with the preview."""
# SPDX-License-Identifier: Apache-2.0
import pytest

from openrun import wait_for
from sources import Repo


@pytest.fixture(scope="module")
def engine(docker):
    return docker


def version(box, path):
    return box.get(path + "/json").json()["env"]["VERSION"]


def test_a_preview_has_its_own_container(box, engine, webapp, world):
    repo = Repo(world.base / "web")
    file = webapp["Containerfile"]
    one = repo.commit({**webapp, "Containerfile": file.replace("VERSION=1", "VERSION=one")})
    repo.commit({"Containerfile": file.replace("VERSION=1", "VERSION=two")})
    box.cli("app", "create", "--spec", "container", "--approve", f"{world.daemon}/web", "/web")
    box.cli("preview", "create", one, "/web")
    path = f"/web_cl_preview_{one}"
    assert version(box, "/web") == "two" and version(box, path) == "one"
    preview = box.apps("--internal")[path]["id"]
    assert len(engine.running(box.home, preview)) == 1
    box.cli("preview", "delete", one, "/web")
    wait_for(lambda: not engine.running(box.home, preview), "the container of the preview to go")
    assert not (box.home / "run" / "app" / preview).exists()
    assert box.get(path).status_code == 404 and version(box, "/web") == "two"
    box.cli("app", "delete", "/web")
