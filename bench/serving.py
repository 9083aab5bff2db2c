"""raw serving: CPU per request of a 128-byte response, keep-alive, one core, against nginx"""
# SPDX-License-Identifier: Apache-2.0
# http [REQUESTS [CONNECTIONS]]: the server runs on the last core, the load generator on the first.
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
build = root / "build"
requests, conns = (sys.argv[1:] + ["200000", "32"][len(sys.argv) - 1:])[:2]
packages = ["libuv", "openssl", "jansson", "libcurl", "zlib", "libbrotlienc", "libbrotlidec"]
cores = sorted(os.sched_getaffinity(0))


def compile(name):
    out = build / f"bench_{name}"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True, capture_output=True, text=True)
    subprocess.run(["cc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-iquote", root / "src/base", "-iquote", root / "src/http",
                    root / f"bench/{name}.c", build / "libhttp.a", build / "libbase.a", *flags.stdout.split(),
                    "-lcrypt", "-lpthread", "-lm", "-o", out], check=True)
    return out


def start(*command):
    return subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}))


def measure(load, port, pid):
    out = subprocess.run([load, "-n", requests, "-c", conns, "-p", str(pid), f"127.0.0.1:{port}", "/"], check=True,
                         capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]})).stdout
    return float(re.search(r"([\d.]+) us CPU", out)[1]), out.strip()


subprocess.run(["ninja", "-C", build, "libhttp.a", "libbase.a"], check=True, stdout=subprocess.DEVNULL)
load, serve = compile("load"), compile("serve")
with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
    conf = pathlib.Path(tmp, "nginx.conf")
    temp = "".join(f"{kind}_temp_path {tmp}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf.write_text(f"worker_processes 1; pid {tmp}/pid; error_log {tmp}/err; daemon off;\n"
                    "events { worker_connections 4096; }\n"
                    f"http {{ access_log off; keepalive_requests 100000000; {temp}\n"
                    "  server { listen 127.0.0.1:18081 reuseport;\n"
                    f"    location / {{ default_type text/plain; return 200 \"{'x' * 128}\"; }} }} }}\n")
    ours, nginx = start(serve, "18080", "1"), start("nginx", "-c", conf)
    try:
        time.sleep(0.5)
        worker = pathlib.Path(f"/proc/{nginx.pid}/task/{nginx.pid}/children").read_text().split()[0]
        best = {}
        for _ in range(3):
            for name, port, pid in (("ours", 18080, ours.pid), ("nginx", 18081, worker)):
                cpu, line = measure(load, port, pid)
                best[name] = min(cpu, best.get(name, cpu))
                print(f"{name:6} {line}")
    finally:
        ours.terminate()
        nginx.terminate()
        ours.wait()
        nginx.wait()
print(f"best: ours {best['ours']:.2f} us, nginx {best['nginx']:.2f} us   ratio {best['ours'] / best['nginx']:.2f}")
