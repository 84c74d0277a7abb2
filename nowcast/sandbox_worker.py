"""One parsing child with its folder, and the words that are spoken with it.

A file is copied into the child's private folder, which is all that the child may read (see `nowcast.confine`); the
child (`nowcast.sandbox_child`) answers with a JSON header and raw float32, which are checked here before they become
a frame.
"""

import errno
import fcntl
import json
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.confine import Limits
from nowcast.errors import ConfigError, InputError, NoRoom, ReaderMissing, UnreadableFile, WrongGrid, WrongTime
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.sources.base import noted, printable
from nowcast.sources.guard import MAX_CELLS

ERRORS: dict[str, type[InputError]] = {
    error.__name__: error for error in (UnreadableFile, WrongGrid, WrongTime, ReaderMissing)
}
START_SECONDS = 60.0
LONGEST_HEADER = 1 << 17
RETIRE_AFTER = 500
"""Files per child: an end to whatever its libraries leak."""
PIPE_BYTES = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
FOLDER = "nowcast-parse-"
UNSAFE_CRS = ("grids", "+init", "pipeline", "://", "file=")
"""A child's CRS is text for PROJ in this process: none that names files or other programs."""


def _own_folder(sources_file: Path | None) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
        if sources_file:
            shutil.copyfile(sources_file, folder / "sources.toml")
    except OSError as error:
        raise NoRoom.of(error.filename or tempfile.gettempdir(), error) from error
    return folder


class Worker:
    """One child with its folder."""

    def __init__(self, limits: Limits, sources_file: Path | None) -> None:
        self._limits = limits
        self._folder = _own_folder(sources_file)
        self._files = 0
        self.dead = False
        self._process = subprocess.Popen(  # noqa: S603  our own module, by our own interpreter
            [sys.executable, "-m", "nowcast.sandbox_child", json.dumps(asdict(limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            env=_environment(),
            start_new_session=True,
        )
        with suppress(OSError, AttributeError):  # Linux alone; frames are up to a hundred megabytes
            fcntl.fcntl(_stream(self._process.stdout), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.walls = self._greeting()

    @property
    def spent(self) -> bool:
        """Whether another child should take over."""
        return self.dead or self._files >= RETIRE_AFTER or self._process.poll() is not None

    def read(self, path: Path, source_name: str | None) -> xr.Dataset:
        """Return the frame in the file; after a failure of the child itself, `dead` is set."""
        self._files += 1
        copy = self._copied(path)
        try:
            header, fields = self._ask(copy, source_name)
        except _ChildFailed as failure:
            self.dead = True
            raise UnreadableFile(f"{path}: {failure}; the file is refused, fetch it again") from None
        finally:
            copy.unlink(missing_ok=True)
        if "error" in header:
            message = printable(str(header["message"]).replace(str(copy.name), str(path), 1))
            raise ERRORS.get(str(header["error"]), UnreadableFile)(message)
        try:
            return _frame(header, fields, source_name)
        except InputError:
            raise
        except Exception as error:
            self.dead = True
            raise UnreadableFile(f"{path}: its parser answered {header!r}; the file is refused") from error

    def close(self) -> None:
        """Kill the child and remove its folder."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(OSError):
                    stream.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _greeting(self) -> tuple[str, ...]:
        try:
            header, _ = self._receive(time.monotonic() + START_SECONDS)
            return tuple(str(wall) for wall in header["walls"])
        except (_ChildFailed, KeyError) as failure:
            self.close()
            raise ConfigError(
                f"the parsing process does not start ({failure}); is its memory limit of"
                f" {self._limits.memory >> 20} MiB enough, and does python -m nowcast.sandbox_child run?"
            ) from failure

    def _copied(self, path: Path) -> Path:
        """Return a copy in the child's folder: bytes that nobody changes while they are read."""
        copy = self._folder / path.name
        try:
            size = path.stat().st_size
            if size > self._limits.file_bytes:
                raise UnreadableFile(
                    f"{path}: {size} bytes, at most {self._limits.file_bytes} are read; raise the limit or split it"
                )
            shutil.copyfile(path, copy)
        except OSError as error:
            copy.unlink(missing_ok=True)
            if error.errno in FULL:  # of the disk of temporary files: the file itself may be well
                raise NoRoom.of(self._folder, error) from error
            raise UnreadableFile(f"{path}: {error.strerror}; check the path and its permissions") from error
        return copy

    def _ask(self, copy: Path, source_name: str | None) -> tuple[dict[str, Any], list[NDArray[np.float32]]]:
        request = json.dumps({"name": copy.name, "source": source_name}).encode() + b"\n"
        try:
            stdin = _stream(self._process.stdin)
            stdin.write(request)
            stdin.flush()
        except OSError as error:
            raise _ChildFailed(f"its parser is gone ({error.strerror})") from error
        return self._receive(time.monotonic() + self._limits.seconds)

    def _receive(self, deadline: float) -> tuple[dict[str, Any], list[NDArray[np.float32]]]:
        head = bytearray(8)
        self._fill(memoryview(head), deadline)
        (length,) = struct.unpack("<Q", head)
        if length > LONGEST_HEADER:
            raise _ChildFailed(f"its parser answered a header of {length} bytes")
        text = bytearray(length)
        self._fill(memoryview(text), deadline)
        try:
            header: dict[str, Any] = json.loads(text)
            names = header.get("arrays", ())
            height, width = (int(n) for n in header["grid"][-2:]) if names else (0, 0)
        except (ValueError, KeyError, AttributeError) as error:
            raise _ChildFailed(f"its parser answered {bytes(text[:80])!r}") from error
        if len(names) > 2 or height < 0 or width < 0 or height * width > MAX_CELLS:
            raise _ChildFailed(f"its parser answered {len(names)} fields of {height} × {width}")
        fields = [np.empty((height, width), np.float32) for _ in names]
        for field in fields:
            self._fill(field.data.cast("B"), deadline)
        return header, fields

    def _fill(self, view: memoryview, deadline: float) -> None:
        """Read exactly as many bytes as `view` has."""
        descriptor = _stream(self._process.stdout).fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(view):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise _ChildFailed(f"its parser took longer than {self._limits.seconds:g} s")
            count = os.readv(descriptor, [view])
            if count == 0:
                raise _ChildFailed(f"its parser died ({_cause(self._process)})")
            view = view[count:]


class _ChildFailed(Exception):
    """The child is late, dead or answers nonsense."""


def _cause(process: "subprocess.Popen[bytes]") -> str:
    with suppress(subprocess.TimeoutExpired):
        code = process.wait(1)
        return f"signal {-code}" if code < 0 else f"exit code {code}"
    return "no exit code"


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise _ChildFailed("its parser has no pipe")
    return stream


def _environment() -> dict[str, str]:
    """Return the child's environment: nothing of ours but where Python finds modules; one thread, no HDF5 plugins."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
    return {
        **threads,
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HDF5_PLUGIN_PRELOAD": "::",
        "PROJ_NETWORK": "OFF",
        "MALLOC_ARENA_MAX": "2",
        "LANG": "C.UTF-8",
    }


def _frame(header: dict[str, Any], fields: list[NDArray[np.float32]], source_name: str | None) -> xr.Dataset:
    """Return the frame that a child's answer makes, checked by the same rules as any."""
    if source_name not in {None, header["source"]}:
        raise ValueError(f"its source is {header['source']!r}, not {source_name!r}")
    named = dict(zip(header["arrays"], fields, strict=True))
    crs, x0, y0, dx, dy, height, width = header["grid"]
    if not isinstance(crs, str) or any(word in crs for word in UNSAFE_CRS):
        raise WrongGrid(f"CRS {str(crs)[:200]!r} names files or programs; give a plain CRS")
    frame = make_frame(
        named["rain_rate"],
        Grid(crs, float(x0), float(y0), float(dx), float(dy), int(height), int(width)),
        datetime.fromisoformat(header["valid_time"]),
        str(header["source"]),
        digest=str(header["digest"]),
        accumulation_minutes=float(header["accumulation_minutes"]),
        quality=named.get("quality"),
    )
    return noted(frame, str(header["comment"]))
