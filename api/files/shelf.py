"""Files that were made for a request, kept for the next: on disk, bounded in bytes, by the id of the run.

A file loses its name as soon as it is there and is read through its descriptor: one that leaves the shelf stays whole
for those who are reading it, and when the process is killed none is left behind but one that is being written.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from api.work import Workshop
from nowcast.errors import Busy, NoRoom
from nowcast.store.cache import ByteCache

log = structlog.get_logger()

Key = tuple[int, str]
Make = Callable[[Path], None]

MOST_BYTES = 512 * 2**20
"""In a container `/tmp` may be memory."""

MOST_FILES = 64
"""Each is an open descriptor."""

SPARE_BYTES, SPARE_SHARE = 64 * 2**20, 0.25
"""What is left free on the disk, or which share of a small one: the database may be on it, and HDF5 may not come to its
end (on a full disk it has crashed the process, or failed ever after and kept the room of what it had written)."""

PIECE = 256 * 1024


class Kept:
    """A file without a name, open as long as somebody has this."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `stop`, piece by piece."""
        for at in range(start, stop, PIECE):
            yield os.pread(self._descriptor, min(PIECE, stop - at), at)


class Shelf:
    """Files that add up to at most `most_bytes`, those that were asked for last.

    They are made one at a time (netCDF-C is not thread-safe), in a thread of the shelf's own: who waits for one keeps
    no thread from other work.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._files: ByteCache[Key, Kept] = ByteCache(most_bytes)
        self._open: weakref.WeakSet[Kept] = weakref.WeakSet()
        self._workshop = Workshop(threads=1)

    def kept(self, key: Key) -> Kept | None:
        """Return the file of a key if it is there; waits for nothing."""
        return self._files.get(key)

    async def file(self, key: Key, make: Make) -> Kept:
        """Return the file of a key, which `make` writes when it is not there; one that is there waits for no other.

        Raises
        ------
        NoRoom
            When the disk has no room for it, even without all others.
        Busy
            When too many wait, or what others read takes too much room.
        """
        kept = self.kept(key)
        return kept if kept is not None else await self._workshop.do(lambda: self._made(key, make))

    def once(self, make: Make, size: int) -> bytes:
        """Return the bytes of a file, `size` at most, that nobody will ask for again, or raise `NoRoom`."""
        file = self._written(make, size)
        return b"".join(file.read(0, file.size))

    def clear(self) -> None:
        """Let go of all; each file's room is free once nobody reads it."""
        self._files.clear()

    def _made(self, key: Key, make: Make) -> Kept:
        file = self.kept(key)
        if file is None:
            self._require_readers()
            file = self._written(make)
            self._files.put(key, file, max(file.size, self._files.limit // MOST_FILES))
            self._open.add(file)
        return file

    def _require_readers(self) -> None:
        """Raise `Busy` while slow readers hold as much again as may be kept: files that left the shelf are not gone."""
        size = sum(file.size for file in self._open)
        if size > 2 * self._files.limit:
            raise Busy(f"files of {size / 2**20:.0f} MiB are being read; try again when some have been")

    def _written(self, make: Make, size: int = 0) -> Kept:
        try:
            return _written(make, size)
        except NoRoom:
            if not len(self._files):
                raise
        self.clear()
        return _written(make, size)


def _written(make: Make, size: int) -> Kept:
    """Return what `make` writes; netCDF-C tells of a full disk as `RuntimeError`, or as no permission."""
    try:
        with tempfile.TemporaryDirectory(prefix="nowcast-file-") as folder:
            require_room(Path(folder), size)
            path = Path(folder) / "file"
            make(path)
            return Kept(path)
    except (OSError, RuntimeError) as error:
        log.warning("file-not-written", error=repr(error))
        raise NoRoom.of("the folder for temporary files", error) from error


def require_room(folder: Path, size: int) -> None:
    """Raise `NoRoom` when so many bytes more would fill the disk of a folder: to be asked before each piece."""
    disk = shutil.disk_usage(folder)
    spare = min(SPARE_BYTES, disk.total * SPARE_SHARE)
    if disk.free < spare + size:
        told = f"{disk.free / 2**20:.1f} MiB are free, {spare / 2**20:.1f} are left for others"
        raise NoRoom(f"the disk of {folder.parent}: {told}; make room there, or set TMPDIR to a folder on another")
