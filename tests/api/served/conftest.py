"""A served application: a real database, the real app behind a real server, HTTP over loopback."""

import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from api.main import create_app
from nowcast.config import Settings
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.api.served import made as served


@contextmanager
def serving(app):
    """Serve an application from a thread; yields its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'nowcast.db'}"


@pytest.fixture
def store(sqlite_url):
    upgrade(sqlite_url)
    store = Store.open(sqlite_url)
    store.put_regions(served.regions())
    yield store
    store.close()


@pytest.fixture
def app(store, sqlite_url, tmp_path):
    app = create_app(Settings(database_url=sqlite_url, data_dir=tmp_path))
    app.state.services.watch.trusted_seconds = -1  # every request looks, so that tests need not wait
    app.state.services.watch.regions_seconds = -1
    return app


@pytest.fixture
def client(app):
    """A client of the application over `store`."""
    with serving(app) as address, httpx.Client(base_url=address, timeout=10) as client:
        yield client
