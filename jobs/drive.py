"""The live cycle on a clock that is set by hand: what replays a recorded feed, and simulates weeks in minutes.

Everything is what the worker runs (`jobs.worker.tick`): feed folder, engines, store, lease, verification, retention.
Only the time is not the wall's.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engines.ladder import Ladder
from engines.runtimes import make_rungs
from jobs.after import Afterwork
from jobs.cycle import Cycle, Report
from jobs.keep import Keeper, Keeps
from jobs.leader import Leader
from jobs.registry import with_registered
from jobs.worker import tick
from nowcast.clock import Clock
from nowcast.config import Settings
from nowcast.disk import make_folder
from nowcast.ingest import FrameCache, Intake, satellites_of
from nowcast.region import Regions
from nowcast.run import RegionRecord
from nowcast.sources import read_frame, source_named, with_own
from nowcast.store.database import upgrade
from nowcast.store.store import Store


@dataclass
class HandClock:
    """A wall clock, and the seconds beside it, that are set."""

    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time, aware UTC."""
        return self.time

    def seconds(self) -> float:
        """Return the time as seconds."""
        return self.time.timestamp()


@dataclass
class Drive:
    """A worker's cycle and a clock in our hands."""

    cycle: Cycle
    after: Afterwork
    clock: HandClock

    @classmethod
    def open(cls, settings: Settings, regions: Regions, start: datetime, *, processes: bool = False) -> "Drive":
        """Return a worker's cycle over a migrated database, at a time."""
        make_folder(settings.data_dir)
        upgrade(settings.url)
        store, hand = Store.open(settings.url), HandClock(start)
        store.put_regions(RegionRecord(r.name, r.title, r.grid, r.sources, r.model, r.places) for r in regions)
        rungs = with_registered(settings.models_dir, make_rungs())
        ladder = Ladder(rungs, settings.engine_threads, store, processes=processes)
        clock = Clock(wall=hand)
        leader = Leader(store, clock, monotonic=hand.seconds)
        sources = with_own(settings.sources_file)
        cache = FrameCache(read=lambda path, source: read_frame(path, source_named(source, sources)))
        feed = Intake(settings.feed_dir, store, cache, satellites_of(sources))
        cycle = Cycle(regions, store, feed, ladder, clock, leader)
        after = Afterwork.of(cycle, Keeper(store, Keeps.of(settings), settings.archive_dir))
        return cls(cycle, after, hand)

    def look(self, time: datetime) -> Report | None:
        """Let it be `time`, and let the worker look once."""
        self.clock.time = time
        return tick(self.cycle, self.after)

    def deliver(self, file: Path, source: str, arrival: datetime, name: str = "") -> Path:
        """Put a file into the feed folder as a sender does, dated so that it counts as settled."""
        return deliver(self.cycle.feed.folder, file, source, arrival, name)

    def close(self) -> None:
        """End engines and connections."""
        self.cycle.ladder.close()
        self.cycle.store.close()


def deliver(feed: Path, file: Path, source: str, arrival: datetime, name: str = "") -> Path:
    """Put a file into a feed folder as a sender does, dated so that it counts as settled."""
    folder = feed / source
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / (name or file.name)
    part = place.with_name(f".{place.name}.part")
    part.write_bytes(file.read_bytes())
    os.utime(part, (arrival.timestamp(), arrival.timestamp()))
    os.replace(part, place)
    return place
