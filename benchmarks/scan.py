"""CRPS of several weights on every case, beside each other: what a fit changed, in a minute on a GPU.

    python -m benchmarks.scan --data DATA [--device cuda] [--draws 2] [--out FILE] FIRST.safetensors OTHER.safetensors …

Of each the change to the first in percent, event by event; `A+B` is the mean of two files. Events that `DATA` lacks are
left out. It is no skill table: that has more scores, pysteps beside it and events left out (`benchmarks.skill`).
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.cases import PERMITTED, VALIDATION, Case, cases
from benchmarks.skill import inputs
from nowcast.models.levels import latent_to_rate
from nowcast.models.registry import create
from nowcast.train.losses import almost_fair_crps

MINUTES = (15, 30, 60, 90, 120)


def mean_of(files: str) -> dict[str, Tensor]:
    """Return the mean of the weights in `A+B+…`, without the prefix of an ensemble's file."""
    parts = [load_file(path) for path in files.split("+")]
    plain = [{name.removeprefix("cascade."): value for name, value in part.items()} for part in parts]
    return {name: sum(part[name] for part in plain) / len(plain) for name in plain[0]}


@lru_cache(maxsize=1)
def _model(name: str, files: str, device: str):
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    model = create(name)
    model.cascade.load_state_dict(mean_of(files))
    return model.to(device)


@torch.no_grad()
def crps(job: tuple[str, str, Case, int, str]) -> dict[int, float]:
    """Return the CRPS of one forecast by minutes."""
    name, files, case, draw, device = job
    model = _model(name, files, device)
    ready, found = model.cascade.prepare(*inputs(case, draw, model, device)), {}
    for minutes in MINUTES:
        truth = case.truth(minutes // 5 - 1)
        if truth is not None:
            was = torch.from_numpy(truth)[None].to(device)
            told = latent_to_rate(model.cascade.member_levels(ready, minutes // 5 - 1))
            found[minutes] = float(almost_fair_crps(told, was, 0.0)[was.isfinite()].double().mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--events", default=",".join((*VALIDATION, *PERMITTED)))
    parser.add_argument("--model", default="standard")
    parser.add_argument("--device", default="cpu", help="cuda takes all GPUs")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    events = [event for event in args.events.split(",") if (args.data / f"{event}.npz").exists()]
    count = torch.cuda.device_count() if args.device == "cuda" else 1
    jobs = [
        (args.model, files, case, draw, f"cuda:{number % count}" if args.device == "cuda" else "cpu")
        for files in args.weights
        for event in events
        for number, case in enumerate(cases(args.data, event))
        for draw in range(args.draws)
    ]
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as processes:
        scores = list(processes.map(crps, jobs))
    table: dict[str, dict[str, dict[int, float]]] = {}
    for files in args.weights:
        for event in events:
            mine = [s for job, s in zip(jobs, scores, strict=True) if job[1] == files and job[2].event == event]
            means = {m: float(np.mean([s[m] for s in mine if m in s])) for m in MINUTES if any(m in s for s in mine)}
            table.setdefault(files, {})[event] = means
    first = table[args.weights[0]]
    print(f"{'':44}" + "".join(f"{m:>8}" for m in MINUTES) + "    mean")
    for files, rows in table.items():
        print(files)
        for event, row in rows.items():
            change = {m: 100 * (row[m] / first[event][m] - 1) for m in row}
            told = [f"{row[m]:8.4f}" if rows is first else f"{change[m]:+8.2f}" for m in row]
            mean = "" if rows is first else f"{np.mean(list(change.values())):+8.2f}"
            print(f"  {event:42}" + "".join(told) + mean)
    if args.out:
        args.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
