"""The forecasts that are scored: which event, crop and start time. numpy alone: pysteps' environment reads it too.

A case has its inputs and truths at the event's own step. `truth(lead)` answers for the leads (0 is 5 min) that the
event has, None for the others: a missing lead never counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

SIZE = 512
STARTS = (3, 11, 19, 27)
"""Newest input frame of each forecast: found by reproducing the published baselines' scores."""
VALIDATION = ("mch_ch_20170131", "fmi_suomi1_20170509")
PERMITTED = (
    "fmi_suomi1_20160928",
    "mch_ch_20150515",
    "opera_eu_20180824",
    "mrms_conus_20190610",
    "dwd_radklim_yw_20170816",
)
STRIDES = {"mrms_conus_20190610": 5}
"""Frames between two that are used: MRMS comes every 2 min, so every tenth minute."""
CASES = {
    "opera_eu_20180824": ((3, 0), (6, 0), (9, 0), (12, 0)),
    "mrms_conus_20190610": tuple((15, w) for w in (1, 2, 3, 4)),
    "dwd_radklim_yw_20170816": ((3, 0), (3, 1)),
}
"""(start, crop) where not all `STARTS` in the centre; crop 0 is the centre, n the n-th wettest tile at the start."""


def rate(codes):
    """Return mm/h of sequence codes, NaN where not seen."""
    value = np.where(codes == 0, 0, 10 ** ((-10 + (codes.astype("f4") - 1) * 0.15) / 10)).astype("f4")
    return np.where(codes == 255, np.nan, value).astype("f4")


@lru_cache(maxsize=1)
def load(path: Path):
    """Return (frames, minutes per frame) of a sequence."""
    with np.load(path) as data:
        return data["frames"], int(data["step_minutes"])


@dataclass(frozen=True)
class Case:
    """One forecast: the event's file, the index of its newest input frame and the crop."""

    path: Path
    start: int
    crop: int = 0

    @property
    def event(self) -> str:
        return self.path.stem

    @property
    def name(self) -> str:
        return f"{self.event}_{self.start}_{self.crop}"

    @property
    def stride(self) -> int:
        return STRIDES.get(self.event, 1)

    @property
    def step(self) -> int:
        """Minutes between two frames that are used."""
        return load(self.path)[1] * self.stride

    @cached_property
    def pixel_km(self) -> float:
        """Size of a pixel."""
        with np.load(self.path) as data:
            return float(data["pixel_km"])

    @cached_property
    def corner(self) -> tuple[int, int]:
        frames = load(self.path)[0]
        height, width = frames.shape[1:]
        if not self.crop:
            return max((height - SIZE) // 2, 0), max((width - SIZE) // 2, 0)
        tiles = [(y, x) for y in range(0, height - SIZE + 1, SIZE // 2) for x in range(0, width - SIZE + 1, SIZE // 2)]
        frame = frames[self.start]
        wet = {
            c: float(((w := frame[c[0] : c[0] + SIZE, c[1] : c[1] + SIZE]) > 0).mean() * ((w != 255).mean() > 0.8))
            for c in tiles
        }
        chosen: list[tuple[int, int]] = []
        for corner in sorted(wet, key=wet.__getitem__, reverse=True):
            if all(max(abs(corner[0] - y), abs(corner[1] - x)) >= SIZE for y, x in chosen):
                chosen.append(corner)
        return chosen[self.crop - 1]

    def codes(self, index: int):
        """Return the codes (512, 512) of a frame of the event."""
        y, x = self.corner
        return load(self.path)[0][index, y : y + SIZE, x : x + SIZE]

    def inputs(self, count: int = 4):
        """Return rates (count, 512, 512), oldest first, at the event's own step."""
        return np.stack([rate(self.codes(self.start - back * self.stride)) for back in range(count)[::-1]])

    def recent(self):
        """Return rates (4, 512, 512), as near to five minutes apart as the event has, oldest first; NaN where none."""
        native = load(self.path)[1]
        found = []
        for minutes in (15, 10, 5, 0):
            back = round(minutes / native)
            usable = abs(back * native - minutes) <= 1
            found.append(rate(self.codes(self.start - back)) if usable else np.full((SIZE, SIZE), np.nan, "f4"))
        return np.stack(found)

    def truth(self, lead: int):
        """Return the observed rate (512, 512) five · (lead + 1) minutes after the start, or None."""
        minutes = 5 * (lead + 1)
        index = self.start + minutes // self.step * self.stride
        return rate(self.codes(index)) if minutes % self.step == 0 and index < len(load(self.path)[0]) else None


def cases(data: Path, event: str) -> Iterator[Case]:
    """Yield the cases of an event whose sequence lies in `data`."""
    path = data / f"{event}.npz"
    for start, crop in CASES.get(event, tuple((s, 0) for s in STARTS)):
        if start < len(load(path)[0]) - 1:
            yield Case(path, start, crop)
