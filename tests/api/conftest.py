"""An API over a real database with one published run, on a clock that we hold."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pytest

from api.main import create_app
from nowcast.clock import Clock
from nowcast.config import Settings
from nowcast.grid import Grid
from nowcast.run import CheckRecord, PlanRecord, RegionRecord, Run

BASE = datetime(2026, 3, 1, 12, tzinfo=UTC)
ALPS = Grid("EPSG:2056", 2590500.0, 1209500.0, 1000.0, 1000.0, 40, 50)  # Bern lies in it
INSIDE = {"lat": 46.948, "lon": 7.4474}


def make_run(base_time=BASE, **changes):
    values = {
        "region": "alps",
        "base_time": base_time,
        "slot": base_time,
        "published_at": base_time + timedelta(seconds=70),
        "model": "advection",
        "rung": "openvino",
        "plan": "a" * 64,
        "members": 1,
        "leads": 24,
        "grid_digest": ALPS.digest,
        "products": ("rain_mean",),
        "frames": ("b" * 64, "c" * 64),
        "stages": {"engine": 0.1},
    }
    return Run(**{**values, **changes})


def make_fields(first=0.0):
    """Lead k rains `first` + k / 10 mm/h; nothing is seen in the western columns."""
    rain = np.broadcast_to(first + np.arange(24, dtype=np.float32)[:, None, None] / 10, (24, *ALPS.shape)).copy()
    rain[:, :, :3] = np.nan
    return {"rain_mean": rain}


@pytest.fixture
def store(store):
    store.put_regions(
        [
            RegionRecord("alps", "Alps", ALPS, ("knmi",), "advection"),
            RegionRecord(
                "empty", "Empty", Grid("EPSG:28992", 100000.0, 500000.0, 1000.0, 1000.0, 40, 40), ("knmi",), "m"
            ),
        ]
    )
    store.publish(make_run(), make_fields())
    store.add_plan(PlanRecord("a" * 64, "advection", "openvino", "fp32", {"openvino": "1"}))
    store.add_checks([CheckRecord("a" * 64, BASE, "convective", "rain_mean", 104.9, 100.1, True)])
    return store


class Hand:
    """A wall clock that is moved by hand."""

    time = BASE + timedelta(minutes=4)

    def __call__(self):
        return self.time


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def app(store, database_url, hand):
    made = create_app(Settings(database_url=database_url))
    made.state.services = replace(made.state.services, clock=Clock(wall=hand))
    made.state.services.watch.trusted_seconds = -1  # every request looks: nothing here runs the watcher
    yield made
    made.state.services.store.close()


@pytest.fixture
async def client(app):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://nowcast") as made:
        yield made
