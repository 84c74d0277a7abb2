"""HTTP's view of what is answered: `ETag`, `Last-Modified` and `Expires` together, and 304 for who has it already."""

import hashlib
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

from fastapi import Request

from api.live import state_of
from api.problems import NotModified
from nowcast.clock import STEP, Clock
from nowcast.run import Observation, Run

USUAL_DELAY = timedelta(minutes=1)
"""How long after a base time its run is usually there."""

IMMUTABLE = "public, max-age=31536000, immutable"
SHORT = "public, max-age=30"
NEVER = float("inf")
"""Seconds since 1970 from which a date alone confirms a copy: it never does."""


class Freshness:
    """States the freshness of one answer."""

    def __init__(self, request: Request, clock: Clock) -> None:
        self._request, self._clock = request, clock

    def of(self, run: Run) -> dict[str, str]:
        """Return the headers of an answer made from the newest run alone, valid until the next one.

        Raises
        ------
        NotModified
            When the client's copy is of this run.
        """
        return self.stated(f"run {run.id}", self._clock.to_wall(run.published_at), self._dates(run))

    def of_age(self, run: Run) -> dict[str, str]:
        """Return the headers of an answer that also tells the newest run's age, valid as `phase_of` says, or raise."""
        phase, since = phase_of(run, self._clock)
        published = self._clock.to_wall(run.published_at)
        return self.stated(f"run {run.id} {phase}", published, self._dates(run), since)

    def _dates(self, run: Run) -> dict[str, str]:
        return {"Expires": http_date(expires_of(run, self._clock)), "Cache-Control": "public, no-cache"}

    def immutable(self, identity: str, modified: datetime, *, pinned: bool) -> dict[str, str]:
        """Return the headers of something that never changes under its URL if that is `pinned` to a publication."""
        return self.stated(identity, self._clock.to_wall(modified), {"Cache-Control": IMMUTABLE if pinned else SHORT})

    def of_seen(self, seen: Observation, *, pinned: bool) -> dict[str, str]:
        """Return the headers of what shows an observation; by its tag alone: a revision keeps the valid time."""
        kept = {"Cache-Control": IMMUTABLE if pinned else SHORT}
        return self.stated(f"observation {seen.id}", self._clock.to_wall(seen.valid_time), kept, NEVER)

    def stated(
        self, identity: str, modified: datetime, more: dict[str, str], since: float | None = None
    ) -> dict[str, str]:
        """Return headers with an ETag made of an identity and the URL, or raise `NotModified`.

        Parameters
        ----------
        since
            From when on a client's date confirms its copy, seconds since 1970, if not from `modified` on.
        """
        modified = modified.replace(microsecond=0)
        headers = {
            "ETag": etag_of(self._request, f"{identity} {modified.timestamp():.0f}"),
            "Last-Modified": http_date(modified),
            **more,
        }
        if has_already(self._request, headers["ETag"], modified.timestamp() if since is None else since):
            raise NotModified(headers)
        return headers


def phase_of(run: Run, clock: Clock) -> tuple[str, float]:
    """Return what a body that tells its age depends on besides its run, and since when, seconds since 1970.

    That is the state and the lead that is under way, as the summary has it. Once stale it is never by date alone: who
    has only `Last-Modified` has it from when the run was fresh.
    """
    now = clock.now()
    state, lead = state_of(run.base_time, now), (now - run.base_time) // STEP
    since = clock.to_wall(max(run.published_at, run.base_time + lead * STEP)).replace(microsecond=0)
    return f"{state} {lead}", since.timestamp() if state == "ok" else NEVER


def etag_of(request: Request, identity: str) -> str:
    """Return a validator of what `identity` names, as this URL shows it."""
    shown = request.scope["path"].encode() + b"?" + request.scope["query_string"]
    return f'"{hashlib.sha1(identity.encode() + shown, usedforsecurity=False).hexdigest()}"'


def has_already(request: Request, etag: str, modified: float) -> bool:
    """Return whether the client says that its copy is this one."""
    sent = request.headers
    tags = sent.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    since = sent.get("if-modified-since")
    return since is not None and _timestamp(since) >= modified


def expires_of(run: Run, clock: Clock) -> datetime:
    """Return the wall time at which the next run is usually there."""
    return clock.to_wall(run.base_time + STEP + STEP + USUAL_DELAY)


def http_date(time: datetime) -> str:
    """Return a time as HTTP writes it."""
    return format_datetime(time, usegmt=True)


def _timestamp(text: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):  # the second for numbers beyond C's
        return float("-inf")
