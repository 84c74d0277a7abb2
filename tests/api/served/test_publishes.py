"""Readers while a writer publishes, over HTTP: each answer is whole and of one publication."""

import threading
import time
from itertools import pairwise

import httpx
import numpy as np
import pytest

from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.made import GRID, LEADS, base_time

LUCERNE = {"lat": 47.0502, "lon": 8.3093}


@pytest.mark.parametrize("publishes", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_reader_during_publishes_never_sees_half_a_run(store, app, client, sqlite_url, publishes):
    app.state.services.watch.trusted_seconds = 1.0  # as it is served
    base, done, failed = base_time(), threading.Event(), []

    def publish():
        writer = Store.open(sqlite_url)
        try:
            for number in range(1, publishes + 1):
                mean = np.full((LEADS, *GRID.shape), number % 500 + 1, np.float32)
                served.publish(writer, base, mean=mean, stages={"mark": float(number % 500 + 1)})
        except Exception as error:
            failed.append(error)
        finally:
            writer.close()
            done.set()

    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 1, np.float32))
    time.sleep(0.6)  # a first run may take that long to be known
    thread = threading.Thread(target=publish)
    thread.start()
    answers, marks = 0, []
    while not done.is_set():
        steps = client.get("/v1/forecast", params=LUCERNE)
        assert steps.status_code == 200, steps.text
        values = set(steps.json()["minutely_5"]["rain_mean"])
        assert len(values) == 1, values
        marks.append(values.pop())
        tile = client.get("/v1/tiles/alps/latest/rain_mean/30/7/66/44.png")
        assert tile.status_code == 200, tile.text
        answers += 1
    thread.join()
    assert not failed
    assert answers > 10
    assert sum(b < a for a, b in pairwise(marks)) <= publishes // 500  # never back, but where the marks start again
    assert client.get("/healthz").status_code == httpx.codes.OK
