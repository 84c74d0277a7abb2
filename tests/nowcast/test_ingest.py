"""What the feed folder does to the files that arrive in it, whatever their names, their times and who else is there."""

import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nowcast.feeds.config import FeedConfig
from nowcast.feeds.http import HttpFeed
from nowcast.feeds.inbox import Inbox
from nowcast.ingest import FrameCache, Intake
from nowcast.sources.simulated import write_files
from tests.feeds.serving import Server

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SOURCE = "simulated"


@pytest.fixture
def intake(store, tmp_path):
    return Intake(tmp_path / "feed", store, FrameCache())


@pytest.fixture
def file(tmp_path):
    path = next(p for p in write_files(tmp_path / "feed", NOON - 5 * MINUTE, NOON) if p.parent.name == SOURCE)
    long_ago = NOON.timestamp()
    os.utime(path, (long_ago, long_ago))
    return path


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_from_the_future_is_taken_when_its_time_has_come(intake, file):
    reads = []
    read = intake.cache.read
    intake.cache.read = lambda path, source: reads.append(path) or read(path, source)
    slow = NOON - 10 * MINUTE
    assert [intake.ingest({SOURCE}, slow + k * MINUTE) for k in range(3)] == [[], [], []]
    assert "10 min ahead of now" in intake.refused[file][1]
    assert len(reads) == 1
    (record,) = intake.ingest({SOURCE}, NOON)  # the clock has been set
    assert (record.valid_time, record.path) == (NOON, str(file))
    assert intake.refused == {}
    assert len(reads) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_was_half_written_counts_as_refused_no_more(intake, file):
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    long_ago = NOON.timestamp() - 9
    os.utime(file, (long_ago, long_ago))
    assert intake.ingest({SOURCE}, NOON) == []
    assert list(intake.refused) == [file]
    file.write_bytes(whole)
    os.utime(file, (long_ago + 5, long_ago + 5))
    assert len(intake.ingest({SOURCE}, NOON)) == 1
    assert intake.refused == {}


@pytest.mark.parametrize("name", [b"radar\xff.nc", b"radar\n.nc"])
def test_a_name_that_is_no_text_is_refused_and_stops_nothing(intake, file, name):
    other = os.fsencode(file.parent) + b"/" + name
    Path(os.fsdecode(other)).write_bytes(file.read_bytes()[:-1] + b"x")
    os.utime(other, (NOON.timestamp(), NOON.timestamp()))
    assert [record.path for record in intake.ingest({SOURCE}, NOON)] == [str(file)]
    ((_, told),) = intake.refused.values()
    assert "no printable text; rename it" in told
    assert told.isprintable()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_is_taken_away_meanwhile_stops_nothing(intake, file, monkeypatch):
    gone = file.with_name("gone.nc")
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda path, pattern: [gone, *listed(path, pattern)])
    monkeypatch.setattr(Path, "is_file", lambda path: True)  # as it was a moment ago
    assert [record.path for record in intake.ingest({SOURCE}, NOON)] == [str(file)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_a_server_cut_is_refused_and_read_once_it_comes_whole(intake, file, tmp_path):
    whole = file.read_bytes()
    file.unlink()

    def page(handler, n):
        handler.send_response(200)
        handler.end_headers()  # of no length
        handler.wfile.write(whole[:5000] if n == 1 else whole)
        handler.close_connection = True

    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        server.pages[f"/{file.name}"] = page
        url = server.url + "/simulated_{time:%Y%m%dT%H%M}.nc"
        feed = HttpFeed(FeedConfig("ours", SOURCE, url=url, private=True, look_back_minutes=1), Inbox(file.parent))
        found = []
        for _ in range(4):
            for path in feed.poll(NOON):
                os.utime(path, (NOON.timestamp(), NOON.timestamp()))
            found.append([Path(record.path).name for record in intake.ingest({SOURCE}, NOON)])
        server.shutdown()
    assert found == [[], ["simulated_20260301T1200.r2.nc"], [], []]
    assert [path.name for path in intake.refused] == [file.name]
    assert server.asked[f"/{file.name}"] == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_takes_long_to_read_waits_behind_what_has_just_come(intake, file):
    intake.longest_look = 0.05
    read, order = intake.cache.read, []

    def slow(path, source):
        order.append(path.name)
        time.sleep(0.1)
        return read(path, source)

    intake.cache.read = slow
    for name in ("a.nc", "b.nc"):
        file.with_name(name).write_bytes(b"hangs its parser")
        os.utime(file.with_name(name), (0, 0))
    young = file.with_name("z.nc")
    shutil.move(file, young)
    os.utime(young, (time.time() - 60, time.time() - 60))
    looks = [[Path(record.path).name for record in intake.ingest({SOURCE}, NOON)] for _ in range(4)]
    assert looks == [["z.nc"], [], [], []]
    assert order == ["z.nc", "a.nc", "b.nc"], "one a look, and each once"
