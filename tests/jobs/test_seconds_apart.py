"""Radars that look seconds apart serve one time: one run, one observation, whichever comes first."""

from datetime import timedelta

import pytest

from nowcast.region import Region
from tests.jobs.feeds import BASE, GRID, Hand, make_cycle, minutes, settle, write

LATE = timedelta(seconds=12)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("late_first", [False, True])
def test_radars_seconds_apart_serve_one_time(database_url, tmp_path, late_first):
    feed, hand = tmp_path / "feed", Hand()
    region = Region("alps", "Alps", GRID, ("cf", "simulated"))
    cycle = make_cycle(database_url, feed, hand, [region])
    for step in range(4):
        time = BASE + minutes(5 * (step - 3))
        hand.time = time + timedelta(seconds=60)
        pair = [("cf", time), ("simulated", time + LATE)]
        for source, at in reversed(pair) if late_first else pair:
            write(feed, at, f"{source}_{at:%H%M%S}.nc", source=source)
            settle(cycle)
            assert cycle.run().published == {}, "nothing is done twice"
    times = [BASE - minutes(5), BASE]
    assert sorted(run.base_time for run in cycle.store.runs("alps", 9))[-2:] == times
    assert len(cycle.store.runs("alps", 9)) <= 3
    seen = cycle.store.observations.between("alps", BASE - minutes(30), BASE + minutes(5))
    assert [o.valid_time for o in seen] == [BASE + minutes(5 * (k - 3)) for k in range(4)]
    cycle.close()
    cycle.store.close()
