"""The Gaussian that an instruction makes of a model's policy in given states."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.policy.products import moment_matched, product_of_powers
from unbraid.steering.instructions import BASE, Instruction
from unbraid.training.networks import ModeNetworks

__all__ = ["steered_distribution"]

_Gaussian = tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]


@torch.no_grad()
def steered_distribution(
    networks: ModeNetworks, observations: Float[Tensor, "batch obs"], asked: Instruction, style: float
) -> tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"], Bool[Tensor, "batch"]]:
    """(mean, deviation, floored) of the action, in its own units: see `Instruction.powers`.

    Args:
        networks: the policy, and its normalisers.
        observations: in the environment's own units.
        asked: what the person asks for.
        style: how the modes are done, for a model that has styles.

    Returns:
        Mean and deviation; and whether a precision had to be floored, in any dimension (`product_of_powers`).
    """

    def under(context: Float[Tensor, "mode"]) -> _Gaussian:
        return networks.action_distribution(observations, context.expand(len(observations), -1), style)

    powers = asked.powers
    averaged = BASE in powers and asked.context is None
    needed = range(networks.n_modes) if averaged else [factor for factor in powers if factor != BASE]
    of_mode = {mode: under(networks.contexts[mode]) for mode in needed}
    if BASE in powers:
        of_mode[BASE] = under(torch.tensor(asked.context)) if asked.context is not None else _average(networks, of_mode)
    if len(powers) == 1:  # a product of one Gaussian to the power of 1, to the last bit
        mean, deviation = of_mode[next(iter(powers))]
        return mean, deviation, torch.zeros(len(mean), dtype=torch.bool)
    means, deviations = (torch.stack([of_mode[factor][i] for factor in powers]) for i in (0, 1))
    mean, log_std, floored = product_of_powers(means, deviations.log(), torch.tensor(list(powers.values())))
    return mean, log_std.exp(), floored.any(1)


def _average(networks: ModeNetworks, of_mode: dict[int, _Gaussian]) -> _Gaussian:
    """The Gaussian with the mean and variance of all modes, by their shares of the demonstrations."""
    means, deviations = (torch.stack([of_mode[mode][i] for mode in range(networks.n_modes)]) for i in (0, 1))
    mean, log_std = moment_matched(means, deviations.log(), torch.tensor(networks.shares))
    return mean, log_std.exp()
