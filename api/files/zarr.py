"""A run as a Zarr v3 group over HTTP: the stored chunks themselves, since both are zstd of little-endian codes.

Rates are uint16 with `scale_factor` 0.01, probabilities uint8 percent; not seen is the fill value. Only chunks at the
grid's edges are made anew, since Zarr wants them whole; chunks that were not seen at all are absent, as Zarr has it.
"""

import json
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from nowcast.chunks import LEVEL, SIDE, Chunk, Fill, coding, decode_codes
from nowcast.errors import NotKept
from nowcast.grid import Grid
from nowcast.output import names_of
from nowcast.run import Run
from nowcast.store.pixels import RunPixels

_ZSTD = {"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}}
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def entry(pixels: RunPixels, run: Run, grid: Grid, path: str) -> tuple[bytes, str]:
    """Return (bytes, media type) of one key of the group, or raise `NotKept`."""
    metadata = _metadata(run, grid)
    name, _, rest = path.partition("/")
    if path == "zarr.json":
        consolidated = {"kind": "inline", "must_understand": False, "metadata": metadata}
        return _json({**_group(run), "consolidated_metadata": consolidated})
    if name in metadata and rest == "zarr.json":
        return _json(metadata[name])
    if name in run.products and rest.startswith("c/"):
        return _chunk(pixels, run, name, rest), "application/octet-stream"
    if name in metadata and name not in run.products and rest.strip("c/0") == "" and rest:
        return _coordinate(run, grid, name), "application/octet-stream"
    raise _absent(path)


def _absent(path: str) -> NotKept:
    return NotKept(f"no key {path[:80]!r} in this Zarr group; its zarr.json lists the arrays")


def _json(body: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(body).encode(), "application/json"


def _group(run: Run) -> dict[str, Any]:
    told = {"Conventions": "CF-1.11", "source": f"model {run.model} ({run.rung})", "region": run.region}
    return {"zarr_format": 3, "node_type": "group", "attributes": told}


def _metadata(run: Run, grid: Grid) -> dict[str, dict[str, Any]]:
    variables = grid.coordinates()
    found = {
        "y": _array(["y"], (grid.height,), "float64", dict(variables["y"].attrs)),
        "x": _array(["x"], (grid.width,), "float64", dict(variables["x"].attrs)),
        "crs": _array([], (), "int32", dict(variables["crs"].attrs)),
        "time": _array(["time"], (run.leads,), "int64", _time("time", run)),
        "forecast_reference_time": _array([], (), "int64", _time("forecast_reference_time", run)),
    }
    for product in run.products:
        how = coding(product)
        standard, units, long_name = names_of(product)
        told = {"units": units, "long_name": long_name, "scale_factor": 1 / how.scale, "add_offset": 0.0}
        told |= {"_FillValue": how.unseen, "grid_mapping": "crs", "coordinates": "forecast_reference_time"}
        if standard:
            told["standard_name"] = standard
        kind = np.dtype(how.dtype).name
        array = _array(["time", "y", "x"], (run.leads, *grid.shape), kind, told)
        chunks = [run.leads, SIDE, SIDE]
        array["chunk_grid"] = {"name": "regular", "configuration": {"chunk_shape": chunks}}
        plain = _BYTES if kind != "uint8" else {"name": "bytes"}
        found[product] = {**array, "fill_value": how.unseen, "codecs": [plain, _ZSTD]}
    return found


def _time(name: str, run: Run) -> dict[str, Any]:
    since = f"seconds since {run.base_time:%Y-%m-%d %H:%M:%S}"
    return {"standard_name": name, "units": since, "calendar": "standard"}


def _array(dims: list[str], shape: tuple[int, ...], kind: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": kind,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [_BYTES],
        "dimension_names": dims,
        "attributes": attributes,
    }


def _coordinate(run: Run, grid: Grid, name: str) -> bytes:
    values: dict[str, NDArray] = {
        "y": grid.y.astype("<f8"),
        "x": grid.x.astype("<f8"),
        "crs": np.zeros((), "<i4"),
        "time": (np.arange(1, run.leads + 1) * 300).astype("<i8"),
        "forecast_reference_time": np.zeros((), "<i8"),
    }
    return values[name].tobytes()


def _chunk(pixels: RunPixels, run: Run, product: str, key: str) -> bytes:
    parts = key.split("/")
    if len(parts) != 4 or parts[1] != "0" or not all(p.isascii() and p.isdecimal() and len(p) < 6 for p in parts[1:]):
        raise _absent(f"{product}/{key}")
    chunk = pixels.chunk(run, product, (int(parts[2]), int(parts[3])))
    if chunk is None or chunk.fill == Fill.UNSEEN:
        raise _absent(f"{product}/{key}")
    if chunk.blob is not None and (chunk.height, chunk.width) == (SIDE, SIDE):
        return chunk.blob
    return _whole(chunk)


def _whole(chunk: Chunk) -> bytes:
    how = coding(chunk.product)
    block = np.full((chunk.leads, SIDE, SIDE), how.unseen, how.dtype)
    block[:, : chunk.height, : chunk.width] = decode_codes(chunk)
    return zstandard.ZstdCompressor(level=LEVEL).compress(block.tobytes())
