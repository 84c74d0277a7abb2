"""The gate passes the engine that serves, and fails every sabotaged one."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import onnx
import pytest

from engines.export import export, require_fp32_grids, require_free_sizes
from engines.golden import HEIGHT, WIDTH, make_cases, pack, unpack
from engines.lifecycle import hold
from engines.openvino import OpenVinoEngine
from engines.parity import check_engine, require_parity
from engines.plan import read_plan, shipped_plan
from engines.reference import TorchEngine
from engines.runtimes import BY_NAME
from nowcast.errors import EngineError, ParityFailed, RuntimeMissing
from nowcast.models import registry
from nowcast.models.advection import Advection
from nowcast.models.spec import Inputs

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLAN = shipped_plan("advection")


def test_openvino_does_what_the_reference_does():
    records = check_engine(PLAN, OpenVinoEngine, NOW)
    assert {r.case for r in records} == {"dry", "convective", "stratiform", "radar-edge", "extreme"}
    require_parity(records)
    assert min(r.psnr_all for r in records) > 60
    assert {(r.plan, r.runtime, r.precision) for r in records} == {(PLAN.digest, "openvino", "fp32")}
    assert {r.csi_difference for r in records if r.product == "rain_mean" and r.case != "dry"} == {0.0}
    assert {r.csi_difference for r in records if r.product == "coverage"} == {None}


def test_a_runtime_that_is_not_there_says_how_to_get_it():
    with pytest.raises(RuntimeMissing, match=r"torch: not installed: pip install 'nowcast\[reference\]'"):
        hold(PLAN, replace(BY_NAME["torch"], modules=("no_such_module",)), NOW)


def test_the_plan_that_ships_is_the_model_at_another_batch_and_size():
    plan = shipped_plan("edge")
    cases = [case.inputs.named() for case in unpack(plan.golden()) if case.name in {"convective", "stratiform"}]
    inputs = Inputs(*(np.concatenate([np.tile(case[name], (3, 2)) for case in cases]) for name in cases[0]))
    assert inputs.stack.shape == (2, 4, 192, 192)
    found, expected = OpenVinoEngine(plan, 192, 192, batch=2)(inputs), TorchEngine(plan.spec)(inputs)
    for name, was in expected.items():
        wet = was > 0.004
        assert -10 * np.log10(np.mean((found[name] - was)[wet] ** 2) + 1e-20) > 60, name


class Fixed(Advection):
    """Takes its batch as a number."""

    def forward(self, stack, mask, motion):
        moved, coverage = super().forward(stack, mask, motion)
        return moved.reshape(len(stack), 24, *stack.shape[-2:]), coverage


def test_a_graph_that_is_fixed_to_the_batch_of_its_trace_is_refused_by_its_export(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.MODELS, "advection", Fixed)
    with pytest.raises(EngineError, match=r"batch 3 of 128×192, traced with 2 of 64×96 .*OpenVINO refuses"):
        export("advection", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("wrong", "told"), [(lambda v: v[:2], r"is \(3, 24, 128, 192\)"), (np.zeros_like, "dB")])
def test_a_graph_that_is_another_model_at_other_sizes_is_refused(wrong, told):
    reference = TorchEngine(PLAN.spec)
    with pytest.raises(EngineError, match=f"is not the model at batch 3 .*{told}"):
        require_free_sizes(
            PLAN.graph(),
            PLAN.spec,
            unpack(PLAN.golden()),
            lambda inputs: {name: wrong(values) for name, values in reference(inputs).items()},
        )


@pytest.mark.parametrize(("kind", "fits"), [(onnx.TensorProto.FLOAT, True), (onnx.TensorProto.FLOAT16, False)])
def test_sampling_grids_in_halves_are_refused(kind, fits):
    sizes = {"field": (1, 1, 8, 8), "grid": (1, 8, 8, 2), "moved": (1, 1, 8, 8)}
    field, grid, moved = (onnx.helper.make_tensor_value_info(name, kind, size) for name, size in sizes.items())
    node = onnx.helper.make_node("GridSample", ["field", "grid"], ["moved"])
    graph = onnx.helper.make_model(onnx.helper.make_graph([node], "one", [field, grid], [moved])).SerializeToString()
    with nullcontext() if fits else pytest.raises(EngineError, match="GridSample must be FP32"):
        require_fp32_grids(graph)


@pytest.mark.parametrize("name", ["standard", "edge", "edge-members", "advection"])
def test_sampling_grids_that_ship_are_fp32(name):
    require_fp32_grids(shipped_plan(name).graph())


def test_without_any_noise_nothing_is_nan():
    plan = shipped_plan("edge")
    case = next(case for case in unpack(plan.golden()) if case.name == "convective")
    silent = replace(case.inputs, noise=np.zeros_like(case.inputs.noise))
    outputs = OpenVinoEngine(plan, HEIGHT, WIDTH)(silent)
    assert all(np.isfinite(values).all() for values in outputs.values())


def test_the_golden_cases_that_ship_are_those_of_the_reference():
    shipped, made = unpack(PLAN.golden()), unpack(pack(make_cases(PLAN.spec, TorchEngine(PLAN.spec))))
    for old, new in zip(shipped, made, strict=True):
        for name, values in old.inputs.named().items():
            assert np.array_equal(values, new.inputs.named()[name])
        for name, values in old.expected.items():
            assert np.abs(values - new.expected[name]).max() < 1e-3


class Sabotaged(TorchEngine):
    """The reference, with its outputs spoilt."""

    def __init__(self, spoil):
        super().__init__(PLAN.spec)
        self._spoil = spoil

    def __call__(self, inputs):
        outputs = {name: values.copy() for name, values in super().__call__(inputs).items()}
        return self._spoil(inputs, outputs)


def spoil_rain(change):
    return lambda inputs, outputs: {**outputs, "rain_mean": change(inputs, outputs["rain_mean"])}


def one_nan(_, rain):
    rain[0, 3, 10, 10] = np.nan
    return rain


SABOTAGE = {
    "all zero": spoil_rain(lambda _, rain: np.zeros_like(rain)),
    "persistence": spoil_rain(lambda i, rain: np.broadcast_to(i.stack[:, -1:], rain.shape).copy()),
    "shifted by one pixel": spoil_rain(lambda _, rain: np.roll(rain, 1, -1)),
    "leads swapped": spoil_rain(lambda _, rain: rain[:, ::-1]),
    "one NaN": spoil_rain(one_nan),
    "ten per cent too wet": spoil_rain(lambda _, rain: rain * 1.1),
    "coverage full": lambda _, outputs: {**outputs, "coverage": np.ones_like(outputs["coverage"])},
}


def test_a_check_says_how_far_wet_areas_differ():
    records = check_engine(PLAN, lambda *_: Sabotaged(SABOTAGE["shifted by one pixel"]), NOW)
    differences = {r.case: r.csi_difference for r in records if r.product == "rain_mean"}
    assert differences.pop("dry") is None
    assert min(differences.values()) > 0.005


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_fails_the_gate(name):
    records = check_engine(PLAN, lambda *_: Sabotaged(SABOTAGE[name]), NOW)
    with pytest.raises(ParityFailed, match="will not serve"):
        require_parity(records)


def test_no_cases_is_no_proof():
    with pytest.raises(ParityFailed):
        require_parity([])


def test_a_changed_byte_of_the_graph_is_refused(tmp_path):
    for path in PLAN.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    graph = bytearray((tmp_path / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(graph)
    with pytest.raises(EngineError, match="digest"):
        OpenVinoEngine(read_plan(tmp_path), HEIGHT, WIDTH)


def test_another_shape_than_the_one_built_for_is_refused():
    engine = OpenVinoEngine(PLAN, 64, 64)
    wrong = Inputs(np.zeros((1, 4, 64, 96), "f4"), np.zeros((1, 4, 64, 96), "f4"), np.zeros((1, 2, 16, 24), "f4"))
    with pytest.raises(EngineError, match="built for"):
        engine(wrong)


def test_the_same_inputs_give_the_same_outputs():
    engine, case = OpenVinoEngine(PLAN, HEIGHT, WIDTH), unpack(PLAN.golden())[1]
    first, second = engine(case.inputs), engine(case.inputs)
    assert all(np.array_equal(first[name], second[name]) for name in first)
