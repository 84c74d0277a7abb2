"""Coupled members: sorted, heard from around, in the order that they had."""

import math

import pytest
import torch

from nowcast.models.coupling import ascending, choices, couple, extremes, network, quantile


def at(minutes: float) -> torch.Tensor:
    return torch.full((1, 1, 1, 1), math.log(minutes / 30))


def drawn(members: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, members, 24, 24, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [2, 3, 8, 12])
def test_the_network_sorts_all_zeros_and_ones_and_so_everything(count):
    values = list(torch.tensor([[n >> bit & 1 for n in range(2**count)] for bit in range(count)]))
    for low, high in network(count):
        values[low], values[high] = torch.minimum(values[low], values[high]), torch.maximum(values[low], values[high])
    assert bool((torch.stack(values).diff(dim=0) >= 0).all())


@pytest.mark.parametrize("exchange", [extremes, choices])
def test_two_values_are_put_in_order(exchange):
    one, other = torch.tensor([1.0, 2.0, 3.0, -0.2]), torch.tensor([2.0, 1.0, 3.0, math.inf])
    low, high = exchange(one, other)
    assert low.tolist() == [1.0, 1.0, 3.0, pytest.approx(-0.2)]
    assert high.tolist() == [2.0, 2.0, 3.0, math.inf]


@pytest.mark.parametrize("members", [3, 8, 24])
def test_members_are_sorted(members):
    assert torch.equal(ascending(drawn(members)), drawn(members).sort(dim=1).values)


def test_members_keep_their_order_at_every_pixel():
    before = drawn(24)
    told = couple(before, at(60)).members
    assert torch.equal(told.argsort(dim=1), before.argsort(dim=1))
    assert not torch.allclose(told, before, atol=0.05)


def test_the_same_distribution_everywhere_is_left_as_it_is():
    order = drawn(8).argsort(dim=1)
    before = torch.linspace(-0.3, 2, 8)[order]
    assert torch.allclose(couple(before, at(120)).members, before, atol=1e-6)


def test_neighbours_are_heard_the_more_the_later():
    """One pixel of rain in all members: kept at 5 min but for a fifth, two means of 3 × 3 spread it from an hour on."""
    spot = torch.zeros(1, 3, 13, 13)
    spot[..., 6, 6] = 1.0
    told = [couple(spot, at(minutes)).ordered[0, 1] for minutes in (5, 30, 60, 120)]
    assert [float(field[6, 6]) for field in told] == pytest.approx([0.7901, 1 / 9, 1 / 9, 1 / 9], abs=1e-4)
    assert [float(field[6, 8]) for field in told] == pytest.approx([1 / 72 / 27, 1 / 54, 1 / 27, 1 / 27], abs=1e-5)
    assert float(told[-1].sum()) == pytest.approx(1)


def test_few_members_coupled_lie_nearer_to_the_distribution_that_they_were_drawn_from():
    deciles = torch.special.ndtri((torch.arange(8) + 0.5) / 8)[None, :, None, None]
    alone, coupled = drawn(8).sort(dim=1).values, couple(drawn(8), at(60)).ordered
    assert float((coupled - deciles).square().mean()) < 0.25 * float((alone - deciles).square().mean())


@pytest.mark.parametrize("members", [3, 8, 24])
def test_quantiles_lie_between_the_members(members):
    ordered = ((torch.arange(members) + 0.5) / members)[None, :, None, None]
    for share in (0.1, 0.5, 0.9):
        assert float(quantile(ordered, share)) == pytest.approx(min(max(share, 0.5 / members), 1 - 0.5 / members))
