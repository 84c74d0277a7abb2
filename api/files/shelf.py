"""Files that were made for a request, kept for the next: on disk, the last few, by the id of the run."""

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

Key = tuple[int, str]


class Shelf:
    """At most `most` files in a folder of its own; made one at a time (netCDF-C is not thread-safe)."""

    def __init__(self, most: int = 12) -> None:
        self._most = most
        self._folder: Path | None = None
        self._files: OrderedDict[Key, Path] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, key: Key, make: Callable[[Path], None]) -> Path:
        """Return the file of a key, which `make` writes when it is not there."""
        with self._lock:
            path = self._files.get(key)
            if path is None or not path.exists():
                self._folder = self._folder or Path(tempfile.mkdtemp(prefix="nowcast-files-"))
                path = self._folder / f"{key[0]}-{key[1]}"
                make(path)
                self._files[key] = path
            self._files.move_to_end(key)
            while len(self._files) > self._most:
                _, old = self._files.popitem(last=False)
                old.unlink(missing_ok=True)  # who is reading it still has it open
            return path

    def close(self) -> None:
        """Remove all."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
