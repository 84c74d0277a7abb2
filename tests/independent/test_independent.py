"""Our readers against others' readers of the same files (extra `independent`): same mask, at most 0.1 dB apart.

pysteps 1.21 for KNMI, FMI, MeteoSwiss, OPERA, MRMS, BOM and NWC SAF; wradlib 2.9 for RADOLAN; rasterio for the GeoTIFF;
cfgrib and eccodes for MRMS. Each is skipped where it is not installed.
"""

import contextlib
import gzip
import io

import numpy as np
import pytest

from nowcast.frame import grid_of
from nowcast.sources import read_frame

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def importers():
    with contextlib.redirect_stdout(io.StringIO()):
        return pytest.importorskip(
            "pysteps.io.importers", reason="pysteps is in the extra independent", exc_type=ImportError
        )


def first(shared_data, folder, pattern="*"):
    return sorted((shared_data / "raw" / folder).glob(pattern))[0]


def agree(ours, theirs):
    """Same cells seen, same cells wet, rates within 0.1 dB."""
    assert ours.shape == theirs.shape
    assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))
    clear = (theirs >= 0.1 * 10**0.01) | (ours >= 0.1 * 10**0.01)
    assert clear.any()
    difference = 10 * np.log10(np.maximum(ours[clear], 1e-9)) - 10 * np.log10(np.maximum(theirs[clear], 1e-9))
    assert np.abs(difference).max() <= 0.1
    with np.errstate(invalid="ignore"):
        assert not ((theirs < 0.1 * 10**-0.01) & (ours >= 0.1)).any()


def same_corner(frame, metadata, east=0.0, north=0.0):
    """Same outer edges, where theirs have a false easting and northing of their own."""
    grid = grid_of(frame)
    ours = np.array([grid.x0 - grid.dx / 2, grid.x0 + grid.dx * (grid.width - 0.5)])
    assert np.allclose(ours, [metadata["x1"] - east, metadata["x2"] - east], atol=0.03 * grid.dx)
    top = grid.y0 + grid.dy / 2
    assert top == pytest.approx(max(metadata["y1"], metadata["y2"]) - north, abs=0.03 * grid.dy)


def zr(dbz, a, b):
    return (10 ** (dbz / 10) / a) ** (1 / b)


def test_knmi(importers, shared_data):
    path = first(shared_data, "knmi_h5")
    amount, _, metadata = importers.import_knmi_hdf5(str(path), qty="ACRR", accutime=5.0, pixelsize=1.0)
    frame = read_frame(path)
    agree(frame["rain_rate"].values, amount * 12)
    grid = grid_of(frame)
    assert grid.x0 - 500 == pytest.approx(metadata["x1"] * 1000, abs=1)


def test_fmi_pgm(importers, shared_data):
    path = first(shared_data, "fmi_pgm")
    dbz, _, metadata = importers.import_fmi_pgm(str(path), gzipped=True)
    frame = read_frame(path)
    agree(frame["rain_rate"].values, zr(dbz, 223, 1.53))
    same_corner(frame, metadata, 380_886.310, 3_395_677.920)


def test_mch_gif(importers, shared_data):
    path = first(shared_data, "mch_gif")
    amount, _, metadata = importers.import_mch_gif(str(path), product="AQC", unit="mm", accutime=5)
    frame = read_frame(path)
    agree(frame["rain_rate"].values, amount * 12)
    same_corner(frame, metadata)


@pytest.mark.parametrize(
    ("folder", "quantity"), [("opera_odim_2018", "RATE"), ("opera_nimbus_2024", "RATE"), ("opera_cirrus_2024", "DBZH")]
)
def test_opera(importers, shared_data, folder, quantity):
    path = first(shared_data, folder)
    values, _, metadata = importers.import_odim_hdf5(str(path), qty=quantity)
    if quantity == "DBZH":
        values = zr(values, 200, 1.6)
    frame = read_frame(path)
    ours = frame["rain_rate"].values
    theirs = np.where(np.isfinite(ours) & ~np.isfinite(values), 0, values)  # they give undetect no value of its own
    agree(ours, theirs)
    same_corner(frame, metadata)


def test_bom(importers, shared_data):
    path = first(shared_data, "bom_nc")
    amount, _, metadata = importers.import_bom_rf3(str(path))
    frame = read_frame(path)
    agree(frame["rain_rate"].values, np.ma.filled(amount, np.nan) * 10)
    grid = grid_of(frame)
    assert grid.x0 == pytest.approx(metadata["x1"], abs=1)  # they take cell centres for corners


def test_nwcsaf(importers, shared_data):
    path = first(shared_data, "nwcsaf_crr_nc")
    rate, _, metadata = importers.import_saf_crri(str(path))
    frame = read_frame(path)
    agree(frame["rain_rate"].values, np.ma.filled(rate, np.nan))
    grid = grid_of(frame)
    assert grid.x0 == pytest.approx(metadata["x1"], abs=grid.dx)


@pytest.mark.parametrize("product", ["rx", "ry", "rw"])
def test_radolan(shared_data, product):
    radolan = pytest.importorskip(
        "wradlib.io.radolan", reason="wradlib is in the extra independent", exc_type=ImportError
    )
    path = first(shared_data, "dwd_radolan", f"*-{product}_*")
    dataset = radolan.open_radolan_dataset(str(path))
    field = dataset[product.upper()]
    theirs = np.asarray(field.values)
    if product == "rx":
        theirs = zr(theirs, 256, 1.42)
    else:
        theirs = theirs * (60 / {"ry": 5, "rw": 60}[product]) if "h" not in str(field.attrs.get("unit", "")) else theirs
    if dataset["y"].values[0] < dataset["y"].values[-1]:
        theirs = theirs[::-1]
    frame = read_frame(path)
    agree(frame["rain_rate"].values, theirs)
    grid = grid_of(frame)
    assert grid.x0 == pytest.approx(float(dataset["x"].values.min()), abs=1)
    assert grid.y0 == pytest.approx(float(dataset["y"].values.max()), abs=1)


def test_geotiff(shared_data):
    rasterio = pytest.importorskip("rasterio", reason="rasterio is in the extra readers", exc_type=ImportError)
    path = first(shared_data, "fmi_geotiff")
    with rasterio.open(path) as file:
        codes, bounds, crs = file.read(1).astype(float), file.bounds, file.crs
    dbz = codes * 0.5 - 32
    dbz[codes == 255], dbz[codes == 0] = np.nan, -99
    frame = read_frame(path)
    agree(frame["rain_rate"].values, zr(dbz, 223, 1.53))
    grid = grid_of(frame)
    assert (grid.x0 - grid.dx / 2, grid.y0 + grid.dy / 2) == pytest.approx((bounds.left, bounds.top))
    assert crs.to_epsg() == 3067
    assert grid.pyproj_crs.name == "EUREF-FIN / TM35FIN(E,N)"


def test_mrms_by_eccodes(shared_data):
    eccodes = pytest.importorskip(
        "eccodes", reason="eccodes is in the extra independent", exc_type=(ImportError, RuntimeError)
    )
    path = first(shared_data, "mrms_grib2")
    message = eccodes.codes_new_from_message(path.read_bytes())
    theirs = eccodes.codes_get_values(message).reshape(3500, 7000)
    corner = [eccodes.codes_get(message, f"{name}OfFirstGridPointInDegrees") for name in ("latitude", "longitude")]
    eccodes.codes_release(message)
    theirs[theirs < 0] = np.nan
    frame = read_frame(path)
    agree(frame["rain_rate"].values, theirs)
    grid = grid_of(frame)
    assert (grid.y0, grid.x0 + 360) == pytest.approx(tuple(corner))


def test_mrms_by_cfgrib(shared_data, tmp_path):
    pytest.importorskip("cfgrib", reason="cfgrib is in the extra independent", exc_type=(ImportError, RuntimeError))
    import xarray as xr

    path = first(shared_data, "mrms_grib2")
    with xr.open_dataset(path, engine="cfgrib", backend_kwargs={"indexpath": ""}) as dataset:
        (field,) = dataset.data_vars.values()
        theirs, lat = field.values.astype(float), dataset["latitude"].values
    theirs[theirs < 0] = np.nan
    packed = tmp_path / f"{path.name}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    frame = read_frame(packed)
    assert lat[0] > lat[-1]
    agree(frame["rain_rate"].values, theirs)


def test_mrms_by_pysteps(importers, shared_data):
    pytest.importorskip("pygrib", reason="pygrib is what pysteps reads GRIB with")
    path = first(shared_data, "mrms_grib2")
    rate, _, _ = importers.import_mrms_grib(str(path), window_size=1)
    agree(read_frame(path)["rain_rate"].values, rate)
