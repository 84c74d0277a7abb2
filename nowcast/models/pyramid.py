"""A Laplacian pyramid of convolutions that knows what was seen, and exactly undoes itself (Burt and Adelson, 1983).

Level l has 1/2^l of the resolution. Averages are weighted by what was seen, at the domain's edge as well, so nothing
has to be padded and an unseen pixel takes the value of its surroundings: a radar's edge makes no front.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 6
"""1/1 … 1/32 of the resolution: bands from 2 to 64 pixels, and the rest."""
EMPTY = 1e-4
"""Weight of the fallback value in an average: it alone decides where nothing is seen anywhere near."""


def double(field: Tensor, like: Tensor) -> Tensor:
    """Return (B, C, h, w) bilinearly at the resolution of `like`."""
    return F.interpolate(field, size=(like.shape[-2], like.shape[-1]), mode="bilinear", align_corners=False)


class Halve(nn.Module):
    """Binomial 5 × 5 average of every second pixel, zeros outside: (B, C, h, w) → (B, C, h/2, w/2).

    Its result lies on the even pixels and doubling puts it between two, so each level sits half a pixel off. Bands
    undo that exactly where they are kept; an even kernel (1, 3, 3, 1), refitted for 3 minutes, scored no
    better on events left out.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("kernel", (row[:, None] * row[None])[None, None], persistent=False)

    def forward(self, field: Tensor) -> Tensor:
        """Return the field at half the resolution."""
        channels = field.shape[1]
        kernel = self.kernel.to(field.dtype).expand(channels, 1, 5, 5)  # exact in halves
        return F.conv2d(field, kernel, stride=2, padding=2, groups=channels)

    def blur(self, field: Tensor, octaves: int) -> Tensor:
        """Return a blur over some 2^octaves pixels that stays at the field's resolution."""
        coarse, one = field, torch.ones_like(field)
        for _ in range(octaves):
            coarse, one = self(coarse), self(one)
        return double(coarse / one, field)


class Pyramid(nn.Module):
    """Bands of a partly seen field.

    `(B, C, H, W)` values and weights (0 … 1) → `LEVELS` bands, the finest first; the last is what is left at 1/32.
    """

    def __init__(self, levels: int = LEVELS) -> None:
        super().__init__()
        self.levels = levels
        self.halve = Halve()

    def forward(self, field: Tensor, weight: Tensor, empty: Tensor | float = 0.0) -> list[Tensor]:
        """Return the bands; `empty` is the value where nothing is seen."""
        fields, weights = [field], [weight]
        for _ in range(self.levels - 1):
            total = self.halve(weights[-1])
            fields.append((self.halve(fields[-1] * weights[-1]) + EMPTY * empty) / (total + EMPTY))
            weights.append(total)
        known = [weight, *[(4 * w).clamp(max=1) for w in weights[1:]]]
        whole, bands = fields[-1], [fields[-1]]
        for value, share in zip(fields[-2::-1], known[-2::-1], strict=True):
            coarse = double(whole, value)
            bands.append(share * (value - coarse))
            whole = coarse + bands[-1]
        return bands[::-1]


def rebuild(bands: list[Tensor]) -> Tensor:
    """Return the field whose bands these are, at the resolution of the first."""
    whole = bands[-1]
    for band in bands[-2::-1]:
        whole = double(whole, band) + band
    return whole
