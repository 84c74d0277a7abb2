from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nowcast.errors import TooFewFrames
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.stack import build_stack

GRID = Grid("EPSG:2056", 2600000.0, 1200000.0, 1000.0, 1000.0, 40, 50)
BASE = datetime(2026, 11, 21, 12, tzinfo=UTC)


def frame(minutes_ago, rate=1.0):
    field = np.full(GRID.shape, rate, np.float32)
    field[0] = np.nan
    return make_frame(field, GRID, BASE - timedelta(minutes=minutes_ago), "test", digest=f"{minutes_ago}")


def test_four_frames_fill_the_stack_oldest_first():
    stack = build_stack([frame(0), frame(10), frame(5), frame(15)], GRID)
    assert stack.values.shape == (4, 64, 64)
    assert stack.frames == ("15", "10", "5", "0")
    assert (stack.missing, stack.base_time, stack.shape) == (0, BASE, (40, 50))


def test_not_seen_and_padding_are_masked_and_never_rain():
    stack = build_stack([frame(0), frame(5)], GRID)
    assert stack.mask[-1, 0].max() == 0
    assert stack.mask[-1, 1:40, :50].min() == 1
    assert stack.mask[-1, 40:].max() == 0
    assert stack.values[-1, 40:].max() == 0


def test_a_missing_time_is_masked_and_counted():
    stack = build_stack([frame(0), frame(5), frame(15)], GRID)
    assert stack.missing == 1
    assert stack.mask[1].max() == 0


@pytest.mark.parametrize("ages", [[], [0], [0, 30], [0, 0]])
def test_too_few_frames_are_refused(ages):
    with pytest.raises(TooFewFrames):
        build_stack([frame(age) for age in ages], GRID)


def test_frames_on_another_grid_are_brought_onto_the_region():
    half = Grid("EPSG:2056", 2600000.0, 1200000.0, 1000.0, 1000.0, 20, 50)
    stack = build_stack([frame(0), frame(5)], half)
    assert stack.shape == (20, 50)
    assert stack.mask[-1, 1:20, :50].min() == 1


def test_a_margin_is_read_around_the_grid():
    inner = Grid("EPSG:2056", 2610000.0, 1190000.0, 1000.0, 1000.0, 10, 20)
    stack = build_stack([frame(0), frame(5)], inner, margin=5)
    assert (stack.shape, stack.margin, stack.values.shape) == ((10, 20), 5, (4, 32, 32))
    assert stack.mask[-1, :20, :30].min() == 1
