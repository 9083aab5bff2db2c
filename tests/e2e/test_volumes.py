"""Volumes, options and limits of containers: what reaches the engine, and what is refused with which words."""
# SPDX-License-Identifier: Apache-2.0
import engines
import pytest
from openrun import wait_for
from sources import tool_app

@pytest.fixture(scope="module")
def alpine(engine):
    engines.ensure(engine, "alpine")


def sh(box, path, command):
    r = box.get(path + "/run", params={"sh": command})
    assert r.status_code == 200, r.text
    assert not r.json()["error"], r.json()
    return r.json()["value"]


def test_volumes(box, engine, alpine, folder):
    mounts = box.home / "mounts" / "shared"
    mounts.mkdir(parents=True)
    (mounts / "host").write_text("from the host\n")
    text = 'two\nlines "quoted" \'single\' $HOME `x` \\ end'
    files = {
        **tool_app(f'["data:/data", "/cache", "{mounts}:/host", "{mounts}:/fixed:ro", "./conf:/conf:ro", '
                   '"cl_secret:./conf/secret.tmpl:/run/secret"]'),
        "conf/a.ini": "[a]\n", "conf/secret.tmpl": '{{range $k, $v := .params}}{{$k}}={{printf "%q" $v}}\n{{end}}',
    }
    app = folder(files)
    box.cli("app", "create", "--approve", "--param", f"TEXT={text}", "--copt", "cpus=0.5", "--copt", "memory=64m", str(app),
            "/vol")
    # Params arrive as they are, in the environment and in files.
    assert sh(box, "/vol", 'printf %s "$TEXT"') == text.split("\n")
    secret = sh(box, "/vol", "cat /run/secret; ls -l /run/secret")
    assert secret[0].startswith('TEXT="two\\nlines \\"quoted\\"')
    # Named and unnamed volumes last, binds are the host's, read-only is read-only.
    sh(box, "/vol", "echo kept > /data/file; echo kept > /cache/file; echo back > /host/answer")
    assert sh(box, "/vol", "cat /data/file /cache/file /fixed/host /conf/a.ini") == ["kept", "kept", "from the host", "[a]"]
    assert (mounts / "answer").read_text() == "back\n"
    for target in ("/fixed", "/conf"):
        r = box.get("/vol/run", params={"sh": f"echo x > {target}/new"})
        assert "exit status" in r.json()["error"]
    # What a version mounts of its source is that version's.
    (app / "conf" / "a.ini").write_text("[b]\n")
    assert sh(box, "/vol", "cat /conf/a.ini") == ["[a]"]
    box.cli("app", "reload", "--approve", "--promote", "/vol")
    assert sh(box, "/vol", "cat /conf/a.ini") == ["[b]"]
    # Limits are real.
    assert sh(box, "/vol", "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes") \
        == [str(64 << 20)]
    secrets = list((box.home / "run" / "app").glob("*/secret"))
    assert secrets and all(oct(s.stat().st_mode & 0o777) == "0o700" for s in secrets)
    box.cli("app", "delete", "/vol")
    wait_for(lambda: not list((box.home / "run" / "app").glob("app_prd_*/secret")), "the secrets of the deleted app to go")


@pytest.mark.parametrize("volumes, args, says", [
    ('["/etc:/host"]', [], "source path /etc is not within an allowed mount directory"),
    ('["../x:/x"]', [], "path must stay within its root"),
    ('["./missing:/x"]', [], 'volume source "./missing": the app\'s source has no such file or folder'),
    ('["data:relative"]', [], "target must be an absolute path"),
    ('["data:/"]', [], "target must be an absolute path"),
    ('["cl_secret:nothing"]', [], "must be cl_secret:<template>:<target>"),
    ("[]", ["--copt", "command.privileged=true"], 'container argument "privileged" is not allowed'),
    ("[]", ["--copt", "command.add-host="], 'container argument "add-host" needs a value'),
    ("[]", ["--copt", "memory=much"], 'memory "much" must be a size'),
    ("[]", ["--copt", "cpus=-1"], 'cpus "-1" must be a number'),
    ("[]", ["--cvol", "/etc/shadow:/x"], "is not within an allowed mount directory"),
])
def test_what_is_refused(box, alpine, folder, request, volumes, args, says):
    request.addfinalizer(lambda: box.try_cli("app", "delete", "/refused"))
    app = str(folder(tool_app(volumes)))
    result = box.try_cli("app", "create", "--approve", *args, app, "/refused")
    if result.code == 0:  # what only the load can tell
        r = box.get("/refused/run", params={"sh": "true"})
        assert r.status_code == 500 and says in r.text, r.text
    else:
        assert says in result.err, result


def test_a_link_that_a_container_has_made(box, alpine, folder, request):
    request.addfinalizer(lambda: box.try_cli("app", "delete", "/link"))
    outer = box.home / "mounts" / "outer"
    (outer / "inner").mkdir(parents=True)
    box.cli("app", "create", "--approve", str(folder(tool_app(f'["{outer}:/outer", "{outer}/inner:/inner"]'))), "/link")
    sh(box, "/link", "rmdir /outer/inner && ln -s /etc /outer/inner")
    r = box.get("/link/run", params={"sh": "ls /inner"})
    assert "mounts at /inner has been replaced by a link" in r.json()["error"], r.text
    (outer / "inner").unlink()
    (outer / "inner").mkdir()
    assert sh(box, "/link", "ls /inner") == []


def test_root_may_be_forbidden(new_box, docker, folder):
    engines.ensure(docker, "alpine")
    box = new_box(docker, {"security": {"forbid_root_containers": True, "allowed_container_args": {"user": "regex:^[1-9]"}}}).start()
    app = str(folder(tool_app()))
    box.cli("app", "create", "--approve", app, "/root")
    r = box.get("/root/run", params={"sh": "id -u"})
    assert "runs as root, which security.forbid_root_containers does not allow" in r.json()["error"]
    box.cli("app", "create", "--approve", "--copt", "command.user=1000", app, "/user")
    assert sh(box, "/user", "id -u") == ["1000"]
