"""Files of ours on a disk that may be full, read-only or not ours: what the system says of one is a `NoRoom`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nowcast.errors import NoRoom


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
