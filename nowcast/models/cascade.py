"""A learned STEPS: bands of the newest frame, each losing its memory along the trajectories and regaining it as noise.

Bowler, Pierce and Seed (2006), QJRMS 132, 2127–2155, with three differences: bands are a pyramid of convolutions, the
noise of a place has the amplitude that the rain has there, and every parameter is a fitted table plus what a small
network reads from the last frames, all fitted under the score itself.

Rain is a latent level here (`nowcast.models.levels`).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nowcast.models.advection import Trajectories, base_grid, sample
from nowcast.models.context import Context
from nowcast.models.coupling import Coupled, ascending, couple
from nowcast.models.earlier import EARLIER, align, before
from nowcast.models.levels import DRY, to_latent
from nowcast.models.matching import Matching
from nowcast.models.motion_errors import TURNS, ErrorsOfMotion, heading
from nowcast.models.prepared import FRESH, Leads, Prepared
from nowcast.models.pyramid import LEVELS, Pyramid, double
from nowcast.models.spec import FRAMES, LEADS, NoiseSpec
from nowcast.models.spread import reaches

TERMS, KINDS = 3, 4
"""Coefficients of each parameter: at half an hour, slope in log lead, what is added to the slope beyond half an hour;
and parameters: memory, amplitude, growth, trend. With one slope a change of the far leads changed the first as much."""
GROWTH = 0.15
"""Latent levels by which the residual can change a place, at a coefficient of 1."""


class Cascade(ErrorsOfMotion):
    """The latent ensemble of one region.

    Parameters
    ----------
    members, leads
        Size of the ensemble, number of five-minute leads.
    width
        Channels of the network that adjusts the tables per place; 0 for the tables alone.
    """

    reach: Tensor
    logs: Tensor
    lead_steps: Tensor

    def __init__(self, members: int = 24, leads: int = LEADS, width: int = 0, residual: bool = False) -> None:
        super().__init__(members)
        self.leads, self.members, self.residual = leads, members, residual
        self.noise = NoiseSpec(members, 1, 2**FRESH)
        self.pyramid, self.matching = Pyramid(), Matching()
        self.trajectories = Trajectories(max(leads, FRAMES - 1))
        self.memory = nn.Parameter(
            F.pad(torch.tensor([[0.1, 0.7], [-0.4, 0.7], [-0.7, 0.6], [-1.1, 0.8], [-1.9, 1.0], [-2.9, 1.2]]), (0, 1))
        )
        self.amplitude = nn.Parameter(
            F.pad(torch.tensor([[-0.5, 0.0], [-0.2, 0.3], [-0.4, 0.0], [-0.2, -0.1], [0.0, 0.0], [0.3, 0.4]]), (0, 1))
        )
        self.growth = nn.Parameter(
            F.pad(torch.tensor([[0.5, 0.1], [0.3, 0.1], [0.1, 0.0], [-0.1, -0.1], [-0.2, -0.1], [-0.2, -0.1]]), (0, 1))
        )
        self.trend = nn.Parameter(
            F.pad(torch.tensor([[0.3, 0.1], [0.4, 0.0], [0.5, 0.0], [0.7, 0.1], [0.9, 0.1], [1.0, 0.2]]), (0, 1))
        )
        self.passing = nn.Parameter(torch.tensor([0.2, 0.1, 0.7]))
        self.stay = nn.Parameter(torch.zeros(TERMS))
        self.linger = nn.Parameter(torch.tensor(2.5))
        self.borrow = nn.Parameter(torch.full((LEVELS,), -2.0))
        self.trust = nn.Parameter(torch.tensor([3.0, -1.0, 0.0]))
        told = KINDS * LEVELS * TERMS + TERMS + 1 + (TERMS if residual else 0)
        self.context = Context(width, told) if width else None
        self.usual = nn.Parameter(torch.tensor([-0.1, -0.8, -1.5, -2.5, -3.3, -5.0]))
        self.heed = nn.Parameter(torch.full((LEVELS,), 0.2))
        self.register_buffer("reach", reaches(members)[:, None, None], persistent=False)
        steps = torch.arange(1.0, leads + 1)
        self.register_buffer("logs", torch.log(steps / 6), persistent=False)
        self.register_buffer("lead_steps", steps, persistent=False)
        self.register_load_state_dict_pre_hook(_older)  # type: ignore[no-untyped-call]

    # ---- what no lead changes -------------------------------------------------------------------------------------

    def prepare(
        self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor, pixel: Tensor | None = None
    ) -> Prepared:
        """Decompose, measure and read the parameters; `noise` (B, M, 1, H/4, W/4), `pixel` in km, 1 where None.

        Bands and how they changed are differences of what is nearly alike, so they are taken in FP32 and kept in the
        weights' type: in halves the measure of the coarsest band was off by 2 %.
        """
        kind, level, weight = self.memory.dtype, to_latent(stack.float()), mask.float()
        newest, seen = level[:, -1:], weight[:, -1:]
        bands = self.pyramid(newest, seen, DRY)
        displacements = self.trajectories(motion)
        aligned = align(level - DRY, weight, displacements)
        change, passed = (
            [now - then for now, then in zip(bands, self.pyramid(before(frames) + DRY, seen, DRY), strict=True)]
            for frames in (aligned, align(level - DRY, weight))
        )
        stay = self.staying(change[-1], passed[-1])
        unusual = self._unusual(bands, change, weight)
        events = [event.to(kind) for event in self._lasting(unusual)]
        bands, change, passed = ([band.to(kind) for band in part] for part in (bands, change, passed[FRESH:]))
        newest, seen = newest.to(kind), seen.to(kind)
        pixel = stack.new_ones(1, dtype=torch.float32).expand(len(stack), 1, 1, 1) if pixel is None else pixel.float()
        frames = [frame.to(kind) for frame in aligned]
        adjust = self.context(frames, motion, pixel) if self.context is not None else None
        growth, trust = None, self.trust[None, :, None, None].expand(stack.shape[0], -1, -1, -1)
        roam = self.astray(bands[FRESH], change[FRESH], newest)
        if adjust is not None:
            start = KINDS * LEVELS * TERMS
            trust = trust + adjust[:, start : start + TERMS]
            roam = roam * torch.exp(_resize(adjust[:, start + TERMS : start + TERMS + 1], roam))
            growth = GROWTH * _resize(adjust[:, -TERMS:], newest) if self.residual else None
        exceeded = self.matching.exceeded(newest, seen)
        eddies = self.noise_bands(noise[:, :, 0])
        shaped = [a * n for a, n in zip(self._scales(bands), eddies, strict=True)]
        return Prepared(
            bands,
            change,
            passed,
            shaped,
            self._coefficients(bands, adjust, events),
            displacements,
            self.drift(noise[:, :, 0]),
            heading(motion, newest),
            self.error(motion, newest, unusual[FRESH], pixel),
            roam,
            exceeded,
            self.matching.typical(exceeded, self.members).to(kind),
            trust,
            stay.to(kind),
            newest,
            seen,
            growth,
        )

    def _scales(self, bands: list[Tensor]) -> list[Tensor]:
        """Return the local standard deviation of each band from `FRESH` on, with a share of the next coarser one's."""
        squares = [self.halve.blur(bands[i] * bands[i], min(2, LEVELS - 1 - i)) for i in range(FRESH, LEVELS - 1)]
        squares.append(self.halve(squares[-1]))
        found = [squares[-1]]
        for square, borrow in zip(squares[-2::-1], self.borrow[FRESH : LEVELS - 1].flip(0), strict=True):
            share = torch.sigmoid(borrow)
            found.append((1 - share) * square + share * double(found[-1], square))
        return [torch.sqrt(f + 1e-6) for f in found[::-1]]

    def noise_bands(self, noise: Tensor) -> list[Tensor]:
        """Return bands `FRESH` … of (B, M, H/4, W/4) white noise, mean 0, variance 1 over the members at every pixel.

        Each band is free of what it shares with the next coarser one: their sum then has the variance that it should.
        Doubled at every step, a field keeps its size: nothing is too small for FP16.
        """
        fields = [noise]
        for _ in range(LEVELS - 1 - FRESH):
            fields.append(2 * self.halve(fields[-1]))
        found = [self._standard(fields[-1])]
        for fine, coarse in zip(fields[-2::-1], fields[:0:-1], strict=True):
            band, coarser = fine - 0.5 * double(coarse, fine), self._standard(double(found[-1], fine))
            found.append(self._standard(band - (band * coarser).mean(1, keepdim=True) * coarser))
        return found[::-1]

    @staticmethod
    def _standard(band: Tensor) -> Tensor:
        centred = band - band.mean(1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-4)

    def staying(self, moved: Tensor, stood: Tensor) -> Tensor:
        """Return the coefficients (B, TERMS, 1, 1) of the share of the coarsest band that stays where it is.

        Cells move, while what makes them, a slope or a front, moves less or not at all: over the Alps the band that
        stays tells more of what comes at 60 min than the one that moves. The share is the less, the more the band has
        changed of late where it `stood` than along the trajectories, `moved`: both (B, 1, ·, ·).
        """
        more, less = ((change * change).mean((2, 3), keepdim=True) + 1e-6 for change in (stood, moved))
        late = torch.log(more / less).clamp(-2, 3)
        return self.stay[:, None, None] - F.pad(self.linger * late, (0, 0, 0, 0, 0, TERMS - 1))

    # ---- parameters -----------------------------------------------------------------------------------------------

    def _coefficients(self, bands: list[Tensor], adjust: Tensor | None, events: list[Tensor]) -> list[Tensor]:
        """Return (B, KINDS·TERMS, ·, ·) per band: memory, amplitude, growth, trend."""
        tables = torch.cat((self.memory, self.amplitude, self.growth, self.trend), 1)[:, :, None, None]
        if adjust is None:
            return [row[None] + event for row, event in zip(tables, events, strict=True)]
        own = torch.split(adjust[:, : KINDS * TERMS * LEVELS], KINDS * TERMS, 1)
        return [_resize(a, b) + row[None] + e for a, b, row, e in zip(own, bands, tables, events, strict=True)]

    def _unusual(self, bands: list[Tensor], change: list[Tensor], mask: Tensor) -> list[Tensor]:
        """Return how much more of each band has changed of late than is usual, (B, 1, 1, 1).

        The measure is the log share of a band's variance that has changed, as if all earlier frames had been seen: of
        fewer the change is told less, and of older ones there is more of it. Without any it is 0.
        """
        *earlier, newest = torch.split(mask.mean((2, 3), keepdim=True), 1, 1)
        heard = [weight * seen / (newest + 1e-4) for weight, seen in zip(EARLIER, earlier[::-1], strict=True)]
        total = sum(heard, torch.zeros(())).clamp(1e-4, 1.0)
        age = sum((part * back for back, part in enumerate(heard, 1)), torch.zeros(())) / total
        usual_age = sum(weight * back for back, weight in enumerate(EARLIER, 1))
        lacking = 2 * torch.log(total) + torch.log(age / usual_age + 1e-4)
        known = (total > 0.01).float()
        found = []
        for index, (band, moved) in enumerate(zip(bands, change, strict=True)):
            swing = band - band.mean((2, 3), keepdim=True)
            share = ((moved * moved).mean((2, 3), keepdim=True) + 1e-7) / (
                (swing * swing).mean((2, 3), keepdim=True) + 1e-5
            )
            found.append((torch.log(share) - lacking - self.usual[index]).clamp(-2, 2) * known)
        return found

    def _lasting(self, unusual: list[Tensor]) -> list[Tensor]:
        """Return what this event's own change of late adds to the memory of each band, (B, KINDS·TERMS, 1, 1)."""
        pairs = zip(unusual, self.heed, strict=True)
        return [torch.cat((u * heed, u.expand(-1, KINDS * TERMS - 1, -1, -1) * 0), 1) for u, heed in pairs]

    @staticmethod
    def along(coefficients: Tensor, time: Tensor) -> Tensor:
        """Return the value at log leads (N, 1, 1, 1) of (N, TERMS, ·, ·) coefficients, (N, 1, ·, ·)."""
        middle, slope, bend = torch.split(coefficients, 1, 1)
        return middle + slope * time + bend * F.relu(time)

    # ---- leads ----------------------------------------------------------------------------------------------------

    def member_levels(self, ready: Prepared, lead: int) -> Tensor:
        """Return the latent members (B, M, H, W) at a lead (0 is 5 min)."""
        return self.levels_at(ready, self.each([lead], ready)).members

    def levels_at(self, ready: Prepared, each: Leads) -> Coupled:
        """Return the latent members (B·K, M, H, W), the leads of a sample after each other."""
        known, fresh = self._evolve(each, ready, LEVELS - 1, None), self._eddy(each, ready, LEVELS - 1)
        stays = (known - DRY) * torch.sigmoid(self.along(each(ready.stay), each.time))
        known = known - stays
        for index in range(LEVELS - 2, -1, -1):
            known = self._evolve(each, ready, index, known)
            fresh = double(fresh, known)
            if index >= FRESH:
                fresh = fresh + self._eddy(each, ready, index)
            if index == FRESH:
                known = known + self._standing(double(stays, known), each)
        whole = known + fresh
        seen, exceeded = each(ready.seen), each(ready.exceeded)
        whole = self.matching.apply(whole, self.matching.positions(whole, seen, exceeded))
        if ready.growth is not None:
            whole = whole + self.along(each(ready.growth), each.time)
        members = self._carry(whole, each.positions, each, ready)
        told = couple(members, each.time, None if self.training else self._turned(members, whole, each, ready))
        return Coupled(self._trusted(told.ordered, ready, each), told.before)

    def _trusted(self, ordered: Tensor, ready: Prepared, each: Leads) -> Tensor:
        """Return ascending members (N, M, H, W), drawn a little to what is typical: far out all are too sure.

        A tenth of it lowered the CRPS at 90 and 120 min by 1.6 to 3.3 % on every event that reaches so far and that the
        model was fitted on, and by .6 % on others, before any fit.
        """
        trust = double(torch.sigmoid(self.along(each(ready.trust), each.time)), ordered)
        typical = each(ready.typical)
        return typical + trust * (ordered - typical)

    def _memory(self, each: Leads, ready: Prepared, index: int) -> Tensor:
        return torch.exp(-torch.exp(self.along(each(ready.parameters[index][:, :TERMS]), each.time)))

    def _evolve(self, each: Leads, ready: Prepared, index: int, known: Tensor | None) -> Tensor:
        """Return what is left of the bands from the coarsest down to `index`, (N, 1, ·, ·)."""
        parameters = each(ready.parameters[index][:, 2 * TERMS :])
        gain = torch.exp(self.along(parameters[:, :TERMS], each.time))
        trend = torch.tanh(self.along(parameters[:, TERMS:], each.time))
        band = each(ready.bands[index]) + trend * each(ready.change[index])
        if index >= FRESH:
            band = band + self._passing(each) * each(ready.passed[index - FRESH])
        kept = self._memory(each, ready, index) * gain
        return DRY + (band - DRY) * kept if known is None else double(known, band) + band * kept

    def _passing(self, each: Leads) -> Tensor:
        """Return how much of what has changed in place of late is added to the rain that moves on, (N, 1, 1, 1).

        Rain that comes is stronger than the motion says, and rain that goes weaker: where it lies, it has changed by
        what motion carried in and by what it did on the way. With these three numbers the CRPS fell by up to 1.4 %
        from 15 to 90 min on events that they were not fitted on.
        """
        return torch.tanh(self.along(self.passing[None, :, None, None], each.time))

    def _eddy(self, each: Leads, ready: Prepared, index: int) -> Tensor:
        """Return what band `index` has regained as noise, (N, M, ·, ·)."""
        memory = self._memory(each, ready, index)
        amplitude = self.along(each(ready.parameters[index][:, TERMS : 2 * TERMS]), each.time)
        return each(ready.shaped[index - FRESH]) * (torch.sqrt(1 - memory * memory + 1e-6) * torch.exp(amplitude))

    @staticmethod
    def _standing(field: Tensor, each: Leads) -> Tensor:
        """Return (N, 1, H/4, W/4) so far ahead of itself that trajectories carry it back to where it is."""
        here = base_grid(field.shape[-2], field.shape[-1], each.coarse)
        return sample(field, 2 * here - each.coarse, "border")

    def _carry(
        self, whole: Tensor, positions: Tensor, each: Leads, ready: Prepared, turns: Sequence[int] = (0,)
    ) -> Tensor:
        """Move (N, M, H, W) along each member's own trajectories; beyond the border its rain fades.

        Returns (N, M, T·h, w) at `positions` (N, 2, h, w): the T turns of the compass below each other.
        """
        batch, members, height, width = whole.shape
        paths = positions - base_grid(positions.shape[-2], positions.shape[-1], positions)
        roam = sample(each(ready.roam), positions, "border")
        shift, haste = torch.split(each.shift, [2, 1], 3)
        ways = [positions[:, None] + roam[:, None] * (shift[:, t] + haste[:, t] * paths[:, None]) for t in turns]
        moved = sample((whole - DRY).reshape(-1, 1, height, width), torch.cat(ways, -2).flatten(0, 1), "border")
        over = F.relu(positions.abs() - 1)
        beyond = torch.maximum(over[:, :1] * (width / 2), over[:, 1:] * (height / 2)).to(whole.dtype)
        fade = F.relu(1 - torch.cat([beyond] * len(turns), -2) / self.reach)
        return moved.reshape(batch, members, *moved.shape[-2:]) * fade + DRY

    def _turned(self, members: Tensor, whole: Tensor, each: Leads, ready: Prepared) -> Tensor:
        """Return ascending members (N, M, H, W), from an hour on as of four times as many: others turn the compass.

        96 members instead of 24 lowered the CRPS by .5 % on average, and so did turns; in every fourth row and column
        they do from an hour on, and cost weak rain at half an hour.
        """
        ordered = ascending(members)
        others = ascending(self._carry(whole, each.coarse, each, ready, range(1, TURNS)))
        mean = others.reshape(*others.shape[:2], TURNS - 1, -1, others.shape[-1]).mean(2)
        share = (1 - 1 / TURNS) * torch.exp(2 * (each.time - math.log(2))).clamp(max=1)
        return ordered + share * (double(mean, ordered) - ordered)

    def each(self, leads: Sequence[int], ready: Prepared) -> Leads:
        """Return what some leads (0 is 5 min) have of their own."""
        batch, _, height, width = ready.seen.shape
        paths = torch.stack([ready.displacements[lead] for lead in leads], 1).flatten(0, 1)
        full = F.interpolate(paths, size=(height, width), mode="bilinear", align_corners=False)
        time, steps = (torch.stack([per[lead] for lead in leads]) for per in (self.logs, self.lead_steps))
        shift = self.shifts(ready, steps, height, width)
        positions = base_grid(height, width, full) + full
        coarse = base_grid(paths.shape[-2], paths.shape[-1], paths) + paths
        return Leads(len(leads), time.repeat(batch)[:, None, None, None], positions, coarse, shift[..., None, None])


def _older(_: nn.Module, weights: dict[str, Tensor], prefix: str, *__: object) -> None:
    """Let weights from before `passing` be the model that they were fitted for: a night's, after an upgrade."""
    weights.setdefault(f"{prefix}passing", torch.zeros(TERMS))


def _resize(field: Tensor, like: Tensor) -> Tensor:
    while field.shape[-1] > like.shape[-1]:
        field = F.avg_pool2d(field, 2)
    return field if field.shape[-1] == like.shape[-1] else double(field, like)
