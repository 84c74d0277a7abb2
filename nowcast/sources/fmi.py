"""FMI reflectivity composites: PGM (plain or gzip) with `# key value` header lines, and GeoTIFF with GDAL metadata.

dBZ = code · 0.5 − 32; 255 is not seen, 0 is dry. Rain rate by Z = 223·R^1.53 (Leinonen et al. 2012, FMI's operational
relation). The PGM states a polar stereographic projection by its corners; the sphere is that of FMI's composites.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pyproj import Proj

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import INSTANT, ZR, named, noted
from nowcast.sources.geotiff import TIFF, open_geotiff
from nowcast.sources.guard import GZIP, check_scale, check_shape, read_bytes

ZR_FMI = ZR(223.0, 1.53)
SPHERE = 6371288
UNSEEN, UNDETECTED = 255, 0
GAIN, OFFSET = 0.5, -32.0
SIZE = re.compile(rb"^(\d+)\s+(\d+)\s+(\d+)\n", re.M)
LONGEST_HEADER = 8192


def scale(zr: ZR, gain: float = GAIN, offset: float = OFFSET) -> NDArray[np.float32]:
    """Return mm/h by code, (256,): NaN = not seen."""
    rates = zr.rate(np.arange(256, dtype=np.float32) * np.float32(gain) + np.float32(offset))
    rates[UNDETECTED], rates[UNSEEN] = 0, np.nan
    return rates


@dataclass(frozen=True)
class FmiPgmSource:
    """FMI composite as PGM; the time is the nominal instant of the scan."""

    name: str = "fmi-pgm"
    patterns: tuple[str, ...] = ("*_fmi.radar.composite*.pgm", "*_fmi.radar.composite*.pgm.gz")
    zr: ZR = ZR_FMI
    satellite: bool = False
    time_marks: str = INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and the signature of PGM or gzip."""
        return named(path, self.patterns) and head.startswith((b"P5", GZIP))

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        content = read_bytes(path)
        size = SIZE.search(content, 0, LONGEST_HEADER)
        if not content.startswith(b"P5") or not size:
            raise UnreadableFile(f"{path}: begins with {content[:10]!r}, which is no PGM header; fetch it again")
        width, height, top = (int(group) for group in size.groups())
        check_shape(path, height, width)
        if top != 255 or len(content) - size.end() != width * height:
            raise UnreadableFile(
                f"{path}: {len(content) - size.end()} bytes of data up to {top}, {height} × {width} take"
                f" {height * width} up to 255; fetch it again"
            )
        header = _header(content[: size.start()])
        codes = np.frombuffer(content, np.uint8, offset=size.end()).reshape(height, width)
        time = _stamp(header.get("obstime", ""), path)
        return make_frame(scale(self.zr)[codes], _grid(header, height, width), time, self.name)


@dataclass(frozen=True)
class FmiGeotiffSource:
    """FMI composite as GeoTIFF; the time is the nominal instant of the scan."""

    name: str = "fmi-geotiff"
    patterns: tuple[str, ...] = ("[0-9]*_FIN*.tif", "*fmi.radar.composite*.tif", "*--finrad-*.tif")
    zr: ZR = ZR_FMI
    satellite: bool = False
    time_marks: str = INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and TIFF's signature."""
        return named(path, self.patterns) and head.startswith(TIFF)

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        raster = open_geotiff(path)
        if raster.values.dtype != np.uint8:
            raise UnreadableFile(f"{path}: codes are {raster.values.dtype}, not uint8; describe it as your own")
        tags = {key: value for key, value in re.findall(r'Item name="([^"]+)"[^>]*>([^<]*)<', raster.metadata)}  # noqa: C416
        if "reflectivity" not in tags.get("Quantity", "").lower():
            raise UnreadableFile(
                f"{path}: quantity {tags.get('Quantity')!r} is not reflectivity; describe it as your own"
            )
        unseen, undetected = float(tags.get("Nodata", UNSEEN)), float(tags.get("Undetect", UNDETECTED))
        if (unseen, undetected) != (UNSEEN, UNDETECTED):
            raise UnreadableFile(
                f"{path}: nodata {unseen}, undetect {undetected}, not 255 and 0; describe it as your own"
            )
        gain = float(tags.get("Gain", GAIN))
        check_scale(path, gain)
        rates = scale(self.zr, gain, float(tags.get("Offset", OFFSET)))
        time = _stamp(tags.get("Observation time", ""), path)
        values = rates[raster.values]
        values[~raster.seen] = np.nan
        return noted(make_frame(values, raster.grid, time, self.name), raster.told)


def _header(text: bytes) -> dict[str, str]:
    lines = (line[1:].split(None, 1) for line in text.decode("latin-1").split("\n") if line.startswith("#"))
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}


def _stamp(text: str, path: Path) -> datetime:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M").replace(tzinfo=UTC)
    except ValueError as error:
        raise UnreadableFile(f"{path}: observation time {text!r} is not YYYYMMDDhhmm; fetch it again") from error


def _grid(header: dict[str, str], height: int, width: int) -> Grid:
    """Return the grid between the stated corners (outer cell edges)."""
    crs = (
        f"+proj=stere +lon_0={float(header['centrallongitude'])} +lat_0={float(header['centrallatitude'])}"
        f" +lat_ts={float(header['truelatitude'])} +R={SPHERE} +units=m +no_defs +type=crs"
    )
    corners = [[float(number) for number in header[key].split()] for key in ("bottomleft", "topright")]
    (left, bottom), (right, top) = (Proj(crs)(lon, lat) for lon, lat in corners)
    dx, dy = (right - left) / width, (top - bottom) / height
    return Grid(crs, left + dx / 2, top - dy / 2, dx, dy, height, width)
