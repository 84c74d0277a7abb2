"""The repository of scores: who made the forecast, how far ahead, how good it was."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from nowcast.run import ScoreRecord
from nowcast.store.connections import Connections
from nowcast.store.tables import scores

_FIELDS = tuple(scores.c[name] for name in ScoreRecord.__dataclass_fields__)
_WINDOW = (
    scores.c.region == bindparam("in_region"),
    scores.c.base_time >= bindparam("since"),
    scores.c.base_time < bindparam("until"),
)
_OF_LEAD = delete(scores).where(
    scores.c.region == bindparam("in_region"),
    scores.c.base_time == bindparam("from_time"),
    scores.c.lead_minutes == bindparam("lead"),
    scores.c.made_by == bindparam("by"),
)
_INSERT = insert(scores)
_SERIES = select(*_FIELDS).where(*_WINDOW, scores.c.made_by.in_(bindparam("makers", expanding=True)))
_TIMES = (
    select(scores.c.base_time)
    .where(*_WINDOW, scores.c.made_by == bindparam("by"), scores.c.lead_minutes == bindparam("lead"))
    .distinct()
)
_GROUP = (scores.c.made_by, scores.c.product, scores.c.score, scores.c.threshold, scores.c.lead_minutes)
# Weighted by count: a mean error over all pixels, and a CSI of all hits over all events.
_SUMMARY = (
    select(
        *_GROUP,
        (func.sum(scores.c.value * scores.c.count) / func.nullif(func.sum(scores.c.count), 0)).label("value"),
        func.sum(scores.c.count).label("count"),
        func.count(scores.c.base_time.distinct()).label("runs"),
    )
    .where(*_WINDOW, scores.c.value.is_not(None))
    .group_by(*_GROUP)
    .order_by(*_GROUP)
)


@dataclass(frozen=True)
class Summary:
    """A score over a window of base times, weighted by how many pixels each was made of."""

    made_by: str
    product: str
    score: str
    threshold: float | None
    lead_minutes: int
    value: float
    count: int
    runs: int


class Verification:
    """Scores by (region, base time, lead, maker)."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def put(self, found: Iterable[ScoreRecord]) -> None:
        """Add scores, in place of those of the same region, base time, lead and maker."""
        rows = [asdict(record) for record in found]
        keys = {(r["region"], r["base_time"], r["lead_minutes"], r["made_by"]) for r in rows}
        gone = [dict(zip(("in_region", "from_time", "lead", "by"), key, strict=True)) for key in sorted(keys)]

        def work(connection: Connection) -> None:
            connection.execute(_OF_LEAD, gone)
            connection.execute(_INSERT, rows)

        if rows:
            self._connections.write(work)

    def times(self, region: str, made_by: str, lead_minutes: int, since: datetime, until: datetime) -> set[datetime]:
        """Return the base times in a window that have scores of a maker and lead."""
        values = {"in_region": region, "since": since, "until": until, "by": made_by, "lead": lead_minutes}
        return set(self._connections.read(lambda c: c.execute(_TIMES, values).scalars().all()))

    def series(self, region: str, makers: Sequence[str], since: datetime, until: datetime) -> list[ScoreRecord]:
        """Return all scores of some makers with `since` ≤ base time < `until`."""
        values = {"in_region": region, "makers": list(makers), "since": since, "until": until}
        rows = self._connections.read(lambda c: c.execute(_SERIES, values).mappings().all())
        return [ScoreRecord(**row) for row in rows]

    def summary(self, region: str, since: datetime, until: datetime) -> list[Summary]:
        """Return each maker's scores per product, threshold and lead over a window of base times."""
        values = {"in_region": region, "since": since, "until": until}
        rows = self._connections.read(lambda c: c.execute(_SUMMARY, values).mappings().all())
        return [Summary(**row) for row in rows]
