"""What the frames tell that a model leaves out: how the CRPS falls if a field of theirs shifts or widens its members.

    python -m benchmarks.headroom --data DATA [--events a,b,…] [--model standard] [--minutes 15,30,60] [--device cuda]

At random pixels of every case the members are kept, and fields of what the frames say of the place: as it moved, as it
lay, what changed along the way and in place, at some widths. For each field alone two numbers are fitted under the
CRPS, how far it shifts the members (in latent levels) and how much it widens them, on all events but one, and tried on
that one: a field that helps events which it was not fitted on is one that the model ought to use. So the change in
place was found (`Cascade.passing`). Events need numbers of their own, so a single event tells nothing.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import PERMITTED, VALIDATION, Case, cases
from benchmarks.skill import inputs
from nowcast.models.advection import base_grid, sample
from nowcast.models.earlier import align, before
from nowcast.models.levels import DRY, HIGHEST, latent_to_rate, to_latent
from nowcast.models.pyramid import double
from nowcast.models.registry import create
from nowcast.train.losses import almost_fair_crps

WIDTHS = (5, 17, 65)
"""Pixels over which fields are smoothed."""
AHEAD = (("moved", 1.0), ("half way", 0.5), ("a third further", 1.3))
"""Shares of the way back to where the rain of a pixel was, at which the frame is read."""
STEPS = 15
"""Of the fit; it has two numbers."""
SHARP = 25.0
"""Per latent level: how fast, for the fit alone, a member becomes rain; a step has no slope."""


@dataclass
class Places:
    """Pixels of one event at one lead: members (N, M) in latent levels, mm/h seen (N,), fields by name (N,) each."""

    members: Tensor
    seen: Tensor
    fields: dict[str, Tensor]


def smooth(field: Tensor, side: int) -> Tensor:
    """Return two box means after each other."""
    for _ in range(2):
        field = F.avg_pool2d(field, side, 1, side // 2, count_include_pad=False)
    return field


@torch.no_grad()
def places(model, case: Case, minutes: tuple[int, ...], pixels: int, device: str) -> dict[int, Places]:
    """Return by minutes what one case has at random pixels that the radar saw then."""
    cascade, rng, found = model.cascade, np.random.default_rng(case.start), {}
    stack, mask, motion, *rest = inputs(case, 0, model, device)
    ready = cascade.prepare(stack, mask, motion, *rest)
    level = (to_latent(stack) - DRY) * mask
    moved, lay = align(level, mask, cascade.trajectories(motion)), align(level, mask)
    newest, seen = level[:, -1:], mask[:, -1:]
    last = newest * moved[1][:, 1:] - moved[1][:, :1]
    speed = double(motion.square().sum(1, keepdim=True).sqrt(), newest)
    for lead in (m // 5 - 1 for m in minutes):
        truth = case.truth(lead)
        if truth is None:
            continue
        each = cascade.each([lead], ready)
        members = cascade.levels_at(ready, each).ordered[0].float()
        here = base_grid(newest.shape[-2], newest.shape[-1], each.positions)
        path = each.positions - here
        told = members.mean(0)[None, None]
        fields = {"all": torch.ones_like(told), "mean": told, "spread": members.std(0)[None, None]}
        fields["speed"] = speed
        for width in WIDTHS:
            kept, way, place = (smooth(f, width) for f in (newest, newest - before(moved), newest - before(lay)))
            further = {f"{name} {width}": sample(kept, here + share * path, "border") for name, share in AHEAD}
            came, passed = (sample(f, each.positions, "border") for f in (way, place))
            fields |= {f"lay {width}": kept, f"changed on its way {width}": came, f"changed in place {width}": passed}
            fields |= further
        fields["changed on its way, last step"] = sample(smooth(last, 5), each.positions, "border")
        fields["edge"] = sample(smooth(seen, 65), each.positions, "border")
        there = np.argwhere(np.isfinite(truth))
        y, x = rng.choice(there, min(pixels, len(there)), replace=False).T
        was = torch.from_numpy(truth[y, x]).to(device)
        found[5 * (lead + 1)] = Places(members[:, y, x].T, was, {n: f[0, 0][y, x] for n, f in fields.items()})
    return found


def joined(parts: list[Places]) -> Places:
    fields = {name: torch.cat([p.fields[name] for p in parts]) for name in parts[0].fields}
    return Places(torch.cat([p.members for p in parts]), torch.cat([p.seen for p in parts]), fields)


def score(at: Places, field: Tensor, numbers: Tensor, rate=latent_to_rate) -> Tensor:
    """Return the mean CRPS with the members shifted and widened by a field of mean square 1."""
    middle = at.members.mean(1, keepdim=True)
    members = middle + numbers[0] * field[:, None] + (at.members - middle) * torch.exp(numbers[1] * field[:, None])
    return almost_fair_crps(rate(members).T[None, :, :, None], at.seen[None, :, None], 0.0).mean()


def gradual(level: Tensor) -> Tensor:
    """Return mm/h without a step at the lightest rain."""
    return torch.exp((level.clamp(max=HIGHEST) - 1) * math.log(10)) * torch.sigmoid(SHARP * level)


def gain(events: dict[str, Places], name: str) -> dict[str, float]:
    """Return by event the change of its CRPS in %, by numbers fitted on the others."""
    whole = torch.cat([at.fields[name] for at in events.values()])
    unit = {e: (at.fields[name] / (whole.square().mean().sqrt() + 1e-6)).clamp(-4, 4) for e, at in events.items()}
    none = torch.zeros(2, device=whole.device)
    start = {e: float(score(at, unit[e], none, gradual)) for e, at in events.items()}
    found = {}
    for left_out, at in events.items():
        numbers = none.clone().requires_grad_()
        search = torch.optim.LBFGS([numbers], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss(left_out=left_out, numbers=numbers, search=search) -> Tensor:
            search.zero_grad()
            others = [score(events[e], unit[e], numbers, gradual) / start[e] for e in events if e != left_out]
            total = torch.stack(others).mean() + 1e-3 * numbers.square().sum()
            total.backward()
            return total

        search.step(loss)
        with torch.no_grad():
            found[left_out] = 100 * (
                float(score(at, unit[left_out], numbers)) / float(score(at, unit[left_out], none)) - 1
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", default=",".join((*VALIDATION, *PERMITTED)))
    parser.add_argument("--model", default="standard")
    parser.add_argument("--minutes", default="15,30,60,90,120")
    parser.add_argument("--pixels", type=int, default=2000, help="of each case")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    model, minutes = create(args.model).to(args.device), tuple(int(m) for m in args.minutes.split(","))
    by_minutes: dict[int, dict[str, list[Places]]] = {m: {} for m in minutes}
    for event in (e for e in args.events.split(",") if (args.data / f"{e}.npz").exists()):
        for case in cases(args.data, event):
            for minute, found in places(model, case, minutes, args.pixels, args.device).items():
                by_minutes[minute].setdefault(event, []).append(found)
    table = {}
    for minute, parts in by_minutes.items():
        events = {event: joined(found) for event, found in parts.items()}
        if len(events) < 3:
            print(f"{minute} min: {len(events)} events have it, three are needed")
            continue
        rows = {name: gain(events, name) for name in next(iter(events.values())).fields}
        table[minute] = rows
        print(f"{minute} min, % of the CRPS{'':16}" + "".join(f"{e:>26}" for e in events) + f"{'mean':>8}")
        for name, row in sorted(rows.items(), key=lambda each: float(np.mean(list(each[1].values())))):
            print(
                f"  {name:34}" + "".join(f"{v:+26.2f}" for v in row.values()) + f"{np.mean(list(row.values())):+8.2f}"
            )
    if args.out:
        args.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
