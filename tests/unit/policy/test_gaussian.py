"""The Gaussian policy: its densities are a Gaussian's, and its deviation keeps within bounds."""

import jaxtyping
import pytest
import torch

from unbraid.policy.gaussian import (
    GaussianPolicy,
    TrunkShape,
    diagonal_log_prob,
    log_likelihoods_of_modes,
    perceptron,
    weights_of_heads,
)


def make(spread, *, n_modes=3, hidden=(16, 16), activation="silu", **of_trunk):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = TrunkShape(hidden, **of_trunk)
        return GaussianPolicy(5, 2, n_modes=n_modes, shape=shape, activation=activation, spread=spread)


def test_log_probabilities_are_a_gaussians():
    generator = torch.Generator().manual_seed(0)
    actions, mean, log_std = (torch.randn(4, 7, 2, generator=generator) for _ in range(3))
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(actions)
    torch.testing.assert_close(diagonal_log_prob(actions, mean, log_std), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_talks_deviation_is_one_number_per_action_and_starts_at_minus_a_half():
    policy = make("state_independent", activation="tanh")
    mean, log_std = policy(torch.randn(6, 5), torch.randn(6, 3))
    assert mean.shape == log_std.shape == (6, 2)
    assert (log_std == -0.5).all()
    assert [n for n, _ in policy.named_parameters() if "log_std" in n] == ["log_std"]
    policy.log_std.copy_(torch.tensor([1.0, -4.0]))  # not clamped: the talk's is not
    assert policy(torch.randn(6, 5), torch.randn(6, 3))[1][0].tolist() == [1, -4]


@torch.no_grad()
def test_a_modes_deviation_is_its_own_and_a_state_moves_it_by_at_most_one_and_a_half():
    policy = make("context")
    contexts = (1 - torch.eye(3)).repeat_interleave(50, 0)
    _, log_std = policy(10 * torch.randn(150, 5), contexts)
    own = policy.log_std_of_context(contexts)
    assert float((log_std - own).abs().max()) <= 1.5
    assert float((log_std - own).abs().max()) > 0
    assert float((own[0] - own[-1]).abs().max()) > 0.05


@torch.no_grad()
@pytest.mark.parametrize(("bias", "expected"), [(100.0, 0.5), (-100.0, -3.0)])
def test_the_deviation_is_clamped(bias, expected):
    policy = make("context")
    policy.log_std_of_context.bias.fill_(bias)
    _, log_std = policy(torch.randn(6, 5), torch.rand(6, 3))
    assert (log_std == expected).all()


@pytest.mark.parametrize("spread", ["state_independent", "context"])
def test_gradient_reaches_states_contexts_and_every_weight(spread):
    policy = make(spread)
    states, contexts = torch.randn(6, 5, requires_grad=True), torch.rand(6, 3, requires_grad=True)
    diagonal_log_prob(torch.randn(6, 2), *policy(states, contexts)).sum().backward()
    for tensor in (states, contexts, *policy.parameters()):
        assert float(tensor.grad.abs().sum()) > 0


def test_a_not_hot_context_asks_for_one_mode_and_any_other_for_shares_that_sum_to_1():
    not_hot = 1 - torch.eye(4)
    assert weights_of_heads(not_hot).tolist() == torch.eye(4).tolist()
    shares = torch.tensor([0.5, 0.25, 0.25, 0.0])
    torch.testing.assert_close(weights_of_heads(1 - shares), shares)
    torch.testing.assert_close(weights_of_heads(torch.zeros(4)), torch.full((4,), 0.25))  # no mode in particular
    torch.testing.assert_close(weights_of_heads(torch.rand(9, 4) * 3 - 1).sum(-1), torch.ones(9))
    assert weights_of_heads(torch.zeros(1)).tolist() == [1.0]


@torch.no_grad()
def test_a_mode_has_outputs_of_its_own_and_a_context_between_modes_is_their_mean():
    policy, states = make("context"), torch.randn(6, 5)
    contexts = 1 - torch.eye(3)
    before = [policy(states, context.expand(6, -1))[0] for context in contexts]
    torch.testing.assert_close(policy(states, (contexts[0] + contexts[1]).expand(6, -1) / 2)[0], sum(before[:2]) / 2)
    policy.trunk[-1].weight[:4] += 1  # those of the first mode: two means, two deviations
    after = [policy(states, context.expand(6, -1))[0] for context in contexts]
    assert float((after[0] - before[0]).abs().min()) > 0
    assert all(torch.equal(*pair) for pair in zip(after[1:], before[1:], strict=True))


@torch.no_grad()
@pytest.mark.parametrize("context_as", ["heads", "input"])
def test_the_likelihoods_of_all_modes_are_those_of_each(context_as):
    policy, states, actions = make("context", context_as=context_as), torch.randn(7, 5), torch.randn(7, 2)
    contexts = 1 - torch.eye(3)
    found = log_likelihoods_of_modes(policy, states, actions, contexts)
    for mode, context in enumerate(contexts):
        expected = policy.log_prob(states, context.expand(7, -1), actions)
        torch.testing.assert_close(found[:, mode], expected)


def test_a_perceptron_has_activations_between_its_layers_and_none_after_the_last():
    layers = perceptron([3, 4, 5, 2], torch.nn.ReLU)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert layers(torch.randn(7, 3)).shape == (7, 2)


@torch.no_grad()
def test_normalised_layers_have_mean_0_and_deviation_1_in_every_row():
    generator = torch.Generator().manual_seed(0)
    layers = perceptron([3, 40, 50, 2], torch.nn.SiLU, layer_norm=True)
    assert [type(layer).__name__ for layer in layers] == [*["Linear", "LayerNorm", "SiLU"] * 2, "Linear"]
    normed = layers[:5](10 * torch.randn(7, 3, generator=generator))
    torch.testing.assert_close(normed.mean(1), torch.zeros(7), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.std(1, correction=0), torch.ones(7), atol=1e-3, rtol=0)


def test_the_penalty_is_that_of_the_first_layers_absolute_weights():
    policy = make("context", l1=0.5)
    policy.penalty().backward()
    first = policy.trunk[0].weight
    assert policy.penalty().item() == pytest.approx(0.5 * first.abs().sum().item())
    torch.testing.assert_close(first.grad, 0.5 * first.detach().sign())
    assert {name for name, weights in policy.named_parameters() if weights.grad is not None} == {"trunk.0.weight"}
    assert make("context").penalty().item() == 0


def test_a_wrong_shape_raises():
    with pytest.raises((jaxtyping.TypeCheckError, RuntimeError)):
        make("context")(torch.zeros(4, 5), torch.zeros(3, 3))
