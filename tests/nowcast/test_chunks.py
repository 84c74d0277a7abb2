"""The codec keeps what it promises for any field."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nowcast.chunks import CODEC, Fill, assemble, decode, encode
from nowcast.errors import StoreError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 140), st.integers(1, 140))
NAN = np.float32(np.nan)


def fields(low, high):
    values = st.one_of(st.floats(low, high, width=32), st.sampled_from([0.0, np.nan, low, high]))
    return SHAPES.flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=values, fill=st.sampled_from([0.0, np.nan]))
    )


def round_trip(product, field):
    return assemble(encode(product, field)[::-1])


@settings(max_examples=60, deadline=None)
@given(fields(0, 2000))
def test_rates_come_back_to_within_half_a_code_and_rain_stays_rain(field):
    back = round_trip("rain_mean", field)
    assert back.shape == field.shape
    assert back.dtype == np.float32
    assert np.array_equal(np.isnan(back), np.isnan(field))
    assert np.array_equal(back > 0, field > 0)
    assert np.array_equal(back == 0, field == 0)
    inside = (field >= 0.005) & (field <= 655.34)
    np.testing.assert_allclose(back[inside], field[inside], atol=0.00505)
    assert (back[field > 655.34] == np.float32(655.34)).all()


@settings(max_examples=60, deadline=None)
@given(fields(0, 1))
def test_probabilities_come_back_to_within_half_a_percent(field):
    back = round_trip("prob_0.1", field)
    assert np.array_equal(np.isnan(back), np.isnan(field))
    np.testing.assert_allclose(back, field, atol=0.00501)


@pytest.mark.parametrize("rate", [1e-30, 0.001, 0.0049, 3.0e38])
def test_rain_never_decodes_to_dry_nor_overflows(rate):
    back = round_trip("rain_mean", np.full((1, 2, 2), rate, np.float32))
    assert (back > 0).all()
    assert (back <= 655.35).all()


def test_blocks_are_128_and_smaller_at_the_edges():
    chunks = encode("rain_mean", np.ones((2, 130, 256), np.float32))
    assert [(c.row, c.column, c.shape) for c in chunks] == [
        (0, 0, (2, 128, 128)),
        (0, 1, (2, 128, 128)),
        (1, 0, (2, 2, 128)),
        (1, 1, (2, 2, 128)),
    ]
    assert {c.codec for c in chunks} == {CODEC}


@pytest.mark.parametrize("product", ["rain_mean", "prob_1", "coverage"])
@pytest.mark.parametrize(("value", "fill"), [(0, Fill.DRY), (np.nan, Fill.UNSEEN), (0.5, Fill.DATA)])
def test_only_data_has_a_blob(product, value, fill):
    (chunk,) = encode(product, np.full((2, 3, 4), value, np.float32))
    assert chunk.fill is fill
    assert (chunk.blob is not None) == (fill is Fill.DATA)
    np.testing.assert_array_equal(decode(chunk), np.full((2, 3, 4), value, np.float32))


def test_dry_and_unseen_together_are_data():
    field = np.array([[[0, NAN]]], np.float32)
    np.testing.assert_array_equal(round_trip("rain_mean", field), field)


@pytest.mark.parametrize(
    ("product", "value"),
    [("rain_mean", -0.1), ("rain_mean", np.inf), ("prob_1", -0.1), ("prob_1", 1.5), ("prob_1", 45)],
)
def test_impossible_values_are_refused(product, value):
    field = np.array([[[0, NAN, value]]], np.float32)
    with pytest.raises(ValueError, match=rf"{product}, chunk \(0, 0\): values must be"):
        encode(product, field)


def test_unknown_products_and_shapes_are_refused():
    with pytest.raises(ValueError, match="no coding for product 'snow'"):
        encode("snow", np.zeros((1, 1, 1), np.float32))
    with pytest.raises(ValueError, match=r"\(K, H, W\)"):
        encode("rain_mean", np.zeros((1, 1), np.float32))


def test_damage_and_foreign_codecs_are_told():
    (chunk,) = encode("rain_mean", np.ones((2, 3, 4), np.float32))
    for blob in (b"", b"junk", chunk.blob[:-3], encode("rain_mean", np.ones((1, 1, 1), np.float32))[0].blob):
        with pytest.raises(StoreError, match=r"chunk rain_mean \(0, 0\) is damaged"):
            decode(replace(chunk, blob=blob))
    with pytest.raises(StoreError, match="codec 2"):
        decode(replace(chunk, codec=2))
