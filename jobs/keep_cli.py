"""`nowcast backup`, `restore`, `prune`: what is kept."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from nowcast.config import read_settings

app = typer.Typer(no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The backup's file.")]


@app.command()
def backup(target: File) -> None:
    """Back the embedded database up, while everything runs."""
    from jobs.backup import backup as make

    typer.echo(f"{target}: {make(read_settings().url, target) / 2**20:.1f} MiB")


@app.command()
def restore(source: File) -> None:
    """Put a backup in the place of the embedded database; running processes go on with it."""
    from jobs.backup import restore as put_back

    settings = read_settings()
    put_back(settings.url, source)
    typer.echo(f"restored from {source}")


@app.command()
def prune() -> None:
    """Remove now what is older or larger than the settings allow; the worker does so every hour."""
    from jobs.keep import Keeper, Keeps
    from jobs.worker import open_cycle

    settings = read_settings()
    with closing(open_cycle(settings)) as cycle:
        before = cycle.store.retention.size()
        Keeper(cycle.store, Keeps.of(settings), settings.archive_dir).prune(cycle.feed, cycle.clock.now())
        after = cycle.store.retention.size()
    typer.echo(f"database: {before / 2**20:.1f} → {after / 2**20:.1f} MiB in use")
