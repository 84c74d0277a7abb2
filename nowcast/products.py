"""From an engine's outputs to products: rates in mm/h and probabilities, NaN where nothing was or will be seen."""

import numpy as np
from numpy.typing import NDArray

from nowcast.models.spec import COVERED_FROM, Outputs, is_rate
from nowcast.run import Fields
from nowcast.side import side_by_side
from nowcast.space import to_rate


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
    return dict(zip(names, side_by_side(to_field, names), strict=True))
