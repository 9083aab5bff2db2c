"""What `./dev run` starts: the sample server with the apps under examples/."""
# SPDX-License-Identifier: Apache-2.0
import os
import re
import signal
import subprocess
import threading

import pytest

import openrun
import web
from openrun import ROOT, wait_for


@pytest.fixture
def sample(tmp_path):
    """Starts tools/sample on a home of its own; what it printed, and the process."""
    running = []

    def start():
        process = subprocess.Popen([ROOT / "tools/sample", openrun.binary()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env=openrun.base_env(OPENRUN_SAMPLE_HOME=str(tmp_path / "home")), start_new_session=True)
        out = []
        reader = threading.Thread(target=lambda: out.extend(iter(process.stdout.readline, "")), daemon=True)
        reader.start()
        running.append((process, reader))
        wait_for(lambda: any("Ctrl-C stops" in line for line in out) or process.poll() is not None, "the sample to be up")
        return process, out
    yield start
    for process, reader in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(120) == 130
        reader.join(30)


def get(url):
    with web.session() as s:
        return s.get(url, timeout=60)


def test_it_serves_the_examples_and_starts_again(sample, tmp_path):
    for run in range(2):
        process, out = sample()
        text = "".join(out)
        assert process.poll() is None, text
        urls = re.findall(r"https?://\S+", text)
        assert len(urls) == 5
        for url in urls:
            assert get(url).status_code == 200, url
        password = re.search(r"sign-in: admin, (\S+)$", text, re.M).group(1)
        assert len(password) == 16
        second = subprocess.run([ROOT / "tools/sample", openrun.binary()], capture_output=True, text=True, timeout=120,
                                env=openrun.base_env(OPENRUN_SAMPLE_HOME=str(tmp_path / "home")))
        assert second.returncode == 1 and "running already" in second.stderr
        assert get(urls[0]).status_code == 200, "the first one is not disturbed"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) == 130
        openrun.check_sanitizers((tmp_path / "home/server.txt").read_text(), "sample")
        with pytest.raises(OSError):
            get(urls[0])
