"""The worker: the process with a scheduler. Several may run: the one with the lease works, the others stand by.

It looks at the feeds, runs the cycle and, for the demonstration, writes the simulated files.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import FrameType

import structlog
from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import BaseScheduler

from engines.gpu import find_gpu
from engines.ladder import Ladder
from jobs.after import Afterwork
from jobs.cycle import Cycle, Report
from jobs.fit import require_regions_fit
from jobs.guard import Guard
from jobs.keep import Keeper, Keeps
from jobs.leader import Leader
from jobs.metrics import Metrics
from jobs.registry import configured_rungs
from jobs.steady import SteadyClock
from jobs.supervise import require_port
from nowcast.clock import Clock
from nowcast.config import Settings
from nowcast.disk import make_folder, require_temporary
from nowcast.errors import LeaseLost, NoRoom, NowcastError
from nowcast.feeds.config import read_feeds
from nowcast.feeds.runner import FeedRunner, open_feed
from nowcast.ingest import FrameCache, Intake, satellites_of
from nowcast.region import Regions, read_regions
from nowcast.run import RegionRecord
from nowcast.sandbox import Sandbox
from nowcast.sources import source_named, with_own
from nowcast.sources.simulated import SimulatedSource, write_files
from nowcast.store.store import Store

log = structlog.get_logger()

HISTORY = timedelta(hours=2)
MISFIRE_GRACE = 240
STOP_LOOK = 0.2
STOP_SECONDS = 10.0
"""How long a look at work may go on after a signal; the supervisor waits 15 s."""
NIGHTLY_GRACE = 3600


def open_cycle(settings: Settings) -> Cycle:
    """Return a cycle over the configured regions, with the store open, checked and told of the regions.

    Raises
    ------
    NowcastError
        When regions, sources, database or folders cannot be used, or the regions' engines do not fit on the GPU.
    """
    require_temporary()
    regions, sources = read_regions(settings.regions_file), with_own(settings.sources_file)
    for region in regions:
        for source in region.sources:
            source_named(source, sources)
    metrics = Metrics()
    clock = Clock(settings.clock_speed, settings.clock_epoch, SteadyClock(jumped=metrics.jumped))
    rungs = configured_rungs(settings, clock.now)
    require_regions_fit(regions, rungs, find_gpu())
    store = Store.open(settings.url)
    store.put_regions(RegionRecord(r.name, r.title, r.grid, r.sources, r.model, r.places) for r in regions)
    sandbox = Sandbox(settings.parse_workers, sources_file=settings.sources_file)
    cache = FrameCache(read=sandbox.read, close=sandbox.close)
    thresholds = {source: region.gate for region in reversed(list(regions)) for source in region.sources}
    feed = Intake(settings.feed_dir, store, cache, satellites_of(sources), thresholds)
    ladder = Ladder(rungs, settings.engine_threads, store, processes=True)
    return Cycle(regions, store, feed, ladder, clock, metrics=metrics)


def tick(cycle: Cycle, after: Afterwork | None = None) -> Report | None:
    """Do what is due: write simulated files where a region lives on them, run the cycle, and what comes after it."""
    try:
        if cycle.leader:
            cycle.leader.hold()
        if simulates(cycle.regions):
            simulate(cycle)
        report = cycle.run()
        cycle.metrics.leads(holds=True)
        if after:
            after.run(report)
    except LeaseLost:  # told by the leader when it begins
        cycle.metrics.leads(holds=False)
        if cycle.leader:
            cycle.leader.lost()
        return None
    except NowcastError as error:  # the store is away: say so, and try again at the next tick
        log.error("cycle failed", reason=str(error))
        return None
    return report


def simulate(cycle: Cycle) -> None:
    """Write the simulated files; a disk that does not take them is told, and what is there is forecast from."""
    now = cycle.clock.now()
    try:
        for _ in write_files(cycle.feed.folder, now - HISTORY, now):
            pass
    except NoRoom as error:
        log.error("simulated file not written", reason=str(error))


def simulates(regions: Regions) -> bool:
    """Return whether any region lives on the simulated source."""
    return any(SimulatedSource.name in region.sources for region in regions)


def work(settings: Settings) -> int:
    """Run the scheduler until SIGTERM or SIGINT; return the exit status, 1 when a bug stopped it."""
    make_folder(settings.data_dir)
    cycle = open_cycle(settings)
    stand_by(cycle)
    leader = cycle.leader = Leader(cycle.store, cycle.clock, lasts=timedelta(seconds=settings.lease_seconds))
    after = Afterwork.of(cycle, Keeper(cycle.store, Keeps.of(settings), settings.archive_dir))
    if settings.worker_metrics_port:
        require_port(settings.host, settings.worker_metrics_port, "NOWCAST_WORKER_METRICS_PORT")
        cycle.metrics.serve(settings.host, settings.worker_metrics_port)
    scheduler, stopping = BackgroundScheduler(timezone=UTC), threading.Event()
    bugs: list[BaseException] = []

    def stop_on_bug(event: JobExecutionEvent) -> None:
        bugs.append(event.exception)
        log.critical("bug in a job, stopping", error=repr(event.exception), traceback=event.traceback)
        stopping.set()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    scheduler.add_listener(stop_on_bug, EVENT_JOB_ERROR)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    guard = add_look(scheduler, cycle, after, settings)
    if settings.nightly >= 0:
        add_nightly(scheduler, leader, settings.nightly)
    configured = read_feeds(settings.feeds_file) if settings.feeds_file else ()
    feeds = tuple(open_feed(feed, settings.feed_dir) for feed in configured)
    runner = FeedRunner(feeds, lambda _: guard.start_now(), cycle.clock.now)
    runner.start()

    def stop_on_dead_feed() -> None:
        if dead := runner.dead():
            raise RuntimeError(f"feed threads ended: {', '.join(dead)}")

    scheduler.add_job(stop_on_dead_feed, "interval", seconds=60, coalesce=True, misfire_grace_time=MISFIRE_GRACE)
    guard.start()
    # within the time that a pass has: the lease of a worker that hangs ends when its process does, and no later
    leader.keep(lambda: guard.at_work(guard.limit - settings.lease_seconds))
    log.info("worker started", regions=[r.name for r in cycle.regions], pid=os.getpid(), holder=leader.holder)
    scheduler.start()
    while not stopping.is_set():
        time.sleep(STOP_LOOK)  # a signal just before an endless wait would not end it
    runner.stop()
    guard.stop()
    scheduler.shutdown(wait=False)
    ended = guard.wait(STOP_SECONDS)
    release(leader)
    status = 1 if bugs else 0
    if not ended:  # what a pass uses cannot be closed under it; an end in its midst loses nothing
        log.warning("ended in the midst of a pass", waited_seconds=STOP_SECONDS)
        os._exit(status)
    cycle.close()
    return status


def stand_by(cycle: Cycle) -> None:
    """Start the engine processes, which load their libraries while the first frames are read."""
    for model in {region.model for region in cycle.regions}:
        with suppress(NowcastError):  # the cycle will say so
            cycle.ladder.stand_by(model)


def add_look(scheduler: BaseScheduler, cycle: Cycle, after: Afterwork, settings: Settings) -> Guard:
    """Schedule the look at the feeds and return the guard that watches it."""
    seconds = max(cycle.clock.wall_seconds(timedelta(seconds=settings.poll_seconds)), 0.2)

    def look() -> None:
        with guard:
            if not guard.stopped:
                tick(cycle, after)

    def start_now() -> None:
        with suppress(JobLookupError):  # the scheduler has ended meanwhile
            job.modify(next_run_time=datetime.now(UTC))

    job = scheduler.add_job(
        look,
        "interval",
        seconds=seconds,
        next_run_time=datetime.now(UTC),
        coalesce=True,
        max_instances=1,
        misfire_grace_time=MISFIRE_GRACE,
    )
    sources = {source for region in cycle.regions for source in region.sources}
    guard = Guard(start_now, seconds, lambda: [cycle.feed.folder / source for source in sources])
    return guard


def add_nightly(scheduler: BaseScheduler, leader: Leader, hour: int) -> None:
    """Schedule the nightly look for a better model."""
    from jobs.nightly import start

    scheduler.add_job(
        start, "cron", [leader], hour=hour, coalesce=True, max_instances=1, misfire_grace_time=NIGHTLY_GRACE
    )


def release(leader: Leader) -> None:
    """Give the lease back; a store that is away will see it expire."""
    try:
        leader.release()
    except NowcastError as error:
        log.warning("lease not given back", reason=str(error))
