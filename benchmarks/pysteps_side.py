"""Score pysteps on the benchmark's cases; run by `skill.py` in an environment of its own, one JSON per case.

    python pysteps_side.py DATA OUT EVENT …

STEPS: Lucas-Kanade motion of four inputs, the last three for the cascade, 24 members, 6 bands, non-parametric noise,
BPS motion perturbations, incremental mask, seed 42: what pysteps' own examples use. Extrapolation: of the same motion.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contextlib
import io
import time

import numpy as np
import pysteps
from pysteps import motion, nowcasts
from pysteps.utils import transformation

from benchmarks.cases import Case, cases
from nowcast.tally import tally

LEADS, MEMBERS = 24, 24


def steps(levels, flow, leads: int, case: Case, members: int = MEMBERS, workers: int = 1):
    """Return STEPS' members in mm/h, (M, K, H, W), of rates in dB and their motion, as pysteps' own examples run it."""
    ensemble = nowcasts.get_method("steps")(
        levels[-3:],
        flow,
        leads,
        n_ens_members=members,
        n_cascade_levels=6,
        precip_thr=-10.0,
        kmperpixel=2.0 if case.step == 15 else 1.0,
        timestep=case.step,
        noise_method="nonparametric",
        vel_pert_method="bps",
        mask_method="incremental",
        seed=42,
        num_workers=workers,
    )
    return np.nan_to_num(transformation.dB_transform(ensemble, threshold=-10.0, inverse=True)[0])


def forecast(case: Case):
    """Return mm/h of both: extrapolation (K, H, W) and STEPS (M, K, H, W), K leads of the case's own step."""
    inputs = case.inputs()
    levels, _ = transformation.dB_transform(np.nan_to_num(inputs), threshold=0.1, zerovalue=-15.0)
    flow = motion.get_method("LK")(levels)
    leads = LEADS * 5 // case.step
    last = max(k for k in range(LEADS) if case.truth(k) is not None)
    leads = min(leads, (last + 1) * 5 // case.step)
    moved = nowcasts.get_method("extrapolation")(inputs[-1], flow, leads)
    began = time.perf_counter()
    ensemble = steps(levels, flow, leads, case)
    return np.nan_to_num(moved), ensemble, time.perf_counter() - began


def score(case: Case):
    """Return the tallies by model and lead."""
    with contextlib.redirect_stdout(io.StringIO()):
        moved, ensemble, seconds = forecast(case)
    found = {"steps": {}, "lk_extrapolation": {}}
    for index in range(len(moved)):
        lead = (index + 1) * case.step // 5 - 1
        truth = case.truth(lead)
        if truth is None:
            continue
        valid = np.isfinite(truth)
        found["steps"][lead] = tally(ensemble[:, index], truth, valid).to_json()
        found["lk_extrapolation"][lead] = tally(moved[index][None], truth, valid).to_json()
    return {
        "case": case.name,
        "step": case.step,
        "pysteps": pysteps.__version__ if hasattr(pysteps, "__version__") else "",
        "seconds": seconds,
        "models": found,
    }


def main(data: str, out: str, *events: str):
    for event in events:
        for case in cases(Path(data), event):
            target = Path(out) / f"{case.name}.json"
            if not target.exists():
                result = score(case)
                target.write_text(json.dumps(result))
                print(case.name, f"{result['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
