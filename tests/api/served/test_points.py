"""Point forecasts: values are the store's, missing is null, and the sentence says what the numbers say."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import delete

import api.history
from api.point_schemas import PointForecast
from nowcast.store import runs as stored
from nowcast.store.tables import runs
from tests.api.served import made as served
from tests.api.served.made import BERN, ENSEMBLE, GRID, LEADS, STEP, ZURICH, base_time

LAT, LON = ZURICH


def ask(client, place=ZURICH, path="/v1/forecast", **headers):
    return client.get(path, params={"lat": place[0], "lon": place[1]}, headers=headers)


@pytest.mark.parametrize("members", [False, True])
def test_a_point_says_what_the_run_says(store, client, members):
    base, mean = base_time(), served.rain()
    served.publish(store, base, members=members, mean=mean)
    answer = ask(client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    PointForecast.model_validate(body, strict=False)
    row, column = GRID.cell(*ZURICH)
    want = {"rain_mean": mean} if not members else served.ensemble(mean)
    steps = body["minutely_5"]
    assert set(steps) == {"lead_minutes", "start", "end", "coverage", *want}
    for product, field in want.items():
        np.testing.assert_allclose(steps[product], field[:, row, column], atol=0.006)
    assert steps["lead_minutes"] == list(range(5, 125, 5))
    assert steps["start"][0] == base.isoformat().replace("+00:00", "Z")
    assert steps["end"][-1] == (base + LEADS * STEP).isoformat().replace("+00:00", "Z")
    np.testing.assert_allclose(body["accumulated"], np.cumsum(steps["rain_mean"]) / 12, atol=0.006)
    assert body["rain_source"] == "simulated"
    assert body["members"] == (16 if members else 1)
    assert body["units"]["accumulated"] == "mm"
    assert 0 <= body["age_seconds"] < 600
    assert not body["stale"]
    assert not body["expired"]


def test_not_seen_is_null_never_zero(store, client):
    mean = served.rain()
    row, column = GRID.cell(*ZURICH)
    mean[:, row, column] = 2
    mean[6:8, row, column] = np.nan
    served.publish(store, base_time(), mean=mean, members=True)
    body = ask(client).json()
    steps = body["minutely_5"]
    for product in ENSEMBLE:
        assert [k for k, v in enumerate(steps[product]) if v is None] == [6, 7]
    assert steps["coverage"][5:9] == ["ok", "no coverage", "no coverage", "ok"]
    assert all(v is not None for v in body["accumulated"][:6])
    assert all(v is None for v in body["accumulated"][6:])
    assert body["radar_coverage"] == "ok"
    assert body["summary"]["amount_low"] is None
    assert body["summary"]["until"] == steps["end"][5]
    mean[:] = np.nan
    served.publish(store, base_time(), mean=mean)
    body = ask(client).json()
    assert body["radar_coverage"] == "no coverage"
    assert body["summary"]["state"] == "not_seen"
    assert body["summary"]["text"] == "not seen by the radar"


def test_a_region_by_name_and_points_outside(store, client):
    assert ask(client).status_code == 503
    served.publish(store, base_time())
    assert ask(client, path="/v1/regions/alps/forecast").json()["region"] == "alps"
    for response, status, title in (
        (ask(client, (0, 0)), 404, "Outside every region"),
        (ask(client, (91, 0)), 422, "Invalid request"),
        (ask(client, path="/v1/regions/atlantis/forecast"), 404, "Unknown region"),
        (ask(client, served.ROTTERDAM, "/v1/regions/alps/forecast"), 404, "Outside every region"),
        (client.get("/v1/forecast?lat=nan&lon=1"), 422, "Invalid request"),
        (client.get("/v1/nothing"), 404, "Not Found"),
        (client.delete("/v1/forecast?lat=1&lon=1"), 405, "Method Not Allowed"),
    ):
        problem = response.json()
        assert (response.status_code, problem["title"]) == (status, title), response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["status"] == status


def test_what_the_client_has_already_is_not_sent_again(store, client):
    served.publish(store, base_time(0))  # from five minutes after its base time on, its date alone does not say enough
    first = ask(client)
    assert {"etag", "last-modified", "expires", "cache-control"} <= set(first.headers)
    for header in ({"If-None-Match": first.headers["etag"]}, {"If-Modified-Since": first.headers["last-modified"]}):
        again = ask(client, **header)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    served.publish(store, base_time(0))  # a rerun is another publication
    assert ask(client, **{"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_new_run_never_serves_old_pixels(store, client):
    base = base_time()
    for mark in (1, 2, 3):
        served.publish(store, base, mean=np.full((LEADS, *GRID.shape), mark, np.float32))
        assert set(ask(client).json()["minutely_5"]["rain_mean"]) == {mark}
    served.publish(store, base - STEP, mean=np.full((LEADS, *GRID.shape), 9, np.float32))
    assert set(ask(client).json()["minutely_5"]["rain_mean"]) == {3}


def test_csv_names_the_source_of_each_lead_as_json_does(store, client):
    store.put_regions([replace(r, sources=("radar", "sat")) for r in served.regions()])
    mean, source = np.zeros((LEADS, *GRID.shape), np.float32), np.ones((LEADS, *GRID.shape), np.float32)
    source[1], mean[2], source[2] = 2, np.nan, np.nan
    fields = {"rain_mean": mean, "rain_source": source}
    store.publish(served.run(base_time(), products=tuple(fields)), fields)
    head, *lines = ask(client, path="/v1/forecast.csv").text.splitlines()
    told = [line.split(",")[head.split(",").index("rain_source")] for line in lines]
    assert told == ["radar", "sat", ""] + ["radar"] * (LEADS - 3)
    assert [name or None for name in told] == ask(client).json()["minutely_5"]["rain_source"]


def test_age_is_told(store, client):
    served.publish(store, base_time(14))
    body = ask(client).json()
    assert body["stale"]
    assert not body["expired"]
    assert body["age_seconds"] > 600


def test_an_old_run_is_expired_and_a_very_old_one_promises_nothing(store, client):
    served.publish(store, base_time(180), mean=np.full((LEADS, *GRID.shape), 5, np.float32))
    body = ask(client).json()
    assert body["expired"]
    assert body["summary"]["state"] == "over"
    assert "no forecast for now" in body["summary"]["text"]


def test_history_sets_what_was_said_beside_what_was_seen(store, client):
    base = base_time()
    row, column = GRID.cell(*ZURICH)
    for k in range(8):
        field = np.full(GRID.shape, k, np.float32)
        if k == 3:
            field[row, column] = np.nan
        served.observe(store, base - k * STEP, field, digest=f"{k}")
    for k in range(8):
        mean = np.full((LEADS, *GRID.shape), 10 + k, np.float32)
        mean[5] = k
        served.publish(store, base - k * STEP, mean=mean)
    body = client.get("/v1/history", params={"lat": LAT, "lon": LON, "hours": 2}).json()
    assert [o["rain_rate"] for o in body["observed"]] == [7, 6, 5, 4, None, 2, 1, 0]
    assert {o["source"] for o in body["observed"]} == {"simulated"}
    assert [f["rain_mean"] for f in body["forecast"]] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert {f["lead_minutes"] for f in body["forecast"]} == {30}
    short = client.get("/v1/history", params={"lat": LAT, "lon": LON, "hours": 0.2}).json()
    assert len(short["observed"]) < 8
    assert client.get("/v1/history", params={"lat": BERN[0], "lon": 0, "hours": 0.2}).status_code == 404


def test_a_day_of_history_is_a_day_whatever_the_interval(store, client):
    """A radar every two minutes makes 720 runs a day: 300 of them, ten hours, were all that was told."""
    base, every = base_time(), timedelta(minutes=2)
    pieces = stored.encode(served.run(base), {"rain_mean": np.full((LEADS, *GRID.shape), 2, np.float32)})
    times = [base - k * every for k in range(700)]
    store._db.write(lambda c: [stored.publish(c, served.run(time), pieces) for time in times])
    served.observe(store, times[-1], digest="first")
    body = client.get("/v1/history", params={"lat": LAT, "lon": LON, "hours": 24}).json()
    assert [datetime.fromisoformat(f["base_time"]) for f in body["forecast"]] == times[::-1]
    assert {f["rain_mean"] for f in body["forecast"]} == {2.0}
    assert len(body["observed"]) == 1
    assert body["cut"] is False


def test_history_says_where_it_is_cut(store, client, monkeypatch):
    monkeypatch.setattr(api.history, "MOST", 5)
    base = base_time()
    for k in range(8):
        served.publish(store, base - k * STEP)
        served.observe(store, base - k * STEP, digest=f"{k}")

    def ask(hours):
        body = client.get("/v1/history", params={"lat": LAT, "lon": LON, "hours": hours}).json()
        seen, said = ([datetime.fromisoformat(x["valid_time"]) for x in body[n]] for n in ("observed", "forecast"))
        return body["cut"], datetime.fromisoformat(body["since"]), seen, said

    cut, since, seen, said = ask(2)
    assert cut
    assert since == base - 4 * STEP + timedelta(minutes=30), "there are five forecasts from here on"
    assert said == [since + k * STEP for k in range(5)]
    assert seen == [], "both lists start there"
    store._db.write(lambda c: c.execute(delete(runs)))
    cut, since, seen, said = ask(2)
    assert (cut, since, said) == (True, base - 4 * STEP, [])
    assert seen == [since + k * STEP for k in range(5)]
    cut, since, seen, _ = ask(0.25)
    assert not cut
    assert len(seen) < 5


def test_history_leaves_out_observations_on_another_grid(store, client):
    base = base_time()
    served.observe(store, base)
    moved = next(r for r in served.regions() if r.name == "alps")
    store.put_regions([replace(moved, grid=replace(moved.grid, x0=moved.grid.x0 + 1000))])
    body = client.get("/v1/history", params={"lat": LAT, "lon": LON}).json()
    assert body["observed"] == []
    served.publish(store, base)  # still on the grid of before
    assert "has another grid than" in ask(client).json()["detail"]


def test_times_of_the_history_are_within_the_hours(store, client):
    base = base_time()
    for k in range(4):
        served.observe(store, base - timedelta(hours=k), digest=f"{k}")
    body = client.get("/v1/history", params={"lat": LAT, "lon": LON, "hours": 1.5}).json()
    assert len(body["observed"]) == 2
