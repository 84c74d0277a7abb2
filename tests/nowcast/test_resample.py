"""Sources that look every 2, 6 or 15 minutes serve a model that wants frames every five."""

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from nowcast.frame import grid_of, make_frame, valid_time
from nowcast.grid import Grid
from nowcast.motion import motion
from nowcast.resample import to_nominal
from nowcast.sources import read_frame
from nowcast.stack import build_stack, nominal_times

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
GRID = Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 256, 256)
SPEED = 0.8  # pixels a minute to the east


def weather(minutes):
    """Rain that moves to the east."""
    rng = np.random.default_rng(5)
    noise = cv2.GaussianBlur(rng.standard_normal((256, 512)).astype(np.float32), (0, 0), 6)
    rain = np.where(noise > 0.05, noise * 60, 0)
    shift = np.float32([[1, 0, SPEED * minutes], [0, 1, 0]])
    return cv2.warpAffine(rain.astype(np.float32), shift, (512, 256), flags=cv2.INTER_LINEAR)[:, 128:384]


def frame(minutes):
    return make_frame(weather(minutes), GRID, NOON + timedelta(minutes=minutes), "radar", str(minutes))


@pytest.mark.parametrize("step", [2, 6, 10, 15])
def test_other_steps_make_a_whole_stack_with_the_right_motion(step):
    frames = [frame(-m) for m in range(0, 31, step)]
    made = to_nominal(frames, GRID, nominal_times(NOON))
    stack = build_stack(made, GRID)
    assert stack.missing == 0
    assert stack.base_time == NOON
    flow = motion(stack.values, stack.mask)
    assert np.median(flow[0]) == pytest.approx(5 * SPEED, rel=0.2)
    assert abs(np.median(flow[1])) < 0.3
    moved = made[1]["rain_rate"].values  # ten minutes before
    truth = weather(-10)
    inner = np.s_[:, 30:226]
    standing = np.abs(weather(0)[inner] - truth[inner]).mean()
    assert np.nanmean(np.abs(moved[inner] - truth[inner])) < 0.4 * standing


def test_frames_that_fit_come_as_they_are():
    frames = [frame(-m) for m in (0, 5, 10, 15)]
    made = to_nominal(frames, GRID, nominal_times(NOON))
    assert [f.attrs["digest"] for f in made] == ["-15", "-10", "-5", "0"]


def test_one_frame_or_two_that_are_hours_apart_make_nothing_up():
    assert len(to_nominal([frame(0)], GRID, nominal_times(NOON))) == 1
    made = to_nominal([frame(0), frame(-120)], GRID, nominal_times(NOON))
    assert [valid_time(f) for f in made] == [NOON]


@pytest.mark.parametrize(
    "folder", ["opera_odim_2018", "bom_nc", "mrms_grib2", "knmi_h5", "fmi_pgm", "mch_gif", "nwcsaf_crr_nc"]
)
def test_every_folder_with_two_files_makes_a_stack(shared_data, folder):
    frames = [read_frame(path) for path in sorted((shared_data / "raw" / folder).iterdir())[:4]]
    whole = grid_of(frames[0])
    height, width = min(256, whole.height), min(256, whole.width)
    row, column = (whole.height - height) // 2, (whole.width - width) // 2
    grid = Grid(whole.crs, whole.x[column], whole.y[row], whole.dx, whole.dy, height, width)
    times = nominal_times(max(valid_time(f) for f in frames))
    stack = build_stack(to_nominal(frames, grid, times), grid)
    assert stack.missing <= 2, folder
    assert stack.mask.mean() > 0.2
