"""The fake engine against the real one: the same calls get the same statuses, and answers that look alike where we read them."""
# SPDX-License-Identifier: Apache-2.0
import http.client
import json
import re
import socket
import threading
import urllib.parse

import pytest

import engines
import fake_engine

IMAGE = "openrun-test/webapp:latest"


class Client:
    """Calls to an engine's socket; `answers` keeps (call, status, shape) of each."""

    def __init__(self, path):
        self.path, self.answers = path, []

    def connect(self):
        c = http.client.HTTPConnection("engine", timeout=120)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(120)
        c.sock.connect(self.path)
        return c

    def call(self, method, path, body=None, keys=()):
        c = self.connect()
        c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        r = c.getresponse()
        data = r.read()
        c.close()
        answer = data
        if r.status not in (204, 304) and data[:1] in (b"{", b"["):
            answer = json.loads(data)
        if r.status >= 400:
            keys = ("message",)
        # A state that forbids the call is 409 or 500, as the version has it.
        self.answers.append((method, path, "refused" if r.status in (409, 500) else r.status, {k: shape(answer, k) for k in keys}))
        return answer


def shape(answer, key):
    """What is at a.b.0.c: its type, and for words of the engine's own the word."""
    for part in key.split("."):
        if isinstance(answer, list):
            answer = answer[int(part)] if len(answer) > int(part) else None
        else:
            answer = answer.get(part) if isinstance(answer, dict) else None
    if key.endswith(("Status", "State")) or isinstance(answer, bool):
        return answer
    if isinstance(answer, str):
        return "time" if re.match(r"\d{4}-\d\d-\d\dT[0-9:.]+Z$", answer) else "text" if answer else "empty"
    return type(answer).__name__


def volumes(e, label, filters):
    """One that a container has, one that none has."""
    names, one = ("clv-openrun-contract-1", "clv-openrun-contract-2"), "/containers/clc-openrun-contract-v"
    unused = urllib.parse.quote(json.dumps({"dangling": ["true"]}))

    def listed(query):
        found = e.call("GET", "/volumes?filters=" + query)["Volumes"] or []
        ours = {v["Name"]: shape(v, "CreatedAt") for v in found if v["Name"] in names and v["Labels"] == {label: "yes"}}
        e.answers.append(("volumes", sorted(ours.items())))
    before = len(e.answers)
    e.call("DELETE", one + "?force=true")
    for name in names:
        e.call("DELETE", "/volumes/" + name)
    del e.answers[before:]
    e.call("DELETE", "/volumes/" + names[0])
    for name in names:
        e.call("POST", "/volumes/create", {"Name": name, "Labels": {label: "yes"}}, keys=("Name", "Labels." + label))
    e.call("POST", "/volumes/create", {"Name": names[0], "Labels": {label: "no"}}, keys=("Name",))   # stays as it is
    e.call("POST", "/containers/create?name=clc-openrun-contract-v", {"Image": IMAGE, "HostConfig": {
        "Mounts": [{"Type": "volume", "Source": names[0], "Target": "/x"}]}})
    listed(filters)
    listed(unused)
    e.call("DELETE", "/volumes/" + names[0])
    e.call("DELETE", "/volumes/" + names[1])
    listed(filters)
    e.call("DELETE", one + "?force=true")
    e.call("DELETE", "/volumes/" + names[0])
    listed(filters)


def drive(path):
    """All that src/container/api.c asks of an engine, in every state of a container."""
    e = Client(path)
    name, label = "clc-openrun-contract", "openrun-contract"
    inspect = ("Id", "Name", "Created", "Path", "Image", "RestartCount", "State.Status", "State.ExitCode", "State.OOMKilled",
               "State.Error", "State.StartedAt", "State.FinishedAt", "Config.Image", "Config.Labels." + label,
               "HostConfig.NetworkMode", "NetworkSettings.Ports.8080/tcp.0.HostIp", "NetworkSettings.Ports.8080/tcp.0.HostPort",
               "Mounts.0.Type", "Mounts.0.Source", "Mounts.0.Destination", "Mounts.0.RW")
    filters = urllib.parse.quote(json.dumps({"label": [label + "=yes"]}))
    one = f"/containers/{name}"
    e.call("DELETE", one + "?force=true")
    e.answers.clear()
    e.call("GET", "/_ping")
    e.call("GET", "/version", keys=("Version",))
    e.call("GET", "/info", keys=("DockerRootDir",))
    e.call("GET", "/networks/bridge", keys=("IPAM.Config.0.Subnet",))
    e.call("GET", "/networks/openrun-none")
    e.call("GET", f"/images/{IMAGE}/json", keys=("Id", "Config", "Created", "Size", "RepoTags.0"))
    e.call("GET", "/images/openrun-none:1/json")
    e.call("DELETE", "/images/openrun-none:1")
    e.call("GET", "/images/json?filters=" + filters)
    for verb, target in (("GET", "/json"), ("GET", "/logs?stdout=1&tail=1"), ("GET", "/stats?stream=false&one-shot=true"),
                         ("POST", "/start"), ("POST", "/stop?t=1"), ("POST", "/kill"), ("POST", "/pause"), ("POST", "/unpause"),
                         ("DELETE", "?force=true")):
        e.call(verb, one + target)
    spec = {"Image": IMAGE, "Env": ["PORT=8080"], "Labels": {label: "yes"}, "ExposedPorts": {"8080/tcp": {}}, "HostConfig": {
        "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/host", "ReadOnly": True}]}}
    e.call("POST", "/containers/create?name=" + name, {**spec, "Image": "openrun-none:1"})
    e.call("POST", "/containers/create?name=" + name, spec, keys=("Id",))
    e.call("POST", "/containers/create?name=" + name, spec)

    # The stream is open when its head is here.
    stream = e.connect()
    stream.request("GET", "/events?filters=" + urllib.parse.quote(json.dumps({"label": [label + "=yes"], "type": ["container"]})))
    response = stream.getresponse()
    events = []

    def follow():
        for line in response:
            event = json.loads(line)
            events.append(event)
            if event["Action"] == "destroy":
                return
    follower = threading.Thread(target=follow)
    follower.start()

    def everything():
        e.call("GET", one + "/json", keys=inspect)
        e.call("GET", f"/containers/json?all=1&filters={filters}", keys=("0.Id", "0.Names.0", "0.Image", "0.ImageID", "0.Created",
                                                                        "0.State", "0.Labels." + label))
        e.call("GET", f"/containers/json?all=0&filters={filters}", keys=("0.State",))
    everything()
    for verb in ("pause", "unpause", "kill", "stop?t=1"):       # created
        e.call("POST", f"{one}/{verb}")
    e.call("POST", one + "/start")
    everything()
    e.call("GET", f"/containers/json?filters={filters}", keys=("0.Ports.0.IP", "0.Ports.0.PrivatePort", "0.Ports.0.PublicPort",
                                                             "0.Ports.0.Type"))
    e.call("GET", one + "/stats?stream=false&one-shot=true", keys=("cpu_stats.cpu_usage.total_usage", "memory_stats.usage",
           "memory_stats.limit", "pids_stats.current", "networks.eth0.rx_bytes", "networks.eth0.tx_bytes"))
    for verb in ("start", "unpause", "pause"):                  # running
        e.call("POST", f"{one}/{verb}")
    everything()
    for verb in ("pause", "start", "unpause"):                  # paused
        e.call("POST", f"{one}/{verb}")
    e.call("DELETE", one)                                       # running, without force
    e.call("POST", one + "/stop?t=1")
    everything()
    for verb in ("pause", "unpause", "kill", "stop?t=1"):       # exited
        e.call("POST", f"{one}/{verb}")
    e.call("POST", one + "/start")
    e.call("POST", one + "/kill")
    e.call("POST", one + "/wait", keys=("StatusCode",))
    everything()
    log = e.call("GET", one + "/logs?stdout=1&stderr=1&tail=1&timestamps=1")
    e.answers.append(("log", bool(re.match(rb"[\x01\x02]\0\0\0....\d{4}-\d\d-\d\dT[0-9:.]+Z \S", log, re.S)), log.count(b"\n")))
    e.call("POST", one + "/start")
    e.call("DELETE", one + "?force=true")
    follower.join(60)
    stream.close()
    volumes(e, label, filters)
    ours = ("create", "start", "die", "pause", "unpause", "destroy")
    e.answers += [("event", x["Action"], x["Type"], x["Actor"]["Attributes"]["name"], type(x["timeNano"]).__name__)
                  for x in events if x["Action"] in ours]
    return e.answers


def test_answers_are_those_of_docker(tmp_path, docker):
    engines.ensure(docker, IMAGE)
    real = drive("/var/run/docker.sock")
    with fake_engine.FakeEngine(tmp_path / "engine") as fake:
        pretended = drive(fake.socket)
    assert len(real) == len(pretended)
    for r, f in zip(real, pretended):
        assert f == r


@pytest.fixture
def fake(tmp_path):
    with fake_engine.FakeEngine(tmp_path / "engine") as fake:
        yield fake


def test_faults_are_as_told(fake):
    e = Client(fake.socket)
    for rule, expected in (({"call": "ping", "status": 500, "message": "no"}, "refused"), ({"call": "ping", "drop": "before"}, None),
                           ({"call": "ping", "before_ms": [1, 5], "times": 1}, 200), ({"call": "version", "status": 500}, 200)):
        fake.faults(rule)
        try:
            e.call("GET", "/_ping")
            status = e.answers[-1][2]
        except http.client.RemoteDisconnected:
            status = None
        assert status == expected, rule
    fake.faults({"call": "ping", "p": 0.5, "status": 500}, seed=7)
    first = [(e.call("GET", "/_ping"), e.answers[-1][2])[1] for _ in range(50)]
    fake.faults({"call": "ping", "p": 0.5, "status": 500}, seed=7)
    assert [(e.call("GET", "/_ping"), e.answers[-1][2])[1] for _ in range(50)] == first, "a seed gives the same faults"
    assert {200, "refused"} == set(first)


def test_its_end(fake):
    e = Client(fake.socket)
    fake.down()
    with pytest.raises(ConnectionRefusedError):
        e.call("GET", "/_ping")
    fake.up()
    assert e.call("GET", "/_ping") == b"OK"
