"""The first guess of who is in which mode: features of an unconditional policy, and a mixture on top of them."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unbraid.modes.mixture import fit_mixture, span_statistics
from unbraid.policy.gaussian import perceptron

__all__ = ["first_responsibilities"]

UNITS, GRADIENT_STEPS, BATCH, LEARNING_RATE, INPUT_SHARE = 48, 400, 1024, 3e-3, 0.3


def first_responsibilities(
    states: Float[Tensor, "step obs"],
    targets: Float[Tensor, "step target"],
    spans: Int[Tensor, "step"],
    *,
    n_modes: int,
    generator: np.random.Generator,
) -> Float[Tensor, "span mode"]:
    """P(mode | span) by a mixture of linear-Gaussian predictors on learned features.

    Features: 48 tanh units of a network that predicts the targets for everybody, 0.3 x the states, and 1.

    Args:
        states: scaled observations, with what must not be seen set to 0.
        targets: scaled actions (or transitions).
        spans: the span of every step.
        n_modes: K.
        generator: draws batches, weights and starts.
    """
    network = _unconditional(states, targets, generator)
    with torch.no_grad():
        units = network[:-1](states)
        features = torch.cat([units, INPUT_SHARE * states, torch.ones(len(states), 1)], dim=1)
    used = features.abs().amax(0) > 0
    statistics = span_statistics(features[:, used], targets, spans)
    return fit_mixture(statistics, n_modes, generator=generator).responsibilities


def _unconditional(
    states: Float[Tensor, "step obs"], targets: Float[Tensor, "step target"], generator: np.random.Generator
) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**63)))
        network = perceptron([states.shape[1], UNITS, targets.shape[1]], nn.Tanh)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(GRADIENT_STEPS):
        batch = torch.from_numpy(generator.integers(len(states), size=BATCH))
        loss = (network(states[batch]) - targets[batch]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network
