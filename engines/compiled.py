"""A model as functions that torch's inductor compiled for one shape, and as the file of a plan that holds them.

An ensemble is two functions: what no lead changes, then the rest for GROUP leads at a time. So scratch is a share of
what all leads at once take, and what is done can be copied to the host while the next leads are computed.

The file is a zip of the weights and, per shape and function, what `aot_compile` saves: code for this GPU and this
version of torch. Loading it executes it, so only bytes that were verified come here (`engines.plan`).
"""

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch import Tensor, nn

from engines.half import Half, to_half
from engines.reference import build_model
from nowcast.errors import PlanRefused
from nowcast.models.cascade import Leads, Prepared
from nowcast.models.ensemble import Ensemble

torch._dynamo.config.enable_aot_compile = True

GROUP = 6
"""Leads at a time."""
OPTIONS: dict[str, Any] = {"unroll_reductions_threshold": 32}
"""Sums over 24 members as 24 loads and adds: as a reduction the products took 2.2 ms of 6.6 on an H100, so 0.4."""
WEIGHTS = "weights.safetensors"
Function = Callable[..., Any]
"""What `aot_compile` returns: takes the module first."""


class First(nn.Module):
    """What no lead changes: FP32 inputs → time, positions and shift of every lead, then the tensors of `Prepared`."""

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor) -> tuple[Tensor, ...]:
        """Return them flat."""
        ready = self.model.cascade.prepare(stack.half(), mask.half(), motion, noise.half())
        each = self.model.cascade.each(range(self.model.spec.leads), ready)
        return (each.time, each.positions, each.shift, *ready.flat())


class Rest(nn.Module):
    """The outputs of some leads of one sample, FP32."""

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, time: Tensor, positions: Tensor, shift: Tensor, *flat: Tensor) -> tuple[Tensor, ...]:
        """Return each output (1, K, H, W)."""
        each = Leads(len(time), time, positions, shift)
        return tuple(made.float() for made in self.model.at(each, Prepared.of_flat(flat)))


class Parts:
    """A model's functions for one shape: `parts(*inputs)` yields first lead and outputs, group after group."""

    def __init__(self, model: nn.Module, inputs: tuple[Tensor, ...], saved: list[bytes]) -> None:
        """Take what was saved, or compile where there is nothing; `inputs` are of the shape, FP32, on the device."""
        self._modules = [First(model), Rest(model)] if isinstance(model, Ensemble) else [Half(model)]
        if saved:
            self.functions = [torch.compiler.load_compiled_function(io.BytesIO(data)) for data in saved]
            return
        self.functions = [_compile(self._modules[0], inputs)]
        if len(self._modules) > 1:
            made = self.functions[0](self._modules[0], *inputs)
            self.functions.append(_compile(self._modules[1], next(_groups(made))[1]))

    def __call__(self, *inputs: Tensor) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
        """Yield (first lead, outputs (1, K, H, W))."""
        made = self.functions[0](self._modules[0], *inputs)
        if len(self._modules) == 1:
            yield 0, made
            return
        for first, given in _groups(made):
            yield first, self.functions[1](self._modules[1], *given)


def _groups(made: tuple[Tensor, ...]) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Yield the first lead and the inputs of `Rest`, of what `First` made."""
    each, ready = made[:3], made[3:]
    for first in range(0, len(each[0]), GROUP):
        yield first, (*(told[first : first + GROUP] for told in each), *ready)


def _compile(module: nn.Module, inputs: tuple[Tensor, ...]) -> Function:
    compiled: Any = torch.compile(module.forward, fullgraph=True, dynamic=False, options=OPTIONS)
    return compiled.aot_compile((inputs, {}))


@dataclass
class Compiled:
    """A model in FP16 and what was compiled of it, by shape."""

    model: nn.Module
    saved: dict[tuple[int, int], list[bytes]]

    @classmethod
    def of_name(cls, name: str) -> "Compiled":
        """Return the reference in FP16, nothing compiled."""
        return cls(to_half(build_model(name)).eval(), {})

    @classmethod
    def of_file(cls, name: str, data: bytes) -> "Compiled":
        """Return what `pack` gave, or raise `PlanRefused` when it is of another model or no such file."""
        found = cls.of_name(name)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                found.model.load_state_dict(load_weights(file.read(WEIGHTS)))
                for entry in sorted(file.namelist()):
                    if entry != WEIGHTS:
                        height, width, _ = map(int, entry.split("/"))
                        found.saved.setdefault((height, width), []).append(file.read(entry))
        except (zipfile.BadZipFile, KeyError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())[:200]
            raise PlanRefused(f"no compiled plan of this version's {name} ({told}); build it again") from error
        return found

    def parts(self, inputs: tuple[Tensor, ...]) -> Parts:
        """Return the functions for inputs of a shape on a device; compiles what is not there, which takes minutes."""
        height, width = inputs[0].shape[-2:]
        return Parts(self.model.to(inputs[0].device), inputs, self.saved.get((height, width), []))

    def add(self, inputs: tuple[Tensor, ...]) -> None:
        """Compile for a shape and keep it."""
        height, width = inputs[0].shape[-2:]
        self.saved[height, width] = [_bytes(function) for function in self.parts(inputs).functions]

    def pack(self) -> bytes:
        """Return the file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            file.writestr(WEIGHTS, save_weights({n: v.cpu().contiguous() for n, v in self.model.state_dict().items()}))
            for (height, width), functions in self.saved.items():
                for number, data in enumerate(functions):
                    file.writestr(f"{height}/{width}/{number}", data)
        return buffer.getvalue()


def _bytes(function: Function) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "function"
        function.save_compiled_function(str(path))  # type: ignore[attr-defined]
        return path.read_bytes()
