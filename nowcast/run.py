"""What is published: a run (one region × one base time) with its products, provenance, quality and state."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nowcast.grid import Grid

RAIN_SOURCE = "rain_source"
"""The product that says which of the region's sources saw the rain: 1 for its first."""

Fields = dict[str, NDArray[np.float32]]
"""Products by name: (K, H, W), rates in mm/h and probabilities 0 … 1; NaN = not seen."""


@dataclass(frozen=True)
class FrameRecord:
    """One file that arrived: unique by (source, valid time, digest); same time and new digest is a revision."""

    source: str
    valid_time: datetime
    digest: str
    path: str
    received_at: datetime
    id: int = 0


@dataclass(frozen=True)
class PlanRecord:
    """One compiled plan and what it was made from."""

    digest: str
    model: str
    runtime: str
    precision: str
    versions: dict[str, str]
    id: int = 0


@dataclass(frozen=True)
class CheckRecord:
    """One product's result of one passage of the parity gate.

    Attributes
    ----------
    psnr_all, psnr_wet
        dB in model space, over all pixels and over wet ones; None where there was none to compare.
    csi_difference
        How much the CSI against the reference falls short of 1, at the worst threshold; None where none was reached.
    runtime, precision
        What ran the plan; empty for checks of before this was kept.
    """

    plan: str
    checked_at: datetime
    case: str
    product: str
    psnr_all: float | None
    psnr_wet: float | None
    passed: bool
    csi_difference: float | None = None
    runtime: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Run:
    """One region × one base time.

    Attributes
    ----------
    slot
        The nominal five-minute time that the cycle served.
    rung
        Which step of the ladder made it (`openvino`, `extrapolation`, …).
    plan
        Digest of the plan that made it.
    flags
        What is not as it should be (`late`, `frames-missing`, …), empty when all is well.
    frames
        Digests of the frames it was made from, oldest first.
    stages
        Seconds per stage of the cycle.
    state
        State of its model when it served: `promoted` or `canary` (`nowcast.life`).
    """

    region: str
    base_time: datetime
    slot: datetime
    published_at: datetime
    model: str
    rung: str
    plan: str
    members: int
    leads: int
    grid_digest: str
    products: tuple[str, ...]
    flags: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    id: int = 0

    @property
    def shown(self) -> tuple[str, ...]:
        """The products that are rates or probabilities: all but `rain_source`, which says where they were seen."""
        return tuple(product for product in self.products if product != RAIN_SOURCE)

    state: str = "promoted"


@dataclass(frozen=True)
class Observation:
    """One observed field on a region's grid: unique by (region, valid time); its id names one publication of it."""

    region: str
    valid_time: datetime
    source: str
    digest: str
    grid_digest: str
    id: int = 0


@dataclass(frozen=True)
class Slot:
    """What became of one slot of a region."""

    region: str
    slot: datetime
    state: Literal["published", "degraded", "refused", "missing"]
    base_time: datetime | None = None
    flags: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class ScoreRecord:
    """One score of one lead of a run, against what was then seen.

    Attributes
    ----------
    threshold
        mm/h; None for scores that have none.
    value
        None where it is not defined (no rain to hit).
    count
        How many pixels were compared; for the CSI, pixels where either exceeded: hits = value × count.
    made_by
        The model, `persistence`, `extrapolation`, or `observed` for what describes the observation itself.
    """

    region: str
    base_time: datetime
    product: str
    lead_minutes: int
    score: str
    threshold: float | None
    value: float | None
    count: int
    made_by: str = ""


@dataclass(frozen=True)
class Place:
    """A place that people know, in degrees (WGS 84)."""

    name: str
    lat: float
    lon: float

    def __post_init__(self) -> None:
        if not (self.name and -90 <= self.lat <= 90 and -180 <= self.lon <= 180):
            raise ValueError(f"a place needs a name, lat -90 … 90 and lon -180 … 180, got {self}")


@dataclass(frozen=True)
class RegionRecord:
    """A region as the store knows it, for readers that have no `regions.toml`."""

    name: str
    title: str
    grid: Grid
    sources: tuple[str, ...]
    model: str
    places: tuple[Place, ...] = ()
