"""Which of two models is better, on verified observations: paired over cycles, with the uncertainty of that.

A cycle is a region and a base time for which both made a forecast that has been verified; the difference of their CRPS
there, averaged over the leads that both have, is one number. Cycles five minutes apart are not independent, so the
bootstrap draws blocks of neighbouring cycles (Künsch, 1989, Ann. Stat. 17, 1217–1241); without blocks it would be sure
of itself far too early.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.run import ScoreRecord
from nowcast.verification import CRPS, CSI, OBSERVED, THRESHOLDS, WET, regime

CONFIDENCE = 0.95
ROUNDS = 2000
BLOCK = 6
"""Cycles per block: half an hour."""
LARGEST_CSI_LOSS = 0.01

Cycle = tuple[str, datetime]


@dataclass(frozen=True)
class Comparison:
    """A candidate against an incumbent.

    Attributes
    ----------
    cycles
        Paired cycles.
    difference, low, high
        Mean of candidate's minus incumbent's CRPS (mm/h), and its interval of 95 %: below 0 the candidate is better.
    csi
        Change of the CSI by threshold (mm/h), over all pixels of all paired cycles; where there was such rain.
    regimes
        Mean difference and number of cycles by regime.
    """

    candidate: str
    incumbent: str
    cycles: int
    crps_candidate: float
    crps_incumbent: float
    difference: float
    low: float
    high: float
    csi: dict[float, float] = field(default_factory=dict)
    regimes: dict[str, tuple[float, int]] = field(default_factory=dict)

    def objections(self, least_cycles: int) -> list[str]:
        """Return why the candidate may not be promoted; empty when it may."""
        found = []
        if self.cycles < least_cycles:
            found.append(f"{self.cycles} verified cycles, at least {least_cycles} are needed")
        if not self.high < 0:
            found.append(f"CRPS differs by {self.low:+.4f} … {self.high:+.4f} mm/h at 95 %, it must be below 0")
        for threshold, change in self.csi.items():
            if change < -LARGEST_CSI_LOSS:
                found.append(
                    f"CSI at {threshold:g} mm/h changes by {change:+.3f}, at most -{LARGEST_CSI_LOSS} is allowed"
                )
        return found

    def falls_behind(self, least_cycles: int) -> bool:
        """Return whether the candidate is worse for certain: its CRPS is higher over the whole interval."""
        return self.cycles >= least_cycles and self.low > 0

    def numbers(self) -> dict[str, Any]:
        """Return what a transition keeps of it."""
        values = {k: _rounded(v) for k, v in asdict(self).items() if k not in ("csi", "regimes")}
        regimes = {name: {"difference": _rounded(d), "cycles": n} for name, (d, n) in self.regimes.items()}
        return {**values, "csi": {f"{t:g}": _rounded(c) for t, c in self.csi.items()}, "regimes": regimes}


def compare(records: Iterable[ScoreRecord], candidate: str, incumbent: str) -> Comparison:
    """Compare two makers on the leads of the cycles that both have."""
    by_maker: dict[str, dict[tuple, ScoreRecord]] = {candidate: {}, incumbent: {}}
    wet: dict[Cycle, dict[float, float]] = defaultdict(dict)
    for r in records:
        if r.made_by in by_maker and r.score in (CRPS, CSI):
            by_maker[r.made_by][r.region, r.base_time, r.lead_minutes, r.score, r.threshold] = r
        elif r.made_by == OBSERVED and r.score == WET and r.value is not None and r.threshold is not None:
            wet[r.region, r.base_time][r.threshold] = r.value
    mine, theirs = by_maker[candidate], by_maker[incumbent]
    both = sorted(mine.keys() & theirs.keys(), key=lambda k: (k[0], k[1], k[2], k[3], k[4] or 0.0))
    cycles, ours, others = _crps(both, mine, theirs)
    differences = ours - others
    low, high = interval(differences)
    a, b, difference = (float(v.mean()) if len(v) else math.nan for v in (ours, others, differences))
    csi = {t: change for t in THRESHOLDS if (change := _csi_change(both, mine, theirs, t)) is not None}
    return Comparison(
        candidate, incumbent, len(cycles), a, b, difference, low, high, csi, _by_regime(cycles, differences, wet)
    )


def interval(differences: NDArray[np.float64], block: int = BLOCK) -> tuple[float, float]:
    """Return the 95 % interval of the mean by a circular block bootstrap; (NaN, NaN) without two blocks."""
    count = len(differences)
    if count < 2 * block:
        return math.nan, math.nan
    rng = np.random.default_rng(0)
    starts = rng.integers(count, size=(ROUNDS, -(-count // block)))
    index = (starts[..., None] + np.arange(block)).reshape(ROUNDS, -1)[:, :count] % count
    means = differences[index].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _crps(
    both: Sequence[tuple], mine: Mapping[tuple, ScoreRecord], theirs: Mapping[tuple, ScoreRecord]
) -> tuple[list[Cycle], NDArray[np.float64], NDArray[np.float64]]:
    """Return the cycles in order and each side's mean CRPS over its leads."""
    sums: dict[Cycle, list[tuple[float, float]]] = defaultdict(list)
    for key in both:
        a, b = mine[key].value, theirs[key].value
        if key[3] == CRPS and a is not None and b is not None:
            sums[key[0], key[1]].append((a, b))
    cycles = sorted(sums)
    means = np.array([np.mean(sums[c], axis=0) for c in cycles], np.float64).reshape(-1, 2)
    return cycles, means[:, 0], means[:, 1]


def _csi_change(
    both: Sequence[tuple], mine: Mapping[tuple, ScoreRecord], theirs: Mapping[tuple, ScoreRecord], threshold: float
) -> float | None:
    keys = [k for k in both if k[3] == CSI and k[4] == threshold]
    a, b = _pooled([mine[k] for k in keys]), _pooled([theirs[k] for k in keys])
    return None if a is None or b is None else a - b


def _pooled(records: Sequence[ScoreRecord]) -> float | None:
    events = sum(r.count for r in records)
    return sum((r.value or 0.0) * r.count for r in records) / events if events else None


def _by_regime(
    cycles: Sequence[Cycle], differences: NDArray[np.float64], wet: Mapping[Cycle, Mapping[float, float]]
) -> dict[str, tuple[float, int]]:
    found: dict[str, list[float]] = defaultdict(list)
    for cycle, difference in zip(cycles, differences, strict=True):
        shares = wet.get(cycle)
        if shares:
            found[regime(shares.get(0.1, 0.0), shares.get(5.0, 0.0))].append(float(difference))
    return {name: (float(np.mean(values)), len(values)) for name, values in sorted(found.items())}


def _rounded(value: Any) -> Any:  # noqa: ANN401  numbers, names
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 5)
    return value
