"""Scores against values worked out by hand."""

import numpy as np
import pytest

from nowcast.tally import Tally, band_power, box_mean, crps_terms, tally


def test_crps_of_two_members():
    distance, spread = crps_terms(np.array([[0.0], [2.0]]), np.array([1.0]))
    assert distance == pytest.approx(1.0)
    assert spread == pytest.approx(0.5)  # half the mean of |x - x'| over 4 pairs


def test_tallies_add_and_travel_as_json():
    rng = np.random.default_rng(0)
    members, seen = rng.gamma(1, 2, (4, 64, 64)), rng.gamma(1, 2, (64, 64))
    valid = np.ones((64, 64), bool)
    one = tally(members, seen, valid)
    both = one + Tally.from_json(one.to_json())
    assert both.crps == pytest.approx(one.crps, abs=1e-5)
    assert both.pixels == 2 * one.pixels
    assert one.rank.sum() == 64 * 64


def test_a_perfect_forecast_is_perfect():
    seen = np.random.default_rng(1).gamma(1, 2, (64, 64))
    found = tally(seen[None], seen, np.ones((64, 64), bool))
    assert found.crps == 0
    assert found.csi(1) == found.best_csi(1)[0] == found.fractions(1) == 1
    assert np.allclose(found.spectrum[0], found.spectrum[1])


def test_box_means_and_band_power():
    field = np.arange(16.0).reshape(4, 4)
    assert box_mean(field, 2)[0, 0] == pytest.approx(np.mean([0, 1, 4, 5]))
    wave = np.sin(2 * np.pi * np.arange(128) / 10)[None] * np.ones((128, 1))
    assert band_power(wave).argmax() == 1
