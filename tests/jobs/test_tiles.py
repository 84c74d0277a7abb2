"""A grid in tiles is forecast as it would be whole."""

from datetime import UTC, datetime

import numpy as np
import pytest

from engines.ladder import Ladder, Served
from engines.plan import shipped_plan
from engines.runtimes import make_rungs
from jobs import tiles
from nowcast.grid import Grid
from nowcast.models.spec import padded
from nowcast.noise import Noise
from nowcast.region import Region
from nowcast.stack import RegionStack

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_tiles_make_what_one_call_makes(monkeypatch):
    rng = np.random.default_rng(1)
    shape = (416, 320)
    values = rng.random((4, *shape), np.float32)
    stack = RegionStack(values, np.ones_like(values), shape, 0, NOW, (-15, -10, -5, 0), (), 0)
    flow = np.full((2, shape[0] // 4, shape[1] // 4), 0.7, np.float32)
    region = Region("r", "R", Grid("EPSG:2056", 0, 0, 1000, 1000, *shape), ("cf",), margin=0)
    ladder = Ladder(make_rungs(), threads=2)
    whole = tiles.serve(ladder, region, stack, flow, Noise("r", NOW, stack.values.shape[1:]), NOW)
    for name, value in (("WHOLE", 1), ("SIDE", 128), ("OVERLAP", 64)):
        monkeypatch.setattr(tiles, name, value)
    parts = tiles.serve(ladder, region, stack, flow, Noise("r", NOW, stack.values.shape[1:]), NOW)
    assert (parts.rung, parts.plan) == (whole.rung, whole.plan)
    seen = whole.outputs["coverage"] > 0.1  # what is hardly covered is a quotient of two small numbers
    for name, expected in whole.outputs.items():
        assert np.abs(parts.outputs[name] - expected)[seen].max() < 1e-3


@pytest.mark.parametrize(("members", "side", "margin"), [(1, 512, 64), (24, 512, 64), (24, 1024, 0), (8, 3000, 64)])
def test_an_engine_is_built_for_the_shape_that_serves(monkeypatch, members, side, margin):
    asked = set()

    class Asked:
        def crowd(self, model):
            return members

        def serve(self, model, height, width, make, now):
            asked.add((height, width))
            return Served({"rain_mean": np.zeros((1, 1, height, width), "f4")}, None, "none", "", {})

    region = Region("r", "R", Grid("EPSG:2056", 0, 0, 1000, 1000, side, side + 100), ("cf",), margin=margin)
    shape = padded(region.grid.widened(margin).shape)
    values = np.zeros((4, *shape), "f4")
    stack = RegionStack(values, values, region.grid.shape, margin, NOW, (-15, -10, -5, 0), (), 0)
    tiles.serve(Asked(), region, stack, values[:2, ::4, ::4], Noise("r", NOW, stack.values.shape[1:]), NOW)
    assert asked == {tiles.engine_shape(region, members)}


@pytest.mark.parametrize("side", [512, 1024])
def test_an_ensemble_is_told_the_size_of_the_regions_pixels(side):
    made = []

    class Told:
        def crowd(self, model):
            return 24

        def serve(self, model, height, width, make, now):
            made.extend(make(shipped_plan(name).spec) for name in ("standard", "advection"))
            return Served({"rain_mean": np.zeros((1, 1, height, width), "f4")}, None, "none", "", {})

    region = Region("r", "R", Grid("EPSG:3035", 4e6, 3e6, 2000, 2000, side, side), ("cf",), margin=0)
    values = np.zeros((4, side, side), "f4")
    stack = RegionStack(values, values, (side, side), 0, NOW, (-15, -10, -5, 0), (), 0)
    tiles.serve(Told(), region, stack, values[:2, ::4, ::4], Noise("r", NOW, (side, side)), NOW)
    for ensemble, deterministic in zip(made[::2], made[1::2], strict=True):
        assert ensemble.pixel.shape == (1, 1, *(n // 32 for n in ensemble.stack.shape[2:]))
        assert ensemble.pixel == pytest.approx(2.0, rel=0.02)
        assert deterministic.pixel is None


@pytest.mark.parametrize("members", [1, 8, 24])
@pytest.mark.parametrize("shape", [(3520, 7008), (2400, 1920), (1472, 4096)])
def test_every_cell_is_in_one_tile_and_all_read_the_same_shape(shape, members):
    seen, reads = np.zeros(shape, np.uint8), set()
    for wanted, read in tiles._tiles(*shape, *tiles._tiling(members)):
        seen[wanted] += 1
        reads.add(tuple(r.stop - r.start for r in read))
        assert all(
            r.start <= w.start and w.stop <= r.stop and r.start % 32 == 0 for w, r in zip(wanted, read, strict=True)
        )
    assert (seen == 1).all()
    assert len(reads) == 1
    tall, wide = reads.pop()
    assert members == 1 or tall * wide * members <= tiles.CROWD
