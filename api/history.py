"""What was seen at a point, beside what had been said for it."""

from datetime import datetime, timedelta

from api.point_schemas import History, Said, Seen
from api.points import values
from nowcast.clock import STEP
from nowcast.errors import NoRun
from nowcast.run import RegionRecord, Run
from nowcast.store.store import Store

AHEAD = timedelta(minutes=30)
MOST_RUNS = 24 * 12 + 12


def history(
    store: Store, region: RegionRecord, cell: tuple[int, int], place: tuple[float, float], since: datetime
) -> History:
    """Return what was observed at a cell since a time, and what the run made 30 min before each had said."""
    seen = store.observations.between(region.name, since, since + timedelta(days=2))
    digest = region.grid.digest
    there = [o for o in seen if o.grid_digest == digest]
    rates = [rate for _, rate in store.observations.series(there, *cell)]
    runs = [r for r in store.runs(region.name, MOST_RUNS) if r.base_time + AHEAD >= since and r.grid_digest == digest]
    said = (_said(store, run, cell) for run in reversed(runs))
    return History(
        region=region.name,
        lat=round(place[0], 4),
        lon=round(place[1], 4),
        observed=[
            Seen(valid_time=o.valid_time, rain_rate=rate, source=o.source) for o, rate in zip(there, rates, strict=True)
        ],
        forecast=[s for s in said if s is not None],
    )


def _said(store: Store, run: Run, cell: tuple[int, int]) -> Said | None:
    lead = AHEAD // STEP - 1
    if run.leads <= lead:
        return None
    try:
        codes = store.pixels.column(run, "rain_mean", *cell)
    except NoRun:  # replaced or retired in between
        return None
    rate = values("rain_mean", [int(codes[lead])])[0]
    return Said(
        base_time=run.base_time,
        valid_time=run.base_time + AHEAD,
        lead_minutes=int(AHEAD.total_seconds() // 60),
        rain_mean=rate,
    )
