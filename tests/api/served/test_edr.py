"""OGC API – EDR: every query, every format, against the store's values; its metadata against its own models."""

import json
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import xarray as xr

from api.edr import formats, geometry, select
from api.live import stamp
from nowcast.errors import BadRequest
from nowcast.grid import WGS84, Grid, transformer
from nowcast.run import RegionRecord
from nowcast.store.store import Store
from tests.api.served import made as served
from tests.api.served.made import GRID, LEADS, STEP, base_time

LUCERNE = (47.0502, 8.3093)
BLANKS, DIGITS = " " * 20_000, "1" * 100_000
RAIN = "/edr/collections/alps_rain"


@pytest.fixture
def base(store):
    base = base_time()
    served.publish(store, base, members=True)
    return base


def ask(client, query, status=200, collection=RAIN, **params):
    response = client.get(f"{collection}/{query}", params={k.replace("_", "-"): v for k, v in params.items()})
    assert response.status_code == status, response.text
    return response


def value(lat, lon):
    return served.rain()[:, *GRID.cell(lat, lon)]


def point(place):
    return f"POINT({place[1]} {place[0]})"


def test_positions_far_apart_decode_each_chunk_once(store, sqlite_url):
    """The cache holds one product here: with one position after another, each of them decoded a chunk per product."""
    served.publish(store, base_time(), members=True)
    small = Store.open(sqlite_url, cache_bytes=1_200_000)
    loads, load = [], small.pixels._load_place
    small.pixels._load_place = lambda *asked: loads.append(asked) or load(*asked)
    run = small.newest("alps")
    source = select.Source(run, GRID, served.ENSEMBLE[:4], tuple(range(24)))
    corners = [(GRID.x[column], GRID.y[row]) for row in (5, 139) for column in (60, 149)] * 10
    lonlat = np.array(transformer(GRID.crs, WGS84).transform(*zip(*corners, strict=True))).T
    found = select.at_points(small.pixels, source, lonlat)
    assert len(found.lon) == 40
    assert len(loads) == 4 * 4
    small.close()


def test_times_and_places_are_written_once_each(store, client, monkeypatch):
    """A million lines took 8 s of a core, of which other requests got little."""
    stamps = []
    monkeypatch.setattr(formats, "stamp", lambda time: stamps.append(time) or stamp(time))
    served.publish(store, base_time())
    answer = client.get("/edr/collections/alps_rain/cube?bbox=8,46.9,8.5,47.2&f=CSV")
    lines = answer.text.splitlines()
    assert len(lines) > 10_000
    assert len(stamps) == LEADS


def test_metadata_is_as_edr_models_it(client, base):
    edr = pytest.importorskip("edr_pydantic", reason="edr-pydantic is not installed")
    from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
    from edr_pydantic.collections import Collection, Collections, Instances

    assert edr
    landing = LandingPageModel.model_validate_json(client.get("/edr").text)
    assert {"service-desc", "service-doc", "license", "data", "conformance"} <= {link.rel for link in landing.links}
    assert ConformanceModel.model_validate_json(client.get("/edr/conformance").text)
    collections = Collections.model_validate_json(client.get("/edr/collections").text)
    assert [c.id for c in collections.collections] == ["alps_rain", "alps_chance", "alps_amount"]
    one = Collection.model_validate_json(client.get(RAIN).text)
    assert set(one.parameter_names.root) == {"rain_mean", "rain_p10", "rain_p50", "rain_p90"}
    Instances.model_validate_json(client.get(f"{RAIN}/instances").text)


def test_every_link_leads_somewhere(client, base):
    seen, queue = set(), ["/edr"]
    while queue:
        path = queue.pop()
        body = client.get(path)
        assert body.status_code == 200, path
        for found in json.dumps(body.json()).split('"href": "')[1:]:
            href = found.split('"')[0].replace(str(client.base_url).rstrip("/"), "")
            queries = ("/position", "/area", "/cube", "/radius", "/trajectory")
            if href.startswith("/edr") and href not in seen and not href.endswith(queries):
                seen.add(href)
                queue.append(href)
    assert f"{RAIN}/instances" in seen
    assert f"{RAIN}/locations" in seen


def test_coverages_are_as_coveragejson_models_them(client, base):
    pytest.importorskip("covjson_pydantic", reason="covjson-pydantic is not installed")
    from covjson_pydantic.coverage import Coverage, CoverageCollection

    box = "8.0,46.8,8.4,47.1"
    for query, params, kind in (
        ("position", {"coords": point(LUCERNE)}, Coverage),
        ("position", {"coords": "MULTIPOINT((8.31 47.05),(8.4 46.9))"}, CoverageCollection),
        ("cube", {"bbox": box}, Coverage),
        ("trajectory", {"coords": "LINESTRING(8.31 47.05,8.54 47.3)"}, Coverage),
        ("locations/lucerne", {}, Coverage),
    ):
        kind.model_validate_json(ask(client, query, **params).text)


def test_position_is_the_stores_values_at_explicit_times(client, base):
    body = ask(client, "position", coords=point(LUCERNE), parameter_name="rain_mean").json()
    assert body["domain"]["domainType"] == "PointSeries"
    assert body["domain"]["axes"]["t"]["values"][0] == (base + STEP).isoformat().replace("+00:00", "Z")
    np.testing.assert_allclose(body["ranges"]["rain_mean"]["values"], value(*LUCERNE), atol=0.0101)
    for crs in ("OGC:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"):
        assert ask(client, "position", coords=point(LUCERNE), parameter_name="rain_mean", crs=crs).json() == body
    assert body["parameters"]["rain_mean"]["observedProperty"]["id"].startswith("https://vocab.nerc.ac.uk/")
    assert body["parameters"]["rain_mean"]["unit"]["symbol"]["type"].startswith("https://qudt.org/vocab/unit/")
    chance = ask(client, "position", collection="/edr/collections/alps_chance", coords=point(LUCERNE)).json()
    assert set(chance["ranges"]) == {"prob_0.1", "prob_1", "prob_5", "prob_10"}
    amount = ask(client, "position", collection="/edr/collections/alps_amount", coords=point(LUCERNE)).json()
    np.testing.assert_allclose(amount["ranges"]["accumulated"]["values"], np.cumsum(value(*LUCERNE)) / 12, atol=0.06)


def test_several_positions_and_those_outside_left_out(client, base):
    body = ask(client, "position", coords="MULTIPOINT((8.31 47.05),(0 0),(8.4 46.9))").json()
    assert len(body["coverages"]) == 2
    for coverage, place in zip(body["coverages"], (LUCERNE, (46.9, 8.4)), strict=True):
        np.testing.assert_allclose(coverage["ranges"]["rain_mean"]["values"], value(*place), atol=0.0101)


def test_datetime_selects_periods(client, base):
    def count(when):
        response = client.get(f"{RAIN}/position", params={"coords": point(LUCERNE), "datetime": when})
        return len(response.json()["domain"]["axes"]["t"]["values"]) if response.status_code == 200 else 204

    def at(minutes):
        return (base + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")

    assert count(at(5)) == 1
    assert count(at(3)) == 1
    assert count(f"{at(5)}/{at(30)}") == 6
    assert count(f"../{at(10)}") == 2
    assert count(f"{at(115)}/..") == 2
    assert count("../..") == LEADS
    assert count(at(0)) == 204
    assert count(at(500)) == 204
    ask(client, "position", 400, coords=point(LUCERNE), datetime="noon")


def test_not_seen_is_204_or_null_and_outside_is_a_problem(client, base):
    lon, lat = GRID.lonlat()
    unseen = f"POINT({lon[10, 10]:.4f} {lat[10, 10]:.4f})"
    assert ask(client, "position", 204, coords=unseen).content == b""
    edge = f"{lon[15, 25]:.4f},{lat[35, 25]:.4f},{lon[15, 60]:.4f},{lat[15, 60]:.4f}"
    values = ask(client, "cube", bbox=edge, parameter_name="rain_mean").json()["ranges"]["rain_mean"]["values"]
    assert None in values
    assert any(v is not None for v in values)
    ask(client, "position", 404, coords="POINT(0 0)")
    ask(client, "cube", 404, bbox="0,0,1,1")


@pytest.mark.parametrize(
    ("query", "params", "status"),
    [
        ("position", {"coords": "POINT(8.3)"}, 400),
        ("position", {"coords": "POINT(8.3 nan)"}, 400),
        ("position", {"coords": "POINT(8.3 147)"}, 400),
        ("position", {"coords": "POLYGON((8 47,8.1 47,8 47.1,8 47))"}, 400),
        ("position", {"coords": "POINT EMPTY"}, 400),
        ("position", {}, 400),
        ("position", {"coords": "POINT(8.3 47)", "parameter_name": "snow"}, 400),
        ("position", {"coords": "POINT(8.3 47)", "f": "GRIB"}, 400),
        ("position", {"coords": "MULTIPOINT(" + ",".join(["8.3 47"] * 1001) + ")"}, 413),
        ("position", {"coords": "POINT(8.3 47)", "datetime": "2026-03-02T00:00Z/2026-03-01T00:00Z"}, 400),
        ("position", {"coords": "POINT(47 8.3)", "crs": "EPSG:4326"}, 400),
        ("area", {"coords": "POLYGON((8.3 47,8.4 47.1))"}, 400),
        ("cube", {"bbox": "8.4,47,8.3,48"}, 400),
        ("cube", {"bbox": "here"}, 400),
        ("radius", {"coords": "POINT(8.3 47)", "within": "10", "within_units": "leagues"}, 400),
        ("radius", {"coords": "POINT(8.3 47)", "within": "-1", "within_units": "km"}, 400),
        ("trajectory", {"coords": "POINT(8.3 47)"}, 400),
        ("trajectory", {"coords": "LINESTRINGM(8.3 47 1e300,8.4 47 1e301)"}, 400),
        ("locations/nowhere", {}, 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem(client, base, query, params, status):
    response = ask(client, query, status, **params)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status


@pytest.mark.parametrize(
    "text",
    [
        f"{BLANKS}A{BLANKS}Z{BLANKS}x",
        f"SRID=4326;{BLANKS}A{BLANKS}x",
        BLANKS,
        f"POINT{BLANKS}",
        f"POINT({DIGITS}x 1)",
        f"POINT(1 {DIGITS}.{DIGITS}x)",
        f"POINT({'(' * 20_000}",
        f"POINT {'+' * 20_000}",
        "POINTZM" * 3_000,
    ],
    ids=range(9),
)
def test_long_nonsense_is_refused_as_fast_as_short(text):
    began = time.monotonic()
    with pytest.raises(BadRequest, match="coords"):
        geometry.parse(text, "POINT")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "POINT(8.3 47)",
        " \n point ( 8.3 47. ) ",
        "SRID=4326; POINT Z (8.3 +47 1e2)",
        "srid=4326;POINTM(8.3 47.0E0 .5)",
        "POINT zm (8.3 47 1 2)",
    ],
)
def test_wkt_is_read_however_it_is_spaced(text):
    shape = geometry.parse(text, "POINT")
    assert (shape.kind, shape.parts[0][0, :2].tolist()) == ("POINT", [8.3, 47])


def test_area_and_radius_are_masked_cubes(client, base):
    triangle = "POLYGON((8.0 46.8,8.6 46.8,8.6 47.2,8.0 46.8))"
    body = ask(client, "area", coords=triangle, parameter_name="rain_mean").json()
    shape = body["ranges"]["rain_mean"]["shape"]
    axes = body["domain"]["axes"]
    lon = np.linspace(axes["x"]["start"], axes["x"]["stop"], axes["x"]["num"])
    lat = np.linspace(axes["y"]["start"], axes["y"]["stop"], axes["y"]["num"])
    assert shape == [LEADS, len(lat), len(lon)]
    values = np.array(body["ranges"]["rain_mean"]["values"], float).reshape(shape)
    mean = served.rain()
    for i, y in enumerate(lat):
        for j, x in enumerate(lon):
            if (y - 46.8) < (x - 8.0) / 0.6 * 0.4 - 1e-9:
                row, column = GRID.cell(y, x)
                np.testing.assert_allclose(values[:, i, j], mean[:, row, column], atol=0.0101)
            else:
                assert np.isnan(values[:, i, j]).all()
    around = {"coords": point(LUCERNE), "within": "12", "within_units": "km", "parameter_name": "rain_mean"}
    circle = ask(client, "radius", **around).json()["ranges"]["rain_mean"]
    seen = np.array(circle["values"], float)[: np.prod(circle["shape"][1:])]
    assert np.isfinite(seen).sum() == pytest.approx(np.pi * 12**2, rel=0.1)


def by_each_edge(rings, lon, lat):
    """The even-odd rule as it is defined: an edge at a time, each against every position."""
    found = np.zeros(np.broadcast(lon, lat).shape, bool)
    for ring in rings:
        for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if ay != by:
                crosses = (lat < max(ay, by)) & (lat >= min(ay, by))
                found ^= crosses & (lon < ax + (lat - ay) * (bx - ax) / (by - ay))
    return found


def test_inside_is_the_even_odd_rule():
    rng = np.random.default_rng(1)
    for number in range(200):
        lon, lat = np.unique(rng.integers(0, 20, 12)) * 1.0, np.unique(rng.integers(0, 20, 15))[::-1] * 1.0
        rings = [rng.uniform(-3, 23, (rng.integers(1, 12), 2)) for _ in range(rng.integers(1, 4))]
        rings = tuple(np.rint(ring) if number % 2 else ring for ring in rings)  # vertices on positions too
        np.testing.assert_array_equal(geometry.inside(rings, lon, lat), by_each_edge(rings, *np.meshgrid(lon, lat)))


def test_a_thousand_vertices_cost_no_more_than_the_values():
    turn = np.linspace(0, 2 * np.pi, 1000)
    away = 5 + np.sin(40 * turn)
    star = np.stack([away * np.cos(turn), away * np.sin(turn)], axis=1)
    began = time.process_time()
    found = geometry.inside((star,), np.linspace(-7, 7, 1000), np.linspace(7, -7, 1000))
    assert time.process_time() - began < 0.5  # 10 s edge by edge
    assert found.mean() == pytest.approx(np.pi * (5**2 + 0.5) / 14**2, rel=0.01)


def test_a_grid_in_degrees_is_its_own_cube(client, store, base, tmp_path):
    """Its cells are narrower than high on the ground: none may be left out."""
    grid = Grid("EPSG:4326", -100.0, 45.0, 0.01, 0.01, 60, 90)
    store.put_regions([RegionRecord("plains", "Plains", grid, ("simulated",), "advection")])
    mean = np.random.default_rng(1).integers(1, 99, (LEADS, *grid.shape)).astype(np.float32)
    store.publish(replace(served.run(base), region="plains", grid_digest=grid.digest), {"rain_mean": mean})
    west, south, east, north = grid.bounds
    box = f"{west},{south},{east},{north}"
    file = ask(client, "cube", collection="/edr/collections/plains_rain", bbox=box, f="NetCDF")
    (tmp_path / "a.nc").write_bytes(file.content)
    with xr.open_dataset(tmp_path / "a.nc") as made:
        np.testing.assert_allclose(made["longitude"], grid.x, atol=1e-9)
        np.testing.assert_array_equal(made["rain_mean"], mean)


def test_a_way_takes_each_position_at_its_own_time(client, base):
    start, mean = base.timestamp(), served.rain()
    places = [(8.31, 47.05), (8.4, 47.0), (8.5, 46.9)]
    line = ",".join(f"{x} {y} {start + 60 * minutes:.0f}" for (x, y), minutes in zip(places, (3, 33, 118), strict=True))
    body = ask(client, "trajectory", coords=f"LINESTRINGM({line})", parameter_name="rain_mean").json()
    assert body["domain"]["domainType"] == "Trajectory"
    want = [mean[lead, *GRID.cell(y, x)] for (x, y), lead in zip(places, (0, 6, 23), strict=True)]
    np.testing.assert_allclose(body["ranges"]["rain_mean"]["values"], want, atol=0.0101)
    interval = f"{base.isoformat()}/{(base + 24 * STEP).isoformat()}".replace("+00:00", "Z")
    paced = ask(client, "trajectory", coords="LINESTRING(8.31 47.05,8.31 47.0,8.31 46.95)", datetime=interval).json()
    times = [row[0] for row in paced["domain"]["axes"]["composite"]["values"]]
    assert times[1] == (base + 12 * STEP).isoformat().replace("+00:00", "Z")
    back = ask(client, "trajectory", coords="LINESTRING(8.31 47.05,8.4 47,8.31 47.05)", datetime=interval[-20:]).json()
    assert [place[1:] for place in back["domain"]["axes"]["composite"]["values"]] == [[8.31, 47.05], [8.4, 47]]
    assert back["ranges"]["rain_mean"]["shape"] == [2]
    late = f"LINESTRINGM(8.31 47.05 {start + 9e6:.0f},8.4 47 {start + 9e6 + 60:.0f})"
    ask(client, "trajectory", 404, coords=late)


def test_the_other_formats_say_the_same(client, base, tmp_path):
    want = value(*LUCERNE)
    geo = ask(client, "position", coords=point(LUCERNE), f="GeoJSON").json()
    np.testing.assert_allclose(geo["features"][0]["properties"]["rain_mean"], want, atol=0.0101)
    lines = ask(client, "position", coords=point(LUCERNE), f="CSV").text.splitlines()
    assert lines[0] == "time,longitude,latitude,rain_mean,rain_p10,rain_p50,rain_p90"
    np.testing.assert_allclose([float(line.split(",")[3]) for line in lines[1:]], want, atol=0.0101)
    file = ask(client, "cube", bbox="8.0,46.8,8.6,47.2", f="NetCDF")
    assert file.headers["content-type"] == "application/netcdf"
    (tmp_path / "a.nc").write_bytes(file.content)
    with xr.open_dataset(tmp_path / "a.nc") as made:
        got = made["rain_mean"].sel(latitude=LUCERNE[0], longitude=LUCERNE[1], method="nearest")
        row, column = GRID.cell(float(got.latitude), float(got.longitude))
        np.testing.assert_allclose(got.values, served.rain()[:, row, column], atol=0.0101)
        assert made["rain_mean"].attrs["units"] == "mm h-1"


def test_instances_are_runs(client, store, base):
    served.publish(store, base - STEP, mean=np.full((LEADS, *GRID.shape), 7, np.float32))
    body = client.get(f"{RAIN}/instances").json()
    assert len(body["instances"]) == 2
    older = body["instances"][1]["id"]
    values = ask(client, f"instances/{older}/position", coords=point(LUCERNE)).json()["ranges"]["rain_mean"]["values"]
    assert set(values) == {7}
    latest = ask(client, "instances/latest/position", coords=point(LUCERNE)).json()
    assert latest == ask(client, "position", coords=point(LUCERNE)).json()
    ask(client, "instances/20200101T0000Z/position", 404, coords=point(LUCERNE))
    ask(client, "instances/2020-01-01T00:00:00/position", 400, coords=point(LUCERNE))
    ask(client, "position", 404, collection=f"/edr/collections/alps_chance/instances/{older}", coords=point(LUCERNE))
    ask(client, "position", 404, collection="/edr/collections/alps_snow", coords=point(LUCERNE))


def test_large_answers_are_refused_before_any_work(client, base, monkeypatch):
    monkeypatch.setattr("api.edr.select.MOST_VALUES", 10_000)
    refused = ask(client, "cube", 413, bbox="7,46,9,47.3").json()
    assert "at most 10000" in refused["detail"]


def test_answers_are_conditional(client, base):
    first = ask(client, "position", coords=point(LUCERNE))
    again = client.get(first.url, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
