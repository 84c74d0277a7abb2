"""The lease: one holder, a token that only grows, a late one refused; the same on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from nowcast.errors import LeaseLost
from nowcast.store.leases import LASTS
from nowcast.store.store import Store
from tests.nowcast.stored import T0, fields, marks, region, run

SOON = LASTS / 2


@pytest.fixture
def store(store):
    store.put_regions([region()])
    return store


def test_one_holds_it_until_it_ends(store):
    first = store.leases.take("cycle", "a", T0)
    assert store.leases.take("cycle", "b", T0 + SOON) is None
    again = store.leases.take("cycle", "a", T0 + SOON)
    assert (again.token, again.expires_at) == (first.token, T0 + SOON + LASTS)
    second = store.leases.take("cycle", "b", T0 + SOON + LASTS + SOON)
    assert second.token == first.token + 1
    assert store.leases.take("cycle", "a", T0 + 3 * LASTS - SOON) is None


def test_given_back_it_need_not_be_waited_for(store):
    lease = store.leases.take("cycle", "a", T0)
    store.leases.release(lease)
    assert store.leases.take("cycle", "b", T0 + timedelta(seconds=1)).token == lease.token + 1


def test_a_holder_that_has_ended_need_not_be_waited_for(store):
    lease = store.leases.take("cycle", "a", T0)
    assert store.leases.take("cycle", "b", T0, gone="c") is None
    assert store.leases.take("cycle", "b", T0, gone="a").token == lease.token + 1


def test_one_that_was_given_by_a_clock_set_back_since_has_ended(store):
    store.leases.take("cycle", "a", T0 + timedelta(hours=1))
    assert store.leases.take("cycle", "b", T0) is not None


def test_a_late_holder_publishes_nothing(store):
    late = store.leases.take("cycle", "a", T0)
    now = store.leases.take("cycle", "b", T0 + 2 * LASTS)
    store.publish(run(mark=2), fields(2), now)
    with pytest.raises(LeaseLost, match="has been followed by"):
        store.publish(run(mark=1), fields(1), late)
    found = store.newest("alps")
    assert marks(store.fields(found)) == {2}
    assert len(store.runs("alps")) == 1


def test_of_many_that_ask_at_once_one_gets_it(store, database_url):
    stores = [Store.open(database_url) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda pair: pair[1].leases.take("cycle", f"w{pair[0]}", T0), enumerate(stores)))
    assert sum(lease is not None for lease in taken) == 1
    for other in stores:
        other.close()
