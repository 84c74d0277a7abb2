"""One HTTP request with hard limits: an allowed host, a checked address, a byte cap and one deadline for everything."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from nowcast.feeds.config import FeedConfig

BLOCK = 1 << 16
AGENT = "nowcast (rain nowcasting; https feeds)"
LONGEST_PAUSE = 600.0
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a gateway turns into the IPv4 address of their last 32 bits (RFC 6052)."""


class Refused(Exception):
    """The request may not be made, or its answer not be used; trying again will not help."""


@dataclass(frozen=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    unless
        Headers that ask for it only if it has changed since; empty where the server offers none.
    retry_after
        Seconds that the server wants to be left alone, 0 where it does not say.
    ended
        Whether the server said where it ends, by a length or chunks: else a connection that breaks looks like the end.
    """

    status: int
    blocks: list[bytes]
    unless: dict[str, str]
    location: str
    retry_after: float
    ended: bool


class Deadline:
    """A span that began when this was made."""

    def __init__(self, seconds: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def left(self) -> float:
        """Seconds until the end, 0 when it is over."""
        return max(0.0, self._seconds - self.spent())

    def check(self) -> float:
        """Return what is left, or raise `TimeoutError`."""
        if left := self.left():
            return left
        raise TimeoutError(f"took longer than {self._seconds:g} s")


def request(url: str, headers: dict[str, str], config: FeedConfig, limit: int, deadline: Deadline) -> Answer:
    """Return the answer to a GET.

    Raises
    ------
    Refused
        For another host, scheme or a private address, and for more than `limit` bytes.
    OSError
        For what may pass: no connection, a cut answer, a deadline.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        target.encode("ascii")
    except ValueError as error:
        raise Refused(f"{url[:80]!r} is no URL ({error})") from error
    if parts.scheme not in {"http", "https"} or host not in config.allowed:
        raise Refused(f"{parts.scheme}://{host} is not among the feed's hosts ({', '.join(sorted(config.allowed))})")
    connection = _connect(parts.scheme, host, port, config.private, deadline)
    watchdog = threading.Timer(deadline.left(), _cut, (connection.sock,))  # handshake and headers may drip in too
    watchdog.start()
    try:
        if isinstance(connection.sock, ssl.SSLSocket):
            connection.sock.do_handshake()
        connection.request("GET", target, headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **headers})
        return _answer(connection, limit, deadline)
    except (http.client.HTTPException, OSError) as error:
        deadline.check()
        raise ConnectionError(f"broken answer ({type(error).__name__}: {error})") from error
    finally:
        watchdog.cancel()
        connection.close()


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # an SSLSocket's own makes a read in another thread fail oddly


def _connect(scheme: str, host: str, port: int, private: bool, deadline: Deadline) -> http.client.HTTPConnection:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        if not private and not _public(address):
            raise Refused(f"{host} is {address}, an address of a private network; set private = true if that is meant")
    sock = _reach(addresses, port, deadline)
    sock.settimeout(deadline.check())
    if scheme == "https":
        context = ssl.create_default_context()
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    connection = http.client.HTTPConnection(host, port)
    connection.sock = sock
    return connection


def _public(address: str) -> bool:
    """Tell whether an address is of the internet, and so is the IPv4 address that it may stand for."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner: ipaddress.IPv4Address | None = None
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip.ipv4_mapped or ip.sixtofour
    return ip.is_global and (inner is None or inner.is_global)


def _reach(addresses: list[str], port: int, deadline: Deadline) -> socket.socket:
    """Return a connection to the first of the addresses that takes one; each gets its share of the time."""
    for left in range(len(addresses), 1, -1):
        with suppress(OSError):
            return socket.create_connection((addresses[-left], port), timeout=deadline.check() / left)
    return socket.create_connection((addresses[-1], port), timeout=deadline.check())


def _answer(connection: http.client.HTTPConnection, limit: int, deadline: Deadline) -> Answer:
    response = connection.getresponse()
    stated = _number(response.headers.get("Content-Length"))
    if stated is not None and stated > limit:
        raise Refused(f"states {stated:.0f} bytes, at most {limit} are taken; raise max_bytes if that is right")
    blocks, size = [], 0
    while True:
        if connection.sock is not None:
            connection.sock.settimeout(deadline.check())
        deadline.check()
        block = response.read1(BLOCK)
        if not block:
            break
        size += len(block)
        if size > limit:
            raise Refused(f"sends more than {limit} bytes; raise max_bytes if that is right")
        blocks.append(block)
    deadline.check()  # the watchdog's cut looks like the end where no length is stated
    if stated is not None and size != stated and response.status == 200:
        raise ConnectionError(f"sent {size} of {stated:.0f} bytes")
    header = response.headers
    ended = stated is not None or response.chunked
    return Answer(response.status, blocks, _unless(header), header.get("Location", ""), _pause(header), ended)


def _unless(headers: http.client.HTTPMessage) -> dict[str, str]:
    for told, asked in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        if value := headers.get(told):
            return {asked: value}
    return {}


def _pause(headers: http.client.HTTPMessage) -> float:
    return min(_number(headers.get("Retry-After")) or 0.0, LONGEST_PAUSE)


def _number(text: str | None) -> float | None:
    """Return a number that a header states; None for what is none, such as a date, or a "²" that `isdigit` lets by."""
    return float(text) if text and text.isascii() and text.isdigit() else None
