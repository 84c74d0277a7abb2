"""A served API over a database that a test has filled: what the demonstration's model does not make.

The pixels are made up; the store, the API and its pictures are the real ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

from api.main import create_app
from nowcast.config import Settings
from nowcast.grid import Grid
from nowcast.life import State, Transition
from nowcast.run import Observation, Place, RegionRecord, Run, ScoreRecord
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served.conftest import serving
from tests.api.served.made import LEADS, STEP, base_time

SIDE = 600
MEMBERS = 8
DRIFT = 3
"""Pixels a lead."""
GRID = Grid("EPSG:28992", -140_000.0, 780_000.0, 1000.0, 1000.0, SIDE, SIDE)
UNSEEN_ROWS = 60
STEPS = 24
"""In the life of models: more than a page."""
SCORES = {"edge": (0.1, 0.2), "advection": (0.15, 0.3), "persistence": (0.2, 0.5)}
"""CRPS at 5 and 30 min."""


@dataclass(frozen=True)
class Filled:
    """What is served where."""

    url: str
    base_time: datetime


@contextmanager
def serve_filled(folder: Path) -> Iterator[Filled]:
    """Serve the region `wide` (and one without anything): 600 × 600 cells, 8 members with every lead."""
    url = f"sqlite:///{folder / 'nowcast.db'}"
    upgrade(url)
    store, base = Store.open(url), base_time()
    wide = RegionRecord("wide", "Wide", GRID, ("knmi",), "edge", (Place("Utrecht", 52.0907, 5.1214),))
    store.put_regions([wide, replace(wide, name="young", title="Young", places=())])  # which has no run yet
    fields = made()
    store.publish(_run(base, tuple(fields)), fields)
    seen = fields["rain_mean"][0]
    for k in range(6):
        store.observations.put(Observation("wide", base - k * STEP, "knmi", f"{k:064}", GRID.digest), seen)
    store.verification.put(_scores(base))
    for step in _steps(base):
        store.models.step(step)
    try:
        with serving(create_app(Settings(database_url=url, data_dir=folder))) as address:
            yield Filled(address, base)
    finally:
        store.close()


def made() -> dict[str, np.ndarray]:
    """Return an ensemble's products, (24, 600, 600) each: blobs that drift west, each member's its own."""
    wide = np.zeros((SIDE, SIDE + LEADS * DRIFT), np.float32)
    y, x = np.mgrid[: wide.shape[0], : wide.shape[1]]
    for cx, cy, size, peak in ((150, 200, 60, 12), (330, 420, 90, 4), (500, 180, 40, 40)):
        wide += np.float32(peak) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / np.float32(size**2)).astype(np.float32)
    wide[wide < 0.1] = 0
    fields = {"rain_mean": wide, "rain_p10": wide * 0.4, "rain_p50": wide * 0.9, "rain_p90": wide * 1.7}
    fields |= {f"prob_{t:g}": np.clip(wide / (2 * t), 0, 1) for t in (0.1, 1, 5, 10)}
    for number in range(1, MEMBERS + 1):
        fields[f"rain_member_{number:02}"] = np.roll(wide, 25 * number, axis=0) * np.float32(0.5 + number / MEMBERS)
    return {name: drifting(field.astype(np.float32)) for name, field in fields.items()}


def drifting(wide: np.ndarray) -> np.ndarray:
    """Return (24, 600, 600): a window of `wide` that moves on by `DRIFT` columns a lead; one copy of all pixels."""
    wide[:UNSEEN_ROWS] = np.nan
    down, across = wide.strides
    return as_strided(wide, (LEADS, SIDE, SIDE), (DRIFT * across, down, across), writeable=False)


def _run(base: datetime, products: tuple[str, ...]) -> Run:
    return Run(
        region="wide",
        base_time=base,
        slot=base + STEP,
        published_at=base + timedelta(minutes=1),
        model="edge-2",
        rung="openvino",
        plan="e" * 64,
        members=MEMBERS,
        leads=LEADS,
        grid_digest=GRID.digest,
        products=products,
        flags=("frames-missing", "revision"),
        stages={"engine": 0.5},
        state="canary",
    )


def _scores(base: datetime) -> list[ScoreRecord]:
    return [
        ScoreRecord("wide", base - 12 * STEP, "rain_mean", lead, "crps-quantiles", None, value, 100, maker)
        for maker, values in SCORES.items()
        for lead, value in zip((5, 30), values, strict=True)
    ]


def _steps(base: datetime) -> Iterator[Transition]:
    """Yield the lives of models, oldest first; the last is rolled back with its numbers."""
    for k in range(STEPS - 3):
        yield Transition(f"edge-old-{k}", "edge", State.CANDIDATE, (), "ada", base - timedelta(days=9 - k / 24), "made")
    numbers = {"cycles": 36, "difference": 0.0125, "regimes": {"convective": {"cycles": 4}}}
    for k, (state, why, told) in enumerate(
        [
            (State.CANDIDATE, "retrained on the archive", {}),
            (State.SHADOW, "a night of shadow", {}),
            (State.CANARY, "better than advection on 300 cycles", numbers),
        ]
    ):
        regions = ("wide",) if state is State.CANARY else ()
        yield Transition("edge-2", "edge", state, regions, "nightly", base - timedelta(hours=3 - k), why, told)
