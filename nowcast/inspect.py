"""What is in a file: source, time, grid, shares and rates, and a picture; the function behind `nowcast inspect`."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from nowcast.frame import DRY_BELOW, grid_of, valid_time
from nowcast.grid import WGS84, Grid, transformer
from nowcast.sources import SOURCES, Source, read_frame, source_named

CLASSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
"""Lower edges of the picture's classes, mm/h."""
DRY, UNSEEN, UNSEEN_STRIPE = (255, 255, 255), (205, 205, 205), (175, 175, 175)
COLOURS = (
    (214, 230, 244),
    (171, 207, 229),
    (115, 178, 216),
    (69, 141, 195),
    (68, 96, 165),
    (88, 52, 130),
    (84, 18, 84),
    (45, 0, 35),
)
"""One a class, darker the wetter, told apart also by those who see few colours."""


@dataclass(frozen=True)
class Inspection:
    """What a file holds, once read.

    Attributes
    ----------
    time_marks
        What `valid_time` is: the instant of the scan or the end of the interval.
    cell_x, cell_y
        Cell size in `cell_unit`.
    bounds
        West, south, east, north in degrees of WGS 84.
    not_seen
        Share of all cells.
    wet
        Share of the seen cells with at least 0.1 mm/h.
    mean, maximum
        Over the seen cells, mm/h; None where nothing is seen.
    quality
        Mean over the seen cells that have one, 0 … 1; None where the file has none.
    comment
        What else is worth knowing of how the file was read: what was chosen, or left out.
    """

    file: str
    source: str
    satellite: bool
    valid_time: datetime
    time_marks: str
    accumulation_minutes: float
    height: int
    width: int
    cell_x: float
    cell_y: float
    cell_unit: str
    crs: str
    bounds: tuple[float, float, float, float]
    unit: str
    not_seen: float
    wet: float
    mean: float | None
    maximum: float | None
    quality: float | None
    digest: str
    comment: str = ""

    def to_json(self) -> str:
        """Return one line of JSON; the time is ISO 8601 in UTC."""
        return json.dumps(asdict(self) | {"valid_time": self.valid_time.isoformat()}, ensure_ascii=False)

    def lines(self) -> list[tuple[str, str]]:
        """Return (label, text) pairs for a terminal."""
        span = f", over {self.accumulation_minutes:g} min" if self.accumulation_minutes else ""
        rates = "nothing seen" if self.mean is None else f"mean {self.mean:.3f}, max {self.maximum:.2f} mm/h"
        west, south, east, north = self.bounds
        return [
            ("file", self.file),
            ("source", f"{self.source}{' (satellite)' if self.satellite else ''}"),
            ("valid time", f"{self.valid_time:%Y-%m-%d %H:%M:%S} UTC, {self.time_marks}{span}"),
            ("grid", f"{self.height} × {self.width} of {self.cell_x:g} × {self.cell_y:g} {self.cell_unit}"),
            ("CRS", self.crs),
            ("bounds", f"lon {west:.3f} to {east:.3f}, lat {south:.3f} to {north:.3f}"),
            ("not seen", f"{100 * self.not_seen:.2f} %"),
            ("wet", f"{100 * self.wet:.2f} % of what is seen (≥ {DRY_BELOW} mm/h)"),
            ("rain rate", rates),
            ("quality", "none" if self.quality is None else f"mean {self.quality:.3f}"),
            *([("comment", self.comment)] if self.comment else []),
            ("SHA-256", self.digest),
        ]


def inspect_file(
    path: Path,
    read: Callable[[Path], xr.Dataset] = read_frame,
    sources: tuple[Source, ...] = SOURCES,
) -> tuple[Inspection, xr.Dataset]:
    """Return what the file holds, and its frame (for `picture`).

    Parameters
    ----------
    read
        `nowcast.sandbox.Sandbox.read`, or in this process for files that you trust.

    Raises
    ------
    InputError
        When the file is refused.
    """
    frame = read(path)
    return describe(frame, str(path), source_named(frame.attrs["source"], sources)), frame


def describe(frame: xr.Dataset, file: str, source: Source) -> Inspection:
    """Return what a frame holds."""
    grid = grid_of(frame)
    rate = frame["rain_rate"].values
    seen = rate[np.isfinite(rate)]
    return Inspection(
        file=file,
        source=source.name,
        satellite=source.satellite,
        valid_time=valid_time(frame),
        time_marks=source.time_marks,
        accumulation_minutes=float(frame.attrs["accumulation_minutes"]),
        height=grid.height,
        width=grid.width,
        cell_x=round(grid.dx, 6),
        cell_y=round(grid.dy, 6),
        cell_unit=str(frame["x"].attrs["units"]).removesuffix("s_east").removesuffix("_east"),
        crs=_crs_name(grid.crs, frame),
        bounds=_bounds(grid, frame),
        unit="mm h-1",
        not_seen=1 - seen.size / rate.size,
        wet=float((seen >= DRY_BELOW).mean()) if seen.size else 0.0,
        mean=float(seen.mean(dtype=np.float64)) if seen.size else None,
        maximum=float(seen.max()) if seen.size else None,
        quality=_mean_quality(frame),
        digest=str(frame.attrs["digest"]),
        comment=str(frame.attrs.get("comment", "")),
    )


def picture(frame: xr.Dataset, widest: int = 1024) -> bytes:
    """Return a PNG of the frame, north up: darker is wetter (`CLASSES`), white dry, striped grey not seen.

    Parameters
    ----------
    widest
        Longest side in pixels; larger frames are thinned, each pixel the wettest of its block.
    """
    rate = _thinned(frame["rain_rate"].values, widest)
    index = np.digitize(rate, CLASSES).astype(np.uint8)  # NaN sorts above every class, and is overwritten below
    rows, columns = np.indices(rate.shape)
    stripe = (rows + columns) // 4 % 2
    index = np.where(np.isnan(rate), len(CLASSES) + 1 + stripe, index).astype(np.uint8)
    image = Image.fromarray(index, mode=None).convert("P")
    image.putpalette([value for colour in (DRY, *COLOURS, UNSEEN, UNSEEN_STRIPE) for value in colour])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _thinned(rate: NDArray[np.float32], widest: int) -> NDArray[np.float32]:
    step = -(-max(rate.shape) // widest)
    height, width = (side // step * step for side in rate.shape)
    if step == 1 or not height or not width:
        return rate
    blocks = rate[:height, :width].reshape(height // step, step, width // step, step)
    thinned: NDArray[np.float32] = np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1)
    return thinned


def _mean_quality(frame: xr.Dataset) -> float | None:
    if "quality" not in frame:
        return None
    quality = frame["quality"].values
    known = quality[np.isfinite(quality) & np.isfinite(frame["rain_rate"].values)]
    return float(known.mean(dtype=np.float64)) if known.size else None


def _bounds(grid: Grid, frame: xr.Dataset) -> tuple[float, float, float, float]:
    """Return the bounds in degrees; a geostationary grid reaches beyond the earth's rim, so its cells are asked."""
    edges = grid.bounds
    if frame["crs"].attrs.get("grid_mapping_name") == "geostationary":
        xs, ys = np.meshgrid(grid.x[:: max(1, grid.width // 200)], grid.y[:: max(1, grid.height // 200)])
        lon, lat = (values[np.isfinite(values)] for values in transformer(grid.crs, WGS84).transform(xs, ys))
        edges = (lon.min(), lat.min(), lon.max(), lat.max()) if lon.size else edges
    west, south, east, north = (round(float(edge), 4) for edge in edges)
    return west, south, east, north


def _crs_name(crs: str, frame: xr.Dataset) -> str:
    """Return the EPSG code or name where there is one, else the projection's CF name."""
    name = str(frame["crs"].attrs.get("projected_crs_name") or frame["crs"].attrs.get("geographic_crs_name") or "")
    mapping = str(frame["crs"].attrs.get("grid_mapping_name", ""))
    told = [part for part in (name, mapping) if part and part != "unknown"]
    return " / ".join(told) if told else crs[:80]
