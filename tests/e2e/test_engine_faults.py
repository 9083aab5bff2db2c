"""Container apps on an engine that is slow, fails, hangs, dies and comes back; on the fake one, with seeds."""
# SPDX-License-Identifier: Apache-2.0
import asyncio
import collections
import concurrent.futures
import os
import random
import threading
import time

import pytest

import aclient
import openrun
import web
from fake_engine import FakeEngine
from openrun import wait_for
from sources import IMAGE_APP
from traffic import Traffic, served

ALL = os.environ.get("OPENRUN_TEST_ALL") == "1"
FILES = {"Containerfile": "FROM scratch\nEXPOSE 8080\n"}
QUICK = {"app_config": {"container": {"deploy_health_attempts": 8, "status_health_attempts": 2, "health_timeout_secs": 2}}}


@pytest.fixture
def fake(tmp_path):
    with FakeEngine(tmp_path / "engine") as fake:
        yield fake


@pytest.fixture
def new_home(new_server):
    """Makes servers on a fake engine."""
    return lambda fake, config=None: new_server(openrun.merged(openrun.merged(
        {"system": {"container_command": fake.command}}, QUICK), config or {}), env=fake.env)


@pytest.fixture
def box(new_home, fake):
    return new_home(fake).start().keep_ports()


def create(box, path, *flags, source=None):
    """An app in a container: built from `source`, else of an image that is there."""
    kind = ("--spec", "container", "--approve") if source else IMAGE_APP
    box.cli("app", "create", *kind, *flags, str(source or "-"), path)


def no_leaks(box, fake):
    """After all apps are deleted, nothing of ours is left on the engine but images."""
    box.cli("app", "delete", "all")
    wait_for(lambda: not fake.containers(box.home), lambda: f"no containers to be left: {fake.containers(box.home)}")
    box.check()


# --- a request against the idle stop ---

@pytest.mark.parametrize("action", ["stop", "pause"])
def test_requests_racing_the_idle_stop(new_home, fake, action):
    """Requests that come about when the container goes to sleep: none fails, none hangs, one start per app however many
    wait, and nothing is left behind. Seeded; the engine takes a random time for each call."""
    apps, rounds, seed = (200, 50, 1) if ALL else (30, 5, 1)
    box = new_home(fake, {"app_config": {"container": {"idle_shutdown_secs": 1, "idle_action": action}},
                          "logging": {"access_logging": False}}).start()
    for i in range(apps):
        create(box, f"/race/{i}")
    fake.faults({"call": "stop", "before_ms": [0, 60], "after_ms": [0, 60]}, {"call": "*pause", "before_ms": [0, 40], "after_ms": [0, 40]},
                {"call": "start", "before_ms": [0, 30], "after_ms": [0, 30]}, {"call": "inspect", "before_ms": [0, 10]}, seed=seed)
    bad = []

    async def app(i):
        dice = random.Random(f"{seed} {i}")
        await asyncio.sleep(dice.random())
        for n in range(rounds):
            burst = dice.choice([1, 1, 2, 5])
            for answer in await asyncio.gather(*(aclient.get(box.http_port, f"/race/{i}/json?n={n}") for _ in range(burst)),
                                               return_exceptions=True):
                ok = isinstance(answer, aclient.Answer) and answer.status == 200 and answer.json["env"]["CL_APP_PATH"] == f"/race/{i}"
                if not ok:
                    bad.append((i, n, repr(answer)))
            # The idle timer looks at the clock of the kernel's tick, and the calls take up to a tenth of a second.
            await asyncio.sleep(1 + dice.uniform(-0.02, 0.15))

    async def everything():
        await asyncio.gather(*(app(i) for i in range(apps)))
    asyncio.run(everything())
    assert not bad, f"{len(bad)} of {apps * rounds}: {bad[:5]}"
    containers = fake.containers(box.home)
    assert len(containers) == apps, "one container for each app"
    for name, c in containers.items():
        assert c["starts"] <= rounds, f"{name}: {c['starts']} starts for {rounds} rounds of requests"
    calls = fake.calls()
    assert calls["stop" if action == "stop" else "pause"] > apps, "the race took place"
    # Of 200 paused ones the memory allowed for them keeps some 30, the others are stopped.
    asleep = {"exited"} if action == "stop" else {"paused", "exited"}
    wait_for(lambda: {c["status"] for c in fake.containers(box.home).values()} <= asleep, "all to sleep again")
    fake.faults()
    no_leaks(box, fake)


def test_one_start_for_a_thousand_waiting(box, fake):
    create(box, "/x")
    fake.faults({"call": "start", "before_ms": 300})

    async def everything():
        return await asyncio.gather(*(aclient.get(box.http_port, f"/x/json?n={i}") for i in range(1000)))
    answers = asyncio.run(everything())
    assert collections.Counter(a.status for a in answers) == {200: 1000}
    assert {a.json["query"] for a in answers} == {f"n={i}" for i in range(1000)}
    (c,) = fake.containers(box.home).values()
    assert c["starts"] == 1 and fake.calls()["create"] == 1


def test_no_calls_to_the_engine_for_a_warm_request(box, fake):
    create(box, "/x")
    served(box)
    before = fake.calls()
    with web.session() as s:
        for _ in range(100):
            assert s.get(box.url("/x/json", scheme="http")).status_code == 200
    more = fake.calls() - before
    # Those of the clock are not those of requests.
    assert sum(more.values()) <= more["list"], more


# --- the engine dies and comes back ---

@pytest.mark.parametrize("stops", [False, True], ids=["containers-go-on", "containers-stop"])
def test_engine_killed_and_restarted_under_traffic(box, fake, stops):
    create(box, "/x")
    create(box, "/cold")
    served(box)
    with Traffic(box, "/x/json") as traffic:
        wait_for(lambda: len(traffic.answers) > 20, "traffic")
        fake.down(stops=stops)
        seen = len(traffic.answers)
        wait_for(lambda: len(traffic.answers) > seen + (20 if not stops else 3), "answers without the engine")
        r = box.get("/cold/json")
        assert r.status_code == 503 and "engine.sock" in box.fails("app", "reload", "/cold"), r.text
        fake.up()
        served(box, "/cold")
        served(box, "/x")
        back = len(traffic.answers)
        wait_for(lambda: len(traffic.answers) > back + 20, "more traffic")
    if not stops:
        assert set(traffic.answers) == {200}, "who is awake does not need the engine"
    assert set(traffic.answers) <= {200, 502, 503} and set(traffic.answers[back:]) == {200}
    assert traffic.longest < 60
    # Its events are heard again.
    wait_for(lambda: fake.state()["streams"] == 1, "the stream of events")
    fake.by_hand("kill", next(iter(fake.containers(box.home, app_path="/x"))))
    served(box)
    no_leaks(box, fake)


def test_socket_that_hangs(box, fake):
    """One app's call never ends: others are served, the server stops when told to, and all is well afterwards."""
    create(box, "/x")
    create(box, "/warm")
    served(box, "/warm")
    fake.faults({"call": "start", "hang": True})
    with Traffic(box, "/x/json") as stuck:
        wait_for(lambda: fake.calls()["start"] > 1, "the call that hangs")
        for _ in range(20):
            assert box.get("/warm/json").status_code == 200
        fake.faults()
        served(box)
    assert set(stuck.answers) <= {200, 502, 503, 504}
    fake.faults({"hang": True})
    create(box, "/y")
    with Traffic(box, "/y/json"):
        wait_for(lambda: fake.calls()["image_inspect"] > 1, "the call that hangs")
        began = time.monotonic()
        box.stop()
        assert time.monotonic() - began < 60, "the end of the server does not wait for the engine"


# --- every call goes wrong ---

FAULTS = [{"status": 500, "message": "told to fail"}, {"drop": "before"}, {"drop": "after"}, {"before_ms": 700}]
CALLS = ["image_inspect", "create", "start", "inspect", "stop", "pause", "unpause", "list", "remove", "stats", "events", "logs"]


@pytest.mark.parametrize("call", CALLS if ALL else ["start"])
def test_each_call_goes_wrong_once(new_home, fake, call):
    """Whatever call fails, is cut off before or after it is done, or is slow: the app is served again soon, and can be deleted."""
    box = new_home(fake, {"app_config": {"container": {"idle_shutdown_secs": 1, "idle_action": "pause", "idle_stop_secs": 1}}}).start()
    for i, fault in enumerate(FAULTS if ALL else FAULTS[1:3]):
        path = f"/f{i}"
        create(box, path)
        fake.faults({"call": call, "times": 1, **fault})
        served(box, path)
        name, = fake.containers(box.home, app_path=path)
        for status in ("paused", "exited"):
            wait_for(lambda: fake.containers()[name]["status"] in (status, "exited"), lambda: f"{name} {status}: {fake.containers()[name]}")
            served(box, path)
        box.try_cli("container", "logs", name)
        box.cli("app", "delete", path)
    fake.faults()
    box.cli("container", "prune")   # as the sweep would: what is left of apps that are gone
    wait_for(lambda: not fake.containers(box.home), lambda: f"no containers to be left: {fake.containers(box.home)}")
    box.check()


@pytest.mark.parametrize("seed", range(30 if ALL else 1))
def test_life_on_a_bad_engine(new_home, fake, folder, seed):
    """A life of builds, wakes, deploys and stops by hand while every tenth call fails somehow. Whatever is refused says so and
    changes nothing; nothing hangs; when the engine is well again, so is everything."""
    dice = random.Random(seed)
    box = new_home(fake, {"app_config": {"container": {"idle_shutdown_secs": 1, "idle_action": dice.choice(["pause", "stop"])}}}).start()
    source = folder({**FILES, "version": "0"})
    create(box, "/x", source=source)
    create(box, "/y")
    fake.faults(*({"call": c, "p": 0.03, **f} for f in FAULTS for c in [*CALLS, "build"]), seed=seed)
    deployed = 0
    with Traffic(box, "/y/json", pause=0.3) as traffic:
        for step in range(12):
            match dice.randrange(5):
                case 0 | 1:
                    folder({"Containerfile": FILES["Containerfile"] + f"ENV VERSION={step + 1}\n"})
                    if box.try_cli("app", "reload", "--promote", "/x").code == 0:
                        deployed = step + 1
                case 2:
                    names = list(fake.containers(box.home))
                    if names:
                        verb = dice.choice(["kill", "stop", "pause", "remove"])
                        try:
                            fake.by_hand(verb, dice.choice(names), force="1")
                        except AssertionError:
                            pass   # its state forbids it
                case 3:
                    r = box.get("/x/json")
                    assert r.status_code in (200, 500, 502, 503, 504)
                case 4:
                    time.sleep(dice.uniform(0.8, 1.3))
    assert set(traffic.answers) <= {200, 500, 502, 503, 504} and traffic.longest < 60
    fake.faults()
    assert served(box, "/x")["env"].get("VERSION", "0") == str(deployed)
    served(box, "/y")
    no_leaks(box, fake)


# --- by somebody else's hand ---

@pytest.mark.parametrize("deeds", [["kill"], ["stop"], ["restart"], ["pause"], ["pause", "unpause"], ["remove"],
                                   ["kill", "remove"], ["kill", "start"]] if ALL else [["pause"], ["kill", "remove"]], ids="-".join)
def test_container_changed_by_hand(box, fake, deeds):
    create(box, "/x")
    served(box)
    name, = fake.containers(box.home)
    for deed in deeds:
        fake.by_hand(deed, name, force="1")
    served(box, timeout=30)
    assert len(fake.containers(box.home, "running")) == 1
    for _ in range(20):
        assert box.get("/x/json").status_code == 200
    no_leaks(box, fake)


def in_flight(pool, box, fake, *asks):
    """Sends them, and returns their futures when all have arrived."""
    name, = fake.containers(box.home)
    c = fake.containers()[name]
    slow = f"/x/slow?ms=600000&run={c['id']}.{c['starts']}"   # in this run only
    futures = [pool.submit(box.request, method, slow, timeout=90, **more) for method, more in asks]
    wait_for(lambda: fake.containers()[name]["requests"] == c["requests"] + len(asks), "the requests to arrive")
    return futures


@pytest.mark.parametrize("deeds", [["kill"], ["remove"], ["pause", "kill"]], ids="-".join)
def test_container_that_vanishes_with_its_network(box, fake, deeds):
    """Nobody closes its connections. What is in flight ends with it: it is repeated where that is harmless, else answered
    with 502; what was pooled is used for nothing more."""
    create(box, "/x")
    served(box)
    name, = fake.containers(box.home)
    fake.ask("set", name=name, values={"vanishes": True})
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: box.get("/x/slow?ms=200"), range(8)))   # connections for the pool
        asks = [("GET", {}), ("GET", {}), ("PUT", {}), ("POST", {}), ("POST", {"data": b"x" * 1000}), ("PUT", {"data": b"x"})]
        futures = in_flight(pool, box, fake, *asks)
        for deed in deeds:
            fake.by_hand(deed, name, force="1")
        answers = [f.result() for f in futures]
        again = list(pool.map(lambda _: box.get("/x/json"), range(20)))
    lost = "the application has ended before it answered"
    starts = 1 if "remove" in deeds else 2    # of the container that is there now
    assert [(r.status_code, r.json()["start"] if r.status_code == 200 else r.text.strip()) for r in answers[:3] + again] == [(200, starts)] * 23
    assert [r.status_code for r in answers[3:]] == [502] * 3 and all(lost in r.text for r in answers[3:])
    no_leaks(box, fake)


def test_container_paused_by_hand_with_requests_in_flight(box, fake):
    """They are as good a reason to wake it as the next one; when it does not wake they end."""
    create(box, "/x")
    served(box)
    name, = fake.containers(box.home)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        future = pool.submit(box.get, "/x/slow?ms=1000")
        wait_for(lambda: fake.containers()[name]["requests"] == 2, "the request to arrive")
        fake.by_hand("pause", name)
        assert future.result().json()["start"] == 1
        assert fake.containers()[name]["status"] == "running"
        fake.faults({"call": "unpause", "status": 500, "message": "cannot thaw"})
        futures = in_flight(pool, box, fake, ("GET", {}), ("POST", {}))
        fake.by_hand("pause", name)
        for f in futures:
            assert f.result().status_code in (500, 502, 503)
    fake.faults()
    served(box)
    no_leaks(box, fake)


def test_image_removed_behind_our_back(box, fake, folder):
    create(box, "/x", source=folder(FILES))
    served(box)
    image, = (i for i in fake.images() if i.startswith("cli-"))

    def removed():
        """The container may be mended at once, and then the image is in use again."""
        try:
            for name in fake.containers(box.home):
                fake.by_hand("remove", name, force="1")
            fake.by_hand("image_remove", image)
        except AssertionError:
            return False
        return True
    wait_for(removed, "the image to go")
    served(box)
    assert fake.calls()["build"] >= 2, "it is built again"


def test_port_that_is_taken(box, fake):
    """The engine cannot bind the port: the operator is told its words, and the next try works."""
    create(box, "/x")
    message = "driver failed programming external connectivity: Bind for 127.0.0.1:32768 failed: port is already allocated"
    fake.faults({"call": "start", "status": 500, "message": message})
    assert box.get("/x/json").status_code in (500, 502, 503)
    assert "port is already allocated" in box.fails("app", "reload", "/x")
    fake.faults()
    box.cli("app", "reload", "/x")
    served(box)
    no_leaks(box, fake)


@pytest.mark.parametrize("skew", [-86400, 86400], ids=["back", "forward"])
def test_engine_whose_clock_jumps(box, fake, skew):
    create(box, "/x")
    served(box)
    name, = fake.containers(box.home)
    fake.ask("skew", seconds=skew)
    for deed in (["kill"], ["pause"], ["remove"]):
        fake.by_hand(*deed, name, force="1")
        assert served(box, timeout=60)["env"]["CL_APP_PATH"] == "/x"
    no_leaks(box, fake)


# --- builds ---

def test_full_disk_in_a_build(box, fake, folder):
    create(box, "/x", source=folder(FILES))
    fake.faults({"call": "build", "status": 500, "message": "write /layer: no space left on device"})
    assert box.get("/x/json").status_code in (500, 502, 503)
    error = box.fails("app", "reload", "/x")
    assert "no space left on device" in error and "disk of the container engine is full" in error and "openrun container prune" in error
    fake.faults()
    box.cli("app", "reload", "/x")
    served(box)


# --- kill -9 at each phase of a deploy ---

PHASES = [("build", "before"), ("build", "after"), ("create", "before"), ("create", "after"), ("start", "before"), ("start", "after"),
          ("inspect", "before"), ("publish", None), ("published", None)]
PHASES = PHASES if ALL else [("build", "before"), ("create", "after"), ("published", None)]


@pytest.mark.parametrize("call, when", PHASES, ids=[f"{c}-{w}" if w else c for c, w in PHASES])
def test_server_killed_in_a_deploy(box, fake, folder, call, when):
    """kill -9 while `reload --promote` is at this call: after the start the old or the new version is served, the deploy can be
    done again, and nothing is left when the app goes."""
    create(box, "/x", source=folder({"Containerfile": FILES["Containerfile"] + "ENV VERSION=1\n"}))
    assert served(box)["env"]["VERSION"] == "1"
    folder({"Containerfile": FILES["Containerfile"] + "ENV VERSION=2\n"})
    if when:
        before = fake.calls()[call]
        fake.faults({"call": call, "hang": True} if when == "before" else {"call": call, "after_ms": 600000})
        deploy = threading.Thread(target=box.try_cli, args=("app", "reload", "--promote", "/x"))
        deploy.start()
        wait_for(lambda: fake.calls()[call] > before, f"the call of {call}")
        box.kill()
        deploy.join()
        fake.faults()
    else:
        box.die_at(f"{call}:1", "app", "reload", "--promote", "/x")
    box.start()
    assert served(box)["env"]["VERSION"] in ("1", "2")
    box.cli("app", "reload", "--promote", "/x")
    assert served(box)["env"]["VERSION"] == "2"
    assert served(box, host="stage.localhost")["env"]["VERSION"] == "2"
    if when:   # else the sweep ends it, some minutes later: the server that knew of it is gone
        wait_for(lambda: len(fake.containers(box.home, "running")) <= 2, "one container of production and one of stage")
    no_leaks(box, fake)
