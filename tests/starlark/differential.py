#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""differential.py [--update] [--seeds FROM TO] STAR_TOOL: generated programs give the same output, errors and
call stacks included, as the Go implementation.

Programs 0..59 are compared with differential.txt, which --update writes from the Go implementation. Where
that is installed (GO_STARLARK, or `starlark` on the PATH) further programs are run on both."""
import argparse, os, pathlib, random, shutil, subprocess, sys, tempfile

STORED = 60
here = pathlib.Path(__file__).resolve().parent

class Gen:
    INTS = ["0", "1", "-1", "2", "3", "7", "-7", "10", "255", "-256", "(1 << 31)", "(1 << 61)", "(1 << 62) - 1", "-(1 << 61)",
            "(1 << 63)", "(1 << 64) + 5", "-(1 << 90)", "123456789012345678901234567890"]
    FLOATS = ["0.0", "1.5", "-2.25", "1e10", "3.0", "1e-7", "0.1", "123456789.5", "float(\"inf\")", "2.5e20"]
    STRINGS = ['""', '"a"', '"hello world"', '"a,b,,c"', '"Hé€llo"', '"  pad "', '"x%sy"', '"{} {}"', '"123"', '"MiXed"', '"a\\nb\\n"']

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.n = 0

    def pick(self, *xs):
        return self.r.choice(xs)

    def name(self):
        self.n += 1
        return f"v{self.n}"

    def int(self, d=2):
        if d == 0 or self.r.random() < .3:
            return self.r.choice(self.INTS)
        k = self.r.randrange(10)
        a, b = self.int(d - 1), self.int(d - 1)
        if k < 6:
            return f"({a} {self.pick('+', '-', '*', '//', '%', '&', '|', '^')} {b})"
        if k == 6:
            return f"({a} {self.pick('<<', '>>')} {self.r.randrange(0, 130)})"
        if k == 7:
            return f"len({self.any_seq(d - 1)})"
        if k == 8:
            return f"{self.pick('-', '~', '+')}{a}"
        return self.pick(f"abs({a})", f"int({self.float(d - 1)})", f"({a} if {self.cond(d - 1)} else {b})", f"hash({self.str(d - 1)})",
                         f"min({a}, {b})", f"max([{a}, {b}, 3])", f"({a} or {b})", f"({a} and {b})")

    def float(self, d=2):
        if d == 0 or self.r.random() < .4:
            return self.r.choice(self.FLOATS)
        a, b = self.float(d - 1), self.pick(self.float, self.int)(d - 1)
        return self.pick(f"({a} {self.pick('+', '-', '*', '/', '//', '%')} {b})", f"float({self.int(0)})", f"({self.int(d - 1)} / {b})", f"abs({a})")

    def str(self, d=2):
        if d == 0 or self.r.random() < .3:
            return self.r.choice(self.STRINGS)
        a, b = self.str(d - 1), self.str(d - 1)
        i = self.r.randrange(-4, 5)
        return self.pick(f"({a} + {b})", f"({a} * {self.r.randrange(-1, 4)})", f"{a}.{self.pick('upper', 'lower', 'strip', 'title', 'capitalize')}()",
                         f"{a}[{i}:]", f"{a}[:{i}]", f"{a}[::{self.pick(1, 2, -1, -2)}]", f"{a}.replace({b}, {self.str(0)})",
                         f"str({self.any(d - 1)})", f"repr({self.any(d - 1)})", f"\"%s|%r\" % ({self.any(d - 1)}, {self.any(d - 1)})",
                         f"\"{{}}-{{}}\".format({self.any(d - 1)}, {a})", f"{b}.join([{a}, {self.str(0)}])", f"{a}[{i}]", f"type({self.any(d - 1)})",
                         f"{a}.removeprefix({b})", f"chr({self.r.randrange(32, 0x3000)})")

    def list(self, d=2):
        if d == 0:
            return "[" + ", ".join(self.any(0) for _ in range(self.r.randrange(4))) + "]"
        a = self.list(d - 1)
        v = self.name()
        return self.pick(a, f"({a} + {self.list(d - 1)})", f"({a} * {self.r.randrange(3)})", f"{a}[{self.r.randrange(-3, 3)}:]", f"sorted({self.homog(d - 1)})",
                         f"sorted({self.homog(d - 1)}, reverse = True)", f"[{v} for {v} in {self.any_seq(d - 1)}]",
                         f"[({v}, {self.int(0)}) for {v} in {a} if {v}]", f"list(range({self.r.randrange(-3, 6)}))", f"{self.str(d - 1)}.split({self.pick('', chr(34) + ',' + chr(34))})",
                         f"list({self.str(d - 1)}.elems())", f"{self.dict(d - 1)}.{self.pick('keys', 'values', 'items')}()", f"list(zip({a}, range(9)))",
                         f"enumerate({a})", f"reversed({a})", f"sorted({self.homog(d - 1)}, key = lambda {v}: ({v}, 1))")

    def homog(self, d):
        g = self.pick(self.int, self.float, self.str)
        return "[" + ", ".join(g(d) for _ in range(self.r.randrange(6))) + "]"

    def dict(self, d=2):
        items = {}
        for _ in range(self.r.randrange(4)):
            items[self.pick(self.r.choice(self.INTS[:8]), self.r.choice(self.STRINGS), "None", "(1, \"t\")", "2.5")] = self.any(max(d - 1, 0))
        text = "{" + ", ".join(f"{k}: {v}" for k, v in items.items()) + "}"
        v = self.name()
        return text if d == 0 else self.pick(text, f"({text} | {self.dict(d - 1)})", f"{{{v}: {self.int(0)} for {v} in {self.homog(0)}}}", f"dict({text}, z = {self.int(0)})")

    def any_seq(self, d):
        return self.pick(self.list(d), self.dict(d), f"tuple({self.list(d)})", f"range({self.r.randrange(5)})")

    def cond(self, d):
        return self.pick(f"{self.int(d)} {self.pick('<', '<=', '>', '>=', '==', '!=')} {self.pick(self.int, self.float)(d)}", f"{self.str(d)} in {self.str(d)}",
                         f"{self.any(d)} == {self.any(d)}", f"not {self.any(d)}", f"{self.int(0)} in {self.list(d)}", f"{self.str(d)} < {self.str(d)}", f"bool({self.any(d)})")

    def any(self, d=2):
        return self.pick(self.int, self.int, self.float, self.str, self.str, self.list, self.dict, lambda d: self.pick("None", "True", "False"),
                         lambda d: f"({self.int(0)}, {self.str(0)})")(d)

    def function(self, i):
        params, calls = self.pick(("a", "1"), ("a, b = 2", "1, b = 3"), ("a, *args", "1, 2, 3"), ("a, **kw", "1, x = 2"), ("a, b = [], *c, d = 1, **e", "1, [2], 3, d = 4, f = 5"),
                                  ("a, *, k", "1, k = 2"), ("a, b", "1"), ("a", "1, 2"))
        lines = [f"def f{i}({params}):", "    total = [a]"]
        for _ in range(self.r.randrange(1, 4)):
            v = self.name()
            lines += self.pick(
                [f"    for {v} in {self.any_seq(1)}:", f"        if {self.cond(1)}:", f"            {self.pick('continue', 'break', 'total.append(%s)' % v)}", f"        total += [{v}, {self.any(1)}]"],
                [f"    x = {self.any(2)}", "    total.append(x)"],
                [f"    total.append((lambda q: (q, {self.any(1)}))({self.int(1)}))"],
                [f"    y, (z, w) = {self.int(0)}, ({self.str(0)}, {self.any(0)})", "    total.append([y, z, w])"],
                [f"    d = {self.dict(1)}", f"    d[{self.str(1)}] = {self.any(1)}", f"    total.append(d.get({self.str(0)}, {self.int(0)}))", "    total.append(d)"])
        lines += [f"    return total{self.pick('', '', '[%d]' % self.r.randrange(-2, 5))}", ""]
        return lines, f"print(f{i}({calls}))"

    def program(self):
        lines, out = [], []
        for i in range(self.r.randrange(1, 4)):
            f, call = self.function(i)
            lines += f
            out.append(call)
        for _ in range(self.r.randrange(3, 9)):
            out.append(f"print({self.any(self.r.randrange(1, 4))})")
        self.r.shuffle(out)
        return "\n".join(lines + out) + "\n"

def run(cmd, path, cwd):
    p = subprocess.run(cmd + [path], cwd=cwd, capture_output=True, timeout=60)
    return (p.stdout + p.stderr).decode(errors="replace") + f"exit {p.returncode}\n"

def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--update", action="store_true")
    ap.add_argument("--seeds", nargs=2, type=int, default=(1000, 1150))
    ap.add_argument("tool")
    args = ap.parse_args()
    ours = [os.path.abspath(args.tool), "-set", "-recursion"]
    go_path = os.environ.get("GO_STARLARK") or shutil.which("starlark")
    go = [os.path.abspath(go_path), "-set", "-recursion"] if go_path else None
    stored = here / "differential.txt"
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        def output(cmd, seed):
            (pathlib.Path(tmp) / "p.star").write_text(Gen(seed).program())
            return run(cmd, "p.star", tmp)
        if args.update:
            if not go:
                sys.exit("the Go implementation is not installed")
            stored.write_text("".join(f"=== {s}\n{output(go, s)}" for s in range(STORED)))
        want = {}
        for part in stored.read_text().split("=== ")[1:]:
            seed, text = part.split("\n", 1)
            want[int(seed)] = text
        if go:
            for s in range(*args.seeds):
                want[s] = output(go, s)
        else:
            print("the Go implementation is not installed: only stored expectations are compared")
        for seed, text in want.items():
            got = output(ours, seed)
            if got != text:
                bad += 1
                if bad <= int(os.environ.get("SHOW", "5")):
                    print(f"program {seed} differs:\n{Gen(seed).program()}--- Go\n{text}--- ours\n{got}")
    print(f"{len(want)} programs, {bad} differ")
    return bad > 0

sys.exit(main())
