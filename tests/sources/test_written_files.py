"""Formats and versions of which no real file is at hand, from small files in the documented layouts (`written.py`)."""

import gzip
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import h5py
import netCDF4
import numpy as np
import pytest
from pyproj import Proj

from nowcast.errors import UnreadableFile, WrongGrid, WrongTime
from nowcast.frame import grid_of, valid_time
from nowcast.inspect import inspect_file
from nowcast.sources import SOURCES, ZR, read_frame, source_named, source_of
from nowcast.sources.cf import utc
from nowcast.sources.knmi import _calibration
from nowcast.sources.odim import OdimSource
from nowcast.sources.radolan import RadolanSource
from tests.sources.written import CODES, PROJDEF, goes, grib, netcdf, odim, radolan

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2", "2.3", "2.4"])
def test_odim_rate_in_every_version(tmp_path, version):
    frame = read_frame(odim(tmp_path / "composite.h5", version=version))
    expected = np.where(CODES == 255, np.nan, CODES * 0.5)
    assert np.array_equal(frame["rain_rate"].values, expected.astype(np.float32), equal_nan=True)
    assert valid_time(frame) == NOON
    assert frame.attrs["source"] == "odim"


@pytest.mark.parametrize(
    ("stated", "minute"), [("1205", 5), ("120500", 5), ("120500.00", 5), ("500", None), ("", None)]
)
def test_odim_times_without_seconds_are_no_seconds(tmp_path, stated, minute):
    path = odim(tmp_path / "composite.h5")
    with h5py.File(path, "r+") as file:
        file["what"].attrs["time"] = np.bytes_(stated)
    if minute is None:
        with pytest.raises(UnreadableFile, match="is not YYYYMMDD, HHmmss"):
            read_frame(path)
    else:
        assert valid_time(read_frame(path)) == NOON + timedelta(minutes=minute)


def test_odim_grid_has_its_corner_where_the_file_says(tmp_path):
    grid = grid_of(read_frame(odim(tmp_path / "composite.hdf")))
    left, bottom = Proj(PROJDEF)(-10.434577, 31.746215)
    assert grid.x0 - 1000 == pytest.approx(left, abs=20)
    assert grid.y0 + 1000 - 3 * 2000 == pytest.approx(bottom, abs=20)
    assert grid.x[0] == 1000  # corners are rounded in files; the grid is not
    assert grid.height, grid.width == CODES.shape


def test_odim_reflectivity_uses_the_files_relation_else_the_sources(tmp_path):
    path = odim(tmp_path / "composite.h5", "DBZH", gain=0.5, offset=-10.0)
    dbz = CODES * 0.5 - 10.0
    for source, how, (a, b) in (
        (OdimSource(), None, (200, 1.6)),
        (OdimSource(zr=ZR(316, 1.5)), None, (316, 1.5)),
        (OdimSource(zr=ZR(316, 1.5)), {"zr_a": 300.0, "zr_b": 1.4}, (300, 1.4)),
    ):
        odim(path, "DBZH", gain=0.5, offset=-10.0, how=how)
        rate = read_frame(path, source)["rain_rate"].values
        expected = (10 ** (dbz / 10) / a) ** (1 / b)
        expected[(CODES == 0) | (expected < 0.1)] = 0
        expected[CODES == 255] = np.nan
        assert np.allclose(rate, expected, rtol=1e-4, equal_nan=True)


def test_odim_accumulation_becomes_a_rate_that_ends_its_hour(tmp_path):
    frame = read_frame(odim(tmp_path / "T_PASH22_C_EUOC_20240501120000.hdf", "ACRR", minutes=120))
    assert frame.attrs["source"] == "opera-acrr"
    assert frame.attrs["accumulation_minutes"] == 120
    assert valid_time(frame) == NOON
    assert np.nanmax(frame["rain_rate"]) == pytest.approx(50 / 2)


def test_odim_quality_is_kept(tmp_path):
    quality = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    frame = read_frame(odim(tmp_path / "composite.h5", quality=quality))
    assert np.allclose(frame["quality"], quality / 255)


@pytest.mark.parametrize(
    ("first", "gain"), [(np.array([[0, 1, 2, 3]] * 3, np.uint8), 2000.0), (np.ones((2, 2), np.uint8), 1.0), (None, 1.0)]
)
def test_odim_quality_is_an_index_of_the_cells_and_no_distance(tmp_path, first, gain):
    path = odim(tmp_path / "composite.h5", quality=np.full(CODES.shape, 51, np.uint8))
    with h5py.File(path, "r+") as file:
        data = file["dataset1/data1"]
        data.move("quality1", "quality2")
        group = data.create_group("quality1")
        group.create_group("what").attrs.update({"gain": gain, "offset": 0.0})
        if first is not None:
            group.create_dataset("data", data=first)
    assert np.allclose(read_frame(path)["quality"], 0.2)
    with h5py.File(path, "r+") as file:
        del file["dataset1/data1/quality2"]
    assert "quality" not in read_frame(path)


def test_odim_without_rain_names_what_it_holds(tmp_path):
    with pytest.raises(UnreadableFile, match="holds VRADH, none of RATE"):
        read_frame(odim(tmp_path / "composite.h5", "VRADH"))


def several(path, *datasets):
    """Write an ODIM composite of one dataset after another: (quantity, product, parameter); the n-th is n mm/h."""
    odim(path, codes=np.ones((3, 4), np.uint8), gain=1.0)
    with h5py.File(path, "r+") as file:
        for number in range(2, len(datasets) + 1):
            file.copy("dataset1", f"dataset{number}")
            file[f"dataset{number}/data1/data"][...] = number
        for number, (quantity, product, parameter) in enumerate(datasets, 1):
            what = file[f"dataset{number}/what"].attrs
            what["product"] = np.bytes_(product)
            if parameter is not None:
                what["prodpar"] = parameter
            file[f"dataset{number}/data1/what"].attrs["quantity"] = np.bytes_(quantity)
            file[f"dataset{number}"].create_group("where").attrs["height"] = 1000.0 * number  # and no projection
    return path


@pytest.mark.parametrize(
    ("datasets", "taken", "told"),
    [
        (
            [("RATE", "MAX", None), ("RATE", "SURF", None)],
            2,
            "taken is RATE of dataset2/data1 (SURF); there is also RATE of dataset1/data1 (MAX)",
        ),
        (
            [("RATE", "PPI", 4.5), ("RATE", "PPI", 0.5), ("RATE", "PPI", 1.5)],
            2,
            "taken is RATE of dataset2/data1 (PPI 0.5); there is also RATE of dataset3/data1 (PPI 1.5),"
            " RATE of dataset1/data1 (PPI 4.5)",
        ),
        ([("RATE", "CAPPI", 2000), ("RATE", "CAPPI", np.bytes_("1000"))], 2, None),
        ([("RATE", "CAPPI", np.bytes_("low")), ("RATE", "CAPPI", np.nan), ("RATE", "CAPPI", 9000.0)], 3, None),
        ([("RATE", "VIL", None), ("RATE", "MAX", None)], 2, None),
        ([("RATE", "MAX", None), ("DBZH", "SURF", None)], 1, None),
        ([("RATE", "COMP", None), ("RATE", "COMP", None)], 1, None),
        ([("RATE", "COMP", None)], 1, ""),
        ([("QIND", "COMP", None), ("RATE", "COMP", None)], 2, ""),
    ],
)
def test_of_several_datasets_of_an_odim_file_the_nearest_to_the_ground_is_taken(tmp_path, datasets, taken, told):
    found, frame = inspect_file(several(tmp_path / "composite.h5", *datasets))
    assert (frame["rain_rate"] == taken).all()
    assert told is None or found.comment == told
    assert dict(found.lines()).get("comment", "") == found.comment


def test_odim_marks_are_of_the_data_s_own_precision(tmp_path):
    path = odim(tmp_path / "composite.h5", gain=1.0)
    with h5py.File(path, "r+") as file:
        data = file["dataset1/data1"]
        del data["data"]
        data.create_dataset("data", data=np.array([[1e30, 0.1, 2, 3]] * 3, np.float32))
        data["what"].attrs.update({"nodata": 1e30, "undetect": 0.1})
    assert np.array_equal(read_frame(path)["rain_rate"].values[0], np.float32([np.nan, 0, 2, 3]), equal_nan=True)


def test_radolan_bits_and_precision(tmp_path):
    codes = np.zeros((900, 900), "<u2")
    codes[0, 0], codes[0, 1], codes[0, 2], codes[1, 0] = 0x29C4, 0x8000 | 7, 0x1000 | 250, 13
    rate = read_frame(radolan(tmp_path / "ry", codes=codes, packed=False))["rain_rate"].values
    assert np.isnan(rate[0, :2]).all()
    assert rate[0, 2] == pytest.approx(250 * 0.01 * 12)
    assert rate[1, 0] == pytest.approx(13 * 0.01 * 12)
    assert rate[5, 5] == 0


def test_radolan_reflectivity_of_two_bytes(tmp_path):
    codes = np.zeros((900, 900), "<u2")
    codes[0, :4] = 1250, 2490, 2500, 0x29C4
    rate = read_frame(radolan(tmp_path / "wn", "WN", codes, precision="E-01", lead=0))["rain_rate"].values
    assert rate[0, 0] == pytest.approx((10 ** ((125 / 2 - 32.5) / 10) / 256) ** (1 / 1.42), rel=1e-4)
    assert np.isnan(rate[0, 1:4]).all()


def test_radolan_version_5_lies_on_the_ellipsoid(tmp_path):
    sphere, ellipsoid = (grid_of(read_frame(radolan(tmp_path / "rv", "RV", version=v, lead=0))) for v in ("3", "5"))
    for grid in (sphere, ellipsoid):
        row, column = grid.positions(*reversed([np.array(v) for v in reversed(Proj(grid.crs)(9.0, 51.0))]))
        assert (float(row), float(column)) == pytest.approx((449.5, 449.5), abs=1e-6)
    assert ellipsoid.y0 == pytest.approx(-3_772_588.86, abs=0.01)


def test_a_forecast_or_a_cut_radolan_file_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"forecast \(\+30 min\)"):
        read_frame(radolan(tmp_path / "rv", "RV", lead=30))
    path = radolan(tmp_path / "ry")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UnreadableFile, match="1619998 bytes of data"):
        read_frame(path)


def test_radolan_relation_can_be_overridden(tmp_path):
    codes = np.full((900, 900), 125, np.uint8)
    path = radolan(tmp_path / "rx", "RX", codes, precision="E+00")
    assert read_frame(path, RadolanSource(zr=ZR(200, 1.6)))["rain_rate"].values[0, 0] == pytest.approx(
        (1000 / 200) ** (1 / 1.6), rel=1e-4
    )


def radklim(path, times=1, unit="mm", scale=1.0):
    values = np.full((times, 4, 3), 0.5, np.float32)
    values[:, 0, 0], values[:, 1, 1] = np.nan, 0
    return netcdf(
        path,
        {
            "time": (("time",), np.arange(times) * 5.0 + 720, {"units": "minutes since 2017-08-16"}),
            "x": (("x",), (np.arange(3) - 442.9622) * scale, {"units": "km" if scale == 1 else "m"}),
            "y": (("y",), (np.arange(4) - 4758.145) * scale, {"units": "km" if scale == 1 else "m"}),
            "YW": (("time", "y", "x"), values, {"units": unit, "grid_mapping": "RADKLIM_grid"}),
        },
        {"time": times, "y": 4, "x": 3},
    )


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_radklim(tmp_path, scale):
    frame = read_frame(radklim(tmp_path / "YW_2017.002_20170816_1200.nc", scale=scale))
    assert frame.attrs["source"] == "dwd-radklim"
    rate = frame["rain_rate"].values
    assert np.isnan(rate[3, 0])  # southernmost in the file, last here
    assert rate[2, 1] == 0
    assert rate[0, 0] == pytest.approx(6)
    grid = grid_of(frame)
    assert (grid.x0, grid.dx) == pytest.approx((-442_962.2, 1000))
    assert valid_time(frame) == datetime(2017, 8, 16, 12, tzinfo=UTC)


def test_radklim_of_a_month_must_be_split(tmp_path):
    with pytest.raises(UnreadableFile, match="holds 2 times"):
        read_frame(radklim(tmp_path / "YW_2017.nc", times=2))


def cf(path, time, attributes, bounds=None):
    rate = np.array([[[1, 2], [3, 4]]], np.float32)
    variables = {
        "time": (("time",), [time], attributes),
        "lon": (("lon",), [5.0, 5.1], {"units": "degrees_east"}),
        "lat": (("lat",), [50.0, 50.1], {"units": "degrees_north"}),
        "rr": (("time", "lat", "lon"), rate, {"units": "mm h-1", "standard_name": "rainfall_rate"}),
    }
    edges = {"time_bnds": (("time", "edge"), [bounds], {})} if bounds else {}
    return netcdf(path, variables | edges, {"time": 1, "lat": 2, "lon": 2, "edge": 2})


@pytest.mark.parametrize(
    ("time", "attributes", "bounds"),
    [
        (43200.0, {"units": "seconds since 2024-05-01"}, None),
        (0.0, {"units": "minutes since 2024-05-01 07:00:00 -5:00"}, None),
        (45411.5, {"units": "days since 1900-01-01"}, None),
        (45411.5 - 1e-9, {"units": "days since 1900-01-01"}, None),
        (11.5, {"units": "hours since 2024-05-01", "bounds": "time_bnds"}, (11.5, 12.0)),
        (11.75, {"units": "hours since 2024-05-01", "bounds": "time_bnds"}, (11.5, 12.0)),
        (12.0, {"units": "hours since 2024-05-01", "bounds": "elsewhere"}, None),
    ],
)
def test_cf_times_are_the_end_of_what_they_stand_for(tmp_path, time, attributes, bounds):
    assert valid_time(read_frame(cf(tmp_path / "rain.nc", time, attributes, bounds))) == NOON


PACKED = {"scale_factor": 0.1, "add_offset": 0.0}
SHORT, BYTE = np.int16, np.uint8


def ranged(path, codes, attributes):
    """Write rain of one row of codes, twice: a grid has more than one row."""
    codes = np.array([codes, codes])
    variables = {
        "time": (("time",), [12.0], {"units": "hours since 2024-05-01"}),
        "lat": (("lat",), [50.1, 50.0], {"units": "degrees_north"}),
        "lon": (("lon",), 5 + 0.1 * np.arange(codes.shape[1]), {"units": "degrees_east"}),
        "rr": (("lat", "lon"), codes, {"units": "mm h-1", "standard_name": "rainfall_rate", **attributes}),
    }
    return netcdf(path, variables, {"time": 1, "lat": 2, "lon": codes.shape[1]})


@pytest.mark.parametrize(
    ("codes", "attributes", "seen"),
    [
        (SHORT([0, 10, 500, 501]), PACKED | {"valid_range": SHORT([0, 500])}, [1, 1, 1, 0]),
        (SHORT([9, 10, 20, 32767]), PACKED | {"valid_min": SHORT(10), "valid_max": SHORT(20)}, [0, 1, 1, 0]),
        (SHORT([-20, -10, 0, 1]), {"scale_factor": -0.1, "valid_range": SHORT([-10, 0])}, [0, 1, 1, None]),
        (BYTE([0, 100, 200, 201]), PACKED | {"valid_max": BYTE(200)}, [1, 1, 1, 0]),
        (SHORT([0, 100, -6, -5]), PACKED | {"_Unsigned": "true", "valid_range": SHORT([0, -6])}, [1, 1, 1, 0]),
        (np.float32([0, 0.1, 90, 100]), {"valid_range": np.float64([0.1, 90])}, [0, 1, 1, 0]),
        (np.float32([-1, 0, 90, 100]), {"valid_min": np.int32(0)}, [0, 1, 1, 1]),
        (np.float32([0, 1, 90, np.nan]), {"valid_max": np.float32(50), "_FillValue": np.float32(-1)}, [1, 1, 0, 0]),
    ],
)
def test_cf_values_outside_the_valid_range_are_not_seen_and_never_zero(tmp_path, codes, attributes, seen):
    known = [n for n, state in enumerate(seen) if state is not None]
    path = ranged(tmp_path / "rain.nc", codes[known], attributes)
    found, frame = inspect_file(path)
    assert np.isfinite(frame["rain_rate"].values[0]).tolist() == [bool(seen[n]) for n in known]
    assert "cells outside it are not seen" in found.comment


@pytest.mark.parametrize(("codes", "below", "dry"), [(SHORT, 0.5, True), (SHORT, 1.5, False), (np.float32, 0.5, False)])
def test_what_packing_rounds_below_zero_is_dry_and_what_lies_below_it_is_no_rain(tmp_path, codes, below, dry):
    step = 0.01
    path = ranged(tmp_path / "rain.nc", codes([0, 100]), {"scale_factor": step, "add_offset": -below * step})
    if not dry:
        with pytest.raises(WrongGrid, match="rates must be finite and ≥ 0"):
            read_frame(path)
    else:
        assert read_frame(path)["rain_rate"].values[0].tolist() == pytest.approx([0, 0.995])


ROTATED = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25,
           "grid_north_pole_longitude": -162.0, "north_pole_grid_longitude": 0.0}  # fmt: skip


@pytest.mark.parametrize("mapping", ["turned", "turned: lat lon", "turned : lat lon other: a b"])
def test_cf_grid_mapping_with_its_coordinates_is_a_grid_mapping(tmp_path, mapping):
    path = ranged(tmp_path / "rain.nc", np.float32([1, 2]), {"grid_mapping": mapping})
    with netCDF4.Dataset(path, "a") as file:
        file.createVariable("turned", "i4").setncatts(ROTATED)
    lon, lat = grid_of(read_frame(path)).lonlat()
    assert (lon[0, 0], lat[0, 0]) == pytest.approx((-178.414, 78.589), abs=0.001)  # by PROJ's ob_tran too; not 5, 50.1


def test_degrees_of_a_rotated_grid_are_no_longitude_and_latitude(tmp_path):
    path = ranged(tmp_path / "rain.nc", np.float32([1, 2]), {"grid_mapping": "lost"})
    assert grid_of(read_frame(path)).pyproj_crs.to_epsg() == 4326
    with netCDF4.Dataset(path, "a") as file:
        file["lat"].setncatts({"standard_name": "grid_latitude", "units": "degrees"})
    with pytest.raises(UnreadableFile, match="lat is no latitude in degrees; add a grid mapping"):
        read_frame(path)


def changed_kind(path, name, value):
    """Give an attribute another type than netCDF4 lets it have: the variable's."""
    with h5py.File(path, "r+") as file:
        file["rr"].attrs[name] = value
    return path


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("valid_max", np.float64([5.0]), "rr states valid_max (5.), not of the packed values' type (int16)"),
        ("valid_range", np.int64([0, 5]), "rr states valid_range (0 5), not of the packed values' type (int16)"),
        ("valid_range", SHORT([5]), "rr states valid_range (5), which bounds nothing"),
        ("valid_max", np.bytes_("5 mm"), "which bounds nothing"),
    ],
)
def test_a_valid_range_of_another_unit_than_the_packed_values_is_told_and_not_applied(tmp_path, name, value, told):
    path = ranged(tmp_path / "rain.nc", SHORT([0, 10, 100, 200]), PACKED)
    found, frame = inspect_file(changed_kind(path, name, value))
    assert np.isfinite(frame["rain_rate"]).all()
    assert told in found.comment
    assert "not applied" in found.comment


@pytest.mark.parametrize("text", ["2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00"])
def test_a_time_without_a_zone_is_utc_wherever_the_machine_is(text, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        assert utc(text) == NOON
    time.tzset()


def test_goes(tmp_path):
    codes = np.array([[0, 250, 65535], [1000, 0, 1]])
    frame = read_frame(goes(tmp_path / "OR_ABI-L2-RRQPEF-M6_G16_s2024.nc", codes, np.array([[0, 1, 0], [0, 0, 2]])))
    assert frame.attrs["source"] == "goes-rrqpe"
    assert np.allclose(frame["rain_rate"], [[0, 2.5, np.nan], [10, 0, 0.01]], equal_nan=True)
    assert np.array_equal(frame["quality"], [[1, 0, 1], [1, 1, 0]])
    assert valid_time(frame) == datetime(2024, 5, 1, 12, 9, 51, tzinfo=UTC)
    grid = grid_of(frame)
    assert grid.dx == pytest.approx(56e-6 * 35786023)
    lon, lat = grid.lonlat()
    assert abs(lon[0, 0] + 75) < 15
    assert 30 < lat[0, 0] < 50


def test_meteonet_and_its_pickled_dates(tmp_path):
    data = np.zeros((565, 784), np.int16)
    data[0, 0], data[0, 1] = -1, 25
    named = tmp_path / "rainfall_NW_201608210010.npz"
    np.savez_compressed(named, data=data)
    frame = read_frame(named)
    assert valid_time(frame) == datetime(2016, 8, 21, 0, 10, tzinfo=UTC)
    assert np.isnan(frame["rain_rate"].values[0, 0])
    assert frame["rain_rate"].values[0, 1] == pytest.approx(3)
    west, south, east, north = grid_of(frame).bounds
    assert (west, south, east, north) == pytest.approx((-5.842, 46.246, 1.998, 51.896), abs=1e-6)
    published = tmp_path / "rainfall_NW_2016_08.1.npz"
    np.savez_compressed(published, data=data, dates=np.array([datetime(2016, 8, 21, tzinfo=UTC)], object))
    with pytest.raises(WrongTime, match="pickle"):
        read_frame(published)
    np.savez_compressed(published, data=data[None], dates=np.array(["2016-08-21T00:10"], "datetime64[m]"))
    assert valid_time(read_frame(published)) == datetime(2016, 8, 21, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mrms_plain_and_packed(tmp_path, suffix):
    values = np.array([[np.nan, 0, 1.5], [152.8, 0.1, 0]])
    path = tmp_path / f"MRMS_PrecipRate_00.00_20240501-120200.grib2{suffix}"
    path.write_bytes(gzip.compress(grib(values)) if suffix else grib(values))
    frame = read_frame(path)
    assert np.allclose(frame["rain_rate"], values, equal_nan=True, atol=1e-5)
    assert valid_time(frame) == datetime(2024, 5, 1, 12, 2, tzinfo=UTC)
    grid = grid_of(frame)
    assert (grid.x0, grid.y0, grid.dx, grid.dy) == pytest.approx((-110, 50, 0.01, 0.01))


def test_mrms_of_another_parameter_or_cut(tmp_path):
    path = tmp_path / "PrecipRate.grib2"
    path.write_bytes(grib(np.zeros((2, 3)), parameter=30))
    with pytest.raises(UnreadableFile, match=r"\(209, 6, 30\) is not PrecipRate"):
        read_frame(path)
    path.write_bytes(grib(np.zeros((2, 3)), truncate=5))
    with pytest.raises(UnreadableFile, match="cut"):
        read_frame(path)


@pytest.mark.parametrize(
    ("formula", "scale", "offset"),
    [
        ("GEO=0.010000*PV+0.000000", 0.01, 0),
        ("GEO=0.01*PV+0.0", 0.01, 0),
        ("GEO=0.500000*PV+-32.000000", 0.5, -32),
        ("GEO = 0.5 * PV - 32", 0.5, -32),
        ("GEO=0.5*PV-3.2e1", 0.5, -32),
        ("GEO=-.5*PV + 32.", -0.5, 32),
        ("GEO=2*PV", 2, 0),
    ],
)
def test_knmi_formulas(formula, scale, offset):
    assert _calibration(formula) == (scale, offset)


@pytest.mark.parametrize("formula", ["GEO=0.5*PV 32", "GEO=0.5*PV+", "GEO=0.5*PV--32", "GEO=e*PV", "GEO=0.5*PV*PV"])
def test_another_knmi_formula_is_refused(formula):
    with pytest.raises(UnreadableFile, match="is not GEO="):
        _calibration(formula)


def test_every_source_states_what_its_time_marks():
    for source in SOURCES:
        assert source.time_marks in {"instant of the scan", "end of the interval"}
        assert isinstance(source.satellite, bool)
    assert len({source.name for source in SOURCES}) == len(SOURCES)
    assert source_named("mrms").name == "mrms"


def test_a_file_of_no_source_lists_those_there_are(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear met service,")
    with pytest.raises(UnreadableFile, match=r"no source recognises it; there are: .*opera-rate"):
        source_of(path)


def test_a_known_reader_under_other_names(tmp_path):
    source = replace(OdimSource(), name="shmu", patterns=("T_PABV23_C_LZIB_*.hdf",), zr=ZR(300, 1.4))
    path = odim(tmp_path / "T_PABV23_C_LZIB_20240501120000.hdf", "DBZH")
    assert source_of(path, (source, *SOURCES)).name == "shmu"
