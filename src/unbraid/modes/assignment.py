"""Time is shared: which steps have one mode in common."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from unbraid.modes.stretches import Stretches

__all__ = ["spans_of", "stretches_of"]


def spans_of(
    lengths: Int[Tensor, "episode"], sharing: Literal["episode", "window"], *, window_steps: int = 10
) -> Stretches:
    """The stretches that share a mode: episodes, or their parts of `window_steps` steps (the last may have fewer).

    Numbered 0, 1, 2, ... in order (episodes without steps have no stretch).
    """
    lengths = lengths[lengths > 0]
    if sharing == "episode":
        return Stretches(lengths)
    n_parts = (lengths + window_steps - 1) // window_steps
    of_parts = torch.full((int(n_parts.sum()),), window_steps)
    of_parts[n_parts.cumsum(0) - 1] = lengths - (n_parts - 1) * window_steps
    return Stretches(of_parts)


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
