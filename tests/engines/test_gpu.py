"""On an NVIDIA GPU (`pytest -m gpu`): parity, static memory, faults, refused plans."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.gpu import random_inputs
from engines import lifecycle
from engines.gpu import find_gpu
from engines.keys import Keyring, SharedKey
from engines.ladder import Ladder, Rung
from engines.lifecycle import Recipe
from engines.memory import MEBI
from engines.order import Order
from engines.parity import check_engine, require_parity
from engines.plan import shipped_plan
from engines.planstore import PLAN as PLAN_FILE
from engines.planstore import Shelf
from engines.process import EngineProcess, Limits
from engines.runtimes import extrapolation
from engines.tensorrt import Bucket
from nowcast.errors import DoesNotFit, EngineError, EngineFault, PlanRefused
from nowcast.models.spec import Inputs

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),  # torch's own, in its compiler
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU"),
]

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLAN = shipped_plan("advection")
PATIENT = Limits(load=200, wait=200, call=10)
INDUCTOR = "engines.inductor:InductorEngine"


def inputs(side=64, seed=1):
    rng = np.random.default_rng(seed)
    stack = rng.random((1, 4, side, side), np.float32)
    return Inputs(stack, np.ones_like(stack), rng.random((1, 2, side // 4, side // 4), np.float32))


def serve(ladder):
    return ladder.serve("advection", 64, 64, lambda _: inputs(), NOW)


@pytest.fixture(scope="module")
def engine():
    from engines.inductor import InductorEngine

    return InductorEngine(PLAN, 256, 256)


def test_a_gpu_is_found():
    gpu = find_gpu()
    print(gpu)
    assert gpu


@pytest.mark.parametrize("fault", ["IllegalAccess", "DeviceHang", "DeviceOutOfMemory"])
def test_a_gpu_fault_costs_one_rung(fault):
    rung = Rung("tensorrt", f"tests.engines.gpu_fakes:{fault}", PLAN, Limits(load=60, wait=60, call=3))
    ladder = Ladder(lambda _: [rung, extrapolation()], 1, processes=True)
    try:
        served = serve(ladder)
        assert served.rung == "extrapolation"
        print(fault, "→", served.passed_over["tensorrt"])
        assert torch.ones(1000, device="cuda").sum().item() == 1000  # the GPU is well for everyone else
    finally:
        ladder.close()


BAD = {"garbage": os.urandom(4096), "empty": b"", "truncated": b"ftrt" + bytes(100)}


@pytest.mark.parametrize("name", BAD)
def test_the_lean_runtime_refuses_bad_plans(name, tmp_path):
    pytest.importorskip("tensorrt_lean_libs", reason="pip install 'nowcast[lean]'")
    from hashlib import sha256

    (tmp_path / "plan.bin").write_bytes(BAD[name])
    plan = replace(PLAN, folder=tmp_path, file="plan.bin", digest=sha256(BAD[name]).hexdigest())
    process = EngineProcess()
    try:
        engine = process.open(Order("engines.context:tensorrt_lean", plan, 64, 64), Limits())
        with pytest.raises((PlanRefused, EngineError, EngineFault)) as error:
            engine(inputs())
        print(name, "→", type(error.value).__name__, error.value)
    finally:
        process.close()


def test_what_is_compiled_on_the_spot_passes_the_gate():
    from engines.inductor import InductorEngine

    records = check_engine(PLAN, InductorEngine, NOW)
    require_parity(records)
    print(f"advection: least PSNR {min(r.psnr_all for r in records):.1f} dB")


def test_a_compiled_plan_is_built_signed_promoted_and_serves_from_its_process(tmp_path):
    """Nothing is compiled when it is loaded: what was built is what serves."""
    gpu = find_gpu()
    key = SharedKey(b"k" * 32)
    shelf = Shelf(tmp_path, "standard", "inductor", Keyring(key))
    manifest, missing = lifecycle.build(shelf, Recipe("standard", "inductor", "fp16", (Bucket(1, ((512, 512),)),)), NOW)
    assert not missing
    assert (manifest.host.gpu, manifest.host.driver) == (gpu.name, gpu.driver)
    shelf.sign(1, key)
    lifecycle.promote(shelf, 1, NOW)
    rungs = lifecycle.PromotedPlans(tmp_path, Keyring(key), lambda: NOW)
    ladder = Ladder(lambda model: [replace(r, limits=PATIENT) for r in rungs(model)], 1, processes=True)
    try:
        start = time.monotonic()
        served = ladder.serve("standard", 512, 512, lambda spec: random_inputs(spec, 1), NOW)
        print(
            f"proven and served after {time.monotonic() - start:.1f} s; least PSNR {min(manifest.scores.values())} dB"
        )
        assert (served.rung, served.plan, served.passed_over) == ("inductor", manifest.files[PLAN_FILE], {})
    finally:
        ladder.close()


def test_the_same_inputs_give_the_same_outputs(engine):
    first = {n: v.copy() for n, v in engine(inputs(256)).items()}
    engine(inputs(256, 2))
    assert all(np.array_equal(v, first[n]) for n, v in engine(inputs(256)).items())


def test_ten_thousand_cycles_take_no_byte_more(engine):
    """Counted by the driver for the whole GPU: nothing else may run on it."""
    from engines.device import the_card

    case = inputs(256)
    engine(case)
    free, _ = the_card().memory()
    count = torch.cuda.memory_stats()["allocation.all.allocated"]
    for _ in range(10_000):
        engine.replay()
    assert the_card().memory()[0] == free
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == count


def test_engines_share_their_scratch(engine):
    from engines.inductor import InductorEngine

    mine = {n: v.copy() for n, v in engine(inputs(256)).items()}
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    second = InductorEngine(PLAN, 128, 256)
    rng = np.random.default_rng(3)
    stack = rng.random((1, 4, 128, 256), np.float32)
    second(Inputs(stack, np.ones_like(stack), np.zeros((1, 2, 32, 64), np.float32)))
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= before + 2 * MEBI
    assert all(np.array_equal(v, mine[n]) for n, v in engine(inputs(256)).items())


def test_what_does_not_fit_is_refused_before_anything_is_loaded(engine):
    from engines.device import Resident, the_card

    need = Resident.need("huge", PLAN.spec, 1, 65536, 65536, 0, 0)
    with pytest.raises(DoesNotFit, match="huge"):
        the_card().reserve(need)


def test_inductor_serves_from_its_process_on_shared_pinned_memory():
    ladder = Ladder(lambda _: [Rung("inductor", INDUCTOR, PLAN, PATIENT, "fp16"), extrapolation()], 1, processes=True)
    try:
        served, expected = serve(ladder), Order(extrapolation().factory, PLAN, 64, 64).build()(inputs())
        assert (served.rung, served.passed_over) == ("inductor", {})
        assert np.abs(served.outputs["rain_mean"] - expected["rain_mean"]).max() < 0.01
    finally:
        ladder.close()
