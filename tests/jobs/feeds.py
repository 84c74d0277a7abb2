"""Small regions and files for tests of the cycle."""

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np

from engines.ladder import Ladder
from engines.runtimes import make_rungs
from jobs.cycle import Cycle
from nowcast.clock import Clock
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.ingest import FrameCache, Intake
from nowcast.region import Region, Regions
from nowcast.run import RegionRecord
from nowcast.store.database import upgrade
from nowcast.store.store import Store

BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)
GRID = Grid("EPSG:2056", 2600000.0, 1200000.0, 1000.0, 1000.0, 60, 90)
OTHER = Grid("EPSG:28992", 100000.0, 500000.0, 1000.0, 1000.0, 64, 64)


def minutes(count):
    return timedelta(minutes=count)


def rain_at(time, grid=GRID, wind=3.0):
    """Rain that moves east by `wind` cells in five minutes; the northernmost rows are not seen."""
    rng = np.random.default_rng(5)
    wide = cv2.GaussianBlur(rng.standard_normal((grid.height, 4 * grid.width)), (0, 0), 4)
    shift = np.float64([[1, 0, wind * (time - BASE) / minutes(5) - grid.width], [0, 1, 0]])
    moved = cv2.warpAffine(wide, shift, (grid.width, grid.height), borderMode=cv2.BORDER_REFLECT)
    rate = np.clip(moved / wide.std() - 0.3, 0, None).astype(np.float32) * 4
    rate[:5] = np.nan
    return rate


def write(feed, time, name=None, grid=GRID, rate=None, source="cf"):
    """Write one file as a sender does: under another name first."""
    folder = feed / source
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"{time:%Y%m%dT%H%M}.nc")
    frame = make_frame(rain_at(time, grid) if rate is None else rate, grid, time, source)
    frame.to_netcdf(path.with_suffix(".part"), engine="netcdf4")
    path.with_suffix(".part").replace(path)
    return path


class Hand:
    """A wall clock that is moved by hand."""

    time = BASE + timedelta(minutes=1)

    def __call__(self):
        return self.time


def make_cycle(url, feed, hand, regions=None):
    """A cycle over real files and a real database, with the time in our hands."""
    regions = regions or [Region("alps", "Alps", GRID, ("cf",))]
    upgrade(url)
    store = Store.open(url)
    store.put_regions(RegionRecord(r.name, r.title, r.grid, r.sources, r.model) for r in regions)
    folder = Intake(feed, store, FrameCache())
    return Cycle(Regions({r.name: r for r in regions}), store, folder, Ladder(make_rungs(), 2, store), Clock(wall=hand))


def settle(cycle):
    """Run twice, and return the report that tells of runs: a file that is new counts as arrived at the second look."""
    first, second = cycle.run(), cycle.run()
    return first if first.published and not second.published else second
