"""The input gate: what each state of an input gets, as pure functions of frames, their history and the thresholds.

====================  =======================================================  =====================================
state                 action                                                   flag
====================  =======================================================  =====================================
late                  ≤ 10 min ok; ≤ 20 degraded; ≤ 30 extrapolation only;     ``late``, ``very-late``, ``too-late``
                      older refuse
duplicate             ignore: (source, valid time, digest) is known            (none)
out of order          accept: base times never move back                       ``out-of-order``
revision              accept: same time, new digest, replaces                  ``revision``
truncated             refuse, retry once size and time have stood still        ``truncated``
wrong grid            refuse                                                   ``wrong-grid``
all unseen            refuse                                                   ``all-unseen``
all dry               accept, flow is bypassed                                 ``all-dry``
spikes, clutter       mask (not seen) and accept                               ``clutter``
stuck                 2 frames degraded, 3 refuse                              ``stuck``
future                refuse (> 2 min ahead)                                   ``future``
unit change           refuse                                                   ``unit-change``
partial composite     accept; unseen stays unseen at every lead                ``partial``
====================  =======================================================  =====================================
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nowcast.frame import DRY_BELOW, grid_of, valid_time
from nowcast.history import LEVELS, SourceHistory, pixel_digest, wet_quantiles
from nowcast.verdict import Action, Thresholds, Verdict

FRAMES_KNOWN, DAYS_KNOWN, NOVICE = 12, 5, 4.0
"""Wet frames before history counts, wet days before it counts in full: drizzle alone does not know a thunderstorm."""


@dataclass(frozen=True)
class Judged:
    """A frame as it may be used, with what was found.

    Attributes
    ----------
    frame
        Clutter masked.
    """

    frame: xr.Dataset
    verdicts: tuple[Verdict, ...]

    @property
    def action(self) -> Action:
        """The worst of all verdicts."""
        return max((v.action for v in self.verdicts), default=Action.ACCEPT)

    @property
    def flags(self) -> tuple[str, ...]:
        """What the run and the API show."""
        return tuple(dict.fromkeys(v.flag for v in self.verdicts if v.flag))

    @property
    def refusal(self) -> str:
        """Why it is refused, empty where it is not."""
        return "; ".join(v.message for v in self.verdicts if v.action is Action.REFUSE)


def judge(
    frame: xr.Dataset,
    history: SourceHistory,
    now: datetime,
    thresholds: Thresholds,
    clutter: NDArray[np.bool_] | None = None,
) -> Judged:
    """Return what the gate makes of one frame that has been read; age is judged per run (`judge_age`).

    Parameters
    ----------
    clutter
        (H, W) static clutter of the source (`nowcast.history.ClutterCounts.mask`).
    """
    wrong = [*_maybe(check_future(frame, now, thresholds)), *_maybe(check_grid(frame, history))]
    if wrong:
        return Judged(frame, tuple(wrong))
    cleaned, masked = clean(frame, thresholds, clutter)
    checks = (
        masked,
        check_seen(cleaned),
        check_dry(cleaned),
        check_units(frame, history, thresholds),
        check_stuck(frame, history, thresholds),
        check_partial(frame, history, thresholds),
        check_order(frame, history),
    )
    return Judged(cleaned, tuple(v for v in checks if v))


def _maybe(verdict: Verdict | None) -> Iterable[Verdict]:
    return (verdict,) if verdict else ()


def judge_age(newest: datetime, now: datetime, thresholds: Thresholds) -> Verdict | None:
    """Return what a run may do from a newest frame of that age, None where all is well."""
    age = (now - newest).total_seconds() / 60
    if age <= thresholds.ok_minutes:
        return None
    told = f"the newest frame ({newest:%Y-%m-%d %H:%M} UTC) is {age:.0f} min old"
    if age <= thresholds.degraded_minutes:
        return Verdict("late", Action.DEGRADE, "late", f"{told}; check the feed")
    if age <= thresholds.refuse_minutes:
        return Verdict("late", Action.EXTRAPOLATE, "very-late", f"{told}, it is only extrapolated; check the feed")
    return Verdict("late", Action.REFUSE, "too-late", f"{told}, over {thresholds.refuse_minutes:g}; check the feed")


def judge_arrival(
    source: str, time: datetime, digest: str, known: Mapping[datetime, Iterable[str]], newest: datetime | None
) -> Verdict | None:
    """Return what an arrival is among those already recorded, None where it is simply new.

    Parameters
    ----------
    known
        Digests recorded per valid time of this source.
    newest
        Newest valid time recorded.
    """
    told = f"{source} at {time:%Y-%m-%d %H:%M} UTC"
    digests = set(known.get(time, ()))
    if digest in digests:
        return Verdict("duplicate", Action.IGNORE, "", f"{told}: the same file again; nothing to do")
    if digests:
        return Verdict("revision", Action.ACCEPT, "revision", f"{told}: other bytes than before; the newer file counts")
    if newest is not None and time < newest:
        return Verdict("out of order", Action.ACCEPT, "out-of-order", f"{told}: came after {newest:%H:%M}; kept")
    return None


def judge_unreadable(reason: str, stood_still: bool) -> Verdict:
    """Return what a file gets that could not be read: another try while it grows, refusal once it has stood still."""
    if stood_still:
        return Verdict("truncated", Action.REFUSE, "truncated", f"{reason}; it no longer grows, so it is refused")
    return Verdict("truncated", Action.RETRY, "", f"{reason}; it is read again once it has stood still")


def check_future(frame: xr.Dataset, now: datetime, thresholds: Thresholds) -> Verdict | None:
    """Refuse a valid time that lies ahead."""
    ahead = valid_time(frame) - now
    if ahead <= timedelta(minutes=thresholds.future_minutes):
        return None
    told = f"valid {valid_time(frame):%Y-%m-%d %H:%M} UTC, {ahead.total_seconds() / 60:.0f} min ahead of now"
    return Verdict("future", Action.REFUSE, "future", f"{told}; check the clocks of the sender and of this machine")


def check_grid(frame: xr.Dataset, history: SourceHistory) -> Verdict | None:
    """Refuse another CRS, affine or shape than the source's first frame had."""
    grid = grid_of(frame)
    if history.grid_digest in {"", grid.digest}:
        return None
    told = f"grid {grid.height} × {grid.width} from ({grid.x0:.1f}, {grid.y0:.1f}) is not the one it had before"
    return Verdict("wrong grid", Action.REFUSE, "wrong-grid", f"{told}; if for good, clear the source's history")


def check_seen(frame: xr.Dataset) -> Verdict | None:
    """Refuse a frame in which nothing is seen."""
    if np.isfinite(frame["rain_rate"].values).any():
        return None
    return Verdict("all unseen", Action.REFUSE, "all-unseen", "no pixel is seen; is every radar out?")


def check_dry(frame: xr.Dataset) -> Verdict | None:
    """Say that nothing moves where nothing rains: zeros are the forecast, and no flow is estimated."""
    if (frame["rain_rate"].values >= DRY_BELOW).any():
        return None
    return Verdict("all dry", Action.BYPASS_FLOW, "all-dry", "dry everywhere; no motion is estimated")


def check_stuck(frame: xr.Dataset, history: SourceHistory, thresholds: Thresholds) -> Verdict | None:
    """Tell a picture that stands still while it rains, by its pixels."""
    rate = frame["rain_rate"].values
    newer = not history.newest or valid_time(frame).isoformat() > history.newest
    if not newer or (rate >= DRY_BELOW).sum() < 1 or pixel_digest(rate) != history.pixels:
        return None
    repeats = history.repeats + 1
    if repeats < thresholds.stuck_degraded:
        return None
    action = Action.REFUSE if repeats >= thresholds.stuck_refuse else Action.DEGRADE
    return Verdict("stuck", action, "stuck", f"the same pixels in {repeats} frames while it rains; check the sender")


def check_units(frame: xr.Dataset, history: SourceHistory, thresholds: Thresholds) -> Verdict | None:
    """Refuse rates that are no mm/h: wet quantiles far outside those of the last 30 days, or of any weather."""
    found = wet_quantiles(frame["rain_rate"].values)
    if found is None:
        return None
    remedy = "is the unit still what the reader takes it for (dBZ, mm per interval)?"
    if found[0] > thresholds.median_cap:
        told = f"half of the wet area has more than {found[0]:.1f} mm/h"
        return Verdict("unit change", Action.REFUSE, "unit-change", f"{told}, over {thresholds.median_cap:g}; {remedy}")
    if sum(day.frames for day in history.days) < FRAMES_KNOWN:
        return None
    factor = thresholds.unit_factor * (1 if len(history.days) >= DAYS_KNOWN else NOVICE)
    low = [min(day.low[n] for day in history.days) / factor for n in range(len(LEVELS))]
    high = [max(day.high[n] for day in history.days) * factor for n in range(len(LEVELS))]
    outside = sum(not lo <= value <= hi for lo, value, hi in zip(low, found, high, strict=True))
    if outside < 2:
        return None
    told = f"wet quantiles {', '.join(f'{v:.2f}' for v in found)} mm/h"
    usual = ", ".join(f"{lo:.2f} to {hi:.2f}" for lo, hi in zip(low, high, strict=True))
    return Verdict("unit change", Action.REFUSE, "unit-change", f"{told} lie outside {usual} of 30 days; {remedy}")


def check_partial(frame: xr.Dataset, history: SourceHistory, thresholds: Thresholds) -> Verdict | None:
    """Say that less is seen than usual (median of the last frames); what is unseen stays unseen at every lead."""
    if not history.coverages:
        return None
    seen, usual = float(np.isfinite(frame["rain_rate"].values).mean()), float(np.median(history.coverages))
    if seen >= usual * (1 - thresholds.partial):
        return None
    told = f"{100 * seen:.1f} % is seen, usually {100 * usual:.1f} %"
    return Verdict("partial composite", Action.ACCEPT, "partial", f"{told}; a radar may be out")


def check_order(frame: xr.Dataset, history: SourceHistory) -> Verdict | None:
    """Say that a newer frame came first."""
    if not history.newest or valid_time(frame).isoformat() >= history.newest:
        return None
    told = f"valid {valid_time(frame):%H:%M} UTC came after {history.newest}"
    return Verdict("out of order", Action.ACCEPT, "out-of-order", f"{told}; base times never move back")


def clean(
    frame: xr.Dataset, thresholds: Thresholds, clutter: NDArray[np.bool_] | None = None
) -> tuple[xr.Dataset, Verdict | None]:
    """Return the frame with what is no rain masked as not seen: above the cap, lone spikes, static clutter."""
    rate = frame["rain_rate"].values
    bad = rate > thresholds.rate_cap
    bad |= _spikes(rate, thresholds.spike)
    if clutter is not None and clutter.shape == rate.shape:
        bad |= clutter & (rate >= DRY_BELOW)
    count = int(bad.sum())
    if not count:
        return frame, None
    cleaned = frame.copy(deep=False)
    cleaned["rain_rate"] = frame["rain_rate"].copy(data=np.where(bad, np.float32(np.nan), rate))
    told = f"{count} pixels are no rain (cap {thresholds.rate_cap:g} mm/h, spikes, static clutter) and masked"
    return cleaned, Verdict("clutter", Action.ACCEPT, "clutter", f"{told}; a clutter map helps where they stand still")


def _spikes(rate: NDArray[np.floating], above: float) -> NDArray[np.bool_]:
    """Return pixels above `above` with no wet neighbour, (H, W)."""
    wet = (rate >= DRY_BELOW).astype(np.float32)
    neighbours = cv2.boxFilter(wet, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT) - wet
    return (rate > above) & (neighbours < 0.5)
