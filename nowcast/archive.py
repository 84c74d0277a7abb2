"""The archive of what was seen, for training and hindcasts: Zarr v3, one group per region's grid and UTC day.

Written by the cycle from the very frames that its forecasts start from, on the region's grid with its margin::

    <folder>/<region>-<grid>/20260301.zarr
        rain_rate  (time 288, y, x)  uint16, 0.01 mm/h, 65535 = not seen, one chunk per time, zstd
        digest     (time 288, 32)    SHA-256 of the file; zeros where there is no frame
        source     (time 288)        index into the attribute `sources`
        offset     (time 288)        int8, seconds from the nominal time to the frame's, at most a minute

`Archive.day` opens a day with xarray. A frame's pixels are written before its digest, so one that a crash cut off
counts as absent. Needs the extra `archive` (zarr).
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast import chunks as codec
from nowcast.clock import STEP, floor
from nowcast.errors import ArchiveError
from nowcast.frame import make_frame, valid_time
from nowcast.grid import Grid
from nowcast.region import Region
from nowcast.regrid import regrid
from nowcast.stack import TOLERANCE

DAY = timedelta(days=1)
SLOTS = DAY // STEP
SUFFIX = ".zarr"
NO_SOURCE = 255


@dataclass(frozen=True)
class Archive:
    """The archive in a folder.

    Raises
    ------
    ArchiveError
        From every method, when it cannot be read or written, or zarr is not installed.
    """

    folder: Path

    def __post_init__(self) -> None:
        _zarr()

    def put(self, region: Region, frame: xr.Dataset) -> bool:
        """Write a frame that is within `TOLERANCE` of a nominal time; False when there is no need or place for it.

        Of several at one nominal time the nearest stays, of equally near ones the first; a revision replaces what was
        there of its own valid time.
        """
        grid, time = wide(region), nominal(valid_time(frame))
        offset = valid_time(frame) - time
        if abs(offset) > TOLERANCE:
            return False
        digest, slot = np.frombuffer(bytes.fromhex(frame.attrs["digest"]), np.uint8), slot_of(time)
        try:
            group = self._group(region, grid, time)
            if not _wanted(group, slot, digest, offset):
                return False
            group["digest"][slot] = np.zeros(32, np.uint8)
            group["offset"][slot] = round(offset.total_seconds())
            group["rain_rate"][slot] = codec.to_codes(regrid(frame, grid), codec.RATE)
            group["source"][slot] = _source_index(group, str(frame.attrs["source"]))
            group["digest"][slot] = digest
        except OSError as error:
            raise ArchiveError(
                f"archive {self.folder}: {error.strerror}; make room or lower NOWCAST_ARCHIVE_DAYS"
            ) from error
        return True

    def day(self, region: Region, day: datetime) -> xr.Dataset | None:
        """Return a day, lazy, mm/h, NaN = not seen, only the times that have a frame; None without any."""
        path = self._path(region, wide(region), day)
        if not path.is_dir():
            return None
        dataset = xr.open_zarr(path, chunks=None, consolidated=False)
        there = np.flatnonzero(dataset["digest"].values.any(axis=1))
        return dataset.isel(time=there)

    def days(self, region: Region, before: datetime) -> list[Path]:
        """Return the folders of the UTC days that had ended by a time, oldest first."""
        folder = self._path(region, wide(region), before).parent
        return [p for p in sorted(folder.glob(f"[0-9]*{SUFFIX}")) if day_of(p) + DAY <= before]

    def times(self, region: Region, since: datetime, until: datetime) -> list[datetime]:
        """Return the times with a frame, `since` ≤ time < `until`, oldest first."""
        found = []
        for day in _days(since, until):
            dataset = self.day(region, day)
            if dataset is not None:
                stamps = dataset["time"].values.astype("datetime64[s]").astype(np.int64)
                found += [datetime.fromtimestamp(int(s), UTC) for s in stamps]
        return [time for time in found if since <= time < until]

    def frame(self, region: Region, time: datetime) -> xr.Dataset | None:
        """Return the frame of a time on the region's grid with its margin; None when there is none."""
        path, grid = self._path(region, wide(region), nominal(time)), wide(region)
        if not path.is_dir():
            return None
        group, slot = _open(path, "r"), slot_of(time)
        digest = bytes(np.asarray(group["digest"][slot]))
        if not any(digest):
            return None
        rate = codec.to_values(np.asarray(group["rain_rate"][slot]), codec.RATE)
        frame = make_frame(rate, grid, time, group.attrs["sources"][int(group["source"][slot])])
        frame.attrs["digest"] = digest.hex()
        return frame

    def prune(self, before: datetime, most_bytes: int | None = None) -> list[Path]:
        """Remove the days that end before a time, then the oldest until no more than `most_bytes` are left."""
        days = sorted(self.folder.glob(f"*/*{SUFFIX}"), key=lambda path: path.name)
        gone = [p for p in days if day_of(p) + DAY <= before]
        left = days[len(gone) :]
        if most_bytes is not None:
            sizes = {path: size_of(path) for path in left}
            while len(left) > 1 and sum(sizes[p] for p in left) > most_bytes:
                gone.append(left.pop(0))
        for path in gone:
            aside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")  # a reader sees a whole day or none
            path.rename(aside)
            shutil.rmtree(aside)
        return gone

    def _path(self, region: Region, grid: Grid, time: datetime) -> Path:
        folder, former = (self.folder / f"{region.name}-{d[:8]}" for d in (grid.digest, grid.digest_of_words))
        if former.is_dir() and not folder.exists():  # of before 2026-12
            with suppress(OSError):  # another process did, or it may not be: then what comes is kept anew
                former.rename(folder)
        return folder / f"{time.astimezone(UTC):%Y%m%d}{SUFFIX}"

    def _group(self, region: Region, grid: Grid, time: datetime) -> Any:  # noqa: ANN401  zarr has no stubs here
        path = self._path(region, grid, time)
        if not path.is_dir():
            _create(path, grid, time)
        group = _open(path, "r+")
        if "offset" not in group:  # a day begun before they were kept
            _create_offset(group)
        return group


def wide(region: Region) -> Grid:
    """Return the grid that a region's frames are archived on."""
    return region.grid.widened(region.margin)


def day_of(path: Path) -> datetime:
    """Return the UTC day of a day's folder."""
    return datetime.strptime(path.stem, "%Y%m%d").replace(tzinfo=UTC)


def nominal(time: datetime) -> datetime:
    """Return the nearest five minutes, UTC: those of the next day just before midnight."""
    return floor(time.astimezone(UTC) + STEP / 2)


def slot_of(time: datetime) -> int:
    """Return the place of a nominal time in its UTC day."""
    return (nominal(time) - floor(nominal(time), DAY)) // STEP


def size_of(path: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _days(since: datetime, until: datetime) -> Iterator[datetime]:
    day = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        yield day
        day += DAY


def _zarr() -> Any:  # noqa: ANN401  zarr has no stubs here
    try:
        import zarr
    except ImportError as error:
        raise ArchiveError(
            "the archive needs zarr: pip install 'nowcast[archive]', or set NOWCAST_ARCHIVE_DAYS=0"
        ) from error
    return zarr


def _open(path: Path, mode: str) -> Any:  # noqa: ANN401
    try:
        return _zarr().open_group(path, mode=mode, zarr_format=3)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path}: {error}; remove that day") from error


def _create(path: Path, grid: Grid, time: datetime) -> None:
    """Make an empty day beside its place and move it there: another writer may have been first."""
    zarr, part = _zarr(), path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    midnight = time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    group = zarr.open_group(part, mode="w", zarr_format=3)
    group.attrs.update({"Conventions": "CF-1.11", "crs_wkt": grid.pyproj_crs.to_wkt(), "sources": []})
    height, width = grid.shape
    rate = {
        "scale_factor": 0.01,
        "units": "mm h-1",
        "standard_name": "rainfall_rate",
        "_FillValue": codec.RATE.unseen,
    }
    group.create_array(
        "rain_rate",
        shape=(SLOTS, height, width),
        chunks=(1, height, width),
        dtype="uint16",
        fill_value=codec.RATE.unseen,
        dimension_names=("time", "y", "x"),
        attributes=rate,
    )
    group.create_array("digest", shape=(SLOTS, 32), chunks=(1, 32), dtype="uint8", dimension_names=("time", "byte"))
    group.create_array(
        "source", shape=(SLOTS,), chunks=(1,), dtype="uint8", fill_value=NO_SOURCE, dimension_names=("time",)
    )
    _create_offset(group)
    minutes = np.arange(SLOTS, dtype=np.int64) * int(STEP.total_seconds())
    _coordinate(group, "time", minutes, {"units": f"seconds since {midnight:%Y-%m-%d}", "standard_name": "time"})
    _coordinate(group, "y", grid.y, {"standard_name": "projection_y_coordinate"})
    _coordinate(group, "x", grid.x, {"standard_name": "projection_x_coordinate"})
    try:
        part.rename(path)
    except OSError:
        shutil.rmtree(part)
        if not path.is_dir():
            raise


def _create_offset(group: Any) -> None:  # noqa: ANN401
    group.create_array("offset", shape=(SLOTS,), chunks=(1,), dtype="int8", dimension_names=("time",))


def _wanted(group: Any, slot: int, digest: NDArray[np.uint8], offset: timedelta) -> bool:  # noqa: ANN401
    """Return whether a slot is empty, holds what is further off, or what this is a revision of."""
    there, seconds, held = group["digest"][slot], round(offset.total_seconds()), int(group["offset"][slot])
    if not np.any(there):
        return True
    return not np.array_equal(there, digest) and (seconds == held or abs(seconds) < abs(held))


def _coordinate(group: Any, name: str, values: NDArray, attributes: dict[str, Any]) -> None:  # noqa: ANN401
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        dimension_names=(name,),
        attributes=attributes,
    )
    array[:] = values


def _source_index(group: Any, source: str) -> int:  # noqa: ANN401
    sources = list(group.attrs["sources"])
    if source not in sources:
        sources.append(source)
        group.attrs["sources"] = sources
    return sources.index(source)
