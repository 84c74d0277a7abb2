"""The sentence: what it says for each kind of weather, for one member and for an ensemble."""

from datetime import UTC, datetime, timedelta

import pytest

from api.summary import Times, summarise
from nowcast.chunks import PERCENT, RATE

BASE = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
TIMES = Times(BASE, 24)
U = RATE.unseen


def rates(*spans):
    """Codes per lead from (count, mm/h or None) spans."""
    codes = [U if rate is None else round(rate * 100) for count, rate in spans for _ in range(count)]
    assert len(codes) == 24
    return codes


def said(codes, minutes=2, **more):
    return summarise({"rain_mean": codes, **more}, TIMES, BASE + timedelta(minutes=minutes))


EXPECTED = "rain_expected"
LATE = "rain from 15:30, still raining at 16:00 UTC"
SOON = "rain from 15:00, about 2 mm in its first hour, still raining at 16:00 UTC"


@pytest.mark.parametrize(
    ("codes", "state", "text"),
    [
        (rates((24, 0)), "dry", "no rain until 16:00 UTC"),
        (rates((24, None)), "not_seen", "not seen by the radar"),
        (rates((12, 0), (12, None)), "dry", "no rain, as far as seen, until 15:00 UTC"),
        (rates((24, 0.05)), "dry", "no rain until 16:00 UTC"),
        (rates((7, 0), (9, 4), (8, 0)), EXPECTED, "rain from 14:35, about 2 mm in the next hour, ends 15:20 UTC"),
        (rates((4, 6), (20, 0)), "raining", "raining, about 2 mm in the next hour, ends 14:20 UTC"),
        (rates((24, 1)), "raining", "raining, about 1 mm in the next hour, still raining at 16:00 UTC"),
        (rates((4, 6), (20, None)), "raining", "raining, not seen after 14:20 UTC"),
        (rates((18, 0), (6, 2)), EXPECTED, LATE),
        (rates((13, 0), (11, 2)), EXPECTED, "rain from 15:05, still raining at 16:00 UTC"),
        (rates((12, 0), (12, 2)), EXPECTED, SOON),
        (rates((3, 2), (1, 0), (3, 2), (17, 0)), "raining", "raining, about 1 mm in the next hour, ends 14:35 UTC"),
        (rates((1, 0.3), (23, 0)), "raining", "raining, less than 0.1 mm in the next hour, ends 14:05 UTC"),
    ],
)  # fmt: skip
def test_one_member(codes, state, text):
    summary = said(codes)
    assert (summary.text, summary.state) == (text, state)
    assert summary.probability is None


def test_an_ensemble_gives_a_range_and_a_chance():
    mean = rates((7, 0), (9, 2), (8, 0))
    more = {
        "rain_p10": rates((7, 0), (9, 1), (8, 0)),
        "rain_p90": rates((7, 0), (9, 5), (8, 0.2)),
        "prob_0.1": [5] * 7 + [80] * 8 + [90] + [20] * 8,
    }
    summary = said(mean, **more)
    assert summary.text == "rain from 14:35, likely 0.4–2 mm in the next hour, ends 15:20 UTC"
    assert (summary.starts, summary.ends) == (BASE + timedelta(minutes=35), BASE + timedelta(minutes=80))
    assert (summary.amount_low, summary.amount_high, summary.probability) == (0.42, 2.08, 0.9)
    none_at_least = said(mean, **{**more, "rain_p10": rates((24, 0))})
    assert none_at_least.text == "rain from 14:35, likely up to 2 mm in the next hour, ends 15:20 UTC"
    dry = said(mean, **{**more, "prob_0.1": [30] * 24})
    assert (dry.state, dry.probability) == ("dry", 0.3)
    unseen = said(rates((24, None)), **{"prob_0.1": [PERCENT.unseen] * 24})
    assert (unseen.state, unseen.probability) == ("not_seen", None)


def test_it_is_told_for_now_not_for_the_base_time():
    codes = rates((4, 6), (20, 0))
    assert said(codes, 12).text == "raining, about 1 mm in the next hour, ends 14:20 UTC"
    assert said(codes, 22).state == "dry"
    assert said(codes, 200).text == "no forecast for now: the newest is from 14:00 UTC"
    assert said(codes, -1).state == "raining"


def test_an_amount_is_of_a_whole_hour():
    codes = rates((24, 1))
    assert (said(codes, 60).amount_low, said(codes, 60).amount_high) == (1, 1)
    assert (said(codes, 65).amount_low, said(codes, 65).amount_high) == (None, None)
    assert said(codes, 115).text == "raining, still raining at 16:00 UTC"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.97, 1.3, "about 1 mm"), (0.94, 1.3, "likely 0.9–1 mm"), (0.95, 1.6, "likely 1–2 mm")],
)
def test_ends_that_round_to_the_same_are_one_amount(low, high, words):
    summary = said(rates((24, 1)), rain_p10=rates((24, low)), rain_p90=rates((24, high)))
    assert summary.text == f"raining, {words} in the next hour, still raining at 16:00 UTC"


@pytest.mark.parametrize(
    ("codes", "minutes", "until"),
    [
        (rates((24, 0)), 2, 120),
        (rates((24, 1)), 2, 120),
        (rates((4, 6), (20, None)), 2, 20),
        (rates((12, 0), (6, None), (6, 0)), 2, 60),
        (rates((12, 0), (6, None), (6, 1)), 2, 60),
        (rates((12, None), (12, 0)), 2, None),
        (rates((12, None), (12, 0)), 62, 120),
        (rates((24, None)), 2, None),
        (rates((24, 0)), 200, None),
    ],
)
def test_until_is_the_end_of_what_is_known_without_a_gap(codes, minutes, until):
    assert said(codes, minutes).until == (None if until is None else BASE + timedelta(minutes=until))


def test_a_forecast_that_is_over_is_not_a_place_that_is_not_seen():
    assert said(rates((24, 0)), 115).state == "dry"
    assert said(rates((24, 0)), 120).state == "over"
