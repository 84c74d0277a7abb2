"""What is done after the regions have been served: shadows come last, and have their time."""

from types import SimpleNamespace

import pytest

from jobs import after
from jobs.drive import Drive
from nowcast.config import Settings
from nowcast.region import Region, Regions
from tests.jobs.feeds import BASE, GRID, minutes, write


@pytest.fixture
def drive(tmp_path):
    settings = Settings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path / 'nowcast.db'}", engine_threads=1)
    opened = Drive.open(settings, Regions({"alps": Region("alps", "Alps", GRID, ("cf",), "edge", margin=8)}), BASE)
    yield opened
    opened.close()


def publish(drive, count):
    for k in range(count):
        time = BASE + minutes(5 * k)
        drive.deliver(write(drive.cycle.feed.folder, time), "cf", time)
        drive.look(time + minutes(0.5))
    return drive.cycle.store.newest("alps")


def test_without_time_for_shadows_all_else_is_done(drive, monkeypatch):
    monkeypatch.setattr(after, "SHADOW_SECONDS", -1.0)
    store, run = drive.cycle.store, publish(drive, 6)
    assert run.base_time == BASE + minutes(25)
    assert not store.trials.models("alps", run.base_time)
    assert {score.made_by for score in store.scores("alps", 1000)} >= {run.model}


def test_shadows_run_after_the_judge_has_looked(drive, monkeypatch):
    order = []
    judge, shadows = drive.after.judge.watch, drive.after.shadows.run
    monkeypatch.setattr(drive.after.judge, "watch", lambda *a: order.append("judge") or judge(*a))
    monkeypatch.setattr(drive.after.shadows, "run", lambda *a: order.append("shadows") or shadows(*a))
    run = publish(drive, 4)
    assert order[:2] == ["judge", "shadows"]
    assert "advection" in drive.cycle.store.trials.models("alps", run.base_time)


def test_each_region_is_the_first_in_turn(drive, monkeypatch):
    firsts = []
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(after, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(drive.after.shadows, "run", lambda region, *_: firsts.append(region.name))
    made = [SimpleNamespace(region=SimpleNamespace(name=name), run=None, frames=()) for name in "abc"]
    for _ in range(3):
        drive.after._beside(made, BASE)
    assert firsts == ["b", "c", "a"]  # 20 s each: after the first there is no time for another but the next turn's
