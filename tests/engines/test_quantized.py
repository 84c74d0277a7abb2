"""INT8 by explicit Q/DQ in OpenVINO: a network that adjusts the rain passes the gate, rain itself in INT8 does not."""

from datetime import UTC, datetime

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.golden import HEIGHT, WIDTH, make_cases, pack
from engines.openvino import OpenVinoEngine
from engines.parity import check_engine, require_parity
from engines.plan import write_plan
from nowcast.errors import ParityFailed
from nowcast.models.spec import FRAMES, LEADS, ModelSpec

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SPEC = ModelSpec("tiny", ("rain_mean",))
STEP = np.float32(1 / 127)


def graph(*, quantized, alone=False):
    """Rain × (0.8 + 0.2 × a convolution of the frames); or, `alone`, the convolution itself."""
    weights = np.random.default_rng(0).random((LEADS, FRAMES, 1, 1)).astype("f4")
    weights /= weights.sum(1, keepdims=True)
    step = np.float32(weights.max() / 63)  # seven bits: a CPU without VNNI adds two products in sixteen, saturating
    constants = {
        "step": STEP, "wstep": step, "zero": np.int8(0), "w": weights, "share": np.float32(0.2),
        "rest": np.float32(0.8), "none": np.float32(0), "last": np.array([FRAMES - 1]),
        "w8": np.rint(weights / step).astype(np.int8), "ones": np.ones((LEADS, 1, 1, 1), "f4"),
    }  # fmt: skip
    nodes = [
        ("QuantizeLinear", ["stack", "step", "zero"], "q"),
        ("DequantizeLinear", ["q", "step", "zero"], "dq"),
        ("DequantizeLinear", ["w8", "wstep", "zero"], "dw"),
        ("Conv", ["dq", "dw"] if quantized else ["stack", "w"], "read"),
        ("Mul", ["read", "share"], "some"),
        ("Add", ["some", "rest"], "factor"),
        ("Gather", ["stack", "last"], "newest"),
        ("Mul", ["newest", "factor"], "grown"),
        ("ReduceSum", ["motion"], "sum"),
        ("Mul", ["sum", "none"], "nothing"),
        ("Add", ["read" if alone else "grown", "nothing"], "rain_mean"),
        ("Gather", ["mask", "last"], "seen"),
        ("Conv", ["seen", "ones"], "coverage"),
    ]
    extra = {"Gather": {"axis": 1}, "ReduceSum": {"keepdims": 0}}
    sizes = (("stack", FRAMES, ""), ("mask", FRAMES, ""), ("motion", 2, "4"))
    float32 = TensorProto.FLOAT
    made = helper.make_graph(
        [helper.make_node(op, inputs, [output], **extra.get(op, {})) for op, inputs, output in nodes],
        "tiny",
        [helper.make_tensor_value_info(n, float32, ["b", c, "h" + part, "w" + part]) for n, c, part in sizes],
        [helper.make_tensor_value_info(n, float32, ["b", LEADS, "h", "w"]) for n in SPEC.outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def gated(folder, *, alone):
    """Return the records of the quantized graph, held against the same in FP32."""
    exact = write_plan(folder / "fp32", SPEC, graph(quantized=False, alone=alone), b"", {})
    golden = pack(make_cases(SPEC, OpenVinoEngine(exact, HEIGHT, WIDTH)))
    plan = write_plan(folder / "int8", SPEC, graph(quantized=True, alone=alone), golden, {})
    return check_engine(plan, OpenVinoEngine, NOW, "int8")


def test_a_quantized_network_that_adjusts_the_rain_passes_the_gate(tmp_path):
    records = gated(tmp_path, alone=False)
    require_parity(records)
    wet = [r.psnr_wet for r in records if r.psnr_wet is not None]
    assert 50 < min(wet) < 75  # its error is there, so Q/DQ was computed, not folded away
    assert {(r.runtime, r.precision) for r in records} == {("openvino", "int8")}


def test_rain_itself_in_int8_is_refused_though_its_psnr_would_do(tmp_path):
    records = gated(tmp_path, alone=True)
    assert min(r.psnr_all for r in records) > 40
    with pytest.raises(ParityFailed, match="rain_mean"):  # 0.1 mm/h is 0.004, half a step of 1/127
        require_parity(records)
    assert max(r.csi_difference or 0 for r in records) > 0.005
