"""Files that reach for other files, declare too much or are cut: each is refused, and nothing leaks."""

import gzip
import struct
import zlib

import h5py
import netCDF4
import numpy as np
import pytest

from nowcast.errors import UnreadableFile
from nowcast.sources import read_frame
from nowcast.sources.classic import data_end
from nowcast.sources.guard import MAX_BYTES, open_hdf5, open_netcdf, read_bytes
from tests.sources.written import grib, odim, radolan


@pytest.fixture
def canary(tmp_path):
    """A readable composite that no other file may reach."""
    return odim(tmp_path / "canary.h5")


@pytest.fixture
def hostile(tmp_path, canary):
    """Return a function that writes an ODIM file whose data is made by `change`."""

    def write(change):
        path = odim(tmp_path / "hostile.h5")
        with h5py.File(path, "r+") as file:
            del file["dataset1/data1/data"]
            change(file["dataset1/data1"])
        return path

    return write


def test_external_link(hostile, canary):
    path = hostile(lambda group: group.__setitem__("data", h5py.ExternalLink(str(canary), "/dataset1/data1/data")))
    with pytest.raises(UnreadableFile, match="links to another file"):
        read_frame(path)


def test_external_link_far_from_the_data(tmp_path, canary):
    path = odim(tmp_path / "hostile.h5")
    with h5py.File(path, "r+") as file:
        file["how/deep/inside"] = h5py.ExternalLink(str(canary), "/")
    with pytest.raises(UnreadableFile, match="links to another file"), open_hdf5(path):
        pass


def test_soft_link_to_an_external_one(hostile, canary):
    def change(group):
        group.file["out"] = h5py.ExternalLink(str(canary), "/dataset1/data1/data")
        group["data"] = h5py.SoftLink("/out")

    with pytest.raises(UnreadableFile, match="links to another file"):
        read_frame(hostile(change))


def test_external_storage(hostile, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(12)))
    external = [(str(tmp_path / "secret"), 0, 12)]
    path = hostile(lambda group: group.create_dataset("data", (3, 4), "u1", external=external))
    with pytest.raises(UnreadableFile, match="in another file"):
        read_frame(path)


def test_virtual_dataset(hostile, canary):
    layout = h5py.VirtualLayout((3, 4), "u1")
    layout[:] = h5py.VirtualSource(str(canary), "dataset1/data1/data", (3, 4))
    with pytest.raises(UnreadableFile, match="in another file"):
        read_frame(hostile(lambda group: group.create_virtual_dataset("data", layout)))


def test_filter_plugin(hostile):
    path = hostile(lambda group: group.create_dataset("data", data=np.zeros((3, 4), "u1"), compression="lzf"))
    with pytest.raises(UnreadableFile, match="filter 32000, which is a plugin"):
        read_frame(path)


def test_declared_size(hostile):
    path = hostile(lambda group: group.create_dataset("data", (1 << 20, 1 << 20), "f8", chunks=(64, 64)))
    assert path.stat().st_size < 100_000
    with pytest.raises(UnreadableFile, match=f"at most {MAX_BYTES}"):
        read_frame(path)


def test_huge_grid_in_attributes_alone(tmp_path):
    path = odim(tmp_path / "hostile.h5")
    with h5py.File(path, "r+") as file:
        file["where"].attrs["xsize"] = 1 << 30
    with pytest.raises(UnreadableFile, match="at most"):
        read_frame(path)


def test_hard_link_cycle_ends(tmp_path):
    path = odim(tmp_path / "cycle.h5")
    with h5py.File(path, "r+") as file:
        file["dataset1/data1/up"] = file["dataset1"]
    assert read_frame(path)["rain_rate"].shape == (3, 4)


def test_too_many_objects(tmp_path):
    path = odim(tmp_path / "many.h5")
    with h5py.File(path, "r+") as file:
        for number in range(2100):
            file.create_group(f"how/g{number}")
    with pytest.raises(UnreadableFile, match="more than 2000 objects"):
        read_frame(path)


def test_netcdf4_is_guarded_like_hdf5(tmp_path, canary):
    path = tmp_path / "rain.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 2)
        file.createVariable("rain", "f4", ("x",))
    with h5py.File(path, "r+") as file:
        file["out"] = h5py.ExternalLink(str(canary), "/")
    with pytest.raises(UnreadableFile, match="links to another file"), open_netcdf(path):
        pass


def test_classic_netcdf_larger_than_its_file(tmp_path):
    path = tmp_path / "rain.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 1000)
        file.createVariable("rain", "f4", ("x",))[:] = 0
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnreadableFile, match="values end at byte 4080, the file at 200; it is cut"), open_netcdf(path):
        pass


@pytest.mark.parametrize("name", ["https:", "http:", "file:"])
def test_a_path_that_looks_like_a_url_is_a_path(tmp_path, monkeypatch, name):
    folder = tmp_path / name / "host"
    folder.mkdir(parents=True)
    with netCDF4.Dataset(folder / "rain.nc", "w") as file:
        file.createDimension("x", 2)
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    with open_netcdf(Path(f"{name}/host/rain.nc")) as dataset:
        assert dataset.sizes == {"x": 2} or not dataset.sizes


def test_gzip_bomb(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(8):
            file.write(bytes(1 << 20))
    with pytest.raises(UnreadableFile, match="unpacks to more than 1 MiB"):
        read_bytes(path, 1 << 20)


def test_cut_gzip_is_refused_by_name(tmp_path):
    path = tmp_path / "raa01-ry_10000-1408102050-dwd---bin.gz"
    path.write_bytes(gzip.compress(bytes(1000))[:-4])
    with pytest.raises(UnreadableFile, match="not readable as dwd-radolan"):
        read_frame(path)


def test_png_inside_grib_of_another_size(tmp_path):
    content = bytearray(grib(np.zeros((20, 30))))
    at = content.index(b"IHDR") + 4
    content[at : at + 4] = (60_000).to_bytes(4, "big")
    content[at + 13 : at + 17] = zlib.crc32(bytes(content[at - 4 : at + 13])).to_bytes(4, "big")
    path = tmp_path / "PrecipRate.grib2"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="packed image is not 20 × 30"):
        read_frame(path)


def classic(path, version, recorded, coordinates_last):
    """Write rain of 5 mm/h everywhere in packed shorts, in one of the classic formats."""
    sides = {"lat": 30, "lon": 31}
    with netCDF4.Dataset(path, "w", format=version) as file:
        file.createDimension("time", None if recorded else 1)
        for name, size in sides.items():
            file.createDimension(name, size)

        def coordinates():
            for name, values, unit in (
                ("time", [12.0], "hours since 2024-05-01"),
                ("lat", 50 + 0.01 * np.arange(30), "degrees_north"),
                ("lon", 5 + 0.01 * np.arange(31), "degrees_east"),
            ):
                file.createVariable(name, "f8", (name,))[:] = values
                file[name].units = unit

        if not coordinates_last:
            coordinates()
        rain = file.createVariable("rain", "i2", ("time", "lat", "lon"))
        rain.setncatts({"units": "mm h-1", "standard_name": "rainfall_rate", "scale_factor": 0.01, "add_offset": 0.0})
        rain.set_auto_maskandscale(False)
        rain[0] = 500
        if coordinates_last:
            coordinates()
    return path


@pytest.mark.parametrize("version", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("coordinates_last", [False, True])
def test_a_cut_classic_netcdf_is_refused_and_never_dry(tmp_path, version, recorded, coordinates_last):
    path = classic(tmp_path / "rain.nc", version, recorded, coordinates_last)
    whole = path.read_bytes()
    assert (read_frame(path)["rain_rate"] == 5).all()
    for cut in (4, 100, 1000, len(whole) // 2, len(whole) - 100, len(whole) - 10):
        path.write_bytes(whole[:-cut])
        with pytest.raises(UnreadableFile, match=r"it is cut, fetch it again|the header is cut"):
            read_frame(path)


def test_a_classic_netcdf_of_many_records_ends_with_its_last(tmp_path):
    path = tmp_path / "rain.nc"
    for kinds in (("i2",), ("i2", "f8"), ("i1", "i2", "i4")):
        with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
            file.createDimension("time", None)
            file.createDimension("x", 3)
            for kind in kinds:
                file.createVariable(kind, kind, ("time", "x"))[0:5] = np.ones((5, 3))
        assert 0 <= path.stat().st_size - data_end(path) < 4


def test_parts_of_hdf5_that_were_never_written_are_not_dry(tmp_path):
    path = odim(tmp_path / "composite.h5")
    for chunks, rows, told in ((None, 0, "0 of 1 parts"), ((1, 4), 2, "2 of 3 parts"), ((2, 2), 2, "2 of 4 parts")):
        with h5py.File(path, "r+") as file:
            data = file["dataset1/data1"]
            del data["data"]
            dataset = data.create_dataset("data", (3, 4), "u1", chunks=chunks)
            if rows:
                dataset[:rows] = 7
        with pytest.raises(UnreadableFile, match=f"{told} of /dataset1/data1/data are written"):
            read_frame(path)


@pytest.mark.parametrize("scale", [0.0, np.nan, np.inf])
def test_a_scale_that_makes_all_values_equal_is_refused(tmp_path, scale):
    with pytest.raises(UnreadableFile, match="makes all values equal"):
        read_frame(odim(tmp_path / "composite.h5", gain=scale))
    path = classic(tmp_path / "rain.nc", "NETCDF3_CLASSIC", recorded=False, coordinates_last=False)
    with netCDF4.Dataset(path, "a") as file:
        file["rain"].scale_factor = scale
    with pytest.raises(UnreadableFile, match="makes all values equal"):
        read_frame(path)


def test_a_scale_too_small_for_a_number_is_refused_too(tmp_path):
    ry = radolan(tmp_path / "raa01-ry_10000-1408102050-dwd---bin", precision="E-400")
    content = bytearray(grib(np.zeros((20, 30))))
    packing = content.index(struct.pack(">Hf", 41, -30.0))
    content[packing + 6 : packing + 8] = b"\xff\xff"  # 2 to the power of -32767
    mrms = tmp_path / "PrecipRate.grib2"
    mrms.write_bytes(content)
    for path in (ry, mrms):
        with pytest.raises(UnreadableFile, match="makes all values equal"):
            read_frame(path)


def test_cells_without_a_place_are_refused(tmp_path):
    path = classic(tmp_path / "rain.nc", "NETCDF3_CLASSIC", recorded=False, coordinates_last=False)
    with netCDF4.Dataset(path, "a") as file:
        file["lon"][0] = np.nan
    with pytest.raises(UnreadableFile, match="its cells have no place"):
        read_frame(path)
