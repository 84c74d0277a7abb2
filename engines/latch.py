"""When a rung that failed may be tried again: after a fault it rests, longer each time, and at last for good."""

import time
from collections.abc import Callable
from dataclasses import dataclass

REST_SECONDS = 60.0
LONGEST_REST = 3600.0
FORGIVEN_SECONDS = 6 * 3600.0
MOST_FAULTS = 6
"""Faults, none of them long ago, after which only a restart of the worker or another plan opens the rung again."""


@dataclass
class Latch:
    """Closed while a rung may be used.

    Attributes
    ----------
    clock
        Monotonic seconds.
    reason
        Why it is open, for the answer and the log.
    """

    clock: Callable[[], float] = time.monotonic
    reason: str = ""
    faults: int = 0
    _until: float = 0.0
    _last: float = 0.0

    def trip(self, reason: str) -> None:
        """Open after a fault, for twice as long as the last time."""
        if self.clock() - self._last > FORGIVEN_SECONDS:
            self.faults = 0
        self.faults += 1
        self.reason, self._last = reason, self.clock()
        rest = min(REST_SECONDS * 2 ** (self.faults - 1), LONGEST_REST)
        self._until = float("inf") if self.faults >= MOST_FAULTS else self.clock() + rest

    def refuse(self, reason: str) -> None:
        """Open for good: what failed would fail again."""
        self.reason, self._until = reason, float("inf")

    @property
    def open(self) -> bool:
        """Whether the rung rests."""
        return self.clock() < self._until
