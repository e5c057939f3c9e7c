"""The tanh-Gaussian: its density is that of a squashed Gaussian, and products of its powers are again such."""

import numpy as np
import pytest
import torch

from unbraid.policy.gaussian import TrunkShape
from unbraid.policy.products import product_of_powers
from unbraid.policy.squashed import MARGIN, TanhGaussianPolicy

LOW, HIGH = torch.tensor([-1.5, 0.2]), torch.tensor([0.5, 3.0])


@pytest.fixture
def policy():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = TanhGaussianPolicy(4, 2, n_modes=3, shape=TrunkShape((16,)))
        torch.nn.init.normal_(made.trunk[-1].weight, std=0.3)
    made.hold_within(LOW, HIGH)
    return made.requires_grad_(False)


@pytest.fixture
def asked():
    """States and contexts of six steps."""
    draws = torch.Generator().manual_seed(1)
    return torch.randn(6, 4, generator=draws), 1 - torch.eye(3)[[0, 1, 2, 0, 1, 2]]


@pytest.fixture
def actions():
    """Six actions between the bounds."""
    return LOW + (HIGH - LOW) * torch.rand(6, 2, generator=torch.Generator().manual_seed(2))


def as_torch(policy, asked):
    """torch's own squashed Gaussian."""
    from torch.distributions import AffineTransform, Independent, Normal, TanhTransform, TransformedDistribution

    mean, log_std = policy(*asked)
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2 * (1 + MARGIN)
    squash = [AffineTransform(0.0, 1 / half), TanhTransform(), AffineTransform(middle, half)]
    return Independent(TransformedDistribution(Normal(mean, log_std.exp()), squash), 1)


def test_its_density_is_that_of_a_squashed_gaussian(policy, asked, actions):
    torch.testing.assert_close(policy.log_prob(*asked, actions), as_torch(policy, asked).log_prob(actions))


def test_there_and_back(policy, actions):
    torch.testing.assert_close(policy.acted(policy.freed(actions)), actions)
    middle = ((LOW + HIGH) / 2)[None]
    torch.testing.assert_close(policy.freed(middle), torch.zeros(1, 2))
    near = torch.tensor([[0.01, 0.01]])
    torch.testing.assert_close(policy.acted(near) - middle, near, atol=1e-5, rtol=0)  # near the middle u is a - m


def test_on_and_beyond_the_bounds_all_is_finite(policy, asked):
    beyond = torch.stack([LOW - 1, LOW, HIGH, HIGH + 9, LOW, HIGH])
    assert torch.isfinite(policy.log_prob(*asked, beyond)).all()
    torch.testing.assert_close(policy.freed(beyond)[0], policy.freed(beyond)[1])
    far = policy.acted(torch.tensor([[-1e3, 1e3], [1e3, -1e3]]))
    torch.testing.assert_close(far, torch.stack([torch.stack([LOW[0], HIGH[1]]), torch.stack([HIGH[0], LOW[1]])]))


def test_a_column_that_never_moves_stays(policy, asked):
    policy.hold_within(torch.tensor([2.0, -1.0]), torch.tensor([2.0, 1.0]))
    mean, log_std = policy.moments(*asked)
    assert (mean[:, 0] == 2).all()
    assert (log_std > -10).all()  # or the deviation would vanish, and its logarithm with it
    assert torch.isfinite(policy.log_prob(*asked, torch.tensor([[2.0, 0.3]]).expand(6, -1))).all()


def test_its_moments_are_those_of_the_action_to_first_order(policy, asked):
    policy.log_std_of_context.weight.zero_()
    policy.log_std_of_context.bias.fill_(-2.5)
    mean, log_std = policy.moments(*asked)
    of_u, spread = policy(*asked)
    noise = torch.randn(20_000, 1, 2, generator=torch.Generator().manual_seed(3))
    drawn = policy.acted(of_u + spread.exp() * noise)
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.std(0), log_std.exp(), atol=0.02, rtol=0.1)


def test_the_deviation_of_an_action_is_that_of_u_times_the_slope_of_what_it_makes(policy, asked):
    """The slope by torch's own derivative."""
    of_u, spread = policy(*asked)
    of_u = (2 * of_u).requires_grad_()  # far from the middle, too, where the slope is small
    (slope,) = torch.autograd.grad(policy.acted(of_u).sum(), of_u)
    assert 0 < float(slope.min()) < 0.5 < float(slope.max()) < 1
    policy.forward = lambda states, contexts: (of_u.detach(), spread)
    mean, log_std = policy.moments(*asked)
    torch.testing.assert_close(mean, policy.acted(of_u.detach()))
    torch.testing.assert_close(log_std, spread + slope.log())


def test_before_it_is_told_of_bounds_it_acts_between_minus_1_and_1():
    policy = TanhGaussianPolicy(4, 2, n_modes=3, shape=TrunkShape((8,)))
    far = torch.tensor([[-1e3, 1e3]])
    assert policy.acted(far).tolist() == [[-1, 1]]


def test_the_squash_says_where_the_middle_is_and_how_far_it_reaches(policy):
    middle, half = policy.squash()
    torch.testing.assert_close(middle, torch.tensor([-0.5, 1.6]))
    torch.testing.assert_close(half, torch.tensor([1.0, 1.4]) * (1 + MARGIN))


@pytest.mark.parametrize("powers", [(1.05, -0.05), (0.7, 0.3)])
@torch.no_grad()
def test_a_product_of_powers_is_a_tanh_gaussian(policy, asked, powers):
    """At two actions, the ratio of the product is the product of the ratios: factors da/du cancel."""
    powers = torch.tensor(powers)[:, None, None]
    policy.log_std_of_context.weight[:, 0] += 0.5  # the second mode is less certain, so that no precision is lowered
    states = asked[0][:1]
    contexts = [row[None] for row in 1 - torch.eye(3)[:2]]
    means, log_stds = (torch.stack(values) for values in zip(*(policy(states, c) for c in contexts), strict=True))
    mean, log_std, floored = product_of_powers(means, log_stds, powers)
    assert not floored.any()
    one, other = ((LOW + share * (HIGH - LOW))[None] for share in (0.3, 0.8))
    wanted = sum(
        float(power) * float(policy.log_prob(states, c, one) - policy.log_prob(states, c, other))
        for power, c in zip(powers, contexts, strict=True)
    )
    of_u = torch.distributions.Normal(mean, log_std.exp())

    def density(action):
        u = policy.freed(action)
        return float((of_u.log_prob(u) - policy._log_slope(u)).sum())

    assert density(one) - density(other) == pytest.approx(wanted, abs=1e-4, rel=1e-4)


def test_any_number_of_rows_acts_alike(policy):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 2)))
    of_all = policy.acted(rows)
    for n in (1, 3, 17):
        assert torch.equal(policy.acted(rows[:n].clone()), of_all[:n])
