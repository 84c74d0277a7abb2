"""The life of a model: candidate → shadow → canary → promoted → retired or rolled back.

Each step is a row that is only added (`Transition`); what a region is served by follows from the rows alone, so every
worker and the API agree. A family is what a region's `model` setting names; a model of that family that is promoted,
or in its canary, for the region serves it instead, and a rollback is one row.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nowcast.errors import LifeError

if TYPE_CHECKING:
    from nowcast.region import Region


class State(StrEnum):
    """Where a model is in its life."""

    CANDIDATE = "candidate"
    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    RETIRED = "retired"
    ROLLED_BACK = "rolled-back"


NEXT: dict[State | None, tuple[State, ...]] = {
    None: (State.CANDIDATE,),
    State.CANDIDATE: (State.SHADOW, State.RETIRED),
    State.SHADOW: (State.CANARY, State.RETIRED),
    State.CANARY: (State.PROMOTED, State.ROLLED_BACK, State.RETIRED),
    State.PROMOTED: (State.ROLLED_BACK, State.RETIRED),
    State.RETIRED: (),
    State.ROLLED_BACK: (),
}


@dataclass(frozen=True)
class Transition:
    """One step.

    Attributes
    ----------
    family
        The `model` of the regions that it may serve.
    regions
        Names of the regions that the step is about; empty for all of the family.
    numbers
        What the decision rests on.
    """

    model: str
    family: str
    state: State
    regions: tuple[str, ...]
    who: str
    at: datetime
    why: str
    numbers: dict[str, Any] = field(default_factory=dict)
    id: int = 0

    def covers(self, region: "Region") -> bool:
        """Return whether the step is about a region."""
        return self.family == region.model and (not self.regions or region.name in self.regions)


@dataclass(frozen=True)
class Serving:
    """What serves a region, and in which state."""

    model: str
    state: State


class Lives:
    """The lives of all models, from their transitions in order of id."""

    def __init__(self, transitions: Iterable[Transition] = ()) -> None:
        self._last: dict[str, Transition] = {}
        self._made_for: dict[str, tuple[str, ...]] = {}
        for step in transitions:
            if step.state is State.CANDIDATE:
                self._made_for[step.model] = step.regions
            self._last.pop(step.model, None)  # the newest step stands last
            self._last[step.model] = step

    def now(self, model: str) -> Transition | None:
        """Return the last step of a model."""
        return self._last.get(model)

    def all(self) -> list[Transition]:
        """Return the last step of each model, oldest step first."""
        return list(self._last.values())

    def made_for(self, model: str) -> tuple[str, ...]:
        """Return the regions that a model was made for; empty for all of its family."""
        return self._made_for.get(model, ())

    def concerns(self, model: str, region: "Region") -> bool:
        """Return whether a model was made for a region, alone or with all of its family."""
        last, regions = self._last.get(model), self.made_for(model)
        return last is not None and last.family == region.model and (not regions or region.name in regions)

    def incumbent(self, region: "Region", without: str = "") -> str:
        """Return the model that has been promoted last for a region, else the one that its setting names.

        `without` a model: what would serve if that one did not.
        """
        promoted = [
            s for s in self._last.values() if s.state is State.PROMOTED and s.covers(region) and s.model != without
        ]
        return promoted[-1].model if promoted else region.model

    def serving(self, region: "Region") -> Serving:
        """Return what serves a region: its canary, else its incumbent."""
        canaries = [s for s in self._last.values() if s.state is State.CANARY and s.covers(region)]
        if canaries:
            return Serving(canaries[-1].model, State.CANARY)
        return Serving(self.incumbent(region), State.PROMOTED)

    def beside(self, region: "Region") -> list[str]:
        """Return the models that run beside what serves: shadows, and what it is held against.

        A canary is held against the incumbent, a promoted model against the one before it, which can come back. In
        the other regions that it was made for a canary runs beside the incumbent, so that it is judged on all.
        """
        serving, incumbent = self.serving(region).model, self.incumbent(region)
        found = [incumbent, self.incumbent(region, without=incumbent)]
        for step in self._last.values():
            trying = step.state is State.SHADOW and step.covers(region)
            canary = step.state is State.CANARY and self.concerns(step.model, region)
            if trying or canary:
                found.append(step.model)
        return [model for model in dict.fromkeys(found) if model != serving]

    def require(self, model: str, state: State) -> None:
        """Raise `LifeError` when a model may not come into a state from where it is."""
        last = self._last.get(model)
        allowed = NEXT[last.state if last else None]
        if state not in allowed:
            where = f"is {last.state}" if last else "is not known"
            may = ", ".join(allowed) or "nothing: register it again under a new name"
            raise LifeError(f"model {model!r} {where} and cannot become {state}; it may become {may}")


def superseded(lives: Lives, step: Transition) -> Sequence[Transition]:
    """Return the promoted models that a promotion leaves without a region, but for the one to go back to."""
    promoted = [s for s in lives.all() if s.state is State.PROMOTED and s.family == step.family]
    covered = [s for s in promoted if not step.regions or (s.regions and set(s.regions) <= set(step.regions))]
    return covered[:-1]
