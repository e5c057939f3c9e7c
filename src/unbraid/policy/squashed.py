"""pi(a | s, c) as a tanh-Gaussian: the head of soft actor-critic, for actions that a squashing function made."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.gaussian import GaussianPolicy, TrunkShape, diagonal_log_prob

__all__ = ["MARGIN", "TanhGaussianPolicy"]

MARGIN = 1e-2
"""How much further than the bounds, as a share of their distance from the middle, tanh reaches: so an action on a bound
has a finite value. Trials of docs/experiments.md, 15."""
_LEAST_HALF = 1.0  # for a column that never moves; half the range of one that does is about a deviation, or more


@final
class TanhGaussianPolicy(GaussianPolicy):
    """A Gaussian of u, where the action is a = m + h tanh(u / h), held between the bounds.

    m is the middle of the bounds of an action's column, and h half their distance and a little more (`MARGIN`): near
    the middle, a - m is u. The density of a has the factor da/du = 1 - tanh(u / h)^2. Means, deviations, products of
    powers and averages are of u: where powers sum to 1 (and no precision is lowered, see `product_of_powers`), the
    factors cancel, and a product of powers of tanh-Gaussians is one, exactly.

    Source: Haarnoja et al. 2018, arXiv 1801.01290, appendix C. Departs: the bounds are those of the demonstrations,
    whoever acted, and u has the action's units.
    """

    def __init__(self, observation_size: int, action_size: int, *, n_modes: int, shape: TrunkShape) -> None:
        """Untrained, between -1 and 1 until `hold_within` says otherwise; all bounds are finite."""
        super().__init__(observation_size, action_size, n_modes=n_modes, shape=shape)
        self.hold_within(-torch.ones(action_size), torch.ones(action_size))

    def held(self, means: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """u as it is: nothing bounds it."""
        return means

    def freed(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """u of actions; of those beyond the bounds, that of the bound."""
        low, high = self._bounds(actions.dtype)
        half = _half(low, high)
        return half * torch.atanh((actions.clamp(low, high) - (low + high) / 2) / half)

    def acted(self, free: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """The actions of u, between the bounds."""
        low, high = self._bounds(free.dtype)
        half = _half(low, high)
        return ((low + high) / 2 + half * torch.tanh(free / half)).clamp(low, high)

    def squash(self) -> tuple[Float[Tensor, "act"], Float[Tensor, "act"]]:
        """(m, h): the middle of the bounds, and how far tanh reaches from it."""
        low, high = self._bounds(torch.get_default_dtype())
        return (low + high) / 2, _half(low, high)

    def moments(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the action to first order: what the mean of u makes, and the slope there times the
        deviation of u."""
        mean, log_std = self(states, contexts)
        return self.acted(mean), log_std + self._log_slope(mean)

    def log_prob(
        self,
        states: Float[Tensor, "*state obs"],
        contexts: Float[Tensor, "*context mode"],
        actions: Float[Tensor, "*done act"],
    ) -> Float[Tensor, "*batch"]:
        """log of the density of actions, in nats."""
        free = self.freed(actions)
        return (diagonal_log_prob(free, *self(states, contexts)) - self._log_slope(free)).sum(-1)

    def _log_slope(self, free: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """log da/du = -2 log cosh(u / h)."""
        size = (free / _half(*self._bounds(free.dtype))).abs()
        return 2 * (math.log(2) - size - nn.functional.softplus(-2 * size))

    def _bounds(self, dtype: torch.dtype) -> tuple[Float[Tensor, "act"], Float[Tensor, "act"]]:
        assert self.low is not None
        assert self.high is not None
        return self.low.to(dtype), self.high.to(dtype)


def _half(low: Float[Tensor, "act"], high: Float[Tensor, "act"]) -> Float[Tensor, "act"]:
    """How far tanh reaches from the middle."""
    return ((high - low) / 2).clamp_min(_LEAST_HALF) * (1 + MARGIN)
