"""Scores of ensembles against what the radar then saw, as sums that add up over leads, start times and events.

Members are (M, H, W) rates in mm/h, observations (H, W), `valid` (H, W) bool: only pixels that count. A `Tally`
holds one lead; `a + b` pools two of the same lead; the properties turn sums into scores, NaN where nothing was seen.

CRPS: Gneiting and Raftery (2007), JASA 102, 359–378, in its ensemble form (not the fair one, so a smaller ensemble
scores worse, as pysteps does). Quantile loss: Koenker and Bassett (1978), Econometrica 46, 33–50. FSS: Roberts and
Lean (2008), MWR 136, 78–97. Rank histogram: Hamill (2001), MWR 129, 550–560.
"""

import itertools
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

THRESHOLDS = (0.5, 1.0, 5.0)
"""mm/h."""
QUANTILES = (0.1, 0.5, 0.9)
WET = 0.1
"""mm/h."""
PERCENT = 101
"""Bins of a probability: whole percents."""
FSS_WINDOW = 16
"""Pixels, 16 km in 1 km composites."""
WAVELENGTHS = (4, 8, 16, 32, 64)
"""Pixels: edges of the spectral bands whose power is compared."""


def crps_terms(ordered: Array, observed: Array) -> tuple[float, float]:
    """Return sums over pixels of mean |x - y| and of half the mean |x - x'| over all M² pairs; sorted (M, N), (N,)."""
    count = len(ordered)
    weights = (2 * np.arange(1, count + 1) - count - 1).astype(ordered.dtype) / count**2
    return float(np.abs(ordered - observed).mean(0).sum()), float((weights @ ordered).sum())


def quantile_losses(told: Array, observed: Array) -> NDArray[np.float64]:
    """Return the sums (3,) of the quantile loss of told `QUANTILES` (3, N), mm/h."""
    levels = np.array(QUANTILES, told.dtype)[:, None]
    return np.maximum(levels * (observed - told), (levels - 1) * (observed - told)).sum(1, dtype=np.float64)


def joint_histogram(probability: Array, event: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return counts (PERCENT, 2) of whole-percent forecast probability against no/yes, both (N,)."""
    percent = np.clip(np.rint(probability * 100), 0, 100).astype(np.int64)
    return np.bincount(percent * 2 + event, minlength=2 * PERCENT).reshape(PERCENT, 2).astype(np.float64)


def box_mean(field: Array, window: int) -> Array:
    """Return means over `window` × `window` boxes that lie inside the field, (..., H, W) → (..., H-w+1, W-w+1)."""
    total = np.cumsum(np.cumsum(np.pad(field, [(0, 0)] * (field.ndim - 2) + [(1, 0), (1, 0)]), -2), -1)
    w = window
    return (total[..., w:, w:] - total[..., :-w, w:] - total[..., w:, :-w] + total[..., :-w, :-w]) / w**2


def fss_terms(members: Array, observed: Array, valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (thresholds, 2): sums of (f - o)² and of f² + o² of box fractions, averaged over the members."""
    whole = box_mean(valid.astype(np.float64), FSS_WINDOW) > 0.999
    found = []
    for threshold in THRESHOLDS:
        seen = box_mean(((observed >= threshold) & valid).astype(np.float64), FSS_WINDOW)[whole]
        told = [box_mean(((m >= threshold) & valid).astype(np.float64), FSS_WINDOW)[whole] for m in members]
        found.append(
            [np.mean([((f - seen) ** 2).sum() for f in told]), np.mean([(f**2 + seen**2).sum() for f in told])]
        )
    return np.array(found)


def ranks(members: Array, observed: Array, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return counts (M + 1,) of the rank of (N,) observations among (M, N) members, ties broken at random."""
    below = (members < observed).sum(0)
    tied = (members == observed).sum(0)
    rank = below + np.floor(rng.random(below.shape) * (tied + 1)).astype(np.int64)
    return np.bincount(rank, minlength=len(members) + 1).astype(np.float64)


def band_power(field: Array) -> NDArray[np.float64]:
    """Return the radially averaged power of a square field between the `WAVELENGTHS`, (len - 1,), shortest first."""
    size = field.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)[None]
    power = np.abs(np.fft.fft2((field - field.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    edges = 1 / np.array(WAVELENGTHS, float)
    return np.array([power[(frequency <= a) & (frequency > b)].mean() for a, b in itertools.pairwise(edges)])


def decibels(rate: Array) -> Array:
    """Return 10·log10 of mm/h above 0.1 mm/h, 0 where dry (so 0.1 mm/h is 0 and 1 mm/h is 10)."""
    return 10 * np.log10(np.maximum(rate, 0.1)) + 10


@dataclass
class Tally:
    """Sums of one lead; each array adds up.

    Attributes
    ----------
    wet
        Pixels of `WET` or more: observed, in the mean of the members' numbers, at the median.
    quantile
        Losses of `QUANTILES`.
    """

    pixels: float
    distance: float
    spread: float
    probability: NDArray[np.float64]
    mean: NDArray[np.float64]
    fss: NDArray[np.float64]
    rank: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    wet: NDArray[np.float64]
    quantile: NDArray[np.float64]

    def __add__(self, other: "Tally") -> "Tally":
        sums: list[Any] = [getattr(self, f.name) + getattr(other, f.name) for f in fields(self)]
        return Tally(*sums)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {f.name: np.asarray(getattr(self, f.name)).round(4).tolist() for f in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Tally":
        """Return the tally that `to_json` gave."""
        sums: list[Any] = [data[f.name] for f in fields(cls)]
        known: list[Any] = [np.asarray(v, float) if isinstance(v, list) else v for v in sums]
        return cls(*known)

    @property
    def crps(self) -> float:
        """Continuous ranked probability score, mm/h."""
        return (self.distance - self.spread) / self.pixels if self.pixels else float("nan")

    def csi(self, threshold: int, percent: int | None = None) -> float:
        """Return the critical success index of THRESHOLDS[threshold], of the mean or of a probability ≥ `percent`."""
        table = self.mean[threshold] if percent is None else self.table(threshold, percent)
        hits, misses, alarms = table
        return float(hits / (hits + misses + alarms)) if hits + misses + alarms else float("nan")

    def best_csi(self, threshold: int) -> tuple[float, int]:
        """Return the best index over all probability thresholds, and that percent."""
        scores = [(self.csi(threshold, percent), percent) for percent in range(1, PERCENT)]
        return max(scores, key=lambda s: (np.nan_to_num(s[0]), -s[1]))

    def expected_percent(self, threshold: int) -> int:
        """Return the percent at which these probabilities themselves expect the best CSI; no observation is looked at.

        With p at the pixels, those told rain (p ≥ t) expect Σp hits; the event or a forecast of it is expected at
        their number plus the Σp of all others. The ratio is greatest at the t that is returned.
        """
        counts = self.probability[threshold].sum(1)
        hits = (counts * np.arange(PERCENT) / 100)[::-1].cumsum()[::-1]
        either = counts[::-1].cumsum()[::-1] + hits[0] - hits
        return 1 + int((hits[1:] / np.maximum(either[1:], 1e-9)).argmax())

    def fractions(self, threshold: int) -> float:
        """Return the fractions skill score of THRESHOLDS[threshold]."""
        error, reference = self.fss[threshold]
        return float(1 - error / reference) if reference else float("nan")

    def table(self, threshold: int, percent: int) -> tuple[float, float, float]:
        """Return hits, misses and false alarms of a probability ≥ `percent`."""
        no, yes = self.probability[threshold].T
        return yes[percent:].sum(), yes[:percent].sum(), no[percent:].sum()


def tally(
    members: Array,
    observed: Array,
    valid: NDArray[np.bool_],
    probability: Array | None = None,
    quantiles: Array | None = None,
) -> Tally:
    """Score one lead.

    Parameters
    ----------
    members
        (M, H, W) mm/h, finite.
    probability
        (thresholds, H, W); the share of members at or above each of `THRESHOLDS` where None.
    quantiles
        (3, H, W) mm/h, `QUANTILES`; the members nearest to them where None.
    """
    seen, told = observed[valid].astype(np.float32), members[:, valid].astype(np.float32)
    events = [seen >= t for t in THRESHOLDS]
    shares = [(told >= t).mean(0) for t in THRESHOLDS] if probability is None else [p[valid] for p in probability]
    mean, ordered = told.mean(0), np.sort(told, axis=0)
    drawn = ordered[[int(q * len(told)) for q in QUANTILES]] if quantiles is None else quantiles[:, valid]
    tables = [
        [(e & (mean >= t)).sum(), (e & (mean < t)).sum(), (~e & (mean >= t)).sum()]
        for e, t in zip(events, THRESHOLDS, strict=True)
    ]
    clean = np.where(valid, observed, 0)
    power = [band_power(decibels(np.where(valid, m, 0))) for m in members[:4]]
    return Tally(
        float(seen.size),
        *crps_terms(ordered, seen),
        np.stack([joint_histogram(s, e) for s, e in zip(shares, events, strict=True)]),
        np.array(tables, float),
        fss_terms(members[:8], clean, valid),
        ranks(told, seen, np.random.default_rng(1)),
        np.stack((np.mean(power, 0), band_power(decibels(clean)))),
        np.array([(seen >= WET).sum(), (told >= WET).mean(0).sum(), (drawn[1] >= WET).sum()], float),
        quantile_losses(drawn, seen),
    )
