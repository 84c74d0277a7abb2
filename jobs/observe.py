"""What was seen, kept for the page and for verification: each frame of a stack, on its region's grid."""

from collections.abc import Sequence

import xarray as xr

from nowcast.frame import valid_time
from nowcast.fusion import merged_frames
from nowcast.region import Region
from nowcast.regrid import regrid
from nowcast.run import Observation
from nowcast.stack import nominal_times, shared_time
from nowcast.store.store import Store


def seen_by_radar(frames: Sequence[xr.Dataset], region: Region, satellites: frozenset[str]) -> list[xr.Dataset]:
    """Return the radar frames; of several radars, what they saw together at each time, on the region's grid and margin.

    Of a time that not all of them have come for yet, what is there: the others make a revision of it.
    """
    names = [name for name in region.sources if name not in satellites]
    radars = [f for f in frames if f.attrs["source"] in names]
    if len(names) == 1:
        return radars
    times = nominal_times(shared_time(max(valid_time(f) for f in radars)))
    return merged_frames(radars, region.grid.widened(region.margin), times, names)


def observe(store: Store, region: Region, frames: Sequence[xr.Dataset]) -> None:
    """Store frames, one per time, that the store does not have yet; a revision replaces what was seen at its time."""
    chosen = {valid_time(f): f for f in frames}
    known = {o.digest for o in store.observations.between(region.name, min(chosen), max(chosen))}
    for time, frame in sorted(chosen.items()):
        digest = frame.attrs["digest"]
        if digest not in known:
            seen = Observation(region.name, time, frame.attrs["source"], digest, region.grid.digest)
            store.observations.put(seen, regrid(frame, region.grid))
