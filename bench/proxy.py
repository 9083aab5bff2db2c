"""reverse proxy: CPU per proxied request of a 128-byte response, one core, against nginx and HAProxy"""
# SPDX-License-Identifier: Apache-2.0
# proxy [REQUESTS [CONNECTIONS [ROUNDS]]]: the proxies run on the last core; backend and load generator on the first.
# Rounds are interleaved, so that a busy machine is busy for all; the medians of CPU time per request are compared.
# `openrun` is the whole server: routing, sign-in kind none, identity headers, access log; `bare` is the http module
# alone (bench/proxy_server.c). nginx writes an access log too.
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parent.parent
build = root / "build"
requests, conns, rounds = (sys.argv[1:] + ["100000", "32", "5"][len(sys.argv) - 1:])[:3]
packages = ["libuv", "openssl", "jansson", "libcurl", "zlib", "libbrotlienc", "libbrotlidec"]
cores = sorted(os.sched_getaffinity(0))
BACKEND = 18090


def compile(name):
    out = build / f"bench_{name}"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True, capture_output=True, text=True)
    subprocess.run(["cc", "-std=gnu17", "-O2", "-g", "-D_GNU_SOURCE", "-iquote", root / "src/base", "-iquote", root / "src/http",
                    root / f"bench/{name}.c", build / "libhttp.a", build / "libbase.a", *flags.stdout.split(),
                    "-lcrypt", "-lpthread", "-lm", "-o", out], check=True)
    return out


def start(core, *command):
    return subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {core}))


def child_of(process):
    return int(pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def measure(load, port, pid):
    out = subprocess.run([load, "-n", requests, "-c", conns, "-p", str(pid), "-H", "User-Agent: bench/1.0",
                          "-H", "Accept: */*", f"127.0.0.1:{port}", "/some/path?query=1"], check=True,
                         capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]})).stdout
    return float(re.search(r"([\d.]+) us CPU", out)[1]), out.strip()


def nginx_conf(tmp):
    temp = "".join(f"{kind}_temp_path {tmp}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = pathlib.Path(tmp, "nginx.conf")
    path.write_text(f"""worker_processes 1; pid {tmp}/pid; error_log {tmp}/err; daemon off;
events {{ worker_connections 4096; }}
http {{ access_log {tmp}/access.log; keepalive_requests 100000000; {temp}
  upstream app {{ server 127.0.0.1:{BACKEND}; keepalive 250; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:18092;
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto $scheme; }} }} }}
""")
    return path


def haproxy_conf(tmp):
    path = pathlib.Path(tmp, "haproxy.cfg")
    path.write_text(f"""global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind 127.0.0.1:18093
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(host),field(1,:)]
  http-request set-header X-Forwarded-Proto http
  default_backend b
backend b
  server s 127.0.0.1:{BACKEND} pool-max-conn 250
""")
    return path


def start_openrun(core, tmp):
    """The server in a home of its own with one app: a proxy to the backend at the root. Its process and port."""
    home = pathlib.Path(tmp, "home")
    home.mkdir()
    (home / "openrun.toml").write_text('[http]\nport = 0\n[https]\nport = -1\n[system]\ncontainer_command = ""\n')
    env = dict(os.environ, OPENRUN_HOME=str(home))
    server = subprocess.Popen([build / "openrun", "server", "start"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    port = int(server.stderr.readline().rsplit(":", 1)[1])
    while subprocess.run([build / "openrun", "server", "status"], env=env, capture_output=True).returncode:
        time.sleep(0.05)
    subprocess.run([build / "openrun", "app", "create", "--spec", "proxy", "--auth", "none", "--approve", "--param",
                    f"url=http://127.0.0.1:{BACKEND}", "-", "/"], env=env, check=True, stdout=subprocess.DEVNULL)
    return server, port


subprocess.run(["ninja", "-C", build, "openrun", "libhttp.a", "libbase.a"], check=True, stdout=subprocess.DEVNULL)
load, serve, proxy = compile("load"), compile("serve"), compile("proxy_server")
with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
    last = cores[-1]
    running = [start(cores[0], serve, str(BACKEND), "1")]
    time.sleep(0.3)
    openrun, port = start_openrun(last, tmp)
    running.append(openrun)
    subjects = {"openrun": (port, lambda p=openrun: p.pid)}
    running.append(start(last, proxy, "18091", f"http://127.0.0.1:{BACKEND}"))
    subjects["bare"] = (18091, lambda p=running[-1]: p.pid)
    if shutil.which("nginx"):
        running.append(start(last, "nginx", "-c", nginx_conf(tmp)))
        subjects["nginx"] = (18092, lambda p=running[-1]: child_of(p))
    if shutil.which("haproxy"):
        running.append(start(last, "haproxy", "-db", "-f", haproxy_conf(tmp)))
        subjects["haproxy"] = (18093, lambda p=running[-1]: p.pid)
    try:
        time.sleep(0.7)
        cpu = {name: [] for name in subjects}
        for _ in range(int(rounds)):
            for name, (port, pid) in subjects.items():
                us, line = measure(load, port, pid())
                cpu[name].append(us)
                print(f"{name:8} {line}", flush=True)
    finally:
        for p in running:
            p.terminate()
        for p in running:
            p.wait()
medians = {name: statistics.median(values) for name, values in cpu.items()}
print("median CPU per request: " + ", ".join(f"{n} {m:.2f} us" for n, m in medians.items()))
for name in medians:
    if name != "openrun":
        print(f"openrun / {name}: {medians['openrun'] / medians[name]:.2f}")
