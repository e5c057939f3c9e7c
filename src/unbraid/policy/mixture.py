"""pi(a | s, c) as a mixture of Gaussians: for people, whose actions have heavy tails and several heaps."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.gaussian import ActionPolicy, TrunkShape, clamped_log_std, diagonal_log_prob
from unbraid.policy.products import moments_of_mixture

__all__ = ["N_COMPONENTS", "MixturePolicy", "mixture_log_prob"]

N_COMPONENTS = 5

_Components = tuple[Float[Tensor, "*batch part"], Float[Tensor, "*batch part act"], Float[Tensor, "*batch part act"]]


@final
class MixturePolicy(ActionPolicy):
    """A perceptron -> weights, means and log-deviations of five Gaussians of the action.

    Deviations are made as `GaussianPolicy`'s are: linear(context), which all parts share, + 1.5 tanh(h / 1.5), clamped
    to [-3, 0.5]. A single mode acts by a part that is drawn for each step; products of powers, the mean action and what
    is exported are those of the Gaussian with the mixture's mean and variance: powers of mixtures have no closed form.

    Source: Bishop 1994, "Mixture density networks".
    """

    def __init__(self, observation_size: int, action_size: int, *, n_modes: int, shape: TrunkShape) -> None:
        """Untrained."""
        n_outputs, sizes = N_COMPONENTS * (2 * action_size + 1), (observation_size, action_size)
        super().__init__(sizes, n_outputs, n_modes=n_modes, shape=shape)
        self.log_std_of_context = nn.Linear(n_modes, action_size)

    def components(self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]) -> _Components:
        """Of every part: its log-weight, (part,), whose exponentials sum to 1; its means and its log-deviations."""
        out = self.outputs(states, contexts)
        n = N_COMPONENTS * self.action_size
        means, wishes = (
            values.unflatten(-1, (N_COMPONENTS, self.action_size)) for values in (out[..., :n], out[..., n : 2 * n])
        )
        log_stds = self.log_std_of_context(contexts)[..., None, :] + 1.5 * torch.tanh(wishes / 1.5)
        return torch.log_softmax(out[..., 2 * n :], -1), self.held(means), clamped_log_std(log_stds)

    def forward(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the Gaussian with the mean and the variance of the mixture, in scaled units."""
        return _whole(*self.components(states, contexts))

    def drawn(
        self,
        states: Float[Tensor, "batch obs"],
        contexts: Float[Tensor, "batch mode"],
        numbers: Float[Tensor, "batch"],
    ) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]:
        """(mean, log_std) of one part in each state, drawn by weight with a number in [0, 1); where it is negative, of
        the whole, as `forward`."""
        log_weights, means, log_stds = self.components(states, contexts)
        ends = log_weights.exp().cumsum(-1)[:, :-1].contiguous()
        part = torch.searchsorted(ends, numbers[:, None].to(ends.dtype), right=True)[..., None]
        part = part.expand(-1, 1, self.action_size)
        whole, of_part = _whole(log_weights, means, log_stds), (means, log_stds)
        mean, log_std = (
            torch.where(numbers[:, None] < 0, all_of_it, one.gather(1, part)[:, 0])
            for all_of_it, one in zip(whole, of_part, strict=True)
        )
        return mean, log_std

    def log_prob(
        self,
        states: Float[Tensor, "*state obs"],
        contexts: Float[Tensor, "*context mode"],
        actions: Float[Tensor, "*done act"],
    ) -> Float[Tensor, "*batch"]:
        """log of the mixture's density, in nats."""
        return mixture_log_prob(actions, *self.components(states, contexts))


def mixture_log_prob(
    actions: Float[Tensor, "*done act"],
    log_weights: Float[Tensor, "*batch part"],
    means: Float[Tensor, "*batch part act"],
    log_stds: Float[Tensor, "*batch part act"],
) -> Float[Tensor, "*batch"]:
    """log sum_m w_m N(a; mean_m, std_m^2), in nats."""
    of_part = diagonal_log_prob(actions[..., None, :].expand_as(means), means, log_stds).sum(-1)
    return torch.logsumexp(log_weights + of_part, dim=-1)


def _whole(
    log_weights: Float[Tensor, "*batch part"],
    means: Float[Tensor, "*batch part act"],
    log_stds: Float[Tensor, "*batch part act"],
) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
    weights = log_weights.exp()[..., None]
    return moments_of_mixture(*(values.movedim(-2, 0) for values in (weights, means, log_stds)))
