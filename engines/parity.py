"""The parity gate: an engine serves only when it does on the golden cases what the PyTorch reference does."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np

from engines.golden import HEIGHT, WIDTH, Golden, unpack
from engines.plan import Plan
from engines.protocol import Engine
from nowcast.errors import EngineError, ParityFailed
from nowcast.models.spec import is_rate
from nowcast.run import CheckRecord
from nowcast.scores import csi, psnr
from nowcast.side import side_by_side
from nowcast.space import WET_FROM, to_model, to_rate

LEAST_PSNR = 40.0
CSI_THRESHOLDS = (0.1, 1.0, 5.0)
LEAST_CSI = 0.995
AMBIGUOUS = 0.002
"""Model-space distance (1.8 % of the rate) from a threshold within which a pixel may fall on either side.

FP16 moves pixels across 5 mm/h where few exceed it: `standard` in FP16 has 60 to 80 dB over wet pixels in every golden
case, and yet fell short of the CSI on three of them before pixels this near to the threshold were left out.
"""

Build = Callable[[Plan, int, int], Engine]
"""Builds the engine of a plan for a height and width."""


def check_engine(plan: Plan, build: Build, now: datetime, precision: str = "fp32") -> list[CheckRecord]:
    """Return one record per golden case and output of the engine that `build` makes of `plan`."""
    engine = build(plan, HEIGHT, WIDTH)
    try:
        return check_opened(plan, engine, now, precision)
    finally:
        engine.close()


def check_opened(plan: Plan, engine: Engine, now: datetime, precision: str) -> list[CheckRecord]:
    """Return the same of an engine that is there, built for the golden cases' shape."""
    found = [r for case in unpack(plan.golden()) for r in compare(plan, case, engine(case.inputs), now)]
    return [replace(record, runtime=engine.runtime, precision=precision) for record in found]


def compare(plan: Plan, case: Golden, outputs: dict[str, np.ndarray], now: datetime) -> list[CheckRecord]:
    """Return one record per output: PSNR over all and over wet pixels, agreement of wet areas, finite and in range."""
    records = []
    for product, expected in case.expected.items():
        found = outputs[product]
        wet = expected >= WET_FROM if is_rate(product) else np.zeros(expected.shape, bool)
        overall, over_wet = psnr(found, expected), psnr(found, expected, wet)
        areas = _areas(product, found, expected)
        passed = _enough(overall) and _enough(over_wet) and _in_range(found) and (areas is None or areas >= LEAST_CSI)
        scores = _stored(overall), _stored(over_wet), passed, None if areas is None else round(1 - areas, 6)
        records.append(CheckRecord(plan.digest, now, case.name, product, *scores))
    return records


def require_parity(records: list[CheckRecord]) -> None:
    """Raise `ParityFailed`, naming each case and product that fell short."""
    failed = [r for r in records if not r.passed]
    if failed or not records:
        told = "; ".join(f"{r.case}/{r.product}: {r.psnr_all} dB, wet {r.psnr_wet} dB" for r in failed) or "no cases"
        raise ParityFailed(f"engine differs from the PyTorch reference ({told}); it will not serve, build it again")


def _enough(value: float | None) -> bool:
    return value is None or value >= LEAST_PSNR  # NaN is not ≥


def _in_range(found: np.ndarray) -> bool:
    return bool(found.min() >= -0.01 and found.max() <= 1.01)  # NaN is neither


def _areas(product: str, found: np.ndarray, expected: np.ndarray) -> float | None:
    """Return the least agreement over the thresholds; None where none is reached, and for what is no rate."""
    scores = [_agreement(found, expected, threshold) for threshold in CSI_THRESHOLDS] if is_rate(product) else []
    return min((score for score in scores if not math.isnan(score)), default=None)


def _agreement(found: np.ndarray, expected: np.ndarray, threshold: float) -> float:
    """Return the CSI of the engine against the reference, where the reference is not at the threshold itself."""
    clear = np.abs(expected - to_model(np.array(threshold))[0]) > AMBIGUOUS
    return csi(to_rate(np.clip(found[clear], 0, 1)), to_rate(expected[clear]), threshold)


def _stored(value: float | None) -> float | None:
    """Return a number that JSON and SQL can hold: equal fields count as 200 dB, a field that is not finite as 0."""
    if value is None:
        return None
    return 0.0 if math.isnan(value) else round(min(value, 200.0), 2)


def require_sane(outputs: dict[str, np.ndarray]) -> None:
    """Raise `EngineError` unless every output of a forecast is finite and in range; NaN is neither."""
    for (name, values), sane in zip(outputs.items(), side_by_side(_in_range, outputs.values()), strict=True):
        if not sane:
            least, most = float(values.min()), float(values.max())
            raise EngineError(f"output {name} lies in {least:g} … {most:g}, allowed is 0 … 1; the engine is not used")
