"""`evaluate(policy, env)`: what a policy does in an environment, episode by episode, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from unbraid.core.errors import WorldError
from unbraid.core.progress import progress
from unbraid.core.randomness import named_generator
from unbraid.evaluation.behaviour import UNITS, measure
from unbraid.evaluation.intervals import Estimate, mean_interval
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.model import ModeModel
from unbraid.worlds.rollout import Controller, Rollouts, rollout

__all__ = ["Evaluation", "evaluate", "evaluate_all", "fresh_seeds", "require_fitting_world"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One policy in one environment.

    Attributes:
        env_id: the environment.
        seeds: the reset seed of every episode.
        values: metric -> (episode,) the value in every episode.
        metrics: metric -> the mean over episodes, with its 95 % interval.
        rollouts: the episodes themselves.
    """

    env_id: str
    seeds: tuple[int, ...]
    values: dict[str, Float[np.ndarray, "episode"]]
    metrics: dict[str, Estimate]
    rollouts: Rollouts

    def to_json(self) -> dict[str, Any]:
        """Environment, seeds, metrics with intervals, and the table of episodes."""
        return {
            "env_id": self.env_id,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "units": {name: UNITS.get(name, "") for name in self.metrics},
            "episodes": [
                {"seed": seed, **{name: float(values[i]) for name, values in self.values.items()}}
                for i, seed in enumerate(self.seeds)
            ],
        }


def fresh_seeds(n_episodes: int, *, seed: int) -> list[int]:
    """Different seeds for evaluation, drawn apart from those of any collection."""
    return [int(s) for s in named_generator(seed, "evaluation").choice(2**31, size=n_episodes, replace=False)]


def evaluate(
    policy: Controller,
    env_id: str,
    *,
    seeds: Sequence[int],
    max_steps: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Rolls a policy out once per seed, and measures every episode.

    Args:
        policy: a `SteeredPolicy`, an expert, or anything else that has `act` (see `worlds.rollout.from_predict`).
        env_id: any Gymnasium environment with vectors of numbers.
        seeds: one per episode; the same seeds make two policies comparable pair by pair (`fresh_seeds` draws some).
        max_steps: the most steps per episode; the environment's own limit holds beside it.
        on_progress: called with the number of steps done.

    Raises:
        WorldError: the environment or the policy does not fit.
    """
    if isinstance(policy, SteeredPolicy):
        require_fitting_world(policy.model, env_id)
    rollouts = rollout(policy, env_id, seeds=seeds, max_steps=max_steps, on_progress=on_progress)
    values = measure(rollouts.demos, rollouts.tracks)
    metrics = {name: mean_interval(found) for name, found in values.items()}
    return Evaluation(env_id, tuple(seeds), values, metrics, rollouts)


def evaluate_all(
    actors: Mapping[str, Controller], env_id: str, *, seeds: Sequence[int], max_steps: int | None = None
) -> dict[str, Evaluation]:
    """`evaluate` for everybody on the same seeds, by name, with a progress bar."""
    found: dict[str, Evaluation] = {}
    with progress("evaluate", len(actors), "actors") as advance:
        for name, actor in actors.items():
            found[name] = evaluate(actor, env_id, seeds=seeds, max_steps=max_steps)
            advance(1)
    return found


def require_fitting_world(model: ModeModel, env_id: str) -> None:
    """Raises `WorldError` where an environment shows or takes another number of values than the model was fitted on.

    What has no vectors of numbers at all, or is not registered, is left for the rollout to refuse.
    """
    try:
        world = gymnasium.make(env_id, disable_env_checker=True)
    except (gymnasium.error.Error, ImportError):
        return
    shapes = [space.shape for space in (world.observation_space, world.action_space)]
    world.close()
    fitted = (model.observation_size, model.action_size)
    widths = tuple(shape[0] for shape in shapes if shape is not None and len(shape) == 1)
    if len(widths) == 2 and widths != fitted:
        raise WorldError(
            f"{env_id} must have {fitted[0]} observation and {fitted[1]} action columns, as the model was fitted on; "
            f"it has {widths[0]} and {widths[1]}. Use the environment that the demonstrations came from."
        )
