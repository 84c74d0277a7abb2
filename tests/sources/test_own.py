"""Your own files: what ten lines of TOML describe."""

from datetime import UTC, datetime

import netCDF4
import numpy as np
import pytest

from nowcast.errors import ConfigError, ReaderMissing, UnreadableFile, WrongTime
from nowcast.frame import grid_of, valid_time
from nowcast.sources import read_frame, source_named, source_of, with_own
from nowcast.sources.geotiff import _rasterio
from tests.sources.written import netcdf, odim

DESCRIPTION = """
[sources.ours]
reader = "netcdf"
files = ["RR_*.nc"]
variable = "rr"
unit = "mm"
minutes = 5
time_in_name = "RR_%Y%m%d%H%M"
time_marks = "start"
nodata = [-9999]
undetect = [-8888]
crs = "EPSG:3035"
"""


def described(tmp_path, text):
    path = tmp_path / "sources.toml"
    path.write_text(text)
    return with_own(path)


def written(path, values=((1.0, -9999.0, 0.0), (0.5, -8888.0, 2.0)), y=(3_000_000.0, 3_001_000.0)):
    values = np.array(values, np.float32)
    x = 4_000_000.0 + 1000 * np.arange(values.shape[1])
    return netcdf(
        path,
        {"x": (("x",), x, {"units": "m"}), "y": (("y",), np.array(y), {"units": "m"}), "rr": (("y", "x"), values, {})},
        {"y": values.shape[0], "x": values.shape[1]},
    )


def test_amounts_in_netcdf(tmp_path):
    sources = described(tmp_path, DESCRIPTION)
    path = written(tmp_path / "RR_202405011155.nc")
    source = source_of(path, sources)
    assert source.name == "ours"
    frame = read_frame(path, source)
    assert np.allclose(frame["rain_rate"], [[6, 0, 24], [12, np.nan, 0]], equal_nan=True)  # south first in the file
    assert valid_time(frame) == datetime(2024, 5, 1, 12, tzinfo=UTC)  # the start, moved to the end
    assert grid_of(frame).y0 == 3_001_000


def test_a_mark_of_dry_counts_though_it_lies_outside_the_valid_range(tmp_path):
    path = written(tmp_path / "RR_202405011155.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["rr"].valid_min = np.float32(0.6)
    frame = read_frame(path, source_of(path, described(tmp_path, DESCRIPTION)))
    assert np.allclose(frame["rain_rate"], [[np.nan, 0, 24], [12, np.nan, np.nan]], equal_nan=True)
    assert frame.attrs["comment"].endswith("3 cells outside it are not seen")


LATITUDE = {"units": "degrees_north"}
LONGITUDE = {"units": "degrees_east"}


def laid(path, dims, lat, lon):
    """Write one field of 2 × 3 cells, its dims in the stated order."""
    rate = np.array([[[1, 2, 3], [4, 5, np.nan]]], np.float32)  # south first
    over = ("time", *dims)
    return netcdf(
        path,
        {
            "time": (("time",), [43200.0], {"units": "seconds since 2024-05-01"}),
            "lon": (("lon",), [5.0, 5.1, 5.2], lon),
            "lat": (("lat",), [50.0, 50.1], lat),
            "rr": (
                over,
                rate if dims == ("lat", "lon") else rate.swapaxes(1, 2),
                {"units": "mm h-1", "standard_name": "rainfall_rate"},
            ),
        },
        {"time": 1, "lat": 2, "lon": 3},
    )


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (LATITUDE, LONGITUDE),
        ({"standard_name": "latitude"}, {"standard_name": "longitude"}),
        ({"standard_name": "projection_y_coordinate"}, {"standard_name": "projection_x_coordinate"}),
        ({}, {"standard_name": "grid_longitude"}),
        ({}, {"axis": "X"}),
        ({"axis": "Y"}, {}),
    ],
)
def test_columns_first_is_the_same_map(tmp_path, lat, lon):
    text = '[sources.ours]\nreader = "netcdf"\nfiles = ["*.nc"]\nvariable = "rr"\nunit = "mm/h"\ncrs = "EPSG:4326"\n'
    (source, *_) = described(tmp_path, text)
    rows, columns = (
        read_frame(laid(tmp_path / f"{'_'.join(dims)}.nc", dims, lat, lon), source)
        for dims in (("lat", "lon"), ("lon", "lat"))
    )
    assert np.array_equal(rows["rain_rate"], [[4, 5, np.nan], [1, 2, 3]], equal_nan=True)
    assert rows.drop_attrs().identical(columns.drop_attrs())  # but for the files' digests


def test_cf_takes_columns_first_and_refuses_two_of_one_axis(tmp_path):
    path = laid(tmp_path / "imerg.nc", ("lon", "lat"), LATITUDE, LONGITUDE)
    assert np.array_equal(read_frame(path)["rain_rate"], [[4, 5, np.nan], [1, 2, 3]], equal_nan=True)
    laid(path, ("lon", "lat"), LONGITUDE, LONGITUDE)
    with pytest.raises(UnreadableFile, match="lon and lat of rr both say that they are the x axis; correct"):
        read_frame(path)


def test_reflectivity_and_scale(tmp_path):
    text = DESCRIPTION.replace('unit = "mm"', 'unit = "dBZ"\nscale = 0.5\noffset = -32\nzr = [316, 1.5]')
    sources = described(tmp_path, text)
    path = written(tmp_path / "RR_202405011155.nc", ((130.0, -9999.0), (0.0, -8888.0)))
    rate = read_frame(path, source_named("ours", sources))["rain_rate"].values
    expected = (10 ** (33 / 10) / 316) ** (1 / 1.5)
    assert np.allclose(rate, [[0, 0], [expected, np.nan]], rtol=1e-4, equal_nan=True)


TILES = """
[sources.tiles]
reader = "geotiff"
files = ["rain_*.tif"]
unit = "mm/h"
time_in_name = "rain_%Y%m%d_%H%M"
"""


@pytest.fixture
def rasterio():
    try:
        return _rasterio()
    except ReaderMissing as error:
        pytest.skip(str(error))


def test_geotiff(rasterio, tmp_path):
    path = tmp_path / "rain_20240501_1200.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=2, width=3, count=1, dtype="float32", crs="EPSG:3035", nodata=-1.0,
        transform=rasterio.Affine(1000, 0, 4_000_000, 0, -1000, 3_002_000),
    ) as file:  # fmt: skip
        file.write(np.array([[[0, -1, 2], [3, 4, 5]]], np.float32)[0], 1)
    frame = read_frame(path, source_of(path, described(tmp_path, TILES)))
    assert np.allclose(frame["rain_rate"], [[0, np.nan, 2], [3, 4, 5]], equal_nan=True)
    grid = grid_of(frame)
    assert (grid.x0, grid.y0) == (4_000_500, 3_001_500)
    assert valid_time(frame) == datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_geotiff_scales_itself_and_marks_are_of_its_codes(rasterio, tmp_path):
    path = tmp_path / "rain_20240501_1200.tif"
    codes = np.array([[50, 65535, 65534], [30, 0, 65533]], np.uint16)
    with rasterio.open(
        path, "w", driver="GTiff", height=2, width=3, count=2, dtype="uint16", crs="EPSG:3035", nodata=65535,
        transform=rasterio.Affine(1000, 0, 4_000_000, 0, -1000, 3_002_000),
    ) as file:  # fmt: skip
        file.write(np.stack([codes, codes]))
        file.scales, file.offsets = (1.0, 0.1), (0.0, 2.0)
    text = f"{TILES}band = 2\nnodata = [65534]\nundetect = [65533, 5]\n"
    sources = described(tmp_path, text)
    rate = read_frame(path, source_of(path, sources))["rain_rate"]
    assert np.allclose(rate, [[7, np.nan, np.nan], [5, 2, 0]], equal_nan=True)


def test_a_block_that_a_geotiff_lacks_is_not_seen_and_never_dry(rasterio, tmp_path):
    path, half = tmp_path / "rain.tif", tmp_path / "rain_20240501_1200.tif"
    profile = {
        "driver": "GTiff", "height": 512, "width": 512, "count": 1, "dtype": "float32", "crs": "EPSG:3035",
        "transform": rasterio.Affine(1000, 0, 4_000_000, 0, -1000, 3_002_000), "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        values = np.zeros((512, 512), np.float32)
        values[:256, :256] = 7
        file.write(values[:256], 1, window=((0, 256), (0, 512)))
        half.write_bytes(path.read_bytes())  # as it lies there while it is written
    source = source_named("tiles", described(tmp_path, TILES))
    assert np.isnan(read_frame(half, source)["rain_rate"]).all()
    with rasterio.open(path, "w", **profile, sparse_ok=True) as file:
        file.write(values, 1)
    frame = read_frame(path.rename(half), source)
    assert np.isfinite(frame["rain_rate"].values).sum() == 256 * 256
    assert "3 of 4 blocks are not in the file" in frame.attrs["comment"]


def test_geotiff_that_masks_what_is_not_seen(rasterio, tmp_path):
    path = tmp_path / "rain_20240501_1200.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", height=2, width=3, count=1, dtype="uint8", crs="EPSG:3035",
            transform=rasterio.Affine(1000, 0, 4_000_000, 0, -1000, 3_002_000),
        ) as file,
    ):  # fmt: skip
        file.write(np.array([[0, 0, 2], [3, 4, 5]], np.uint8), 1)
        file.write_mask(np.array([[True, False, True], [True, True, True]]))
    rate = read_frame(path, source_of(path, described(tmp_path, TILES)))["rain_rate"]
    assert np.allclose(rate, [[0, np.nan, 2], [3, 4, 5]], equal_nan=True)


def test_geotiff_without_rasterio_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ReaderMissing, match=r"pip install 'nowcast\[readers\]'"):
        _rasterio()


def test_a_known_reader_renamed(tmp_path):
    text = '[sources.shmu]\nreader = "odim"\nfiles = ["T_PABV23*.hdf"]\nquantity = "DBZH"\nzr = [300, 1.4]\n'
    sources = described(tmp_path, text)
    path = odim(tmp_path / "T_PABV23_C_LZIB_20240501120000.hdf", "DBZH")
    frame = read_frame(path, source_of(path, sources))
    assert frame.attrs["source"] == "shmu"
    assert np.nanmax(frame["rain_rate"]) == pytest.approx((10**5 / 300) ** (1 / 1.4), rel=1e-3)


def test_messages_say_what_to_correct(tmp_path):
    sources = described(tmp_path, DESCRIPTION)
    path = written(tmp_path / "RR_nodate.nc")
    with pytest.raises(WrongTime, match="no time like 'RR_%Y%m%d%H%M' in the name"):
        read_frame(path, sources[0])
    sources = described(tmp_path, DESCRIPTION.replace('"rr"', '"rain"'))
    with pytest.raises(UnreadableFile, match="no variable 'rain', only rr"):
        read_frame(path.rename(tmp_path / "RR_202405011155.nc"), sources[0])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('reader = "netcdf"', 'reader = "excel"', "reader must be netcdf, geotiff, simulated"),
        ('unit = "mm"', 'unit = "inch"', "unit must be one of"),
        ("minutes = 5", "minutes = 0", "needs minutes > 0"),
        ('variable = "rr"', "", "needs the name of its variable"),
        ('time_marks = "start"', 'time_marks = "middle"', "'start' or 'end'"),
        ('crs = "EPSG:3035"', "colour = 1", "unexpected keyword argument 'colour'"),
        ('unit = "mm"\nminutes = 5', 'unit = "mm/h"', "'start' needs minutes > 0"),
        ("%M", "%M%Z", "not %Z"),
        ('crs = "EPSG:3035"', "zr = [200.0]\nzr_b = 1.6", "unexpected keyword argument 'zr_b'"),
        ('crs = "EPSG:3035"', "zr = [0, 1.6]", "a > 0 and b > 0"),
        ('crs = "EPSG:3035"', "zr = 200", "see the tutorial"),
        ("[sources.ours]", "[sources.ours", "give a TOML file of sources"),
    ],
)
def test_a_wrong_description_is_told(tmp_path, old, new, told):
    with pytest.raises(ConfigError, match=told):
        described(tmp_path, DESCRIPTION.replace(old, new))


def test_the_modules_example_is_valid(tmp_path):
    from nowcast.sources import own

    example = own.__doc__.split("::\n")[1]
    (source, *_) = described(tmp_path, "\n".join(line.strip() for line in example.splitlines()))
    assert source.name == "our-radar"
