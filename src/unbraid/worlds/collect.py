"""Records a pile of demonstrations: several experts, each in layouts of its own, shuffled together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from unbraid.core.errors import WorldError
from unbraid.core.numbers import MOST_EPISODES, require_whole
from unbraid.core.randomness import N_SEEDS, named_generator, named_seed
from unbraid.demos.episodes import Demos
from unbraid.worlds.controllers import as_controller
from unbraid.worlds.lidar import LIDAR_BINS
from unbraid.worlds.making import World
from unbraid.worlds.rollout import rollout

__all__ = ["collect", "observation_names"]

_SENSORS = ("accelerometer", "velocimeter", "gyro", "magnetometer")
_LIDARS = ("goal_lidar", "hazard_lidar", "vase_lidar")


def collect(
    sources: Sequence[tuple[str, Any]],
    *,
    env_id: World,
    n_episodes: int | Sequence[int],
    seed: int,
    max_steps: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Demos:
    """Lets every source act in episodes of its own, and shuffles them all together.

    No two episodes share a seed, so none share a layout; equal arguments give equal demonstrations.

    Args:
        sources: (name, who acts) for every expert: a controller, a function of the observations (env, obs), or anything
            with Stable-Baselines3's `predict`; the names become `Demos.label_names`.
        env_id: any Gymnasium environment with vectors of numbers as observations and as actions: its id, a
            `gymnasium.spec`, or a function that makes it.
        n_episodes: how many of each, or one number for every source.
        seed: decides the episodes' seeds, the noise and the order.
        max_steps: the most steps per episode; the environment's own limit holds beside it.
        on_progress: called after every step with the number of steps done so far in all episodes.

    Raises:
        WorldError: no sources, two of one name, one that cannot act, numbers of episodes for more or fewer of them,
            or what `rollout` raises.
        ConfigError: a number of episodes that is no whole number of at least 1, or beyond 10 million.
    """
    try:
        names = [name for name, _ in sources]
    except (TypeError, ValueError):
        raise WorldError(
            f"Sources must be a list of pairs, each a name and who acts; got {sources!r:.80}. Write [('forward', "
            "unbraid.make_expert('forward'))]."
        ) from None
    counts = _checked_counts(names, n_episodes)
    seeds = [int(s) for s in named_generator(seed, "episodes").choice(N_SEEDS, size=sum(counts), replace=False)]
    actors = [as_controller(source, what=f"The expert {name}") for name, source in sources]
    parts: list[Demos] = []
    n_done = 0
    for count, controller in zip(counts, actors, strict=True):
        first = sum(part.n_episodes for part in parts)
        part = rollout(
            controller,
            env_id,
            seeds=seeds[first : first + count],
            max_steps=max_steps,
            noise_seed=named_seed(seed, "noise"),
            on_progress=_after(n_done, on_progress),
        ).demos
        n_done += part.n_steps
        parts.append(part)
    facts: dict[str, Any] = {**parts[0].facts, "seed": seed}
    together = Demos.from_episodes(
        [replace(episode, label=label) for label, part in enumerate(parts) for episode in part],
        label_names=[name for name, _ in sources],
        observation_names=observation_names(facts["env_id"], parts[0].observation_size),
        facts=facts,
    )
    together = replace(together, action_low=parts[0].action_low, action_high=parts[0].action_high)
    return together.shuffled(named_generator(seed, "order"))


def observation_names(env_id: str, n_columns: int) -> tuple[str, ...]:
    """A name for every column of an environment's observations, or none where we do not know the environment.

    Args:
        env_id: the environment's id.
        n_columns: the width of its observations.
    """
    names = [f"{sensor}_{axis}" for sensor in _SENSORS for axis in "xyz"]
    names += [f"{lidar}_{bin_}" for lidar in _LIDARS for bin_ in range(LIDAR_BINS)]
    is_point_goal = env_id.startswith("unbraid/PointGoal") and n_columns in (28, len(names))
    return tuple(names[:n_columns]) if is_point_goal else ()


def _checked_counts(names: Sequence[str], n_episodes: int | Sequence[int]) -> list[int]:
    """How many episodes each source gives."""
    if len(names) == 0 or len(set(names)) < len(names):
        raise WorldError(
            f"Demonstrations need at least one source, and a name of its own for each; got {list(names)}. "
            "Name who acts."
        )
    counts = list(n_episodes) if isinstance(n_episodes, Sequence | np.ndarray) else [n_episodes] * len(names)
    if len(counts) != len(names):
        raise WorldError(
            f"Every one of the {len(names)} sources must have a number of episodes; got {n_episodes}. Give one number "
            "for all, or one for each."
        )
    return [require_whole("The number of episodes of a source", count, most=MOST_EPISODES) for count in counts]


def _after(n_done: int, on_progress: Callable[[int], None] | None) -> Callable[[int], None] | None:
    """The same callback, told of the steps that were done before, too."""
    if on_progress is None:
        return None
    return lambda n_steps: on_progress(n_done + n_steps)
