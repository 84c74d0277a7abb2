"""FP16 written in torch: halves for what is computed and stored, FP32 for motion, displacements, grids and sampling.

The models keep their coordinates in FP32 themselves (`nowcast.models.advection`); this converts weights, rain, noise.
TensorRT 11 has only strongly typed networks: what the graph says is what runs.
"""

from torch import Tensor, nn

KEPT = ("base_grid", "displacement", "grid", "compass", "lead_steps")
"""Buffers with such a name are coordinates."""


def to_half(model: nn.Module) -> nn.Module:
    """Convert a model in place, but for its coordinates, and return it."""
    kept = {name: b for name, b in model.named_buffers() if any(k in name for k in KEPT)}
    model.half()
    for name, buffer in kept.items():
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, buffer.float())
    return model


class Half(nn.Module):
    """A model in FP16 with FP32 inputs and outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = to_half(model)

    def forward(
        self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor | None = None, pixel: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return what the model returns, as FP32."""
        rest = [] if noise is None else [noise.half()]
        rest += [] if pixel is None else [pixel]
        results = self.model(stack.half(), mask.half(), motion, *rest)
        return tuple(result.float() for result in results)
