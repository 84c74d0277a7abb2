"""`nowcast key …`: API keys. A key is shown once, when it is made; the database keeps its digest."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nowcast.clock import wall
from nowcast.config import read_settings
from nowcast.errors import ConfigError
from nowcast.keys import SCOPES, make_key
from nowcast.store.store import Store

app = typer.Typer(no_args_is_help=True, help="API keys.")


def _store() -> Store:
    return Store.open(read_settings().url)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    scope: Annotated[list[str], typer.Option(help=f"What it opens: {', '.join(SCOPES)}.")] = ["read"],  # noqa: B006
) -> None:
    """Make a key and show it, once."""
    if set(scope) - set(SCOPES):
        raise ConfigError(f"--scope must be of {', '.join(SCOPES)}, got {', '.join(scope)}")
    key, text = make_key(name, tuple(dict.fromkeys(scope)), wall())
    _store().keys.add(key)
    typer.echo(text)


@app.command("list")
def list_keys() -> None:
    """Show the keys there are, without their secrets."""
    table = Table("id", "name", "scopes", "made", "ends")
    for key in _store().keys.all():
        ends = f"{key.ends_at:%Y-%m-%d %H:%M}" if key.ends_at else "–"
        table.add_row(key.id, key.name, ", ".join(key.scopes), f"{key.created_at:%Y-%m-%d %H:%M}", ends)
    Console().print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Refuse a key from now on (running API processes know within ten seconds)."""
    _store().keys.end(key_id, wall())
    typer.echo(f"{key_id}: revoked")


@app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="The id of the key to replace.")],
    overlap: Annotated[int, typer.Option(help="Hours that the old one still opens.", min=0, max=720)] = 24,
) -> None:
    """Make a key like another, which ends after the overlap."""
    store = _store()
    old = next((key for key in store.keys.all() if key.id == key_id), None)
    if old is None:
        raise ConfigError(f"no key {key_id!r}; `nowcast key list` shows them")
    key, text = make_key(old.name, old.scopes, wall())
    store.keys.add(key)
    store.keys.end(key_id, wall() + timedelta(hours=overlap))
    typer.echo(text)
