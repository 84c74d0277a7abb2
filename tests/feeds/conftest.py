"""A misbehaving server, and an HTTP feed that asks it."""

import threading
from dataclasses import replace

import pytest

from nowcast.feeds.config import FeedConfig
from nowcast.feeds.http import HttpFeed
from nowcast.feeds.inbox import Inbox
from tests.feeds.serving import Server


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def feed(server, tmp_path, monkeypatch):
    """Return a function that makes a template feed of one file; pauses between tries are short."""
    monkeypatch.setattr("nowcast.feeds.http.BACKOFF", 0.01)

    def make(**changed):
        config = FeedConfig("test", "odim", url=server.url + "/radar_{time:%Y%m%d%H%M}.h5", private=True)
        config = replace(config, **{"look_back_minutes": 1, "deadline_seconds": 3, **changed})
        return HttpFeed(config, Inbox(tmp_path / "feed" / config.source))

    return make
