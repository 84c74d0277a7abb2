"""A wall clock that does not jump: UTC since the start, counted by a clock that nobody sets.

Someone sets the machine's clock by an hour, a virtual machine wakes up, NTP finds its server at last: the wall jumps,
and with it every age, slot and expiry. So time here is the wall's at the start plus what has passed since
(`CLOCK_BOOTTIME`, which also counts suspension); small differences, as NTP makes them, are followed, a jump is not, but
told, until it has stood for `ADOPTED_AFTER` (then it is the wall that was wrong before). UTC has no daylight saving.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from nowcast.clock import wall

log = structlog.get_logger()

FOLLOWED = timedelta(seconds=30)
ADOPTED_AFTER = timedelta(hours=3)


def elapsed_seconds() -> float:
    """Return seconds since some start, that only ever pass."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class SteadyClock:
    """Called for the time, as `nowcast.clock.wall` is.

    Attributes
    ----------
    jumped
        Called once per jump.
    """

    wall: Callable[[], datetime] = wall
    elapsed: Callable[[], float] = elapsed_seconds
    jumped: Callable[[], None] = lambda: None
    _offset: datetime | None = None
    _jump: timedelta = timedelta(0)
    _since: float = 0.0

    def __call__(self) -> datetime:
        """Return the time, aware UTC."""
        shown, passed = self.wall(), timedelta(seconds=self.elapsed())
        if self._offset is None:
            self._offset = shown - passed
        difference = shown - (self._offset + passed)
        if abs(difference) <= FOLLOWED:
            self._offset, self._jump = shown - passed, timedelta(0)
        elif abs(difference - self._jump) > FOLLOWED:
            self._jump, self._since = difference, self.elapsed()
            self.jumped()
            log.critical(
                "the machine's clock jumped and is not followed",
                seconds=difference.total_seconds(),
                remedy="set it right; if it is right now, restart the worker",
            )
        elif self.elapsed() - self._since > ADOPTED_AFTER.total_seconds():
            log.warning("the machine's clock has stood since it jumped and is followed now")
            self._offset, self._jump = shown - passed, timedelta(0)
        return self._offset + passed
