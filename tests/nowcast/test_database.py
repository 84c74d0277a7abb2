"""Migrations, and databases that are away, foreign or not migrated."""

import logging
import sqlite3
from contextlib import closing

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import NotSupportedError

from nowcast.errors import StoreError, StoreNotMigrated
from nowcast.store.database import (
    Modes,
    _warn_of_wal_reset_bug,
    check_migrated,
    downgrade,
    open_engine,
    parse_url,
    told,
    upgrade,
)
from nowcast.store.partitions import NAME, ensure_partition
from nowcast.store.store import Store
from nowcast.store.tables import Base
from tests.nowcast.stored import T0, fields, marks, region, run


@pytest.fixture
def engine(database_url):
    upgrade(database_url)
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_the_metadatas(engine):
    ensure_partition(Modes.of(engine).write, T0)

    def named(name, kind, _parents):
        return not (kind == "table" and name and NAME.fullmatch(name))

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": named})
        assert compare_metadata(context, Base.metadata) == []


def test_down_and_up_again_with_data(database_url):
    for mark in (1, 2):
        upgrade(database_url)
        upgrade(database_url)  # nothing to do
        store = Store.open(database_url)
        store.put_regions([region()])
        store.publish(run(mark=mark), fields(mark))
        assert marks(store.fields(store.newest("alps"))) == {mark}
        store.close()
        downgrade(database_url, "base")
        with pytest.raises(StoreNotMigrated, match=r"is not migrated, .* run `nowcast db upgrade`"):
            Store.open(database_url)


def test_migrating_leaves_logging_alone_and_works_elsewhere(database_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = logging.getLogger().handlers[:], logging.getLogger().level
    upgrade(database_url)
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_another_revision_is_told(engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreNotMigrated, match=r"is at revision 9999, .*written by a newer version; install it"):
        check_migrated(engine)


def test_a_database_of_a_newer_version_is_not_migrated(engine, database_url):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"9999.*written by a newer version; install it"):
        upgrade(database_url)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_server_that_takes_no_writes_is_told(database_url, engine):
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on"))
    store = Store(open_engine(database_url))
    try:
        with pytest.raises(StoreError, match="read-only transaction; it takes no writes, as a standby"):
            store.put_regions([region()])
    finally:
        store.close()
        with engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {engine.url.database} RESET default_transaction_read_only"))


def test_a_standby_is_told():
    said = psycopg.errors.FeatureNotSupported("cannot set transaction read-write mode during recovery")
    with pytest.raises(StoreError, match="during recovery; it takes no writes"), told(parse_url("postgresql://x/y")):
        raise NotSupportedError("BEGIN", None, said)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_user_without_rights_is_told(database_url, engine):
    guest = f"{engine.url.database}_guest"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE ROLE {guest} LOGIN"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {guest}"))
    store = Store(open_engine(database_url.replace("postgres@", f"{guest}@")))
    try:
        with pytest.raises(StoreError, match="permission denied for table regions; grant that to this user"):
            store.regions()
    finally:
        store.close()
        with engine.connect() as connection:
            connection.execute(text(f"DROP OWNED BY {guest}"))
            connection.execute(text(f"DROP ROLE {guest}"))


def test_tables_that_vanish_are_told(engine):
    store = Store(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE checks"))
    with pytest.raises(StoreNotMigrated, match="run `nowcast db upgrade`"):
        store.checks()


def test_chunks_on_postgresql_are_partitioned_by_day_and_not_compressed_twice(engine):
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no partitions")
    for _ in range(2):
        ensure_partition(Modes.of(engine).write, T0)
    query = """SELECT c.relname, a.attstorage::text, c.relispartition FROM pg_class c JOIN pg_attribute a
    ON a.attrelid = c.oid WHERE c.relname LIKE 'chunks%' AND a.attname = 'blob' AND c.relkind IN ('r', 'p')
    ORDER BY 1"""
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    assert found == [("chunks", "e", False), ("chunks_20260301", "e", True)]


def test_sqlite_is_set_up(tmp_path):
    url = f"sqlite:///{tmp_path / 'deep' / 'er' / 'nowcast.db'}"
    upgrade(url)
    engine = open_engine(url)
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 10000,
        "page_size": 8192,
        "auto_vacuum": 2,
    }
    with engine.connect() as connection:
        assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted
    engine.dispose()


def test_a_server_that_is_away_is_told_without_its_password():
    with pytest.raises(StoreError, match=r"nobody:\*\*\*@127.0.0.1:1/x: .*check that the server runs") as caught:
        Store.open("postgresql://nobody:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, StoreNotMigrated)


def test_a_missing_file_is_not_made(tmp_path):
    file = tmp_path / "nowcast.db"
    with pytest.raises(StoreNotMigrated, match="does not exist yet; run `nowcast db upgrade`"):
        Store.open(f"sqlite:///{file}")
    assert not file.exists()


def test_a_file_that_is_no_database_is_told(tmp_path):
    file = tmp_path / "nowcast.db"
    file.write_bytes(b"not a database" * 1000)
    for use in (Store.open, upgrade):
        with pytest.raises(StoreError, match="file is not a database"):
            use(f"sqlite:///{file}")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="choose a folder that can be written"):
        upgrade(f"sqlite:///{tmp_path / 'file' / 'nowcast.db'}")


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://host/x", "sqlite://", "sqlite:///:memory:"])
def test_urls_that_cannot_be_used_are_told(url):
    with pytest.raises(StoreError, match="give sqlite:////path"):
        parse_url(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_each_way_to_say_postgresql(scheme):
    assert parse_url(f"{scheme}://u@h/d").drivername == "postgresql+psycopg"


def test_no_migrations_are_told(tmp_path):
    with pytest.raises(StoreError, match="run from a checkout"):
        upgrade(f"sqlite:///{tmp_path / 'x.db'}", migrations=tmp_path)


def test_a_restarted_server_costs_no_call(database_url):
    """All connections of the pool die; the next reads and writes go through."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has no server")
    upgrade(database_url)
    store = Store.open(database_url)
    store.put_regions([region()])
    kill = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    with psycopg.connect(database_url, autocommit=True) as admin:
        for use in (lambda: store.newest("alps"), lambda: store.publish(run(), fields()), store.runs):
            admin.execute(kill)
            use()
    assert len(store.runs()) == 1
    store.close()


def test_the_wal_reset_bug_is_told_once(tmp_path, monkeypatch, capsys):
    _warn_of_wal_reset_bug.cache_clear()
    for version, times in (((3, 40, 1), 1), ((3, 51, 3), 0)):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        _warn_of_wal_reset_bug.cache_clear()
        for _ in range(2):
            open_engine(f"sqlite:///{tmp_path / 'x.db'}").dispose()
        assert capsys.readouterr().out.count("sqlite-wal-reset-bug") == times


def test_a_locked_database_is_told(tmp_path):
    url = f"sqlite:///{tmp_path / 'nowcast.db'}"
    upgrade(url)
    engine = open_engine(url)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=50").close())
    store = Store(engine)
    with closing(sqlite3.connect(tmp_path / "nowcast.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.put_regions([region()])
        assert store.regions() == []  # reads go on
    store.close()
