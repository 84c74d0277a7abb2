"""Errors of motion: how far off the given motion each member takes its rain to have come from.

Most of the spread of an ensemble comes from them. They point where a compass that fills the plane says
(`nowcast.models.spread`), turned by the noise; their sizes the event itself tells.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nowcast.models.prepared import Prepared
from nowcast.models.pyramid import Halve
from nowcast.models.spread import compass

TURNS = 4
"""Quarter turns of the compass; all but the first are looked at in every fourth row and column."""


class ErrorsOfMotion(nn.Module):
    """What a `Cascade` knows of them; its parameters are the cascade's.

    Parameters
    ----------
    members
        Size of the ensemble.
    """

    haar: Tensor
    compass: Tensor

    def __init__(self, members: int) -> None:
        super().__init__()
        self.halve = Halve()
        self.wander = nn.Parameter(torch.tensor([-0.2, -0.1, 0.3, 0.6, 3.3]))
        self.haste = nn.Parameter(torch.tensor([-2.5, 1.0]))
        self.stray = nn.Parameter(torch.tensor(0.1))
        haar = torch.tensor([[[[1.0, -1.0], [1.0, -1.0]]], [[[1.0, 1.0], [-1.0, -1.0]]]]) / 2
        self.register_buffer("haar", haar, persistent=False)
        self.register_buffer("compass", compass(members), persistent=False)

    def drift(self, noise: Tensor) -> Tensor:
        """Return each member's error of motion (B, M, 2), of size 1 on average: the compass, turned by the noise."""
        slopes = F.conv2d(noise[:, :1], self.haar, stride=2).float().mean((2, 3))
        cosine, sine = torch.split(slopes * torch.rsqrt((slopes * slopes).sum(1, keepdim=True).clamp(min=1e-12)), 1, 1)
        x, y = self.compass[:, 0], self.compass[:, 1]
        return torch.stack((cosine * x - sine * y, sine * x + cosine * y), -1)

    def error(self, motion: Tensor, newest: Tensor, unusual: Tensor, pixel: Tensor) -> Tensor:
        """Return the sizes of the errors of motion, (B, 3, 1).

        They are the pixels after one step, the pixels that two hours add, and the error of speed as a share of the way.

        Of the start less is known where motion differs from place to place, weighed by where rain falls, and where rain
        has changed more than is usual. What two hours add is one length for all, in km: at 90 min the best size lay
        near 20 pixels of 1 km and 10 of 2 km, whatever it was at the start. Speed is known the less the more motion
        differs: one share for all cost up to 1.5 % of the CRPS on weak rain with even motion.
        """
        wet = _wet(newest)
        share = wet.mean((2, 3), keepdim=True) + 1e-4
        swing = motion - (motion * wet).mean((2, 3), keepdim=True) / share
        spread = ((swing * swing).sum(1, keepdim=True) * wet).mean((2, 3), keepdim=True) / share
        wander = self.wander.float()
        near = torch.exp(wander[0] + wander[2] * 0.5 * torch.log(spread + 0.01) + wander[3] * unusual)
        haste = torch.exp(self.haste[0].float() + self.haste[1].float() * 0.5 * torch.log(spread + 0.01))
        far = torch.exp(wander[4]) / pixel.mean((2, 3), keepdim=True)
        return torch.cat((near, far, haste), 1)[..., 0]

    def astray(self, band: Tensor, change: Tensor, newest: Tensor) -> Tensor:
        """Return by what factor errors of motion are larger where rain has changed more of late than elsewhere."""
        moved, whole = (self.halve.blur(field * field, 2).float() for field in (change, band))
        more = torch.log((moved + 1e-3) / (whole + 2e-3))
        wet = _wet(newest)
        usual = (more * wet).mean((2, 3), keepdim=True) / (wet.mean((2, 3), keepdim=True) + 1e-4)
        return torch.exp(self.stray.float() * (more - usual).clamp(-3, 3))

    def shifts(self, ready: Prepared, steps: Tensor, height: int, width: int) -> Tensor:
        """Return the errors at K leads, `steps` (K,) of five minutes: (B·K, TURNS, M, 3), see `Leads.shift`."""
        wander, steps = self.wander.float(), steps[:, None, None]
        near, far, haste = torch.split(ready.error[:, None], 1, 2)
        near, far = near * steps ** torch.sigmoid(wander[1] + 2), far * (steps / 24) ** 2
        size = torch.sqrt(near * near + far * far)[:, :, None]
        x, y = torch.split(ready.drift, 1, 2)
        side = torch.cat((-y, x), 2)
        drift = torch.stack((ready.drift, side, -ready.drift, -side), 1)[:, None]
        haste = haste[..., None] * (drift * ready.heading[:, None, None, None]).sum(-1, keepdim=True)
        x, y = torch.split(drift * size, 1, -1)
        haste = haste.expand(-1, steps.shape[0], -1, -1, -1)
        return torch.cat((x * (2.0 / width), y * (2.0 / height), haste), -1).flatten(0, 1)


def heading(motion: Tensor, newest: Tensor) -> Tensor:
    """Return where the rain comes from, (B, 2), of length 1; 0 where none falls or it stands still.

    What keeps the root from 0 is 1e-4: the ONNX exporter takes 1e-12 for nothing, and a dry region was NaN.
    """
    wet = _wet(newest)
    mean = (motion.float() * wet).sum((2, 3))
    return -mean * torch.rsqrt((mean * mean).sum(1, keepdim=True) + 1e-4)


def _wet(newest: Tensor) -> Tensor:
    """Return the share of each cell of motion that is wet, (B, 1, H/4, W/4)."""
    return F.avg_pool2d((newest.float() > 0).float(), 4)
