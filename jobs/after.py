"""What is done once the regions have been served: nothing here may keep a forecast waiting, or stop one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from time import monotonic

import structlog

from jobs.account import Account
from jobs.cycle import Cycle, Made, Report
from jobs.judge import Judge
from jobs.keep import Keeper
from jobs.trials import Shadows
from jobs.verify import Verifier
from nowcast.clock import floor
from nowcast.errors import LeaseLost, NowcastError

log = structlog.get_logger()

SHADOW_SECONDS = 30.0
"""Spent on shadows after a pass, or a little more: all that a pass does has 120 s, then the worker is replaced."""


@dataclass
class Afterwork:
    """Archive, shadows, verification, the canary's judge, accounts of slots, retention.

    Attributes
    ----------
    keeper
        Archive and retention; None keeps everything and archives nothing.
    """

    cycle: Cycle
    account: Account
    shadows: Shadows
    verifier: Verifier
    judge: Judge
    keeper: Keeper | None = None
    _slot: datetime | None = None
    _turn: int = 0
    _told: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cycle: Cycle, keeper: Keeper | None = None) -> "Afterwork":
        """Return the work of a cycle."""
        store = cycle.store
        judge = Judge(store, cycle.regions)
        shadows = Shadows(store, cycle.ladder, cycle.feed.satellites)
        return cls(cycle, Account(store, cycle.clock.now()), shadows, Verifier(store), judge, keeper)

    def run(self, report: Report) -> None:
        """Do what the last pass has made due."""
        now = self.cycle.clock.now()
        for made in report.made:
            if self.keeper:
                self._try("archive", partial(self.keeper.archive, made.region, made.seen))
        for region in self.cycle.regions:
            self._try(f"verification of {region.name}", partial(self.verifier.run, region, now))
        if report.made:
            lease = self.cycle.leader.hold() if self.cycle.leader else None
            self._try("judge", partial(self.judge.watch, now, lease))
        self._beside(report.made, now)
        if floor(now) != self._slot:
            self._slot = floor(now)
            self._try("shadows", partial(self.shadows.prune, now))
            self._try("account", partial(self.account.close, self.cycle.regions, now))
            if self.keeper:
                self._try("retention", partial(self.keeper.prune, self.cycle.feed, now))

    def _beside(self, done: Sequence[Made], now: datetime) -> None:
        """Run the shadows, for so long; another region is the first each time."""
        lives, begun = self.cycle.store.models.lives(), monotonic()
        turn = self._turn = (self._turn + 1) % max(len(done), 1)
        for made in (*done[turn:], *done[:turn]):
            if monotonic() - begun > SHADOW_SECONDS:
                log.warning("shadows left out for want of time", region=made.region.name, seconds=SHADOW_SECONDS)
                continue
            self._try("shadows", partial(self.shadows.run, made.region, made.run, made.frames, lives, now))

    def _try(self, what: str, work: Callable[[], object]) -> None:
        """Do one thing; its failure is told when it begins or changes."""
        try:
            work()
        except LeaseLost:
            raise
        except NowcastError as error:
            if self._told.get(what) != str(error):
                log.error(f"{what} failed", reason=str(error))
            self._told[what] = str(error)
        else:
            self._told.pop(what, None)
