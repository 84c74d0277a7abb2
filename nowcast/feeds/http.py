"""Files over HTTP(S): a template or a listing, conditional requests, retries with jitter, and hard limits.

Each request goes to a host of the allow-list, at an address that was checked to be public (unless the feed is
private) and that is then connected to, so a name cannot change its mind in between; a redirect is a new request
under the same rules.
"""

import json
import random
import re
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from nowcast.errors import FeedError
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.inbox import Inbox, take_each
from nowcast.feeds.request import Answer, Deadline, Refused, request

LISTING_BYTES = 8_000_000
REDIRECTS = 3
BACKOFF = 0.5
BUSY = {408, 425, 429, 500, 502, 503, 504}
ROW_ENDS = re.compile(r"\n|\}|</tr>|</Contents>", re.IGNORECASE)
"""What ends a file's row in a listing, with its size and time: of a server's index, JSON, a table, a bucket."""


@dataclass(frozen=True)
class Page:
    """What a listing named when it last changed: each file's row, by name."""

    unless: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A file that is wanted; `row` stands for what the listing says of it, 0 where there is nothing of its own."""

    name: str
    url: str
    row: int = 0


@dataclass(frozen=True)
class Taken:
    """A file that has arrived: its row then, and the headers that ask for it only if it has changed since.

    Attributes
    ----------
    again
        How often it is still asked for though no row tells that it has changed, until it comes the same.
    """

    row: int = 0
    unless: dict[str, str] = field(default_factory=dict)
    again: int = 0

    def changed(self, row: int) -> bool:
        """Tell whether the file may be another by now, and the server can tell."""
        return self.again > 0 or (row != self.row and bool(self.unless))


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
    _taken: dict[str, Taken] = field(default_factory=dict)

    def poll(self, now: datetime) -> list[Path]:
        """Fetch what is new, newest first.

        Raises
        ------
        FeedError
            When nothing could be fetched; what was fetched before stays.
        """
        if time.monotonic() < self.not_before:
            return []
        failed: list[str] = []
        return take_each(self._wanted(now, failed), self._take, failed)

    def _wanted(self, now: datetime, failed: list[str]) -> list[Wanted]:
        """Return the files that are wanted, newest first."""
        if self.config.listing:
            return self._listed(now, failed)
        urls = [self.config.url.format(time=t) for t in self.config.times(now)]
        return [Wanted(unquote(urlsplit(url).path).rsplit("/", 1)[-1], url) for url in urls]

    def _listed(self, now: datetime, failed: list[str]) -> list[Wanted]:
        """Return what the listings name; one that fails hides no other, and is told in `failed`."""
        self._pages = {page: self._pages.get(page, Page()) for page in self.config.listings(now)}
        times: dict[str, datetime] = {}
        files: dict[str, Wanted] = {}
        for page in self._pages:
            try:
                rows = self._listing(page)
            except FeedError as error:
                failed.append(str(error))
                continue
            young = {name: t for name in rows if (t := self.config.young(name, now))}
            times |= young
            files |= {name: Wanted(name, self._url(name, t, page), rows[name]) for name, t in young.items()}
        return [files[name] for name in sorted(times, key=lambda name: times[name], reverse=True)]

    def _url(self, name: str, at: datetime, listing: str) -> str:
        return self.config.url.format(name=name, time=at) if self.config.url else urljoin(listing, name)

    def _listing(self, url: str) -> dict[str, int]:
        """Return the files on a page; from the last time where the server says that it has not changed."""
        answer = self._ask(url, LISTING_BYTES, self._pages[url].unless)
        if answer is not None:
            text = unquote(b"".join(answer.blocks).decode("utf-8", "replace"))
            # Not by its time: a folder's does not change with the files in it.
            unless = {header: tag for header, tag in _sure(answer).items() if header == "If-None-Match"}
            self._pages[url] = Page(unless, rows_of(text, self.config.pattern))
        return self._pages[url].rows

    def _take(self, file: Wanted) -> Path | None:
        """Fetch a file that has not arrived, or may have changed since: a correction, or it was half written."""
        taken = self._taken.get(file.name)
        if self.inbox.has(file.name) if taken is None else not taken.changed(file.row):
            return None
        url = self._direct(file.url) if self.config.indirect else file.url
        answer = self._ask(url, self.config.max_bytes, taken.unless if taken else {}, bool(self.config.indirect))
        if answer is not None:
            return self._put(file, answer)
        if taken is not None:
            self._taken[file.name] = replace(taken, row=file.row, again=0)
        return None

    def _put(self, file: Wanted, answer: Answer) -> Path | None:
        path, before = self.inbox.put(file.name, answer.blocks, self.config.max_bytes), self._taken.get(file.name)
        if path:
            self._taken[file.name] = Taken(file.row, _sure(answer), self._again(file, answer))
        else:  # the same bytes: where it was to send others alone, this server cannot be asked, and is asked no more
            self._taken[file.name] = Taken(file.row, {} if before and before.unless else answer.unless)
        while len(self._taken) > 2000:
            self._taken.pop(next(iter(self._taken)))
        return path

    def _again(self, file: Wanted, answer: Answer) -> int:
        """Return how often an answer is asked for again that may be cut, or of a file that was still being written."""
        before = self._taken.get(file.name, Taken()).again or self.config.tries
        return before - 1 if not answer.ended or (not file.row and answer.unless) else 0

    def _direct(self, url: str) -> str:
        answer = self._ask(url, 65_536, {})
        try:
            return str(json.loads(b"".join(answer.blocks if answer else ()))[self.config.indirect])
        except (ValueError, KeyError, TypeError, RecursionError) as error:  # the last of brackets in brackets
            raise FeedError(f"{url}: answers no JSON with {self.config.indirect!r}; check the feed") from error

    def _ask(self, url: str, limit: int, unless: dict[str, str], bare: bool = False) -> Answer | None:
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
                return self._once(url, limit, unless, deadline, bare)
            except Refused as error:
                raise FeedError(f"{url}: {error}") from error
            except OSError as error:
                told = str(error) or type(error).__name__
                if time.monotonic() < self.not_before:
                    break
        raise FeedError(f"{url}: {told}; tried {attempt + 1} times in {deadline.spent():.0f} s, asked again later")

    def _once(self, url: str, limit: int, unless: dict[str, str], deadline: Deadline, bare: bool) -> Answer | None:
        headers = ({} if bare else self.config.headers()) | unless
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


def _sure(answer: Answer) -> dict[str, str]:
    """Return the headers that ask for another than this answer; of one that may be cut, the same is wanted again."""
    return answer.unless if answer.ended else {}


def rows_of(text: str, pattern: str) -> dict[str, int]:
    """Return a number for the row of each file name on a page; 0 for one that shares its row with other names."""
    found: dict[str, int] = {}
    for row in ROW_ENDS.split(text):
        names = {match[0] for match in re.finditer(pattern, row)}
        found |= dict.fromkeys(sorted(names), hash(row) if len(names) == 1 else 0)
    return found


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        urlsplit(target)
    except ValueError as error:
        raise Refused(f"redirects to {location[:80]!r}, which is no URL ({error})") from error
    return target
