"""Hindcasts: forecast again from the archive, at full speed, with the code that forecasts live.

Runs and scores go into a database of their own, so that nothing that serves is touched; a hindcast that was broken off
goes on where it was.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from engines.ladder import Ladder
from jobs.forecaster import Stages, forecast
from jobs.observe import observe
from jobs.verify import Verifier
from nowcast.archive import Archive
from nowcast.clock import STEP
from nowcast.errors import NowcastError
from nowcast.region import Region
from nowcast.run import RegionRecord, Run
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
        """Forecast from every archived time, `since` ≤ time < `until`, that has no run yet; yield after each."""
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
                except NowcastError:  # too few frames before it, as live
                    refused += 1
                verifier.run(region, base + timedelta(seconds=1))
            yield Progress(base, number, len(times), refused, made / max(time.monotonic() - began, 1e-9))

    def _one(self, base: datetime) -> None:
        region, stages = self.region, Stages()
        with stages("read"):
            frames = [f for t in nominal_times(base) if (f := self.archive.frame(region, t)) is not None]
        made = forecast(frames, region, self.ladder, base, stages)
        run = Run(
            region=region.name,
            base_time=base,
            slot=base,
            published_at=base + STEP / 5,
            model=region.model,
            rung=made.served.rung,
            plan=made.served.plan,
            members=made.served.spec.members,
            leads=made.served.spec.leads,
            grid_digest=region.grid.digest,
            products=tuple(made.fields),
            flags=("hindcast",),
            frames=tuple(str(f.attrs["digest"]) for f in frames),
            stages={name: round(seconds, 4) for name, seconds in stages.seconds.items()},
        )
        observe(self.store, region, frames)
        self.store.publish(run, made.fields)
