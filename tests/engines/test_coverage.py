"""A calibration set without storms, or of storms alone, is refused."""

import numpy as np
import pytest

from engines.coverage import LEAST, choose, measure
from engines.golden import unpack
from engines.plan import shipped_plan
from nowcast.errors import EngineError

CASES = [(c.inputs.stack[0], c.inputs.mask[0]) for c in unpack(shipped_plan("advection").golden())]


def test_the_golden_cases_show_every_regime():
    coverage = measure(CASES * LEAST)
    assert all(coverage.counts.values())
    coverage.require()


def test_a_fair_weather_set_is_refused():
    dry = (np.zeros((4, 96, 128), "f4"), np.ones((4, 96, 128), "f4"))
    with pytest.raises(EngineError, match=r"convective: 0 of 8.*extreme: 0 of 8"):
        measure([dry, CASES[2]] * 50).require()


def test_a_mostly_dry_set_is_refused():
    with pytest.raises(EngineError, match="at most 50%"):
        measure([*CASES * LEAST, *[CASES[0]] * 200]).require()


def test_a_chosen_set_covers_every_regime_and_no_more_than_it_takes():
    taken = []
    candidates = (taken.append(n) or CASES[n % len(CASES)] for n in range(10_000))
    chosen = list(choose(candidates))
    measure(chosen).require()
    assert len(chosen) <= len(taken) <= 2 * LEAST * len(CASES)


def test_what_the_candidates_do_not_show_is_still_refused():
    with pytest.raises(EngineError, match="extreme: 0 of 8"):
        measure(choose(CASES[:1] * 100)).require()
