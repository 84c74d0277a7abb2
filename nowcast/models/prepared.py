"""What an ensemble works with between its two halves: what no lead changes, and what some leads have of their own.

A compiled plan computes both in one function and hands them to the other as tensors (`engines.compiled`).
"""

from dataclasses import dataclass

from torch import Tensor

from nowcast.models.pyramid import LEVELS

FRESH = 2
"""The finest band that regains as noise what it loses: 8 to 16 pixels. Over four draws finer noise changed no score for
the better, on events that the model was fitted on or not; without this band CRPS was up to 1.3 % higher."""


@dataclass
class Prepared:
    """What a forecast needs and no lead changes. B batch, M members; band l is (B, ·, H/2^l, W/2^l).

    Attributes
    ----------
    change, passed
        What the last frames have changed along the trajectories, of every band, and where it lies, from `FRESH` on.
    drift, heading
        Each member's error of motion (B, M, 2), of size 1; where the rain comes from, (B, 2): see `heading`.
    error
        Sizes of the errors of motion, (B, 3, 1): see `Cascade.error`.
    roam
        How much larger they are at a place, (B, 1, H/4, W/4).
    exceeded, typical
        Distribution of the newest frame: shares (B, J) over the knots of `Matching`, and M quantiles (B, M, 1, 1).
    trust
        How far a place is believed rather than what is typical: coefficients (B, TERMS, H/8, W/8), or (B, TERMS, 1, 1).
    stay
        The share of the coarsest band that stays where it is: coefficients (B, TERMS, 1, 1).
    """

    bands: list[Tensor]
    change: list[Tensor]
    passed: list[Tensor]
    shaped: list[Tensor]
    parameters: list[Tensor]
    displacements: list[Tensor]
    drift: Tensor
    heading: Tensor
    error: Tensor
    roam: Tensor
    exceeded: Tensor
    typical: Tensor
    trust: Tensor
    stay: Tensor
    newest: Tensor
    seen: Tensor
    growth: Tensor | None

    def flat(self) -> tuple[Tensor, ...]:
        """Return all but the displacements as tensors in a row; see `of_flat`."""
        motion = (self.drift, self.heading, self.error, self.roam)
        rest = (self.exceeded, self.typical, self.trust, self.stay, self.newest, self.seen)
        growth = () if self.growth is None else (self.growth,)
        return (*self.bands, *self.change, *self.parameters, *self.passed, *self.shaped, *motion, *rest, *growth)

    @classmethod
    def of_flat(cls, flat: tuple[Tensor, ...]) -> "Prepared":
        """Return what `flat` was called on, with no displacements."""
        bands, change, parameters = (list(flat[at : at + LEVELS]) for at in (0, LEVELS, 2 * LEVELS))
        start, coarse = 3 * LEVELS, LEVELS - FRESH
        passed, shaped = list(flat[start : start + coarse]), list(flat[start + coarse : start + 2 * coarse])
        rest = flat[start + 2 * coarse :]
        drift, heading, error, roam, exceeded, typical, trust, stay, newest, seen = rest[:10]
        growth = rest[10] if len(rest) > 10 else None
        known = (drift, heading, error, roam, exceeded, typical, trust, stay, newest, seen)
        return cls(bands, change, passed, shaped, parameters, [], *known, growth)


@dataclass(eq=False)  # frozen or compared by value, torch 2.11 cannot trace it
class Leads:
    """Some leads of every sample as one batch of N = B·K: `each(field)` repeats (B, …) for them.

    Attributes
    ----------
    count
        K.
    time
        Logarithm of the lead in units of half an hour, (N, 1, 1, 1), of the members' type.
    positions, coarse, shift
        Where in the newest frame each pixel's air was (N, 2, H, W), the same of cells of 4 × 4 pixels, and how far off
        each member takes it to have been, at every turn of the compass (N, TURNS, M, 3, 1, 1): x, y, share of the way.
        In `grid_sample`'s units, FP32.
    """

    count: int
    time: Tensor
    positions: Tensor
    coarse: Tensor
    shift: Tensor

    def __call__(self, field: Tensor) -> Tensor:
        """Return (B·K, …), the leads of a sample after each other."""
        if self.count == 1:
            return field
        shape = field.shape[1:]
        return field[:, None].expand(-1, self.count, *shape).reshape(-1, *shape)
