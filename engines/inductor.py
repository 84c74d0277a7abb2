"""The `inductor` rung: the PyTorch model in FP16, compiled for one shape and captured in a CUDA graph.

For NVIDIA GPUs without a TensorRT library (as the H100 with TensorRT-RTX). Built once, then only replayed: inputs and
outputs lie at fixed addresses, all engines of the process share one graph pool as their scratch.
"""

from functools import cache
from typing import Any

import torch
import torch.utils.dlpack
from cuda.core import Buffer
from torch import nn

from engines.device import Resident, the_card
from engines.half import Half
from engines.memory import SCRATCH_PER_PIXEL
from engines.plan import Plan
from engines.reference import build_model
from engines.shapes import Shape
from engines.shared import Shared
from nowcast.models.spec import Inputs, ModelSpec, Outputs

WARM_UPS = 3


@cache
def _pool() -> Any:  # noqa: ANN401  torch names no type for it
    """Return the graph pool of this process: captures that never run at once share its memory."""
    return torch.cuda.graph_pool_handle()


class InductorEngine:
    """The plan's model compiled for one shape; see `engines.protocol.Engine` and `Replays`."""

    runtime = "inductor"

    def __init__(self, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> None:
        self.spec = plan.spec
        self.versions = self.library_versions()
        self._card = the_card()
        shape = (plan.spec, batch, height, width)
        scratch = SCRATCH_PER_PIXEL["inductor"] * plan.spec.members * batch * height * width
        self._need = Resident.need(f"{plan.spec.name} {batch}×{height}×{width}", *shape, scratch, 0)
        self._card.reserve(self._need)
        self._memory = Resident(self._card, *shape)
        self._stream = torch.cuda.ExternalStream(int(self._card.stream.handle))  # type: ignore[no-untyped-call]
        self._graph = self._captured(plan.spec)

    def _captured(self, spec: ModelSpec) -> torch.cuda.CUDAGraph:
        """Compile, warm up, and record one run from the fixed inputs; its outputs stay where the graph leaves them.

        That memory belongs to the shared pool: another engine's run overwrites it, after the outputs were downloaded.
        """
        inputs = [_tensor(*there) for there in self._memory.input_buffers()]
        model = compiled(Half(build_model(spec.name).cuda()).eval())
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for tensor in inputs:
                tensor.zero_()
            for _ in range(WARM_UPS):
                model(*inputs)
            self._stream.synchronize()
            torch.cuda.empty_cache()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=_pool(), stream=self._stream):
                outputs = [made.contiguous() for made in model(*inputs)]
            self._memory.outputs_at([made.data_ptr() for made in outputs])
        return graph

    @staticmethod
    def library_versions() -> dict[str, str]:
        """Return the versions of torch and CUDA."""
        return {"torch": torch.__version__, "cuda": str(torch.version.cuda)}

    def bind(self, shared: Shared) -> None:
        """See `engines.protocol.Replays`."""
        self._memory.bind(shared)

    def replay(self) -> None:
        """See `engines.protocol.Replays`."""
        self._memory.upload()
        with torch.cuda.stream(self._stream):
            self._graph.replay()
        self._memory.download()
        self._card.stream.sync()

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        self._memory.host.fill(inputs)
        self.replay()
        return dict(self._memory.host.outputs)

    def close(self) -> None:
        """Give its memory back."""
        self._graph.reset()
        self._memory.close()
        self._card.release(self._need)


def compiled(model: nn.Module) -> nn.Module:
    """Compile a model in place: its parts that say `compiled_alone`, as one lead's step; else the whole.

    A step compiled once and run 24 times takes a twenty-fourth of the time to compile; the graph captures all of it.
    """
    parts = [part for part in model.modules() if getattr(part, "compiled_alone", False)] or [model]
    for part in parts:
        part.compile(fullgraph=True, dynamic=False)
    return model


def _tensor(buffer: Buffer, shape: Shape) -> torch.Tensor:
    """Return a buffer as a tensor."""
    return torch.utils.dlpack.from_dlpack(buffer).view(torch.float32).view(shape)
