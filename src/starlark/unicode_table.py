#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unicode_table.py: writes unicode_gen.h, the character classes and case mappings of unicode.c, from
Python's own Unicode database. Run by hand when a newer Unicode version is wanted."""
import pathlib, sys, unicodedata as u

MAX = 0x110000
def ranges(pred):
    out, start = [], None
    for c in range(0x80, MAX + 1):
        ok = c < MAX and pred(chr(c))
        if ok and start is None:
            start = c
        elif not ok and start is not None:
            out.append((start, c - 1)); start = None
    return out
def single(c, s):
    return ord(s) if len(s) == 1 else c
def mapping(f):
    out = []  # (first, last, stride, delta)
    for c in range(0x80, MAX):
        if 0xD800 <= c < 0xE000: continue
        d = single(c, f(chr(c))) - c
        if d == 0: continue
        if out and out[-1][3] == d:
            a, b, st, _ = out[-1]
            if a == b and c - b <= 2: out[-1] = (a, c, c - b, d); continue
            if a != b and c - b == st: out[-1] = (a, c, st, d); continue
        out.append((c, c, 1, d))
    return out
cat = u.category
classes = {
    "letter": lambda c: cat(c)[0] == "L", "digit": lambda c: cat(c) == "Nd", "upper": lambda c: cat(c) == "Lu",
    "lower": lambda c: cat(c) == "Ll", "title": lambda c: cat(c) == "Lt",
    "space": lambda c: c in "\x85\xa0" or cat(c) in ("Zs", "Zl", "Zp"),
    "print": lambda c: cat(c)[0] in "LMNPS",
}
with open(pathlib.Path(__file__).with_name("unicode_gen.h"), "w") as f:
    f.write(f"/* starlark/unicode_gen.h: made by unicode_table.py from Unicode {u.unidata_version}; beyond ASCII only.\n"
            " * SPDX-License-Identifier: Apache-2.0 */\n")
    for name, pred in classes.items():
        f.write(f"static const struct uni_range {name}_ranges[] = {{\n")
        line = ""
        for a, b in ranges(pred):
            item = f"{{{a:#x},{b:#x}}},"
            if len(line) + len(item) > 108: f.write(line + "\n"); line = ""
            line += item
        f.write(line + "\n};\n")
    for name, fn in (("upper", str.upper), ("lower", str.lower), ("title", str.title)):
        f.write(f"static const struct uni_map {name}_map[] = {{\n")
        line = ""
        for a, b, st, d in mapping(fn):
            item = f"{{{a:#x},{b:#x},{st},{d}}},"
            if len(line) + len(item) > 108: f.write(line + "\n"); line = ""
            line += item
        f.write(line + "\n};\n")
