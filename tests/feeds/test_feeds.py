"""Feeds against a server that misbehaves in each way that servers do, a folder, and an object store in memory."""

import errno
import os
import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from nowcast.errors import ConfigError, FeedError
from nowcast.feeds.config import FeedConfig, known_feeds, read_feeds
from nowcast.feeds.folder import FolderFeed
from nowcast.feeds.http import HttpFeed
from nowcast.feeds.inbox import Inbox, revised, safe
from nowcast.feeds.runner import FeedRunner, open_feed
from nowcast.feeds.store import ObjectFeed
from nowcast.sources import source_named

NOW = datetime(2024, 5, 1, 12, 2, tzinfo=UTC)
BODY = b"radar" * 20_000
PATTERN = r"radar_(?P<time>\d{12})\.h5"


class Server(ThreadingHTTPServer):
    """A server whose answers are functions of the handler, by path; counts what is asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked, self.seen = {}, Counter(), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that hang up are what is tested here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked[self.path] += 1
        self.server.seen.append((self.path, dict(self.headers)))
        page = self.server.pages.get(self.path.split("?")[0])
        if page is None:
            return send(self, b"", 404)
        return page(self, self.server.asked[self.path])

    def log_message(self, *_):
        """Say nothing."""


def send(handler, body=BODY, status=200, length=None, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
    if length is not None and length > len(body):
        handler.close_connection = True


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


FILE = "/radar_202405011200.h5"


def only(feed):
    (path,) = feed.poll(NOW)
    return path


def test_a_good_file_arrives_whole_under_its_name_and_once(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler)
    feed = feed()
    path = only(feed)
    assert path.name == "radar_202405011200.h5"
    assert path.read_bytes() == BODY
    assert feed.poll(NOW) == []
    assert server.asked[FILE] == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_not_there_yet_is_no_failure(server, feed):
    feed = feed()
    assert feed.poll(NOW) == []
    server.pages[FILE] = lambda handler, _: send(handler)
    assert len(feed.poll(NOW)) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_busy_then_well(server, feed, status):
    server.pages[FILE] = lambda handler, n: send(handler, b"", status) if n < 3 else send(handler)
    assert only(feed()).read_bytes() == BODY
    assert server.asked[FILE] == 3


def test_always_failing_is_told_with_the_value_and_leaves_nothing(server, feed, tmp_path):
    server.pages[FILE] = lambda handler, _: send(handler, b"", 500)
    with pytest.raises(FeedError, match=r"answers 500; tried 4 times"):
        feed().poll(NOW)
    assert list((tmp_path / "feed/odim").iterdir()) == []


def test_retry_after_is_honoured_across_polls(server, feed):
    server.pages[FILE] = lambda handler, n: send(handler, b"", 429, Retry_After="60") if n == 1 else send(handler)
    feed = feed()
    with pytest.raises(FeedError, match="429"):
        feed.poll(NOW)
    assert feed.poll(NOW) == []
    assert server.asked[FILE] == 1
    feed.not_before = 0
    assert len(feed.poll(NOW)) == 1


def test_cut_is_asked_again(server, feed):
    server.pages[FILE] = lambda handler, n: send(handler, BODY[:5000], length=len(BODY)) if n == 1 else send(handler)
    assert only(feed()).read_bytes() == BODY


def test_a_length_that_is_always_wrong_never_arrives(server, feed, tmp_path):
    server.pages[FILE] = lambda handler, _: send(handler, BODY, length=len(BODY) + 7)
    with pytest.raises(FeedError, match=r"broken answer|sent 100000 of 100007"):
        feed().poll(NOW)
    assert list((tmp_path / "feed/odim").iterdir()) == []


def drip(handler, _):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.1)


def drip_headers(handler, _):
    for letter in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
        handler.wfile.write(bytes([letter]))
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize("page", [drip, drip_headers, lambda handler, _: time.sleep(5)])
def test_slow_ends_at_the_deadline(server, feed, page):
    server.pages[FILE] = page
    before = time.monotonic()
    with pytest.raises(FeedError, match=r"took longer than 0\.8 s"):
        feed(deadline_seconds=0.8).poll(NOW)
    assert time.monotonic() - before < 2.5


def test_too_long_is_refused_whether_it_says_so_or_not(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler)
    with pytest.raises(FeedError, match="states 100000 bytes, at most 5000"):
        feed(max_bytes=5000).poll(NOW)

    def chunked(handler, _):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    server.pages[FILE] = chunked
    with pytest.raises(FeedError, match="sends more than 5000 bytes"):
        feed(max_bytes=5000).poll(NOW)
    assert server.asked[FILE] == 2  # refused, not tried again


def test_an_empty_file_does_not_arrive(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler, b"")
    with pytest.raises(FeedError, match="empty"):
        feed().poll(NOW)


def test_a_redirect_stays_among_the_allowed_hosts(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location="http://localhost:1/elsewhere")
    with pytest.raises(FeedError, match="http://localhost is not among the feed's hosts"):
        feed().poll(NOW)
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location="/other")
    server.pages["/other"] = lambda handler, _: send(handler)
    assert only(feed()).name == "radar_202405011200.h5"
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location=FILE)
    loop = feed(source="loop")
    with pytest.raises(FeedError, match="more than 3 redirects"):
        loop.poll(NOW)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
def test_a_redirect_to_another_scheme_is_refused(server, feed, target):
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location=target)
    with pytest.raises(FeedError, match="is not among"):
        feed().poll(NOW)


@pytest.mark.parametrize("target", ["http://[x", "http://127.0.0.1:port/"])
def test_a_redirect_to_what_is_no_url_is_refused(server, feed, target):
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location=target)
    with pytest.raises(FeedError, match="is no URL"):
        feed().poll(NOW)


def test_private_addresses_are_blocked_unless_meant(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler)
    with pytest.raises(FeedError, match="address of a private network"):
        feed(private=False).poll(NOW)
    assert not server.asked


def page_of(*names):
    return "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()


def names(*minutes):
    return [f"radar_{NOW - timedelta(minutes=2 + m):%Y%m%d%H%M}.h5" for m in minutes]


def test_a_listing_out_of_order_with_duplicates_old_and_foreign_names(server, feed):
    old = "radar_202404011200.h5"
    listed = [*names(10, 0, 5), *names(0), old, "../../../etc/passwd", "radar_2024.h5", "radar_999999999999.h5"]
    server.pages["/list/"] = lambda handler, _: send(handler, page_of(*listed))
    for name in names(0, 5, 10):
        server.pages[f"/list/{name}"] = lambda handler, _: send(handler, handler.path.encode())
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [p.name for p in feed.poll(NOW)] == names(0, 5, 10)  # newest first
    assert feed.poll(NOW) == []
    assert all(server.asked[f"/list/{name}"] == 1 for name in names(0, 5, 10))


def test_a_listing_is_asked_conditionally(server, feed):
    def page(handler, _):
        if handler.headers.get("If-None-Match") == '"v1"':
            return send(handler, b"", 304)
        return send(handler, page_of(*names(0)), ETag='"v1"')

    server.pages["/list/"] = page
    server.pages[f"/list/{names(0)[0]}"] = lambda handler, n: send(handler, b"", 404) if n == 1 else send(handler)
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert feed.poll(NOW) == []
    assert len(feed.poll(NOW)) == 1  # named by the unchanged page, there now
    assert [headers.get("If-None-Match") for path, headers in server.seen if path == "/list/"] == [None, '"v1"']


def test_after_midnight_the_listing_of_the_day_before_is_asked_too(server, feed):
    late, early = "radar_202405012355.h5", "radar_202405020000.h5"
    midnight = datetime(2024, 5, 2, 0, 2, tzinfo=UTC)

    def page(tag, *listed):
        def answer(handler, _):
            if handler.headers.get("If-None-Match") == tag:
                return send(handler, b"", 304)
            return send(handler, page_of(*listed), ETag=tag)

        return answer

    server.pages["/20240501/"] = page('"old"', late)
    server.pages[f"/20240501/{late}"] = lambda handler, n: send(handler, b"", 404) if n == 1 else send(handler)
    server.pages[f"/20240502/{early}"] = lambda handler, _: send(handler)
    feed = feed(url="", listing=server.url + "/{time:%Y%m%d}/", pattern=PATTERN, look_back_minutes=30)
    assert feed.poll(midnight) == []  # named, but not there yet; and the new day has no page yet
    server.pages["/20240502/"] = page('"new"', early)
    assert [path.name for path in feed.poll(midnight)] == [early, late]  # each beside the page that names it
    server.pages["/20240501/"] = lambda handler, _: send(handler, b"", 403)
    server.pages["/20240502/"] = page('"newer"', early, "radar_202405020005.h5")
    server.pages["/20240502/radar_202405020005.h5"] = lambda handler, _: send(handler)
    assert len(feed.poll(midnight)) == 1  # a listing that fails hides no other
    tags = [(path[:9], headers.get("If-None-Match")) for path, headers in server.seen if path.endswith("/")]
    assert [tag for day, tag in tags if day == "/20240501"] == [None, '"old"', '"old"']
    assert [tag for day, tag in tags if day == "/20240502"] == [None, None, '"new"']
    feed.poll(midnight + timedelta(hours=12))
    assert [path for path, _ in server.seen][-1] == "/20240502/"  # the day before is asked no more


def test_one_bad_file_does_not_hold_up_the_others(server, feed):
    server.pages["/list/"] = lambda handler, _: send(handler, page_of(*names(0, 5)))
    server.pages[f"/list/{names(0)[0]}"] = lambda handler, _: send(handler, b"", 403)
    server.pages[f"/list/{names(5)[0]}"] = lambda handler, _: send(handler)
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [p.name for p in feed.poll(NOW)] == names(5)


def test_an_indirect_url_and_a_key_that_goes_to_no_one_else(server, feed, tmp_path):
    (tmp_path / "key").write_text("secret\n")
    name = names(0)[0]
    server.pages["/list"] = lambda handler, _: send(handler, f'{{"files": [{{"filename": "{name}"}}]}}'.encode())
    direct = f'{{"temporaryDownloadUrl": "{server.url}/bucket/{name}"}}'.encode()
    server.pages[f"/files/{name}/url"] = lambda handler, _: send(handler, direct)
    server.pages[f"/bucket/{name}"] = lambda handler, _: send(handler)
    feed = feed(
        url=server.url + "/files/{name}/url", listing=server.url + "/list", pattern=PATTERN,
        indirect="temporaryDownloadUrl", key_file=str(tmp_path / "key"), look_back_minutes=30,
    )  # fmt: skip
    assert only(feed).read_bytes() == BODY
    assert {path: headers.get("Authorization") for path, headers in server.seen} == {
        "/list": "secret", f"/files/{name}/url": "secret", f"/bucket/{name}": None
    }  # fmt: skip


def test_a_missing_key_file_is_told(feed):
    with pytest.raises(ConfigError, match="write the key there"):
        feed(key_file="/nowhere/key").poll(NOW)


def test_revisions_get_names_of_their_own(tmp_path):
    inbox = Inbox(tmp_path)
    assert inbox.put("rate.grib2.gz", [b"one"], 10).name == "rate.grib2.gz"
    assert inbox.put("rate.grib2.gz", [b"one"], 10) is None
    assert inbox.put("rate.grib2.gz", [b"two"], 10).name == "rate.r2.grib2.gz"
    assert inbox.put("rate.grib2.gz", [b"two"], 10) is None
    assert revised("T_PAAH22_C_EUOC_20241126010000.hdf", 3) == "T_PAAH22_C_EUOC_20241126010000.r3.hdf"
    assert revised("composite_hx_20241126_0100-hd5", 2) == "composite_hx_20241126_0100-hd5.r2"


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
    shutil.rmtree(tmp_path / "feed/odim")
    with pytest.raises(FeedError, match=r"radar\.h5: No such file .*; make room on its disk"):
        feed.poll(NOW)
    (tmp_path / "feed/odim").mkdir()
    assert [path.name for path in feed.poll(NOW)] == ["radar.h5"]


@pytest.mark.parametrize(("owner", "call"), [(os, "replace"), (Path, "exists")])
def test_a_full_or_closed_disk_fails_an_http_feed_until_there_is_room(server, feed, tmp_path, monkeypatch, owner, call):
    name = names(0)[0]
    server.pages["/list/"] = lambda handler, _: send(handler, page_of(*names(0, 5)))
    for listed in names(0, 5):
        server.pages[f"/list/{listed}"] = lambda handler, _: send(handler)
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    runner = FeedRunner((feed,), lambda paths: None, now=lambda: NOW)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, full)
        runner.look(feed)
    assert f"{name}: No space left on device; make room" in runner.states["test"].last_error
    assert server.asked[f"/list/{names(5)[0]}"] == 0  # not fetched in vain
    assert list((tmp_path / "feed/odim").iterdir()) == []
    runner.look(feed)
    assert (runner.states["test"].arrived, runner.states["test"].last_error) == (2, "")


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
    with pytest.raises(FeedError, match="101 bytes, at most 100"):
        feed.poll(NOW)
    system.rm("/bucket", recursive=True)
    with pytest.raises(FeedError, match="asked again later"):
        feed.poll(NOW)
    with pytest.raises(FeedError, match="asked again later"):
        ObjectFeed(replace(config, store="no-such-store"), Inbox(tmp_path)).poll(NOW)


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


def test_listings_are_those_of_every_wanted_time_once():
    config = FeedConfig("x", "odim", listing="http://x/{time:%d}/", pattern=PATTERN, look_back_minutes=3000)
    assert config.listings(NOW) == ["http://x/01/", "http://x/30/", "http://x/29/"]
    assert replace(config, look_back_minutes=30).listings(NOW) == ["http://x/01/"]
    assert replace(config, look_back_minutes=4).listings(NOW.replace(hour=0)) == ["http://x/01/", "http://x/30/"]


def test_an_object_store_without_fsspec_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    config = FeedConfig("o", "odim", "object", store="memory", listing="/x", pattern=PATTERN)
    with pytest.raises(FeedError, match=r"nowcast\[object-store\]"):
        ObjectFeed(config, Inbox(tmp_path)).poll(NOW)


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
        ('source = "knmi', "give a TOML file"),
    ],
)
def test_a_wrong_feed_is_told(tmp_path, text, told):
    path = tmp_path / "feeds.toml"
    path.write_text(f"[feeds.x]\n{text}\n")
    with pytest.raises(ConfigError, match=told):
        read_feeds(path)
