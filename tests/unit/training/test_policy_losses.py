"""The losses that a policy learns by, against what their sources define."""

import math

import pytest
import torch

from unbraid.policy.gaussian import GaussianPolicy, TrunkShape, diagonal_log_prob
from unbraid.policy.mixture import MixturePolicy
from unbraid.training.policy_losses import gaussian_loss, policy_loss, predicted


@pytest.fixture
def batch():
    draws = torch.Generator().manual_seed(0)
    actions, mean, log_std = (torch.randn(32, 2, generator=draws) for _ in range(3))
    return actions, mean.requires_grad_(), log_std.requires_grad_()


def gradients(kind, batch):
    actions, mean, log_std = batch
    mean.grad = log_std.grad = None
    gaussian_loss(kind, actions, mean, log_std).backward()
    return mean.grad.clone(), log_std.grad.clone()


def test_the_likelihood_is_that_of_a_gaussian(batch):
    actions, mean, log_std = batch
    normal = torch.distributions.Normal(mean, log_std.exp())
    wanted = -normal.log_prob(actions).sum(1).mean()
    assert gaussian_loss("likelihood", *batch).item() == pytest.approx(wanted.item(), abs=1e-5)


def test_beta_weights_the_gradients_of_the_likelihood_with_the_deviation(batch):
    """So that its mean is pulled by (mean - a) / std, where the likelihood's is by (mean - a) / std^2."""
    actions, mean, log_std = batch
    plain, weighted = gradients("likelihood", batch), gradients("beta", batch)
    for before, after in zip(plain, weighted, strict=True):
        torch.testing.assert_close(after, before * log_std.detach().exp())
    torch.testing.assert_close(weighted[0], (mean - actions).detach() / log_std.detach().exp() / len(actions))


def test_huber_pulls_at_far_actions_no_harder_than_at_its_threshold():
    mean = torch.zeros(3, 1, requires_grad=True)
    actions = torch.tensor([[0.05], [0.1], [5.0]])
    gaussian_loss("huber", actions, mean, torch.zeros(3, 1)).backward()
    torch.testing.assert_close(mean.grad * 3, torch.tensor([[-0.5], [-1.0], [-1.0]]))


def test_hubers_deviation_is_that_of_what_the_mean_leaves():
    actions = 0.3 * torch.randn(4000, 1, generator=torch.Generator().manual_seed(1))
    log_std = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([log_std], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        gaussian_loss("huber", actions, torch.zeros_like(actions), log_std.expand_as(actions)).backward()
        optimizer.step()
    assert math.exp(float(log_std.detach())) == pytest.approx(float(actions.std()), rel=0.02)


def test_a_batch_counts_every_action_dimension(batch):
    actions, mean, log_std = (values.detach() for values in batch)
    one_by_one = sum(gaussian_loss("huber", *(v[:, k : k + 1] for v in (actions, mean, log_std))) for k in range(2))
    assert gaussian_loss("huber", actions, mean, log_std).item() == pytest.approx(float(one_by_one), abs=1e-5)
    likelihoods = diagonal_log_prob(actions, mean, log_std)
    wanted = -float(likelihoods.sum()) / len(actions)
    assert gaussian_loss("likelihood", actions, mean, log_std).item() == pytest.approx(wanted, abs=1e-5)


def test_products_of_bfloat16_predict_about_the_same_in_float32():
    torch.manual_seed(0)
    policy = GaussianPolicy(5, 2, n_modes=2, shape=TrunkShape((64, 64)), activation="silu", spread="context")
    states, contexts = torch.randn(100, 5), torch.eye(2)[torch.arange(100) % 2]
    full, reduced = (predicted(policy, states, contexts, precision) for precision in ("float32", "bfloat16"))
    assert all(torch.equal(ours, plain) for ours, plain in zip(full, policy(states, contexts), strict=True))
    for exact, rounded in zip(full, reduced, strict=True):
        assert rounded.dtype == torch.float32
        assert 0 < (exact - rounded).abs().max() < 0.05
    sum(part.sum() for part in reduced).backward()
    assert {weights.grad.dtype for weights in policy.parameters()} == {torch.float32}


def policies():
    torch.manual_seed(0)
    gaussian = GaussianPolicy(5, 2, n_modes=2, shape=TrunkShape((16,)), activation="silu", spread="context")
    return gaussian, MixturePolicy(5, 2, n_modes=2, shape=TrunkShape((16,)))


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_head_learns_by_the_likelihood_of_its_own_density(which, precision):
    policy = policies()[which]
    states, actions, contexts = torch.randn(64, 5), torch.randn(64, 2), torch.rand(64, 2)
    loss = policy_loss(policy, "likelihood", (states, actions, contexts), precision)
    wanted = -policy.log_prob(states, contexts, actions).mean()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5 if precision == "float32" else 0.02)


def test_a_gaussian_learns_by_what_is_asked():
    policy, _ = policies()
    batch = torch.randn(64, 5), torch.randn(64, 2), torch.rand(64, 2)
    losses = {kind: policy_loss(policy, kind, batch).item() for kind in ("likelihood", "beta", "huber")}
    assert len(set(losses.values())) == 3
