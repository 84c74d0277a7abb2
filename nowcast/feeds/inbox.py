"""The sub-folder of a source in the feed folder: files appear in it whole, under safe names, or not at all."""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nowcast.errors import FeedError, NoRoom

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+=,~-]{0,199}")
PACKED = (".gz", ".bz2")
UNFINISHED = (".part", ".tmp")
ABANDONED = 3600.0
"""Seconds since its last change after which no one writes a part any more: its process was killed."""
T = TypeVar("T")


class Inbox:
    """Where one source's files arrive.

    Parameters
    ----------
    folder
        `feed/<source>`; made whenever it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoRoom.of(folder, error) from error
        for part in folder.glob(".*.part"):
            with suppress(OSError):  # another process has just finished it
                if time.time() - part.stat().st_mtime > ABANDONED:
                    part.unlink()

    def has(self, name: str) -> bool:
        """Tell whether a file of that name is there; `NoRoom` where the folder cannot be searched."""
        path = self.folder / safe(name)
        try:
            return path.exists()
        except OSError as error:
            raise NoRoom.of(path, error) from error

    def put(self, name: str, content: Iterable[bytes], limit: int) -> Path | None:
        """Write a file and return its path; None where it is there with the same bytes.

        Other bytes under a name that is taken are a revision: `name.r2.suffix`. The content reaches its name by a
        rename, so a reader never sees half a file.

        Raises
        ------
        FeedError
            When it is longer than `limit`, empty, or its content cannot be read.
        NoRoom
            When it cannot be written.
        """
        path = self.folder / safe(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # someone may have tidied it away
            return self._put(name, _read(name, content), limit)
        except OSError as error:
            raise NoRoom.of(path, error) from error

    def _put(self, name: str, content: Iterable[bytes], limit: int) -> Path | None:
        descriptor, part = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.folder)
        try:
            digest, size = hashlib.sha256(), 0
            with os.fdopen(descriptor, "wb") as file:
                for block in content:
                    size += len(block)
                    if size > limit:
                        raise FeedError(f"{name}: more than {limit} bytes; raise max_bytes if that is right")
                    digest.update(block)
                    file.write(block)
            if not size:
                raise FeedError(f"{name}: empty; asked again later")
            path = self._free(name, digest.hexdigest())
            if path:
                os.replace(part, path)
            return path
        finally:
            Path(part).unlink(missing_ok=True)

    def _free(self, name: str, digest: str) -> Path | None:
        number = 1
        while (path := self.folder / revised(name, number)).exists():
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                    return None
            number += 1
        return path


def _read(name: str, content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content; where it cannot be read, that is no fault of the disk that it is written to."""
    try:
        yield from content
    except OSError as error:
        raise FeedError(f"{name}: {error.strerror or error}; asked again later") from error


def take_each(files: Iterable[T], take: Callable[[T], Path | None], failed: list[str]) -> list[Path]:
    """Return what `take` brings of each file; one that fails holds up no other, and is told in `failed`.

    Raises
    ------
    FeedError
        When nothing arrived and something failed.
    """
    arrived: list[Path] = []
    for file in files:
        try:
            path = take(file)
        except FeedError as error:
            failed.append(str(error))
            continue
        except NoRoom as error:  # nor is there for the others: they are not fetched in vain
            failed.append(str(error))
            break
        if path:
            arrived.append(path)
    if failed and not arrived:
        raise FeedError("; ".join(failed[:3]))
    return arrived


def safe(name: str) -> str:
    """Return the name if it is one of a file in this folder, else raise `FeedError`."""
    if not SAFE.fullmatch(name) or name.endswith(UNFINISHED):
        raise FeedError(f"file name {name[:80]!r} is not one that is written here; check the feed's pattern")
    return name


def revised(name: str, number: int) -> str:
    """Return the name of the n-th revision: `radar.r2.hdf`, `rate.r2.grib2.gz`; the first is the name itself."""
    if number == 1:
        return name
    stem, dot, suffix = name.rpartition(".")
    if f".{suffix}" in PACKED and "." in stem:
        stem, _, inner = stem.rpartition(".")
        suffix = f"{inner}.{suffix}"
    return f"{stem}.r{number}.{suffix}" if dot else f"{name}.r{number}"
