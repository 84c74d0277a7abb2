"""Which records of frames go: those whose files are gone, however many others stay; on SQLite and PostgreSQL."""

from datetime import timedelta

from sqlalchemy import insert

from nowcast.store import retention
from nowcast.store.tables import frames
from tests.nowcast.stored import T0


def add_frames(store, paths, time=T0):
    rows = [
        {"source": "knmi", "valid_time": time, "digest": f"{n}", "path": str(path), "received_at": time}
        for n, path in enumerate(paths)
    ]
    store._db.write(lambda c: c.execute(insert(frames), rows))


def test_files_that_stay_do_not_hide_those_that_are_gone(store, tmp_path):
    """More than one page of files that are still there came first: nothing behind them ever went."""
    there = [tmp_path / f"{n}" for n in range(1100)]
    for path in there:
        path.touch()
    add_frames(store, [*there, *(tmp_path / f"gone-{n}" for n in range(2500))])
    add_frames(store, [tmp_path / "gone-but-young"], T0 + timedelta(days=2))
    assert store.retention.prune(T0 + timedelta(days=1)).frames == 2500
    assert store.known_paths("knmi") == {*map(str, there), str(tmp_path / "gone-but-young")}
    assert store.retention.prune(T0 + timedelta(days=1)).frames == 0


def test_frames_go_in_pieces(store, tmp_path, monkeypatch):
    monkeypatch.setattr(store.retention, "_remove_frames", lambda ids: pieces.append(len(ids)) or len(ids))
    pieces = []
    add_frames(store, [tmp_path / f"{n}" for n in range(2 * retention._GATHERED + 5)])
    store.retention.prune(T0 + timedelta(days=1))
    assert pieces == [retention._GATHERED, retention._GATHERED, 5]


def test_a_file_that_cannot_be_looked_at_may_be_there(store, tmp_path):
    (tmp_path / "file").touch()
    add_frames(store, [tmp_path / ("x" * 300), tmp_path / "file" / "beneath"])
    assert store.retention.prune(T0 + timedelta(days=1)).frames == 1
    assert store.known_paths("knmi") == {str(tmp_path / ("x" * 300))}
