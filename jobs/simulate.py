"""A simulated month of operation on a fast clock: all that a feed may do, and what the worker makes of it.

The frames are rain that drifts over small regions, written as real files; the worker is the real one (`jobs.drive`), in
a process of its own that is killed (SIGKILL) now and then. What happens is drawn from a seed, so that a failure can be
made again, but for the moment within a look at which a kill comes. `examine` then says whether what was promised was
kept.
"""

import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import time as wall_time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from jobs.drive import Drive, deliver
from nowcast.clock import STEP
from nowcast.config import Settings
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.life import State, Transition
from nowcast.region import Region, Regions
from nowcast.store.database import upgrade
from nowcast.store.store import Store

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SOURCE = "cf"
GRID = Grid("EPSG:2056", 2_600_000.0, 1_200_000.0, 1000.0, 1000.0, 32, 32)
REGIONS = Regions(
    {
        name: Region(name, name.title(), Grid(GRID.crs, x0, GRID.y0, 1000.0, 1000.0, 24, 24), (SOURCE,), margin=0)
        for x0, name in ((GRID.x0, "alps"), (GRID.x0 + 4000, "coast"))
    }
)
CANARY = "coast"
"""The one region that a canary may serve."""
OUTAGE = (timedelta(hours=9), timedelta(hours=15))
JUMPS = (timedelta(hours=4), timedelta(hours=18))
VERIFIED = (1, 3, 6)
"""Leads, in steps: fewer than in operation, to live a day within a minute."""
NIGHT = timedelta(hours=1)
MISHAPS = {"late": 0.03, "missing": 0.03, "duplicated": 0.02, "out-of-order": 0.02, "truncated": 0.02, "stuck": 0.01}


KILL_WITHIN = 0.06
"""Seconds of the wall's clock after a look has begun: a look takes some 30 ms."""
QUIET = 10
"""So many days at the end without a kill (at most a third), in which the worker's memory must not grow."""
CONTEXT = multiprocessing.get_context("forkserver")

Register = Callable[[Store, str, datetime], None]
"""Makes a model that is no good a candidate under a name."""


@dataclass
class Tally:
    """What was done to the worker, and how it looked from outside.

    Attributes
    ----------
    memory, size
        Resident MiB of the worker and MiB in the database at the end of each day.
    slots
        How many slots of all regions ended in which state, day after day.
    broken
        Promises that were not kept, as seen at the end of each day (later, retention has removed what shows it).
    kills
        How many workers were killed; `kills_at_work` of them during a look, the others just after it.
    """

    mishaps: Counter[str] = field(default_factory=Counter)
    memory: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    slots: Counter[str] = field(default_factory=Counter)
    broken: dict[str, None] = field(default_factory=dict)
    kills: int = 0
    kills_at_work: int = 0


class Worker:
    """A worker's process, that looks when it is told to, at a time that it is told."""

    def __init__(self, settings: Settings, time: datetime) -> None:
        self._ours, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_work, args=(settings.model_dump(), time, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def look(self, time: datetime) -> float:
        """Let it be `time`, let the worker look once, and return its resident MiB."""
        self._ours.send(time)
        return float(self._ours.recv())

    def die(self, time: datetime, after: float) -> bool:
        """Let it look and kill it after so many seconds; return whether it was still at work."""
        self._ours.send(time)
        wall_time.sleep(after)
        at_work = not self._ours.poll()
        os.kill(self._process.pid or 0, signal.SIGKILL)
        self._process.join()
        self._ours.close()
        return at_work

    def close(self) -> None:
        """End it in order."""
        self._ours.close()
        self._process.join()


def _work(values: dict[str, Any], time: datetime, orders: Connection) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # much goes wrong here
    drive = Drive.open(Settings(**values), REGIONS, time)
    drive.after.verifier.leads = VERIFIED
    while True:
        try:
            now = orders.recv()
        except EOFError:
            break
        drive.look(now)
        orders.send(resident_mib())
    drive.close()


@dataclass
class Simulation:
    """Days of operation."""

    settings: Settings
    days: int
    seed: int = 1
    tally: Tally = field(default_factory=Tally)
    end: datetime = START
    _now: datetime = START
    _memory: float = 0.0
    _files: Path = Path()
    _stuck: int = 0
    _held_back: list[tuple[datetime, datetime]] = field(default_factory=list)

    def run(self, register_bad: Register | None = None) -> Store:
        """Live through the days and return the store as it is then."""
        rng = np.random.default_rng(self.seed)
        self._files = self.settings.data_dir / "made"
        self._files.mkdir(parents=True, exist_ok=True)
        upgrade(self.settings.url)
        store, worker = Store.open(self.settings.url), Worker(self.settings, START)
        quiet = START + (self.days - min(QUIET, self.days // 3)) * DAY
        for number in range(self.days * int(DAY / STEP)):
            time = START + number * STEP
            since = time - floor_day(time)
            if since == NIGHT and register_bad:
                self._look(worker, time - timedelta(seconds=30))
                self._bad_night(store, register_bad, number)
            self._arrivals(time, rng)
            self._looks(worker, time, since)
            if rng.random() < 2 * STEP / DAY and time < quiet:  # twice a day, at any moment, the process is gone
                worker = self._killed(worker, time, float(rng.uniform(0, KILL_WITHIN)))
            if since == DAY - STEP:
                self.tally.memory.append(self._memory)
                self.tally.size.append(store.retention.size() / 2**20)
                self._account(store, floor_day(time))
        worker.close()
        self.end = self._now
        return store

    def _account(self, store: Store, day: datetime) -> None:
        """Count a day's slots, and the last of the day before in place of its own, which goes on."""
        names, last = [region.name for region in REGIONS], day + DAY - 2 * STEP
        slots = store.slots.between(names, max(day - STEP, START), last)
        self.tally.slots.update(s.state for s in slots if s.slot <= last)
        self.tally.broken |= dict.fromkeys(_examined(store, day - STEP, last))

    def _look(self, worker: Worker, time: datetime) -> None:
        self._now, self._memory = time, worker.look(time)

    def _looks(self, worker: Worker, time: datetime, since: timedelta) -> None:
        """Let the worker look, in every third slot twice; twice a day its clock is an hour off for one look."""
        self._look(worker, time + timedelta(seconds=40))
        if since % (3 * STEP) == timedelta(0):
            self._look(worker, time + timedelta(seconds=100))
        if since in JUMPS:
            self.tally.mishaps["clock jump"] += 1
            off = HOUR if since == JUMPS[0] else -HOUR
            self._look(worker, time + timedelta(seconds=120) + off)
            self._look(worker, time + timedelta(seconds=130))

    def _arrivals(self, time: datetime, rng: np.random.Generator) -> None:
        now = time + timedelta(seconds=20)
        for arrival, valid in [held for held in self._held_back if held[0] <= time]:
            self._held_back.remove((arrival, valid))
            self._send(valid, now, "late")
        since = time - floor_day(time)
        if OUTAGE[0] <= since < OUTAGE[1]:
            self.tally.mishaps["outage"] += 1
            return
        kind = self._mishap(rng)
        self.tally.mishaps[kind] += 1
        if kind == "missing":
            return
        if kind in ("late", "out-of-order"):
            delay = 3 if kind == "late" else 1
            self._held_back.append((time + delay * STEP, time))
            return
        if kind == "stuck" or self._stuck:
            self._stuck = self._stuck - 1 if self._stuck else 3
            self._send(time, now, "stuck", seen=floor_day(time))
            return
        self._send(time, now, "")
        if kind == "duplicated":
            self._send(time, now, "again")
        if kind == "truncated":
            path = self._send(time + timedelta(seconds=1), now, "cut")
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])

    def _mishap(self, rng: np.random.Generator) -> str:
        drawn = rng.random()
        for kind, share in MISHAPS.items():
            if drawn < share:
                return kind
            drawn -= share
        return "on time"

    def _send(self, valid: datetime, now: datetime, mark: str, seen: datetime | None = None) -> Path:
        made = self._files / "frame.nc"
        frame = make_frame(rain(seen or valid), GRID, valid, SOURCE)
        frame.to_netcdf(made, engine="netcdf4")
        name = f"{valid:%Y%m%dT%H%M%S}{mark and '-'}{mark}.nc"
        return deliver(self.settings.feed_dir, made, SOURCE, now, name)

    def _killed(self, worker: Worker, time: datetime, after: float) -> Worker:
        """Kill the worker during a look, for which a frame has come; another starts, and finds lease, feed and store.

        The frame is one of the slot that was just served, again: with other pixels, so that there is work to be killed.
        """
        self._send(time, time + timedelta(seconds=130), "revised", seen=time + timedelta(minutes=1))
        self.tally.kills += 1
        self.tally.kills_at_work += worker.die(time + timedelta(seconds=140), after)
        return Worker(self.settings, time + timedelta(seconds=150))

    def _bad_night(self, store: Store, register_bad: Register, number: int) -> None:
        """Somebody makes a bad model a canary by hand, past the shadow's evidence."""
        name, now = f"bad-{number}", self._now
        register_bad(store, name, now)
        for state, regions in ((State.SHADOW, ()), (State.CANARY, (CANARY,))):
            step = Transition(name, "advection", state, regions, "simulation", now, "on purpose")
            store.models.step(step)


def floor_day(time: datetime) -> datetime:
    """Return midnight UTC of a time's day."""
    return time.replace(hour=0, minute=0, second=0, microsecond=0)


def rain(time: datetime) -> NDArray[np.float32]:
    """Return rain that drifts east, (H, W) mm/h: a few smooth showers; the northern row is not seen."""
    minutes = (time - START) / timedelta(minutes=1)
    y, x = np.mgrid[: GRID.height, : GRID.width]
    field = np.zeros(GRID.shape)
    for k in range(4):
        centre = (minutes * 0.35 + 13 * k) % 52 - 10, 6 + 7 * k + 3 * np.sin(minutes / 400 + k)
        field += (3 + 2 * k) * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (12 + 4 * k))
    rate = np.where(field < 0.3, 0, field).astype(np.float32)
    rate[0] = np.nan
    return rate


def resident_mib() -> float:
    """Return the resident memory of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def examine(simulation: Simulation, store: Store) -> Iterator[str]:
    """Yield every promise that was not kept."""
    yield from simulation.tally.broken
    for step in store.models.lives().all():
        if step.model.startswith("bad-") and step.state is not State.ROLLED_BACK:
            yield f"{step.model} is still {step.state}"
    yield from _flat(simulation)


def _examined(store: Store, since: datetime, until: datetime) -> Iterator[str]:
    """Yield what is wrong with the runs that there are, and with the slots of a day."""
    for region in REGIONS:
        runs = list(reversed(store.runs(region.name, limit=100_000)))
        if len({r.base_time for r in runs}) != len(runs):
            yield f"{region.name}: a base time was published twice"
        by_id = sorted(runs, key=lambda r: r.id)
        if any(b.base_time < a.base_time for a, b in pairwise(by_id)):
            yield f"{region.name}: base times went back"
        served = {r.model for r in runs if r.model != "advection"}
        if served and region.name != CANARY:
            yield f"{region.name}: {served} served beyond the canary's region"
        slots = store.slots.between([region.name], since, until)
        missing = [s for s in slots if s.region == region.name and s.state == "missing"]
        if missing:
            yield f"{region.name}: {len(missing)} slots are not accounted for, the first {missing[-1].slot}"
        if any(s.state == "refused" and not s.reason for s in slots):
            yield f"{region.name}: a slot was refused without a reason"


def _flat(simulation: Simulation) -> Iterator[str]:
    """Yield what still grows after retention has set in."""
    kept, quiet = int(simulation.settings.keep_days) + 1, min(QUIET, simulation.days // 3)
    memory = simulation.tally.memory[-quiet + 1 :] if quiet else []  # of the one worker that nobody killed
    for what, later in (("memory", memory), ("database", simulation.tally.size[kept:])):
        if len(later) >= 4:
            half = len(later) // 2
            before, after = np.mean(later[:half]), np.mean(later[half:])
            if after > 1.1 * before + 8:
                yield f"{what} grew from {before:.0f} to {after:.0f} MiB"


def integrity(path: Path) -> str:
    """Return what SQLite says of a database file."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
