"""What `nowcast inspect` says and draws."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.inspect import COLOURS, DRY, UNSEEN, UNSEEN_STRIPE, describe, inspect_file, picture
from nowcast.sources import source_named

GRID = Grid("EPSG:3035", 4_000_000.0, 3_000_000.0, 1000.0, 1000.0, 2, 3)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
VALUES = np.array([[np.nan, 0, 0.05], [1.5, 60, 0]])


def test_shares_and_rates():
    frame = make_frame(VALUES, GRID, NOON, "odim", "abc", 5, np.full((2, 3), 0.5))
    found = describe(frame, "file", source_named("odim"))
    assert found.not_seen == pytest.approx(1 / 6)
    assert found.wet == pytest.approx(2 / 5)
    assert found.mean == pytest.approx(61.55 / 5)
    assert (found.maximum, found.quality, found.digest) == (60, 0.5, "abc")
    assert (found.height, found.width, found.cell_x, found.cell_unit) == (2, 3, 1000, "m")
    told = json.loads(found.to_json())
    assert told["valid_time"] == "2024-05-01T12:00:00+00:00"
    assert told["unit"] == "mm h-1"
    assert dict(found.lines())["not seen"] == "16.67 %"
    assert "over 5 min" in dict(found.lines())["valid time"]


def test_nothing_seen_is_said():
    frame = make_frame(np.full((2, 3), np.nan), GRID, NOON, "odim")
    found = describe(frame, "file", source_named("odim"))
    assert (found.mean, found.maximum, found.not_seen, found.wet) == (None, None, 1, 0)
    assert dict(found.lines())["rain rate"] == "nothing seen"


def test_the_picture_tells_three_states_apart():
    image = Image.open(io.BytesIO(picture(make_frame(VALUES, GRID, NOON, "odim")))).convert("RGB")
    assert image.size == (3, 2)
    assert image.getpixel((0, 0)) in {UNSEEN, UNSEEN_STRIPE}
    assert image.getpixel((1, 0)) == image.getpixel((2, 0)) == DRY
    assert image.getpixel((0, 1)) == COLOURS[2]
    assert image.getpixel((1, 1)) == COLOURS[-1]


def test_a_large_picture_is_thinned_and_keeps_its_wettest():
    values = np.zeros((40, 60))
    values[13, 17] = 100
    grid = Grid("EPSG:3035", 0.0, 0.0, 1000.0, 1000.0, 40, 60)
    image = Image.open(io.BytesIO(picture(make_frame(values, grid, NOON, "odim"), widest=15))).convert("RGB")
    assert image.size == (15, 10)
    assert image.getpixel((4, 3)) == COLOURS[-1]


def test_colours_darken_with_rain():
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (DRY, *COLOURS)]
    assert lightness == sorted(lightness, reverse=True)


def test_a_geostationary_file_is_bounded_by_what_it_sees(shared_data):
    found, frame = inspect_file(sorted((shared_data / "raw" / "nwcsaf_crr_nc").iterdir())[0])
    assert found.satellite
    assert found.source == "nwcsaf-crr"
    west, south, east, north = found.bounds
    assert -76 < west < -70
    assert 23 < south < 25
    assert 70 < east < 76
    assert 78 < north < 82
    assert len(picture(frame, 300)) > 500
