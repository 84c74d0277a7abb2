"""What was seen, kept for the page and for verification: each frame of a stack, on its region's grid."""

from collections.abc import Sequence

import xarray as xr

from nowcast.frame import valid_time
from nowcast.region import Region
from nowcast.regrid import regrid
from nowcast.run import Observation
from nowcast.store.store import Store


def observe(store: Store, region: Region, frames: Sequence[xr.Dataset]) -> None:
    """Store the radar frames that the store does not have yet; a revision replaces what was seen at its time.

    Of several sources at one time, the one that the region names first counts.
    """
    chosen = {valid_time(f): f for f in sorted(frames, key=lambda f: -region.sources.index(f.attrs["source"]))}
    known = {o.digest for o in store.observations.between(region.name, min(chosen), max(chosen))}
    for time, frame in sorted(chosen.items()):
        digest = frame.attrs["digest"]
        if digest not in known:
            seen = Observation(region.name, time, frame.attrs["source"], digest, region.grid.digest)
            store.observations.put(seen, regrid(frame, region.grid))
