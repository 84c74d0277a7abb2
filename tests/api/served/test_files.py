"""Runs as files: what xarray, GDAL and Zarr read is what was published; conditions and ranges."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from api.files import netcdf
from api.files.cog import cog
from benchmarks.api import publish, publish_ensemble
from nowcast.errors import NoRun
from nowcast.grid import Grid
from nowcast.output import forecast_dataset, write_netcdf
from nowcast.run import RegionRecord
from tests.api.served import made as served
from tests.api.served.made import GRID, base_time


@pytest.fixture
def base(store):
    base = base_time()
    served.publish(store, base, members=True)
    return base


def path(base, rest, kind="files"):
    return f"/v1/{kind}/alps/{base:%Y%m%dT%H%MZ}{rest}"


def agree(got, want):
    np.testing.assert_allclose(got, want, atol=0.0101)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


def test_a_run_as_cf_netcdf(client, base, tmp_path):
    file = client.get(path(base, ".nc"))
    assert file.headers["content-type"] == "application/netcdf"
    (tmp_path / "run.nc").write_bytes(file.content)
    with xr.open_dataset(tmp_path / "run.nc") as run:
        for product, want in served.ensemble(served.rain()).items():
            agree(run[product].values, want)
        assert run.attrs["Conventions"].startswith("CF-")
        published = base + timedelta(minutes=2)
        assert run.attrs["history"].startswith(f"{published:%Y-%m-%dT%H:%MZ}")  # one `ETag`: one file, whoever makes it
        assert run["crs"].attrs["crs_wkt"]
        assert run["time"].values[0] == np.datetime64((base + served.STEP).replace(tzinfo=None), "ns")


def test_a_run_as_pysteps_has_it(client, base, tmp_path):
    (tmp_path / "run.nc").write_bytes(client.get(path(base, ".pysteps.nc")).content)
    with xr.open_dataset(tmp_path / "run.nc") as run:
        rain = run["precip_intensity"]
        assert rain.dims == ("ens_number", "time", "y", "x")
        assert {"threshold", "zerovalue"} <= set(rain.attrs)
        assert "+proj" in run.attrs["projection"]
        agree(rain.values[0], served.rain())


def test_conditions_and_ranges(client, base):
    for rest in (".nc", "/rain_mean/5.tif"):
        whole = client.get(path(base, rest))
        tag = whole.headers["etag"]
        assert client.get(path(base, rest), headers={"If-None-Match": tag}).status_code == 304
        part = client.get(path(base, rest), headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, whole.content[10:20])
        assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
        last = client.get(path(base, rest), headers={"Range": "bytes=-5"})
        assert last.content == whole.content[-5:]
        open_end = client.get(path(base, rest), headers={"Range": f"bytes={len(whole.content) - 3}-", "If-Range": tag})
        assert open_end.content == whole.content[-3:]
        changed = client.get(path(base, rest), headers={"Range": "bytes=0-4", "If-Range": '"another"'})
        assert (changed.status_code, changed.content) == (200, whole.content)
        for ignored in ("items=0-1", "bytes=0-0,10-20"):  # an unknown unit must be, several ranges may be
            answer = client.get(path(base, rest), headers={"Range": ignored})
            assert (answer.status_code, len(answer.content)) == (200, len(whole.content)), ignored
        beyond = client.get(path(base, rest), headers={"Range": f"bytes={10**9}-"})
        assert beyond.status_code == 416
        assert beyond.headers["content-range"] == f"bytes */{len(whole.content)}"


def test_files_that_are_not_there(client, base):
    for rest, status in (
        ("/rain_mean/125.tif", 404),
        ("/rain_max/5.tif", 404),
        ("/rain_mean/7.tif", 422),
    ):
        assert client.get(path(base, rest)).status_code == status
    assert client.get("/v1/files/alps/20200101T0000Z.nc").status_code == 404
    chunks = ("rain_mean/c", "rain_mean/c/0/9/9", "rain_mean/c/1/0/0", "rain_mean/c/0/0", "rain_mean/c/0/0/x")
    for key in ("nothing", *chunks, "x/c/1"):
        assert client.get(path(base, f"/{key}", "zarr")).status_code == 404, key


def test_a_run_on_a_grid_of_before_is_served_nowhere(client, store, base):
    served.observe(store, base)
    older = base - served.STEP
    served.publish(store, older, members=True)
    rests = [path(older, rest) for rest in (".nc", ".pysteps.nc", "/rain_mean/5.tif", "/accumulated/5.tif")]
    rests += [path(older, "/zarr.json", "zarr"), path(older, "/rain_mean/5.png", "images")]
    rests += [f"/v1/images/alps/observed/{base:%Y%m%dT%H%MZ}.png"]
    instances = "/edr/collections/alps_rain/instances"
    edr = f"{instances}/{older:%Y%m%dT%H%M%SZ}"
    rests += [edr, f"{edr}/locations", f"{edr}/locations/lucerne", f"{edr}/position?coords=POINT(8.31 47.05)"]
    assert {rest: client.get(rest).status_code for rest in rests} == dict.fromkeys(rests, 200)
    alps = next(r for r in served.regions() if r.name == "alps")
    moved = replace(alps.grid, x0=alps.grid.x0 + 10_000)
    store.put_regions([replace(alps, grid=moved)])
    assert client.get(instances).json()["instances"] == []
    rain = served.rain()
    store.publish(replace(served.run(base + served.STEP), grid_digest=moved.digest), {"rain_mean": rain})
    assert {rest: client.get(rest).status_code for rest in rests} == dict.fromkeys(rests, 404)
    assert len(client.get(instances).json()["instances"]) == 1


def test_a_rerun_is_another_file(client, store, base):
    first = client.get(path(base, ".nc"))
    served.publish(store, base, mean=np.full((24, *GRID.shape), 3, np.float32))
    second = client.get(path(base, ".nc"), headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.content != first.content


def test_gdal_reads_the_geotiff(client, base):
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    for rest, want in (
        ("rain_mean/30", served.rain()[5]),
        ("prob_1/120", served.ensemble(served.rain())["prob_1"][23]),
    ):
        with rasterio.MemoryFile(client.get(path(base, f"/{rest}.tif")).content) as file, file.open() as raster:
            assert raster.crs.to_epsg() == 2056
            assert raster.shape == GRID.shape
            assert np.isnan(raster.nodata)
            agree(raster.read(1), want)
            y, x = raster.xy(20, 30)[::-1]
            assert (y, x) == (GRID.y[20], GRID.x[30])


def test_a_large_geotiff_has_overviews_at_its_head():
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed")
    grid = Grid("+proj=stere +lat_0=90 +lon_0=10 +lat_ts=60 +a=6370040 +b=6370040", 0.0, 0.0, 1000.0, 1000.0, 900, 700)
    field = np.random.default_rng(1).random(grid.shape).astype(np.float32)
    field[:300] = np.nan
    body = cog(field, grid)
    with rasterio.MemoryFile(body) as file, file.open() as raster:
        assert raster.overviews(1) == [2, 4]
        assert raster.block_shapes == [(256, 256)]
        assert "stereographic" in raster.crs.to_wkt().lower()
        np.testing.assert_array_equal(raster.read(1), field)
        half = raster.read(1, out_shape=(450, 350))
        assert np.isnan(half[:150]).all()
        np.testing.assert_allclose(half[200:], field[400:].reshape(250, 2, 350, 2).mean((1, 3)), rtol=1e-5)
    import struct

    assert struct.unpack("<H", body[2:4])[0] == 42


def test_xarray_reads_the_zarr_group_over_http(client, base):
    pytest.importorskip("zarr", reason="zarr is not installed")
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    address = f"{str(client.base_url).rstrip('/')}{path(base, '', 'zarr')}"
    with xr.open_zarr(address, consolidated=True) as run:
        for product, want in served.ensemble(served.rain()).items():
            agree(run[product].values, want)
            assert run[product].attrs["units"] == ("1" if product.startswith("prob_") else "mm h-1")
        np.testing.assert_array_equal(run["y"].values, GRID.y)
        assert run["time"].values[0] == np.datetime64((base + served.STEP).replace(tzinfo=None), "ns")
        assert run["crs"].attrs["crs_wkt"]


@pytest.mark.parametrize("write", [netcdf.write_cf, netcdf.write_pysteps])
def test_a_file_written_chunk_by_chunk_is_the_one_written_at_once(store, base, tmp_path, write):
    run, grid = store.newest("alps"), GRID
    write(store.pixels, run, grid, tmp_path / "parts.nc")
    with xr.open_dataset(tmp_path / "parts.nc", decode_timedelta=True) as parts:
        if write is netcdf.write_cf:
            whole = forecast_dataset(store.fields(run), grid, run.base_time, {})
            write_netcdf(whole, tmp_path / "whole.nc")
            with xr.open_dataset(tmp_path / "whole.nc", decode_timedelta=True) as whole:
                xr.testing.assert_identical(parts.drop_attrs(deep=False), whole.drop_attrs(deep=False))
        else:
            np.testing.assert_array_equal(parts["precip_intensity"].values[0], store.field(run, "rain_mean"))
        assert set(parts.coords) >= {"forecast_reference_time", "lead_time", "time", "x", "y"}
    assert [file.name for file in tmp_path.glob(".*.part")] == []


def test_a_run_that_vanishes_while_it_is_written_leaves_no_file(store, base, tmp_path):
    run = store.newest("alps")
    served.publish(store, base)
    with pytest.raises(NoRun):
        netcdf.write_cf(store.pixels, run, GRID, tmp_path / "run.nc")
    assert {file.name for file in tmp_path.iterdir()} <= {"nowcast.db", "nowcast.db-shm", "nowcast.db-wal"}


MEMORY = r"""
import re, sys, tracemalloc
from dataclasses import replace
from pathlib import Path
from api.files import netcdf
from benchmarks.api import GRID
from nowcast.store.store import Store

store, path = Store.open(sys.argv[1]), Path(sys.argv[2])
run = store.newest("bench")
# not `ru_maxrss`, which begins at what the process that started this one had: it hid that HDF5 held the whole file
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
netcdf.write_cf(store.pixels, replace(run, products=run.products[:1]), GRID, path)  # loads the libraries
one = peak()
netcdf.write_cf(store.pixels, run, GRID, path)
all_of_them = peak()
tracemalloc.start()
netcdf.write_cf(store.pixels, run, GRID, path)
print(one, all_of_them, tracemalloc.get_traced_memory()[1])
"""


def test_a_large_file_is_never_held_whole(tmp_path):
    """512² × 24 × 8 products are 201 MB, 25 each: not even one product is ever held."""
    url = f"sqlite:///{tmp_path / 'large.db'}"
    publish(url)
    publish_ensemble(url)
    command = [sys.executable, "-c", MEMORY, url, str(tmp_path / "run.nc")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    one, all_of_them, traced = map(int, said.split()[-3:])
    assert all_of_them - one < 20e6, said  # of the process, netCDF-C and HDF5 included
    assert traced < 12e6, said  # of Python and NumPy: a decoded chunk, and the compressed ones of a product
    assert (tmp_path / "run.nc").stat().st_size > 20e6


PYSTEPS = """
import json, sys
import numpy as np
from pysteps.io import import_netcdf_pysteps

rain, told = import_netcdf_pysteps(sys.argv[1], onerror="raise")
np.save(sys.argv[2], np.ma.filled(rain, np.nan))
names = ("x1", "y1", "x2", "y2", "xpixelsize", "ypixelsize", "zerovalue", "accutime")
told = {name: float(told[name]) for name in names} | {
    "unit": told["unit"],
    "yorigin": told["yorigin"],
    "leadtimes": [float(v) for v in told["leadtimes"]],
    "first": str(told["timestamps"][0]),
    "projection": told.get("projection"),
}
print(json.dumps(told))
"""


STEREO = Grid("+proj=stere +lat_0=90 +lat_ts=60 +lon_0=0 +x_0=0 +y_0=0 +ellps=WGS84", 0.0, -3.6e6, 1e3, 1e3, 150, 140)


@pytest.mark.parametrize("grid", [GRID, STEREO])
def test_pysteps_reads_its_own(store, base, tmp_path, grid):
    """pysteps 1.21.5, in the environment that `make bench-skill` makes."""
    python = Path(__file__).parents[3] / ".venv-pysteps" / "bin" / "python"
    if not python.exists():
        pytest.skip("no .venv-pysteps: `python -m venv .venv-pysteps && .venv-pysteps/bin/pip install pysteps==1.21.5`")
    rain = served.rain(grid.shape)
    run = replace(served.run(base), region="there", grid_digest=grid.digest)
    store.put_regions([RegionRecord("there", "There", grid, ("simulated",), "advection")])
    store.publish(run, {"rain_mean": rain})
    netcdf.write_pysteps(store.pixels, store.newest("there"), grid, tmp_path / "run.nc")
    command = [python, "-c", PYSTEPS, tmp_path / "run.nc", tmp_path / "rain.npy"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(said.strip().splitlines()[-1])
    agree(np.load(tmp_path / "rain.npy"), rain)
    assert (told["unit"], told["yorigin"], told["zerovalue"], told["accutime"]) == ("mm/h", "upper", 0.0, 5.0)
    assert told["leadtimes"] == list(range(5, 125, 5))
    assert told["first"] == f"{base + served.STEP:%Y-%m-%d %H:%M:%S}"
    assert (told["xpixelsize"], told["ypixelsize"]) == (grid.dx, grid.dy)
    assert (told["x1"], told["y2"]) == (grid.x0 - grid.dx / 2, grid.y0 + grid.dy / 2)
    assert (told["x2"] - told["x1"], told["y2"] - told["y1"]) == (grid.width * grid.dx, grid.height * grid.dy)
    if grid is STEREO:  # of others its importer makes nothing
        assert told["projection"].startswith("+proj=stere +lon_0=0.0 +lat_0=90.0 +lat_ts=60.0")
