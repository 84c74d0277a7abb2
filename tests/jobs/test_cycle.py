"""The cycle, with real files, the real engine and real databases; only the time is in our hands."""

from dataclasses import replace

import numpy as np
import pytest

from jobs import cycle as cycles
from jobs.forecaster import forecast
from jobs.leader import Leader
from nowcast.errors import LeaseLost
from nowcast.region import Region
from nowcast.scores import csi
from tests.jobs.feeds import BASE, GRID, OTHER, Hand, make_cycle, minutes, rain_at, settle, write


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def feed(tmp_path):
    return tmp_path / "feed"


@pytest.fixture
def cycle(database_url, feed, hand):
    made = make_cycle(database_url, feed, hand)
    yield made
    made.ladder.close()
    made.store.close()


def test_four_frames_become_one_published_run(cycle, feed):
    for age in (15, 10, 5, 0):
        write(feed, BASE - minutes(age))
    assert settle(cycle).published == {"alps": BASE}
    assert cycle.run().unchanged == ["alps"]
    run = cycle.store.newest("alps")
    assert (run.base_time, run.rung, run.model, run.flags) == (BASE, "openvino", "advection", ())
    assert len(run.frames) == 4
    assert set(run.stages) == {"read", "stack", "motion", "noise", "engine", "products"}
    rain = cycle.store.field(run, "rain_mean")
    assert rain.shape == (24, *GRID.shape)
    truth = rain_at(BASE + minutes(15))
    assert csi(rain[2], truth, 1) > 0.8 > csi(rain_at(BASE), truth, 1)
    assert np.isnan(rain[:, :4]).all(), "what no radar sees is not forecast"


def test_the_plan_is_checked_and_recorded_before_it_serves(cycle, feed):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    checks = cycle.store.checks()
    assert {c.product for c in checks} == {"rain_mean", "coverage"}
    assert all(c.passed for c in checks)
    assert [p.digest for p in cycle.store.plans()] == [cycle.store.newest("alps").plan]


def test_each_new_frame_makes_a_new_run_and_none_twice(cycle, feed, hand):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    hand.time = BASE + minutes(6)
    write(feed, BASE + minutes(5))
    settle(cycle)
    settle(cycle)
    assert [r.base_time for r in cycle.store.runs("alps")] == [BASE + minutes(5), BASE]


def test_a_pass_that_slept_while_another_worker_published_publishes_nothing_older(cycle, feed, hand, monkeypatch):
    def seconds():
        return hand.time.timestamp()

    cycle.leader = Leader(cycle.store, cycle.clock, monotonic=seconds)
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    first, newer = cycle.store.newest("alps"), BASE + minutes(10)
    other = Leader(cycle.store, cycle.clock, "other", monotonic=seconds)

    def slept(*arguments):
        hand.time += minutes(1)
        lease = other.hold()
        cycle.store.publish(replace(first, base_time=newer, slot=newer), cycle.store.fields(first), lease)
        other.release()
        return forecast(*arguments)

    monkeypatch.setattr(cycles, "forecast", slept)
    hand.time = BASE + minutes(6)
    write(feed, BASE + minutes(5))
    with pytest.raises(LeaseLost, match="since this pass began"):
        settle(cycle)
    assert [r.base_time for r in cycle.store.runs("alps")] == [newer, BASE]
    assert settle(cycle).unchanged == ["alps"]


def test_of_two_frames_within_a_minute_of_a_time_the_nearer_is_used(cycle, feed):
    for age in (10, 5, 4, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    times = {frame.digest: frame.valid_time for frame in cycle.store.frames("cf")}
    used = [times[digest] for digest in cycle.store.newest("alps").frames]
    assert used == [BASE - minutes(age) for age in (10, 5, 0)]


def test_a_gap_is_flagged_and_filled_when_the_frame_comes_late(cycle, feed):
    for age in (15, 5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    assert cycle.store.newest("alps").flags == ("frames-missing",)
    write(feed, BASE - minutes(10))
    settle(cycle)
    assert cycle.store.newest("alps").flags == ("out-of-order",)
    assert len(cycle.store.runs("alps")) == 1


def test_a_late_run_says_so_and_a_very_late_one_is_refused(cycle, feed, hand):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    hand.time = BASE + minutes(12)
    settle(cycle)
    assert "late" in cycle.store.newest("alps").flags
    hand.time = BASE + minutes(45)
    assert "is 45 min old, over 30" in cycle.run().failed["alps"]


def test_between_twenty_and_thirty_minutes_it_is_only_extrapolated(cycle, feed, hand):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    hand.time = BASE + minutes(25)
    settle(cycle)
    run = cycle.store.newest("alps")
    assert "very-late" in run.flags
    assert run.model == "advection"


def test_a_stuck_picture_is_flagged_and_then_refused(cycle, feed, hand):
    stuck = rain_at(BASE)
    for age in (20, 15, 10):
        write(feed, BASE - minutes(age))
    write(feed, BASE - minutes(5), rate=stuck)
    write(feed, BASE, rate=stuck)
    settle(cycle)
    assert "stuck" in cycle.store.newest("alps").flags
    hand.time = BASE + minutes(6)
    third = write(feed, BASE + minutes(5), rate=stuck)
    settle(cycle)
    assert "the same pixels in 3 frames" in cycle.feed.refused[third][1]
    assert cycle.store.newest("alps").base_time == BASE
    assert cycle.feed.states["cf", "stuck"] == 2


def test_another_grid_is_refused_even_after_a_restart(cycle, feed, database_url, hand):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    again = make_cycle(database_url, feed, hand)
    other = write(feed, BASE + minutes(5), grid=OTHER)
    hand.time = BASE + minutes(6)
    settle(again)
    assert "is not the one it had before" in again.feed.refused[other][1]
    again.store.close()


def test_satellite_rain_fills_what_no_radar_sees_and_says_so(database_url, feed, hand):
    region = Region("alps", "Alps", GRID, ("cf", "simulated-sat"))
    cycle = make_cycle(database_url, feed, hand, [region])
    hole = (slice(None), slice(50, 90))
    for age in (15, 10, 5, 0):
        rate = rain_at(BASE - minutes(age))
        whole = np.nan_to_num(rate)
        rate[hole] = np.nan
        write(feed, BASE - minutes(age), rate=rate)
    write(feed, BASE, name="simulated-sat_x.nc", rate=1.5 * whole, source="simulated-sat")
    settle(cycle)
    run = cycle.store.newest("alps")
    assert set(run.products) == {"rain_mean", "rain_source"}
    rain, source = cycle.store.field(run, "rain_mean"), cycle.store.field(run, "rain_source")
    assert np.isfinite(rain[0][hole]).mean() > 0.9
    assert np.nanmedian(source[0][hole]) == 2
    assert np.nanmedian(source[0][10:, 10:40]) == 1
    assert np.isnan(source[np.isnan(rain)]).all()
    (seen,) = cycle.store.observations.between("alps", BASE, BASE)
    assert np.isnan(cycle.store.observations.field(seen)[hole]).all(), "what a radar did not see was not observed"
    cycle.store.close()


def test_an_old_file_that_comes_last_does_not_move_the_base_time_back(cycle, feed):
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    write(feed, BASE - minutes(25))
    settle(cycle)
    assert cycle.store.newest("alps").base_time == BASE


@pytest.mark.parametrize("spoil", ["truncated", "empty", "text", "future"])
def test_a_bad_file_is_refused_and_the_forecast_goes_on(cycle, feed, spoil):
    for age in (10, 5):
        write(feed, BASE - minutes(age))
    path = write(feed, BASE if spoil != "future" else BASE + minutes(30), name="new.nc")
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "text": b"no rain"}.get(spoil, data))
    settle(cycle)
    assert path in cycle.feed.refused
    assert str(path) in cycle.feed.refused[path][1]
    assert cycle.store.newest("alps").base_time == BASE - minutes(5)
    assert len(cycle.store.frames("cf")) == 2


def test_a_refused_file_is_read_again_once_it_is_whole(cycle, feed):
    write(feed, BASE - minutes(5))
    path = write(feed, BASE)
    data = path.read_bytes()
    path.write_bytes(data[:1000])
    settle(cycle)
    assert cycle.store.newest("alps") is None
    path.write_bytes(data)
    settle(cycle)
    assert cycle.store.newest("alps").base_time == BASE


def test_one_region_without_frames_does_not_stop_the_other(database_url, feed, hand):
    regions = [Region("sea", "Sea", OTHER, ("knmi",)), Region("alps", "Alps", GRID, ("cf",))]
    cycle = make_cycle(database_url, feed, hand, regions)
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    cycle.run()
    report = cycle.run()
    assert list(report.failed) == ["sea"]
    assert cycle.store.newest("alps") is not None
    cycle.store.close()


def test_a_frame_that_covers_nothing_of_the_region_is_not_seen_rather_than_dry(database_url, feed, hand):
    cycle = make_cycle(database_url, feed, hand, [Region("sea", "Sea", OTHER, ("cf",))])
    for age in (5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    run = cycle.store.newest("sea")
    assert np.isnan(cycle.store.field(run, "rain_mean")).all()
    cycle.store.close()


def test_a_dry_scene_is_a_valid_forecast_of_no_rain(cycle, feed):
    for age in (10, 5, 0):
        write(feed, BASE - minutes(age), rate=np.zeros(GRID.shape, np.float32))
    settle(cycle)
    rain = cycle.store.field(cycle.store.newest("alps"), "rain_mean")
    assert not rain.any()


def test_the_same_frames_give_the_same_bytes(cycle, feed, database_url, hand, tmp_path):
    for age in (15, 10, 5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    again = make_cycle(f"sqlite:///{tmp_path / 'again.db'}", feed, hand)
    settle(again)
    first, second = (c.store.field(c.store.newest("alps"), "rain_mean") for c in (cycle, again))
    assert np.array_equal(first, second, equal_nan=True)
    again.store.close()


def test_the_same_file_again_is_ignored_and_other_bytes_are_a_revision(cycle, feed):
    for age in (15, 10, 5, 0):
        write(feed, BASE - minutes(age))
    settle(cycle)
    first = cycle.store.newest("alps")
    (feed / "cf" / "again.nc").write_bytes((feed / "cf" / f"{BASE:%Y%m%dT%H%M}.nc").read_bytes())
    settle(cycle)
    assert cycle.store.newest("alps").id == first.id
    assert cycle.feed.states["cf", "duplicate"] == 1
    write(feed, BASE, name="better.nc", rate=rain_at(BASE) * np.float32(1.1))
    settle(cycle)
    run = cycle.store.newest("alps")
    assert run.id != first.id
    assert "revision" in run.flags
    assert len(cycle.store.runs("alps")) == 1
    slots = cycle.store.slots.between(["alps"], run.slot, run.slot)
    assert [s.state for s in slots] == ["published"]
