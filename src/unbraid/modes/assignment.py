"""From the likelihood of single steps to the mode of a stretch: time is shared."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["shared_responsibilities", "spans_of", "with_outlier_floor"]


def spans_of(
    episode_of_step: Int[Tensor, "step"], sharing: Literal["episode", "window"], *, window_steps: int = 10
) -> Int[Tensor, "step"]:
    """The stretch that each step shares its mode with: its episode, or its part of `window_steps` of the episode.

    Numbered 0, 1, 2, ... in order, without gaps (episodes without steps have no stretch).
    """
    _, episodes = torch.unique_consecutive(episode_of_step, return_inverse=True)
    if sharing == "episode":
        return episodes
    first = torch.searchsorted(episodes, episodes)
    part = (torch.arange(len(episodes)) - first) // window_steps
    starts = torch.ones_like(part, dtype=torch.bool)
    starts[1:] = (part[1:] != part[:-1]) | (episodes[1:] != episodes[:-1])
    return starts.long().cumsum(0) - 1


def with_outlier_floor(
    log_likelihoods: Float[Tensor, "step mode"], targets: Float[Tensor, "step target"]
) -> Float[Tensor, "step mode"]:
    """log(0.98 N + 0.02 N(y; 0, 2^2)) in scaled units: one step that no mode expects must not decide an episode.

    Source: METHOD, part 2, (d). Departs: the floor is a broad Gaussian, not a uniform, since targets may be unbounded.
    """
    broad = (-0.5 * (targets / 2).square() - math.log(2) - 0.5 * math.log(2 * math.pi)).sum(-1, keepdim=True)
    return torch.logaddexp(log_likelihoods + math.log(0.98), broad + math.log(0.02))


def shared_responsibilities(
    log_likelihoods: Float[Tensor, "step mode"], spans: Int[Tensor, "step"], log_prior: Float[Tensor, "mode"]
) -> Float[Tensor, "span mode"]:
    """P(mode | all steps of the span) for every span; rows sum to 1.

    Args:
        log_likelihoods: of every step under every mode, in nats.
        spans: the span of every step, without gaps.
        log_prior: of the modes.
    """
    totals = torch.zeros(int(spans[-1]) + 1, log_likelihoods.shape[1], dtype=torch.float64)
    totals.index_add_(0, spans, log_likelihoods.double())
    return torch.softmax(totals + log_prior, dim=1).float()
