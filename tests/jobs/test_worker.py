"""What the worker does when its database goes away and comes back, and when there is a bug."""

import psycopg
import pytest

from jobs.worker import tick
from tests.jobs.feeds import BASE, Hand, make_cycle, minutes, write


@pytest.fixture
def cycle(database_url, tmp_path):
    made = make_cycle(database_url, tmp_path / "feed", Hand())
    for age in (5, 0):
        write(tmp_path / "feed", BASE - minutes(age))
    yield made
    made.ladder.close()
    made.store.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_it_lives_through_an_absent_database_and_catches_up(cycle, database_url):
    name = database_url.rsplit("/", 1)[1]
    with psycopg.connect(database_url.replace(name, "postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            assert tick(cycle) is None
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    tick(cycle)
    tick(cycle)
    assert cycle.store.newest("alps").base_time == BASE


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bug_is_not_swallowed(cycle, monkeypatch):
    monkeypatch.setattr(cycle, "_newest", lambda _: {}["bug"])
    with pytest.raises(KeyError):
        tick(cycle)
