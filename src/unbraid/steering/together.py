"""Many agents that are asked for different things, in one call of the network for each kind of instruction."""

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from unbraid.steering.distribution import kind_of, steered_distributions
from unbraid.steering.steered import ROWS, SteeredPolicy, number_of, padded

__all__ = ["act_together"]


def act_together(
    policies: Sequence[SteeredPolicy],
    observations: Float[np.ndarray, "agent obs"],
    noise: Float[np.ndarray, "agent act"],
) -> Float[np.ndarray, "agent act"]:
    """What each policy's `act` gives for its own observation, to the last bit.

    One call of a network costs about as much for 64 rows as for one, so agents whose instructions are of one kind
    (`kind_of`) share it.

    Args:
        policies: one per agent, of any models.
        observations: in the environment's own units.
        noise: standard normal, or 0 for the mean.

    Raises:
        ConfigError, DataError: as `SteeredPolicy.act`.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, policy in enumerate(policies):
        policy.require_acting_on(observations[row : row + 1])
        kind = id(policy.model), policy.style_quantile, kind_of(policy.instruction)
        groups.setdefault(kind, []).append(row)
    actions = np.empty(noise.shape)
    for rows in groups.values():
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            numbers = number_of(noise[some])
            mean, deviation = _gaussians([policies[row] for row in some], observations[some], numbers)
            actions[some] = policies[some[0]].model.actions_of(mean + deviation * noise[some])
    for row, policy in enumerate(policies):
        if policy.action_low is not None or policy.action_high is not None:
            actions[row] = np.clip(actions[row], policy.action_low, policy.action_high)
    return actions


def _gaussians(
    policies: Sequence[SteeredPolicy],
    observations: Float[np.ndarray, "agent obs"],
    numbers: Float[np.ndarray, "agent"],
) -> tuple[Float[np.ndarray, "agent act"], Float[np.ndarray, "agent act"]]:
    """Means and deviations, of what `actions_of` takes, of at most 64 agents of one kind; rows that nobody needs ask
    what the first asks."""
    n, first = len(policies), policies[0]
    asked = [policy.instruction for policy in policies] + [first.instruction] * (ROWS - n)
    seen, drawn = padded(observations, numbers)
    mean, deviation, _ = steered_distributions(first.model, seen, asked, first.style_quantile, drawn)
    return mean[:n].double().numpy(), deviation[:n].double().numpy()
