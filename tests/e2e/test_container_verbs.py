"""`openrun container ...` and `openrun app logs`: what they print in each format, what they do, and what they refuse; the two
stages of sleep; what a prune takes. On the fake engine."""
# SPDX-License-Identifier: Apache-2.0
import csv
import io
import json
import re
import signal
import subprocess

import pytest

import openrun
from openrun import wait_for
from sources import IMAGE_APP, slug

FILE = "FROM scratch\nEXPOSE 8080\n"


@pytest.fixture(scope="module")
def engine(fake):
    return fake


@pytest.fixture
def path(box, fake, request):
    path = "/" + slug(request)
    yield path
    fake.faults()
    if path in box.apps():
        box.cli("app", "delete", path)


def create(box, path, *flags):
    box.cli("app", "create", *IMAGE_APP, *flags, "-", path)
    assert box.get(path + "/json").status_code == 200


def name_of(fake, box, path):
    (name,) = fake.containers(box.home, app_path=path)
    return name


def listed(box, *args):
    return {c["name"]: c for c in json.loads(box.cli("container", *(args or ("list",)), "--format", "json"))}


def test_list_in_every_format(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    c = listed(box)[name]
    facts = fake.containers()[name]
    assert c["id"] == facts["id"] and c["app_path"] == path and c["app_id"] == facts["labels"]["dev.openrun.app.id"]
    assert (c["state"], c["status"], c["env"], c["runtime"], c["image"]) == ("running", "ready", "prod", "docker", "openrun-test/webapp:latest")
    assert c["ports"] == f"127.0.0.1:{facts['port']} -> 8080/tcp" and re.match(r"\d{4}-\d\d-\d\dT", c["created_at"])
    (line,) = [json.loads(x) for x in box.cli("container", "list", "--format", "jsonl").splitlines() if name in x]
    assert line == c
    rows = list(csv.reader(io.StringIO(box.cli("container", "list", "--format", "csv"))))
    assert [r for r in rows if r[1] == name][0][:6] == [c["id"], name, c["app_id"], path, c["image"], "running"]
    for format in ("table", "basic"):
        text = box.cli("container", "list", "--format", format)
        assert text.splitlines()[0].split() == ["Name", "Env", "State", "Status", "AppPath"]
        assert re.search(rf"{name} +prod +running +ready +{path}\n", text)
    for row in ("jsonl_pretty",):
        assert name in box.cli("container", "list", "--format", row)
    assert "xml" in box.fails("container", "list", "--format", "xml")


def test_stage_and_other_homes(box, fake, path, new_server):
    create(box, path)
    assert box.get(path + "/json", host="stage.localhost").status_code == 200
    mine = [c for c in listed(box).values() if c["app_path"] == path]
    assert sorted(c["env"] for c in mine) == ["prod", "stage"]
    other = new_server({"system": {"container_command": fake.command}}, env=fake.env).start()
    assert listed(other) == {}
    error = other.fails("container", "get", mine[0]["name"])
    assert f"container {mine[0]['name']} is not managed by OpenRun" in error
    for verb in ("stop", "start", "logs", "stats"):
        assert "is not managed by OpenRun" in other.fails("container", verb, mine[0]["id"])


def test_get_by_name_and_by_beginning_of_id(box, fake, path):
    create(box, path, "--cvol", "data:/data")
    name = name_of(fake, box, path)
    facts = fake.containers()[name]
    fake.ask("set", name=name, values={"memory": 123 << 20})
    got = json.loads(box.cli("container", "get", "--format", "json", name))
    assert got["name"] == name and got["command"] == "/webapp" and got["exit_code"] == 0 and got["app_version"] == "1" and got["size_rw"] == 4096
    assert got["size_root_fs"] == 1 << 20 and [p for p in got["port_bindings"] if p.endswith("8080/tcp") or "8080/tcp (not" in p]
    assert got["stats"]["mem_usage"] == 123 << 20 and got["stats"]["pids"] == 1
    (mount,) = got["mounts"]
    assert mount["destination"] == "/data" and mount["read_write"] and mount["type"] == "volume"
    assert json.loads(box.cli("container", "get", "--format", "json", facts["id"][:12]))["id"] == facts["id"]
    text = box.cli("container", "get", name)
    assert re.search(rf"Name: {name}\n", text) and "-> /data" in text and re.search(r"Memory: 123\.0 MiB", text)


@pytest.mark.parametrize("verb", ["get", "logs", "start", "stop"])
def test_bad_ids(box, verb):
    assert "requires one argument: <container>" in box.fails("container", verb)
    assert "requires one argument: <container>" in box.fails("container", verb, "a", "b")
    for bad in ("nothing", "0123456789ab", "abc", "../../etc", "a b", "x" * 5000, "%2e", "é", "--", "clc-*"):
        message = box.fails("container", verb, bad) if bad != "--" else "not managed"
        assert "not managed" in message, message
    assert "id is required" in box.fails("container", verb, "")


def test_id_that_is_not_unique(box, fake, path):
    """Ids are compared by their beginning from four letters on; two that begin alike are told apart."""
    create(box, path)
    create(box, path + "-2")
    names = [name_of(fake, box, path), name_of(fake, box, path + "-2")]
    for i, name in enumerate(names):
        fake.ask("set", name=name, values={"id": f"feedbeef{i}" + "0" * 55})
    assert "more than one container has an id that begins with feedbeef" in box.fails("container", "get", "feedbeef")
    assert json.loads(box.cli("container", "get", "--format", "json", "feedbeef1"))["name"] == names[1]
    assert "not managed" in box.fails("container", "get", "fee")
    box.cli("app", "delete", path + "-2")


def test_logs(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    fake.ask("say", name=name, text="\n".join(f"line {i}" for i in range(300)))
    assert box.cli("container", "logs", name).splitlines() == [f"line {i}" for i in range(200, 300)]
    assert box.cli("container", "logs", "--tail", "3", name) == "line 297\nline 298\nline 299\n"
    assert box.cli("app", "logs", "--tail", "2", path) == "line 298\nline 299\n"
    assert box.cli("container", "logs", "--tail", "1000", name).startswith("webapp: starting\nline 0\n")
    assert box.cli("container", "logs", "--since", "1d", "--tail", "1", name) == "line 299\n"
    assert box.cli("container", "logs", "--since", "2200-01-01T00:00:00Z", name) == ""
    for tail in ("0", "-1", "x", "100001", "1.5", "99999999999999999999"):
        assert "tail must be a number of lines from 1 to 100000" in box.fails("container", "logs", "--tail=" + tail, name)
    for since in ("soon", "10", "10x", "-1s", "m", "2026-13-01T00:00:00Z"):
        if since != "10":
            assert "since must be like 10m" in box.fails("container", "logs", "--since=" + since, name)


def test_logs_follow(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    follower = subprocess.Popen([openrun.binary(), "container", "logs", "-f", name], env=box.env, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout.readline() == "webapp: starting\n"
        for i in range(5):
            fake.ask("say", name=name, text=f"news {i}")
            assert follower.stdout.readline() == f"news {i}\n"
    finally:
        follower.send_signal(signal.SIGINT)
        rest = follower.stdout.read()
        follower.wait(60)
    assert rest == "", "nothing twice"


def test_logs_of_an_app_without_a_container(box, folder):
    import sources
    box.cli("app", "create", str(folder(sources.text_app("hi"))), "/text")
    assert "has no container" in box.fails("app", "logs", "/text")
    assert "/nothing" in box.fails("app", "logs", "/nothing")
    assert box.fails("app", "logs", "no-slash")
    assert "requires one argument" in box.fails("app", "logs")
    box.cli("app", "delete", "/text")
    box.cli("app", "create", "--spec", "container", "--approve", str(folder(
        {"Containerfile": "FROM scratch\nRUN false\nEXPOSE 8080\n"}, "unbuilt")), "/unbuilt")
    assert box.get("/unbuilt/").status_code == 500
    assert "openrun app logs --build /unbuilt" in box.fails("app", "logs", "/unbuilt"), "the way to the reason"
    box.cli("app", "delete", "/unbuilt")


def test_a_gigabyte_of_logs_is_bounded(box, fake, path):
    """Long lines, many lines, odd bytes: what is shown has a ceiling, and the server's memory too."""
    create(box, path)
    name = name_of(fake, box, path)
    fake.ask("say", name=name, text="x" * 5_000_000 + "\n\x1b[31mred\x1b[0m\n\x00\x01\x7f\ufffd ünï\nend")
    out = box.cli("container", "logs", "--tail", "100000", name)
    assert out.endswith("ünï\nend\n") and len(out) < 300 << 10
    fake.ask("say", name=name, text="\n".join(f"{i:08} " + "y" * 1000 for i in range(1000)))
    out = box.cli("container", "logs", "--tail", "100000", name)
    assert len(out) <= 300 << 10 and out.splitlines()[-1].startswith("00000999 ")


def test_stop_and_start(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    assert box.cli("container", "stop", name) == f"Stopped {name}\n"
    assert fake.containers()[name]["status"] == "exited"
    assert listed(box)[name]["status"] == "stopped"
    assert box.cli("container", "stop", name) == f"Stopped {name}\n", "once more is fine"
    assert box.cli("container", "start", name) == f"Started {name}\n"
    assert listed(box)[name]["status"] == "ready"
    assert box.cli("container", "start", name) == f"Started {name}\n"
    assert fake.containers()[name]["starts"] == 2
    box.cli("container", "stop", name)
    assert box.get(path + "/json").json()["start"] == 3, "a request wakes it as ever"


def test_start_that_fails_says_why(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    box.cli("container", "stop", name)
    fake.faults({"call": "start", "status": 500, "message": "no room at the inn"}, {"call": "create", "status": 500,
                                                                                   "message": "no room at the inn"})
    assert "no room at the inn" in box.fails("container", "start", name)
    fake.faults()
    wait_for(lambda: box.get(path + "/json").status_code == 200, "the app, after the pause that a failure brings")


def test_stats(box, fake, path):
    create(box, path)
    name = name_of(fake, box, path)
    fake.ask("set", name=name, values={"memory": 64 << 20})
    row = listed(box, "stats")[name]
    assert row["mem_usage"] == 64 << 20 and row["mem_limit"] == 1 << 30 and row["mem_percent"] == 6.25 and row["app_path"] == path
    assert row["net_in"] == 1000 * fake.containers()[name]["requests"]
    (row,) = listed(box, "stats", name).values()
    assert row["name"] == name
    text = box.cli("container", "stats", name)
    assert re.search(rf"{name} +0\.00% +64\.0 MiB", text), text
    assert box.cli("container", "stats", "--format", "csv", name).startswith(f"{name},{path},")
    box.cli("container", "stop", name)
    assert name not in listed(box, "stats"), "only of what runs"
    assert f"container {name} is not running" in box.fails("container", "stats", name)
    fake.faults({"call": "stats", "status": 500, "message": "no numbers here"})
    assert json.loads(box.cli("container", "stats", "--format", "json")) == []
    box.cli("container", "start", name)
    assert "no numbers here" in box.fails("container", "stats", name), "rather than nothing"
    assert "no numbers here" in box.fails("container", "stats")


def test_help(box):
    text = box.cli("container", "--help")
    for verb in ("list", "get", "logs", "stats", "start", "stop", "prune"):
        assert re.search(rf"^ +{verb}\b", text, re.M)
        assert "openrun container " + verb in box.cli("container", verb, "--help")


def test_engine_that_is_down(new_server, fake):
    with_none = new_server().start()
    assert "container_command" in with_none.fails("container", "list")
    s = new_server({"system": {"container_command": fake.command}}, env=fake.env).start()
    fake.down()
    try:
        for args in (["list"], ["stats"], ["prune"], ["get", "x"], ["logs", "x"], ["stop", "x"]):
            assert "does not answer" in s.fails("container", *args)
    finally:
        fake.up()
    assert listed(s) == {}


# --- prune ---

def test_prune_frees_what_it_says(new_server, fake, folder):
    """Versions beyond those to keep; the current one and what was used last stay; bytes are told before and after."""
    s = new_server({"system": {"container_command": fake.command, "container_versions_to_keep": 1}}, env=fake.env).start()
    source = folder({"Containerfile": FILE})
    s.cli("app", "create", "--spec", "container", "--approve", str(source), "/x")
    for v in range(1, 4):
        folder({"Containerfile": FILE + f"ENV VERSION={v}\n", "ballast": b"x" * 100_000 * v})
        s.cli("app", "reload", "--promote", "/x")
        assert s.get("/x/json").json()["env"]["VERSION"] == str(v)
    wait_for(lambda: all(c["status"] == "exited" or c["env"]["VERSION"] == "3" for c in fake.containers(s.home).values()),
             "the older ones to stop")
    fake.ask("image", name="cli-foreign:1", size=5 << 30)
    plan = json.loads(s.cli("container", "prune", "--dry-run", "--format", "json"))
    assert "Would free up to" in s.cli("container", "prune", "--dry-run")
    images = {i["name"]: i["size"] for i in plan if i["kind"] == "image"}
    assert len(images) == 2 and all(fake.images()[i]["size"] == size for i, size in images.items())
    before = fake.state()
    assert {c["status"] for c in before["containers"].values() if c["labels"].get("dev.openrun.server.home") == str(s.home)} == {"running", "exited"}
    out = s.cli("container", "prune")
    assert re.search(r"Freed up to [\d.]+ KiB", out), out
    left = fake.containers(s.home)
    assert {c["env"]["VERSION"] for c in left.values()} == {"3"}
    assert set(before["images"]) - set(fake.images()) == set(images)
    assert "cli-foreign:1" in fake.images()
    assert s.cli("container", "prune") == "Freed up to 0 B\n"
    assert s.get("/x/json").json()["env"]["VERSION"] == "3"
    # The former version is built again when it is wanted.
    s.cli("version", "revert", "/x")
    assert s.get("/x/json").json()["env"]["VERSION"] == "2"
    # An app that went while the engine did not answer leaves nothing for ever.
    fake.faults({"call": "remove", "status": 500})
    s.cli("app", "delete", "/x")
    assert fake.containers(s.home)
    fake.faults()
    s.cli("container", "prune")
    assert not fake.containers(s.home) and not [i for i, x in fake.images().items() if x["labels"].get("dev.openrun.image.home") == str(s.home)]


def test_budget(new_server, fake, folder):
    """Images of all apps together: the version used longest ago goes first, the last one of an app never."""
    s = new_server({"system": {"container_command": fake.command, "container_versions_to_keep": 100, "container_disk_budget_mb": 4}},
                   env=fake.env).start()
    for app in ("a", "b"):
        source = folder({"Containerfile": FILE}, app)
        s.cli("app", "create", "--spec", "container", "--approve", str(source), "/" + app)
        for v in range(1, 4):
            folder({"Containerfile": FILE + f"ENV VERSION={v}\n", "ballast": bytes(1 << 20)}, app)
            s.cli("app", "reload", "--promote", "/" + app)
            assert s.get(f"/{app}/json").status_code == 200
    wait_for(lambda: len(fake.containers(s.home, "running")) == 4, "the older ones to stop")
    s.cli("container", "prune")

    def versions(app):
        return {c["env"]["VERSION"] for c in fake.containers(s.home, app_path="/" + app).values()}
    assert versions("a") == {"3"} and versions("b") == {"2", "3"}, "6 MB were there, 4 fit with the rest of each"
    assert s.get("/a/json").json()["env"]["VERSION"] == "3"


# --- the two stages of sleep ---

def test_paused_then_stopped(new_server, fake):
    s = new_server({"system": {"container_command": fake.command},
                    "app_config": {"container": {"idle_shutdown_secs": 1, "idle_action": "pause", "idle_stop_secs": 2}}}, env=fake.env).start().keep_ports()
    create(s, "/x")
    name = name_of(fake, s, "/x")

    def status():
        return fake.containers()[name]["status"]
    wait_for(lambda: status() == "paused", "the first stage")
    assert listed(s)[name]["status"] == "paused"
    assert s.get("/x/json").json()["start"] == 1, "woken where it was"
    wait_for(lambda: status() == "paused", "the first stage again")
    wait_for(lambda: status() == "exited", "the second stage")
    assert s.get("/x/json").json()["start"] == 2
    calls = fake.calls()
    assert calls["unpause"] >= 1 and calls["pause"] >= 2
    wait_for(lambda: status() == "paused", "the first stage once more")
    s.cli("container", "stop", name)
    assert status() == "exited"
    wait_for(lambda: (s.get("/x/json").status_code, status())[0] == 200, "the app")
    wait_for(lambda: status() == "paused", "the first stage once more")
    # A restart of the server finds it paused, and the next request lets it go on.
    s.restart()
    assert s.get("/x/json").json()["start"] == 3


def test_memory_of_paused_containers_has_a_cap(new_server, fake):
    """At the cap the one used longest ago is stopped."""
    s = new_server({"system": {"container_command": fake.command, "paused_memory_mb": 250},
                    "app_config": {"container": {"idle_shutdown_secs": 1, "idle_action": "pause", "idle_stop_secs": 0}}}, env=fake.env).start()
    names = []
    for i in range(4):
        create(s, f"/m{i}")
        names.append(name_of(fake, s, f"/m{i}"))
        fake.ask("set", name=names[i], values={"memory": 100 << 20})
    order = [2, 0, 3, 1]
    for i in order:
        assert s.get(f"/m{i}/json").status_code == 200
        wait_for(lambda: fake.containers()[names[i]]["status"] == "paused", f"/m{i} to be paused")   # noqa: B023
    states = [fake.containers()[names[i]]["status"] for i in order]
    assert states == ["exited", "exited", "paused", "paused"], states
    for i in order:
        assert s.get(f"/m{i}/json").status_code == 200
