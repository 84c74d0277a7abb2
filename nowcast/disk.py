"""Files of ours on a disk that may be full, read-only or not ours: what the system says of one is a `NoRoom`."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nowcast.errors import NoRoom

SHARE, ENOUGH = 0.1, 10 * 2**30
"""Of a disk this share ought to be free, or so many bytes where that is less: days of what a few regions write."""


@dataclass(frozen=True)
class Space:
    """How much of a disk is free, bytes."""

    free: int
    total: int

    @classmethod
    def at(cls, path: Path) -> "Space":
        """Return that of the disk which a path is on, or will be once it is made."""
        there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        usage = shutil.disk_usage(there)
        return cls(usage.free, usage.total)

    @property
    def scarce(self) -> bool:
        """Whether an operator ought to be told while there is time."""
        return self.free < min(SHARE * self.total, ENOUGH)

    def __str__(self) -> str:
        return f"{self.free / 2**30:.1f} of {self.total / 2**30:.1f} GiB free"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `NoRoom`, with the path, for what the system refuses within."""
    try:
        yield
    except FileNotFoundError as error:
        raise NoRoom(f"{path}: its folder is not there; make it, or name another") from error
    except OSError as error:
        raise NoRoom.of(path, error) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are not there, or raise `NoRoom`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NoRoom(f"{path} is a file and has to be a folder; move it away, or name another") from error
    except OSError as error:
        raise NoRoom.of(path, error) from error


def require_temporary() -> None:
    """Raise `NoRoom` where no file can be written for a while: without such a folder no file is parsed."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise NoRoom(
            f"temporary files: {error.strerror}; make one writable, with room in it (in a container: --tmpfs /tmp),"
            " or name another in TMPDIR"
        ) from error
