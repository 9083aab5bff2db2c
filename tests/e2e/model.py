"""A model of apps, their versions and their staging: what every operation must do, in a few lines each."""
# SPDX-License-Identifier: Apache-2.0
import copy

NEEDS = {"T": ([], []), "P": (["proxy.in"], ["http://127.0.0.1:1"])}   # kind of source -> loads, permitted URLs
EMPTY = {"version": 1, "previous": 0, "name": "", "params": {}, "copt": {}, "carg": {}, "conf": {}, "vols": [], "auth": "",
         "git_auth": "", "loads": [], "permits": [], "accounts": {}, "commit": "", "branch": ""}


class No(Exception):
    """The operation must be refused, with this in the message."""


class Row:
    def __init__(self, meta, source):
        self.previous, self.meta, self.source = meta["previous"], copy.deepcopy(meta), source


class Entry:
    """Production, staging or dev: its metadata and its versions. A source is (kind, text)."""

    def __init__(self, place, meta, source):
        self.place, self.meta, self.rows = place, copy.deepcopy(meta), {}
        self.settings = {"stage": False, "preview": False}
        self.put(source)

    def put(self, source):
        """A row for the active version, and no more old ones than are to be kept."""
        self.rows[self.meta["version"]] = Row(self.meta, source)
        retain = self.meta["conf"].get("fs.retain_versions", "5")
        below = sorted(v for v in self.rows if v < self.meta["version"])
        for version in below[:max(0, len(below) - int(retain))] if int(retain) >= 0 else []:
            del self.rows[version]

    def mirror(self):
        self.rows[self.meta["version"]].meta = copy.deepcopy(self.meta)

    @property
    def source(self):
        return self.rows[self.meta["version"]].source


class App:
    def __init__(self, path, url, is_dev, stage_place, meta, source):
        self.path, self.url, self.is_dev = path, url, is_dev
        self.stage = None if is_dev else Entry(stage_place, meta, source)
        self.main = Entry(("", path), meta, source)

    @property
    def staged(self):
        return self.stage or self.main

    def entries(self):
        return [e for e in (self.main, self.stage) if e]

    def bump(self, edit, source=None):
        """A new version of the staging entry with the metadata as `edit` leaves it."""
        e = self.staged
        source = source or e.source
        e.meta["previous"], e.meta["version"] = e.meta["version"], max(e.rows) + 1
        edit(e.meta)
        e.put(source)

    def update(self, edit):
        """A staged update: a dev app is changed as it is."""
        if self.is_dev:
            edit(self.main.meta)
        else:
            self.bump(edit)

    def evaluate(self, e):
        """What a request would meet."""
        if not is_approved(e):
            raise No("is not permitted")

    def promote(self):
        if self.is_dev:
            return
        if not is_approved(self.stage):
            raise No("needs approval before it is promoted")
        had, previous = self.main.meta["version"], self.main.meta["previous"]
        self.main.meta = copy.deepcopy(self.stage.meta)
        is_new = self.main.meta["version"] != had
        self.main.meta["previous"] = had if is_new else previous
        if is_new:
            self.main.put(self.stage.source)
        else:
            self.main.mirror()
        self.evaluate(self.main)


def is_approved(e):
    return set(NEEDS[e.source[0]][1]) <= set(e.meta["permits"])


def take_needs(meta, kind, approve):
    """The approval that a source of this kind needs; may refuse."""
    loads, permits = NEEDS[kind]
    if not approve and not set(permits) <= set(meta["permits"]):
        raise No("needs approval")
    if approve:
        meta["loads"], meta["permits"] = list(loads), list(permits)
    meta["name"] = kind


def overlaps(a, b):
    """Whether two (domain, path) may not both be there."""
    (d1, p1), (d2, p2) = a, b
    inside = lambda x, y: x == y or y == "/" or x.startswith(y + "/")   # noqa: E731
    return d1 == d2 and (inside(p1, p2) or inside(p2, p1))


class Model:
    def __init__(self):
        self.apps = []   # in order of creation
        self.heads = {}  # source URL -> (kind, text), and of a repository the commit as a third

    def find(self, path):
        return next((a for a in self.apps if a.path == path), None)

    def select(self, glob):
        """Newest first. An exact path, "**", or a folder: "/g/**"."""
        return [a for a in reversed(self.apps) if glob in ("**", a.path) or
                (glob.endswith("/**") and (a.path + "/").startswith(glob[:-2]))]

    def write(self, url, *head):
        """The source becomes another; dev apps are as their folder is."""
        self.heads[url] = head
        for app in self.apps:
            if app.is_dev and app.url == url:
                app.main.rows[app.main.meta["version"]].source = head[:2]

    def create(self, path, url, is_dev, stage_at, approve, auth, params):
        places = [e.place for a in self.apps for e in a.entries()]
        stage = ("", path + "_cl_stage") if stage_at == "path" else ("stage.localhost", path)
        if any(overlaps(("", path), p) for p in places):
            raise No("App already exists at")
        if not is_dev and any(overlaps(stage, p) for p in places):
            raise No("stage app overlaps")
        kind, text, *commit = self.heads[url]
        meta = {**copy.deepcopy(EMPTY), "auth": auth or "default", "params": dict(params), "name": kind}
        if commit:
            meta["commit"], meta["branch"] = commit[0], "main"
        if approve:
            take_needs(meta, kind, True)
        self.apps.append(App(path, url, is_dev, stage, meta, (kind, text)))

    def reload(self, glob, approve, promote, force):
        for app in self.select(glob):
            kind, text, *commit = self.heads[app.url]
            if commit and not force and app.staged.meta["commit"] == commit[0]:
                continue

            def edit(meta):
                take_needs(meta, kind, approve)
                if commit:
                    meta["commit"] = commit[0]
            app.bump(edit, (kind, text))
            app.evaluate(app.staged)
            if promote:
                app.promote()

    def approve(self, glob, promote):
        for app in self.select(glob):
            kind = app.staged.source[0]
            app.update(lambda meta: take_needs(meta, kind, True))
            if promote:
                app.promote()

    def promote(self, glob):
        for app in self.select(glob):
            app.promote()

    def update(self, glob, edit, promote, concerns=lambda meta: True):
        for app in self.select(glob):
            if not concerns(app.staged.meta):
                continue
            app.update(edit)
            app.evaluate(app.staged)
            if promote:
                app.promote()

    def settings(self, glob, stage, preview):
        for app in self.select(glob):
            for e in app.entries():
                for name, value in (("stage", stage), ("preview", preview)):
                    if value:
                        e.settings[name] = value == 1

    def switch(self, place, want, approve):
        app = next((a for a in self.apps for e in a.entries() if e.place == place), None)
        if not app:
            raise No("no app at")
        if app.is_dev:
            raise No("version commands not supported for dev app")
        e = next(e for e in app.entries() if e.place == place)
        now = e.meta["version"]
        if want == "revert":
            to = e.meta["previous"]
            if not to:
                raise No("no version found to revert to")
        elif want in ("next", "previous"):
            near = [v for v in e.rows if (v > now if want == "next" else v < now)]
            if not near:
                raise No(f"no {want} version found")
            to = min(near) if want == "next" else max(near)
        else:
            to = int(want)
        if to not in e.rows:
            raise No("does not exist")
        if to == now:
            raise No("is the active one already")
        old = e.rows[to].meta
        if not approve and not (set(old["loads"]) <= set(e.meta["loads"]) and set(old["permits"]) <= set(e.meta["permits"])):
            raise No("may do more than what is approved now")
        e.meta = copy.deepcopy(e.rows[to].meta)
        e.meta["version"], e.meta["previous"] = to, now
        app.evaluate(e)
        e.mirror()

    def delete(self, glob):
        for app in self.select(glob):
            self.apps.remove(app)
