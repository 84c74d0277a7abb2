"""What training minimises: an almost fair CRPS at pixel and pooled scales, and a term that keeps the spectrum.

Lang et al. (2024), "AIFS-CRPS", for the almost fair form: fair in the number of members but for a small share, without
which members may run away in pairs. Pixels and leads that were not seen never count.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from nowcast.models.pyramid import Halve

ALPHA = 0.95
POOLS = ((1, 1.0), (4, 0.5), (16, 0.25))
"""(side of the boxes in pixels, weight)."""


def almost_fair_crps(members: Tensor, truth: Tensor, alpha: float = ALPHA) -> Tensor:
    """Return the score of each pixel: (B, M, H, W) and (B, H, W) → (B, H, W)."""
    count = members.shape[1]
    ordered = members.sort(1).values
    rank = 2 * torch.arange(1, count + 1, device=members.device) - count - 1
    pairs = (ordered * rank[None, :, None, None]).sum(1) / count
    share = (1 - (1 - alpha) / count) / (count - 1)
    return (members - truth[:, None]).abs().mean(1) - share * pairs


def pooled(field: Tensor, weight: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return box means of the pixels that count (weight 1) and the share of them."""
    share = F.avg_pool2d(weight, side)
    return F.avg_pool2d(field * weight, side) / share.clamp(min=1e-6), share


def loss_of_lead(members: Tensor, truth: Tensor, scale: Tensor, alpha: float = ALPHA) -> Tensor:
    """Return the mean score of one lead over the samples, in units of `scale`.

    Parameters
    ----------
    members, truth
        (B, M, H, W) and (B, H, W) mm/h, NaN where not seen.
    scale
        (B,) mm/h: what a sample's error is measured in, so that heavy rain does not decide alone.
    alpha
        How fair the score is to the number of members: 1 fully, 0 not at all (the ordinary CRPS).
    """
    seen = torch.isfinite(truth).to(members.dtype)
    clean = torch.nan_to_num(truth)
    total = members.new_zeros(())
    for side, weight in POOLS:
        told, share = pooled(members, seen[:, None].expand_as(members), side) if side > 1 else (members, seen[:, None])
        was = pooled(clean[:, None], seen[:, None], side)[0][:, 0] if side > 1 else clean
        whole = (share[:, 0] > 0.5).to(members.dtype)
        score = (almost_fair_crps(told, was, alpha) * whole).sum((1, 2)) / (whole.sum((1, 2)) + 1)
        total = total + weight * (score / scale).mean()
    return total


def spectrum_gap(members: Tensor, truth: Tensor, halve: Halve, bands: int = 4) -> Tensor:
    """Return the mean squared log ratio of band power, members against truth; fields (B, M or 1, H, W)."""
    gap = members.new_zeros(())
    for _ in range(bands):
        smooth_m, smooth_t = halve(members), halve(truth)
        told, was = _power(members, smooth_m).mean(1), _power(truth, smooth_t).mean(1)
        gap = gap + (torch.log((told + 1e-3) / (was + 1e-3)) ** 2).mean() / bands
        members, truth = smooth_m, smooth_t
    return gap


def _power(field: Tensor, smooth: Tensor) -> Tensor:
    """Return the mean square of what the halved field lacks, (B, M)."""
    return ((field - F.interpolate(smooth, scale_factor=2.0, mode="bilinear")) ** 2).mean((-1, -2))
