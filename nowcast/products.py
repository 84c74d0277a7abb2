"""From an engine's outputs to products: rates in mm/h and probabilities, NaN where nothing was or will be seen."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nowcast.models.spec import COVERED_FROM, Outputs, is_rate
from nowcast.run import Fields
from nowcast.space import to_rate

AT_ONCE = 4
"""Products worked on at the same time."""


def to_fields(outputs: Outputs, index: int, shape: tuple[int, int], margin: int = 0) -> Fields:
    """Return the products of region `index` of the batch, (K, H, W) each: `shape` from `margin` cells inside on."""
    rows, columns = (slice(margin, margin + size) for size in shape)
    unseen = outputs["coverage"][index, :, rows, columns] < COVERED_FROM

    def to_field(name: str) -> NDArray[np.float32]:
        values = outputs[name][index, :, rows, columns]
        field = to_rate(values) if is_rate(name) else values.astype(np.float32, copy=True)
        field[unseen] = np.nan
        return field

    names = [name for name in outputs if name != "coverage"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(to_field, names), strict=True))
