"""What the API answers. Times are UTC, rates mm/h; null means not seen, never dry."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.palettes import NOT_SEEN, Palette
from nowcast.life import State, Transition
from nowcast.run import CheckRecord, PlanRecord, RegionRecord, Run, ScoreRecord, Slot
from nowcast.store.verification import Summary

BY_ITSELF = ("nowcast", "nightly")
"""Who steps were taken by where nobody took them by hand (`jobs.judge`, `jobs.nightly`)."""

Bounds = Annotated[list[float], Field(min_length=4, max_length=4)]


class PlaceOut(BaseModel):
    """A place that people know."""

    name: str = Field(examples=["De Bilt"])
    lat: float
    lon: float


class RegionOut(BaseModel):
    """A region and its newest run."""

    name: str = Field(examples=["lowlands"])
    title: str
    bounds: Bounds = Field(description="West, south, east, north in degrees (WGS 84).")
    shape: list[int] = Field(description="Rows (north to south), columns (west to east).")
    crs: str = Field(description="The grid's CRS as WKT or code.")
    sources: tuple[str, ...]
    satellites: tuple[str, ...] = Field(description="Those of its sources that are satellites.")
    model: str
    newest_base_time: datetime | None = Field(description="Base time of the newest run; null before the first.")
    places: list[PlaceOut] = Field(description="Well-known places inside.")

    @classmethod
    def of(cls, region: RegionRecord, newest: datetime | None, satellites: tuple[str, ...]) -> "RegionOut":
        """Return a region as it is answered."""
        return cls(
            name=region.name,
            title=region.title,
            bounds=list(region.grid.bounds),
            shape=list(region.grid.shape),
            crs=region.grid.crs,
            sources=region.sources,
            satellites=satellites,
            model=region.model,
            newest_base_time=newest,
            places=[PlaceOut(name=p.name, lat=p.lat, lon=p.lon) for p in region.places],
        )


class RunOut(BaseModel):
    """A run: what was published, when, by what and from what."""

    id: int = Field(description="Names this publication: a rerun gets another.")
    region: str
    base_time: datetime = Field(description="Valid time of the newest frame: `forecast_reference_time`.")
    slot: datetime
    published_at: datetime
    model: str
    state: str = Field(description="State of the model when it served: `promoted` or `canary`.", examples=["promoted"])
    rung: str = Field(description="Step of the ladder that made it.", examples=["openvino"])
    plan: str = Field(description="SHA-256 of the plan.")
    members: int
    leads: int
    products: tuple[str, ...]
    flags: tuple[str, ...] = Field(description="What is not as it should be; empty when all is well.")
    frames: tuple[str, ...] = Field(description="SHA-256 of the input files, oldest first.")
    stages: dict[str, float] = Field(description="Seconds per stage.")

    @classmethod
    def of(cls, run: Run) -> "RunOut":
        """Return a run as it is answered."""
        return cls.model_validate(run, from_attributes=True)


class CheckOut(BaseModel):
    """One result of the parity gate: an output of a plan against the PyTorch reference on a golden case."""

    plan: str
    checked_at: datetime
    case: str = Field(examples=["convective"])
    product: str = Field(examples=["rain_mean"])
    psnr_all: float | None = Field(description="dB over all pixels; 200 = equal, null = nothing to compare.")
    psnr_wet: float | None = Field(description="dB over wet pixels.")
    passed: bool
    csi_difference: float | None = Field(
        description="By how much the CSI against the reference falls short of 1 at the worst threshold, pixels at the"
        " threshold itself left out; null where nothing reached one, or for a probability."
    )
    runtime: str = Field(examples=["openvino"], description="What ran the plan; empty for checks of older versions.")
    precision: str = Field(examples=["fp32"])

    @classmethod
    def of(cls, check: CheckRecord) -> "CheckOut":
        """Return a check as it is answered."""
        return cls.model_validate(check, from_attributes=True)


class PlanOut(BaseModel):
    """A compiled plan of a model."""

    digest: str = Field(description="SHA-256 of the plan: `plan` of the runs that it made.")
    model: str = Field(examples=["advection"])
    runtime: str = Field(examples=["openvino"])
    precision: str = Field(examples=["fp32"])
    versions: dict[str, str] = Field(description="What it was compiled with.")

    @classmethod
    def of(cls, plan: PlanRecord) -> "PlanOut":
        """Return a plan as it is answered."""
        return cls.model_validate(plan, from_attributes=True)


class TransitionOut(BaseModel):
    """One step in the life of a model: what it became, who decided so, when, why, and on which numbers."""

    id: int = Field(description="Grows with every step: `before` pages by it.")
    model: str = Field(examples=["edge-20261121"])
    family: str = Field(description="The `model` of the regions that it may serve.", examples=["edge"])
    state: State
    regions: tuple[str, ...] = Field(description="Regions that the step is about; empty for all of the family.")
    who: str = Field(description="`nowcast` and `nightly` of what they did by themselves, else `operator`.")
    at: datetime
    why: str
    numbers: dict[str, Any] = Field(description="What the decision rests on.")

    @classmethod
    def of(cls, step: Transition) -> "TransitionOut":
        """Return a step as it is answered: which person it was is for operators (`nowcast model history`)."""
        who = step.who if step.who in BY_ITSELF else "operator"
        return cls.model_validate(replace(step, who=who), from_attributes=True)


class SkillOut(BaseModel):
    """A score of one maker at one lead over many runs, each weighted by its pixels."""

    made_by: str = Field(description="A model, `persistence`, `extrapolation`, or `observed` for what was seen.")
    product: str = Field(examples=["rain_mean"])
    score: str = Field(examples=["csi"])
    threshold: float | None = Field(description="mm/h; null for scores without one.")
    lead_minutes: int
    value: float
    count: int = Field(description="How many pixels were compared; for the CSI, where either exceeded.")
    runs: int

    @classmethod
    def of(cls, summary: Summary) -> "SkillOut":
        """Return a summary as it is answered."""
        return cls.model_validate(summary, from_attributes=True)


class ScorecardEvent(BaseModel):
    """One event of the published comparison with pysteps."""

    event: str = Field(examples=["mch_ch_20170131"])
    score: Literal["crps"] = "crps"
    unit: Literal["mm/h"] = "mm/h"
    lead_minutes: tuple[int, ...]
    values: dict[str, tuple[float | None, ...]] = Field(
        description="By maker (`steps` is pysteps' STEPS, `lk_extrapolation` its extrapolation), one per lead."
    )


class ScoreOut(BaseModel):
    """One score of one lead of a run, against what was then seen."""

    region: str
    base_time: datetime
    made_by: str = Field(description="A model, `persistence`, `extrapolation`, or `observed` for what was seen.")
    product: str
    lead_minutes: int
    score: str = Field(examples=["csi"])
    threshold: float | None = Field(description="mm/h; null for scores without one.")
    value: float | None = Field(description="null where it is not defined: no rain to hit.")
    count: int = Field(description="How many pixels were compared.")

    @classmethod
    def of(cls, score: ScoreRecord) -> "ScoreOut":
        """Return a score as it is answered."""
        return cls.model_validate(score, from_attributes=True)


class SlotOut(BaseModel):
    """What became of one five-minute slot of a region."""

    region: str
    slot: datetime
    state: Literal["published", "degraded", "refused", "missing"]
    base_time: datetime | None
    flags: tuple[str, ...]
    reason: str | None = Field(description="Why there is no run, with the remedy; null when there is one.")

    @classmethod
    def of(cls, slot: Slot) -> "SlotOut":
        """Return a slot as it is answered."""
        return cls.model_validate(slot, from_attributes=True)


class Step(BaseModel):
    """One picture in time."""

    valid_time: datetime
    kind: Literal["observed", "forecast"]
    lead_minutes: int | None = Field(description="null for what was observed.")
    source: str | None = Field(None, description="Who saw what was observed, as in `History`.", examples=["knmi"])
    images: dict[str, str] = Field(
        description="URL of the picture by product; `observed` for what was observed; `satellite`, where there is such"
        " an area: dots over what a satellite saw because no radar did."
    )


class Timeline(BaseModel):
    """The last two hours as observed and the newest run, as pictures of the whole region."""

    region: str
    base_time: datetime
    published_at: datetime
    age_seconds: float
    stale: bool
    expired: bool
    flags: tuple[str, ...]
    rung: str
    model: str
    state: str = Field(description="State of the model when it served: `promoted` or `canary`.")
    members: int
    coverage: float = Field(description="Share (0 … 1) of the region's cells that the first lead shows.")
    satellite: float = Field(description="Share of the cells that it shows by satellite, because no radar saw them.")
    products: tuple[str, ...]
    thresholds: dict[str, float] = Field(description="mm/h that each probability product is the chance of.")
    bounds: Bounds = Field(description="West, south, east, north (degrees) of every picture: a box in Web-Mercator.")
    steps: list[Step]


class TileJson(BaseModel):
    """TileJSON 3.0."""

    tilejson: Literal["3.0.0"] = "3.0.0"
    name: str
    tiles: list[str]
    bounds: Bounds
    minzoom: int = 0
    maxzoom: int = 12
    scheme: Literal["xyz"] = "xyz"
    attribution: str
    legend: str


class WeatherMap(BaseModel):
    """One frame of a RainViewer index."""

    time: int = Field(description="Valid time, seconds since 1970.")
    path: str


class Radar(BaseModel):
    """Past and forecast frames."""

    past: list[WeatherMap]
    nowcast: list[WeatherMap]


class Satellite(BaseModel):
    """None here."""

    infrared: list[WeatherMap] = []


class WeatherMaps(BaseModel):
    """RainViewer's index, version 2."""

    version: Literal["2.0"] = "2.0"
    generated: int
    host: str
    radar: Radar
    satellite: Satellite = Satellite()


class ClassOut(BaseModel):
    """One class of a palette: `from` ≤ value < `to`."""

    model_config = ConfigDict(populate_by_name=True)

    from_: float = Field(alias="from")
    to: float | None = Field(description="null for the last one, which is open.")
    colour: str = Field(examples=["#74b3d8"])
    label: str = Field(examples=["1–2"])


class PaletteOut(BaseModel):
    """A palette; below its first class is dry, which is transparent."""

    name: str = Field(examples=["rain"])
    kind: Literal["rate", "probability", "accumulation"]
    unit: str = Field(examples=["mm/h"])
    default: bool = Field(description="Whether pictures of this kind use it unless asked otherwise.")
    classes: list[ClassOut]
    not_seen: str = Field(description="Colour of the hatch.")

    @classmethod
    def of(cls, palette: Palette) -> "PaletteOut":
        """Return a palette as it is answered."""
        tops = (*palette.edges[1:], None)
        classes = [
            ClassOut(from_=low, to=top, colour=colour, label=f"≥ {low:g}" if top is None else f"{low:g}–{top:g}")
            for low, top, colour in zip(palette.edges, tops, palette.colours, strict=True)
        ]
        return cls(
            name=palette.name,
            kind=palette.kind,
            unit=palette.unit,
            default=palette.default,
            classes=classes,
            not_seen=NOT_SEEN,
        )


class Health(BaseModel):
    """Whether the process lives or is ready."""

    status: str = "ok"
    newest_base_times: dict[str, datetime] = {}
