"""Runtimes that pass the gate and then do real damage to their CUDA context, one way each."""

import torch

from tests.engines.fakes import Good


class IllegalAccess(Good):
    """A gather far outside of its memory."""

    def spoil(self, outputs):
        index = torch.full((1024,), 2**40, device="cuda", dtype=torch.int64)
        torch.ones(10, device="cuda")[index].sum().item()
        return outputs


class DeviceHang(Good):
    """A kernel that spins far longer than the deadline."""

    def spoil(self, outputs):
        torch.cuda._sleep(10**11)
        torch.cuda.synchronize()
        return outputs


class DeviceOutOfMemory(Good):
    """More than the device has."""

    def spoil(self, outputs):
        self.kept = torch.empty(2**40, dtype=torch.uint8, device="cuda")
        return outputs
