"""Real and written files, damaged in the ways that transfers, disks and attackers damage them."""

import gzip
import random
import struct

import h5py
import numpy as np

from tests.sources.written import goes, grib, netcdf, odim, radolan

CANARY = "CANARY-7f3a91"
CANARY_RATE = 77.625
EXTREMES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\0",
    b"\xff" * 8,
    b"\0" * 8,
)
SLOW = 2_500_000
"""Files larger than this are damaged less often: each takes a second."""


def canary(folder):
    """Write a readable composite of one telling rate, and a text, that no other file may reach."""
    (folder / "canary.txt").write_text(CANARY * 200)
    codes = np.full((64, 64), CANARY_RATE, "f8")
    return odim(folder / "canary.h5", codes=codes, gain=1.0)


def written_seeds(folder):
    """Write one small file per format; return their paths."""
    paths = [
        odim(folder / "composite.h5"),
        odim(folder / "T_PABV21_C_EUOC_1.hdf", "DBZH"),
        odim(folder / "a.h5", "ACRR"),
    ]
    paths.append(radolan(folder / "raa01-ry_10000-1408102050-dwd---bin.gz", packed=True))
    rates = np.random.default_rng(1).random((40, 50)) * 9
    (folder / "PrecipRate_1.grib2").write_bytes(grib(rates))
    (folder / "PrecipRate_2.grib2.gz").write_bytes(gzip.compress(grib(rates)))
    paths += [folder / "PrecipRate_1.grib2", folder / "PrecipRate_2.grib2.gz"]
    counts = np.arange(30).reshape(5, 6)
    paths.append(goes(folder / "OR_ABI-L2-RRQPEF-M6_G16.nc", counts, counts % 2))
    paths.append(
        netcdf(
            folder / "rain.nc",
            {
                "time": ((), np.float64(0), {"units": "seconds since 2024-05-01"}),
                "lat": (("lat",), np.arange(5.0), {"units": "degrees_north"}),
                "lon": (("lon",), np.arange(6.0), {"units": "degrees_east"}),
                "rain": (("lat", "lon"), counts.astype("f4"), {"standard_name": "rainfall_rate", "units": "mm h-1"}),
            },
            {"lat": 5, "lon": 6},
        )
    )
    np.savez(folder / "rainfall_NW_202405011200.npz", data=np.zeros((565, 784), np.int16))
    return [*paths, folder / "rainfall_NW_202405011200.npz"]


def real_seeds(shared):
    """One or two real files per format."""
    return [path for folder in sorted((shared / "data" / "raw").iterdir()) for path in sorted(folder.iterdir())[:2]]


def damaged(content, rng, other=b""):
    """Return bytes changed in one to four places; a packed file half of the time beneath its packing."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.5:
        return gzip.compress(damaged(gzip.decompress(content), rng, other), 1)
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        rng.choice((flip, overwrite, cut, grow, copy, splice, number))(data, rng, other)
    return bytes(data)


def place(data, rng):
    """A position, more often near the start, where headers are."""
    size = len(data)
    return rng.randrange(min(size, rng.choice((64, 512, 4096, size))) or 1) if size else 0


def flip(data, rng, _):
    if data:
        data[place(data, rng)] ^= 1 << rng.randrange(8)


def overwrite(data, rng, _):
    at, value = place(data, rng), rng.choice(EXTREMES) * rng.randint(1, 4)
    data[at : at + len(value)] = value


def number(data, rng, _):
    at = place(data, rng)
    value = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32)))
    data[at : at + 4] = struct.pack(rng.choice("<>") + "I", value)


def cut(data, rng, _):
    del data[place(data, rng) if rng.random() < 0.3 else rng.randrange(len(data) + 1) :]


def grow(data, rng, _):
    at = place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))


def copy(data, rng, _):
    at, to, length = place(data, rng), place(data, rng), rng.choice((4, 64, 1024))
    data[to : to + length] = data[at : at + length]


def splice(data, rng, other):
    at = place(data, rng)
    data[at : at + 200] = other[at : at + 200]


def reaching(path, rng, folder):
    """Make an HDF5 file reach for the canary, in one of the ways that HDF5 offers."""
    target = str(folder / "canary.h5")
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if getattr(item, "shape", ()) else None)
        name = rng.choice(names)
        shape, dtype = file[name].shape, file[name].dtype
        way = rng.randrange(4)
        del file[name]
        if way == 0:
            file[name] = h5py.ExternalLink(target, "/dataset1/data1/data")
        elif way == 1:
            file.create_dataset(name, shape, dtype, external=[(str(folder / "canary.txt"), 0, h5py.h5f.UNLIMITED)])
        elif way == 2:
            layout = h5py.VirtualLayout(shape, dtype)
            layout[:] = h5py.VirtualSource(target, "dataset1/data1/data", shape)
            file.create_virtual_dataset(name, layout)
        else:
            file["beyond"] = h5py.ExternalLink(target, "/")
            file[name] = h5py.SoftLink("/beyond/dataset1/data1/data")


class Fuzzer:
    """Damaged files in turn, by one seed.

    Parameters
    ----------
    folder
        Where canary and seeds are written, and damaged files come and go.
    """

    def __init__(self, folder, seed=0, shared=None):
        self.folder, self.rng = folder, random.Random(seed)
        seeds = folder / "seeds"
        seeds.mkdir(parents=True, exist_ok=True)
        canary(folder)
        paths = written_seeds(seeds) + (real_seeds(shared) if shared else [])
        self.seeds = [(path.name, path.read_bytes()) for path in paths]
        self.weights = [0.05 if len(content) > SLOW else 1.0 for _, content in self.seeds]

    def write(self, number):
        """Write the next damaged file and return its path; its name is that of a good one, in a folder of its own."""
        name, content = self.rng.choices(self.seeds, self.weights)[0]
        folder = self.folder / f"case{number}"
        folder.mkdir()
        path = folder / name
        if content[:4] == b"\x89HDF" and len(content) < SLOW and self.rng.random() < 0.2:
            path.write_bytes(content)
            reaching(path, self.rng, self.folder)
        else:
            path.write_bytes(damaged(content, self.rng, self.rng.choice(self.seeds)[1]))
        return path
