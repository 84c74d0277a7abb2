"""What was, again: the archive that the cycle writes, hindcasts from it, replays of a recorded feed."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from engines.ladder import Ladder
from engines.runtimes import make_rungs
from jobs.drive import Drive
from jobs.hindcast import Hindcast
from jobs.replay import recorded, replay
from nowcast.archive import Archive, wide
from nowcast.config import Settings
from nowcast.errors import ConfigError, EngineError
from nowcast.frame import make_frame
from nowcast.region import Region, Regions
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.feeds import BASE, GRID, minutes, rain_at, write
from tests.jobs.test_oneshot import nowcast

pytest.importorskip("zarr", reason="the archive needs the extra `archive`")

REGION = Region("alps", "Alps", GRID, ("cf",), margin=8)
REGIONS = Regions({"alps": REGION})


def look_twice(drive, time):
    """Run the cycle and what comes after, without simulating; a file counts as arrived at the second look."""
    drive.clock.time = time
    for _ in range(2):
        drive.after.run(drive.cycle.run())


def settings(folder, **more):
    return Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'nowcast.db'}", engine_threads=1, **more)


@pytest.fixture
def feed(tmp_path):
    """A recorded feed of an hour, with a gap and a file that was cut."""
    for k in (0, 1, 2, 3, 4, 6, 7, 8):
        path = write(tmp_path / "recorded", BASE + minutes(5 * k))
        if k == 7:
            path.write_bytes(path.read_bytes()[:2000])
    return tmp_path / "recorded"


@pytest.fixture
def played(feed, tmp_path):
    files = recorded(feed)
    drive = Drive.open(settings(tmp_path / "live", archive_days=3), REGIONS, files[0].arrival)
    list(replay(drive, files))
    yield drive
    drive.close()


def test_a_replay_is_what_live_was(played):
    runs = played.cycle.store.runs("alps")
    assert [r.base_time for r in runs] == [BASE + minutes(5 * k) for k in (8, 6, 4, 3, 2, 1)]
    assert "frames-missing" in runs[1].flags
    assert len(played.cycle.feed.refused) == 1
    assert {s.made_by for s in played.cycle.store.scores("alps", 10_000)} >= {"advection", "persistence"}


def test_the_cycle_writes_the_archive_on_the_regions_grid_and_margin(played, tmp_path):
    archive = Archive(tmp_path / "live" / "archive")
    times = archive.times(REGION, BASE, BASE + minutes(60))
    assert times == [BASE + minutes(5 * k) for k in (0, 1, 2, 3, 4, 6, 8)]
    day = archive.day(REGION, BASE)
    assert day["rain_rate"].shape == (7, GRID.height + 16, GRID.width + 16)
    assert day.attrs["crs_wkt"].startswith("PROJCRS")
    seen = archive.frame(REGION, BASE + minutes(10))["rain_rate"].values[8:-8, 8:-8]
    truth = rain_at(BASE + minutes(10))
    assert np.array_equal(np.isnan(seen), np.isnan(truth))
    assert np.nanmax(np.abs(seen - truth)) < 0.01, "rain that is hardly any stays rain"
    assert archive.frame(REGION, BASE + minutes(25)) is None


def test_a_revision_replaces_and_old_days_go(tmp_path):
    archive = Archive(tmp_path)
    from nowcast.sources import read_frame

    first = read_frame(write(tmp_path / "feed", BASE))
    assert archive.put(REGION, first)
    assert not archive.put(REGION, first)
    assert archive.put(REGION, read_frame(write(tmp_path / "feed", BASE, name="r.nc", rate=np.zeros(GRID.shape, "f4"))))
    assert np.nanmax(archive.frame(REGION, BASE)["rain_rate"].values) == 0
    for days in (1, 2):
        later = BASE + minutes(24 * 60 * days)
        archive.put(REGION, read_frame(write(tmp_path / "feed", later)))
    assert len(archive.prune(BASE + minutes(24 * 60))) == 1
    assert len(archive.prune(BASE, most_bytes=1)) == 1, "the last day stays"
    assert archive.day(REGION, BASE) is None


def test_a_revision_reaches_observations_and_archive_of_a_region_with_several_sources(tmp_path):
    region = replace(REGION, sources=("cf", "simulated-sat"))
    drive = Drive.open(settings(tmp_path / "live", archive_days=3), Regions({"alps": region}), BASE)
    folder, store, archive = drive.cycle.feed.folder, drive.cycle.store, Archive(tmp_path / "live" / "archive")
    for k in (0, 1):
        write(folder, BASE + minutes(5 * k))
    look_twice(drive, BASE + minutes(6))
    write(folder, BASE + minutes(5), name="revised.nc", rate=np.full(GRID.shape, 7, "f4"))
    look_twice(drive, BASE + minutes(7))
    (seen,) = store.observations.between("alps", BASE + minutes(5), BASE + minutes(5))
    assert (store.observations.field(seen) == 7).all()
    archived = archive.frame(region, BASE + minutes(5))
    assert archived.attrs["digest"] == seen.digest
    write(folder, BASE + minutes(10))
    look_twice(drive, BASE + minutes(11))
    assert store.newest("alps").base_time == BASE + minutes(10)
    assert store.observations.at("alps", BASE + minutes(5)).id == seen.id, "what is there is not written again"
    assert archive.frame(region, BASE + minutes(5)).attrs["digest"] == seen.digest
    drive.close()


def test_what_several_radars_saw_together_is_observed_archived_and_forecast_again(tmp_path):
    region = replace(REGION, sources=("cf", "simulated"))
    drive = Drive.open(settings(tmp_path / "live", archive_days=3), Regions({"alps": region}), BASE)
    folder, store, archive = drive.cycle.feed.folder, drive.cycle.store, Archive(tmp_path / "live" / "archive")
    west = np.where(np.arange(GRID.width) < 50, np.float32(1), np.nan) + np.zeros(GRID.shape, "f4")
    for k in (0, 1):
        write(folder, BASE + minutes(5 * k), rate=(2 - k) * west)
        rate = np.full(GRID.shape, 3 - k, "f4")
        write(folder, BASE + minutes(5 * k), f"simulated_{k}.nc", rate=rate, source="simulated")
    kept = set()
    for k in (1, 2):
        look_twice(drive, BASE + minutes(5 * k + 1))
        seen = store.observations.at("alps", BASE + minutes(5))
        archived = archive.frame(region, seen.valid_time)
        kept.add((seen.id, seen.digest, archived.attrs["digest"]))
        write(folder, BASE + minutes(10), rate=3 * west)
    assert store.newest("alps").base_time == BASE + minutes(10)
    assert len(kept) == 1, "what is there is not written again"
    assert (seen.source, seen.digest) == ("cf", archived.attrs["digest"])
    both = np.where(np.arange(GRID.width) < 50, 1, 2) + np.zeros(GRID.shape)
    assert np.array_equal(store.observations.field(seen), both)
    assert np.array_equal(archived["rain_rate"].values[8:-8, 8:-8], both)
    again = Hindcast(region, archive, store, drive.cycle.ladder)
    assert [p.refused for p in again.run(BASE, BASE + minutes(10))] == [1, 1]
    drive.close()


def test_a_slot_holds_the_frame_nearest_to_it_of_those_within_a_minute(tmp_path):
    archive, end = Archive(tmp_path), BASE + minutes(12 * 60)

    def put(time, rate=1.0, digest=None):
        digest = digest or f"{time:%Y%m%d%H%M%S}".ljust(64, "0")
        return archive.put(REGION, make_frame(np.full(GRID.shape, rate), GRID, time, "cf", digest))

    assert [put(BASE + minutes(k)) for k in (2, 4, 6, 8, 10)] == [False, True, False, False, True]
    assert archive.times(REGION, BASE, end) == [BASE + minutes(5), BASE + minutes(10)]
    assert not put(BASE + minutes(4)), "there already"
    assert put(BASE + minutes(4), 2.0, "a" * 64), "a revision"
    assert put(BASE + minutes(5.5), 3.0), "nearer"
    assert not put(BASE + minutes(4), 2.0, "a" * 64)
    assert np.nanmin(archive.frame(REGION, BASE + minutes(5))["rain_rate"].values) == 3
    assert [put(end + minutes(k)) for k in (-5, -2, -1, 0)] == [True, False, True, True]
    assert archive.times(REGION, end - minutes(9), end + minutes(9)) == [end - minutes(5), end]


def test_a_day_archived_before_offsets_were_kept_goes_on(tmp_path):
    archive = Archive(tmp_path)
    frames = [make_frame(rain_at(BASE), GRID, BASE + minutes(k), "cf", f"{k + 1}" * 64) for k in (0, 1, 4)]
    archive.put(REGION, frames[0])
    (day,) = tmp_path.glob("*/*.zarr")
    shutil.rmtree(day / "offset")
    assert [archive.put(REGION, frame) for frame in frames] == [False, False, True]
    assert archive.times(REGION, BASE, BASE + minutes(9)) == [BASE, BASE + minutes(5)]


def test_an_archive_that_was_kept_by_the_words_of_a_grid_goes_on(tmp_path):
    archive = Archive(tmp_path)
    archive.put(REGION, make_frame(rain_at(BASE), GRID, BASE, "cf", "1" * 64))
    (day,) = tmp_path.glob("*/*.zarr")
    day.parent.rename(tmp_path / f"{REGION.name}-{wide(REGION).digest_of_words[:8]}")
    assert archive.times(REGION, BASE, BASE + minutes(5)) == [BASE]
    assert list(tmp_path.glob("*/*.zarr")) == [day]


def test_a_hindcast_gives_what_live_gave_and_goes_on_where_it_was(played, tmp_path):
    url = f"sqlite:///{tmp_path / 'hindcast.db'}"
    upgrade(url)
    store, archive = Store.open(url), Archive(tmp_path / "live" / "archive")
    ladder = Ladder(make_rungs(), 1, store)
    hindcast = Hindcast(REGION, archive, store, ladder)
    first = list(hindcast.run(BASE, BASE + minutes(20)))
    assert [p.done for p in first] == [1, 2, 3, 4]
    assert first[-1].refused == 1, "one frame alone gives no forecast"
    made = {r.id for r in store.runs("alps")}
    last = list(hindcast.run(BASE, BASE + minutes(60)))[-1]
    assert (last.done, last.total) == (7, 7)
    assert {r.id for r in store.runs("alps")} > made, "what was made is not made again"
    live = played.cycle.store
    for run in store.runs("alps"):
        was = live.field(live.run("alps", run.base_time), "rain_mean")
        now = store.field(run, "rain_mean")
        assert (np.isnan(was) == np.isnan(now)).mean() > 0.99
        assert np.nanmean(np.abs(was - now)) < 0.05  # the archive rounds to 0.01 mm/h
    assert {s.made_by for s in store.scores("alps", 10_000)} >= {"advection", "persistence"}
    none = replace(hindcast, region=replace(REGION, model="edgy"))
    with pytest.raises(EngineError, match="no plan for model 'edgy'"):
        list(none.run(BASE, BASE + minutes(60)))
    ladder.close()
    store.close()


def test_commands(feed, played, tmp_path):
    regions = tmp_path / "regions.toml"
    regions.write_text(
        '[regions.alps]\ncrs="EPSG:2056"\nx0=2600000\ny0=1200000\ncell=1000\nheight=60\nwidth=90\nsources=["cf"]\nmargin=8\n'
    )
    known = {"NOWCAST_REGIONS_FILE": str(regions)}
    done = nowcast("replay", feed, "--into", tmp_path / "again", **known)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    arguments = ("hindcast", "--from", f"{BASE:%Y-%m-%dT%H:%M}", "--to", "2026-03-02")
    done = nowcast(*arguments, NOWCAST_DATA_DIR=str(tmp_path / "live"), **known)
    assert done.returncode == 0, done.stderr
    assert "alps: 7 times, 1 refused" in done.stdout


def test_nothing_to_replay(tmp_path):
    with pytest.raises(ConfigError, match="no file of a known source"):
        recorded(tmp_path)
