"""A model as functions that torch's inductor compiled for one shape, and as the file of a plan that holds them.

An ensemble is two functions: what no lead changes, then the rest for GROUP leads at a time. So scratch is a share of
what all leads at once take, and what is done can be copied to the host while the next leads are computed.

The file is a zip of what AOTInductor packs per shape and function: a library with the kernels and weights in it, for
this GPU and this version of torch. Loading it builds no model and needs no compiler, dynamo or Triton, but executes
it, so only bytes that were verified come here (`engines.plan`). Beside them are the weights, for shapes that lack.
"""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from safetensors.torch import load as load_weights
from safetensors.torch import save as save_weights
from torch import Tensor, nn

from engines.half import Half, to_half
from engines.reference import build_model
from nowcast.errors import EngineError, PlanRefused
from nowcast.models.ensemble import Ensemble
from nowcast.models.prepared import Leads, Prepared

GROUP = 6
"""Leads at a time."""
OPTIONS: dict[str, Any] = {"unroll_reductions_threshold": 32, "max_fusion_size": 1024}
"""Sums over 24 members as 24 loads and adds: as a reduction the products took 2.2 ms of 6.6 on an H100, so 0.4. The 24
members' sort as one kernel and not three: 0.6 ms of 6.7."""
PACKED = {"aot_inductor.embed_kernel_binary": True, "aot_inductor.compile_wrapper_opt_level": "O0"}
"""One file holds all; what launches the kernels runs a few times only, until the graph is captured."""
MODEL, WEIGHTS = "model", "weights.safetensors"
Function = Callable[..., Sequence[Tensor]]


class First(nn.Module):
    """What no lead changes: FP32 inputs → time, places and shift of every lead, then the tensors of `Prepared`."""

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, stack: Tensor, mask: Tensor, motion: Tensor, noise: Tensor, pixel: Tensor) -> tuple[Tensor, ...]:
        """Return them flat."""
        ready = self.model.cascade.prepare(stack.half(), mask.half(), motion, noise.half(), pixel)
        each = self.model.cascade.each(range(self.model.spec.leads), ready)
        return (each.time, each.positions, each.coarse, each.shift, *ready.flat())


class Rest(nn.Module):
    """The outputs of some leads of one sample, FP32."""

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, time: Tensor, positions: Tensor, coarse: Tensor, shift: Tensor, *flat: Tensor
    ) -> tuple[Tensor, ...]:
        """Return each output (1, K, H, W)."""
        each = Leads(len(time), time, positions, coarse, shift)
        return tuple(made.float() for made in self.model.at(each, Prepared.of_flat(flat)))


class Parts:
    """A model's functions for one shape: `parts(*inputs)` yields first lead and outputs, group after group."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self.functions = functions

    def __call__(self, *inputs: Tensor) -> Iterator[tuple[int, Sequence[Tensor]]]:
        """Yield (first lead, outputs (1, K, H, W))."""
        made = self.functions[0](*inputs)
        if len(self.functions) == 1:
            yield 0, made
            return
        for first, given in groups(made):
            yield first, self.functions[1](*given)


def groups(made: Sequence[Tensor]) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """Yield the first lead and the inputs of `Rest`, of what `First` made."""
    (time, *places), ready = made[:4], made[4:]
    for first in range(0, len(time), GROUP):
        some = slice(first, first + GROUP)
        yield first, (time[some].clone(), *(place[some] for place in places), *ready)  # six halves are not 16 bytes


def modules_of(name: str, weights: bytes = b"") -> list[nn.Module]:
    """Return a model in FP16 as the modules that are compiled; with these weights (safetensors) or the project's own.

    Raises
    ------
    PlanRefused
        When the weights are of another version's model.
    """
    model = to_half(build_model(name)).eval()
    if weights:
        try:
            model.load_state_dict(load_weights(weights))
        except RuntimeError as error:
            raise PlanRefused(f"{name} of another version, and not of this region's shape; build it again") from error
    return [First(model), Rest(model)] if isinstance(model, Ensemble) else [Half(model)]


@dataclass
class Compiled:
    """A model in FP16 and what was compiled of it ahead, by shape."""

    model: str
    saved: dict[tuple[int, int], list[bytes]] = field(default_factory=dict)
    weights: bytes = b""

    @classmethod
    def of_file(cls, name: str, data: bytes) -> "Compiled":
        """Return what `pack` gave, or raise `PlanRefused` when it is of another model or no such file."""
        found = cls(name)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                if (of := file.read(MODEL).decode()) != name:
                    raise ValueError(f"it is of {of}")
                found.weights = file.read(WEIGHTS)
                for entry in sorted(set(file.namelist()) - {MODEL, WEIGHTS}):
                    height, width, _ = map(int, entry.split("/"))
                    found.saved.setdefault((height, width), []).append(file.read(entry))
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise PlanRefused(f"no compiled plan of {name} ({error}); build it again") from error
        return found

    def parts(self, height: int, width: int, device: torch.device) -> Parts:
        """Return the functions for a shape on a device; what is not there is compiled when first called: minutes."""
        if (height, width) in self.saved:
            return Parts([_loaded(package) for package in self.saved[height, width]])
        modules = (module.to(device) for module in modules_of(self.model, self.weights))
        return Parts([torch.compile(module, fullgraph=True, dynamic=False, options=OPTIONS) for module in modules])

    @torch.no_grad()
    def add(self, inputs: tuple[Tensor, ...]) -> None:
        """Compile ahead for FP32 inputs of one shape, on their device."""
        height, width = inputs[0].shape[-2:]
        modules = [module.to(inputs[0].device) for module in modules_of(self.model)]
        given = [inputs] if len(modules) == 1 else [inputs, next(groups(modules[0](*inputs)))[1]]
        self.saved[height, width] = [_packed(*pair) for pair in zip(modules, given, strict=True)]

    def pack(self) -> bytes:
        """Return the file."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
            weights = to_half(build_model(self.model)).state_dict()
            file.writestr(MODEL, self.model)
            file.writestr(WEIGHTS, save_weights({name: value.contiguous() for name, value in weights.items()}))
            for (height, width), packages in self.saved.items():
                for number, data in enumerate(packages):
                    file.writestr(f"{height}/{width}/{number}", data)
        return buffer.getvalue()


def _packed(module: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise EngineError("no C++ compiler to build with: install g++, or name one in CXX") from error
    with TemporaryDirectory() as folder:
        path = f"{folder}/model.pt2"
        program = torch.export.export(module, inputs, strict=False)
        torch._inductor.aoti_compile_and_package(program, package_path=path, inductor_configs=OPTIONS | PACKED)
        return Path(path).read_bytes()


def _loaded(package: bytes) -> Function:
    """Load what `_packed` gave. Single-threaded: only so may a CUDA graph be captured of it.

    `torch._inductor.aoti_load_package` does this too, but takes seconds to import. Until this process ends what it is
    unpacked to lies in the folder for temporary files.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.pt2"
        path.write_bytes(package)
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", True, 1, -1)
    return lambda *inputs: cast("Sequence[Tensor]", loader.run(list(inputs)))
