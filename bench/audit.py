"""audit events per second, durable, against plain SQLite calls with the same rows"""
# SPDX-License-Identifier: Apache-2.0
# audit [FOLDER [EVENTS]]: FOLDER is on the disk to be measured (default: the build folder).
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
build = root / "build"
program = build / "bench_store_audit"
libraries = [build / f"lib{name}.a" for name in ("store", "db", "base")]
packages = ["sqlite3", "jansson", "libbrotlienc", "libbrotlidec", "openssl", "libuv"]

subprocess.run(["ninja", "-C", build, *(lib.name for lib in libraries)], check=True, stdout=subprocess.DEVNULL)
flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True, capture_output=True, text=True)
quotes = [x for name in ("base", "db", "store") for x in ("-iquote", root / "src" / name)]
subprocess.run(["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", *quotes, root / "bench/store_audit.c", *libraries,
                *flags.stdout.split(), "-lcrypt", "-lpthread", "-o", program], check=True)

folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=sys.argv[1] if len(sys.argv) > 1 else build))
try:
    out = subprocess.run([program, folder, *sys.argv[2:3]], check=True, capture_output=True, text=True).stdout
finally:
    shutil.rmtree(folder)
r = json.loads(out)
print(f"audit            {r['rows_per_s']:>9,} rows/s in {r['commits']} commits, {r['add_ns']} ns to the caller, "
      f"log at most {r['largest_wal_kib']} KiB")
print(f"SQLite, grouped  {r['plain_grouped_rows_per_s']:>9,} rows/s   ratio {r['ratio_to_grouped']}")
print(f"SQLite, singly   {r['plain_single_rows_per_s']:>9,} rows/s   "
      f"ratio {r['rows_per_s'] / r['plain_single_rows_per_s']:.0f}")
