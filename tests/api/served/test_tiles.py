"""XYZ tiles, TileJSON, legends, the mosaic, and RainViewer's index and paths."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from api.palettes import palette_for
from tests.api.served import made as served
from tests.api.served.made import BERN, GRID, LEADS, ROTTERDAM, STEP, base_time

LUCERNE = (47.0502, 8.3093)


def tile_at(place, z):
    lat, lon = place
    x = (lon + 180) / 360 * 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z
    return int(x), int(y), int(x % 1 * 256), int(y % 1 * 256)


def pixels(response):
    assert response.status_code == 200, response.text
    return np.array(Image.open(io.BytesIO(response.content)).convert("RGBA"))


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize("zoom", [4, 7, 10])
def test_a_tile_shows_the_value_at_its_place(store, client, zoom, form):
    mean = served.rain()
    row, column = GRID.cell(*LUCERNE)
    mean[3, row - 12 : row + 12, column - 12 : column + 12] = 15
    served.publish(store, base_time(), mean=mean)
    x, y, px, py = tile_at(LUCERNE, zoom)
    response = client.get(f"/v1/tiles/alps/latest/rain_mean/20/{zoom}/{x}/{y}.{form}")
    assert response.headers["content-type"] == f"image/{form}"
    colour = palette_for("rain_mean", None).colours[5]
    assert tuple(pixels(response)[py, px, :3]) == tuple(bytes.fromhex(colour[1:]))


def test_the_mosaic_shows_every_region_and_hatches_what_has_no_run(store, client):
    base = base_time()
    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 3, np.float32))
    for place, seen in ((LUCERNE, True), (ROTTERDAM, False)):
        x, y, px, py = tile_at(place, 6)
        picture = pixels(client.get(f"/v1/tiles/mosaic/latest/rain_mean/5/6/{x}/{y}.png"))
        around = picture[py - 2 : py + 3, px - 2 : px + 3, 3]
        assert (around == 225).all() if seen else ((around > 0) & (around < 200)).all()
    x, y, px, py = tile_at((0, -150), 6)
    assert not pixels(client.get(f"/v1/tiles/mosaic/latest/rain_mean/5/6/{x}/{y}.png")).any()
    served.publish(store, base - STEP, "lowlands", mean=np.full((LEADS, 60, 70), 3, np.float32))
    x, y, px, py = tile_at(ROTTERDAM, 6)  # its run is five minutes older: shown at the same valid time
    assert pixels(client.get(f"/v1/tiles/mosaic/latest/rain_mean/5/6/{x}/{y}.png"))[py, px, 3] == 225


def test_tiles_are_conditional_and_a_rerun_is_drawn_anew(store, client):
    base = base_time()
    x, y, _, _ = tile_at(LUCERNE, 7)
    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 3, np.float32))
    path = f"/v1/tiles/alps/{base:%Y%m%dT%H%MZ}/rain_mean/5/7/{x}/{y}.png"
    first = client.get(path)
    assert client.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert client.get(path, headers={"If-Modified-Since": first.headers["last-modified"]}).status_code == 304
    assert "immutable" not in first.headers["cache-control"]
    assert "immutable" in client.get(path, params={"v": 1}).headers["cache-control"]
    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 30, np.float32))
    second = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.content != first.content


def test_tiles_that_are_not_there(store, client):
    served.publish(store, base_time(), members=True)
    for path, status in (
        ("alps/latest/rain_mean/5/6/33/22.png", 200),
        ("alps/latest/prob_0.1/5/6/33/22.png", 200),
        ("alps/latest/accumulated/120/6/33/22.png?size=512&palette=amount-viridis", 200),
        ("alps/latest/rain_mean/0/6/33/22.png", 404),
        ("alps/latest/rain_mean/125/6/33/22.png", 404),
        ("alps/latest/rain_max/5/6/33/22.png", 404),
        ("alps/2020-01-01T00:00:00Z/rain_mean/5/6/33/22.png", 404),
        ("lowlands/latest/rain_mean/5/6/33/22.png", 404),
        ("atlantis/latest/rain_mean/5/6/33/22.png", 404),
        ("alps/latest/rain_mean/5/6/64/22.png", 422),
        ("alps/latest/rain_mean/5/21/0/0.png", 422),
        ("alps/latest/rain_mean/5/6/33/22.gif", 422),
        ("alps/latest/rain_mean/5/6/33/22.png?size=4096", 422),
        ("alps/latest/rain_mean/7/6/33/22.png", 422),
        ("alps/soon/rain_mean/5/6/33/22.png", 422),
        ("alps/latest/rain_mean/5/6/33/22.png?palette=chance", 422),
    ):
        response = client.get(f"/v1/tiles/{path}")
        assert response.status_code == status, (path, response.text)


def test_the_codes_of_sources_are_not_drawn_as_rain(store, client):
    fields = {name: np.ones((LEADS, *GRID.shape), np.float32) for name in ("rain_mean", "rain_source")}
    store.publish(served.run(base_time(), products=tuple(fields)), fields)
    assert client.get("/v1/tiles/alps/latest/rain_mean/5/6/33/22.png").status_code == 200
    assert client.get("/v1/tiles/alps/latest/rain_source/5/6/33/22.png").status_code == 404


def test_tilejson_and_legend(store, client):
    served.publish(store, base_time())
    body = client.get("/v1/tiles/mosaic/latest/rain_mean/30/tilejson.json").json()
    assert body["tilejson"] == "3.0.0"
    url = body["tiles"][0].format(z=6, x=33, y=22)
    assert client.get(url).status_code == 200
    west, south, east, north = body["bounds"]
    assert west < ROTTERDAM[1] < BERN[1] < east
    assert south < BERN[0] < ROTTERDAM[0] < north
    legend = client.get(body["legend"])
    assert legend.headers["content-type"] == "image/svg+xml"
    assert "not seen" in legend.text
    assert client.get("/v1/palettes/none/legend.svg").status_code == 404
    assert client.get("/v1/tiles/atlantis/latest/rain_mean/30/tilejson.json").status_code == 404


def test_rainviewers_clients_find_past_and_forecast_frames(store, client):
    empty = client.get("/public/weather-maps.json").json()
    assert empty["radar"] == {"past": [], "nowcast": []}
    base = base_time()
    for k in range(3):
        served.observe(store, base - k * STEP, np.full(GRID.shape, 3 * k, np.float32), digest=f"{k}")
    served.publish(store, base, mean=np.full((LEADS, *GRID.shape), 3, np.float32))
    index = client.get("/public/weather-maps.json").json()
    assert [f["time"] for f in index["radar"]["past"]] == [int((base - k * STEP).timestamp()) for k in (2, 1, 0)]
    assert [f["time"] for f in index["radar"]["nowcast"]][:2] == [int((base + k * STEP).timestamp()) for k in (1, 2)]
    assert len(index["radar"]["nowcast"]) == LEADS
    x, y, px, py = tile_at(LUCERNE, 6)
    frames = [index["radar"]["past"][2], index["radar"]["past"][0], index["radar"]["nowcast"][-1]]
    for frame, dry in zip(frames, (True, False, False), strict=True):
        picture = pixels(client.get(f"{index['host']}{frame['path']}/256/6/{x}/{y}/2/1_1.png"))
        assert (picture[py, px, 3] == 0) == dry
    centred = pixels(client.get(f"{frame['path']}/512/6/{LUCERNE[0]}/{LUCERNE[1]}/4/0_0.png"))
    assert centred.shape == (512, 512, 4)
    assert centred[256, 256, 3] == 225
    cover = pixels(client.get(f"/v2/coverage/0/256/6/{x}/{y}/0/0_0.png"))
    assert cover[py, px, 3] == 0
    assert cover[..., 3].max() == 128
    for path, status in (
        ("/v2/radar/nothing/256/6/1/1/1/1_1.png", 404),
        ("/v2/radar/0/256/6/1/1/1/1_1.png", 404),
        (f"{frames[0]['path']}-7/256/6/1/1/1/1_1.png", 404),
        (f"{frame['path']}/300/6/1/1/1/1_1.png", 422),
        (f"{frame['path']}/256/6/64/1/1/1_1.png", 422),
        (f"{frame['path']}/256/6/99.0/1.0/1/1_1.png", 422),
    ):
        assert client.get(path).status_code == status, path


def test_lead_0_is_the_observed_rate_whatever_the_product(store, client):
    base = base_time()
    served.publish(store, base, members=True)
    served.observe(store, base, np.full(GRID.shape, 15, np.float32))
    x, y, px, py = tile_at(LUCERNE, 7)
    colour = palette_for("rain_rate", None).colours[5]
    for product in ("rain_mean", "prob_1"):
        picture = pixels(client.get(f"/v1/tiles/alps/latest/{product}/0/7/{x}/{y}.png"))
        assert tuple(picture[py, px, :3]) == tuple(bytes.fromhex(colour[1:]))
    assert client.get(f"/v1/tiles/alps/latest/prob_1/0/7/{x}/{y}.png?palette=chance").status_code == 422
