"""What a source has been like: grid, coverage, pixels and wet quantiles of its recent frames.

The gate compares with it. Immutable and small: each accepted frame, as read and before clutter is masked, makes the
next history (`SourceHistory.after`), which is kept as one line of JSON. The clutter counts are arrays and kept apart.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta

import cv2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.frame import DRY_BELOW, grid_of, valid_time

DAYS = 30
LEVELS = (0.5, 0.9, 0.99)
LEAST_WET = 500
"""Wet pixels that a frame must have before its quantiles count."""
COVERAGES = 24


@dataclass(frozen=True)
class Quantiles:
    """Wet rates (≥ 0.1 mm/h) of one day: least and greatest of each quantile in `LEVELS`, over its frames, mm/h."""

    day: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    frames: int

    def with_frame(self, values: tuple[float, ...]) -> "Quantiles":
        """Return the day with one more frame."""
        low = tuple(min(pair) for pair in zip(self.low, values, strict=True))
        high = tuple(max(pair) for pair in zip(self.high, values, strict=True))
        return Quantiles(self.day, low, high, self.frames + 1)


@dataclass(frozen=True)
class SourceHistory:
    """The recent past of one source.

    Attributes
    ----------
    grid_digest
        Of the grid of its first accepted frame; another is refused until it is cleared.
    pixels, repeats, newest
        Digest of the newest frame's pixels, how many frames in turn have shown them, its valid time (ISO).
    coverages
        Shares seen of the last frames, newest last.
    days
        Wet quantiles by day, oldest first, at most `DAYS`.
    """

    grid_digest: str = ""
    pixels: str = ""
    repeats: int = 0
    newest: str = ""
    coverages: tuple[float, ...] = ()
    days: tuple[Quantiles, ...] = ()

    def after(self, frame: xr.Dataset) -> "SourceHistory":
        """Return the history with an accepted frame; one older than the newest changes nothing but quantiles."""
        time, rate = valid_time(frame), frame["rain_rate"].values
        grid_digest = self.grid_digest or grid_of(frame).digest
        history = replace(self, grid_digest=grid_digest, days=self._days(rate, time))
        if self.newest and time.isoformat() <= self.newest:
            return history
        pixels = pixel_digest(rate)
        coverages = (*self.coverages, float(np.isfinite(rate).mean()))[-COVERAGES:]
        repeats = self.repeats + 1 if pixels == self.pixels else 1
        return replace(history, pixels=pixels, repeats=repeats, newest=time.isoformat(), coverages=coverages)

    def _days(self, rate: NDArray[np.floating], time: datetime) -> tuple[Quantiles, ...]:
        values = wet_quantiles(rate)
        if values is None:
            return self.days
        today = time.date().isoformat()
        oldest = (time.date() - timedelta(days=DAYS)).isoformat()
        known = {day.day: day for day in self.days if day.day > oldest}
        known[today] = known[today].with_frame(values) if today in known else Quantiles(today, values, values, 1)
        return tuple(known[day] for day in sorted(known))

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SourceHistory":
        """Return the history of `to_json`."""
        known = json.loads(text)
        known.pop("grid", None)  # of before 2026-12, by PROJ's words: it is learned again
        days = tuple(Quantiles(d["day"], tuple(d["low"]), tuple(d["high"]), d["frames"]) for d in known.pop("days"))
        return cls(**{**known, "coverages": tuple(known["coverages"]), "days": days})


def wet_quantiles(rate: NDArray[np.floating]) -> tuple[float, ...] | None:
    """Return the quantiles (`LEVELS`) of the wet pixels, mm/h, or None where fewer than `LEAST_WET` are wet."""
    wet = rate[rate >= DRY_BELOW]
    return tuple(float(q) for q in np.quantile(wet, LEVELS)) if wet.size >= LEAST_WET else None


def pixel_digest(rate: NDArray[np.floating]) -> str:
    """Return the SHA-256 of the field's pixels: equal only where every pixel is."""
    return hashlib.sha256(np.ascontiguousarray(rate).tobytes()).hexdigest()


@dataclass
class ClutterCounts:
    """How often each pixel was seen and wet: what is wet far more often than its surroundings is not weather.

    Attributes
    ----------
    seen, wet
        (H, W) uint32.
    since
        Date of the first frame.
    """

    seen: NDArray[np.uint32]
    wet: NDArray[np.uint32]
    since: date

    LEAST_FRAMES = 500
    SHARE, CONTRAST = 0.25, 4.0

    @classmethod
    def empty(cls, shape: tuple[int, int], since: date) -> "ClutterCounts":
        """Return counts of nothing."""
        return cls(np.zeros(shape, np.uint32), np.zeros(shape, np.uint32), since)

    def add(self, rate: NDArray[np.floating]) -> None:
        """Count one frame, (H, W) mm/h."""
        self.seen += np.isfinite(rate)
        self.wet += rate >= DRY_BELOW

    def mask(self) -> NDArray[np.bool_]:
        """Return static clutter, (H, W): wet a quarter of the time and 4 times as often as the 41 pixels around."""
        often = np.divide(self.wet, self.seen, out=np.zeros(self.seen.shape), where=self.seen >= self.LEAST_FRAMES)
        around = cv2.medianBlur((np.minimum(often, 1) * 255).astype(np.uint8), 41) / 255
        return (often > self.SHARE) & (often > self.CONTRAST * around)
