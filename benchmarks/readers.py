"""The cost of parsing in a child: seconds per real file in this process and in the sandbox, and the child's memory.

Each figure is the median of `ROUNDS` readings after one that warms up, file by file, one worker. Real files are looked
for in `shared/` beside the checkout (see `tests/conftest.py`); formats whose library is not installed are left out.
"""

import statistics
import time

from benchmarks.report import save, show
from nowcast.errors import ReaderMissing
from nowcast.frame import grid_of
from nowcast.grid import Grid
from nowcast.regrid import _plan, regrid
from nowcast.sandbox import Sandbox
from nowcast.sources import read_frame
from tests.conftest import find_shared
from tests.fuzz.run import memory

ROUNDS = 5


def median_seconds(act):
    """Return the median seconds of `ROUNDS` calls after a warm-up."""
    act()
    spent = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        act()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def measure(path):
    """Return one file's figures, from a child of its own."""
    with Sandbox(1) as sandbox:
        frame = read_frame(path)
        inside, sandboxed = median_seconds(lambda: read_frame(path)), median_seconds(lambda: sandbox.read(path))
        peak = max(memory(worker) for worker in sandbox._idle.queue if worker)
    return {
        "file": path.name,
        "source": frame.attrs["source"],
        "cells": int(frame["rain_rate"].size),
        "in_process_s": round(inside, 4),
        "sandbox_s": round(sandboxed, 4),
        "child_peak_mib": round(peak),
    }


def regridding(path):
    """Return the cost of a plan and of its use: MRMS to a 512² region of 2 km."""
    frame = read_frame(path)
    target = Grid("EPSG:5070", -500_000.0, 2_500_000.0, 2000.0, 2000.0, 512, 512)
    start = time.perf_counter()
    _plan(grid_of(frame), target)
    plan = time.perf_counter() - start
    return {"plan_s": round(plan, 3), "use_s": round(median_seconds(lambda: regrid(frame, target)), 4)}


def main():
    """Measure every format, save and show."""
    shared = find_shared()
    if shared is None:
        raise SystemExit("no shared/data beside the checkout (or in NOWCAST_SHARED): nothing to measure")
    start = time.perf_counter()
    with Sandbox(1) as sandbox:
        walls = sandbox.walls()
    started = time.perf_counter() - start
    rows, missing = [], []
    for folder in sorted((shared / "data" / "raw").iterdir()):
        path = sorted(folder.iterdir())[0]
        try:
            rows.append(measure(path))
        except ReaderMissing:
            missing.append(path.name)
    regrid_cost = regridding(sorted((shared / "data/raw/mrms_grib2").iterdir())[0])
    result = {"files": rows, "child_start_s": round(started, 2), "walls": walls, "not_measured": missing}
    save("readers", result | {"regrid_mrms_512": regrid_cost}, ["numpy", "xarray", "h5py", "netCDF4"])
    header = ("source", "cells", "in process, s", "sandbox, s", "added, ms", "child's peak, MiB")
    show(f"one file; a child starts in {started:.2f} s behind {', '.join(walls)}", header, map(_row, rows))


def _row(figures):
    added = 1000 * (figures["sandbox_s"] - figures["in_process_s"])
    cells = f"{figures['cells'] / 1e6:.1f} M"
    return (
        figures["source"],
        cells,
        figures["in_process_s"],
        figures["sandbox_s"],
        round(added),
        figures["child_peak_mib"],
    )


if __name__ == "__main__":
    main()
