"""Encoders: from what happened to a latent, and from a window's latents to its distances to the codes."""

from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

__all__ = ["SpanSums", "StepWindowEncoder", "TransitionEncoder", "masked_mean"]


class SpanSums:
    """Sums over many overlapping spans of rows in one pass: a running total in float64, read at both ends."""

    def __init__(self, rows: Float[Tensor, "row feature"]) -> None:
        self._totals = torch.zeros(len(rows) + 1, rows.shape[1], dtype=torch.float64)
        torch.cumsum(rows, dim=0, dtype=torch.float64, out=self._totals[1:])

    def __call__(self, starts: Int[Tensor, "span"], lengths: Int[Tensor, "span"]) -> Float[Tensor, "span feature"]:
        """The sum over each span, float64."""
        return self._totals[starts + lengths] - self._totals[starts]


def masked_mean(
    values: Float[Tensor, "window step width"], mask: Bool[Tensor, "window step"]
) -> Float[Tensor, "window width"]:
    """The mean over the steps in the mask, of which every window has one; what stands elsewhere is not read."""
    there = mask[..., None]
    return values.masked_fill(~there, 0.0).sum(1) / there.sum(1)


@final
class StepWindowEncoder(nn.Module):
    """A perceptron on [state, action] at every step, the mean over the window, a perceptron on the mean -> latent.

    Permutation-invariant within the window, so any length will do.
    """

    def __init__(self, observation_size: int, action_size: int, *, width: int, latent_size: int) -> None:
        super().__init__()
        self.width = width
        self.per_step = nn.Sequential(
            nn.Linear(observation_size + action_size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.of_mean = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent_size))

    def features(
        self, states: Float[Tensor, "*batch obs"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch width"]:
        """What is averaged over a window."""
        return self.per_step(torch.cat([states, actions], dim=-1))

    def forward(
        self,
        states: Float[Tensor, "window step obs"],
        actions: Float[Tensor, "window step act"],
        mask: Bool[Tensor, "window step"] | None = None,
    ) -> Float[Tensor, "window latent"]:
        """A latent for each window, of all its steps or of those in the mask."""
        features = self.features(states, actions)
        return self.of_mean(features.mean(dim=-2) if mask is None else masked_mean(features, mask))


@final
class TransitionEncoder(nn.Module):
    """The talk's encoder: a state transition s[t + dt] - s[t] -> latent; linear 60-30-60 with tanh, then linear.

    Source: Eloundou 2021, the talk's code. Its widths follow the observation's (60 there).
    """

    def __init__(self, observation_size: int, *, latent_size: int) -> None:
        super().__init__()
        half = max(observation_size // 2, 1)
        self.layers = nn.Sequential(
            nn.Linear(observation_size, observation_size),
            nn.Tanh(),
            nn.Linear(observation_size, half),
            nn.Tanh(),
            nn.Linear(half, observation_size),
            nn.Tanh(),
            nn.Linear(observation_size, latent_size),
        )

    def forward(self, transitions: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch latent"]:
        """A latent for each transition."""
        return self.layers(transitions)
