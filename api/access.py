"""Who may ask, and how often: keys, limits per key or address, body size; and the headers of every answer.

Open by default. Health and readiness are never limited and need no key.
"""

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.paths import path_of
from api.problems import respond
from nowcast.clock import wall
from nowcast.config import Settings
from nowcast.errors import BadRequest, NoAccess, NowcastError, TooMuch, TooOften
from nowcast.keys import ApiKey, parse_key
from nowcast.store.store import Store

MOST_BODY = 64 * 1024
KEPT_CALLERS = 10_000
KEYS_SECONDS = 10.0
FREE = ("/healthz", "/readyz")
_SCOPES = (("/v1/files", "files"), ("/v1/zarr", "files"), ("/metrics", "operations"))
_CSP = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)


def scope_of(path: str) -> str:
    """Return the scope that a path needs."""
    return next((scope for prefix, scope in _SCOPES if path.startswith(prefix)), "read")


@dataclass
class Caller:
    """A token bucket and how many requests are being answered."""

    tokens: float
    at: float
    inside: int = 0


class Guard:
    """ASGI middleware: refuses before any work is done."""

    def __init__(self, app: ASGIApp, settings: Settings, store: Store) -> None:
        self.app, self._settings, self._store = app, settings, store
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._keys: dict[str, ApiKey] = {}
        self._keys_until = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or answer why not."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _headed(scope, send, _BY_KEY if self._settings.require_key else _ALWAYS)
        caller: Caller | None = None
        try:
            _require_size(scope)
            _require_text(scope)
            caller = await self._admit(scope)  # last: who is refused is not inside
        except NowcastError as error:
            await respond(error)(scope, receive, answer)
            return
        try:
            await self.app(scope, receive, answer)
        finally:
            if caller is not None:
                caller.inside -= 1

    async def _admit(self, scope: Scope) -> Caller | None:
        settings, path = self._settings, path_of(scope)
        if path in FREE or not (settings.require_key or settings.rate_per_minute or settings.concurrent):
            return None
        name = await self._known(scope) if settings.require_key else _address(scope)
        caller = self._callers.setdefault(name, Caller(float(settings.rate_per_minute), time.monotonic()))
        self._callers.move_to_end(name)
        while len(self._callers) > KEPT_CALLERS:
            self._callers.popitem(last=False)
        self._take(caller)
        return caller

    def _take(self, caller: Caller) -> None:
        rate, now = self._settings.rate_per_minute, time.monotonic()
        if rate:
            caller.tokens = min(caller.tokens + (now - caller.at) * rate / 60, float(rate))
            caller.at = now
            if caller.tokens < 1:
                raise TooOften(f"more than {rate} requests a minute; try again in {60 / rate:.0f} s or later")
        if self._settings.concurrent and caller.inside >= self._settings.concurrent:
            raise TooOften(f"{caller.inside} requests of yours are being answered; wait for one of them")
        caller.tokens -= 1
        caller.inside += 1

    async def _known(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        text = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        parsed = parse_key(text.strip())
        if parsed is None:
            raise NoAccess("a key is needed: send it as X-API-Key, or as Authorization: Bearer")
        if time.monotonic() > self._keys_until:
            self._keys = {key.id: key for key in await to_thread.run_sync(self._store.keys.all)}
            self._keys_until = time.monotonic() + KEYS_SECONDS
        key, needed = self._keys.get(parsed[0]), scope_of(path_of(scope))
        if key is None or not key.holds(parsed[1], needed, wall()):
            raise NoAccess(f"the key is not known, has ended, or does not open {needed!r}; ask its operator")
        return f"key {key.id}"


def _address(scope: Scope) -> str:
    """Return whom an address stands for: in IPv6 a network of 64 bits, of which one host may use every address."""
    client = scope.get("client")
    text = client[0] if client else "unknown"
    try:
        address = IPv6Address(text)
    except ValueError:  # IPv4, or what a proxy made of it
        return f"address {text}"
    return f"address {address.ipv4_mapped or IPv6Network((address, 64), strict=False)}"


def _require_size(scope: Scope) -> None:
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not length.isdigit() or len(length) > 9 or int(length) > MOST_BODY:
        told = length[:20].decode("latin-1")
        raise TooMuch(f"the body has {told} bytes, at most {MOST_BODY} are read; ask for fewer points at once")


def _require_text(scope: Scope) -> None:
    if b"%00" in scope["query_string"] or "\0" in scope["path"]:  # PostgreSQL takes none, and no name has one
        raise BadRequest("the URL has a NUL character; leave it out")


_NOSNIFF = (b"x-content-type-options", b"nosniff")
_REFERRER = (b"referrer-policy", b"no-referrer")
_HSTS = (b"strict-transport-security", b"max-age=31536000")
_ALWAYS = (_NOSNIFF, _REFERRER)
_BY_KEY = (*_ALWAYS, (b"vary", b"Authorization, X-API-Key"))
"""With keys: what a shared cache keeps of one caller's answer, it may not give to who has no key."""


def _headed(scope: Scope, send: Send, more: Iterable[tuple[bytes, bytes]]) -> Send:
    secure = scope.get("scheme") == "https"

    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"] = [*message.get("headers", ()), *more]
            if secure:
                headers.append(_HSTS)
            if any(n == b"content-type" and v.startswith(b"text/html") for n, v in headers):
                headers.append((b"content-security-policy", _CSP.encode()))
        await send(message)

    return headed
