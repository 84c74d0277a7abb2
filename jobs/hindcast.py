"""Hindcasts: forecast again from the archive, at full speed, with the code that forecasts live.

Runs and scores go into a database of their own, so that nothing that serves is touched; a hindcast that was broken off
goes on where it was.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from engines.ladder import Ladder
from jobs.forecaster import Stages, forecast, run_of
from jobs.observe import observe
from jobs.verify import Verifier
from nowcast.archive import Archive
from nowcast.clock import STEP
from nowcast.errors import TooFewFrames
from nowcast.region import Region
from nowcast.run import RegionRecord
from nowcast.stack import nominal_times
from nowcast.store.store import Store


@dataclass(frozen=True)
class Progress:
    """How far a hindcast is."""

    time: datetime
    done: int
    total: int
    refused: int
    per_second: float


@dataclass
class Hindcast:
    """A hindcast of one region."""

    region: Region
    archive: Archive
    store: Store
    ladder: Ladder

    def run(self, since: datetime, until: datetime) -> Iterator[Progress]:
        """Forecast from every archived time, `since` ≤ time < `until`, that has no run yet; yield after each.

        Raises
        ------
        NowcastError
            When a forecast fails for another reason than too few frames: it would at every time.
        """
        region = self.region
        self.store.put_regions([RegionRecord(region.name, region.title, region.grid, region.sources, region.model)])
        verifier = Verifier(self.store)
        times, refused, began, made = self.archive.times(region, since, until), 0, time.monotonic(), 0
        for number, base in enumerate(times, 1):
            there = self.store.run(region.name, base)
            if there is None or there.model != region.model:
                try:
                    self._one(base)
                    made += 1
                except TooFewFrames:  # before it, as live
                    refused += 1
                verifier.run(region, base + timedelta(seconds=1))
            yield Progress(base, number, len(times), refused, made / max(time.monotonic() - began, 1e-9))

    def _one(self, base: datetime) -> None:
        region, stages = self.region, Stages()
        with stages("read"):
            frames = [f for t in nominal_times(base) if (f := self.archive.frame(region, t)) is not None]
        made = forecast(frames, region, self.ladder, base, stages)
        run = run_of(made, region, frames, stages, base, base + STEP / 5)
        observe(self.store, region, frames)
        self.store.publish(replace(run, base_time=base, flags=("hindcast",)), made.fields)
