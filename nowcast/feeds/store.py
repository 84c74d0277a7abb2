"""Files of an object store (S3, GCS, Azure, …) through fsspec, the extra `object-store`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from nowcast.errors import FeedError, NowcastError
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import Inbox

BLOCK = 1 << 20


class ObjectFeed:
    """Files beneath a prefix, newest first."""

    def __init__(self, config: FeedConfig, inbox: Inbox) -> None:
        self.config, self._inbox = config, inbox
        self._system: Any = None

    def poll(self, now: datetime) -> list[Path]:
        """Fetch what is new.

        Raises
        ------
        FeedError
            When fsspec is not installed or the store does not answer.
        NoRoom
            When a file cannot be written.
        """
        try:
            return self._poll(now)
        except NowcastError:
            raise
        except Exception as error:  # fsspec's back ends raise whatever their libraries do
            told = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            raise FeedError(f"feed {self.config.name}: {self.config.store}: {told}; asked again later") from error

    def _poll(self, now: datetime) -> list[Path]:
        found = self._found(now)
        times = {name: time for name in found if (time := self.config.young(name, now)) and not self._inbox.has(name)}
        arrived = []
        for name in sorted(times, key=lambda name: times[name], reverse=True):
            size = int(found[name].get("size") or 0)
            if size > self.config.max_bytes:
                raise FeedError(f"{name}: {size} bytes, at most {self.config.max_bytes} are taken; raise max_bytes")
            path = self._inbox.put(name, self._blocks(found[name]["name"]), self.config.max_bytes)
            if path:
                arrived.append(path)
        return arrived

    def _found(self, now: datetime) -> dict[str, Any]:
        """Return the entries of the listed folders by name; of several, one that is not there (yet) is no failure."""
        system = self._system = self._system or self._connect()
        system.invalidate_cache()
        found: dict[str, Any] = {}
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
