"""A Docker daemon of a test's own, on a small disk: to be filled, stopped, killed and started again."""
# SPDX-License-Identifier: Apache-2.0
import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile

import pytest

import engines
from openrun import wait_for


def _program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")


DAEMON, CONTAINERD = _program("dockerd"), _program("containerd")


def _ip(*args, check=True):
    return subprocess.run(["ip", *args], capture_output=True, text=True, check=check, timeout=60)


class PrivateDocker:
    """`command` and `env` as of an engine; `live_restore` lets containers outlive the daemon. Its bridge has no rules in
    the firewall: ports on 127.0.0.1 go through docker-proxy. Everything is below a short path, for its sockets."""

    def __init__(self, megabytes, live_restore=False):
        self.docker = engines.get("docker")
        if os.geteuid() != 0 or not DAEMON or not CONTAINERD:
            pytest.skip("a docker daemon of one's own needs root, dockerd and containerd")
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ort-docker-"))
        self.disk = self.folder / "disk"
        self.bridge = "ort" + self.folder.name[-8:]
        self.live_restore, self.process, self.containerd, self.pool = live_restore, None, None, contextlib.ExitStack()
        self.env = {**self.docker.env, "DOCKER_HOST": f"unix://{self.folder}/docker.sock"}
        self.command = self.docker.command
        try:
            self._prepare(megabytes)
            self.up()
        except BaseException:
            self.close()
            raise

    def _prepare(self, megabytes):
        self.pool.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.disk.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.disk], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no small disk: {done.stderr}")
        try:
            _ip("link", "add", self.bridge, "type", "bridge")
            self.pool.callback(_ip, "link", "del", self.bridge, check=False)
            _ip("addr", "add", f"10.{random.randrange(200, 250)}.{random.randrange(250)}.1/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
        except (OSError, subprocess.CalledProcessError) as e:
            pytest.skip(f"no bridge for containers: {getattr(e, 'stderr', '') or e}")
        (self.folder / "daemon.json").write_text("{}")
        c = self.folder / "c"
        (self.folder / "containerd.toml").write_text(
            f'version = 2\nroot = "{self.disk}/containerd"\nstate = "{c}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{c}/sock"\n[ttrpc]\naddress = "{c}/sock.ttrpc"\n')
        self.containerd = self._spawn(CONTAINERD, "--config", self.folder / "containerd.toml")

    def _spawn(self, *args):
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    @property
    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def run(self, *args, check=True, timeout=300):
        done = subprocess.run([self.command, *args], env={**os.environ, **self.env}, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"docker {' '.join(args)}: {done.stderr}\n{self.log}"
        return done.stdout.strip()

    def answers(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run([self.command, "info"], env={**os.environ, **self.env}, capture_output=True, timeout=60).returncode == 0
        return False

    # --- what is done to it ---

    def up(self):
        """Starts the daemon, on what a killed one has left."""
        self.process = self._spawn(
            DAEMON, "--config-file", self.folder / "daemon.json", "--data-root", self.disk / "data", "--exec-root", self.folder / "x",
            "--pidfile", self.folder / "pid", "--host", self.env["DOCKER_HOST"], "--containerd", self.folder / "c" / "sock",
            "--bridge", self.bridge, "--iptables=false", "--ip-masq=false", "--ip6tables=false", "--storage-driver", "overlay2",
            *(["--live-restore"] if self.live_restore else []))
        try:
            wait_for(lambda: self.process.poll() is not None or self.answers(), "the daemon to answer")
        except AssertionError:
            pytest.skip(f"no docker daemon of one's own: {self.log}")
        if self.process.poll() is not None:
            pytest.skip(f"no docker daemon of one's own: {self.log}")

    def hang(self):
        """It takes connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self, containers=False):
        """kill -9 of the daemon; with `containers` of all that runs in its containers too, as when the machine fails."""
        pids = self.run("ps", "-q").split() if containers else []
        pids = [int(self.run("inspect", "--format", "{{.State.Pid}}", c)) for c in pids]
        self.process.kill()
        self.process.wait()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # --- its disk ---

    @contextlib.contextmanager
    def full(self, leave=0):
        """All room but `leave` bytes is taken."""
        stat = os.statvfs(self.disk)
        with open(self.disk / "ballast", "wb") as f:
            os.posix_fallocate(f.fileno(), 0, max(stat.f_bavail * stat.f_frsize - leave, 1))
        try:
            yield
        finally:
            (self.disk / "ballast").unlink()

    def close(self):
        if self.process and self.process.poll() is None:
            self.go_on()
            for c in self.run("ps", "--all", "-q", check=False).split():
                self.run("rm", "--force", c, check=False)
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.containerd:
            self.containerd.terminate()
            self.containerd.wait(60)
        self._end_shims()
        for line in reversed(open("/proc/self/mounts").read().splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False)
        self.pool.close()

    def _end_shims(self):
        """What holds a container and has lost its daemon; ours names our folder."""
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                    if "containerd-shim" in words[0] and f"{self.folder}/c/sock" in words:
                        os.kill(int(entry.name), signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
