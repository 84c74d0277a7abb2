"""Keys, limits, sizes, headers; several points at once, and CSV."""

import re
from datetime import timedelta

import httpx
import pytest
from typer.testing import CliRunner

from api.main import create_app
from jobs.cli import app as command
from nowcast.config import Settings
from nowcast.keys import make_key
from tests.api.served import made as served
from tests.api.served.conftest import serving
from tests.api.served.made import ZURICH, base_time

POINT = {"lat": ZURICH[0], "lon": ZURICH[1]}


def limited(sqlite_url, **settings):
    return serving(create_app(Settings(database_url=sqlite_url, **settings)))


def test_several_points_in_their_order(store, client):
    served.publish(store, base_time(), members=True)
    served.publish(store, base_time(), "lowlands")
    places = [ZURICH, served.ROTTERDAM, (47.0, 8.4)]
    body = client.post("/v1/forecast", json={"points": [{"lat": la, "lon": lo} for la, lo in places]}).json()
    assert [f["region"] for f in body["forecasts"]] == ["alps", "lowlands", "alps"]
    single = client.get("/v1/forecast", params=POINT).json()
    assert body["forecasts"][0]["minutely_5"] == single["minutely_5"]
    for points, status in (([], 422), ([POINT] * 101, 422), ([{"lat": 0, "lon": 0}], 404), ([{"lat": "x"}], 422)):
        assert client.post("/v1/forecast", json={"points": points}).status_code == status
    assert client.post("/v1/forecast", content=b"{").status_code == 422
    assert len(client.get(f"/v1/runs?limit={'9' * 5000}").json()["detail"]) < 500


def test_a_body_is_at_most_64_kib(client):
    large = b'{"points": [' + b" " * 70_000 + b"]}"
    assert client.post("/v1/forecast", content=large).status_code == 413
    unsaid = client.post("/v1/forecast", content=(large[i : i + 5000] for i in range(0, len(large), 5000)))
    assert unsaid.status_code == 413
    assert unsaid.headers["content-type"] == "application/problem+json"


def test_csv_has_a_line_per_lead(store, client):
    mean = served.rain()
    mean[3] = float("nan")
    served.publish(store, base_time(), mean=mean)
    answer = client.get("/v1/forecast.csv", params=POINT)
    lines = answer.text.splitlines()
    assert answer.headers["content-type"].startswith("text/csv")
    assert lines[0] == "start,end,rain_mean"
    assert len(lines) == 25
    assert lines[4].endswith(",")
    want = client.get("/v1/forecast", params=POINT).json()["minutely_5"]["rain_mean"]
    assert [line.split(",")[2] for line in lines[1:]] == ["" if v is None else repr(v) for v in want]


def test_every_answer_has_the_safe_headers(client):
    for path in ("/healthz", "/v1/regions", "/nothing", "/"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in client.get("/").headers["content-security-policy"]


def test_behind_tls_browsers_are_told_to_stay_with_it(client):
    """A proxy on this machine ends TLS and says so; uvicorn believes only those that it is told to."""
    assert "strict-transport-security" not in client.get("/healthz").headers
    behind = client.get("/healthz", headers={"X-Forwarded-Proto": "https"})
    assert behind.headers["strict-transport-security"] == "max-age=31536000"


def test_keys_open_their_scopes_until_they_end(store, sqlite_url):
    served.publish(store, base_time())
    reader, text = make_key("page", ("read",), served.now())
    ended, ended_text = make_key("gone", ("read", "files"), served.now())
    store.keys.add(reader)
    store.keys.add(ended)
    store.keys.end(ended.id, served.now() - timedelta(seconds=1))
    assert text.split("_", 2)[2] not in repr(store.keys.all())
    with limited(sqlite_url, require_key=True) as address, httpx.Client(base_url=address) as client:
        assert client.get("/healthz").headers["vary"] == "Authorization, X-API-Key"  # or a cache would open for all
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/regions").status_code == 401
        assert client.get("/v1/regions").headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/regions", headers={"X-API-Key": text}).status_code == 200
        assert client.get("/v1/regions", headers={"Authorization": f"Bearer {text}"}).status_code == 200
        for wrong in (ended_text, text[:-1] + ("a" if text[-1] != "a" else "b"), f"nck_{reader.id}_", "x", ""):
            assert client.get("/v1/regions", headers={"X-API-Key": wrong}).status_code == 401, wrong
        assert client.get("/v1/files/alps/20200101T0000Z.nc", headers={"X-API-Key": text}).status_code == 401
        assert client.get("/metrics", headers={"X-API-Key": text}).status_code == 401


def test_limits_answer_429_and_say_when(sqlite_url, store):
    with limited(sqlite_url, rate_per_minute=5) as address, httpx.Client(base_url=address) as client:
        answers = [client.get("/v1/palettes") for _ in range(7)]
        assert [a.status_code for a in answers] == [200] * 5 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200


def asking(app, address="203.0.113.9", root=""):
    """A client that asks from an address, through a server that has the application under a path."""
    transport = httpx.ASGITransport(app, client=(address, 50000), root_path=root)
    return httpx.AsyncClient(transport=transport, base_url=f"http://nowcast{root}")


@pytest.mark.anyio
async def test_all_addresses_of_a_network_of_ipv6_share_a_limit(sqlite_url, store):
    """Whoever has one has 2^64 of them; addresses of IPv4 that come as IPv6 are still each its own."""
    app = create_app(Settings(database_url=sqlite_url, rate_per_minute=2))

    async def statuses(*addresses):
        answers = []
        for address in addresses:
            async with asking(app, address) as client:
                answers.append((await client.get("/v1/palettes")).status_code)
        return answers

    assert await statuses("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:0:9::3") == [200, 200, 429]
    assert await statuses("2001:db8:0:1::1", "fe80::1%eth0", "::ffff:192.0.2.1", "::ffff:192.0.2.2") == [200] * 4
    assert await statuses("192.0.2.1", "192.0.2.1", "no address", "") == [200, 429, 200, 200]
    app.state.services.store.close()


@pytest.mark.anyio
async def test_scopes_hold_under_a_path_too(sqlite_url, store):
    """With uvicorn's `--root-path`, a key that may only read opened the files and the metrics."""
    reader, text = make_key("page", ("read",), served.now())
    store.keys.add(reader)
    app = create_app(Settings(database_url=sqlite_url, require_key=True))
    async with asking(app, root="/rain") as client:
        assert (await client.get("/healthz")).status_code == 200
        for path, status in (("/v1/regions", 200), ("/v1/files/alps/20200101T0000Z.nc", 401), ("/metrics", 401)):
            assert (await client.get(path, headers={"X-API-Key": text})).status_code == status, path
        endless = await client.head("/v1/events", headers={"X-API-Key": text})
        assert endless.status_code in (404, 405), "the second where the page is not built, which has all other paths"
    app.state.services.store.close()


def test_a_date_beyond_all_numbers_is_none(store, client):
    served.publish(store, base_time())
    for date in ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"):
        for path in ("/v1/forecast", "/v1/forecast.csv"):
            assert client.get(path, params=POINT, headers={"If-Modified-Since": date}).status_code == 200


def test_a_refused_body_takes_no_place(sqlite_url, store):
    with limited(sqlite_url, concurrent=1) as address, httpx.Client(base_url=address) as client:
        for _ in range(3):
            assert client.post("/v1/forecast", content=b" " * 70_000).status_code == 413
        assert client.get("/v1/palettes").status_code == 200


def test_other_origins_only_when_allowed(sqlite_url, store):
    with limited(sqlite_url, cors_origins=["https://maps.example"]) as address:
        for origin, allowed in (("https://maps.example", "https://maps.example"), ("https://evil.example", None)):
            answer = httpx.get(f"{address}/v1/palettes", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_the_command_makes_rotates_and_revokes_keys(store, sqlite_url, monkeypatch):
    monkeypatch.setenv("NOWCAST_DATABASE_URL", sqlite_url)
    run = CliRunner()
    text = run.invoke(command, ["key", "create", "page", "--scope", "read"]).output.strip().splitlines()[-1]
    assert re.fullmatch(r"nck_[0-9a-f]{8}_[\w-]{43}", text)
    key_id = text.split("_")[1]
    assert key_id in run.invoke(command, ["key", "list"]).output
    newer = run.invoke(command, ["key", "rotate", key_id, "--overlap", "1"]).output.strip().splitlines()[-1]
    assert newer != text
    old, new = store.keys.all()
    assert old.ends_at > served.now()
    assert new.ends_at is None
    assert run.invoke(command, ["key", "revoke", new.id]).exit_code == 0
    assert store.keys.all()[1].ends_at <= served.now()
    assert run.invoke(command, ["key", "revoke", "nothing"]).exit_code != 0


def test_scopes_are_known():
    with pytest.raises(ValueError, match="scopes must be of"):
        make_key("x", ("everything",), served.now())
