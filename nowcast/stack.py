"""The region stack: the newest frames of a region on its grid, in model space, padded to multiples of 32.

Frames are chosen for the nominal times base time - 15, - 10, - 5 and - 0 min; a time without a frame is a frame of
mask 0, never a copy and never zeros that look dry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.clock import STEP, floor
from nowcast.errors import TooFewFrames
from nowcast.frame import valid_time
from nowcast.grid import Grid
from nowcast.models.spec import FRAMES, padded
from nowcast.regrid import regrid
from nowcast.space import to_model

LEAST_FRAMES = 2
TOLERANCE = timedelta(minutes=1)
SHARED = timedelta(seconds=30)
"""Less than a minute: a source of whole minutes, as of every six, is not moved."""


@dataclass(frozen=True)
class RegionStack:
    """What a forecast starts from.

    Attributes
    ----------
    values, mask
        (T, H', W'): grid and margin, padded to multiples of 32; see `nowcast.models.spec`.
    shape, margin
        (H, W) of the region's grid and the cells around it: cut products back to it.
    minutes
        Valid time of each of the T frames before the base time, ≤ 0; of one that is missing its nominal time.
    frames
        Digests of the frames used, oldest first.
    missing
        How many of the T nominal times have no frame.
    source
        (H + 2·margin, W + 2·margin) uint8: the `rain_source` of the newest frame (n = the region's n-th source); None
        where there is one source alone.
    """

    values: NDArray[np.float32]
    mask: NDArray[np.float32]
    shape: tuple[int, int]
    margin: int
    base_time: datetime
    minutes: tuple[float, ...]
    frames: tuple[str, ...]
    missing: int
    source: NDArray[np.uint8] | None = None


def shared_time(time: datetime) -> datetime:
    """Return the time that radars share which look seconds apart: the five minutes within `SHARED`, else the time."""
    nearest = floor(time + STEP / 2)
    return nearest if abs(time - nearest) <= SHARED else time


def nominal_times(base: datetime, count: int = FRAMES) -> list[datetime]:
    """Return the times a stack wants, oldest first."""
    return [base - STEP * k for k in range(count - 1, -1, -1)]


def build_stack(frames: Sequence[xr.Dataset], grid: Grid, margin: int = 0) -> RegionStack:
    """Return the stack of `frames` (any order; of several at one time the last wins) on `grid` and a margin of cells.

    Raises
    ------
    TooFewFrames
        When fewer than two of the nominal times have a frame.
    """
    if not frames:
        raise TooFewFrames(f"no frames; a forecast needs at least {LEAST_FRAMES}, five minutes apart")
    base = max(valid_time(f) for f in frames)
    chosen = [_nearest(frames, time) for time in nominal_times(base)]
    used = [f for f in chosen if f is not None]
    if len(used) < LEAST_FRAMES:
        raise TooFewFrames(
            f"only {len(used)} usable frame in the 15 min before {base:%Y-%m-%d %H:%M} UTC;"
            f" at least {LEAST_FRAMES}, five minutes apart, are needed"
        )
    wide = grid.widened(margin)
    height, width = padded(wide.shape)
    values, mask = (np.zeros((len(chosen), height, width), np.float32) for _ in range(2))
    for number, frame in enumerate(chosen):
        if frame is not None:
            inside = number, slice(wide.height), slice(wide.width)
            values[inside], mask[inside] = to_model(regrid(frame, wide))
    used_digests = tuple(f.attrs["digest"] for f in used)
    missing = len(chosen) - len(used)
    minutes = tuple(
        ((valid_time(f) if f is not None else time) - base).total_seconds() / 60
        for f, time in zip(chosen, nominal_times(base), strict=True)
    )
    return RegionStack(values, mask, grid.shape, margin, base, minutes, used_digests, missing, _source(chosen[-1]))


def _source(newest: xr.Dataset | None) -> NDArray[np.uint8] | None:
    return None if newest is None or "rain_source" not in newest else newest["rain_source"].values


def _nearest(frames: Sequence[xr.Dataset], time: datetime) -> xr.Dataset | None:
    close = [f for f in frames if abs(valid_time(f) - time) <= TOLERANCE]
    return min(reversed(close), key=lambda f: abs(valid_time(f) - time)) if close else None
