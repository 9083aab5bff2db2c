"""Private repositories: keys over ssh, tags and short commits, what is left out, and that nothing asks or tells."""
# SPDX-License-Identifier: Apache-2.0
import base64
import json
import os
import sys

import pytest

import sources
from sources import Repo, text_app

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----"
PHRASE = "correct horse 'battery' \"staple\" $HOME"

# An ssh that knows one key, and serves repositories of this machine: the arguments it got are in a file.
FAKE_SSH = """#!{python}
import json, os, shlex, stat, subprocess, sys
args, options, plain = sys.argv[1:], [], []
record = dict(argv=args, phrase=None, key=None, mode=None, prompts="SSH_ASKPASS" in os.environ)
i = 0
while i < len(args) and args[i].startswith("-"):
    if args[i] == "-i":
        record["key"] = open(args[i + 1]).read()
        record["mode"] = stat.S_IMODE(os.stat(args[i + 1]).st_mode)
    i += 2
host, command = args[i], args[i + 1:]
record.update(host=host, command=command)
if os.environ.get("SSH_ASKPASS"):
    record["phrase"] = subprocess.run([os.environ["SSH_ASKPASS"], "Enter passphrase"], capture_output=True, text=True).stdout
with open("{log}", "a") as f:
    f.write(json.dumps(record) + "\\n")
if "unknown" in host:
    sys.exit(print("Host key verification failed.", file=sys.stderr) or 255)
if not (record["key"] or "").startswith("{first}"):
    sys.exit(print(host + ": Permission denied (publickey).", file=sys.stderr) or 255)
words = shlex.split(" ".join(command))
repo = words[-1].lstrip("/").removesuffix(".git")
os.execvp("git", ["git", "upload-pack", os.path.join("{base}", repo)])
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    w = sources.World(tmp_path_factory.mktemp("git"), user="me")
    w.bin = tmp_path_factory.mktemp("bin")
    w.log = w.bin / "log"
    ssh = w.bin / "ssh"
    ssh.write_text(FAKE_SSH.format(python=sys.executable, log=w.log, base=w.base, first=KEY.splitlines()[0]))
    ssh.chmod(0o755)
    w.key_file = w.bin / "deploy key's"
    w.key_file.write_text(KEY + "\n")
    w.key_file.chmod(0o600)
    w.repo = Repo(w.base / "org" / "apps")
    w.first = w.repo.commit(text_app("one"))
    w.repo.git("tag", "-a", "v1", "-m", "release")
    w.repo.git("tag", "light")
    w.second = w.repo.commit({**text_app("two"), "sub/app.star": text_app("sub")["app.star"]})
    with w:
        yield w


@pytest.fixture(scope="module")
def server(world, tmp_path_factory):
    import openrun
    config = {"git_auth": {
        "file": {"key_file_path": str(world.key_file)},
        "text": {"private_key": KEY, "user_id": "deploy"},
        "phrase": {"private_key": KEY, "password": PHRASE},
        "refused": {"private_key": "-----BEGIN ANOTHER-----\nx\n-----END ANOTHER-----"},
        "gone": {"key_file_path": "/no/such/key"},
        "token": {"user_id": "me", "password": "s3cret"},
    }}
    world.tmp = tmp_path_factory.mktemp("tmp")
    env = {"PATH": f"{world.bin}:{os.environ['PATH']}", "HOME": str(world.bin), "TMPDIR": str(world.tmp)}
    s = openrun.Server(tmp_path_factory.mktemp("home"), config, env=env).start()
    yield s
    s.dispose()


@pytest.fixture
def calls(world):
    """What ssh was called with, since the test began."""
    world.log.write_text("")
    return lambda: [json.loads(line) for line in world.log.read_text().splitlines()]


def create(server, url, path="/x", *args):
    server.cli("app", "create", *args, url, path)
    text = server.get(path).text
    server.cli("app", "delete", path)
    return text


@pytest.mark.parametrize("auth, user", [("file", "git"), ("text", "deploy"), ("phrase", "git")])
def test_key_over_ssh(server, world, calls, auth, user):
    assert create(server, "https://git.example.org:8443/org/apps", "/x", "--git-auth", auth) == "two"
    assert calls()
    for call in calls():
        line = " ".join(call["argv"])
        assert call["host"] == f"{user}@git.example.org" and "8443" not in line
        assert "StrictHostKeyChecking=yes" in line and "IdentitiesOnly=yes" in line
        assert call["key"].strip() == KEY and call["mode"] == 0o600
        assert "PRIVATE KEY" not in line and PHRASE not in line
        assert call["phrase"] == (PHRASE + "\n" if auth == "phrase" else None)
        assert ("BatchMode=yes" in line) == (auth != "phrase")
    assert len([c for c in calls() if "upload-pack" in " ".join(c["command"])]) <= 2


def test_ssh_with_a_port(server, world, calls):
    assert create(server, "ssh://me@git.example.org:2222/org/apps/sub", "/x", "--git-auth", "text") == "sub"
    line = " ".join(calls()[0]["argv"])
    assert "-p 2222" in line and "me@git.example.org" in line


def test_key_that_is_refused(server, calls):
    message = server.fails("app", "create", "--git-auth", "refused", "git@git.example.org:org/apps", "/x")
    assert "authentication failed" in message and "refused" in message and "ANOTHER" not in message


def test_host_that_is_not_known(server, calls):
    message = server.fails("app", "create", "--git-auth", "file", "git@unknown.example.org:org/apps", "/x")
    assert "host key is not known" in message and "known_hosts" in message


def test_key_file_that_is_not_there(server, calls):
    message = server.fails("app", "create", "--git-auth", "gone", "git@git.example.org:org/apps", "/x")
    assert "git_auth entry gone" in message and "/no/such/key" in message and calls() == []


def test_without_credentials_ssh_does_not_ask(server, calls):
    message = server.fails("app", "create", "git@git.example.org:org/apps", "/x")
    assert "authentication failed" in message
    assert all("BatchMode=yes" in " ".join(c["argv"]) and not c["prompts"] for c in calls())


@pytest.mark.parametrize("args, text", [
    (["--branch", "v1"], "one"), (["--branch", "light"], "one"), (["--branch", "refs/tags/v1"], "one"),
    (["--commit", "v1"], "one"), (["--commit", "SHORT"], "one"), (["--commit", "FULL"], "one"),
])
def test_tags_and_short_commits(server, world, args, text):
    args = [{"SHORT": world.first[:8], "FULL": world.first}.get(a, a) for a in args]
    server.cli("app", "create", *args, f"{world.http.url}/org/apps", "/x")
    assert server.get("/x").text == text
    assert server.apps()["/x"]["metadata"]["version_metadata"]["git_commit"] == world.first
    server.cli("app", "delete", "/x")


def test_token_over_http_with_a_port(server, world):
    private = Repo(world.base / "private" / "apps")
    private.commit(text_app("private"))
    assert create(server, f"{world.http.url}/private/apps", "/x", "--git-auth", "token") == "private"
    host = world.http.url.replace("http://", "http://somebody@")
    assert create(server, f"{host}/private/apps", "/x", "--git-auth", "token") == "private"


def test_password_in_an_address_is_refused(server, world, tmp_path):
    """What would be in the metadata, in lists and logs is not taken; the message says where it belongs, without it."""
    bad = world.http.url.replace("http://", "http://me:hunter2@")
    (tmp_path / "apps.star").write_text(f'app("/y", "{bad}/org/apps")\n')
    for args in (["app", "create", f"{bad}/org/apps", "/x"], ["app", "create", "--dev", f"{bad}/org/apps", "/x"],
                 ["apply", f"{bad}/org/apps/apps.star"], ["apply", str(tmp_path / "apps.star")],
                 ["sync", "schedule", f"{bad}/org/apps/apps.star"]):
        message = server.fails(*args)
        assert "[git_auth.NAME]" in message and f"{world.http.url}/org/apps" in message and "hunter2" not in message, message
    assert server.apps() == {} and not traces(server, "hunter2")
    server.cli("app", "create", f"{bad.replace(':hunter2', '')}/org/apps?token=hunter2", "/x")
    assert server.apps()["/x"]["source_url"] == f"{world.http.url}/org/apps"
    server.cli("app", "delete", "/x")
    assert not traces(server, "hunter2")


def traces(server, secret):
    return [str(f) for f in server.home.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]


def test_password_that_an_older_program_stored_is_not_shown(server, world, tmp_path):
    (tmp_path / "apps.star").write_text(f'app("/x", "{world.http.url}/org/apps")\n')
    server.cli("apply", "--approve", str(tmp_path / "apps.star"))
    old = world.http.url.replace("http://", "http://me:hunter2@")
    with server.metadata() as db:
        for row in db.execute("SELECT id, source_url, metadata FROM apps").fetchall():
            metadata = json.loads(row["metadata"])
            info = json.loads(base64.b64decode(metadata["version_metadata"]["apply_info"]))
            info["source_url"] = f"{old}/org/apps"
            metadata["version_metadata"]["apply_info"] = base64.b64encode(json.dumps(info).encode()).decode()
            db.execute("UPDATE apps SET source_url = ?, metadata = ? WHERE id = ?",
                       (f"{old}/org/apps", json.dumps(metadata), row["id"]))
    server.restart()
    said = [server.cli(*args) for args in (["app", "list", "--format", "json", "--internal"], ["app", "list"], ["app", "show", "/x"],
                                           ["version", "list", "--format", "json", "/x"], ["export"],
                                           ["--verbose", "app", "reload", "--force-reload", "/x"])]
    said += [server.try_cli("--verbose", "apply", "--reload", "matched", str(tmp_path / "apps.star")).err]
    (tmp_path / "apps.star").write_text(f'app("/x", "{world.http.url}/org/parent")\n')
    said += [server.fails("apply", str(tmp_path / "apps.star"))]
    assert f"{world.http.url}/org/apps" in said[0] and server.get("/x").text == "two"
    info = [json.loads(base64.b64decode(r["metadata"]["version_metadata"]["apply_info"])) for r in json.loads(said[0])]
    assert {i["source_url"] for i in info} == {f"{world.http.url}/org/apps"}
    assert not any("hunter2" in text for text in said), said
    assert {os.path.dirname(f) for f in traces(server, "hunter2")} <= {str(server.home / "metadata")}
    server.cli("app", "delete", "/x")


def test_submodules_and_lfs_are_left_out_with_a_word(server, world):
    other = Repo(world.base / "org" / "other")
    other.commit({"x": "x"})
    repo = Repo(world.base / "org" / "parent")
    repo.commit(text_app("parent"))
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.path), "vendored")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 12345\n"
    repo.commit({"model.bin": pointer, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    result = server.try_cli("--verbose", "app", "create", f"{world.http.url}/org/parent", "/x")
    assert result.code == 0, result
    assert "vendored is a git submodule; submodules are not fetched" in result.err
    assert "model.bin" in result.err and "LFS" in result.err
    files = server.cli("version", "files", "--format", "csv", "/x")
    assert "model.bin" in files and "vendored/" not in files
    server.cli("app", "delete", "/x")


def test_nothing_was_told(server, world):
    """In no log is a secret, and no temporary key stays."""
    text = "".join(f.read_text(errors="replace") for f in (server.home / "logs").iterdir())
    for secret in ("s3cret", "bm90IGEga2V5", "battery"):
        assert secret not in text
    assert list(world.tmp.iterdir()) == []
