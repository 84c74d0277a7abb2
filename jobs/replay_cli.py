"""`nowcast hindcast` and `nowcast replay`: what was, again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nowcast.config import read_settings

app = typer.Typer(no_args_is_help=True)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@app.command()
def hindcast(
    since: Annotated[str, typer.Option("--from", help="First base time, ISO 8601, UTC.")],
    until: Annotated[str, typer.Option("--to", help="Base time after the last.")],
    region: Annotated[list[str] | None, typer.Option(help="Regions; else all.")] = None,
    model: Annotated[str, typer.Option(help="Model; else each region's own.")] = "",
    database: Annotated[Path | None, typer.Option(help="Where to; else hindcast.db in the data folder.")] = None,
) -> None:
    """Forecast again from the archive; goes on where it was when it is run again."""
    from dataclasses import replace

    from engines.ladder import Ladder
    from engines.runtimes import make_rungs
    from jobs.hindcast import Hindcast
    from jobs.registry import with_registered
    from nowcast.archive import Archive
    from nowcast.region import read_regions
    from nowcast.store.database import upgrade
    from nowcast.store.store import Store

    settings = read_settings()
    url = f"sqlite:///{(database or settings.data_dir / 'hindcast.db').resolve()}"
    upgrade(url)
    store, archive = Store.open(url), Archive(settings.archive_dir)
    ladder = Ladder(with_registered(settings.models_dir, make_rungs()), settings.engine_threads, store)
    regions = read_regions(settings.regions_file)
    for name in region or [r.name for r in regions]:
        where = replace(regions[name], model=model or regions[name].model)
        last = None
        for last in Hindcast(where, archive, store, ladder).run(_time(since), _time(until)):
            if last.done % 12 == 0:
                typer.echo(f"{name}: {last.time:%Y-%m-%d %H:%M}, {last.done} of {last.total}, {last.per_second:.1f}/s")
        told = f"{last.done} times, {last.refused} refused, {last.per_second:.1f}/s" if last else "nothing archived"
        typer.echo(f"{name}: {told}")
    ladder.close()


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
