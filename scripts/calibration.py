"""Draw a calibration set for `scripts/quantize.py` from sequences or archives (npz, NetCDF, Zarr).

    python scripts/calibration.py standard calibration.npz DATA/fmi_suomi1_20160928.npz DATA/mch_ch_20150515.npz …

Crops of the files, at random times and places, until every regime is there often enough (`engines.coverage`); a set
that lacks one is written nowhere, and the message says which events to add. Use what the model was trained on, never
what it is validated on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.coverage import Stack, choose, measure
from engines.plan import shipped_plan
from nowcast.models.spec import FRAMES, MULTIPLE, pixel_sizes
from nowcast.motion import motion
from nowcast.space import to_model
from nowcast.train.data import STEP, decode, read_archive, read_npz

SLACK = 1
"""Minutes that a frame may be off its time."""
MOST = 2000
"""Crops that are looked at."""


def crops(paths: list[Path], size: int, rng: np.random.Generator) -> Iterator[Stack]:
    """Yield stacks and masks (4, size, size) from each file in turn; frames that it lacks have mask 0."""
    files = [(read_npz(path) if path.suffix == ".npz" else read_archive(path))[:2] for path in paths]
    for number in range(MOST):
        codes, minutes = files[number % len(files)]
        y, x = (int(rng.integers(0, max(side - size, 0) + 1)) for side in codes.shape[1:])
        yield _stack(codes[:, y : y + size, x : x + size], minutes, int(rng.integers(len(codes))), size)


def _stack(codes: NDArray[np.uint8], minutes: NDArray[np.int64], base: int, size: int) -> Stack:
    rates = np.full((FRAMES, size, size), np.nan, np.float32)
    for back in range(FRAMES):
        off = np.abs(minutes - (minutes[base] - STEP * back))
        if off.min() <= SLACK:
            found = decode(codes[int(off.argmin())])
            rates[FRAMES - 1 - back, : found.shape[0], : found.shape[1]] = found
    return to_model(rates)


def main() -> None:
    """Draw, measure, and write the set."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("output", type=Path)
    parser.add_argument("sequences", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=256, help=f"side of a crop, a multiple of {MULTIPLE}")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    chosen = list(choose(crops(args.sequences, args.size, rng)))
    coverage = measure(chosen)
    print(f"{coverage.stacks} stacks: {coverage.counts}")  # noqa: T201
    coverage.require()
    stacks, masks = (np.stack(part) for part in zip(*chosen, strict=True))
    arrays = {"stack": stacks, "mask": masks, "motion": np.stack([motion(s, m) for s, m in chosen])}
    spec = shipped_plan(args.model).spec
    if spec.noise:
        arrays["noise"] = rng.standard_normal((len(chosen), *spec.noise.shape(args.size, args.size)), np.float32)
    if spec.pixel:
        arrays["pixel"] = pixel_sizes(1.0, args.size, args.size, len(chosen))
    np.savez_compressed(args.output, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
