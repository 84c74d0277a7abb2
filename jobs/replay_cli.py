"""`nowcast hindcast` and `nowcast replay`: what was, again."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.config import read_settings

if TYPE_CHECKING:
    from jobs.hindcast import Progress

app = typer.Typer(no_args_is_help=True)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; give one as 2026-03-01T12:00 (UTC)") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@app.command()
def hindcast(
    since: Annotated[
        datetime, typer.Option("--from", parser=_time, metavar="TIME", help="First base time, ISO 8601, UTC.")
    ],
    until: Annotated[datetime, typer.Option("--to", parser=_time, metavar="TIME", help="Base time after the last.")],
    region: Annotated[list[str] | None, typer.Option(help="Regions; else all.")] = None,
    model: Annotated[str, typer.Option(help="Model; else each region's own.")] = "",
    database: Annotated[Path | None, typer.Option(help="Where to; else hindcast.db in the data folder.")] = None,
) -> None:
    """Forecast again from the archive; goes on where it was when it is run again. Exit status 1 without any frame."""
    from contextlib import closing
    from dataclasses import replace

    from engines.ladder import Ladder
    from engines.runtimes import make_rungs
    from jobs.hindcast import Hindcast
    from jobs.registry import with_registered
    from nowcast.archive import Archive
    from nowcast.region import read_regions
    from nowcast.store.database import upgrade
    from nowcast.store.store import Store

    if since >= until:
        raise typer.BadParameter(f"--to {until:%Y-%m-%d %H:%M} is not after --from {since:%Y-%m-%d %H:%M}")
    settings = read_settings()
    regions, rungs = read_regions(settings.regions_file), with_registered(settings.models_dir, make_rungs())
    chosen = [regions[name] for name in region or regions.by_name]
    for where in chosen:
        rungs(model or where.model)  # a name that no model has is told before anything is made
    url = f"sqlite:///{(database or settings.data_dir / 'hindcast.db').resolve()}"
    upgrade(url)
    archive, done = Archive(settings.archive_dir), 0
    with closing(Store.open(url)) as store, closing(Ladder(rungs, settings.engine_threads, store)) as ladder:
        for where in chosen:
            work = Hindcast(replace(where, model=model or where.model), archive, store, ladder)
            done += _tell(where.name, work.run(since, until))
    raise typer.Exit(0 if done else 1)


def _tell(region: str, progress: Iterable["Progress"]) -> int:
    """Print how far a region's hindcast is, every hour of it, and at the end; return how many times there were."""
    last = None
    for last in progress:
        if last.done % 12 == 0:
            typer.echo(f"{region}: {last.time:%Y-%m-%d %H:%M}, {last.done} of {last.total}, {last.per_second:.1f}/s")
    if last is None:
        typer.echo(f"{region}: nothing archived; set NOWCAST_ARCHIVE_DAYS, or give another --from and --to", err=True)
        return 0
    typer.echo(f"{region}: {last.done} times, {last.refused} refused, {last.per_second:.1f}/s")
    return last.done


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="A recorded feed: one sub-folder per source.")],
    into: Annotated[Path, typer.Option(help="Data folder for the replay; not the live one.")],
) -> None:
    """Let a recorded feed arrive again, on a fast clock, through the live cycle."""
    from jobs.drive import Drive
    from jobs.replay import recorded
    from jobs.replay import replay as play
    from nowcast.region import read_regions
    from nowcast.sources import with_own

    settings = read_settings().model_copy(update={"data_dir": into, "database_url": f"sqlite:///{into / 'nowcast.db'}"})
    files = recorded(folder, with_own(settings.sources_file))
    drive = Drive.open(settings, read_regions(settings.regions_file), files[0].arrival, processes=True)
    for time, report in play(drive, files):
        for name, base in report.published.items() if report else ():
            typer.echo(f"{time:%Y-%m-%d %H:%M:%S} {name}: {base:%H:%M}")
    drive.close()
