"""`nowcast model …`: the life of models, by hand."""

import getpass
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nowcast.config import read_settings
from nowcast.errors import LifeError

if TYPE_CHECKING:
    from jobs.judge import Judge

model = typer.Typer(no_args_is_help=True, help="The life of models: candidate, shadow, canary, promoted, rolled back.")

Name = Annotated[str, typer.Argument(help="Name of the model.")]
Why = Annotated[str, typer.Option(help="Why; kept with the step.")]
Named = Annotated[list[str] | None, typer.Option("--region", help="Regions it is about; else all of its family.")]


def _now() -> datetime:
    from nowcast.clock import Clock

    settings = read_settings()
    return Clock(settings.clock_speed, settings.clock_epoch).now()


def _user() -> str:
    """Return who types: a name, or the number of a user who has none, as in a container run by `--user`."""
    try:
        return getpass.getuser()
    except KeyError:
        return f"uid {os.getuid()}"


def _judge() -> "Judge":
    from jobs.judge import Judge
    from nowcast.region import read_regions
    from nowcast.store.store import Store

    settings = read_settings()
    return Judge(Store.open(settings.url), read_regions(settings.regions_file))


@model.command("list")
def show() -> None:
    """Show where each model is in its life, and what serves each region."""
    judge = _judge()
    lives = judge.store.models.lives()
    table = Table("model", "family", "state", "regions", "since", "by", "why")
    for s in lives.all():
        table.add_row(s.model, s.family, s.state, ", ".join(s.regions) or "all", f"{s.at:%Y-%m-%d %H:%M}", s.who, s.why)
    Console().print(table)
    for region in judge.regions:
        serving, beside = lives.serving(region), ", ".join(lives.beside(region))
        typer.echo(f"{region.name}: {serving.model} ({serving.state})" + (f"; beside it: {beside}" if beside else ""))


@model.command()
def history(name: Annotated[str | None, typer.Argument(help="One model; else all.")] = None) -> None:
    """Show every step: who, when, why, and the numbers that it rests on."""
    table = Table("when", "model", "state", "regions", "by", "why", "numbers")
    steps = _judge().store.models.history(name)
    if name and not steps:
        raise LifeError(f"model {name!r} is not known; `nowcast model list` shows those that are")
    for s in steps:
        numbers = ", ".join(f"{k}={v}" for k, v in s.numbers.items())
        table.add_row(f"{s.at:%Y-%m-%d %H:%M}", s.model, s.state, ", ".join(s.regions) or "all", s.who, s.why, numbers)
    Console().print(table)


@model.command()
def register(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Folder of the exported plan.")],
    family: Annotated[str, typer.Option(help="The `model` of the regions that it may serve.")],
    why: Why = "by hand",
) -> None:
    """Make an exported plan a candidate under a name of its own."""
    from engines.plan import read_plan
    from jobs.registry import register as enter

    settings, judge = read_settings(), _judge()
    families = sorted({region.model for region in judge.regions})
    if family not in families:
        raise LifeError(f"--family {family!r}: no region has that model; there are: {', '.join(families)}")
    enter(judge.store, settings.models_dir, read_plan(folder), name, family, _user(), why, _now())
    typer.echo(f"{name}: candidate for the regions of {family}")


@model.command()
def evidence(name: Name) -> None:
    """Compare a model with its incumbent on verified observations; exit status 1 when it may not be promoted."""
    judge = _judge()
    found = judge.evidence(name, _now())
    for key, value in found.numbers().items():
        typer.echo(f"{key}: {value}")
    objections = found.objections(judge.least_cycles)
    for objection in objections:
        typer.echo(f"not yet: {objection}", err=True)
    raise typer.Exit(1 if objections else 0)


@model.command()
def promote(
    name: Name,
    to: Annotated[str, typer.Option(help="shadow, canary or promoted.")] = "promoted",
    region: Named = None,
    why: Why = "by hand",
) -> None:
    """Take a model a step further; `promoted` only with the evidence for it."""
    from nowcast.life import State

    if to not in (State.SHADOW, State.CANARY, State.PROMOTED):
        raise LifeError(f"--to {to!r}: one of shadow, canary, promoted")
    made = _judge().promote(name, State(to), tuple(region or ()), _user(), why, _now())
    typer.echo(f"{name}: {made.state} in {', '.join(made.regions) or 'all regions of ' + made.family}")


@model.command()
def rollback(name: Name, why: Why = "by hand") -> None:
    """Take a canary or a promoted model back; the one before it serves again within a few seconds."""
    _end(name, "rolled-back", why)


@model.command()
def retire(name: Name, why: Why = "by hand") -> None:
    """End the life of a model that is not wanted any more."""
    _end(name, "retired", why)


@model.command()
def nightly() -> None:
    """Do the night's work now: take proven models further, and make a candidate from the archive."""
    from jobs.nightly import Night

    settings, judge = read_settings(), _judge()
    os.nice(10)  # the cycle goes first
    canaries = tuple(filter(None, settings.canary_regions.split(",")))
    failed = False
    for family in sorted({region.model for region in judge.regions}):
        night = Night(judge.store, judge, family, settings, canaries)
        for done in night.run(_now()):
            failed |= done.state == "failed"
            typer.echo(f"{family}: {done.step}: {done.state}: {done.told}", err=done.state == "failed")
    raise typer.Exit(1 if failed else 0)


def _end(name: str, state: str, why: str) -> None:
    from nowcast.life import State, Transition

    store = _judge().store
    last = store.models.lives().now(name)
    if last is None:
        raise LifeError(f"model {name!r} is not known; `nowcast model list` shows those that are")
    store.models.step(Transition(name, last.family, State(state), (), _user(), _now(), why))
    typer.echo(f"{name}: {state}")
