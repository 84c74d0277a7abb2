"""Scores of forecasts and of engines; every one ignores pixels that are NaN in either field."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def psnr(output: Array, reference: Array, where: NDArray[np.bool_] | None = None) -> float | None:
    """Return the peak signal-to-noise ratio in dB with a peak of 1 (model space, probabilities).

    None where there is nothing to compare; infinite where both are equal; never a number where an output is not finite.
    """
    if where is not None:
        output, reference = output[where], reference[where]
    if output.size == 0:
        return None
    if not np.isfinite(output).all():
        return float("nan")
    error = float(np.mean(np.square(output.astype(np.float64) - reference)))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def csi(forecast: Array, observed: Array, threshold: float) -> float:
    """Return the critical success index of exceeding `threshold` (mm/h): hits / (hits + misses + false alarms).

    Schaefer (1990), Wea. Forecasting 5, 570–575. NaN where neither exceeds it anywhere.
    """
    known = np.isfinite(forecast) & np.isfinite(observed)
    said, saw = forecast[known] >= threshold, observed[known] >= threshold
    events = int((said | saw).sum())
    return float((said & saw).sum() / events) if events else float("nan")


def mae(forecast: Array, observed: Array) -> float:
    """Return the mean absolute error in the fields' unit."""
    known = np.isfinite(forecast) & np.isfinite(observed)
    return float(np.abs(forecast[known] - observed[known]).mean()) if known.any() else float("nan")
