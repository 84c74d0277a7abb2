"""Keeps the scheduler honest, from a thread that no clock jump reaches.

APScheduler sleeps until a time of the wall's clock: set back by an hour, it is silent for an hour (apscheduler#1103).
And it starts no second instance of a job that hangs. So a look at the feeds that is overdue is asked for again, one
that an arriving file makes due is asked for at once, and a pass that does not end within its deadline ends the process:
the supervisor starts another, and the lease, which is not renewed for a pass that cannot end in time, lets a second
worker take over.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

log = structlog.get_logger()

CYCLE_SECONDS = 120.0
LOOK_SECONDS = 0.5
HUNG = 70
"""Exit status of a process whose cycle did not end (EX_SOFTWARE)."""


@dataclass
class Guard:
    """Watches one job.

    Attributes
    ----------
    start_now
        Makes the job due.
    every
        Seconds between two starts, at most.
    folders
        Where files arrive: a change there makes the job due, and once more when they have had time to settle.
    """

    start_now: Callable[[], None]
    every: float
    folders: Callable[[], Iterable[Path]] = tuple
    settle: float = 1.0
    limit: float = CYCLE_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    _running_since: float | None = None
    _ended: float = field(default_factory=time.monotonic)
    _again: float = float("inf")
    _stamps: dict[Path, int] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Guard":
        """Note that the job runs."""
        self._running_since = self.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Note that the job ended."""
        self._running_since, self._ended = None, self.monotonic()

    def start(self) -> None:
        """Watch from a thread until `stop`."""
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def stop(self) -> None:
        """End the thread; a job that begins from now on finds `stopped`."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped: to be asked within the guard.

        A scheduler starts what it was about to start even after it has been shut down. Asked within, a job that begins
        then finds it, and one that has not found it yet is waited for by `wait`.
        """
        return self._stop.is_set()

    def at_work(self, seconds: float) -> bool:
        """Return whether the job runs, and for no longer than so many seconds yet."""
        since = self._running_since
        return since is not None and self.monotonic() - since <= seconds

    def wait(self, seconds: float) -> bool:
        """Wait until the job has ended, at most so long; return whether it has: what it uses is closed after it."""
        end = self.monotonic() + seconds
        while self._running_since is not None and self.monotonic() < end:
            time.sleep(0.05)
        return self._running_since is None

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Do what is due now."""
        now, since = self.monotonic(), self._running_since
        if since is not None:
            if now - since > self.limit:
                log.critical("the cycle hangs, ending this process", seconds=round(now - since), limit=self.limit)
                os._exit(HUNG)
            return
        if self._arrived():
            self._again = now + self.settle
            self.start_now()
        elif now >= self._again or now - self._ended > 2 * self.every + LOOK_SECONDS:
            self._again, self._ended = float("inf"), now
            self.start_now()

    def _arrived(self) -> bool:
        stamps = {folder: stamp for folder in self.folders() if (stamp := _stamp(folder))}
        changed = stamps != self._stamps
        self._stamps = stamps
        return changed


def _stamp(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns  # a file that comes, goes or is renamed changes its folder
    except OSError:
        return 0
