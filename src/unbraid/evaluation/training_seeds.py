"""Several runs of one method: the training seed is the unit, not the episode."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import DataError
from unbraid.core.randomness import named_generator
from unbraid.evaluation.behaviour import Metric, range_of
from unbraid.evaluation.evaluate import Evaluation, Seeds, evaluate, seeds_of
from unbraid.evaluation.intervals import Estimate, mean_interval
from unbraid.evaluation.summary import Summary, summarise
from unbraid.steering.steered import SteeredPolicy
from unbraid.training.model import ModeModel
from unbraid.worlds.making import World

__all__ = ["AcrossSeeds", "across_seeds", "evaluate_runs", "require_different_models"]

_UNIT = "training seeds"


@dataclass(frozen=True, eq=False)
class AcrossSeeds:
    """The runs of several training seeds in one environment.

    Attributes:
        env_id: the environment.
        runs: the evaluation of every run.
        values: metric -> (run,) the mean over the run's episodes.
        metrics: metric -> the mean over runs, with Student's 95 % interval, in `behaviour.range_of`; n counts
            training seeds.
        units: metric -> its unit.
    """

    env_id: str
    runs: tuple[Evaluation, ...]
    values: dict[str, Float[np.ndarray, "run"]]
    metrics: dict[str, Estimate]
    units: dict[str, str]

    @cached_property
    def summary(self) -> dict[str, Summary]:
        """Metric -> mean, median, interquartile mean, quantiles over runs; of few, the mean alone has an interval."""
        generator = named_generator(0, "bootstrap of training seeds")
        return summarise(self.values, generator=generator, unit_of_n=_UNIT, means=self.metrics)

    def to_json(self) -> dict[str, Any]:
        """Metrics with intervals, the summary over runs, each run's means, and each run's evaluation."""
        return {
            "env_id": self.env_id,
            "metrics": {name: estimate.to_json() for name, estimate in self.metrics.items()},
            "units": self.units,
            "summary": {name: summary.to_json() for name, summary in self.summary.items()},
            "values": {name: values.tolist() for name, values in self.values.items()},
            "runs": [run.to_json() for run in self.runs],
        }


def across_seeds(evaluations: Sequence[Evaluation]) -> AcrossSeeds:
    """Takes the runs of one method together: how it does, whatever its training seed.

    The episodes of a run are averaged, and the interval is that of the runs' means: Student's t over training seeds.
    Pooled episodes would claim a certainty that they do not have, since those of one run share its policy. Where all
    runs are evaluated on the same seeds, the interval holds for these layouts.

    Source: Agarwal et al. 2021, arXiv 2108.13264 (runs as units); Student 1908 (3 runs are too few for a bootstrap).

    Args:
        evaluations: one per training seed, all in one environment with one limit of steps. A metric that some run lacks
            is left out.

    Raises:
        DataError: none, what is no evaluation, or runs of different environments, limits of steps or numbers of
            episodes.
    """
    given: Any = evaluations
    runs = tuple(given) if isinstance(given, Iterable) else None
    if runs is None or not all(isinstance(run, Evaluation) for run in runs):
        raise DataError(
            f"Training seeds must be given as a list of what evaluate(...) gives; got {given!r:.80}. Evaluate each run."
        )
    if not runs:
        raise DataError("Training seeds need at least one run; got none. Evaluate some.")
    kinds = {_kind(run) for run in runs}
    if len(kinds) > 1:
        first, second = sorted(kinds, key=str)[:2]
        raise DataError(
            "Runs that are taken together must have one environment, limit of steps and number of episodes; got "
            f"{first} and {second}. Evaluate all of them alike (`evaluate_runs`)."
        )
    first_run = runs[0]
    names = [name for name in first_run.values if all(name in run.values for run in runs)]
    values = {name: np.array([float(run.values[name].mean()) for run in runs]) for name in names}
    return AcrossSeeds(
        env_id=first_run.env_id,
        runs=runs,
        values=values,
        metrics={
            name: mean_interval(means, unit_of_n=_UNIT, within=range_of(name, means)) for name, means in values.items()
        },
        units={name: first_run.units.get(name, "") for name in names},
    )


def evaluate_runs(
    policies: Sequence[Any],
    env: World,
    *,
    n_episodes: int | None = None,
    seeds: Seeds | None = None,
    metrics: Mapping[str, Metric] | None = None,
    max_steps: int | None = None,
    n_envs: int = 64,
) -> AcrossSeeds:
    """`evaluate` for the policies of several training seeds, all on the same layouts; then `across_seeds`.

    Args:
        policies: one per training seed; the other arguments are those of `evaluate`.

    Raises:
        WorldError, ConfigError: as `evaluate`.
        DataError: no policies, or two in which the same model acts, alone or in a schedule or a `SwitchedPolicy`: they
            are no two training seeds.
    """
    if not isinstance(policies, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DataError(f"Policies must come in a list, one for each training seed; got {policies!r:.60}. Write [...].")
    _require_no_model_twice([_models_in(policy) for policy in policies])
    asked = seeds_of(n_episodes, seeds)
    return across_seeds(
        [evaluate(policy, env, seeds=asked, metrics=metrics, max_steps=max_steps, n_envs=n_envs) for policy in policies]
    )


def require_different_models(models: Sequence[ModeModel]) -> None:
    """Raises `DataError` where two models have the same weights: one fit counted twice is no second training seed."""
    _require_no_model_twice([[model] for model in models])


def _require_no_model_twice(models: Sequence[Sequence[ModeModel]]) -> None:
    """Raises `DataError` where two entries have a model of the same weights; one may have it more than once."""
    first: dict[str, int] = {}
    for index, own in enumerate(models):
        for print_ in {model.fingerprint() for model in own}:
            before = first.setdefault(print_, index)
            if before != index:
                raise DataError(
                    f"Training seeds must be fits of their own; models {before} and {index} have the same weights. Fit "
                    "again with another seed, or leave one of them out."
                )


def _models_in(policy: Any) -> list[ModeModel]:
    """Every model that acts in a policy: steered, or one of several that take turns, as in a schedule."""
    if isinstance(policy, ModeModel):
        return [policy]
    if isinstance(policy, SteeredPolicy):
        return [policy.model]
    within = getattr(policy, "policies", ())
    return [model for part in within for model in _models_in(part)] if isinstance(within, Sequence) else []


def _kind(run: Evaluation) -> tuple[str, Any, int]:
    return run.env_id, run.rollouts.demos.facts.get("max_steps"), len(run.seeds)
