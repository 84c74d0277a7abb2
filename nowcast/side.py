"""Several arrays side by side, in threads: numpy and zstd let go of the interpreter while they work."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

AT_ONCE = 4
"""How many are worked on at the same time: what each needs beside its result is needed so often."""

In = TypeVar("In")
Out = TypeVar("Out")


def side_by_side(work: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
    """Return `work(item)` of each item, in their order; raises what the first of them raises."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))
