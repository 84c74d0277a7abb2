"""Workers that are killed or freeze at any moment: nothing is lost, doubled or half visible, and another takes over.

A few of each; `make soak` kills two hundred (`tests.soak.kills`).
"""

import os
import signal
from pathlib import Path

import pytest

from nowcast.store.leases import CYCLE
from tests.jobs.ends import End
from tests.jobs.mortal import Installation, descendants, kill_many


@pytest.fixture
def place(database_url, tmp_path):
    with Installation(tmp_path, database_url) as made:
        yield made


@pytest.mark.timeout(600)
def test_workers_killed_at_random_points_lose_and_double_nothing(place):
    kill_many(place, 5, seed=7)
    place.start()
    place.wait_for_news()
    assert place.examine() == []


@pytest.mark.timeout(600)
def test_of_two_workers_the_other_takes_over_when_one_is_killed(place):
    for _ in range(2):
        place.start()
    place.wait_for_news()
    place.kill(place.wait(place.holder, "a holder of the lease"))
    place.wait(place.holder, "another holder", seconds=25)  # sooner than the lease would end: it is known to be gone
    place.wait_for_news()
    assert place.examine() == []


def stopped(worker):
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.timeout(600)
def test_a_worker_that_freezes_beyond_its_lease_is_refused_when_it_wakes(database_url, tmp_path):
    with Installation(tmp_path, database_url, lease_seconds=3) as place:
        frozen = place.start(End(5, "publication", signal.SIGSTOP))
        place.wait(lambda: stopped(frozen), "the freeze")
        other = place.start()
        place.wait(lambda: place.holder() is other, "another holder")
        place.wait_for_news()
        os.kill(frozen.pid, signal.SIGCONT)
        place.wait(lambda: "publication refused: lease 'cycle': token 1" in place.told(frozen), "the refusal")
        place.kill(other)
        place.wait_for_news()
        assert place.holder() is frozen, "it stood by and took over again"
        assert place.examine() == []


@pytest.mark.timeout(600)
def test_a_worker_at_work_for_longer_than_its_lease_lasts_keeps_it(database_url, tmp_path):
    with Installation(tmp_path, database_url, lease_seconds=3) as place:
        slow = place.start(End(5, "publication", signal=None, seconds=12))
        place.wait(lambda: "signals itself before" in place.told(slow), "the long pass")
        other = place.start()
        place.wait(lambda: "standing by" in place.told(other), "the other")
        place.wait_for_news()
        assert place.holder() is slow, place.told(slow)
        assert place.store.leases.holder(CYCLE).token == 1
        assert place.examine() == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_that_freezes_in_a_transaction_does_not_keep_its_locks(database_url, tmp_path):
    url = f"{database_url}?options=-c%20idle_in_transaction_session_timeout%3D2s"
    with Installation(tmp_path, url, lease_seconds=3) as place:
        frozen = place.start(End(25, "statement", signal.SIGSTOP))
        place.wait(lambda: stopped(frozen), "the freeze")
        other = place.start()
        place.wait_for_news()
        assert place.holder() is other
        os.kill(frozen.pid, signal.SIGCONT)
        place.wait_for_news()
        assert frozen.exitcode is None, place.told(frozen)
        assert place.examine() == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_told_to_end_in_the_midst_of_a_long_pass_ends_in_order(place):
    long = place.start(End(5, "publication", signal=None))
    place.wait(lambda: "signals itself before" in place.told(long), "the long pass")
    started = descendants(long.pid)
    assert started
    long.terminate()
    long.join(60)
    assert long.exitcode == 0, place.told(long)
    assert "ended in the midst of a pass" in place.told(long)
    assert place.holder() is None
    place.wait(lambda: not any(Path(f"/proc/{p}").exists() for p in started), "the end of its engines and parsers")
    place.start()
    place.wait_for_news()
    assert place.examine() == []
