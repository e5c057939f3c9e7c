"""Stretches of consecutive steps: episodes, or spans that share a mode. Which one a step is in, is told on demand."""

from typing import final

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["Stretches", "some_within"]

_TOLD_STEPS = 1_000_000


@final
class Stretches:
    """Stretches that lie end to end; ``stretches[steps]`` says which one each step lies in.

    One number a stretch is kept, and the rest is searched for; up to a million steps, one number a step is kept
    besides, which is quicker to read.

    Attributes:
        lengths: (stretch,) the steps of each; there may be some without.
        starts, ends: (stretch,) the first step of each, and the first behind it.
        n_steps: how many there are in all.
    """

    def __init__(self, lengths: Int[Tensor, "stretch"]) -> None:
        self.lengths, self.ends = lengths, lengths.cumsum(0)
        self.starts, self.n_steps = self.ends - lengths, int(lengths.sum())
        few = self.n_steps <= _TOLD_STEPS
        self._of_step = torch.arange(len(lengths)).repeat_interleave(lengths) if few else None

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, steps: Int[Tensor, "*chosen"]) -> Int[Tensor, "*chosen"]:
        if self._of_step is not None:
            return self._of_step[steps]
        return torch.searchsorted(self.ends, steps.contiguous(), right=True)


def some_within(
    lengths: Int[np.ndarray, "stretch"], most_steps: int, generator: np.random.Generator
) -> Int[np.ndarray, "chosen"]:
    """The numbers of whole stretches, in order, that have at most so many steps in all, each as likely as any other.

    All of them, and nothing is drawn, where they have no more steps; at least one.
    """
    if lengths.sum() <= most_steps:
        return np.arange(len(lengths))
    order = generator.permutation(len(lengths))
    n_chosen = int((np.cumsum(lengths[order]) <= most_steps).sum())
    return np.sort(order[: max(n_chosen, 1)])
