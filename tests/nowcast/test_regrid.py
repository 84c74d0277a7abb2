"""Fields on other grids: nearest where the source is coarser, means where it is finer, in any CRS."""

from datetime import UTC, datetime

import numpy as np
import pytest

from nowcast.frame import grid_of, make_frame
from nowcast.grid import Grid, transformer
from nowcast.regrid import _Mean, _Nearest, _plan, regrid, regrid_field
from nowcast.sources import read_frame

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
LAEA = "EPSG:3035"
FINE = Grid(LAEA, 4_000_250.0, 3_000_750.0, 500.0, 500.0, 64, 64)
COARSE = Grid(LAEA, 4_000_500.0, 3_000_500.0, 1000.0, 1000.0, 32, 32)


def test_the_same_grid_is_the_same_field():
    values = np.random.default_rng(1).random(FINE.shape, np.float32)
    assert regrid_field(values, FINE, FINE) is values


def test_mean_of_four_cells():
    values = np.random.default_rng(1).random(FINE.shape, np.float32)
    assert isinstance(_plan(FINE, COARSE), _Mean)
    expected = values.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.allclose(regrid_field(values, FINE, COARSE), expected, atol=1e-6)


def test_a_mean_keeps_the_amount_of_rain_where_a_nearest_cell_does_not():
    values = np.zeros(FINE.shape, np.float32)
    values[10, 11] = 40
    mean = regrid_field(values, FINE, COARSE)
    assert mean.sum() * 4 == pytest.approx(values.sum())
    assert mean.max() == pytest.approx(10)


def test_a_mean_is_over_what_is_seen_and_needs_half_of_it():
    values = np.ones(FINE.shape, np.float32)
    values[0, 0] = np.nan
    values[2, 2], values[2, 3], values[3, 2] = np.nan, np.nan, np.nan
    mean = regrid_field(values, FINE, COARSE)
    assert mean[0, 0] == 1
    assert np.isnan(mean[1, 1])
    assert np.isnan(mean).sum() == 1


def test_uneven_ratios_weigh_parts_of_cells():
    source = Grid(LAEA, 50.0, 950.0, 100.0, 100.0, 10, 10)
    target = Grid(LAEA, 125.0, 875.0, 250.0, 250.0, 4, 4)
    values = np.tile(np.arange(10, dtype=np.float32), (10, 1))
    mean = regrid_field(values, source, target)
    assert np.allclose(
        mean[0], [(0 + 1 + 0.5 * 2) / 2.5, (0.5 * 2 + 3 + 4) / 2.5, (5 + 6 + 3.5) / 2.5, (3.5 + 8 + 9) / 2.5], atol=0.15
    )


def test_nearest_from_a_coarser_source():
    values = np.arange(32 * 32, dtype=np.float32).reshape(32, 32)
    assert isinstance(_plan(COARSE, FINE), _Nearest)
    assert np.array_equal(regrid_field(values, COARSE, FINE), values.repeat(2, 0).repeat(2, 1))


def test_outside_is_not_seen():
    far = Grid(LAEA, 4_020_500.0, 3_000_500.0, 1000.0, 1000.0, 32, 32)
    moved = regrid_field(np.ones(COARSE.shape, np.float32), COARSE, far)
    assert np.isfinite(moved[:, :12]).all()
    assert np.isnan(moved[:, 12:]).all()


@pytest.mark.parametrize("crs", ["EPSG:28992", "EPSG:4326", "EPSG:2056"])
def test_a_place_stays_where_it_is_in_any_crs(crs):
    lon, lat = 7.0, 50.5
    source = Grid(LAEA, *transformer("EPSG:4326", LAEA).transform(lon - 1, lat + 1), 1000.0, 1000.0, 300, 200)
    values = np.zeros(source.shape, np.float32)
    row, column = source.cell(lat, lon)
    values[row - 3 : row + 4, column - 3 : column + 4] = 5
    x, y = transformer("EPSG:4326", crs).transform(lon, lat)
    size = 0.012 if crs == "EPSG:4326" else 1200.0
    target = Grid(crs, x - 20 * size, y + 20 * size, size, size, 41, 41)
    moved = regrid(make_frame(values, source, NOON, "odim"), target)
    assert moved[20, 20] == 5
    assert 20 < (moved > 0).sum() < 90


def test_a_global_grid_serves_a_region_across_its_seam():
    world = Grid("EPSG:4326", -179.95, 59.95, 0.1, 0.1, 1200, 3600)
    values = np.ones(world.shape, np.float32)
    region = Grid(
        "EPSG:3832",
        transformer("EPSG:4326", "EPSG:3832").transform(179.5, -18)[0],
        -2_000_000.0,
        5000.0,
        5000.0,
        40,
        40,
    )
    assert np.isfinite(regrid_field(values, world, region)).all()


def test_the_satellites_disk_on_a_radar_grid_by_known_points(shared_data):
    """Meteosat's file says which pixels are land, sea or coast: reprojected, they must lie where the coasts are."""
    import netCDF4

    path = sorted((shared_data / "raw" / "nwcsaf_crr_nc").iterdir())[0]
    frame = read_frame(path)
    with netCDF4.Dataset(path) as file:
        bits = np.asarray(file["crr_conditions"][:].filled(0))
    surface = ((bits >> 4) & 3).astype(np.float32)  # 1 land, 2 sea, 3 coast
    places = {
        1: [(48.2, 16.4), (52.0, 20.0), (40.0, -4.0), (46.8, 2.5), (60.0, 8.5), (43.9, 12.2)],
        2: [(42.0, 5.0), (56.0, 3.0), (40.0, 12.0), (45.5, -5.0), (58.5, 20.5), (43.5, 15.0)],
        3: [(43.3, 5.35), (54.35, 18.65), (41.38, 2.18), (44.4, 8.93), (36.72, -4.42)],
    }
    radar = Grid(LAEA, 2_600_500.0, 4_300_500.0, 2000.0, 2000.0, 1400, 1400)
    moved = regrid_field(surface, grid_of(frame), radar)
    for kind, points in places.items():
        for lat, lon in points:
            row, column = radar.cell(lat, lon)
            around = moved[row - 1 : row + 2, column - 1 : column + 2]
            assert (around == kind).any(), (kind, lat, lon, around)


def test_a_region_is_cut_from_any_source(shared_data):
    for folder, crs, lat, lon in (
        ("knmi_h5", "EPSG:28992", 52.1, 5.2),
        ("mch_gif", "EPSG:2056", 46.9, 7.5),
        ("opera_nimbus_2024", "EPSG:25832", 50.0, 9.0),
        ("dwd_radolan", "EPSG:3035", 50.5, 10.0),
        ("fmi_pgm", "EPSG:3067", 62.0, 25.0),
    ):
        frame = read_frame(sorted((shared_data / "raw" / folder).iterdir())[0])
        x, y = transformer("EPSG:4326", crs).transform(lon, lat)
        target = Grid(crs, x - 50_000, y + 50_000, 1000.0, 1000.0, 96, 96)
        moved = regrid(frame, target)
        assert np.isfinite(moved).mean() > 0.95, folder
        assert np.nanmax(moved) <= float(frame["rain_rate"].max())
