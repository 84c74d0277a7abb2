"""What a source is: a file's bytes in, a canonical frame (`nowcast.frame`) out.

One module per source, each with a class of one `recognises` and one `read`; `nowcast.sources.SOURCES` lists them.
"""

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.frame import DRY_BELOW

HEAD_BYTES = 4096
INSTANT = "instant of the scan"
ENDS = "end of the interval"
LONGEST_NOTE = 2000
NO_MARKUP = str.maketrans("[]", "()")
"""What draws tables in terminals takes a file's `[/b]` for its own, and fails of it."""


class Source(Protocol):
    """A kind of input."""

    @property
    def name(self) -> str:
        """The word used in configuration, tables and API."""
        ...

    @property
    def satellite(self) -> bool:
        """Whether it is a satellite's: it fills what radar does not see, and never overrules it."""
        ...

    @property
    def time_marks(self) -> str:
        """What the frame's `valid_time` is: `INSTANT` or `ENDS`."""
        ...

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell from the name and the first `HEAD_BYTES` bytes (cheap, never raises) whether `read` may work."""
        ...

    def read(self, path: Path) -> xr.Dataset:
        """Return the frame in the file.

        Raises
        ------
        InputError
            When the file is not what it claims to be.
        """
        ...


@dataclass(frozen=True)
class ZR:
    """Z = a·R^b, Z in mm⁶ m⁻³ and R in mm/h; the default is Marshall and Palmer (1948), J. Meteor. 5, 165–166."""

    a: float = 200.0
    b: float = 1.6

    def __post_init__(self) -> None:
        if not (self.a > 0 and self.b > 0):
            raise ValueError(f"Z–R needs a > 0 and b > 0, got a={self.a}, b={self.b}")

    def rate(self, dbz: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return mm/h of reflectivity (dBZ), any shape; NaN stays NaN, under 0.1 mm/h is dry."""
        return zr_rate(dbz, self.a, self.b)


MARSHALL_PALMER = ZR()


def digest_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named(path: Path, patterns: tuple[str, ...]) -> bool:
    """Tell whether the file's name matches one of the shell patterns."""
    return any(fnmatchcase(path.name, pattern) for pattern in patterns)


def noted(frame: xr.Dataset, *notes: str) -> xr.Dataset:
    """Return the frame with what is worth knowing of how its file was read as its `comment`, for `nowcast inspect`."""
    told = "; ".join(note for note in notes if note)
    if told:
        frame.attrs["comment"] = printable(told).translate(NO_MARKUP)
    return frame


def printable(text: str) -> str:
    """Return words of a file as a terminal may be shown them: no control characters, and not more than a few lines."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST_NOTE])


def zr_rate(dbz: NDArray[np.floating], a: float = 200.0, b: float = 1.6) -> NDArray[np.float32]:
    """Return rain rate (mm/h) of reflectivity (dBZ), any shape, by Z = a·R^b; NaN stays NaN, under 0.1 mm/h is dry.

    The default is Marshall and Palmer (1948), J. Meteor. 5, 165–166.
    """
    rate = dbz.astype(np.float32)
    rate /= np.float32(10 * b)
    rate -= np.float32(np.log10(a) / b)
    np.power(np.float32(10), rate, out=rate)  # in place: a European composite has 17 million cells
    rate[rate < DRY_BELOW] = 0
    return rate
