"""Time: aware UTC, five-minute slots, and a clock that may run faster than the wall's."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STEP = timedelta(minutes=5)


def wall() -> datetime:
    """Return the wall clock's time, aware UTC."""
    return datetime.now(UTC)


def utc(time: datetime) -> datetime:
    """Return a time in UTC, which it is already without a zone, or raise `ValueError` outside the years 1 … 9999."""
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"time must lie in the years 1 … 9999 in UTC, got {time.isoformat()}") from None


def floor(time: datetime, step: timedelta = STEP) -> datetime:
    """Return the last multiple of `step` since midnight UTC at or before `time`."""
    midnight = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + ((time - midnight) // step) * step


@dataclass(frozen=True)
class Clock:
    """A clock that runs `speed` times faster than the wall's since `epoch`: the same in every process that has both.

    Attributes
    ----------
    epoch
        Aware UTC instant at which this clock and the wall's show the same time.
    """

    speed: float = 1.0
    epoch: datetime = datetime(2000, 1, 1, tzinfo=UTC)
    wall: Callable[[], datetime] = wall

    def __post_init__(self) -> None:
        if self.epoch.tzinfo is None:
            raise ValueError(f"epoch must be aware UTC, got {self.epoch!r}")

    def now(self) -> datetime:
        """Return this clock's time, aware UTC."""
        if self.speed == 1.0:
            return self.wall()
        return self.epoch + (self.wall() - self.epoch) * self.speed

    def wall_seconds(self, span: timedelta) -> float:
        """Return how many seconds of the wall's clock `span` takes on this one."""
        return span.total_seconds() / self.speed

    def to_wall(self, time: datetime) -> datetime:
        """Return the wall clock's time at which this clock shows `time`."""
        return time if self.speed == 1.0 else self.epoch + (time - self.epoch) / self.speed
