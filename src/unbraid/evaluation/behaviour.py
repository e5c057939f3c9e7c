"""What rollouts are like, metric by metric, and whether a mode's are as good as its expert's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Real

from unbraid.core.errors import ConfigError, DataError
from unbraid.demos.episodes import Demos, Episode
from unbraid.evaluation.intervals import Equivalence, Estimate, as_good_as, mean_interval, share_interval

__all__ = [
    "COMPARED",
    "METRICS",
    "UNITS",
    "BehaviourTable",
    "ExpertBehaviour",
    "Measures",
    "Metric",
    "ModeBehaviour",
    "compare_modes",
    "estimates_of",
    "measure",
    "range_of",
    "require_new_metrics",
    "units_of",
]

_Track = Mapping[str, np.ndarray]
Measures = Mapping[str, np.ndarray]
Metric = Callable[[Episode], float]
"""A metric of anybody's: an episode's observations, actions, rewards, costs -> one finite number."""


def _return(episode: Episode, track: _Track) -> float | None:
    return None if episode.rewards is None else float(episode.rewards.sum())


def _cost(episode: Episode, track: _Track) -> float | None:
    return None if episode.costs is None else float(episode.costs.sum())


def _length(episode: Episode, track: _Track) -> float | None:
    return float(episode.n_steps)


def _goals(episode: Episode, track: _Track) -> float | None:
    return float(track["goal_reached"].sum()) if "goal_reached" in track else None


def _distance(episode: Episode, track: _Track) -> float | None:
    if "robot_xy" not in track:
        return None
    return float(np.linalg.norm(np.diff(track["robot_xy"], axis=0), axis=1).sum())


def _displacement(episode: Episode, track: _Track) -> float | None:
    if "robot_xy" not in track:
        return None
    return float(np.linalg.norm(track["robot_xy"][-1] - track["robot_xy"][0]))


def _success(episode: Episode, track: _Track) -> float | None:
    return float(track["success"]) if "success" in track else None


def _energy(episode: Episode, track: _Track) -> float | None:
    """The sum over steps and actions of |action x velocity|; of squared actions where velocities are not told.

    The velocity is that of the actuator behind each action, at the end of the step (`unbraid.worlds.telling`). For a
    MuJoCo motor |action x velocity| is the power in W, so that energy x seconds a step is work in J; a servo's action
    is a wish, and it is no more than a measure of effort. `units_of` says which of the two sums a number is.
    """
    actions = episode.actions.astype(np.float64)
    factors = track.get("actuator_velocity", actions)
    return float(np.abs(actions * factors).sum())


def _smoothness(episode: Episode, track: _Track) -> float | None:
    """Minus the mean over steps of the distance |a[t + 1] - a[t]| between neighbouring actions, as executed.

    0 is an action that never changes; the lower, the jerkier. None for an episode of one step.

    Source: Mysore et al. 2021, arXiv 2012.06644, equation 1 (temporal smoothness, Euclidean distance); the sign is that
    of Balasubramanian et al. 2015, doi 10.1186/s12984-015-0090-9: more is smoother.
    """
    if episode.n_steps < 2:
        return None
    return -float(np.linalg.norm(np.diff(episode.actions.astype(np.float64), axis=0), axis=1).mean())


METRICS: dict[str, Callable[[Episode, _Track], float | None]] = {
    "return": _return,
    "cost": _cost,
    "length": _length,
    "goals": _goals,
    "distance": _distance,
    "displacement": _displacement,
    "success": _success,
    "energy": _energy,
    "smoothness": _smoothness,
}
"""Each takes an episode and its track and gives one number, or None where the world does not offer what it needs."""

_SHARE = "share"

UNITS: dict[str, str] = {
    "return": "reward",
    "cost": "per episode",
    "length": "steps",
    "goals": "per episode",
    "distance": "m",
    "displacement": "m",
    "success": _SHARE,
    "energy": "action x velocity",
    "smoothness": "action",
}
"""The unit of every metric: sums over the episode, the path's length, from start to end; see `units_of` for energy."""

_WITHIN: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("length", "goals", "distance", "displacement", "energy"), (0.0, np.inf)),
    "success": (0.0, 1.0),
    "smoothness": (-np.inf, 0.0),
}

COMPARED = ("return", "cost", "length", "goals", "distance", "displacement", "success")
"""The metrics in which a run's page holds modes beside experts, in order."""

_SQUARED_ACTION = "squared action"


@dataclass(frozen=True, eq=False)
class ExpertBehaviour:
    """An expert's rollouts: its name, and an `Estimate` of the mean of every metric."""

    name: str
    metrics: dict[str, Estimate]


@dataclass(frozen=True, eq=False)
class ModeBehaviour:
    """A mode's rollouts.

    Attributes:
        mode: which.
        expert: the name of the expert that it is matched with, or None.
        metrics: an estimate of the mean of every metric.
        equivalence: for every metric that both have, whether the mode is as good as its expert; empty without one.
    """

    mode: int
    expert: str | None
    metrics: dict[str, Estimate]
    equivalence: dict[str, Equivalence]


@dataclass(frozen=True, eq=False)
class BehaviourTable:
    """Experts and modes, metric by metric.

    Attributes:
        metrics: the metrics' names, in order; those that somebody has.
        experts: one entry per expert.
        modes: one entry per mode.
    """

    metrics: tuple[str, ...]
    experts: tuple[ExpertBehaviour, ...]
    modes: tuple[ModeBehaviour, ...]

    def to_json(self) -> dict[str, Any]:
        """The same as a JSON object: metrics, units, experts, modes."""
        return {
            "metrics": list(self.metrics),
            "units": {name: UNITS.get(name, "") for name in self.metrics},
            "experts": [{"name": e.name, "metrics": _as_json(e.metrics)} for e in self.experts],
            "modes": [
                {
                    "mode": m.mode,
                    "expert": m.expert,
                    "metrics": _as_json(m.metrics),
                    "difference": {name: e.difference.to_json() for name, e in m.equivalence.items()},
                    "as_good": {name: e.holds for name, e in m.equivalence.items()},
                    "margin": {name: e.margin for name, e in m.equivalence.items()},
                }
                for m in self.modes
            ],
        }


def measure(
    demos: Demos, tracks: Sequence[_Track], metrics: Mapping[str, Metric] | None = None
) -> dict[str, np.ndarray]:
    """Every metric of every episode.

    Args:
        demos: the episodes.
        tracks: for each episode what the world said beside it: ``robot_xy`` (T + 1, 2) in m, ``goal_reached`` (T,),
            ``actuator_velocity`` (T, act), ``success`` (), as far as it has them.
        metrics: more of them, by name.

    Returns:
        metric -> (episode,) values. A metric that some episode lacks is absent, never 0; so is an energy that would be
        of two kinds.

    Raises:
        DataError: there isn't one track per episode.
        ConfigError: a name that is taken, or a metric of one's own that gave no finite number.
    """
    if len(tracks) != demos.n_episodes:
        raise DataError(
            f"There must be one track per episode; got {len(tracks)} for {demos.n_episodes} episodes. "
            "Pass an empty track where nothing was recorded."
        )
    own = require_new_metrics(metrics or {})
    episodes = list(demos)
    measures: dict[str, np.ndarray] = {}
    for name, metric in METRICS.items():
        values = [metric(episode, track) for episode, track in zip(episodes, tracks, strict=True)]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            measures[name] = np.array(known, dtype=np.float64)
    if len({"actuator_velocity" in track for track in tracks}) > 1:
        del measures["energy"]
    for name, metric in own.items():
        measures[name] = np.array([_own_value(name, metric, i, episode) for i, episode in enumerate(episodes)])
    return measures


def units_of(measures: Iterable[str], tracks: Sequence[_Track]) -> dict[str, str]:
    """The unit of every metric, "" where only its maker knows: `UNITS`, but for energy.

    Args:
        measures: the metrics' names, as `measure` gives them.
        tracks: those that were measured; energy is a sum of squared actions where they hold no ``actuator_velocity``.
    """
    units = {name: UNITS.get(name, "") for name in measures}
    if "energy" in units and not any("actuator_velocity" in track for track in tracks):
        units["energy"] = _SQUARED_ACTION
    return units


def require_new_metrics(metrics: Mapping[str, Metric]) -> Mapping[str, Metric]:
    """Metrics of one's own, as they came.

    Raises:
        ConfigError: no mapping, a name that is empty or taken, or something that can't be called.
    """
    if not isinstance(metrics, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(
            f"Metrics of your own must be given by name; got a {type(metrics).__name__}. Write them as in "
            "metrics={'last_reward': lambda episode: float(episode.rewards[-1])}."
        )
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name or name in (*METRICS, "seed", "actor"):
            raise ConfigError(
                f"A metric of your own must have a name of its own; got {name!r}. Taken: {', '.join(METRICS)}, seed, "
                "actor."
            )
        if not callable(metric):
            raise ConfigError(
                f"The metric {name!r} must be a function of an episode; it is a {type(metric).__name__}. Pass one, as "
                "in metrics={'last_reward': lambda episode: float(episode.rewards[-1])}."
            )
    return metrics


def _own_value(name: str, metric: Metric, index: int, episode: Episode) -> float:
    where = f"episode {index}" if episode.seed is None else f"episode {index} (seed {episode.seed})"
    must = f"The metric {name!r} must give one finite number for every episode; for {where} it"
    try:
        value: Any = metric(episode)
    except Exception as error:  # whatever a stranger's function raises
        raise ConfigError(f"{must} raised {type(error).__name__}: {error}. Repair it, or leave it out.") from error
    is_number = isinstance(value, bool | int | float | np.bool_ | np.number) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf"
    )
    if not is_number or not np.isfinite(value):
        raise ConfigError(f"{must} gave {value!r:.80}. Repair it, or leave it out.")
    return float(value)


def compare_modes(
    mode_measures: Sequence[Measures],
    expert_measures: Mapping[str, Measures],
    matching: Int[np.ndarray, "mode"],
) -> BehaviourTable:
    """Compares every mode with the expert that it is matched with, on the same seeds.

    Args:
        mode_measures: `measure` of each mode's rollouts.
        expert_measures: name -> `measure` of each expert's, in the order of the labels.
        matching: (mode,) an index into the experts, or -1; from `match_modes` on the training episodes.

    Raises:
        DataError: `matching` does not fit the modes or experts, or a mode and its expert have different numbers of
            episodes.
    """
    names = list(expert_measures)
    if len(matching) != len(mode_measures) or not ((matching >= -1) & (matching < len(names))).all():
        raise DataError(
            f"The matching must give each of the {len(mode_measures)} modes one of {len(names)} experts, or -1; got "
            f"{matching.tolist()}. Take it from `match_modes`."
        )
    ranges = _ranges_between(expert_measures)
    modes: list[ModeBehaviour] = []
    for mode, measures in enumerate(mode_measures):
        expert = names[matching[mode]] if matching[mode] >= 0 else None
        others = expert_measures[expert] if expert is not None else {}
        equivalence = {
            name: as_good_as(values, others[name], range_between_experts=ranges[name])
            for name, values in measures.items()
            if name in others
        }
        modes.append(ModeBehaviour(mode, expert, estimates_of(measures), equivalence))
    everybody = [*expert_measures.values(), *mode_measures]
    return BehaviourTable(
        metrics=tuple(dict.fromkeys(name for measures in everybody for name in measures)),
        experts=tuple(ExpertBehaviour(name, estimates_of(expert_measures[name])) for name in names),
        modes=tuple(modes),
    )


def _ranges_between(expert_measures: Mapping[str, Measures]) -> dict[str, float]:
    """For every metric, the largest minus the smallest of the means of the experts that have it."""
    means: dict[str, list[float]] = {}
    for measures in expert_measures.values():
        for name, values in measures.items():
            means.setdefault(name, []).append(float(values.mean()))
    return {name: max(values) - min(values) for name, values in means.items()}


def range_of(metric: str, values: Real[np.ndarray, "episode"]) -> tuple[float, float]:
    """The least and the most that a metric can be: an interval of its mean goes no further.

    What a step may cost is the environment's to say; where no episode's cost is below 0, none is taken to be.
    """
    if metric == "cost" and (values >= 0).all():
        return 0.0, np.inf
    return _WITHIN.get(metric, (-np.inf, np.inf))


def estimates_of(measures: Measures) -> dict[str, Estimate]:
    """The mean of every metric over episodes: with Student's interval, in `range_of`, or Wilson's where it is a share.

    Of 10 successes in 10 episodes Student's would say that all episodes succeed, beyond doubt.
    """
    return {
        name: share_interval(values)
        if UNITS.get(name) == _SHARE
        else mean_interval(values, within=range_of(name, values))
        for name, values in measures.items()
    }


def _as_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_json() for name, estimate in estimates.items()}
