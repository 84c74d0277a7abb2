"""The database: engines for SQLite and PostgreSQL, the three ways to use them, and migrations.

Reads of one statement run without a transaction, reads of several in a snapshot, writes in a transaction that takes
the write lock first (SQLite `BEGIN IMMEDIATE`: an upgrade from read to write would fail at once).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nowcast.errors import StoreError, StoreNotMigrated

MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"
_PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
# Only while the database is empty: later they change nothing, yet auto_vacuum would wait for the write lock.
_PRAGMAS_OF_EMPTY = ("busy_timeout=10000", "page_size=8192", "auto_vacuum=INCREMENTAL")
# A client that froze inside a transaction keeps its locks, the lease's among them, until the server ends its session.
_POSTGRES_OPTIONS = "-c idle_in_transaction_session_timeout=15s"
# Many rows are one statement and not a pipeline: a client that froze within a pipeline is never idle for the server.
_POSTGRES_ROWS = 32
_WAL_RESET_BUG = ((3, 7, 0), (3, 51, 2))
_MIGRATION_LOCK = 0x6E6F7764
_STATES = (OperationalError, InterfaceError, InternalError, NotSupportedError, PoolTimeout)
"""What says how the server or the file is, not what we asked for."""
_NEWER = "written by a newer version; install it or restore an older backup"


@dataclass(frozen=True)
class Modes:
    """One pool of connections, used in three ways.

    Attributes
    ----------
    single
        One reading statement, no transaction.
    snapshot
        Several reading statements that see the same state.
    write
        A writing transaction.
    """

    single: Engine
    snapshot: Engine
    write: Engine

    @classmethod
    def of(cls, engine: Engine) -> "Modes":
        """Return the modes of an engine of `open_engine`."""
        if engine.dialect.name == "sqlite":
            begins: tuple[str | None, ...] = (None, "DEFERRED", "IMMEDIATE")
            return cls(*(engine.execution_options(sqlite_begin=begin) for begin in begins))
        return cls(
            engine,
            engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
            engine.execution_options(isolation_level="READ COMMITTED"),
        )


def parse_url(url: str) -> URL:
    """Return the SQLAlchemy URL, with psycopg 3 for PostgreSQL.

    Raises
    ------
    StoreError
        When it cannot be used; the message names no password.
    """
    remedy = "give sqlite:////path/to/file.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"the database URL cannot be read; {remedy}") from error
    if parsed.drivername in ("postgres", "postgresql"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise StoreError(f"database {url}: a database in memory cannot be shared by processes; {remedy}")
        return parsed
    raise StoreError(f"database {_shown(parsed)}: {parsed.drivername} is not supported; {remedy}")


def open_engine(url: str) -> Engine:
    """Return an engine; nothing is connected yet."""
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite"):
        return _open_sqlite(parsed)
    engine = create_engine(
        parsed,
        pool_size=16,
        max_overflow=32,
        insertmanyvalues_page_size=_POSTGRES_ROWS,
        connect_args={"connect_timeout": 5} | ({} if "options" in parsed.query else {"options": _POSTGRES_OPTIONS}),
        # Single reads are the hot path: what they need is the connection's own state, not set at each checkout.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
    )
    engine.dialect.use_insertmanyvalues_wo_returning = True
    return engine


def _open_sqlite(url: URL) -> Engine:
    _warn_of_wal_reset_bug()
    engine = create_engine(url, pool_size=16, max_overflow=32)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # no BEGIN by the driver: `_begin_sqlite` says which one
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    for pragma in _PRAGMAS if pages else (*_PRAGMAS_OF_EMPTY, *_PRAGMAS):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    if begin:
        connection.exec_driver_sql(f"BEGIN {begin}")


@cache
def _warn_of_wal_reset_bug() -> None:
    first, last = _WAL_RESET_BUG
    if first <= sqlite3.sqlite_version_info <= last:
        structlog.get_logger().warning(
            "sqlite-wal-reset-bug",
            version=sqlite3.sqlite_version,
            risk="rare corruption when several processes write and checkpoint at once",
            remedy="use SQLite 3.51.3 or newer, or PostgreSQL",
        )


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


@contextmanager
def told(url: URL) -> Iterator[None]:
    """Turn what the driver says about an absent, locked, full or damaged database into a `StoreError`."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        meant = _meaning(url, error)
        if meant is None:  # broken constraints and the like are bugs
            raise
        raise meant from error


def _meaning(url: URL, error: DBAPIError | PoolTimeout) -> StoreError | None:
    original: Any = getattr(error, "orig", None) or error
    said = " ".join(str(original).split())
    if type(original).__name__ in ("UndefinedTable", "UndefinedColumn") or said.startswith("no such"):
        return StoreNotMigrated(f"database {_shown(url)}: {said}; run `nowcast db upgrade`")
    if type(original).__name__ == "CheckViolation" and not original.diag.constraint_name:  # rows without a partition
        return StoreError(f"database {_shown(url)}: {said}; retention has taken that day away, it is tried again")
    if type(original).__name__ == "InsufficientPrivilege":
        return StoreError(f"database {_shown(url)}: {said}; grant that to this user")
    ended = getattr(error, "connection_invalidated", False)  # by the server, as when this process was frozen
    if ended or isinstance(error, _STATES) or type(error) is DatabaseError:
        return StoreError(f"database {_shown(url)}: {said}; {_remedy(url, said)}")
    return None


def _remedy(url: URL, said: str) -> str:
    if "canceling statement" in said:
        return "another session holds the table, as a long `pg_dump` does; it is tried again"
    if "read-only" in said or "recovery" in said:
        return "it takes no writes, as a standby does not: give the URL of the one that does, or wait for it"
    if url.drivername.startswith("postgresql"):
        return "check that the server runs and the database exists, or set NOWCAST_DATABASE_URL"
    if "locked" in said:
        return "another process has been writing for 10 s: look for one that hangs"
    return "check that the file can be written and its disk has room"


def upgrade(url: str, revision: str = "head", migrations: Path = MIGRATIONS) -> None:
    """Migrate up to a revision, in one transaction; makes the folder and file of a SQLite database.

    Raises
    ------
    StoreError
        When the database cannot be used, or a newer version has written it.
    """
    parsed = parse_url(url)
    if parsed.drivername.startswith("sqlite") and parsed.database:
        folder = Path(parsed.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"database {_shown(parsed)}: {error}; choose a folder that can be written") from error
    with _migrating(parsed, migrations) as config:
        command.upgrade(config, revision)


def downgrade(url: str, revision: str, migrations: Path = MIGRATIONS) -> None:
    """Migrate down to a revision (`base` for none), in one transaction."""
    with _migrating(parse_url(url), migrations) as config:
        command.downgrade(config, revision)


@contextmanager
def _migrating(url: URL, migrations: Path) -> Iterator[Config]:
    config = alembic_config(migrations)
    engine = open_engine(url.render_as_string(hide_password=False))
    try:
        with told(url), Modes.of(engine).write.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            yield config
    except CommandError as error:  # a revision that is not among the migrations
        raise StoreError(f"database {_shown(url)}: {error}; {_NEWER}") from error
    finally:
        engine.dispose()


def alembic_config(migrations: Path = MIGRATIONS) -> Config:
    """Return Alembic's configuration without a file: it touches no logging and works from any folder."""
    if not (migrations / "env.py").is_file():
        raise StoreError(f"no migrations in {migrations}; run from a checkout, which has the folder alembic/")
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    return config


def check_migrated(engine: Engine, migrations: Path = MIGRATIONS) -> None:
    """Raise `StoreNotMigrated` unless the database has this version's tables; makes no file."""
    scripts = ScriptDirectory.from_config(alembic_config(migrations))
    wanted = scripts.get_current_head()
    url = engine.url
    if engine.dialect.name == "sqlite" and not Path(str(url.database)).exists():
        raise StoreNotMigrated(f"database {_shown(url)} does not exist yet; run `nowcast db upgrade`")
    with told(url), Modes.of(engine).snapshot.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found != wanted:
        state: Any = f"at revision {found}" if found else "not migrated"
        known = not found or found in {script.revision for script in scripts.walk_revisions()}
        remedy = "run `nowcast db upgrade`" if known else _NEWER
        raise StoreNotMigrated(f"database {_shown(url)} is {state}, this version needs {wanted}; {remedy}")
