import cv2
import numpy as np
import pytest

from nowcast.motion import motion


def moving(shift, frames=4, shape=(160, 192)):
    rng = np.random.default_rng(3)
    field = np.clip(cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 6) * 8, 0, 0.7)
    moves = [np.float64([[1, 0, k * shift[0]], [0, 1, k * shift[1]]]) for k in range(frames)]
    return np.stack([cv2.warpAffine(field, m, shape[::-1], borderMode=cv2.BORDER_REFLECT) for m in moves]).astype("f4")


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (-4.5, 3.5)])
def test_a_known_shift_is_found_with_its_sign(shift):
    values = moving(shift)
    found = motion(values, np.ones_like(values))
    assert found.shape == (2, 40, 48)
    inner = found[:, 10:-10, 10:-10]
    assert np.abs(np.median(inner, (1, 2)) - shift).max() < 0.5


def test_dry_frames_do_not_move():
    values = np.zeros((4, 64, 64), np.float32)
    assert not motion(values, np.ones_like(values)).any()


def test_a_missing_frame_takes_no_part():
    values = moving((3.0, 1.0))
    mask = np.ones_like(values)
    values[1], mask[1] = 0, 0
    assert np.abs(np.median(motion(values, mask), (1, 2)) - (3.0, 1.0)).max() < 0.5


def test_nothing_seen_gives_no_motion():
    values = moving((3.0, 1.0))
    assert not motion(values, np.zeros_like(values)).any()


def test_frames_fifteen_minutes_apart_give_motion_per_five():
    values = moving((6.0, -3.0), frames=2)
    stack = np.stack([values[0], np.zeros_like(values[0]), np.zeros_like(values[0]), values[1]])
    mask = np.zeros_like(stack)
    mask[[0, 3]] = 1
    found = np.median(motion(stack, mask, (-15, -10, -5, 0)), (1, 2))
    assert np.abs(found - (2.0, -1.0)).max() < 0.3
