"""FP16 written in torch: halves for what is computed and stored, FP32 for motion, displacements, grids and sampling.

The models keep their coordinates in FP32 themselves (`nowcast.models.advection`); this converts weights, rain, noise.
TensorRT 11 has only strongly typed networks: what the graph says is what runs.
"""

import torch
from torch import Tensor, nn

KEPT = ("base_grid", "displacement", "grid")
"""Buffers with such a name are coordinates."""


class Half(nn.Module):
    """A model in FP16 with FP32 inputs and outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        kept = {name: b for name, b in model.named_buffers() if any(k in name for k in KEPT)}
        self.model = model.half()
        for name, buffer in kept.items():
            owner, _, last = name.rpartition(".")
            setattr(self.model.get_submodule(owner), last, buffer.float())

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what the model returns, as FP32."""
        rest = () if noise is None else (noise.half(),)
        results = self.model(stack.half(), mask.half(), motion, *rest)
        return tuple(result.to(torch.float32) for result in results)
