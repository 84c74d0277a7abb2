"""Latent levels, in which the ensembles compute: 1 + log10(mm/h).

0.1 mm/h is 0, 1 mm/h is 1, 100 mm/h is 3; dry is below 0.
"""

import math

import torch
from torch import Tensor

DRY = -0.2
"""Latent level of dry: 0.06 mm/h."""
HIGHEST = 3.7
"""Latent level of the strongest rain, 500 mm/h."""


def to_latent(values: Tensor) -> Tensor:
    """Return latent levels of model-space values."""
    return torch.where(values >= 0.0039, values * 3.81 - 0.015, torch.full_like(values, DRY))


def latent_to_rate(level: Tensor) -> Tensor:
    """Return mm/h of latent levels, 0 below 0.1 mm/h."""
    rate = torch.exp((level.clamp(max=HIGHEST) - 1) * math.log(10))
    return torch.where(level > 0, rate, torch.zeros_like(rate))


def latent_to_model(level: Tensor) -> Tensor:
    """Return model-space values of latent levels, 0 below 0.1 mm/h."""
    values = ((level + 0.015) / 3.81).clamp(max=1)
    return torch.where(level > 0, values, torch.zeros_like(values))
