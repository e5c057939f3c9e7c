"""A natural actor-critic on options: few numbers to learn, so that ten thousand choices suffice.

Modes are chosen with a softmax of scores that are linear in the features. What a choice brought more than was to be
expected is regressed on the choice, which gives the natural gradient of the scores; the expectation comes from a
critic that sees products of the features, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Bool, Float, Int

from unbraid.core.errors import ConfigError
from unbraid.core.randomness import named_generator
from unbraid.switching.options import OptionWorlds
from unbraid.switching.situations import SituationReader
from unbraid.switching.switcher import LinearScores, Switcher

__all__ = ["train_actor_critic"]

_UPDATES, _KEPT = 10, 3  # an update learns from the last three batches, each weighed by how it was chosen itself
_DISCOUNT, _TRACE = 0.95, 0.9  # of one step of the environment; of one choice
_LEAST = 0.05  # the probability of every mode while it learns
_STEP = 1.0  # an update changes the scores by this much (a deviation over modes and situations)
_RIDGE_CRITIC, _RIDGE_ACTOR = 3.0, 20.0
_MOST_MULTIPLIED = 20  # features; of more, the critic sees squares alone


@final
@dataclass(frozen=True, eq=False)
class _Batch:
    """What the choices between two updates brought; round by round, world by world.

    Attributes:
        features: where each choice was made.
        modes: what was chosen.
        probabilities: of every mode then.
        rewards: the sum of reward - weight x cost while the mode was held.
        after: the features after it.
        kept: how much of what comes after counts: discount^steps, 0 where the world ended the episode.
        is_over: whether the episode ended.
    """

    features: Float[np.ndarray, "round env feature"]
    modes: Int[np.ndarray, "round env"]
    probabilities: Float[np.ndarray, "round env mode"]
    rewards: Float[np.ndarray, "round env"]
    after: Float[np.ndarray, "round env feature"]
    kept: Float[np.ndarray, "round env"]
    is_over: Bool[np.ndarray, "round env"]


def train_actor_critic(
    worlds: OptionWorlds,
    reader: SituationReader,
    *,
    n_steps: int,
    seed: int = 0,
    discount: float | int = _DISCOUNT,
    on_progress: Callable[[int], None] | None = None,
) -> Switcher:
    """Learns when to be in which mode; what a choice does to later situations counts.

    Source: Peters & Schaal 2008, "Natural actor-critic"; the critic by least squares (Bradtke & Barto 1996), the
    advantage by Schulman et al. 2016 (GAE). Departs: the choices are regressed as they differ from their
    probabilities, from several batches; an update has a fixed size.

    Args:
        worlds: where it acts; begun with `seed`.
        reader: what it sees.
        n_steps: of the environment, at most.
        seed: decides episodes, noise and exploration.
        discount: of one step of the environment, in [0, 1).
        on_progress: called with the number of steps of every round.

    Raises:
        ConfigError: fewer steps than one mode held in every world takes, a discount that is impossible; or costs weigh,
            and no step told one.
    """
    n_rounds = n_steps // (worlds.n_envs * worlds.horizon_steps)
    if n_rounds < 1 or not 0 <= discount < 1:
        raise ConfigError(
            f"`n_steps` must be at least {worlds.n_envs * worlds.horizon_steps}, one mode held in every world, and "
            f"the discount in [0, 1); got {n_steps} and {discount}. Correct them."
        )
    generator = named_generator(seed, "actor-critic")
    weights = np.zeros((worlds.n_modes, len(reader.names)))
    observations = worlds.begin(seed)
    batches: list[_Batch] = []
    for part in np.array_split(np.arange(n_rounds), min(_UPDATES, n_rounds)):
        batch, observations = _act(worlds, reader, weights, observations, (len(part), discount, generator), on_progress)
        batches = [*batches[1 - _KEPT :], batch]
        natural = _natural_gradient(batches)
        change = batch.features @ natural.T
        deviation = float((change - change.mean(axis=2, keepdims=True)).std())
        weights = weights + (_STEP / max(deviation, 1e-9)) * natural
    worlds.require_told_costs()
    chooser = LinearScores(weights)
    return Switcher("actor_critic", reader, chooser, worlds.n_modes, worlds.horizon_steps, origin=worlds.origin)


def _act(
    worlds: OptionWorlds,
    reader: SituationReader,
    weights: Float[np.ndarray, "mode feature"],
    observations: Float[np.ndarray, "env obs"],
    settings: tuple[int, float | int, np.random.Generator],
    on_progress: Callable[[int], None] | None,
) -> tuple[_Batch, Float[np.ndarray, "env obs"]]:
    """Chooses some rounds (their number, the discount, a generator); and what is seen at the end."""
    n_rounds, discount, generator = settings
    rows: list[tuple[np.ndarray, ...]] = []
    for _ in range(n_rounds):
        features = reader.read(observations)
        probabilities = _probabilities(features @ weights.T)
        draws = generator.random((worlds.n_envs, 1))
        modes = np.minimum((probabilities.cumsum(axis=1) <= draws).sum(axis=1), worlds.n_modes - 1)
        found = worlds.hold(modes)
        after = reader.read(found.final_observations)
        kept = np.where(found.terminated, 0.0, float(discount) ** found.n_steps)
        rows.append((features, modes, probabilities, found.rewards, after, kept, found.terminated | found.truncated))
        observations = found.observations
        if on_progress is not None:
            on_progress(int(found.n_steps.sum()))
    return _Batch(*(np.stack(part) for part in zip(*rows, strict=True))), observations


def _probabilities(scores: Float[np.ndarray, "row mode"]) -> Float[np.ndarray, "row mode"]:
    """A softmax, and a little of every mode."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    least = min(_LEAST, 0.5 / scores.shape[1])
    return (1 - scores.shape[1] * least) * odds / odds.sum(axis=1, keepdims=True) + least


def _natural_gradient(batches: Sequence[_Batch]) -> Float[np.ndarray, "mode feature"]:
    """The weights by which choices, as they differ from their probabilities, say best what they brought."""
    n_modes, n_features = batches[0].probabilities.shape[2], batches[0].features.shape[2]
    critic = _critic(batches)
    matrix, target = _RIDGE_ACTOR * np.eye(n_modes * n_features), np.zeros(n_modes * n_features)
    for batch in batches:
        surprise = (np.arange(n_modes) == batch.modes[:, :, None]) - batch.probabilities
        rows = (surprise[:, :, :, None] * batch.features[:, :, None, :]).reshape(-1, n_modes * n_features)
        matrix += rows.T @ rows
        target += rows.T @ _advantages(batch, critic).ravel()
    return np.linalg.solve(matrix, target).reshape(n_modes, n_features)


def _critic(batches: Sequence[_Batch]) -> Float[np.ndarray, "product"]:
    """What is to be expected of a situation, linear in products of features, by least-squares temporal differences."""
    matrix, target = 0.0, 0.0
    for batch in batches:
        now, after = (_products(seen.reshape(-1, seen.shape[2])) for seen in (batch.features, batch.after))
        matrix = matrix + now.T @ (now - batch.kept.reshape(-1, 1) * after)
        target = target + now.T @ batch.rewards.ravel()
    return np.linalg.solve(matrix + _RIDGE_CRITIC * np.eye(len(np.atleast_1d(target))), target)


def _products(features: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row product"]:
    """The features, the first of which is 1, and the products of the others."""
    others = features[:, 1:]
    if others.shape[1] > _MOST_MULTIPLIED:
        return np.concatenate([features, others**2], axis=1)
    left, right = np.triu_indices(others.shape[1])
    return np.concatenate([features, others[:, left] * others[:, right]], axis=1)


def _advantages(batch: _Batch, critic: Float[np.ndarray, "product"]) -> Float[np.ndarray, "round env"]:
    """What every choice brought more than was to be expected, counting what came later."""
    now, after = (
        (_products(seen.reshape(-1, seen.shape[2])) @ critic).reshape(seen.shape[:2])
        for seen in (batch.features, batch.after)
    )
    found = batch.rewards + batch.kept * after - now
    for place in range(len(found) - 2, -1, -1):
        found[place] += np.where(batch.is_over[place], 0.0, _TRACE * batch.kept[place] * found[place + 1])
    return found
