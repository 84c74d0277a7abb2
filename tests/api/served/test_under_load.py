"""Many clients at once: health while all else waits, whole answers under concurrency, retention under readers."""

import asyncio
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import psycopg
import pytest

from api.main import create_app
from nowcast.config import Settings
from nowcast.output import WRITING
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.conftest import serving
from tests.api.served.made import ZURICH, base_time

POINT = f"/v1/forecast?lat={ZURICH[0]}&lon={ZURICH[1]}"


@pytest.fixture
def opened(database_url, tmp_path):
    """Serve an application over a database with regions: yields (its address, its store)."""
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions(served.regions())
    app = create_app(Settings(database_url=database_url, data_dir=tmp_path))
    with serving(app) as address:
        yield address, store
    store.close()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_health_answers_while_hundreds_wait_for_the_store(opened, database_url):
    """Another session locks the chunks, so that every read of pixels really waits; then it lets go."""
    address, store = opened
    base = base_time()
    for k in range(2):
        served.publish(store, base - k * served.STEP, members=True)
    limits = httpx.Limits(max_connections=400)

    async def load():
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
            await client.get("/readyz")
            await asyncio.sleep(0.6)  # the watch has seen the runs
            with psycopg.connect(database_url) as other:
                other.execute("LOCK TABLE chunks IN ACCESS EXCLUSIVE MODE")
                asked = [
                    asyncio.create_task(client.get(f"/v1/forecast?lat={46.7 + k % 20 / 40:.3f}&lon=8.0"))
                    for k in range(300)
                ]
                times = []
                for _ in range(20):
                    start = time.perf_counter()
                    healthy = await client.get("/healthz")
                    times.append(time.perf_counter() - start)
                    assert healthy.status_code == 200
                    await asyncio.sleep(0.05)
                waiting = sum(not task.done() for task in asked)
                other.rollback()
            return times, waiting, await asyncio.gather(*asked)

    times, waiting, answers = asyncio.run(load())
    assert waiting >= 4  # they really had to wait
    assert sorted(times)[10] < 0.5, times
    assert max(times) < 5, times
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= waiting
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.json()["title"] == "Busy"
    assert int(refused.headers["retry-after"]) > 0
    assert httpx.get(f"{address}{POINT}").status_code == 200


def test_many_at_once_get_whole_answers(opened):
    address, store = opened
    base = base_time()
    served.publish(store, base, members=True)
    time.sleep(0.6)
    stamp = f"{base:%Y%m%dT%H%MZ}"
    paths = [
        POINT,
        f"/v1/tiles/alps/{stamp}/rain_mean/30/8/134/89.png",
        f"/v1/tiles/mosaic/{stamp}/prob_1/60/7/66/44.webp",
        f"/v1/files/alps/{stamp}/rain_mean/5.tif",
        f"/v1/files/alps/{stamp}.nc",
        f"/v1/zarr/alps/{stamp}/rain_mean/c/0/0/0",
        f"/edr/collections/alps_rain/position?coords=POINT({ZURICH[1]} {ZURICH[0]})",
        "/edr/collections/alps_rain/cube?bbox=8,47,8.1,47.1&f=NetCDF",
        f"/v1/runs/alps/{stamp}",
    ]

    async def load():
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            return [await asyncio.gather(*(client.get(path) for path in paths * 6)) for _ in range(2)]

    for answers in asyncio.run(load()):
        for number, path in enumerate(paths):
            same = answers[number :: len(paths)]
            assert len(same) == 6
            assert {answer.status_code for answer in same} == {200}, path
            if "forecast" not in path and "NetCDF" not in path:  # which tell their age, and when they were written
                assert len({answer.content for answer in same}) == 1, path


def test_who_waits_for_netcdf_keeps_no_thread_from_other_work(client, store):
    """A file takes seconds and netCDF-C writes one at a time: here a test holds its lock while nine ask for one."""
    base = base_time()
    for k in range(2):
        served.publish(store, base - k * served.STEP)
    paths = [f"/v1/files/alps/{base - k * served.STEP:%Y%m%dT%H%MZ}" for k in range(2)]
    files = [f"{path}{kind}" for path in paths for kind in (".nc", ".pysteps.nc")]
    cubes = [f"/edr/collections/alps_rain/cube?bbox=8,47,8.{k},47.1&f=NetCDF" for k in range(1, 6)]
    address = str(client.base_url)
    with ThreadPoolExecutor(9) as pool:
        with WRITING:
            waiting = [pool.submit(httpx.get, f"{address}{path}", timeout=60) for path in (*files, *cubes)]
            time.sleep(0.5)
            for path in (
                f"{paths[0]}/rain_mean/5.tif",
                f"{paths[0].replace('files', 'zarr')}/rain_mean/c/0/0/0",
                f"/edr/collections/alps_rain/position?coords=POINT({ZURICH[1]} {ZURICH[0]})",
                "/readyz",
            ):
                assert client.get(path).status_code == 200, path
            assert not any(asked.done() for asked in waiting)
        assert {asked.result().status_code for asked in waiting} == {200}
    with WRITING:
        assert client.get(files[0]).status_code == 200  # it lies on the shelf


def test_readers_while_old_days_are_removed(opened):
    """On PostgreSQL days are dropped as partitions, on SQLite rows are deleted: no reader fails or is kept waiting."""
    address, store = opened
    base, old = base_time(), [base_time() - timedelta(days=d) for d in (5, 4, 3)]
    for day in old:
        served.publish(store, day)
    served.publish(store, base)
    time.sleep(0.6)
    done, seen, slowest = threading.Event(), Counter(), [0.0]
    warm = threading.Barrier(4, timeout=20)

    def read():
        with httpx.Client(base_url=address, timeout=30) as client:
            number = 0
            while not done.is_set():
                number += 1
                if number == 4:
                    warm.wait()
                day = old[number % 3]
                for path in (
                    f"{POINT}&n={number}",
                    f"/v1/tiles/alps/{day:%Y%m%dT%H%MZ}/rain_mean/{5 + 5 * (number % 24)}/8/134/89.png",
                    f"/v1/zarr/alps/{day:%Y%m%dT%H%MZ}/rain_mean/c/0/0/0",
                    "/v1/runs",
                ):
                    start = time.perf_counter()
                    status = client.get(path).status_code
                    slowest[0] = max(slowest[0], time.perf_counter() - start)
                    seen[path.split("?")[0].split("/")[2], status] += 1

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    warm.wait()  # each has read each old run
    try:
        pruned = store.retention.prune(base - timedelta(days=1))
        time.sleep(1.2)
    finally:
        done.set()
    for reader in readers:
        reader.join()
    assert pruned.runs == 3
    assert pruned.days == (3 if store._db.dialect == "postgresql" else 0)
    assert {status for what, status in seen if what in ("forecast", "runs")} == {200}, seen
    assert {status for what, status in seen if what in ("tiles", "zarr")} == {200, 404}, seen
    assert slowest[0] < 5, slowest
