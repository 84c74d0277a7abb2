"""Persistence: the newest frame stays where it is. The least that a forecast has to beat."""

from torch import Tensor, nn

from nowcast.models.spec import ModelSpec


class Persistence(nn.Module):
    """`(stack, mask, motion)` → (`rain_mean`, `coverage`), shapes as in `nowcast.models.spec`."""

    spec = ModelSpec("persistence", ("rain_mean",))

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rate in model space and the coverage, each (B, K, H, W)."""
        seen = mask[:, -1:] + 0 * motion.mean((1, 2, 3))[:, None, None, None]
        size = (-1, self.spec.leads, -1, -1)
        return (stack[:, -1:] * seen).expand(size), seen.expand(size)
