"""`edge` on a CPU beside pysteps STEPS with the same members; and from plan file to first product, on the CPU.

    python -m benchmarks.edge --data DATA [--rounds 5] [--threads 4]

One 512² case of `benchmarks.cases`, 8 members × 24 leads. Each side is a process of its own, started once, that makes
one forecast when it is told to; rounds alternate. Ours: stack in memory → motion → noise → engine (OpenVINO) →
products. pysteps: rates in dB in memory → Lucas-Kanade → STEPS with as many workers → mm/h; the same products are made
of its members too, and timed apart. Both have the same CPUs. pysteps runs in an environment of its own, made here.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.cases import SIZE, Case

HERE = Path(__file__).parent
EVENT, START = "mch_ch_20170131", 11
PYSTEPS = "1.21.5"
COLD = ("edge", "standard")
GOALS = {"edge_s": 10, "cold_start_s": 5}


def arrays(data: Path, model: str):
    """Return the engine's inputs, their motion left out, and noise for the model; values and mask (4, H, W)."""
    from engines.plan import shipped_plan
    from nowcast.space import to_model

    values, mask = to_model(Case(data / f"{EVENT}.npz", START).recent())
    return values, mask, shipped_plan(model)


def inputs(values, mask, spec):
    from nowcast.models.spec import Inputs, pixel_sizes
    from nowcast.motion import motion
    from nowcast.noise import noise_for

    noise = noise_for(spec, "bench", datetime(2026, 3, 1, tzinfo=UTC), values.shape[1:])
    pixel = pixel_sizes(1.0, *values.shape[1:])
    return Inputs(values[None], mask[None], motion(values, mask)[None], noise, pixel)


def ours(data: Path, threads: int) -> None:
    """Make a forecast for each line of standard input and answer with its seconds by stage."""
    import cv2

    from engines.openvino import OpenVinoEngine
    from jobs.forecaster import Stages
    from nowcast.models.spec import Inputs, pixel_sizes
    from nowcast.motion import motion
    from nowcast.noise import noise_for
    from nowcast.products import to_fields

    cv2.setNumThreads(threads)
    values, mask, plan = arrays(data, "edge")
    engine = OpenVinoEngine(plan, SIZE, SIZE, threads=threads)
    base = datetime(2026, 3, 1, tzinfo=UTC)
    answer({"versions": engine.versions, "members": plan.spec.members})
    for _ in sys.stdin:
        stages = Stages()
        with stages("motion"):
            flow = motion(values, mask)
        with stages("noise"):
            noise = noise_for(plan.spec, "bench", base, (SIZE, SIZE))
        with stages("engine"):
            outputs = engine(Inputs(values[None], mask[None], flow[None], noise, pixel_sizes(1.0, SIZE, SIZE)))
        with stages("products"):
            fields = to_fields(outputs, 0, (SIZE, SIZE), 0)
        whole = sum(stages.seconds.values())
        mean = float(np.nanmean(fields["rain_mean"]))
        answer({"whole": whole, **stages.seconds, "mean_mm_h": mean, "peak_rss_mb": peak()})


def cold(data: Path, threads: int, model: str, began: float) -> None:
    """Answer with the seconds from this process's start to a first product, by stage, the parity gate among them."""
    from engines.golden import HEIGHT, WIDTH
    from engines.openvino import OpenVinoEngine
    from engines.parity import check_opened, require_parity
    from jobs.forecaster import Stages

    values, mask, plan = arrays(data, model)
    given, stages = inputs(values, mask, plan.spec), Stages()
    stages.seconds["start and imports"] = time.time() - began
    with stages("compile, golden shape"):
        golden = OpenVinoEngine(plan, HEIGHT, WIDTH, threads=threads)
    with stages("gate"):
        require_parity(check_opened(plan, golden, datetime.now(UTC), "fp32"))
        golden.close()
    with stages("compile"):
        engine = OpenVinoEngine(plan, SIZE, SIZE, threads=threads)
    with stages("first product"):
        engine(given)
    after = sum(stages.seconds.values()) - stages.seconds["start and imports"]
    answer({"plan_to_product": after, **stages.seconds, "peak_rss_mb": peak()})


def cold_ladder(data: Path, threads: int, model: str, began: float) -> None:
    """Answer with the same of the worker's own way: a ladder that gives the engine a process."""
    from engines.ladder import Ladder
    from engines.runtimes import make_rungs

    values, mask, plan = arrays(data, model)
    given, imported = inputs(values, mask, plan.spec), time.time()
    ladder = Ladder(make_rungs(), threads, processes=True)
    served = ladder.serve(model, SIZE, SIZE, lambda _: given, datetime.now(UTC))
    ended = time.time()
    ladder.close()
    answer({"plan_to_product": ended - imported, "start and imports": imported - began, "rung": served.rung})


def answer(result: dict) -> None:
    print(json.dumps(result), flush=True)


def peak() -> float:
    """Return this process's largest memory so far in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


class Side:
    """A child that answers a line of JSON to each line that it gets."""

    def __init__(self, command: list) -> None:
        self._child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
        )
        self.about = self._read()

    def _read(self) -> dict:
        for line in self._child.stdout:
            if line.startswith("{"):  # pysteps says where its configuration lies
                return json.loads(line)
        raise RuntimeError(f"{self._child.args[:4]} ended with {self._child.wait()}")

    def round(self) -> dict:
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._child.stdin.close()
        self._child.wait(60)


def pysteps_python() -> Path:
    """Return the interpreter that has pysteps, making its environment where there is none."""
    home = HERE.parent / ".venv-pysteps"
    if not home.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if subprocess.run(
        [home / "bin" / "python", "-c", "import cv2, dask, pysteps"], check=False, stderr=subprocess.DEVNULL
    ).returncode:
        packages = [f"pysteps=={PYSTEPS}", "opencv-python-headless", "dask"]  # without dask it has one worker
        subprocess.run([home / "bin" / "pip", "install", "-q", *packages], check=True)
    return home / "bin" / "python"


def medians(rounds: list[dict]) -> dict:
    return {
        k: round(statistics.median(r[k] for r in rounds), 4) for k, v in rounds[0].items() if not isinstance(v, str)
    }


def compare(data: Path, rounds: int, threads: int) -> dict:
    """Return the rounds of both sides; the first of each warms up and does not count."""
    me = [sys.executable, "-m", "benchmarks.edge", "--data", data, "--threads", threads]
    sides = {
        "edge": Side([*me, "--side", "ours"]),
        "pysteps": Side([pysteps_python(), HERE / "pysteps_edge.py", data, EVENT, START, threads]),
    }
    made: dict[str, list[dict]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            result = side.round()
            print(f"{name}: {result['whole']:.2f} s", flush=True)
            if number:
                made[name].append(result)
    for side in sides.values():
        side.close()
    return {
        name: {**side.about, "median": medians(made[name]), "whole_s": [round(r["whole"], 3) for r in made[name]]}
        for name, side in sides.items()
    }


def cold_starts(data: Path, rounds: int, threads: int) -> dict:
    """Return for each model the median seconds by stage of processes started anew."""
    found: dict[str, dict] = {}
    for model in COLD:
        made: dict[str, list[dict]] = {"cold": [], "cold-ladder": []}
        for _ in range(rounds):
            for side, results in made.items():
                me = [sys.executable, "-m", "benchmarks.edge", "--data", data, "--threads", threads]
                child = Side([*me, "--side", side, "--model", model, "--began", time.time()])
                results.append(child.about)
                child.close()
        found[model] = {"in_process": medians(made["cold"]), "ladder": medians(made["cold-ladder"])}
        found[model]["rung"] = made["cold-ladder"][0]["rung"]
        print(model, found[model], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--no-save", action="store_true", help="print alone: for a machine that others use too")
    parser.add_argument("--side", choices=("ours", "cold", "cold-ladder"), help=argparse.SUPPRESS)
    parser.add_argument("--model", default="edge", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side == "ours":
        ours(args.data, args.threads)
    elif args.side == "cold":
        cold(args.data, args.threads, args.model, args.began)
    elif args.side == "cold-ladder":
        cold_ladder(args.data, args.threads, args.model, args.began)
    else:
        measure(args)


def measure(args: argparse.Namespace) -> None:
    from benchmarks.report import quiet, save, show

    quiet()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])  # the children have the same
    data = args.data.resolve()
    sides = compare(data, args.rounds, args.threads)
    starts = cold_starts(data, max(3, args.rounds // 2), args.threads)
    header = ("", "whole s", "motion s", "ensemble s", "products s", "peak MB")
    rows = [
        (name, m["whole"], m["motion"], m.get("engine", m.get("steps")), m["products"], m["peak_rss_mb"])
        for name, m in ((n, s["median"]) for n, s in sides.items())
    ]
    show(f"8 members × 24 leads, {SIZE}², {args.threads} threads; pysteps' whole is without products", header, rows)
    rows = [(m, s["ladder"]["plan_to_product"], *s["in_process"].values()) for m, s in starts.items()]
    show("plan file to first product, s", ("", "by the ladder", *starts["edge"]["in_process"]), rows)
    ours_s, theirs_s = (sides[name]["median"]["whole"] for name in ("edge", "pysteps"))
    result = {
        "case": Case(data / f"{EVENT}.npz", START).name,
        "threads": args.threads,
        "rounds": args.rounds,
        "sides": sides,
        "pysteps_over_edge": round(theirs_s / ours_s, 2),
        "cold_start": starts,
        "goals": GOALS,
    }
    if not args.no_save:
        save("edge", result, ("numpy", "opencv-python-headless", "openvino"))


if __name__ == "__main__":
    main()
