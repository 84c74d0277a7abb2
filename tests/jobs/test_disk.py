"""A full disk, a small one of our own: reads stay up, nothing is lost, and all goes on once there is room again."""

import subprocess
from contextlib import suppress
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from jobs.backup import backup, restore
from jobs.doctor import examine
from jobs.keep import Keeper, Keeps
from jobs.logs import Patient
from jobs.worker import simulate
from nowcast.config import Settings
from nowcast.errors import NoRoom, StoreError
from nowcast.ingest import FrameCache, Intake
from nowcast.sandbox import Sandbox
from nowcast.sources.simulated import write_files
from nowcast.store.database import upgrade
from nowcast.store.store import Store
from tests.jobs.asker import Asker
from tests.jobs.feeds import BASE, Hand, make_cycle, minutes, settle, write
from tests.jobs.mortal import Installation


@pytest.fixture
def disk(tmp_path):
    """A disk of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here: not root, or a container without CAP_SYS_ADMIN")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Leave no room on a disk; returns what takes it."""
    path = folder / "filler"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * (1 << 16))
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return path


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_full_disk_stops_no_reader_and_all_goes_on_when_there_is_room(database_url, disk, tmp_path):
    (tmp_path / "feed").mkdir()
    (disk / "feed").symlink_to(tmp_path / "feed")  # who sends the files has room
    url = f"sqlite:///{disk / 'nowcast.db'}"
    with Installation(disk, url, logs=tmp_path) as place:
        worker = place.start()
        place.wait_for_news()
        with place.serve() as address, Asker(address) as asker:
            filler = fill(disk)
            place.wait(lambda: "its disk has room" in place.told(worker), "the error")
            before = asker.count
            place.wait(lambda: asker.count > before + 100, "answers on a full disk")
            place.wait_for_time(minutes(10))
            filler.unlink()
            place.wait_for_news()
        assert worker.exitcode is None, "it went on unaided"
        assert asker.failed == []
        assert place.examine(once=False) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_with_the_database_elsewhere_forecasts_go_on_when_the_data_folder_is_full(database_url, disk, tmp_path):
    (tmp_path / "feed").mkdir()
    (disk / "feed").symlink_to(tmp_path / "feed")
    with Installation(disk, database_url, logs=tmp_path) as place:
        worker = place.start()
        place.wait_for_news()
        filler = fill(disk)
        place.wait_for_news()
        place.wait(lambda: "archive failed" in place.told(worker), "the archive's error")
        assert "make room" in place.told(worker)
        filler.unlink()
        place.wait_for_news()
        assert worker.exitcode is None
        assert place.examine() == []


def test_who_keeps_without_a_cap_is_told_before_the_disk_is_full(disk, tmp_path):
    url = f"sqlite:///{tmp_path / 'n.db'}"
    upgrade(url)
    store = Store.open(url)
    feed, now = Intake(disk / "feed", store, FrameCache()), BASE

    def told():
        nonlocal now
        now += timedelta(hours=1)
        with capture_logs() as logs:
            keeper.prune(feed, now)
        (found,) = (
            f for f in examine(Settings(data_dir=disk / "none" / "yet", database_url=url)) if f.subject == "disk"
        )
        return found.state, [line["event"] for line in logs]

    keeper = Keeper(store, Keeps.of(Settings()), disk / "archive")
    assert told() == ("ok", [])
    (disk / "much").write_bytes(bytes(15 * 2**20))
    assert told() == ("scarce", ["disk nearly full"])
    assert told() == ("scarce", ["disk nearly full"])
    (disk / "much").unlink()
    assert told() == ("ok", [])
    store.close()


def test_a_restore_onto_a_full_disk_changes_nothing_and_does_not_blame_the_backup(disk, tmp_path):
    good, url = f"sqlite:///{tmp_path / 'n.db'}", f"sqlite:///{disk / 'n.db'}"
    for each in (good, url):
        upgrade(each)
    backup(good, tmp_path / "a.backup")
    filler = fill(disk)
    with pytest.raises(StoreError, match=r"disk: .*; make room there for two more of .*a\.backup"):
        restore(url, tmp_path / "a.backup")
    filler.unlink()
    Store.open(url).close()
    restore(url, tmp_path / "a.backup")
    assert [path.name for path in disk.glob(".restore*")] == []


def test_simulated_files_that_cannot_be_written_are_told_and_what_is_there_serves(disk, tmp_path):
    hand = Hand()
    cycle = make_cycle(f"sqlite:///{tmp_path / 'n.db'}", disk / "feed", hand)
    for age in (5, 0):
        write(disk / "feed", BASE - minutes(age))
    filler = fill(disk)
    with pytest.raises(NoRoom, match="make room on its disk"):
        list(write_files(disk / "feed", BASE - timedelta(minutes=15), BASE))
    simulate(cycle)
    assert list(disk.rglob("*.part")) == []
    settle(cycle)
    assert cycle.store.newest("alps").base_time == BASE
    assert cycle.feed.refused == {}
    filler.unlink()
    assert len(list(write_files(disk / "feed", BASE - timedelta(minutes=10), BASE))) >= 2
    cycle.close()
    cycle.store.close()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_that_cannot_be_parsed_for_want_of_room_is_not_refused(database_url, disk, tmp_path, monkeypatch):
    hand = Hand()
    cycle = make_cycle(database_url, tmp_path / "feed", hand)
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    sandbox = Sandbox(1)
    cycle.feed.cache = FrameCache(read=sandbox.read, close=sandbox.close)
    for age in (5, 0):
        write(tmp_path / "feed", BASE - minutes(age))
    filler = fill(disk)
    settle(cycle)
    assert cycle.store.newest("alps") is None
    assert cycle.feed.refused == {}
    filler.unlink()
    settle(cycle)
    run = cycle.store.newest("alps")
    assert (run.base_time, run.flags) == (BASE, ("frames-missing",)), "not taken for a stuck or repeated frame"
    cycle.close()
    cycle.store.close()


def test_a_full_disk_for_logs_is_no_reason_to_stop(monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        with pytest.raises(OSError, match="No space"):
            print("lost" * 10_000, file=full, flush=True)
        monkeypatch.setattr("sys.stderr", full)
        log = Patient()
        log.write("lost" * 10_000)
        log.flush()
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
