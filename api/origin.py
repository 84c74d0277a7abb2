"""One run with all that stands behind it: its frames, the parity of its plan, its scores so far."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, Field

from api.schemas import PlanOut, RunOut
from nowcast.run import CheckRecord
from nowcast.store.origins import Origin


class FrameOut(BaseModel):
    """A file that a run was made from."""

    digest: str = Field(description="SHA-256 of the file.")
    source: str | None = Field(description="null when its record is no longer kept.", examples=["knmi"])
    valid_time: datetime | None
    received_at: datetime | None


class ParityOut(BaseModel):
    """How a product of the plan compared with the PyTorch reference: the worst of its golden cases."""

    product: str = Field(examples=["rain_mean"])
    psnr_all: float | None = Field(description="dB over all pixels; 200 = equal, null = nothing to compare.")
    psnr_wet: float | None = Field(description="dB over wet pixels.")
    passed: bool = Field(description="Whether every case passed.")
    cases: int
    checked_at: datetime = Field(description="When the last of them was checked.")


class RunScoreOut(BaseModel):
    """One score of one lead of the run, against what was then seen."""

    made_by: str = Field(description="The model, or a baseline: `persistence`, `extrapolation`.")
    product: str
    lead_minutes: int
    score: str = Field(examples=["csi"])
    threshold: float | None = Field(description="mm/h; null for scores without one.")
    value: float | None = Field(description="null where it is not defined: no rain to hit.")
    count: int = Field(description="How many pixels were compared.")


class RunOriginOut(RunOut):
    """A run with what stands behind it."""

    made_from: list[FrameOut] = Field(description="The files behind `frames`, in their order.")
    made_with: PlanOut | None = Field(description="The plan; null when the store does not know it.")
    parity: list[ParityOut] = Field(description="Per product; empty when the plan was never checked.")
    verified_leads: list[int] = Field(description="Minutes of the leads that have been scored so far.")
    scores: list[RunScoreOut]

    @classmethod
    def told(cls, origin: Origin) -> "RunOriginOut":
        """Return an origin as it is answered."""
        known = {frame.digest: frame for frame in origin.frames}
        return cls(
            **RunOut.of(origin.run).model_dump(),
            made_from=[
                FrameOut.model_validate(known[d], from_attributes=True)
                if d in known
                else FrameOut(digest=d, source=None, valid_time=None, received_at=None)
                for d in origin.run.frames
            ],
            made_with=PlanOut.of(origin.plan) if origin.plan else None,
            parity=[_parity(product, origin.checks) for product in sorted({c.product for c in origin.checks})],
            verified_leads=sorted({s.lead_minutes for s in origin.scores if s.made_by == origin.run.model}),
            scores=[RunScoreOut.model_validate(s, from_attributes=True) for s in origin.scores],
        )


def _parity(product: str, checks: Iterable[CheckRecord]) -> ParityOut:
    mine = [check for check in checks if check.product == product]
    return ParityOut(
        product=product,
        psnr_all=_worst(check.psnr_all for check in mine),
        psnr_wet=_worst(check.psnr_wet for check in mine),
        passed=all(check.passed for check in mine),
        cases=len(mine),
        checked_at=max(check.checked_at for check in mine),
    )


def _worst(found: Iterable[float | None]) -> float | None:
    return min((value for value in found if value is not None), default=None)
