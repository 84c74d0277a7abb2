"""Quantize an exported model to INT8 by explicit Q/DQ nodes with ModelOpt, in an environment of its own.

    python -m venv .venv-modelopt && .venv-modelopt/bin/pip install 'nvidia-modelopt[onnx]==0.47.*' -e .
    .venv-modelopt/bin/python scripts/quantize.py standard calibration.npz int8.onnx
    nowcast engine build --model standard --precision int8 --graph int8.onnx --runtime openvino

`calibration.npz` holds `stack`, `mask`, `motion` and, for ensembles, `noise`, one row per case (`nowcast.models.spec`).
The set is refused unless it covers every regime. Sampling stays FP32.
Not yet executed on our machines (docs/runtimes.md).
"""

import sys
from pathlib import Path

import numpy as np
import onnx

from engines.coverage import measure
from engines.export import require_fp32_grids
from engines.plan import shipped_plan

KEPT = ("GridSample",)
"""Operators that stay as they are, with what feeds their coordinates."""


def main(model: str, calibration: Path, output: Path) -> None:
    """Check the calibration set, quantize, and check the graph."""
    from modelopt.onnx.quantization import quantize

    plan = shipped_plan(model)
    with np.load(calibration, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in plan.spec.inputs}
    coverage = measure(zip(data["stack"], data["mask"], strict=True))
    print(f"{coverage.stacks} stacks: {coverage.counts}")  # noqa: T201
    coverage.require()
    graph = onnx.load_from_string(plan.graph())
    quantize(
        str(plan.folder / plan.file),
        quantize_mode="int8",
        calibration_method="entropy",
        calibration_data=data,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        nodes_to_exclude=[node.name for node in graph.graph.node if node.op_type in KEPT],
        output_path=str(output),
    )
    require_fp32_grids(output.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
