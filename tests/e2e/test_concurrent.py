"""Sixteen clients at once: nothing that was confirmed is lost, nothing is seen half done, nobody waits for ever."""
# SPDX-License-Identifier: Apache-2.0
# --all: for two minutes instead of some seconds; OPENRUN_TEST_SEED repeats the choices (not how they interleave).
import contextlib
import http.client
import os
import random
import sqlite3
import threading
import time

import sources
from api import Api, Refused

SECONDS = 120 if os.environ.get("OPENRUN_TEST_ALL") == "1" else 12
SEED = os.environ.get("OPENRUN_TEST_SEED", str(random.randrange(1 << 32)))
CONFIG = {"https": {"port": -1}}
SHARED = [f"/shared/{i}" for i in range(4)]     # never deleted: what was confirmed is counted on them
FLEETING = [f"/fleeting/{i}" for i in range(6)]  # come and go
EXPECTED = ("App already exists", "stage app overlaps", "no app at", "is the active one already", "does not exist",
            "no version found", "no next version", "no previous version", "was changed by another operation")


class Client(threading.Thread):
    """Asks for random things until the end; what it was told is in `params` and `bumps`."""

    def __init__(self, number, server, source, until):
        super().__init__(daemon=True)
        self.rng, self.number = random.Random(f"{SEED}-{number}"), number
        self.server, self.source, self.until = server, source, until
        self.params, self.bumps, self.done, self.trouble = {}, {}, 0, []

    def run(self):
        api = Api(self.server)
        with contextlib.closing(api):
            while time.monotonic() < self.until and not self.trouble:
                try:
                    getattr(self, self.rng.choice(self.ACTIONS))(api)
                    self.done += 1
                except Refused as e:
                    if e.status not in (400, 404, 409) or not any(text in e.message for text in EXPECTED):
                        self.trouble.append(str(e))
                except (OSError, http.client.HTTPException) as e:
                    self.trouble.append(repr(e))

    def count(self, path):
        self.bumps[path] = self.bumps.get(path, 0) + 1

    def param(self, api):
        path, name, value = self.rng.choice(SHARED), f"c{self.number}x{self.rng.randrange(5)}", str(self.rng.random())
        reply = api.post("/update_param", appPathGlob=path, paramName=name, paramValue=value, promote=self.rng.random() < 0.5)
        assert len(reply["staged_update_results"]) == 1
        self.params[path, name] = value
        self.count(path)

    def option(self, api):
        """All four in one operation: all get the same value."""
        body = {"spec": "<OPENRUN_UNDEFINED>", "config_type": "container_args", "config_entries": [f"all={self.rng.random()}"]}
        reply = api.post("/app_metadata", body, appPathGlob="/shared/*", promote=True)
        assert len(reply["staged_update_results"]) == len(reply["promote_results"]) == len(SHARED)
        for path in SHARED:
            self.count(path)

    def reload(self, api):
        path = self.rng.choice(SHARED)
        api.post("/reload", appPathGlob=path, promote=self.rng.random() < 0.5)
        self.count(path)

    def promote(self, api):
        api.post("/promote", appPathGlob=self.rng.choice(["/shared/**", "**", *SHARED]))

    def settings(self, api):
        api.post("/app_settings", {"stage_write_access": self.rng.randrange(3)}, appPathGlob=self.rng.choice(["**", *SHARED]))

    def create(self, api):
        api.post("/app", {"path": self.rng.choice(FLEETING), "source_url": self.source,
                          "stage_at": self.rng.choice(["domain", "path"])}, approve=True)

    def delete(self, api):
        api.delete("/app", appPathGlob=self.rng.choice(FLEETING))

    def touch(self, api):
        """Whatever is there of what comes and goes."""
        api.post("/reload", appPathGlob=self.rng.choice(["/fleeting/**", *FLEETING]), promote=True)

    def switch(self, api):
        path = self.rng.choice(FLEETING)
        api.post("/version", appPath=self.rng.choice([path, "stage.localhost:" + path]), version=self.rng.choice(["revert", "previous"]))

    def dry(self, api):
        api.post("/reload", appPathGlob="**", promote=True, dryRun=True)

    ACTIONS = ["param"] * 4 + ["option", "reload", "promote", "settings", "create", "create", "delete", "touch", "switch", "dry"]


class Watcher(threading.Thread):
    """Reads all the time: each answer must be one state, never the half of an operation."""

    def __init__(self, server, until):
        super().__init__(daemon=True)
        self.server, self.until, self.seen, self.trouble = server, until, 0, []

    def run(self):
        api = Api(self.server)
        with contextlib.closing(api):
            while time.monotonic() < self.until and not self.trouble:
                try:
                    self.look(api.get("/apps", internal=True)["apps"])
                    self.seen += 1
                except (AssertionError, Refused, OSError, http.client.HTTPException) as e:
                    self.trouble.append(repr(e))

    @staticmethod
    def look(apps):
        by_id = {a["id"]: a for a in apps}
        for app in apps:
            twin = by_id.get(app["main_app"] or app["id"].replace("app_prd_", "app_stg_"))
            assert twin, f"{app['path']} is alone"
            assert app["linked_app_path"] == ":".join(filter(None, (twin["domain"], twin["path"])))
        main = {a["path"]: a["metadata"] for a in apps if not a["main_app"]}
        assert set(SHARED) <= set(main)
        assert len({main[p]["container_args"].get("all") for p in SHARED}) == 1, "the half of an operation on four apps"


def rows(home, sql):
    db = sqlite3.connect(f"file:{home}/metadata/clace_metadata.db?mode=ro", uri=True, timeout=60)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def check_whole(server, api):
    """No row without what it belongs to, also by the server's own check."""
    home = server.home
    assert rows(home, "pragma integrity_check") == [("ok",)]
    for what, sql in {
            "versions without an app": "select appid from app_versions where appid not in (select id from apps)",
            "files without a version": "select name from app_files f where not exists (select 1 from app_versions v where "
                                       "v.appid = f.appid and v.version = f.version)",
            "files without content": "select name from app_files where sha not in (select sha from files)",
            "active versions without a row": "select path from apps a where is_dev = 0 and not exists (select 1 from app_versions "
                                             "v where v.appid = a.id and v.version = json_extract(a.metadata, "
                                             "'$.version_metadata.version'))"}.items():
        assert rows(home, sql) == [], what
    try:
        assert api.get("/check")["problems"] == []
    except Refused as e:
        assert e.status == 404, e


def test_sixteen_clients(server, tmp_path):
    print(f"seed {SEED}")
    source = str(sources.folder(tmp_path / "app", sources.text_app("hello")))
    api = Api(server)
    for path in SHARED:
        api.post("/app", {"path": path, "source_url": source}, approve=True)
    until = time.monotonic() + SECONDS
    clients, watchers = [Client(i, server, source, until) for i in range(16)], [Watcher(server, until) for _ in range(2)]
    for t in clients + watchers:
        t.start()
    for t in clients + watchers:
        t.join(SECONDS + 300)
        assert not t.is_alive(), "a client waits for ever"
    assert [t.trouble for t in clients + watchers if t.trouble] == []
    api.close()   # after two minutes the server may have; the next call opens another
    print(f"{sum(c.done for c in clients)} operations, {sum(w.seen for w in watchers)} looks")
    assert all(c.done for c in clients) and all(w.seen for w in watchers)

    apps = {(a["domain"], a["path"]): a for a in api.get("/apps", internal=True)["apps"]}
    for path in SHARED:
        staged = apps["stage.localhost", path]["metadata"]
        wanted = {name: value for c in clients for (p, name), value in c.params.items() if p == path}
        assert staged["param_values"] == wanted, "an update is lost"
        assert staged["version_metadata"]["version"] == 1 + sum(c.bumps.get(path, 0) for c in clients), "a version is lost"
    check_whole(server, api)
    assert [o for o in api.get("/operations")["operations"] if o["state"] in ("queued", "running")] == []
    api.delete("/app", appPathGlob="**")
    check_whole(server, api)
    api.close()
