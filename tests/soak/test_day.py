"""A simulated day in the life of the worker, with all that goes wrong in a month; `make soak` lives the month."""

import pytest

from tests.soak.month import live, somewhere


@pytest.mark.timeout(600)
def test_a_day_of_operation():
    with somewhere() as folder:
        lived = live(folder, days=1)
    assert lived["promises_broken"] == []
    assert lived["bad_canaries"]["rolled_back"] == 1
    assert 0 < lived["bad_canaries"]["runs_served_in_the_last_days"] < 48, "it did serve its region, for a while"
    assert lived["kills"]["all"] >= 1
    assert lived["what_happened"]["outage"] == 72
    assert lived["slots"]["refused"] >= 60
    assert lived["slots"]["published"] >= 300
    assert sum(lived["slots"].values()) == 2 * 287, "every slot but the last, which goes on"
