"""Time is shared: which steps have one mode in common."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["spans_of", "stretches_of"]


def spans_of(
    episode_of_step: Int[Tensor, "step"], sharing: Literal["episode", "window"], *, window_steps: int = 10
) -> Int[Tensor, "step"]:
    """The stretch that each step shares its mode with: its episode, or its part of `window_steps` of the episode.

    Numbered 0, 1, 2, ... in order, without gaps (episodes without steps have no stretch).
    """
    part = torch.zeros_like(episode_of_step)
    if sharing == "window":
        first = torch.searchsorted(episode_of_step, episode_of_step)
        part = (torch.arange(len(part)) - first) // window_steps
    return torch.from_numpy(stretches_of(part.numpy(), episode_of_step.numpy()))


def stretches_of(of_step: Int[np.ndarray, "step"], episode_of_step: Int[np.ndarray, "step"]) -> Int[np.ndarray, "step"]:
    """The stretch of every step: a new one where an episode begins, or what is told of steps changes.

    Numbered 0, 1, 2, ... in order, without gaps.

    Args:
        of_step: what is told of every step: its mode, its expert, its part of the episode.
        episode_of_step: (step,) the episode of each step.
    """
    begins = np.ones(len(of_step), dtype=bool)
    begins[1:] = (of_step[1:] != of_step[:-1]) | (episode_of_step[1:] != episode_of_step[:-1])
    return np.cumsum(begins) - 1
