"""A container engine that only pretends: Docker's HTTP API on a unix socket, with faults on demand.

Its containers are ports of its own process that answer HTTP, its images are rows in a table. It starts one in half a
millisecond, thousands fit in one process, and any call can be made slow, fail, be cut off or hang. test_fake_engine.py
holds it to what the real one does.

    fake_engine.py serve SOCKET             the engine; control on SOCKET.control, one JSON object per line
    fake_engine.py program SOCKET ARGS...   stands in for the docker program: --version, build, pull

In tests: `with FakeEngine(folder) as fake`; `fake.command` and `fake.env` are for the server under test. What it can do is
in the methods of FakeEngine; a rule of `faults()` is in Rule. What a container does at its start is in its environment,
as in tests/images/webapp.c: START_DELAY_MS, EXIT_CODE, NO_LISTEN, HEALTH_STATUS, CRASH_AFTER_MS, and SAYS (its last words)."""
# SPDX-License-Identifier: Apache-2.0
import asyncio
import collections
import contextlib
import fnmatch
import hashlib
import json
import os
import pathlib
import random
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

LOG_MAX = 1 << 20   # bytes kept of what a container has written
REASONS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 404: "Not Found",
           409: "Conflict", 500: "Internal Server Error"}


class Refused(Exception):
    """An answer with this status and the engine's message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status, self.message = status, message


class Rule:
    """One kind of fault. `call` and `name` are patterns of the call (create, start, inspect, image_list ...) and of the
    container's or image's name; it applies with probability `p`, at most `times` times, not to the first `skip`.

    before_ms, after_ms   waits, a number or [least, most], before and after the call is done
    status, message       answers so, and does nothing
    drop                  "before" or "after" the call is done: closes the connection without an answer
    hang                  does nothing until the connection is closed or faults are set anew"""

    def __init__(self, spec, seed):
        self.spec, self.random = spec, random.Random(f"{seed}{json.dumps(spec, sort_keys=True)}")
        self.left, self.skip = spec.get("times", 1 << 60), spec.get("skip", 0)

    def applies(self, call, name):
        s = self.spec
        if not fnmatch.fnmatch(call, s.get("call", "*")) or not fnmatch.fnmatch(name or "", s.get("name", "*")):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.left <= 0 or self.random.random() >= s.get("p", 1):
            return False
        self.left -= 1
        return True

    def wait_s(self, key):
        ms = self.spec.get(key, 0)
        return (self.random.uniform(*ms) if isinstance(ms, list) else ms) / 1000


def rfc3339(t):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t % 1 * 1e9):09d}Z" if t else "0001-01-01T00:00:00Z"


class Container:
    def __init__(self, engine, name, spec, image):
        self.engine, self.name, self.spec, self.image = engine, name, spec, image
        self.id = os.urandom(32).hex()
        config = image["Config"]
        self.env = dict(e.split("=", 1) for e in [*config.get("Env", []), *(spec.get("Env") or [])])
        self.labels = {**config.get("Labels", {}), **(spec.get("Labels") or {})}
        self.created, self.started, self.finished = time.time(), 0, 0
        self.status, self.exit_code, self.error = "created", 0, ""
        self.log = collections.deque()   # (time, stream, text)
        self.log_bytes = 0
        self.starts = self.requests = self.probes = 0
        self.memory, self.cpu_ns = 32 << 20, 0
        self.server, self.port, self.tasks, self.connections = None, 0, set(), set()
        self.gate = asyncio.Event()      # open while it is not paused
        self.vanishes = False            # its connections do not end with it: they say nothing more
        self.ended = asyncio.Event()

    def say(self, text, stream=1):
        for line in text.splitlines():
            self.log.append((time.time(), stream, line[:16384]))
            self.log_bytes += len(line[:16384])
        while self.log_bytes > LOG_MAX:
            self.log_bytes -= len(self.log.popleft()[2])

    def later(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self):
        ports = self.spec.get("HostConfig", {}).get("PortBindings") or {}
        wanted = next((b[0] for b in ports.values() if b), None)
        if wanted is not None:
            try:
                self.server = await asyncio.start_server(self.serve, "127.0.0.1", int(wanted.get("HostPort") or 0), backlog=4096)
            except OSError as e:
                raise Refused(500, f"driver failed programming external connectivity: Bind for 127.0.0.1:{wanted['HostPort']} "
                                   f"failed: port is already allocated ({e.strerror})") from None
            self.port = self.server.sockets[0].getsockname()[1]
        self.status, self.started, self.exit_code = "running", time.time(), 0
        self.ready_at = time.monotonic() + int(self.env.get("START_DELAY_MS", 0)) / 1000
        self.starts += 1
        self.gate.set()
        self.ended.clear()
        self.say("webapp: starting")
        self.engine.event(self, "start")
        if "EXIT_CODE" in self.env:
            self.say(self.env.get("SAYS", "webapp: told to fail"), 2)
            self.later(self.end(int(self.env["EXIT_CODE"])))
        elif "CRASH_AFTER_MS" in self.env:
            self.later(self.end(1, after=int(self.env["CRASH_AFTER_MS"]) / 1000))

    async def end(self, code, after=0):
        await asyncio.sleep(after)
        if self.status not in ("running", "paused"):
            return
        self.status, self.exit_code, self.finished = "exited", code, time.time()
        if self.server:
            self.server.close()
        self.server, self.port = None, 0
        for writer in list(self.connections):
            if not self.vanishes:
                writer.transport.abort()
        mine = asyncio.current_task()
        for task in list(self.tasks):
            if task is not mine:
                task.cancel()
        self.ended.set()
        self.engine.event(self, "die", exitCode=str(code))

    # --- the app in it ---

    async def serve(self, reader, writer):
        """As the engine's proxy does, takes connections before the app listens, and closes those then."""
        if self.env.get("NO_LISTEN") or time.monotonic() < self.ready_at:
            writer.transport.abort()
            return
        self.connections.add(writer)
        run = self.starts
        try:
            while True:
                await self.alive(run)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                await self.alive(run)
                first, *lines = head.split("\r\n")
                method, target, _ = first.split(" ", 2)
                fields = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines if ":" in x)}
                body = await self.body(reader, fields)
                is_probe = fields.get("user-agent") == "openrun-probe"
                self.probes += is_probe
                self.requests += not is_probe
                status, text = await self.answer(method, target, fields, body)
                await self.alive(run)
                data = text.encode()
                keep = "close" not in fields.get("connection", "").lower()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
                             f"{'' if keep else 'Connection: close' + chr(13) + chr(10)}\r\n".encode() + data)
                await writer.drain()
                if not keep:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self.connections.discard(writer)
            writer.close()

    async def alive(self, run):
        """Returns when that run goes on; never, once it has ended."""
        await self.gate.wait()
        if self.starts != run or self.status not in ("running", "paused"):
            await asyncio.Event().wait()

    @staticmethod
    async def body(reader, fields):
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
            return body
        return await reader.readexactly(int(fields.get("content-length", 0)))

    async def answer(self, method, target, fields, body):
        path, _, query = target.partition("?")
        args = dict(urllib.parse.parse_qsl(query))
        run = f"{self.id}.{self.starts}"
        if path == "/slow" and args.get("run", run) == run:
            await asyncio.sleep(int(args.get("ms", 100)) / 1000)
        if path == "/exit":
            self.later(self.end(int(args.get("code", 1))))
            await asyncio.sleep(60)
        if path == "/log":
            self.say("\n".join(f"line {i}" for i in range(int(args.get("n", 1)))))
        if path.startswith("/status/"):
            return int(path[8:]), "{}"
        if path == "/health":
            return int(self.env.get("HEALTH_STATUS", 200)), "{}"
        return 200, json.dumps({"method": method, "path": path, "query": query, "container": self.name, "start": self.starts,
                                "headers": fields, "body_bytes": len(body), "env": self.env})


class Engine:
    """The state and the calls. A call is a method `do_<name>`; it gives (status, answer)."""

    def __init__(self):
        self.containers, self.images, self.volumes = {}, {}, {}
        self.rules, self.calls, self.journal = [], collections.Counter(), collections.deque(maxlen=100000)
        self.streams, self.history = set(), collections.deque(maxlen=10000)
        self.released = asyncio.Event()
        self.skew_s = 0
        self.bases = {"scratch", "alpine:latest", "openrun-test/webapp:latest"}
        self.add_image("openrun-test/webapp:latest", {"ExposedPorts": {"8080/tcp": {}}, "Cmd": ["/webapp"]}, 2 << 20)

    def add_image(self, name, config, size, created=None):
        id = "sha256:" + hashlib.sha256(f"{name}{os.urandom(8)}".encode()).hexdigest()
        self.images[name] = {"Id": id, "RepoTags": [name], "RepoDigests": [], "Created": created or time.time(), "Size": size,
                             "Config": {"Env": [], "Labels": {}, "ExposedPorts": {}, **config}}

    # --- finding ---

    def container(self, name):
        found = self.containers.get(name)
        if not found:
            by_id = [c for c in self.containers.values() if c.id.startswith(name)] if len(name) >= 4 else []
            found = by_id[0] if len(by_id) == 1 else None
        if not found:
            raise Refused(404, f"No such container: {name}")
        return found

    def image(self, name):
        full = name if ":" in name.rpartition("/")[2] or name.startswith("sha256:") else name + ":latest"
        for i in self.images.values():
            if full in i["RepoTags"] or i["Id"] == name:
                return i
        raise Refused(404, f"No such image: {full}")

    @staticmethod
    def matches(labels, filters):
        for f in filters.get("label", []):
            key, has_value, value = f.partition("=")
            if key not in labels or (has_value and labels[key] != value):
                return False
        return True

    def event(self, c, action, **more):
        now = time.time_ns() + self.skew_s * 10**9
        e = {"status": action, "id": c.id, "from": c.spec.get("Image"), "Type": "container", "Action": action, "scope": "local",
             "Actor": {"ID": c.id, "Attributes": {"name": c.name, "image": c.spec.get("Image"), **c.labels, **more}},
             "time": now // 10**9, "timeNano": now}
        self.history.append(e)
        for stream in list(self.streams):
            stream(e)

    # --- calls about the engine ---

    async def do_ping(self, q):
        return 200, "OK"

    async def do_version(self, q):
        return 200, {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "amd64"}

    async def do_info(self, q):
        return 200, {"DockerRootDir": "/var/lib/fake", "ServerVersion": "20.10.24", "Containers": len(self.containers)}

    async def do_network(self, q, name):
        if name != "bridge":
            raise Refused(404, f"network {name} not found")
        return 200, {"Name": name, "IPAM": {"Config": [{"Subnet": "198.51.100.0/24"}]}}   # nobody's (RFC 5737)

    async def do_volume_create(self, q, body):
        v = self.volumes.setdefault(body["Name"], {"Name": body["Name"], "Labels": body.get("Labels"),
                                                 "CreatedAt": rfc3339(time.time())})
        return 201, v

    async def do_volume_list(self, q):
        filters = json.loads(q.get("filters", "{}"))
        used = {m["Source"] for c in self.containers.values() for m in (c.spec.get("HostConfig") or {}).get("Mounts") or []}
        return 200, {"Warnings": None, "Volumes": [v for v in self.volumes.values() if self.matches(v["Labels"] or {}, filters)
                                                   and not (filters.get("dangling") == ["true"] and v["Name"] in used)]}

    async def do_volume_remove(self, q, name):
        if name not in self.volumes:
            raise Refused(404, f"get {name}: no such volume")
        for c in self.containers.values():
            if any(m["Source"] == name for m in (c.spec.get("HostConfig") or {}).get("Mounts") or []):
                raise Refused(409, f"remove {name}: volume is in use - [{c.id}]")
        del self.volumes[name]
        return 204, None

    # --- calls about images ---

    async def do_image_inspect(self, q, name):
        return 200, self.image(name) | {"Created": rfc3339(self.image(name)["Created"])}

    async def do_image_list(self, q):
        filters = json.loads(q.get("filters", "{}"))
        return 200, [{"Id": i["Id"], "RepoTags": i["RepoTags"], "RepoDigests": i["RepoDigests"], "Created": int(i["Created"]),
                      "Size": i["Size"], "Labels": i["Config"]["Labels"]}
                     for i in self.images.values() if self.matches(i["Config"]["Labels"], filters)]

    async def do_image_remove(self, q, name):
        image = self.image(name)
        user = next((c for c in self.containers.values() if c.image is image), None)
        if user:
            raise Refused(409, f"conflict: unable to remove repository reference \"{name}\" (must force) - container "
                               f"{user.id[:12]} is using its referenced image {image['Id'][7:19]}")
        for tag in image["RepoTags"]:
            del self.images[tag]
        return 200, [{"Untagged": name}, {"Deleted": image["Id"]}]

    # --- calls about containers ---

    async def do_create(self, q, body):
        name = q["name"]
        if name in self.containers:
            raise Refused(409, f"Conflict. The container name \"/{name}\" is already in use by container "
                               f"\"{self.containers[name].id}\". You have to remove (or rename) that container to be able to "
                               "reuse that name.")
        c = Container(self, name, body, self.image(body["Image"]))
        for m in body.get("HostConfig", {}).get("Mounts") or []:
            if m["Type"] == "bind" and not os.path.exists(m["Source"]):
                raise Refused(400, f"invalid mount config for type \"bind\": bind source path does not exist: {m['Source']}")
        self.containers[name] = c
        self.event(c, "create")
        return 201, {"Id": c.id, "Warnings": []}

    async def do_start(self, q, name):
        c = self.container(name)
        if c.status == "paused":
            raise Refused(409, "cannot start a paused container, try unpause instead")
        if c.status == "running":
            return 304, None
        try:
            await c.start()
        except Refused as e:
            c.error, c.exit_code = e.message, 128
            raise
        return 204, None

    async def do_stop(self, q, name):
        c = self.container(name)
        if c.status not in ("running", "paused"):
            return 304, None
        c.gate.set()
        await c.end(137 if c.status == "paused" else 143)
        self.event(c, "stop")
        return 204, None

    async def do_restart(self, q, name):
        await self.do_stop(q, name)
        return await self.do_start(q, name)

    async def do_kill(self, q, name):
        c = self.container(name)
        if c.status not in ("running", "paused"):
            raise Refused(409, f"Cannot kill container: {name}: Container {c.id} is not running")
        await c.end(137)
        return 204, None

    async def do_pause(self, q, name):
        c = self.container(name)
        if c.status != "running":
            why = "already paused" if c.status == "paused" else "not running"
            raise Refused(409, f"Container {c.id} is {why}")
        c.status = "paused"
        c.gate.clear()
        self.event(c, "pause")
        return 204, None

    async def do_unpause(self, q, name):
        c = self.container(name)
        if c.status != "paused":
            raise Refused(500, f"Container {c.id} is not paused")
        c.status = "running"
        c.gate.set()
        self.event(c, "unpause")
        return 204, None

    async def do_remove(self, q, name):
        c = self.container(name)
        if c.status in ("running", "paused"):
            if q.get("force") not in ("1", "true"):
                raise Refused(409, f"You cannot remove a {c.status} container {c.id}. Stop the container before attempting "
                                   "removal or force remove")
            await c.end(137)
        self.containers.pop(c.name, None)
        self.event(c, "destroy")
        return 204, None

    async def do_inspect(self, q, name):
        c = self.container(name)
        exposed = c.image["Config"]["ExposedPorts"] | (c.spec.get("ExposedPorts") or {})
        bound = c.spec.get("HostConfig", {}).get("PortBindings") or {}
        is_up = c.status in ("running", "paused")
        ports = {p: [{"HostIp": "127.0.0.1", "HostPort": str(c.port)}] if p in bound else None for p in exposed} if is_up else {}
        command = c.spec.get("Cmd") or c.image["Config"].get("Cmd") or ["/webapp"]
        return 200, {
            "Id": c.id, "Name": "/" + c.name, "Created": rfc3339(c.created), "Path": command[0], "Args": command[1:],
            "Image": c.image["Id"], "RestartCount": 0, **({"SizeRw": 4096, "SizeRootFs": 1 << 20} if q.get("size") == "true" else {}),
            "State": {"Status": c.status, "Running": is_up, "Paused": c.status == "paused", "OOMKilled": False,
                      "ExitCode": c.exit_code, "Error": c.error, "StartedAt": rfc3339(c.started),
                      "FinishedAt": rfc3339(c.finished)},
            "Config": {"Image": c.spec["Image"], "Labels": c.labels, "Env": [f"{k}={v}" for k, v in c.env.items()]},
            "HostConfig": {"NetworkMode": "default", **c.spec.get("HostConfig", {})},
            "Mounts": [{"Type": m["Type"], "Name": m["Source"] if m["Type"] == "volume" else "", "Source": m["Source"],
                        "Destination": m["Target"], "RW": not m.get("ReadOnly")}
                       for m in c.spec.get("HostConfig", {}).get("Mounts") or []],
            "NetworkSettings": {"Ports": ports, "IPAddress": "198.51.100.2" if is_up else "", "Networks": {}}}

    async def do_list(self, q):
        filters, everything = json.loads(q.get("filters", "{}")), q.get("all") in ("1", "true")
        rows = []
        for c in reversed(self.containers.values()):
            is_up = c.status in ("running", "paused")
            if (is_up or everything) and self.matches(c.labels, filters):
                ports = [{"IP": "127.0.0.1", "PrivatePort": 8080, "PublicPort": c.port, "Type": "tcp"}] if c.port else []
                rows.append({"Id": c.id, "Names": ["/" + c.name], "Image": c.spec["Image"], "ImageID": c.image["Id"],
                             "Created": int(c.created), "Ports": ports, "Labels": c.labels, "State": c.status, "Status": c.status})
        return 200, rows

    async def do_logs(self, q, name):
        c = self.container(name)
        since, times = float(q.get("since", 0)), q.get("timestamps") in ("1", "true")
        tail = q.get("tail", "all")
        lines = [x for x in c.log if x[0] > since]
        out = b""
        for t, stream, text in lines if tail == "all" else lines[-int(tail):]:
            data = ((rfc3339(t) + " " if times else "") + text + "\n").encode()
            out += bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        return 200, out

    async def do_stats(self, q, name):
        c = self.container(name)
        is_up = c.status in ("running", "paused")
        memory = {"usage": c.memory, "limit": 1 << 30, "stats": {"inactive_file": 0}} if is_up else {}
        cpu = {"cpu_usage": {"total_usage": c.cpu_ns}, "system_cpu_usage": time.monotonic_ns(), "online_cpus": 2}
        return 200, {"id": c.id, "name": "/" + c.name, "cpu_stats": cpu, "precpu_stats": {"cpu_usage": {"total_usage": 0}},
                     "memory_stats": memory, "pids_stats": {"current": 1} if is_up else {},
                     "networks": {"eth0": {"rx_bytes": 1000 * c.requests, "tx_bytes": 2000 * c.requests}},
                     "blkio_stats": {"io_service_bytes_recursive": None}}

    async def do_wait(self, q, name):
        c = self.container(name)
        while c.status in ("running", "paused"):
            await c.ended.wait()
        return 200, {"StatusCode": c.exit_code}

    # --- the program ---

    def build(self, argv, cwd, env, say):
        """`docker build`, as far as a Containerfile of tests needs: no layers, only what the image will say."""
        words = iter(argv)
        tag, file, args, labels = None, "Dockerfile", {}, {}
        for w in words:
            if w == "-t":
                tag = next(words)
            elif w == "-f":
                file = next(words)
            elif w in ("--build-arg", "--label"):
                key, eq, value = next(words).partition("=")
                (args if w == "--build-arg" else labels)[key] = value if eq else env.get(key, "")
        path = pathlib.Path(cwd, file)
        config = {"Env": [], "Labels": labels, "ExposedPorts": {}, "Cmd": ["/webapp"]}
        size = sum(f.stat().st_size for f in pathlib.Path(cwd).rglob("*") if f.is_file())
        for number, line in enumerate(path.read_text().splitlines(), 1):
            word, _, rest = line.strip().partition(" ")
            say(f"Step {number} : {line}")
            match word.upper():
                case "" | "#":
                    pass
                case "FROM":
                    base = rest.split()[0]
                    if base not in self.bases and base not in self.images:
                        say(f"failed to solve with frontend dockerfile.v0: failed to create LLB definition: {base}: failed to do "
                            f"request: Head \"https://registry.test/v2/{base}\": dial tcp: lookup registry.test: no such host")
                        return 1
                case "EXPOSE":
                    config["ExposedPorts"][rest.split("/")[0] + "/tcp"] = {}
                case "ENV":
                    config["Env"] += [f"{k}={v}" for k, v in (x.split("=", 1) for x in shlex.split(rest))]
                case "RUN" if rest == "false":
                    say("executor failed running [/bin/sh -c false]: exit code: 1")
                    return 1
                case "COPY" | "ADD" | "CMD" | "ENTRYPOINT" | "RUN" | "WORKDIR" | "USER" | "ARG" | "LABEL" | "VOLUME":
                    pass
                case _:
                    say(f"failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error "
                        f"line {number}: unknown instruction: {word.upper()}")
                    return 1
        self.add_image(tag, config, size)
        return 0

    async def program(self, ask, say):
        argv = ask["argv"]
        call = argv[0] if argv else ""
        if call in ("--version", "version"):
            say("Docker version 20.10.24+fake, build 0")
            return 0
        if call not in ("build", "pull"):
            say(f"the fake engine's program has no {call}")
            return 1
        name = argv[argv.index("-t") + 1] if call == "build" else argv[-1]
        rule = self.note(call, name)
        if rule:
            if rule.spec.get("hang"):
                await self.released.wait()
            await asyncio.sleep(rule.wait_s("before_ms"))
            if "status" in rule.spec:
                say(rule.spec.get("message", "told to fail"))
                return 1
        if call == "build":
            code = self.build(argv[1:], ask["cwd"], ask["env"], say)
            await asyncio.sleep(rule.wait_s("after_ms") if rule else 0)
            return code
        try:
            self.image(name)
        except Refused:
            say(f"Error response from daemon: manifest for {name} not found: manifest unknown")
            return 1
        return 0

    # --- faults ---

    def note(self, call, name):
        self.calls[call] += 1
        self.journal.append((time.time(), call, name))
        return next((r for r in self.rules if r.applies(call, name)), None)


ROUTES = [(method, re.compile(path + "$"), call) for method, path, call in [
    ("GET", "/_ping", "ping"), ("GET", "/version", "version"), ("GET", "/info", "info"), ("GET", "/events", "events"),
    ("GET", "/networks/([^/]+)", "network"), ("POST", "/volumes/create", "volume_create"),
    ("GET", "/volumes", "volume_list"), ("DELETE", "/volumes/([^/]+)", "volume_remove"),
    ("GET", "/images/json", "image_list"), ("GET", "/images/(.+)/json", "image_inspect"), ("DELETE", "/images/(.+)", "image_remove"),
    ("GET", "/containers/json", "list"), ("POST", "/containers/create", "create"),
    ("GET", "/containers/([^/]+)/json", "inspect"), ("DELETE", "/containers/([^/]+)", "remove"),
    ("GET", "/containers/([^/]+)/(logs|stats)", None),
    ("POST", "/containers/([^/]+)/(start|stop|restart|kill|pause|unpause|wait)", None)]]


class Api:
    """The HTTP server in front of an Engine, and its control."""

    def __init__(self, path):
        self.path, self.engine, self.server, self.writers = path, Engine(), None, set()

    async def open(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        self.server = await asyncio.start_unix_server(self.connection, self.path, backlog=1024)

    def shut(self):
        """As an engine that was killed: the socket's file stays, nobody answers."""
        if self.server:
            self.server.close()
        self.server = None
        for w in list(self.writers):
            w.transport.abort()

    async def connection(self, reader, writer):
        self.writers.add(writer)
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        fields = {k.strip().lower(): v.strip() for k, v in (x.split(":", 1) for x in lines if ":" in x)}
        body = await Container.body(reader, fields)
        path, _, query = target.partition("?")
        path = re.sub(r"^/v1\.\d+", "", urllib.parse.unquote(path))
        q = dict(urllib.parse.parse_qsl(query))
        for verb, pattern, call in ROUTES:
            found = pattern.match(path)
            if found and verb == method:
                break
        else:
            self.answer(writer, 404, {"message": "page not found"})
            return True
        call, name = call or found[2], found[1] if found.groups() else q.get("name", "")
        rule = self.engine.note(call, name)
        status = 200
        if rule:
            if rule.spec.get("hang"):
                released = asyncio.ensure_future(self.engine.released.wait())
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait([released, gone], return_when=asyncio.FIRST_COMPLETED)
                released.cancel()
                gone.cancel()
                return False
            await asyncio.sleep(rule.wait_s("before_ms"))
            if rule.spec.get("drop") == "before":
                return False
        if rule and "status" in rule.spec:
            status, out = rule.spec["status"], {"message": rule.spec.get("message", "told to fail")}
        elif call == "events":
            return await self.events(reader, writer, q)
        else:
            try:
                args = ([name] if found.groups() else []) + ([json.loads(body)] if call in ("create", "volume_create") else [])
                status, out = await getattr(self.engine, "do_" + call)(q, *args)
            except Refused as e:
                status, out = e.status, {"message": e.message}
        if rule:
            await asyncio.sleep(rule.wait_s("after_ms"))
            if rule.spec.get("drop") == "after":
                return False
        self.answer(writer, status, out)
        await writer.drain()
        return True

    @staticmethod
    def answer(writer, status, out):
        data = b"" if out is None else out if isinstance(out, bytes) else (out if isinstance(out, str) else json.dumps(out)).encode()
        length = "" if status in (204, 304) else f"Content-Length: {len(data)}\r\n"
        writer.write(f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\n{length}\r\n".encode() + data)

    async def events(self, reader, writer, q):
        filters = json.loads(q.get("filters", "{}"))

        def tell(e):
            if self.engine.matches(e["Actor"]["Attributes"], filters):
                line = json.dumps(e) + "\n"
                writer.write(f"{len(line):x}\r\n{line}\r\n".encode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.engine.streams.add(tell)
        try:
            await reader.read(1)   # until the other side goes
        finally:
            self.engine.streams.discard(tell)
        return False

    # --- control: one object per line in, one or more out ---

    async def control(self, reader, writer):
        def say(text):
            writer.write((json.dumps({"line": text}) + "\n").encode())
        try:
            ask = json.loads(await reader.readline())
            try:
                reply = {"exit": await self.engine.program(ask, say)} if "argv" in ask else await self.command(ask)
            except Refused as e:
                reply = {"refused": e.message}
            writer.write((json.dumps(reply) + "\n").encode())
            await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def command(self, ask):
        e = self.engine
        match ask["do"]:
            case "faults":
                e.rules = [Rule(spec, ask.get("seed", 0)) for spec in ask["rules"]]
                e.released.set()
                e.released = asyncio.Event()
            case "calls":
                return {"calls": dict(e.calls), "journal": list(e.journal)}
            case "state":
                return {"containers": {c.name: {"id": c.id, "status": c.status, "starts": c.starts, "requests": c.requests,
                                                "probes": c.probes, "port": c.port, "labels": c.labels, "env": c.env,
                                                "image": c.spec["Image"], "connections": len(c.connections),
                                                "exit_code": c.exit_code}
                                       for c in e.containers.values()},
                        "images": {n: {"id": i["Id"], "size": i["Size"], "labels": i["Config"]["Labels"]} for n, i in e.images.items()},
                        "volumes": sorted(e.volumes), "streams": len(e.streams)}
            case "down":
                self.shut()
                if ask.get("stops"):
                    for c in list(e.containers.values()):
                        await c.end(143)
            case "up":
                await self.open()
            case "call":
                return {"answer": (await getattr(e, "do_" + ask["call"])(ask.get("query", {}), *ask["args"]))[0]}
            case "image":
                e.add_image(ask["name"], {"Labels": ask.get("labels", {}), "Env": ask.get("env", []),
                                          "ExposedPorts": {"8080/tcp": {}}}, ask.get("size", 1 << 20), ask.get("created"))
            case "set":
                c = e.container(ask["name"])
                for key, value in ask["values"].items():
                    setattr(c, key, value)
            case "skew":
                e.skew_s = ask["seconds"]
            case "say":
                e.container(ask["name"]).say(ask["text"])
            case _:
                raise Refused(400, f"no such command: {ask['do']}")
        return {}


async def serve(path):
    api = Api(path)
    await api.open()
    await asyncio.start_unix_server(api.control, path + ".control", limit=64 << 20)
    print("ready", flush=True)
    await asyncio.get_running_loop().connect_read_pipe(lambda: _EndWithParent(asyncio.get_running_loop()), sys.stdin)
    await asyncio.Event().wait()


class _EndWithParent(asyncio.Protocol):
    """The process ends when whoever started it does: its stdin is closed then."""

    def __init__(self, loop):
        self.loop = loop

    def connection_lost(self, exc):
        os._exit(0)


def talk(path, ask, on_line=None):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(None if "argv" in ask else 120)
        s.connect(path + ".control")
        s.sendall((json.dumps(ask) + "\n").encode())
        with s.makefile() as f:
            for line in f:
                reply = json.loads(line)
                if "line" not in reply:
                    return reply
                if on_line:
                    on_line(reply["line"])
    raise ConnectionError("the fake engine has gone")


class FakeEngine:
    """The engine in a process of its own."""
    name = "fake"

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = str(folder / "engine.sock")
        program = folder / "docker"
        program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(__file__)} program "
                           f"{shlex.quote(self.socket)} \"$@\"\n")
        program.chmod(0o755)
        self.command, self.env = str(program), {"DOCKER_HOST": f"unix://{self.socket}"}
        self.process = subprocess.Popen([sys.executable, __file__, "serve", self.socket], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        self._err = []
        threading.Thread(target=lambda: self._err.extend(self.process.stderr), daemon=True).start()

    def ask(self, do, **more):
        reply = talk(self.socket, {"do": do, **more})
        assert "refused" not in reply, reply["refused"]
        return reply

    def faults(self, *rules, seed=0):
        """From now on these rules, the first that applies to a call; none: no faults. What hung is let go."""
        self.ask("faults", rules=rules, seed=seed)

    def calls(self):
        """How often each call came."""
        return collections.Counter(self.ask("calls")["calls"])

    def journal(self):
        """(time, call, name) of each call, in order."""
        return self.ask("calls")["journal"]

    def state(self):
        return self.ask("state")

    def containers(self, home=None, status=None, **labels):
        """{name: facts} of a server's containers; `app_id=` and so on compare labels."""
        wanted = {"dev.openrun." + k.replace("_", "."): v for k, v in labels.items()}
        if home:
            wanted["dev.openrun.server.home"] = str(home)
        return {n: c for n, c in self.state()["containers"].items()
                if wanted.items() <= c["labels"].items() and (not status or c["status"] == status)}

    def images(self):
        return self.state()["images"]

    def down(self, stops=False):
        """Kills the engine; its containers go on, or stop with it."""
        self.ask("down", stops=stops)

    def up(self):
        self.ask("up")

    def by_hand(self, call, *args, **query):
        """A call that somebody else makes: stop, kill, pause, remove, image_remove ..."""
        return self.ask("call", call=call, args=args, query=query)["answer"]

    def clean(self, home):
        """All goes with the engine."""

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        errors = "".join(self._err)
        assert "Traceback" not in errors, errors

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "serve":
        asyncio.run(serve(sys.argv[2]))
    elif len(sys.argv) > 2 and sys.argv[1] == "program":
        ask = {"argv": sys.argv[3:], "cwd": os.getcwd(), "env": dict(os.environ)}
        try:
            sys.exit(talk(sys.argv[2], ask, on_line=print)["exit"])
        except OSError as e:
            sys.exit(f"Cannot connect to the Docker daemon at unix://{sys.argv[2]}. Is the docker daemon running? ({e})")
    else:
        sys.exit(__doc__)
