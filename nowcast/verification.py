"""Verification: one lead of a forecast against what was then seen; every score ignores pixels that either lacks.

`crps-quantiles` approximates the CRPS by twice the mean pinball loss of the stored quantiles (Laio and Tamea, 2007,
Hydrol. Earth Syst. Sci. 11, 1267–1277). Of a deterministic forecast all quantiles are its one value, and it is exactly
the absolute error, as the CRPS is: so ensembles and deterministic models may be compared by it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nowcast.run import Fields

Array = NDArray[np.float32]

THRESHOLDS = (0.1, 1.0, 5.0, 10.0)
"""mm/h."""
LEADS = (1, 2, 3, 6, 9, 12, 18, 24)
"""The leads that are verified, in steps of five minutes: dense where they are used most."""
QUANTILES = {"rain_p10": 0.1, "rain_p50": 0.5, "rain_p90": 0.9}
CRPS, CSI, MAE, BRIER, WET = "crps-quantiles", "csi", "mae", "brier", "wet-share"
PERSISTENCE, OBSERVED = "persistence", "observed"


@dataclass(frozen=True)
class Score:
    """One score; see `nowcast.run.ScoreRecord` for what the fields mean."""

    product: str
    score: str
    threshold: float | None
    value: float | None
    count: int


def verify(forecast: Fields, observed: Array) -> list[Score]:
    """Return the scores of one lead's products, each (H, W), against an observed field (H, W) in mm/h."""
    mean = forecast["rain_mean"]
    known = np.isfinite(mean) & np.isfinite(observed)
    said, saw, count = mean[known], observed[known], int(known.sum())
    if not count:
        return []
    scores = [Score("rain_mean", MAE, None, float(np.abs(said - saw).mean(dtype=np.float64)), count)]
    scores.append(Score("rain_mean", CRPS, None, _crps({n: f[known] for n, f in forecast.items()}, saw), count))
    for threshold in THRESHOLDS:
        scores.append(_csi(said, saw, threshold))
        name = f"prob_{threshold:g}"
        if name in forecast:
            error = np.square(forecast[name][known] - (saw >= threshold))
            scores.append(Score(name, BRIER, threshold, float(error.mean(dtype=np.float64)), count))
    return scores


def describe(observed: Array) -> list[Score]:
    """Return how much of an observed field is above each threshold: what regimes are told from."""
    known = np.isfinite(observed)
    saw, count = observed[known], int(known.sum())
    shares = [float((saw >= t).mean()) if count else None for t in THRESHOLDS]
    return [Score("rain_rate", WET, t, share, count) for t, share in zip(THRESHOLDS, shares, strict=True)]


def regime(wet: float, heavy: float) -> str:
    """Return the regime of a scene from its shares above 0.1 and 5 mm/h."""
    if wet < 0.01:
        return "dry"
    return "convective" if heavy > 0.1 * wet else "stratiform"


def _csi(said: Array, saw: Array, threshold: float) -> Score:
    yes, was = said >= threshold, saw >= threshold
    events = int((yes | was).sum())
    return Score("rain_mean", CSI, threshold, float((yes & was).sum() / events) if events else None, events)


def _crps(forecast: Fields, saw: Array) -> float:
    quantiles = {level: forecast[name] for name, level in QUANTILES.items() if name in forecast}
    if not quantiles:
        quantiles = {0.5: forecast["rain_mean"]}
    losses = [_pinball(saw - value, level) for level, value in quantiles.items()]
    return 2 * float(np.mean(losses))


def _pinball(error: Array, level: float) -> float:
    return float(np.maximum(level * error, (level - 1) * error).mean(dtype=np.float64))
