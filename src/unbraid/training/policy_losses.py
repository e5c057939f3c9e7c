"""What a Gaussian policy can learn by: the likelihood, or what imitates better where experts act without noise."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.gaussian import GaussianPolicy, diagonal_log_prob

__all__ = ["PolicyLoss", "Precision", "policy_loss", "predicted"]

PolicyLoss = Literal["likelihood", "beta", "huber"]
Precision = Literal["float32", "bfloat16"]

_BETA, _HUBER_DELTA = 0.5, 0.1


def predicted(
    policy: GaussianPolicy,
    states: Float[Tensor, "batch input"],
    contexts: Float[Tensor, "batch mode"],
    precision: Precision,
) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
    """(mean, log_std) of the action in scaled units, float32, by matrix products of this number type.

    With bfloat16 weights, sums of gradients and the loss stay in float32 (PyTorch's autocast).
    """
    with torch.autocast(states.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        mean, log_std = policy(states, contexts)
    return mean.float(), log_std.float()


def policy_loss(
    kind: PolicyLoss,
    actions: Float[Tensor, "batch act"],
    mean: Float[Tensor, "batch act"],
    log_std: Float[Tensor, "batch act"],
) -> Float[Tensor, ""]:
    """The mean over a batch of a loss that is summed over action dimensions, in scaled units.

    ``likelihood``: -log N(a; mean, std^2), in nats. ``beta``: the same, each dimension weighted with its std, through
    which no gradient goes: the likelihood learns least where the deviation is small already, and this does not.
    ``huber``: Huber's loss of the mean, in units of its threshold of 0.1, and the likelihood for the deviation alone.

    Source: Seitzer et al. 2022, arXiv 2203.09168, equation 5 with beta = 0.5; Huber 1964, "Robust estimation of a
    location parameter".
    """
    if kind == "huber":
        of_mean = nn.functional.huber_loss(mean, actions, delta=_HUBER_DELTA, reduction="none") / _HUBER_DELTA
        return (of_mean - diagonal_log_prob(actions, mean.detach(), log_std)).sum(-1).mean()
    losses = -diagonal_log_prob(actions, mean, log_std)
    if kind == "beta":
        losses = losses * (2 * _BETA * log_std).exp().detach()
    return losses.sum(-1).mean()
