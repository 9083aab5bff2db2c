"""Apps that nobody asks for leave the server's memory and come back with the next request, on the same container."""
# SPDX-License-Identifier: Apache-2.0
import asyncio
import json

import aclient
import openrun
import pytest
from sources import IMAGE_APP


@pytest.fixture(scope="module")
def server(tmp_path_factory, fake):
    s = openrun.Server(tmp_path_factory.mktemp("home") / "h", {
        "system": {"container_command": fake.command, "app_unload_secs": 1}, "https": {"port": -1},
        "app_config": {"container": {"idle_shutdown_secs": 1}}}, env=fake.env).start()
    for i in range(3):
        s.cli("app", "create", *IMAGE_APP, "--auth", "none", "-", f"/a{i}")
    yield s
    s.dispose()


def unloaded(s):
    lines = (s.home / "logs/openrun.json").read_text().splitlines()
    return sum(json.loads(line).get("apps", 0) for line in lines if "apps unloaded" in line)


def ask(s, path):
    return asyncio.run(aclient.get(s.http_port, path)).status


def test_an_app_that_sleeps_is_unloaded_and_wakes_on_its_container(server, fake):
    assert ask(server, "/a0/json") == 200
    had, n = sorted(fake.containers(server.home)), unloaded(server)
    openrun.wait_for(lambda: unloaded(server) > n, "the app to be unloaded")
    openrun.wait_for(lambda: not fake.containers(server.home, "running"), "all to sleep")
    assert ask(server, "/a0/json") == 200
    assert sorted(fake.containers(server.home)) == had


def test_a_crowd_that_races_the_unload_loses_nothing(server):
    async def crowd(n):
        loop = asyncio.get_running_loop()
        until = loop.time() + 8
        while loop.time() < until:
            assert (await aclient.get(server.http_port, f"/a{n % 3}/json")).status == 200
            await asyncio.sleep(1.0 + n % 7 * 0.1)   # about as long as it takes to be unloaded

    async def all_of_them():
        await asyncio.gather(*(crowd(n) for n in range(9)))

    before = unloaded(server)
    asyncio.run(all_of_them())
    openrun.wait_for(lambda: unloaded(server) > before, "an app to be unloaded")


def test_an_unloaded_app_can_be_deleted_and_its_container_ends(server, fake):
    assert ask(server, "/a1/json") == 200
    n = unloaded(server)
    openrun.wait_for(lambda: unloaded(server) > n, "the app to be unloaded")
    server.cli("app", "delete", "/a1")
    assert ask(server, "/a1/json") == 404
    assert ask(server, "/a2/json") == 200
