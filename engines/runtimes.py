"""The runtimes there are: which of them this machine has, what is missing and how to get it. Found, not configured."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from engines.gpu import Gpu, find_gpu
from engines.ladder import Rung
from engines.plan import GRAPH, Plan, shipped_plan
from engines.process import Limits
from nowcast.errors import EngineError, RuntimeMissing

RTX_CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 runs on; it refuses 9.0 (H100, H200)."""


@dataclass(frozen=True)
class Runtime:
    """Something that runs plans.

    Attributes
    ----------
    rung
        Step of the ladder that it serves.
    factory
        See `engines.order.Order`.
    modules
        Packages that must all be importable.
    distribution
        Whose version counts.
    remedy
        How to get it.
    capabilities
        Compute capabilities that it runs on; empty for all, None when it needs no GPU.
    precision
        In which it computes what a plan that ships says; a promoted plan has its own.
    """

    name: str
    rung: str
    factory: str
    modules: tuple[str, ...]
    distribution: str
    remedy: str
    limits: Limits
    capabilities: tuple[str, ...] | None = None
    precision: str = "fp32"

    @property
    def version(self) -> str | None:
        """The installed version; None when a package is missing."""
        return importlib.metadata.version(self.distribution) if all(map(_importable, self.modules)) else None

    def missing(self, gpu: Gpu | None) -> str:
        """Return what keeps it from running here, and the remedy; empty when nothing does."""
        if self.version is None:
            return f"not installed: {self.remedy}"
        if self.capabilities is None:
            return ""
        if gpu is None:
            return (
                "no NVIDIA GPU found; nothing is needed to build by tensorrt_rtx"
                if self.name == "tensorrt_rtx"
                else "no NVIDIA GPU found"
            )
        if self.capabilities and gpu.capability not in self.capabilities:
            return f"{gpu.name} has compute capability {gpu.capability}, it runs on {', '.join(self.capabilities)}"
        return ""

    def require(self, gpu: Gpu | None) -> None:
        """Raise `RuntimeMissing`, with the remedy, when it cannot run here."""
        if missing := self.missing(gpu):
            raise RuntimeMissing(f"{self.name}: {missing}")


def _importable(module: str) -> bool:
    parent, _, _ = module.rpartition(".")
    return (not parent or _importable(parent)) and importlib.util.find_spec(module) is not None


_GPU_LIMITS = Limits(load=120, wait=20, call=10)

RUNTIMES = (
    Runtime(
        "tensorrt", "tensorrt", "engines.context:tensorrt",
        ("tensorrt", "tensorrt_libs", "cuda.core"),
        "tensorrt-cu13-bindings",
        "pip install 'nowcast[tensorrt]' (the libraries come from NVIDIA's own index)", _GPU_LIMITS, (),
    ),
    Runtime(
        "tensorrt_lean", "tensorrt", "engines.context:tensorrt_lean",
        ("tensorrt_lean_bindings", "tensorrt_lean_libs", "cuda.core"),
        "tensorrt-lean-cu13-bindings", "pip install 'nowcast[lean]'", _GPU_LIMITS, (),
    ),
    Runtime(
        "tensorrt_rtx", "tensorrt", "engines.context:tensorrt_rtx",
        ("tensorrt_rtx_bindings", "tensorrt_rtx_libs", "cuda.core"),
        "tensorrt-rtx-cu13-bindings", "pip install 'nowcast[rtx]'", _GPU_LIMITS, RTX_CAPABILITIES,
    ),
    Runtime(
        "inductor", "inductor", "engines.inductor:InductorEngine", ("torch", "triton", "cuda.core"), "torch",
        "pip install torch and 'nowcast[gpu]' on a machine with an NVIDIA GPU",
        Limits(load=900, wait=2, call=10), (), "fp16",
    ),
    Runtime(
        "openvino", "openvino", "engines.openvino:OpenVinoEngine", ("openvino",), "openvino",
        "install nowcast again", Limits(load=60, wait=60, call=60),
    ),
    Runtime(
        "torch", "reference", "engines.reference:torch_engine", ("torch",), "torch",
        "pip install 'nowcast[reference]'", Limits(load=60, wait=60, call=120),
    ),
)  # fmt: skip
BY_NAME = {runtime.name: runtime for runtime in RUNTIMES}
BY_FACTORY = {runtime.factory: runtime for runtime in RUNTIMES}


def runtime_named(name: str) -> Runtime:
    """Return a runtime, or raise `EngineError` when there is none of that name."""
    if name not in BY_NAME:
        raise EngineError(f"no runtime {name!r}; there are: {', '.join(BY_NAME)}")
    return BY_NAME[name]


Promoted = Callable[[str], Iterator[Rung]]
"""Rungs of a model's promoted plans, best first."""


def no_plans(model: str) -> Iterator[Rung]:
    """Return no promoted plan."""
    return iter(())


def make_rungs(promoted: Promoted = no_plans) -> Callable[[str], list[Rung]]:
    """Return what gives the rungs of a model on this machine, best first."""
    gpu = find_gpu()
    inductor, openvino = BY_NAME["inductor"], BY_NAME["openvino"]

    def rungs(model: str) -> list[Rung]:
        plan = shipped_plan(model)
        found = list(promoted(model))
        if not inductor.missing(gpu):
            found.append(rung_of(inductor, plan))
        return [*found, rung_of(openvino, plan), extrapolation()]

    return rungs


def rung_of(runtime: Runtime, plan: Plan, precision: str = "", name: str = "") -> Rung:
    """Return the rung of a plan on a runtime, in the runtime's own precision unless the plan has one."""
    limits = runtime.limits
    if plan.file != GRAPH:  # nothing left to compile: a cycle waits for it
        limits = replace(limits, wait=max(limits.wait, _GPU_LIMITS.wait))
    return Rung(name or runtime.rung, runtime.factory, plan, limits, precision or runtime.precision)


def extrapolation() -> Rung:
    """Return the last rung."""
    factory = "engines.extrapolation:ExtrapolationEngine"
    return Rung("extrapolation", factory, shipped_plan("advection"), isolated=False)
