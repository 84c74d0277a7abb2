"""Quantize an exported model to INT8 by explicit Q/DQ nodes with ModelOpt, in an environment of its own.

    python -m venv .venv-modelopt && .venv-modelopt/bin/pip install 'nvidia-modelopt[onnx]==0.47.*' -e '.[reference]'
    .venv-modelopt/bin/python scripts/calibration.py standard calibration.npz DATA/…
    .venv-modelopt/bin/python scripts/quantize.py standard calibration.npz int8.onnx
    nowcast engine build --model standard --precision int8 --graph int8.onnx --runtime openvino

`calibration.npz` holds `stack`, `mask`, `motion` and, for ensembles, `noise`, one row per case (`nowcast.models.spec`).
The set is refused unless it covers every regime. Quantized are the convolutions of the network alone: what else there
is, is the rain itself, and its sampling (docs/runtimes.md has what came of quantizing all that ModelOpt would).
"""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

from engines.coverage import measure
from engines.export import require_fp32_grids
from engines.plan import shipped_plan


def learned(graph: onnx.GraphProto) -> list[str]:
    """Return the names of convolutions over several channels: pyramids and blurs take each channel by itself."""
    channels = {weights.name: weights.dims[1] for weights in graph.initializer if len(weights.dims) == 4}
    return [node.name for node in graph.node if node.op_type == "Conv" and channels.get(node.input[1], 1) > 1]


def main(model: str, calibration: Path, output: Path) -> None:
    """Check the calibration set, quantize, and check the graph."""
    from modelopt.onnx.quantization import quantize

    plan = shipped_plan(model)
    nodes = learned(onnx.load_from_string(plan.graph()).graph)
    if not nodes:
        sys.exit(f"{model} has no network, so there is nothing to quantize; `standard` has one")
    with np.load(calibration, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in plan.spec.inputs}
    coverage = measure(zip(data["stack"], data["mask"], strict=True))
    print(f"{coverage.stacks} stacks: {coverage.counts}")  # noqa: T201
    coverage.require()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"  # ModelOpt writes into the file that it reads
        copy.write_bytes(plan.graph())
        quantize(
            str(copy),
            quantize_mode="int8",
            calibration_method="entropy",
            calibration_data=data,
            calibration_eps=["cpu"],
            high_precision_dtype="fp32",
            nodes_to_quantize=[f"^{re.escape(name)}$" for name in nodes],
            output_path=str(output),
        )
    require_fp32_grids(output.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
