"""What was seen at a point, beside what had been said for it."""

from datetime import datetime, timedelta

from api.point_schemas import History, Said, Seen
from nowcast.clock import STEP
from nowcast.run import RegionRecord
from nowcast.store.store import Store

AHEAD = timedelta(minutes=30)
LEAD = AHEAD // STEP - 1
MOST = 1500
"""Observations, and runs, of an answer: a day of one a minute."""


def history(
    store: Store, region: RegionRecord, cell: tuple[int, int], place: tuple[float, float], since: datetime
) -> History:
    """Return what was observed at a cell since a time, and what the run made 30 min before each had said.

    Of more than `MOST` the newest are returned, and both lists start where the shorter one does.
    """
    seen = store.observations.between(region.name, since, since + timedelta(days=2))
    there = [o for o in seen if o.grid_digest == region.grid.digest]
    said = store.hindsight.series(region.name, region.grid.digest, cell, LEAD, since - AHEAD, MOST + 1)
    starts = [since]
    if len(there) > MOST:
        starts.append(there[-MOST].valid_time)
    if len(said) > MOST:
        starts.append(said[-MOST].base_time + AHEAD)
    start = max(starts)
    there = [o for o in there if o.valid_time >= start]
    rates = [rate for _, rate in store.observations.series(there, *cell)]
    return History(
        region=region.name,
        lat=round(place[0], 4),
        lon=round(place[1], 4),
        since=start,
        cut=start > since,
        observed=[
            Seen(valid_time=o.valid_time, rain_rate=rate, source=o.source) for o, rate in zip(there, rates, strict=True)
        ],
        forecast=[
            Said(
                base_time=told.base_time,
                valid_time=told.base_time + AHEAD,
                lead_minutes=int(AHEAD.total_seconds() // 60),
                rain_mean=told.rate,
            )
            for told in said
            if told.base_time + AHEAD >= start
        ],
    )
