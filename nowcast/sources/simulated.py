"""Simulated radar and satellite files of moving, growing and decaying rain, for demonstrations and tests.

The weather is a function of (seed, time) alone, so any process can write any frame again. It is a sum of band-passed
noise fields (a power-law spectrum, slope `SLOPE`), each changing over a time that grows with its scale, all turning
about a distant centre; where the sum is high, it rains. The radar composite sees discs with a blocked sector, and one
radar after another drops out; the satellite sees everything, blurred and biased, every 15 minutes.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nowcast.clock import STEP, floor
from nowcast.errors import NoRoom
from nowcast.frame import RAIN_ATTRS, make_frame
from nowcast.grid import WGS84, Grid, transformer
from nowcast.sources.cf import CfSource

SEED = 2026
TILE = 1024
SCALES_KM = (256.0, 128.0, 64.0, 32.0, 16.0, 8.0, 4.0)
SLOPE = 0.55
TURN_PER_HOUR = 0.055
CENTRE_KM = (4000.0, 2100.0)
WET_ABOVE = 0.75
STEEPNESS = 1.15
RADAR_GRID = Grid("EPSG:3035", 3_800_500.0, 3_449_500.0, 1000.0, 1000.0, 992, 640)
SATELLITE_GRID = Grid(WGS84, 1.5, 54.5, 0.05, 0.05, 190, 220)
SATELLITE_STEP = timedelta(minutes=15)
RADARS = (  # x, y in km of EPSG:3035, range in km
    (3990.0, 3230.0, 170.0),
    (3950.0, 3330.0, 170.0),
    (4080.0, 3120.0, 150.0),
    (4060.0, 2640.0, 160.0),
    (4190.0, 2590.0, 150.0),
    (4240.0, 2690.0, 160.0),
    (4350.0, 2640.0, 150.0),
)


class SimulatedSource(CfSource):
    """The simulated radar composite."""

    name = "simulated"
    satellite = False

    def recognises(self, path: Path, head: bytes) -> bool:
        """Tell by the name that `write_files` gives."""
        return path.name.startswith(f"{self.name}_")


class SimulatedSatelliteSource(SimulatedSource):
    """The simulated satellite's rain rate."""

    name = "simulated-sat"
    satellite = True


def write_files(feed: Path, start: datetime, end: datetime) -> Iterator[Path]:
    """Write each radar and satellite file with `start < valid time <= end` that is not there yet, oldest first.

    Raises
    ------
    NoRoom
        When one cannot be written; nothing is left of it.
    """
    time = floor(start) + STEP
    while time <= end:
        yield from _missing(feed, SimulatedSource.name, time)
        if floor(time, SATELLITE_STEP) == time:
            yield from _missing(feed, SimulatedSatelliteSource.name, time)
        time += STEP


def _missing(feed: Path, source: str, time: datetime) -> Iterator[Path]:
    path = feed / source / f"{source}_{time:%Y%m%dT%H%M}.nc"
    if path.exists():
        return
    radar = source == SimulatedSource.name
    frame = make_frame(
        radar_view(time) if radar else satellite_view(time),
        RADAR_GRID if radar else SATELLITE_GRID,
        time,
        source,
        accumulation_minutes=5.0 if radar else 0.0,
    )
    part = path.with_suffix(".part")
    packed = {"dtype": "u2", "scale_factor": 0.01, "_FillValue": 65535, "zlib": True, "complevel": 1}
    frame["rain_rate"].attrs = RAIN_ATTRS
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_netcdf(part, engine="netcdf4", encoding={"rain_rate": packed})
        # as a copy that keeps its time: ingest need not wait for it to settle
        os.utime(part, (time.timestamp(), time.timestamp()))
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # netCDF-C says either of a full disk
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise NoRoom.of(path, error) from error
    yield path


def radar_view(time: datetime) -> NDArray[np.float32]:
    """Return what the radar composite sees, mm/h on `RADAR_GRID`; NaN where no radar sees."""
    x, y = np.meshgrid(RADAR_GRID.x / 1000, RADAR_GRID.y / 1000)
    rate = rain(x, y, time)
    rate[~_coverage(_silent_radar(time))] = np.nan
    return rate


def satellite_view(time: datetime) -> NDArray[np.float32]:
    """Return what the satellite estimates, mm/h on `SATELLITE_GRID`: blurred to about 8 km and 40 % too wet."""
    x, y = transformer(WGS84, "EPSG:3035").transform(*np.meshgrid(SATELLITE_GRID.x, SATELLITE_GRID.y))
    rate = 1.4 * cv2.GaussianBlur(rain(x / 1000, y / 1000, time), (0, 0), 1.5)
    return np.where(rate < 0.2, 0, rate).astype(np.float32)


def rain(x: NDArray[np.float64], y: NDArray[np.float64], time: datetime) -> NDArray[np.float32]:
    """Return the true rain rate (mm/h) at EPSG:3035 positions in km, each (H, W)."""
    angle = TURN_PER_HOUR * (time - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() / 3600
    along, across = x - CENTRE_KM[0], y - CENTRE_KM[1]
    column = (np.cos(angle) * along + np.sin(angle) * across) % TILE
    row = (-np.sin(angle) * along + np.cos(angle) * across) % TILE
    field = cv2.remap(
        _weather(time), column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    rate = 0.1 * np.power(10, STEEPNESS * (field - WET_ABOVE))
    return np.where(field < WET_ABOVE, 0, np.minimum(rate, 150)).astype(np.float32)


def _weather(time: datetime) -> NDArray[np.float32]:
    """Return the standardised field in the moving frame, (TILE, TILE)."""
    total, power = np.zeros((TILE, TILE), np.float32), 0.0
    for level, scale in enumerate(SCALES_KM):
        life = timedelta(minutes=4.0 * scale**0.75)
        epoch, rest = divmod(time - datetime(2026, 1, 1, tzinfo=UTC), life)
        phase = 0.5 * np.pi * (rest / life)
        weight = (scale / SCALES_KM[0]) ** SLOPE
        total += np.float32(weight * np.cos(phase)) * _noise(level, epoch)
        total += np.float32(weight * np.sin(phase)) * _noise(level, epoch + 1)
        power += weight**2
    return total / np.float32(np.sqrt(power))


@lru_cache(maxsize=3 * len(SCALES_KM))
def _noise(level: int, epoch: int) -> NDArray[np.float32]:
    """Return unit-variance periodic noise of one band, (TILE, TILE)."""
    rng = np.random.default_rng((SEED, level, epoch % 2**32))
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    octaves = np.log2(np.maximum(frequency, 1e-9) * SCALES_KM[level])
    band = np.fft.irfft2(spectrum * np.exp(-0.5 * (octaves / 0.6) ** 2), s=(TILE, TILE))
    return (band / band.std()).astype(np.float32)


def _silent_radar(time: datetime) -> int | None:
    """Return which radar is out: each in turn for half an hour every three hours."""
    period, rest = divmod(time - datetime(2026, 1, 1, tzinfo=UTC), timedelta(hours=3))
    return period % len(RADARS) if rest >= timedelta(minutes=150) else None


@cache
def _coverage(silent: int | None) -> NDArray[np.bool_]:
    x, y = np.meshgrid(RADAR_GRID.x / 1000, RADAR_GRID.y / 1000)
    seen = np.zeros(RADAR_GRID.shape, bool)
    for number, (at_x, at_y, reach) in enumerate(RADARS):
        if number != silent:
            bearing = np.degrees(np.arctan2(x - at_x, y - at_y)) % 360
            blocked = (number == 3) & (np.abs(bearing - 150) < 7) & (np.hypot(x - at_x, y - at_y) > 60)
            seen |= (np.hypot(x - at_x, y - at_y) < reach) & ~blocked
    return seen
