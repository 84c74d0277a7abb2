"""What the cycle keeps, and for how long: the archive, the store, the files that the demonstration makes."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
import xarray as xr

from nowcast.archive import Archive
from nowcast.config import Settings
from nowcast.disk import Space
from nowcast.ingest import Intake
from nowcast.region import Region
from nowcast.sources.simulated import SimulatedSatelliteSource, SimulatedSource
from nowcast.store.store import Store

log = structlog.get_logger()

EVERY = timedelta(hours=1)
SIMULATED_KEPT = timedelta(hours=6)
REMEDY = "make room, or keep less: NOWCAST_KEEP_GB, NOWCAST_KEEP_DAYS, NOWCAST_KEEP_FEED_DAYS, NOWCAST_ARCHIVE_GB"
SIMULATED = (SimulatedSource.name, SimulatedSatelliteSource.name)


@dataclass(frozen=True)
class Keeps:
    """For how long; see `nowcast.config.Settings`."""

    runs: timedelta
    scores: timedelta
    feed: timedelta | None
    archive: timedelta
    most_bytes: int | None = None
    most_archive_bytes: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Keeps":
        """Return what the settings say."""
        return cls(
            timedelta(days=settings.keep_days),
            timedelta(days=settings.keep_scores_days),
            timedelta(days=settings.keep_feed_days) if settings.keep_feed_days else None,
            timedelta(days=settings.archive_days),
            int(settings.keep_gb * 2**30) or None,
            int(settings.archive_gb * 2**30) or None,
        )


@dataclass
class Keeper:
    """Writes the archive and removes what is old, at most once an hour."""

    store: Store
    keeps: Keeps
    folder: Path
    _pruned: datetime | None = None
    _archive: Archive | None = None

    def __post_init__(self) -> None:
        if self.keeps.archive:
            self._archive = Archive(self.folder)

    def archive(self, region: Region, frames: Sequence[xr.Dataset]) -> None:
        """Write a run's frames to the archive, where there is one; those that are there cost a look each."""
        if self._archive is not None:
            for frame in frames:
                self._archive.put(region, frame)

    def prune(self, feed: Intake, now: datetime) -> None:
        """Remove what is older than it is kept."""
        if self._pruned is not None and abs(now - self._pruned) < EVERY:
            return
        self._pruned, keeps = now, self.keeps
        _tell_of_little_space(feed.folder.parent)
        self._prune_feed(feed, now)
        gone = self.store.retention.prune(now - keeps.runs, keeps.most_bytes)
        self.store.retention.prune_scores(now - keeps.scores)
        days = self._archive.prune(now - keeps.archive, keeps.most_archive_bytes) if self._archive else []
        if gone.runs or gone.days or days:
            log.info("pruned", runs=gone.runs, observations=gone.observations, partitions=gone.days, archive=len(days))

    def _prune_feed(self, feed: Intake, now: datetime) -> None:
        """Remove old files of the feed: those of the simulated sources always, others only where asked for."""
        folders = [path for path in feed.folder.glob("*") if path.is_dir()]
        for folder in folders:
            kept = SIMULATED_KEPT if folder.name in SIMULATED else self.keeps.feed
            if kept is not None:
                _remove(folder, now - kept)
        feed.forget_gone()


def _tell_of_little_space(folder: Path) -> None:
    """Warn, every hour, while there is time: on a full disk a database has no room to remove rows either."""
    with suppress(OSError):  # whoever writes there says so
        if (space := Space.at(folder)).scarce:
            log.warning("disk nearly full", folder=str(folder), space=str(space), remedy=REMEDY)


def _remove(folder: Path, before: datetime) -> None:
    """Remove the old files of a folder, which others may remove too; what cannot be is told, once for all of them."""
    failed: list[OSError] = []
    for path in folder.glob("*"):  # of a folder that may not be read, or is gone meanwhile, nothing
        try:
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(error)
    if failed:
        log.warning("feed-files-kept", folder=str(folder), files=len(failed), reason=str(failed[0]))
