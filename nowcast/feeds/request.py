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
    """

    status: int
    blocks: list[bytes]
    unless: dict[str, str]
    location: str
    retry_after: float


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
        if not private and not ipaddress.ip_address(address.split("%")[0]).is_global:
            raise Refused(f"{host} is {address}, an address of a private network; set private = true if that is meant")
    sock = _reach(addresses, port, deadline)
    sock.settimeout(deadline.check())
    if scheme == "https":
        context = ssl.create_default_context()
        sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    connection = http.client.HTTPConnection(host, port)
    connection.sock = sock
    return connection


def _reach(addresses: list[str], port: int, deadline: Deadline) -> socket.socket:
    """Return a connection to the first of the addresses that takes one; each gets its share of the time."""
    for left in range(len(addresses), 1, -1):
        with suppress(OSError):
            return socket.create_connection((addresses[-left], port), timeout=deadline.check() / left)
    return socket.create_connection((addresses[-1], port), timeout=deadline.check())


def _answer(connection: http.client.HTTPConnection, limit: int, deadline: Deadline) -> Answer:
    response = connection.getresponse()
    stated = response.headers.get("Content-Length")
    if stated and stated.isdigit() and int(stated) > limit:
        raise Refused(f"states {stated} bytes, at most {limit} are taken; raise max_bytes if that is right")
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
    if stated and stated.isdigit() and size != int(stated) and response.status == 200:
        raise ConnectionError(f"sent {size} of {stated} bytes")
    header = response.headers
    return Answer(response.status, blocks, _unless(header), header.get("Location", ""), _pause(header))


def _unless(headers: http.client.HTTPMessage) -> dict[str, str]:
    for told, asked in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        if value := headers.get(told):
            return {asked: value}
    return {}


def _pause(headers: http.client.HTTPMessage) -> float:
    value = headers.get("Retry-After", "")
    return min(float(value), LONGEST_PAUSE) if value.isdigit() else 0.0
