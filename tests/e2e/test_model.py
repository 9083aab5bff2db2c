"""Random sequences of every operation against a model: after each step the API says what the model says."""
# SPDX-License-Identifier: Apache-2.0
# A failing run prints its seed; OPENRUN_TEST_SEED=<seed> runs that one again. --all: 10,000 steps.
import copy
import os
import random
import time

import model
import sources
import web
from api import Api, Refused

ALL = os.environ.get("OPENRUN_TEST_ALL") == "1"
STEPS = int(os.environ.get("OPENRUN_TEST_STEPS", 10000 if ALL else 100000))
SECONDS = 3600 if ALL else 22
PATHS = ["/a", "/b", "/b/c", "/g/1", "/g/2", "/g/2/x", "/g", "/d"]
GLOBS = PATHS + ["/g/**", "/b/**", "**", "/none"]
CONFIG = {"https": {"port": -1}, "security": {"stage_enable_write_access": False, "preview_enable_write_access": False}}


def source_files(kind, text):
    if kind == "T":
        return {"app.star": sources.text_app(text, "T")["app.star"]}
    url = model.NEEDS["P"][1][0]
    return {"app.star": 'load("proxy.in", "proxy")\n'
                        f'app = ace.app("P", routes=[ace.proxy("/", proxy.config("{url}"))],\n'
                        f'    permissions=[ace.permission("proxy.in", "config", ["{url}"])])  # {text}\n'}


class Run:
    """One sequence: the model, the server and what chooses."""

    def __init__(self, server, tmp_path, seed, git_url=None, repo=None):
        self.rng, self.server, self.api, self.web = random.Random(seed), server, Api(server), web.session()
        self.model, self.git_url, self.repo, self.texts = model.Model(), git_url, repo, 0
        self.folders = [str((tmp_path / f"s{i}").resolve()) for i in range(4)]
        for url in self.folders + [git_url] * (git_url is not None):
            self.write(url)

    def flip(self, odds=0.5):
        return self.rng.random() < odds

    def write(self, url):
        """The source becomes another."""
        self.texts += 1
        kind, text = self.rng.choice("TTTP"), f"text {self.texts}"
        if url == self.git_url:
            self.model.write(url, kind, text, self.repo.commit(source_files(kind, text)))
        else:
            sources.folder(url, source_files(kind, text))
            self.model.write(url, kind, text)

    # --- the operations: (what the model does, what the API is asked) ---

    def op_create(self):
        path, url = self.rng.choice(PATHS), self.rng.choice(self.folders + [self.git_url] * (self.git_url is not None))
        is_dev, stage_at = url != self.git_url and self.flip(0.2), self.rng.choice(["domain", "path"])
        approve, auth = self.flip(0.8), self.rng.choice(["", "none", "system"])
        params = {"p0": "from create"} if self.flip() else {}
        body = {"path": path, "source_url": url, "is_dev": is_dev, "stage_at": stage_at, "app_authn": auth,
                "param_values": params}
        return (lambda m: m.create(path, url, is_dev, stage_at, approve, auth, params),
                lambda **q: self.api.post("/app", body, approve=approve, **q))

    def op_write(self):
        self.write(self.rng.choice(list(self.model.heads)))
        return None

    def op_reload(self):
        glob, approve, promote, force = self.rng.choice(GLOBS), self.flip(), self.flip(), self.flip(0.3)
        return (lambda m: m.reload(glob, approve, promote, force),
                lambda **q: self.api.post("/reload", appPathGlob=glob, approve=approve, promote=promote, forceReload=force, **q))

    def op_approve(self):
        glob, promote = self.rng.choice(GLOBS), self.flip()
        return (lambda m: m.approve(glob, promote),
                lambda **q: self.api.post("/approve", appPathGlob=glob, promote=promote, **q))

    def op_promote(self):
        glob = self.rng.choice(GLOBS)
        return lambda m: m.promote(glob), lambda **q: self.api.post("/promote", appPathGlob=glob, **q)

    def op_param(self):
        glob, promote, name = self.rng.choice(GLOBS), self.flip(), f"p{self.rng.randrange(4)}"
        value, kept = self.rng.choice([("1", "1"), ('"a b"', "a b"), ("", ""), ("-", None), ("\u00fc\n'\"", "\u00fc\n'\"")])

        def edit(meta):
            meta["params"].pop(name, None) if kept is None else meta["params"].update({name: kept})
        return (lambda m: m.update(glob, edit, promote),
                lambda **q: self.api.post("/update_param", appPathGlob=glob, promote=promote, paramName=name,
                                          paramValue=value, **q))

    def op_account(self):
        glob, promote = self.rng.choice(GLOBS), self.flip()
        plugin, account = self.rng.choice(["exec.in", "http.in"]), self.rng.choice(["one", "two", "-"])

        def edit(meta):
            meta["accounts"].pop(plugin, None)
            if account != "-":
                meta["accounts"][plugin] = account
        return (lambda m: m.update(glob, edit, promote, lambda meta: account != "-" or plugin in meta["accounts"]),
                lambda **q: self.api.post("/link_account", appPathGlob=glob, promote=promote, plugin=plugin,
                                          account=account, **q))

    def op_metadata(self):
        glob, promote = self.rng.choice(GLOBS), self.flip()
        what, kind, entry, value = self.rng.choice([
            ("copt", "container_options", "cpus", "2"), ("copt", "container_options", "cpus", "-"),
            ("carg", "container_args", "A", "x=y"), ("carg", "container_args", "A", "-"),
            ("conf", "app_config", "fs.retain_versions", str(self.rng.randrange(-1, 5))),
            ("conf", "app_config", "fs.retain_versions", "-"), ("conf", "app_config", "audit.redact_url", "true"),
            ("conf", "app_config", "x", "no toml at all"), ("vols", "container_volumes", None, ["data:/data", "b:/b"]),
            ("vols", "container_volumes", None, ["-"]), ("auth", "auth", None, ["none"]), ("auth", "auth", None, ["system"]),
            ("auth", "auth", None, ["no such type"]), ("auth", "auth", None, ["a", "b"]),
            ("git_auth", "git_auth", None, ["-"]), (None, "nonsense", None, ["x"])])
        entries = value if entry is None else [f"{entry}={value}"]

        def edit(meta):
            if value == "no toml at all":
                raise model.No("is not TOML")
            if entry is None:
                is_cleared = value == ["-"]
                meta[what] = {"vols": [] if is_cleared else value, "git_auth": "", "auth": value[0]}[what]
            elif value == "-":
                meta[what].pop(entry, None)
            else:
                meta[what][entry] = value

        def change(m):
            # What is wrong with the request itself is refused whatever it selects.
            if what is None or entry is None and (value == ["no such type"] or len(value) == 2 and what == "auth"):
                raise model.No("")
            m.update(glob, edit, promote)
        body = {"spec": "<OPENRUN_UNDEFINED>", "config_type": kind, "config_entries": entries}
        return change, lambda **q: self.api.post("/app_metadata", body, appPathGlob=glob, promote=promote, **q)

    def op_settings(self):
        glob, stage, preview = self.rng.choice(GLOBS), self.rng.randrange(3), self.rng.randrange(3)
        body = {"stage_write_access": stage, "preview_write_access": preview}
        return (lambda m: m.settings(glob, stage, preview),
                lambda **q: self.api.post("/app_settings", body, appPathGlob=glob, **q))

    def op_switch(self):
        places = [e.place for a in self.model.apps for e in a.entries()] or [("", "/a")]
        (domain, path) = self.rng.choice(places)
        want, approve = self.rng.choice(["revert", "next", "previous", str(self.rng.randrange(1, 9))]), self.flip()
        return (lambda m: m.switch((domain, path), want, approve),
                lambda **q: self.api.post("/version", appPath=f"{domain}:{path}" if domain else path, version=want,
                                          approve=approve, **q))

    def op_delete(self):
        glob = self.rng.choice(PATHS + ["/g/**"])
        return lambda m: m.delete(glob), lambda **q: self.api.delete("/app", appPathGlob=glob, **q)

    ODDS = {"create": 4, "write": 3, "reload": 5, "approve": 2, "promote": 3, "param": 3, "account": 1, "metadata": 5,
            "settings": 1, "switch": 4, "delete": 1}

    def step(self):
        name = self.rng.choices(list(self.ODDS), list(self.ODDS.values()))[0]
        pair = getattr(self, "op_" + name)()
        if not pair:
            return
        change, ask = pair
        is_dry, after, why = self.flip(0.15), copy.deepcopy(self.model), None
        try:
            change(after)
        except model.No as e:
            why = str(e)
        try:
            reply = ask(**({"dryRun": True} if is_dry else {}))
            assert why is None, f"must be refused: {why}"
            assert reply["dry_run"] == is_dry
        except Refused as e:
            assert why is not None and 400 <= e.status < 500 and why in e.message, f"must {why or 'succeed'}: {e}"
        if why is None and not is_dry:
            self.model = after
        self.compare()

    # --- what there is ---

    @staticmethod
    def meta_of(wire):
        v = wire["version_metadata"]
        return {"version": v["version"], "previous": v["previous_version"], "name": wire["name"], "params": wire["param_values"],
                "copt": wire["container_options"], "carg": wire["container_args"], "conf": wire["appconfig"],
                "vols": wire["container_volumes"], "auth": wire["authn_type"], "git_auth": wire["git_auth_name"],
                "loads": wire["loads"], "permits": [p["arguments"][0] for p in wire["permissions"]],
                "accounts": {a["plugin"]: a["account_name"] for a in wire["accounts"]},
                "commit": v["git_commit"], "branch": v["git_branch"]}

    def check_entry(self, wire, app, e):
        assert wire["is_dev"] == app.is_dev and wire["source_url"] == app.url
        assert self.meta_of(wire["metadata"]) == e.meta, e.place
        assert wire["settings"]["stage_write_access"] == e.settings["stage"]
        assert wire["settings"]["preview_write_access"] == e.settings["preview"]
        if e is app.main and not app.is_dev:
            is_staged = app.main.meta["version"] != app.stage.meta["version"]
            assert wire.get("staged_changes", is_staged) == is_staged

    def compare(self):
        m = self.model
        listed = self.api.get("/apps", internal=True)["apps"]
        entries = {e.place: (a, e) for a in m.apps for e in a.entries()}
        assert {(w["domain"], w["path"]) for w in listed} == set(entries)
        for wire in listed:
            self.check_entry(wire, *entries[wire["domain"], wire["path"]])
        assert [w["path"] for w in self.api.get("/apps")["apps"]] == [a.path for a in reversed(m.apps)]
        if not m.apps:
            return
        app = self.rng.choice(m.apps)
        for e in app.entries():
            place = ":".join(filter(None, e.place))
            self.check_entry(self.api.get("/app", appPath=place)["app_entry"], app, e)
            if app.is_dev:
                continue
            rows = self.api.get("/version", appPath=place)["versions"]
            assert [(r["Version"], r["PreviousVersion"], r["Active"]) for r in rows] == \
                [(v, e.rows[v].previous, v == e.meta["version"]) for v in sorted(e.rows)], place
            for r in rows:
                assert self.meta_of(r["Metadata"]) == e.rows[r["Version"]].meta, (place, r["Version"])
            if e.source[0] == "T":
                self.check_served(e)

    def check_served(self, e):
        domain, path = e.place
        r = self.web.get(self.server.url(path, domain or "localhost", "http"), timeout=120, allow_redirects=False)
        if e.meta["auth"] == "system":
            assert r.status_code in (302, 303, 307, 401), r.text
        else:
            assert (r.status_code, r.text) == (200, e.source[1]), e.place


def play(run, seed, steps, seconds):
    until, done = time.monotonic() + seconds, 0
    try:
        while done < steps and time.monotonic() < until:
            run.step()
            done += 1
        run.api.delete("/app", appPathGlob="**")
    except AssertionError as e:
        raise AssertionError(f"step {done} of seed {seed} (OPENRUN_TEST_SEED={seed}): {e}\n" + "\n".join(run.api.recent)) from e
    finally:
        print(f"seed {seed}: {done} steps")
        run.api.close()


def seed_of(default):
    return os.environ.get("OPENRUN_TEST_SEED", str(default))


def test_every_sequence_does_what_the_model_does(server, tmp_path):
    seed = seed_of(random.randrange(1 << 32))
    play(Run(server, tmp_path, seed), seed, STEPS, SECONDS)


def test_with_apps_from_git(server, tmp_path):
    repo = sources.Repo(tmp_path / "repos" / "r")
    seed = seed_of(random.randrange(1 << 32))
    run = Run(server, tmp_path, seed, f"file://{repo.path}", repo)
    run.folders = run.folders[:1]
    play(run, seed, STEPS // 10, SECONDS / 3)
