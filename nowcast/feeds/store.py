"""Files of an object store (S3, GCS, Azure, …) through fsspec, the extra `object-store`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from nowcast.errors import FeedError, NowcastError
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import Inbox, take_each

BLOCK = 1 << 20
CHANGING = ("size", "ETag", "etag", "LastModified", "last_modified", "updated", "mtime")
"""What an entry may say that is another once the object has been replaced, by any of the back ends."""
Entry = dict[str, Any]
"""What a back end lists of an object."""
Stamp = tuple[str, ...]
"""What of it `CHANGING` names."""


class ObjectFeed:
    """Files beneath a prefix, newest first; one that is replaced comes again as a revision."""

    def __init__(self, config: FeedConfig, inbox: Inbox) -> None:
        self.config, self._inbox = config, inbox
        self._system: Any = None
        self._taken: dict[str, Stamp] = {}

    def poll(self, now: datetime) -> list[Path]:
        """Fetch what is new.

        Raises
        ------
        FeedError
            When fsspec is not installed, the store does not answer, or nothing arrived and something failed.
        """
        with self._told():
            found = self._found(now)
        times = {name: time for name in found if (time := self.config.young(name, now))}
        self._taken = {name: stamp for name, stamp in self._taken.items() if name in times}
        newest_first = sorted(times, key=lambda name: times[name], reverse=True)
        return take_each(newest_first, lambda name: self._take(name, found[name]), [])

    def _take(self, name: str, entry: Entry) -> Path | None:
        stamp = tuple(str(entry.get(key)) for key in CHANGING)
        if name not in self._taken and self._inbox.has(name):
            self._taken[name] = stamp  # it arrived before a restart
        if self._taken.get(name) == stamp:
            return None
        size = int(entry.get("size") or 0)
        if size > self.config.max_bytes:
            raise FeedError(f"{name}: {size} bytes, at most {self.config.max_bytes} are taken; raise max_bytes")
        with self._told():
            path = self._inbox.put(name, self._blocks(entry["name"]), self.config.max_bytes)
        self._taken[name] = stamp
        return path

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except NowcastError:
            raise
        except Exception as error:  # fsspec's back ends raise whatever their libraries do
            told = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            raise FeedError(f"feed {self.config.name}: {self.config.store}: {told}; asked again later") from error

    def _found(self, now: datetime) -> dict[str, Entry]:
        """Return the entries of the listed folders by name; of several, one that is not there (yet) is no failure."""
        system = self._system = self._system or self._connect()
        system.invalidate_cache()
        found: dict[str, Entry] = {}
        missing: FileNotFoundError | None = None
        for folder in self.config.listings(now):
            try:
                entries = system.ls(folder, detail=True)
            except FileNotFoundError as error:
                missing = error
                continue
            found |= {str(e["name"]).rsplit("/", 1)[-1]: e for e in entries if e["type"] == "file"}
        if missing and not found:
            raise missing
        return found

    def _blocks(self, key: str) -> Iterator[bytes]:
        with self._system.open(key, "rb") as file:
            while block := file.read(BLOCK):
                yield block

    def _connect(self) -> Any:  # noqa: ANN401  fsspec has no types
        try:
            import fsspec
        except ImportError as error:
            raise FeedError(
                f"feed {self.config.name} needs fsspec; install it with pip install 'nowcast[object-store]'"
            ) from error
        return fsspec.filesystem(self.config.store, **dict(self.config.options))
