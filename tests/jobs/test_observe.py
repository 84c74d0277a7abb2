"""The cycle keeps what was seen, and says why a slot got no run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from jobs.worker import open_cycle, tick
from nowcast.clock import STEP, floor
from nowcast.config import Settings
from nowcast.grid import Grid
from nowcast.region import Region, Regions
from nowcast.regrid import regrid
from nowcast.run import RegionRecord
from nowcast.store.database import upgrade


@pytest.fixture
def cycle(tmp_path):
    settings = Settings(data_dir=tmp_path, engine_threads=1)
    upgrade(settings.url)
    cycle = open_cycle(settings)
    small = Grid("EPSG:28992", 60500.0, 480500.0, 1000.0, 1000.0, 64, 96)
    cycle.regions = Regions({"lowlands": Region("lowlands", "Low", small, ("simulated",))})
    cycle.store.put_regions([RegionRecord("lowlands", "Low", small, ("simulated",), "advection")])
    cycle.wall = datetime(2026, 3, 1, 12, 2, tzinfo=UTC)
    cycle.clock = replace(cycle.clock, wall=lambda: cycle.wall)
    yield cycle
    cycle.close()
    cycle.store.close()


def test_each_frame_of_a_stack_is_kept_on_the_regions_grid(cycle):
    base = tick(cycle).published["lowlands"]
    store, region = cycle.store, cycle.regions["lowlands"]
    seen = store.observations.between("lowlands", base - timedelta(hours=3), base)
    assert [o.valid_time for o in seen] == [base - 3 * STEP, base - 2 * STEP, base - STEP, base]
    assert {o.grid_digest for o in seen} == {region.grid.digest}
    newest = store.frames("simulated", limit=1)[0]
    want = regrid(cycle.feed.cache.get(newest), region.grid)
    np.testing.assert_allclose(store.observations.field(seen[-1]), want, atol=0.0101)
    ids = [o.id for o in seen]
    cycle.wall += STEP
    assert tick(cycle).published == {"lowlands": base + STEP}
    again = store.observations.between("lowlands", base - timedelta(hours=3), base + STEP)
    assert [o.id for o in again][:4] == ids
    assert len(again) == 5


def test_a_slot_without_frames_is_refused_with_its_reason(cycle):
    cycle.run()  # nothing has been written yet
    cycle.run()
    slots = cycle.store.slots.between(["lowlands"], cycle.wall - timedelta(hours=1), cycle.wall)
    assert [(s.slot, s.state) for s in slots] == [(floor(cycle.wall), "refused")]
    assert "check the feed" in slots[0].reason
    assert tick(cycle).published
    slots = cycle.store.slots.between(["lowlands"], cycle.wall - timedelta(hours=1), cycle.wall)
    assert [s.state for s in slots] == ["degraded" if cycle.store.newest("lowlands").flags else "published"]


def test_the_demonstration_regions_hold_their_places():
    from nowcast.region import read_regions

    for region in read_regions(None):
        assert len(region.places) >= 15
        for place in region.places:
            region.grid.cell(place.lat, place.lon)
