"""MRMS GRIB2 (`PrecipRate`), plain or gzip: rain rate on a regular latitude–longitude grid.

Read without a GRIB library: MRMS writes one message with grid template 3.0 and PNG packing (template 5.41) of
discipline 209 (local: NOAA NSSL), which decodes in 0.25 s where eccodes takes 1.25 s and names the field "unknown"
(cfgrib#230). Templates are those of the WMO Manual on Codes, volume I.2, FM 92 GRIB. Negative values (−1 missing, −3
no coverage) are not seen. The reference time is the instant of the analysis.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.errors import UnreadableFile
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import INSTANT, named
from nowcast.sources.guard import GZIP, check_scale, check_shape, read_bytes

NSSL = 209
PRECIP_RATE = (NSSL, 6, 1)
"""Discipline, parameter category, parameter number."""
SPHEROIDS = {
    0: "+R=6367470",
    2: "+a=6378160 +rf=297",
    4: "+ellps=GRS80",
    5: "+datum=WGS84",
    6: "+R=6371229",
    8: "+R=6371200",
}
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 1 << 26


@dataclass(frozen=True)
class MrmsSource:
    """NOAA MRMS surface precipitation rate; the time is the instant of the analysis."""

    name: str = "mrms"
    patterns: tuple[str, ...] = ("*PrecipRate*.grib2", "*PrecipRate*.grib2.gz")
    satellite: bool = False
    time_marks: str = INSTANT

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name and the signature of GRIB or gzip."""
        return named(path, self.patterns) and head.startswith((b"GRIB", GZIP))

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        content = read_bytes(path, LARGEST)
        sections = dict(_sections(content, path))
        if missing := {1, 3, 4, 5, 6, 7} - set(sections):
            raise UnreadableFile(f"{path}: GRIB sections {sorted(missing)} are missing; fetch it again")
        parameter = (content[6], sections[4][9], sections[4][10])
        if parameter != PRECIP_RATE:
            raise UnreadableFile(
                f"{path}: discipline, category, number {parameter} is not PrecipRate {PRECIP_RATE}; give PrecipRate"
            )
        grid = _grid(sections[3], path)
        values = _values(sections[5], sections[6], sections[7], grid, path)
        values[values < 0] = np.nan
        return make_frame(values, grid, _time(sections[1]), self.name)


def _sections(content: bytes, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (number, whole section) of the first message."""
    if content[:4] != b"GRIB" or content[7:8] != b"\x02":
        raise UnreadableFile(f"{path}: begins with {content[:8]!r}, which is no GRIB edition 2; fetch it again")
    (total,) = struct.unpack_from(">Q", content, 8)
    if total > len(content) or content[total - 4 : total] != b"7777":
        raise UnreadableFile(f"{path}: {len(content)} bytes of {total}, or no end mark; it is cut, fetch it again")
    at = 16
    while at < total - 4:
        length, number = struct.unpack_from(">IB", content, at)
        if length < 5 or at + length > total - 4:
            raise UnreadableFile(f"{path}: section {number} of {length} bytes does not fit; fetch it again")
        yield number, content[at : at + length]
        at += length


def _time(section: bytes) -> datetime:
    year, month, day, hour, minute, second = struct.unpack_from(">HBBBBB", section, 12)
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _signed(value: int) -> int:
    """Return a GRIB number of 32 bits: sign and magnitude."""
    return -(value & 0x7FFFFFFF) if value & 0x80000000 else value


def _grid(section: bytes, path: Path) -> Grid:
    """Return the grid of template 3.0, rows from north to south and columns to the east."""
    (template,) = struct.unpack_from(">H", section, 12)
    columns, rows = struct.unpack_from(">II", section, 30)
    lat_first, lon_first = (_signed(v) for v in struct.unpack_from(">II", section, 46))
    lat_last, lon_last, dx, dy = (_signed(v) for v in struct.unpack_from(">IIII", section, 55))
    shape, scan = section[14], section[71]
    if template != 0 or scan & 0xF0 or shape not in SPHEROIDS or lat_last > lat_first:
        raise UnreadableFile(
            f"{path}: grid template {template}, scan mode {scan}, earth {shape} is not MRMS' (0, 0, {set(SPHEROIDS)});"
            " convert it to NetCDF"
        )
    check_shape(path, rows, columns)
    if abs((lon_last - lon_first) - dx * (columns - 1)) > dx or abs((lat_first - lat_last) - dy * (rows - 1)) > dy:
        raise UnreadableFile(f"{path}: the grid's corners and cell sizes disagree; fetch it again")
    west = lon_first / 1e6
    crs = f"+proj=longlat {SPHEROIDS[shape]} +no_defs +type=crs"
    return Grid(crs, west - 360 if west > 180 else west, lat_first / 1e6, dx / 1e6, dy / 1e6, rows, columns)


def _values(packing: bytes, bitmap: bytes, data: bytes, grid: Grid, path: Path) -> NDArray[np.float32]:
    """Return (rows, columns): (reference + code · 2^E) / 10^D."""
    (template,) = struct.unpack_from(">H", packing, 9)
    reference, binary, decimal, bits = struct.unpack_from(">fHHB", packing, 11)
    if template != 41 or bitmap[5] != 255 or bits not in {8, 16}:
        raise UnreadableFile(
            f"{path}: packing {template} of {bits} bits, bitmap {bitmap[5]} is not MRMS' PNG of 8 or 16;"
            " convert it to NetCDF"
        )
    png = data[5:]
    if png[:8] != PNG or struct.unpack_from(">II", png, 16) != (grid.width, grid.height):
        raise UnreadableFile(f"{path}: the packed image is not {grid.height} × {grid.width}; fetch it again")
    codes = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.shape != grid.shape:
        raise UnreadableFile(f"{path}: the packed image is damaged; fetch it again")
    factor = 2.0 ** _signed16(binary) / 10.0 ** _signed16(decimal)
    check_scale(path, factor)
    values: NDArray[np.float32] = codes.astype(np.float32)
    values *= np.float32(factor)
    values += np.float32(reference / 10.0 ** _signed16(decimal))
    return values


def _signed16(value: int) -> int:
    return -(value & 0x7FFF) if value & 0x8000 else value
