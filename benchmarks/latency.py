"""From a frame's arrival to its published run, for 12 regions of 512² that one composite serves.

`python -m benchmarks.latency --model edge` for another model than advection; a GPU serves where there is one. Besides,
how many times per second `nowcast hindcast` forecasts again from the archive, of one such region.

The worker's own pass (`jobs.worker.tick`) with the engine in its process, built and proven before, SQLite with full
durability. What the guard
may take to notice a file that is renamed into place is not in it and is told beside it. Verification, archive and
shadows come after the last region has been published, and are timed apart.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from benchmarks.report import quiet, save, show
from engines.gpu import find_gpu
from engines.ladder import Ladder, Served
from engines.shapes import input_shapes
from jobs.cycle import AT_ONCE
from jobs.drive import Drive
from jobs.guard import LOOK_SECONDS, Guard
from jobs.hindcast import Hindcast
from nowcast.archive import Archive
from nowcast.clock import STEP, Clock
from nowcast.config import Settings
from nowcast.grid import Grid
from nowcast.models.spec import Inputs
from nowcast.region import Region, Regions
from nowcast.sources import read_frame, source_named
from nowcast.sources.simulated import SimulatedSource, write_files
from nowcast.store.database import upgrade
from nowcast.store.store import Store

ROUNDS, REGIONS, SIDE = 20, 12, 512
LONGEST, HINDCAST_LONGEST = 150.0, 60.0
"""Seconds after which no further round, or hindcast, is begun."""
LEAST = 2
"""Rounds, however long they take."""
HINDCASTS = 24
PATIENCE = 400.0
"""Seconds that the best rung may take to be built."""
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRID = Grid("EPSG:3035", 3_804_500.0, 3_445_500.0, 1000.0, 1000.0, SIDE, SIDE)


def regions(model: str) -> Regions:
    """Return regions that lie a little apart, so that none shares another's index."""
    made = {}
    for k in range(REGIONS):
        grid = Grid(GRID.crs, GRID.x0 + 8000 * k, GRID.y0 - 30_000 * k, 1000.0, 1000.0, SIDE, SIDE)
        made[f"r{k:02d}"] = Region(f"r{k:02d}", f"Region {k}", grid, (SimulatedSource.name,), model, margin=0)
    return Regions(made)


def clock_from(base: datetime) -> Clock:
    """Return a clock that shows `base` now and goes on from there."""
    began = time.perf_counter()
    return Clock(wall=lambda: base + timedelta(seconds=time.perf_counter() - began))


def warmed(ladder: Ladder, model: str) -> Served:
    """Have the best rung built and proven, and return what it served."""
    began = time.monotonic()
    while True:
        served = ladder.serve(model, SIDE, SIDE, _anything, START)
        if not served.passed_over or time.monotonic() - began > PATIENCE:
            return served
        time.sleep(1)


def _anything(spec) -> Inputs:
    rng = np.random.default_rng(0)
    return Inputs(*(rng.random(shape, np.float32) for shape in input_shapes(spec, 1, SIDE, SIDE).values()))


def measure(folder: Path, drive: Drive) -> tuple[list[float], list[float], dict[str, list[float]], int]:
    """Return seconds per run from arrival to publication, of the work after, per stage; and how many failed."""
    started = time.perf_counter()
    latencies, after, stages, failed = [], [], {}, 0
    made = folder / "made"
    for number in range(ROUNDS + 1):
        if number > LEAST and time.perf_counter() - started > LONGEST:
            break
        now = START + timedelta(minutes=5 * number)
        for file in write_files(made, now - timedelta(minutes=5 if number else 20), now):
            if file.parent.name == SimulatedSource.name:
                drive.deliver(file, SimulatedSource.name, now)
        base = now + timedelta(seconds=1)
        drive.cycle.clock = clock_from(base)
        report = drive.cycle.run()
        ended = time.perf_counter()
        drive.after.run(report)
        if number:
            latencies += [(m.run.published_at - base).total_seconds() for m in report.made]
            failed += len(report.failed)
            after.append(time.perf_counter() - ended)
            for m in report.made:
                for name, seconds in m.run.stages.items():
                    stages.setdefault(name, []).append(seconds)
    return latencies, after, stages, failed


def hindcasts(folder: Path, model: str, ladder: Ladder) -> tuple[int, float]:
    """Return how many hindcasts were made of one region, and how many per second, verification included."""
    region, archive = replace(regions(model)["r00"], margin=0), Archive(folder / "archive")
    source = source_named(SimulatedSource.name)
    for file in write_files(folder / "made", START, START + (HINDCASTS + 3) * STEP):
        if file.parent.name == source.name:
            archive.put(region, read_frame(file, source))
    url = f"sqlite:///{folder / 'hindcast.db'}"
    upgrade(url)
    store = Store.open(url)
    began, count = 0.0, 0
    for progress in Hindcast(region, archive, store, ladder).run(START, START + timedelta(days=1)):
        if progress.refused + 1 == progress.done:  # the engine has been built and proven
            began, count = time.perf_counter(), 0
        else:
            count += 1
        if began and time.perf_counter() - began > HINDCAST_LONGEST:
            break
    seconds = time.perf_counter() - began
    store.close()
    return count, count / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="advection")
    model = parser.parse_args().model
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'nowcast.db'}")
        drive = Drive.open(settings, regions(model), START, processes=True)
        began = time.perf_counter()
        served = warmed(drive.cycle.ladder, model)
        built = time.perf_counter() - began
        latencies, after, stages, failed = measure(folder, drive)
        with tempfile.TemporaryDirectory() as other:
            count, per_second = hindcasts(Path(other), model, drive.cycle.ladder)
        drive.close()
    gpu = find_gpu()
    device = gpu.name if gpu and served.rung != "openvino" else "CPU"
    if not latencies:
        raise RuntimeError("no run was published: each region took longer than its deadline; is the machine at work?")
    p50, p99, worst = (round(float(v), 3) for v in np.quantile(latencies, [0.5, 0.99, 1.0]))
    noticed = LOOK_SECONDS + Guard.settle
    result = {
        "regions": REGIONS,
        "side": SIDE,
        "model": model,
        "device": device,
        "rung": served.rung,
        "passed_over": served.passed_over,
        "engine_built_and_proven_s": round(built, 1),
        "engine_threads": Settings().engine_threads,
        "regions_at_once": AT_ONCE,
        "runs": len(latencies),
        "beyond_their_deadline": failed,
        "arrival_to_published_s": {"p50": p50, "p99": p99, "max": worst},
        "noticed_within_s": noticed,
        "work_after_s": {"median": round(float(np.median(after)), 3), "max": round(max(after), 3)},
        "stages_ms": {n: round(1000 * float(np.median(v)), 1) for n, v in stages.items()},
        "hindcasts": {"made": count, "per_second": round(per_second, 2), "side": SIDE},
        "goal_p99_s": 15 if device == "CPU" else 1.5,
    }
    header = ("p50 s", "p99 s", "max s", "noticed within s", "hindcasts per s")
    show(f"arrival → published, 12 × 512², {model}, {device}", header, [(p50, p99, worst, noticed, per_second)])
    save(
        "latency" + ("" if model == "advection" else f"-{model}") + ("" if device == "CPU" else "-gpu"),
        result,
        ("numpy", "opencv-python-headless", "sqlalchemy", "openvino" if device == "CPU" else "torch"),
    )


if __name__ == "__main__":
    main()
