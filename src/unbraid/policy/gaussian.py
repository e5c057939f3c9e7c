"""pi(a | s, c): a Gaussian whose mean, and perhaps deviation, a small network gives for a state and a context."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unbraid.policy.bounds import held_within

__all__ = [
    "LOG_STD_HIGH",
    "LOG_STD_LOW",
    "ActionPolicy",
    "ContextAs",
    "GaussianPolicy",
    "TrunkShape",
    "clamped_log_std",
    "diagonal_log_prob",
    "log_likelihoods_of_modes",
    "perceptron",
    "weights_of_heads",
]

LOG_STD_LOW = -3.0
LOG_STD_HIGH = 0.5


def clamped_log_std(wished: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
    """Log-deviations between their bounds, with a gradient that leads back inside from beyond them (`held_within`).

    A plain clamp has none there: where a mean that has learned nothing yet drives a deviation beyond its bound, it
    would stay, however well the mean is learned.
    """
    return held_within(wished, wished.new_full((), LOG_STD_LOW), wished.new_full((), LOG_STD_HIGH))


def perceptron(sizes: Sequence[int], activation: type[nn.Module], *, layer_norm: bool = False) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them, none after the last.

    With `layer_norm`, what a hidden layer makes of a row is normalised over the layer's units before the activation
    (Ba et al. 2016, arXiv 1607.06450).
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes[:-1]):
        layers.append(nn.Linear(before, after))
        if layer_norm:
            layers.append(nn.LayerNorm(after))
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def diagonal_log_prob(
    actions: Float[Tensor, "*done act"], mean: Float[Tensor, "*batch act"], log_std: Float[Tensor, "*batch act"]
) -> Float[Tensor, "*batch act"]:
    """log N(a; mean, exp(log_std)^2) for each action dimension, in nats; sum over the last axis for the joint."""
    return -0.5 * ((actions - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)


ContextAs = Literal["heads", "input"]
"""How a context asks a policy for a mode: see `ActionPolicy`."""


@dataclass(frozen=True)
class TrunkShape:
    """The perceptron of a policy, and how a context asks it for a mode.

    Attributes:
        hidden: the widths of its layers.
        context_as: see `ActionPolicy`.
        layer_norm: whether its hidden layers are normalised (`perceptron`).
        l1: what the absolute values of the first layer's weights cost while it learns (`ActionPolicy.penalty`).
    """

    hidden: tuple[int, ...]
    context_as: ContextAs = "heads"
    layer_norm: bool = False
    l1: float = 0.0


def weights_of_heads(contexts: Float[Tensor, "*batch mode"]) -> Float[Tensor, "*batch mode"]:
    """How much of each mode's outputs a context asks for; they sum to 1.

    1 - c, and what is missing of 1 shared out evenly: of a not-hot context, the one mode; of 1 less weights that sum to
    1, these weights; and where nothing is said of any mode in particular, all alike.
    """
    n_modes = contexts.shape[-1]
    return 1 - contexts + (contexts.sum(-1, keepdim=True) - (n_modes - 1)) / n_modes


class ActionPolicy(nn.Module, ABC):
    """pi(a | s, c) in scaled units: a density of actions, and the Gaussian that stands for it where it is steered.

    That Gaussian is one of actions, or, of a policy that squashes, of what `acted` makes actions of.

    A context asks for a mode by `context_as`. "heads": a perceptron reads the state alone, its last layer has outputs
    of their own for every mode, and the context mixes these (`weights_of_heads`): what the modes' experts have in
    common is learned once, and what a mode does where only others have been is led by its own. "input", the talk's:
    the context is an input beside the state; such a network does in a state mostly what was done there, whoever is
    asked for.

    Attributes:
        action_size: the number of columns of an action.
        n_modes: K.
        shape: of its perceptron.
        trunk: the perceptron.
        low, high: (act,) what means are held between, in scaled units; None where `hold_within` was not told any.
    """

    low: Tensor | None
    high: Tensor | None

    def __init__(
        self,
        sizes: tuple[int, int],
        n_outputs: int,
        *,
        n_modes: int,
        shape: TrunkShape,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        """Untrained; has no bounds yet.

        Args:
            sizes: the widths of what it sees beside the context, and of an action.
            n_outputs: the numbers that say what one mode does.
            n_modes: K.
            shape: of its perceptron.
            activation: what is between its layers.
        """
        super().__init__()
        (input_size, self.action_size), self.n_modes, self.shape = sizes, n_modes, shape
        if shape.context_as == "heads":
            n_outputs *= n_modes
        else:
            input_size += n_modes
        self.trunk = perceptron([input_size, *shape.hidden, n_outputs], activation, layer_norm=shape.layer_norm)
        self.register_buffer("low", None)
        self.register_buffer("high", None)
        self.register_load_state_dict_pre_hook(_with_bounds)

    def hold_within(self, low: Float[Tensor, "act"], high: Float[Tensor, "act"]) -> None:
        """Holds means between bounds (`policy.bounds`), in scaled units; they are saved with the weights."""
        self.low, self.high = low.clone(), high.clone()

    def held(self, means: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """Means between the bounds, where there are any."""
        return means if self.low is None or self.high is None else held_within(means, self.low, self.high)

    def outputs(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> Float[Tensor, "*batch output"]:
        """The numbers that say what is done in states under contexts."""
        if self.shape.context_as == "input":
            return self.trunk(torch.cat([states, contexts], dim=-1))
        of_modes = self.trunk(states).unflatten(-1, (self.n_modes, -1))
        return (of_modes * weights_of_heads(contexts)[..., None]).sum(-2)

    def penalty(self) -> Float[Tensor, ""]:
        """What a policy's loss is raised by while it learns: `l1` times the sum of the first layer's absolute weights.

        Columns that say little of what is done are left out that way, and with them what they would do to an action
        where nobody has been (Tibshirani 1996, "Regression shrinkage and selection via the lasso").
        """
        first = self.trunk[0]
        assert isinstance(first, nn.Linear)
        return self.shape.l1 * first.weight.abs().sum()

    @abstractmethod
    def forward(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the Gaussian that stands for the density, each dimension apart."""

    def moments(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
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
        states: Float[Tensor, "*state obs"],
        contexts: Float[Tensor, "*context mode"],
        actions: Float[Tensor, "*done act"],
    ) -> Float[Tensor, "*batch"]:
        """log pi(a | s, c), in nats."""


class GaussianPolicy(ActionPolicy):
    """A perceptron -> the mean of the action, and its log-deviation.

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
        shape: TrunkShape,
        activation: Literal["tanh", "silu"] = "silu",
        spread: Literal["state_independent", "context"] = "context",
    ) -> None:
        n_outputs = action_size if spread == "state_independent" else 2 * action_size
        kind, sizes = nn.Tanh if activation == "tanh" else nn.SiLU, (observation_size, action_size)
        super().__init__(sizes, n_outputs, n_modes=n_modes, shape=shape, activation=kind)
        self.log_std = nn.Parameter(torch.full((action_size,), -0.5)) if spread == "state_independent" else None
        self.log_std_of_context = nn.Linear(n_modes, action_size) if spread == "context" else None

    def forward(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) of the action, in scaled units."""
        mean, wished = self.wished(states, contexts)
        return mean, wished if self.log_std_of_context is None else wished.clamp(LOG_STD_LOW, LOG_STD_HIGH)

    def wished(
        self, states: Float[Tensor, "*state obs"], contexts: Float[Tensor, "*context mode"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """(mean, log_std) before the log-deviation is clamped."""
        out = self.outputs(states, contexts)
        if self.log_std_of_context is None:
            assert self.log_std is not None
            return self.held(out), self.log_std.expand_as(out)
        mean, wish = out.chunk(2, dim=-1)
        return self.held(mean), self.log_std_of_context(contexts) + 1.5 * torch.tanh(wish / 1.5)

    def log_prob(
        self,
        states: Float[Tensor, "*state obs"],
        contexts: Float[Tensor, "*context mode"],
        actions: Float[Tensor, "*done act"],
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
    if policy.shape.context_as == "heads":  # the state is read once for all modes
        return policy.log_prob(states[:, None], contexts, actions[:, None])
    columns = [policy.log_prob(states, context.expand(len(states), -1), actions) for context in contexts]
    return torch.stack(columns, dim=1)
