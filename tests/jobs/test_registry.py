"""A registered model goes on being served when its signed plan is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engines import lifecycle
from engines.keys import Keyring, SharedKey
from engines.ladder import Ladder
from engines.lifecycle import PromotedPlans
from engines.manifest import Manifest
from engines.plan import shipped_plan, write_plan
from engines.planstore import Shelf
from engines.runtimes import BY_NAME, make_rungs
from jobs.registry import with_registered
from nowcast.models.spec import Inputs

NOW = datetime(2026, 11, 21, tzinfo=UTC)
NAME, KEY = "advection-20260301", SharedKey(b"k" * 32)


@pytest.fixture
def registered(tmp_path):
    shipped = shipped_plan("advection")
    spec, golden = replace(shipped.spec, name=NAME), shipped.golden()
    return write_plan(tmp_path / "models" / NAME, spec, shipped.graph(), golden, shipped.versions)


@pytest.mark.parametrize(("keys", "told"), [(Keyring(KEY), "expired"), (Keyring(), "not trusted")])
def test_a_registered_model_whose_signed_plan_is_refused_is_served(registered, tmp_path, keys, told):
    shelf = Shelf(tmp_path / "plans", NAME, "openvino", Keyring(KEY))
    files = {"plan.bin": registered.graph(), "golden.npz": registered.golden()}
    digests = {file: lifecycle._digest(content) for file, content in files.items()}
    here, created = lifecycle.host_of(BY_NAME["openvino"]), NOW - timedelta(days=200)
    shelf.add(Manifest(registered.spec, 1, "fp32", here, digests, created, created + lifecycle.LIFE), files)
    shelf.sign(1, KEY)
    shelf.promote(shelf.verify(1, here, created))
    promoted = PromotedPlans(tmp_path / "plans", keys, lambda: NOW)
    rungs = with_registered(tmp_path / "models", make_rungs(promoted), promoted)
    found = rungs(NAME)
    assert [(r.name, told in r.refused) for r in found] == [
        ("openvino", True), ("openvino", False), ("extrapolation", False),
    ]  # fmt: skip
    ladder = Ladder(rungs, threads=1)
    assert ladder.spec(NAME) == registered.spec, "as when it is not refused: its noise, its members"
    served = ladder.serve(NAME, 64, 64, lambda _: zeros(), NOW)
    assert (served.rung, served.plan, served.spec.name) == ("openvino", registered.digest, NAME)
    assert told in served.passed_over["openvino"]
    ladder.close()


def zeros():
    return Inputs(*(np.zeros(s, "f4") for s in ((1, 4, 64, 64), (1, 4, 64, 64), (1, 2, 16, 16))))
