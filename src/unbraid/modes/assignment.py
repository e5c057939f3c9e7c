"""Time is shared: which steps have one mode in common."""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["spans_of"]


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
