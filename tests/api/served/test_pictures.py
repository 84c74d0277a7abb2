"""Timeline, pictures, palettes: what a client sees pixel by pixel."""

import io
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from api.mercator import Pickings, pick, region_box, tile_box
from api.palettes import PALETTES, palette_for
from nowcast.grid import WGS84, transformer
from tests.api.served import made as served
from tests.api.served.made import GRID, LEADS, STEP, base_time


def pixels(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    picture = Image.open(io.BytesIO(response.content))
    assert picture.mode == "P"
    return np.array(picture), np.array(picture.convert("RGBA"))


def test_a_timeline_is_two_hours_seen_and_two_hours_ahead(store, client):
    base = base_time()
    for k in range(30):
        served.observe(store, base - k * STEP, digest=f"{k}")
    served.publish(store, base, members=True)
    response = client.get("/v1/regions/alps/timeline")
    body = response.json()
    kinds = [s["kind"] for s in body["steps"]]
    assert kinds == ["observed"] * 25 + ["forecast"] * LEADS
    times = [s["valid_time"] for s in body["steps"]]
    assert times == sorted(times)
    assert [s["lead_minutes"] for s in body["steps"][24:27]] == [None, 5, 10]
    assert [s["source"] for s in body["steps"][24:26]] == ["simulated", None]
    assert set(body["steps"][-1]["images"]) == {*served.ENSEMBLE, "accumulated"}
    assert body["thresholds"] == {"prob_0.1": 0.1, "prob_1": 1, "prob_5": 5, "prob_10": 10}
    for step in (body["steps"][0], body["steps"][-1]):
        for url in step["images"].values():
            picture = client.get(url)
            pixels(picture)
            assert "immutable" in picture.headers["cache-control"]
            assert client.get(url, headers={"If-None-Match": picture.headers["etag"]}).status_code == 304
    assert (
        client.get("/v1/regions/alps/timeline", headers={"If-None-Match": response.headers["etag"]}).status_code == 304
    )
    assert client.get("/v1/regions/lowlands/timeline").status_code == 503


def test_a_picture_shows_each_cell_where_it_is(store, client):
    base, mean = base_time(), served.rain()
    mean[2, 60, 70] = 200
    served.publish(store, base, mean=mean)
    body = client.get("/v1/regions/alps/timeline").json()
    url = body["steps"][2]["images"]["rain_mean"]
    classes, colours = pixels(client.get(url))
    west, south, east, north = body["bounds"]
    box = region_box(GRID)
    assert (box.height, box.width) == classes.shape
    palette = palette_for("rain_mean", None)
    lon, lat = GRID.lonlat()
    merc = lambda v: np.arcsinh(np.tan(np.radians(v)))  # noqa: E731
    columns = np.floor((lon - west) / (east - west) * box.width).astype(int)
    rows = np.floor((merc(north) - merc(lat)) / (merc(north) - merc(south)) * box.height).astype(int)
    shown, want = classes[rows, columns], np.searchsorted(palette.edges, np.round(mean[2], 2), side="right")
    unseen = np.isnan(mean[2])
    assert (shown[unseen] >= palette.unseen).mean() > 0.99  # on its border the next cell may be nearer
    same = shown[~unseen] == want[~unseen]
    assert same.mean() > 0.97
    assert shown[60, 70] == len(palette.colours)
    assert (colours[..., 3][classes == 0] == 0).all()
    assert (colours[..., 3][classes > 0] > 0).all()
    assert {palette.unseen, palette.unseen + 1} <= set(np.unique(classes))  # a hatch: two shades


def test_what_a_satellite_filled_is_dotted_and_what_a_radar_saw_is_not(store, client):
    """The second source of these regions is a satellite; it fills a box, from the third lead on nothing."""
    store.put_regions([replace(r, sources=("simulated", "simulated-sat")) for r in served.regions()])
    base, mean = base_time(), np.zeros((LEADS, *GRID.shape), np.float32)
    source = np.ones_like(mean)
    source[:2, 60:100, 70:110] = 2
    mean[:, :30, :40] = source[:, :30, :40] = np.nan
    fields = {"rain_mean": mean, "rain_source": source}
    store.publish(served.run(base, products=tuple(fields)), fields)
    body = client.get("/v1/regions/alps/timeline").json()
    assert client.get("/v1/regions/alps").json()["satellites"] == ["simulated-sat"]
    assert body["coverage"] == pytest.approx(1 - 30 * 40 / mean[0].size, abs=1e-4)
    assert body["satellite"] == pytest.approx(40 * 40 / mean[0].size, abs=1e-4)
    assert ["satellite" in s["images"] for s in body["steps"]] == [True, True] + [False] * (LEADS - 2)
    assert body["products"] == ["rain_mean"]
    picture = client.get(body["steps"][1]["images"]["satellite"])
    assert "immutable" in picture.headers["cache-control"]
    _, colours = pixels(picture)
    lon, lat = GRID.lonlat()
    box = region_box(GRID)
    west, south, east, north = body["bounds"]
    merc = lambda v: np.arcsinh(np.tan(np.radians(v)))  # noqa: E731
    columns = np.floor((lon - west) / (east - west) * box.width).astype(int)
    rows = np.floor((merc(north) - merc(lat)) / (merc(north) - merc(south)) * box.height).astype(int)
    marked = colours[..., 3] > 0
    inside = np.zeros(GRID.shape, bool)
    inside[60:100, 70:110] = True
    edge = np.zeros(GRID.shape, bool)
    edge[58:102, 68:112] = True
    shown = marked[rows, columns]
    assert 0.1 < shown[inside].mean() < 0.5  # dots, not a cover
    assert not shown[~edge].any()
    for top in range(60, 92, 8):  # no part of it without a dot
        assert shown[top : top + 8, 72:80].any()
    assert not pixels(client.get(body["steps"][1]["images"]["satellite"].replace("/10.png", "/15.png")))[1].any()


def test_a_run_without_satellites_has_no_such_picture(store, client):
    base = base_time()
    served.publish(store, base)
    body = client.get("/v1/regions/alps/timeline").json()
    assert body["satellite"] == 0
    assert body["coverage"] == pytest.approx(1 - 30 * 40 / served.rain()[0].size, abs=1e-4)
    url = body["steps"][0]["images"]["rain_mean"].replace("rain_mean", "satellite")
    assert client.get(url).status_code == 404


def test_interpolated_positions_are_those_of_pyproj():
    for grid in (GRID, served.regions()[1].grid):
        for box in (region_box(grid), tile_box(7, 66, 44, 256), tile_box(5, 16, 11, 256), tile_box(0, 0, 0, 256)):
            picked = pick(grid, box)
            if picked is None:
                continue
            y, x = np.mgrid[: box.height, : box.width]
            mx = box.west + (x + 0.5) * (box.east - box.west) / box.width
            my = box.north - (y + 0.5) * (box.north - box.south) / box.height
            gx, gy = transformer("EPSG:3857", grid.crs).transform(mx, my)
            rows, columns = (np.rint(v) for v in grid.positions(gx, gy))
            inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
            top, bottom, left, right = picked.window
            outside = (bottom - top) * (right - left)
            mine = picked.flat != outside
            limit = 0.003 if (box.east - box.west) / box.width < 5000 else 0.02
            assert (mine != inside).mean() < limit
            both = mine & inside
            if both.any():
                got = picked.flat[both]
                metres = (box.east - box.west) / box.width
                assert np.abs(got // (right - left) + top - rows[both]).max() * 1000 < max(1500, metres / 10)
                assert metres > 5000 or (got // (right - left) + top == rows[both]).mean() > 0.95


def test_every_region_here_has_a_wgs84_box_around_it():
    for region in served.regions():
        west, south, east, north = region_box(region.grid).bounds
        lon, lat = region.grid.lonlat()
        assert west < lon.min() < lon.max() < east
        assert south < lat.min() < lat.max() < north
        assert transformer(WGS84, region.grid.crs)


def test_accumulated_rain_is_the_sum_of_the_leads(store, client):
    base = base_time()
    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 6, np.float32))
    for minutes, amount in ((5, 0.5), (60, 6), (120, 12)):
        classes, _ = pixels(
            client.get(f"/v1/images/alps/{base.isoformat()}/accumulated/{minutes}.png".replace("+00:00", "Z"))
        )
        palette = palette_for("accumulated", None)
        assert classes[classes.shape[0] // 2, classes.shape[1] // 2] == np.searchsorted(palette.edges, amount, "right")


def test_all_unseen_and_all_dry_look_different(store, client):
    base = base_time()
    for name, value in (("unseen", np.nan), ("dry", 0)):
        served.publish(store, base, mean=np.full((LEADS, *GRID.shape), value, np.float32))
        _, colours = pixels(
            client.get(client.get("/v1/regions/alps/timeline").json()["steps"][0]["images"]["rain_mean"])
        )
        middle = colours[60:100, 60:100, 3]
        assert (middle > 0).all() if name == "unseen" else (middle == 0).all()


def test_pictures_that_are_not_there(store, client):
    base = base_time()
    served.publish(store, base)
    served.observe(store, base)
    stamp = base.isoformat().replace("+00:00", "Z")
    compact = f"{base:%Y%m%dT%H%MZ}"
    for path, status in (
        (f"/v1/images/alps/{stamp}/rain_mean/5.png", 200),
        (f"/v1/images/alps/{compact}/rain_mean/5.png", 200),
        (f"/v1/images/alps/{stamp}/rain_mean/5.png?palette=viridis", 200),
        (f"/v1/images/alps/{stamp}/rain_mean/5.png?palette=chance", 422),
        (f"/v1/images/alps/{stamp}/rain_mean/5.png?palette=nope", 404),
        (f"/v1/images/alps/{stamp}/prob_1/5.png", 404),
        (f"/v1/images/alps/{stamp}/member_01/5.png", 404),
        (f"/v1/images/alps/{stamp}/rain_mean/125.png", 404),
        (f"/v1/images/alps/{stamp}/rain_mean/7.png", 422),
        (f"/v1/images/alps/{(base - STEP).isoformat().replace('+00:00', 'Z')}/rain_mean/5.png", 404),
        (f"/v1/images/alps/observed/{stamp}.png", 200),
        ("/v1/images/alps/observed/2020-01-01T00:00:00Z.png", 404),
        ("/v1/images/alps/observed/yesterday.png", 422),
        (f"/v1/images/atlantis/{stamp}/rain_mean/5.png", 404),
    ):
        response: httpx.Response = client.get(path)
        assert response.status_code == status, (path, response.text[:300])
        if status == 200:
            assert "immutable" not in response.headers["cache-control"]  # no `v`: a rerun may replace it


def test_a_revised_observation_is_a_new_picture(store, client):
    base = base_time()
    served.publish(store, base)
    served.observe(store, base, np.zeros(GRID.shape, np.float32), digest="1")
    first = client.get("/v1/regions/alps/timeline").json()["steps"][0]["images"]["observed"]
    before = client.get(first).content
    assert served.observe(store, base, np.full(GRID.shape, 5, np.float32), digest="2")
    assert not served.observe(store, base, np.full(GRID.shape, 9, np.float32), digest="2")
    second = client.get("/v1/regions/alps/timeline").json()["steps"][0]["images"]["observed"]
    assert second != first
    assert client.get(second).content != before


def test_no_date_confirms_an_observation_since_a_revision_has_the_same(store, client):
    base = base_time()
    served.publish(store, base)
    paths = (f"/v1/images/alps/observed/{base:%Y%m%dT%H%MZ}.png", "/v1/tiles/alps/latest/rain_mean/0/7/66/45.png")
    served.observe(store, base, np.zeros(GRID.shape, np.float32), digest="1")
    before = [client.get(path) for path in paths]
    served.observe(store, base, np.full(GRID.shape, 5, np.float32), digest="2")
    for path, first in zip(paths, before, strict=True):
        since = {"If-Modified-Since": first.headers["last-modified"]}
        assert client.get(path, headers=since).status_code == 200
        now = client.get(path)
        assert now.headers["etag"] != first.headers["etag"]
        assert client.get(path, headers={"If-None-Match": now.headers["etag"]}).status_code == 304


def test_words_of_urls_are_not_kept_for_ever():
    for number in range(1000):
        palette_for(f"any word {number}", None)
    assert palette_for.cache_info().currsize <= 256


def lightness(colour):
    """CIE L* of an sRGB colour."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ (0.2126, 0.7152, 0.0722)
    return 116 * np.cbrt(y) - 16 if y > 0.008856 else 903.3 * y


@pytest.mark.parametrize("palette", [p for p in PALETTES if p.name != "classic"], ids=lambda p: p.name)
def test_lightness_falls_with_the_value(palette):
    steps = np.diff([lightness(c) for c in palette.colours])
    assert (steps < -3).all(), steps


def test_palettes_are_listed_with_one_default_per_kind(client):
    body = client.get("/v1/palettes").json()
    assert sorted(p["kind"] for p in body if p["default"]) == ["accumulation", "probability", "rate"]
    for palette in body:
        classes = palette["classes"]
        assert [c["to"] for c in classes[:-1]] == [c["from"] for c in classes[1:]]
        assert classes[-1]["to"] is None
        assert palette["not_seen"].startswith("#")
    assert Pickings(0).of(GRID, tile_box(3, 0, 0, 256)) is None
