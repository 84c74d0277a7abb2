"""The `openvino` rung: the exported graph on the CPU, in FP32, with shapes fixed when it is built."""

import numpy as np
import openvino as ov

from engines.plan import Plan
from engines.shapes import input_shapes
from nowcast.errors import EngineError
from nowcast.models.spec import Inputs, Outputs


class OpenVinoEngine:
    """A plan compiled for one shape; see `engines.protocol.Engine`."""

    runtime = "openvino"

    def __init__(self, plan: Plan, height: int, width: int, batch: int = 1, threads: int = 2) -> None:
        self.spec = plan.spec
        self.versions = self.library_versions()
        self._shapes = input_shapes(plan.spec, batch, height, width)
        try:
            core = ov.Core()
            model = core.read_model(plan.graph())
            model.reshape({name: list(shape) for name, shape in self._shapes.items()})
            compiled = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "INFERENCE_NUM_THREADS": threads,
                    "PERFORMANCE_HINT": "LATENCY",
                },
            )
        except RuntimeError as error:
            raise EngineError(
                f"{plan.folder}: OpenVINO refuses the plan: {_first_line(error)}; export it again"
            ) from error
        self._request = compiled.create_infer_request()

    @staticmethod
    def library_versions() -> dict[str, str]:
        """Return the version of OpenVINO."""
        return {"openvino": ov.__version__.split("-")[0]}

    def __call__(self, inputs: Inputs) -> Outputs:
        """Run one batch; see `engines.protocol.Engine`."""
        arrays = inputs.named()
        for name, shape in self._shapes.items():
            if arrays[name].shape != shape:
                raise EngineError(
                    f"{name} has shape {arrays[name].shape}, the engine was built for {shape}; build another"
                )
        try:
            results = self._request.infer(arrays, share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed: {_first_line(error)}; restart the worker") from error
        return {name: np.array(results[name]) for name in self.spec.outputs}

    def close(self) -> None:
        """Drop the compiled model."""
        del self._request


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
