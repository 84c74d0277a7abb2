"""Whether the engines of all configured regions fit on the GPU, counted from shapes before anything is loaded.

Each model has a process of its own (`engines.ladder`), in which its engines share one scratch; regions of one model and
padded shape share an engine. Counted is the best rung of each model that runs on the GPU: a worse one takes its place.
"""

from collections.abc import Callable

from engines.gpu import Gpu
from engines.ladder import Rung
from engines.memory import SCRATCH_PER_PIXEL, Need, require_all_fit, scratch
from engines.runtimes import BY_FACTORY
from engines.shapes import float_bytes, input_shapes, output_shapes
from jobs.tiles import engine_shape
from nowcast.region import Regions


def require_regions_fit(regions: Regions, rungs: Callable[[str], list[Rung]], gpu: Gpu | None) -> list[list[Need]]:
    """Return what each model's process needs on the GPU, or raise `DoesNotFit` with the table; nothing without a GPU.

    Parameters
    ----------
    rungs
        The rungs of a model, best first.
    """
    if gpu is None:
        return []
    needs = [n for model in dict.fromkeys(r.model for r in regions) if (n := _needs(model, regions, rungs(model)))]
    require_all_fit(needs, gpu.memory)
    return needs


def _needs(model: str, regions: Regions, rungs: list[Rung]) -> list[Need]:
    members = rungs[0].plan.spec.members
    shapes = dict.fromkeys(engine_shape(region, members) for region in regions if region.model == model)
    best = next((rung for rung in rungs if not rung.refused and _on_gpu(rung)), None)
    return [_need(best, *shape) for shape in shapes] if best else []


def _on_gpu(rung: Rung) -> str:
    """Return the rung whose scratch counts; empty for one that needs no GPU."""
    runtime = BY_FACTORY.get(rung.factory)
    return runtime.rung if runtime and runtime.rung in SCRATCH_PER_PIXEL else ""


def _need(rung: Rung, height: int, width: int) -> Need:
    spec = rung.plan.spec
    resident = sum(float_bytes(shapes(spec, 1, height, width)) for shapes in (input_shapes, output_shapes))
    name = f"{spec.name} 1×{height}×{width}, {rung.name}"
    return Need(name, resident + len(rung.plan.graph()), scratch(_on_gpu(rung), spec.members, height, width))
