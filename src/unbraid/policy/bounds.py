"""The bounds of actions, where demonstrations show them, and a mean that is held between them.

Many policies act by clip(f(s), low, high), and a recorded action on a bound says no more of f than "here or beyond". A
network that must hit the bound itself has a corner to learn wherever f crosses it; one whose output is clipped has not.

These are bounds of a pile's columns, whoever acted, and read off what was done: what a data set declares
(`Demos.action_low`) is what an environment takes, and nobody need have come near it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["LEAST_SHARE", "Extremes", "held_within"]

LEAST_SHARE = 0.03
"""The share of a column's actions that lie on its least, or largest, from which on that is a bound. Noise that is
clipped now and then piles up less, and needs no bound: its mean lies inside."""
_LEAST_COUNT = 10  # so that of a few dozen actions the largest alone is no pile
_SLACK = 1e-6  # of an extreme's size, or of 1: as far apart as one bound is in float32, or after rescaling


@final
class Extremes:
    """The least and the largest action of each column, and how many are that, read block by block."""

    def __init__(self) -> None:
        """Has seen nothing."""
        self._n, self._low, self._high = 0, np.zeros(0, np.float32), np.zeros(0, np.float32)
        self._at_low, self._at_high = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def watched(self, blocks: Iterable[Float[np.ndarray, "_ act"]]) -> Iterator[Float[np.ndarray, "_ act"]]:
        """The same blocks, looked at as they pass."""
        for block in blocks:
            if self._n == 0:
                self._low, self._high = block[0].copy(), block[0].copy()
                self._at_low, self._at_high = np.zeros((2, block.shape[1]), np.int64)
            low, high = np.minimum(self._low, block.min(0)), np.maximum(self._high, block.max(0))
            near_low, near_high = (at + sign * _slack(at) for at, sign in ((low, 1), (high, -1)))
            self._at_low = np.where(self._low <= near_low, self._at_low, 0) + (block <= near_low).sum(0)
            self._at_high = np.where(self._high >= near_high, self._at_high, 0) + (block >= near_high).sum(0)
            self._low, self._high, self._n = low, high, self._n + len(block)
            yield block

    def bounds(self) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]] | None:
        """(low, high) in the columns' own units, infinite on a side where actions do not pile up; None where none do.

        A column that never moves has no bounds. One action beyond the others takes theirs away.
        """
        moves, least = self._low < self._high, max(LEAST_SHARE * self._n, _LEAST_COUNT)
        low = np.where(moves & (self._at_low >= least), self._low, -np.inf).astype(np.float32)
        high = np.where(moves & (self._at_high >= least), self._high, np.inf).astype(np.float32)
        return (low, high) if np.isfinite(low).any() or np.isfinite(high).any() else None

    def extent(self) -> tuple[Float[np.ndarray, "act"], Float[np.ndarray, "act"]]:
        """(low, high): the least and the largest action of each column, in its own units."""
        return self._low, self._high

    def on_bounds(self, actions: Float[np.ndarray, "step act"]) -> Bool[np.ndarray, "step"]:
        """(step,) whether an action, in the columns' own units, lies on one of `bounds` in any column."""
        bounds = self.bounds()
        if bounds is None:
            return np.zeros(len(actions), dtype=bool)
        low, high = bounds
        on_bound = (actions <= low + _slack(self._low)) | (actions >= high - _slack(self._high))
        return np.asarray(on_bound.any(1))


def _slack(extreme: Float[np.ndarray, "act"]) -> Float[np.ndarray, "act"]:
    return _SLACK * np.maximum(1, np.abs(extreme))


def held_within(
    mean: Float[Tensor, "*batch act"], low: Float[Tensor, "*#act"], high: Float[Tensor, "*#act"]
) -> Float[Tensor, "*batch act"]:
    """min(max(mean, low), high), with a gradient that leads back inside from beyond a bound, and never further out.

    So an action on the bound asks nothing of a mean beyond it, and one inside pulls it back: the squared error of
    censored regression. (No action that bounds were read off lies beyond them and asks for more.)

    Source: Tobin 1958, "Estimation of relationships for limited dependent variables". Departs: of an action on a bound
    no tail probability is asked, so that the deviation stays that of what is seen.
    """
    return _HeldWithin.apply(mean, low, high) if mean.requires_grad else _clipped(mean, low, high)


def _clipped(mean: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(mean, low), high)


@final
class _HeldWithin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, low: Tensor, high: Tensor) -> Tensor:
        ctx.save_for_backward(mean < low, mean > high)
        return _clipped(mean, low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        below, above = ctx.saved_tensors
        outwards = (below & (gradient > 0)) | (above & (gradient < 0))  # a step goes against the gradient
        return gradient.masked_fill(outwards, 0.0), None, None
