"""The sources we read, and the one function that reads any of their files."""

from pathlib import Path

import numpy as np
import xarray as xr

from nowcast.errors import ConfigError, NowcastError, UnreadableFile
from nowcast.frame import grid_of
from nowcast.sources.base import HEAD_BYTES, ZR, Source, digest_of
from nowcast.sources.bom import BomSource
from nowcast.sources.cf import CfSource
from nowcast.sources.fmi import FmiGeotiffSource, FmiPgmSource
from nowcast.sources.goes import GoesSource
from nowcast.sources.knmi import KnmiSource
from nowcast.sources.mch import MchSource
from nowcast.sources.meteonet import MeteonetSource
from nowcast.sources.mrms import MrmsSource
from nowcast.sources.nwcsaf import NwcsafSource
from nowcast.sources.odim import OdimSource
from nowcast.sources.own import read_sources
from nowcast.sources.radklim import RadklimSource
from nowcast.sources.radolan import ZR_DWD, RadolanSource
from nowcast.sources.simulated import SimulatedSatelliteSource, SimulatedSource

SOURCES: tuple[Source, ...] = (
    SimulatedSource(),
    SimulatedSatelliteSource(),
    KnmiSource(),
    OdimSource("opera-rate", ("T_PAAH2*_C_EUOC_*.h*", "OPERA@*@RATE*.h5"), "RATE"),
    OdimSource("opera-dbzh", ("T_PABV2*_C_EUOC_*.h*", "OPERA@*@DBZH*.h5"), "DBZH"),
    OdimSource("opera-acrr", ("T_PASH2*_C_EUOC_*.h*", "OPERA@*@ACRR*.h5"), "ACRR"),
    OdimSource("dwd-hx", ("composite_hx_*",), "DBZH", ZR_DWD),
    OdimSource("mch-rzc", ("RZC*.h5", "rzc*.h5"), "RATE"),
    OdimSource(),
    RadolanSource(),
    RadklimSource(),
    FmiPgmSource(),
    FmiGeotiffSource(),
    MchSource(),
    BomSource(),
    MrmsSource(),
    MeteonetSource(),
    NwcsafSource(),
    GoesSource(),
    CfSource(),
)
"""In the order in which they are asked whether they recognise a file: the particular before the generic."""

__all__ = ["SOURCES", "ZR", "Source", "digest_of", "read_frame", "source_named", "source_of", "with_own"]


def with_own(path: Path | None) -> tuple[Source, ...]:
    """Return the sources that a TOML file describes (`nowcast.sources.own`), then ours; without a file ours alone."""
    return (read_sources(path, SOURCES) if path else ()) + SOURCES


def source_named(name: str, sources: tuple[Source, ...] = SOURCES) -> Source:
    """Return the source of that name, or raise `ConfigError` with those there are."""
    for source in sources:
        if source.name == name:
            return source
    raise ConfigError(f"no source {name!r}; there are: {', '.join(s.name for s in sources)}")


def source_of(path: Path, sources: tuple[Source, ...] = SOURCES) -> Source:
    """Return the source that recognises the file, or raise `UnreadableFile`."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableFile(f"{path}: {error.strerror}; check the path and its permissions") from error
    if not head:
        raise UnreadableFile(f"{path}: empty file; fetch it again")
    for source in sources:
        if source.recognises(path, head):
            return source
    raise UnreadableFile(f"{path}: no source recognises it; there are: {', '.join(s.name for s in sources)}")


def read_frame(path: Path, source: Source | None = None) -> xr.Dataset:
    """Return the frame in the file, read by `source` or by the one that recognises it.

    Raises
    ------
    UnreadableFile
        Also for whatever a reader or its library stumbles over: a file's bytes are not ours to trust.
    """
    source = source or source_of(path)
    try:
        frame = source.read(path)
        grid = grid_of(frame)  # coordinates of a damaged file may make no grid
        if not np.isfinite((grid.x0, grid.y0, grid.dx, grid.dy)).all():
            raise UnreadableFile(f"{path}: its cells have no place ({grid.x0:g}, {grid.y0:g}); fetch it again")
        frame.attrs["digest"] = digest_of(path)
    except NowcastError:
        raise
    except Exception as error:
        told = str(error).split("\n", 1)[0][:500]
        raise UnreadableFile(
            f"{path}: not readable as {source.name} ({type(error).__name__}: {told}); fetch it again or name its source"
        ) from error
    return frame
