"""Fields carried along a motion: rain to another time, and with it where each pixel's rain was seen.

Semi-Lagrangian with a midpoint, as forecasts are (`nowcast.models.advection`). A motion is (2, h, w): (dx, dy) in
pixels of the field per five minutes, at its own or any lower resolution. What flows in from outside was not seen.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

NO_SOURCE = 0
Array = NDArray[np.float32]


def advect(values: NDArray, flow: Array, steps: float) -> NDArray:
    """Return a field moved by `steps` five-minute steps of the motion (negative: back), nearest pixel; NaN flows in.

    Semi-Lagrangian with a midpoint, in sub-steps of at most one step, as forecasts are (`nowcast.models.advection`).

    Parameters
    ----------
    values
        (H, W), float with NaN for not seen, or uint8 codes with 0 for none.
    flow
        (2, h, w), (dx, dy) in pixels of `values` per step.
    """
    height, width = values.shape
    full = [cv2.resize(component, (width, height), interpolation=cv2.INTER_LINEAR) for component in flow]
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = xs.copy(), ys.copy()
    count = max(1, int(np.ceil(abs(steps))))
    share = np.float32(steps / count)
    for _ in range(count):
        half = [_bilinear(component, x, y) * (share / 2) for component in full]
        middle = [_bilinear(component, x - half[0], y - half[1]) * share for component in full]
        x, y = x - middle[0], y - middle[1]
    border = np.nan if values.dtype.kind == "f" else NO_SOURCE
    return cv2.remap(values, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=border)


def _bilinear(field: Array, x: Array, y: Array) -> Array:
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def carry(rain_source: NDArray[np.uint8], flow: Array, leads: int) -> NDArray[np.uint8]:
    """Return where the rain of each lead came from, (leads, H, W) codes: `rain_source` carried on by the motion.

    As `advect` of 1 … `leads` steps, but each step goes on from the one before, at the motion's resolution.
    """
    height, width = rain_source.shape
    columns, rows = _indices(flow.shape[1], flow.shape[2])
    scale_y, scale_x = height / flow.shape[1], width / flow.shape[2]
    dx, dy = flow[0] / np.float32(scale_x), flow[1] / np.float32(scale_y)
    half_x, half_y = dx / np.float32(2), dy / np.float32(2)
    xs, ys = _indices(height, width)
    x, y = columns, rows
    found = []
    for _ in range(leads):
        middle_x, middle_y = x - _bilinear(half_x, x, y), y - _bilinear(half_y, x, y)
        x, y = x - _bilinear(dx, middle_x, middle_y), y - _bilinear(dy, middle_x, middle_y)
        moved = [
            cv2.resize(now - start, (width, height), interpolation=cv2.INTER_LINEAR) * np.float32(scale)
            for now, start, scale in ((x, columns, scale_x), (y, rows, scale_y))
        ]
        found.append(cv2.remap(rain_source, xs + moved[0], ys + moved[1], cv2.INTER_NEAREST, borderValue=NO_SOURCE))
    return np.stack(found)


def _indices(height: int, width: int) -> tuple[Array, Array]:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return x, y
