"""Compiled functions: leads in groups are the leads at once, and a plan is loaded by itself."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import torch

from benchmarks.gpu import random_inputs
from engines import compiled, lifecycle
from engines.compiled import GROUP, Compiled, Parts, modules_of
from engines.half import Half
from engines.keys import Keyring
from engines.planstore import Shelf
from engines.reference import build_model, spec_of
from nowcast.errors import EngineError, PlanRefused

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's compiler's own
SIDE = 64


def outputs_of(parts, inputs):
    """Outputs of all leads, and the first lead of each group."""
    firsts, made = zip(*parts(*inputs), strict=True)
    return [torch.cat(leads, 1) for leads in zip(*made, strict=True)], firsts


def inputs_of(name):
    return tuple(torch.from_numpy(v) for v in random_inputs(spec_of(build_model(name)), 1, SIDE).named().values())


def test_leads_in_groups_are_the_leads_at_once():
    """Without the compiler, which takes minutes here."""
    inputs = inputs_of("edge")
    with torch.no_grad():
        found, firsts = outputs_of(Parts(modules_of("edge")), inputs)
        expected = Half(build_model("edge"))(*inputs)
    assert firsts == tuple(range(0, 24, GROUP))
    for name, a, b in zip(spec_of(build_model("edge")).outputs, found, expected, strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=1e-3), name


def test_a_file_of_another_model_or_none_is_refused():
    other = Compiled("edge").pack()
    for data, reason in ((other, "it is of edge"), (b"garbage", "not a zip"), (other[:-100], "not a zip")):
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


def test_a_shape_that_a_plan_lacks_is_compiled_of_the_plans_weights(monkeypatch):
    """Not of those that the project has by now, which the plan's proof does not speak for."""
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # takes minutes here
    inputs, mended = inputs_of("edge"), build_model("edge")
    with torch.no_grad():
        mended.cascade.memory += 0.3
        with monkeypatch.context() as then:
            then.setattr(compiled, "build_model", lambda _: mended)
            plan = Compiled("edge").pack()
        models = Compiled.of_file("edge", plan), Compiled("edge")
        found, own = (outputs_of(model.parts(SIDE, SIDE, "cpu"), inputs)[0] for model in models)
        expected = Half(mended)(*inputs)
    assert torch.allclose(found[0], expected[0], atol=1e-3)
    assert not torch.allclose(found[0], own[0], atol=1e-3)


def test_a_shape_that_a_plan_of_another_version_lacks_is_refused(monkeypatch):
    plan = Compiled.of_file("edge", Compiled("edge").pack())
    monkeypatch.setattr(compiled, "build_model", lambda _: build_model("standard"))
    with pytest.raises(PlanRefused, match="edge of another version, and not of this region's shape; build it"):
        plan.parts(SIDE, SIDE, "cpu")


def test_without_a_compiler_nothing_is_built():
    nowhere = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-g++")})
    with nowhere, pytest.raises(EngineError, match=r"no C\+\+ compiler to build with: install g\+\+"):
        Compiled("persistence").add(inputs_of("persistence"))


@pytest.mark.skipif(not shutil.which("g++"), reason="torch's inductor needs a C++ compiler on the CPU")
def test_a_plan_is_loaded_without_its_model_or_a_compiler_and_leaves_nothing_on_the_disk(tmp_path):
    model, inputs = Compiled("persistence"), inputs_of("persistence")
    model.add(inputs)
    (tmp_path / "plan").write_bytes(model.pack())
    torch.save(inputs, tmp_path / "inputs")
    work = tmp_path / "work"
    work.mkdir()
    code = f"""
import sys, torch
from pathlib import Path
from engines import compiled
compiled.modules_of = None
there = Path({str(tmp_path)!r})
parts = compiled.Compiled.of_file("persistence", (there / "plan").read_bytes()).parts(*{(SIDE, SIDE)}, "cpu")
[(first, outputs)] = parts(*torch.load(there / "inputs"))
torch.save([first, *outputs], there / "outputs")
print(*{{"torch._dynamo", "torch._inductor", "triton"}}.intersection(sys.modules))
"""
    environment = {**os.environ, "TMPDIR": str(work)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert list(work.iterdir()) == []
    first, *found = torch.load(tmp_path / "outputs")
    [expected] = modules_of("persistence")
    assert first == 0
    assert found[0].shape == (1, 24, SIDE, SIDE)
    assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(found, expected(*inputs), strict=True))
