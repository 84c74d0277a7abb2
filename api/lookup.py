"""From what a URL names to what the store has, or the problem that says what there is instead."""

from datetime import datetime
from typing import TypeVar

from api.deps import Services
from nowcast.clock import STEP
from nowcast.errors import NotKept
from nowcast.grid import Grid
from nowcast.run import Observation, Run
from nowcast.store.store import Store

Kind = TypeVar("Kind", Run, Observation)
STEP_MINUTES = int(STEP.total_seconds() // 60)


async def find_run(services: Services, region: str, base_time: datetime) -> Run:
    """Return the run of a region and base time, or raise `NotKept`."""
    run = services.watch.known_run(region, base_time)
    if run is None:
        run = await services.workshop.do(lambda: services.watch.run(region, base_time))
    if run is None:
        raise NotKept(f"no run of {region} with base time {base_time.isoformat()}; /v1/runs?region={region} lists them")
    return run


def find_observation(store: Store, region: str, valid_time: datetime) -> Observation:
    """Return the observation of a region and valid time, or raise `NotKept`."""
    seen = store.observations.at(region, valid_time)
    if seen is None:
        raise NotKept(f"nothing observed in {region} at {valid_time.isoformat()}; its timeline lists the times")
    return seen


def require_grid(grid: Grid, found: Kind) -> Kind:
    """Return a run or observation that is on a region's grid, or raise `NotKept`: on another it would lie elsewhere."""
    if found.grid_digest != grid.digest:
        raise NotKept(f"what {found.region} has for that time is on a grid that it no longer has; ask for a later one")
    return found


def require_product(run: Run, product: str) -> str:
    """Return the product's name in the store, `accumulated`, or raise `NotKept`; `member_07` is `rain_member_07`."""
    name = f"rain_{product}" if product.startswith("member_") else product
    if name not in run.shown and name != "accumulated":
        raise NotKept(f"run has no product {product!r}; it has: {', '.join(run.shown)}, accumulated")
    return name


def lead_index(run: Run, lead_minutes: int) -> int:
    """Return the index of a lead of the run, or raise `NotKept`."""
    index = lead_minutes // STEP_MINUTES - 1
    if not 0 <= index < run.leads or lead_minutes % STEP_MINUTES:
        raise NotKept(f"run has no lead of {lead_minutes} min; it has 5, 10, … {run.leads * STEP_MINUTES}")
    return index
