"""The heart of every forecast, live or one-shot: region stack → motion → engine → products, timed by stage."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from engines.ladder import Ladder, Served
from jobs.tiles import serve
from nowcast.clock import STEP
from nowcast.frame import valid_time
from nowcast.fusion import fused_frames
from nowcast.motion import motion
from nowcast.noise import Noise
from nowcast.products import to_fields
from nowcast.region import Region
from nowcast.resample import to_nominal
from nowcast.run import Fields, Run
from nowcast.stack import TOLERANCE, RegionStack, build_stack, nominal_times, shared_time
from nowcast.transport import carry


@dataclass
class Stages:
    """Seconds spent per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Forecast:
    """What one region's forecast came to."""

    stack: RegionStack
    fields: Fields
    served: Served


def forecast(
    frames: Sequence[xr.Dataset],
    region: Region,
    ladder: Ladder,
    now: datetime,
    stages: Stages,
    satellites: frozenset[str] = frozenset(),
) -> Forecast:
    """Return the products of one region by its model, from the best engine that works.

    Raises
    ------
    NowcastError
        When the frames or the engines do not allow one.
    """
    with stages("stack"):
        stack = build_stack(brought_together(frames, region, satellites), region.grid, region.margin)
    with stages("motion"):
        flow = motion(stack.values, stack.mask, stack.minutes)
    with stages("noise"):
        noise = Noise(region.name, stack.base_time, stack.values.shape[1:])
        noise(ladder.spec(region.model))
    with ladder.alone:
        with stages("engine"):
            served = serve(ladder, region, stack, flow, noise, now)
        with stages("products"):
            fields = to_fields(served.outputs, 0, stack.shape, stack.margin)
    if stack.source is not None:
        with stages("products"):
            fields["rain_source"] = _source_field(stack, flow, fields)
    return Forecast(stack, fields, served)


def run_of(
    made: Forecast,
    region: Region,
    frames: Sequence[xr.Dataset],
    stages: Stages,
    slot: datetime,
    published_at: datetime,
) -> Run:
    """Return a forecast as the run to publish; `frames` are those that it was made from."""
    return Run(
        region=region.name,
        base_time=made.stack.base_time,
        slot=slot,
        published_at=published_at,
        model=region.model,
        rung=made.served.rung,
        plan=made.served.plan,
        members=made.served.spec.members,
        leads=made.served.spec.leads,
        grid_digest=region.grid.digest,
        products=tuple(made.fields),
        frames=tuple(str(f.attrs["digest"]) for f in frames),
        stages={name: round(seconds, 4) for name, seconds in stages.seconds.items()},
    )


def brought_together(frames: Sequence[xr.Dataset], region: Region, satellites: frozenset[str]) -> Sequence[xr.Dataset]:
    """Return one frame per time, five minutes apart: what fusion makes of several sources, else the frames themselves.

    Frames of a source that looks at other intervals are moved to the nominal times; a source of five minutes with a gap
    keeps the gap. `rain_source` of fused frames counts the region's sources from 1, in its own order.
    """
    if len(region.sources) == 1:
        if _five_minutes_apart(frames):
            return frames
        grid = region.grid.widened(region.margin)
        return to_nominal(frames, grid, nominal_times(max(valid_time(f) for f in frames)))
    radars = [f for f in frames if f.attrs["source"] not in satellites]
    fillers = [f for f in frames if f.attrs["source"] in satellites]
    if not radars:
        return frames
    grid, times = region.grid.widened(region.margin), nominal_times(shared_time(max(valid_time(f) for f in radars)))
    fused = fused_frames(radars, fillers, grid, times, region.fusion, region.sources)
    return [_numbered(frame, region) for frame in fused]


def _five_minutes_apart(frames: Sequence[xr.Dataset]) -> bool:
    times = sorted({valid_time(frame) for frame in frames})
    gaps = [later - earlier for earlier, later in pairwise(times)]
    return not gaps or any(abs(gap - STEP) <= TOLERANCE for gap in gaps)


def _numbered(frame: xr.Dataset, region: Region) -> xr.Dataset:
    names = str(frame["rain_source"].attrs["flag_meanings"]).split()
    codes = np.array([0, *(region.sources.index(name) + 1 for name in names[1:])], np.uint8)
    frame["rain_source"].values = codes[frame["rain_source"].values]
    return frame


def _source_field(stack: RegionStack, flow: NDArray[np.float32], fields: Fields) -> NDArray[np.float32]:
    """Return where each lead's rain was seen, (K, H, W): the n-th of the region's sources, NaN where nowhere."""
    rates = next(iter(fields.values()))
    padded_source = np.zeros(stack.values.shape[1:], np.uint8)
    source = stack.source if stack.source is not None else padded_source
    padded_source[: source.shape[0], : source.shape[1]] = source
    rows, columns = (slice(stack.margin, stack.margin + size) for size in stack.shape)
    carried = carry(padded_source, flow, len(rates))[:, rows, columns].astype(np.float32)
    carried[np.isnan(rates) | (carried == 0)] = np.nan
    return carried
