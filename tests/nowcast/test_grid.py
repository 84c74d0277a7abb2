import json
from dataclasses import replace

import numpy as np
import pytest
from pyproj import CRS, Transformer

from nowcast.errors import OutsideGrid
from nowcast.grid import Grid

ALPS = Grid("EPSG:2056", 2480500.0, 1319500.0, 1000.0, 1000.0, 256, 384)


def test_a_point_falls_into_the_cell_that_holds_it():
    row, column = ALPS.cell(46.9480, 7.4474)  # Bern, LV95 about 2600000 / 1199700
    assert (row, column) == (round((1319500 - 1199747) / 1000), round((2600680 - 2480500) / 1000))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (255, 383), (100, 17)])
def test_every_cell_centre_finds_its_own_cell(row, column):
    lon, lat = Transformer.from_crs("EPSG:2056", "EPSG:4326", always_xy=True).transform(ALPS.x[column], ALPS.y[row])
    assert ALPS.cell(lat, lon) == (row, column)


def test_outside_says_where_the_grid_is():
    with pytest.raises(OutsideGrid, match=r"lat=10.*lat 45\.\d+ to 48\.\d+"):
        ALPS.cell(10.0, 7.0)


def test_rows_run_from_north_to_south():
    assert np.all(np.diff(ALPS.y) < 0)
    assert np.all(np.diff(ALPS.x) > 0)


def test_a_grid_survives_its_coordinates():
    again = Grid.of(ALPS.crs, ALPS.x, ALPS.y)
    assert again.digest == ALPS.digest


GEOS = "+proj=geos +h=35785831 +sweep=y +units=m"
POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=25 +units=km"


@pytest.mark.parametrize("crs", ["EPSG:2056", "EPSG:4326", POLAR, GEOS])
def test_a_digest_says_where_a_grid_lies_and_not_in_which_words(crs):
    """As another release of PROJ would put the same CRS: other versions of WKT, JSON, another name."""
    where = {
        POLAR: (0, -3200, 1),
        "EPSG:2056": (2485000, 1300000, 1000),
        "EPSG:4326": (5, 48, 0.01),
        GEOS: (-9e6, 9e6, 3000),
    }
    x, y, step = where[crs]
    grid, told = Grid(crs, x, y, step, step, 96, 64), CRS(crs)
    named = json.loads(told.to_json()) | {"name": "as they call it"}
    words = [told.to_wkt("WKT2_2019"), told.to_wkt("WKT2_2015"), told.to_json(), json.dumps(named)]
    assert {replace(grid, crs=word).digest for word in words} == {grid.digest}
    assert len({replace(grid, crs=word).digest_of_words for word in words}) > 1
    moved = [replace(grid, x0=x + step / 4), replace(grid, dy=step * 1.001), replace(grid, height=97)]
    assert grid.digest not in {other.digest for other in moved}


def test_the_same_numbers_on_another_ellipsoid_are_another_grid():
    grid = Grid("+proj=longlat +ellps=GRS80", 5, 48, 0.01, 0.01, 8, 8)
    others = ["+proj=longlat +ellps=bessel", "+proj=longlat +ellps=bessel +towgs84=674,15,405"]
    assert len({grid.digest, *(replace(grid, crs=other).digest for other in others)}) == 3


@pytest.mark.parametrize(("x", "y"), [([0, 1, 3], [2, 1, 0]), ([0, 1, 2], [0, 1, 2]), ([0, 0, 0], [2, 1, 0])])
def test_uneven_or_turned_axes_are_refused(x, y):
    with pytest.raises(ValueError, match="evenly spaced"):
        Grid.of("EPSG:2056", np.array(x, float), np.array(y, float))


@pytest.mark.parametrize(
    ("crs", "x", "y", "step", "kilometres"),
    [
        ("EPSG:3035", 4321000, 3210000, 2000, 2.0),  # equal area
        ("EPSG:3857", 0, 8399737, 1000, 0.5),  # Mercator at 60° north
        ("EPSG:4326", 5, 60, 0.01, 0.01 * 111.2 * 0.5**0.5),  # degrees there: half as wide as high
        ("+proj=stere +lat_0=90 +lat_ts=60 +units=km", 0, -3200, 1, 1.0),  # km, at its true latitude
    ],
)
def test_a_pixel_has_a_size_on_the_earth(crs, x, y, step, kilometres):
    assert Grid(crs, x, y, step, step, 2, 2).pixel_km == pytest.approx(kilometres, rel=0.02)


def test_a_pixel_off_the_earth_has_no_size():
    corner = Grid("+proj=geos +h=35785831 +units=m", -9e6, 9e6, 1000, 1000, 64, 64)
    with pytest.raises(OutsideGrid, match="not on the earth"):
        _ = corner.pixel_km
