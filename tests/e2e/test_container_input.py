"""Bad input of container apps, and what the user is told about each. On the fake engine, whose builds fail as Docker's do."""
# SPDX-License-Identifier: Apache-2.0
import re

import pytest

import openrun
from openrun import wait_for
from sources import IMAGE_APP

CONFIG = {"app_config": {"container": {"deploy_health_attempts": 3, "status_health_attempts": 2, "health_timeout_secs": 2}}}


@pytest.fixture(scope="module")
def engine(fake):
    return fake


@pytest.fixture(autouse=True)
def clean(box, fake):
    yield
    fake.faults()
    if box.apps():
        box.cli("app", "delete", "all")
    wait_for(lambda: not fake.containers(box.home), lambda: f"no containers to be left: {fake.containers(box.home)}")


def told(box, source, *flags, spec="container"):
    """What the operator is told when the app cannot be made, or be deployed."""
    result = box.try_cli("app", "create", "--spec", spec, "--approve", *flags, str(source), "/x")
    if result.code == 0:
        r = box.get("/x/")
        assert r.status_code in (500, 502, 503), r.text
        result = box.try_cli("app", "reload", "/x")
    assert result.code == 1, result
    return result.err


FILES = {   # what is wrong with the Containerfile -> (files, what the message says)
    "none": ({"main.py": ""}, ["no container file found", "Containerfile or Dockerfile"]),
    "empty": ({"Containerfile": ""}, ["Containerfile", "has no FROM"]),
    "only comments": ({"Containerfile": "# nothing\n\n# here\n"}, ["has no FROM"]),
    "no port": ({"Containerfile": "FROM scratch\n"}, ["port not specified", "EXPOSE a port"]),
    "port of a variable without a value": ({"Containerfile": "FROM scratch\nARG P\nEXPOSE $P\n"},
                                           ["port not specified", "line 3", "P", "has no value"]),
    "port that is a word": ({"Containerfile": "FROM scratch\nEXPOSE http\n"}, ["port not specified", "line 2: EXPOSE http: not a port"]),
    "port 0": ({"Containerfile": "FROM scratch\nEXPOSE 0\n"}, ["port not specified"]),
    "port 70000": ({"Containerfile": "FROM scratch\nEXPOSE 70000\n"}, ["line 2: EXPOSE 70000: not a port number"]),
    "unknown instruction": ({"Containerfile": "FROM scratch\nEXPOSE 8080\nNONSENSE here\n"}, ["NONSENSE", "line 3"]),
    "instruction before FROM": ({"Containerfile": "RUN x\nFROM scratch\nEXPOSE 1\n"}, ["line 1", "RUN before the first FROM"]),
    "FROM without an image": ({"Containerfile": "FROM\nEXPOSE 1\n"}, ["line 1", "FROM without an image"]),
    "base image that cannot be had": ({"Containerfile": "FROM registry.invalid/none:1\nEXPOSE 8080\n"},
                                      ["The base image registry.invalid/none:1 could not be had", "--carg"]),
    "step that fails": ({"Containerfile": "FROM scratch\nRUN false\nEXPOSE 8080\n"}, ["exit code: 1", "building image"]),
    "too large": ({"Containerfile": "FROM scratch\nEXPOSE 8080\n" + "# x\n" * 300_000}, ["Containerfile", "bytes"]),
}


@pytest.mark.parametrize("what", FILES)
def test_containerfile(box, folder, what):
    files, expected = FILES[what]
    error = told(box, folder(files))
    for text in expected:
        assert text in error, error


@pytest.mark.parametrize("flags, expected", [
    (["--param", "port=-1"], "port"), (["--param", "port=x"], "port"), (["--param", "port=65536"], "port"),
    (["--param", "port=99999999999999999999"], "port"),
    (["--carg", "P=word"], "EXPOSE $P (word): not a port number"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_ports_given_otherwise(box, folder, flags, expected):
    assert expected in told(box, folder({"Containerfile": "FROM scratch\nARG P\nEXPOSE $P\n"}), *flags)


def test_who_makes_an_app_that_cannot_be_served_is_told(box, folder):
    made = box.try_cli("app", "create", "--spec", "container", "--approve", str(folder({"main.py": ""})), "/x")
    assert made.code == 0 and "App created" in made.out, made
    assert "Warning: app /x cannot be served as it is: no container file found" in made.err, made
    assert "no container file found" in box.fails("app", "create", "--spec", "container", "--approve", "--verify", str(folder({}, "app")), "/y")
    made = box.try_cli("app", "create", "--spec", "container", "--approve", str(folder({"Containerfile": "FROM scratch\nEXPOSE 1\n"}, "b")), "/z")
    assert made.code == 0 and made.err == "", made


def test_who_makes_a_development_app_that_cannot_be_served_is_told(box, folder):
    source = folder({"app.star": 'load("container.in", "container")\napp = ace.app("d", container=container.config("auto", '
                                 'dev_settings={"dir": "here"}), permissions=[ace.permission("container.in", "config", ["auto"])])\n',
                     "Containerfile": "FROM scratch\nEXPOSE 8080\n"})
    made = box.try_cli("app", "create", "--dev", "--approve", str(source), "/x")
    assert made.code == 0 and "Warning: app /x cannot be served as it is: dev_settings: dir must be absolute" in made.err, made


def test_mistyped_app_config_is_told(box, folder):
    source = str(folder({"Containerfile": "FROM scratch\nEXPOSE 8080\n"}))
    says = 'app config "container.idle_shutdown_sec" is not known (did you mean "container.idle_shutdown_secs"?)'
    made = box.try_cli("app", "create", "--spec", "container", "--approve", "--conf", "container.idle_shutdown_sec=3", source, "/x")
    assert made.code == 0 and says in made.err, made
    assert says in box.try_cli("app", "update", "app-config", "container.idle_shutdown_sec=3", "/x").err
    assert box.try_cli("app", "update", "app-config", "container.idle_shutdown_sec=-", "/x").err == ""


@pytest.mark.parametrize("name", ["", "a=b", "-a", "a\nb"])
def test_names_that_no_variable_can_have(box, folder, name):
    box.cli("app", "create", "--spec", "container", "--approve", str(folder({"Containerfile": "FROM scratch\nEXPOSE 1\n"})), "/x")
    if "=" not in name:
        assert "invalid param name" in box.fails("app", "create", "--spec", "container", "--param", f"{name}=1", str(folder({}, "app")), "/y")
    assert box.try_cli("param", "update", "--", name, "1", "/x").code == 1


def test_ports_of_variables_that_have_values(box, folder, fake):
    """EXPOSE with ARG and ENV is worked out, with a protocol too, and of the last stage."""
    folder({"Containerfile": "ARG P=9000\nFROM scratch AS b\nEXPOSE 1\nFROM scratch\nARG P\nENV Q=${P:-1}\nEXPOSE ${Q}/tcp\n"}, "a")
    box.cli("app", "create", "--spec", "container", "--approve", str(folder({}, "a")), "/x")
    assert box.get("/x/json").json()["env"]["PORT"] == "9000"
    box.cli("app", "create", "--spec", "container", "--approve", "--carg", "P=9001", str(folder({}, "a")), "/y")
    assert box.get("/y/json").json()["env"]["PORT"] == "9001"


def test_containerfile_before_dockerfile(box, folder):
    box.cli("app", "create", "--spec", "container", "--approve", str(folder({
        "Containerfile": "FROM scratch\nEXPOSE 8080\nENV WHICH=containerfile\n",
        "Dockerfile": "FROM scratch\nEXPOSE 8080\nENV WHICH=dockerfile\n"})), "/x")
    assert box.get("/x/json").json()["env"]["WHICH"] == "containerfile"
    assert "There are a Containerfile and a Dockerfile: the Containerfile is used." in box.cli("app", "logs", "--build", "/x")
    folder({"Containerfile": None})
    box.cli("app", "reload", "--promote", "/x")
    assert box.get("/x/json").json()["env"]["WHICH"] == "dockerfile"


WORDS = {   # what the app's own program says when its input is wrong
    "wrong APP_MODULE": 'Error: Failed to find attribute "app" in "main"',
    "wrong app_file": "python: can't open file '/app/nothing.py': [Errno 2] No such file or directory",
    "missing package": "ModuleNotFoundError: No module named 'flask'",
    "not UTF-8": "caf\ufffd \u2603 \x1b[31mred\x1b[0m",
}


@pytest.mark.parametrize("what", WORDS)
def test_words_of_the_app_reach_the_user(box, folder, what):
    error = told(box, "-", "--param", "image=openrun-test/webapp:latest", "--param", "port=8080", "--param", "EXIT_CODE=3", "--param",
                 f"SAYS={WORDS[what]}", spec="image")
    # Terminal escapes are made harmless on the way to a terminal.
    assert "exited with code 3" in error and WORDS[what].replace("\x1b", "?") in error, error
    # Those who only visit the app are not told what it wrote.
    assert WORDS[what] not in box.get("/x/").text or box.get("/x/").status_code == 200


def test_missing_requirements_file(box, folder, fake):
    """As the build says it: its last lines are in the error, its file is named."""
    fake.faults({"call": "build", "status": 500, "message":
                 'COPY requirements.txt: failed to compute cache key: "/requirements.txt" not found: not found'})
    error = told(box, folder({"Containerfile": "FROM scratch\nCOPY requirements.txt .\nEXPOSE 8080\n"}))
    assert "requirements.txt" in error and "not found" in error


def test_build_with_endless_output(box, folder, fake):
    """A build that writes twenty megabytes and fails: the end is told, within bounds, and the server stays small."""
    fake.faults({"call": "build", "status": 500, "message": "\n".join("x" * 1000 for _ in range(20_000)) + "\nthe last line"})
    error = told(box, folder({"Containerfile": "FROM scratch\nEXPOSE 8080\n"}))
    assert "the last line" in error
    shown = error.split("error: ", 1)[1]
    assert len(shown) < 64 << 10, len(shown)
    if "build-san" not in str(openrun.binary()):
        peak = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{box.process.pid}/status").read())[1])
        assert peak < 300 << 10, f"{peak} KiB"


def test_app_with_endless_output(box, fake):
    """What an app writes before it fails is told from its end, within bounds."""
    words = "\n".join(f"{i} " + "y" * 990 for i in range(900))
    box.cli("app", "create", *IMAGE_APP, "--param", "NO_LISTEN=1", "-", "/x")
    fake.faults({"call": "logs", "before_ms": 10})
    box.get("/x/")
    for name in fake.containers(box.home):
        fake.ask("say", name=name, text=words)
    error = box.fails("app", "reload", "/x")
    assert "did not answer" in error and len(error) < 80 << 10


@pytest.mark.parametrize("image, expected", [
    ("127.0.0.1:1/none:1", "127.0.0.1:1/none:1"), ("UPPER CASE", "UPPER CASE"), ("-v/etc:/etc", "-v/etc"), ("", "image"),
    ("a" * 600, "no valid image name")])
def test_image_names(box, image, expected):
    assert expected in told(box, "-", "--param", f"image={image}", "--param", "port=8080", spec="image")
