"""What is done once the regions have been served: nothing here may keep a forecast waiting, or stop one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog

from jobs.account import Account
from jobs.cycle import Cycle, Report
from jobs.judge import Judge
from jobs.keep import Keeper
from jobs.trials import Shadows
from jobs.verify import Verifier
from nowcast.clock import floor
from nowcast.errors import LeaseLost, NowcastError

log = structlog.get_logger()


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
        now, store = self.cycle.clock.now(), self.cycle.store
        lives = store.models.lives()
        for made in report.made:
            if self.keeper:
                self._try("archive", partial(self.keeper.archive, made.region, made.seen))
            self._try("shadows", partial(self.shadows.run, made.region, made.run, made.frames, lives, now))
        for region in self.cycle.regions:
            self._try(f"verification of {region.name}", partial(self.verifier.run, region, now))
        if report.made:
            lease = self.cycle.leader.hold() if self.cycle.leader else None
            self._try("judge", partial(self.judge.watch, now, lease))
        if floor(now) != self._slot:
            self._slot = floor(now)
            self._try("shadows", partial(self.shadows.prune, now))
            self._try("account", partial(self.account.close, self.cycle.regions, now))
            if self.keeper:
                self._try("retention", partial(self.keeper.prune, self.cycle.feed, now))

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
