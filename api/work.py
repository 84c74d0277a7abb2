"""Work that takes longer than a look-up, in a few threads of its own: so many at once, so many waiting, no more.

The event loop stays free for health and points, and who comes when too many wait is told to come back.
"""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from nowcast.errors import Busy

T = TypeVar("T")


class Workshop:
    """At most `threads` pieces of work at once and `waiting` more in line."""

    def __init__(self, threads: int = 4, waiting: int = 64) -> None:
        self._threads, self._most = threads, threads + waiting
        self._limiter: CapacityLimiter | None = None
        self._inside = 0

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, from a thread.

        Raises
        ------
        Busy
            When too much is waiting already.
        """
        if self._inside >= self._most:
            raise Busy(f"{self._inside} requests are being worked on; try again in a moment")
        self._limiter = self._limiter or CapacityLimiter(self._threads)
        self._inside += 1
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._inside -= 1
