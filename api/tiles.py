"""XYZ tiles of one region or of the mosaic of all, at a base time and lead; lead 0 is what was observed then.

In the mosaic, the first region that holds a pixel shows it. A region without a run for that time is not seen there.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from api.deps import Services
from api.mercator import Box
from api.palettes import Palette
from api.pictures import Format, Shown, paint
from nowcast.clock import STEP
from nowcast.errors import NotKept
from nowcast.grid import Grid
from nowcast.run import Observation, RegionRecord, Run

MOSAIC = "mosaic"
LATEST = "latest"
LAG = timedelta(minutes=15)
"""The mosaic shows an older run of a region, at the same valid time, up to so much older."""

_NOWHERE = 255


@dataclass(frozen=True)
class Layer:
    """What one region shows: nothing seen without `shown`."""

    grid: Grid
    shown: Shown | None

    @property
    def key(self) -> tuple:
        """Names the publication shown."""
        return self.shown.key if self.shown else ("unseen", self.grid.digest)


@dataclass(frozen=True)
class Layers:
    """What a tile shows, the uppermost region first.

    Attributes
    ----------
    modified
        When the last of it was published.
    """

    layers: tuple[Layer, ...]
    modified: datetime

    @cached_property
    def identity(self) -> str:
        """Names all publications shown."""
        return repr([layer.key for layer in self.layers])

    @cached_property
    def dated(self) -> bool:
        """Whether a later publication is `modified` later: a revised observation keeps its valid time."""
        return all(layer.shown is None or isinstance(layer.shown.source, Run) for layer in self.layers)


def base_time_of(services: Services, region: str, text: str | datetime) -> datetime:
    """Return the base time that a URL names: `latest` is that of the newest run, in the mosaic of any region."""
    if isinstance(text, datetime):
        return text
    regions = list(services.watch.regions()) if region == MOSAIC else [services.watch.region(region).name]
    times = [run.base_time for run in map(services.watch.newest_or_none, regions) if run is not None]
    if not times:
        raise NotKept(f"no run of {region} yet; the first follows two frames, five minutes apart")
    return max(times)


def layers_of(services: Services, region: str, base: datetime, product: str, lead: int) -> Layers:
    """Return what a tile shows; asks the store only for what is not known.

    Parameters
    ----------
    lead
        Minutes; 0 is what was observed at the base time.
    """
    regions = list(services.watch.regions().values()) if region == MOSAIC else [services.watch.region(region)]
    found = [_shown(services, r, base, product, lead, exact=region != MOSAIC) for r in regions]
    if not any(found):
        raise NotKept(f"nothing of {product} in {region} for {base.isoformat()} + {lead} min; /v1/runs lists the runs")
    layers = tuple(Layer(r.grid, shown) for r, shown in zip(regions, found, strict=True))
    return Layers(layers, max(_published(layer.shown) for layer in layers if layer.shown))


def _published(shown: Shown) -> datetime:
    return shown.source.published_at if isinstance(shown.source, Run) else shown.source.valid_time


def _shown(
    services: Services, region: RegionRecord, base: datetime, product: str, lead: int, *, exact: bool
) -> Shown | None:
    source: Run | Observation | None
    if lead == 0:
        source = services.store.observations.at(region.name, base)
        known = source is not None and source.grid_digest == region.grid.digest
        return Shown(source, "rain_rate", 0, region.grid) if source and known else None
    source = services.watch.run(region.name, base)
    newest = services.watch.newest_or_none(region.name)
    if source is None and not exact and newest and timedelta(0) <= base - newest.base_time <= LAG:
        source = newest
    if source is None or source.grid_digest != region.grid.digest:
        return None
    index = (base - source.base_time + timedelta(minutes=lead)) // STEP - 1
    fits = 0 <= index < source.leads and (product in source.shown or product == "accumulated")
    return Shown(source, product, index, region.grid) if fits else None


def draw(services: Services, layers: Layers, box: Box, palette: Palette, form: Format) -> bytes:
    """Return a tile: outside every region it is transparent."""
    pixels = np.full((box.height, box.width), _NOWHERE, np.uint8)
    for layer in layers.layers:
        over = _pixels(services, layer, box, palette)
        if over is not None:
            pixels = np.where(pixels == _NOWHERE, over, pixels)
    return paint(np.where(pixels == _NOWHERE, 0, pixels).astype(np.uint8), palette, form)


def _pixels(services: Services, layer: Layer, box: Box, palette: Palette) -> NDArray | None:
    picked = services.gallery.pickings.of(layer.grid, box)
    if picked is None:
        return None
    if layer.shown is None:
        return picked.take(np.full(picked.cells, palette.unseen, np.uint8), _NOWHERE)
    return services.gallery.coloured(layer.shown, picked, palette, _NOWHERE)


def covered(services: Services, box: Box) -> NDArray:
    """Return where any region lies, (height, width)."""
    found = np.zeros((box.height, box.width), bool)
    for region in services.watch.regions().values():
        picked = services.gallery.pickings.of(region.grid, box)
        if picked is not None:
            found |= picked.flat != picked.cells
    return found
