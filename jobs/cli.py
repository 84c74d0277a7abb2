"""The `nowcast` command. Every failure that can happen in operation is one line with its value and remedy."""

import logging
import math
import sys
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.engines_cli import engine
from jobs.keep_cli import app as keep_app
from jobs.keys import app as keys
from jobs.logs import set_up_logging
from jobs.model_cli import model as model_app
from jobs.replay_cli import app as replay_app
from nowcast.config import read_settings
from nowcast.disk import make_folder, require_temporary, writing
from nowcast.errors import ConfigError, NowcastError

if TYPE_CHECKING:
    from nowcast.inspect import Inspection
    from nowcast.train.data import Sequence
    from nowcast.train.loop import TrainConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Rain nowcasting: radar in, two hours of rain out.")
db = typer.Typer(no_args_is_help=True, help="The database.")
app.add_typer(db, name="db")
app.add_typer(engine, name="engine")
app.add_typer(model_app, name="model")
app.add_typer(keep_app)
app.add_typer(replay_app)
app.add_typer(keys, name="key")

Files = Annotated[list[Path], typer.Argument(help="Radar files, any order.", show_default=False)]


@app.command()
def run(
    speed: Annotated[
        float, typer.Option(min=0.01, max=1000, help="How much faster than the wall the clock runs.")
    ] = 1.0,
) -> None:
    """Migrate the database, start one worker and one API process, stop both on Ctrl-C."""
    from jobs.supervise import run as supervise

    raise typer.Exit(supervise(read_settings(), speed))


@app.command()
def serve() -> None:
    """Serve the API (one process)."""
    from jobs.serve import serve as run_api

    run_api(read_settings())


@app.command()
def worker() -> None:
    """Run the scheduler: look at the feeds, forecast, publish."""
    from jobs.worker import work

    settings = read_settings()
    set_up_logging(settings, logging.INFO)
    raise typer.Exit(work(settings))


@app.command()
def cycle(
    once: Annotated[bool, typer.Option("--once", help="What it does anyway: one pass.")] = True,
) -> None:
    """Run the cycle once over what is in the feed folder; the exit status is 1 when any region failed."""
    from jobs.worker import open_cycle

    with closing(open_cycle(read_settings())) as opened:
        opened.feed.longest_look = math.inf  # there is no next one to leave the newest file to
        report = opened.run()
    for region, base_time in report.published.items():
        typer.echo(f"{region}: published {base_time:%Y-%m-%d %H:%M} UTC")
    for region in report.unchanged:
        typer.echo(f"{region}: nothing new")
    for region, reason in report.failed.items():
        typer.echo(f"{region}: {reason}", err=True)
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def forecast(
    files: Files,
    output: Annotated[Path, typer.Option("--output", "-o", help="The CF NetCDF file to write.")],
    leads: Annotated[int, typer.Option(help="How many leads of five minutes.")] = 24,
    region: Annotated[str | None, typer.Option(help="Region to forecast on; else the files' own grid.")] = None,
    model: Annotated[str, typer.Option(help="Model to use.")] = "advection",
    members: Annotated[int | None, typer.Option(help="Write this many members of the ensemble too.")] = None,
) -> None:
    """Forecast once from files, without a database."""
    from engines.ladder import Ladder
    from engines.members import rungs_with_members
    from engines.runtimes import make_rungs
    from jobs.oneshot import forecast_files
    from nowcast.region import read_regions
    from nowcast.sources import with_own

    settings = read_settings()
    regions = read_regions(settings.regions_file)
    rungs = make_rungs()
    if members is not None:
        rungs = rungs_with_members(rungs, members)
    ladder = Ladder(rungs, settings.engine_threads)
    sources = with_own(settings.sources_file)
    made = forecast_files(files, output, leads, region, regions, model, ladder, members, sources)
    reference = made["forecast_reference_time"].values.astype("datetime64[m]")
    typer.echo(
        f"{output}: {', '.join(map(str, made.data_vars))} for {made.sizes['lead_time']} leads from {reference} UTC"
    )


@app.command()
def train(
    config: Annotated[
        Path, typer.Option(help="JSON of `nowcast.train.loop.TrainConfig`; `docs/model-card.md` has ours.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder of sequences or archives; else the configuration's.")
    ] = None,
) -> None:
    """Train a model, or go on where the output folder has a checkpoint (needs the extra `reference`)."""
    from engines.runtimes import BY_NAME

    BY_NAME["torch"].require(None)
    from nowcast.train.loop import train as run_training

    chosen = _read_training(config)
    if data:
        chosen = replace(chosen, data=str(data))

    def tell(step: int, losses: dict[str, float]) -> None:
        typer.echo(f"step {step}: " + ", ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    make_folder(Path(chosen.out))
    typer.echo(f"weights: {run_training(chosen, tell, _sequences(chosen))}")


def _read_training(path: Path) -> "TrainConfig":
    from nowcast.train.loop import TrainConfig

    try:
        found = TrainConfig.from_json(path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"--config {path}: {error}; docs/model-card.md has ours") from error
    if found.start and not Path(found.start).is_file():
        raise ConfigError(f"--config {path}: start {found.start!r} is no file; name weights, or leave it out")
    return found


def _sequences(config: "TrainConfig") -> "list[Sequence]":
    from nowcast.train.loop import sequences_of

    try:
        found = sequences_of(config)
    except OSError as error:
        raise ConfigError(f"data {config.data!r}: {error}; name a folder of sequences") from error
    if not found:
        raise ConfigError(f"data {config.data!r}: no .npz, .nc or .zarr in it; name a folder of sequences")
    return found


@app.command()
def inspect(
    files: Files,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    png: Annotated[Path | None, typer.Option(help="Write a picture of the (last) file.")] = None,
) -> None:
    """Say what is in files: source, time, grid, shares, rates; each is parsed in a sandboxed process."""
    from nowcast.inspect import inspect_file, picture
    from nowcast.sandbox import Sandbox
    from nowcast.sources import with_own

    settings = read_settings()
    sources = with_own(settings.sources_file)
    require_temporary()
    with Sandbox(workers=1, sources_file=settings.sources_file) as sandbox:
        for path in files:
            found, frame = inspect_file(path, sandbox.read, sources)
            if as_json:
                typer.echo(found.to_json())
            else:
                Console(highlight=False).print(_facts(found))
    if png:
        with writing(png):
            png.write_bytes(picture(frame))


def _facts(found: "Inspection") -> Table:
    table = Table(escape(found.file), f"{found.valid_time:%Y-%m-%d %H:%M} UTC", title_justify="left")
    for key, value in asdict(found).items():
        if key not in {"file", "valid_time"}:
            table.add_row(key, f"{value:.4g}" if isinstance(value, float) else escape(str(value)))
    return table


@app.command()
def doctor() -> None:
    """Say what this machine can run, and what to do about what is missing; exit status 1 when nothing would work."""
    from jobs.doctor import examine

    colours = {"ok": "green", "missing": "yellow", "scarce": "yellow", "bad": "red"}
    table = Table("what", "state", "found", "remedy", show_lines=False)
    findings = list(examine(read_settings()))
    for finding in findings:
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        table.add_row(finding.subject, state, escape(finding.told), escape(finding.remedy))
    Console().print(table)
    raise typer.Exit(1 if any(f.state == "bad" for f in findings) else 0)


@db.command()
def upgrade() -> None:
    """Bring the database's tables to this version."""
    from nowcast.store.database import upgrade as migrate

    settings = read_settings()
    make_folder(settings.data_dir)
    migrate(settings.url)
    typer.echo("database is up to date")


def main() -> None:
    """Run the command line; a `NowcastError` is one line on stderr and exit status 1."""
    try:
        set_up_logging(read_settings())
        app()
    except NowcastError as error:
        typer.echo(f"nowcast: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
