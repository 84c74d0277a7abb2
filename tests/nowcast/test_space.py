import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nowcast.space import to_model, to_rate


def test_the_anchors_of_the_design():
    values, mask = to_model(np.array([0.0, 0.099, 0.1, 624.0, np.nan], np.float32))
    assert np.allclose(values, [0, 0, 0.00394, 1, 0], atol=2e-4)
    assert mask.tolist() == [1, 1, 1, 1, 0]


@given(arrays(np.float32, 20, elements=st.floats(0.125, 600, width=32)))
def test_rain_survives_the_round_trip(rates):
    again = to_rate(to_model(rates)[0])
    assert np.allclose(again, rates, rtol=1e-3)


def test_dry_is_exactly_dry_and_unseen_stays_unseen():
    assert to_rate(np.array([0.0, 0.003], np.float32)).tolist() == [0, 0]
    assert np.isnan(to_rate(np.array([np.nan], np.float32))[0])
