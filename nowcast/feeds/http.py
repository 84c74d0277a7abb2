"""Files over HTTP(S): a template or a listing, conditional requests, retries with jitter, and hard limits.

Each request goes to a host of the allow-list, at an address that was checked to be public (unless the feed is
private) and that is then connected to, so a name cannot change its mind in between; a redirect is a new request
under the same rules.
"""

import json
import random
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from nowcast.errors import FeedError, NoRoom
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import Inbox
from nowcast.feeds.request import Answer, Deadline, Refused, request

LISTING_BYTES = 8_000_000
REDIRECTS = 3
BACKOFF = 0.5
BUSY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Page:
    """What a listing named when it last changed."""

    etag: str = ""
    names: tuple[str, ...] = ()


@dataclass
class HttpFeed:
    """Files of a web server.

    Attributes
    ----------
    not_before
        Monotonic time before which the server wants no request (`Retry-After`).
    """

    config: FeedConfig
    inbox: Inbox
    not_before: float = 0.0
    _pages: dict[str, Page] = field(default_factory=dict)
    _done: dict[str, str] = field(default_factory=dict)

    def poll(self, now: datetime) -> list[Path]:
        """Fetch what is new, newest first.

        Raises
        ------
        FeedError
            When nothing could be fetched; what was fetched before stays.
        NoRoom
            When the feed folder cannot be searched.
        """
        if time.monotonic() < self.not_before:
            return []
        arrived: list[Path] = []
        failed: list[str] = []
        for name, url in self._wanted(now, failed):
            if name in self._done or self.inbox.has(name):
                continue
            try:
                path = self._fetch(name, url)
            except FeedError as error:
                failed.append(str(error))
                continue
            except NoRoom as error:  # nor is there for the others: they are not fetched in vain
                failed.append(str(error))
                break
            if path:
                arrived.append(path)
        if failed and not arrived:
            raise FeedError("; ".join(failed[:3]))
        return arrived

    def _wanted(self, now: datetime, failed: list[str]) -> list[tuple[str, str]]:
        """Return (name, URL) of the files that are wanted, newest first."""
        if self.config.listing:
            return self._listed(now, failed)
        urls = [self.config.url.format(time=t) for t in self.config.times(now)]
        return [(unquote(urlsplit(url).path).rsplit("/", 1)[-1], url) for url in urls]

    def _listed(self, now: datetime, failed: list[str]) -> list[tuple[str, str]]:
        """Return what the listings name; one that fails hides no other, and is told in `failed`."""
        self._pages = {page: self._pages.get(page, Page()) for page in self.config.listings(now)}
        times: dict[str, datetime] = {}
        urls: dict[str, str] = {}
        for page in self._pages:
            try:
                young = {name: t for name in self._listing(page) if (t := self.config.young(name, now))}
            except FeedError as error:
                failed.append(str(error))
                continue
            times |= young
            urls |= {name: self._url(name, t, page) for name, t in young.items()}
        return [(name, urls[name]) for name in sorted(times, key=lambda name: times[name], reverse=True)]

    def _url(self, name: str, at: datetime, listing: str) -> str:
        return self.config.url.format(name=name, time=at) if self.config.url else urljoin(listing, name)

    def _listing(self, url: str) -> tuple[str, ...]:
        """Return the file names on a page; from the last time where the server says that it has not changed."""
        answer = self._ask(url, LISTING_BYTES, self._pages[url].etag)
        if answer is not None:
            text = unquote(b"".join(answer.blocks).decode("utf-8", "replace"))
            names = sorted({match[0] for match in re.finditer(self.config.pattern, text)})
            self._pages[url] = Page(answer.etag, tuple(names))
        return self._pages[url].names

    def _fetch(self, name: str, url: str) -> Path | None:
        if self.config.indirect:
            url = self._direct(url)
        answer = self._ask(url, self.config.max_bytes, "", url != self.config.url and bool(self.config.indirect))
        if answer is None:
            return None
        path = self.inbox.put(name, answer.blocks, self.config.max_bytes)
        self._done[name] = answer.etag
        while len(self._done) > 2000:
            self._done.pop(next(iter(self._done)))
        return path

    def _direct(self, url: str) -> str:
        answer = self._ask(url, 65_536, "")
        try:
            return str(json.loads(b"".join(answer.blocks if answer else ()))[self.config.indirect])
        except (ValueError, KeyError, TypeError) as error:
            raise FeedError(f"{url}: answers no JSON with {self.config.indirect!r}; check the feed") from error

    def _ask(self, url: str, limit: int, etag: str, bare: bool = False) -> Answer | None:
        """Return the whole answer, tried again while the deadline lasts; None for 304 and 404."""
        deadline = Deadline(self.config.deadline_seconds)
        told = ""
        for attempt in range(self.config.tries):
            if attempt:
                pause = BACKOFF * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311  jitter, no secret
                if pause > deadline.left():
                    break
                time.sleep(pause)
            try:
                return self._once(url, limit, etag, deadline, bare)
            except Refused as error:
                raise FeedError(f"{url}: {error}") from error
            except OSError as error:
                told = str(error) or type(error).__name__
                if time.monotonic() < self.not_before:
                    break
        raise FeedError(f"{url}: {told}; tried {attempt + 1} times in {deadline.spent():.0f} s, asked again later")

    def _once(self, url: str, limit: int, etag: str, deadline: Deadline, bare: bool) -> Answer | None:
        headers = {} if bare else self.config.headers()
        if etag:
            headers["If-None-Match"] = etag
        for _ in range(REDIRECTS + 1):
            answer = request(url, headers, self.config, limit, deadline)
            if answer.status in {301, 302, 303, 307, 308} and answer.location:
                target = _redirected(url, answer.location)
                if urlsplit(target).hostname != urlsplit(url).hostname:
                    headers.pop(self.config.key_header, None)
                url = target
                continue
            return self._judged(answer, url)
        raise Refused(f"more than {REDIRECTS} redirects")

    def _judged(self, answer: Answer, url: str) -> Answer | None:
        if answer.status in {304, 404}:
            return None
        if answer.status in BUSY:
            self.not_before = time.monotonic() + answer.retry_after
            raise OSError(f"answers {answer.status}")
        if answer.status != 200:
            raise Refused(f"answers {answer.status}; check the feed's URL and key")
        return answer


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        urlsplit(target)
    except ValueError as error:
        raise Refused(f"redirects to {location[:80]!r}, which is no URL ({error})") from error
    return target
