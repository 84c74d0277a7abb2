"""An installation whose workers may die at any moment: real `nowcast worker` processes, a feed, a fast clock.

How a worker dies by itself is in `tests.jobs.ends`. `make test` kills a few of them (`test_kills`), `make soak` two
hundred (`tests.soak.kills`).
"""

import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np

from nowcast.archive import Archive
from nowcast.clock import STEP, Clock, floor, wall
from nowcast.config import Settings
from nowcast.errors import NoRun
from nowcast.frame import make_frame
from nowcast.grid import Grid
from nowcast.region import read_regions
from nowcast.store.database import upgrade
from nowcast.store.leases import CYCLE
from nowcast.store.store import Store
from tests.jobs.ends import End, live

ROOT = Path(__file__).parents[2]
SPEED = 120
"""A slot takes two and a half seconds."""
GRID = Grid("EPSG:2056", 2_600_000.0, 1_200_000.0, 1000.0, 1000.0, 32, 160)
NAMES = ("alps", "coast")
REGION = (
    '[regions.{name}]\ncrs = "EPSG:2056"\nx0 = {x0}\ny0 = 1200000\ncell = 1000\nheight = 32\nwidth = 150\n'
    'sources = ["cf"]\nmargin = 0\n'
)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["jobs.worker", "tests.jobs.ends"])


def rain(when):
    """Rain that drifts east, 2 cells in five minutes; the northern row is not seen."""
    y, x = np.mgrid[: GRID.height, : GRID.width]
    phase = (when.timestamp() / 300 * 2) % 7200
    rate = np.clip(5 * np.sin((x - phase) * 2 * np.pi / 36) * np.cos(y / 9) + 2 * np.sin((x - phase) / 5.73), 0, None)
    rate[0] = np.nan
    return rate.astype(np.float32)


@dataclass
class Installation:
    """A data folder, a database, a feed that goes on whatever happens to the workers, and a reader that looks on."""

    folder: Path
    url: str
    speed: float = SPEED
    lease_seconds: float = 30
    logs: Path | None = None
    seen: list = field(default_factory=list)
    wrong: list = field(default_factory=list)
    workers: list = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list = field(default_factory=list)

    def __enter__(self):
        regions = self.folder / "regions.toml"
        regions.write_text("".join(REGION.format(name=n, x0=2_600_000 + 5000 * k) for k, n in enumerate(NAMES)))
        self.values = {
            "data_dir": self.folder,
            "database_url": self.url,
            "regions_file": regions,
            "clock_speed": self.speed,
            "clock_epoch": wall(),
            "engine_threads": 1,
            "archive_days": 30,
            "lease_seconds": self.lease_seconds,
        }
        self.settings = Settings(**self.values)
        self.clock = Clock(self.speed, self.settings.clock_epoch)
        upgrade(self.url)
        self.store = Store.open(self.url)
        for target in (self._feed, self._look_on):
            self._threads.append(threading.Thread(target=target, daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)
            worker.kill()
            worker.join(20)
        for thread in self._threads:
            thread.join(20)
        self.store.close()

    def start(self, end=None):
        """Start a worker."""
        worker = CONTEXT.Process(target=live, args=(self.values, str(self.log(len(self.workers))), end))
        worker.start()
        self.workers.append(worker)
        return worker

    @contextmanager
    def serve(self):
        """Serve the API in a process of its own, as `nowcast serve`; yields its address."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = {f"NOWCAST_{k.upper()}": str(v) for k, v in {**self.values, "port": port}.items()}
        environment["NOWCAST_CLOCK_EPOCH"] = self.settings.clock_epoch.isoformat()
        with ((self.logs or self.folder) / "serve.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "serve"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
        address = f"http://127.0.0.1:{port}"
        try:
            self.wait(lambda: answers(f"{address}/healthz"), "an answer of the API")
            yield address
        finally:
            process.terminate()
            process.wait(30)

    def log(self, number):
        return (self.logs or self.folder) / f"worker-{number}.log"

    def told(self, worker):
        path = self.log(self.workers.index(worker))
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, worker):
        worker.kill()
        worker.join(20)

    def holder(self):
        """The worker that holds the lease."""
        lease = self.store.leases.holder(CYCLE)
        pid = int(lease.holder.split(":")[-2]) if lease and lease.holder else None
        return next((w for w in self.workers if w.pid == pid and w.exitcode is None), None)

    def newest(self):
        return self.store.newest_base_times()

    def wait(self, condition, what, seconds=90):
        """Wait for a state; generous, since nothing here is about speed."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                said = "\n".join(f"{k}: {self.told(w)[-1500:]}" for k, w in list(enumerate(self.workers))[-2:])
                raise AssertionError(f"{what} did not come within {seconds} s\n{said}")
            time.sleep(0.05)
        return found

    def wait_for_news(self, seconds=90):
        """Wait until every region has a newer run than now."""
        before = self.newest()
        self.wait(lambda: _all_newer(self.newest(), before), "a newer run of each region", seconds)

    def wait_for_time(self, span):
        """Let time pass on the fast clock."""
        until = self.clock.now() + span
        self.wait(lambda: self.clock.now() > until, f"{span} to pass")

    def _feed(self):
        """Write a frame at each slot, renamed into place and dated back, so that it counts as settled."""
        place, slot = self.folder / "feed" / "cf", floor(self.clock.now()) - 4 * STEP
        place.mkdir(parents=True, exist_ok=True)
        while not self._stop.wait(0.02):
            while slot <= self.clock.now():
                part = place / f"{slot:%Y%m%dT%H%M}.part"
                make_frame(rain(slot), GRID, slot, "cf").to_netcdf(part, engine="netcdf4")
                settled = time.time() - 10
                os.utime(part, (settled, settled))
                part.rename(part.with_suffix(".nc"))
                slot += STEP

    def _look_on(self):
        """Read as the API does, all the time: whole runs, base times that only grow, no publication twice."""
        store, last, newest = Store.open(self.url), 0, {}
        while not self._stop.wait(0.03):
            for publication in store.runs_after(last, 1000):
                last = publication.id
                self.seen.append(publication)
            for name in NAMES:
                run = store.newest(name)
                if run is None:
                    continue
                if run.base_time < newest.get(name, run.base_time):
                    self.wrong.append(f"{name}: newest went back to {run.base_time}")
                newest[name] = run.base_time
                try:
                    self.wrong += incomplete(store, run)
                except NoRun as error:
                    again = store.run(name, run.base_time)  # made again while it was read: the error says so
                    if again is None or again.id == run.id:
                        self.wrong.append(str(error))
        store.close()

    def examine(self, *, once=True):
        """Every promise that was not kept; `once`: no base time may be made again."""
        until = floor(self.clock.now()) - STEP
        self.wait(lambda: not self._missing(until), f"an account of every slot up to {until}")
        found = list(self.wrong)
        for name in NAMES:
            runs = sorted(self.store.runs(name, limit=100_000), key=lambda r: r.id)
            if any(b.base_time <= a.base_time for a, b in pairwise(runs)):
                found.append(f"{name}: base times are not in the order of publication, or twice")
            for run in runs:
                found += incomplete(self.store, run)
            untold = [s.slot for s in self._slots(name, until) if s.state == "refused" and not s.reason]
            found += [f"{name}: a refusal of {slot} says nothing" for slot in untold]
        for key, count in Counter((p.region, p.base_time) for p in self.seen).items():
            if once and count > 1:
                found.append(f"{key} was published {count} times")
        if once and self.url.startswith("sqlite") and self.store.last_run_id() != len(self.store.runs(limit=100_000)):
            found.append("run ids have gaps: a run was published and replaced")  # ids are given in the transaction
        return [*found, *self._archive_broken()]

    def slots(self):
        """How many slots ended how."""
        until = floor(self.clock.now()) - STEP
        return Counter(s.state for name in NAMES for s in self._slots(name, until))

    def _slots(self, name, until):
        return [s for s in self.store.slots.between([name], until - timedelta(days=60), until) if s.region == name]

    def _missing(self, until):
        return [s for name in NAMES for s in self._slots(name, until) if s.state == "missing"]

    def _archive_broken(self):
        archive, regions = Archive(self.settings.archive_dir), read_regions(self.settings.regions_file)
        for region in regions:
            for when in archive.times(region, self.settings.clock_epoch - timedelta(days=1), self.clock.now()):
                if np.isnan(archive.frame(region, when)["rain_rate"].values[1:]).any():
                    yield f"archive: the frame of {when} is not whole"


def incomplete(store, run):
    """What a run lacks of what it states."""
    fields = store.fields(run)
    if set(fields) != set(run.products):
        yield f"run {run.id} has {sorted(fields)}, not {run.products}"
    for name, values in fields.items():
        if values.shape != (run.leads, 32, 150) or not np.isfinite(values[0, 8:24, 40:110]).all():
            yield f"run {run.id}: {name} is not whole"


def _all_newer(now, before):
    return all(name in now and (name not in before or now[name] > before[name]) for name in NAMES)


def answers(address):
    try:
        return httpx.get(address, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def descendants(pid):
    """The processes that a worker started: engines and parsers."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found, todo = [], [pid]
    while todo:
        children = [p for p, parent in parents.items() if parent == todo[0]]
        found += children
        todo = todo[1:] + children
    return found


def kill_many(place, kills, seed):
    """Start and kill workers, each at a moment of its own; the last one may live on. Returns the moments."""
    rng, moments = random.Random(seed), Counter()
    for _ in range(kills):
        if rng.random() < 0.6:
            worker = place.start(End(rng.randint(1, 60)))
            moments["before a statement or commit"] += 1
            worker.join(30)  # one that finds too little to write is killed from outside
        else:
            worker = place.start()
            moments["after a while"] += 1
            worker.join(rng.uniform(0.05, 4))
        started = descendants(worker.pid)
        place.kill(worker)
        assert worker.exitcode == -signal.SIGKILL, f"it ended by itself: {worker.exitcode}\n{place.told(worker)}"
        place.wait(lambda: not any(Path(f"/proc/{p}").exists() for p in started), "the end of its children")  # noqa: B023
    return moments
