"""Radar and satellite on one grid at one time, with the source of every pixel.

Radars merge by quality, then freshness (nearest to the time), then the region's order. What no radar sees is filled
from satellites: brought to the region's grid, advected to the time with the region's motion, its rates matched to
the radar's (`nowcast.matching`), and feathered into the radar field over `feather_km`, on the satellite's side only:
a radar pixel is never changed. What no one sees stays NaN.

A geostationary satellite sees high cloud displaced away from its foot point (parallax): a 10 km top over central
Europe lies about 15 km too far north. NWC SAF corrects CRR for it, GOES RRQPE does not. Satellite files come 10 to
20 min after the scan.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.clock import STEP
from nowcast.frame import grid_of, make_frame, valid_time
from nowcast.grid import Grid
from nowcast.matching import Match, match
from nowcast.motion import motion
from nowcast.regrid import regrid, regrid_field
from nowcast.space import to_model
from nowcast.transport import advect

UNSTATED_QUALITY = 0.8
"""Taken for a source that states none."""
QUALITY_STEP = 0.05
"""Qualities closer than this are equal, and the fresher wins."""
SAME_TIME = timedelta(minutes=1)
UNMATCHED = "satellite-unmatched"
Array = NDArray[np.float32]


@dataclass(frozen=True)
class FusionOptions:
    """How sources come together.

    Attributes
    ----------
    satellite
        Whether satellites fill what radars do not see.
    feather_km
        Over how many km from the radar's edge the satellite turns into itself; 0 = a hard edge.
    oldest_satellite, oldest_radar
        Frames older than this before the wanted time take no part.
    """

    satellite: bool = True
    feather_km: float = 10.0
    oldest_satellite: timedelta = timedelta(minutes=45)
    oldest_radar: timedelta = timedelta(minutes=6)

    def __post_init__(self) -> None:
        if self.feather_km < 0:
            raise ValueError(f"feather_km must be ≥ 0, got {self.feather_km}")


@dataclass(frozen=True)
class Fused:
    """One field from several sources.

    Attributes
    ----------
    rain_rate
        (H, W) mm/h; NaN = no source sees.
    rain_source
        (H, W) uint8: 0 = none, n = `sources[n - 1]`.
    sources
        Names, radars first.
    match
        How the (last) satellite's rates were matched; None where they were not.
    flags
        `UNMATCHED` where satellite rain stands as it came.
    frames
        Digests of the frames that took part.
    """

    rain_rate: Array
    rain_source: NDArray[np.uint8]
    sources: tuple[str, ...]
    match: Match | None
    flags: tuple[str, ...]
    frames: tuple[str, ...]

    def frame(self, grid: Grid, time: datetime) -> xr.Dataset:
        """Return it as a canonical frame, with `rain_source` beside the rain rate."""
        frame = make_frame(self.rain_rate, grid, time, "fused", _digest_of(self.frames))
        frame["rain_source"] = (("y", "x"), self.rain_source, source_attributes(self.sources))
        return frame


def source_attributes(sources: Sequence[str]) -> dict[str, object]:
    """Return the CF flag attributes of a `rain_source` variable."""
    return {
        "long_name": "source of the rain rate",
        "flag_values": np.arange(len(sources) + 1, dtype=np.uint8),
        "flag_meanings": " ".join(("none", *sources)),
        "grid_mapping": "crs",
    }


def fuse(
    radars: Sequence[xr.Dataset],
    satellites: Sequence[xr.Dataset],
    grid: Grid,
    time: datetime,
    flow: Array | None = None,
    options: FusionOptions | None = None,
    order: Sequence[str] = (),
) -> Fused:
    """Return what radars, and satellites where they do not see, show at `time` on `grid`.

    Parameters
    ----------
    radars
        Frames near `time`, several sources and times allowed.
    satellites
        Frames before `time`, several allowed: all serve the match, the newest fills.
    flow
        (2, h, w) motion of the region, (dx, dy) in pixels of `grid` per five minutes, at any lower resolution
        (`nowcast.motion`); None = nothing is advected.
    order
        Sources, the region's favourite first; those that it does not name come after, by name.
    """
    options = options or FusionOptions()
    radars, satellites = _in_order(radars, order), _in_order(satellites, order)
    radars = _nearest_each(radars, time, options.oldest_radar)
    radar_names = tuple(dict.fromkeys(str(f.attrs["source"]) for f in radars))
    names = tuple(dict.fromkeys((*radar_names, *(str(f.attrs["source"]) for f in satellites))))
    rate, source = merge_radars(radars, grid, time, names, flow)
    young = [f for f in satellites if timedelta(0) <= time - valid_time(f) <= options.oldest_satellite]
    fresh = sorted(young, key=valid_time, reverse=True) if options.satellite else []
    digests = tuple(str(f.attrs["digest"]) for f in [*radars, *fresh])
    found, flags = None, []
    for name in dict.fromkeys(str(f.attrs["source"]) for f in satellites):
        moved = [to_time(f, grid, time, flow) for f in fresh if f.attrs["source"] == name]
        if not moved or not np.isnan(rate).any():
            continue
        found = match((np.where(source > len(radar_names), np.nan, rate), satellite) for satellite in moved)
        flags += [] if found else [UNMATCHED]
        filled = feathered(rate, found(moved[0]) if found else moved[0], _pixels(options.feather_km, grid))
        source = np.where(np.isnan(rate) & np.isfinite(filled), np.uint8(names.index(name) + 1), source)
        rate = filled
    return Fused(rate, source, names, found, tuple(dict.fromkeys(flags)), digests)


def fused_frames(
    radars: Sequence[xr.Dataset],
    satellites: Sequence[xr.Dataset],
    grid: Grid,
    times: Sequence[datetime],
    options: FusionOptions | None = None,
    order: Sequence[str] = (),
) -> list[xr.Dataset]:
    """Return one fused frame on `grid` for each of the times at which a radar has a frame, oldest first.

    Parameters
    ----------
    radars, satellites
        Of all the times, several sources allowed; motion comes from the merged radars alone.
    times
        Nominal times, oldest first (`nowcast.stack.nominal_times`).
    order
        As for `fuse`.
    """
    radars = _in_order(radars, order)
    exact = {time: [f for f in radars if abs(time - valid_time(f)) <= SAME_TIME] for time in times}
    exact = {time: frames for time, frames in exact.items() if frames}
    names = tuple(dict.fromkeys(str(f.attrs["source"]) for f in radars))
    merged = [to_model(merge_radars(frames, grid, time, names)[0]) for time, frames in exact.items()]
    flow = None
    if len(merged) > 1:  # of times with radar alone: a frame that stood in for another would stand still
        flow = motion(np.stack([values for values, _ in merged]), np.stack([mask for _, mask in merged]))
    return [fuse(radars, satellites, grid, time, flow, options, order).frame(grid, time) for time in exact]


def merged_frames(
    radars: Sequence[xr.Dataset], grid: Grid, times: Sequence[datetime], names: Sequence[str]
) -> list[xr.Dataset]:
    """Return what radars saw together at each of the times that one has a frame for; nothing is moved.

    Where one alone has a frame it comes as it is, at that time. A merged one lies on `grid`, is said to be of the
    first of its sources, and has a digest over those of its files.

    Parameters
    ----------
    names
        The radars, the region's favourite first.
    """
    made = []
    for time in times:
        there = _nearest_each(_in_order(radars, names), time, SAME_TIME)
        if len(there) == 1:
            made.append(_at(there[0], time))
        elif there:
            digest = _digest_of(str(f.attrs["digest"]) for f in there)
            rate, _ = merge_radars(there, grid, time, names)
            made.append(make_frame(rate, grid, time, str(there[0].attrs["source"]), digest))
    return made


def _at(frame: xr.Dataset, time: datetime) -> xr.Dataset:
    """Return the frame as that of the time that it shares with others, seconds away."""
    if valid_time(frame) == time:
        return frame
    stamp = np.datetime64(time.replace(tzinfo=None), "ns")
    return frame.assign_coords(valid_time=frame["valid_time"].copy(data=stamp))


def merge_radars(
    frames: Sequence[xr.Dataset], grid: Grid, time: datetime, names: Sequence[str], flow: Array | None = None
) -> tuple[Array, NDArray[np.uint8]]:
    """Return (rain rate, source codes) of several radar frames: best quality, then nearest in time, then order.

    Both (H, W); codes are positions in `names` from 1, 0 where no radar sees.
    """
    rate = np.full(grid.shape, np.nan, np.float32)
    source = np.zeros(grid.shape, np.uint8)
    best = np.full(grid.shape, -1, np.int32)
    ranked = sorted(frames, key=lambda f: (abs(time - valid_time(f)), names.index(str(f.attrs["source"]))))
    for frame in ranked:
        values = to_time(frame, grid, time, flow)
        score = np.rint(_quality(frame, grid) / QUALITY_STEP).astype(np.int32)
        better = np.isfinite(values) & (score > best)
        rate[better], best[better] = values[better], score[better]
        source[better] = names.index(str(frame.attrs["source"])) + 1
    return rate, source


def _in_order(frames: Sequence[xr.Dataset], order: Sequence[str]) -> list[xr.Dataset]:
    """Return the frames by source, as `order` has them and then by name, and by time: not as they came."""
    rank = {name: number for number, name in enumerate(order)}

    def key(frame: xr.Dataset) -> tuple[int, str, datetime, str]:
        source = str(frame.attrs["source"])
        return rank.get(source, len(rank)), source, valid_time(frame), str(frame.attrs["digest"])

    return sorted(frames, key=key)


def _nearest_each(frames: Sequence[xr.Dataset], time: datetime, span: timedelta) -> list[xr.Dataset]:
    """Return each source's frame nearest to `time`, of those within `span`, in the order of the sources."""
    nearest: dict[str, xr.Dataset] = {}
    for frame in frames:
        known = nearest.get(name := str(frame.attrs["source"]))
        if known is None or abs(time - valid_time(frame)) < abs(time - valid_time(known)):
            nearest[name] = frame
    return [frame for frame in nearest.values() if abs(time - valid_time(frame)) <= span]


def _digest_of(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _quality(frame: xr.Dataset, grid: Grid) -> Array:
    if "quality" not in frame:
        return np.full(grid.shape, UNSTATED_QUALITY, np.float32)
    return np.nan_to_num(regrid_field(frame["quality"].values, grid_of(frame), grid))


def to_time(frame: xr.Dataset, grid: Grid, time: datetime, flow: Array | None) -> Array:
    """Return the frame's rain rate on `grid`, advected from its own time to `time`, (H, W)."""
    values = regrid(frame, grid)
    steps = (time - valid_time(frame)) / STEP
    return values if flow is None or abs(steps) < 0.1 else advect(values, flow, steps)


def feathered(radar: Array, filling: Array, reach: float) -> Array:
    """Return `radar` with its NaN filled: within `reach` pixels of its edge, by what the radar shows there, fading out.

    (H, W); what the radar sees is returned as it is.
    """
    hole = np.isnan(radar)
    if reach <= 0 or hole.all():
        return np.where(hole, filling, radar)
    distance = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    near = _spread(radar, ~hole, reach / 2)
    weight = np.clip(1 - distance / reach, 0, 1) ** 2
    blended = np.where(np.isfinite(near), weight * np.nan_to_num(near) + (1 - weight) * filling, filling)
    return np.where(hole, blended, radar).astype(np.float32)


def _spread(values: Array, seen: NDArray[np.bool_], sigma: float) -> Array:
    """Return a Gaussian mean of what is seen (normalised convolution), NaN far from it."""
    total = cv2.GaussianBlur(np.where(seen, values, 0).astype(np.float32), (0, 0), sigma)
    share = cv2.GaussianBlur(seen.astype(np.float32), (0, 0), sigma)
    return np.divide(total, share, out=np.full(values.shape, np.nan, np.float32), where=share > 1e-3)


def _pixels(kilometres: float, grid: Grid) -> float:
    """Return a distance in cells of the grid, by its latitude where the grid is geographic."""
    if grid.pyproj_crs.is_geographic:
        return kilometres / (111.2 * grid.dy)
    return kilometres * 1000 / (grid.dy * grid.pyproj_crs.axis_info[0].unit_conversion_factor)
