"""The `torch` runtime: the PyTorch reference itself (FP32, CPU), against which every engine is held."""

from typing import cast

import torch
from torch import nn

from engines.plan import Plan
from nowcast.models.registry import create
from nowcast.models.spec import Inputs, ModelSpec, Outputs


def build_model(name: str) -> nn.Module:
    """Return the reference module of a model, ready to run."""
    return create(name)


def spec_of(module: nn.Module) -> ModelSpec:
    """Return what a module of `build_model` takes and gives."""
    return cast("ModelSpec", module.spec)


class TorchEngine:
    """The reference as an engine; see `engines.protocol.Engine`."""

    runtime = "torch"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.versions = {"torch": torch.__version__}
        self._model = build_model(spec.name)

    @classmethod
    def of_plan(cls, plan: Plan, height: int, width: int) -> "TorchEngine":
        """Return the reference of the plan's model."""
        return cls(plan.spec)

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        results = self._model(*(torch.from_numpy(values) for values in inputs.named().values()))
        return {name: values.numpy() for name, values in zip(self.spec.outputs, results, strict=True)}

    def close(self) -> None:
        """Drop the module."""
        del self._model
