"""The engines of all regions are counted before any is loaded; a set that does not fit is refused with the table."""

import pytest

from engines.gpu import Gpu
from engines.ladder import Rung
from engines.memory import CONTEXT, MEBI, SCRATCH_PER_PIXEL, total
from engines.plan import shipped_plan
from engines.runtimes import BY_NAME, RUNTIMES, extrapolation, rung_of
from jobs import doctor, fit
from jobs.worker import open_cycle
from nowcast.config import Settings
from nowcast.errors import DoesNotFit
from nowcast.grid import Grid
from nowcast.region import Region, Regions


def card(mebibytes):
    return Gpu("a card", "8.9", "580", mebibytes * MEBI)


def region(name, model="edge", side=512, margin=0):
    return Region(name, name, Grid("EPSG:2056", 0, 0, 1000, 1000, side, side), ("cf",), model, margin)


def rungs(model):
    on_gpu = rung_of(BY_NAME["tensorrt"], shipped_plan(model), "fp16")
    return [on_gpu, rung_of(BY_NAME["openvino"], shipped_plan(model)), extrapolation()]


REGIONS = Regions({r.name: r for r in (region("a"), region("b"), region("c", margin=64), region("d", "standard"))})


def test_regions_of_one_model_and_shape_share_an_engine_and_models_share_no_process():
    edge, standard = fit.require_regions_fit(REGIONS, rungs, card(80_000))
    assert [n.name for n in edge] == ["edge 1×512×512, tensorrt", "edge 1×640×640, tensorrt"]
    assert [n.name for n in standard] == ["standard 1×512×512, tensorrt"]
    fields = 2 * 4 + 2 / 16 + 8 / 16 + 1 / 1024 + 24 * 9  # stack and mask, motion, noise, pixel, products and coverage
    assert edge[0].resident == 512 * 512 * 4 * fields + len(shipped_plan("edge").graph())


def test_as_much_is_counted_as_one_h200_took():
    """`benchmarks/results/gpu-standard.json`: 1,787,625,472 bytes in all for one region of 512² by inductor."""
    inductor = rung_of(BY_NAME["inductor"], shipped_plan("standard"))
    (needs,) = fit.require_regions_fit(Regions({"d": region("d", "standard")}), lambda _: [inductor], card(80_000))
    assert 1 < (total(needs) + CONTEXT) / 1_787_625_472 < 1.15


def test_every_runtime_on_a_gpu_has_its_scratch():
    assert {r.rung for r in RUNTIMES if r.capabilities is not None} == set(SCRATCH_PER_PIXEL)


def test_what_does_not_fit_together_is_refused_with_the_table():
    enough = sum(total(needs) + CONTEXT for needs in fit.require_regions_fit(REGIONS, rungs, card(80_000)))
    fit.require_regions_fit(REGIONS, rungs, Gpu("a card", "8.9", "580", enough))
    with pytest.raises(DoesNotFit) as error:
        fit.require_regions_fit(REGIONS, rungs, Gpu("a card", "8.9", "580", enough - 1))
    told = str(error.value)
    for part in ("3 engines need", "edge 1×640×640", "standard 1×512×512", "fewer or smaller"):
        assert part in told
    assert told.count("CUDA itself") == 2


def test_nothing_is_asked_of_a_card_that_is_not_there_or_has_no_rung():
    assert fit.require_regions_fit(REGIONS, rungs, None) == []
    assert fit.require_regions_fit(REGIONS, lambda model: rungs(model)[1:], card(1)) == []
    refused = Rung("tensorrt", BY_NAME["tensorrt"].factory, shipped_plan("edge"), refused="expired")
    assert fit.require_regions_fit(REGIONS, lambda model: [refused, *rungs(model)[1:]], card(1)) == []


def test_worker_and_doctor_say_so_at_the_start(monkeypatch, tmp_path):
    for module in ("jobs.worker", "jobs.doctor"):
        monkeypatch.setattr(f"{module}.find_gpu", lambda: card(1000))
        monkeypatch.setattr(f"{module}.configured_rungs", lambda *_: rungs)
    settings = Settings(data_dir=tmp_path)
    with pytest.raises(DoesNotFit, match="edge-members 1×224×224"):
        open_cycle(settings)
    (found,) = (f for f in doctor.examine(settings) if f.subject == "gpu memory")
    assert found.state == "bad"
    assert "edge-members 1×224×224" in found.told
    assert list(tmp_path.iterdir()) == []
