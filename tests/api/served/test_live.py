"""Events: a published run reaches a client within a second, none twice, none lost by a reconnect."""

import asyncio
import json
import threading
import time
from contextlib import suppress

import httpx
import pytest

from api.main import create_app
from api.watch import Watch
from nowcast.config import Settings
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.conftest import serving
from tests.api.served.made import STEP, base_time


class Listener:
    """Reads an event stream in a thread."""

    def __init__(self, address, last_id=None):
        self.events = []
        self._address = address
        self._headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        self._stop = False
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.ready.wait(5)

    def _read(self):
        with (
            suppress(httpx.TransportError),
            httpx.stream("GET", f"{self._address}/v1/events", headers=self._headers, timeout=20) as response,
        ):
            assert response.headers["content-type"].startswith("text/event-stream")
            event = {}
            for line in response.iter_lines():
                if line.startswith("retry"):
                    self.ready.set()
                elif line:
                    name, _, value = line.partition(": ")
                    event[name] = value
                elif "data" in event:
                    self.events.append((time.monotonic(), int(event["id"]), event["event"], json.loads(event["data"])))
                    event = {}
                if self._stop:
                    return

    def runs(self):
        return [e for e in self.events if e[2] == "run"]

    def wait(self, count, seconds=3):
        until = time.monotonic() + seconds
        while len(self.runs()) < count and time.monotonic() < until:
            time.sleep(0.01)
        return self.runs()


@pytest.fixture
def shared(database_url, tmp_path):
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions(served.regions())
    app = create_app(Settings(database_url=database_url, data_dir=tmp_path))
    with serving(app) as address:
        yield store, address
    store.close()


def test_a_new_run_appears_within_a_second_of_its_commit(shared):
    store, address = shared
    time.sleep(0.4)
    listener, base = Listener(address), base_time(20)
    delays = []
    for k in range(4):
        run_id = served.publish(store, base + k * STEP)
        committed = time.monotonic()
        found = listener.wait(k + 1)
        assert found[-1][1] == run_id
        assert found[-1][3]["region"] == "alps"
        assert found[-1][3]["run"] == run_id
        delays.append(found[-1][0] - committed)
        body = httpx.get(f"{address}/v1/forecast", params={"lat": served.ZURICH[0], "lon": served.ZURICH[1]}).json()
        assert body.get("base_time") == found[-1][3]["base_time"], body
    assert max(delays) < 1, delays
    older = served.publish(store, base - STEP)  # not the newest, but published all the same
    assert listener.wait(5)[-1][1] == older


def test_a_run_committed_in_the_midst_of_a_look_is_served_before_it_is_told(database_url, monkeypatch):
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions(served.regions())
    base = base_time(20)
    for question in ("runs_after", "newest_runs"):
        watch = Watch(store)
        asyncio.run(watch.look())
        told = []
        for moment in ("before", "after"):
            base += STEP
            with monkeypatch.context() as patched:
                patched.setattr(store, question, _committing(store, base, getattr(store, question), moment))
                told += asyncio.run(watch.look())
            assert all(watch.newest(p.region).id >= p.id for p in told), (question, moment)
        told += asyncio.run(watch.look())
        assert [p.base_time for p in told] == [base - STEP, base], question
    store.close()


def _committing(store, base, question, moment):
    """Return the question, and a run that is committed just before or after its answer."""

    def ask(*arguments):
        if moment == "before":
            served.publish(store, base)
        answer = question(*arguments)
        if moment == "after":
            served.publish(store, base)
        return answer

    return ask


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(shared):
    store, address = shared
    base = base_time(20)
    ids = [served.publish(store, base + k * STEP) for k in range(3)]
    time.sleep(0.5)
    listener = Listener(address, last_id=ids[0])
    assert [e[1] for e in listener.wait(2)] == ids[1:]
    ids.append(served.publish(store, base + 3 * STEP))
    assert [e[1] for e in listener.wait(3)] == ids[1:]
    states = {e[3]["region"]: e[3]["state"] for e in listener.events if e[2] == "state"}
    assert states["store"] == "ok"
    assert states["lowlands"] == "none"
    fresh = Listener(address)
    time.sleep(0.3)
    assert fresh.runs() == []


def test_a_stream_does_not_keep_the_server_from_stopping(store, app):
    with serving(app) as address:
        Listener(address)
        start = time.monotonic()
    assert time.monotonic() - start < 5


def test_a_stop_waits_for_the_look_that_has_a_connection(app, monkeypatch):
    store, looking, order = app.state.services.store, threading.Event(), []
    answer, close = store.runs_after, store.close

    def slowly(*arguments):
        looking.set()
        time.sleep(0.5)
        order.append("looked")
        return answer(*arguments)

    monkeypatch.setattr(store, "runs_after", slowly)
    monkeypatch.setattr(store, "close", lambda: (order.append("closed"), close()))
    with serving(app):
        assert looking.wait(5)
    assert order[-2:] == ["looked", "closed"]


def test_no_event_id_is_misread(client):
    assert client.get("/v1/events", headers={"Last-Event-ID": "soon"}).status_code == 422
