"""The judge: compares candidates with their incumbents on verified observations, and acts without a person.

Each cycle it looks at every canary and at what was promoted lately: one that falls behind over the last hours, or no
longer runs, is rolled back by one row, and the next pass serves the incumbent's forecast again, of the same base time.
Promotion is asked for by `nowcast model promote` or the nightly job, and given only when the numbers allow it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from nowcast.decide import Comparison, compare
from nowcast.errors import LifeError
from nowcast.life import Lives, State, Transition
from nowcast.region import Region, Regions
from nowcast.run import ScoreRecord
from nowcast.store.leases import Lease
from nowcast.store.store import Store
from nowcast.verification import OBSERVED

log = structlog.get_logger()

WINDOW = timedelta(hours=3)
PROMOTED_WATCHED = timedelta(days=3)
LEAST_WATCHED = 12
"""Cycles before a canary may be judged: an hour of one region."""
FAULTS = 3
"""Runs in a row in which the canary's region was served by the last rung."""
DAYS = 3
LEAST_CYCLES = 288
BY_ITSELF = "nowcast"


@dataclass
class Judge:
    """Decides on transitions.

    Attributes
    ----------
    days, least_cycles
        How far back a promotion looks, and how many verified cycles it needs.
    """

    store: Store
    regions: Regions
    days: float = DAYS
    least_cycles: int = LEAST_CYCLES
    window: timedelta = WINDOW
    least_watched: int = LEAST_WATCHED

    def watch(self, now: datetime, lease: Lease | None = None) -> list[str]:
        """Roll back every canary, and every model promoted lately, that falls behind; return their names."""
        lives, gone = self.store.models.lives(), []
        for step in lives.all():
            watched = step.state is State.PROMOTED and now - step.at < PROMOTED_WATCHED
            if step.state is not State.CANARY and not watched:
                continue
            why, numbers = self._against(step, lives, now)
            if why:
                back = Transition(step.model, step.family, State.ROLLED_BACK, (), BY_ITSELF, now, why, numbers)
                self.store.models.step(back, lease)
                log.error("model rolled back", model=step.model, state=str(step.state), reason=why)
                gone.append(step.model)
        return gone

    def _against(self, step: Transition, lives: Lives, now: datetime) -> tuple[str, dict]:
        mine = [region for region in self.regions if step.covers(region)]
        for region in mine:
            if self._last_rung_serves(region, step):
                return f"region {region.name}: its engine failed in the last {FAULTS} runs, see the worker's log", {}
        found = self.compare(step, lives, now - self.window, now)
        if found and found.falls_behind(self.least_watched):
            told = f"CRPS worse by {found.low:.4f} … {found.high:.4f} mm/h at 95 % over {found.cycles} cycles"
            return f"falls behind {found.incumbent}: {told}", found.numbers()
        return "", {}

    def _last_rung_serves(self, region: Region, step: Transition) -> bool:
        runs = [r for r in self.store.runs(region.name, limit=FAULTS) if r.base_time >= step.at - timedelta(minutes=30)]
        return len(runs) == FAULTS and all(r.model == step.model and r.rung == "extrapolation" for r in runs)

    def compare(self, step: Transition, lives: Lives, since: datetime, until: datetime) -> Comparison | None:
        """Compare a model with what its regions are served by without it; None when no region is concerned."""
        records: list[ScoreRecord] = []
        incumbents: dict[str, None] = {}
        for region in self.regions:
            if not lives.concerns(step.model, region):
                continue
            incumbent = lives.incumbent(region, without=step.model)
            incumbents[incumbent] = None
            records += self.store.verification.series(region.name, [step.model, incumbent, OBSERVED], since, until)
        if len(incumbents) != 1:
            return None
        return compare(records, step.model, next(iter(incumbents)))

    def evidence(self, model: str, now: datetime) -> Comparison:
        """Return how a model compares with its incumbent over the last days.

        Raises
        ------
        LifeError
            When the model is not known, or its regions have different incumbents.
        """
        lives = self.store.models.lives()
        step = lives.now(model)
        if step is None:
            raise LifeError(f"model {model!r} is not known; `nowcast model list` shows those that are")
        found = self.compare(step, lives, now - timedelta(days=self.days), now)
        if found is None:
            raise LifeError(
                f"model {model!r}: the regions of family {step.family!r} have no common incumbent;"
                " give one of them a family of its own"
            )
        return found

    def promote(self, model: str, to: State, regions: tuple[str, ...], who: str, why: str, now: datetime) -> Transition:
        """Take a model a step further; from shadow on, only with evidence.

        Raises
        ------
        LifeError
            When the step is not allowed, a region is not of its family, or the evidence is not enough.
        """
        lives = self.store.models.lives()
        lives.require(model, to)
        step = lives.now(model)
        if step is None:
            raise LifeError(f"model {model!r} is not known; register it with `nowcast model register`")
        regions = regions or lives.made_for(model)
        self._require_regions(step, regions, to)
        numbers: dict = {}
        if to is State.PROMOTED:
            found = self.evidence(model, now)
            objections = found.objections(self.least_cycles)
            if objections:
                raise LifeError(f"model {model!r} is not promoted over {found.incumbent!r}: {'; '.join(objections)}")
            numbers = found.numbers()
        made = Transition(model, step.family, to, regions, who, now, why, numbers)
        self.store.models.step(made)
        return made

    def _require_regions(self, step: Transition, regions: tuple[str, ...], to: State) -> None:
        lives = self.store.models.lives()
        mine = [region.name for region in self.regions if lives.concerns(step.model, region)]
        wrong = [name for name in regions if name not in mine]
        if wrong:
            raise LifeError(f"model {step.model!r} is not for {', '.join(wrong)}; it is for {', '.join(mine)}")
        if to is State.CANARY and not regions:
            raise LifeError("a canary needs named regions; add --region NAME")
