"""Fixtures for every test: databases, and real files where there are some."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

SERVER = "postgresql://postgres@127.0.0.1:5432"


@pytest.fixture(scope="session")
def postgres_url():
    """A PostgreSQL database of this test session's own."""
    import psycopg

    name = f"nowcast_test_{uuid4().hex[:12]}"
    try:
        admin = psycopg.connect(f"{SERVER}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL server answers at {SERVER}: {' '.join(str(error).split())}")
    with admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield f"{SERVER}/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, not migrated: one test for SQLite, one for PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nowcast.db'}"
    import psycopg

    url = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def store(database_url):
    """A store on an empty database: one test for SQLite, one for PostgreSQL. Who needs regions puts them there."""
    from nowcast.store.database import upgrade
    from nowcast.store.store import Store

    upgrade(database_url)
    opened = Store.open(database_url)
    yield opened
    opened.close()


def find_shared() -> Path | None:
    """The folder of real files: `NOWCAST_SHARED`, or `shared` beside this checkout or above it."""
    stated = os.environ.get("NOWCAST_SHARED")
    candidates = [Path(stated)] if stated else [parent / "shared" for parent in Path(__file__).resolve().parents]
    return next((folder for folder in candidates if (folder / "data").is_dir()), None)


@pytest.fixture(scope="session")
def shared_data():
    """The folder with `raw` and `sequences`; tests that need it are skipped where it is not."""
    folder = find_shared()
    if folder is None:
        pytest.skip("no shared/data beside the checkout (or in NOWCAST_SHARED): real files are not part of it")
    return folder / "data"


@pytest.fixture
def anyio_backend():
    """Asynchronous tests run on asyncio, as the service does."""
    return "asyncio"
