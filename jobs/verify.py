"""When an observation has arrived: score what was forecast for its time, by every model, and by persistence."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from nowcast.clock import STEP
from nowcast.errors import NoRun
from nowcast.region import Region
from nowcast.run import Fields, Observation, Run, ScoreRecord
from nowcast.stack import TOLERANCE
from nowcast.store.store import Store
from nowcast.verification import LEADS, OBSERVED, PERSISTENCE, Array, Score, describe, verify

REACH = STEP * max(LEADS) + timedelta(minutes=30)
"""How long after its base time a run may still be verified by a late observation."""
MOST_NEAR = 8
"""Runs that may start within `TOLERANCE` of one time."""
RESOLUTION = timedelta(microseconds=1)


@dataclass
class Verifier:
    """Scores each observation once, and a revision of it again."""

    store: Store
    leads: tuple[int, ...] = LEADS
    _done: dict[str, dict[datetime, int]] = field(default_factory=dict)

    def run(self, region: Region, now: datetime) -> int:
        """Score what has been observed since the last call; return how many observations that were."""
        done = self._done.setdefault(region.name, self._known(region, now))
        seen = self.store.observations.between(region.name, now - REACH, now + STEP)
        fresh = [o for o in seen if done.get(o.valid_time, -1) < o.id and o.grid_digest == region.grid.digest]
        for observation in fresh:
            self._verify(region, observation)
            done[observation.valid_time] = observation.id
        for time in [t for t in done if t < now - REACH]:
            del done[time]
        return len(fresh)

    def _known(self, region: Region, now: datetime) -> dict[datetime, int]:
        """Return what another worker, or this one before its restart, has scored already."""
        since, until = now - REACH, now + STEP
        scored = self.store.verification.times(region.name, OBSERVED, 0, since, until)
        return {
            o.valid_time: o.id
            for o in self.store.observations.between(region.name, since, until)
            if o.valid_time in scored
        }

    def _verify(self, region: Region, observation: Observation) -> None:
        field_seen = self.store.observations.field(observation)
        if field_seen is None:  # replaced since: the revision will be scored
            return
        found = _records(region.name, observation.valid_time, 0, OBSERVED, describe(field_seen))
        for lead in self.leads:
            base_time = self._base_time(region, observation.valid_time - STEP * lead)
            for maker, forecast in self._forecasts(region, base_time, lead).items():
                found += _records(region.name, base_time, lead, maker, verify(forecast, field_seen))
        self.store.verification.put(found)  # in one transaction: scored, or not yet

    def _base_time(self, region: Region, wanted: datetime) -> datetime:
        """Return the base time nearest to the wanted one, the later of two, within `TOLERANCE`; else the wanted one.

        Of a source that looks every two minutes no run starts 5, 15 or 45 minutes before an observation.
        """
        if self.store.run(region.name, wanted) is not None:
            return wanted
        near = self.store.runs(region.name, MOST_NEAR, before=wanted + TOLERANCE + RESOLUTION)
        times = [run.base_time for run in near if run.base_time >= wanted - TOLERANCE]
        return min(times, key=lambda time: abs(time - wanted), default=wanted)

    def _forecasts(self, region: Region, base_time: datetime, lead: int) -> dict[str, Fields]:
        """Return each maker's products of one lead: the run that served, its trials, persistence."""
        found: dict[str, Fields] = {}
        run = self.store.run(region.name, base_time)
        if run is not None and run.grid_digest == region.grid.digest and lead <= run.leads:
            served = self._served(run, lead)
            if served:
                found[maker_of(run)] = served
        for model in self.store.trials.models(region.name, base_time):
            tried = self.store.trials.fields(region.name, base_time, model, lead)
            if tried:
                found.setdefault(model, tried)
        start = self.store.observations.at(region.name, base_time)
        if found and start is not None and start.grid_digest == region.grid.digest:
            rain: Array | None = self.store.observations.field(start)
            if rain is not None:
                found[PERSISTENCE] = {"rain_mean": rain}
        return found

    def _served(self, run: Run, lead: int) -> Fields:
        try:
            return {name: values[lead - 1] for name, values in self.store.fields(run).items()}
        except NoRun:  # replaced or pruned since
            return {}


def _records(region: str, base_time: datetime, lead: int, maker: str, found: list[Score]) -> list[ScoreRecord]:
    minutes = int(lead * STEP / timedelta(minutes=1))
    return [ScoreRecord(region, base_time, lead_minutes=minutes, made_by=maker, **asdict(score)) for score in found]


def maker_of(run: Run) -> str:
    """Return whose forecast a run is: what the last rung made is not its model's."""
    return "extrapolation" if run.rung == "extrapolation" else run.model
