"""`nowcast forecast FILE… -o out.nc`: files in, CF NetCDF out, no database."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from engines.ladder import Ladder
from jobs.forecaster import Stages, forecast
from nowcast.clock import Clock
from nowcast.disk import writing
from nowcast.errors import ConfigError, TooFewFrames, WrongGrid
from nowcast.frame import grid_of, valid_time
from nowcast.ingest import require_past, satellites_of
from nowcast.models.spec import LEADS
from nowcast.output import forecast_dataset, write_netcdf
from nowcast.region import Region, Regions
from nowcast.run import Fields
from nowcast.sources import SOURCES, Source, read_frame, source_of
from nowcast.stack import nominal_times


def forecast_files(
    files: Sequence[Path],
    output: Path,
    leads: int,
    region: str | None,
    regions: Regions,
    model: str,
    ladder: Ladder,
    members: int | None = None,
    sources: tuple[Source, ...] = SOURCES,
) -> xr.Dataset:
    """Forecast from the newest of `files` on the region's grid, or on the files' own, and write CF NetCDF.

    Of the members that the engine gives the file has the first `members`, or all.

    Raises
    ------
    NowcastError
        Before anything is written, when files, region or engine do not allow a forecast.
    """
    if not 1 <= leads <= LEADS:
        raise ConfigError(f"--leads {leads}: between 1 and {LEADS} (five minutes each)")
    if not output.parent.is_dir():
        raise ConfigError(f"{output}: folder {output.parent} does not exist; create it")
    frames = read_in_order(files, sources)
    where = replace(_fed_by(frames, regions[region]) if region else _own_region(frames), model=model)
    made = forecast(frames, where, ladder, Clock().now(), Stages(), satellites_of(sources))
    fields = {name: values[:leads] for name, values in made.fields.items()}
    if not any(np.isfinite(values).any() for values in fields.values()):
        seen = f"{', '.join(where.sources)} saw nothing on {where.grid.shape} cells of {where.name}"
        raise WrongGrid(f"{seen}, so there is nothing to forecast; give files that cover it, or another --region")
    if made.served.spec.members == 1:
        fields = {"rain_rate": fields["rain_mean"]}
    attributes = {
        "source": f"nowcast of {frames[-1].attrs['source']}",
        "model": made.served.spec.name,
        "rung": made.served.rung,
        "plan": made.served.plan,
        "input_digests": " ".join(made.stack.frames),
        "input_frames_missing": str(made.stack.missing),
    }
    dataset = forecast_dataset(with_members(fields, members), where.grid, made.stack.base_time, attributes)
    with writing(output):
        write_netcdf(dataset, output)
    return dataset


def with_members(fields: Fields, members: int | None) -> Fields:
    """Return the fields with their first members, or all of them, as one: `rain_member` (M, K, H, W)."""
    each = {name: values for name, values in fields.items() if name.startswith("rain_member_")}
    rest = {name: values for name, values in fields.items() if name not in each}
    return {**rest, "rain_member": np.stack(list(each.values())[:members])} if each else rest


def read_in_order(files: Sequence[Path], sources: tuple[Source, ...] = SOURCES) -> list[xr.Dataset]:
    """Return the frames of the files that a forecast uses, in order of valid time; each is read and checked."""
    if not files:
        raise TooFewFrames("no files given; name at least two, five minutes apart")
    frames = [read_frame(path, source_of(path, sources)) for path in files]
    for path, frame in zip(files, frames, strict=True):
        require_past(frame, path, Clock().now())
    frames.sort(key=valid_time)
    oldest = nominal_times(valid_time(frames[-1]))[0]
    return [frame for frame in frames if (oldest - valid_time(frame)).total_seconds() <= 60]


def _fed_by(frames: Sequence[xr.Dataset], region: Region) -> Region:
    """Return the region with the frames' sources instead of its own, in its order; those it does not list come last."""
    there = dict.fromkeys(str(frame.attrs["source"]) for frame in frames)
    return replace(region, sources=tuple(dict.fromkeys((*(n for n in region.sources if n in there), *there))))


def _own_region(frames: Sequence[xr.Dataset]) -> Region:
    """Return the grid that all frames lie on as a region; there is nothing beyond it, so it has no margin."""
    grids = [grid_of(frame) for frame in frames]
    for frame, grid in zip(frames, grids, strict=True):
        if grid.digest != grids[-1].digest:
            raise WrongGrid(
                f"frame of {valid_time(frame):%Y-%m-%d %H:%M} UTC is {grid.shape}, the newest {grids[-1].shape}:"
                " not the same grid; give files of one grid, or --region to bring them onto one"
            )
    source = frames[-1].attrs["source"]
    return Region(source, source, grids[-1], (source,), margin=0)
