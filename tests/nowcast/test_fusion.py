"""Radar and satellite together: who wins, what fills, and that filling pays."""

from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest

from nowcast.frame import make_frame, valid_time
from nowcast.fusion import (
    UNMATCHED,
    FusionOptions,
    feathered,
    fuse,
    fused_frames,
    merge_radars,
    merged_frames,
    to_time,
)
from nowcast.grid import Grid
from nowcast.matching import match
from nowcast.motion import motion
from nowcast.space import to_model
from nowcast.stack import build_stack
from nowcast.transport import advect, carry

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
GRID = Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 64, 64)
EVENTS = {"mch_ch_20150515": 0, "fmi_suomi1_20160928": 200, "mch_ch_20170131": 0}


def radar(values, source="radar", time=NOON, quality=None, digest="a"):
    return make_frame(values, GRID, time, source, digest, quality=quality)


def field(value, rows=slice(None), columns=slice(None)):
    values = np.full(GRID.shape, np.nan)
    values[rows, columns] = value
    return values


def test_quality_decides_then_freshness_then_order():
    good, poor = np.full(GRID.shape, 0.9), np.full(GRID.shape, 0.3)
    names = ("first", "second", "third")
    first = radar(field(1), "first", quality=poor)
    second = radar(field(2, columns=slice(0, 32)), "second", quality=good)
    rate, source = merge_radars([first, second], GRID, NOON, names)
    assert (rate[:, :32] == 2).all()
    assert (rate[:, 32:] == 1).all()
    assert (source[:, :32] == 2).all()
    older = radar(field(3), "third", NOON - timedelta(minutes=5), good)
    rate, _ = merge_radars([older, second], GRID, NOON, names)
    assert (rate[:, :32] == 2).all()
    assert (rate[:, 32:] == 3).all()
    rate, _ = merge_radars([radar(field(5), "second"), radar(field(4), "first")], GRID, NOON, names)
    assert (rate == 4).all()


def test_what_no_one_sees_stays_unseen_and_a_radar_pixel_is_never_changed():
    values = field(1.0, slice(0, 20))
    satellite = radar(field(3.0, slice(10, 40)), "satellite")
    fused = fuse([radar(values)], [satellite], GRID, NOON)
    assert np.array_equal(fused.rain_rate[:20], values[:20])
    assert np.isfinite(fused.rain_rate[20:40]).all()
    assert np.isnan(fused.rain_rate[40:]).all()
    assert fused.sources == ("radar", "satellite")
    assert set(np.unique(fused.rain_source[:20])) == {1}
    assert set(np.unique(fused.rain_source[20:40])) == {2}
    assert set(np.unique(fused.rain_source[40:])) == {0}
    assert fused.flags == ()


def test_satellite_rain_that_nothing_can_be_matched_with_is_flagged():
    fused = fuse([radar(field(0.0, slice(0, 20)))], [radar(field(3.0), "satellite")], GRID, NOON)
    assert fused.flags == (UNMATCHED,)
    assert (fused.rain_rate[40:] == 3).all()


def test_one_setting_switches_it_off():
    fused = fuse(
        [radar(field(1.0, slice(0, 20)))],
        [radar(field(3.0), "satellite")],
        GRID,
        NOON,
        None,
        FusionOptions(satellite=False),
    )
    assert np.isnan(fused.rain_rate[20:]).all()
    assert set(np.unique(fused.rain_source)) == {0, 1}


def test_an_old_satellite_frame_takes_no_part():
    old = radar(field(3.0), "satellite", NOON - timedelta(minutes=50))
    ahead = radar(field(3.0), "satellite", NOON + timedelta(minutes=5))
    fused = fuse([radar(field(1.0, slice(0, 20)))], [old, ahead], GRID, NOON)
    assert np.isnan(fused.rain_rate[20:]).all()


def test_a_frame_of_fused_rain_carries_its_sources():
    fused = fuse([radar(field(1.0, slice(0, 20)))], [radar(field(3.0), "satellite", digest="b")], GRID, NOON)
    frame = fused.frame(GRID, NOON)
    assert frame.attrs["source"] == "fused"
    assert len(frame.attrs["digest"]) == 64
    assert frame["rain_source"].attrs["flag_meanings"] == "none radar satellite"
    assert fused.frames == ("a", "b")


def test_a_later_frame_never_stands_in_for_the_wanted_time():
    wanted = radar(field(1.0), time=NOON, quality=np.full(GRID.shape, 0.5))
    later = radar(field(2.0), time=NOON + timedelta(minutes=5), quality=np.full(GRID.shape, 0.9))
    assert (fuse([later, wanted], [], GRID, NOON).rain_rate == 1).all()


def test_the_order_in_which_frames_come_changes_nothing():
    times = [NOON - timedelta(minutes=5), NOON]
    radars = [radar(field(n + 1, columns=slice(40)), name, time) for n, name in enumerate("ba") for time in times]
    fillers = [radar(field(n + 5), name, digest=name) for n, name in enumerate("zy")]
    for order, wanted in ((), 2), (("b", "a"), 1), (("z", "b"), 1):
        found = []
        for turn in (1, -1):
            fused = fuse(radars[::turn], fillers[::turn], GRID, NOON, None, None, order)
            frames = fused_frames(radars[::turn], fillers[::turn], GRID, times, None, order)
            found.append([fused.frame(GRID, NOON), *frames])
            assert (fused.rain_rate[:, :40] == wanted).all()
            assert fused.sources[2:] == (("z", "y") if "z" in order else ("y", "z"))
        assert all(one.identical(other) for one, other in zip(*found, strict=True))


def test_fused_frames_make_a_stack():
    times = [NOON - timedelta(minutes=5 * n) for n in (3, 2, 1, 0)]
    rain = np.zeros((64, 64))
    rain[20:30, 20:30] = 5
    seen = np.where(np.arange(64)[:, None] < 48, 0, np.nan) + rain
    radars = [radar(np.roll(seen, n, 1), time=t, digest=str(n)) for n, t in enumerate(times) if n != 1]
    satellite = radar(field(2.0), "satellite", times[0], digest="s")
    frames = fused_frames(radars, [satellite], GRID, times)
    assert [valid_time(f) for f in frames] == [times[0], times[2], times[3]]
    assert all(np.isfinite(f["rain_rate"]).mean() > 0.9 for f in frames)
    assert {int(code) for code in np.unique(frames[-1]["rain_source"])} >= {1, 2}
    stack = build_stack(frames, GRID)
    assert stack.missing == 1
    assert fused_frames([], [satellite], GRID, times) == []


def test_radars_are_merged_once_per_time_and_one_alone_comes_as_it_is():
    names, early = ("first", "second"), NOON - timedelta(minutes=5)
    west, east = radar(field(1, columns=slice(0, 40)), "first"), radar(field(2), "second", digest="b")
    alone = radar(field(3), "second", early, digest="c")
    frames = merged_frames([alone, east, west], GRID, [early, NOON], names)
    assert frames[0] is alone
    assert (frames[1]["rain_rate"].values == np.where(np.arange(64) < 40, 1, 2)).all()
    assert (valid_time(frames[1]), frames[1].attrs["source"]) == (NOON, "first")
    again = merged_frames([west, east], GRID, [NOON], names)[0]
    assert again.attrs["digest"] == frames[1].attrs["digest"] != west.attrs["digest"]
    moved = radar(field(2), "second", NOON + timedelta(minutes=2))
    assert merged_frames([west, moved], GRID, [NOON], names) == [west], "what was seen at another time was not seen now"


def test_advection_moves_by_the_motion_and_brings_nothing_in():
    values = field(0.0)
    values[30, 20] = 7
    flow = np.zeros((2, 16, 16), np.float32)
    flow[0], flow[1] = 4, -2
    moved = advect(values.astype(np.float32), flow, 2)
    assert moved[26, 28] == 7
    assert np.isnan(moved[:, :8]).all()
    back = advect(moved, flow, -2)
    assert back[30, 20] == 7


def test_rain_source_is_carried_on():
    source = np.ones(GRID.shape, np.uint8)
    source[:, :10] = 2
    flow = np.zeros((2, 16, 16), np.float32)
    flow[0] = 3
    carried = carry(source, flow, 4)
    assert carried.shape == (4, 64, 64)
    assert set(np.unique(carried[3][:, :12])) == {0}
    assert set(np.unique(carried[3][:, 12:22])) == {2}


def test_a_match_restores_a_known_distortion():
    rng = np.random.default_rng(3)
    truth = np.where(rng.random((200, 200)) < 0.3, rng.lognormal(0, 1, (200, 200)), 0)
    satellite = np.where(truth > 0.2, 2.5 * truth**0.8, 0)
    found = match([(truth, satellite)])
    assert found is not None
    matched = found(satellite)
    wet = satellite > 0
    assert np.abs(matched[wet] - truth[wet]).mean() < 0.1 * np.abs(satellite[wet] - truth[wet]).mean()
    assert (matched[~wet] == 0).all()
    assert np.isnan(found(np.array([np.nan]))).all()
    assert found.factor < 1


def test_a_match_needs_rain_in_both():
    assert match([]) is None
    assert match([(np.zeros((50, 50)), np.ones((50, 50)))]) is None
    assert match([(np.full((50, 50), np.nan), np.ones((50, 50)))]) is None


def test_feathering_is_continuous_at_the_edge_and_ends_at_its_reach():
    values = np.full((40, 80), np.nan, np.float32)
    values[:, :40] = 4
    filled = feathered(values, np.ones((40, 80), np.float32), 10)
    assert (filled[:, :40] == 4).all()
    assert filled[20, 40] == pytest.approx(4, abs=0.7)
    assert (np.diff(filled[20, 40:]) <= 1e-5).all()
    assert (filled[:, 52:] == 1).all()
    assert (feathered(values, np.ones((40, 80), np.float32), 0)[:, 40:] == 1).all()


@pytest.mark.parametrize("event", EVENTS)
def test_filling_a_hole_beats_leaving_it_empty_and_unmatched_satellite(shared_data, event):
    """A 110 km hole; a satellite 10 min old, blurred to 4 km, too wet, blind to light rain. RMSE in it, mm/h."""
    top = EVENTS[event]
    codes = np.load(shared_data / "sequences" / f"{event}.npz")["frames"][:30, top : top + 640, :640]
    rates = np.where(codes == 0, 0, 10 ** ((-10 + 0.15 * (codes - 1.0)) / 10)).astype(np.float32)
    rates[codes == 255] = np.nan
    grid = Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 640, 640)
    coarse = Grid("EPSG:3035", 4_001_500.0, 2_998_500.0, 4000.0, 4000.0, 160, 160)

    def satellite(k):
        seen = cv2.GaussianBlur(np.nan_to_num(rates[k]), (0, 0), 4) ** 0.8 * 2.2
        seen[seen < 0.3] = 0
        return make_frame(seen[1::4, 1::4], coarse, NOON + timedelta(minutes=5 * k), "satellite", str(k))

    rows, columns = np.mgrid[:640, :640]
    hole = np.hypot(rows - 320, columns - 320) < 110
    errors = []
    for k in (12, 28):
        time = NOON + timedelta(minutes=5 * k)
        holed = np.where(hole, np.nan, rates[k])
        values, mask = to_model(np.where(hole, np.nan, rates[k - 3 : k + 1]))
        flow = motion(values, mask)
        seen = [satellite(k - 2), satellite(k - 5)]
        fused = fuse([make_frame(holed, grid, time, "radar")], seen, grid, time, flow)
        assert fused.flags == ()
        scored = hole & np.isfinite(rates[k])
        guesses = (np.zeros_like(holed), to_time(satellite(k - 2), grid, time, flow), fused.rain_rate)
        errors.append([np.sqrt(np.mean((guess[scored] - rates[k][scored]) ** 2)) for guess in guesses])
    empty, unmatched, filled = np.mean(errors, axis=0)
    assert filled < 0.85 * empty, (empty, unmatched, filled)
    assert filled < 0.85 * unmatched, (empty, unmatched, filled)
