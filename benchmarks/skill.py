"""The skill table: the models beside pysteps on the same crops, start times and members. `make bench-skill` runs it.

    python -m benchmarks.skill --data DATA [--events a,b] [--weights FOLDER] [--out benchmarks/results/skill.json]

pysteps runs in an environment of its own, made here; its tallies are kept, one JSON per case. `--weights` scores
`<event>.safetensors` of a folder on that event: leave-one-event-out. Without it, the ensembles are scored on the
permitted events too, as far as DATA has them, in rows called "trained on": no evidence of skill, but the probability
thresholds of `csi_chosen` are chosen there. `benchmarks.cut` makes a sequence of any radar's files.

An ensemble is scored in `--draws` draws of its noise, each of 24 members as STEPS has them, and the tallies are summed:
one draw moves the CRPS of an event of four cases by up to 2 %. Four start times are few for a reliability diagram too:
`reliability_by_chance` says how far from the diagonal a forecast lies whose truth is a member of another draw.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

import nowcast
from benchmarks.cases import PERMITTED, VALIDATION, Case, cases
from nowcast.models.ensemble import Ensemble, quantiles
from nowcast.models.levels import latent_to_rate
from nowcast.models.registry import create
from nowcast.models.spec import pixel_sizes
from nowcast.motion import motion
from nowcast.space import to_model, to_rate
from nowcast.tally import PERCENT, THRESHOLDS, WET, Tally, joint_histogram, tally

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


def inputs(case: Case, seed: int, model, device: str = "cpu"):
    """Return the tensors of a case, in the order of the model's inputs."""
    far, near = (np.stack([np.stack(to_model(r)) for r in frames]) for frames in (case.inputs(), case.recent()))
    flow = motion(far[:, 0], far[:, 1]) * (5 / case.step)
    arrays = [near[:, 0], near[:, 1], flow]
    if model.spec.noise:
        shape = model.spec.noise.shape(*near.shape[-2:])
        arrays.append(np.random.default_rng(seed).standard_normal(shape, np.float32))
        arrays.append(pixel_sizes(case.pixel_km, *near.shape[-2:])[0])
    return [torch.from_numpy(np.ascontiguousarray(a))[None].to(device) for a in arrays]


@torch.no_grad()
def score(model, case: Case, draw: int = 0, device: str = "cpu") -> dict[int, Tally]:
    """Return the tallies of one case by lead, with a draw of the noise."""
    truths = {lead: t for lead in range(LEADS) if (t := case.truth(lead)) is not None}
    tensors, found = inputs(case, draw, model, device), {}
    if not isinstance(model, Ensemble):
        rates, _ = model(*tensors)
        return {k: tally(to_rate(rates[0, k].cpu().numpy())[None], t, np.isfinite(t)) for k, t in truths.items()}
    ready = model.cascade.prepare(*tensors)
    for lead, truth in truths.items():
        each = model.cascade.each([lead], ready)
        coupled = model.cascade.levels_at(ready, each)
        rate = latent_to_rate(coupled.members)
        wet, *shares = model.probabilities(coupled.ordered, each, ready, (WET, *THRESHOLDS))
        drawn = torch.cat([latent_to_rate(quantile) for quantile in quantiles(coupled.ordered, wet)], 1)
        told, share, drawn = (field[0].cpu().numpy() for field in (rate, torch.cat(shares, 1), drawn))
        found[lead] = tally(told, truth, np.isfinite(truth), share, drawn)
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


def table(parts: list[dict[int, Tally]], draws: int = 1) -> dict[str, dict]:
    """Return the scores of all cases and draws by lead in minutes."""
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
            "reliability_1mm": _reliability(t.probability[1], draws),
            "quantile_loss": (t.quantile / t.pixels).round(4).tolist(),
            "wet": (t.wet / t.pixels).round(4).tolist(),
            "rank": (t.rank / t.rank.sum()).round(4).tolist(),
        }
    return rows


def expected_csi(tallies: list[Tally], threshold: int) -> float:
    """Return the CSI where each case takes the percent that its own probabilities expect to be best."""
    tables = [t.table(threshold, t.expected_percent(threshold)) for t in tallies]
    hits, misses, alarms = np.sum(tables, 0)
    return float(hits / (hits + misses + alarms)) if hits + misses + alarms else float("nan")


def _reliability(counts: np.ndarray, draws: int = 1) -> list[list[float]]:
    """Return [mean probability, observed frequency, pixels of one draw] of ten bins of P(≥ 1 mm/h)."""
    percent = np.arange(PERCENT)
    found = []
    for least in range(0, 100, 10):
        inside = (percent >= least) & ((percent < least + 10) | (least == 90))
        told, number = counts[inside].sum(1) @ percent[inside] / 100, counts[inside].sum()
        found.append(
            [round(float(told / number), 4), round(float(counts[inside, 1].sum() / number), 4), float(number) / draws]
            if number
            else [0, 0, 0]
        )
    return found


def distance(bins: list[list[float]]) -> float:
    """Return the greatest distance from the diagonal of bins of 1,000 pixels or more."""
    return max((abs(told - seen) for told, seen, pixels in bins if pixels >= 1000), default=0.0)


@torch.no_grad()
def chance(job: tuple[str, Path | None, Case, str]) -> dict[int, np.ndarray]:
    """Return (M, PERCENT, 2) counts by lead of P(≥ 1 mm/h), where each member of another draw is what was seen."""
    name, weights, case, device = job
    model = _model(name, weights, device)
    told, seen = (model.cascade.prepare(*inputs(case, draw, model, device)) for draw in (0, 1))
    found = {}
    for lead, truth in ((lead, case.truth(lead)) for lead in range(LEADS)):
        if truth is not None:
            valid, each = np.isfinite(truth), model.cascade.each([lead], told)
            levels = model.cascade.levels_at(told, each).ordered
            share = model.probabilities(levels, each, told, THRESHOLDS[1:2])[0][0, 0].cpu().numpy()[valid]
            others = latent_to_rate(model.cascade.member_levels(seen, lead))[0].cpu().numpy()[:, valid]
            found[lead] = np.stack([joint_histogram(share, other >= THRESHOLDS[1]) for other in others])
    return found


def by_chance(rows: dict[str, dict], parts: list[dict[int, np.ndarray]]) -> None:
    """Write into the rows how far from the diagonal a perfectly reliable ensemble would be: median and 90 % of M."""
    for row in rows.values():
        row["reliability_distance"] = round(distance(row["reliability_1mm"]), 3)
    for lead in sorted({k for part in parts for k in part}):
        counts = sum(part[lead] for part in parts if lead in part)
        found = [distance(_reliability(of_one)) for of_one in counts]
        rows[str(5 * (lead + 1))]["reliability_by_chance"] = np.quantile(found, (0.5, 0.9)).round(3).tolist()


def scored(name: str, weights: Path | None, event: str, draws: int, args) -> list[dict[int, Tally]]:
    """Return the tallies of an event's cases and draws, from `--kept` where they are there."""
    made_by = stamp(name, weights)
    jobs = [
        (name, weights, case, draw, args.device, args.kept / f"{name}_{made_by}_{case.name}_{draw}.json")
        for case in cases(args.data, event)
        for draw in range(draws)
    ]
    with ProcessPoolExecutor(args.threads, get_context("spawn")) as processes:
        list(processes.map(_keep, (job for job in jobs if not job[-1].exists())))
    return [{int(k): Tally.from_json(t) for k, t in json.loads(path.read_text()).items()} for *_, path in jobs]


def stamp(name: str, weights: Path | None) -> str:
    """Return what a tally hangs on, as a word: the weights, and the code that forecasts and scores."""
    sources = [Path(nowcast.__file__).parent / f for f in ("motion.py", "space.py", "tally.py")]
    sources += sorted((Path(nowcast.__file__).parent / "models").glob("*.py"))
    of_weights = [value.numpy().tobytes() for value in _model(name, weights).state_dict().values()]
    return sha256(b"".join([*of_weights, *(source.read_bytes() for source in sources)])).hexdigest()[:12]


def _keep(job: tuple[str, Path | None, Case, int, str, Path]) -> None:
    name, weights, case, draw, device, path = job
    found = score(_model(name, weights, device), case, draw, device)
    part = path.with_suffix(".part")  # what a kill cuts off would be taken for kept
    part.write_text(json.dumps({k: t.to_json() for k, t in found.items()}))
    part.replace(path)


@lru_cache(maxsize=1)
def _model(name: str, weights: Path | None, device: str = "cpu"):
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    model = create(name)
    if weights:
        model.cascade.load_state_dict(load_file(weights))
    return model.to(device)


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
    parser.add_argument("--threads", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--permitted-draws", type=int, help="of the rows called trained on; else as many")
    parser.add_argument("--device", default="cpu", help="where the models run: cpu, or cuda for all processes")
    parser.add_argument("--ours-alone", action="store_true", help="keep the rows of pysteps that the output file has")
    args = parser.parse_args()
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
        trained, ensemble = [], isinstance(create(name), Ensemble)
        draws, fewer = (args.draws, args.permitted_draws or args.draws) if create(name).spec.noise else (1, 1)
        if ensemble and not args.weights:
            for event in (e for e in PERMITTED if (args.data / f"{e}.npz").exists()):
                parts = scored(name, None, event, fewer, args)
                report.setdefault(event, {})[f"{name} (trained on)"] = table(parts, fewer)
                trained.append(pool(parts))
        for event in (e for e in events if not (trained and e in PERMITTED)):
            left_out = args.weights / f"{event}.safetensors" if args.weights and ensemble else None
            parts = scored(name, left_out, event, draws, args)
            rows = report[event][f"{name} (event left out)" if left_out else name] = table(parts, draws)
            choose(rows, pool(parts), trained)
            if ensemble:
                with ProcessPoolExecutor(args.threads, get_context("spawn")) as processes:
                    found = processes.map(chance, ((name, left_out, c, args.device) for c in cases(args.data, event)))
                    by_chance(rows, list(found))
            print(event, name, {m: r["crps"] for m, r in rows.items()}, flush=True)
            write(args.out, report)
    report["versions"] = report.get("versions", {}) | {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pysteps": "1.21.5",
        "draws": args.draws,
        "permitted_draws": args.permitted_draws or args.draws,
        "permitted": list(PERMITTED),
        "validation": list(VALIDATION),
    }
    write(args.out, report)


def write(path: Path, report: dict) -> None:
    """Write what is known so far: a long run may be cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
