"""How much of its region a run shows, and how much of that satellites saw: counted once per run, and kept."""

from dataclasses import dataclass

import numpy as np

from nowcast.chunks import coding
from nowcast.run import RAIN_SOURCE, RegionRecord, Run
from nowcast.store.cache import ByteCache
from nowcast.store.pixels import Window, places_of
from nowcast.store.store import Store

KEPT_RUNS = 256


@dataclass(frozen=True)
class Coverage:
    """Shares (0 … 1) of a region's cells, one per lead.

    Attributes
    ----------
    seen
        Cells with a value; the rest is not seen.
    satellite
        Cells whose rain, or whose dryness, a satellite saw because no radar did; part of `seen`.
    """

    seen: tuple[float, ...]
    satellite: tuple[float, ...]


class Coverages:
    """Coverage by run.

    Parameters
    ----------
    satellites
        Names of the sources that are satellites.
    """

    def __init__(self, store: Store, satellites: frozenset[str]) -> None:
        self._store, self._satellites = store, satellites
        self._kept: ByteCache[int, Coverage] = ByteCache(KEPT_RUNS)  # each of size 1

    def satellites(self, region: RegionRecord) -> tuple[str, ...]:
        """Return which of a region's sources are satellites."""
        return tuple(name for name in region.sources if name in self._satellites)

    def codes(self, region: RegionRecord) -> tuple[int, ...]:
        """Return the codes of `rain_source` that stand for satellites."""
        return tuple(n for n, name in enumerate(region.sources, start=1) if name in self._satellites)

    def of(self, run: Run, region: RegionRecord) -> Coverage:
        """Return the coverage of a run; reads its pixels the first time (10 ms for 300 × 300 cells).

        Raises
        ------
        NoRun
            When the run has been replaced since it was looked up.
        """
        kept = self._kept.get(run.id)
        if kept is None:
            kept = self._counted(run, region)
            self._kept.put(run.id, kept, 1)
        return kept

    def _counted(self, run: Run, region: RegionRecord) -> Coverage:
        unseen = self._shares(run, region, "rain_mean", (coding("rain_mean").unseen,))
        codes = self.codes(region)
        known = codes and RAIN_SOURCE in run.products
        filled = self._shares(run, region, RAIN_SOURCE, codes) if known else (0.0,) * run.leads
        return Coverage(tuple(1 - share for share in unseen), filled)

    def _shares(self, run: Run, region: RegionRecord, product: str, codes: tuple[int, ...]) -> tuple[float, ...]:
        """Return the share of cells with one of some codes, per lead."""
        height, width = region.grid.shape
        window: Window = (0, height, 0, width)
        blocks = self._store.pixels.blocks(run, product, places_of(window)).values()
        counts = sum(np.isin(block, codes).sum(axis=(1, 2), dtype=np.int64) for block in blocks)
        return tuple((np.asarray(counts) / (height * width)).tolist())
