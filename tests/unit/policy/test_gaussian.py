"""The Gaussian policy: its densities are a Gaussian's, and its deviation keeps within bounds."""

import jaxtyping
import pytest
import torch

from unbraid.policy.gaussian import GaussianPolicy, diagonal_log_prob, perceptron


def make(spread, *, n_modes=3, hidden=(16, 16), activation="silu"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GaussianPolicy(5, 2, n_modes=n_modes, hidden=hidden, activation=activation, spread=spread)


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


def test_a_perceptron_has_activations_between_its_layers_and_none_after_the_last():
    layers = perceptron([3, 4, 5, 2], torch.nn.ReLU)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert layers(torch.randn(7, 3)).shape == (7, 2)


def test_a_wrong_shape_raises():
    with pytest.raises(jaxtyping.TypeCheckError):
        make("context")(torch.zeros(4, 5), torch.zeros(3, 3))
