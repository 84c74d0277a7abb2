"""ODIM HDF5 composites, versions 2.0 to 2.4: rain rate (RATE), accumulation (ACRR) or reflectivity (DBZH and kin).

EUMETNET OPERA weather radar information model (ODIM_H5). `what` attributes moved between versions: 2.0 keeps the
quantity with `datasetN`, later ones with `datasetN/dataM`; both are looked up, the inner first. `nodata` is not
seen, `undetect` is dry. Corners are geographic positions of outer cell edges on the projection's own figure of the
earth, so no datum shift.

A file may hold several datasets of one quantity: elevations, heights, or products of them. What is nearest to the
ground is taken, since rain falls there: by `what/product`, then the lowest `what/prodpar` (degrees or metres), then the
first. The frame's comment says which, and what else there was.

Times: RATE and reflectivity carry the nominal time of the product; ACRR carries the end of its interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import CRS, Proj

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import ENDS, INSTANT, MARSHALL_PALMER, ZR, named, noted
from nowcast.sources.guard import HDF5, check_scale, check_shape, check_written, open_hdf5

REFLECTIVITY = ("DBZH", "DBZ", "TH", "DBZV", "TV")
QUANTITIES = ("RATE", "ACRR", *REFLECTIVITY)
"""In order of preference when a file holds several."""
PRODUCTS = ("SURF", "RR", "COMP", "PPI", "PCAPPI", "CAPPI", "MAX")
"""Nearest to the ground first: a column's maximum is biased high. Tops, contents and cuts of a column come after."""
ROWS_AT_ONCE = 256
SUFFIXES = (".h5", ".hdf", ".hdf5", "-hd5")


@dataclass(frozen=True)
class OdimSource:
    """ODIM composites whose name matches `patterns` (any, where there are none).

    Attributes
    ----------
    quantity
        Read this one alone; empty = the first of `QUANTITIES` that the file holds.
    zr
        Used for reflectivity where the file itself states none (`how/zr_a`, `how/zr_b`).
    """

    name: str = "odim"
    patterns: tuple[str, ...] = ()
    quantity: str = ""
    zr: ZR = MARSHALL_PALMER
    satellite: bool = False

    @property
    def time_marks(self) -> str:
        """ACRR: end of its interval; else the instant."""
        return ENDS if self.quantity == "ACRR" else INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by HDF5's signature and the name."""
        if self.patterns:
            return head.startswith(HDF5) and named(path, self.patterns)
        return head.startswith(HDF5) and path.name.endswith(SUFFIXES)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with open_hdf5(path) as file:
            if not _text(file.attrs.get("Conventions", "")).startswith("ODIM_H5"):
                raise UnreadableFile(f"{path}: HDF5 without Conventions = ODIM_H5; name the source that it is")
            taken, told = self._choose(file, path)
            dataset, data, what = taken.dataset, taken.data, taken.what
            grid = _grid(file, dataset, path)
            check_scale(path, what.number("gain", 1.0))
            check_written(path, data["data"])
            values, undetected = _decode(data["data"], what)
            quality = _quality(data, dataset, file)
            time, minutes = _time(what, path)
            if what.text("quantity") in REFLECTIVITY:
                values = _zr(data, dataset, self.zr).rate(values)
        values[undetected] = 0
        if minutes:
            values *= np.float32(60 / minutes)
        frame = make_frame(values, grid, time, self.name, accumulation_minutes=minutes, quality=quality)
        return noted(frame, told)

    def _choose(self, file: h5py.File, path: Path) -> tuple["_Choice", str]:
        """Return what to read, and what is to be told of the choice: nothing where there was none."""
        wanted = (self.quantity,) if self.quantity else QUANTITIES
        there = [_Choice(each, data, file) for each in _numbered(file, "dataset") for data in _numbered(each, "data")]
        fitting = sorted((c for c in there if c.quantity in wanted), key=lambda c: (wanted.index(c.quantity), c.height))
        if not fitting:
            held = ", ".join(dict.fromkeys(c.quantity for c in there)) or "no data"
            raise UnreadableFile(
                f"{path}: holds {held}, none of {', '.join(wanted)}; give a rain or reflectivity product"
            )
        taken, *others = fitting
        return taken, f"taken is {taken}; there is also {', '.join(map(str, others))}" if others else ""


class _What:
    """The `what` attributes that hold for a data group: the innermost that states one wins."""

    def __init__(self, *groups: h5py.Group) -> None:
        self._levels = [group["what"].attrs for group in groups if "what" in group]

    def get(self, key: str) -> Any:  # noqa: ANN401
        """Return the attribute, or None."""
        return next((level[key] for level in self._levels if key in level), None)

    def text(self, key: str) -> str:
        """Return the attribute as text, empty where there is none."""
        return _text(value) if (value := self.get(key)) is not None else ""

    def number(self, key: str, default: float) -> float:
        """Return the attribute as a number."""
        return float(np.ravel(value)[0]) if (value := self.get(key)) is not None else default


class _Choice:
    """A data group that may be read, with its dataset and what holds for it."""

    def __init__(self, dataset: h5py.Group, data: h5py.Group, file: h5py.File) -> None:
        self.dataset, self.data = dataset, data
        self.what = _What(data, dataset, file)
        self.quantity = self.what.text("quantity")
        self._product, self._parameter = self.what.text("product"), self.what.text("prodpar")

    @property
    def height(self) -> tuple[int, float]:
        """What it is, and how high above the ground it looks: the least is the nearest."""
        rank = PRODUCTS.index(self._product) if self._product in PRODUCTS else len(PRODUCTS)
        try:
            level = float(self._parameter)
        except ValueError:  # none, or of several numbers
            level = np.inf
        return rank, level if np.isfinite(level) else np.inf

    def __str__(self) -> str:
        kind = " ".join(word for word in (self._product, self._parameter) if word)
        return f"{self.quantity} of {self.data.name.lstrip('/')}{f' ({kind})' if kind else ''}"


def _text(value: object) -> str:
    item = np.ravel(np.asarray(value))[0]
    return item.decode("ascii", "replace").rstrip("\0") if isinstance(item, bytes) else str(item)


def _numbered(group: h5py.Group, prefix: str) -> Iterator[h5py.Group]:
    number = 1
    while (name := f"{prefix}{number}") in group:
        yield group[name]
        number += 1


def _decode(data: h5py.Dataset, what: _What) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return (values, undetected): NaN where `nodata`, which wins where a file gives both the same code."""
    check_shape(Path(data.file.filename), *data.shape)
    values, undetected = np.empty(data.shape, np.float32), np.empty(data.shape, bool)
    gain, offset = np.float32(what.number("gain", 1.0)), np.float32(what.number("offset", 0.0))
    undetect, nodata = what.number("undetect", np.nan), what.number("nodata", np.nan)
    rows = (data.chunks or (ROWS_AT_ONCE,))[0]
    for start in range(0, len(values), rows):  # OPERA stores doubles: as a whole they take more than the frame
        codes = data[start : start + rows]
        block = codes.astype(np.float32) * gain + offset
        unseen = (codes == nodata) | ~np.isfinite(codes)
        block[unseen] = np.nan
        values[start : start + rows] = block
        undetected[start : start + rows] = (codes == undetect) & ~unseen
    return values, undetected


def _quality(data: h5py.Group, dataset: h5py.Group, file: h5py.File) -> NDArray[np.float32] | None:
    """Return the first quality index, 0 … 1: `qualityN` beside or above the data, or a whole dataset of QIND (2.0)."""
    found = [(quality, _What(quality)) for level in (data, dataset) for quality in _numbered(level, "quality")]
    all_data = [(each, _What(each, other)) for other in _numbered(file, "dataset") for each in _numbered(other, "data")]
    found += [(each, what) for each, what in all_data if what.text("quantity") == "QIND"]
    indices = (_index(group, what, data["data"].shape) for group, what in found)
    return next((index for index in indices if index is not None), None)


def _index(group: h5py.Group, what: _What, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return a quality field, (H, W), if it is an index of these cells: distances and heights are kept there too."""
    if "data" not in group or group["data"].shape != shape:
        return None
    values, undetected = _decode(group["data"], what)
    if (values > 1).sum() > np.isfinite(values).sum() / 2:
        return None
    values[undetected | (values < 0) | (values > 1)] = np.nan
    return values


def _zr(data: h5py.Group, dataset: h5py.Group, default: ZR) -> ZR:
    for level in (data, dataset):
        attributes = level["how"].attrs if "how" in level else {}
        if "zr_a" in attributes and "zr_b" in attributes:
            return ZR(float(np.ravel(attributes["zr_a"])[0]), float(np.ravel(attributes["zr_b"])[0]))
    return default


def _time(what: _What, path: Path) -> tuple[datetime, float]:
    """Return (valid time, accumulation in minutes)."""
    if what.text("quantity") != "ACRR":
        return _stamp(what.text("date"), what.text("time")), 0.0
    start = _stamp(what.text("startdate"), what.text("starttime"))
    end = _stamp(what.text("enddate"), what.text("endtime"))
    minutes = (end - start).total_seconds() / 60
    if minutes <= 0:
        raise UnreadableFile(f"{path}: accumulation from {start} to {end} lasts {minutes} min; fetch it again")
    return end, minutes


def _stamp(date: str, time: str) -> datetime:
    if len(date) != 8 or (len(time) < 6 and len(time) != 4):  # some leave the seconds out; strptime would misread that
        raise ValueError(f"{date!r}, {time!r} is not YYYYMMDD, HHmmss")
    return datetime.strptime((date + time)[:14].ljust(14, "0"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _grid(file: h5py.File, dataset: h5py.Group, path: Path) -> Grid:
    # A dataset may say where in the column it is, and leave its cells to the file.
    levels = [group["where"].attrs for group in (dataset, file) if "where" in group]
    where = {key: value for level in reversed(levels) for key, value in level.items()}
    if "projdef" not in where:
        raise UnreadableFile(f"{path}: where/projdef is missing, so this is no composite; give a composite")
    number = {key: float(np.ravel(where[key])[0]) for key in ("xscale", "yscale", "xsize", "ysize", "LL_lon", "LL_lat")}
    height, width = int(number["ysize"]), int(number["xsize"])
    check_shape(path, height, width)
    projdef = _text(where["projdef"]).replace("+units=km", "+units=m")
    left, bottom = number["LL_lon"], number["LL_lat"]
    if not CRS.from_user_input(projdef).is_geographic:
        left, bottom = Proj(projdef)(left, bottom)
    dx, dy = number["xscale"], number["yscale"]
    return Grid(
        crs=f"{projdef} +type=crs" if projdef.startswith("+") else projdef,
        x0=_near(left, dx) + dx / 2,
        y0=_near(bottom, dy) + dy * (height - 0.5),
        dx=dx,
        dy=dy,
        height=height,
        width=width,
    )


def _near(edge: float, size: float) -> float:
    """Return `edge` on the nearest multiple of a hundredth of a cell.

    Corners are rounded to 1e-4 degrees in some files and not in others of the same source (OPERA 2018 and 2024: 2 m).
    """
    return round(edge / (size / 100)) * (size / 100)
