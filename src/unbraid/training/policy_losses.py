"""What a policy can learn by: the likelihood, or, if Gaussian, what imitates better where experts act without noise."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.gaussian import ActionPolicy, GaussianPolicy, clamped_log_std, diagonal_log_prob
from unbraid.policy.mixture import MixturePolicy, mixture_log_prob

__all__ = ["Batch", "PolicyLoss", "Precision", "gaussian_loss", "policy_loss", "predicted"]

Batch = tuple[Float[Tensor, "batch input"], Float[Tensor, "batch act"], Float[Tensor, "batch mode"]]
"""What the policy sees of some steps, what was done, and the contexts, in scaled units."""

PolicyLoss = Literal["likelihood", "beta", "huber"]
Precision = Literal["float32", "bfloat16"]

_BETA, _HUBER_DELTA = 0.5, 0.1


def policy_loss(
    policy: ActionPolicy, kind: PolicyLoss, batch: Batch, precision: Precision = "float32"
) -> Float[Tensor, ""]:
    """The mean loss of a batch, and the policy's `penalty`.

    A Gaussian's is its `gaussian_loss`; a mixture's -log pi(a | s, c) in nats, whatever `kind`. A tanh-Gaussian's is
    that of the Gaussian inside; from -log pi(a | s, c) it differs by what no weight changes.

    Args:
        policy: what learns.
        kind: by what, if it is Gaussian.
        batch: states, actions and contexts.
        precision: of the policy's matrix products.
    """
    states, actions, contexts = batch
    if isinstance(policy, MixturePolicy):
        with torch.autocast(states.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            parts = policy.components(states, contexts)
        return -mixture_log_prob(actions, *(part.float() for part in parts)).mean() + policy.penalty()
    assert isinstance(policy, GaussianPolicy)
    mean, log_std = predicted(policy, states, contexts, precision, freely=kind == "likelihood")
    return gaussian_loss(kind, policy.freed(actions), mean, log_std) + policy.penalty()


def predicted(
    policy: GaussianPolicy,
    states: Float[Tensor, "batch input"],
    contexts: Float[Tensor, "batch mode"],
    precision: Precision,
    *,
    freely: bool = False,
) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
    """(mean, log_std) of the action in scaled units, float32, by matrix products of this number type.

    With bfloat16 weights, sums of gradients and the loss stay in float32 (PyTorch's autocast). `freely` lets a
    deviation find back from beyond its bounds (`clamped_log_std`); the values are the same.
    """
    with torch.autocast(states.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        mean, log_std = policy.wished(states, contexts) if freely else policy(states, contexts)
    if freely and policy.log_std_of_context is not None:
        log_std = clamped_log_std(log_std.float())
    return mean.float(), log_std.float()


def gaussian_loss(
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
