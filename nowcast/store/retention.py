"""What is kept and for how long. Readers never wait: SQLite by small deletes, PostgreSQL by detaching whole days.

The newest run of each region stays however old it is. A reader that holds a run which goes is told so (`NoRun`).
"""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Executable, bindparam, delete, func, select, text

from nowcast.store.connections import Connections
from nowcast.store.partitions import NAME
from nowcast.store.tables import checks, frames, observations, refusals, regions, runs, scores

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
_OLDEST_RUN = select(func.min(runs.c.base_time)).where(runs.c.id.not_in(_POINTERS))
_NEWEST_TIMES = select(runs.c.base_time).where(runs.c.id.in_(_POINTERS))
_OLD_OBSERVATIONS = (
    select(observations.c.id).where(observations.c.valid_time < bindparam("before")).limit(bindparam("batch"))
)
_OLD_FRAMES = select(frames.c.id, frames.c.path).where(frames.c.valid_time < bindparam("before")).limit(_GATHERED)
_DELETE_RUNS = delete(runs).where(runs.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_OBSERVATIONS = delete(observations).where(observations.c.id.in_(bindparam("ids", expanding=True)))
_DELETE_FRAMES = delete(frames).where(frames.c.id.in_(bindparam("ids", expanding=True)))
_PARTITIONS = text(
    "SELECT relname AS name, inhdetachpending AS pending FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
    " WHERE inhparent = CAST('chunks' AS regclass) ORDER BY relname"
)


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
        """Return the bytes in use: the file less its free pages, or the whole PostgreSQL database."""
        if self._db.dialect == "postgresql":
            size = text("SELECT pg_database_size(current_database())")
            return int(self._db.read(lambda c: c.execute(size).scalar_one()))
        return self._pages("page_count") - self._pages("freelist_count")

    def _pages(self, pragma: str) -> int:
        def work(connection: Connection) -> int:
            count = connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            return int(count) * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())

        return self._db.read(work)

    def prune(self, before: datetime, most_bytes: int | None = None) -> Pruned:
        """Remove runs, observations, refusals and checks of before a time; then the oldest runs beyond `most_bytes`."""
        days = self._drop_days(before)
        gone = self._runs_before(before)
        while most_bytes is not None and self.size() > most_bytes:
            oldest = self._db.read(lambda c: c.execute(_OLDEST_RUN).scalar())
            if oldest is None or (more := self._oldest(oldest)) == 0:
                break
            gone += more
        seen = self._in_batches(_OLD_OBSERVATIONS, _DELETE_OBSERVATIONS, before)
        self._db.write(lambda c: c.execute(delete(refusals).where(refusals.c.slot < before)))
        self._db.write(lambda c: c.execute(delete(checks).where(checks.c.checked_at < before)))
        self._vacuum()
        return Pruned(gone, seen, self._frames_before(before), days)

    def prune_scores(self, before: datetime) -> int:
        """Remove the scores of runs of before a time; they are small, and kept longer."""
        return int(self._db.write(lambda c: c.execute(delete(scores).where(scores.c.base_time < before))).rowcount)

    def _oldest(self, base_time: datetime) -> int:
        """Remove the runs of the oldest hour, or day with PostgreSQL."""
        if self._db.dialect == "postgresql":
            day = base_time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            before = day + timedelta(days=1)
            self._drop_days(before)
        else:
            before = base_time + timedelta(hours=1)
        return self._runs_before(before)

    def _runs_before(self, before: datetime) -> int:
        return self._in_batches(_OLD_RUNS, _DELETE_RUNS, before)

    def _in_batches(self, old: Executable, remove: Executable, before: datetime) -> int:
        def work(connection: Connection) -> int:
            ids = list(connection.execute(old, {"before": before, "batch": BATCH}).scalars().all())
            if ids:
                connection.execute(remove, {"ids": ids})
            return len(ids)

        return _until_none(lambda: self._db.write(work))

    def _frames_before(self, before: datetime) -> int:
        """Remove the records of frames whose files are gone: those that are there would only arrive again."""
        rows = self._db.read(lambda c: c.execute(_OLD_FRAMES, {"before": before}).all())
        ids = [row.id for row in rows if not Path(row.path).exists()]
        if ids:
            self._db.write(lambda c: c.execute(_DELETE_FRAMES, {"ids": ids}))
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
            if NAME.fullmatch(row.name) and row.name < limit and row.name not in needed:
                self._drop_day(row.name, pending=row.pending)
                dropped += 1
        return dropped

    def _drop_day(self, name: str, *, pending: bool) -> None:
        # CONCURRENTLY: a plain DETACH, and a DROP of an attached partition, lock out every reader of `chunks`. It takes
        # two transactions of its own, so it runs in autocommit; one that was interrupted between them is finished.
        how = "FINALIZE" if pending else "CONCURRENTLY"
        self._db.read(lambda c: c.exec_driver_sql(f"ALTER TABLE chunks DETACH PARTITION {name} {how}"))
        self._db.read(lambda c: c.exec_driver_sql(f"DROP TABLE {name}"))


def _until_none(step: Callable[[], int]) -> int:
    total = 0
    while done := step():
        total += done
        time.sleep(PAUSE)  # let others write
    return total
