"""FP16 as written in torch: halves where they should be, and arithmetic that passes the gate."""

from datetime import UTC, datetime

import pytest
import torch

from engines.half import Half
from engines.parity import check_engine, require_parity
from engines.plan import shipped_plan
from engines.reference import TorchEngine
from nowcast.models.registry import create

SIZE = 64


class HalfEngine(TorchEngine):
    """The reference in FP16 on the CPU."""

    def __init__(self, spec):
        super().__init__(spec)
        self._model = Half(self._model)


@pytest.fixture(scope="module")
def prepared():
    cascade = Half(create("edge")).model.cascade
    stack, noise = torch.rand(1, 4, SIZE, SIZE), torch.randn(1, 8, 1, SIZE // 4, SIZE // 4)
    with torch.no_grad():
        still = torch.zeros(1, 2, SIZE // 4, SIZE // 4)
        yield cascade, cascade.prepare(stack.half(), torch.ones_like(stack).half(), still, noise.half())


def test_members_are_halves_and_coordinates_are_not(prepared):
    """Members of all leads are the largest tensors by far; one FP32 factor would make them FP32."""
    cascade, ready = prepared
    each = cascade.each([0, 11], ready)
    assert cascade.levels_at(ready, each).members.dtype == torch.float16
    assert {each.positions.dtype, ready.drift.dtype} == {torch.float32}


def test_noise_that_is_all_alike_is_no_nan_in_halves(prepared):
    cascade, _ = prepared
    for noise in (torch.zeros(1, 8, SIZE, SIZE), torch.ones(1, 8, SIZE, SIZE)):
        assert all(bool(torch.isfinite(band).all()) for band in cascade.noise_bands(noise.half()))
        assert bool(torch.isfinite(cascade.drift(noise.half())).all())


@pytest.mark.parametrize(("model", "fp32_reaches"), [("advection", 95), ("edge", 80), ("standard", 80)])
def test_arithmetic_in_halves_passes_the_gate(model, fp32_reaches):
    plan = shipped_plan(model)
    records = check_engine(plan, lambda *_: HalfEngine(plan.spec), datetime.now(UTC), "fp16")
    require_parity(records)
    assert min(record.psnr_all for record in records) < fp32_reaches
