"""A short hunt (`make fuzz` is the long one), and Hypothesis on each reader in this process."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowcast.errors import InputError
from nowcast.frame import grid_of
from nowcast.sources import read_frame, source_of
from tests.conftest import find_shared
from tests.fuzz.mutations import damaged, written_seeds
from tests.fuzz.run import hunt


def test_a_short_hunt_finds_nothing(tmp_path):
    outcomes, peak, grown = hunt(400, seed=20261121, shared=find_shared(), folder=tmp_path / "hunt")
    assert outcomes["UnreadableFile"] > 50
    assert outcomes["read"] > 20
    assert peak < 1024
    assert grown < 700


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return written_seeds(tmp_path_factory.mktemp("seeds"))


def outcome(path, source):
    """The refusal's message, or the frame's dims."""
    try:
        frame = read_frame(path, source)
        assert grid_of(frame).shape == frame["rain_rate"].shape
        return frame["rain_rate"].dims
    except InputError as error:
        return str(error)


FAST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


@settings(FAST, max_examples=250)
@given(which=st.integers(0, 100), seed=st.integers(0, 2**32 - 1))
def test_every_refusal_is_an_input_error(seeds, tmp_path, which, seed):
    path = seeds[which % len(seeds)]
    target = tmp_path / path.name
    target.write_bytes(damaged(path.read_bytes(), random.Random(seed)))
    told = outcome(target, source_of(path))
    assert told == ("y", "x") or str(target) in told


@settings(FAST, max_examples=200)
@given(which=st.integers(0, 100), content=st.binary(max_size=300), keep=st.integers(0, 600))
def test_headers_followed_by_anything(seeds, tmp_path, which, content, keep):
    path = seeds[which % len(seeds)]
    target = tmp_path / path.name
    target.write_bytes(path.read_bytes()[:keep] + content)
    told = outcome(target, source_of(path))
    assert told == ("y", "x") or str(target) in told
