"""Every slot is accounted for: one that ended with neither run nor refusal gets a refusal that says why."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from nowcast.clock import STEP, floor
from nowcast.region import Region
from nowcast.store.store import Store

REACH = timedelta(hours=24)
"""How far back slots of an absent worker are told of."""


@dataclass
class Account:
    """Closes slots once they have ended.

    Attributes
    ----------
    since
        When this worker took over; earlier slots had none.
    """

    store: Store
    since: datetime
    _closed: dict[str, datetime] = field(default_factory=dict)

    def close(self, regions: Iterable[Region], now: datetime) -> int:
        """Account for the slots that have ended since the last call; return how many had nothing."""
        last, found = floor(now) - STEP, 0
        for region in regions:
            before = self._closed.get(region.name, now - REACH)
            if last <= before:  # also after the clock was set back: what is closed stays closed
                continue
            for slot in self.store.slots.between([region.name], before, last + STEP):
                if slot.region == region.name and slot.state == "missing" and slot.slot <= last:
                    self.store.slots.refuse(region.name, slot.slot, self._reason(region, slot.slot))
                    found += 1
            self._closed[region.name] = last
        return found

    def _reason(self, region: Region, slot: datetime) -> str:
        if slot + STEP <= self.since:
            return "no worker ran; see its log for why it ended"
        newest = self.store.newest(region.name)
        have = f"{newest.base_time:%H:%M} UTC has been forecast from" if newest else "none has come yet"
        return f"no new frame of {', '.join(region.sources)} came; {have}"
