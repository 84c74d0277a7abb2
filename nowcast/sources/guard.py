"""Opening files that nobody vouches for: what a file declares is checked before anything is allocated or followed.

HDF5 can name other files (external links, external storage, virtual datasets) and load code (filter plugins): such
files are refused. Every size is bounded: a header of forty bytes may declare terabytes. NetCDF-4 is HDF5 and checked
as such; classic NetCDF has no compression, so its values must all lie in the file.
"""

import bz2
import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import xarray as xr

from nowcast.errors import UnreadableFile
from nowcast.sources.classic import data_end

MAX_CELLS = 1 << 26
"""Largest field: 67 million cells, 2.7 times MRMS over the United States."""
MAX_BYTES = 1 << 30
"""Largest dataset as declared, and largest file once unpacked."""
MAX_OBJECTS = 2000
GZIP = b"\x1f\x8b"
BZIP2 = b"BZh"
HDF5 = b"\x89HDF\r\n\x1a\n"
NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", HDF5)
FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    h5py.h5z.FILTER_SZIP,
    h5py.h5z.FILTER_NBIT,
    h5py.h5z.FILTER_SCALEOFFSET,
}


def check_shape(path: Path, height: int, width: int) -> None:
    """Refuse a field that is empty or larger than `MAX_CELLS`."""
    if height < 1 or width < 1 or height * width > MAX_CELLS:
        raise UnreadableFile(f"{path}: declares {height} × {width} cells, at most {MAX_CELLS} are read; fetch it again")


def read_bytes(path: Path, limit: int = 1 << 28) -> bytes:
    """Return the file's bytes, unpacked if gzip or bzip2, or refuse what unpacks to more than `limit`."""
    with path.open("rb") as file:
        head = file.read(3)
    opener = gzip.open if head.startswith(GZIP) else bz2.open if head == BZIP2 else open
    with opener(path, "rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise UnreadableFile(f"{path}: unpacks to more than {limit >> 20} MiB; is it what its name says?")
    return content


def check_scale(path: Path, scale: float) -> None:
    """Refuse a scale by which every code is the same rain, or none: a damaged one of 0 makes all of it dry."""
    if not (math.isfinite(scale) and scale):
        raise UnreadableFile(f"{path}: states a scale of {scale:g}, which makes all values equal; fetch it again")


def check_written(path: Path, dataset: h5py.Dataset) -> None:
    """Refuse a dataset of which parts were never written: HDF5 reads them as zeros, and zero is dry."""
    if dataset.chunks:
        written = dataset.id.get_num_chunks()
        wanted = math.prod(-(-size // side) for size, side in zip(dataset.shape, dataset.chunks, strict=True))
    else:
        written, wanted = int(dataset.id.get_storage_size() > 0), 1
    if written < wanted:
        raise UnreadableFile(f"{path}: {written} of {wanted} parts of {dataset.name} are written; fetch it again")


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a checked HDF5 file for reading.

    Raises
    ------
    UnreadableFile
        For links to other files, filter plugins, and objects too many or too large.
    """
    with h5py.File(path, "r", locking=False) as file:
        _check_group(file, path, set())
        yield file


@contextmanager
def open_netcdf(path: Path) -> Iterator[xr.Dataset]:
    """Open a checked NetCDF file for reading; the path is local and absolute, so never taken for a URL."""
    with path.open("rb") as file:
        head = file.read(len(HDF5))
    if not head.startswith(NETCDF):
        raise UnreadableFile(f"{path}: begins with {head[:8]!r}, which is no NetCDF; fetch it again")
    if head.startswith(HDF5):
        with open_hdf5(path):
            pass
    else:
        _check_classic(path)
    with xr.open_dataset(path.resolve(), engine="netcdf4", decode_timedelta=False, cache=False) as dataset:
        yield dataset


def _check_group(group: h5py.Group, path: Path, seen: set[int]) -> None:
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            continue
        if not isinstance(link, h5py.HardLink):
            raise UnreadableFile(f"{path}: {group.name}/{name} links to another file; such HDF5 files are refused")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if len(seen) > MAX_OBJECTS:
            raise UnreadableFile(f"{path}: holds more than {MAX_OBJECTS} objects; is it a radar file?")
        if isinstance(item, h5py.Group):
            _check_group(item, path, seen)
        elif isinstance(item, h5py.Dataset):
            _check_dataset(item, path)


def _check_dataset(dataset: h5py.Dataset, path: Path) -> None:
    where = f"{path}: dataset {dataset.name}"
    if dataset.is_virtual or dataset.external:
        raise UnreadableFile(f"{where} keeps its data in another file; such HDF5 files are refused")
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(n)[0] for n in range(properties.get_nfilters())}
    if not filters <= FILTERS:
        raise UnreadableFile(f"{where} needs filter {min(filters - FILTERS)}, which is a plugin; repack it with gzip")
    itemsize = dataset.dtype.itemsize
    for word, shape in (("data", dataset.shape or ()), ("chunks", dataset.chunks or ())):
        if math.prod(shape) * itemsize > MAX_BYTES:
            raise UnreadableFile(f"{where} declares {word} of {shape} × {itemsize} bytes, at most {MAX_BYTES} are read")


def _check_classic(path: Path) -> None:
    end, size = data_end(path), path.stat().st_size
    if end > size:
        raise UnreadableFile(f"{path}: its values end at byte {end}, the file at {size}; it is cut, fetch it again")
