"""Where the data of a classic NetCDF file end: netCDF-C reads what a cut file lacks as zeros, and zero is dry.

The header is that of "NetCDF File Format Specifications" (Unidata), versions 1, 2 and 5: numbers are big-endian,
names and values padded to four bytes, and of a variable over the record dimension one part lies in each record.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
"""Of a value, by the number of its type."""


def data_end(path: Path) -> int:
    """Return how many bytes the file must have at least, by its header.

    Raises
    ------
    EOFError, LookupError
        When the header itself is cut or damaged.
    """
    with path.open("rb") as file:
        return _Header(file).data_end()


@dataclass(frozen=True)
class _Variable:
    """Where its first values lie and how many bytes they take: all of them, or those of one record."""

    begin: int
    size: int
    recorded: bool


class _Header:
    """A header, read from its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        version = file.read(4)[3]
        self._count_bytes, self._offset_bytes = 8 if version == 5 else 4, 4 if version == 1 else 8

    def data_end(self) -> int:
        records = self._count()
        if records == (1 << 8 * self._count_bytes) - 1:  # as many as the file has: nothing is said of the end
            records = 0
        lengths = [self._length() for _ in self._list()]
        self._skip_attributes()
        variables = [self._variable(lengths) for _ in self._list()]
        inside = [variable.size for variable in variables if variable.recorded]
        stride = inside[0] if len(inside) == 1 else sum(map(_padded, inside))
        repeats = {True: records - 1, False: 0}
        ends = [v.begin + repeats[v.recorded] * stride + v.size for v in variables if records or not v.recorded]
        return max(ends, default=0)

    def _variable(self, lengths: list[int]) -> _Variable:
        self._skip_text()
        dims = [lengths[self._count()] for _ in range(self._count())]
        self._skip_attributes()
        kind = self._number(4)
        self._count()  # its size, which need not be right for large ones
        recorded = dims[:1] == [0]
        return _Variable(self._number(self._offset_bytes), math.prod(dims[recorded:]) * BYTES[kind], recorded)

    def _length(self) -> int:
        self._skip_text()
        return self._count()

    def _skip_attributes(self) -> None:
        for _ in self._list():
            self._skip_text()
            kind = self._number(4)
            self._skip(self._count() * BYTES[kind])

    def _list(self) -> range:
        self._number(4)  # what is listed; 0 where nothing is
        return range(self._count())

    def _skip_text(self) -> None:
        self._skip(self._count())

    def _skip(self, size: int) -> None:
        self._file.seek(_padded(size), os.SEEK_CUR)

    def _count(self) -> int:
        return self._number(self._count_bytes)

    def _number(self, size: int) -> int:
        taken = self._file.read(size)
        if len(taken) < size:
            raise EOFError("the header is cut")
        return int.from_bytes(taken, "big")


def _padded(size: int) -> int:
    return -(-size // 4) * 4
