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
        (H, W) False where the file says that there is no data: by a nodata value, a mask or an alpha band.
    scale, offset
        The band's own: value = scale · stored + offset; 1 and 0 where it states none.
    """

    values: NDArray
    grid: Grid
    metadata: str
    seen: NDArray[np.bool_]
    scale: float
    offset: float


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
        metadata = "\n".join(f'<Item name="{key}">{value}</Item>' for key, value in file.tags().items())
        return Raster(
            values=np.asarray(file.read(band)),
            grid=grid,
            metadata=html.unescape(html.unescape(metadata)),
            seen=file.read_masks(band) > 0,
            scale=file.scales[band - 1],
            offset=file.offsets[band - 1],
        )
