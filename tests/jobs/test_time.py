"""Clock jumps, daylight saving, hanging passes: the worker looks on time, and no slot is lost or served twice."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval
import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from jobs.account import Account
from jobs.deadline import Deadline
from jobs.guard import HUNG, Guard
from jobs.steady import ADOPTED_AFTER, SteadyClock
from nowcast.clock import Clock, floor
from nowcast.errors import TooSlow
from tests.jobs.feeds import BASE, Hand, make_cycle, minutes, rain_at, settle, write
from tests.jobs.test_oneshot import ROOT


class Machine:
    """A machine's clocks: one that anybody sets, one that only passes."""

    def __init__(self, start=BASE):
        self.shown, self.passed, self.jumps = start, 100.0, 0

    def pass_(self, **span):
        span = timedelta(**span)
        self.shown += span
        self.passed += span.total_seconds()

    def steady(self):
        return SteadyClock(lambda: self.shown, lambda: self.passed, self.jumped)

    def jumped(self):
        self.jumps += 1


@pytest.mark.parametrize("hours", [1, -1])
def test_a_jump_is_told_once_and_not_followed(hours):
    machine = Machine()
    clock = machine.steady()
    assert clock() == BASE
    machine.shown += timedelta(hours=hours)
    for minute in range(1, 60):
        machine.pass_(minutes=1)
        assert clock() == BASE + minutes(minute)
    assert machine.jumps == 1
    machine.shown -= timedelta(hours=hours)
    machine.pass_(minutes=1)
    assert clock() == BASE + minutes(60)


def test_small_corrections_are_followed():
    machine = Machine()
    clock = machine.steady()
    clock()
    machine.shown += timedelta(seconds=20)
    assert clock() == machine.shown
    assert machine.jumps == 0


def test_a_jump_that_stands_for_hours_was_a_correction():
    machine = Machine()
    clock = machine.steady()
    clock()
    machine.shown += timedelta(days=2)
    clock()
    machine.pass_(seconds=ADOPTED_AFTER.total_seconds() + 1)
    clock()
    assert clock() == machine.shown


@pytest.mark.parametrize("hours", [1, -1])
def test_runs_go_on_through_a_jump_of_the_clock(hours, tmp_path):
    machine = Machine()
    cycle = make_cycle(f"sqlite:///{tmp_path / 'n.db'}", tmp_path / "feed", Hand())
    cycle.clock = Clock(wall=machine.steady())
    for k in range(6):
        if k == 3:
            machine.shown += timedelta(hours=hours)
        write(tmp_path / "feed", BASE + minutes(5 * k))
        settle(cycle)
        machine.pass_(minutes=5)
    times = [r.published_at for r in reversed(cycle.store.runs("alps"))]
    assert [r.base_time for r in reversed(cycle.store.runs("alps"))] == [BASE + minutes(5 * k) for k in range(1, 6)]
    assert all(b - a <= minutes(6) for a, b in pairwise(times))
    cycle.ladder.close()
    cycle.store.close()


@pytest.mark.parametrize("day", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_slots_are_five_minutes_apart_through_the_change_to_and_from_daylight_saving(day):
    zone = ZoneInfo("Europe/Amsterdam")
    slots = [floor((day + minutes(k)).astimezone(zone).astimezone(UTC)) for k in range(0, 24 * 60, 5)]
    assert [s.astimezone(UTC) for s in slots] == [day + minutes(k) for k in range(0, 24 * 60, 5)]


@pytest.mark.parametrize("hours", [1, -1])
def test_the_scheduler_is_asked_again_when_the_clock_was_set(hours, monkeypatch):
    offset = [timedelta(0)]

    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + offset[0]

    for module in (apscheduler.executors.base, apscheduler.schedulers.base, apscheduler.triggers.interval):
        monkeypatch.setattr(module, "datetime", Jumping)
    looks = []
    scheduler = BackgroundScheduler(timezone=UTC)

    def look():
        with guard:
            looks.append(offset[0])

    job = scheduler.add_job(look, "interval", seconds=0.3, coalesce=True, max_instances=1, misfire_grace_time=240)
    guard = Guard(lambda: job.modify(next_run_time=Jumping.now(UTC)), 0.3)
    scheduler.start()
    guard.start()
    try:
        wait_until(lambda: len(looks) >= 2)
        offset[0] = timedelta(hours=hours)
        wait_until(lambda: sum(o == offset[0] for o in looks) >= 3)
        before = len(looks)
        wait_until(lambda: len(looks) > before + 2)
    finally:
        guard.stop()
        scheduler.shutdown()
    assert len(looks) < 60, "it does not spin"


def wait_until(condition, seconds=10.0):
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_file_that_arrives_makes_the_look_due_at_once_and_again_when_it_has_settled(tmp_path):
    now, starts = [0.0], []
    guard = Guard(lambda: starts.append(now[0]), 1000, lambda: [tmp_path], settle=1.0, monotonic=lambda: now[0])
    guard._ended = 0.0
    guard.look()
    starts.clear()
    guard._again = float("inf")
    for tick in range(1, 8):
        now[0] = tick / 2
        if tick == 2:
            (tmp_path / "new.nc").touch()
        guard.look()
    assert starts == [1.0, 2.0]


def test_a_pass_that_hangs_ends_the_process():
    code = (
        "import time\nfrom jobs.guard import Guard\n"
        "guard = Guard(lambda: None, 1, limit=0.3)\nguard.start()\n"
        "with guard:\n    time.sleep(30)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == HUNG
    assert "the cycle hangs" in done.stdout + done.stderr


def test_a_region_beyond_its_deadline_gives_way():
    now = [0.0]
    stages = Deadline(region="alps", limit=30, monotonic=lambda: now[0])
    with stages("motion"):
        now[0] += 4
    assert stages.over == ["motion"]
    with pytest.raises(TooSlow, match=r"region alps: 31\.0 s after stage 'engine'"), stages("engine"):
        now[0] += 27
    with stages("publish"):
        now[0] += 1


def test_after_six_hours_without_files_only_the_newest_is_forecast_and_every_slot_is_told_of(database_url, tmp_path):
    hand = Hand()
    cycle = make_cycle(database_url, tmp_path / "feed", hand)
    account = Account(cycle.store, hand.time)
    for k in (0, 1):
        write(tmp_path / "feed", BASE + minutes(5 * k))
    hand.time = BASE + minutes(6)
    settle(cycle)
    for k in range(7, 366):
        hand.time = BASE + minutes(k)
        cycle.run()
        account.close(cycle.regions, hand.time)
    late = [BASE + minutes(5 * k) for k in range(2, 74)]
    for time in late:
        write(tmp_path / "feed", time)
    hand.time = BASE + minutes(366)
    settle(cycle)
    account.close(cycle.regions, hand.time)
    assert [r.base_time for r in cycle.store.runs("alps")] == [late[-1], BASE + minutes(5)]
    assert cycle.metrics.registry.get_sample_value("nowcast_slots_skipped_total", {"region": "alps"}) == 71
    slots = cycle.store.slots.between(["alps"], BASE + minutes(5), BASE + minutes(365))
    assert [s.state for s in slots] == ["published"] + ["refused"] * 71 + ["degraded"], "the first has but two frames"
    assert "no new frame of cf came" in slots[-2].reason
    assert "over 30; check the feed" in slots[10].reason
    cycle.ladder.close()
    cycle.store.close()


def test_a_run_that_is_made_again_in_a_later_slot_leaves_no_slot_without_an_account(tmp_path):
    hand = Hand()
    cycle = make_cycle(f"sqlite:///{tmp_path / 'n.db'}", tmp_path / "feed", hand)
    account = Account(cycle.store, hand.time)
    for k in (-1, 0):
        write(tmp_path / "feed", BASE + minutes(5 * k))
    settle(cycle)
    hand.time = BASE + minutes(6)
    account.close(cycle.regions, hand.time)
    write(tmp_path / "feed", BASE, name="revised.nc", rate=rain_at(BASE) * 2)
    settle(cycle)
    assert cycle.store.newest("alps").published_at == hand.time
    hand.time = BASE + minutes(11)
    account.close(cycle.regions, hand.time)
    slots = cycle.store.slots.between(["alps"], BASE, BASE + minutes(10))
    assert [(s.slot, s.state) for s in slots] == [(BASE + minutes(5), "refused"), (BASE, "degraded")]
    cycle.ladder.close()
    cycle.store.close()


def test_the_region_with_the_newest_frame_goes_first(tmp_path):
    from nowcast.region import Region
    from tests.jobs.feeds import GRID

    regions = [Region("old", "Old", GRID, ("knmi",)), Region("new", "New", GRID, ("cf",))]
    cycle = make_cycle(f"sqlite:///{tmp_path / 'n.db'}", tmp_path / "feed", Hand(), regions)
    for source, newest in (("knmi", 10), ("cf", 0)):
        for age in (5, 0):
            time = BASE - minutes(newest + age)
            path = write(tmp_path / "feed", time, source=source)
            from nowcast.run import FrameRecord
            from nowcast.sources import digest_of

            cycle.store.add_frame(FrameRecord(source, time, digest_of(path), str(path), BASE))
    from jobs.cycle import Report

    assert [region.name for region, _ in cycle._newest_first(Report())] == ["new", "old"]
    cycle.store.close()
