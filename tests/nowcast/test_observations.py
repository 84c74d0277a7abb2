"""Observed fields, refused slots, places, scores: the same on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from nowcast.errors import NoRun
from nowcast.run import Observation, Place, ScoreRecord
from nowcast.store.database import downgrade, upgrade
from nowcast.store.pixels import AT_ONCE, accumulate
from nowcast.store.store import Store
from tests.nowcast.stored import SHAPE, STEP, T0, fields, region, run


@pytest.fixture
def store(store):
    store.put_regions([region("alps"), region("lowlands")])
    return store


def seen(time=T0, digest="d", name="alps"):
    return Observation(name, time, "simulated", digest, "g" * 64)


def field(seed=1):
    rng = np.random.default_rng(seed)
    rain = np.where(rng.random(SHAPE[1:]) < 0.5, rng.random(SHAPE[1:]) * 9, 0).astype(np.float32)
    rain[:40, :50] = np.nan
    return rain


def test_an_observation_comes_back_in_all_ways(store):
    rain = field()
    assert store.observations.put(seen(), rain)
    assert not store.observations.put(seen(), rain)
    found = store.observations.at("alps", T0)
    assert replace(found, id=0) == seen()
    got = store.observations.field(found)
    np.testing.assert_allclose(got, rain, atol=0.0101)  # the least rain is 0.01 mm/h
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rain))
    window = (30, 130, 40, 140)
    plane = store.observations.plane(found, window)
    codes = np.where(np.isnan(got), 65535, np.round(got * 100))[30:130, 40:140]
    np.testing.assert_array_equal(plane, codes)
    assert store.observations.series([found], 0, 0) == [(T0, None)]
    ((_, value),) = store.observations.series([found], 129, 139)
    assert value == pytest.approx(float(got[129, 139]))
    assert store.observations.at("alps", T0 + STEP) is None
    assert store.observations.at("lowlands", T0) is None


def test_a_revision_replaces_and_is_never_mixed_with_what_was_kept(store):
    store.observations.put(seen(), np.full(SHAPE[1:], 1, np.float32))
    before = store.observations.at("alps", T0)
    assert store.observations.series([before], 0, 0) == [(T0, 1.0)]
    assert store.observations.put(seen(digest="e"), np.full(SHAPE[1:], 2, np.float32))
    after = store.observations.at("alps", T0)
    assert after.id != before.id
    assert store.observations.series([after], 0, 0) == [(T0, 2.0)]
    assert store.observations.field(before) is None
    assert store.observations.plane(before, (0, 130, 128, 140)) is None


def test_what_was_replaced_while_half_of_it_is_kept_is_gone_and_not_garbage(store):
    store.observations.put(seen(), np.full(SHAPE[1:], 1, np.float32))
    store.publish(run(), fields(1))
    before, first = store.observations.at("alps", T0), store.newest("alps")
    window, whole = (0, 10, 0, 10), (0, 130, 0, 140)
    assert (store.observations.plane(before, window) == 100).all()
    assert (store.pixels.plane(first, "rain_mean", 0, window) == 100).all()
    store.observations.put(seen(digest="e"), np.full(SHAPE[1:], 2, np.float32))
    store.publish(run(mark=2), fields(2))
    assert store.observations.plane(before, whole) is None
    with pytest.raises(NoRun, match="has been replaced"):
        store.pixels.plane(first, "rain_mean", 0, whole)


def test_a_series_is_seen_without_room_to_keep_it(store, database_url):
    store.observations.put(seen(), np.full(SHAPE[1:], 1, np.float32))
    small = Store.open(database_url, cache_bytes=100)
    assert small.observations.series([small.observations.at("alps", T0)], 3, 3) == [(T0, 1.0)]
    small.close()


def test_two_who_observe_the_same_at_once(store, database_url):
    other, rain = Store.open(database_url), field()
    with ThreadPoolExecutor(2) as pool:
        for k in range(40):
            time = T0 + k * STEP
            puts = [pool.submit(s.observations.put, seen(time, str(n)), rain) for n, s in enumerate((store, other))]
            assert [put.result() for put in puts] == [True, True]
    assert len(store.observations.between("alps", T0, T0 + 40 * STEP)) == 40
    other.close()


def test_observations_of_a_span_in_order(store):
    for k in (2, 0, 1):
        store.observations.put(seen(T0 + k * STEP, f"{k}"), field(k))
    assert [o.digest for o in store.observations.between("alps", T0, T0 + STEP)] == ["0", "1"]
    found = store.observations.between("alps", T0, T0 + 9 * STEP)
    values = store.observations.series(found, 100, 100)
    assert [t for t, _ in values] == [T0, T0 + STEP, T0 + 2 * STEP]
    assert [v for _, v in values] == [pytest.approx(float(field(k)[100, 100]), abs=0.0051) for k in range(3)]


@pytest.fixture
def rows(store, monkeypatch):
    """How many rows each reading statement has given since."""
    counts, read = [], store._db.read

    def counted(work):
        found = read(work)
        counts.append(len(found))
        return found

    monkeypatch.setattr(store._db, "read", counted)
    return counts


def test_only_the_chunks_asked_for_are_read(store, rows):
    """A field has four: of the others, as many blobs as observations lay in the answer and were thrown away."""
    for k in range(3):
        store.observations.put(seen(T0 + k * STEP, f"{k}"), field(k))
    found = store.observations.between("alps", T0, T0 + 9 * STEP)
    rows.clear()
    store.observations.series(found, 129, 139)
    store.observations.plane(found[0], (0, 10, 0, 10))
    store.observations.plane(found[1], (0, 10, 0, 130))
    assert rows == [3, 1, 2]
    store.observations.series(found, 129, 139)
    assert rows == [3, 1, 2], "kept"


def test_a_long_series_is_read_in_pieces(store, rows):
    for k in range(2 * AT_ONCE + 3):
        store.observations.put(seen(T0 + k * STEP, f"{k}"), np.full(SHAPE[1:], k, np.float32))
    found = store.observations.between("alps", T0, T0 + 100 * STEP)
    rows.clear()
    assert [value for _, value in store.observations.series(found, 5, 5)] == list(range(2 * AT_ONCE + 3))
    assert rows == [AT_ONCE, AT_ONCE, 3]


def test_what_runs_had_said_comes_oldest_first_and_in_pieces(store, rows):
    count = AT_ONCE + 3
    for k in range(count):
        said = {
            "rain_mean": np.stack([np.full(SHAPE[1:], v, np.float32) for v in (99, k)]),
            "prob_1": fields()["prob_1"],
        }
        store.publish(run(base_time=T0 + k * STEP), said)
    store.publish(run(base_time=T0 + count * STEP, grid_digest="h" * 64), fields())
    store.publish(run("lowlands", base_time=T0), fields())
    rows.clear()
    told = store.hindsight.series("alps", "g" * 64, (129, 139), 1, T0 + STEP, 100)
    assert [(t.base_time, t.rate) for t in told] == [(T0 + k * STEP, k) for k in range(1, count)]
    assert rows == [count - 1, AT_ONCE, count - 1 - AT_ONCE], "the runs, then a chunk of each, so many at once"
    size = store.cached_bytes
    assert size < count * 2 * 2 * 12 + 1000, "of the corner chunk (2, 2, 12) one lead is kept"
    assert store.hindsight.series("alps", "g" * 64, (129, 139), 1, T0 + STEP, 100) == told
    newest = store.hindsight.series("alps", "g" * 64, (0, 0), 1, T0, 2)
    assert [t.rate for t in newest] == [count - 2, count - 1], "of more than the limit, the newest"
    assert store.hindsight.series("alps", "g" * 64, (0, 0), 2, T0, 100) == [], "no run is as long"


def test_a_run_that_is_replaced_while_it_is_looked_back_at_is_left_out(store):
    for k in range(2):
        store.publish(run(base_time=T0 + k * STEP), fields(k + 1))
    load = store.hindsight._load

    def late(*args):
        store.publish(run(base_time=T0, mark=9), fields(9))
        return load(*args)

    store.hindsight._load = late
    told = store.hindsight.series("alps", "g" * 64, (0, 0), 0, T0, 9)
    assert [(t.base_time, t.rate) for t in told] == [(T0 + STEP, 2.0)]


def test_slots(store):
    store.publish(run(slot=T0, flags=()), fields())
    store.publish(run(base_time=T0 + STEP, slot=T0 + STEP, flags=("late",)), fields())
    store.slots.refuse("alps", T0 + 2 * STEP, "why")
    store.slots.refuse("alps", T0 + 2 * STEP, "why now")
    states = [(s.slot, s.state, s.reason) for s in store.slots.between(["alps"], T0, T0 + 4 * STEP)]
    assert states[0][:2] == (T0 + 3 * STEP, "missing")
    assert states[1:] == [(T0 + 2 * STEP, "refused", "why now"), (T0 + STEP, "degraded", None), (T0, "published", None)]


def test_places_and_scores(store):
    told = replace(region("alps"), places=(Place("Bern", 46.948, 7.447),))
    store.put_regions([told])
    assert store.regions()[0] == told
    scores = [ScoreRecord("alps", T0, "rain_mean", 30, "csi", 1.0, 0.5, 99)]
    store.add_scores(scores)
    store.add_scores([])
    assert store.scores("alps") == scores
    assert store.scores("lowlands") == []
    with pytest.raises(ValueError, match="lat -90"):
        Place("Nowhere", 100, 0)


def test_publications_are_told_once_each(store):
    first = store.publish(run(), fields())
    second = store.publish(run(), fields())
    assert [p.id for p in store.runs_after(0, 10)] == [second]
    assert store.newest_runs() == {"alps": second}
    assert first < second
    assert store.sources(store.newest("alps")) == []


def test_down_to_the_first_version_and_up_again_with_data(database_url):
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions([replace(region("alps"), places=(Place("Bern", 46.948, 7.447),))])
    run_id = store.publish(run(), fields())
    store.observations.put(seen(), field())
    store.close()
    downgrade(database_url, "0001")
    upgrade(database_url)
    store = Store.open(database_url)
    assert store.newest("alps").id == run_id
    assert store.regions()[0].places == ()
    assert store.observations.at("alps", T0) is None
    assert store.observations.put(seen(), field())
    store.close()


def test_a_sum_with_something_not_seen_is_not_known():
    codes = np.array([[120, 0, 5], [120, 65535, 5], [120, 120, 65534]], np.uint16)
    assert accumulate(codes).tolist() == [[10, 0, 0], [20, 65535, 1], [30, 65535, 5462]]


def test_what_was_kept_by_the_words_of_a_grid_is_taken_over(store, database_url):
    """Runs and observations of a region's own grid follow it to 0006 and back; those of another grid stay its."""
    grid = region("alps").grid
    store.publish(run("alps", T0, grid_digest=grid.digest_of_words), fields(1))
    store.publish(run("alps", T0 + STEP), fields(1))
    store.observations.put(replace(seen(), grid_digest=grid.digest_of_words), field())
    downgrade(database_url, "0005")  # as an older version left it
    upgrade(database_url)
    assert [r.grid_digest for r in reversed(store.runs("alps", 2))] == [grid.digest, "g" * 64]
    assert store.observations.at("alps", T0).grid_digest == grid.digest
    downgrade(database_url, "0005")
    assert store.observations.at("alps", T0).grid_digest == grid.digest_of_words
    upgrade(database_url)
