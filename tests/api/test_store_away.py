"""What the API says while its database is away, and after it is back."""

import httpx
import psycopg
import pytest

from api.main import create_app
from nowcast.config import Settings
from nowcast.errors import StoreError, StoreNotMigrated
from tests.api.conftest import INSIDE

pytestmark = pytest.mark.anyio


def test_it_does_not_start_without_its_tables(database_url):
    with pytest.raises(StoreNotMigrated, match="nowcast db upgrade"):
        create_app(Settings(database_url=database_url))


def test_it_does_not_start_without_its_database():
    with pytest.raises(StoreError, match="check that the server runs"):
        create_app(Settings(database_url="postgresql://postgres@127.0.0.1:1/none"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_away_is_503_and_the_process_lives(client, database_url, postgres_url, capsys):
    name = database_url.rsplit("/", 1)[1]
    with psycopg.connect(database_url.replace(name, "postgres"), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            for path in ("/v1/forecast", "/readyz", "/v1/runs"):
                got = await client.get(path, params=INSIDE)
                assert got.status_code == 503, got.text
                assert got.headers["content-type"] == "application/problem+json"
                assert int(got.headers["retry-after"]) > 0
                assert "postgres" not in got.text, "which server, user and database is nobody's business"
            assert "not currently accepting connections" in capsys.readouterr().out
            assert (await client.get("/healthz")).status_code == 200
            assert "nowcast_store_up 0.0" in (await client.get("/metrics")).text
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert (await client.get("/v1/forecast", params=INSIDE)).status_code == 200
    assert isinstance((await client.get("/readyz")).json()["newest_base_times"], dict)
    assert (await client.get("/readyz")).status_code == httpx.codes.OK
