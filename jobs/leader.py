"""Which of several workers runs the cycle: the one that holds the lease; the others stand by and take over."""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Lock
from uuid import uuid4

import structlog

from nowcast.clock import Clock
from nowcast.errors import LeaseLost, NowcastError
from nowcast.store.leases import CYCLE, LASTS, Lease
from nowcast.store.store import Store

log = structlog.get_logger()

RENEWALS = 3
"""How often the lease is renewed before it would end."""


def holder_name() -> str:
    """Return a name for this process that no other has, and that a person can find."""
    return f"{_here()}:{os.getpid()}:{uuid4().hex[:8]}"


def has_ended(holder: str) -> bool:
    """Return whether a holder was a process of this machine that is no more: its lease need not be waited for."""
    place, _, process = holder.rpartition(":")[0].rpartition(":")
    return place == _here() and process.isdigit() and not _runs(Path("/proc") / process / "stat")


def _here() -> str:
    """Return host and process namespace: containers may share the one, and count processes each by itself."""
    space = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}:{space.stat().st_ino if space.exists() else 0}"


def _runs(stat: Path) -> bool:
    """Return whether a process is there and no zombie: where nobody reaps them (containers), those stay for ever."""
    try:
        return stat.read_text("ascii", "replace").rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
    except OSError:  # there, but ended while it was read, or not ours to look at: its lease will end
        return True


@dataclass
class Leader:
    """The claim of this worker to the lease.

    Attributes
    ----------
    monotonic
        Seconds that no clock jump moves: when to renew is told by them, when the lease ends by the wall's clock.
    lasts
        How long the lease lasts when it is not renewed.
    """

    store: Store
    clock: Clock
    holder: str = field(default_factory=holder_name)
    monotonic: Callable[[], float] = time.monotonic
    lasts: timedelta = LASTS
    _lease: Lease | None = None
    _one: Lock = field(default_factory=Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed: float = 0.0
    _standing_by: bool = False

    def hold(self) -> Lease:
        """Return the lease, taken or renewed when it is time to.

        Raises
        ------
        LeaseLost
            When another worker holds it, or this one has given it back.
        """
        with self._one:
            if self._ended.is_set():  # a pass under way would take it again, for a process that is about to end
                raise LeaseLost(f"this worker ({self.holder}) ends and has given lease {CYCLE!r} back")
            if self._lease is None or self.monotonic() - self._renewed > self.lasts.total_seconds() / RENEWALS:
                self._renew()
            if self._lease is None:
                raise LeaseLost(f"lease {CYCLE!r} is held by another worker; this one ({self.holder}) stands by")
            return self._lease

    def keep(self, at_work: Callable[[], bool]) -> None:
        """Renew the lease while `at_work()`, until it is given back: a pass may take longer than the lease lasts.

        From a thread of its own, since the database may keep whoever asks waiting. A process that is frozen renews
        nothing; for one that hangs, `at_work` has to say no in time.
        """
        threading.Thread(target=self._keep, args=(at_work,), name="lease", daemon=True).start()

    def _keep(self, at_work: Callable[[], bool]) -> None:
        while not self._ended.wait(self.lasts.total_seconds() / RENEWALS / 2):
            if self._lease is not None and at_work():
                with suppress(NowcastError):  # the pass meets it too, and says so
                    self.hold()

    def _renew(self) -> None:
        began, before = self.monotonic(), self._lease
        now = self.clock.wall()
        self._lease = self.store.leases.take(CYCLE, self.holder, now, self.lasts)
        other = self.store.leases.holder(CYCLE) if self._lease is None else None
        if other and has_ended(other.holder):
            self._lease = self.store.leases.take(CYCLE, self.holder, now, self.lasts, other.holder)
        self._renewed = began
        if self._lease and before is None:
            log.info("this worker holds the lease", holder=self.holder, token=self._lease.token)
        if self._lease is None and not self._standing_by:
            log.info("another worker holds the lease, standing by", holder=self.holder)
        self._standing_by = self._lease is None

    def lost(self) -> None:
        """Forget a lease that the store refused: the next `hold` asks again."""
        with self._one:
            self._lease = None

    def release(self) -> None:
        """Give the lease back at the end, for good."""
        with self._one:
            self._ended.set()
            if self._lease is not None:
                self.store.leases.release(self._lease)
                self._lease = None
