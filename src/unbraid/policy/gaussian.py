"""pi(a | s, c): a Gaussian whose mean, and perhaps deviation, a small network gives for a state and a context."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.bounds import held_within

__all__ = [
    "LOG_STD_HIGH",
    "LOG_STD_LOW",
    "GaussianPolicy",
    "diagonal_log_prob",
    "log_likelihoods_of_modes",
    "perceptron",
]

LOG_STD_LOW = -3.0
LOG_STD_HIGH = 0.5


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


@final
class GaussianPolicy(nn.Module):
    """A perceptron on [state, context] -> the mean of the action, and its log-deviation.

    `spread="state_independent"`: one learned log-deviation per action dimension, start -0.5 (the talk).
    `spread="context"`: linear(context) + 1.5 tanh(h / 1.5), clamped to [-3, 0.5], h a second output: each mode has
    a deviation of its own, which a state can move but not break (METHOD, part 2).

    Attributes:
        low, high: (act,) what the mean is held between, in scaled units; None where `hold_within` was not told any.
    """

    low: Tensor | None
    high: Tensor | None

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
        super().__init__()
        self.hidden, self.action_size = tuple(hidden), action_size
        outputs = action_size if spread == "state_independent" else 2 * action_size
        kind = nn.Tanh if activation == "tanh" else nn.SiLU
        self.trunk = perceptron([observation_size + n_modes, *hidden, outputs], kind)
        self.log_std = nn.Parameter(torch.full((action_size,), -0.5)) if spread == "state_independent" else None
        self.log_std_of_context = nn.Linear(n_modes, action_size) if spread == "context" else None
        self.register_buffer("low", None)
        self.register_buffer("high", None)
        self.register_load_state_dict_pre_hook(_with_bounds)

    def hold_within(self, low: Float[Tensor, "act"], high: Float[Tensor, "act"]) -> None:
        """Holds the mean between bounds (`policy.bounds`), in scaled units; they are saved with the weights."""
        self.low, self.high = low.clone(), high.clone()

    def forward(
        self, states: Float[Tensor, "*batch obs"], contexts: Float[Tensor, "*batch mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the action, in scaled units."""
        out = self.trunk(torch.cat([states, contexts], dim=-1))
        if self.log_std_of_context is None:
            assert self.log_std is not None
            mean, log_std = out, self.log_std.expand_as(out)
        else:
            mean, wish = out.chunk(2, dim=-1)
            log_std = self.log_std_of_context(contexts) + 1.5 * torch.tanh(wish / 1.5)
            log_std = log_std.clamp(LOG_STD_LOW, LOG_STD_HIGH)
        if self.low is not None and self.high is not None:
            mean = held_within(mean, self.low, self.high)
        return mean, log_std


def _with_bounds(module: nn.Module, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Makes room for the bounds that saved weights come with, or takes away those that they come without."""
    assert isinstance(module, GaussianPolicy)
    if {f"{prefix}low", f"{prefix}high"} <= tensors.keys():
        room = next(module.parameters()).new_empty(module.action_size)
        module.hold_within(room, room)
    else:
        module.low = module.high = None


def log_likelihoods_of_modes(
    policy: GaussianPolicy,
    states: Float[Tensor, "step obs"],
    actions: Float[Tensor, "step act"],
    contexts: Float[Tensor, "mode mode"],
) -> Float[Tensor, "step mode"]:
    """log pi(a | s, k) for every row of contexts, all in scaled units."""
    columns = []
    for context in contexts:
        mean, log_std = policy(states, context.expand(len(states), -1))
        columns.append(diagonal_log_prob(actions, mean, log_std).sum(-1))
    return torch.stack(columns, dim=1)
