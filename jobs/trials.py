"""Shadows: forecasts made beside the one that serves, from the same frames, kept only to be verified."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog
import xarray as xr

from engines.ladder import Ladder
from jobs.forecaster import Stages, forecast
from nowcast.errors import NowcastError
from nowcast.life import Lives
from nowcast.region import Region
from nowcast.run import Run
from nowcast.store.store import Store
from nowcast.store.trials import Trial
from nowcast.verification import LEADS

log = structlog.get_logger()

BASELINE = "advection"
"""Runs beside every other model, so that each region's scores have extrapolation to be held against."""
KEPT = timedelta(hours=3)


@dataclass
class Shadows:
    """Runs the other models of a region; one that fails is told once, and never disturbs what serves."""

    store: Store
    ladder: Ladder
    satellites: frozenset[str] = frozenset()
    _told: dict[tuple[str, str], str] = field(default_factory=dict)

    def run(self, region: Region, run: Run, frames: Sequence[xr.Dataset], lives: Lives, now: datetime) -> list[str]:
        """Forecast with each model that runs beside `run`; return those that did."""
        beside = dict.fromkeys([*lives.beside(region), BASELINE])
        return [m for m in beside if m != run.model and self._try(replace(region, model=m), run.base_time, frames, now)]

    def prune(self, now: datetime) -> None:
        """Remove trials that have been verified, or never will be."""
        self.store.trials.prune(now - KEPT)

    def _try(self, region: Region, base_time: datetime, frames: Sequence[xr.Dataset], now: datetime) -> bool:
        try:
            made = forecast(frames, region, self.ladder, now, Stages(), self.satellites)
        except NowcastError as error:
            if self._told.get((region.name, region.model)) != str(error):
                log.error("shadow failed", region=region.name, model=region.model, reason=str(error))
            self._told[region.name, region.model] = str(error)
            return False
        if made.served.rung == "extrapolation" and region.model != BASELINE:
            return False  # the last rung's forecast is not this model's
        leads = tuple(lead for lead in LEADS if lead <= made.served.spec.leads)
        self.store.trials.put(Trial(region.name, base_time, region.model, now, leads), made.fields)
        return True
