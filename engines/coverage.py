"""Whether a calibration set covers every regime. Calibrated on fair weather, INT8 distorts exactly the storms.

A set is stacks in model space with masks; each stack belongs to the regimes that it shows, and every regime must be
there often enough, or the set is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import EngineError
from nowcast.space import WET_FROM, to_model

LEAST = 8
"""Stacks of each regime, at least."""
MOST_DRY = 0.5
"""Share of the set that may be dry, at most."""
CONVECTIVE, EXTREME = (float(to_model(np.array(rate))[0]) for rate in (20.0, 100.0))
"""Model-space values of 20 and 100 mm/h."""
REGIMES = ("dry", "stratiform", "convective", "extreme", "edge of coverage")


@dataclass(frozen=True)
class Coverage:
    """How many stacks show each regime."""

    counts: dict[str, int]
    stacks: int

    def require(self) -> None:
        """Raise `EngineError`, naming what is missing, unless every regime is covered and dry ones do not rule."""
        few = [f"{name}: {self.counts[name]} of {LEAST}" for name in REGIMES if self.counts[name] < LEAST]
        if self.counts["dry"] > MOST_DRY * self.stacks:
            few.append(f"dry: {self.counts['dry']} of {self.stacks} stacks, at most {MOST_DRY:.0%} may be")
        if few:
            raise EngineError(f"calibration set does not cover all regimes ({'; '.join(few)}); add such events")


def regimes(stack: NDArray[np.float32], mask: NDArray[np.float32]) -> set[str]:
    """Return the regimes that a stack (T, H, W) shows."""
    seen = stack[mask > 0]
    wet = seen[seen >= WET_FROM]
    shown = {"edge of coverage"} if float((mask == 0).mean()) > 0.05 else set()
    if wet.size < 0.01 * stack.size:
        return shown | {"dry"}
    if wet.max() >= EXTREME:
        shown.add("extreme")
    if float((wet >= CONVECTIVE).mean()) >= 0.01:
        return shown | {"convective"}
    return shown | {"stratiform"}


Stack = tuple[NDArray[np.float32], NDArray[np.float32]]
"""A stack and its mask, each (T, H, W)."""


def choose(candidates: Iterable[Stack], wanted: int = LEAST) -> Iterator[Stack]:
    """Yield those candidates that show a regime which fewer than `wanted` before them did; end when none is short."""
    counts = dict.fromkeys(REGIMES, 0)
    for stack, mask in candidates:
        shown = regimes(stack, mask)
        if any(counts[name] < wanted for name in shown):
            for name in shown:
                counts[name] += 1
            yield stack, mask
        if min(counts.values()) >= wanted:
            return


def measure(stacks: Iterable[Stack]) -> Coverage:
    """Return the coverage of (stack, mask) pairs."""
    counts, total = dict.fromkeys(REGIMES, 0), 0
    for stack, mask in stacks:
        total += 1
        for name in regimes(stack, mask):
            counts[name] += 1
    return Coverage(counts, total)
