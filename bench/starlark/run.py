#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""starlark [-n RUNS] [PROGRAM...]: the Starlark engine against the Go implementation, CPython and Lua

All engines take turns in one run; shown is the median time of each program less that of an empty one, and how
many times faster ours is. Time is CPU time (of all threads: Go collects garbage beside the program); the second
factor over Go is by the wall clock. Engines that are not installed are left out. STAR_TOOL names our binary
(default build/tests/starlark/star_tool), GO_STARLARK the Go one (default `starlark` on the PATH, else
it is installed through the module proxy when Go is there)."""
import argparse, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
# name, label, required factor over Go
PROGRAMS = [
    ("fib", "recursive fib(30)", 6), ("ints", "int loops below and above 32 bits", 15),
    ("strings", "string building, %, format, split, join", 4), ("containers", "dicts, lists, comprehensions, sort", 4),
    ("calls", "builtin and method calls", 6), ("attrs", "attribute access", 5), ("handler", "a typical handler", 5),
    ("large", "parse, resolve, compile 10,000 lines", 5), ("big", "big integers", 1),
]
PYTHON = """
import sys, json, math
class J: encode = staticmethod(lambda v: json.dumps(v, sort_keys=True, separators=(',', ':')))
sys.setrecursionlimit(10000)
if hasattr(sys, 'set_int_max_str_digits'): sys.set_int_max_str_digits(0)
""" + "exec(compile(open(sys.argv[1]).read(), sys.argv[1], 'exec'), {'json': J, 'math': math})"

def cpu(cmd):
    start = time.perf_counter()
    pid = os.posix_spawnp(cmd[0], cmd, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
    _, status, use = os.wait4(pid, 0)
    return use.ru_utime + use.ru_stime, time.perf_counter() - start, status

def install_go_engine():
    """The current Go implementation through the module proxy, kept in the build folder; None without Go."""
    place = root / "build/go"
    if shutil.which("go") and not (place / "starlark").exists():
        subprocess.run(["go", "install", "go.starlark.net/cmd/starlark@latest"], env=dict(os.environ, GOBIN=str(place)))
    return str(place / "starlark") if (place / "starlark").exists() else None

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("-n", type=int, default=7)
    ap.add_argument("programs", nargs="*")
    args = ap.parse_args()
    ours = os.environ.get("STAR_TOOL", str(root / "build/tests/starlark/star_tool"))
    go = os.environ.get("GO_STARLARK") or shutil.which("starlark") or install_go_engine()
    engines = {"ours": lambda f: [ours, "-recursion", "-while", "-set", f]}
    if go:
        engines["go"] = lambda f: [go, "-recursion", "-globalreassign", f]
    else:
        print("the Go implementation is not installed: go install go.starlark.net/cmd/starlark@latest, or set GO_STARLARK")
    python = shutil.which("python3.11") or sys.executable
    engines["python"] = lambda f: [python, "-c", PYTHON, f]
    if shutil.which("lua5.4"):
        engines["lua"] = lambda f: ["lua5.4", f]
    with tempfile.TemporaryDirectory() as tmp:
        large = pathlib.Path(tmp) / "large.star"
        large.write_text(subprocess.run([sys.executable, here / "gen_large.py"], check=True, capture_output=True, text=True).stdout)
        empty = pathlib.Path(tmp) / "empty.lua"
        empty.write_text("")
        base, base_wall = {}, {}
        for e, cmd in engines.items():
            f = str(empty if e == "lua" else here / "empty.star")
            runs = [cpu(cmd(f)) for _ in range(args.n)]
            base[e] = statistics.median(r[0] for r in runs)
            base_wall[e] = statistics.median(r[1] for r in runs)
        print(f"{'program':44}" + "".join(f"{e + ' ms':>11}" for e in engines) + "   x Go  (wall)  wanted   x CPython   x Lua")
        bad = 0
        for name, label, want in PROGRAMS:
            if args.programs and name not in args.programs:
                continue
            times = {e: [] for e in engines}
            walls = {e: [] for e in engines}
            for _ in range(args.n):
                for e, cmd in engines.items():
                    f = large if name == "large" else here / f"{name}.{'lua' if e == 'lua' else 'star'}"
                    if not f.exists() or (name == "large" and e == "lua"):
                        continue
                    t, w, status = cpu(cmd(str(f)))
                    if status == 0:
                        times[e].append(max(t - base[e], 1e-5))
                        walls[e].append(max(w - base_wall[e], 1e-5))
            med = {e: statistics.median(v) for e, v in times.items() if v}
            ratio = {e: med[e] / med["ours"] for e in med}
            row = f"{label:44}" + "".join(f"{med[e] * 1000:11.1f}" if e in med else f"{'-':>11}" for e in engines)
            wall = statistics.median(walls["go"]) / statistics.median(walls["ours"]) if walls.get("go") else 0
            row += f"{ratio.get('go', 0):7.1f} {wall:7.1f} {want:7}" + "".join(f"{ratio[e]:12.1f}" if e in ratio else f"{'-':>12}" for e in ("python", "lua"))
            if "go" in ratio and ratio["go"] < want:
                row += "   BELOW"
                bad += 1
            print(row, flush=True)
    return 0

sys.exit(main())
