"""TensorRT for RTX builds real plans here, on the CPU; what runs them is held by a recording stand-in (no GPU here)."""

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines import lifecycle, tensorrt
from engines.export import export_graph
from engines.keys import Keyring
from engines.lifecycle import Recipe
from engines.openvino import OpenVinoEngine
from engines.parity import check_engine, require_parity
from engines.plan import read_plan, shipped_plan, write_plan
from engines.planstore import Shelf
from engines.tensorrt import Bucket, build
from nowcast.errors import EngineError, PlanRefused

pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'nowcast[rtx-builder]'")

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLAN = shipped_plan("advection")
BUCKETS = (Bucket(1, ((512, 512), (256, 320))), Bucket(4, ((512, 512),)))


@pytest.fixture(scope="module")
def half():
    return export_graph("advection", "fp16")


def test_a_plan_is_built_for_dynamic_batches_and_shapes():
    assert len(build("tensorrt_rtx", PLAN.graph(), PLAN.spec, BUCKETS, "sm89")) > 100_000


@pytest.mark.parametrize("model", ["edge", "standard"])
def test_the_ensembles_build_for_512_squared_without_a_warning(model, monkeypatch):
    told = []
    monkeypatch.setattr(tensorrt.log, "warning", lambda _, message: told.append(message))
    plan = shipped_plan(model)
    assert len(tensorrt.build("tensorrt_rtx", plan.graph(), plan.spec, (Bucket(1, ((512, 512),)),), "sm89")) > 1_000_000
    assert told == []


def test_fp16_is_in_the_graph_builds_and_passes_the_gate(half, tmp_path):
    types = {node.op_type for node in onnx.load_from_string(half).graph.node if node.op_type == "Cast"}
    assert types
    assert len(build("tensorrt_rtx", half, PLAN.spec, BUCKETS, "sm120")) > 100_000
    write_plan(tmp_path, PLAN.spec, half, PLAN.golden(), {})
    require_parity(check_engine(read_plan(tmp_path), OpenVinoEngine, NOW))  # its structure: OpenVINO computes in FP32


def test_int8_builds():
    assert len(build("tensorrt_rtx", quantized(), PLAN.spec, (Bucket(2, ((64, 64),)),), "sm89")) > 1000


def quantized():
    """A graph with the contract's inputs and outputs around one INT8 convolution by explicit Q/DQ."""
    weights = np.random.default_rng(0).integers(-127, 127, (24, 4, 3, 3), np.int8)
    constants = {"scale": np.float32(0.01), "zero": np.int8(0), "weights": weights, "tiny": np.float32(0)}
    nodes = [
        ("QuantizeLinear", ["stack", "scale", "zero"], "q", {}),
        ("DequantizeLinear", ["q", "scale", "zero"], "dq", {}),
        ("DequantizeLinear", ["weights", "scale", "zero"], "w", {}),
        ("Conv", ["dq", "w"], "rain", {"pads": [1, 1, 1, 1]}),
        ("ReduceSum", ["motion"], "sum", {"keepdims": 0}),
        ("Mul", ["sum", "tiny"], "nothing", {}),
        ("Add", ["rain", "nothing"], "rain_mean", {}),
        ("Conv", ["mask", "w"], "coverage", {"pads": [1, 1, 1, 1]}),
    ]
    f = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **extra) for op, inputs, output, extra in nodes],
        "quantized",
        [
            helper.make_tensor_value_info(name, f, ["b", channels, "h" + low, "w" + low])
            for name, channels, low in (("stack", 4, ""), ("mask", 4, ""), ("motion", 2, "4"))
        ],
        [helper.make_tensor_value_info(name, f, ["b", 24, "h", "w"]) for name in ("rain_mean", "coverage")],
        [onnx.numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def test_what_cannot_be_parsed_or_built_is_told():
    with pytest.raises(EngineError, match="cannot parse"):
        build("tensorrt_rtx", b"no graph", PLAN.spec, BUCKETS, "sm89")
    with pytest.raises(EngineError, match=r"sm75.*not for sm90"):
        build("tensorrt_rtx", PLAN.graph(), PLAN.spec, BUCKETS, "sm90")


def test_a_plan_for_another_gpu_is_built_but_says_that_it_was_not_executed_and_does_not_serve_here(tmp_path):
    shelf = Shelf(tmp_path, "advection", "tensorrt_rtx", Keyring())
    recipe = Recipe("advection", "tensorrt_rtx", "fp32", (Bucket(1, ()),), gpu="NVIDIA L4", sm="sm89")
    manifest, missing = lifecycle.build(shelf, recipe, NOW)
    assert manifest.scores == {}
    assert missing
    with pytest.raises(PlanRefused, match="not signed"):
        lifecycle.promote(shelf, 1, NOW)
    with pytest.raises(PlanRefused, match="gpu NVIDIA L4 here none"):
        manifest.require_host(lifecycle.host_of(lifecycle.BY_NAME["tensorrt_rtx"]))


# The running half, with a stand-in for library and card


class Recorder:
    """Any object of the bindings: records calls, answers from `answers`, else True."""

    def __init__(self, calls, **answers):
        self.__dict__.update(calls=calls, answers=answers)

    def __getattr__(self, name):
        if name in self.answers and not callable(self.answers[name]):
            return self.answers[name]

        def call(*args):
            self.calls.append(name)
            return self.answers[name](*args) if name in self.answers else True

        return call


def stand_in(monkeypatch, **broken):
    context_module = pytest.importorskip("engines.context", reason="pip install 'nowcast[gpu]'")
    calls = []
    answers = {
        "num_optimization_profiles": 1,
        "get_tensor_profile_shape": lambda name, _: [(1, 1, 1, 1), (1, 9, 9, 9), (4, 9, 128, 128)],
        "infer_shapes": list,
        "update_device_memory_size_for_shapes": lambda: 1000,
    } | broken
    context = Recorder(calls, **answers)
    plan = Recorder(calls, create_execution_context=lambda _: context, **answers)
    runtime = Recorder(calls, deserialize_cuda_engine=broken.get("deserialize", lambda _: plan))
    strategy = SimpleNamespace(USER_MANAGED=None)
    trt = SimpleNamespace(
        __version__="11", Runtime=lambda _: runtime, ExecutionContextAllocationStrategy=strategy, log=None
    )
    stream = Recorder(calls, handle=7)
    builder = Recorder(calls, stream=stream, complete=lambda: Recorder(calls))
    stream.answers["create_graph_builder"] = lambda: builder
    card = Recorder(calls, stream=stream, scratch=lambda n: SimpleNamespace(handle=1, size=n))
    slots = {name: SimpleNamespace(address=5) for name in (*PLAN.spec.inputs, *PLAN.spec.outputs)}
    memory = Recorder(calls, inputs=slots, outputs={})
    resident = Recorder(calls)
    resident.__dict__["__call__"] = None
    monkeypatch.setattr(context_module, "the_card", lambda: card)
    monkeypatch.setattr(context_module, "Resident", type("R", (), {"need": lambda *_: 1, "__new__": lambda *_: memory}))
    monkeypatch.setattr(context_module, "logger_of", lambda _: SimpleNamespace(told=["the library's words"]))
    monkeypatch.setitem(context_module.FLAVOURS, "tensorrt", SimpleNamespace(load=lambda: trt))
    return context_module, calls


def test_a_context_is_sized_before_memory_is_taken_and_run_once_before_it_is_captured(monkeypatch):
    module, calls = stand_in(monkeypatch)
    engine = module.tensorrt(PLAN, 96, 128)
    order = ["set_optimization_profile_async", "set_input_shape", "update_device_memory_size_for_shapes", "reserve"]
    order += ["set_device_memory", "set_tensor_address", "execute_async_v3", "begin_building", "end_building", "upload"]
    places = [calls.index(name) for name in order]
    assert places == sorted(places)
    assert calls.count("execute_async_v3") == 2
    del calls[:]
    engine.replay()
    assert calls == ["upload", "launch", "download", "sync"]  # a call only replays


BROKEN = {
    "execution": ({"execute_async_v3": lambda _: False}, RuntimeError, "library's words"),
    "plan": ({"deserialize": lambda _: None}, PlanRefused, "library's words"),
    "profile": ({"num_optimization_profiles": 0}, EngineError, "no profile"),
    "shape": ({"set_input_shape": lambda *_: False}, EngineError, "refuses shape"),
    "address": ({"set_tensor_address": lambda *_: False}, EngineError, "refuses address"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_answer_of_the_library_is_looked_at(monkeypatch, name):
    broken, kind, told = BROKEN[name]
    module, _ = stand_in(monkeypatch, **broken)
    with pytest.raises(kind, match=told):
        module.tensorrt(PLAN, 96, 128)
