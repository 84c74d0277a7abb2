"""The `inductor` rung: the PyTorch model in FP16, compiled for one shape and captured in a CUDA graph with its copies.

For NVIDIA GPUs without a TensorRT library (as the H100 with TensorRT-RTX). One launch does everything: inputs up, the
model group of leads after group, and each group's outputs down on a second stream while the next is computed. Inputs
lie at fixed addresses; all engines of the process share one graph pool as their scratch.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

import structlog
import torch
import torch.utils.dlpack
from cuda.core import Buffer

from engines.compiled import Compiled
from engines.device import Resident, the_card
from engines.memory import scratch
from engines.plan import GRAPH, Plan
from engines.reference import build_model, spec_of
from engines.shapes import Shape, input_shapes
from engines.shared import Shared
from nowcast.errors import EngineError
from nowcast.models.spec import Inputs, Outputs

log = structlog.get_logger()

WARM_UPS = 3
BESIDE = 4
"""Shapes compiled at once."""


@cache
def _pool() -> Any:  # noqa: ANN401  torch names no type for it
    """Return the graph pool of this process: captures that never run at once share its memory."""
    return torch.cuda.graph_pool_handle()


class InductorEngine:
    """A model compiled for one shape, see `engines.protocol.Engine` and `Replays`.

    The functions come from the plan where it is one built for this runtime and holds the shape. Else they are compiled
    here, of the project's own model, which takes minutes.
    """

    runtime = "inductor"

    def __init__(self, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> None:
        if batch != 1:
            raise EngineError(f"inductor takes one region at a time, not {batch}; docs/runtimes.md says why")
        self.spec = plan.spec
        self.versions = self.library_versions()
        self._card = the_card()
        shape = (plan.spec, batch, height, width)
        need = scratch("inductor", plan.spec.members, height, width)
        self._need = Resident.need(f"{plan.spec.name} {batch}×{height}×{width}", *shape, need, 0)
        self._card.reserve(self._need)
        self._memory = Resident(self._card, *shape)
        self._stream = torch.cuda.ExternalStream(int(self._card.stream.handle))  # type: ignore[no-untyped-call]
        self._copies = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._inputs = tuple(_tensor(*there) for there in self._memory.input_buffers())
        self._graph: torch.cuda.CUDAGraph | None = None
        name = plan.spec.name
        model = Compiled(name) if plan.file == GRAPH else Compiled.of_file(name, plan.graph())
        with torch.no_grad(), torch.cuda.stream(self._stream):
            for tensor in self._inputs:
                tensor.zero_()
            self._parts = model.parts(height, width, torch.device("cuda"))
            for _ in range(WARM_UPS):
                list(self._parts(*self._inputs))
            self._stream.synchronize()
            torch.cuda.empty_cache()

    @staticmethod
    def library_versions() -> dict[str, str]:
        """Return the versions of torch and CUDA."""
        return {"torch": torch.__version__, "cuda": str(torch.version.cuda)}

    def bind(self, shared: Shared) -> None:
        """Record one run from and to this host memory; see `engines.protocol.Replays`.

        Outputs stay in the shared pool until they are copied: another engine's run overwrites them after that.
        """
        self._memory.bind(shared)
        graph, kept = torch.cuda.CUDAGraph(), []
        with torch.no_grad(), torch.cuda.graph(graph, pool=_pool(), stream=self._stream):
            self._memory.upload()
            for first, outputs in self._parts(*self._inputs):
                kept.append([made.contiguous() for made in outputs])
                self._copies.wait_stream(self._stream)
                addresses = [made.data_ptr() for made in kept[-1]]
                self._memory.download_leads(first, outputs[0].shape[1], addresses, self._copies.cuda_stream)
            self._stream.wait_stream(self._copies)
        self._graph = graph

    def replay(self) -> None:
        """See `engines.protocol.Replays`."""
        if self._graph is None:
            raise EngineError("no host memory is bound")
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._card.stream.sync()

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        if self._graph is None:
            self.bind(Shared(*self._memory.shape))
        self._memory.host.fill(inputs)
        self.replay()
        return dict(self._memory.host.outputs)

    def close(self) -> None:
        """Give its memory back."""
        self._graph = None
        self._memory.close()
        self._card.release(self._need)


def build(name: str, shapes: Sequence[tuple[int, int]]) -> bytes:
    """Compile a model for regions of these shapes on this machine's GPU, minutes each; return the plan's bytes.

    Shapes are compiled beside each other, each in a process of its own: what it does is mostly one thread's work.
    """
    model = Compiled(name)
    with ProcessPoolExecutor(min(len(shapes), BESIDE), get_context("spawn")) as processes:
        for shape, packages in zip(shapes, processes.map(partial(_packages, name), shapes), strict=True):
            model.saved[shape] = packages
    return model.pack()


def _packages(name: str, shape: tuple[int, int]) -> list[bytes]:
    """Compile one shape."""
    log.info("compiling", model=name, height=shape[0], width=shape[1])
    model, given = Compiled(name), input_shapes(spec_of(build_model(name)), 1, *shape)
    model.add(tuple(torch.zeros(s, device="cuda") for s in given.values()))
    return model.saved[shape]


def _tensor(buffer: Buffer, shape: Shape) -> torch.Tensor:
    """Return a buffer as a tensor."""
    return torch.utils.dlpack.from_dlpack(buffer).view(torch.float32).view(shape)
