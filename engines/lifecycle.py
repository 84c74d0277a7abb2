"""From an exported model to the plan that serves: build, prove in a disposable process, sign, promote, roll back."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from engines.golden import HEIGHT, WIDTH
from engines.gpu import Gpu, find_gpu
from engines.keys import Keyring
from engines.ladder import Rung
from engines.manifest import Host, Manifest
from engines.order import Order
from engines.pace import require_faster
from engines.parity import check_opened, require_parity
from engines.plan import ABOUT, GOLDEN, SHIPPED, Plan, shipped_plan
from engines.planstore import PLAN, Shelf, Verified, shelves
from engines.process import EngineProcess, Limits
from engines.runtimes import BY_NAME, Runtime, rung_of
from engines.tensorrt import Bucket
from engines.tensorrt import build as build_tensorrt
from nowcast.disk import make_folder, writing
from nowcast.errors import EngineError, PlanRefused
from nowcast.run import CheckRecord

log = structlog.get_logger()

LIFE = timedelta(days=180)
REFUSED_FOR = timedelta(minutes=1)
"""How long a refusal holds before the plan is verified anew: its driver may be accepted, its manifest signed again."""
BUILDERS = ("tensorrt", "tensorrt_rtx")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Attributes
    ----------
    graph
        Of a quantized network (`int8`), made by `scripts/quantize.py`; else the project's own.
    gpu, sm
        GPU to build for, where it is not this machine's (TensorRT for RTX only); else empty.
    """

    model: str
    runtime: str
    precision: str = "fp32"
    buckets: tuple[Bucket, ...] = (Bucket(1, ()),)
    graph: Path | None = None
    gpu: str = ""
    sm: str = ""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise EngineError(f"precision {self.precision!r}: one of {', '.join(PRECISIONS)}")
        if self.runtime not in (known := (*BUILDERS, "inductor", "openvino")):
            raise EngineError(f"runtime {self.runtime!r} has no plans to build; one of {', '.join(known)}")
        if self.runtime == "inductor" and self.precision != "fp16":
            raise EngineError(f"inductor computes in fp16, not {self.precision}; take --precision fp16")
        if self.precision == "int8" and self.graph is None:
            raise EngineError("int8 needs --graph, a quantized network; `python scripts/quantize.py` makes one")


def host_of(runtime: Runtime) -> Host:
    """Return this machine as a plan of `runtime` sees it."""
    return Host.of(runtime.name, runtime.version or "", None if runtime.capabilities is None else find_gpu())


def build(shelf: Shelf, recipe: Recipe, now: datetime) -> tuple[Manifest, str]:
    """Build a version and prove it where it can run here; return its manifest and why it was not executed, if so."""
    runtime, shipped = BY_NAME[recipe.runtime], shipped_plan(recipe.model)
    data, graph = _compiled(recipe, shipped)
    here = host_of(runtime)
    host = replace(here, gpu=recipe.gpu, sm=recipe.sm, driver="") if recipe.sm else here
    files = {PLAN: data, GOLDEN: shipped.golden()}
    manifest = Manifest(
        spec=shipped.spec,
        version=shelf.next_version(),
        precision=recipe.precision,
        host=host,
        files={name: _digest(content) for name, content in files.items()},
        created=now,
        expires=now + LIFE,
        made_of={"graph": _digest(graph)},
        built_with=shipped.versions,
    )
    missing = runtime.missing(find_gpu()) or ("" if host == here else f"built for {host.gpu or host.sm}")
    if not missing:
        manifest = replace(manifest, scores=_scores(shelf, manifest, files, now))
    shelf.add(manifest, files)
    return manifest, missing


def _compiled(recipe: Recipe, shipped: Plan) -> tuple[bytes, bytes]:
    """Return the plan and the graph that it is of; inductor compiles the model itself, of which one ships."""
    if recipe.runtime == "inductor":
        if missing := BY_NAME["inductor"].missing(find_gpu()):
            raise EngineError(f"inductor compiles on the machine that it serves on: {missing}")
        from engines.inductor import build as build_inductor

        shapes = {(HEIGHT, WIDTH), *(shape for bucket in recipe.buckets for shape in bucket.shapes)}
        return build_inductor(recipe.model, sorted(shapes)), shipped.graph()
    graph = _graph(recipe, shipped)
    if recipe.runtime not in BUILDERS:
        return graph, graph
    return build_tensorrt(recipe.runtime, graph, shipped.spec, recipe.buckets, recipe.sm), graph


def _graph(recipe: Recipe, shipped: Plan) -> bytes:
    if recipe.graph:
        return _read(recipe.graph)
    if recipe.precision == "fp32":
        return shipped.graph()
    BY_NAME["torch"].require(None)
    from engines.export import export_graph

    return export_graph(recipe.model, recipe.precision)


def _read(graph: Path) -> bytes:
    try:
        return graph.read_bytes()
    except OSError as error:
        raise EngineError(f"--graph {graph}: {error.strerror}; `python scripts/quantize.py` makes one") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _scores(shelf: Shelf, manifest: Manifest, files: dict[str, bytes], now: datetime) -> dict[str, float]:
    """Prove a plan that is not on the shelf yet, and return its least PSNR per golden case."""
    make_folder(shelf.folder)
    with writing(shelf.folder), tempfile.TemporaryDirectory(dir=shelf.folder) as name:
        for file, data in files.items():
            (Path(name) / file).write_bytes(data)
        plan = Plan(Path(name), manifest.spec, manifest.files[PLAN], manifest.files[GOLDEN], {}, PLAN)
        return worst(prove(plan, BY_NAME[manifest.host.runtime], now, manifest.precision))


def worst(records: list[CheckRecord]) -> dict[str, float]:
    """Return the least PSNR per case."""
    scores: dict[str, float] = {}
    for r in records:
        for value in (r.psnr_all, r.psnr_wet):
            if value is not None:
                scores[r.case] = min(value, scores.get(r.case, value))
    return scores


def prove(plan: Plan, runtime: Runtime, now: datetime, precision: str = "") -> list[CheckRecord]:
    """Return the records of a plan that passes the gate in a process that is thrown away; a crash there is a refusal.

    Raises
    ------
    EngineError
        When it cannot be loaded, crashes or hangs.
    ParityFailed
        When it differs from the reference.
    """
    records = hold(plan, runtime, now, precision)
    require_parity(records)
    return records


def hold(plan: Plan, runtime: Runtime, now: datetime, precision: str = "") -> list[CheckRecord]:
    """Return how a plan does on the golden cases in a process that is thrown away, passed or not."""
    runtime.require(find_gpu())
    process = EngineProcess()
    try:
        limits = Limits(load=runtime.limits.load, wait=runtime.limits.load, call=runtime.limits.call)
        engine = process.open(Order(runtime.factory, plan, HEIGHT, WIDTH), limits)
        records = check_opened(plan, engine, now, precision or runtime.precision)
    finally:
        process.close()
    return records


def verify(shelf: Shelf, version: int, now: datetime) -> tuple[Verified, list[CheckRecord]]:
    """Prove a signed version on this machine, and accept this machine's driver for it."""
    runtime = BY_NAME[shelf.runtime]
    here = host_of(runtime)
    verified = shelf.verify(version, replace(here, driver=shelf.manifest(version).host.driver), now)
    records = prove(verified.plan, runtime, now, verified.manifest.precision)
    shelf.accept_driver(verified.digest, here.driver)
    return verified, records


def promote(shelf: Shelf, version: int, now: datetime) -> list[CheckRecord]:
    """Let a signed version serve: newer than all before, for this host exactly, and proven here and now.

    One in INT8 must also be faster here than what it would replace.
    """
    shelf.require_new(version)
    runtime = BY_NAME[shelf.runtime]
    verified = shelf.verify(version, host_of(runtime), now)
    records = prove(verified.plan, runtime, now, verified.manifest.precision)
    if verified.manifest.precision == "int8":
        require_faster(verified.plan, _exact(shelf, now), runtime)
    shelf.promote(verified)
    return records


def _exact(shelf: Shelf, now: datetime) -> Plan:
    """Return the plan of another precision that serves on a shelf's runtime, or would without the shelf."""
    for which in ("current", "previous"):
        found = shelf.promoted(which, host_of(BY_NAME[shelf.runtime]), now)
        if found and found.manifest.precision != "int8":
            return found.plan
    if shelf.runtime != "openvino":
        raise PlanRefused(f"int8 on {shelf.runtime} is held against fp16 or fp32; build, sign and promote that first")
    return shipped_plan(shelf.model)


def rollback(shelf: Shelf, now: datetime) -> Verified:
    """Let the previous version serve again, once it has been verified as for any load."""
    verified = shelf.promoted("previous", host_of(BY_NAME[shelf.runtime]), now)
    if verified is None:
        raise PlanRefused(f"{shelf.model} on {shelf.runtime}: no previous version to go back to")
    shelf.rollback()
    return verified


@dataclass
class PromotedPlans:
    """The rungs of promoted plans, verified when their state changes; an expiry does not stop what serves already.

    What was refused is verified again after `REFUSED_FOR`.
    """

    root: Path
    keys: Keyring
    now: Callable[[], datetime]
    _known: dict[tuple[str, str, object, str], tuple[Rung | None, datetime]] = field(default_factory=dict)
    _told: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def __call__(self, model: str) -> Iterator[Rung]:
        """Yield the current plans of a model, then the previous ones; a refused one says so on its rung."""
        mine = [s for s in shelves(self.root, self.keys) if s.model == model and s.runtime in BY_NAME]
        order = list(BY_NAME)
        mine.sort(key=lambda s: order.index(s.runtime))
        for which in ("current", "previous"):
            for shelf in mine:
                rung = self._rung(shelf, which)
                if rung:
                    yield rung

    def _rung(self, shelf: Shelf, which: str) -> Rung | None:
        try:
            key = (shelf.model, shelf.runtime, getattr(shelf.state(), which), which)
        except PlanRefused as error:
            return self._refused(shelf, which, str(error))
        now = self.now()
        rung, since = self._known.get(key, (None, None))
        if since is None or (rung and rung.refused and not timedelta(0) <= now - since < REFUSED_FOR):
            rung = self._verified(shelf, which)
            self._known[key] = rung, now
        return rung

    def _verified(self, shelf: Shelf, which: str) -> Rung | None:
        runtime, gpu = BY_NAME[shelf.runtime], find_gpu()
        try:
            verified = shelf.promoted(which, host_of(runtime), self.now())
            if verified and (missing := _lacks(runtime, gpu)):
                raise PlanRefused(missing)
        except PlanRefused as error:
            return self._refused(shelf, which, str(error))
        if verified is None:
            return None
        name = runtime.rung if which == "current" else "previous"
        return rung_of(runtime, verified.plan, verified.manifest.precision, name)

    def _refused(self, shelf: Shelf, which: str, reason: str) -> Rung:
        about = shelf.model, shelf.runtime, which
        if self._told.get(about) != reason:  # once, not every minute for as long as it lasts
            log.error("plan refused", model=shelf.model, runtime=shelf.runtime, which=which, reason=reason)
            self._told[about] = reason
        name = BY_NAME[shelf.runtime].rung if which == "current" else "previous"
        plan = shipped_plan(shelf.model if (SHIPPED / shelf.model / ABOUT).exists() else "advection")  # never loaded
        return Rung(name, BY_NAME[shelf.runtime].factory, plan, refused=reason)


def _lacks(runtime: Runtime, gpu: Gpu | None) -> str:
    return f"{runtime.name}: {told}" if (told := runtime.missing(gpu)) else ""
