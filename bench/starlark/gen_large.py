#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""gen_large.py: writes a Starlark file of 10,000 lines to standard output."""
for i in range(1000):
    print(f'''def function_{i}(a, b = {i}, *args, **kwargs):
    """Documentation of function {i}."""
    result = []
    for x in range(a):
        if x % {i % 7 + 2} == 0 and b > {i * 3}:
            result.append({{"name": "value %d" % x, "index": x * {i} + b}})
        else:
            result += [str(x), "text-{i}".upper()]
    return [y for y in result if y != None], kwargs.get("key", args[{i % 3}:])
''')
