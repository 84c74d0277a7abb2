"""Work side by side, in threads: numpy, OpenCV and zstd let go of the interpreter while they work."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


AT_ONCE = min(max(cores(), 4), 8)
"""How many arrays are worked on at the same time: what each needs beside its result is needed so often."""


def side_by_side(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Return `work(item)` of each item, in their order; raises what the first of them raises."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


class Room:
    """So much of something that threads may take at once; who wants more than there is takes all of it."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._given_back = Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        """Wait until that much is free, and have it inside."""
        wanted = min(wanted, self._size)
        with self._given_back:
            self._given_back.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._given_back:
                self._free += wanted
                self._given_back.notify_all()
