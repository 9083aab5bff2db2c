"""Development apps: changes of the source show by themselves, with the source mounted into the container or without one."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import shutil

import pytest

import engines
import sources
from openrun import wait_for

CONFIG = {"app_config": {"container": {"health_attempts_after_startup": 20}},
          "system": {"file_watcher_debounce_millis": 50}}
# A stage to develop in, whose shell is the test app itself, and what production gets.
STAGES = ('FROM scratch AS builder\nCOPY webapp /webapp\nCOPY webapp /bin/sh\nWORKDIR /src\nENV PATH=/bin STAGE=builder\n'
          'FROM builder\nENV STAGE=final\nEXPOSE 8080\nENTRYPOINT ["/webapp"]\n')


@pytest.fixture
def source(folder, webapp):
    return folder({"webapp": webapp["webapp"], "Containerfile": STAGES, "hello.txt": "one", "tools.txt": "1"})


def create(box, path, source, *params, reload="restart"):
    flags = [f for p in ("dev_dir=/src", "dev_command=serve --reload", f"dev_reload={reload}", 'dev_env_files=["tools.txt"]', *params)
             for f in ("--param", p)]
    box.cli("app", "create", "--dev", "--spec", "container", "--approve", *flags, str(source), path)


def env(box, path):
    return box.get(path + "/json").json()["env"]


def container(box, engine, path):
    """The one container of the app that runs, as the engine describes it; None while there are none or more."""
    app_id = box.apps("--internal", path)[path]["id"]
    ids = engine.containers(box.home, f"label=dev.openrun.app.id={app_id}", everything=False)
    found = json.loads(engine.run("inspect", "--type", "container", *ids, check=False) or "[]") if len(ids) == 1 else []
    return found[0] if found and found[0]["State"]["Running"] else None   # it may have gone since it was listed


def test_the_source_is_mounted_and_a_change_starts_it_again(box, engine, path, source):
    create(box, path, source)
    got = env(box, path)
    assert got["COMMAND"] == "serve --reload" and got["STAGE"] == "builder"
    first = container(box, engine, path)
    assert [(m["Source"], m["RW"]) for m in first["Mounts"] if m["Destination"] == "/src"] == [(str(source), True)]
    assert first["Config"]["WorkingDir"] == "/src" and first["Config"]["Labels"]["dev.openrun.dev"] == "true"
    assert first["Config"]["Labels"]["dev.openrun.image.home"] == str(box.home), "another home would take the image for its own"
    assert box.get(path + "/file/hello.txt").text == "one"
    (source / "hello.txt").write_text("two")
    assert box.get(path + "/file/hello.txt").text == "two", "no copy of it"

    def is_again():
        now = container(box, engine, path)
        return now and now["Id"] == first["Id"] and now["State"]["StartedAt"] != first["State"]["StartedAt"]
    wait_for(is_again, "the container to be started again")
    assert env(box, path)["STAGE"] == "builder"


def test_recreate_makes_it_anew_and_env_files_build_the_image_again(box, engine, path, source):
    create(box, path, source, reload="recreate")
    env(box, path)
    first = container(box, engine, path)
    (source / "hello.txt").write_text("two")

    def other_than(old):
        def look():
            now = container(box, engine, path)
            return now if now and now["Id"] != old["Id"] else None
        return look
    second = wait_for(other_than(first), "another container")
    assert second["Image"] == first["Image"] and second["Name"] == first["Name"]
    assert env(box, path)["STAGE"] == "builder"
    (source / "tools.txt").write_text("2")
    third = wait_for(other_than(second), "a container of another image")
    assert third["Name"] != second["Name"] and third["Config"]["Image"] != second["Config"]["Image"]
    assert env(box, path)["STAGE"] == "builder"


def test_none_leaves_the_container_alone(box, engine, path, source):
    create(box, path, source, reload="none")
    env(box, path)
    first = container(box, engine, path)
    loads = sum("dev app reloaded" in line["message"] for line in box.log())
    (source / "hello.txt").write_text("two")
    wait_for(lambda: sum("dev app reloaded" in line["message"] for line in box.log()) > loads, "the reload")
    now = container(box, engine, path)
    assert (now["Id"], now["State"]["StartedAt"]) == (first["Id"], first["State"]["StartedAt"])
    # A folder that is made anew is another one: only a start mounts it.
    source.rename(source.with_name("old"))
    shutil.copytree(source.with_name("old"), source)
    (source / "hello.txt").write_text("three")
    wait_for(lambda: box.get(path + "/file/hello.txt").text == "three", "the new folder to be mounted")


def test_without_dev_settings_each_change_is_built(box, engine, path, folder, webapp):
    source = folder({**webapp, "Containerfile": webapp["Containerfile"]})
    box.cli("app", "create", "--dev", "--spec", "container", "--approve", str(source), path)
    assert env(box, path)["VERSION"] == "1"
    folder({"Containerfile": webapp["Containerfile"].replace("VERSION=1", "VERSION=2")})
    wait_for(lambda: env(box, path)["VERSION"] == "2", "the new version")
    wait_for(lambda: container(box, engine, path), "the old one to be stopped")


def test_a_container_that_does_not_come_up_says_why(box, path, folder, webapp):
    source = folder({**webapp, "Containerfile": webapp["Containerfile"]})
    box.cli("app", "create", "--dev", "--spec", "container", "--approve", "--conf", "container.health_attempts_after_startup=2",
            str(source), path)
    assert env(box, path)["VERSION"] == "1"
    broken = webapp["Containerfile"].replace("VERSION=1", "VERSION=1\nENV EXIT_CODE=6")
    (source / "Containerfile").write_text(broken)
    r = wait_for(lambda: [r for r in [box.get(path + "/json")] if r.status_code == 500], "the failure")[0]
    assert "exited with code 6" in r.text and "webapp: told to fail" in r.text, r.text
    (source / "Containerfile").write_text(webapp["Containerfile"].replace("VERSION=1", "VERSION=3"))
    wait_for(lambda: (r := box.get(path + "/json")).status_code == 200 and r.json()["env"]["VERSION"] == "3", "the cure")


# --- nothing said: what the Containerfile tells

# httpd is the tool; npm, a script, stands for one that installs packages beside the source.
SERVE = """FROM alpine
WORKDIR /app
COPY npm package.json /usr/local/bin/
RUN mv /usr/local/bin/npm /bin/npm && chmod +x /bin/npm
COPY package.json .
RUN npm ci
COPY . .
EXPOSE 8000
CMD ["httpd", "-f", "-p", "8000", "-h", "/app"]
"""
NPM = "#!/bin/sh\nmkdir -p node_modules && cp package.json node_modules/installed\n"
# What is built from the source runs in an image without the tools.
BUILD = """FROM alpine AS builder
WORKDIR /src
COPY . .
RUN make_it() { mkdir -p out/www && cat page.txt > out/www/index.html && cp serve.sh out/server && chmod +x out/server; } && make_it
FROM alpine
COPY --from=builder /src/out /opt
ENV ROLE=final-stage
EXPOSE 8000
CMD ["/opt/server", "/opt/www"]
"""


@pytest.fixture(scope="module")
def alpine(engine):
    engines.ensure(engine, "alpine")


@pytest.fixture
def one_engine(engine):
    """Nothing here depends on the engine: one is enough, unless there is time."""
    if engine.name == "podman" and os.environ.get("OPENRUN_TEST_ALL") != "1":
        pytest.skip("with OPENRUN_TEST_ALL=1")


def develop(box, path, source, *more):
    box.cli("app", "create", "--dev", "--spec", "container", "--approve", *more, str(source), path)


def test_an_app_is_developed_in_its_own_image(box, engine, alpine, path, folder):
    source = folder({"Containerfile": SERVE, "npm": NPM, "package.json": "1", "page.txt": "one"})
    develop(box, path, source)
    assert box.get(path + "/page.txt").text == "one"
    first = container(box, engine, path)
    assert first["Config"]["WorkingDir"] == "/app" and [m["Source"] for m in first["Mounts"] if m["Destination"] == "/app"] == [str(source)]
    assert box.get(path + "/node_modules/installed").text == "1", "packages of the image are hidden by the source"
    assert not os.listdir(source / "node_modules"), "packages have come into the source"
    folder({"page.txt": "two"})
    assert box.get(path + "/page.txt").text == "two", "no copy of it"

    def is_again():
        now = container(box, engine, path)
        return now and now["Id"] == first["Id"] and now["State"]["StartedAt"] != first["State"]["StartedAt"]
    wait_for(is_again, "the container to be started again")
    # Other packages need another image, and what the old one has installed goes with its container.
    folder({"package.json": "2"})
    wait_for(lambda: box.get(path + "/node_modules/installed").text == "2", "the new packages")
    now = wait_for(lambda: container(box, engine, path), "the old one to go")
    assert now["Config"]["Image"] != first["Config"]["Image"]


def test_what_is_built_is_built_at_each_start_and_once(one_engine, box, engine, alpine, path, folder):
    source = folder({"Containerfile": BUILD, "page.txt": "one", "serve.sh": "#!/bin/sh\nexec httpd -f -p 8000 -h $1\n"})
    develop(box, path, source)
    assert box.get(path + "/index.html").text == "one"
    now = wait_for(lambda: container(box, engine, path), "the container")
    assert now["Config"]["Entrypoint"] in (["sh"], "sh") and now["Config"]["Cmd"][1].endswith("} && exec /src/out/server /src/out/www")
    assert "ROLE=final-stage" in now["Config"]["Env"]
    folder({"page.txt": "two"})
    wait_for(lambda: box.get(path + "/index.html").text == "two", "the change to be built")
    # What it has built into the source is no change: after a while nothing starts again.
    folder({"page.txt": "three"})
    wait_for(lambda: box.get(path + "/index.html").text == "three", "the next change to be built")

    def is_quiet():
        seen = sum("dev app reloaded" in line["message"] for line in box.log())
        started = (container(box, engine, path) or {}).get("State", {}).get("StartedAt")
        folder({"out/www/other": str(seen)})
        wait_for(lambda: sum("dev app reloaded" in line["message"] for line in box.log()) > seen, "a reload")
        return started and (container(box, engine, path) or {}).get("State", {}).get("StartedAt") == started
    wait_for(is_quiet, "no more starts")


def test_a_command_that_was_made_up_says_so_when_it_fails(one_engine, box, alpine, path, folder):
    source = folder({"Containerfile": BUILD, "page.txt": "one", "serve.sh": "#!/bin/sh\necho broken; exit 3\n"})
    develop(box, path, source, "--conf", "container.health_attempts_after_startup=2")
    r = box.get(path + "/index.html")
    assert r.status_code == 500 and "exited with code 3" in r.text and "was made from the Containerfile" in r.text, r.text
    assert '"disable": True' in r.text and 'stage named "dev"' in r.text


def test_a_stage_for_development_is_used(one_engine, box, engine, alpine, path, folder):
    text = ('FROM alpine AS dev\nWORKDIR /work\nCOPY . .\nEXPOSE 8000\nCMD httpd -f -p 8000 -h .\n'
            'FROM scratch\nCOPY --from=dev /work /work\nEXPOSE 8000\nCMD ["/work/none"]\n')
    develop(box, path, folder({"Containerfile": text, "page.txt": "one"}))
    assert box.get(path + "/page.txt").text == "one"
    assert container(box, engine, path)["Config"]["WorkingDir"] == "/work"


@pytest.mark.parametrize("params, message", [
    (["dev_reload=sometimes"], "reload must be none, restart or recreate"), (["dev_dir=src"], "dir must be absolute")],
    ids=["reload", "dir"])
def test_wrong_dev_settings(box, engine, path, source, params, message):
    flags = {p.split("=")[0]: p for p in ["dev_dir=/src", "dev_command=x", *params]}
    result = box.try_cli("app", "create", "--dev", "--spec", "container", "--approve",
                         *[f for p in flags.values() for f in ("--param", p)], str(source), path)
    assert message in (result.err if result.code else box.get(path).text)


def test_a_stage_for_development_may_not_be_the_last(box, engine, path, folder, webapp):
    source = folder({**webapp, "Containerfile": webapp["Containerfile"].replace("FROM scratch", "FROM scratch AS dev")})
    result = box.try_cli("app", "create", "--spec", "container", "--approve", str(source), path)
    assert "which is for development" in (result.err if result.code else box.get(path).text)


# --- without a container ---

@pytest.fixture
def plain(new_server, folder):
    """A server without containers, and a dev app at /x: (server, folder, what it answers)."""
    s = new_server({"system": {"file_watcher_debounce_millis": 50}}).start()
    source = folder(sources.text_app("one"))
    s.cli("app", "create", "--dev", "--approve", str(source), "/x")
    assert s.get("/x").text == "one"
    return s, source


def says(server, text, status=200):
    def look():
        r = server.get("/x")
        return r.status_code == status and text in r.text
    wait_for(look, lambda: f"{text!r}, it is {server.get('/x').text!r}")


def test_a_starlark_app_is_evaluated_again(plain, folder):
    server, source = plain
    folder(sources.text_app("two"))
    says(server, "two")
    (source / "app.star").write_text("def broken(:\n")
    says(server, "app.star:1", 500)
    wait_for(lambda: "dev app failed to reload" in str(server.log()), "the log to tell of it")
    folder(sources.text_app("three"))
    says(server, "three")


def test_new_folders_are_watched_and_ignored_ones_are_not(plain, folder):
    server, source = plain

    def reloads():
        return sum(line["message"].startswith("dev app reloaded") for line in server.log())
    text = 'load("lib/deep/words.star", "WORD")\ndef say(req):\n    return WORD\napp = ace.app("T", routes=[ace.api("/", say, type="TEXT")])\n'
    folder({"lib/deep/words.star": 'WORD = "deep"\n', "app.star": text})
    says(server, "deep")
    folder({"lib/deep/words.star": 'WORD = "deeper"\n'})
    says(server, "deeper")
    shutil.rmtree(source / "lib")
    folder({"lib/deep/words.star": 'WORD = "anew"\n'})
    says(server, "anew")
    folder({"lib/deep/words.star": 'WORD = "and again"\n'})
    says(server, "and again")
    folder({".git/x/y": "1", "node_modules/a/b.js": "1", "a.pyc": "1"})
    before = None
    while before != reloads():   # what the changes above have caused has ended
        before = reloads()
        folder({"lib/deep/words.star": f'WORD = "{before}"\n'})
        says(server, str(before))
    count = reloads()
    for i in range(5):
        folder({".git/x/y": str(i), ".git/z": str(i), "node_modules/a/b.js": str(i), "a.pyc": str(i), "__pycache__/q": str(i)})
    folder({"lib/deep/words.star": 'WORD = "last"\n'})
    says(server, "last")
    wait_for(lambda: reloads() > count, "the reload of the last change")
    assert reloads() <= count + 2


def test_a_source_folder_that_is_another_one_is_watched_again(plain, folder):
    server, source = plain
    shutil.rmtree(source)
    server.get("/x")
    wait_for(lambda: "dev app failed to reload" in str(server.log()), "the loss to be noticed")
    folder(sources.text_app("made again"))
    says(server, "made again")
    folder(sources.text_app("and changed"))
    says(server, "and changed")
    # As a checkout does it: the new one is there before anybody has looked.
    source.rename(source.with_name("old"))
    folder({"lib/words.star": 'WORD = "swapped"\n',
            "app.star": 'load("lib/words.star", "WORD")\ndef say(req):\n    return WORD\napp = ace.app("T", routes=[ace.api("/", say, type="TEXT")])\n'})
    says(server, "swapped")
    folder({"lib/words.star": 'WORD = "followed"\n'})
    says(server, "followed")
    (source.with_name("old") / "app.star").write_text("broken(")   # no longer anybody's source
    # A thing of the folder's own name in it is like any other.
    folder({f"{source.name}/words.star": 'WORD = "deep"\n',
            "app.star": f'load("{source.name}/words.star", "WORD")\ndef say(req):\n    return WORD\napp = ace.app("T", routes=[ace.api("/", say, type="TEXT")])\n'})
    says(server, "deep")
    folder({f"{source.name}/words.star": 'WORD = "deeper"\n'})
    says(server, "deeper")


def test_changes_while_the_server_is_down_and_after_a_deletion(plain, folder):
    server, source = plain
    server.stop()
    folder(sources.text_app("while away"))
    server.start()
    says(server, "while away")
    folder(sources.text_app("back"))
    says(server, "back")
    server.cli("app", "delete", "/x")
    folder(sources.text_app("gone"))
    assert server.get("/x").status_code == 404
    server.cli("app", "create", "--dev", "--approve", str(source), "/x")
    says(server, "gone")
    folder(sources.text_app("here again"))
    says(server, "here again")
