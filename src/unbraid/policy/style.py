"""A little continuous style beside the code: one number for how a demonstration differs from others of its mode."""

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.core.errors import ConfigError

__all__ = [
    "STYLE_INPUTS",
    "TYPICAL_STYLE",
    "StyleReader",
    "mode_shares",
    "require_style",
    "style_features",
    "with_style",
]

TYPICAL_STYLE = 0.5
"""The style of a mode's typical demonstration: half of the training demonstrations lie below it."""
STYLE_INPUTS = 2
"""What a policy with styles sees beside the state: whether the style is told, and the style."""
_KNOTS, _FEATURES, _RIDGE = 21, 5, 0.01


def require_style(quantile: Any) -> float:
    """The style itself.

    Raises:
        ConfigError: it is no number in [0, 1].
    """
    is_number = isinstance(quantile, int | float | np.integer | np.floating) and not isinstance(quantile, bool)
    if not is_number or not 0 <= quantile <= 1:  # so that NaN is refused
        raise ConfigError(
            f"A style must lie in [0, 1]; got {quantile!r:.40}. 0.5 is a mode's typical demonstration, and 0.8 exceeds "
            "four fifths of those that were learned from."
        )
    return float(quantile)


def with_style(
    states: Float[Tensor, "batch obs"], latents: Float[Tensor, "batch one"] | None
) -> Float[Tensor, "batch input"]:
    """(batch, obs + 2) what a policy with styles sees: a state, whether its style is told, and the style.

    Where it is not told, both are 0: then the policy says what a mode does in any style.

    Source: Ho and Salimans 2022, arXiv 2207.12598, section 3.2 (one network, with and without a condition).
    """
    if latents is None:
        return nn.functional.pad(states, (0, STYLE_INPUTS))
    return torch.cat([states, torch.ones_like(latents), latents], dim=1)


def style_features(
    actions: Float[Tensor, "step act"], expected: Float[Tensor, "step act"]
) -> Float[Tensor, "step feature"]:
    """(step, 5 act) what was done beside what the mode does there in any style: a, m, a^2, a m and m^2, scaled.

    Their means over steps are what a style is read from. States themselves are left out: from a few dozen
    demonstrations an encoder learns the places by heart (docs/experiments.md, 13).
    """
    return torch.cat([actions, expected, actions.square(), actions * expected, expected.square()], dim=1)


def mode_shares(
    contexts: Float[Tensor, "batch mode"], inverse: Float[Tensor, "mode mode"]
) -> Float[Tensor, "batch mode"]:
    """(batch, mode) the shares of the modes' contexts in others, >= 0, rows sum to 1; all alike where there are none.

    Args:
        contexts: what the policy is conditioned on.
        inverse: the pseudo-inverse of the modes' own contexts, row k of which asks for mode k.
    """
    shares = (contexts[:, :, None] * inverse).sum(1).clamp_min(0)
    total = shares.sum(1, keepdim=True)
    return torch.where(total > 1e-6, shares / total.clamp_min(1e-6), 1 / len(inverse))


@final
class StyleReader(nn.Module):
    """What reads a style off steps, and the tables between its numbers, quantiles and the policy's.

    A style is a quantile in [0, 1] among the training demonstrations of one mode. Under every mode, a number is read
    off the mean features of steps; `readings` holds what is read of training demonstrations at 21 quantiles, and
    `latents` what the policy was given for them. Both tables rise, or both fall, such that a larger style is the more
    energetic.

    Attributes:
        weights, offsets: (mode, feature) and (mode,) from mean `style_features` to the number.
        readings: (mode, knot) that number at the quantiles 0, 1/20, ..., 1.
        latents: (mode, knot) the policy's.
        nats: (mode,) what a style tells of its training demonstration, at the most, mean over the mode's.
    """

    weights: Tensor
    offsets: Tensor
    latents: Tensor
    readings: Tensor
    nats: Tensor

    def __init__(self, action_size: int, *, n_modes: int) -> None:
        """Reads 0 of everything, and has tables of a uniform number in [-1, 1]."""
        super().__init__()
        self.register_buffer("weights", torch.zeros(n_modes, _FEATURES * action_size))
        self.register_buffer("offsets", torch.zeros(n_modes))
        table = torch.linspace(-1, 1, _KNOTS).repeat(n_modes, 1)
        self.register_buffer("latents", table)
        self.register_buffer("readings", table.clone())
        self.register_buffer("nats", torch.zeros(n_modes))

    @torch.no_grad()
    def learn(self, mode: int, features: Float[Tensor, "piece feature"], latents: Float[Tensor, "piece"]) -> None:
        """Weights and offset of one mode: a ridge regression of styles on mean features of pieces of demonstrations.

        Args:
            mode: which.
            features: means of `style_features` over each piece.
            latents: the style of the demonstration that each was cut from.
        """
        x, y = features.double(), latents.double()
        mean, scale = x.mean(0), x.std(0, correction=0) + 1e-6
        x = (x - mean) / scale
        gram = x.T @ x / len(x) + _RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(gram, x.T @ (y - y.mean()) / len(x)) / scale
        self.weights[mode], self.offsets[mode] = weights.to(self.weights), (y.mean() - weights @ mean).to(self.weights)

    @torch.no_grad()
    def settle(
        self,
        mode: int,
        latents: Float[Tensor, "span"],
        readings: Float[Tensor, "span"],
        energies: Float[Tensor, "span"],
    ) -> None:
        """Fills a mode's tables from its training demonstrations, in the order in which styles rise with energy.

        Args:
            mode: which.
            latents: what the policy was given for each of the mode's demonstrations.
            readings: what is read of them.
            energies: their mean squared actions; the sign of their covariance with the latents is the order's.
        """
        order = torch.linspace(0, 1, _KNOTS, dtype=torch.float64)
        if float(((latents - latents.mean()) * (energies - energies.mean())).sum()) < 0:
            order = 1 - order
        for table, values in ((self.latents, latents), (self.readings, readings)):
            table[mode] = torch.quantile(values.double(), order).to(table)

    def quantiles(self, readings: Float[np.ndarray, "window mode"]) -> Float[np.ndarray, "window mode"]:
        """(window, mode) in [0, 1]: the share of a mode's training demonstrations that a reading exceeds.

        0.5 where all of a mode's demonstrations read alike, since nothing lies between them.
        """
        order, found = np.linspace(0, 1, _KNOTS), np.full(readings.shape, TYPICAL_STYLE)
        for mode, table in enumerate(self.readings.cpu().double().numpy()):
            rise = np.sign(table[-1] - table[0])
            if rise != 0:
                found[:, mode] = np.interp(rise * readings[:, mode], rise * table, order)
        return found

    @torch.no_grad()
    def latents_at(self, quantile: float) -> Float[Tensor, "mode"]:
        """(mode,) the policy's number at a quantile of every mode."""
        place = quantile * (_KNOTS - 1)
        low = min(int(place), _KNOTS - 2)
        return self.latents[:, low].lerp(self.latents[:, low + 1], place - low)

    def latents_at_each(self, quantiles: Float[Tensor, "batch one"]) -> Float[Tensor, "batch mode"]:
        """(batch, mode) as `latents_at`, with a quantile in every row: for graphs, which take tensors alone."""
        place = quantiles * (_KNOTS - 1)
        low = place.long().clamp(0, _KNOTS - 2)
        tables = self.latents.T
        return tables[low[:, 0]].lerp(tables[low[:, 0] + 1], place - low)

    @torch.no_grad()
    def latents_of(
        self, quantile: float, contexts: Float[Tensor, "batch mode"], of_modes: Float[Tensor, "mode mode"]
    ) -> Float[Tensor, "batch one"]:
        """(batch, 1) the policy's number at a quantile, under contexts that may lie between those of modes.

        A context that is a mixture of the modes' contexts gets the same mixture of their numbers; one that is none gets
        that of the nearest mixture's shares above 0, or of all modes alike.

        Args:
            quantile: the style.
            contexts: what the policy is conditioned on.
            of_modes: row k asks for mode k.
        """
        shares = mode_shares(contexts, torch.linalg.pinv(of_modes))
        return (shares * self.latents_at(quantile)).sum(1, keepdim=True)
