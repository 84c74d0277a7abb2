"""Model space: what networks see. 0 = dry (< 0.1 mm/h), else `(10·log10(R) + 10.15) / 38.1`.

So 0.1 mm/h → 0.004 and about 624 mm/h → 1. Not seen is no number in model space: it travels in the mask.
"""

import numpy as np
from numpy.typing import NDArray

from nowcast.frame import DRY_BELOW

OFFSET, SCALE = 10.15, 38.1
WET_FROM = (10 * np.log10(DRY_BELOW) + OFFSET) / SCALE
"""Model-space value of 0.1 mm/h: below it is dry."""


def to_model(rate: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (values, mask) of rates in mm/h, any shape: values 0 where dry or not seen, mask 1 where seen."""
    seen = np.isfinite(rate)
    wet = seen & (np.nan_to_num(rate) >= DRY_BELOW)
    decibel = 10 * np.log10(np.where(wet, rate, 1.0))
    values = np.where(wet, np.clip((decibel + OFFSET) / SCALE, 0, 1), 0)
    return values.astype(np.float32), seen.astype(np.float32)


def to_rate(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return rates in mm/h of model-space values, any shape: exactly 0 below 0.1 mm/h, NaN stays NaN."""
    rate = np.power(10.0, (values * SCALE - OFFSET) / 10)
    rate[values < WET_FROM - 1e-6] = 0
    return rate.astype(np.float32)
