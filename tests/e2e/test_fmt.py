"""`fmt`: the layout of Starlark files, without a server."""
# SPDX-License-Identifier: Apache-2.0
import os
import stat

import pytest

import openrun

UGLY = """# apps
app('/x', '-', spec = 'static', # why
    params={'b':'1','a':'2'})
def f( a ): # f
  return [ a,1 ]
"""
NICE = """# apps
app("/x",
    "-",
    spec="static",  # why
    params={"b": "1", "a": "2"})

def f(a):  # f
    return [a, 1]
"""


def fmt(*args, **kw):
    return openrun.run("fmt", *args, **kw)


@pytest.fixture
def here(tmp_path):
    (tmp_path / "ugly.star").write_text(UGLY)
    (tmp_path / "nice.star").write_text(NICE)
    return tmp_path


def test_to_standard_output(here):
    done = fmt("ugly.star", cwd=here)
    assert (done.code, done.out, done.err) == (0, NICE, "")
    assert (here / "ugly.star").read_text() == UGLY
    assert openrun.run("pretty-print", here / "nice.star").out == NICE
    assert fmt("-", stdin=UGLY).out == NICE


def test_to_a_file_of_the_callers_folder(here):
    assert fmt("ugly.star", "-o", "out.star", cwd=here).code == 0
    assert (here / "out.star").read_text() == NICE
    assert fmt("-o", "-", "ugly.star", cwd=here).out == NICE


def test_back_to_the_files(here):
    os.chmod(here / "ugly.star", 0o600)
    (here / "link.star").symlink_to("ugly.star")
    before = (here / "nice.star").stat()
    assert fmt("-w", "link.star", "nice.star", cwd=here).code == 0
    assert (here / "link.star").is_symlink() and (here / "ugly.star").read_text() == NICE
    assert stat.S_IMODE((here / "ugly.star").stat().st_mode) == 0o600
    assert (here / "nice.star").stat().st_ino == before.st_ino
    assert sorted(p.name for p in here.iterdir()) == ["link.star", "nice.star", "ugly.star"]


def test_check(here):
    done = fmt("--check", "ugly.star", "nice.star", cwd=here)
    assert (done.code, done.out, done.err) == (1, "ugly.star\n", "")
    assert (here / "ugly.star").read_text() == UGLY
    assert fmt("--check", "nice.star", cwd=here).code == 0


@pytest.mark.parametrize("args,message", [
    ([], "expected one argument: <filePath>"),
    (["-w", "-o", "x", "ugly.star"], "cannot use both --write and --output"),
    (["ugly.star", "nice.star"], "only be formatted with --write or --check"),
    (["missing.star"], "no such file"),
    (["."], "is a folder"),
    (["https://github.com/org/repo/apps.star"], "only local files"),
    (["broken.star"], "broken.star:2:"),
])
def test_what_is_refused(here, args, message):
    (here / "broken.star").write_text("x = 1\ny = = 2\n")
    done = fmt(*args, cwd=here)
    assert done.code == 1 and message in done.err.lower() or message in done.err, done


def test_a_bad_file_does_not_stop_the_others(here):
    (here / "broken.star").write_text("x = (")
    done = fmt("-w", "broken.star", "ugly.star", "gone.star", cwd=here)
    assert done.code == 1 and "broken.star:1:" in done.err and "gone.star" in done.err
    assert (here / "ugly.star").read_text() == NICE and (here / "broken.star").read_text() == "x = ("


def test_the_api_has_it_too(server, here):
    import http.client, json, socket, urllib.parse

    class Unix(http.client.HTTPConnection):
        def connect(self):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(str(server.home / "run" / "openrun.sock"))

    def get(path):
        c = Unix("localhost")
        c.request("GET", "/_openrun/pretty_print?applyPath=" + urllib.parse.quote(str(path)))
        r = c.getresponse()
        return r.status, json.loads(r.read())
    assert get(here / "ugly.star") == (200, {"config": NICE})
    assert get(here)[0] == 400 and get("ugly.star")[0] == 400 and get("github.com/a/b/c.star")[0] == 400
    assert get(here / "none.star")[0] == 404
