"""The motion field: OpenCV's DIS optical flow between successive frames, then a smooth dense field.

`motion(values, mask, minutes)`: (T, H, W) in model space, oldest first → (2, H/4, W/4) float32, (dx, dy) in
full-resolution pixels per 5 min, x to the east, y with the row. Pairs are weighted .5/.75/1 (newest most) and by
gradient where both frames see; smoothing is a normalised convolution of Gaussians (Knutsson and Westin, 1993), so that
where nothing moves the field falls back to its wider neighbourhood, then to the mean. DIS: Kroeger et al. (2016), ECCV.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

DOWN = 4
STEP_MINUTES = 5.0
SMOOTH_PX = 10.0
PAIR_WEIGHTS = (0.5, 0.75, 1.0)
WIDE_SHARE, MEAN_SHARE = 0.1, 0.3
EDGE_CAP = 40.0
GREY_PER_UNIT = 330.0
"""Grey levels per unit of model space, so that about 0.1 to 100 mm/h spans the eight bits that DIS works on."""

Array = NDArray[np.float32]


def motion(values: Array, mask: Array, minutes: Sequence[float] | None = None) -> Array:
    """Return the motion of the newest frames.

    Parameters
    ----------
    values, mask
        (T, H, W), as in `nowcast.models.spec`; a frame whose mask is 0 throughout takes no part, and its neighbours
        make a pair.
    minutes
        Times of the frames, from any start; five minutes apart if left out.

    Returns
    -------
    (2, H/4, W/4) float32; zeros where no two successive frames see rain.
    """
    frames, height, width = values.shape
    times = np.arange(frames) * STEP_MINUTES if minutes is None else np.asarray(minutes)
    flow_sum = np.zeros((height, width, 2), np.float32)
    weight_sum = np.zeros((height, width), np.float32)
    pairs = list(pairwise(k for k in range(frames) if mask[k].any()))[-len(PAIR_WEIGHTS) :]
    for (before, after), weight in zip(reversed(pairs), reversed(PAIR_WEIGHTS), strict=False):
        images = _image(values[before]), _image(values[after])
        share = np.float32(weight) * _trust(images[0], mask[before] * mask[after])
        if share.any():
            per_step = np.float32(STEP_MINUTES / (times[after] - times[before]))
            flow_sum += (share * per_step)[..., None] * _dis().calc(*images, None)
            weight_sum += share
    return np.ascontiguousarray(_smooth(flow_sum, weight_sum).transpose(2, 0, 1))


def _dis() -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def _image(values: Array) -> NDArray[np.uint8]:
    return np.clip(cv2.GaussianBlur(values, (0, 0), 1.0) * GREY_PER_UNIT, 0, 255).astype(np.uint8)


def _trust(image: NDArray[np.uint8], seen: Array) -> Array:
    """Return how far each pixel's flow is to be trusted: by gradient, where it rains and both frames see."""
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3.0)
    slope = np.hypot(cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1))
    return (np.minimum(slope, EDGE_CAP) * (image > 10) * (seen > 0)).astype(np.float32)


def _smooth(flow_sum: Array, weight_sum: Array) -> Array:
    size = (weight_sum.shape[1] // DOWN, weight_sum.shape[0] // DOWN)
    flow = cv2.resize(flow_sum, size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(weight_sum, size, interpolation=cv2.INTER_AREA)
    mean = flow.reshape(-1, 2).sum(0) / max(float(weight.sum()), 1e-6)
    near_flow, near_weight = _blur(flow, SMOOTH_PX), _blur(weight, SMOOTH_PX)
    wide_flow, wide_weight = _blur(near_flow, 3 * SMOOTH_PX), _blur(near_weight, 3 * SMOOTH_PX)
    total = near_flow + WIDE_SHARE * wide_flow + MEAN_SHARE * mean
    return np.asarray(total / ((near_weight + WIDE_SHARE * wide_weight) + MEAN_SHARE)[..., None], np.float32)


def _blur(field: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(field, (0, 0), sigma / DOWN)
