"""What feeds are described by, those that come ready-made, and what keeps them going."""

import os
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nowcast.errors import ConfigError
from nowcast.feeds.config import FeedConfig, known_feeds, read_feeds
from nowcast.feeds.inbox import Inbox
from nowcast.feeds.runner import FeedRunner, open_feed
from nowcast.sources import source_named
from tests.feeds.serving import FILE, NOW, PATTERN, send


def test_listings_are_those_of_every_wanted_time_once():
    config = FeedConfig("x", "odim", listing="http://x/{time:%d}/", pattern=PATTERN, look_back_minutes=3000)
    assert config.listings(NOW) == ["http://x/01/", "http://x/30/", "http://x/29/"]
    assert replace(config, look_back_minutes=30).listings(NOW) == ["http://x/01/"]
    assert replace(config, look_back_minutes=4).listings(NOW.replace(hour=0)) == ["http://x/01/", "http://x/30/"]


def test_the_runner_wakes_the_cycle_and_survives_failures(server, tmp_path):
    server.pages[FILE] = lambda handler, n: send(handler, b"", 403) if n == 1 else send(handler)
    good = FeedConfig(
        "good",
        "odim",
        url=server.url + "/radar_{time:%Y%m%d%H%M}.h5",
        private=True,
        look_back_minutes=1,
        poll_seconds=0.1,
    )
    hanging = replace(good, name="hanging", source="mrms", url=server.url + "/hang", deadline_seconds=30)
    server.pages["/hang"] = lambda handler, _: time.sleep(3)
    woken = threading.Event()
    feeds = tuple(open_feed(config, tmp_path) for config in (hanging, good))
    runner = FeedRunner(feeds, lambda paths: woken.set(), now=lambda: NOW)
    runner.start()
    assert woken.wait(3)
    runner.stop(0.2)
    state = runner.states["good"]
    assert (state.arrived, state.failures, state.last_error) == (1, 1, "")
    assert state.last_arrival == NOW
    assert runner.dead() == []


def test_ready_made_feeds_are_documented_and_read_by_a_source_we_have():
    feeds = known_feeds()
    assert {"mrms", "dwd-hx", "knmi", "fmi", "meteoswiss", "opera-rate"} <= set(feeds)
    for config in feeds.values():
        assert source_named(config.source)
        assert config.licence
        assert config.documentation.startswith("https://")
        assert all(url.startswith("https://") for url in (config.url, config.listing) if url)
        assert config.allowed
        assert len(config.times(NOW)) >= 3
    http = [c for c in feeds.values() if c.name not in {"dwd-ry", "dwd-rw"}]
    assert len({config.source for config in http}) == len(http)  # a source has one grid: the gate sees to that


@pytest.mark.parametrize(
    ("name", "file", "source"),
    [
        ("mrms", "MRMS_PrecipRate_00.00_20240501-120000.grib2.gz", "mrms"),
        ("dwd-ry", "raa01-ry_10000-2405011200-dwd---bin.bz2", "dwd-radolan"),
        ("dwd-hx", "composite_hx_20240501_1200-hd5", "dwd-hx"),
        ("knmi", "RAD_NL25_RAC_RT_202405011200.h5", "knmi"),
        ("meteoswiss", "rzc241221200vl.801.h5", "mch-rzc"),
    ],
)
def test_names_of_ready_made_listings(name, file, source):
    config = known_feeds()[name]
    assert config.young(file, NOW) == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert config.source == source
    head = {"mrms": b"\x1f\x8b", "dwd-radolan": b"BZh"}.get(source, b"\x89HDF\r\n\x1a\n")
    assert source_named(source).recognises(Path(file), head)


def test_feeds_of_a_file_may_begin_with_a_ready_made_one(tmp_path):
    path = tmp_path / "feeds.toml"
    path.write_text(
        '[feeds.ours]\nuse = "mrms"\npoll_seconds = 5\n[feeds.nas]\nsource="knmi"\nkind="folder"\nfolder="/srv"\n'
    )
    ours, nas = read_feeds(path)
    assert (ours.name, ours.source, ours.poll_seconds) == ("ours", "mrms", 5)
    assert nas.folder == "/srv"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('use = "mars"', "no ready-made feed 'mars'; there are: dwd-hx"),
        ('source = "knmi"', "needs url or listing"),
        ('source = "knmi"\nurl = "ftp://x/y"', "no http"),
        ('source = "../x"\nurl = "http://x/y"', "source must be"),
        ('source = "knmi"\nlisting = "http://x/"', "needs a pattern"),
        ('source = "knmi"\nlisting = "http://x/"\npattern = "x"', r"needs a group \(\?P<time>"),
        ('source = "knmi"\nurl = "http://x"\ncolour = 1', "unknown keys: colour"),
        ('source = "knmi"\nkind = "post"', "kind must be one of folder, http, object"),
        ('source = "knmi"\nurl = "http://x"\ntries = 0', "must be > 0"),
        ('source = "knmi"\nurl = "http://x/{tim:%Y}"', r"names 'tim', only \{time:…\} and \{name\}"),
        ('source = "knmi"\nurl = "http://x/{}"', "only {time:…}"),
        ('source = "knmi"\nurl = "http://x/{time.hours}"', "only {time:…}"),
        ('source = "knmi"\nurl = "http://x/{time"', "correct it"),
        ('source = "knmi"\nurl = "http://a..b/x"', "label empty"),
        ('source = "knmi"\nurl = "http://x"\ntime_format = "%Q"', "bad directive"),
        ('source = "knmi"\nurl = "http://x"\nkey_header = "X Key"', "'X Key' is no header"),
        ('source = "knmi', "give a TOML file"),
    ],
)
def test_a_wrong_feed_is_told(tmp_path, text, told):
    path = tmp_path / "feeds.toml"
    path.write_text(f"[feeds.x]\n{text}\n")
    with pytest.raises(ConfigError, match=told):
        read_feeds(path)


@pytest.mark.parametrize("content", [b"\xff\xfe[", b"feeds = 5", b"feeds = [5]", b"[feeds]\nx = 5"])
def test_a_file_that_holds_no_feeds_is_told(tmp_path, content):
    path = tmp_path / "feeds.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"feeds\.toml"):
        read_feeds(path)


def test_a_part_that_a_killed_process_left_is_removed_and_one_at_work_is_not(tmp_path):
    parts = [tmp_path / name for name in (".old.part", ".young.part", "named.part")]
    for part in parts:
        part.write_bytes(b"x")
    for part in (parts[0], parts[2]):
        os.utime(part, (0, 0))
    Inbox(tmp_path)
    assert [part.exists() for part in parts] == [False, True, True]
