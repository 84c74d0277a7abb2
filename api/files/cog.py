"""A cloud-optimised GeoTIFF, written here: one band float32, NaN = not seen, tiles of 256² with deflate, overviews.

A hundred lines of TIFF 6.0 and GeoTIFF 1.1 instead of GDAL in the request path. All directories stand at the head, the
largest picture's first; the tiles follow, the smallest overview's first: a reader gets a view with two range requests.
"""

import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from nowcast.grid import Grid

SIDE = 256
_SHORT, _LONG, _DOUBLE, _ASCII = 3, 4, 12, 2
_SIZES = {_SHORT: 2, _LONG: 4, _DOUBLE: 8, _ASCII: 1}
_LETTERS = {_SHORT: "H", _LONG: "I", _DOUBLE: "d"}
_USER_DEFINED = 32767

Entry = tuple[int, int, tuple | bytes]
"""Tag, type, values."""


@dataclass(frozen=True)
class Level:
    """One picture of the pyramid: its size and compressed tiles."""

    height: int
    width: int
    tiles: list[bytes]


def cog(field: NDArray[np.float32], grid: Grid) -> bytes:
    """Return the file of a field (H, W), row 0 north, NaN = not seen."""
    levels = [_level(field)]
    while max(field.shape) > SIDE:
        field = _halved(field)
        levels.append(_level(field))
    tags = [_entries(level, number, grid) for number, level in enumerate(levels)]
    start = 8 + sum(_directory_size(entries) for entries in tags)
    offsets, data = _place(levels, start)
    head, at = [struct.pack("<2sHI", b"II", 42, 8)], 8
    for number, entries in enumerate(tags):
        placed = [(t, k, tuple(offsets[number]) if t == 324 else v) for t, k, v in entries]
        size = _directory_size(placed)
        head.append(_directory(placed, at, last=number == len(tags) - 1))
        at += size
    return b"".join(head) + data


def _level(field: NDArray[np.float32]) -> Level:
    height, width = field.shape
    tiles = []
    for y in range(0, height, SIDE):
        for x in range(0, width, SIDE):
            tile = np.full((SIDE, SIDE), np.nan, "<f4")
            part = field[y : y + SIDE, x : x + SIDE]
            tile[: part.shape[0], : part.shape[1]] = part
            tiles.append(zlib.compress(tile.tobytes(), 1))
    return Level(height, width, tiles)


def _halved(field: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = field.shape
    even = np.full((height + height % 2, width + width % 2), np.nan, np.float32)
    even[:height, :width] = field
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # four times not seen is not seen
        halved = np.nanmean(even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2), axis=(1, 3))
    return np.asarray(halved, np.float32)


def _place(levels: list[Level], start: int) -> tuple[list[list[int]], bytes]:
    offsets: list[list[int]] = [[] for _ in levels]
    data, at = [], start
    for number in reversed(range(len(levels))):
        for tile in levels[number].tiles:
            offsets[number].append(at)
            data.append(tile)
            at += len(tile)
    return offsets, b"".join(data)


def _entries(level: Level, number: int, grid: Grid) -> list[Entry]:
    count = len(level.tiles)
    entries: list[Entry] = [
        (254, _LONG, (1 if number else 0,)),
        (256, _LONG, (level.width,)),
        (257, _LONG, (level.height,)),
        (258, _SHORT, (32,)),
        (259, _SHORT, (8,)),
        (262, _SHORT, (1,)),
        (277, _SHORT, (1,)),
        (284, _SHORT, (1,)),
        (322, _SHORT, (SIDE,)),
        (323, _SHORT, (SIDE,)),
        (324, _LONG, (0,) * count),
        (325, _LONG, tuple(len(tile) for tile in level.tiles)),
        (339, _SHORT, (3,)),
    ]
    if number == 0:
        entries += _georeference(grid)
    return [*entries, (42113, _ASCII, b"nan\0")]


def _georeference(grid: Grid) -> list[Entry]:
    keys, text = _geo_keys(grid.pyproj_crs)
    corner = (0.0, 0.0, 0.0, grid.x0 - grid.dx / 2, grid.y0 + grid.dy / 2, 0.0)
    entries: list[Entry] = [(33550, _DOUBLE, (grid.dx, grid.dy, 0.0)), (33922, _DOUBLE, corner), (34735, _SHORT, keys)]
    return [*entries, (34737, _ASCII, text)] if text else entries


def _geo_keys(crs: CRS) -> tuple[tuple[int, ...], bytes]:
    geographic = crs.is_geographic
    code, text = crs.to_epsg(), b""
    keys = [(1024, 0, 1, 2 if geographic else 1), (1025, 0, 1, 1)]
    if code is None:  # GDAL reads a CRS without a code from here
        try:
            wkt = crs.to_wkt("WKT1_ESRI")
        except CRSError:
            wkt = crs.to_wkt()
        text = f"ESRI PE String = {wkt}|".encode("ascii", "replace") + b"\0"
        keys.append((2049 if geographic else 3073, 34737, len(text) - 1, 0))
    keys.append((2048 if geographic else 3072, 0, 1, code or _USER_DEFINED))
    keys.sort()
    return (1, 1, 0, len(keys), *(v for key in keys for v in key)), text


def _directory_size(entries: list[Entry]) -> int:
    return 2 + 12 * len(entries) + 4 + sum(_outside(kind, values) for _, kind, values in entries)


def _outside(kind: int, values: tuple | bytes) -> int:
    size = _SIZES[kind] * len(values)
    return size + size % 2 if size > 4 else 0


def _directory(entries: list[Entry], at: int, *, last: bool) -> bytes:
    outside = at + 2 + 12 * len(entries) + 4
    rows, more = [], b""
    for tag, kind, values in sorted(entries, key=lambda entry: entry[0]):
        packed = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_LETTERS[kind]}", *values)
        if len(packed) > 4:
            rows.append(struct.pack("<HHII", tag, kind, len(values), outside + len(more)))
            more += packed + b"\0" * (len(packed) % 2)
        else:
            rows.append(struct.pack("<HHI4s", tag, kind, len(values), packed))
    after = 0 if last else outside + len(more)
    return struct.pack("<H", len(entries)) + b"".join(rows) + struct.pack("<I", after) + more
