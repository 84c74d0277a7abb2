"""pysteps' side of `benchmarks.edge`, in an environment of its own: a forecast for each line of standard input.

    python pysteps_edge.py DATA EVENT START WORKERS

As `pysteps_side.py` runs it, with 8 members × 24 leads and pysteps' own workers.
"""

import json
import resource
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import contextlib
import importlib.metadata
import io
import time

import cv2
import numpy as np
from pysteps import motion
from pysteps.utils import transformation

from benchmarks.cases import Case
from benchmarks.pysteps_side import steps

LEADS, MEMBERS = 24, 8
THRESHOLDS = (0.1, 1.0, 5.0, 10.0)


def forecast(levels, case: Case, workers: int):
    """Return the members in mm/h (M, K, H, W) and the seconds of motion and of the ensemble."""
    began = time.perf_counter()
    flow = motion.get_method("LK")(levels)
    moved = time.perf_counter()
    rates = steps(levels, flow, LEADS, case, MEMBERS, workers)
    return rates, moved - began, time.perf_counter() - moved


def products(rates):
    """Return the mean, three quantiles and four probabilities, each (K, H, W)."""
    quantiles = np.quantile(rates, (0.1, 0.5, 0.9), axis=0)
    return [rates.mean(0), *quantiles, *((rates >= threshold).mean(0) for threshold in THRESHOLDS)]


def main(data: str, event: str, start: str, workers: str):
    case = Case(Path(data) / f"{event}.npz", int(start))
    cv2.setNumThreads(int(workers))
    rates = np.nan_to_num(case.inputs())
    levels, _ = transformation.dB_transform(rates, threshold=0.1, zerovalue=-15.0)
    versions = {name: importlib.metadata.version(name) for name in ("pysteps", "numpy", "scipy", "dask")}
    told = {"versions": versions, "members": MEMBERS, "workers": int(workers), "fft": "numpy"}
    print(json.dumps(told), flush=True)
    for _ in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()):
            made, moving, stepping = forecast(levels, case, int(workers))
        began = time.perf_counter()
        mean = products(made)[0]
        after = time.perf_counter() - began
        told = {"whole": moving + stepping, "motion": moving, "steps": stepping, "products": after}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps({**told, "mean_mm_h": float(mean.mean()), "peak_rss_mb": peak}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
