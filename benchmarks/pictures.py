"""Pictures of the skill table: reliability, rank histograms, spectra. `python -m benchmarks.pictures` after `skill`."""

import json
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.cases import VALIDATION
from nowcast.tally import WAVELENGTHS

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "img"
LEADS = ("15", "30", "60", "120")
SHOWN = ("standard", "steps")


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
        axis.plot(*zip(*points, strict=True), "o-", ms=3, label=model)


def rank(axis, models):
    for model, row in models.items():
        axis.plot(row["rank"], label=model)
    axis.axhline(1 / 25, color="k", ls=":", lw=1)
    axis.set_ylim(0, 0.15)


def spectrum(axis, models):
    middle = [(a * b) ** 0.5 for a, b in pairwise(WAVELENGTHS)]
    for model, row in models.items():
        axis.loglog(middle, row["power_ratio"], "o-", ms=3, label=model)
    axis.axhspan(0.5, 2, color="0.9")
    axis.set_ylim(0.2, 4)


def crps(report):
    figure, axes = plt.subplots(1, len(VALIDATION), figsize=(11, 4), constrained_layout=True)
    for axis, event in zip(axes, VALIDATION, strict=True):
        for model in ("steps", "standard", "edge", "lk_extrapolation", "advection", "persistence"):
            rows = report[event][model]
            axis.plot([int(k) for k in rows], [r["crps"] for r in rows.values()], label=model)
        axis.set_title(event)
        axis.set_xlabel("lead, min")
        axis.set_ylabel("CRPS, mm/h")
    axes[0].legend(fontsize=8)
    figure.savefig(OUT / "crps.png", dpi=90)


def main():
    report = json.loads((HERE / "results" / "skill.json").read_text())
    grid(report, "Reliability of P(≥ 1 mm/h), bins of 1,000 pixels or more", reliability, "reliability.png")
    grid(report, "Rank histograms of 24 members", rank, "ranks.png")
    grid(
        report, "Power of members over observed, by wavelength in km; grey: within a factor 2", spectrum, "spectra.png"
    )
    crps(report)


if __name__ == "__main__":
    main()
