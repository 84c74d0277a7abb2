"""Polling: each feed in a thread of its own, so that one that hangs holds up no other.

Arrivals wake the cycle at once (`on_arrival`), so a region is served as soon as its newest frame is there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

import structlog

from nowcast.clock import wall
from nowcast.errors import NowcastError
from nowcast.feeds.config import FeedConfig
from nowcast.feeds.folder import FolderFeed
from nowcast.feeds.http import HttpFeed
from nowcast.feeds.inbox import Inbox
from nowcast.feeds.store import ObjectFeed

log = structlog.get_logger()


class Feed(Protocol):
    """Where files come from."""

    config: FeedConfig

    def poll(self, now: datetime) -> list[Path]:
        """Bring what is new into the feed folder and return its paths."""
        ...


def open_feed(config: FeedConfig, feed_dir: Path) -> Feed:
    """Return the feed of a configuration, which fills `feed_dir/<source>`."""
    inbox = Inbox(feed_dir / config.source)
    if config.kind == "folder":
        return FolderFeed(config, inbox)
    return HttpFeed(config, inbox) if config.kind == "http" else ObjectFeed(config, inbox)


@dataclass
class FeedState:
    """What a feed's last poll came to; read by metrics and `nowcast doctor`."""

    arrived: int = 0
    failures: int = 0
    last_arrival: datetime | None = None
    last_error: str = ""


@dataclass
class FeedRunner:
    """Polls feeds until it is stopped.

    Attributes
    ----------
    on_arrival
        Called from the feed's thread with the paths of each poll that brought something: set an event that the
        cycle waits for.
    states
        By feed name.
    """

    feeds: tuple[Feed, ...]
    on_arrival: Callable[[list[Path]], None]
    now: Callable[[], datetime] = wall
    states: dict[str, FeedState] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin to poll."""
        for feed in self.feeds:
            self.states[feed.config.name] = FeedState()
            thread = threading.Thread(target=self._run, args=(feed,), name=f"feed-{feed.config.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """End polling; waits so long for requests under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(seconds)

    def dead(self) -> list[str]:
        """Return the names of feeds whose thread has ended though it should not: a bug, to stop the process for."""
        return [] if self._stop.is_set() else [thread.name for thread in self._threads if not thread.is_alive()]

    def _run(self, feed: Feed) -> None:
        while not self._stop.is_set():
            self.look(feed)
            self._stop.wait(feed.config.poll_seconds)

    def look(self, feed: Feed) -> None:
        """Poll one feed once."""
        state = self.states.setdefault(feed.config.name, FeedState())
        try:
            arrived = feed.poll(self.now())
        except NowcastError as error:
            state.failures += 1
            if str(error) != state.last_error:
                log.warning("feed failed", feed=feed.config.name, reason=str(error))
            state.last_error = str(error)
            return
        state.last_error = ""
        if arrived:
            state.arrived += len(arrived)
            state.last_arrival = self.now()
            self.on_arrival(arrived)
