"""What the API's tests serve: regions on real ground, and runs of one member or of an ensemble."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from nowcast.grid import Grid
from nowcast.run import Observation, Place, RegionRecord, Run

STEP = timedelta(minutes=5)
LEADS = 24
SHAPE = (140, 150)
GRID = Grid("EPSG:2056", 2600500.0, 1250500.0, 1000.0, 1000.0, *SHAPE)
BERN, ZURICH, ROTTERDAM = (46.948, 7.4474), (47.3744, 8.5411), (51.9225, 4.4792)
ENSEMBLE = ("rain_mean", "rain_p10", "rain_p50", "rain_p90", "prob_0.1", "prob_1", "prob_5", "prob_10")


def regions():
    places = (Place("Zurich", *ZURICH), Place("Lucerne", 47.0502, 8.3093))
    low = Grid("EPSG:28992", 60500.0, 480500.0, 1000.0, 1000.0, 60, 70)
    return [
        RegionRecord("alps", "Alps", GRID, ("simulated",), "advection", places),
        RegionRecord("lowlands", "Low Countries", low, ("simulated",), "advection", (Place("Rotterdam", *ROTTERDAM),)),
    ]


def now():
    return datetime.now(UTC)


def base_time(minutes_ago=4):
    """A five-minute time about so long ago: points are asked relative to the wall clock."""
    time = now() - timedelta(minutes=minutes_ago)
    return time.replace(minute=time.minute // 5 * 5, second=0, microsecond=0)


def run(base, region="alps", products=("rain_mean",), **changes):
    grid = next(r.grid for r in regions() if r.name == region)
    made = Run(
        region=region,
        base_time=base,
        slot=base + STEP,
        published_at=base + timedelta(minutes=2),
        model="advection" if len(products) == 1 else "ensemble",
        rung="openvino",
        plan="p" * 64,
        members=1 if len(products) == 1 else 16,
        leads=LEADS,
        grid_digest=grid.digest,
        products=products,
        frames=("a" * 64, "b" * 64),
    )
    return replace(made, **changes)


def rain(shape=SHAPE, leads=LEADS, seed=3):
    """Moving blobs with dry ground, rain up to 60 mm/h, and a corner that is not seen; (K, H, W) mm/h."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    rng = np.random.default_rng(seed)
    field = np.zeros((leads, *shape), np.float32)
    for _ in range(8):
        cy, cx, size, peak = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(8, 25), rng.uniform(1, 60)
        for lead in range(leads):
            field[lead] += peak * np.exp(-((y - cy) ** 2 + (x - cx - lead) ** 2) / size**2)
    field[field < 0.1] = 0
    field[:, :30, :40] = np.nan
    return field


def ensemble(mean):
    """The products of an ensemble around a mean: made up, but consistent with each other."""
    fields = {"rain_mean": mean, "rain_p10": mean * 0.5, "rain_p50": mean * 0.9, "rain_p90": mean * 1.6}
    for threshold in (0.1, 1, 5, 10):
        chance = np.clip(mean / (2 * threshold), 0, 1)
        fields[f"prob_{threshold:g}"] = chance.astype(np.float32)
    return fields


def publish(store, base, region="alps", *, members=False, mean=None, **changes):
    """Publish a synthetic run, of an ensemble when `members`; return its id."""
    grid = next(r.grid for r in regions() if r.name == region)
    mean = rain(grid.shape) if mean is None else mean
    fields = ensemble(mean) if members else {"rain_mean": mean}
    return store.publish(run(base, region, tuple(fields), **changes), fields)


def observe(store, time, field=None, region="alps", digest="d" * 64):
    """Store what was seen at a time."""
    grid = next(r.grid for r in regions() if r.name == region)
    field = rain(grid.shape, 1)[0] if field is None else field
    return store.observations.put(Observation(region, time, "simulated", digest, grid.digest), field)
