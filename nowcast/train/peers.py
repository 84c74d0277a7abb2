"""Workers that fit one model together: each takes its own samples, and every few steps they take the mean of all.

Stich (2019), "Local SGD converges fast and communicates little", ICLR. One sample tells little of the score, and half a
megabyte of weights is soon averaged: on one host, `torchrun --nproc-per-node 4 --no-python nowcast train …`.
"""

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from nowcast.errors import ConfigError


@dataclass(frozen=True)
class Peers:
    """`count` workers, of which this is number `rank`."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> "Peers":
        """Return the workers that `torchrun` started, or this one alone."""
        if not dist.is_torchelastic_launched():
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    def device(self, device: torch.device) -> torch.device:
        """Return this worker's own GPU, where there are several."""
        if self.count == 1 or device.type != "cuda":
            return device
        return torch.device("cuda", self.rank % torch.cuda.device_count())

    def require_same(self, steps: int) -> None:
        """Raise `ConfigError` unless all workers go on from the same step: else one would wait for ever for others."""
        if self.count == 1:
            return
        found: list[int] = [0] * self.count
        dist.all_gather_object(found, steps)
        if len(set(found)) > 1:
            raise ConfigError(
                f"the workers' checkpoints are of steps {found}: killed while they saved, or not as many workers as"
                " before; resume with as many, or start anew in an empty folder"
            )

    def average(self, tensors: list[Tensor], spent: float) -> float:
        """Replace tensors by their mean over all workers; return the longest time `spent`, in seconds."""
        if self.count == 1:
            return spent
        whole = torch.cat([tensor.detach().flatten().double().cpu() for tensor in tensors])
        most = torch.tensor(spent, dtype=torch.float64)
        dist.all_reduce(whole)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        means = torch.split(whole / self.count, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, mean in zip(tensors, means, strict=True):
                tensor.copy_(mean.reshape(tensor.shape))
        return float(most)
