"""Writers, readers and deaths at the same time: a run is there whole, once, or not at all."""

import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import text

from nowcast.errors import NoRun
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.nowcast.stored import PRODUCTS, STEP, T0, fields, marks, region, run

CHUNKS = 4 * len(PRODUCTS)
NAMES = ("alps", "lowlands", "coast")

WRITER = """
import sys
import structlog
from tests.nowcast.stored import STEP, T0, fields, run
from nowcast.store.store import Store

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
url, region, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = Store.open(url)
pixels = [fields(mark) for mark in range(1, 51)]
print("ready", flush=True)
sys.stdin.readline()
for i in range(count):
    mark = i % 50 + 1
    base_time = T0 + (i % 7) * STEP  # over midnight, and from the eighth on reruns
    run_id = store.publish(run(region, base_time, mark), pixels[mark - 1])
    print(run_id, flush=True)
"""


@pytest.fixture
def url(database_url):
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions(map(region, NAMES))
    store.close()
    return database_url


def writer(url, name, count):
    here = Path(__file__).resolve().parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(count)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def start(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()


def assert_sound(store):
    """Each run has all its chunks, of one publication, and each pointer points at the newest."""
    with store._db.engine.connect() as connection:
        rows = connection.execute(text("SELECT run_id, count(*) FROM chunks GROUP BY run_id")).all()
        ids = set(connection.execute(text("SELECT id FROM runs")).scalars())
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    assert {run_id: count for run_id, count in rows} == dict.fromkeys(ids, CHUNKS)  # noqa: C416
    for found in store.runs(limit=1000):
        assert marks(store.fields(found)) == {int(found.stages["mark"])}
        assert len(found.frames) == 2
    for name in NAMES:
        listed = store.runs(name, limit=1)
        assert store.newest(name) == (listed[0] if listed else None)


def test_writers_of_one_region_in_two_processes(url):
    processes = [writer(url, "alps", 25), writer(url, "alps", 25)]
    start(processes)
    ids = [int(line) for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(ids)) == 50
    store = Store.open(url)
    assert len(store.runs("alps")) == 7
    assert store.newest("alps").base_time == T0 + 6 * STEP
    assert_sound(store)
    store.close()


def test_killed_writers_leave_whole_runs_or_none(url):
    seconds = random.Random(5)
    processes = [writer(url, name, 10**6) for name in NAMES]
    start(processes)
    acknowledged = []
    for process in processes:
        lines = [process.stdout.readline() for _ in range(seconds.randrange(5, 40))]
        Event().wait(seconds.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        # The last line may have been cut: it was not acknowledged then.
        acknowledged.append(sum(1 for line in [*lines, *process.stdout] if line.endswith("\n")))
        process.wait(timeout=60)
        process.stdin.close()
        process.stdout.close()
    store = Store.open(url)
    assert_sound(store)
    for name, count in zip(NAMES, acknowledged, strict=True):
        assert len(store.runs(name)) >= min(count, 7)
        published = {int(found.stages["mark"]) for found in store.runs(name)}
        assert (count - 1) % 50 + 1 in published  # the last that was acknowledged
    assert store.publish(run(), fields()) > 0  # nothing is locked
    store.close()


def read_until(store, done):
    seen = []
    while not done.is_set():
        found = store.newest("alps")
        try:
            got = marks(store.fields(found))
        except NoRun:  # replaced since: told, not torn
            continue
        assert got == {int(found.stages["mark"])}
        point = store.point("alps", 129, 139)
        assert point.series["rain_mean"][0] == point.run.stages["mark"]
        seen.append((point.run.base_time, point.run.id))
    return seen


def test_a_reader_during_200_publishes_never_sees_half_a_run(url):
    store, reader, done = Store.open(url), Store.open(url), Event()
    store.publish(run(), fields())
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_until, reader, done) for _ in range(2)]
        try:
            for i in range(200):
                mark = i % 100 + 1
                store.publish(run(base_time=T0 + (i // 3) * STEP, mark=mark), fields(mark))
        finally:
            done.set()
        for seen in (r.result() for r in readers):
            assert len(seen) > 5
            assert seen == sorted(seen)  # base time and publication never move back
    assert_sound(store)
    store.close()
    reader.close()
