"""The `torch` runtime: the PyTorch reference itself (FP32, CPU), against which every engine is held."""

from typing import cast

import numpy as np
import torch
from torch import nn

from engines.plan import Plan
from nowcast.models.ensemble import Ensemble
from nowcast.models.registry import create
from nowcast.models.spec import Inputs, ModelSpec, Outputs, shown_members


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

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        results = self._model(*(torch.from_numpy(values) for values in inputs.named().values()))
        return {name: values.numpy() for name, values in zip(self.spec.outputs, results, strict=True)}

    def close(self) -> None:
        """Drop the module."""
        del self._model


def torch_engine(plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> TorchEngine:
    """Return the reference of a plan's model."""
    torch.set_num_threads(threads)
    return TorchEngine(plan.spec)


class ByLead:
    """An ensemble's reference with as many members as products as `plan.spec` names; see `engines.protocol.Engine`.

    One lead after another, so that beside the outputs it holds a twenty-fourth of what all at once would take.
    """

    runtime = "torch"

    def __init__(self, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> None:
        torch.set_num_threads(threads)
        self.spec = plan.spec
        self.versions = {"torch": torch.__version__}
        self._model = cast("Ensemble", build_model(plan.spec.name))
        self._model.shown = shown_members(plan.spec.products)

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        tensors = [torch.from_numpy(values) for values in inputs.named().values()]
        batch, _, height, width = inputs.stack.shape
        shape = batch, self.spec.leads, height, width
        outputs = {name: np.empty(shape, np.float32) for name in self.spec.outputs}
        ready = self._model.cascade.prepare(*tensors)
        for lead in range(self.spec.leads):
            made = self._model.at(self._model.cascade.each([lead], ready), ready)
            for name, values in zip(self.spec.outputs, made, strict=True):
                outputs[name][:, lead] = values[:, 0].numpy()
        return outputs

    def close(self) -> None:
        """Drop the module."""
        del self._model
