"""Frames at the times a forecast wants, from sources that look every 2, 6, 10 or 15 minutes.

Models see frames five minutes apart. Where a nominal time has no frame, the nearest one is moved to it along the motion
between the two newest frames: a field that stood still, or a gap, would be read as no motion.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.clock import STEP
from nowcast.frame import make_frame, valid_time
from nowcast.fusion import SAME_TIME
from nowcast.grid import Grid
from nowcast.motion import motion
from nowcast.regrid import regrid
from nowcast.space import to_model
from nowcast.transport import advect

FURTHEST = timedelta(minutes=10)
"""How far a frame may be moved in time."""
LONGEST_PAIR = timedelta(minutes=20)
"""Frames further apart than this show no motion that could be followed."""


def to_nominal(frames: Sequence[xr.Dataset], grid: Grid, times: Sequence[datetime]) -> list[xr.Dataset]:
    """Return a frame for each of the times that can have one, oldest first; those that fit come as they are.

    Parameters
    ----------
    frames
        Of one source, any order.
    grid
        The grid on which frames are moved; moved ones lie on it.
    times
        Nominal times, five minutes apart (`nowcast.stack.nominal_times`).
    """
    known = sorted(frames, key=valid_time)
    fitting = {time: _nearest(known, time, SAME_TIME) for time in times}
    if len(known) < 2 or all(frame is not None for frame in fitting.values()):
        return [frame for frame in fitting.values() if frame is not None]
    flow = _flow(known, grid)
    made = [frame if frame is not None else _moved(known, grid, time, flow) for time, frame in fitting.items()]
    return [frame for frame in made if frame is not None]


def _nearest(frames: Sequence[xr.Dataset], time: datetime, span: timedelta) -> xr.Dataset | None:
    close = [frame for frame in frames if abs(valid_time(frame) - time) <= span]
    return min(close, key=lambda frame: abs(valid_time(frame) - time)) if close else None


def _flow(frames: Sequence[xr.Dataset], grid: Grid) -> NDArray[np.float32] | None:
    """Return the motion of the two newest frames in pixels per five minutes, None where they are too far apart."""
    before, after = frames[-2:]
    gap = valid_time(after) - valid_time(before)
    if not timedelta(0) < gap <= LONGEST_PAIR:
        return None
    pairs = [to_model(regrid(frame, grid)) for frame in (before, after)]
    found = motion(np.stack([values for values, _ in pairs]), np.stack([mask for _, mask in pairs]))
    return (found * np.float32(STEP / gap)).astype(np.float32)


def _moved(
    frames: Sequence[xr.Dataset], grid: Grid, time: datetime, flow: NDArray[np.float32] | None
) -> xr.Dataset | None:
    nearest = _nearest(frames, time, FURTHEST)
    if nearest is None or flow is None:
        return None
    values = advect(regrid(nearest, grid), flow, (time - valid_time(nearest)) / STEP)
    digest = hashlib.sha256(f"{nearest.attrs['digest']} at {time.isoformat()}".encode()).hexdigest()
    return make_frame(
        values,
        grid,
        time,
        str(nearest.attrs["source"]),
        digest,
        accumulation_minutes=float(nearest.attrs["accumulation_minutes"]),
    )
