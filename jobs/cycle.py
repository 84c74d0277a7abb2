"""The cycle: newest usable frames of each region → forecast → one transaction. Reads like its runbook."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock

import structlog
import xarray as xr

from engines.ladder import Ladder
from jobs.deadline import Deadline
from jobs.forecaster import Forecast, Stages, forecast, run_of
from jobs.leader import Leader
from jobs.metrics import Metrics
from jobs.observe import observe, seen_by_radar
from nowcast.clock import STEP, Clock, floor
from nowcast.errors import EngineError, LeaseLost, NowcastError, TooFewFrames
from nowcast.gate import judge_age
from nowcast.ingest import Intake
from nowcast.life import Serving, State
from nowcast.region import Region, Regions
from nowcast.run import FrameRecord, Run
from nowcast.side import Room, cores
from nowcast.stack import TOLERANCE, nominal_times, shared_time
from nowcast.store.leases import Lease
from nowcast.store.store import Store
from nowcast.verdict import Action

log = structlog.get_logger()

FUTURE = timedelta(minutes=2)
EXTRAPOLATION = "advection"
"""The model that serves when the newest frame is too old for anything cleverer."""
AT_ONCE = max(1, min(6, cores() // 2))
"""Regions in work at the same time: while the engine has one, others are prepared and published."""
CELLS_AT_ONCE = 2048 * 2048
"""Grid cells that they have together: each holds its products, 770 bytes a cell for an ensemble."""
DIGITS = re.compile(r"\d+")
LOOK_BACK = 32
"""How many of a source's newest frames to choose from: at two minutes each, more than the stack spans."""


@dataclass(frozen=True)
class Made:
    """A published run with the frames it was made from: what is done beside it starts here.

    Attributes
    ----------
    seen
        What radars saw, one frame per time (`jobs.observe.seen_by_radar`): the truth to learn from and be held against.
    """

    region: Region
    run: Run
    frames: Sequence[xr.Dataset]
    seen: Sequence[xr.Dataset]


@dataclass
class Report:
    """What one pass over the regions came to."""

    published: dict[str, datetime] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    def note(self, region: Region, made: Made | None) -> None:
        """Note what a region came to; None where there was nothing new."""
        if made is None:
            self.unchanged.append(region.name)
        else:
            self.published[region.name] = made.run.base_time
            self.made.append(made)


@dataclass
class Cycle:
    """One pass over all regions; only a `NowcastError` isolates a region, a bug stops the process.

    Attributes
    ----------
    leader
        This worker's claim to the lease; None where no other worker can be (one-shot runs, tests).
    """

    regions: Regions
    store: Store
    feed: Intake
    ladder: Ladder
    clock: Clock
    leader: Leader | None = None
    metrics: Metrics = field(default_factory=Metrics)
    _told: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _absent: dict[str, str] = field(default_factory=dict)
    _room: Room = field(default_factory=lambda: Room(CELLS_AT_ONCE))
    _reading: Lock = field(default_factory=Lock)
    _began: Lease | None = None

    def close(self) -> None:
        """End the engines' and the parsers' processes."""
        self.ladder.close()
        self.feed.cache.close()

    def run(self) -> Report:
        """Ingest what has arrived and forecast every region whose newest frames have not been forecast from.

        Raises
        ------
        LeaseLost
            When another worker runs the cycle.
        """
        self._began = None
        self._began = self._lease()
        report, lives = Report(), self.store.models.lives()
        self.feed.ingest({source for region in self.regions for source in region.sources}, self.clock.now())
        ready, pool = self._newest_first(report), ThreadPoolExecutor(AT_ONCE)
        try:
            begun = [(r, pool.submit(self._serve, r, records, lives.serving(r))) for r, records in ready]
            for region, served in begun:
                with self._isolated(region, report):
                    report.note(region, served.result())
        finally:
            pool.shutdown(cancel_futures=True)
        self.metrics.gate(self.feed.states)
        self.metrics.passed(self.clock.now(), len(report.failed), len(self.feed.refused))
        return report

    def _lease(self) -> Lease | None:
        """Return the lease that this pass began with, renewed: it knows nothing of what another published since."""
        lease = self.leader.hold() if self.leader else None
        if lease and self._began and lease.token != self._began.token:
            raise LeaseLost(
                f"lease {lease.name!r}: another held it since this pass began; nothing to do, the next looks anew"
            )
        return lease

    def _newest_first(self, report: Report) -> list[tuple[Region, list[FrameRecord]]]:
        """Return the regions that have frames, those with the newest first: they are worth most."""
        ready = []
        for region in self.regions:
            with self._isolated(region, report):
                ready.append((region, self._newest(region)))
        return sorted(ready, key=lambda pair: self._base_time(pair[1]), reverse=True)

    @contextmanager
    def _isolated(self, region: Region, report: Report) -> Iterator[None]:
        try:
            yield
        except LeaseLost:  # not the region's failure: this worker must stop
            raise
        except NowcastError as error:
            report.failed[region.name] = str(error)
            self.metrics.failed(region.name)
            self._refuse(region.name, str(error))

    def _refuse(self, region: str, reason: str) -> None:
        """Log and note a failure when it begins or changes, and note it once per slot, not at every look."""
        slot, (noted, told) = floor(self.clock.now()), self._told.get(region, (None, ""))
        kind = DIGITS.sub("", reason)  # an age that grows is no new reason
        if kind != told:
            log.error("region failed", region=region, reason=reason)
        if (slot, kind) != (noted, told):
            self.store.slots.refuse(region, slot, reason)
            self._told[region] = slot, kind

    def _serve(self, region: Region, records: Sequence[FrameRecord], serving: Serving) -> Made | None:
        with self._room.taken(region.grid.height * region.grid.width):
            return self._forecast(region, records, serving)

    def _forecast(self, region: Region, records: Sequence[FrameRecord], serving: Serving) -> Made | None:
        """Publish what a region's newest frames give, or return None where that has been done."""
        before = self.store.newest(region.name)
        allowed, flags = self._judged(region, records, serving)
        if before and self._done(before, region, records, (serving, allowed)):
            return None
        stages = Deadline(region=region.name)
        with self._reading, stages("read"):
            frames = [self.feed.cache.get(record) for record in records]
        with stages("stack"):
            seen = seen_by_radar(frames, region, self.feed.satellites)
        serves = replace(region, model=allowed.model)
        run = self._publish(serves, frames, seen, flags, str(allowed.state), stages, before)
        self._told.pop(region.name, None)
        latency = self.clock.now() - max(r.received_at for r in records)
        self.metrics.published(run, latency, stages.seconds, _skipped(before, run))
        self.metrics.over_budget(stages.over)
        log.info("run published", region=region.name, base_time=run.base_time.isoformat(), flags=run.flags)
        return Made(region, run, frames, seen)

    def _newest(self, region: Region) -> list[FrameRecord]:
        """Return what a forecast of the region starts from, oldest first: the newest frames of each of its sources.

        Of a region with one source, one frame per nominal time; of several, all that fusion may want. Of several
        frames of a source at one time the last to arrive.
        """
        radars = [name for name in region.sources if name not in self.feed.satellites]
        until = self.clock.now() + FUTURE
        found = {name: self.store.frames(name, until=until, limit=LOOK_BACK) for name in region.sources}
        newest = max((records[0].valid_time for name in radars if (records := found[name])), default=None)
        if newest is None:
            raise TooFewFrames(
                f"region {region.name}: no frame of {', '.join(radars)} yet; check the feed (`nowcast doctor`)"
            )
        oldest = nominal_times(newest)[0] - TOLERANCE
        if len(region.sources) == 1:
            return _one_per_time(found[region.sources[0]], newest)
        oldest -= region.fusion.oldest_satellite
        last = {(r.source, r.valid_time): r for records in found.values() for r in reversed(records)}
        return sorted((r for r in last.values() if r.valid_time >= oldest), key=_by_time)

    def _judged(
        self, region: Region, records: Sequence[FrameRecord], serving: Serving
    ) -> tuple[Serving, tuple[str, ...]]:
        """Return what may serve the region, and the flags of its input, from the age and state of its frames.

        Raises
        ------
        TooFewFrames
            When the newest radar frame is too old.
        """
        verdict = judge_age(self._base_time(records), self.clock.now(), region.gate)
        if verdict and verdict.action is Action.REFUSE:
            raise TooFewFrames(f"region {region.name}: {verdict.message}")
        if verdict and verdict.action is Action.EXTRAPOLATE:
            serving = Serving(EXTRAPOLATION, State.PROMOTED)
        shown, here = [verdict.flag] if verdict else [], self._here(region, serving)
        shown += ["lower-rung"] if here != serving else []
        shown += [flag for r in records for flag in self.feed.flags.get(r.digest, ())]
        return here, tuple(dict.fromkeys(shown))

    def _here(self, region: Region, serving: Serving) -> Serving:
        """Return what serves a region, or where its plan is not here or damaged the region's own model.

        Lives are in the database, plans in the data folder: a worker of another machine may lack them.
        """
        absent = ""
        if serving.model != region.model:
            try:
                self.ladder.spec(serving.model)
            except EngineError as error:
                absent = str(error)
        if absent and absent != self._absent.get(region.name):
            log.error("model is not here, the region's own serves", region=region.name, reason=absent)
        self._absent[region.name] = absent
        return Serving(region.model, State.PROMOTED) if absent else serving

    def _base_time(self, records: Sequence[FrameRecord]) -> datetime:
        return max(r.valid_time for r in records if r.source not in self.feed.satellites)

    def _done(self, newest: Run, region: Region, records: Sequence[FrameRecord], wanted: Sequence[Serving]) -> bool:
        """Return whether a region's newest run is what these frames and a model that may serve them give."""
        if newest.grid_digest != region.grid.digest:
            return False
        base, frames = self._base_time(records), tuple(r.digest for r in records)
        base = base if len(region.sources) == 1 else shared_time(base)
        if base != newest.base_time:
            return base < newest.base_time
        return frames == newest.frames and any((newest.model, newest.state) == (s.model, str(s.state)) for s in wanted)

    def _publish(
        self,
        region: Region,
        frames: Sequence[xr.Dataset],
        seen: Sequence[xr.Dataset],
        flags: tuple[str, ...],
        state: str,
        stages: Stages,
        before: Run | None,
    ) -> Run:
        made = forecast(frames, region, self.ladder, self.clock.now(), stages, self.feed.satellites)
        now = self.clock.now()
        # a run made again, as of a revised frame, stays that of its slot: or that slot would have none
        slot = before.slot if before and before.base_time == made.stack.base_time else floor(now)
        flags = tuple(dict.fromkeys(flags + _flags(made)))
        run = replace(run_of(made, region, frames, stages, slot, now), flags=flags, state=state)
        observe(self.store, region, seen)
        with stages("publish"):
            self.store.publish(run, made.fields, self._lease())
        return run


def _skipped(before: Run | None, run: Run) -> int:
    """Return how many base times lie between a run and the one before it."""
    return max((run.base_time - before.base_time) // STEP - 1, 0) if before else 0


def _flags(made: Forecast) -> tuple[str, ...]:
    missing = ("frames-missing",) if made.stack.missing else ()
    lower = ("lower-rung",) if made.served.passed_over else ()
    return missing + lower


def _one_per_time(records: Sequence[FrameRecord], newest: datetime) -> list[FrameRecord]:
    """Return the record nearest to each nominal time, oldest first; of several at one time the last to arrive."""
    chosen: list[FrameRecord] = []
    for time in nominal_times(newest):
        near = [r for r in records if abs(r.valid_time - time) <= TOLERANCE]
        chosen += sorted(near, key=lambda r: abs(r.valid_time - time))[:1]  # stable: the last to arrive goes first
    return chosen


def _by_time(record: FrameRecord) -> datetime:
    return record.valid_time
