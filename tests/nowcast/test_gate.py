"""Each row of "Input states" in the hazards: what it gets, its flag, and what the operator is told."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from nowcast.errors import ConfigError
from nowcast.frame import make_frame
from nowcast.gate import judge, judge_age, judge_arrival, judge_unreadable
from nowcast.grid import Grid
from nowcast.history import ClutterCounts, SourceHistory
from nowcast.verdict import Action, Thresholds

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
GRID = Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 64, 64)
LIMITS = Thresholds()


def rain(seed=0, scale=1.0):
    """A wet half and a dry half."""
    values = np.random.default_rng(seed).lognormal(0, 0.8, GRID.shape) * scale
    values[:, 32:] = 0
    return values


def frame(values, time=NOON, grid=GRID):
    return make_frame(values, grid, time, "knmi", "d")


def judged(values, history=None, time=NOON, now=None, grid=GRID, **thresholds):
    return judge(frame(values, time, grid), history or SourceHistory(), now or time, Thresholds(**thresholds))


def history(days=6, frames=4):
    known = SourceHistory()
    for day in range(days):
        for number in range(frames):
            time = NOON - timedelta(days=days - day, minutes=-5 * number)
            known = known.after(frame(rain(10 * day + number), time))
    return known


@pytest.mark.parametrize(
    ("age", "action", "flag"),
    [
        (0, None, ""),
        (10, None, ""),
        (10.5, Action.DEGRADE, "late"),
        (20, Action.DEGRADE, "late"),
        (20.5, Action.EXTRAPOLATE, "very-late"),
        (30, Action.EXTRAPOLATE, "very-late"),
        (30.5, Action.REFUSE, "too-late"),
        (4 * 24 * 60, Action.REFUSE, "too-late"),
    ],
)
def test_late(age, action, flag):
    verdict = judge_age(NOON - timedelta(minutes=age), NOON, LIMITS)
    assert (verdict.action if verdict else None) == action
    assert (verdict.flag if verdict else "") == flag
    if verdict:
        assert "check the feed" in verdict.message


def test_duplicate_revision_and_out_of_order():
    known = {NOON: ["a"]}
    assert judge_arrival("knmi", NOON, "a", known, NOON).action is Action.IGNORE
    revision = judge_arrival("knmi", NOON, "b", known, NOON)
    assert (revision.action, revision.flag) == (Action.ACCEPT, "revision")
    older = judge_arrival("knmi", NOON - timedelta(minutes=5), "c", known, NOON)
    assert (older.action, older.flag) == (Action.ACCEPT, "out-of-order")
    assert judge_arrival("knmi", NOON + timedelta(minutes=5), "c", known, NOON) is None
    late = judged(rain(99), history(), time=NOON - timedelta(days=1))
    assert late.flags == ("out-of-order",)
    assert late.action is Action.ACCEPT


def test_truncated_is_retried_until_it_stands_still():
    assert judge_unreadable("cut", stood_still=False).action is Action.RETRY
    refused = judge_unreadable("cut", stood_still=True)
    assert (refused.action, refused.flag) == (Action.REFUSE, "truncated")


@pytest.mark.parametrize(
    "grid",
    [
        Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 64, 65),
        Grid("EPSG:3035", 4_000_000.5, 3_000_000.0, 1000.0, 1000.0, 64, 64),
        Grid("EPSG:3034", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 64, 64),
    ],
)
def test_wrong_grid(grid):
    found = judge(frame(np.zeros(grid.shape), grid=grid), history(), NOON, LIMITS)
    assert (found.action, found.flags) == (Action.REFUSE, ("wrong-grid",))
    assert "clear the source's history" in found.refusal


def test_all_unseen_is_refused_and_all_dry_bypasses_the_flow():
    unseen = judged(np.full(GRID.shape, np.nan))
    assert unseen.action is Action.REFUSE
    assert "all-unseen" in unseen.flags
    dry = judged(np.zeros(GRID.shape))
    assert (dry.action, dry.flags) == (Action.BYPASS_FLOW, ("all-dry",))


def test_spikes_are_masked_and_rain_beside_them_is_not():
    values = rain()
    values[10, 50], values[20, 10], values[5, 5] = 80, 80, 1200  # alone in the dry; within rain; above the cap
    found = judged(values)
    kept = found.frame["rain_rate"].values
    assert np.isnan(kept[10, 50])
    assert np.isnan(kept[5, 5])
    assert kept[20, 10] == 80
    assert (found.action, found.flags) == (Action.ACCEPT, ("clutter",))
    assert np.isfinite(kept).sum() == kept.size - 2


def test_static_clutter_is_learned_and_masked():
    counts = ClutterCounts.empty(GRID.shape, NOON.date())
    rng = np.random.default_rng(2)
    for _ in range(600):
        values = np.where(rng.random() < 0.05, 1.0, 0.0) * np.ones(GRID.shape)
        values[40:43, 40:43] = 2.0
        counts.add(values)
    mask = counts.mask()
    assert mask[40:43, 40:43].all()
    assert mask.sum() == 9
    values = rain()
    values[40:43, 40:43] = 2.0
    found = judge(frame(values), SourceHistory(), NOON, LIMITS, mask)
    assert np.isnan(found.frame["rain_rate"].values[40:43, 40:43]).all()
    assert found.flags == ("clutter",)


def test_stuck_is_degraded_then_refused_and_a_dry_picture_never_is():
    known, wet = SourceHistory(), rain()
    actions = []
    for number in range(4):
        found = judged(wet, known, NOON + timedelta(minutes=5 * number))
        actions.append(found.action)
        if found.action is not Action.REFUSE:
            known = known.after(frame(wet, NOON + timedelta(minutes=5 * number)))
    assert actions == [Action.ACCEPT, Action.DEGRADE, Action.REFUSE, Action.REFUSE]
    known, dry = SourceHistory(), np.zeros(GRID.shape)
    for number in range(5):
        found = judged(dry, known, NOON + timedelta(minutes=5 * number))
        assert "stuck" not in found.flags
        known = known.after(frame(dry, NOON + timedelta(minutes=5 * number)))


def test_the_same_frame_read_again_is_not_stuck():
    known = SourceHistory().after(frame(rain()))
    assert "stuck" not in judged(rain(), known).flags


def test_future():
    assert judged(rain(), now=NOON - timedelta(minutes=2)).action is Action.ACCEPT
    found = judged(rain(), now=NOON - timedelta(minutes=3))
    assert (found.action, found.flags) == (Action.REFUSE, ("future",))
    assert "clocks" in found.refusal


@pytest.mark.parametrize("days", [0, 1, 6])
def test_reflectivity_read_as_rain_is_refused_even_without_history(days):
    dbz = np.where(rain() >= 0.1, 10 * np.log10(200 * np.maximum(rain(), 0.1) ** 1.6), 0)
    found = judged(np.maximum(dbz, 0), history(days))
    assert (found.action, found.flags) == (Action.REFUSE, ("unit-change",))
    assert "dBZ" in found.refusal


@pytest.mark.parametrize(("factor", "refused"), [(1, False), (2, False), (0.5, False), (12, True), (1 / 12, True)])
def test_a_unit_change_shows_against_thirty_days(factor, refused):
    assert ("unit-change" in judged(rain(77, factor), history(), median_cap=1e9).flags) is refused


def test_a_thunderstorm_after_one_day_of_drizzle_is_accepted():
    known = SourceHistory()
    for number in range(20):
        known = known.after(frame(rain(number, 0.3), NOON - timedelta(minutes=5 * (30 - number))))
    assert judged(rain(5, 2.0), known).action is Action.ACCEPT


def test_real_events_pass_and_their_units_changed_do_not(shared_data):
    events = ("mch_ch_20170131", "mch_ch_20150515")
    rates = {}
    for event in events:
        codes = np.load(shared_data / "sequences" / f"{event}.npz")["frames"][::4]
        rates[event] = np.where(codes == 0, 0, 10 ** ((-10 + 0.15 * (codes - 1.0)) / 10))
        rates[event][codes == 255] = np.nan
    grid = Grid("EPSG:21781", 255_500.0, 479_500.0, 1000.0, 1000.0, 640, 710)
    for taught, asked in (events, events[::-1]):
        known = SourceHistory()
        for day in range(6):
            for number, values in enumerate(rates[taught]):
                known = known.after(frame(values, NOON - timedelta(days=6 - day, minutes=-5 * number), grid))
        for values in rates[asked]:
            dbz = np.maximum(10 * np.log10(200 * np.maximum(values, 1e-3) ** 1.6), 0)
            for changed, refused in ((values, False), (dbz, True), (values * 12, True), (values / 12, True)):
                found = judged(changed, known, rate_cap=1e9, grid=grid)
                assert (found.action is Action.REFUSE) is refused, (asked, found.verdicts)


def test_partial_composite_is_flagged_and_stays_unseen():
    known = history()
    values = rain(50)
    values[:8] = np.nan
    found = judged(values, known)
    assert (found.action, found.flags) == (Action.ACCEPT, ("partial",))
    assert np.isnan(found.frame["rain_rate"].values[:8]).all()


def test_a_history_survives_its_json():
    known = history()
    assert SourceHistory.from_json(known.to_json()) == known
    older = json.dumps({"grid": "by PROJ's words", **json.loads(known.to_json())} | {"grid_digest": ""})
    assert SourceHistory.from_json(older) == replace(known, grid_digest="")
    assert len(known.to_json()) < 5000


def test_thirty_days_are_kept():
    known = SourceHistory()
    for day in range(45):
        known = known.after(frame(rain(day), NOON + timedelta(days=day)))
    assert len(known.days) == 30


def test_thresholds_come_from_a_table_and_say_what_is_wrong():
    assert Thresholds.of({"rate_cap": 150, "ok_minutes": 12}, "regions.toml: alps").rate_cap == 150
    with pytest.raises(ConfigError, match="alps: unknown rain_cap; there are: degraded_minutes"):
        Thresholds.of({"rain_cap": 150}, "alps")
    with pytest.raises(ConfigError, match="need 0 ≤ ok_minutes"):
        Thresholds.of({"ok_minutes": 60}, "alps")
