"""Regions, their timelines, and palettes."""

from datetime import timedelta
from urllib.parse import quote

from fastapi import APIRouter, Response

from api.again import Again
from api.coverage import Coverage
from api.deps import ClockDep, FreshnessDep, NewestRunDep, RegionDep, Services, ServicesDep
from api.live import EXPIRES_AFTER, STALE_AFTER, stamp
from api.mercator import region_box
from api.palettes import PALETTES
from api.pictures import DOTTED
from api.schemas import PaletteOut, RegionOut, Step, Timeline
from nowcast.clock import STEP
from nowcast.run import Observation, RegionRecord, Run

router = APIRouter(prefix="/v1", tags=["regions"], route_class=Again)

PAST = timedelta(hours=2)


@router.get("/regions")
async def read_regions(services: ServicesDep) -> list[RegionOut]:
    """List the regions, with the base time of each one's newest run."""
    return [_region_out(region, services) for region in services.watch.regions().values()]


@router.get("/regions/{region}")
async def read_region(region: RegionDep, services: ServicesDep) -> RegionOut:
    """One region."""
    return _region_out(region, services)


def _region_out(region: RegionRecord, services: Services) -> RegionOut:
    newest = services.watch.newest_or_none(region.name)
    return RegionOut.of(region, newest.base_time if newest else None, services.coverages.satellites(region))


@router.get("/regions/{region}/timeline")
async def read_timeline(
    region: RegionDep,
    run: NewestRunDep,
    services: ServicesDep,
    clock: ClockDep,
    freshness: FreshnessDep,
    response: Response,
) -> Timeline:
    """What was observed in the last two hours and what is forecast, as pictures of the whole region."""
    freshness.of_age(run)  # who has it already need not wait
    coverage, seen = await services.workshop.do(lambda: _parts(services, run, region))
    response.headers.update(freshness.of_age(run))  # as of now: a lead may have begun meanwhile
    age = clock.now() - run.base_time
    return Timeline(
        region=region.name,
        base_time=run.base_time,
        published_at=run.published_at,
        age_seconds=round(age.total_seconds(), 1),
        stale=age > STALE_AFTER,
        expired=age > EXPIRES_AFTER,
        flags=run.flags,
        rung=run.rung,
        model=run.model,
        state=run.state,
        members=run.members,
        coverage=round(coverage.seen[0], 4),
        satellite=round(coverage.satellite[0], 4),
        products=run.shown,
        thresholds={p: float(p.removeprefix("prob_")) for p in run.products if p.startswith("prob_")},
        bounds=list(region_box(region.grid).bounds),
        steps=[
            *(_observed(o) for o in seen if o.grid_digest == region.grid.digest),
            *(_forecast(run, lead, coverage) for lead in range(run.leads)),
        ],
    )


def _parts(services: Services, run: Run, region: RegionRecord) -> tuple[Coverage, list[Observation]]:
    seen = services.store.observations.between(region.name, run.base_time - PAST, run.base_time)
    return services.coverages.of(run, region), seen


def _observed(seen: Observation) -> Step:
    url = f"/v1/images/{quote(seen.region)}/observed/{stamp(seen.valid_time)}.png?v={seen.id}"
    images = {"observed": url}
    return Step(valid_time=seen.valid_time, kind="observed", lead_minutes=None, source=seen.source, images=images)


def _forecast(run: Run, lead: int, coverage: Coverage) -> Step:
    valid_time = run.base_time + (lead + 1) * STEP
    minutes = (lead + 1) * int(STEP.total_seconds() // 60)
    root = f"/v1/images/{quote(run.region)}/{stamp(run.base_time)}"
    names = (*run.shown, "accumulated", *((DOTTED,) if coverage.satellite[lead] else ()))
    images = {name: f"{root}/{name}/{minutes}.png?v={run.id}" for name in names}
    return Step(valid_time=valid_time, kind="forecast", lead_minutes=minutes, images=images)


@router.get("/palettes")
async def read_palettes() -> list[PaletteOut]:
    """List the palettes: the classes of a value and their colours."""
    return [PaletteOut.of(palette) for palette in PALETTES]
