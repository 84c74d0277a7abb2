"""Pictures of the skill table: reliability, rank histograms, spectra; with `--data` forecasts beside what was seen.

    python -m benchmarks.pictures [--data DATA]

after `skill`. It needs matplotlib, which no part of the product does: `pip install matplotlib` where it is run.
"""

import argparse
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.colors import BoundaryNorm, ListedColormap
from PIL import Image

from api.palettes import NOT_SEEN, palette_for
from benchmarks.cases import VALIDATION, Case
from benchmarks.skill import inputs
from nowcast.models.advection import sample
from nowcast.models.levels import latent_to_rate
from nowcast.models.registry import create
from nowcast.models.spec import COVERED_FROM
from nowcast.tally import WAVELENGTHS

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "img"
LEADS = ("15", "30", "60", "120")
SHOWN = ("standard", "steps")
START = 11
"""Newest input frame of the forecasts that are shown, the second of the benchmark's four."""
COLOURS = {
    "standard": "tab:blue",
    "steps": "tab:orange",
    "edge": "tab:green",
    "lk_extrapolation": "tab:red",
    "advection": "tab:purple",
    "persistence": "tab:brown",
}


def grid(report, title, draw, name):
    figure, axes = plt.subplots(len(VALIDATION), len(LEADS), figsize=(13, 6.4), constrained_layout=True)
    for row, event in zip(axes, VALIDATION, strict=True):
        for axis, lead in zip(row, LEADS, strict=True):
            draw(axis, {m: report[event][m][lead] for m in SHOWN})
            axis.set_title(f"{event}, {lead} min", fontsize=9)
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(title)
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / name, dpi=90)


def reliability(axis, models):
    axis.plot([0, 1], [0, 1], "k:", lw=1)
    for model, row in models.items():
        points = [(p, o) for p, o, n in row["reliability_1mm"] if n >= 1000]
        axis.plot(*zip(*points, strict=True), "o-", ms=3, label=model, color=COLOURS[model])


def rank(axis, models):
    for model, row in models.items():
        axis.plot(row["rank"], label=model, color=COLOURS[model])
    axis.axhline(1 / 25, color="k", ls=":", lw=1)
    axis.set_ylim(0, 0.15)


def spectrum(axis, models):
    middle = [(a * b) ** 0.5 for a, b in pairwise(WAVELENGTHS)]
    for model, row in models.items():
        axis.loglog(middle, row["power_ratio"], "o-", ms=3, label=model, color=COLOURS[model])
    axis.axhspan(0.5, 2, color="0.9")
    axis.set_ylim(0.2, 4)
    axis.minorticks_off()
    axis.set_xticks(WAVELENGTHS, WAVELENGTHS)
    axis.set_yticks((0.25, 0.5, 1, 2, 4), ("¼", "½", "1", "2", "4"))


def crps(report):
    figure, axes = plt.subplots(1, len(VALIDATION), figsize=(11, 4), constrained_layout=True)
    for axis, event in zip(axes, VALIDATION, strict=True):
        for model, colour in COLOURS.items():
            rows = report[event][model]
            axis.plot([int(k) for k in rows], [r["crps"] for r in rows.values()], label=model, color=colour)
        axis.set_title(event)
        axis.set_xlabel("lead, min")
        axis.set_ylabel("CRPS, mm/h")
    axes[0].legend(fontsize=8)
    figure.savefig(OUT / "crps.png", dpi=90)


@dataclass(frozen=True)
class Row:
    """A row of panels: a product, whose palette it takes, and its fields (512, 512) by lead, NaN where not seen."""

    title: str
    product: str
    fields: list[np.ndarray]


@torch.no_grad()
def rows(case):
    """Return what was seen and what `standard` told at `LEADS`; the member is the first."""
    model = create("standard")
    tensors = inputs(case, 0, model)
    ready = model.cascade.prepare(*tensors)
    leads = [int(lead) // 5 - 1 for lead in LEADS]
    made = []
    for lead in leads:
        each = model.cascade.each([lead], ready)
        coupled = model.cascade.levels_at(ready, each)
        unseen = sample(tensors[1][:, -1:], each.positions, "zeros")[0, 0] < COVERED_FROM
        rates = latent_to_rate(coupled.members)[0]
        told = (rates.mean(0), 100 * model.probabilities(coupled.ordered, each, ready)[1][0, 0], rates[0])
        made.append([field.masked_fill(unseen, torch.nan).numpy() for field in told])
    mean, chance, member = (list(fields) for fields in zip(*made, strict=True))
    return (
        Row("observed", "rain_mean", [case.truth(lead) for lead in leads]),
        Row("mean of 24", "rain_mean", mean),
        Row("P(≥ 1 mm/h)", "prob_1", chance),
        Row("one member", "rain_member_01", member),
    )


def panels(case):
    shown = rows(case)
    figure, axes = plt.subplots(len(shown), len(LEADS), figsize=(11.4, 11), constrained_layout=True)
    for line, row in zip(axes, shown, strict=True):
        palette = palette_for(row.product, None)
        colours = ListedColormap(palette.colours).with_extremes(bad=NOT_SEEN, under="white")
        norm = BoundaryNorm((*palette.edges, 1e3), len(palette.colours))
        for axis, field, lead in zip(line, row.fields, LEADS, strict=True):
            image = axis.imshow(field[::2, ::2], colours, norm, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(f"{lead} min" if row is shown[0] else "", fontsize=10)
        line[0].set_ylabel(row.title, fontsize=10)
        bar = figure.colorbar(image, ax=line, ticks=palette.edges, spacing="uniform", pad=0.01, label=palette.unit)
        bar.ax.set_yticklabels([f"{edge:g}" for edge in palette.edges], fontsize=8)
    figure.suptitle(f"{case.event}: standard, 512 × 512 km, white dry, grey not seen", fontsize=11)
    figure.savefig(OUT / f"panels-{case.event}.png", dpi=100)
    plt.close(figure)
    with Image.open(OUT / f"panels-{case.event}.png") as picture:  # few colours: a quarter of the bytes
        small = picture.convert("RGB").quantize(96, dither=Image.Dither.NONE)
    small.save(OUT / f"panels-{case.event}.png", optimize=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="Folder of sequences: draw forecasts too.")
    args = parser.parse_args()
    report = json.loads((HERE / "results" / "skill.json").read_text())
    grid(report, "Reliability of P(≥ 1 mm/h), bins of 1,000 pixels or more", reliability, "reliability.png")
    grid(report, "Rank histograms of 24 members", rank, "ranks.png")
    grid(
        report, "Power of members over observed, by wavelength in km; grey: within a factor 2", spectrum, "spectra.png"
    )
    crps(report)
    for event in VALIDATION if args.data else ():
        panels(Case(args.data / f"{event}.npz", START))


if __name__ == "__main__":
    main()
