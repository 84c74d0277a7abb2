"""Whether a plan is faster than another of the same model, both here and now: INT8 serves only where it is."""

import statistics
import time

import numpy as np

from engines.order import Order
from engines.plan import Plan
from engines.process import EngineProcess, Limits
from engines.protocol import Engine
from engines.runtimes import Runtime
from engines.shapes import input_shapes
from nowcast.errors import PlanRefused
from nowcast.models.spec import Inputs, ModelSpec

SIDE, ROUNDS = 256, 7
"""Cells of the region, and calls of each plan in turn; the first of each warms up."""
LEAST_GAIN = 1.05
"""Times as fast, in the median, and no slower in any round: less is within what calls differ by."""


def require_faster(plan: Plan, than: Plan, runtime: Runtime) -> float:
    """Return how many times as fast `plan` is, timed in turn in a disposable process, or raise `PlanRefused`."""
    limits = Limits(load=runtime.limits.load, wait=runtime.limits.load, call=runtime.limits.call)
    process = EngineProcess()
    try:
        engines = [process.open(Order(runtime.factory, p, SIDE, SIDE), limits) for p in (plan, than)]
        inputs = _rain(plan.spec)
        rounds = [[_seconds(engine, inputs) for engine in engines] for _ in range(ROUNDS)][1:]
    finally:
        process.close()
    mine, theirs = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    if theirs < mine * LEAST_GAIN or any(a > b for a, b in rounds):
        raise PlanRefused(
            f"{plan.spec.name} in int8 takes {1000 * mine:.1f} ms on {runtime.name} where {than.digest[:12]} takes"
            f" {1000 * theirs:.1f} ({SIDE}²), not {LEAST_GAIN} times as fast and never slower; keep what serves"
        )
    return theirs / mine


def _rain(spec: ModelSpec) -> Inputs:
    rng = np.random.default_rng(0)
    return Inputs(**{name: rng.random(s, np.float32) for name, s in input_shapes(spec, 1, SIDE, SIDE).items()})


def _seconds(engine: Engine, inputs: Inputs) -> float:
    began = time.perf_counter()
    engine(inputs)
    return time.perf_counter() - began
