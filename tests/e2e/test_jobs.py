"""Scheduled jobs: declared by apps, listed, run by the clock and by hand, kept over restarts."""
# SPDX-License-Identifier: Apache-2.0
import json
import re

import engines
from openrun import wait_for

APP = """
def tick(req):
    return {"job": req.Headers.get("X-Openrun-Job", ["none"])[0], "user": req.Headers["X-Openrun-User"][0]}

def fail(req):
    return ace.response("not now", type="TEXT", code=503)

app = ace.app("jobs",
    routes=[ace.api("/tick", tick, method="POST"), ace.api("/fail", fail)],
    jobs=[%s])
"""
HOURLY = 'ace.job("hourly", "@hourly", path="/tick")'


def jobs(s, *args):
    return json.loads(s.cli("job", "list", "--format", "json", *args))


def runs(s, path, name):
    return json.loads(s.cli("job", "runs", "--format", "json", path, name))


def declared(s, *args):
    """The table follows the site within a second."""
    def look():
        found = {(j["app_path"], j["name"]): j for j in jobs(s)}
        return (found,) if set(found) == set(args) else None
    return wait_for(look, f"the jobs {args}")[0]


def test_what_is_declared_is_listed_and_follows_versions(server, folder):
    daily = 'ace.job("daily", "30 2 * * MON-FRI", path="/fail", method="GET", time_zone="Europe/Berlin", catch_up=True)'
    app = folder({"app.star": APP % f"{HOURLY}, {daily}"})
    server.cli("app", "create", "--approve", str(app), "/jobs")
    found = declared(server, ("/jobs", "hourly"), ("/jobs", "daily"))
    job = found["/jobs", "daily"]
    assert (job["schedule"], job["time_zone"], job["path"], job["catch_up"]) == ("30 2 * * MON-FRI", "Europe/Berlin", "/fail", True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:30:00Z", job["next_run"]) and "last_run" not in job
    assert "hourly" in server.cli("job", "list") and server.cli("job", "list", "/other*").count("\n") == 1
    # A new version takes effect when it is promoted; the stage has no jobs of its own.
    (app / "app.star").write_text(APP % HOURLY)
    server.cli("app", "reload", "--approve", "/jobs")
    assert len(declared(server, ("/jobs", "hourly"), ("/jobs", "daily"))) == 2
    server.cli("app", "promote", "/jobs")
    declared(server, ("/jobs", "hourly"))
    server.cli("version", "switch", "1", "/jobs")
    declared(server, ("/jobs", "hourly"), ("/jobs", "daily"))
    # A wrong job is refused with the app.
    (app / "app.star").write_text(APP % 'ace.job("never", "0 0 30 2 *", path="/tick")')
    assert "never comes" in server.fails("app", "reload", "--approve", "--promote", "/jobs")
    server.cli("app", "delete", "/jobs")
    declared(server)
    wait_for(lambda: not list((server.home / "run" / "jobs").iterdir()), "the runs of the deleted app to go")


def test_by_hand(server, folder):
    failing = 'ace.job("fail", "@yearly", path="/fail", method="GET")'
    server.cli("app", "create", "--approve", "--auth", "system", str(folder({"app.star": APP % f"{HOURLY}, {failing}"})), "/hand")
    declared(server, ("/hand", "hourly"), ("/hand", "fail"))
    # The app asks for a sign-in; its jobs need none, and nobody else can claim to be one.
    assert server.post("/hand/tick", headers={"X-Openrun-Job": "hourly"}).status_code in (302, 303, 401)
    out = server.cli("job", "run", "/hand", "hourly")
    assert out.startswith("[status 200]\n") and '"job":"hourly","user":"scheduler"' in out
    assert "status 503" in server.fails("job", "run", "/hand", "fail")
    (run,) = runs(server, "/hand", "fail")
    assert (run["status"], run["trigger"], run["code"]) == ("failed", "manual", 503)
    assert run["start"] and run["end"] >= run["start"]
    assert "not now" in server.cli("job", "logs", "/hand", "fail")
    assert "not now" in server.cli("job", "logs", "-f", "--run", run["id"], "/hand", "fail")
    assert server.cli("job", "logs", "--tail", "1", "/hand", "fail").startswith("[the app answered")
    assert "has no job" in server.fails("job", "run", "/hand", "other")
    assert "no app at" in server.fails("job", "run", "/nowhere", "hourly")
    assert "has not run yet" not in server.fails("job", "logs", "--run", "abc", "/hand", "fail")
    for _ in range(20):
        server.try_cli("job", "run", "/hand", "fail")
    assert len(runs(server, "/hand", "fail")) == 20
    (app,) = [d for d in (server.home / "run" / "jobs").iterdir() if (d / "fail").is_dir()]
    assert len(list((app / "fail").glob("*.log"))) == 20
    assert oct((app / "fail" / "history.json").stat().st_mode & 0o777) == "0o600"
    events = [r for r in audit(server) if r["operation"] == "run_job" and r["target"] == "/hand hourly"]
    assert [e["status"] for e in events] == ["Started", "Success"] and events[0]["user_id"] == "admin"
    server.cli("app", "delete", "/hand")


def test_the_path_of_a_job_reaches_no_other_app(server, folder):
    """Its requests need no sign-in."""
    server.cli("app", "create", "--approve", "--auth", "system", str(folder({"app.star": APP % HOURLY}, "other")), "/other")
    for path in ("/../other/tick", "/%2e%2e/other/tick", "/x/../../other/tick", "/x/./tick"):
        app = folder({"app.star": APP % f'ace.job("a", "@yearly", path="{path}")'})
        assert "be one inside the app" in server.fails("app", "create", "--approve", str(app), "/jobs")
    server.cli("app", "delete", "/other")


def audit(server):
    import sqlite3
    db = sqlite3.connect(server.home / "metadata" / "clace_audit.db", timeout=30)
    db.row_factory = sqlite3.Row
    return [dict(r) for r in db.execute("SELECT * FROM audit ORDER BY create_time")]


def set_base(server, app, name, seconds_ago):
    """Moves what a stopped server remembers of a job into the past."""
    import time
    (path,) = (server.home / "run" / "jobs").glob(f"*/{name}/history.json")
    history = json.loads(path.read_text())
    history["base"] = int(time.time()) - seconds_ago
    path.write_text(json.dumps(history))


def test_the_clock_and_restarts(new_server, folder):
    server = new_server().start()
    every = 'ace.job("every", "* * * * *", path="/tick")'
    late = 'ace.job("late", "0 0 1 1 *", path="/tick", catch_up=True)'
    missed = 'ace.job("missed", "0 0 1 1 *", path="/tick")'
    server.cli("app", "create", "--approve", str(folder({"app.star": APP % f"{every}, {late}, {missed}"})), "/clock")
    declared(server, ("/clock", "every"), ("/clock", "late"), ("/clock", "missed"))
    assert runs(server, "/clock", "late") == []
    server.stop()
    for name in ("late", "missed"):
        set_base(server, "/clock", name, 400 * 86400)
    set_base(server, "/clock", "every", 61)
    server.start()
    # One that was missed happens once where it should, and one that is a moment late is not missed.
    (run,) = wait_for(lambda: [r for r in runs(server, "/clock", "late") if r["end"]], "the run that was missed")
    assert (run["trigger"], run["status"]) == ("catch_up", "success")
    run = wait_for(lambda: [r for r in runs(server, "/clock", "every") if r["end"]], "the run of this minute")[-1]
    assert (run["trigger"], run["status"]) == ("schedule", "success") and run["due"].endswith(":00Z")
    assert runs(server, "/clock", "missed") == []
    server.restart()
    declared(server, ("/clock", "every"), ("/clock", "late"), ("/clock", "missed"))
    assert len(runs(server, "/clock", "late")) == 1


CONTAINER_APP = """
load("container.in", "container")
app = ace.app("nightly",
    container=container.config("image:alpine", lifetime=container.COMMAND, volumes=["data:/data"]),
    jobs=[
        ace.job("greet", "@daily", ["sh", "-c", "echo hello $NAME from $CL_JOB_NAME; echo to stderr >&2; echo x >> /data/n; wc -l < /data/n"]),
        ace.job("broken", "@daily", ["sh", "-c", "exit 4"]),
        ace.job("slow", "@daily", ["sh", "-c", "trap 'exit 9' TERM; sleep 1000 & wait"]),
        ace.job("brief", "@daily", ["sh", "-c", "trap 'exit 9' TERM; sleep 1000 & wait"], timeout=1),
    ])
"""


def test_commands(box, engine, folder):
    engines.ensure(engine, "alpine")
    box.cli("app", "create", "--approve", "--param", "NAME=Ann", str(folder({"app.star": CONTAINER_APP})), "/nightly")
    wait_for(lambda: len(jobs(box)) == 4, "the jobs")
    assert "\n1\n" in box.cli("job", "run", "/nightly", "greet")
    out = box.cli("job", "run", "/nightly", "greet")
    assert "hello Ann from greet\n" in out and "to stderr\n" in out and "\n2\n" in out
    assert "failed: exit code 4" in box.fails("job", "run", "/nightly", "broken")
    assert runs(box, "/nightly", "broken")[0]["code"] == 4
    assert "timed_out: ended after 1 s" in box.fails("job", "run", "/nightly", "brief")
    # Overlap: the default leaves no second run.
    def tasks():
        return engine.run("ps", "--all", "-q", "--filter", f"label=dev.openrun.task.home={box.home}").split()
    box.cli("job", "run", "--detach", "/nightly", "slow")
    wait_for(tasks, "the slow job's container")
    assert "is running" in box.fails("job", "run", "/nightly", "slow")
    assert box.cli("job", "cancel", "/nightly", "slow") == "1 run cancelled\n"
    wait_for(lambda: runs(box, "/nightly", "slow")[0]["status"] == "cancelled", "the end of the slow job")
    # A server that stops ends its jobs, and the next one knows.
    box.cli("job", "run", "--detach", "/nightly", "slow")
    wait_for(tasks, "the slow job's container")
    box.restart()
    wait_for(lambda: jobs(box), "the jobs after the restart")
    assert runs(box, "/nightly", "slow")[0]["status"] == "interrupted"
    wait_for(lambda: not tasks(), "the containers of jobs to go")
    box.cli("app", "delete", "/nightly")


def test_a_path_wakes_the_container(box, engine, webapp, folder):
    star = """
load("container.in", "container")
load("proxy.in", "proxy")
app = ace.app("web", routes=[ace.proxy("/", proxy.config(container.URL))], container=container.config("auto"),
    jobs=[ace.job("call", "@daily", path="/json?from=job")])
"""
    box.cli("app", "create", "--approve", str(folder({**webapp, "app.star": star})), "/web")
    wait_for(lambda: jobs(box, "/web"), "the job")
    out = box.cli("job", "run", "/web", "call")
    reply = json.loads(out[out.index("[status 200]\n") + 13:])
    headers = {k.lower(): v for k, v in reply["headers"].items()}
    assert reply["query"] == "from=job" and headers["x-openrun-job"] == "call" and headers["x-openrun-user"] == "scheduler"
    box.cli("app", "delete", "/web")
