"""The mixture policy: its density is a mixture's, and the Gaussian that stands for it has the same moments."""

import pytest
import torch

from unbraid.policy.gaussian import TrunkShape, log_likelihoods_of_modes
from unbraid.policy.mixture import N_COMPONENTS, MixturePolicy, mixture_log_prob
from unbraid.policy.products import moments_of_mixture


@pytest.fixture
def policy():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MixturePolicy(5, 2, n_modes=3, shape=TrunkShape((16, 16)))


def moments(log_weights, means, log_stds):
    weights = log_weights.exp()[..., None]
    return moments_of_mixture(*(values.movedim(-2, 0) for values in (weights, means, log_stds)))


@pytest.fixture
def parts():
    """Log-weights, means and log-deviations of mixtures in seven states."""
    draws = torch.Generator().manual_seed(0)
    weights = torch.log_softmax(torch.randn(7, 4, generator=draws), -1)
    return weights, torch.randn(7, 4, 2, generator=draws), torch.randn(7, 4, 2, generator=draws) - 1


def as_torch(log_weights, means, log_stds):
    of_part = torch.distributions.Independent(torch.distributions.Normal(means, log_stds.exp()), 1)
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=log_weights), of_part)


def test_its_density_is_a_mixtures(parts):
    actions = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mixture_log_prob(actions, *parts), as_torch(*parts).log_prob(actions))


def test_the_gaussian_that_is_steered_has_its_mean_and_its_variance(parts):
    mean, log_std = moments(*parts)
    torch.testing.assert_close(mean, as_torch(*parts).mean)
    torch.testing.assert_close(log_std.exp().square(), as_torch(*parts).variance)


@torch.no_grad()
def test_each_state_and_mode_has_a_mixture_of_its_own(policy):
    states, contexts = torch.randn(6, 5), torch.rand(6, 3)
    weights, means, log_stds = policy.components(states, contexts)
    assert weights.shape == (6, N_COMPONENTS)
    assert means.shape == log_stds.shape == (6, N_COMPONENTS, 2)
    torch.testing.assert_close(weights.exp().sum(1), torch.ones(6))
    for part in (weights, means, log_stds):
        assert float((part[0] - part[1]).abs().max()) > 1e-3
    for got, wanted in zip(policy(states, contexts), moments(weights, means, log_stds), strict=True):
        torch.testing.assert_close(got, wanted)


@torch.no_grad()
def test_a_part_is_drawn_by_its_weight_and_the_whole_without_a_number(policy):
    states, contexts = torch.randn(1, 5).expand(1000, -1), torch.rand(1, 3).expand(1000, -1)
    weights, means, log_stds = (values[0] for values in policy.components(states, contexts))
    mean, log_std = policy.drawn(states, contexts, (torch.arange(1000) + 0.5) / 1000)
    for part in range(N_COMPONENTS):
        same = (mean == means[part]).all(1) & (log_std == log_stds[part]).all(1)
        assert float(same.float().mean()) == pytest.approx(float(weights[part].exp()), abs=2e-3)
    whole = policy(states[:1], contexts[:1])
    for got, wanted in zip(policy.drawn(states[:1], contexts[:1], torch.tensor([-1.0])), whole, strict=True):
        torch.testing.assert_close(got, wanted)


@torch.no_grad()
def test_modes_are_read_by_the_mixture_and_not_by_its_gaussian(policy):
    states, actions, contexts = torch.randn(6, 5), torch.randn(6, 2), 1 - torch.eye(3)
    read = log_likelihoods_of_modes(policy, states, actions, contexts)
    for mode in range(3):
        own = policy.log_prob(states, contexts[mode].expand(6, -1), actions)
        torch.testing.assert_close(read[:, mode], own)


@torch.no_grad()
def test_all_its_means_are_held_within_bounds_and_these_are_saved(policy):
    policy.hold_within(torch.tensor([-0.01, -torch.inf]), torch.tensor([0.01, torch.inf]))
    other = MixturePolicy(5, 2, n_modes=3, shape=TrunkShape((16, 16)))
    other.load_state_dict(policy.state_dict())
    _, means, _ = other.components(torch.randn(50, 5), torch.rand(50, 3))
    assert float(means[..., 0].abs().max()) <= 0.01
    assert float(means[..., 1].abs().max()) > 0.01


def test_gradient_reaches_states_contexts_and_every_weight(policy):
    states, contexts = torch.randn(6, 5, requires_grad=True), torch.rand(6, 3, requires_grad=True)
    policy.log_prob(states, contexts, torch.randn(6, 2)).sum().backward()
    for tensor in (states, contexts, *policy.parameters()):
        assert float(tensor.grad.abs().sum()) > 0
