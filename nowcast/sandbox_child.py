"""The child of `nowcast.sandbox`: walls first, then file after file, each answered by a JSON header and raw arrays.

Runs as `python -m nowcast.sandbox_child LIMITS` (JSON) in an empty folder of its own. Each line on standard input is
`{"name": file in that folder, "source": name or null}`. Each answer: 8 bytes length, that much JSON, then the arrays
that the JSON announces, float32, C order. Nothing is ever unpickled.
"""

import json
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from nowcast.confine import Limits, allow_cpu, confine, limit

if TYPE_CHECKING:
    import xarray as xr

    from nowcast.sources import Source

OWN = Path("sources.toml")
LONGEST_MESSAGE = 2000


def main() -> None:
    """Serve until standard input ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limits = Limits(**json.loads(sys.argv[1]))
    limit(limits)
    walls = ["limits", *confine([Path.cwd()])]

    from nowcast.sources import with_own

    sources = with_own(OWN if OWN.exists() else None)
    _preload()
    _send(out, {"ready": True, "walls": walls}, ())
    for line in sys.stdin.buffer:
        request = json.loads(line)
        allow_cpu(limits.seconds)
        header, arrays = answer(Path(request["name"]), request["source"], sources)
        _send(out, header, arrays)
        del arrays  # or they would be held while the next file is read


def answer(path: Path, name: str | None, sources: "tuple[Source, ...]") -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return the header and arrays of one file, or the header of its refusal."""
    from nowcast.errors import InputError
    from nowcast.sources import read_frame, source_named, source_of

    try:
        source = source_named(name, sources) if name else source_of(path, sources)
        return _packed(read_frame(path, source))
    except InputError as error:
        return {"error": type(error).__name__, "message": str(error)[:LONGEST_MESSAGE]}, ()
    except MemoryError:
        return {"error": "UnreadableFile", "message": f"{path}: needs more memory than is allowed; is it damaged?"}, ()


def _packed(frame: "xr.Dataset") -> tuple[dict[str, Any], tuple[Any, ...]]:
    from nowcast.frame import grid_of, valid_time

    grid = grid_of(frame)
    names = [name for name in ("rain_rate", "quality") if name in frame]
    header = {
        "arrays": names,
        "grid": [grid.crs, grid.x0, grid.y0, grid.dx, grid.dy, grid.height, grid.width],
        "valid_time": valid_time(frame).isoformat(),
        "source": frame.attrs["source"],
        "digest": frame.attrs["digest"],
        "accumulation_minutes": frame.attrs["accumulation_minutes"],
        "comment": frame.attrs.get("comment", ""),
    }
    return header, tuple(frame[name].values for name in names)


def _preload() -> None:
    """Load what readers load lazily, once and before the first file."""
    import cv2
    import h5py  # noqa: F401
    import netCDF4  # noqa: F401

    cv2.setNumThreads(1)


def _send(out: BinaryIO, header: dict[str, Any], arrays: tuple[Any, ...]) -> None:
    text = json.dumps(header).encode()
    out.write(struct.pack("<Q", len(text)) + text)
    for array in arrays:
        out.write(memoryview(array).cast("B"))
    out.flush()


if __name__ == "__main__":
    main()
