"""The members in the file of `nowcast forecast`: from a plan that shows them, else from the reference."""

import importlib.util

import numpy as np
import pytest
import xarray as xr

from engines.golden import unpack
from engines.ladder import Ladder
from engines.members import reference, rungs_with_members
from engines.plan import shipped_plan
from engines.reference import ByLead, TorchEngine
from engines.runtimes import make_rungs
from jobs.oneshot import forecast_files
from nowcast.errors import ConfigError, RuntimeMissing
from nowcast.output import forecast_dataset, names_of
from nowcast.region import Regions
from tests.jobs.feeds import BASE, GRID, minutes, write


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("feed")
    return [write(folder, BASE + minutes(m)) for m in (-15, -10, -5, 0)]


def forecast(files, folder, model, members, leads=24):
    ladder = Ladder(make_rungs() if members is None else rungs_with_members(make_rungs(), members), threads=1)
    forecast_files(files, folder / "out.nc", leads, None, Regions({}), model, ladder, members)
    with xr.open_dataset(folder / "out.nc", decode_timedelta=True) as dataset:
        return dataset.load()


def test_members_have_a_dimension_of_their_own(files, tmp_path):
    made = forecast(files, tmp_path, "edge", 3, leads=6)
    members = made["rain_member"]
    assert members.dims == ("realization", "lead_time", "y", "x")
    assert members.shape == (3, 6, *GRID.shape)
    assert members.attrs["standard_name"] == "rainfall_rate"
    assert members.attrs["units"] == "mm h-1"
    assert made["realization"].values.tolist() == [1, 2, 3]
    assert made["realization"].attrs["standard_name"] == "realization"
    assert made.attrs["rung"] == "openvino"
    assert np.array_equal(np.isnan(members.values[2]), np.isnan(made["rain_mean"].values))


def test_the_plan_with_members_and_the_reference_tell_the_same(files, tmp_path):
    plan = forecast(files, tmp_path, "edge-members", None)
    ladder = Ladder(lambda model: [reference(shipped_plan("edge"), 8)], threads=1)
    forecast_files(files, tmp_path / "out.nc", 24, None, Regions({}), "edge", ladder)
    with xr.open_dataset(tmp_path / "out.nc", decode_timedelta=True) as torch:
        assert torch.attrs["rung"] == "reference"
        assert torch["rain_member"].shape == (8, 24, *GRID.shape)
        for name in ("rain_mean", "prob_1"):
            assert float(np.nanmean(np.abs(torch[name].values - plan[name].values))) < 1e-3, name
        ours, theirs = plan["rain_member"].values, torch["rain_member"].values
    assert np.nanmax(np.abs(np.sort(ours, 0) - np.sort(theirs, 0))) < 1e-3, "the same values at every pixel"
    assert np.nanmean(np.abs(ours - theirs) > 1e-3) < 0.01, "members that tie may swap, and few do"


def test_standard_gives_its_members_by_the_reference(files, tmp_path):
    made = forecast(files, tmp_path, "standard", 24)
    members = made["rain_member"].values
    assert made.attrs["rung"] == "reference"
    assert members.shape == (24, 24, *GRID.shape)
    wet = made["rain_mean"].values >= 0.5  # a mean under 0.1 mm/h is dry
    assert np.allclose(members.mean(0)[wet], made["rain_mean"].values[wet], atol=0.02)
    assert members[:, wet].std(0).mean() > 0.1


def test_the_reference_lead_by_lead_is_the_reference():
    plan = shipped_plan("edge")
    case = unpack(plan.golden())[1]
    whole, parts = TorchEngine(plan.spec)(case.inputs), ByLead(plan, 64, 96, threads=1)(case.inputs)
    assert whole.keys() == parts.keys()
    assert max(np.abs(whole[name] - parts[name]).max() for name in whole) < 1e-4


@pytest.mark.parametrize(
    ("model", "members", "told"),
    [
        ("standard", 25, "has 24; ask for 1 to 24$"),
        ("standard", 0, "has 24; ask for 1 to 24$"),
        ("edge", 9, "has 8; ask for 1 to 8, or take --model standard"),
        ("advection", 1, "has none; take --model standard"),
    ],
)
def test_more_members_than_there_are_is_told(model, members, told):
    with pytest.raises(ConfigError, match=told):
        rungs_with_members(make_rungs(), members)(model)


def test_without_torch_it_says_what_to_install_and_what_needs_none(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(RuntimeMissing, match=r"pip install 'nowcast\[reference\]', or take --model edge"):
        rungs_with_members(make_rungs(), 8)("standard")
    assert {rung.plan.spec.name for rung in rungs_with_members(make_rungs(), 8)("edge")} == {"edge-members"}


def test_a_member_alone_is_described_as_rain():
    rain = np.zeros((2, *GRID.shape), np.float32)
    made = forecast_dataset({"rain_member_07": rain, "prob_1": rain}, GRID, BASE, {})
    assert made["rain_member_07"].attrs["units"] == "mm h-1"
    assert made["rain_member_07"].attrs["long_name"] == "rain rate, member 7 of the ensemble"
    assert made["prob_1"].attrs["long_name"] == "probability of a rain rate of at least 1 mm/h"
    assert names_of("rain_member_12") == ("rainfall_rate", "mm h-1", "rain rate, member 12 of the ensemble")
