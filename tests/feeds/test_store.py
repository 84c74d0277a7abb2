"""An object store in memory."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nowcast.errors import FeedError
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import Inbox
from nowcast.feeds.store import ObjectFeed
from tests.feeds.serving import NOW, PATTERN, names


def test_an_object_store(tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is in the extra object-store")
    system = fsspec.filesystem("memory")
    folder = "/bucket/20240501"
    for name in (*names(0, 5), "radar_202404010000.h5", "readme.txt"):
        system.pipe(f"{folder}/{name}", name.encode())
    config = FeedConfig(
        "o", "odim", "object", store="memory", listing="/bucket/{time:%Y%m%d}", pattern=PATTERN, max_bytes=100
    )
    feed = ObjectFeed(config, Inbox(tmp_path))
    assert [p.name for p in feed.poll(NOW)] == names(0, 5)
    assert feed.poll(NOW) == []
    system.pipe(f"{folder}/{names(1)[0]}", b"x" * 101)
    system.pipe(f"{folder}/{names(6)[0]}", b"older")
    assert [p.name for p in feed.poll(NOW)] == names(6)  # one that is too large hides no other
    with pytest.raises(FeedError, match="101 bytes, at most 100"):
        feed.poll(NOW)
    system.pipe(f"{folder}/{names(5)[0]}", b"corrected")
    assert [p.name for p in feed.poll(NOW)] == [names(5)[0].replace(".h5", ".r2.h5")]
    again = ObjectFeed(config, Inbox(tmp_path))
    with pytest.raises(FeedError, match="101 bytes, at most 100"):
        again.poll(NOW)  # what was there before a restart is not fetched again
    system.rm("/bucket", recursive=True)
    with pytest.raises(FeedError, match="asked again later"):
        feed.poll(NOW)
    with pytest.raises(FeedError, match="asked again later"):
        ObjectFeed(replace(config, store="no-such-store"), Inbox(tmp_path)).poll(NOW)


def test_an_object_that_cannot_be_read_hides_no_other(tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is in the extra object-store")
    system = fsspec.filesystem("memory")
    for name in names(0, 5):
        system.pipe(f"/closed/{name}", name.encode())
    opened = system.open

    def refuse(key, mode):
        if key.endswith(names(0)[0]):
            raise RuntimeError("AccessDenied: no such right\nRequestId: 5")
        return opened(key, mode)

    config = FeedConfig("o", "odim", "object", store="memory", listing="/closed", pattern=PATTERN)
    feed = ObjectFeed(config, Inbox(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(type(system), "open", lambda _, key, mode: refuse(key, mode))
        assert [p.name for p in feed.poll(NOW)] == names(5)
        with pytest.raises(FeedError, match="AccessDenied: no such right; asked again later"):
            feed.poll(NOW)
    assert [p.name for p in feed.poll(NOW)] == names(0)


def test_after_midnight_an_object_store_is_asked_for_the_day_before_too(tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="fsspec is in the extra object-store")
    system, midnight = fsspec.filesystem("memory"), datetime(2024, 5, 2, 0, 2, tzinfo=UTC)
    config = FeedConfig("o", "odim", "object", store="memory", listing="/days/{time:%Y%m%d}", pattern=PATTERN)
    feed = ObjectFeed(config, Inbox(tmp_path))
    system.pipe("/days/20240501/radar_202405012355.h5", b"late")
    assert [path.name for path in feed.poll(midnight)] == ["radar_202405012355.h5"]  # the new day is not there yet
    system.pipe("/days/20240502/radar_202405020000.h5", b"early")
    system.rm("/days/20240501", recursive=True)
    assert [path.name for path in feed.poll(midnight)] == ["radar_202405020000.h5"]


def test_an_object_store_without_fsspec_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    config = FeedConfig("o", "odim", "object", store="memory", listing="/x", pattern=PATTERN)
    with pytest.raises(FeedError, match=r"nowcast\[object-store\]"):
        ObjectFeed(config, Inbox(tmp_path)).poll(NOW)
