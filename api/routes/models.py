"""How models have fared: their lives, their skill over the last hours, and the published comparison."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import RegionDep, ServicesDep
from api.schemas import ScorecardEvent, SkillOut, TransitionOut
from api.scorecard import published

router = APIRouter(prefix="/v1", tags=["provenance"])

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many, newest first.", examples=[100])]


@router.get("/models/history")
async def read_history(
    services: ServicesDep,
    model: Annotated[str | None, Query(description="Only this model's.", max_length=64, examples=["advection"])] = None,
    before: Annotated[int | None, Query(ge=0, le=2**62, description="Only with a lower id: for paging.")] = None,
    limit: Limit = 100,
) -> list[TransitionOut]:
    """Steps in the lives of models, newest first: candidate, shadow, canary, promoted, retired, rolled back."""
    steps = await services.workshop.do(lambda: services.store.models.newest(model, before, limit))
    return [TransitionOut.of(step) for step in steps]


@router.get("/scorecard")
async def read_scorecard() -> list[ScorecardEvent]:
    """The published comparison with pysteps (STEPS) on events that no model was trained on: CRPS by lead."""
    return published()


@router.get("/regions/{region}/skill")
async def read_skill(
    region: RegionDep,
    services: ServicesDep,
    hours: Annotated[float, Query(gt=0, le=720, allow_inf_nan=False, description="How far back.", examples=[24])] = 24,
) -> list[SkillOut]:
    """Scores of a region's forecasts by maker and lead over the last hours: the model beside its baselines."""
    now = services.clock.now()
    since = now - timedelta(hours=hours)
    found = await services.workshop.do(lambda: services.store.verification.summary(region.name, since, now))
    return [SkillOut.of(summary) for summary in found]
