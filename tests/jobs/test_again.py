"""What was, again: the archive that the cycle writes, hindcasts from it, replays of a recorded feed."""

import numpy as np
import pytest

from engines.ladder import Ladder
from engines.runtimes import make_rungs
from jobs.drive import Drive
from jobs.hindcast import Hindcast
from jobs.replay import recorded, replay
from nowcast.archive import Archive
from nowcast.config import Settings
from nowcast.errors import ConfigError
from nowcast.region import Region, Regions
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.feeds import BASE, GRID, minutes, rain_at, write
from tests.jobs.test_oneshot import nowcast

pytest.importorskip("zarr", reason="the archive needs the extra `archive`")

REGION = Region("alps", "Alps", GRID, ("cf",), margin=8)
REGIONS = Regions({"alps": REGION})


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
