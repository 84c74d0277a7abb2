from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from nowcast.run import CheckRecord, FrameRecord, RegionRecord, ScoreRecord
from tests.api.conftest import ALPS, BASE, INSIDE, make_fields, make_run

pytestmark = pytest.mark.anyio


async def test_a_point_says_rate_period_coverage_base_time_age_and_rung(client):
    for path in ("/v1/forecast", "/v1/regions/alps/forecast"):
        got = (await client.get(path, params=INSIDE)).json()
        assert got["region"] == "alps"
        assert got["base_time"] == "2026-03-01T12:00:00Z"
        assert got["age_seconds"] == 240
        assert got["stale"] is False
        assert (got["rung"], got["model"], got["members"]) == ("openvino", "advection", 1)
        steps = got["minutely_5"]
        assert steps["rain_mean"] == [round(k / 10, 2) for k in range(24)]
        assert steps["lead_minutes"] == [5 * (k + 1) for k in range(24)]
        assert (steps["start"][0], steps["end"][0]) == ("2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z")
        assert set(steps["coverage"]) == {"ok"}


async def test_outside_the_coverage_is_200_with_nulls_and_never_zero(client):
    got = await client.get("/v1/forecast", params={"lat": 46.948, "lon": 7.318})
    assert got.status_code == 200
    assert got.json()["radar_coverage"] == "no coverage"
    assert set(got.json()["minutely_5"]["rain_mean"]) == {None}


async def test_an_old_forecast_says_that_it_is_stale(client, hand):
    hand.time = BASE + timedelta(minutes=11)
    assert (await client.get("/v1/forecast", params=INSIDE)).json()["stale"] is True


async def test_regions_runs_and_checks(client):
    regions = {r["name"]: r for r in (await client.get("/v1/regions")).json()}
    assert regions["alps"]["newest_base_time"] == "2026-03-01T12:00:00Z"
    assert regions["empty"]["newest_base_time"] is None
    west, south, east, north = regions["alps"]["bounds"]
    assert west < INSIDE["lon"] < east
    assert south < INSIDE["lat"] < north
    assert (await client.get("/v1/regions/alps")).json() == regions["alps"]
    (run,) = (await client.get("/v1/runs", params={"region": "alps"})).json()
    assert run["frames"] == ["b" * 64, "c" * 64]
    (check,) = (await client.get("/v1/checks")).json()
    assert (check["product"], check["psnr_all"], check["passed"]) == ("rain_mean", 104.9, True)


async def test_runs_are_paged_even_within_one_base_time(client, store):
    names = [f"region-{k}" for k in range(4)]
    store.put_regions([RegionRecord(name, name, ALPS, ("knmi",), "advection") for name in names])
    for k in range(3):
        for name in names:
            store.publish(make_run(BASE + timedelta(minutes=5 * k), region=name), make_fields())
    whole = [(r["base_time"], r["region"]) for r in (await client.get("/v1/runs")).json()]
    assert len(whole) == 13
    assert whole == sorted(whole, key=lambda run: (-datetime.fromisoformat(run[0]).timestamp(), run[1]))
    for limit in (1, 3, 5, 12, 13):
        pages, url = [], f"/v1/runs?limit={limit}"
        while url:
            answer = await client.get(url)
            pages.append([(r["base_time"], r["region"]) for r in answer.json()])
            url = answer.links.get("next", {}).get("url")
        assert [run for page in pages for run in page] == whole, limit
        assert all(len(page) == limit for page in pages[:-1])
    of_one = await client.get("/v1/runs", params={"region": names[1], "limit": 2})
    rest = await client.get(of_one.links["next"]["url"])
    assert [len(of_one.json()), len(rest.json())] == [2, 1]


async def test_a_run_says_what_stands_behind_it(client, store):
    digests = ("b" * 64, "c" * 64)
    store.add_frame(FrameRecord("knmi", BASE - timedelta(minutes=5), digests[0], "/x/1.h5", BASE))
    later = BASE + timedelta(hours=1)
    store.add_checks(
        [
            CheckRecord("a" * 64, later, "convective", "rain_mean", 60.0, 51.0, True, 0.001, "openvino"),
            CheckRecord("a" * 64, later, "dry", "rain_mean", 200.0, None, True, None, "openvino"),
            CheckRecord("a" * 64, later, "dry", "prob_1", 39.0, None, False, None, "openvino"),
            CheckRecord("f" * 64, later, "dry", "rain_mean", 1.0, 1.0, False),  # of another plan
            CheckRecord("a" * 64, later, "dry", "rain_mean", 1.0, 1.0, False, None, "inductor"),  # of another runtime
        ]
    )
    for made_by, value in (("advection", 0.5), ("persistence", 0.25)):
        scored = [ScoreRecord("alps", BASE, "rain_mean", m, "csi", 1.0, value, 9, made_by) for m in (5, 10)]
        store.verification.put([*scored, ScoreRecord("alps", later, "rain_mean", 5, "csi", 1.0, 0.9, 9, made_by)])
    body = (await client.get(f"/v1/runs/alps/{BASE:%Y%m%dT%H%MZ}")).json()
    assert (body["region"], body["rung"], body["frames"]) == ("alps", "openvino", list(digests))
    assert [(f["digest"], f["source"]) for f in body["made_from"]] == [(digests[0], "knmi"), (digests[1], None)]
    assert (body["made_with"]["digest"], body["made_with"]["precision"]) == ("a" * 64, "fp32")
    parity = {p["product"]: p for p in body["parity"]}
    assert set(parity) == {"rain_mean", "prob_1"}
    mean = parity["rain_mean"]
    assert (mean["psnr_all"], mean["psnr_wet"], mean["passed"], mean["cases"]) == (60.0, 51.0, True, 2)
    assert parity["prob_1"]["passed"] is False
    assert body["verified_leads"] == [5, 10]
    assert [(s["made_by"], s["lead_minutes"], s["value"]) for s in body["scores"]] == [
        ("advection", 5, 0.5),
        ("advection", 10, 0.5),
        ("persistence", 5, 0.25),
        ("persistence", 10, 0.25),
    ]
    for path in (f"moon/{BASE:%Y%m%dT%H%MZ}", "alps/20200101T0000Z"):
        assert (await client.get(f"/v1/runs/{path}")).status_code == 404


async def test_a_rerun_is_seen_at_once(client, store):
    before = await client.get("/v1/forecast", params=INSIDE)
    store.publish(make_run(published_at=BASE + timedelta(minutes=2)), make_fields(first=7.0))
    after = await client.get("/v1/forecast", params=INSIDE)
    assert after.json()["minutely_5"]["rain_mean"][0] == 7.0
    assert before.headers["etag"] != after.headers["etag"]


class TestFreshness:
    async def test_the_three_headers_come_together(self, client):
        headers = (await client.get("/v1/forecast", params=INSIDE)).headers
        assert parsedate_to_datetime(headers["last-modified"]) == BASE + timedelta(seconds=70)
        assert parsedate_to_datetime(headers["expires"]) == BASE + timedelta(minutes=11)
        assert headers["etag"].startswith('"')

    @pytest.mark.parametrize("header", ["if-none-match", "if-modified-since"])
    async def test_who_has_it_gets_304_but_not_of_a_new_run(self, client, store, header):
        first = await client.get("/v1/forecast", params=INSIDE)
        sent = {header: first.headers["etag" if header == "if-none-match" else "last-modified"]}
        again = await client.get("/v1/forecast", params=INSIDE, headers=sent)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        store.publish(make_run(BASE + timedelta(minutes=5)), make_fields())
        assert (await client.get("/v1/forecast", params=INSIDE, headers=sent)).status_code == 200

    @pytest.mark.parametrize("path", ["/v1/forecast", "/v1/regions/alps/timeline"])
    async def test_what_tells_its_age_is_confirmed_within_its_five_minutes_and_never_once_stale(
        self, client, hand, path
    ):
        first = await client.get(path, params=INSIDE)
        tag, date = {"if-none-match": first.headers["etag"]}, {"if-modified-since": first.headers["last-modified"]}
        assert first.json()["stale"] is False
        for minutes, fresh in ((4.9, True), (5, False), (10, False), (10.01, False), (31, False)):
            hand.time = BASE + timedelta(minutes=minutes)
            for sent in (tag, date):
                again = await client.get(path, params=INSIDE, headers=sent)
                assert again.status_code == (304 if fresh else 200), (minutes, sent)
        assert again.json()["expired"] is True

    async def test_the_moment_of_going_stale_is_another_answer(self, client, hand):
        hand.time = BASE + timedelta(minutes=10)
        last = await client.get("/v1/forecast", params=INSIDE)
        hand.time += timedelta(seconds=1)
        for sent in ({"if-none-match": last.headers["etag"]}, {"if-modified-since": "Fri, 01 Jan 2027 00:00:00 GMT"}):
            again = await client.get("/v1/forecast", params=INSIDE, headers=sent)
            assert (last.json()["stale"], again.json()["stale"]) == (False, True)
        sent = {"if-none-match": again.headers["etag"]}
        assert (await client.get("/v1/forecast", params=INSIDE, headers=sent)).status_code == 304

    async def test_csv_depends_on_the_run_alone(self, client, hand):
        first = await client.get("/v1/forecast.csv", params=INSIDE)
        hand.time = BASE + timedelta(minutes=20)
        again = await client.get("/v1/forecast.csv", params=INSIDE)
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])

    async def test_a_malformed_date_is_ignored(self, client):
        got = await client.get("/v1/forecast", params=INSIDE, headers={"if-modified-since": "yesterday"})
        assert got.status_code == 200

    async def test_another_point_has_another_etag(self, client):
        tags = [(await client.get("/v1/forecast", params={**INSIDE, "lon": x})).headers["etag"] for x in (7.44, 7.5)]
        assert tags[0] != tags[1]


EARLY, LATE = "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"


class TestProblems:
    @pytest.mark.parametrize("time", [EARLY, LATE])
    @pytest.mark.parametrize(
        "path",
        [
            "/v1/runs?before={}",
            "/v1/runs/alps/{}",
            "/v1/images/alps/{}/rain_mean/5.png",
            "/v1/images/alps/observed/{}.png",
            "/v1/tiles/alps/{}/rain_mean/5/7/66/45.png",
            "/edr/collections/alps_rain/position?coords=POINT(7.4474 46.948)&datetime={}",
            "/edr/collections/alps_rain/instances/{}/position?coords=POINT(7.4474 46.948)",
        ],
    )
    async def test_a_time_that_utc_has_no_year_for_is_refused(self, client, path, time):
        got = await client.get(path.format(time.replace("+", "%2B")))
        assert got.status_code == (400 if path.startswith("/edr") else 422), got.text
        assert time[:4] in got.json()["detail"]

    @pytest.mark.parametrize(
        ("path", "status", "told"),
        [
            ("/v1/regions/moon", 404, "no region 'moon'; there are: alps, empty"),
            ("/v1/regions/moon/forecast?lat=1&lon=1", 404, "no region 'moon'"),
            ("/v1/forecast?lat=0&lon=0", 404, "lies in no region"),
            ("/v1/regions/alps/forecast?lat=0&lon=0", 404, "lat=0.0, lon=0.0 lies outside the grid"),
            ("/v1/regions/empty/forecast?lat=52.3&lon=5.0", 503, "has no forecast yet"),
            ("/v1/forecast?lat=91&lon=0", 422, "lat"),
            ("/v1/forecast?lat=nan&lon=0", 422, "lat"),
            ("/v1/forecast?lat=here&lon=0", 422, "got 'here'"),
            ("/v1/forecast", 422, "Field required"),
            ("/v1/runs?limit=0", 422, "limit"),
            ("/nothing", 404, "Not Found"),
        ],
    )
    async def test_every_error_is_a_problem(self, client, path, status, told):
        got = await client.get(path)
        assert got.status_code == status
        assert got.headers["content-type"] == "application/problem+json"
        body = got.json()
        assert body["status"] == status
        assert told in body["detail"]
        if status == 503:
            assert int(got.headers["retry-after"]) > 0

    @pytest.mark.parametrize("path", ["/v1/runs?region=%00", "/v1/scores?region=a%00", "/v1/regions/%00/forecast"])
    async def test_a_nul_character_is_refused_and_never_reaches_the_database(self, client, path):
        got = await client.get(path)
        assert got.status_code == 422
        assert "NUL" in got.json()["detail"]

    async def test_a_bug_is_a_500_that_tells_nothing_of_itself(self, app, client):
        app.state.services = replace(app.state.services, clock=None)
        got = await client.get("/v1/forecast", params=INSIDE)
        assert got.status_code == 500
        assert got.headers["content-type"] == "application/problem+json"
        assert "NoneType" not in got.text


class TestOperations:
    async def test_health_and_readiness(self, client):
        assert (await client.get("/healthz")).json()["status"] == "ok"
        ready = await client.get("/readyz")
        assert ready.json()["newest_base_times"] == {"alps": "2026-03-01T12:00:00Z"}

    async def test_metrics_are_labelled_by_route_and_never_by_place(self, client):
        await client.get("/v1/forecast", params=INSIDE)
        await client.get("/v1/regions/alps/forecast", params=INSIDE)
        text = (await client.get("/metrics")).text
        assert 'nowcast_http_requests_total{route="/v1/forecast",status="200"} 1.0' in text
        assert 'route="/v1/regions/{region}/forecast"' in text
        assert 'nowcast_run_age_seconds{region="alps"}' in text
        assert "46.9" not in text

    async def test_openapi_describes_every_route(self, client):
        schema = (await client.get("/openapi.json")).json()
        assert schema["openapi"].startswith("3.1")
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                assert operation.get("summary"), path
                assert operation.get("description"), path
        assert "application/problem+json" in schema["paths"]["/v1/forecast"]["get"]["responses"]["4XX"]["content"]
