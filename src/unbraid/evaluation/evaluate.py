"""`evaluate(policy, env)`: what a policy does in an environment, episode by episode, with intervals."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from jaxtyping import Float, Int

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.numbers import MOST_EPISODES, require_whole
from unbraid.core.progress import by_totals, progress
from unbraid.core.randomness import N_SEEDS, named_generator
from unbraid.core.runs import taken_path, write_text
from unbraid.core.shapes import first_bad_row
from unbraid.demos.altered import ALTERED
from unbraid.demos.episodes import Demos
from unbraid.evaluation.behaviour import UNITS, Metric, estimates_of, measure, require_new_metrics, units_of
from unbraid.evaluation.intervals import Estimate
from unbraid.evaluation.summary import Summary, summarise
from unbraid.steering.schedules import Schedule
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.loop import computing
from unbraid.training.model import ModeModel
from unbraid.worlds.controllers import Controller, as_controller
from unbraid.worlds.making import World, make_world, spec_of
from unbraid.worlds.rollout import Rollouts, require_limits, rollout

__all__ = [
    "Evaluation",
    "Seeds",
    "csv_text",
    "evaluate",
    "evaluate_all",
    "fresh_seeds",
    "require_fitting_world",
    "seeds_of",
]

Seeds = Sequence[int] | Int[np.ndarray, "episode"]

_N_EPISODES = 100


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """One policy in one environment.

    Attributes:
        env_id: the environment.
        seeds: the reset seed of every episode.
        values: metric -> (episode,) the value in every episode.
        metrics: metric -> the mean over episodes, with its 95 % interval (`behaviour.estimates_of`).
        rollouts: the episodes themselves.
        units: metric -> its unit; "" where only its maker knows.
    """

    env_id: str
    seeds: tuple[int, ...]
    values: dict[str, Float[np.ndarray, "episode"]]
    metrics: dict[str, Estimate]
    rollouts: Rollouts
    units: dict[str, str] = field(default_factory=dict[str, str])

    def __repr__(self) -> str:
        means = ", ".join(f"{name} {estimate.value:.4g}" for name, estimate in self.metrics.items())
        return f"Evaluation({self.env_id!r}, {len(self.seeds)} episodes: mean {means})"

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row per episode: its ``seed``, and every metric by name."""
        return [
            {"seed": seed, **{name: float(values[i]) for name, values in self.values.items()}}
            for i, seed in enumerate(self.seeds)
        ]

    @cached_property
    def summary(self) -> dict[str, Summary]:
        """Metric -> mean, median, interquartile mean and quantiles over episodes, each with its 95 % interval.

        The bootstrap's resamples are the same in every evaluation of so many episodes.
        """
        return summarise(self.values, generator=named_generator(0, "bootstrap of episodes"), means=self.metrics)

    def write_csv(self, path: str | Path) -> None:
        """Writes the table as CSV: a header, then one line per episode. A file of that name is replaced.

        Raises:
            StorageError: the disk refused.
        """
        write_text(taken_path(path), csv_text(self.table))

    def to_json(self) -> dict[str, Any]:
        """Environment, metrics with intervals, units, the summary, and the table of episodes."""
        return {
            "env_id": self.env_id,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "units": {name: self.units.get(name, UNITS.get(name, "")) for name in self.metrics},
            "summary": {name: summary.to_json() for name, summary in self.summary.items()},
            "episodes": self.table,
        }


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: a column for every name that occurs, in the order of their coming; what a row lacks is empty."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def fresh_seeds(n_episodes: int, *, seed: int, avoid: Seeds | None = None) -> list[int]:
    """Different seeds for evaluation, drawn apart from those of any collection.

    Args:
        n_episodes: how many.
        seed: decides them.
        avoid: seeds that must not be among them, such as `Demos.seeds` of the demonstrations that were learned from;
            others are drawn in their place, and the rest stay as they are.

    Raises:
        ConfigError: `n_episodes` is no whole number, negative, or beyond 10 million; or no seeds to avoid.
    """
    n_episodes = require_whole("`n_episodes`", n_episodes, least=0, most=MOST_EPISODES)
    try:
        taken = {int(s) for s in (() if avoid is None else avoid)}
    except (TypeError, ValueError):
        raise ConfigError(f"`avoid` must hold seeds, whole numbers; got {avoid!r:.60}. Give a list of them.") from None
    generator = named_generator(seed, "evaluation")
    seeds = [int(s) for s in generator.choice(N_SEEDS, size=n_episodes, replace=False)]
    for i in [i for i, s in enumerate(seeds) if s in taken]:
        taken.update(seeds)
        while seeds[i] in taken:
            seeds[i] = int(generator.integers(N_SEEDS))
    return seeds


def seeds_of(n_episodes: int | None, seeds: Seeds | None) -> list[int]:
    """The seeds that were given, or so many fresh ones (100 where neither is said).

    Raises:
        ConfigError: `n_episodes` is no whole number of at least 1, or beyond 10 million.
        WorldError: seeds that are no integers or occur twice, or not as many as episodes.
    """
    if n_episodes is not None:
        remedy = "100 gives intervals worth reading."
        n_episodes = require_whole("`n_episodes`", n_episodes, most=MOST_EPISODES, remedy=remedy)
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Sequence | np.ndarray | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise WorldError(
            f"Seeds must be a list of integers, one per episode; got {seeds!r:.40}. Write seeds=[{seeds!r:.10}] for "
            "one episode, or n_episodes for so many on fresh seeds."
        )
    if seeds is None:
        return fresh_seeds(_N_EPISODES if n_episodes is None else n_episodes, seed=0)
    odd = [seed for seed in seeds if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer)]
    if odd:
        raise WorldError(f"Seeds must be integers >= 0; got {odd[0]!r:.40}. `fresh_seeds` draws some.")
    given = [int(seed) for seed in seeds]
    if len(set(given)) < len(given):
        twice = next(seed for i, seed in enumerate(given) if seed in given[:i])
        raise WorldError(
            f"Every episode must have a seed of its own, as equal seeds give equal episodes; {twice} occurs twice. "
            "Leave it out once, or let `fresh_seeds` draw them."
        )
    if n_episodes is not None and n_episodes != len(given):
        raise WorldError(
            f"There must be one seed per episode; got {len(given)} seeds for n_episodes = {n_episodes}. Give one "
            "of the two."
        )
    return given


def evaluate(
    policy: Any,
    env: World,
    *,
    n_episodes: int | None = None,
    seeds: Seeds | None = None,
    metrics: Mapping[str, Metric] | None = None,
    max_steps: int | None = None,
    n_envs: int = 64,
) -> Evaluation:
    """Rolls a policy out once per seed, and measures every episode.

    An episode depends on its seed alone: equal seeds give equal episodes, to the last bit, whatever `n_envs` is. A
    `SteeredPolicy` samples its actions, from one generator per episode; its mean actions are those of
    `worlds.controllers.from_predict(policy)`. (What draws from a generator of its own is not bound to its seeds: other
    people's policies by `from_predict(policy, deterministic=False)`, and `from_predict(by_episode(...))`.)

    Metrics (`behaviour.METRICS`): return, cost, length, goals, distance, displacement, success, energy, smoothness, as
    far as the world offers what they need. Success is what the last step's `info` says under ``is_success`` or
    ``success``. Energy is the sum of |action x velocity| where the world tells how fast its actuators move, as
    PointGoal and MuJoCo's environments do, else the sum of squared actions; `Evaluation.units` says which.

    Args:
        policy: a `SteeredPolicy`, an expert, or anything else that has `act`; anything with Stable-Baselines3's
            `predict`, asked for its deterministic action; or a function of the observations (env, obs).
        env: any Gymnasium environment with vectors of numbers: its id (``module:id`` where a module registers it), a
            `gymnasium.spec`, or a function that makes it.
        n_episodes: how many, on fresh seeds, the same ones at every call with that number; by default 100, or as many
            as `seeds`.
        seeds: one per episode, all different; the same seeds make two policies comparable pair by pair (`compare`).
            By default fresh ones, drawn apart from those of any collection (`fresh_seeds` also avoids given ones).
        metrics: of one's own, beside those above: name -> function of an `Episode` that gives a number.
        max_steps: the most steps per episode; the environment's own limit holds beside it.
        n_envs: the most environments side by side.

    Raises:
        WorldError: the environment, the policy, its actions or the seeds do not fit, or a reward or cost is not finite.
        ConfigError: numbers of episodes, steps or environments that are no whole numbers of at least 1; metrics that
            are no mapping, or one that has a name that is taken, or gives no finite number; a policy of which nothing
            was asked.
    """
    require_limits(max_steps, n_envs)
    asked, env = seeds_of(n_episodes, seeds), env if isinstance(env, str) else spec_of(env)
    limit = max_steps or spec_of(env).max_episode_steps or 1000
    with progress("evaluate", len(asked) * limit, "steps") as advance:
        return _measured(
            policy, env, asked, metrics=metrics, max_steps=max_steps, n_envs=n_envs, on_progress=by_totals(advance)
        )


def _measured(
    policy: Any,
    env: str | EnvSpec,
    seeds: Sequence[int],
    *,
    metrics: Mapping[str, Metric] | None = None,
    max_steps: int | None,
    n_envs: int = 64,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    own = require_new_metrics(metrics or {})  # before the work, not after it
    if isinstance(policy, ModeModel):
        raise WorldError(
            "A policy must be asked for a mode before it can act; got a model, which holds all. Evaluate "
            "steer(model).toward(0), or another of its modes."
        )
    for steered in policy.policies if isinstance(policy, Schedule) else (policy,):
        if isinstance(steered, SteeredPolicy):
            require_fitting_world(steered.model, env)
    with computing(1):  # one thread is fastest for 64 rows, and sums in one order on every machine
        found = rollout(
            as_controller(policy), env, seeds=seeds, max_steps=max_steps, n_envs=n_envs, on_progress=on_progress
        )
    values = measure(found.demos, found.tracks, own)
    _require_finite(values, found.demos)
    return Evaluation(
        env_id=str(found.demos.facts.get(ALTERED, found.demos.facts["env_id"])),
        seeds=tuple(seeds),
        values=values,
        metrics=estimates_of(values),
        rollouts=found,
        units=units_of(values, found.tracks),
    )


def _require_finite(values: Mapping[str, Float[np.ndarray, "episode"]], demos: Demos) -> None:
    """Raises `WorldError` that names the first metric which is not finite, with seed and step, where it is one's."""
    for name, of_each in values.items():
        if (bad := first_bad_row(of_each)) is None:
            continue
        episode = demos.episode(bad)
        told = {"return": episode.rewards, "cost": episode.costs}.get(name)
        step = None if told is None else first_bad_row(told)
        where = "" if told is None or step is None else f": what the environment tells at step {step} is {told[step]}"
        raise WorldError(
            f"The metric {name!r} must be finite in every episode; in that of seed {episode.seed} it is "
            f"{of_each[bad]}{where}. Repair the environment, or leave that seed out."
        )


def evaluate_all(
    actors: Mapping[str, Controller], env_id: str, *, seeds: Sequence[int], max_steps: int | None = None
) -> dict[str, Evaluation]:
    """`evaluate` for everybody on the same seeds, by name, with a progress bar."""
    found: dict[str, Evaluation] = {}
    with progress("evaluate", len(actors), "actors") as advance:
        for name, actor in actors.items():
            found[name] = _measured(actor, env_id, seeds_of(None, seeds), max_steps=max_steps)
            advance(1)
    return found


def require_fitting_world(model: ModeModel, env: str | EnvSpec) -> None:
    """Raises `WorldError` where an environment shows or takes another number of values than the model was fitted on.

    What raises when it is made is refused, too; what has no vectors of numbers at all, is not registered, or lacks a
    package, is left for the rollout to refuse.
    """
    try:
        spec = spec_of(env)
    except WorldError:
        return
    try:
        world = make_world(spec)
    except (gymnasium.error.Error, ImportError):
        return
    spaces = (world.observation_space, world.action_space)
    world.close()
    fitted = (model.observation_size, model.action_size)
    widths = tuple(space.shape[0] for space in spaces if isinstance(space, Box) and len(space.shape) == 1)
    if len(widths) == 2 and widths != fitted:
        name = env if isinstance(env, str) else env.id
        raise WorldError(
            f"{name} must have {fitted[0]} observation and {fitted[1]} action columns, as the model was fitted on; "
            f"it has {widths[0]} and {widths[1]}. Use the environment that the demonstrations came from."
        )
