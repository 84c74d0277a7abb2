"""The demonstration, run for the page's tests and its bench.

It is `nowcast run` on a free port, at high speed, in a folder of its own.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).parents[2]
SPEED = 20
"""A run every fifteen seconds, amber after thirty and red after sixty.

Two ensembles take about four seconds of one busy core, and a browser draws a map beside them; at sixty the tests were
of how late the demonstration is.
"""


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one ends (Linux)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class Demo:
    """A running demonstration; ends with `stop`."""

    def __init__(self, folder: Path, speed: float = SPEED) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("w")
        settings = {"NOWCAST_DATA_DIR": str(folder / "var"), "NOWCAST_PORT": str(port), "NOWCAST_ENGINE_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "run", "--speed", str(speed)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]), **settings},
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  a killed test leaves no demonstration behind
        )
        self._log_path = folder / "log"

    def wait(self, seconds: float = 150) -> None:
        """Wait until every region has a run."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            regions = self.read("/v1/regions")
            if regions and all(region["newest_base_time"] for region in regions):
                return
            time.sleep(0.2)
        raise TimeoutError(f"no run after {seconds} s; the demonstration says: {self._log_path.read_text()[-2000:]}")

    def read(self, path: str):
        """Return what the API answers, None when it does not."""
        try:
            with urlopen(self.url + path, timeout=5) as answer:
                return json.load(answer)
        except (URLError, OSError):
            return None

    def child(self, name: str, seconds: float = 20) -> int:
        """Return the process id of `worker` or `serve`; the supervisor may just be starting it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                for pid in (task / "children").read_text().split():
                    with suppress(FileNotFoundError, ProcessLookupError):  # ended since it was listed
                        if f"\0{name}\0" in Path(f"/proc/{pid}/cmdline").read_text():
                            return int(pid)
            time.sleep(0.1)
        raise ProcessLookupError(name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to `worker` or `serve`."""
        os.kill(self.child(name), number)

    @contextmanager
    def unsupervised(self) -> Iterator[None]:
        """Hold the supervisor: what ends meanwhile is started again only afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
