"""The forecast at a point in one sentence, and as data.

Works on codes (`nowcast.chunks`): rates in 0.01 mm/h, probabilities in percent. A lead is wet when rain is more
likely than not (`prob_0.1` of at least 50 %, else a median, else a mean of at least 0.1 mm/h). Two dry leads end a
spell.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from nowcast.chunks import PERCENT, RATE
from nowcast.clock import STEP

State = Literal["dry", "raining", "rain_expected", "not_seen", "over"]
Columns = Mapping[str, Sequence[int]]

HOUR = 12
"""Leads in an hour."""
WET = 10
"""Code of 0.1 mm/h."""
LIKELY = 50


@dataclass(frozen=True, slots=True)
class Summary:
    """What is coming.

    Attributes
    ----------
    starts, ends
        Of the rain; None for not raining (or since before the forecast), and for not ending within it or not known.
    amount_low, amount_high
        mm in the next hour, or in the rain's first one when it begins later than that: sums of the 10th and 90th
        percentiles, both the mean for one member; None when dry or when part of that hour is not known.
    probability
        0 … 1: highest chance of rain while it lasts (ahead at all, when dry); None for one member.
    until
        End of what is known without a gap from now on; None when now itself is not.
    """

    text: str
    state: State
    starts: datetime | None = None
    ends: datetime | None = None
    amount_low: float | None = None
    amount_high: float | None = None
    probability: float | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Times:
    """Period boundaries of a run: entry k is the start of lead k, the last one the end of all."""

    base_time: datetime
    leads: int

    @cached_property
    def stamps(self) -> list[str]:
        """Every boundary as ISO 8601 with Z."""
        return [self.at(k).isoformat().replace("+00:00", "Z") for k in range(self.leads + 1)]

    @cached_property
    def _said(self) -> list[str]:
        return [f"{self.at(k):%H:%M}" for k in range(self.leads + 1)]

    def at(self, index: int) -> datetime:
        """Return boundary `index`."""
        return self.base_time + index * STEP

    def said(self, index: int) -> str:
        """Return boundary `index` as HH:MM."""
        return self._said[index]

    def first(self, now: datetime) -> int:
        """Return the first lead that is not over."""
        return min(max((now - self.base_time) // timedelta(minutes=5), 0), self.leads)


def summarise(columns: Columns, times: Times, now: datetime) -> Summary:
    """Return the summary of a point's columns (K codes each) for those who ask at `now`."""
    first = times.first(now)
    if first >= times.leads:
        return Summary(f"no forecast for now: the newest is from {times.said(0)} UTC", "over")
    states = _states(columns)
    until = _until(states, times, first)
    start = states.find("w", first)
    if start < 0:
        return _without_rain(columns, states, times, first, until)
    end = _END.search(states, start + 1)
    spell = Spell(start) if end is None else Spell(start, end.start(), end[0] == "u")
    return _with_rain(columns, times, first, spell, until)


@dataclass(frozen=True)
class Spell:
    """Leads `start` … `end` - 1 with rain; no `end` when it goes on; `cut` when what follows is not seen."""

    start: int
    end: int | None = None
    cut: bool = False


_END = re.compile("u|d(?!w)")
"""Where rain ends: not seen, or dry for more than one lead."""

_BY_CHANCE = bytes(b"w"[0] if code >= LIKELY else b"d"[0] for code in range(PERCENT.unseen)) + b"u"


def _states(columns: Columns) -> str:
    """Return a letter per lead: w(et), d(ry) or u(nseen)."""
    if "prob_0.1" in columns:
        return bytes(columns["prob_0.1"]).translate(_BY_CHANCE).decode()
    rates = columns.get("rain_p50", columns["rain_mean"])
    return "".join(["d" if code < WET else "u" if code == RATE.unseen else "w" for code in rates])


def _until(states: str, times: Times, first: int) -> datetime | None:
    unseen = states.find("u", first)
    return None if unseen == first else times.at(unseen if unseen > 0 else times.leads)


def _without_rain(columns: Columns, states: str, times: Times, first: int, until: datetime | None) -> Summary:
    last = states.rfind("d") + 1
    if last <= first:
        return Summary("not seen by the radar", "not_seen")
    whole = "u" not in states[first:]
    text = f"no rain{'' if whole else ', as far as seen,'} until {times.said(last)} UTC"
    return Summary(text, "dry", probability=_probability(columns, first, times.leads), until=until)


def _with_rain(columns: Columns, times: Times, first: int, spell: Spell, until: datetime | None) -> Summary:
    raining = spell.start == first
    soon = spell.start - first < HOUR
    low, high = _amounts(columns, first if soon else spell.start, times.leads)
    said = ["raining" if raining else f"rain from {times.said(spell.start)}"]
    if low is not None and high is not None:
        said.append(f"{_amount(low, high)} in {'the next hour' if soon else 'its first hour'}")
    said.append(_ending(times, spell))
    return Summary(
        text=", ".join(said) + " UTC",
        state="raining" if raining else "rain_expected",
        starts=None if raining else times.at(spell.start),
        ends=times.at(spell.end) if spell.end is not None and not spell.cut else None,
        amount_low=low,
        amount_high=high,
        probability=_probability(columns, spell.start, spell.end or times.leads),
        until=until,
    )


def _ending(times: Times, spell: Spell) -> str:
    if spell.end is None:
        return f"still raining at {times.said(times.leads)}"
    return f"{'not seen after' if spell.cut else 'ends'} {times.said(spell.end)}"


def _amounts(columns: Columns, start: int, leads: int) -> tuple[float | None, float | None]:
    stop = start + HOUR
    if stop > leads:
        return None, None
    low = columns.get("rain_p10", columns["rain_mean"])[start:stop]
    high = columns.get("rain_p90", columns["rain_mean"])[start:stop]
    if RATE.unseen in low or RATE.unseen in high:
        return None, None
    return round(sum(low) / (HOUR * RATE.scale), 2), round(sum(high) / (HOUR * RATE.scale), 2)


def _amount(low: float, high: float) -> str:
    if high < 0.1:
        return "less than 0.1 mm"
    least, most = _rounded(low), _rounded(high)
    if least == most:
        return f"about {most} mm"
    return f"likely up to {most} mm" if least == "0" else f"likely {least}–{most} mm"


def _rounded(amount: float) -> str:
    return f"{amount:.0f}" if amount >= 0.95 or amount < 0.05 else f"{amount:.1f}"


def _probability(columns: Columns, start: int, stop: int) -> float | None:
    seen = [c for c in columns.get("prob_0.1", ())[start:stop] if c != PERCENT.unseen]
    return max(seen) / 100 if seen else None
