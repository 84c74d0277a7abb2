"""An HTTP feed against a server that misbehaves in each way that servers do."""

import errno
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nowcast.errors import ConfigError, FeedError
from nowcast.feeds.request import _public
from nowcast.feeds.runner import FeedRunner
from tests.feeds.serving import BODY, FILE, NOW, PATTERN, names, send


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


def drip_without_length(handler, _):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"x")
        time.sleep(0.1)


@pytest.mark.parametrize("page", [drip, drip_headers, drip_without_length, lambda handler, _: time.sleep(5)])
def test_slow_ends_at_the_deadline(server, feed, page):
    server.pages[FILE] = page
    before = time.monotonic()
    with pytest.raises(FeedError, match=r"took longer than 0\.8 s"):
        feed(deadline_seconds=0.8).poll(NOW)
    assert time.monotonic() - before < 2.5


def test_a_handshake_that_drips_in_ends_at_the_deadline(feed):
    def drip(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00")
            for _ in range(50):
                connection.sendall(b"x")
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, args=(listener,), daemon=True).start()
        url, before = f"https://127.0.0.1:{listener.getsockname()[1]}/radar.h5", time.monotonic()
        with pytest.raises(FeedError, match=r"took longer than 0\.8 s"):
            feed(url=url, deadline_seconds=0.8).poll(NOW)
        assert time.monotonic() - before < 2.5


def test_a_host_is_reached_by_the_address_that_answers(server, feed, monkeypatch):
    server.pages[FILE] = lambda handler, _: send(handler)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.2", "127.0.0.1")]
    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: found if host == "radar" else ask(host, *a, **k))
    assert only(feed(url=f"http://radar:{server.server_address[1]}{FILE}")).read_bytes() == BODY


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


@pytest.mark.parametrize("target", ["http://[x", "http://127.0.0.1:port/", "/größe.h5"])
def test_a_redirect_to_what_is_no_url_is_refused(server, feed, target):
    server.pages[FILE] = lambda handler, _: send(handler, b"", 302, Location=target)
    with pytest.raises(FeedError, match="is no URL"):
        feed().poll(NOW)


def test_private_addresses_are_blocked_unless_meant(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler)
    with pytest.raises(FeedError, match="address of a private network"):
        feed(private=False).poll(NOW)
    assert not server.asked


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("9.9.9.9", True),
        ("64:ff9b::909:909", True),
        ("::ffff:9.9.9.9", True),
        ("64:ff9b::a00:1", False),
        ("::ffff:10.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("100.64.0.1", False),
    ],
)
def test_an_address_that_stands_for_a_private_one_is_private(address, public):
    assert _public(address) is public


def page_of(*names):
    return "".join(f'<a href="{name}">{name}</a>\n' for name in names).encode()


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


@pytest.mark.parametrize(
    "row",
    [
        '<a href="{name}">{name}</a>  01-May-2024 12:00  {size}\n',
        '<tr><td>{size}</td><td><a href="{name}">{name}</a></td></tr>',
        '{{"filename": "{name}", "size": {size}}}, ',
        "<Contents><Key>2024/{name}</Key><Size>{size}</Size></Contents>",
        "-rw-r--r-- 1 radar radar {size} May  1 12:00 {name}\r\n",
    ],
)
@pytest.mark.parametrize("told", ["ETag", "Last-Modified"])
def test_a_file_that_is_replaced_comes_again_and_no_other_is_asked_for(server, feed, row, told):
    first, second = names(5, 0)
    sizes = {first: 5, second: 6}
    asked = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}[told]

    def file(handler, _):
        size = sizes[handler.path.rsplit("/", 1)[-1]]
        if handler.headers.get(asked) == f"v{size}":
            return send(handler, b"", 304)
        return send(handler, b"x" * size, **{told: f"v{size}"})

    def listing(handler, _):
        send(handler, "".join(row.format(name=name, size=size) for name, size in sizes.items()).encode())

    server.pages |= {"/list/": listing, f"/list/{first}": file, f"/list/{second}": file}
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [path.name for path in feed.poll(NOW)] == [second, first]
    sizes[first] = 7
    (path,) = feed.poll(NOW)
    assert path.name == first.replace(".h5", ".r2.h5")
    assert path.read_bytes() == b"x" * 7
    assert feed.poll(NOW) == []
    assert (server.asked[f"/list/{first}"], server.asked[f"/list/{second}"]) == (2, 1)


def test_a_row_that_always_changes_costs_no_file_of_a_server_that_cannot_be_asked(server, feed):
    server.pages["/list/"] = lambda handler, n: send(handler, f"{names(0)[0]} {n} s ago".encode())
    server.pages[f"/list/{names(0)[0]}"] = lambda handler, _: send(handler)
    plain = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [len(plain.poll(NOW)) for _ in range(4)] == [1, 0, 0, 0]
    assert server.asked[f"/list/{names(0)[0]}"] == 1
    server.pages[f"/list/{names(0)[0]}"] = lambda handler, _: send(handler, ETag='"ignored"')
    deaf = feed(source="deaf", url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [len(deaf.poll(NOW)) for _ in range(4)] == [1, 0, 0, 0]
    assert server.asked[f"/list/{names(0)[0]}"] == 3  # found out by one


def without_end(body, **headers):
    """Return a page whose answer ends where the connection does."""

    def page(handler, n):
        conditional = "If-None-Match" in handler.headers
        handler.send_response(304 if conditional else 200)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"" if conditional else body(n))
        handler.close_connection = True

    return page


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("headers", [{}, {"ETag": '"v1"'}])
def test_an_answer_that_does_not_say_where_it_ends_is_asked_for_until_it_comes_the_same(server, feed, listed, headers):
    name = names(0)[0]
    server.pages["/list/"] = lambda handler, _: send(handler, page_of(name))
    page = without_end(lambda n: BODY[:5000] if n == 1 else BODY, **headers)
    server.pages[FILE] = server.pages[f"/list/{name}"] = page
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=3) if listed else feed()
    arrived = [feed.poll(NOW) for _ in range(5)]
    assert [[p.stat().st_size for p in paths] for paths in arrived] == [[5000], [len(BODY)], [], [], []]
    assert arrived[1][0].name == name.replace(".h5", ".r2.h5")
    assert server.asked[f"/list/{name}" if listed else FILE] == 3


def test_a_listing_that_was_cut_is_read_again(server, feed):
    server.pages["/list/"] = without_end(lambda n: page_of(*names(0, 5))[: 60 if n == 1 else None], ETag='"v1"')
    for name in names(0, 5):
        server.pages[f"/list/{name}"] = lambda handler, _: send(handler)
    feed = feed(url="", listing=server.url + "/list/", pattern=PATTERN, look_back_minutes=30)
    assert [[path.name for path in feed.poll(NOW)] for _ in range(3)] == [names(0), names(5), []]


def test_an_answer_without_an_end_that_is_always_another_is_asked_for_as_often_as_any(server, feed):
    server.pages[FILE] = without_end(lambda n: b"x" * n)
    feed = feed()
    assert [len(feed.poll(NOW)) for _ in range(7)] == [1, 1, 1, 1, 0, 0, 0]


def test_chunks_that_end_early_are_a_cut_answer(server, feed):
    def page(handler, n):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(BODY) + (BODY[:5000] if n == 1 else BODY + b"\r\n0\r\n\r\n"))
        handler.close_connection = True

    server.pages[FILE] = page
    feed = feed()
    assert only(feed).read_bytes() == BODY
    assert feed.poll(NOW) == []
    assert server.asked[FILE] == 2


def test_a_template_s_file_that_was_half_written_is_asked_for_until_it_has_not_changed(server, feed):
    def page(handler, n):
        size = min(n, 3) * 1000
        if handler.headers.get("If-None-Match") == f'"{size}"':
            return send(handler, b"", 304)
        return send(handler, BODY[:size], ETag=f'"{size}"')

    server.pages[FILE] = page
    feed = feed()
    assert [[p.stat().st_size for p in feed.poll(NOW)] for _ in range(6)] == [[1000], [2000], [3000], [], [], []]
    assert server.asked[FILE] == 4


@pytest.mark.parametrize("number", ["\xb2", "9" * 5000, "-1", "soon"])
@pytest.mark.parametrize("header", ["Content-Length", "Retry-After"])
def test_a_header_that_states_no_number_fails_its_feed_and_ends_no_thread(server, feed, header, number):
    def page(handler, _):
        handler.wfile.write(f"HTTP/1.1 503 Busy\r\n{header}: {number}\r\n\r\n".encode("latin-1"))
        handler.close_connection = True

    server.pages[FILE] = page
    with pytest.raises(FeedError, match=r"answers 503|states inf bytes|broken answer"):
        feed().poll(NOW)


def test_json_of_brackets_in_brackets_is_no_url(server, feed):
    server.pages[FILE] = lambda handler, _: send(handler, b"[" * 60_000)
    with pytest.raises(FeedError, match="no JSON with 'temporaryDownloadUrl'"):
        feed(indirect="temporaryDownloadUrl").poll(NOW)


def test_a_name_that_is_not_written_hides_no_other(server, feed):
    bad, good = "radar%20202405011200.h5", names(5)[0]
    server.pages["/list/"] = lambda handler, _: send(handler, page_of(bad, good))
    server.pages[f"/list/{good}"] = lambda handler, _: send(handler)
    pattern = r"radar[_ ](?P<time>\d{12})\.h5"
    assert only(feed(url="", listing=server.url + "/list/", pattern=pattern, look_back_minutes=30)).name == good


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


@pytest.mark.parametrize(
    "key", ["\ufeffsecret".encode("utf-16"), b"\xff\xfe", "schlüssel".encode(), b"se\r\ncret: x", b"\n", b"a\0b"]
)
def test_a_key_that_is_no_key_fails_its_feed_until_it_is_one(server, feed, tmp_path, key):
    path = tmp_path / "key"
    path.write_bytes(key)
    server.pages[FILE] = lambda handler, _: send(handler)
    feed = feed(key_file=str(path))
    runner = FeedRunner((feed,), lambda paths: None, now=lambda: NOW)
    runner.look(feed)
    assert f"{path}: {len(key.strip())} bytes that are not one line of plain ASCII" in runner.states["test"].last_error
    assert not server.asked
    path.write_bytes(b"secret\r\n")
    runner.look(feed)
    assert (runner.states["test"].arrived, runner.states["test"].last_error) == (1, "")
    assert server.seen[0][1]["Authorization"] == "secret"


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
