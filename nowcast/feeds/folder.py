"""A folder in which others write: files are taken once they stand still, by link or copy, whole."""

import os
import time
from datetime import datetime
from pathlib import Path

from nowcast.errors import FeedError, NoRoom
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import SAFE, UNFINISHED, Inbox, take_each

SETTLED = 2.0
"""Seconds since its last change after which a file has arrived; before, when two looks find the same size and time."""

Stamp = tuple[int, int]


class FolderFeed:
    """Files of another folder, oldest changes first; a file that changes later comes again as a revision."""

    def __init__(self, config: FeedConfig, inbox: Inbox) -> None:
        self.config, self._inbox = config, inbox
        self._looked: dict[Path, Stamp] = {}
        self._taken: dict[Path, Stamp] = {}

    def poll(self, now: datetime) -> list[Path]:
        """Take what has arrived since the last look.

        Raises
        ------
        FeedError
            When the folder cannot be read, or nothing was taken and something could not be.
        """
        try:
            entries = [entry for entry in os.scandir(self.config.folder) if self._wanted(entry, now)]
        except OSError as error:
            raise FeedError(f"feed {self.config.name}: {self.config.folder}: {error.strerror}; check it") from error
        listed = {Path(entry.path) for entry in entries}
        self._looked = {path: stamp for path, stamp in self._looked.items() if path in listed}
        self._taken = {path: stamp for path, stamp in self._taken.items() if path in listed}
        return take_each(sorted(entries, key=_changed), self._offered, [])

    def _offered(self, entry: "os.DirEntry[str]") -> Path | None:
        """Take a file, or say why not as a `FeedError`: of one that finds no room too, since a smaller one may."""
        try:
            return self._take(entry)
        except FileNotFoundError:  # others took it away since the folder was listed
            return None
        except OSError as error:
            raise FeedError(f"{entry.path}: {error.strerror}; let this user read it, tried again later") from error
        except NoRoom as error:
            raise FeedError(str(error)) from error

    def _wanted(self, entry: "os.DirEntry[str]", now: datetime) -> bool:
        if not SAFE.fullmatch(entry.name) or entry.name.endswith(UNFINISHED):
            return False
        return not self.config.pattern or self.config.young(entry.name, now) is not None

    def _take(self, entry: "os.DirEntry[str]") -> Path | None:
        if not entry.is_file():
            return None
        path, status = Path(entry.path), entry.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        if self._taken.get(path) == stamp:
            return None
        before, self._looked[path] = self._looked.get(path), stamp
        if not status.st_size or (before != stamp and time.time() - status.st_mtime < SETTLED):
            return None
        if status.st_size > self.config.max_bytes:
            raise FeedError(
                f"{path}: {status.st_size} bytes, at most {self.config.max_bytes} are taken; raise max_bytes"
            )
        with path.open("rb") as file:
            taken = self._inbox.put(path.name, iter(lambda: file.read(1 << 20), b""), self.config.max_bytes)
        self._taken[path] = stamp
        return taken


def _changed(entry: "os.DirEntry[str]") -> float:
    try:
        return entry.stat().st_mtime
    except OSError:  # told when it is to be taken
        return 0.0
