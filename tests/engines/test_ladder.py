"""Whatever goes wrong on a rung, the same cycle is served by the next one, and the answer says which."""

import gc
import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engines.golden import HEIGHT, WIDTH, unpack
from engines.ladder import FORGOTTEN_SECONDS, Ladder, Rung
from engines.order import Order
from engines.parity import check_engine, require_parity
from engines.plan import shipped_plan
from engines.process import EngineProcess, Limits
from engines.runtimes import extrapolation, make_rungs
from nowcast.errors import EngineError, EngineFault
from nowcast.models.spec import Inputs

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLAN = shipped_plan("advection")
QUICK = Limits(load=5, wait=5, call=1)


def inputs(height=64, width=64, seed=1):
    rng = np.random.default_rng(seed)
    stack = rng.random((1, 4, height, width), np.float32)
    motion = rng.random((1, 2, height // 4, width // 4), np.float32)
    return Inputs(stack, np.ones_like(stack), motion)


def fake(name, limits=QUICK, rung="tensorrt"):
    return Rung(rung, f"tests.engines.fakes:{name}", PLAN, limits)


@pytest.fixture
def ladder_of():
    made = []

    def make(*rungs):
        made.append(Ladder(lambda _: list(rungs), threads=1, processes=True))
        return made[-1]

    yield make
    for ladder in made:
        ladder.close()


def serve(ladder, height=64, width=64):
    return ladder.serve("advection", height, width, lambda spec: inputs(height, width), NOW)


BROKEN = {
    "Hangs": "no answer within 1 s",
    "HangsHoldingTheInterpreter": "no answer within 1 s",
    "Stopped": "no answer within 1 s",
    "Crashes": "SIGSEGV",
    "IsKilled": "SIGKILL",
    "Exits": "exit status 0",
    "OutOfMemory": "out of memory",
    "StickyError": "illegal memory access",
    "SaysNo": "execute_async_v3",
    "GivesNan": "nan",
    "OutOfRange": "70000",
    "CrashesAtLoad": "SIGSEGV",
    "AllZero": "differs from the PyTorch reference",
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_goes_wrong_costs_one_rung(ladder_of, name):
    ladder = ladder_of(fake(name), extrapolation())
    start = time.monotonic()
    served = serve(ladder)
    assert time.monotonic() - start < 10  # the promise: seen within ten seconds, the process's start included
    assert served.rung == "extrapolation"
    assert BROKEN[name] in served.passed_over["tensorrt"]
    assert np.isfinite(served.outputs["rain_mean"]).all()
    again = time.monotonic()
    assert serve(ladder).passed_over["tensorrt"] == served.passed_over["tensorrt"]
    assert time.monotonic() - again < 0.5  # latched: the rung is not tried again


def test_a_hang_at_load_is_ended_at_its_deadline(ladder_of):
    served = serve(ladder_of(fake("HangsAtLoad", Limits(load=1.5, wait=1.5, call=1)), extrapolation()))
    assert "not built within 1.5 s" in served.passed_over["tensorrt"]


def test_the_next_rung_serves_while_a_better_one_is_being_built(ladder_of):
    ladder = ladder_of(fake("SlowToLoad", Limits(load=30, wait=0.1, call=5)), extrapolation())
    first = serve(ladder)
    assert first.rung == "extrapolation"
    assert "being built" in first.passed_over["tensorrt"]
    rungs = []
    while len(rungs) < 100 and "tensorrt" not in rungs:
        rungs.append(serve(ladder).rung)
        time.sleep(0.1)
    assert rungs[-1] == "tensorrt"


def test_cycles_wait_once_for_what_is_being_built(ladder_of, monkeypatch):
    """Every region of every cycle waiting anew would make them all late for as long as a compiler takes."""
    waits, finish = [], EngineProcess.finish

    def counted(process, seconds):
        waits.append(max(seconds, 0) if process._building else 0)
        return finish(process, seconds)

    monkeypatch.setattr(EngineProcess, "finish", counted)
    ladder = ladder_of(fake("SlowToLoad", Limits(load=30, wait=0.2, call=5)), extrapolation())
    first, *_ = [serve(ladder).rung for _ in range(4)]
    assert first == "extrapolation"
    assert 0 < sum(waits) <= 0.2


def test_a_rung_is_tried_again_after_its_rest_and_in_a_new_process(ladder_of):
    ladder = ladder_of(fake("Good"), extrapolation())
    assert serve(ladder).rung == "tensorrt"
    step = ladder._steps[fake("Good").key]
    pid = step._home.pid
    os.kill(pid, signal.SIGKILL)
    assert serve(ladder).rung == "extrapolation"
    now = time.monotonic()
    step.latch.clock = lambda: now + 61
    assert serve(ladder).rung == "tensorrt"
    assert step._home.pid != pid


def test_what_does_not_fit_is_told_again_and_the_other_shapes_are_served(ladder_of):
    ladder = ladder_of(fake("TooLarge"), extrapolation())
    assert serve(ladder).rung == "tensorrt"
    for _ in range(3):
        assert serve(ladder, 128, 128).passed_over == {"tensorrt": "engines need 3 GiB"}
        assert serve(ladder).rung == "tensorrt"
    assert not ladder._steps[fake("TooLarge").key].latch.faults


def test_what_does_not_fit_while_another_shape_is_called_is_told_again(ladder_of):
    ladder = ladder_of(fake("TooLarge", Limits(load=5, wait=0.2, call=5)), extrapolation())
    until = time.monotonic() + 20
    while serve(ladder).rung != "tensorrt" and time.monotonic() < until:
        pass
    assert "being built" in serve(ladder, 128, 128).passed_over["tensorrt"]
    time.sleep(0.6)
    assert "3 GiB" in serve(ladder).passed_over["tensorrt"]
    assert serve(ladder).rung == "tensorrt"
    assert "being built" in serve(ladder, 128, 128).passed_over["tensorrt"]


def test_golden_cases_that_do_not_fit_are_told_again(ladder_of):
    ladder = ladder_of(fake("TooLargeFromTheStart"), extrapolation())
    assert [serve(ladder).passed_over["tensorrt"] for _ in range(3)] == ["engines need 3 GiB"] * 3


def test_what_no_model_has_any_more_ends_with_its_process():
    old, new = fake("Good"), replace(fake("Good"), plan=replace(PLAN, digest="new"))
    rungs = {"a": [old], "b": [old]}
    ladder = Ladder(rungs.__getitem__, threads=1, processes=True)

    def home_after(model):
        ladder.serve(model, 64, 64, lambda _: inputs(), NOW)
        return ladder._steps[old.key]._home if old.key in ladder._steps else None

    try:
        process = home_after("a")
        rungs["a"] = [replace(old, name="previous")]
        rungs["b"] = [new]
        assert home_after("b") is home_after("a") is process, "the other model still has it, as its previous plan"
        rungs["a"] = [new]
        assert home_after("a") is None
        assert not process.alive
        assert set(ladder._steps) == {new.key}
    finally:
        ladder.close()


def test_a_model_that_nobody_asks_for_ends_with_its_process():
    rungs = {"old": [fake("Good")], "new": [fake("TooLarge"), extrapolation()]}
    ladder, now = Ladder(rungs.__getitem__, threads=1, processes=True), [0.0]
    ladder.clock = lambda: now[0]

    def steps_after(model, seconds):
        now[0] = seconds
        ladder.serve(model, 64, 64, lambda _: inputs(), NOW)
        return set(ladder._steps)

    try:
        steps_after("old", 1)
        process = ladder._steps[fake("Good").key]._home
        assert steps_after("new", FORGOTTEN_SECONDS) == {fake("Good").key, fake("TooLarge").key}
        assert process.alive
        assert steps_after("new", FORGOTTEN_SECONDS + 1) == {fake("TooLarge").key}
        assert not process.alive
    finally:
        ladder.close()


def test_rests_grow_and_end_for_good():
    from engines.latch import LONGEST_REST, MOST_FAULTS, Latch

    now = [0.0]
    latch, rests = Latch(lambda: now[0]), []
    for _ in range(MOST_FAULTS - 1):
        latch.trip("fault")
        begun = now[0]
        while latch.open:
            now[0] += 10
        rests.append(now[0] - begun)
    assert rests == sorted(rests)
    assert rests[-1] <= LONGEST_REST
    latch.trip("once more")
    now[0] += 1e9
    assert latch.open


def test_no_rung_is_refused_with_every_reason(ladder_of):
    with pytest.raises(EngineError, match=r"SIGSEGV.*no answer") as error:
        serve(ladder_of(fake("Crashes"), fake("Hangs", rung="previous")))
    assert "nowcast doctor" in str(error.value)


def test_the_ladder_of_this_machine_serves_in_processes():
    ladder = Ladder(make_rungs(), threads=2, processes=True)
    served = serve(ladder)
    assert not served.passed_over
    assert served.plan == PLAN.digest
    ladder.close()


def test_an_engine_process_gives_what_the_engine_gives():
    process = EngineProcess()
    order = Order("engines.openvino:OpenVinoEngine", PLAN, 64, 128)
    engine, here = process.open(order, Limits()), order.build()
    for seed in (1, 2):
        case = inputs(64, 128, seed)
        there = engine(case)
        assert all(np.array_equal(there[name], values) for name, values in here(case).items())
    assert engine.versions == here.versions
    process.close()
    with pytest.raises(EngineFault):
        engine(case)


def test_a_process_that_stands_by_loads_its_library_and_takes_the_first_order():
    ladder = Ladder(make_rungs(), threads=2, processes=True)
    try:
        ladder.stand_by("advection")
        [step] = ladder._steps.values()
        pid, until = step._home.pid, time.monotonic() + 30
        while "openvino" not in Path(f"/proc/{pid}/maps").read_text() and time.monotonic() < until:
            time.sleep(0.05)
        assert "openvino" in Path(f"/proc/{pid}/maps").read_text()
        assert (serve(ladder).rung, step._home.pid) == ("openvino", pid)
    finally:
        ladder.close()


def test_what_may_not_be_loaded_does_not_stand_by(ladder_of):
    refused = replace(fake("Good"), refused="expired")
    ladder = ladder_of(refused)
    ladder.stand_by("advection")
    assert [step._home for step in ladder._steps.values()] == [None]
    ladder = ladder_of(refused, fake("Good", rung="previous"), fake("Works", rung="last"))
    ladder.stand_by("advection")
    assert [step._home is not None for step in ladder._steps.values()] == [False, True]


@pytest.mark.parametrize(
    ("text", "told"), [(None, "No module named 'runtime_of'"), ("raise OSError('libx.so')", "libx")]
)
def test_a_library_that_cannot_be_imported_is_told_when_it_is_ordered(text, told, tmp_path, monkeypatch):
    if text:
        (tmp_path / "runtime_of.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = EngineProcess("runtime_of:Engine")
    engine = process.open(Order("runtime_of:Engine", PLAN, 64, 64), Limits())
    with pytest.raises(EngineFault, match=told):
        engine(inputs(64, 64))


def test_an_idle_process_ends_with_its_parent():
    process = EngineProcess()
    process._channel.close()
    assert process._child.wait(10) == 0


def test_extrapolation_does_what_the_reference_does():
    records = check_engine(PLAN, extrapolation_engine, NOW)
    require_parity(records)
    assert min(r.psnr_all for r in records) > 60


def extrapolation_engine(plan, height, width):
    return Order(extrapolation().factory, plan, height, width).build()


def test_golden_cases_have_the_shape_that_the_fakes_pass():
    assert unpack(PLAN.golden())[0].inputs.stack.shape[2:] == (HEIGHT, WIDTH)


def test_a_process_that_nobody_holds_any_more_is_ended():
    process = EngineProcess()
    child = process._child
    del process
    gc.collect()
    assert child.returncode is not None
