"""Replay: a recorded feed through the live cycle, on a clock that goes from one arrival to the next."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from jobs.cycle import Report
from jobs.drive import Drive
from nowcast.clock import STEP
from nowcast.errors import ConfigError, InputError
from nowcast.frame import valid_time
from nowcast.sources import SOURCES, Source, read_frame, source_named

ARRIVES_AFTER = timedelta(seconds=60)
HIDDEN = re.compile(r"^\.|\.(part|tmp)$")


@dataclass(frozen=True)
class Recorded:
    """One file of a recorded feed, and when it arrives."""

    arrival: datetime
    source: str
    path: Path


def recorded(folder: Path, sources: tuple[Source, ...] = SOURCES) -> list[Recorded]:
    """Return the files of a recorded feed (`folder/<source>/…`) in order of arrival, a minute after their time.

    Raises
    ------
    ConfigError
        When there is nothing that can be replayed.
    """
    found = []
    for path in sorted(p for p in folder.glob("*/*") if p.is_file() and not HIDDEN.search(p.name)):
        source = path.parent.name
        try:
            time = valid_time(read_frame(path, source_named(source, sources)))
            found.append(Recorded(time + ARRIVES_AFTER, source, path))
        except InputError:
            if found:  # it arrives after the one before it, and is refused as it was then
                found.append(Recorded(found[-1].arrival, source, path))
    if not found:
        raise ConfigError(f"{folder}: no file of a known source in a sub-folder named for it, as feed/knmi/…")
    return sorted(found, key=lambda r: r.arrival)


def replay(drive: Drive, files: list[Recorded]) -> Iterator[tuple[datetime, Report | None]]:
    """Let each file arrive at its time, and the worker look then and at every slot between; yield what came of it."""
    time = files[0].arrival
    for file in files:
        while time + STEP < file.arrival:  # a gap passes as it did
            time += STEP
            yield time, drive.look(time)
        drive.deliver(file.path, file.source, file.arrival)
        time = max(time, file.arrival)
        yield time, drive.look(time)
