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


def test_the_expected_best_percent_needs_no_observation():
    """Two pixels of 80 %, ten of 30 %, the rest dry: telling the ten too expects 4.6 hits of 12, the two 1.6 of 5."""
    probability = np.zeros((3, 32, 32))
    probability[:, 0, :2] = 0.8
    probability[:, 1:3, :5] = 0.3
    members, valid = np.zeros((2, 32, 32)), np.ones((32, 32), bool)
    for seen in (0.0, 2.0):
        found = tally(members, np.full((32, 32), seen), valid, probability)
        assert found.expected_percent(1) == 1  # of percents that tell the same the lowest
    probability[:, 1:3, :5] = 0.1  # now the two alone expect 1.6 of 3, all twelve 2.6 of 12
    found = tally(members, np.zeros((32, 32)), valid, probability)
    assert found.expected_percent(1) == 11
    assert found.table(1, 11) == (0, 0, 2)


def test_without_any_probability_nothing_is_told():
    found = tally(np.zeros((1, 32, 32)), np.ones((32, 32)), np.ones((32, 32), bool), np.zeros((3, 32, 32)))
    assert found.table(1, found.expected_percent(1)) == (0, 1024, 0)


def test_quantile_losses_and_wet_pixels_by_hand():
    """Seen 2 mm/h everywhere: told 1, 2 and 4 cost .1 × 1, 0 and .1 × 2 a pixel; one of two members is wet."""
    members = np.stack((np.zeros((32, 32)), np.full((32, 32), 3.0)))
    told = np.stack([np.full((32, 32), q) for q in (1.0, 2.0, 4.0)])
    found = tally(members, np.full((32, 32), 2.0), np.ones((32, 32), bool), quantiles=told)
    assert (found.quantile / 1024).tolist() == pytest.approx([0.1, 0, 0.2])
    assert found.wet.tolist() == [1024, 512, 1024]
    of_members = tally(members, np.full((32, 32), 2.0), np.ones((32, 32), bool))
    assert (of_members.quantile / 1024).tolist() == pytest.approx([0.2, 0.5, 0.1])
