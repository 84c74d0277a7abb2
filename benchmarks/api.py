"""What the API's benchmarks serve and ask for: a region of 512², a run of one member or of an ensemble over it."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np

from api.mercator import HALF, from_lonlat
from nowcast.grid import WGS84, Grid, transformer
from nowcast.run import Fields, RegionRecord, Run
from nowcast.store.database import upgrade
from nowcast.store.store import Store

GRID = Grid("EPSG:3035", 3_860_500.0, 3_400_500.0, 1000.0, 1000.0, 512, 512)
POSTGRES = "postgresql://postgres@127.0.0.1:5432"
ENSEMBLE = ("rain_mean", "rain_p10", "rain_p50", "rain_p90", "prob_0.1", "prob_1", "prob_5", "prob_10")
APP = "api.main:create_app"


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Yield the URL of a new database, `sqlite` or `postgresql`."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 'nowcast.db'}"
        return
    import psycopg

    name = f"nowcast_bench_{uuid4().hex[:8]}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{POSTGRES}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def rain() -> np.ndarray:
    """Return 24 leads of rain in mm/h, (24, 512, 512): no two pixels alike, as no real field is."""
    return np.random.default_rng(0).gamma(0.2, 2.0, (24, *GRID.shape)).astype(np.float32)


def publish(url: str) -> None:
    """Migrate a database and publish a run of one member."""
    upgrade(url)
    store = Store.open(url)
    store.put_regions([RegionRecord("bench", "Bench", GRID, ("simulated",), "advection")])
    base = datetime.now(UTC).replace(second=0, microsecond=0)
    _publish(store, base, {"rain_mean": rain()})
    store.close()


def publish_ensemble(url: str) -> None:
    """Publish an ensemble's run over the same region, later than that of `publish`."""
    store = Store.open(url)
    mean = rain()
    fields = {p: mean if p.startswith("rain") else np.clip(mean, 0, 1) for p in ENSEMBLE}
    _publish(store, datetime.now(UTC).replace(second=1, microsecond=0), fields)
    store.close()


def _publish(store: Store, base: datetime, fields: Fields) -> None:
    members = 1 if len(fields) == 1 else 16
    run = Run("bench", base, base, base, "m", "openvino", "p", members, 24, GRID.digest, tuple(fields))
    store.publish(run, fields)


def places(count: int = 500) -> list[tuple[float, float]]:
    """Return (lon, lat) of random cells."""
    rng, to = random.Random(1), transformer(GRID.crs, WGS84)
    return [to.transform(rng.choice(GRID.x), rng.choice(GRID.y)) for _ in range(count)]


def paths(count: int = 500) -> list[str]:
    """Return point queries at random cells."""
    return [f"/v1/forecast?lat={lat:.4f}&lon={lon:.4f}" for lon, lat in places(count)]


def tiles(z: int) -> list[tuple[int, int]]:
    """Return (x, y) of every tile of the region at a zoom."""
    west, south, east, north = GRID.bounds
    (left, bottom), (right, top) = from_lonlat(west, south), from_lonlat(east, north)
    side = 2 * HALF / 2**z
    xs = range(int((left + HALF) / side), int((right + HALF) / side) + 1)
    ys = range(int((HALF - top) / side), int((HALF - bottom) / side) + 1)
    return [(x, y) for x in xs for y in ys]


def tile_paths(z: int) -> list[str]:
    """Return every tile of the region at a zoom, for all leads, in random order."""
    found = [f"/v1/tiles/bench/latest/rain_mean/{5 * k}/{z}/{x}/{y}.png" for k in range(1, 25) for x, y in tiles(z)]
    random.Random(2).shuffle(found)
    return found
