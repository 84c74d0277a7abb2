"""Lists, slots, health, the page."""

import gc

from httpx import get

from api import page
from api.main import create_app
from api.schemas import ScorecardEvent
from benchmarks import scorecard
from nowcast.clock import floor
from nowcast.config import Settings
from nowcast.life import State, Transition
from nowcast.run import CheckRecord, PlanRecord, ScoreRecord
from tests.api.served import made as served
from tests.api.served.conftest import serving
from tests.api.served.made import STEP, base_time


def test_regions_are_listed_with_their_places(store, client):
    body = client.get("/v1/regions").json()
    assert [r["name"] for r in body] == ["alps", "lowlands"]
    assert body[0]["newest_base_time"] is None
    assert body[0]["places"][0] == {"name": "Zurich", "lat": 47.3744, "lon": 8.5411}
    base = base_time()
    served.publish(store, base)
    one = client.get("/v1/regions/alps").json()
    assert one["newest_base_time"] == base.isoformat().replace("+00:00", "Z")


def test_slots_say_what_became_of_each(store, client):
    now = floor(served.now())
    served.publish(store, now - 5 * STEP, slot=now - 4 * STEP)
    served.publish(store, now - 4 * STEP, slot=now - 3 * STEP, flags=("late",))
    store.slots.refuse("alps", now - 2 * STEP, "no frames")
    store.slots.refuse("alps", now - 2 * STEP, "still no frames; check the feed")
    store.slots.refuse("alps", now - 4 * STEP, "refused at first, published later")
    body = client.get("/v1/slots", params={"hours": 2}).json()
    states = {s["slot"]: s for s in body if s["region"] == "alps"}
    told = [states[t.isoformat().replace("+00:00", "Z")] for t in (now - k * STEP for k in (4, 3, 2, 1))]
    assert [t["state"] for t in told] == ["published", "degraded", "refused", "missing"]
    assert told[1]["flags"] == ["late"]
    assert told[2]["reason"] == "still no frames; check the feed"
    assert [s["slot"] for s in body] == sorted((s["slot"] for s in body), reverse=True)
    assert not [s for s in body if s["region"] == "lowlands"]


def test_runs_are_paged(store, client):
    base = base_time(60)
    for k in range(5):
        served.publish(store, base + k * STEP)
    first = client.get("/v1/runs", params={"region": "alps", "limit": 3}).json()
    assert len(first) == 3
    assert first[0]["frames"] == ["a" * 64, "b" * 64]
    rest = client.get("/v1/runs", params={"region": "alps", "limit": 3, "before": first[-1]["base_time"]}).json()
    assert len(rest) == 2
    assert {r["id"] for r in first}.isdisjoint({r["id"] for r in rest})


def test_plans_checks_and_scores_are_listed(store, client):
    base = base_time()
    store.add_plan(PlanRecord("f" * 64, "advection", "openvino", "fp32", {"openvino": "2026.1"}))
    store.add_checks([CheckRecord("f" * 64, base, "dry", "rain_mean", None, 41.5, True, 0.001, "openvino", "int8")])
    store.add_scores([ScoreRecord("alps", base, "rain_mean", 30, "csi", 1.0, None, 12)])
    assert client.get("/v1/models").json()[0]["runtime"] == "openvino"
    check = client.get("/v1/checks").json()[0]
    told = {"plan": "f" * 64, "psnr_wet": 41.5, "csi_difference": 0.001, "runtime": "openvino", "precision": "int8"}
    assert check == check | told
    score = client.get("/v1/scores", params={"region": "alps"}).json()[0]
    assert (score["score"], score["value"], score["count"]) == ("csi", None, 12)
    assert client.get("/v1/scores", params={"region": "lowlands"}).json() == []


def test_the_collector_passes_over_what_the_start_made(client):
    assert client.get("/healthz").status_code == 200
    assert gc.get_freeze_count() > 50_000


def test_health_readiness_and_metrics(client):
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").status_code == 200
    text = client.get("/metrics").text
    assert 'nowcast_http_requests_total{route="/healthz",status="200"} 1.0' in text
    assert "nowcast_store_up 1.0" in text


def test_the_page_or_how_to_build_it(client, tmp_path, sqlite_url):
    if not (page.STATIC / "index.html").exists():
        assert "npm ci" in client.get("/").text
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<p>built")
    (tmp_path / "assets" / "a.js").write_text("1")
    with serving(create_app(Settings(database_url=sqlite_url), static=tmp_path)) as address:
        assert get(f"{address}/").text == "<p>built"
        assert "immutable" in get(f"{address}/assets/a.js").headers["cache-control"]
        missing = get(f"{address}/none.html")
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"
        assert get(f"{address}/v1/regions").status_code == 200


def test_the_scorecard_is_what_the_benchmark_found(client):
    body = client.get("/v1/scorecard").json()
    found = [ScorecardEvent(**event).model_dump(mode="json") for event in scorecard.events()]
    assert body == found, "run `python -m benchmarks.scorecard`"
    first = body[0]
    assert first["values"]["steps"][first["lead_minutes"].index(30)] == 0.181  # as in docs/model-card.md


def test_what_became_of_models_is_told_newest_first_and_paged(store, client):
    at = base_time()
    for k, (state, regions, numbers) in enumerate(
        [
            (State.CANDIDATE, (), {}),
            (State.SHADOW, (), {}),
            (State.CANARY, ("alps",), {}),
            (State.ROLLED_BACK, (), {"difference": 0.02, "low": None, "regimes": {"dry": {"cycles": 3}}}),
        ]
    ):
        store.models.step(Transition("edge-1", "edge", state, regions, "ada", at + k * STEP, f"because {k}", numbers))
    store.models.step(Transition("edge-2", "edge", State.CANDIDATE, (), "ada", at + 4 * STEP, "another"))
    first = client.get("/v1/models/history", params={"limit": 2}).json()
    assert [(s["model"], s["state"]) for s in first] == [("edge-2", "candidate"), ("edge-1", "rolled-back")]
    assert first[1]["who"] == "operator", "a person's name is not published"
    assert first[1]["why"] == "because 3"
    assert first[1]["numbers"] == {"difference": 0.02, "low": None, "regimes": {"dry": {"cycles": 3}}}
    rest = client.get("/v1/models/history", params={"before": first[-1]["id"], "model": "edge-1"}).json()
    assert [s["state"] for s in rest] == ["canary", "shadow", "candidate"]
    assert rest[0]["regions"] == ["alps"]
    assert client.get("/v1/models/history", params={"limit": 1001}).status_code == 422
    assert client.get("/v1/models/history", params={"model": "nobody"}).json() == []


def test_skill_is_each_makers_scores_weighted_by_pixels(store, client):
    now = floor(served.now())
    rows = [
        ScoreRecord("alps", now - k * STEP, "rain_mean", 30, "mae", None, value, count, maker)
        for maker, values in (("edge", (0.2, 0.4)), ("persistence", (0.5, 0.5)))
        for k, (value, count) in enumerate(zip(values, (100, 300), strict=True), start=1)
    ]
    store.verification.put(rows)
    store.verification.put([ScoreRecord("alps", now - 60 * STEP, "rain_mean", 30, "mae", None, 9.0, 100, "edge")])
    body = client.get("/v1/regions/alps/skill", params={"hours": 1}).json()
    told = {s["made_by"]: (round(s["value"], 6), s["count"], s["runs"], s["lead_minutes"]) for s in body}
    assert told == {"edge": (0.35, 400, 2, 30), "persistence": (0.5, 400, 2, 30)}
    assert client.get("/v1/regions/lowlands/skill").json() == []
    assert client.get("/v1/regions/atlantis/skill").status_code == 404
    made_by = {s["made_by"] for s in client.get("/v1/scores", params={"region": "alps"}).json()}
    assert made_by == {"edge", "persistence"}
