"""A cache bounded in bytes: what was used last stays."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Least recently used values leave once their sizes add up to more than `limit` bytes. Safe between threads."""

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise ValueError(f"limit must be >= 0 bytes, got {limit}")
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value, which then counts as just used, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self.size = 0

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of `size` bytes, unless it alone is larger than the limit."""
        if size > self.limit:
            return
        with self._lock:
            _, old = self._entries.pop(key, (None, 0))
            self._entries[key] = (value, size)
            self.size += size - old
            while self.size > self.limit:
                _, (_, freed) = self._entries.popitem(last=False)
                self.size -= freed
