"""Cut radar files of any source into an npz sequence, as `nowcast train` and `benchmarks.skill` read them.

    python -m benchmarks.cut ../shared/data/raw/knmi_h5 --out var/sequences/knmi_nl_20100826.npz
    python -m benchmarks.skill --data var/sequences --events knmi_nl_20100826 --models standard,edge

Frames keep their own grid and step. What is not seen, or has no file, is not seen in the sequence either.
"""

import argparse
from pathlib import Path

import numpy as np

from nowcast.errors import ConfigError
from nowcast.frame import grid_of
from nowcast.sources import read_frame, source_named
from nowcast.train.data import MISSING, encode


def cut(paths: list[Path], out: Path, source: str | None = None) -> None:
    """Write the frames of the files, which must lie on one grid, in order of their valid times."""
    frames = [read_frame(path, source_named(source) if source else None) for path in paths]
    frames.sort(key=lambda frame: frame["valid_time"].values)
    grids = {grid_of(frame) for frame in frames}
    if len(grids) != 1:
        raise ConfigError(f"{len(frames)} files lie on {len(grids)} grids; cut those of one grid, and two at the least")
    times = np.array([frame["valid_time"].values for frame in frames]).astype("datetime64[s]")
    steps = np.unique(np.diff(times).astype(int) // 60)
    if len(frames) < 2 or steps[0] == 0 or (steps % steps[0]).any():
        raise ConfigError(f"steps of {steps.tolist()} minutes; a sequence has one step, and gaps that are multiples")
    places = (times - times[0]).astype(int) // 60 // steps[0]
    codes = np.full((places[-1] + 1, *frames[0]["rain_rate"].shape), MISSING, np.uint8)
    for place, frame in zip(places, frames, strict=True):
        codes[place] = encode(frame["rain_rate"].values)
    out.parent.mkdir(parents=True, exist_ok=True)
    every = times[0] + np.arange(len(codes)) * np.timedelta64(int(steps[0]), "m")
    pixel = grids.pop().pixel_km
    np.savez_compressed(out, frames=codes, times=every, step_minutes=int(steps[0]), pixel_km=pixel)
    print(f"{out}: {len(frames)} frames every {steps[0]} min, {codes.shape[1]} × {codes.shape[2]} of {pixel:.2f} km")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pattern", default="*", help="of the files' names")
    parser.add_argument("--source", help="else the one that recognises each file")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    cut(sorted(args.folder.glob(args.pattern)), args.out, args.source)


if __name__ == "__main__":
    main()
