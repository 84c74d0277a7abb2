"""Records and fields for tests of the store."""

from datetime import UTC, datetime, timedelta

import numpy as np

from nowcast.grid import Grid
from nowcast.run import RegionRecord, Run

T0 = datetime(2026, 3, 1, 23, 50, tzinfo=UTC)
STEP = timedelta(minutes=5)
SHAPE = (2, 130, 140)
PRODUCTS = ("rain_mean", "prob_1")


def region(name="alps"):
    return RegionRecord(
        name, name.title(), Grid("EPSG:2056", 0.0, 0.0, 1000.0, 1000.0, *SHAPE[1:]), ("simulated",), "m"
    )


def run(name="alps", base_time=T0, mark=1, **changes):
    values = {
        "region": name,
        "base_time": base_time,
        "slot": base_time + STEP,
        "published_at": base_time + 2 * STEP,
        "model": "advection",
        "rung": "openvino",
        "plan": "p" * 64,
        "members": 1,
        "leads": SHAPE[0],
        "grid_digest": "g" * 64,
        "products": PRODUCTS,
        "flags": ("late",),
        "frames": ("b" * 64, "a" * 64),
        "stages": {"mark": float(mark)},
    }
    return Run(**{**values, **changes})


def fields(mark=1):
    """All pixels say `mark` (1 … 100): in mm/h, and in percent."""
    return {"rain_mean": np.full(SHAPE, mark, np.float32), "prob_1": np.full(SHAPE, mark / 100, np.float32)}


def marks(got):
    """The lowest and highest values of the products, as marks: one only if all pixels are of one publication."""
    rain, percent = got["rain_mean"], got["prob_1"]
    return {round(float(v)) for v in (rain.min(), rain.max(), percent.min() * 100, percent.max() * 100)}
