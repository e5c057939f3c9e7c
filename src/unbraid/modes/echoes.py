"""Which inputs echo the previous action: sensors that feel it (an accelerometer, a gyro), not the world's state.

A policy that sees its last action can go on with what it was doing, whichever mode it is asked for; then its
likelihood no longer tells modes apart.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["echoing_columns"]

_SHARE = 0.1


def echoing_columns(
    states: Float[Tensor, "step obs"],
    actions: Float[Tensor, "step act"],
    episode_of_step: Int[Tensor, "step"],
    *,
    share: float = _SHARE,
) -> Bool[Tensor, "obs"]:
    """The columns of s[t] that a[t-1] explains better than what was seen before does.

    For each column, the share of its variance that is left after a linear regression on s[t-1], and how much of that
    the regression on [s[t-1], a[t-1]] takes away. A column is an echo where that is more than `share`.

    Args:
        states: scaled observations of every step, in order.
        actions: scaled actions.
        episode_of_step: the episode of every step; no pair crosses two.
        share: in (0, 1).
    """
    later = torch.nonzero(episode_of_step[1:] == episode_of_step[:-1])[:, 0] + 1
    if len(later) < 2:
        return torch.zeros(states.shape[1], dtype=torch.bool)
    later = later[torch.linspace(0, len(later) - 1, min(len(later), 20_000), dtype=torch.float64).long()]
    before = torch.cat([states[later - 1], torch.ones(len(later), 1)], dim=1).double()
    both = torch.cat([before, actions[later - 1]], dim=1)
    after = states[later].double()
    left, left_with_action = (_residual_variance(inputs, after) for inputs in (before, both))
    total = after.var(0).clamp_min(1e-9)
    return ((left - left_with_action) / left.clamp_min(1e-9) > share) & (left / total > 1e-3)


def _residual_variance(inputs: Float[Tensor, "row input"], outputs: Float[Tensor, "row output"]) -> Tensor:
    gram = inputs.T @ inputs + 1e-3 * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    return (outputs - inputs @ torch.linalg.solve(gram, inputs.T @ outputs)).square().mean(0)
