"""The ensemble models: what they must do on weather that is no weather, and that the graph is the model."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from nowcast.errors import ConfigError, UnknownModel
from nowcast.models.advection import Advection, sample
from nowcast.models.cascade import Cascade
from nowcast.models.ensemble import quantiles
from nowcast.models.levels import DRY, latent_to_rate, to_latent
from nowcast.models.matching import Matching
from nowcast.models.persistence import Persistence
from nowcast.models.pyramid import Pyramid, rebuild
from nowcast.models.registry import MODELS, create
from nowcast.models.spread import compass

SIZE = 128


def rain(seed=0, size=SIZE, wet=0.45):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, size // 16, size // 16, generator=generator)
    field = torch.nn.functional.interpolate(noise, size=(size, size), mode="bilinear")
    values = ((field - wet) * 1.5).clamp(0, 1)
    return torch.where(values < 0.01, torch.zeros_like(values), values).expand(1, 4, size, size).contiguous()


def noise(model, size=SIZE, seed=1):
    shape = (1, *model.spec.noise.shape(size, size))
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def still(size=SIZE):
    return torch.zeros(1, 2, size // 4, size // 4)


@pytest.fixture(scope="module", params=["standard", "edge"])
def model(request):
    return create(request.param)


def run(model, stack, mask, motion):
    with torch.no_grad():
        return dict(zip(model.spec.outputs, model(stack, mask, motion, noise(model, stack.shape[-1])), strict=True))


def test_dry_stays_dry(model):
    out = run(model, torch.zeros(1, 4, SIZE, SIZE), torch.ones(1, 4, SIZE, SIZE), still())
    assert float(out["rain_p50"].max()) == 0
    assert float(out["rain_mean"].max()) == 0
    assert float(out["prob_0.1"].max()) < 0.05


@pytest.fixture(scope="module")
def asked(model):
    """Asks for the probabilities that members and a newest frame make, at a lead (0 is 5 min)."""
    ones, zeros = torch.ones(1, 1, SIZE, SIZE), torch.zeros(1, 4, SIZE, SIZE)
    with torch.no_grad():
        ready = model.cascade.prepare(zeros, ones.expand(1, 4, -1, -1), still(), noise(model))

    def ask(members, newest, lead):
        given = replace(ready, newest=newest * ones)
        levels = (members * ones).expand(-1, model.spec.members, -1, -1)
        return [p[0, 0] for p in model.probabilities(levels, model.cascade.each([lead], given), given)]

    return ask


def test_the_newest_frame_is_heard_in_heavy_rain_alone(asked):
    p01, p1, p5, p10 = (float(p.max()) for p in asked(members=3.0, newest=DRY, lead=0))
    assert (p01, p1) == pytest.approx((1, 1), abs=1e-3)
    assert (p5, p10) == pytest.approx((0.9, 0.9), abs=1e-3)
    assert max(float(p.max()) for p in asked(members=DRY, newest=3.0, lead=0)) < 0.003, "nothing that no member has"


def test_products_are_in_order_and_in_range(model):
    out = run(model, rain(), torch.ones(1, 4, SIZE, SIZE), still() + 2)
    assert all(bool(torch.isfinite(o).all()) and float(o.min()) >= 0 and float(o.max()) <= 1 for o in out.values())
    assert bool((out["rain_p10"] <= out["rain_p50"] + 1e-6).all())
    assert bool((out["rain_p50"] <= out["rain_p90"] + 1e-6).all())
    likely = [out[f"prob_{threshold}"] for threshold in ("0.1", "1", "5", "10")]
    assert all(bool((rarer <= oftener).all()) for oftener, rarer in pairwise(likely))
    assert out["rain_mean"].shape == (1, 24, SIZE, SIZE)


def test_missing_motion_is_no_worse_than_persistence(model):
    stack = rain(3)
    rate = latent_to_rate(to_latent(stack[:, -1]))
    with torch.no_grad():
        ready = model.cascade.prepare(stack, torch.ones_like(stack), still(), noise(model))
        for lead in (0, 5):
            told = latent_to_rate(model.cascade.member_levels(ready, lead)).mean(1)
            assert float((told - rate).abs().mean()) < 0.6 * float(rate.mean())
            correlation = np.corrcoef(told.flatten(), rate.flatten())[0, 1]
            assert correlation > 0.8


def test_radar_edge_makes_no_rain(model):
    """Rain that the radar's edge cuts off: nothing stronger than inside, beyond the edge or along it."""
    stack, mask = rain(4, wet=0.2), torch.ones(1, 4, SIZE, SIZE)
    mask[..., SIZE // 2 :] = 0
    whole = run(model, stack, torch.ones_like(mask), still())
    cut = run(model, stack * mask, mask, still())
    near = slice(SIZE // 2 - 16, SIZE // 2)
    assert float(cut["rain_mean"][..., near].mean()) < 1.15 * float(whole["rain_mean"][..., near].mean())
    assert float(cut["coverage"][..., SIZE // 2 + 4 :].max()) == 0


def test_beyond_the_border_rain_fades_in_each_member_over_its_own_distance(model):
    """Rain everywhere that moves east: 60 pixels in the west are air that nobody has seen."""
    stack, motion = torch.full((1, 4, SIZE, SIZE), 0.4), still()
    motion[:, 0] = 4
    with torch.no_grad():
        ready = model.cascade.prepare(stack, torch.ones_like(stack), motion, noise(model))
        levels = model.cascade.member_levels(ready, 14)[0]
    wet, rate = (field.mean((0, 1)) for field in ((levels > 0).float(), latent_to_rate(levels)))
    assert float(wet[80:].min()) == 1
    assert 0.5 < float(wet[2]) < 1
    assert bool((wet.diff() >= 0).all())
    assert 0.05 < float(rate[2] / rate[80:].mean()) < 0.8
    assert float(latent_to_rate(levels).std(0)[:, 2].min()) > 0.1 * float(rate[2]), "none knows how far"


def test_members_hang_on_their_noise_and_nothing_else():
    model = create("edge")
    stack, mask = rain(5), torch.ones(1, 4, SIZE, SIZE)
    first, again = (model.members(stack, mask, still(), noise(model)) for _ in range(2))
    other = model.members(stack, mask, still(), noise(model, seed=2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (1, 8, 24, SIZE, SIZE)


@pytest.mark.parametrize("table", ["memory", "amplitude", "growth", "trend"])
def test_what_is_moved_for_far_leads_leaves_the_near_ones(table):
    """By hand they had been moved with the one slope there was: the first lead got worse by 2 to 7 %."""
    cascade = Cascade(4).eval()
    earlier = rain(1).clone()
    earlier[:, :3] = rain(2)[:, :3]
    inputs = (earlier, torch.ones(1, 4, SIZE, SIZE), still(), torch.randn(1, *cascade.noise.shape(SIZE, SIZE)))

    def levels():
        with torch.no_grad():
            ready = cascade.prepare(*inputs)
            return {lead: cascade.member_levels(ready, lead) for lead in (0, 5, 6, 23)}

    before = levels()
    with torch.no_grad():
        getattr(cascade, table)[:, 2] += 0.5
    changed = {lead: not torch.equal(now, before[lead]) for lead, now in levels().items()}
    assert changed == {0: False, 5: False, 6: True, 23: True}


@pytest.mark.parametrize("members", [3, 8, 24])
def test_errors_of_motion_fill_the_plane_as_a_normal_does(members):
    points = compass(members)
    assert torch.allclose(points.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(points.T @ points / members, torch.eye(2), atol=1e-4)
    if members == 24:
        within = [float((points.norm(dim=1) < radius).float().mean()) for radius in (0.5, 1.0, 1.5, 2.0, 2.5)]
        assert within == pytest.approx([0.118, 0.393, 0.675, 0.865, 0.956], abs=1.5 / members)


def test_noise_turns_the_errors_of_motion_and_leaves_their_size():
    cascade = Cascade(8)
    drifts = [cascade.drift(torch.randn(1, 8, 64, 64, generator=torch.Generator().manual_seed(n))) for n in (1, 2)]
    size = [drift.norm(dim=-1) for drift in drifts]
    assert torch.allclose(*size, rtol=1e-4)
    assert not torch.allclose(*drifts, rtol=0.05)
    with pytest.raises(ConfigError, match="three members"):
        Cascade(2)


def test_errors_of_motion_are_large_where_motion_differs_and_rain_has_changed_and_far_ones_are_in_km():
    cascade, first = Cascade(8), lambda sizes: float(sizes[0, 0])
    with torch.no_grad():
        cascade.wander[2] = 0.4
    where = torch.zeros(1, 1, 256, 256)
    where[..., :128] = 1
    shear = still(256)
    shear[:, :, ::2, 32:] = 2
    none, more, one = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.ones(1, 1, 8, 8)
    with torch.no_grad():
        calm, far, haste = cascade.error(shear, where, none, one).flatten().tolist()
        assert calm == first(cascade.error(still(256), where, none, one))  # where no rain falls, motion says nothing
        assert first(cascade.error(shear, 1 - where, none, one)) > 2 * calm
        assert first(cascade.error(shear, where, more, one)) > 1.5 * calm
        assert first(cascade.error(shear, where * 0, none, one)) == pytest.approx(calm, rel=0.01)  # no rain at all
        assert float(cascade.error(shear, 1 - where, none, one)[0, 2]) > 2 * haste
        assert cascade.error(shear, where, none, 2 * one).flatten().tolist() == pytest.approx([calm, far / 2, haste])


def opened(cascade, motion, stack):
    """Return what a stack is prepared as, and its lead of an hour."""
    size = stack.shape[-1] // 4
    noise = torch.randn(1, cascade.members, 1, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ready = cascade.prepare(stack, torch.ones_like(stack), motion, noise)
        return ready, cascade.each([11], ready)


def test_errors_of_motion_are_larger_along_the_way_and_turn_in_quarters():
    cascade, motion = Cascade(24), still(256)
    motion[:, 0, ::2] = 6.0  # to the east, unevenly
    ready, each = opened(cascade, motion, rain(size=256))
    turned, haste = torch.split(each.shift[0, :, :, :, 0, 0], (2, 1), -1)
    assert ready.heading[0].tolist() == pytest.approx([-1, 0], abs=1e-4)  # it comes from the west
    assert torch.allclose(turned[1], torch.stack((-turned[0, :, 1], turned[0, :, 0]), -1), atol=1e-6)
    assert torch.allclose(turned[2:], -turned[:2], atol=1e-6)
    way = torch.tensor([-0.1, 0.0])
    east, north = (turned + haste * way).std(1).unbind(-1)
    assert bool((east > 1.2 * north).all())


def test_errors_of_motion_are_larger_where_rain_has_changed():
    cascade, stack = Cascade(8), rain(size=256).clone()
    stack[:, :3, :, :128] = rain(3, 256)[:, :3, :, :128]  # on the left it was elsewhere until now
    roam = opened(cascade, still(256), stack)[0].roam[0, 0]
    wet = torch.nn.functional.avg_pool2d((stack[:, -1:] > 0).float(), 4)[0, 0] > 0.5
    changed, same = (float(part.mean()) for part in (roam[:, :28][wet[:, :28]], roam[:, 36:][wet[:, 36:]]))
    assert changed > 1.2 * same


def test_what_stood_still_of_late_stays_and_what_moved_goes():
    """Large areas of rain, 6 pixels a step to the east by the motion that is given: they did move, or they did not."""
    cascade, motion, field = Cascade(8), still(256), rain(3, 64)[:, :1]
    field = torch.nn.functional.interpolate(field, size=(256, 256), mode="bilinear")
    motion[:, 0] = 6.0
    moved = torch.cat([torch.roll(field, 6 * step, 3) for step in range(4)], 1)
    shares = [
        float(torch.sigmoid(opened(cascade, motion, stack)[0].stay[0, 0]))
        for stack in (moved, field.expand(-1, 4, -1, -1).contiguous())
    ]
    assert shares[0] < 0.1
    assert shares[1] > 0.9
    assert float(torch.sigmoid(opened(cascade, still(256), moved)[0].stay[0, 0])) == pytest.approx(0.5)  # no motion


def test_what_stays_is_carried_back_to_where_it_is():
    cascade, motion = Cascade(8), still(256)
    motion[:, 0], motion[:, 1] = 3.0, -2.0
    _, each = opened(cascade, motion, rain(size=256))
    across = torch.linspace(-1, 1, 64)
    field = torch.exp(-8 * (across[None, :] ** 2 + across[:, None] ** 2))[None, None]
    carried = sample(cascade._standing(field, each), each.coarse, "border")
    assert torch.allclose(carried[..., 12:-12, 12:-12], field[..., 12:-12, 12:-12], atol=0.01)
    assert not torch.allclose(sample(field, each.coarse, "border"), field, atol=0.3)


def test_members_hear_other_turns_of_the_compass_from_an_hour_on():
    """All turns are alike where all members are, and then nothing changes; else a turned member stands for three."""
    cascade = Cascade(8).requires_grad_(requires_grad=False)
    ready, _ = opened(cascade, still(), rain())
    unmoved = replace(ready, roam=ready.roam * 0)
    flat = torch.full((1, 8, SIZE, SIZE), 0.7)
    slope = flat + torch.linspace(0, 1, SIZE)[:, None] * torch.linspace(-1, 1, 8)[None, :, None, None]
    heard = []
    for lead in (0, 11, 23):
        each = cascade.each([lead], ready)
        assert torch.allclose(cascade._turned(flat, flat, each, unmoved), flat, atol=1e-6)
        turned = cascade._turned(slope, slope * 0 + DRY, each, unmoved)
        heard.append(float((turned - slope.sort(dim=1).values).abs().mean()))
    assert heard[0] < 0.01 * heard[1]
    assert heard[1] == pytest.approx(heard[2], rel=1e-5)
    assert heard[1] == pytest.approx(0.75 * float((slope - DRY).abs().mean()), rel=1e-4)


def test_a_typical_distribution_is_that_of_the_newest_frame():
    """Quantiles of rain on 30 % of the pixels, of levels even between 0 and 2, read off the shares over the knots."""
    level = torch.where(torch.rand(1, 1, 512, 512) < 0.3, 2 * torch.rand(1, 1, 512, 512), DRY)
    matching = Matching()
    told = matching.typical(matching.exceeded(level, torch.ones_like(level)), 20).flatten()
    assert told[:13].tolist() == [pytest.approx(DRY)] * 13
    assert told[15:].tolist() == pytest.approx([2 * (0.3 - 1 + (k + 0.5) / 20) / 0.3 for k in range(15, 20)], abs=0.08)
    assert bool((told.diff() >= 0).all())


def test_a_model_that_trusts_itself_in_nothing_tells_the_typical_distribution_everywhere():
    cascade, stack = Cascade(8).eval(), rain(2)
    with torch.no_grad():
        cascade.trust[:] = torch.tensor([-20.0, 0.0, 0.0])
        ready = cascade.prepare(stack, torch.ones_like(stack), still(), torch.randn(1, 8, 1, 32, 32))
        told = cascade.levels_at(ready, cascade.each([23], ready))
    assert torch.allclose(told.ordered, ready.typical.expand_as(told.ordered), atol=1e-4)


@pytest.mark.parametrize("lost", [[0], [0, 1], [1, 2]])
def test_what_changed_of_late_is_measured_alike_whatever_earlier_frames_are_there(lost):
    """A walk: each frame is the one before, changed at random, so the variance that changed grows with age."""
    cascade, walk = Cascade(8).eval(), torch.randn(4, 256, 256, generator=torch.Generator().manual_seed(3)).cumsum(0)
    stack = (0.4 + 0.02 * (torch.randn(256, 256, generator=torch.Generator().manual_seed(4)) * 3 + walk))[None]
    mask = torch.ones_like(stack)
    mask[:, lost] = 0

    def unusual(seen):
        with torch.no_grad():
            heard = []
            keep, cascade._unusual = cascade._unusual, lambda *parts: heard.append(parts) or keep(*parts)
            cascade.prepare(stack * seen, seen, still(256), torch.randn(1, 8, 1, 64, 64))
            cascade._unusual = keep
            return keep(*heard[0])

    whole, part = unusual(torch.ones_like(stack)), unusual(mask)
    assert float(whole[2]) == pytest.approx(float(part[2]), abs=0.35)


def test_pyramid_undoes_itself_and_fills_what_was_not_seen():
    field = torch.randn(2, 1, 64, 96)
    assert torch.allclose(rebuild(Pyramid()(field, torch.ones_like(field))), field, atol=1e-5)
    mask = torch.ones_like(field)
    mask[..., 40:] = 0
    filled = rebuild(Pyramid()(torch.where(mask > 0, torch.ones_like(field) * 3, torch.zeros_like(field)), mask))
    assert torch.allclose(filled[..., :60], torch.tensor(3.0), atol=0.05)


def test_matching_keeps_the_distribution_of_the_newest_frame():
    cascade = Cascade(8).eval()
    stack = rain(6, 256)
    with torch.no_grad():
        ready = cascade.prepare(stack, torch.ones_like(stack), still(256), torch.randn(1, 8, 1, 64, 64))
        level = cascade.member_levels(ready, 5)
    newest = to_latent(stack[:, -1:])
    for knot in (0.0, 1.0):
        assert float((level > knot).float().mean()) == pytest.approx(float((newest > knot).float().mean()), abs=0.04)


@pytest.fixture
def drawn_together():
    """Matches members whose levels were drawn together by a factor; returns how many pixels are over 0.1 and 1 mm/h."""
    matching = Matching().train()
    newest, seen = to_latent(rain(6, 256)[:, -1:]), torch.ones(1, 1, 256, 256)
    members = torch.cat([newest.roll(9 * k, -1) + 0.05 * torch.randn_like(newest) for k in range(8)], 1)

    def shares(factor):
        levels = members * factor
        whole = matching.apply(levels, matching.positions(levels, seen, matching.exceeded(newest, seen)))
        return [torch.sigmoid(50 * (whole - knot)).mean() for knot in (0.0, 1.0)]

    return shares


@pytest.mark.parametrize("factor", [1.0, 0.3, 0.1])
def test_matching_does_not_ask_how_far_members_were_drawn_together(drawn_together, factor):
    newest = to_latent(rain(6, 256)[:, -1:])
    for share, knot in zip(drawn_together(factor), (0.0, 1.0), strict=True):
        assert float(share) == pytest.approx(float((newest > knot).float().mean()), abs=0.02)


def test_to_draw_members_together_gains_nothing_in_training(drawn_together):
    """Matching undoes it; a gradient that does not know that draws them together for ever."""
    for at in (0.3, 0.1):
        factor = torch.tensor(at, requires_grad=True)
        for share in drawn_together(factor):
            (gradient,) = torch.autograd.grad(share, factor, retain_graph=True)
            assert abs(float(gradient) * at) < 0.02  # per unit of the logarithm


def test_a_third_of_wet_members_makes_a_dry_median_and_a_wet_tail():
    levels = torch.tensor([-0.4] * 16 + [1.0] * 8).reshape(1, 24, 1, 1)
    low, median, high = quantiles(levels, torch.full((1, 1, 1, 1), 1 / 3))
    assert float(low) < 0
    assert float(median) < 0
    assert float(high) > 0


def test_no_quantile_is_wet_where_the_probability_says_dry(model):
    stack, mask = rain(8), torch.ones(1, 4, SIZE, SIZE)
    out = run(model, stack, mask, still() + 1)
    for share, name in ((0.1, "rain_p10"), (0.5, "rain_p50"), (0.9, "rain_p90")):
        dry = out["prob_0.1"] < 1 - share
        assert bool(dry.any())
        assert float(out[name][dry].max()) == 0


def test_registry_names_its_models():
    assert set(MODELS) == {"standard", "edge", "edge-members", "advection", "persistence"}
    with pytest.raises(UnknownModel, match="advection"):
        create("nothing")
    stack, mask = rain(), torch.ones(1, 4, SIZE, SIZE)
    still_rain, _ = Persistence()(stack, mask, still())
    moved, _ = Advection()(stack, mask, still())
    assert torch.allclose(still_rain, moved, atol=1e-5)


def test_rain_that_comes_is_told_stronger_and_rain_that_goes_weaker():
    """A band of rain, 6 pixels a step to the east, as motion tells: ahead of its middle it came, behind it goes."""
    cascade, motion = create("edge").cascade, still(256)
    motion[:, 0] = 6.0
    shape = (torch.exp(-(((torch.arange(256.0) - 110) / 20) ** 2)) * 0.5).expand(256, 256)
    stack = torch.stack([torch.roll(shape, 6 * step, 1) for step in range(4)])[None]
    told = {}
    for share in (0.0, 1.0):
        cascade.passing.data = torch.tensor([share, 0.0, 0.0])
        ready, each = opened(cascade, motion, stack)
        with torch.no_grad():
            told[share] = cascade.levels_at(ready, each).ordered[0].mean((0, 1))
    middle = 110 + 6 * (3 + 12)
    more = told[1.0] - told[0.0]
    assert float(more[middle + 10 : middle + 30].mean()) > 0.02
    assert float(more[middle - 30 : middle - 10].mean()) < -0.02


def test_where_nothing_changed_in_place_nothing_passes():
    cascade, stack = create("edge").cascade, rain(size=256)
    assert max(float(band.abs().max()) for band in opened(cascade, still(256), stack)[0].passed) < 1e-3
