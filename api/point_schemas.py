"""What the point routes answer (`api.points` writes it). Times are UTC, rates mm/h; null means not seen, never dry."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.summary import State

Coverage = Literal["ok", "no coverage"]
Rates = list[float | None]


class Steps(BaseModel):
    """Columns over the leads, five minutes each: entry k is the period `start[k]` to `end[k]`.

    Columns other than `rain_mean` are there when the run has them: an ensemble's percentiles and probabilities.
    """

    model_config = ConfigDict(populate_by_name=True)

    lead_minutes: list[int] = Field(description="Minutes from the base time to the end of the period.")
    start: list[datetime]
    end: list[datetime]
    rain_mean: Rates = Field(description="mm/h; null = not seen.")
    rain_p10: Rates = Field([], description="10th percentile, mm/h.")
    rain_p50: Rates = Field([], description="Median, mm/h.")
    rain_p90: Rates = Field([], description="90th percentile, mm/h.")
    prob_0_1: Rates = Field([], alias="prob_0.1", description="Chance (0 … 1) of at least 0.1 mm/h.")
    prob_1: Rates = Field([], description="Chance of at least 1 mm/h.")
    prob_5: Rates = Field([], description="Chance of at least 5 mm/h.")
    prob_10: Rates = Field([], description="Chance of at least 10 mm/h.")
    rain_source: list[str | None] = Field([], description="Which source saw the rain, where there are several.")
    coverage: list[Coverage]


class SummaryOut(BaseModel):
    """What is coming, in a sentence and as data."""

    text: str = Field(examples=["rain from 14:35, likely 1–3 mm in the next hour, ends 15:20 UTC"])
    state: State = Field(description="`not_seen`: nothing is known from now on; `over`: the newest forecast has ended.")
    starts: datetime | None = Field(description="Start of the rain; null when it rains already or none is expected.")
    ends: datetime | None = Field(description="End of the rain; null when it goes on or is not known.")
    amount_low: float | None = Field(
        description="mm in that hour: sum of the 10th percentiles (one member: mean); null when not all of it is known."
    )
    amount_high: float | None = Field(description="mm in that hour: sum of the 90th percentiles (one member: mean).")
    unit: str = Field(examples=["mm"])
    probability: float | None = Field(description="Highest chance of rain, 0 … 1; null for one member.")
    until: datetime | None = Field(
        description="End of what is known without a gap from now on; null when now itself is not."
    )


class PointForecast(BaseModel):
    """The newest forecast at a point."""

    region: str
    lat: float
    lon: float
    base_time: datetime
    published_at: datetime
    expires: datetime = Field(description="Do not rely on it after this time.")
    age_seconds: float = Field(description="Time since the base time.")
    stale: bool = Field(description="True when older than ten minutes: look at the age before you rely on it.")
    expired: bool = Field(description="True when older than thirty minutes.")
    rung: str
    model: str
    members: int
    flags: tuple[str, ...]
    units: dict[str, str] = Field(examples=[{"rain_mean": "mm/h", "accumulated": "mm"}])
    rain_source: str = Field(description="Where the rain was seen.", examples=["knmi"])
    radar_coverage: Coverage = Field(description="Whether the point was seen at the first lead.")
    summary: SummaryOut
    accumulated: Rates = Field(description="mm from the base time to the end of each lead; null once not all was seen.")
    minutely_5: Steps


class PointForecasts(BaseModel):
    """The newest forecasts at several points, in their order."""

    forecasts: list[PointForecast]


class Seen(BaseModel):
    """What was observed."""

    valid_time: datetime
    rain_rate: float | None = Field(description="mm/h; null = not seen.")
    source: str = Field(
        description="Who saw it, one of the region's `sources`; of several radars together the first of them.",
        examples=["knmi"],
    )


class Said(BaseModel):
    """What a run had said for a time."""

    base_time: datetime
    valid_time: datetime
    lead_minutes: int
    rain_mean: float | None = Field(description="mm/h; null = not seen.")


class History(BaseModel):
    """What was observed at a point, and what had been forecast for it half an hour before."""

    region: str
    lat: float
    lon: float
    since: datetime = Field(description="From when on all is told that is kept: as asked for, or later when `cut`.")
    cut: bool = Field(
        description="True when there was more than one answer holds: what lies before `since` is left out."
    )
    observed: list[Seen]
    forecast: list[Said]
