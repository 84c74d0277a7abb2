"""The `tensorrt` rung, in its three flavours of one API: the full library, the lean runtime, and TensorRT for RTX.

Here: finding and building; `engines.context` runs what was built. Building needs the full library and a GPU, or
TensorRT-RTX and none at all. Networks are strongly typed: precision is what the graph says.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import structlog

from engines.golden import HEIGHT, WIDTH
from engines.shapes import Shape, input_shapes
from nowcast.errors import EngineError, RuntimeMissing
from nowcast.models.spec import ModelSpec

log = structlog.get_logger()

WORKSPACE = 8 * 2**30
Handle = Any
"""An object of the bindings, which have no types."""


@dataclass(frozen=True)
class Flavour:
    """One of the libraries with this API."""

    name: str
    libraries: str
    bindings: str

    def load(self) -> ModuleType:
        """Return the bindings; the libraries must be imported before."""
        try:
            importlib.import_module(self.libraries)
            return importlib.import_module(self.bindings)
        except ImportError as error:
            raise RuntimeMissing(f"{self.name}: {error}; `nowcast engine runtimes` says how to get it") from error


FLAVOURS = {
    f.name: f
    for f in (
        Flavour("tensorrt", "tensorrt_libs", "tensorrt_bindings"),
        Flavour("tensorrt_lean", "tensorrt_lean_libs", "tensorrt_lean_bindings"),
        Flavour("tensorrt_rtx", "tensorrt_rtx_libs", "tensorrt_rtx_bindings"),
    )
}


@dataclass(frozen=True)
class Bucket:
    """A batch size, and the shapes (H, W) of the regions in it: one optimization profile."""

    batch: int
    shapes: tuple[tuple[int, int], ...]

    def ranges(self, spec: ModelSpec) -> Iterator[tuple[str, Shape, Shape, Shape]]:
        """Yield each input's name and its smallest, usual and largest shape; the golden cases are always within."""
        every = [(HEIGHT, WIDTH), *self.shapes]
        heights, widths = zip(*every, strict=True)
        usual = max(self.shapes or every, key=lambda s: s[0] * s[1])
        least = input_shapes(spec, 1, min(heights), min(widths))
        most = input_shapes(spec, self.batch, max(heights), max(widths))
        common = input_shapes(spec, self.batch, *usual)
        for name, small in least.items():
            yield name, small, common[name], most[name]


def logger_of(trt: ModuleType) -> Handle:
    """Return the library's logger, which writes its warnings and errors into our log."""
    worst = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR, trt.ILogger.Severity.WARNING)

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        """See `ILogger`."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.told: list[str] = []

        def log(self, severity: Handle, message: str) -> None:
            """Keep and log what matters."""
            if severity in worst:
                self.told.append(message)
                log.warning("tensorrt", message=message)

    return Logger()


def build(flavour: str, graph: bytes, spec: ModelSpec, buckets: tuple[Bucket, ...], sm: str = "") -> bytes:
    """Compile an exported graph and return the plan's bytes.

    Parameters
    ----------
    sm
        Architecture to build for (`sm89`), where the flavour can build for another than this machine's; else empty.

    Raises
    ------
    EngineError
        With everything that parser and builder said.
    """
    trt = FLAVOURS[flavour].load()
    logger = logger_of(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        told = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"{flavour} cannot parse the graph ({told}); export it again")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if sm:
        _target(trt, config, sm)
    if flavour == "tensorrt":
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # so that the plan carries no host code
    for bucket in buckets:
        profile = builder.create_optimization_profile()
        for name, *shapes in bucket.ranges(spec):
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{flavour} cannot build the plan ({'; '.join(logger.told[-3:])}); see the log")
    return bytes(plan)


def _target(trt: ModuleType, config: Handle, sm: str) -> None:
    capability = getattr(trt.ComputeCapability, sm.upper(), None)
    if capability is None:
        known = ", ".join(c.lower() for c in trt.ComputeCapability.__members__ if c.startswith("SM"))
        raise EngineError(f"TensorRT-RTX builds for {known}, not for {sm}; use another runtime there")
    config.num_compute_capabilities = 1
    if not config.set_compute_capability(capability, 0):
        raise EngineError(f"TensorRT-RTX does not take {sm} as its target")
