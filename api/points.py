"""The forecast at a point as JSON bytes, joined from pieces that each run has once: 24 leads in some 30 µs.

`api.schemas.PointForecast` is what the bytes say; a test holds every answer against it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, cached_property
from itertools import accumulate

from api.freshness import expires_of, http_date
from api.live import EXPIRES_AFTER, STALE_AFTER, stamp
from api.summary import Summary, Times, summarise
from nowcast.chunks import PERCENT, RATE, Codes, coding
from nowcast.clock import STEP, Clock
from nowcast.run import RAIN_SOURCE, Run

PER_HOUR = timedelta(hours=1) // STEP


@cache
def _rate_texts() -> tuple[str, ...]:
    return (*(repr(code / RATE.scale) for code in range(RATE.unseen)), "null")


@cache
def _percent_texts() -> tuple[str, ...]:
    return tuple("null" if code == PERCENT.unseen else repr(code / PERCENT.scale) for code in range(256))


def texts(product: str, codes: Iterable[int]) -> str:
    """Return codes as the inside of a JSON array: mm/h or 0 … 1; null = not seen."""
    known = _rate_texts() if coding(product) is RATE else _percent_texts()
    return ",".join([known[code] for code in codes])


@dataclass(frozen=True)
class RunText:
    """What every point of a run says alike.

    Attributes
    ----------
    source
        Where the rain was seen: the sources of the run's frames.
    names
        The region's sources: what the codes of `rain_source` count, from 1.
    """

    run: Run
    source: str
    clock: Clock
    names: tuple[str, ...] = ()

    @cached_property
    def identity(self) -> str:
        """Names the publication, for the validator."""
        return f"run {self.run.id} {self.clock.to_wall(self.run.published_at).timestamp():.0f}"

    @cached_property
    def dates(self) -> dict[str, str]:
        """The headers that are the same for every point."""
        return {
            "Last-Modified": http_date(self.clock.to_wall(self.run.published_at)),
            "Expires": http_date(expires_of(self.run, self.clock)),
            "Cache-Control": "public, no-cache",
        }

    @cached_property
    def times(self) -> Times:
        """The period boundaries."""
        return Times(self.run.base_time, self.run.leads)

    @cached_property
    def head(self) -> str:
        """The members that are the same for every point, without the closing brace."""
        run = self.run
        units = {name: "1" if coding(name) is PERCENT else "mm/h" for name in run.shown}
        same = {
            "region": run.region,
            "base_time": stamp(run.base_time),
            "published_at": stamp(run.published_at),
            "expires": stamp(run.base_time + EXPIRES_AFTER),
            "rung": run.rung,
            "model": run.model,
            "members": run.members,
            "flags": list(run.flags),
            "units": {**units, "accumulated": "mm"},
        }
        return json.dumps(same, separators=(",", ":"))[:-1]

    def source_names(self, codes: list[int] | None) -> list[str | None]:
        """Return the source of each lead's rain at a point, None where nothing was seen; empty without the product."""
        known = len(self.names)
        return [self.names[code - 1] if 0 < code <= known else None for code in codes or ()]

    @cached_property
    def covered(self) -> list[str]:
        """The coverage of a point that was seen at every lead."""
        return ['"ok"'] * self.run.leads

    @cached_property
    def steps(self) -> str:
        """The columns that are the same for every point, without the closing brace."""
        bounds = [stamp(self.times.at(k)) for k in range(self.run.leads + 1)]
        lead_minutes = [int(STEP.total_seconds() // 60) * (k + 1) for k in range(self.run.leads)]
        columns = {"lead_minutes": lead_minutes, "start": bounds[:-1], "end": bounds[1:]}
        return json.dumps(columns, separators=(",", ":"))[:-1]


def point_json(text: RunText, lat: float, lon: float, columns: dict[str, Codes], now: datetime) -> bytes:
    """Return the forecast at a point: `columns` are its codes by product, (K,) each."""
    lists: dict[str, list[int]] = {product: codes.tolist() for product, codes in columns.items()}
    rates = lists["rain_mean"]
    seen = RATE.unseen not in rates
    coverage = text.covered if seen else ['"no coverage"' if code == RATE.unseen else '"ok"' for code in rates]
    accumulated = _accumulated(rates) if seen else _accumulated_in_part(rates)
    age = now - text.run.base_time
    sources = text.source_names(lists.pop(RAIN_SOURCE, None))
    seen_by = (sources and sources[0]) or text.source
    products = "".join([f',"{product}":[{texts(product, codes)}]' for product, codes in lists.items()])
    if sources:
        products += f',"{RAIN_SOURCE}":{json.dumps(sources)}'
    return (
        f'{text.head},"lat":{round(lat, 4)},"lon":{round(lon, 4)},"age_seconds":{round(age.total_seconds(), 1)},'
        f'"stale":{_bool(age > STALE_AFTER)},"expired":{_bool(age > EXPIRES_AFTER)},'
        f'"rain_source":{json.dumps(seen_by)},"radar_coverage":{coverage[0]},'
        f'"summary":{_summary(summarise(lists, text.times, now))},'
        f'"accumulated":[{accumulated}],"minutely_5":{text.steps}{products},"coverage":[{",".join(coverage)}]}}}}'
    ).encode()


def _accumulated(rates: list[int]) -> str:
    known, sums = _rate_texts(), list(accumulate(rates))
    if sums[-1] > RATE.top * PER_HOUR - PER_HOUR:
        sums = [min(s, RATE.top * PER_HOUR) for s in sums]
    return ",".join([known[(s + PER_HOUR // 2) // PER_HOUR] for s in sums])


def _accumulated_in_part(rates: list[int]) -> str:
    first = rates.index(RATE.unseen)
    known = [_accumulated(rates[:first])] if first else []
    return ",".join([*known, *["null"] * (len(rates) - first)])


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _summary(summary: Summary) -> str:
    return (
        f'{{"text":"{summary.text}","state":"{summary.state}","starts":{_time(summary.starts)},'
        f'"ends":{_time(summary.ends)},"amount_low":{_number(summary.amount_low)},'
        f'"amount_high":{_number(summary.amount_high)},"unit":"mm","probability":{_number(summary.probability)},'
        f'"until":{_time(summary.until)}}}'
    )


def _time(time: datetime | None) -> str:
    return "null" if time is None else f'"{stamp(time)}"'


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)
