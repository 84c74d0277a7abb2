"""What the worker does when its database goes away and comes back, when there is a bug, and while it ends."""

import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from jobs.worker import add_look, tick
from nowcast.config import Settings
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


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_pass_begins_once_the_worker_has_ended(cycle):
    scheduler, busy, pool = BackgroundScheduler(timezone=UTC), threading.Event(), ThreadPoolExecutor(1)
    scheduler.add_executor(pool)
    scheduler.add_job(busy.wait, "interval", hours=1, next_run_time=datetime.now(UTC))  # has the only thread
    guard = add_look(scheduler, cycle, None, Settings())
    scheduler.start()
    time.sleep(0.3)  # the look is due, and has no thread yet
    guard.stop()
    scheduler.shutdown(wait=False)
    assert guard.wait(1)
    busy.set()
    pool.shutdown()
    assert cycle.metrics.registry.get_sample_value("nowcast_holds_lease") == 0
    guard.start_now()  # an arrival that a feed tells of late
