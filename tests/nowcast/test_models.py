"""The PyTorch reference of advection, against shifts that are known exactly."""

import numpy as np
import pytest
import torch

from nowcast.models.advection import Advection
from nowcast.models.registry import create
from nowcast.models.spec import Inputs, ModelSpec, pixel_sizes


def run(stack, mask, motion):
    with torch.inference_mode():
        return [t.numpy() for t in Advection()(*(torch.from_numpy(a) for a in (stack, mask, motion)))]


def inputs(shift, shape=(96, 128)):
    rng = np.random.default_rng(1)
    stack = rng.random((1, 4, *shape), np.float32)
    motion = np.empty((1, 2, shape[0] // 4, shape[1] // 4), np.float32)
    motion[:, 0], motion[:, 1] = shift
    return stack, np.ones_like(stack), motion


@pytest.mark.parametrize("shift", [(3, -2), (0, 1), (-1, 0)])
def test_whole_pixels_move_exactly(shift):
    stack, mask, motion = inputs(shift)
    rain, _ = run(stack, mask, motion)
    for lead in (0, 3):
        dx, dy = (lead + 1) * np.array(shift)
        moved = np.roll(stack[0, -1], (dy, dx), (0, 1))
        assert np.abs(rain[0, lead] - moved)[20:-20, 20:-20].max() < 1e-3


def test_without_motion_it_is_persistence():
    stack, mask, motion = inputs((0, 0))
    rain, coverage = run(stack, mask, motion)
    assert np.abs(rain - stack[:, -1:]).max() < 1e-4
    assert coverage.min() > 0.999


def test_what_flows_in_from_outside_is_not_seen():
    stack, mask, motion = inputs((4, 0))
    _, coverage = run(stack, mask, motion)
    for lead in range(24):
        edge = 4 * (lead + 1)
        assert coverage[0, lead, :, : edge - 2].max(initial=0) < 0.5
        assert coverage[0, lead, :, edge + 2 :].min() > 0.5


def test_unseen_pixels_do_not_dilute_their_neighbours():
    stack, mask, motion = inputs((0.5, 0))
    stack[:] = 0.6
    mask[..., 40:60] = 0
    rain, coverage = run(stack, mask, motion)
    assert np.abs(rain[coverage > 0.5] - 0.6).max() < 1e-3


@pytest.mark.parametrize("shape", [(33, 64), (64, 40)])
def test_shapes_that_are_not_multiples_of_32_are_refused(shape):
    with pytest.raises(ValueError, match="multiples of 32"):
        Inputs(np.zeros((1, 4, *shape), "f4"), np.zeros((1, 4, *shape), "f4"), np.zeros((1, 2, 8, 8), "f4"))


def test_a_pixel_without_size_is_refused():
    stack = np.zeros((1, 4, 64, 64), "f4")
    with pytest.raises(ValueError, match="must be > 0 km, got 0"):
        Inputs(stack, stack, np.zeros((1, 2, 16, 16), "f4"), None, pixel_sizes(0.0, 64, 64))


def test_a_plan_of_before_is_not_told_the_size_of_a_pixel():
    spec = create("edge").spec
    told = spec.to_json()
    assert ModelSpec.from_json(told) == spec
    assert spec.inputs == ("stack", "mask", "motion", "noise", "pixel")
    del told["pixel"]
    assert ModelSpec.from_json(told).inputs == ("stack", "mask", "motion", "noise")
