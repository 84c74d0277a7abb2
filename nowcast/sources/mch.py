"""MeteoSwiss GIF composites (AQC, CPC): codes of MeteoSwiss' logarithmic 8-bit scale, mm in five minutes.

Code 255 is not seen, 0 and 1 are dry, the others are reflectivity in half dB, (code − 71.5)/2, that Z = 316·R^1.5
turns into rain. The grid is the 710 × 640 km of the Swiss projection (EPSG:21781) that all of these files share. The
time in the name ends the interval. Newer MeteoSwiss products are ODIM HDF5: source `odim`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import ENDS

GRID = Grid("EPSG:21781", 255_500.0, 479_500.0, 1000.0, 1000.0, 640, 710)
NAME = re.compile(r"(AQC|CPC)(\d{9})")
SCALE = re.compile(r"SCALE=mmh2LASSEN8bit")
MINUTES = re.compile(r"ACCUm=(\d+)")
A, B = 316.0, 1.5


@dataclass(frozen=True)
class MchSource:
    """MeteoSwiss national composite; the time ends the interval."""

    name: str = "mch-gif"
    satellite: bool = False
    time_marks: str = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and GIF's signature."""
        return head.startswith(b"GIF8") and NAME.match(path.name) is not None

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        with Image.open(path, formats=["GIF"]) as image:
            if image.size != (GRID.width, GRID.height):
                raise UnreadableFile(f"{path}: {image.size} pixels, not {GRID.width} × {GRID.height}; fetch it again")
            comment = image.info.get("comment", b"").decode("latin-1")
            codes = np.asarray(image)
        minutes = MINUTES.search(comment)
        if not SCALE.search(comment) or not minutes or codes.ndim != 2:
            raise UnreadableFile(
                f"{path}: comment {comment[:120]!r} states no 8-bit rain scale; give an AQC or CPC file"
            )
        values = scale()[codes]
        return make_frame(values, GRID, _time(path), self.name, accumulation_minutes=float(minutes[1]))


def scale() -> NDArray[np.float32]:
    """Return mm/h by code, (256,): NaN = not seen."""
    codes = np.arange(256)
    amounts = (10 ** ((codes - 71.5) / 20) / A) ** (1 / B)
    amounts[(codes < 2) | (codes > 250)] = 0
    amounts[255] = np.nan
    return (amounts * 12).astype(np.float32)


def _time(path: Path) -> datetime:
    match = NAME.match(path.name)
    if not match:
        raise UnreadableFile(f"{path}: the name does not begin with AQCyydddHHMM, so has no time; restore the name")
    return datetime.strptime(match[2], "%y%j%H%M").replace(tzinfo=UTC)
