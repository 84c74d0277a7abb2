"""The cycle per stage for a 512² region, from frames in memory to the committed run, on the CPU.

Each figure is the median of `ROUNDS` cycles after two that warm up; the ratio is to the motion stage of the same run,
which is OpenCV's alone.
"""

import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.report import quiet, save, show
from engines.ladder import Ladder
from engines.runtimes import make_rungs
from jobs.cycle import Cycle
from jobs.forecaster import Stages
from nowcast.clock import Clock
from nowcast.config import Settings
from nowcast.grid import Grid
from nowcast.ingest import FrameCache, Intake
from nowcast.region import Region, Regions
from nowcast.run import RegionRecord
from nowcast.sources.simulated import SimulatedSource, write_files
from nowcast.store.database import upgrade
from nowcast.store.store import Store

ROUNDS = 12
GRID = Grid("EPSG:3035", 3_860_500.0, 3_400_500.0, 1000.0, 1000.0, 512, 512)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def measure() -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        url = f"sqlite:///{data / 'nowcast.db'}"
        upgrade(url)
        store = Store.open(url)
        region = Region("bench", "Bench", GRID, (SimulatedSource.name,), margin=0)
        store.put_regions([RegionRecord(region.name, region.title, GRID, region.sources, region.model)])
        feed = Intake(data / "feed", store, FrameCache())
        now = START + timedelta(minutes=1)
        ladder = Ladder(make_rungs(), Settings().engine_threads, store, processes=True)
        cycle = Cycle(Regions({"bench": region}), store, feed, ladder, Clock(wall=lambda: now))
        for number in range(ROUNDS + 2):
            now = START + timedelta(minutes=5 * number + 1)
            list(write_files(feed.folder, now - timedelta(minutes=20), now))
            timed = Stages()
            with timed("ingest"):
                feed.ingest({SimulatedSource.name}, now)
                feed.ingest({SimulatedSource.name}, now)
            with timed("whole"):
                report = cycle.run()
            if not report.published:
                raise RuntimeError(f"nothing was published: {report.failed}")
            run = store.newest("bench")
            stages = {**timed.seconds, **run.stages, "publish": timed.seconds["whole"] - sum(run.stages.values())}
            if number >= 2:
                for name, value in stages.items():
                    seconds.setdefault(name, []).append(value)
        ladder.close()
        store.close()
    return seconds


def main() -> None:
    quiet()
    seconds = measure()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    rows = [
        (name, 1000 * median[name], 1000 * max(seconds[name]), median[name] / median["motion"])
        for name in ("ingest", "read", "stack", "motion", "engine", "products", "publish", "whole")
    ]
    show("cycle, 512², advection, 24 leads", ("stage", "median ms", "max ms", "× motion"), rows)
    save(
        "cycle",
        {
            "region": "512x512",
            "threads": Settings().engine_threads,
            "stages_ms": {
                r[0]: {"median": round(r[1], 2), "max": round(r[2], 2), "ratio_to_motion": round(r[3], 3)} for r in rows
            },
        },
        ("numpy", "opencv-python-headless", "openvino", "sqlalchemy"),
    )


if __name__ == "__main__":
    main()
