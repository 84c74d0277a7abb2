"""Radar files become a sequence that training and the skill table read."""

import numpy as np
import pytest

from benchmarks.cut import cut
from nowcast.errors import ConfigError
from tests.jobs.feeds import BASE, GRID, OTHER, minutes, rain_at, write

pytest.importorskip("torch")


def test_files_become_a_sequence_in_order_of_time_with_their_gaps(tmp_path):
    from nowcast.train.data import MISSING, decode, read

    times = [BASE + minutes(5 * k) for k in (3, 0, 1, 4)]
    cut([write(tmp_path, time) for time in times], tmp_path / "made" / "alps.npz")
    made = read(tmp_path / "made" / "alps.npz")
    assert made.minutes.tolist() == [0, 5, 10, 15, 20]
    assert made.pixel == pytest.approx(GRID.pixel_km)
    assert (made.codes[2] == MISSING).all()
    for index, time in ((0, times[1]), (3, times[0])):
        was = rain_at(time)[: made.codes.shape[1], : made.codes.shape[2]]
        told = decode(made.codes[index])
        assert np.array_equal(np.isnan(told), np.isnan(was))
        wet = was >= 0.1
        assert np.abs(10 * np.log10(told[wet] / was[wet])).max() < 0.08  # half a code
        assert (told[was < 0.1] <= 0.1).all()


@pytest.mark.parametrize(
    ("moments", "grids", "told"),
    [
        ((0, 5), (GRID, OTHER), "lie on 2 grids"),
        ((0,), (GRID,), r"steps of \[\]"),
        ((0, 5, 12), (GRID,) * 3, r"steps of \[5, 7\] minutes"),
    ],
)
def test_what_makes_no_sequence_is_refused(tmp_path, moments, grids, told):
    paths = [write(tmp_path, BASE + minutes(m), grid=g) for m, g in zip(moments, grids, strict=True)]
    with pytest.raises(ConfigError, match=told):
        cut(paths, tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()
