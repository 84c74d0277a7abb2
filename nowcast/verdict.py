"""What the input gate says (`Verdict`), what is done about it (`Action`), what an operator may set (`Thresholds`)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum

from nowcast.errors import ConfigError


class Action(IntEnum):
    """What is done with an input, the worst last."""

    ACCEPT = 0
    BYPASS_FLOW = 1
    DEGRADE = 2
    EXTRAPOLATE = 3
    IGNORE = 4
    RETRY = 5
    REFUSE = 6


@dataclass(frozen=True)
class Verdict:
    """One state that an input is in.

    Attributes
    ----------
    state
        Row of the table above, the label of the metric.
    flag
        What the run and the API show; empty where nothing is to be shown.
    message
        The value and the remedy.
    """

    state: str
    action: Action
    flag: str
    message: str


@dataclass(frozen=True)
class Thresholds:
    """What an operator may set per region, `[regions.NAME.gate]`.

    Attributes
    ----------
    ok_minutes, degraded_minutes, refuse_minutes
        Ages of the newest frame up to which all is well, it is degraded, it is only extrapolated.
    future_minutes
        How far ahead a valid time may lie.
    rate_cap
        Rates above (mm/h) are no rain.
    spike
        Rates above (mm/h) without a wet neighbour are no rain.
    partial
        Share of the usual coverage that may be missing.
    unit_factor
        How far wet quantiles may lie outside those of the last 30 days.
    median_cap
        Median wet rate (mm/h) over at least 500 pixels that no weather has: catches dBZ without any history.
    stuck_degraded, stuck_refuse
        Frames in turn with the same pixels while it rains.
    """

    ok_minutes: float = 10.0
    degraded_minutes: float = 20.0
    refuse_minutes: float = 30.0
    future_minutes: float = 2.0
    rate_cap: float = 300.0
    spike: float = 20.0
    partial: float = 0.05
    unit_factor: float = 2.5
    median_cap: float = 10.0
    stuck_degraded: int = 2
    stuck_refuse: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.ok_minutes <= self.degraded_minutes <= self.refuse_minutes:
            raise ValueError(
                f"need 0 ≤ ok_minutes ≤ degraded_minutes ≤ refuse_minutes, got {self.ok_minutes},"
                f" {self.degraded_minutes}, {self.refuse_minutes}"
            )

    @classmethod
    def of(cls, table: Mapping[str, float], where: str) -> "Thresholds":
        """Return the thresholds of a TOML table, or raise `ConfigError` naming `where` and what is wrong."""
        known = {field.name for field in fields(cls)}
        if unknown := set(table) - known:
            raise ConfigError(f"{where}: unknown {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
        try:
            return cls(**dict(table))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {error}; correct it") from error
