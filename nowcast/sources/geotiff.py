"""GeoTIFF by rasterio (the extra `readers`), with GDAL's other drivers and its network left out."""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nowcast.errors import ReaderMissing, UnreadableFile
from nowcast.grid import Grid
from nowcast.sources.guard import check_shape

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Raster:
    """One band of a GeoTIFF.

    Attributes
    ----------
    values
        (H, W) as stored, north first.
    metadata
        GDAL's metadata as XML text, entities resolved.
    seen
        (H, W) False where there is no data: by a nodata value, a mask or an alpha band, or in a block that the file
        lacks, as one does that is being written. GDAL reads such a block as zeros, and zero is dry.
    scale, offset
        The band's own: value = scale · stored + offset; 1 and 0 where it states none.
    told
        Of blocks that the file lacks, empty where it has them all.
    """

    values: NDArray
    grid: Grid
    metadata: str
    seen: NDArray[np.bool_]
    scale: float
    offset: float
    told: str


def _rasterio() -> Any:  # noqa: ANN401  rasterio has no types
    try:
        import rasterio
        import rasterio.env
    except ImportError as error:
        raise ReaderMissing(
            "GeoTIFF needs rasterio, which is not installed; install it with pip install 'nowcast[readers]'"
        ) from error
    return rasterio


def open_geotiff(path: Path, band: int = 1) -> Raster:
    """Return a band of the file.

    Raises
    ------
    ReaderMissing
        Without rasterio.
    UnreadableFile
        When the file has no CRS, is rotated, too large or has no such band.
    """
    rasterio = _rasterio()
    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "CPL_CURL_ENABLED": "NO",
        "GDAL_SKIP_NETWORK": "YES",
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_CACHEMAX": 64,
        "GDAL_NUM_THREADS": 1,
    }
    with rasterio.Env(**options), rasterio.open(path.resolve(), driver="GTiff") as file:
        check_shape(path, file.height, file.width)
        if file.crs is None:
            raise UnreadableFile(f"{path}: has no CRS; write one with gdal_translate -a_srs")
        transform = file.transform
        if transform.b or transform.d or transform.a <= 0 or transform.e >= 0:
            raise UnreadableFile(f"{path}: rows do not run from north to south ({transform!r}); warp it")
        if not 1 <= band <= file.count:
            raise UnreadableFile(f"{path}: no band {band}, it has {file.count}; set band in the source's description")
        grid = Grid(
            crs=file.crs.to_wkt(),
            x0=transform.c + transform.a / 2,
            y0=transform.f + transform.e / 2,
            dx=transform.a,
            dy=-transform.e,
            height=file.height,
            width=file.width,
        )
        seen, blocks = file.read_masks(band) > 0, list(file.block_windows(band))
        lacking = [
            w for (row, column), w in blocks if not file.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", band)
        ]
        for window in lacking:
            seen[window.toslices()] = False
        told = (
            f"{len(lacking)} of {len(blocks)} blocks are not in the file (SPARSE_OK?), so not seen" if lacking else ""
        )
        metadata = "\n".join(f'<Item name="{key}">{value}</Item>' for key, value in file.tags().items())
        return Raster(
            values=np.asarray(file.read(band)),
            grid=grid,
            metadata=html.unescape(html.unescape(metadata)),
            seen=seen,
            scale=file.scales[band - 1],
            offset=file.offsets[band - 1],
            told=told,
        )
