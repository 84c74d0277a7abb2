"""Small files in documented layouts, for formats of which no real file is at hand."""

import gzip
import struct

import h5py
import netCDF4
import numpy as np

PROJDEF = "+proj=laea +lat_0=55.0 +lon_0=10.0 +x_0=1950000.0 +y_0=-2100000.0 +units=m +ellps=WGS84"
LAEA_LL = 31.746215, -10.434577
CODES = np.array([[255, 0, 10, 20], [30, 40, 50, 255], [0, 0, 100, 1]], np.uint8)


def odim(path, quantity="RATE", version="2.4", codes=CODES, gain=0.5, offset=0.0, quality=None, minutes=60, how=None):
    """Write an ODIM composite; in 2.0 and 2.1 the quantity is with the dataset, later with the data."""
    height, width = codes.shape
    with h5py.File(path, "w") as file:
        file.attrs["Conventions"] = np.bytes_(f"ODIM_H5/V{version.replace('.', '_')}")
        file.create_group("what").attrs.update(
            {"object": np.bytes_("COMP"), "date": np.bytes_("20240501"), "time": np.bytes_("120000")}
        )
        file.create_group("where").attrs.update({
            "projdef": np.bytes_(PROJDEF), "xsize": width, "ysize": height, "xscale": 2000.0, "yscale": 2000.0,
            "LL_lat": LAEA_LL[0], "LL_lon": LAEA_LL[1],
        })  # fmt: skip
        dataset = file.create_group("dataset1")
        data = dataset.create_group("data1")
        data.create_dataset("data", data=codes, compression="gzip")
        start = np.bytes_(f"{12 - minutes // 60:02d}0000")
        dataset.create_group("what").attrs.update({
            "startdate": np.bytes_("20240501"), "starttime": start, "enddate": np.bytes_("20240501"),
            "endtime": np.bytes_("120000"),
        })  # fmt: skip
        what = dataset["what"] if version < "2.2" else data.create_group("what")
        what.attrs.update(
            {"quantity": np.bytes_(quantity), "gain": gain, "offset": offset, "nodata": 255.0, "undetect": 0.0}
        )
        if how:
            data.create_group("how").attrs.update(how)
        if quality is not None:
            group = data.create_group("quality1")
            group.create_dataset("data", data=quality)
            group.create_group("what").attrs.update({"gain": 1 / 255, "offset": 0.0})
    return path


def radolan(path, product="RY", codes=None, version="3", lead=None, precision="E-02", minutes=5, packed=False):
    """Write a RADOLAN composite of 900 × 900 (rows from the south); `codes` (900, 900) from the north."""
    kind = "u1" if product in {"RX", "WX", "EX"} else "<u2"
    codes = np.zeros((900, 900), kind) if codes is None else codes
    told = f"VV {lead:03d}" if lead is not None else ""
    header = f"{product}102050100000814BY{codes.nbytes + 80:7d}VS{version:>2}SW   2.13.1PR {precision}"
    header += f"INT{minutes:4d}GP 900x 900{told}MS  5<boo>"
    content = header.encode() + b"\x03" + codes[::-1].astype(kind).tobytes()
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    return path


def netcdf(path, variables, dims, attributes=None):
    """Write a NetCDF-4: `variables` is {name: (dims, values, attributes)}, `_FillValue` among the attributes."""
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts(attributes or {})
        for name, size in dims.items():
            file.createDimension(name, size)
        for name, (over, values, given) in variables.items():
            variable = file.createVariable(name, np.asarray(values).dtype, over, fill_value=given.get("_FillValue"))
            variable.set_auto_maskandscale(False)
            variable.setncatts({key: value for key, value in given.items() if key != "_FillValue"})
            variable[...] = values
    return path


def goes(path, codes, quality):
    """Write GOES ABI RRQPE: packed rates and scan angles, y falling."""
    height, width = codes.shape
    projection = {
        "grid_mapping_name": "geostationary", "perspective_point_height": 35786023.0, "semi_major_axis": 6378137.0,
        "semi_minor_axis": 6356752.31414, "longitude_of_projection_origin": -75.0, "sweep_angle_axis": "x",
        "latitude_of_projection_origin": 0.0, "inverse_flattening": 298.2572221,
    }  # fmt: skip
    x, y = {"scale_factor": 56e-6, "add_offset": -0.02}, {"scale_factor": -56e-6, "add_offset": 0.1}
    return netcdf(
        path,
        {
            "x": (("x",), np.arange(width, dtype=np.int16), x),
            "y": (("y",), np.arange(height, dtype=np.int16), y),
            "goes_imager_projection": ((), np.int32(0), projection),
            "RRQPE": (("y", "x"), codes.astype(np.uint16), {
                "_FillValue": np.uint16(65535), "scale_factor": np.float32(0.01), "add_offset": np.float32(0),
                "units": "mm h-1", "grid_mapping": "goes_imager_projection", "standard_name": "rainfall_rate",
            }),
            "DQF": (("y", "x"), quality.astype(np.uint8), {"_FillValue": np.uint8(255)}),
        },
        {"y": height, "x": width},
        {"time_coverage_start": "2024-05-01T12:00:20.5Z", "time_coverage_end": "2024-05-01T12:09:51.2Z"},
    )  # fmt: skip


def grib(values, parameter=1, discipline=209, truncate=0):
    """Return an MRMS-like GRIB2 message of PNG-packed rates (H, W), 0.1 mm/h; −3 where NaN."""
    import cv2

    height, width = values.shape
    codes = np.rint(np.where(np.isnan(values), -3, values) * 10 + 30).astype(np.uint16)
    png = cv2.imencode(".png", codes)[1].tobytes()
    first = struct.pack(">HHBBBHBBBBBBB", 161, 0, 255, 1, 3, 2024, 5, 1, 12, 2, 0, 0, 7)
    earth = bytes([2]) + bytes(15)
    lat, lon, step = 50_000_000, 250_000_000, 10_000
    third = b"\0" + struct.pack(">I", height * width) + b"\0\0" + struct.pack(">H", 0) + earth
    third += struct.pack(">IIII", width, height, 0, 0xFFFFFFFF) + struct.pack(">II", lat, lon) + b"\x30"
    last = struct.pack(">II", lat - step * (height - 1), lon + step * (width - 1))
    third += last + struct.pack(">II", step, step) + b"\0"
    fourth = struct.pack(">HHBB", 0, 0, 6, parameter) + bytes(23)
    fifth = struct.pack(">IHfHHBB", height * width, 41, -30.0, 0, 1, 16, 0)
    sections = ((1, first), (3, third), (4, fourth), (5, fifth), (6, b"\xff"), (7, png))
    body = b"".join(struct.pack(">IB", len(content) + 5, number) + content for number, content in sections)
    head = b"GRIB\0\0" + bytes([discipline, 2]) + struct.pack(">Q", 16 + len(body) + 4)
    message = head + body + b"7777"
    return message[: len(message) - truncate]
