"""Least-squares policy iteration on options: one log of random choices serves every weight of the cost.

Like the bandit it is linear in the features, but it counts what a choice does to later situations; and unlike PPO it
uses every choice again for every policy, so that a few thousand choices suffice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import SituationReader
from unbraid.switching.switcher import LinearScores, Switcher

__all__ = ["OptionLog", "iterate_policy", "log_options", "train_least_squares"]

_ROUNDS, _CLOSE, _RIDGE = 30, 1e-6, 1.0


@final
@dataclass(frozen=True, eq=False)
class OptionLog:
    """What random choices brought.

    Attributes:
        observations: where each choice was made.
        modes: what was chosen.
        returns, costs: the sums of reward and of cost while the mode was held.
        next_observations: what was seen after it.
        is_last: whether the world ended the episode there: nothing comes after it.
        n_modes, horizon_steps: of the worlds.
        n_steps: of the environment, in all.
    """

    observations: Float[np.ndarray, "decision obs"]
    modes: Int[np.ndarray, "decision"]
    returns: Float[np.ndarray, "decision"]
    costs: Float[np.ndarray, "decision"]
    next_observations: Float[np.ndarray, "decision obs"]
    is_last: Bool[np.ndarray, "decision"]
    n_modes: int
    horizon_steps: int
    n_steps: int


def log_options(
    worlds: OptionWorlds, *, n_steps: int, seed: int = 0, on_progress: Callable[[int], None] | None = None
) -> OptionLog:
    """Chooses modes at random, all equally often.

    Args:
        worlds: where; begun with `seed`.
        n_steps: of the environment, at most.
        seed: decides episodes, noise and choices.
        on_progress: called with the number of steps of every round.

    Raises:
        ConfigError: fewer steps than one mode held in every world takes.
    """
    a_round = worlds.n_envs * worlds.horizon_steps
    if n_steps < a_round:
        raise ConfigError(
            f"`n_steps` must be at least {a_round}, one mode held in every world; got {n_steps}. Give more."
        )
    generator = named_generator(seed, "random modes")
    observations, rows, done = worlds.begin(seed), [], 0
    for _ in range(n_steps // a_round):
        modes = generator.integers(worlds.n_modes, size=worlds.n_envs)
        found = worlds.hold(modes)
        rows.append((observations, modes, found.returns, found.costs, found.final_observations, found.terminated))
        observations = found.observations
        done += int(found.n_steps.sum())
        if on_progress is not None:
            on_progress(int(found.n_steps.sum()))
    parts = [np.concatenate(part) for part in zip(*rows, strict=True)]
    return OptionLog(
        *parts,  # pyright: ignore[reportArgumentType]
        n_modes=worlds.n_modes,
        horizon_steps=worlds.horizon_steps,
        n_steps=done,
    )


def iterate_policy(
    log: OptionLog, reader: SituationReader, *, cost_weight: float | int, discount: float | int = 0.9
) -> Switcher:
    """The switcher that a log gives for a weight of the cost.

    Q(s, k) = w_k . phi(s) is fitted to reward + discount^H Q(s', best mode there) by least squares, until the best
    modes change no more.

    Source: Lagoudakis & Parr 2003, "Least-squares policy iteration", with the discount of a held mode as in Sutton,
    Precup & Singh 1999. Departs: a ridge of 1.

    Args:
        log: of random choices.
        reader: what is seen.
        cost_weight: lambda, what a unit of cost takes off the return; >= 0.
        discount: of one step of the environment, in [0, 1).

    Raises:
        ConfigError: a weight or a discount that is impossible.
    """
    if not (np.isfinite(cost_weight) and cost_weight >= 0 and 0 <= discount < 1):
        raise ConfigError(
            f"The cost's weight must be >= 0 and the discount in [0, 1); got {cost_weight} and {discount}. "
            "Correct them."
        )
    seen, after = reader.read(log.observations), reader.read(log.next_observations)
    after = np.where(log.is_last[:, None], 0.0, after)
    rewards = log.returns - cost_weight * log.costs
    chosen = _by_mode(seen, log.modes, log.n_modes)
    weights = np.zeros((log.n_modes, seen.shape[1]))
    for _ in range(_ROUNDS):
        best = (after @ weights.T).argmax(axis=1)
        difference = chosen - discount**log.horizon_steps * _by_mode(after, best, log.n_modes)
        matrix = chosen.T @ difference + _RIDGE * np.eye(chosen.shape[1])
        before, weights = weights, np.linalg.solve(matrix, chosen.T @ rewards).reshape(weights.shape)
        if np.abs(weights - before).max() < _CLOSE:
            break
    return Switcher("least_squares", reader, LinearScores(weights), log.n_modes, log.horizon_steps)


def train_least_squares(
    worlds: OptionWorlds,
    reader: SituationReader,
    *,
    n_steps: int,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Switcher:
    """`log_options`, then `iterate_policy` with the worlds' own weight of the cost."""
    log = log_options(worlds, n_steps=n_steps, seed=seed, on_progress=on_progress)
    return iterate_policy(log, reader, cost_weight=worlds.cost_weight)


def _by_mode(
    features: Float[np.ndarray, "row feature"], modes: Int[np.ndarray, "row"], n_modes: int
) -> Float[np.ndarray, "row weight"]:
    """The features in the columns of the row's mode, 0 elsewhere."""
    spread = (modes[:, None] == np.arange(n_modes))[:, :, None] * features[:, None, :]
    return spread.reshape(len(features), -1)
