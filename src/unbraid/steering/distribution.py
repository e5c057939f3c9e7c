"""The Gaussian that an instruction makes of a model's policy in given states."""

from collections.abc import Hashable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from unbraid.policy.products import moment_matched, product_of_powers
from unbraid.steering.instructions import BASE, Instruction
from unbraid.training.networks import ModeNetworks

__all__ = ["kind_of", "steered_distribution", "steered_distributions"]

_Gaussian = tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"]]
"""(mean, log_std) of scaled actions, on the model's device."""
_Steered = tuple[Float[Tensor, "batch act"], Float[Tensor, "batch act"], Bool[Tensor, "batch"]]


def steered_distribution(
    networks: ModeNetworks,
    observations: Float[Tensor, "batch obs"],
    asked: Instruction,
    style: float,
    numbers: Float[Tensor, "batch"] | None = None,
) -> _Steered:
    """(mean, deviation, floored) of what `ModeNetworks.actions_of` makes actions of: see `Instruction.powers`.

    Args:
        networks: the policy, and its normalisers.
        observations: in the environment's own units.
        asked: what the person asks for.
        style: how the modes are done, for a model that has styles.
        numbers: which part of a mixture acts, where a single mode or context is asked for (`MixturePolicy.drawn`).

    Returns:
        Mean and deviation; and whether a precision had to be lowered, in any dimension (`product_of_powers`).
    """
    return steered_distributions(networks, observations, [asked], style, numbers)


@torch.no_grad()
def steered_distributions(
    networks: ModeNetworks,
    observations: Float[Tensor, "batch obs"],
    asked: Sequence[Instruction],
    style: float,
    numbers: Float[Tensor, "batch"] | None = None,
) -> _Steered:
    """The same where each observation has an instruction of its own, or all have one.

    Products are made of scaled actions: of actions in their own units, as small as 1e-22 or as large as 1e20, float32
    cannot hold squares.

    What a row gives depends on its own observation and instruction, and on how many rows there are: not on the others.

    Args:
        networks: the policy, and its normalisers.
        observations: in the environment's own units.
        asked: of each observation, or one of all; all of one kind (`kind_of`).
        style: how the modes are done, for a model that has styles.
        numbers: as above.
    """
    powers = [one.powers for one in asked]
    if len(powers[0]) > 1:
        numbers = None  # what is multiplied are Gaussians

    def under(contexts: Float[Tensor, "#batch mode"], drawn: Tensor | None = None) -> _Gaussian:
        return networks.free_distribution(observations, contexts.expand(len(observations), -1), style, drawn)

    averaged = BASE in powers[0] and asked[0].context is None
    of_mode = [under(networks.contexts[mode][None]) for mode in range(networks.n_modes)] if averaged else []
    factors: list[_Gaussian] = []
    for modes in zip(*powers, strict=True):
        if modes[0] != BASE:
            factors.append(_each(of_mode, modes) if averaged else under(networks.contexts[list(modes)], numbers))
        else:
            factors.append(
                _average(networks, of_mode)
                if averaged
                else under(torch.tensor([one.context for one in asked]), numbers)
            )
    if len(factors) == 1:  # a product of one Gaussian to the power of 1, to the last bit
        return *networks.free_in_own_units(*factors[0]), torch.zeros(len(observations), dtype=torch.bool)
    means, log_stds = (torch.stack([factor[i] for factor in factors]) for i in (0, 1))
    to_power = torch.tensor([list(own.values()) for own in powers], device=networks.device).T[:, :, None]
    mean, log_std, floored = product_of_powers(means, log_stds, to_power)
    return *networks.free_in_own_units(mean, log_std), floored.any(1).cpu()


def kind_of(asked: Instruction) -> Hashable:
    """Instructions of one kind can be computed side by side: they have as many factors, and the same base."""
    powers = asked.powers
    return len(powers), BASE in powers, asked.context is None


def _each(of_mode: Sequence[_Gaussian], modes: Sequence[int]) -> _Gaussian:
    """Of every row the Gaussian of its mode, or of all rows that of the one mode."""
    if len(modes) == 1:
        return of_mode[modes[0]]
    mean, log_std = (torch.stack([own[i] for own in of_mode])[list(modes), torch.arange(len(modes))] for i in (0, 1))
    return mean, log_std


def _average(networks: ModeNetworks, of_mode: Sequence[_Gaussian]) -> _Gaussian:
    """The Gaussian with the mean and variance of all modes, by their shares of the demonstrations."""
    means, log_stds = (torch.stack([own[i] for own in of_mode]) for i in (0, 1))
    return moment_matched(means, log_stds, torch.tensor(networks.shares, device=networks.device))
