"""Files that were made for a request, kept for the next: on disk, the last few, by the id of the run."""

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from api.work import Workshop

Key = tuple[int, str]


class Shelf:
    """At most `most` files in a folder of its own.

    They are made one at a time (netCDF-C is not thread-safe), in a thread of the shelf's own: who waits for one keeps
    no thread from other work.
    """

    def __init__(self, most: int = 12) -> None:
        self._most = most
        self._folder: Path | None = None
        self._files: OrderedDict[Key, Path] = OrderedDict()
        self._workshop = Workshop(threads=1)

    async def path(self, key: Key, make: Callable[[Path], None]) -> Path:
        """Return the file of a key, which `make` writes when it is not there; one that is there waits for no other."""
        path = self._files.get(key)
        if path is not None and path.exists():
            return path
        return await self._workshop.do(lambda: self._made(key, make))

    def _made(self, key: Key, make: Callable[[Path], None]) -> Path:
        path = self._files.pop(key, None)
        if path is None or not path.exists():
            self._folder = self._folder or Path(tempfile.mkdtemp(prefix="nowcast-files-"))
            path = self._folder / f"{key[0]}-{key[1]}"
            make(path)
        self._files[key] = path
        while len(self._files) > self._most:
            _, old = self._files.popitem(last=False)
            old.unlink(missing_ok=True)  # who is reading it still has it open
        return path

    def close(self) -> None:
        """Remove all."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
