"""The real program for tests: a simulated exchange and an engine, as processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("COBRING_BIN", str(ROOT / "target/debug/cobring"))


def wait_until(what, done, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Process:
    """A child of the program, its stderr collected."""

    def __init__(self, *arguments):
        self.child = subprocess.Popen([PROGRAM, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.stderr = ""
        self.collector = threading.Thread(target=self.collect)
        self.collector.start()

    def collect(self):
        for line in self.child.stderr:
            self.stderr += line

    def stop(self, number=signal.SIGTERM):
        """Ends it; returns its stdout."""
        if self.child.poll() is None:
            self.child.send_signal(number)
        stdout = self.child.stdout.read()
        self.child.wait()
        self.collector.join()
        return stdout


class Exchange:
    """`cobring sim`."""

    def __init__(self, *arguments):
        self.process = Process("sim", "--json", "--listen", "127.0.0.1:0", *arguments)
        text = ""
        while "}" not in text:
            line = self.process.child.stdout.readline()
            assert line, self.process.stderr
            text += line
        urls = json.loads(text)
        self.websocket_url, self.rest_url = urls["websocket_url"], urls["rest_url"]

    def stop(self):
        self.process.stop()


class Engine:
    """`cobring run` against an exchange, in directories of its own."""

    def __init__(self, exchange, settings="", **changes):
        self.shm = tempfile.mkdtemp(prefix="cobring-py-", dir="/dev/shm")
        self.files = Path(tempfile.mkdtemp(prefix="cobring-py-"))
        text = subprocess.run([PROGRAM, "check-config", "--print"], check=True, capture_output=True, text=True).stdout
        for key, value in {
            "shared_memory_dir": self.shm, "dir": str(self.files / "log"), "websocket_url": exchange.websocket_url,
            "rest_url": exchange.rest_url, **changes,
        }.items():
            text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {json.dumps(value)}", text, count=1)
            assert count == 1, key
        self.config = self.files / "cobring.toml"
        self.config.write_text(text + settings)
        self.start()

    def start(self):
        self.process = Process("run", "--json", "--config", str(self.config))
        wait_until("the engine publishes", lambda: "frames are published" in self.process.stderr or self.ended())

    def ended(self):
        assert self.process.child.poll() is None, self.process.stderr
        return False

    def stop(self):
        """Its closing report."""
        return json.loads(self.process.stop())

    def logs(self):
        return sorted(str(path) for path in (self.files / "log").iterdir() if ".cblog" in path.name)

    def remove(self):
        if self.process.child.poll() is None:
            self.process.stop()
        shutil.rmtree(self.shm, ignore_errors=True)
        shutil.rmtree(self.files, ignore_errors=True)
