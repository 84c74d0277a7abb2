"""A folder that others write into, and the inbox that every feed writes into."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nowcast.errors import FeedError, NoRoom
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.folder import FolderFeed
from nowcast.feeds.inbox import Inbox, revised, safe
from nowcast.feeds.runner import FeedRunner
from tests.feeds.serving import NOW


def test_revisions_get_names_of_their_own(tmp_path):
    inbox = Inbox(tmp_path)
    assert inbox.put("rate.grib2.gz", [b"one"], 10).name == "rate.grib2.gz"
    assert inbox.put("rate.grib2.gz", [b"one"], 10) is None
    assert inbox.put("rate.grib2.gz", [b"two"], 10).name == "rate.r2.grib2.gz"
    assert inbox.put("rate.grib2.gz", [b"two"], 10) is None
    assert revised("T_PAAH22_C_EUOC_20241126010000.hdf", 3) == "T_PAAH22_C_EUOC_20241126010000.r3.hdf"
    assert revised("composite_hx_20241126_0100-hd5", 2) == "composite_hx_20241126_0100-hd5.r2"


def test_an_inbox_is_made_again_or_says_why_not(tmp_path):
    inbox = Inbox(tmp_path / "feed" / "odim")
    inbox.folder.rmdir()
    assert inbox.put("radar.h5", [b"one"], 10) == inbox.folder / "radar.h5"
    (tmp_path / "file").touch()
    with pytest.raises(NoRoom, match="file/odim: Not a directory; make room"):
        Inbox(tmp_path / "file" / "odim")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ".hidden", "x.part", "", "a\0b", "x" * 300, "a b"])
def test_names_that_are_not_written(name):
    with pytest.raises(FeedError, match="not one that is written here"):
        safe(name)


def test_a_folder_feed_takes_files_that_stand_still(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    feed = FolderFeed(FeedConfig("f", "odim", "folder", folder=str(outside)), Inbox(tmp_path / "feed/odim"))
    growing, atomic = outside / "growing.h5", outside / "atomic.h5"
    growing.write_bytes(b"half")
    atomic.write_bytes(b"whole")
    os.utime(atomic, (time.time() - 60,) * 2)
    (outside / "writing.h5.part").write_bytes(b"x")
    assert [p.name for p in feed.poll(NOW)] == ["atomic.h5"]
    growing.write_bytes(b"half and half")
    assert feed.poll(NOW) == []
    assert [p.name for p in feed.poll(NOW)] == ["growing.h5"]
    assert feed.poll(NOW) == []
    growing.write_bytes(b"revised")
    feed.poll(NOW)
    assert [p.name for p in feed.poll(NOW)] == ["growing.r2.h5"]
    with pytest.raises(FeedError, match="No such file"):
        FolderFeed(FeedConfig("f", "odim", "folder", folder=str(tmp_path / "gone")), Inbox(tmp_path / "x")).poll(NOW)


@pytest.fixture
def drop(tmp_path):
    """Return a folder feed, and a function that puts a file that stands still into its folder."""
    outside = tmp_path / "outside"
    outside.mkdir()

    def put(name, age=60.0, content=b"whole"):
        path = outside / name
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)
        return path

    config = FeedConfig("f", "odim", "folder", folder=str(outside), max_bytes=100)
    return FolderFeed(config, Inbox(tmp_path / "feed/odim")), put


def test_a_file_that_cannot_be_read_hides_no_other_is_told_once_and_taken_later(drop, monkeypatch):
    feed, put = drop
    locked = put("locked.h5", age=90)
    locked.with_name("loop.h5").symlink_to("loop.h5")
    put("long.h5", age=70, content=b"x" * 101)
    put("good.h5")
    opened, arrived = Path.open, []

    def refuse(path, *args):
        if path == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", refuse)  # these tests may run as root, who reads everything
    runner = FeedRunner((feed,), arrived.extend, now=lambda: NOW)
    with capture_logs() as logs:
        for _ in range(3):
            runner.look(feed)
    assert [path.name for path in arrived] == ["good.h5"]
    state = runner.states["f"]
    assert state.failures == 2
    for told in ("locked.h5: Permission denied", "loop.h5: Too many levels", "long.h5: 101 bytes, at most 100"):
        assert told in state.last_error
    assert [entry["event"] for entry in logs] == ["feed failed"]
    monkeypatch.undo()
    runner.look(feed)
    assert arrived[-1].name == "locked.h5"


@pytest.mark.parametrize("seen", [False, True], ids=["before-stat", "before-open"])
def test_a_file_that_is_rotated_away_under_a_look_is_no_failure(drop, monkeypatch, seen):
    feed, put = drop
    gone, listing = put("gone.h5", age=90), os.scandir
    put("good.h5")

    def scandir(folder):
        entries = list(listing(folder))
        for entry in entries if seen else ():
            entry.stat()  # which the entry remembers
        gone.unlink()
        return entries

    monkeypatch.setattr(os, "scandir", scandir)
    assert [path.name for path in feed.poll(NOW)] == ["good.h5"]


def test_what_cannot_be_written_is_told_and_taken_later(drop, tmp_path):
    feed, put = drop
    put("radar.h5")
    inbox = tmp_path / "feed/odim"
    shutil.rmtree(inbox)
    inbox.touch()
    with pytest.raises(FeedError, match=r"radar\.h5: File exists; make room on its disk"):
        feed.poll(NOW)
    inbox.unlink()
    assert [path.name for path in feed.poll(NOW)] == ["radar.h5"]


def test_content_that_cannot_be_read_is_no_fault_of_our_disk(tmp_path):
    def content():
        yield b"half"
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(FeedError, match=r"radar\.h5: Input/output error; asked again later"):
        Inbox(tmp_path).put("radar.h5", content(), 10)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_still_ends_the_look(drop, monkeypatch):
    feed, put = drop
    put("radar.h5")
    monkeypatch.setattr(Inbox, "put", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        FeedRunner((feed,), lambda paths: None, now=lambda: NOW).look(feed)
