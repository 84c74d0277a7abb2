"""Backup and restore of the embedded database, both while workers and APIs run.

SQLite's online backup copies one snapshot in one step: in WAL mode it keeps no writer waiting, and what is written
meanwhile is not in it. A restore is one write transaction into the live file, so every reader sees the state before or
the state after. Run ids and the lease's token name one publication and one holder for good, so they go on from where
the live database is: no cache serves old pixels for a restored id, and a worker from before stands by and asks again.
PostgreSQL has tools of its own for this (docs/operations.md).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from nowcast.disk import make_folder
from nowcast.errors import ConfigError, StoreError
from nowcast.store.database import parse_url, upgrade

TABLES = ("runs", "observations")
GAP = 1_000_000
"""Ids left out after a restore: more than are given while it runs."""
NOT_WRITTEN = ("SQLITE_FULL", "SQLITE_READONLY")
"""What SQLite says of where it writes to, and not of what it reads."""


def backup(url: str, target: Path) -> int:
    """Write a backup and return its size in bytes; the file appears whole and checked, or not at all.

    Raises
    ------
    ConfigError
        For PostgreSQL, with the command to use.
    StoreError
        When the database cannot be read or the file cannot be written.
    """
    live = _file(url, "pg_dump --format=custom")
    if not live.exists():
        raise StoreError(f"database {live} does not exist; nothing to back up")
    if target.resolve() == live.resolve():
        raise StoreError(f"backup {target}: that is the database itself; name another file")
    with _part(target) as part, closing(_open(live)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode=DELETE")
        _require_sound(copy, part)
    return target.stat().st_size


def restore(url: str, source: Path) -> None:
    """Put a backup in the live database's place, and migrate it when it is of an older version.

    Raises
    ------
    StoreError
        When the backup is damaged or of a newer version, or the database cannot be written; the live database is as
        it was.
    """
    live = _file(url, "pg_restore --clean --if-exists")
    if not source.is_file():
        raise StoreError(f"backup {source} does not exist; name the file that `nowcast backup` wrote")
    make_folder(live.parent)
    work = live.with_name(f".restore-{uuid4().hex[:8]}.db")
    try:
        with closing(_open(source)) as backed_up, closing(sqlite3.connect(work)) as copy:
            backed_up.backup(copy, pages=-1)
            _require_sound(copy, source)
        _migrate(work, url, source)
        with closing(sqlite3.connect(work)) as copy:
            if live.exists():
                _go_on_from(copy, live)
            copy.execute("PRAGMA journal_mode=WAL")
        with closing(sqlite3.connect(work)) as copy, closing(sqlite3.connect(live, timeout=30)) as database:
            copy.backup(database, pages=-1)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in NOT_WRITTEN:
            remedy = f"make room there for two more of {source}, or let this user write there"
            raise StoreError(f"{live.parent}: {error}; {remedy}") from error
        raise StoreError(f"backup {source}: {error}; take another one") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            work.with_name(work.name + suffix).unlink(missing_ok=True)


def _migrate(work: Path, url: str, source: Path) -> None:
    try:
        upgrade(parse_url(url).set(database=str(work)).render_as_string())
    except StoreError as error:
        raise StoreError(f"backup {source}: {error}") from error


def _file(url: str, instead: str) -> Path:
    parsed = parse_url(url)
    if not parsed.drivername.startswith("sqlite"):
        raise ConfigError(f"this is for the embedded database; for PostgreSQL use `{instead}`, see docs/operations.md")
    return Path(str(parsed.database))


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"backup {target}: {error}; choose a folder that exists and has room") from error
    finally:
        part.unlink(missing_ok=True)


def _require_sound(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (told,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        connection.execute("SELECT count(*) FROM runs").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{path} is no usable database of nowcast: {error}; take another one") from error
    if told != "ok":
        raise StoreError(f"{path} is damaged: {told}; take another one")


def _go_on_from(copy: sqlite3.Connection, live: Path) -> None:
    """Let ids and the lease's token in the copy go on from where the live database is."""
    with closing(_open(live)) as database:
        ids = dict(database.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        token = database.execute("SELECT max(token) FROM leases").fetchone()[0] or 0
    with copy:
        for table in TABLES:
            copy.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (ids.get(table, 0) + GAP, table)
            )
        copy.execute("UPDATE leases SET holder = '', token = max(token, ?) + 1", (token,))
