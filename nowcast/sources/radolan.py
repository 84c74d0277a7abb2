"""DWD RADOLAN binary composites: RX (and WX, EX), RY, RW, YW, RV, WN and their kin, plain or gzip.

DWD, "RADOLAN/RADVOR: Beschreibung des Kompositformats". An ASCII header ends at ETX, then come one or two bytes a
cell, southernmost row first. In two bytes, the low 12 bits are the value; bit 14 says not seen, bit 16 clutter
(taken as not seen), bit 15 a minus sign. Reflectivity is value/2 − 32.5 dBZ; 249 and 2490 are clutter, 250 and 2500
not seen. The grid is polar stereographic with its reference point (9° E, 51° N) on a cell corner: on a sphere of
6370.04 km, and on WGS 84 from format version 5. The header's time ends the interval. Forecasts (a lead time VV above
0) are refused.
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
from nowcast.sources.base import ENDS, ZR, named
from nowcast.sources.guard import BZIP2, GZIP, check_scale, read_bytes

SPHERE = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=m +no_defs +type=crs"
ELLIPSOID = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +ellps=WGS84 +units=m +no_defs +type=crs"
REFERENCE = 9.0, 51.0
CELLS_FROM_REFERENCE = {
    (900, 900): (450, 450),
    (1100, 900): (370, 550),
    (1200, 1100): (470, 600),
    (1500, 1400): (600, 800),
}
"""(rows, columns) → cells from the western and southern edges to the reference point."""
ONE_BYTE = ("RX", "WX", "EX")
REFLECTIVITY = (*ONE_BYTE, "WN")
AMOUNTS = ("RY", "RZ", "RW", "RH", "RB", "RL", "RU", "EH", "EB", "EW", "EY", "EZ", "YW", "RV", "RQ")
CLUTTER, UNSEEN = 249, 250
START = re.compile(rb"([A-Z]{2})(\d{6})(\d{5})(\d{4})BY")
LONGEST_HEADER = 1024
ZR_DWD = ZR(256.0, 1.42)
"""RADOLAN's standard relation."""


@dataclass(frozen=True)
class _Header:
    product: str
    time: datetime
    shape: tuple[int, int]
    precision: float
    minutes: float
    lead: int
    version: int

    @classmethod
    def of(cls, text: bytes, path: Path) -> "_Header":
        """Return what the header says, or raise `UnreadableFile`."""
        start = START.match(text)
        if not start:
            raise UnreadableFile(f"{path}: begins with {text[:20]!r}, which is no RADOLAN header; fetch it again")
        product, stamp, _, month = (part.decode() for part in start.groups())
        rest = text[start.end() :].decode("latin-1").split("MS")[0]
        rows, columns = _field(rest, r"GP\s*(\d+)\s*x\s*(\d+)", "0", "0")
        (power,) = _field(rest, r"PR\s*E([-+]\d+)", "0")
        (interval,) = _field(rest, r"INT\s*(\d+)", "0")
        (lead,) = _field(rest, r"VV\s*(\d+)", "0")
        (version,) = _field(rest, r"VS\s*(\d+)", "3")
        time = datetime.strptime(stamp + month, "%d%H%M%m%y").replace(tzinfo=UTC)
        unit = 1440 if _field(rest, r"INT\s*\d+U(\d)", "0") == ("1",) else 1
        shape = int(rows), int(columns)
        return cls(product, time, shape, 10.0 ** int(power), float(interval) * unit, int(lead), int(version))


@dataclass(frozen=True)
class RadolanSource:
    """DWD's national composite; the time ends the interval."""

    name: str = "dwd-radolan"
    patterns: tuple[str, ...] = ("raa01-*-dwd---bin*", "raa00-dx_*")
    zr: ZR = ZR_DWD
    satellite: bool = False
    time_marks: str = ENDS

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the header, or by the name where it is packed."""
        return bool(START.match(head)) or (head.startswith((GZIP, BZIP2)) and named(path, self.patterns))

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame; see `nowcast.sources.base.Source`."""
        content = read_bytes(path)
        end = content.find(b"\x03", 0, LONGEST_HEADER)
        header = _Header.of(content[: max(end, 0)], path)
        if header.lead:
            raise UnreadableFile(f"{path}: {header.product} is a forecast (+{header.lead} min); give VV 000")
        check_scale(path, header.precision)
        grid = _grid(header, path)
        codes = _codes(content[end + 1 :], header, path)
        if header.product in REFLECTIVITY:
            return make_frame(self.zr.rate(_reflectivity(codes, header)), grid, header.time, self.name)
        if header.product not in AMOUNTS or header.minutes <= 0:
            raise UnreadableFile(
                f"{path}: product {header.product} over {header.minutes:g} min is no rain rate;"
                f" give one of {', '.join(REFLECTIVITY + AMOUNTS)}"
            )
        rate = _amount(codes) * np.float32(header.precision * 60 / header.minutes)
        return make_frame(rate, grid, header.time, self.name, accumulation_minutes=header.minutes)


def _field(text: str, pattern: str, *defaults: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    return tuple(str(group) for group in match.groups()) if match else defaults


def _grid(header: _Header, path: Path) -> Grid:
    if header.shape not in CELLS_FROM_REFERENCE:
        known = ", ".join(f"{rows} × {columns}" for rows, columns in CELLS_FROM_REFERENCE)
        raise UnreadableFile(
            f"{path}: grid of {header.shape[0]} × {header.shape[1]} is none of {known}; fetch it again"
        )
    crs = ELLIPSOID if header.version >= 5 else SPHERE
    x, y = Proj(crs)(*REFERENCE)
    west, south = CELLS_FROM_REFERENCE[header.shape]
    rows, columns = header.shape
    return Grid(crs, x + 500 - 1000 * west, y - 500 + 1000 * (rows - south), 1000.0, 1000.0, rows, columns)


def _codes(data: bytes, header: _Header, path: Path) -> NDArray[np.unsignedinteger]:
    kind = np.dtype("u1" if header.product in ONE_BYTE else "<u2")
    rows, columns = header.shape
    if len(data) != rows * columns * kind.itemsize:
        raise UnreadableFile(
            f"{path}: {len(data)} bytes of data, {rows} × {columns} of {header.product} take"
            f" {rows * columns * kind.itemsize}; fetch it again"
        )
    return np.frombuffer(data, kind).reshape(rows, columns)[::-1]


def _reflectivity(codes: NDArray[np.unsignedinteger], header: _Header) -> NDArray[np.float32]:
    """Return dBZ, (rows, columns)."""
    two_bytes = codes.dtype.itemsize == 2
    values = codes & 0x0FFF if two_bytes else codes
    tens = round(1 / header.precision) if two_bytes else 1
    unseen = (values >= CLUTTER * tens) if not two_bytes else np.isin(values, (CLUTTER * tens, UNSEEN * tens))
    if two_bytes:
        unseen |= codes & 0xA000 > 0
    scale = np.float32((header.precision if two_bytes else 1.0) / 2)
    dbz: NDArray[np.float32] = values.astype(np.float32) * scale - np.float32(32.5)
    dbz[unseen] = np.nan
    return dbz


def _amount(codes: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
    """Return the accumulation in units of the precision, (rows, columns)."""
    values = (codes & 0x0FFF).astype(np.float32)
    values[codes & 0xE000 > 0] = np.nan
    return values
