"""Retention, backup and restore, under readers and writers."""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Event

import numpy as np
import psycopg
import pytest
from structlog.testing import capture_logs

from jobs.backup import backup, restore
from jobs.keep import Keeper, Keeps
from nowcast.errors import ConfigError, LeaseLost, NoRun, StoreError
from nowcast.ingest import FrameCache, Intake
from nowcast.run import Observation, ScoreRecord
from nowcast.store import retention
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.nowcast.stored import SHAPE, STEP, T0, fields, marks, region, run
from tests.nowcast.test_store_concurrent import assert_sound

DAY = timedelta(days=1)


@pytest.fixture
def store(store):
    store.put_regions(map(region, ("alps", "lowlands", "coast")))
    return store


def publish(store, days, each=6, name="alps", start=T0):
    for k in range(days * each):
        store.publish(run(name, start + k * DAY / each, k % 100 + 1), fields(k % 100 + 1))


def noisy():
    """Fields that do not compress to nothing."""
    rng = np.random.default_rng(1)
    made = {name: values * rng.random(values.shape).astype(np.float32) for name, values in fields(100).items()}
    for values in made.values():
        values[:] = np.clip(values, 0.01, None)
    return made


def checkpoint(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def read_all(url, done):
    """Read what there is, over and over: whole, or gone and said so; return the longest read in seconds."""
    import time

    store, longest, count = Store.open(url), 0.0, 0
    while not done.is_set():
        for found in store.runs(limit=200):
            began = time.monotonic()
            try:
                assert marks(store.fields(found)) == {int(found.stages["mark"])}
                count += 1
            except NoRun:
                pass
            longest = max(longest, time.monotonic() - began)
        assert store.newest("alps") is not None
    store.close()
    return longest, count


def test_old_runs_go_while_others_read_and_write(store, database_url):
    publish(store, 6)
    store.publish(run("coast", T0 - 30 * DAY, 7), fields(7))  # its feed has been silent since
    done = Event()
    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(read_all, database_url, done)
        try:
            gone = store.retention.prune(T0 + 4 * DAY)
            publish(store, 1, start=T0 + 6 * DAY)
        finally:
            done.set()
        longest, count = reader.result()
    assert count > 0
    assert longest < 5
    assert gone.runs >= 23
    times = [r.base_time for r in store.runs("alps", limit=100)]
    assert min(times) == T0 + 4 * DAY
    assert store.newest("coast").base_time == T0 - 30 * DAY, "the newest of a region stays"
    assert marks(store.fields(store.newest("coast"))) == {7}
    assert_sound(store)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_whole_days_are_dropped_and_an_interrupted_drop_is_finished(store):
    publish(store, 3)
    with store._db.engine.connect() as connection:
        days = connection.exec_driver_sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'chunks'::regclass")
        assert days.scalar() == 4
    gone = store.retention.prune(T0 + 2 * DAY)
    assert gone.days == 2
    assert store.retention.prune(T0 + 2 * DAY).days == 0
    assert_sound(store)


HELD = (
    "LOCK TABLE chunks IN ACCESS SHARE MODE",  # as `pg_dump` does, of a table at a time
    "LOCK TABLE runs IN ACCESS SHARE MODE",  # the detached day still refers to it
)


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_dump_delays_retention_and_nothing_else(store, database_url, held, monkeypatch):
    monkeypatch.setattr(retention, "_PATIENCE", "SET statement_timeout = '500ms'")
    publish(store, 3)
    with psycopg.connect(database_url) as dump:
        dump.execute("SET idle_in_transaction_session_timeout = '20s'")
        dump.execute(held)
        for k in range(2):
            with pytest.raises(StoreError, match=r"canceling statement.*pg_dump"):
                store.retention.prune(T0 + 2 * DAY)
            start = T0 + (8 + 3 * k) * DAY  # a day that has no partition yet
            publish(store, 2, start=start)
            assert store.newest("alps").base_time > start
            assert marks(store.fields(store.newest("alps"))) == {12}
    assert store.retention.prune(T0 + 2 * DAY).days > 0
    with psycopg.connect(database_url) as connection:
        left = connection.execute("SELECT relname FROM pg_class WHERE relname ~ '^chunks_[0-9]+$' ORDER BY 1 LIMIT 1")
        assert left.fetchone() == ("chunks_20260303",)
        assert connection.execute("SELECT 1 FROM pg_inherits WHERE inhdetachpending").fetchone() is None
    with store._db.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
    assert_sound(store)


def test_the_size_cap_takes_the_oldest(store):
    for k in range(24):
        store.publish(run(base_time=T0 + k * DAY / 6), noisy())
    cap = store.retention.size() // 2 if store._db.dialect == "sqlite" else 1
    store.retention.prune(T0 - 30 * DAY, most_bytes=cap)
    left = [r.base_time for r in store.runs("alps", limit=100)]
    assert left
    assert left[0] == T0 + 4 * DAY - DAY / 6
    if store._db.dialect == "sqlite":
        assert store.retention.size() <= cap
        assert len(left) > 4


def observe(store, time):
    values = np.random.default_rng(int(time.timestamp())).random(SHAPE[1:]).astype(np.float32) * 50
    store.observations.put(Observation("alps", time, "simulated", "d" * 64, "g" * 64), values)


def test_the_size_cap_takes_the_oldest_of_runs_and_observations(store):
    empty = store.retention.size()
    for k in range(24):
        observe(store, T0 - 20 * DAY + k * DAY)  # up to 3 days after the first run
    for k in range(6):
        store.publish(run(base_time=T0 + k * DAY), fields())
    cap = empty + (store.retention.size() - empty) * 2 // 3
    gone = store.retention.prune(T0 - 30 * DAY, most_bytes=cap)
    assert gone.runs == 0
    assert 0 < gone.observations < 20
    assert store.retention.size() <= cap
    assert store.observations.at("alps", T0 + 3 * DAY) is not None
    assert store.retention.prune(T0 - 30 * DAY, most_bytes=cap).observations == 0, "the next one finds it in order"


def test_a_size_cap_that_cannot_be_held_is_told(store):
    observe(store, T0)
    store.publish(run(), fields())
    with capture_logs() as logs:
        assert store.retention.prune(T0 - DAY, most_bytes=1).observations == 1
    assert [line["event"] for line in logs] == ["size-cap-exceeded"]
    assert store.newest("alps") is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_file_shrinks(store, database_url):
    path = Path(database_url.removeprefix("sqlite:///"))
    for k in range(40):
        store.publish(run(base_time=T0 + k * STEP), noisy())
    checkpoint(path)
    before = path.stat().st_size
    store.retention.prune(T0 + 38 * STEP)
    checkpoint(path)
    assert path.stat().st_size < before / 3


@pytest.fixture
def old_file(tmp_path):
    """A file of the year 1970 in a feed's folder."""
    path = tmp_path / "feed" / "radar" / "old.h5"
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (0, 0))
    return path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("method", "error", "told"),
    [("unlink", PermissionError("not yours"), ["feed-files-kept"]), ("stat", FileNotFoundError("gone"), [])],
)
def test_feed_files_that_others_own_or_remove_stop_nothing(store, old_file, monkeypatch, method, error, told):
    real, other = getattr(Path, method), old_file.with_name("another.h5")
    other.touch()
    os.utime(other, (0, 0))
    seen = []

    def fails(path, **options):
        if path == old_file:
            seen.append(path)
            if method == "unlink" or len(seen) > 1:  # `is_file` looks first
                raise error
        return real(path, **options)

    feed = Intake(old_file.parents[1], store, FrameCache())
    monkeypatch.setattr(Path, method, fails)
    with capture_logs() as logs:
        Keeper(store, Keeps(DAY, DAY, DAY, timedelta()), old_file.parents[2]).prune(feed, T0)
    monkeypatch.undo()
    assert seen
    assert [line["event"] for line in logs if line["event"] != "disk nearly full"] == told
    assert not other.exists()
    assert old_file.exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_feed_folder_that_may_not_be_read_stops_nothing(store, old_file, monkeypatch):
    feed, folder, look = Intake(old_file.parents[1], store, FrameCache()), old_file.parent, {}
    for name in ("listdir", "scandir"):
        look[name] = getattr(os, name)

        def refused(path, name=name):
            if Path(path) == folder:
                raise PermissionError("not yours")
            return look[name](path)

        monkeypatch.setattr(os, name, refused)
    Keeper(store, Keeps(DAY, DAY, DAY, timedelta()), old_file.parents[2]).prune(feed, T0)
    monkeypatch.undo()
    assert old_file.exists()


def test_scores_are_kept_longer(store):
    old = ScoreRecord("alps", T0, "rain_mean", 5, "mae", None, 1.0, 9, "m")
    store.verification.put([old])
    store.retention.prune(T0 + DAY)
    assert store.scores("alps") == [old]
    assert store.retention.prune_scores(T0 + DAY) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_restore_drill_under_writes(store, database_url, tmp_path):
    lease = store.leases.take("cycle", "a", T0)
    publish(store, 1)
    done = Event()

    def write_on():
        writer, k = Store.open(database_url), 0
        while not done.is_set():
            writer.publish(run("lowlands", T0 + k % 20 * STEP, k % 100 + 1), fields(k % 100 + 1))
            k += 1
        writer.close()
        return k

    with ThreadPoolExecutor(2) as pool:
        writing, reading = pool.submit(write_on), pool.submit(read_all, database_url, done)
        try:
            before = store.runs("alps")
            assert backup(database_url, tmp_path / "a.backup") > 0
            highest = store.last_run_id()
            publish(store, 1, start=T0 + 5 * DAY)
            assert store.newest("alps").base_time > before[0].base_time
            restore(database_url, tmp_path / "a.backup")
            assert store.runs("alps") == before
            Event().wait(0.2)
        finally:
            done.set()
        assert writing.result() > 3
        reading.result()
    assert store.publish(run("coast"), fields()) > highest, "no id is given twice"
    with pytest.raises(LeaseLost):
        store.publish(run(), fields(), lease)
    assert_sound(store)
    assert [p.name for p in tmp_path.iterdir() if ".restore" in p.name or ".part" in p.name] == []


@pytest.mark.parametrize("spoil", ["truncated", "text", "other"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_that_cannot_be_used_changes_nothing(store, database_url, tmp_path, spoil):
    publish(store, 1)
    path = tmp_path / "a.backup"
    backup(database_url, path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if spoil == "truncated" else b"no database at all" * 500)
    if spoil == "other":
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE other (id)")
        connection.close()
    before = store.runs("alps")
    with pytest.raises(StoreError, match="take another one"):
        restore(database_url, path)
    assert store.runs("alps") == before


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_has_its_own_tools(database_url, tmp_path):
    with pytest.raises(ConfigError, match="pg_dump"):
        backup(database_url, tmp_path / "a")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_of_a_newer_version_changes_nothing(store, database_url, tmp_path):
    publish(store, 1)
    path = tmp_path / "a.backup"
    backup(database_url, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("DELETE FROM runs")
    before = store.runs("alps")
    with pytest.raises(StoreError, match=r"a\.backup.*9999.*newer version; install it or restore an older backup"):
        restore(database_url, path)
    assert store.runs("alps") == before
    Store.open(database_url).close()
    assert [p.name for p in tmp_path.iterdir() if ".restore" in p.name] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_of_an_older_version_is_migrated(store, database_url, tmp_path):
    publish(store, 1)
    old = f"sqlite:///{tmp_path / 'old.db'}"
    upgrade(old, "0003")
    restore(database_url, tmp_path / "old.db")
    assert store.runs("alps") == []
    Store.open(database_url).close()
