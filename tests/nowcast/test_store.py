"""The repository does the same on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import psycopg
import pytest
from sqlalchemy.exc import StatementError

from nowcast.errors import NoRun, OutsideGrid, StoreError, UnknownRegion
from nowcast.run import CheckRecord, FrameRecord, PlanRecord
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.nowcast.stored import PRODUCTS, SHAPE, STEP, T0, fields, marks, region, run


@pytest.fixture
def store(store):
    store.put_regions([region("alps"), region("lowlands")])
    return store


def frame(minutes=0, digest="d", **changes):
    record = FrameRecord("knmi", T0 + timedelta(minutes=minutes), digest, f"{minutes}{digest}.h5", T0)
    return replace(record, **changes)


def test_regions_come_back_and_are_renewed_without_losing_their_newest_run(store):
    assert store.regions() == [region("alps"), region("lowlands")]
    run_id = store.publish(run(), fields())
    renewed = replace(region("alps"), title="The Alps")
    store.put_regions([renewed])
    assert store.regions()[0] == renewed
    assert store.newest("alps").id == run_id
    store.put_regions([])


def test_frames_are_known_by_source_time_and_digest(store):
    assert store.add_frame(frame())
    assert not store.add_frame(frame())
    assert not store.add_frame(frame(path="elsewhere.h5"))
    assert store.add_frame(frame(digest="e", received_at=T0 + STEP))  # a revision
    assert store.add_frame(frame(5))
    assert store.add_frame(frame(source="mrms"))
    assert store.known_paths("knmi") == {"0d.h5", "0e.h5", "5d.h5"}
    assert [f.path for f in store.frames("knmi")] == ["5d.h5", "0e.h5", "0d.h5"]
    assert [f.path for f in store.frames("knmi", newest_first=False, limit=2)] == ["0d.h5", "0e.h5"]
    assert [f.path for f in store.frames("knmi", until=T0)] == ["0e.h5", "0d.h5"]
    assert replace(store.frames("mrms")[0], id=0) == frame(source="mrms")


def test_a_run_comes_back_as_published(store):
    run_id = store.publish(run(), fields(7))
    newest = store.newest("alps")
    assert newest == replace(run(), id=run_id)
    assert store.run("alps", T0) == newest
    assert store.runs() == [newest]
    got = store.fields(newest)
    assert {name: field.shape for name, field in got.items()} == dict.fromkeys(PRODUCTS, SHAPE)
    assert marks(got) == {7}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_pipeline_is_left_open_when_a_publication_freezes(store, monkeypatch):
    # psycopg sends the rows of `executemany` as a pipeline: a session that the server never calls idle, and never ends
    monkeypatch.setattr(psycopg.Cursor, "executemany", lambda *_: pytest.fail("a pipeline was opened"))
    run_id = store.publish(run(), fields())
    assert store.newest("alps").id == run_id


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_day_on_its_way_out_takes_no_run_until_it_is_gone(store, database_url, monkeypatch):
    store.publish(run(), fields())
    with psycopg.connect(database_url, autocommit=True) as keeper, psycopg.connect(database_url) as dump:
        dump.execute("LOCK TABLE chunks IN ACCESS SHARE MODE")
        keeper.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            keeper.execute("ALTER TABLE chunks DETACH PARTITION chunks_20260301 CONCURRENTLY")
        with pytest.raises(StoreError, match="chunks_20260301 is being removed by retention"):
            store.publish(run(), fields())
        with monkeypatch.context() as patch:  # as where it is detached between the look and the rows
            patch.setattr("nowcast.store.store.ensure_partition", lambda *_: None)
            with pytest.raises(StoreError, match="retention has taken that day away"):
                store.publish(run(), fields())
        dump.rollback()
        keeper.execute("ALTER TABLE chunks DETACH PARTITION chunks_20260301 FINALIZE")
        with pytest.raises(StoreError, match="chunks_20260301 is being removed by retention"):
            store.publish(run(), fields())
        keeper.execute("DROP TABLE chunks_20260301")
    assert store.publish(run(mark=7), fields(7)) == store.newest("alps").id
    assert marks(store.fields(store.newest("alps"))) == {7}


def test_without_runs_there_is_none(store):
    assert store.newest("alps") is None
    assert store.newest("atlantis") is None
    assert store.point("alps", 0, 0) is None
    assert store.run("alps", T0) is None
    assert store.runs() == []
    assert store.newest_base_times() == {}


def test_a_series_is_the_fields_column(store):
    rng = np.random.default_rng(1)
    rain = np.where(rng.random(SHAPE) < 0.5, rng.random(SHAPE) * 9, 0).astype(np.float32)
    rain[:, :, :9] = np.nan
    store.publish(run(products=("rain_mean",)), {"rain_mean": rain})
    stored = store.newest("alps")
    field = store.field(stored, "rain_mean")
    for row, column in ((0, 0), (129, 139), (127, 128), (128, 127), (129, 139)):
        np.testing.assert_array_equal(store.series(stored, row, column)["rain_mean"], field[:, row, column])


def test_a_cell_outside_is_told(store):
    store.publish(run(), fields())
    for row, column in ((-1, 0), (0, -1), (130, 0), (0, 140), (0, 256), (999, 999)):
        with pytest.raises(OutsideGrid, match=rf"no cell \({row}, {column}\)"):
            store.series(store.newest("alps"), row, column)


def test_a_rerun_replaces_and_never_serves_old_pixels(store):
    store.publish(run(mark=1), fields(1))
    before = store.newest("alps")
    assert store.series(before, 3, 4)["rain_mean"][0] == 1
    store.publish(run(mark=2), fields(2))
    assert len(store.runs()) == 1
    point = store.point("alps", 3, 4)
    assert point.run.stages == {"mark": 2.0}
    assert point.series["rain_mean"][0] == 2
    assert marks(store.fields(point.run)) == {2}
    with pytest.raises(NoRun, match="has been replaced"):
        store.fields(before)
    with pytest.raises(NoRun, match="has been replaced"):
        store.series(before, 129, 139)  # a chunk that was not in the cache


def test_the_newest_run_never_moves_back(store):
    late = store.publish(run(base_time=T0 + STEP), fields(1))
    store.publish(run(base_time=T0), fields(2))
    assert store.newest("alps").id == late
    assert store.newest_base_times() == {"alps": T0 + STEP}
    store.publish(run(base_time=T0), fields(3))
    assert store.newest("alps").id == late
    last = store.publish(run(base_time=T0 + 2 * STEP), fields(4))
    assert store.newest("alps").id == last


def test_runs_are_listed_by_page_over_days_and_regions(store):
    times = [T0 + i * STEP for i in range(4)]  # over midnight: two partitions
    for time in times:
        store.publish(run(base_time=time), fields())
    store.publish(run("lowlands", base_time=times[1], frames=()), fields())
    assert [r.base_time for r in store.runs("alps")] == times[::-1]
    assert [r.base_time for r in store.runs("alps", limit=2, before=times[3])] == [times[2], times[1]]
    assert [(r.region, r.base_time) for r in store.runs(limit=2, before=times[2])] == [
        ("alps", times[1]),
        ("lowlands", times[1]),
    ]
    assert store.runs("lowlands")[0].frames == ()


def test_what_does_not_fit_is_refused_and_leaves_nothing(store):
    with pytest.raises(UnknownRegion, match="'atlantis'"):
        store.publish(run("atlantis"), fields())
    with pytest.raises(ValueError, match="must be the run's products"):
        store.publish(run(), {"rain_mean": fields()["rain_mean"]})
    with pytest.raises(ValueError, match="must all be"):
        store.publish(run(leads=3), fields())
    with pytest.raises(StatementError, match="aware UTC, got naive"):
        store.publish(run(slot=datetime(2026, 1, 1)), fields())  # noqa: DTZ001
    with pytest.raises(StatementError, match="aware UTC, got naive"):
        store.frames("knmi", until=datetime(2026, 1, 1))  # noqa: DTZ001
    assert store.runs() == []


def test_times_of_another_zone_come_back_in_utc(store):
    zoned = T0.astimezone(timezone(timedelta(hours=5, minutes=30)))
    store.publish(run(base_time=zoned), fields())
    assert store.newest("alps").base_time == T0
    assert store.newest("alps").base_time.tzinfo is UTC
    assert marks(store.fields(store.newest("alps"))) == {1}


def test_plans_and_checks(store):
    plan = PlanRecord("f" * 64, "advection", "openvino", "fp32", {"openvino": "2026.1"})
    assert store.add_plan(plan)
    assert not store.add_plan(plan)
    assert [replace(p, id=0) for p in store.plans()] == [plan]
    early = CheckRecord(plan.digest, T0, "dry", "rain_mean", None, None, True)
    late = CheckRecord(plan.digest, T0 + STEP, "rain", "rain_mean", 51.5, float("inf"), False, 0.25, "openvino", "int8")
    store.add_checks([late, early])
    store.add_checks([])
    assert store.checks() == [late, early]
    assert store.checks(limit=1) == [late]


def test_the_chunk_cache_is_bounded_in_bytes(database_url):
    upgrade(database_url)
    chunk = SHAPE[0] * 128 * 128 * 2
    store = Store.open(database_url, cache_bytes=chunk + 10_000)
    store.put_regions([region()])
    store.publish(run(products=("rain_mean",)), {"rain_mean": fields()["rain_mean"]})
    stored = store.newest("alps")
    for row, column in ((0, 0), (129, 0), (0, 139), (129, 139), (0, 0)):
        assert store.series(stored, row, column)["rain_mean"].tolist() == [1, 1]
        assert store.cached_bytes <= chunk + 10_000
    assert store.cached_bytes >= chunk
    store.close()
