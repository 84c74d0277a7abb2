"""Reading files nobody vouches for in child processes: limits, no network, a deadline, and only arrays come back.

A pool of children is started as programs of their own (never forked from a threaded parent), so a file costs no
start. A child that is late, dies or answers nonsense is killed; the next file gets a new one. What one child does with
one file is in `nowcast.sandbox_worker`.
"""

import shutil
import tempfile
from pathlib import Path
from queue import LifoQueue

import xarray as xr

from nowcast.confine import Limits
from nowcast.sandbox_worker import FOLDER, Worker


class Sandbox:
    """A pool of parsing children; safe to use from several threads.

    Parameters
    ----------
    workers
        Most files at once.
    sources_file
        TOML of your own sources (`nowcast.sources.own`), known to the children too.
    """

    def __init__(self, workers: int = 2, limits: Limits | None = None, sources_file: Path | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers must be ≥ 1, got {workers}")
        self._limits = limits or Limits()
        self._sources_file = sources_file
        self._idle: LifoQueue[Worker | None] = LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._workers = workers
        _sweep()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, path: Path, source_name: str | None = None) -> xr.Dataset:
        """Return the frame in the file, as `nowcast.sources.read_frame` does, parsed in a child.

        Raises
        ------
        InputError
            Also when the file exceeds a limit or kills its parser.
        ConfigError
            When children cannot be started.
        """
        worker = self._idle.get()
        try:
            if worker is None or worker.spent:
                worker = self._renewed(worker)
            return worker.read(path, source_name)
        finally:
            if worker is not None and worker.dead:
                worker.close()
                worker = None
            self._idle.put(worker)

    def walls(self) -> tuple[str, ...]:
        """Return which walls stand around a child here: of `limits`, `landlock`, `seccomp`."""
        worker = self._idle.get()
        try:
            worker = worker or Worker(self._limits, self._sources_file)
        finally:
            self._idle.put(worker)
        return worker.walls

    def close(self) -> None:
        """End the children; waits for those at work."""
        for _ in range(self._workers):
            worker = self._idle.get()
            if worker is not None:
                worker.close()
        for _ in range(self._workers):
            self._idle.put(None)

    def _renewed(self, worker: "Worker | None") -> "Worker":
        if worker is not None:
            worker.close()
        return Worker(self._limits, self._sources_file)


def _sweep() -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = folder.name.removeprefix(FOLDER).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)
