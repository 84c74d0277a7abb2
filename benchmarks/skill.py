"""The skill table: the models beside pysteps on the same crops, start times and members. `make bench-skill` runs it.

    python -m benchmarks.skill --data DATA [--events a,b] [--weights FOLDER] [--out benchmarks/results/skill.json]

pysteps runs in an environment of its own, made here; its tallies are kept, one JSON per case. `--weights` scores
`<event>.safetensors` of a folder on that event: leave-one-event-out. Without it, the ensembles are scored on the
permitted events too, in rows called "trained on": no evidence of skill, but the probability thresholds of `csi_chosen`
are chosen there.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.cases import PERMITTED, VALIDATION, Case, cases
from nowcast.models.cascade import latent_to_rate
from nowcast.models.ensemble import Ensemble
from nowcast.models.registry import create
from nowcast.motion import motion
from nowcast.space import to_model, to_rate
from nowcast.tally import PERCENT, THRESHOLDS, Tally, tally

HERE = Path(__file__).parent
LEADS = 24


def pysteps(data: Path, kept: Path, events: list[str]) -> None:
    """Fill `kept` with pysteps' tallies, making its environment where there is none."""
    home = HERE.parent / ".venv-pysteps"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", "pysteps==1.21.5", "opencv-python-headless"], check=True)
    kept.mkdir(parents=True, exist_ok=True)
    subprocess.run([home / "bin" / "python", HERE / "pysteps_side.py", data, kept, *events], check=True)


def inputs(case: Case, seed: int, model):
    """Return the tensors of a case, in the order of the model's inputs."""
    far, near = (np.stack([np.stack(to_model(r)) for r in frames]) for frames in (case.inputs(), case.recent()))
    flow = motion(far[:, 0], far[:, 1]) * (5 / case.step)
    arrays = [near[:, 0], near[:, 1], flow]
    if model.spec.noise:
        shape = model.spec.noise.shape(*near.shape[-2:])
        arrays.append(np.random.default_rng(seed).standard_normal(shape, np.float32))
    return [torch.from_numpy(np.ascontiguousarray(a))[None] for a in arrays]


@torch.no_grad()
def score(model, case: Case) -> dict[int, Tally]:
    """Return the tallies of one case by lead."""
    truths = {lead: t for lead in range(LEADS) if (t := case.truth(lead)) is not None}
    tensors, found = inputs(case, 0, model), {}
    if not isinstance(model, Ensemble):
        rates, _ = model(*tensors)
        return {k: tally(to_rate(rates[0, k].numpy())[None], t, np.isfinite(t)) for k, t in truths.items()}
    ready = model.cascade.prepare(*tensors)
    for lead, truth in truths.items():
        levels = model.cascade.member_levels(ready, lead)
        told = dict(
            zip(
                (0.1, 1.0, 5.0, 10.0),
                model.probabilities(levels),
                strict=True,
            )
        )
        rate = latent_to_rate(levels)
        shares = [told.get(t, (rate >= t).float().mean(1, keepdim=True))[0, 0].numpy() for t in THRESHOLDS]
        found[lead] = tally(rate[0].numpy(), truth, np.isfinite(truth), np.stack(shares))
    return found


def pool(parts: list[dict[int, Tally]]) -> dict[int, Tally]:
    """Return the sum of tallies by lead."""
    leads = sorted({k for p in parts for k in p})
    return {k: _sum([p[k] for p in parts if k in p]) for k in leads}


def _sum(tallies: list[Tally]) -> Tally:
    total = tallies[0]
    for t in tallies[1:]:
        total = total + t
    return total


def table(parts: list[dict[int, Tally]]) -> dict[str, dict]:
    """Return the scores of all cases by lead in minutes."""
    rows = {}
    for lead, t in pool(parts).items():
        rows[str(5 * (lead + 1))] = {
            "crps": round(t.crps, 4),
            "csi_mean": [round(t.csi(i), 4) for i in range(3)],
            "csi_best": [[round(v, 4), p] for v, p in (t.best_csi(i) for i in range(3))],
            "csi_expected": [round(expected_csi([p[lead] for p in parts if lead in p], i), 4) for i in range(3)],
            "csi_by_percent": [[round(t.csi(i, p), 4) for p in range(5, 71, 5)] for i in range(3)],
            "fss16": [round(t.fractions(i), 4) for i in range(3)],
            "power_ratio": [round(float(r), 3) for r in t.spectrum[0] / t.spectrum[1]],
            "reliability_1mm": _reliability(t),
            "rank": (t.rank / t.rank.sum()).round(4).tolist(),
        }
    return rows


def expected_csi(tallies: list[Tally], threshold: int) -> float:
    """Return the CSI where each case takes the percent that its own probabilities expect to be best."""
    tables = [t.table(threshold, t.expected_percent(threshold)) for t in tallies]
    hits, misses, alarms = np.sum(tables, 0)
    return float(hits / (hits + misses + alarms)) if hits + misses + alarms else float("nan")


def _reliability(t: Tally) -> list[list[float]]:
    """Return [mean probability, observed frequency, pixels] of ten bins of P(≥ 1 mm/h)."""
    counts, percent = t.probability[1], np.arange(101)
    bins = [counts[(percent >= a) & ((percent < a + 10) | (a == 90))] for a in range(0, 100, 10)]
    mids = [percent[(percent >= a) & ((percent < a + 10) | (a == 90))] for a in range(0, 100, 10)]
    return [
        [
            round(float((b.sum(1) * m).sum() / b.sum() / 100), 4),
            round(float(b[:, 1].sum() / b.sum()), 4),
            float(b.sum()),
        ]
        if b.sum()
        else [0, 0, 0]
        for b, m in zip(bins, mids, strict=True)
    ]


def scored(model, name: str, data: Path, event: str, kept: Path, suffix: str = "") -> list[dict[int, Tally]]:
    """Return the tallies of an event's cases, from `kept` where they are there."""
    parts = []
    for case in cases(data, event):
        path = kept / f"{name}{suffix}_{case.name}.json"
        if not path.exists():
            path.write_text(json.dumps({k: t.to_json() for k, t in score(model, case).items()}))
        parts.append({int(k): Tally.from_json(t) for k, t in json.loads(path.read_text()).items()})
    return parts


def percents(trained: list[dict[int, Tally]], lead: int) -> list[int]:
    """Return the percent of each of `THRESHOLDS` that is best on those events that have the lead.

    Best is the mean over the events of the share of each one's own best CSI.
    """
    found = []
    for index in range(len(THRESHOLDS)):
        curves = np.nan_to_num([[t[lead].csi(index, p) for p in range(1, PERCENT)] for t in trained if lead in t])
        known = curves[curves.max(1) > 0]
        found.append(1 + int((known / known.max(1, keepdims=True)).mean(0).argmax()))
    return found


def choose(rows: dict[str, dict], tallies: dict[int, Tally], trained: list[dict[int, Tally]]) -> None:
    """Write `csi_chosen` into the rows of an event: [CSI, percent] at the percents of the trained events."""
    for lead in sorted({k for t in trained for k in t} & tallies.keys()):
        chosen = percents(trained, lead)
        told = [[round(tallies[lead].csi(index, p), 4), p] for index, p in enumerate(chosen)]
        rows[str(5 * (lead + 1))]["csi_chosen"] = told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", default=",".join(VALIDATION))
    parser.add_argument("--models", default="standard,edge,advection,persistence")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--pysteps", type=Path, default=HERE.parent / "var" / "pysteps")
    parser.add_argument("--kept", type=Path, default=HERE.parent / "var" / "tallies")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "skill.json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours-alone", action="store_true", help="keep the rows of pysteps that the output file has")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    events = args.events.split(",")
    if not args.ours_alone:
        pysteps(args.data, args.pysteps, events)
    args.kept.mkdir(parents=True, exist_ok=True)
    report = json.loads(args.out.read_text()) if args.out.exists() else {}
    for event in events:
        rows = report.setdefault(event, {})
        if not args.ours_alone:
            sides = [json.loads(p.read_text())["models"] for p in sorted(args.pysteps.glob(f"{event}_*.json"))]
            for name in ("steps", "lk_extrapolation"):
                rows[name] = table([{int(k): Tally.from_json(t) for k, t in s[name].items()} for s in sides])
    for name in args.models.split(","):
        model, trained = create(name), []
        if isinstance(model, Ensemble) and not args.weights:
            for event in PERMITTED:
                parts = scored(model, name, args.data, event, args.kept)
                report.setdefault(event, {})[f"{name} (trained on)"] = table(parts)
                trained.append(pool(parts))
        for event in (e for e in events if not (trained and e in PERMITTED)):
            label, suffix = name, ""
            if args.weights and isinstance(model, Ensemble):
                model.cascade.load_state_dict(load_file(args.weights / f"{event}.safetensors"))
                label, suffix = f"{name} (event left out)", "_loeo"
            parts = scored(model, name, args.data, event, args.kept, suffix)
            rows = report[event][label] = table(parts)
            choose(rows, pool(parts), trained)
            print(event, label, {m: r["crps"] for m, r in rows.items()}, flush=True)
    report["versions"] = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pysteps": "1.21.5",
        "permitted": list(PERMITTED),
        "validation": list(VALIDATION),
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
