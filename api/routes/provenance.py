"""Runs, slots, parity checks, models: what made the forecasts, and from what."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.deps import BaseTime, Instant, RegionDep, ServicesDep
from api.lookup import find_run
from api.origin import RunOriginOut
from api.schemas import CheckOut, PlanOut, RunOut, ScoreOut, SlotOut

router = APIRouter(prefix="/v1", tags=["provenance"])

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many, newest first.", examples=[100])]


@router.get("/runs")
async def read_runs(
    request: Request,
    response: Response,
    services: ServicesDep,
    region: Annotated[str | None, Query(description="Only this region's.", examples=["lowlands"])] = None,
    before: Annotated[Instant | None, Query(description="Only with an earlier base time: for paging.")] = None,
    beyond: Annotated[
        str | None, Query(max_length=64, description="With `before`: from that base time too, regions after this one.")
    ] = None,
    limit: Limit = 100,
) -> list[RunOut]:
    """Runs, newest base time first, then by region; the header `Link` has the next page (`rel="next"`)."""
    runs = await services.workshop.do(lambda: services.store.runs(region, limit, before, beyond))
    if len(runs) == limit:
        last = {"before": runs[-1].base_time.isoformat(), "beyond": runs[-1].region}
        response.headers["Link"] = f'<{request.url.include_query_params(**last)}>; rel="next"'
    return [RunOut.of(run) for run in runs]


@router.get("/runs/{region}/{base_time}")
async def read_run(region: RegionDep, base_time: BaseTime, services: ServicesDep) -> RunOriginOut:
    """One run: which plan made it, from which frames, its parity (PSNR per product), its verification so far."""
    run = await find_run(services, region.name, base_time)
    return RunOriginOut.told(await services.workshop.do(lambda: services.store.origins.of(run)))


@router.get("/slots")
async def read_slots(
    services: ServicesDep,
    hours: Annotated[float, Query(gt=0, le=168, allow_inf_nan=False, description="How far back.", examples=[24])] = 24,
) -> list[SlotOut]:
    """What became of each five-minute slot, newest first: published, degraded, refused (and why) or missing."""
    now = services.clock.now()
    names = list(services.watch.regions())
    slots = await services.workshop.do(lambda: services.store.slots.between(names, now - timedelta(hours=hours), now))
    return [SlotOut.of(slot) for slot in slots]


@router.get("/checks")
async def read_checks(services: ServicesDep, limit: Limit = 100) -> list[CheckOut]:
    """Results of the parity gate, newest first: PSNR per product against the PyTorch reference."""
    return [CheckOut.of(check) for check in await services.workshop.do(lambda: services.store.checks(limit))]


@router.get("/models")
async def read_models(services: ServicesDep) -> list[PlanOut]:
    """The plans that models have been compiled to, oldest first."""
    return [PlanOut.of(plan) for plan in await services.workshop.do(services.store.plans)]


@router.get("/scores")
async def read_scores(
    services: ServicesDep,
    region: Annotated[str | None, Query(description="Only this region's.", examples=["lowlands"])] = None,
    limit: Limit = 1000,
) -> list[ScoreOut]:
    """Scores of runs against what was then seen, newest base time first."""
    scores = await services.workshop.do(lambda: services.store.scores(region, limit))
    return [ScoreOut.of(score) for score in scores]
