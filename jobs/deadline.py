"""A region's deadline, and what each of its stages may take of it.

Parsing and engines run in processes of their own that are killed at their own deadlines (`nowcast.sandbox`,
`engines.process`); what runs here cannot be interrupted, so it is looked at after each stage, and a region that has
used up its time gives way to the next one. A cycle that hangs all the same is ended by `jobs.guard`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jobs.forecaster import Stages
from nowcast.errors import TooSlow

REGION_SECONDS = 30.0
BUDGETS = {"read": 20.0, "stack": 3.0, "motion": 3.0, "noise": 3.0, "engine": 12.0, "products": 3.0, "publish": 10.0}
"""Seconds per stage; more is counted and logged, and not yet a failure."""


@dataclass
class Deadline(Stages):
    """Stages that together must not take longer than `limit` seconds; waiting for other regions between them is free.

    Attributes
    ----------
    over
        Stages that took longer than their budget.
    """

    region: str = ""
    limit: float = REGION_SECONDS
    monotonic: Callable[[], float] = time.monotonic
    over: list[str] = field(default_factory=list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a stage.

        Raises
        ------
        TooSlow
            After a stage at whose end the region's time is used up.
        """
        start = self.monotonic()
        try:
            yield
        finally:
            took = self.monotonic() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + took
            if took > BUDGETS.get(name, self.limit):
                self.over.append(name)
        elapsed = sum(self.seconds.values())
        if elapsed > self.limit and name != "publish":  # what is published is published
            raise TooSlow(
                f"region {self.region}: {elapsed:.1f} s after stage {name!r}, its deadline is {self.limit:.0f} s;"
                " see nowcast_stage_seconds for what is slow"
            )
