"""What is kept and for how long. Readers never wait: SQLite by small deletes, PostgreSQL by detaching whole days.

The newest run of each region stays however old it is. A reader that holds a run which goes is told so (`NoRun`).
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import Connection, Executable, bindparam, delete, func, select, text

from nowcast.store.connections import Connections
from nowcast.store.tables import checks, frames, observations, refusals, regions, runs, scores

log = structlog.get_logger()

BATCH = 16
"""Rows of runs or observations per transaction: each takes its chunks along, and the write lock for some 20 ms."""
PAGES = 512
PAUSE = 0.005
_GATHERED = 1000

_POINTERS = select(regions.c.newest_run).where(regions.c.newest_run.is_not(None))
_OLD_RUNS = (
    select(runs.c.id)
    .where(runs.c.base_time < bindparam("before"), runs.c.id.not_in(_POINTERS))
    .order_by(runs.c.base_time)
    .limit(bindparam("batch"))
)
_OLDEST = (
    select(func.min(runs.c.base_time)).where(runs.c.id.not_in(_POINTERS)),
    select(func.min(observations.c.valid_time)),
)
_NEWEST_TIMES = select(runs.c.base_time).where(runs.c.id.in_(_POINTERS))
_OLD_OBSERVATIONS = (
    select(observations.c.id).where(observations.c.valid_time < bindparam("before")).limit(bindparam("batch"))
)
_OLD_FRAMES = (
    select(frames.c.id, frames.c.path)
    .where(frames.c.id > bindparam("after"), frames.c.valid_time < bindparam("before"))
    .order_by(frames.c.id)
    .limit(_GATHERED)
)
_DELETE_RUNS = delete(runs).where(runs.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_OBSERVATIONS = delete(observations).where(observations.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_FRAMES = delete(frames).where(frames.c.id.in_(bindparam("ids", expanding=True)))
# What a prune before has left comes first, since only one partition may be pending: those, and tables detached (NULL).
_PARTITIONS = text(
    "SELECT relname AS name, inhdetachpending AS pending FROM pg_class LEFT JOIN pg_inherits ON pg_class.oid = inhrelid"
    " WHERE relkind = 'r' AND relname ~ '^chunks_[0-9]{8}$' AND relnamespace ="
    " (SELECT relnamespace FROM pg_class WHERE oid = CAST('chunks' AS regclass))"
    " ORDER BY inhdetachpending IS NOT FALSE DESC, relname"
)
# Deleted observations leave room that is used again, yet their table's files stay as large: what is in it counts.
_SIZE = text(
    "SELECT pg_database_size(current_database()) - pg_total_relation_size('observed_chunks')"
    " + (SELECT coalesce(sum(pg_column_size(blob)), 0) + 100 * count(*) FROM observed_chunks)"
)
_PATIENCE = "SET statement_timeout = '5s'"
"""Who waits for a long reader (`pg_dump`) keeps others waiting behind it: new partitions, and readers of `runs`."""


@dataclass(frozen=True)
class Pruned:
    """How many rows went."""

    runs: int = 0
    observations: int = 0
    frames: int = 0
    days: int = 0


class Retention:
    """Removes what is old, and gives its room back."""

    def __init__(self, connections: Connections) -> None:
        self._db = connections

    def size(self) -> int:
        """Return the bytes in use: the file less free pages; the PostgreSQL database less what observations left."""
        if self._db.dialect == "postgresql":
            return int(self._db.read(lambda c: c.execute(_SIZE).scalar_one()))
        return self._pages("page_count") - self._pages("freelist_count")

    def _pages(self, pragma: str) -> int:
        def work(connection: Connection) -> int:
            count = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            return int(count) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

        return self._db.read(work)

    def prune(self, before: datetime, most_bytes: int | None = None) -> Pruned:
        """Remove runs, observations, refusals and checks of before a time; then the oldest beyond `most_bytes`."""
        days = self._drop_days(before)
        gone, seen = self._before(before)
        while most_bytes is not None and (size := self.size()) > most_bytes:
            more = self._oldest()
            if not any(more):
                log.warning("size-cap-exceeded", bytes=size, cap=most_bytes, remedy="raise NOWCAST_KEEP_GB")
                break
            gone, seen = gone + more[0], seen + more[1]
        self._db.write(lambda c: c.execute(delete(refusals).where(refusals.c.slot < before)))
        self._db.write(lambda c: c.execute(delete(checks).where(checks.c.checked_at < before)))
        self._vacuum()
        return Pruned(gone, seen, self._frames_before(before), days)

    def prune_scores(self, before: datetime) -> int:
        """Remove the scores of runs of before a time; they are small, and kept longer."""
        return int(self._db.write(lambda c: c.execute(delete(scores).where(scores.c.base_time < before))).rowcount)

    def _oldest(self) -> tuple[int, int]:
        """Remove the runs and observations of the oldest hour, or day with PostgreSQL."""
        times = self._db.read(lambda c: [c.execute(query).scalar() for query in _OLDEST])
        oldest = min((t for t in times if t is not None), default=None)
        if oldest is None:
            return 0, 0
        if self._db.dialect == "postgresql":
            day = oldest.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            before = day + timedelta(days=1)
            self._drop_days(before)
        else:
            before = oldest + timedelta(hours=1)
        return self._before(before)

    def _before(self, before: datetime) -> tuple[int, int]:
        """Remove runs and observations of before a time; return how many of each."""
        return (
            self._in_batches(_OLD_RUNS, _DELETE_RUNS, before),
            self._in_batches(_OLD_OBSERVATIONS, _DELETE_OBSERVATIONS, before),
        )

    def _in_batches(self, old: Executable, remove: Executable, before: datetime) -> int:
        def work(connection: Connection) -> int:
            ids = list(connection.execute(old, {"before": before, "batch": BATCH}).scalars().all())
            if ids:
                connection.execute(remove, {"ids": ids})
            return len(ids)

        return _until_none(lambda: self._db.write(work))

    def _frames_before(self, before: datetime) -> int:
        """Remove the records of frames whose files are gone: those that are there would only arrive again."""
        removed, page = 0, {"before": before, "after": 0}
        while rows := self._db.read(lambda c: c.execute(_OLD_FRAMES, page).all()):
            page["after"] = rows[-1].id  # on, whether they go or stay: what stays would hide all that follows
            removed += self._remove_frames([row.id for row in rows if _is_gone(row.path)])
        return removed

    def _remove_frames(self, ids: list[int]) -> int:
        if ids:
            self._db.write(lambda c: c.execute(_DELETE_FRAMES, {"ids": ids}))
            time.sleep(PAUSE)
        return len(ids)

    def _vacuum(self) -> None:
        """Give free pages back to the disk, a few at a time, and what readers allow of the write-ahead log."""
        if self._db.dialect == "postgresql":
            return

        def some(connection: Connection) -> int:
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
            if free:
                # It works a page per step and gives no rows, so the driver itself must be asked for all of them.
                driver = connection.connection.driver_connection
                if isinstance(driver, sqlite3.Connection):
                    driver.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()
            left = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
            return free - left

        _until_none(lambda: self._db.read(some))
        self._db.read(lambda c: c.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").fetchall())

    def _drop_days(self, before: datetime) -> int:
        """Detach and drop the partitions of whole days before a time, but for those that a newest run lies in."""
        if self._db.dialect != "postgresql":
            return 0
        needed = {f"chunks_{t:%Y%m%d}" for t in self._db.read(lambda c: c.execute(_NEWEST_TIMES).scalars().all())}
        limit, dropped = f"chunks_{before.astimezone(UTC):%Y%m%d}", 0
        for row in self._db.read(lambda c: c.execute(_PARTITIONS).all()):
            if row.pending or (row.name < limit and row.name not in needed):
                self._drop_day(row.name, row.pending)
                dropped += 1
        return dropped

    def _drop_day(self, name: str, pending: bool | None) -> None:
        # CONCURRENTLY: a plain DETACH, and a DROP of an attached partition, lock out every reader of `chunks`. It takes
        # two transactions of its own, so it runs in autocommit; one that was interrupted between them is finished.
        def work(connection: Connection) -> None:
            connection.detach()  # from the pool: its patience goes with it
            connection.exec_driver_sql(_PATIENCE)
            if pending is not None:
                how = "FINALIZE" if pending else "CONCURRENTLY"
                connection.exec_driver_sql(f"ALTER TABLE chunks DETACH PARTITION {name} {how}")
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")

        self._db.read(work)


def _is_gone(path: str) -> bool:
    """Return whether a file is gone; one that cannot be looked at may be there."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _until_none(step: Callable[[], int]) -> int:
    total = 0
    while done := step():
        total += done
        time.sleep(PAUSE)  # let others write
    return total
