"""Ingest: files that arrived in the feed folder pass the gate and become frame records; refusals are said once.

A file counts as arrived when its size and time have not changed between two looks, or when it is older than
`SETTLED` seconds: writers that rename into place are seen at once, others as soon as they are done. Names that start
with a dot or end in `.part` or `.tmp` are being written.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from stat import S_ISREG

import structlog
import xarray as xr

from nowcast.errors import InputError, NoRoom, UnreadableFile, WrongTime
from nowcast.frame import valid_time
from nowcast.gate import Judged, check_future, clean, judge, judge_arrival, judge_unreadable
from nowcast.history import SourceHistory
from nowcast.run import FrameRecord
from nowcast.sources import SOURCES, Source, read_frame, source_named
from nowcast.store.store import Store
from nowcast.verdict import Action, Thresholds, Verdict

log = structlog.get_logger()

SETTLED = 2.0
LONGEST_LOOK = 5.0
"""Seconds that one of many looks may read for: files that hang their parser must hold up no forecast."""
YOUNG = 3600.0
"""Seconds since its last change in which a file may still serve a forecast, and goes before what has lain longer."""
REVISIONS = 16
"""How many files of one valid time are told apart."""
UNFINISHED = (".part", ".tmp")
FLAGS_KEPT = 1024

Stamp = tuple[int, int]
Read = Callable[[Path, str], xr.Dataset]
"""Reads a file of a named source: `read_here`, or `nowcast.sandbox.Sandbox.read` for files nobody vouches for."""


def read_here(path: Path, source: str) -> xr.Dataset:
    """Read a file in this process."""
    return read_frame(path, source_named(source))


def satellites_of(sources: Iterable[Source]) -> frozenset[str]:
    """Return the names of those that are satellites."""
    return frozenset(source.name for source in sources if source.satellite)


class FrameCache:
    """The newest frames, read once and cleaned of what is no rain: at most `limit` of them."""

    def __init__(self, limit: int = 64, read: Read = read_here, close: Callable[[], None] = lambda: None) -> None:
        self._frames: OrderedDict[str, xr.Dataset] = OrderedDict()
        self._limit = limit
        self.read, self.close = read, close

    def put(self, frame: xr.Dataset) -> None:
        """Keep a frame under its digest."""
        self._frames[frame.attrs["digest"]] = frame
        while len(self._frames) > self._limit:
            self._frames.popitem(last=False)

    def get(self, record: FrameRecord) -> xr.Dataset:
        """Return the record's frame, from memory or from its file.

        Raises
        ------
        InputError
            When the file has gone or has changed since it was recorded.
        """
        if record.digest not in self._frames:
            frame = self.read(Path(record.path), record.source)
            if frame.attrs["digest"] != record.digest:
                raise InputError(f"{record.path}: changed since it arrived; write a revision under a new name")
            self.put(clean(frame, Thresholds())[0])
        return self._frames[record.digest]


@dataclass
class Intake:
    """The feed folder: one sub-folder per source, `feed/knmi/…`.

    Attributes
    ----------
    satellites
        Names of the sources that are satellites.
    thresholds
        Of the gate, by source; the defaults for others.
    refused
        Why each file that was not taken was not, by path; looked at again when the file changes.
    flags
        What the gate found worth showing, by frame digest.
    states
        How often the gate found each state, by (source, state): a metric.
    longest_look
        Seconds that one look may read for; infinite for who looks but once.
    """

    folder: Path
    store: Store
    cache: FrameCache
    satellites: frozenset[str] = satellites_of(SOURCES)
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    refused: dict[Path, tuple[Stamp, str]] = field(default_factory=dict)
    flags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    states: dict[tuple[str, str], int] = field(default_factory=dict)
    longest_look: float = field(default_factory=lambda: LONGEST_LOOK)
    _looked: dict[Path, Stamp] = field(default_factory=dict)
    _ahead: dict[Path, datetime] = field(default_factory=dict)
    _known: dict[str, set[str]] = field(default_factory=dict)
    _histories: dict[str, SourceHistory] = field(default_factory=dict)
    _told: str = ""

    def ingest(self, sources: set[str], now: datetime) -> list[FrameRecord]:
        """Record every file of `sources` that has arrived since the last look; return the new ones, oldest first.

        What `longest_look` does not allow for is left to the next look: first what has lain for more than `YOUNG`.
        """
        arrived = [(path, source) for source in sorted(sources) for path in self._arrived(source, now)]
        arrived.sort(key=lambda each: self._looked[each[0]][1] < (time.time() - YOUNG) * 1e9)
        taken, until = [], time.monotonic() + self.longest_look
        for number, (path, source) in enumerate(arrived):
            if time.monotonic() > until:
                log.warning("files wait for the next look", read=number, waiting=len(arrived) - number)
                break
            record = self._take(path, source, now)
            if record:
                self._known[source].add(str(path))
                taken.append(record)
        return taken

    def forget_gone(self) -> None:
        """Forget files that have been removed, so that memory does not grow with every file that ever was."""
        for source, known in self._known.items():
            known &= {str(path) for path in (self.folder / source).glob("*")}
        for memory in (self.refused, self._looked, self._ahead):
            for path in [path for path in memory if not path.exists()]:
                del memory[path]
        for digest in list(self.flags)[:-FLAGS_KEPT]:
            del self.flags[digest]

    def _arrived(self, source: str, now: datetime) -> list[Path]:
        """Return the files of a source that have arrived and are not known, by name: mostly the oldest first."""
        known = self._known.setdefault(source, self.store.known_paths(source))
        paths = sorted((self.folder / source).glob("*"))
        return [path for path in paths if str(path) not in known and self._settled(path, now)]

    def _settled(self, path: Path, now: datetime) -> bool:
        try:
            status = path.stat()
        except OSError:  # taken away since the folder was listed
            return False
        if path.name.startswith(".") or path.suffix in UNFINISHED or not S_ISREG(status.st_mode):
            return False
        stamp = (status.st_size, status.st_mtime_ns)
        if path in self.refused and self.refused[path][0] == stamp and not self._caught_up(path, now):
            return False
        before, self._looked[path] = self._looked.get(path), stamp
        return before == stamp or time.time() - status.st_mtime > SETTLED

    def _caught_up(self, path: Path, now: datetime) -> bool:
        """Tell whether a file that was refused for its time, as where this machine's clock was slow, is due now."""
        return path in self._ahead and self._ahead[path] <= now

    def _take(self, path: Path, source: str, now: datetime) -> FrameRecord | None:
        try:
            judged = self._judged(path, source, now)
        except InputError as error:
            self.refused[path] = (self._looked.pop(path), str(error))
            log.warning("file refused", source=source, reason=str(error))
            return None
        except NoRoom as error:  # not the file's fault: it is read at the next look
            self._tell(error)
            return None
        for memory in (self._looked, self.refused, self._ahead):
            memory.pop(path, None)
        frame = judged.frame
        record = FrameRecord(source, valid_time(frame), frame.attrs["digest"], str(path), now)
        arrival = self._arrival(record)
        if arrival and arrival.action is Action.IGNORE:
            return record
        self.cache.put(frame)
        flags = (*judged.flags, *((arrival.flag,) if arrival and arrival.flag not in judged.flags else ()))
        if flags:
            self.flags[record.digest] = flags
        self.store.add_frame(record)
        self._remember(source, self._history(source).after(frame))  # once it is recorded, or it would be its own past
        return record

    def _arrival(self, record: FrameRecord) -> Verdict | None:
        """Return what the record is among those of its valid time: a duplicate, a revision, or simply new."""
        at = record.valid_time
        there = self.store.frames(record.source, until=at, limit=REVISIONS)
        known = {at: [r.digest for r in there if r.valid_time == at]}
        verdict = judge_arrival(record.source, at, record.digest, known, None)
        if verdict:
            self._count(record.source, verdict.state)
        return verdict

    def _judged(self, path: Path, source: str, now: datetime) -> Judged:
        self._ahead.pop(path, None)
        if not path.name.isprintable():  # nor does a database take it
            raise UnreadableFile(f"{str(path)!r}: its name is no printable text; rename it")
        try:
            frame = self.cache.read(path, source)
        except UnreadableFile as error:
            self._count(source, judge_unreadable(str(error), stood_still=True).state)
            raise
        history = self._history(source)
        judged = judge(frame, history, now, self.thresholds.get(source, Thresholds()))
        for verdict in judged.verdicts:
            self._count(source, verdict.state)
        if judged.action is not Action.REFUSE:
            return judged
        if any(v.state == "future" for v in judged.verdicts):
            self._ahead[path] = valid_time(frame)
            raise WrongTime(f"{path}: {judged.refusal}")
        raise InputError(f"{path}: {judged.refusal}")

    def _count(self, source: str, state: str) -> None:
        self.states[source, state] = self.states.get((source, state), 0) + 1

    # What a source has been like outlives the process: a unit that changes overnight is found out in the morning.

    def _history_file(self, source: str) -> Path:
        return self.folder.parent / "history" / f"{source}.json"

    def _history(self, source: str) -> SourceHistory:
        if source not in self._histories:
            try:
                self._histories[source] = SourceHistory.from_json(self._history_file(source).read_text("utf-8"))
            except (OSError, ValueError, KeyError, TypeError):
                self._histories[source] = SourceHistory()  # none yet, or damaged: it is learned again
        return self._histories[source]

    def _remember(self, source: str, history: SourceHistory) -> None:
        """Keep a history, in memory where the disk does not take it: then it is written with the next frame."""
        self._histories[source] = history
        path = self._history_file(source)
        part = path.with_suffix(".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(history.to_json(), "utf-8")
            os.replace(part, path)
        except OSError as error:
            self._tell(NoRoom.of(path, error))
        else:
            self._told = ""

    def _tell(self, error: NoRoom) -> None:
        """Log that there is no room when that begins or changes."""
        if str(error) != self._told:
            log.error("not written", reason=str(error))
        self._told = str(error)


def require_past(frame: xr.Dataset, path: Path, now: datetime, thresholds: Thresholds | None = None) -> None:
    """Raise `WrongTime` when the frame lies in the future."""
    verdict = check_future(frame, now, thresholds or Thresholds())
    if verdict:
        raise WrongTime(f"{path}: {verdict.message}")
