"""The hot paths and FastAPI's routes of the same paths: the same answer to every request, to the last header."""

import re
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from api.hot import PATHS, Hot
from api.main import create_app
from api.pointing import PointQuery, point_of
from nowcast.clock import Clock
from nowcast.config import Settings
from nowcast.keys import make_key
from tests.api.conftest import BASE

pytestmark = pytest.mark.anyio

TILE = "/v1/tiles/alps/latest/rain_mean/5/7/66/45"
STAMP = f"{BASE:%Y%m%dT%H%MZ}"
POINTS = [
    f"{path}?{query}"
    for path in ("/v1/forecast", "/v1/regions/alps/forecast")
    for query in (
        "lat=46.948&lon=7.4474",
        "lon=7.4474&lat=46.948",
        "lat=46.948&lon=7.318",  # not seen
        "lat=46.948&lon=7.4474&more=1",
        "lat=%2046.948&lon=7.4474%20",
        "lat=46.948&lon=7.4474&lon=7.5",
        "lat=4.6948e1&lon=7",
        "lat=-46.948&lon=-7.4474",
        "lat=0&lon=0",
        "lat=91&lon=0",
        "lat=0&lon=181",
        "lat=nan&lon=0",
        "lat=&lon=",
        "lat=46.&lon=7",
        "lat=here&lon=0",
        "lat=46.948",
        "",
    )
]
PLACES = [
    "/v1/regions/moon/forecast?lat=46.948&lon=7.4474",
    "/v1/regions/empty/forecast?lat=52.3&lon=5.0",  # 503: no run yet
    "/v1/regions/al%70s/forecast?lat=46.948&lon=7.4474",
    "/v1/regions/a%2Fb/forecast?lat=46.948&lon=7.4474",
    "/v1/regions//forecast?lat=46.948&lon=7.4474",
    "/v1/forecast/?lat=46.948&lon=7.4474",
    "//v1/forecast?lat=46.948&lon=7.4474",
]
TILES = [
    f"{TILE}.png",
    f"{TILE}.webp",
    f"{TILE}.gif",
    f"{TILE}.png?size=512",
    f"{TILE}.png?size=300",
    f"{TILE}.png?v=1",
    f"{TILE}.png?v=x",
    f"{TILE}.png?palette=grey",
    f"{TILE}.png?palette=none",
    f"{TILE}.png?palette=chance",
    TILE,
    f"{TILE}.png/",
    *(
        f"/v1/tiles/{rest}.png"
        for rest in (
            f"mosaic/{STAMP}/rain_mean/5/7/66/45",
            f"alps/{STAMP}/accumulated/120/7/66/45",
            f"alps/{STAMP}/rain_mean/5/7/0/0",  # beside the region
            f"alps/{STAMP}/rain_mean/0/7/66/45",  # nothing observed
            f"alps/{STAMP}/rain_mean/7/7/66/45",
            f"alps/{STAMP}/rain_max/5/7/66/45",
            f"alps/{STAMP}/rain_mean/5/7/128/45",
            f"alps/{STAMP}/rain_mean/5/21/0/0",
            "alps/20200101T0000Z/rain_mean/5/7/66/45",
            "alps/yesterday/rain_mean/5/7/66/45",
            "moon/latest/rain_mean/5/7/66/45",
            "empty/latest/rain_mean/5/7/66/45",
        )
    ),
]
ASKED = "authorization, x-api-key, if-none-match, range, if-range"
GOOD = ["/v1/forecast?lat=46.948&lon=7.4474", "/v1/regions/alps/forecast?lat=46.948&lon=7.4474", f"{TILE}.png"]


@pytest.fixture
def pair(store, database_url, hand):
    """Make two applications over one database that differ in `Hot` alone."""
    opened = []

    def make(**settings):
        for hot in (True, False):
            app = create_app(Settings(database_url=database_url, **settings))
            app.state.services = replace(app.state.services, clock=Clock(wall=hand))
            app.state.services.watch.trusted_seconds = -1
            if not hot:
                assert Hot in [layer.cls for layer in app.user_middleware]
                app.user_middleware = [layer for layer in app.user_middleware if layer.cls is not Hot]
            opened.append(app)
        return opened[-2:]

    yield make
    for app in opened:
        app.state.services.store.close()


def counted(app):
    """What the metrics counted, by route and status."""
    samples = (s for metric in app.state.metrics.requests.collect() for s in metric.samples)
    return {(s.labels["route"], s.labels["status"]): s.value for s in samples if s.name.endswith("_total")}


async def compare(apps, requests):
    """Send the same to both; return the answers of the first."""
    answers = []
    for app in apps:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://nowcast") as client:
            answers.append([await client.request(method, url, headers=sent) for method, url, sent in requests])
    for (method, url, sent), hot, cold in zip(requests, *answers, strict=True):
        for what in ("status_code", "headers", "content"):
            assert getattr(hot, what) == getattr(cold, what), (method, url, sent, what)
    assert counted(apps[0]) == counted(apps[1])
    return answers[0]


async def test_every_request_gets_the_same_answer(pair):
    requests = [("GET", url, {}) for url in [*POINTS, *PLACES, *TILES]]
    requests += [(method, url, {}) for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS") for url in GOOD]
    apps = pair()
    answers = await compare(apps, requests)
    assert {a.status_code for a in answers} >= {200, 404, 405, 422, 503}
    assert {route for route, _ in counted(apps[0])} >= set(PATHS)
    for answer in answers:
        assert answer.status_code < 400 or answer.headers["content-type"] == "application/problem+json"


async def test_conditional_requests(pair):
    apps = pair()
    for url in GOOD:
        (first,) = await compare(apps, [("GET", url, {})])
        has = [
            {"If-None-Match": first.headers["etag"]},
            {"If-None-Match": f'"other", W/{first.headers["etag"]}'},
            {"If-None-Match": "*"},
            {"If-Modified-Since": first.headers["last-modified"]},
        ]
        has_not = [
            {"If-None-Match": '"other"'},
            {"If-Modified-Since": "yesterday"},
            {"If-None-Match": '"other"', "If-Modified-Since": first.headers["last-modified"]},
        ]
        requests = [(method, url, sent) for method in ("GET", "HEAD") for sent in [*has, *has_not]]
        statuses = [a.status_code for a in await compare(apps, requests)]
        assert statuses == ([304] * len(has) + [200] * len(has_not)) * 2


async def test_head_has_the_headers_of_get_and_no_body(pair):
    apps = pair()
    for url in GOOD:
        get, head = await compare(apps, [("GET", url, {}), ("HEAD", url, {})])
        assert head.status_code == 200
        assert head.content == b""
        assert dict(head.headers) == dict(get.headers)


async def test_other_origins(pair):
    apps = pair(cors_origins=["https://maps.example"])
    origins = ("https://maps.example", "https://evil.example")
    requests = [("GET", url, {"Origin": origin}) for url in [*GOOD, POINTS[9]] for origin in origins]
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": ASKED}
    requests += [("OPTIONS", url, {"Origin": origin, **asks}) for url in GOOD for origin in origins]
    answers = await compare(apps, requests)
    assert [a.status_code for a in answers[-2 * len(GOOD) :: 2]] == [200] * len(GOOD)
    told = answers[0].headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Link", "Retry-After", "Content-Range", "Accept-Ranges"} <= set(told)
    allowed = [a.headers.get("access-control-allow-origin") for a in answers]
    assert allowed == ["https://maps.example", None] * (len(answers) // 2)


async def test_keys_and_limits_hold_for_the_hot_paths(pair, store):
    key, text = make_key("files only", ("files",), BASE.replace(year=2020))
    reader, read = make_key("reader", ("read",), BASE.replace(year=2020))
    store.keys.add(key)
    store.keys.add(reader)
    sent = [{}, {"X-API-Key": "x"}, {"X-API-Key": text}, {"X-API-Key": read}]
    answers = await compare(pair(require_key=True), [("GET", url, headers) for url in GOOD for headers in sent])
    assert [a.status_code for a in answers] == [401, 401, 401, 200] * 3
    answers = await compare(pair(rate_per_minute=4), [("GET", url, {}) for url in GOOD * 2])
    assert [a.status_code for a in answers] == [200] * 4 + [429] * 2


async def test_a_bug_is_a_500_in_both(pair):
    apps = pair()
    for app in apps:
        app.state.services = replace(app.state.services, clock=None)
    (answer,) = await compare(apps, [("GET", GOOD[0], {})])
    assert answer.status_code == 500


async def test_under_a_prefix(pair):
    apps = pair()
    answers = []
    for app in apps:
        transport = httpx.ASGITransport(app, root_path="/rain")
        async with httpx.AsyncClient(transport=transport, base_url="http://nowcast/rain") as client:
            answers.append([await client.get(url) for url in GOOD])
    for hot, cold in zip(*answers, strict=True):
        assert hot.status_code == cold.status_code == 200
        assert (hot.headers, hot.content) == (cold.headers, cold.content)
    assert counted(apps[0]) == counted(apps[1])
    assert {route for route, _ in counted(apps[0])} == set(PATHS)


TEXT = st.one_of(
    st.floats(-400, 400).map(str), st.integers(-400, 400).map(str), st.text("0123456789.-+e %&=", max_size=8)
)


@given(st.tuples(TEXT, TEXT).map(lambda pair: f"lat={pair[0]}&lon={pair[1]}".encode()))
def test_the_short_way_reads_a_query_as_the_long_one_does(query):
    def told(read):
        try:
            return read(Request({"type": "http", "query_string": query}))
        except Exception as error:
            return type(error), re.sub(r"0x\w+", "", str(error))

    def long(request):
        point = PointQuery.of(request)
        return point.lat, point.lon

    assert told(point_of) == told(long)
