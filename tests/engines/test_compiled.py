"""Compiled functions: leads in groups are the leads at once, and a saved plan is loaded and not compiled again."""

import shutil
from datetime import UTC, datetime

import pytest
import torch

from benchmarks.gpu import random_inputs
from engines import compiled, lifecycle
from engines.compiled import GROUP, Compiled
from engines.half import Half
from engines.keys import Keyring
from engines.planstore import Shelf
from engines.reference import build_model
from nowcast.errors import EngineError, PlanRefused

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's compiler's own
SIDE = 64


def outputs_of(parts, inputs):
    """Outputs of all leads, and the first lead of each group."""
    firsts, made = zip(*parts(*inputs), strict=True)
    return [torch.cat(leads, 1) for leads in zip(*made, strict=True)], firsts


def inputs_of(model):
    return tuple(torch.from_numpy(v) for v in random_inputs(model.spec, 1, SIDE).named().values())


def test_leads_in_groups_are_the_leads_at_once(monkeypatch):
    """Without the compiler, which takes minutes here."""
    monkeypatch.setattr(compiled, "_compile", lambda module, inputs: lambda module, *given: module(*given))
    model = Compiled.of_name("edge")
    inputs = inputs_of(model.model)
    with torch.no_grad():
        found, firsts = outputs_of(model.parts(inputs), inputs)
        expected = Half(build_model("edge"))(*inputs)
    assert firsts == tuple(range(0, 24, GROUP))
    for name, a, b in zip(model.model.spec.outputs, found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=1e-3), name


def test_a_file_of_another_model_or_none_is_refused():
    other = Compiled.of_name("edge").pack()
    for data, reason in ((other, "Missing key"), (b"garbage", "not a zip"), (other[:-100], "not a zip")):
        with pytest.raises(PlanRefused, match=reason):
            Compiled.of_file("standard", data)


@pytest.mark.parametrize(
    ("precision", "reason"), [("fp32", "take --precision fp16"), ("fp16", "on the machine that it serves on")]
)
def test_what_inductor_cannot_build_is_refused(precision, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "find_gpu", lambda: None)
    shelf = Shelf(tmp_path, "edge", "inductor", Keyring())
    with pytest.raises(EngineError, match=reason):
        lifecycle.build(shelf, lifecycle.Recipe("edge", "inductor", precision), datetime.now(UTC))
    assert shelf.versions() == []


@pytest.mark.skipif(not shutil.which("g++"), reason="torch's inductor needs a C++ compiler on the CPU")
def test_a_saved_plan_is_loaded_and_not_compiled_again(monkeypatch):
    model = Compiled.of_name("persistence")
    inputs = inputs_of(model.model)
    with torch.no_grad():
        model.add(inputs)
        expected, _ = outputs_of(model.parts(inputs), inputs)
        saved = model.pack()
        monkeypatch.setattr(compiled, "_compile", lambda *_: pytest.fail("compiled again"))
        loaded = Compiled.of_file("persistence", saved)
        assert loaded.saved.keys() == {(SIDE, SIDE)}
        found, _ = outputs_of(loaded.parts(inputs), inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert found[0].shape == (1, 24, SIDE, SIDE)
