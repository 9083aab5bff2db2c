"""Bad input to operations: each is refused with a message that says what is wrong, and leaves nothing behind."""
# SPDX-License-Identifier: Apache-2.0
import os
import re
import shutil
import subprocess

import pytest

import openrun
import sources



@pytest.fixture
def source(folder):
    return str(folder(sources.text_app("hi")))


@pytest.fixture(autouse=True)
def nothing_left(request):
    """After every test the shared server has no apps and still works."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        left = server.apps("--internal")
        if left:
            server.cli("app", "delete", "all")
        assert not left or request.node.get_closest_marker("leaves_apps"), left
        for table in ("apps", "app_versions", "app_files"):
            assert server.rows(f"select count(*) n from {table}") == [{"n": 0}], table


def refused(server, source, path, *flags):
    return server.fails("app", "create", *flags, source, path)


@pytest.mark.parametrize("spec", ["nonsense", "../static", "static/../static", "", "a/b", ".", "..", "-x"])
def test_unknown_spec(server, source, spec):
    if spec == "":
        pytest.skip("an empty spec is none")
    assert f"invalid app spec {spec}" in refused(server, source, "/x", "--spec", spec)


def test_custom_spec_of_the_home_is_known(server, folder):
    spec = server.home / "config/appspecs/mine"
    sources.folder(spec, sources.text_app("from my spec"))
    server.cli("app", "create", "--spec", "mine", "-", "/x")
    assert server.get("/x").text == "from my spec"
    server.cli("app", "delete", "/x")


@pytest.mark.parametrize("spec, param", [("proxy", "url"), ("image", "image"), ("static_single", "index")])
def test_missing_required_param(server, folder, spec, param):
    source = "-" if spec != "static_single" else str(folder({"index.html": "x"}))
    message = refused(server, source, "/x", "--spec", spec)
    assert f"param {param} is a required param, a value has to be provided" in message


def test_source_that_does_not_exist(server, tmp_path):
    missing = tmp_path / "missing"
    assert f"path does not exist {missing}" in refused(server, str(missing), "/x")
    assert "path does not exist" in refused(server, "relative/missing", "/x")


def test_source_that_is_a_file_or_unreadable(server, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    assert str(file) in refused(server, str(file), "/x")


def test_empty_source(server, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "app.star" in refused(server, str(empty), "/x")


def test_no_source_and_no_spec(server):
    assert refused(server, "-", "/x")
    assert refused(server, "", "/x")


@pytest.mark.parametrize("path, message", [
    ("nope", 'expected path to start with "/"'), ("a:b:/c", 'expected one ":"'), ("/a/../b", "/a/../b"), ("/a/.", "/a/."),
    ("/a/./b", "/a/./b"), ("/x_cl_stage", "_cl_"), ("/_openrun", "_openrun"), ("/_openrun/x", "_openrun"),
    ("/_openrun_webhook", "_openrun"), ("//x", "//x"), ("/a//b", "/a//b"), ("/a?b", "/a?b"), ("/a#b", "/a#b"), ("/a%20b", "%"),
    ("/a\tb", ""), ("/a\nb", ""), ("/a\x7fb", ""), ("bad domain:/x", "bad domain"), ("-x.test:/x", "-x.test"),
    ("a..b:/x", "a..b"), ("*.test:/x", "*.test"), ("auth.localhost:/x", "auth callback domain"), ("http://x:/y", ":"),
    ("/" + "a" * 5000, ""), ("/" + "a/" * 100, "")],
    ids=lambda v: repr(v)[:30] if v else "")
def test_invalid_paths(server, source, path, message):
    error = refused(server, source, path)
    assert message in error, error


@pytest.mark.leaves_apps
def test_unusual_paths_that_are_valid(server, source):
    for path, asked in (("/a b", "/a%20b"), ("/ünï", "/%C3%BCn%C3%AF"), ("/" + "/".join("d" * 20), "/" + "/".join("d" * 20)),
                        ("/a+b=c&d;e,f", "/a+b=c&d;e,f"), ("/.hidden", "/.hidden"), ("/~me", "/~me")):
        server.cli("app", "create", source, path)
        assert server.get(asked).text == "hi", path


@pytest.mark.parametrize("first, second", [
    ("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a"), ("/a", "/"), ("/", "/a"), ("/a", "/a/"), ("/a", "localhost:/a"),
    ("d.test:/a", "d.test:/a/b"), ("d.test:/a", "D.TEST:/a"), ("/a", "stage.localhost:/a"), ("stage.localhost:/a", "/a")])
@pytest.mark.leaves_apps
def test_overlapping_paths(server, source, first, second):
    server.cli("app", "create", source, first)
    before = server.apps("--internal", "all")
    error = refused(server, source, second)
    assert "App already exists at" in error or "overlaps with existing app at" in error, error
    assert server.apps("--internal", "all") == before


@pytest.mark.leaves_apps
def test_paths_that_only_look_alike(server, source):
    for path in ("/a", "/ab", "/a-b", "/A", "other.test:/a"):
        server.cli("app", "create", source, path)
    assert server.get("/a").text == server.get("/ab").text == "hi"


@pytest.mark.parametrize("flags, message", [
    (["--conf", "container.idle_shutdown_secs"], "invalid app config format"),
    (["--conf", "container.idle_shutdown_secs=soon"], "container.idle_shutdown_secs"),
    (["--conf", "security.headers_level=[1"], "security.headers_level"),
    (["--cvol", "--port"], "values cannot start with --"),
    (["--carg", "novalue"], "invalid container arg format"),
    (["--auth", "nonsense"], "invalid authentication type"),
    (["--stage-at", "a:b"], "a:b"),
    (["--param", "novalue"], "invalid param format"),
], ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_flags(server, source, flags, message):
    assert message in refused(server, source, "/x", *flags)


@pytest.mark.leaves_apps
def test_bad_updates(server, source):
    server.cli("app", "create", source, "/x")
    before = server.apps("--internal")
    for args, message in ((["app", "update", "conf", "a.b.c", "/x"], ""), (["app", "update", "copt", "=x", "/x"], ""),
                          (["app", "update", "auth", "x", "y", "/x"], ""), (["app", "update", "spec", "nonsense", "/x"], "nonsense"),
                          (["app", "settings", "stage-write-access", "perhaps", "/x"], "expected true or false"),
                          (["version", "switch", "9", "/x"], "9"), (["version", "list", "/nothing"], "/nothing")):
        assert message in server.fails(*args)
    assert server.apps("--internal") == before


def test_container_app_without_an_engine(server, folder, webapp):
    """container_command = "": the app can be made, and says why it cannot be served."""
    app = str(folder(webapp))
    result = server.try_cli("app", "create", "--spec", "container", "--approve", app, "/x")
    if result.code == 0:
        r = server.get("/x")
        assert r.status_code in (500, 503)
        message = r.text
        server.cli("app", "delete", "/x")
    else:
        message = result.err
    assert "container" in message and ("docker" in message.lower() or "container_command" in message), message


def test_engine_that_does_not_exist(new_server):
    s = new_server({"system": {"container_command": "/no/such/engine"}})
    done = s.try_cli("server", "start", timeout=60)
    assert done.code == 1 and "/no/such/engine" in done.out, done


def test_huge_and_odd_sources(server, tmp_path):
    """Many files, deep folders, odd names, a large file, an executable: all arrive as they are."""
    import hashlib
    import json
    files = {f"d/{i % 50}/f{i}.txt": f"{i}\n" for i in range(2000)}
    files |= {"/".join("deep" for _ in range(30)) + "/x.txt": "deep\n", "sp ace/ünïcödé ☃.txt": "odd\n",
              "big.bin": os.urandom(1 << 20) * 20, ".hidden": "dot\n", "-dash": "dash\n",
              "app.star": 'app = ace.app("x", static_only=True)\n'}
    source = sources.folder(tmp_path / "odd", files)
    (source / ".git").mkdir()
    (source / ".git/config").write_text("not stored")
    os.mkfifo(source / "fifo")
    server.cli("app", "create", str(source), "/odd")
    stored = {f["Name"]: f["Etag"] for f in json.loads(server.cli("version", "files", "--format", "json", "/odd"))}
    assert stored == {n: hashlib.sha256(c if isinstance(c, bytes) else c.encode()).hexdigest() for n, c in files.items()}
    r = server.get("/odd/big.bin")
    assert hashlib.sha256(r.content).hexdigest() == stored["big.bin"]
    assert server.get("/odd/sp%20ace/%C3%BCn%C3%AFc%C3%B6d%C3%A9%20%E2%98%83.txt").text == "odd\n"
    server.cli("app", "delete", "/odd")
    assert server.rows("select count(*) n from files") == [{"n": 0}], "contents nobody uses are gone"


# --- a full disk ---

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as f:
        for size in (65536, 4096, 1):
            try:
                while f.write(b"\0" * size):
                    pass
            except OSError:
                pass


def test_full_disk(small_disk, folder):
    """An operation that does not fit fails with a clear message; what was there serves on, and all works again later."""
    s = openrun.Server(small_disk / "home").start()
    try:
        small = str(folder(sources.text_app("hi"), "small"))
        s.cli("app", "create", small, "/small")
        before = s.apps("--internal")
        # To the last byte: even logs cannot be written.
        filler = small_disk / "filler"
        fill(filler)
        for _ in range(20):
            assert s.get("/small").text == "hi", "reading needs no disk"
        medium = str(folder({**sources.text_app("hi"), "medium.bin": os.urandom(3 << 20)}, "medium"))
        error = s.fails("app", "create", medium, "/second")
        assert re.search("full|no space|disk", error, re.I), error
        assert s.apps("--internal") == before
        assert s.get("/small").text == "hi"
        filler.unlink()
        with s.metadata() as db:   # as the maintenance does each minute: the log holds nothing that must be kept
            db.execute("pragma wal_checkpoint(passive)")
        large = folder({"big.bin": os.urandom(20 << 20), "app.star": 'app = ace.app("x", static_only=True)\n'}, "large")
        error = s.fails("app", "create", str(large), "/large")
        assert re.search("full|no space|disk", error, re.I), error
        assert s.apps("--internal") == before
        used = sum(f.stat().st_size for f in small_disk.rglob("*") if f.is_file())
        assert used < 6 << 20, "what did not fit does not stay on the disk either"
        s.cli("app", "create", medium, "/second")
        assert s.get("/second").text == "hi"
        s.restart()
        assert set(s.apps()) == {"/small", "/second"}
        assert s.get("/second").text == "hi"
        with s.metadata() as db:
            assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
    finally:
        s.dispose()


def test_full_disk_at_the_first_start(small_disk):
    fill(small_disk / "filler")
    home = openrun.pathlib.Path(str(small_disk)) / "home"
    try:
        home.mkdir()
    except OSError:
        pytest.skip("not even a folder fits")
    env = openrun.base_env(OPENRUN_HOME=str(home))
    done = openrun.run("server", "start", env=env, timeout=60)
    assert done.code == 1 and ("space" in done.out.lower() or "full" in done.out.lower()), done
    os.unlink(small_disk / "filler")
    shutil.rmtree(home)
