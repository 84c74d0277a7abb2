"""Server-sent events: every published run, and every change of a region's state.

The id of an event is the id of the last published run, the same in every process: after `Last-Event-ID: n` come the
runs published since, wherever the client connects again.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from anyio import to_thread

from api.watch import LOOK_SECONDS, Watch
from nowcast.clock import Clock
from nowcast.errors import NowcastError
from nowcast.store.store import Publication, Store

log = structlog.get_logger()

STALE_AFTER = timedelta(minutes=10)
EXPIRES_AFTER = timedelta(minutes=30)
KEPT = 256
REPLAYED = 100
STILL_HERE_SECONDS = 15.0


def state_of(base_time: datetime | None, now: datetime) -> str:
    """Return `ok`, `stale` (older than ten minutes), `expired` (older than thirty) or `none`."""
    if base_time is None:
        return "none"
    age = now - base_time
    return "expired" if age > EXPIRES_AFTER else "stale" if age > STALE_AFTER else "ok"


def stamp(time: datetime) -> str:
    """Return a time as ISO 8601 with Z."""
    return time.isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Event:
    """One event; `number` counts within this process, `id` is what the client sends back."""

    number: int
    id: int
    name: str
    data: Mapping[str, object]

    def encode(self) -> bytes:
        """Return the event as it goes over the wire."""
        return f"id: {self.id}\nevent: {self.name}\ndata: {json.dumps(dict(self.data))}\n\n".encode()


class Live:
    """The process's one look at the store per quarter of a second, told to every client."""

    def __init__(self, store: Store, watch: Watch, clock: Clock) -> None:
        self._store, self._watch, self._clock = store, watch, clock
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._states: dict[str, str] = {}
        self._changed, self._stopped = asyncio.Event(), asyncio.Event()
        self._number = self._last_id = 0

    async def run(self) -> None:
        """Look and tell until stopped; a store that is away is asked again."""
        while not self._stopped.is_set():
            try:
                for publication in await self._watch.look():
                    self._tell("run", publication.id, _run_data(publication))
                self._tell_states()
            except NowcastError as error:
                self._tell_state("store", "away", {"reason": type(error).__name__})
            else:
                self._tell_state("store", "ok", {})
            await _within(self._stopped, LOOK_SECONDS)

    def stop(self) -> None:
        """End `run` after the look that it is in."""
        self._stopped.set()

    def _tell_states(self) -> None:
        now = self._clock.now()
        for region in self._watch.regions():
            run = self._watch.newest_or_none(region)
            base_time = run.base_time if run else None
            self._last_id = max(self._last_id, run.id if run else 0)
            told = {"base_time": stamp(base_time) if base_time else None}
            self._tell_state(region, state_of(base_time, now), told)

    def _tell_state(self, subject: str, state: str, more: Mapping[str, object]) -> None:
        before, self._states[subject] = self._states.get(subject), state
        if before not in (None, state):
            self._tell("state", self._last_id, {"region": subject, "state": state, **more})

    def _tell(self, name: str, event_id: int, data: Mapping[str, object]) -> None:
        self._number += 1
        self._last_id = max(self._last_id, event_id)
        self._events.append(Event(self._number, event_id, name, data))
        self._changed.set()
        self._changed = asyncio.Event()

    async def stream(self, last_id: int | None) -> AsyncIterator[bytes]:
        """Yield what a client missed, the states as they are, then each event as it happens."""
        number = self._number
        yield b"retry: 2000\n\n"
        missed = await self._missed(last_id)
        for publication in missed:
            yield Event(0, publication.id, "run", _run_data(publication)).encode()
        for subject, state in self._states.items():
            yield Event(0, self._last_id, "state", {"region": subject, "state": state}).encode()
        sent = {p.id for p in missed}
        while True:
            changed = self._changed
            for event in [e for e in self._events if e.number > number]:
                number = event.number
                if not (event.name == "run" and event.id in sent):
                    yield event.encode()
            if changed is self._changed and not await _within(changed, STILL_HERE_SECONDS):
                yield b": still here\n\n"

    async def _missed(self, last_id: int | None) -> list[Publication]:
        if last_id is None:
            return []
        return await to_thread.run_sync(self._store.runs_after, last_id, REPLAYED)


def _run_data(publication: Publication) -> dict[str, object]:
    return {
        "region": publication.region,
        "base_time": stamp(publication.base_time),
        "published_at": stamp(publication.published_at),
        "run": publication.id,
    }


async def until_stopped(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the events; when the server stops and cancels the answer, end it instead of breaking it off."""
    try:
        async for event in events:
            yield event
    except asyncio.CancelledError:
        return


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
