"""Regions in work side by side: the same forecasts as one after another, and a bug still stops the pass."""

import threading
import time

import numpy as np
import pytest

from jobs import cycle as cycles
from nowcast.grid import Grid
from nowcast.region import Region
from nowcast.side import Room
from tests.jobs.feeds import BASE, GRID, Hand, make_cycle, minutes, settle, write

REGIONS = [
    Region(
        f"r{k}", f"Region {k}", Grid(GRID.crs, GRID.x0 + 4 * k * GRID.dx, GRID.y0, GRID.dx, GRID.dy, 64, 64), ("cf",)
    )
    for k in range(5)
]


def made_by(folder, at_once, monkeypatch):
    """The rain of each region after one pass, so many regions at once."""
    monkeypatch.setattr(cycles, "AT_ONCE", at_once)
    cycle = make_cycle(f"sqlite:///{folder / f'{at_once}.db'}", folder / "feed", Hand(), REGIONS)
    report = settle(cycle)
    found = {run.region: cycle.store.field(run, "rain_mean") for r in REGIONS if (run := cycle.store.newest(r.name))}
    cycle.close()
    cycle.store.close()
    return list(report.published), found


def test_four_at_once_make_what_one_after_another_makes(tmp_path, monkeypatch):
    for age in (15, 10, 5, 0):
        write(tmp_path / "feed", BASE - minutes(age))
    order, alone = made_by(tmp_path, 1, monkeypatch)
    again, together = made_by(tmp_path, 4, monkeypatch)
    assert order == again == [r.name for r in REGIONS]
    assert all(np.array_equal(alone[name], together[name], equal_nan=True) for name in order)
    assert not np.array_equal(together["r0"], together["r4"], equal_nan=True)


@pytest.fixture
def cycle(tmp_path, monkeypatch):
    monkeypatch.setattr(cycles, "AT_ONCE", 2)
    for age in (5, 0):
        write(tmp_path / "feed", BASE - minutes(age))
    made = make_cycle(f"sqlite:///{tmp_path / 'nowcast.db'}", tmp_path / "feed", Hand(), REGIONS)
    yield made
    made.close()
    made.store.close()


def test_one_is_prepared_while_another_is_forecast(cycle, monkeypatch):
    both = threading.Barrier(2, timeout=30)  # broken unless two regions are in work
    usual = cycles.forecast

    def met(frames, region, *rest):
        if region.name in ("r0", "r1"):
            both.wait()
        return usual(frames, region, *rest)

    monkeypatch.setattr(cycles, "forecast", met)
    assert len(settle(cycle).published) == len(REGIONS)


def test_a_bug_in_one_region_stops_the_pass(cycle, monkeypatch):
    begun = []

    def broken(frames, region, *rest):
        begun.append(region.name)
        time.sleep(0.2)
        raise ZeroDivisionError

    monkeypatch.setattr(cycles, "forecast", broken)
    with pytest.raises(ZeroDivisionError):
        settle(cycle)
    assert len(begun) < len(REGIONS), "no further region is begun"
    assert cycle.store.newest("r0") is None


def test_no_more_cells_are_in_work_than_there_is_room_for():
    room, inside, most = Room(10), [0], [0]

    def work(wanted):
        with room.taken(wanted):
            inside[0] += min(wanted, 10)
            most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            inside[0] -= min(wanted, 10)

    threads = [threading.Thread(target=work, args=(size,)) for size in (4, 4, 4, 25, 4, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (inside[0], most[0] <= 10) == (0, True)
