"""pi(a | s, c): a Gaussian whose mean, and perhaps deviation, a small network gives for a state and a context."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.bounds import held_within

__all__ = [
    "LOG_STD_HIGH",
    "LOG_STD_LOW",
    "ActionPolicy",
    "GaussianPolicy",
    "clamped_log_std",
    "diagonal_log_prob",
    "log_likelihoods_of_modes",
    "perceptron",
]

LOG_STD_LOW = -3.0
LOG_STD_HIGH = 0.5


def clamped_log_std(wished: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
    """Log-deviations between their bounds, with a gradient that leads back inside from beyond them (`held_within`).

    A plain clamp has none there: where a mean that has learned nothing yet drives a deviation beyond its bound, it
    would stay, however well the mean is learned.
    """
    return held_within(wished, wished.new_full((), LOG_STD_LOW), wished.new_full((), LOG_STD_HIGH))


def perceptron(sizes: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them, none after the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def diagonal_log_prob(
    actions: Float[Tensor, "*batch act"], mean: Float[Tensor, "*batch act"], log_std: Float[Tensor, "*batch act"]
) -> Float[Tensor, "*batch act"]:
    """log N(a; mean, exp(log_std)^2) for each action dimension, in nats; sum over the last axis for the joint."""
    return -0.5 * ((actions - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)


class ActionPolicy(nn.Module, ABC):
    """pi(a | s, c) in scaled units: a density of actions, and the Gaussian that stands for it where it is steered.

    That Gaussian is one of actions, or, of a policy that squashes, of what `acted` makes actions of.

    Attributes:
        hidden: the widths of its layers.
        action_size: the number of columns of an action.
        trunk: the perceptron on [state, context].
        low, high: (act,) what means are held between, in scaled units; None where `hold_within` was not told any.
    """

    hidden: tuple[int, ...]
    action_size: int
    trunk: nn.Sequential
    low: Tensor | None
    high: Tensor | None

    def __init__(self, hidden: Sequence[int], action_size: int) -> None:
        """Has no bounds yet."""
        super().__init__()
        self.hidden, self.action_size = tuple(hidden), action_size
        self.register_buffer("low", None)
        self.register_buffer("high", None)
        self.register_load_state_dict_pre_hook(_with_bounds)

    def hold_within(self, low: Float[Tensor, "act"], high: Float[Tensor, "act"]) -> None:
        """Holds means between bounds (`policy.bounds`), in scaled units; they are saved with the weights."""
        self.low, self.high = low.clone(), high.clone()

    def held(self, means: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """Means between the bounds, where there are any."""
        return means if self.low is None or self.high is None else held_within(means, self.low, self.high)

    @abstractmethod
    def forward(
        self, states: Float[Tensor, "*batch obs"], contexts: Float[Tensor, "*batch mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the Gaussian that stands for the density, each dimension apart."""

    def moments(
        self, states: Float[Tensor, "*batch obs"], contexts: Float[Tensor, "*batch mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the action."""
        return self(states, contexts)

    def freed(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """The values of actions that the Gaussian is of: themselves, unless it squashes."""
        return actions

    def acted(self, free: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """The actions of such values."""
        return free

    @abstractmethod
    def log_prob(
        self,
        states: Float[Tensor, "*batch obs"],
        contexts: Float[Tensor, "*batch mode"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, "*batch"]:
        """log pi(a | s, c), in nats."""


class GaussianPolicy(ActionPolicy):
    """A perceptron on [state, context] -> the mean of the action, and its log-deviation.

    `spread="state_independent"`: one learned log-deviation per action dimension, start -0.5 (the talk).
    `spread="context"`: linear(context) + 1.5 tanh(h / 1.5), clamped to [-3, 0.5], h a second output: each mode has
    a deviation of its own, which a state can move but not break.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        n_modes: int,
        hidden: Sequence[int],
        activation: Literal["tanh", "silu"],
        spread: Literal["state_independent", "context"],
    ) -> None:
        super().__init__(hidden, action_size)
        outputs = action_size if spread == "state_independent" else 2 * action_size
        kind = nn.Tanh if activation == "tanh" else nn.SiLU
        self.trunk = perceptron([observation_size + n_modes, *hidden, outputs], kind)
        self.log_std = nn.Parameter(torch.full((action_size,), -0.5)) if spread == "state_independent" else None
        self.log_std_of_context = nn.Linear(n_modes, action_size) if spread == "context" else None

    def forward(
        self, states: Float[Tensor, "*batch obs"], contexts: Float[Tensor, "*batch mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the action, in scaled units."""
        mean, wished = self.wished(states, contexts)
        return mean, wished if self.log_std_of_context is None else wished.clamp(LOG_STD_LOW, LOG_STD_HIGH)

    def wished(
        self, states: Float[Tensor, "*batch obs"], contexts: Float[Tensor, "*batch mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) before the log-deviation is clamped."""
        out = self.trunk(torch.cat([states, contexts], dim=-1))
        if self.log_std_of_context is None:
            assert self.log_std is not None
            return self.held(out), self.log_std.expand_as(out)
        mean, wish = out.chunk(2, dim=-1)
        return self.held(mean), self.log_std_of_context(contexts) + 1.5 * torch.tanh(wish / 1.5)

    def log_prob(
        self,
        states: Float[Tensor, "*batch obs"],
        contexts: Float[Tensor, "*batch mode"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, "*batch"]:
        """log N(a; mean, std^2), summed over dimensions, in nats."""
        return diagonal_log_prob(actions, *self(states, contexts)).sum(-1)


def _with_bounds(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Makes room for the bounds that saved weights come with, or takes away those that they come without."""
    assert isinstance(module, ActionPolicy)
    if {f"{prefix}low", f"{prefix}high"} <= tensors.keys():
        room = next(module.parameters()).new_empty(module.action_size)
        module.hold_within(room, room)
    else:
        module.low = module.high = None


def log_likelihoods_of_modes(
    policy: ActionPolicy,
    states: Float[Tensor, "step obs"],
    actions: Float[Tensor, "step act"],
    contexts: Float[Tensor, "mode mode"],
) -> Float[Tensor, "step mode"]:
    """log pi(a | s, k) for every row of contexts, all in scaled units."""
    columns = [policy.log_prob(states, context.expand(len(states), -1), actions) for context in contexts]
    return torch.stack(columns, dim=1)
