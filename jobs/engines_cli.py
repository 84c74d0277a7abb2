"""`nowcast engine …`: find, export, build, prove, sign, promote, roll back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nowcast.config import read_settings
from nowcast.run import CheckRecord

if TYPE_CHECKING:
    from engines.planstore import Shelf
    from nowcast.store.store import Store

engine = typer.Typer(no_args_is_help=True, help="Engines and their plans.")

Model = Annotated[str, typer.Argument(help="Name of the model.")]
OfModel = Annotated[str, typer.Option("--model", help="Name of the model.")]
OnRuntime = Annotated[str, typer.Option("--runtime", help="Runtime of the plan; see `nowcast engine runtimes`.")]
Version = Annotated[int, typer.Argument(help="Version of the plan; see `nowcast engine list`.")]


@engine.command()
def runtimes() -> None:
    """Say which runtimes this machine has, what is missing, and how to get it."""
    from engines.gpu import find_gpu
    from engines.runtimes import RUNTIMES

    gpu = find_gpu()
    table = Table("runtime", "rung", "installed", "runs here", "remedy", title=f"GPU: {gpu.name if gpu else 'none'}")
    for runtime in RUNTIMES:
        missing = runtime.missing(gpu)
        table.add_row(runtime.name, runtime.rung, runtime.version or "–", "no" if missing else "yes", escape(missing))
    Console().print(table)


@engine.command()
def export(
    model: Model = "advection",
    folder: Annotated[Path | None, typer.Option(help="Where to; else the plans that ship.")] = None,
) -> None:
    """Export the PyTorch reference as a plan (needs the extra `reference`)."""
    from engines.plan import SHIPPED
    from engines.runtimes import BY_NAME

    BY_NAME["torch"].require(None)
    from engines.export import export as export_plan

    plan = export_plan(model, folder or SHIPPED / model)
    typer.echo(f"{plan.folder}: {plan.digest}")


@engine.command()
def build(
    model: OfModel = "advection",
    runtime: OnRuntime = "openvino",
    region: Annotated[list[str] | None, typer.Option(help="Regions to build for; else all configured.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    graph: Annotated[Path | None, typer.Option(help="Quantized graph, for int8.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Most regions of equal shape at once.")] = 1,
    gpu: Annotated[str, typer.Option(help="Name of the GPU to build for, when it is not this machine's.")] = "",
    sm: Annotated[str, typer.Option(help="Its architecture, as sm89 (TensorRT for RTX only).")] = "",
) -> None:
    """Build a plan for the shapes of regions, and prove it where it can run here."""
    from engines.lifecycle import Recipe
    from engines.lifecycle import build as build_plan
    from engines.plan import shipped_plan
    from engines.tensorrt import Bucket
    from jobs.tiles import engine_shape
    from nowcast.clock import wall
    from nowcast.region import read_regions

    regions = read_regions(read_settings().regions_file)
    members = shipped_plan(model).spec.members
    shapes = tuple({engine_shape(regions[name], members) for name in region or [r.name for r in regions]})
    buckets = tuple(Bucket(size, shapes) for size in sorted({1, batch}))
    recipe = Recipe(model, runtime, precision, buckets, graph, gpu, sm)
    manifest, missing = build_plan(_shelf(model, runtime), recipe, wall())
    typer.echo(f"{model} {runtime} {precision}: version {manifest.version}, plan {manifest.files['plan.bin'][:12]}")
    proven = f"gate passed, least PSNR {min(manifest.scores.values()):.1f} dB" if manifest.scores else missing
    typer.echo(proven if manifest.scores else f"not yet executed: {proven}")


@engine.command("list")
def list_plans() -> None:
    """List the plans of this host: versions, what they are for, which one serves; exit status 1 when one is damaged."""
    from engines.keys import read_keyring
    from engines.planstore import shelves
    from nowcast.errors import PlanRefused

    settings, damaged = read_settings(), list[str]()
    table = Table("model", "runtime", "version", "precision", "for", "least PSNR", "expires", "serves")
    for shelf in shelves(settings.plans_dir, read_keyring(settings)):
        ends: dict[int, str] = {}
        try:
            state = shelf.state()
            ends = {a.version: name for name, a in (("current", state.current), ("previous", state.previous)) if a}
        except PlanRefused as error:
            damaged.append(str(error))
        for version in shelf.versions():
            try:
                told = _manifest(shelf, version)
            except PlanRefused as error:
                told = ("damaged", "", "", "")
                damaged.append(f"{shelf.place(version)}: {error}")
            table.add_row(shelf.model, shelf.runtime, str(version), *told, ends.get(version, ""))
    Console().print(table)
    for reason in damaged:
        typer.echo(f"nowcast: {reason}", err=True)
    raise typer.Exit(1 if damaged else 0)


def _manifest(shelf: "Shelf", version: int) -> tuple[str, str, str, str]:
    """Return what a version says of itself: precision, target, score, expiry."""
    m = shelf.manifest(version)
    score = f"{min(m.scores.values()):.1f} dB" if m.scores else "not yet executed"
    return m.precision, f"{m.host.gpu or 'CPU'} {m.host.sm} {m.host.version}", score, f"{m.expires:%Y-%m-%d}"


@engine.command()
def keygen(
    path: Annotated[Path, typer.Argument(help="Where to write the private key; `.pub` goes beside it.")],
) -> None:
    """Make an Ed25519 key pair that signs plans."""
    from engines.keys import make_key

    typer.echo(f"{make_key(path).id}: {path}, {path}.pub")


@engine.command()
def sign(version: Version, model: OfModel = "advection", runtime: OnRuntime = "openvino") -> None:
    """Sign a version with the key of NOWCAST_PLAN_SIGNING_KEY (or NOWCAST_PLAN_HMAC_KEY)."""
    from engines.keys import read_signer

    signature = _shelf(model, runtime).sign(version, read_signer(read_settings()))
    typer.echo(f"version {version} signed by {signature.key}")


@engine.command()
def verify(version: Version, model: OfModel = "advection", runtime: OnRuntime = "openvino") -> None:
    """Prove a signed version on this machine again, as after a change of driver."""
    from engines.lifecycle import verify as verify_plan
    from nowcast.clock import wall

    verified, records = verify_plan(_shelf(model, runtime), version, wall())
    _show(records)
    typer.echo(f"version {verified.manifest.version}: signature, host, digests and parity are in order")


@engine.command()
def promote(version: Version, model: OfModel = "advection", runtime: OnRuntime = "openvino") -> None:
    """Let a signed version serve, once it has been proven here; the worker takes it up at its next cycle."""
    from engines.lifecycle import promote as promote_plan
    from nowcast.clock import wall
    from nowcast.store.store import Store

    shelf, store = _shelf(model, runtime), Store.open(read_settings().url)  # before it serves: a store may be away
    _record(store, shelf, version, promote_plan(shelf, version, wall()))
    typer.echo(f"version {version} serves from the next cycle")


@engine.command()
def rollback(model: OfModel = "advection", runtime: OnRuntime = "openvino") -> None:
    """Let the previous version serve again; the one left cannot come back."""
    from engines.lifecycle import rollback as roll_back
    from nowcast.clock import wall

    verified = roll_back(_shelf(model, runtime), wall())
    typer.echo(f"version {verified.manifest.version} serves from the next cycle")


@engine.command()
def check(
    model: Model = "advection",
    runtime: Annotated[str, typer.Option(help="Runtime to check; see `nowcast engine runtimes`.")] = "openvino",
) -> None:
    """Hold the plan that ships against the PyTorch reference on the golden cases; exit status 1 when it fails."""
    from engines.lifecycle import hold
    from engines.plan import shipped_plan
    from engines.runtimes import runtime_named
    from nowcast.clock import wall

    records = hold(shipped_plan(model), runtime_named(runtime), wall())
    _show(records)
    raise typer.Exit(0 if all(r.passed for r in records) else 1)


def _shelf(model: str, runtime: str) -> "Shelf":
    from engines.keys import read_keyring
    from engines.planstore import Shelf
    from engines.runtimes import runtime_named

    settings = read_settings()
    return Shelf(settings.plans_dir, model, runtime_named(runtime).name, read_keyring(settings))


def _record(store: "Store", shelf: "Shelf", version: int, records: list[CheckRecord]) -> None:
    """Write the results of the gate into the database."""
    from nowcast.run import PlanRecord

    manifest = shelf.manifest(version)
    versions = {**manifest.built_with, manifest.host.runtime: manifest.host.version}
    store.add_plan(PlanRecord(manifest.files["plan.bin"], shelf.model, shelf.runtime, manifest.precision, versions))
    store.add_checks(records)


def _show(records: list[CheckRecord]) -> None:
    """Print per product the worst of its golden cases, and each case that failed."""
    of = records[0]
    title = f"{of.runtime} {of.precision}, plan {of.plan[:12]}"
    table = Table("product", "least PSNR dB", "wet", "CSI difference", "passed", title=title)
    for product in dict.fromkeys(r.product for r in records):
        mine = [r for r in records if r.product == product]
        table.add_row(product, *_told(mine), f"{sum(r.passed for r in mine)} of {len(mine)}")
    for r in records:
        if not r.passed:
            table.add_row(f"{r.product}, {r.case}", *_told([r]), "NO")
    Console().print(table)


def _told(records: list[CheckRecord]) -> tuple[str, str, str]:
    """Return the worst of some checks."""
    decibel = [[v for r in records if (v := getattr(r, name)) is not None] for name in ("psnr_all", "psnr_wet")]
    areas = [r.csi_difference for r in records if r.csi_difference is not None]
    everywhere, wet = (f"{min(values):.1f}" if values else "–" for values in decibel)
    return everywhere, wet, f"{max(areas):.4f}" if areas else "–"
