"""The verb `switch`: learns when to be in which mode, limits it where asked, and measures it beside every mode."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import ConfigError
from unbraid.core.progress import progress
from unbraid.core.runs import new_folder, require_free, write_bytes, write_json
from unbraid.demos.episodes import Demos
from unbraid.evaluation.evaluate import Evaluation, evaluate_all, fresh_seeds
from unbraid.evaluation.intervals import mean_interval, paired_difference
from unbraid.pipeline.environment import environment_of, require_possible_numbers
from unbraid.pipeline.flags import given_flags
from unbraid.pipeline.measured import collected_seeds
from unbraid.pipeline.requests import SwitchRequest
from unbraid.report.style import WIDE, png
from unbraid.report.switching import regret_figure
from unbraid.steering.steered import steer
from unbraid.switching.actor_critic import train_actor_critic
from unbraid.switching.answers import load_answers
from unbraid.switching.bandit import train_bandit
from unbraid.switching.guard import Guard, certified_modes, episode_limit, make_guard
from unbraid.switching.options import OptionWorlds
from unbraid.switching.preferences import Preferences
from unbraid.switching.situations import SituationReader, situation_reader
from unbraid.switching.switcher import LinearScores, PreferredModes, SwitchedPolicy, Switcher, load_switcher
from unbraid.training.model import ModeModel

__all__ = ["switch_stage"]

_SWITCHER = "switcher"
_N_ENVS = 16


@dataclass(frozen=True)
class _Case:
    """What was asked, with what it leaves open settled."""

    asked: SwitchRequest
    model: ModeModel
    env_id: str
    cost_weight: float


def switch_stage(asked: SwitchRequest) -> dict[str, Any]:
    """Learns a switcher, or reads one, and measures it; what was learned goes into a new folder, with a bandit's regret
    as a picture.

    Returns:
        A JSON object: ``actors``, the metrics of the switcher and of every mode; ``gain``, the switcher's objective
        less the best mode's, paired by seed; ``shares`` of the time in each mode; ``regret`` of the bandit;
        ``remarks`` on a switcher that was read.
    """
    _require_fitting_options(asked)
    require_possible_numbers(asked)
    model = ModeModel.from_pretrained(asked.run)
    if model.n_modes < 2:
        raise ConfigError(
            f"A switcher needs at least 2 modes to choose among; {asked.run} has {model.n_modes}. Its mode alone is "
            "what `unbraid steer` rolls out; fit with --n-modes 2 or more."
        )
    used = None if asked.use is None else load_switcher(asked.use)
    case = _case_of(asked, model, used)
    certified = ()
    if asked.guard is not None:  # before the work, not after it
        certified = certified_modes(asked.guard, model, case.env_id, max_steps=asked.max_steps)
    learned: dict[str, Any] = {"n_steps": 0, "regret": None, "remarks": []}
    if used is not None:
        switcher = used
        learned["remarks"] = _remarks_on(used, case)
    else:
        switcher, told = _learned(case)
        learned |= told
    if asked.guard is not None:
        switcher = _guarded(case, switcher, certified)
    found = {**_measured(case, switcher), **learned}
    if asked.out is not None:
        with new_folder(asked.out) as temporary:
            switcher.write(temporary)
            write_json(temporary / "results.json", {"format": "unbraid-switching", "version": 1, **found})
            if found["regret"] is not None and found["regret"]["decision"]:
                write_bytes(temporary / "regret.png", png(regret_figure({asked.explore: found["regret"]}, WIDE)))
        found["switcher"] = str(asked.out)
    return found


def _case_of(asked: SwitchRequest, model: ModeModel, used: Switcher | None) -> _Case:
    """The environment and the cost weight: those asked for, else those that a switcher was learned with.

    Raises:
        ConfigError: no environment is known, or the switcher is of another model, or its guard of something else.
        WorldError: the environment does not fit the model.
    """
    origin = None if used is None else used.origin
    env_id = environment_of(asked.run, asked.env or (None if origin is None else origin.env_id), model)
    weight = (0.0 if origin is None else origin.cost_weight) if asked.cost_weight is None else asked.cost_weight
    if used is not None:
        try:
            SwitchedPolicy(model, used)
        except ConfigError as error:
            raise ConfigError(f"{asked.use}: {error}") from None
        if given_flags(asked, ["horizon_steps"]) and asked.horizon_steps != used.horizon_steps:
            raise ConfigError(
                f"--horizon-steps must be left out with --use: {asked.use} holds a mode for {used.horizon_steps} "
                f"steps; got {asked.horizon_steps}. Learn another with --out."
            )
        _require_guarded(asked, used, env_id)
    return _Case(asked, model, env_id, weight)


def _require_guarded(asked: SwitchRequest, used: Switcher, env_id: str) -> None:
    """Raises `ConfigError` where a switcher's guard, if it has one, says nothing of what is to be rolled out."""
    if used.guard is None:
        return
    if used.origin is not None and used.origin.env_id != env_id:
        raise ConfigError(
            f"The guard of {asked.use} must be used in {used.origin.env_id}, which its bounds and its certificate are "
            f"about; got {env_id}. Leave --env out, or learn another with --guard."
        )
    known, wanted = episode_limit(env_id, used.guard.max_steps), episode_limit(env_id, asked.max_steps)
    if known < wanted:
        raise ConfigError(
            f"The guard of {asked.use} must be used in episodes of at most {known:g} steps, which its bounds and its "
            f"certificate are about; got {wanted:g}. Give --max-steps {known:g}, or learn another with --guard."
        )


def _remarks_on(used: Switcher, case: _Case) -> list[str]:
    """What a person should know of a switcher that was read."""
    if used.origin is None:
        return [
            "The switcher does not say what it was learned on, as it was saved before that was kept: whether this is "
            "its model, its environment and its cost weight could not be compared."
        ]
    remarks: list[str] = []
    if used.origin.weights_sha256 is None:
        remarks.append("The switcher was not learned on a model's modes: they could not be compared with these.")
    if used.origin.env_id != case.env_id:
        remarks.append(f"The switcher was learned in {used.origin.env_id}, not in {case.env_id}.")
    if used.origin.cost_weight != case.cost_weight:
        remarks.append(f"The switcher was learned with a cost weight of {used.origin.cost_weight:g}.")
    return remarks


def _require_read(asked: SwitchRequest) -> None:
    """Raises `ConfigError` for options that were given and have no effect beside the others."""
    is_bandit = asked.use is None and asked.method == "bandit"
    for names, is_read, beside in (
        (("method", "steps", "situation"), asked.use is None, "--out, which learns"),
        (("explore",), is_bandit, "--method bandit"),
        (("answers_weight",), is_bandit and asked.answers is not None, "--method bandit and --answers"),
        (("step_cost", "guard_episodes", "alpha"), asked.guard is not None, "--guard"),
    ):
        given = given_flags(asked, names)
        if given and not is_read:
            flag, value = next(iter(given.items()))
            raise ConfigError(f"{flag} must come with {beside}; got {value}, which has no effect here. Leave it out.")


def _require_fitting_options(asked: SwitchRequest) -> None:
    if (asked.out is None) == (asked.use is None):
        raise ConfigError("Either --out or --use must be given, and not both. --out DIR learns, --use DIR measures.")
    if asked.out is not None:
        require_free(asked.out)
    if (asked.guard is None) != (asked.max_cost is None) or (asked.guard is not None and asked.use is not None):
        raise ConfigError(
            "--guard and --max-cost must be given together, when a switcher is learned. Give both, or neither."
        )
    if asked.use is None and asked.method == "preferences" and asked.answers is None:
        raise ConfigError("--answers must be given with --method preferences; none were. Name the file of answers.")
    if asked.answers is not None and (asked.method in ("ppo", "actor_critic") or asked.use is not None):
        raise ConfigError(
            "--answers must come with --method preferences or bandit, to whose scores they can be added; got "
            f"{'--use' if asked.use is not None else asked.method}. Choose one of them, or leave the answers out."
        )
    _require_read(asked)


def _learned(case: _Case) -> tuple[Switcher, dict[str, Any]]:
    """A switcher, and what is told of its making."""
    asked, model = case.asked, case.model
    worlds = OptionWorlds(
        model,
        case.env_id,
        horizon_steps=asked.horizon_steps,
        cost_weight=case.cost_weight,
        n_envs=_N_ENVS,
        max_steps=asked.max_steps,
        seed=asked.seed,
    )
    try:
        reader = situation_reader(asked.situation, observations=_some_observations(worlds), env_id=case.env_id)
        preferences = None
        if asked.answers is not None:
            any_kind = asked.situation == "auto"
            preferences, reader = _answers_of(asked.answers, model.n_modes, reader, any_kind=any_kind)
        if asked.method == "preferences" and preferences is not None:
            chooser = PreferredModes(preferences)
            return Switcher(
                "preferences", reader, chooser, model.n_modes, asked.horizon_steps, origin=worlds.origin
            ), {}
        with progress("switch", asked.steps, "steps") as advance:
            switcher, told = _from_environment(asked, worlds, reader, advance)
        if preferences is not None and isinstance(switcher.chooser, LinearScores):
            both = LinearScores(switcher.chooser.weights + asked.answers_weight * preferences.weights)
            switcher = replace(switcher, method=f"{switcher.method} and preferences", chooser=both)
        return switcher, told
    finally:
        worlds.close()


def _without_costs(case: _Case) -> ConfigError:
    return ConfigError(
        f"--cost-weight needs an environment that tells costs, as info['cost']; {case.env_id} told none in any step. "
        "Leave it out, or wrap the environment so that it tells them."
    )


def _answers_of(
    path: Path, n_modes: int, reader: SituationReader, *, any_kind: bool
) -> tuple[Preferences, SituationReader]:
    """A person's preferences about these modes and features, and how situations were read when they were asked.

    Args:
        path: the file of answers.
        n_modes: of the model.
        reader: of these situations; where the file says how they were read, that is taken in its place.
        any_kind: whether the file may read them in another way.
    """
    found, own = load_answers(path)
    if own is not None and (len(own.center) != len(reader.center) or not (any_kind or own.kind == reader.kind)):
        raise ConfigError(
            f"{path} must read situations as {reader.kind}, of {len(reader.center)} columns; it reads them as "
            f"{own.kind}, of {len(own.center)}. Use the environment that was asked about, and --situation {own.kind}, "
            "or auto, which takes what the file says."
        )
    reader = own or reader
    if (found.n_modes, found.n_features) != (n_modes, len(reader.names)):
        raise ConfigError(
            f"{path} must be about {n_modes} modes and {len(reader.names)} features, those of --situation "
            f"{reader.kind}; it is about {found.n_modes} and {found.n_features}. Use the run, and the --situation, "
            "that was asked about."
        )
    return found, reader


def _from_environment(
    asked: SwitchRequest, worlds: OptionWorlds, reader: SituationReader, advance: Callable[[int], None]
) -> tuple[Switcher, dict[str, Any]]:
    """What is learned from rewards and costs, and what is told of it."""
    if asked.method == "bandit":
        switcher, history = train_bandit(
            worlds, reader, n_steps=asked.steps, seed=asked.seed, rule=asked.explore, on_progress=advance
        )
        return switcher, {"n_steps": history.n_steps, "regret": history.regret_json()}
    if asked.method == "actor_critic":
        train = train_actor_critic
    else:
        from unbraid.switching.ppo import train_switcher as train
    switcher = train(worlds, reader, n_steps=asked.steps, seed=asked.seed, on_progress=advance)
    return switcher, {"n_steps": asked.steps}


def _some_observations(worlds: OptionWorlds) -> np.ndarray:
    """What is seen while every mode acts in turn, for the scale of the columns."""
    seen = [worlds.begin(0)]
    for mode in range(worlds.n_modes):
        seen += [worlds.hold(np.full(worlds.n_envs, mode)).observations for _ in range(4)]
    return np.concatenate(seen)


def _guarded(case: _Case, switcher: Switcher, certified: Sequence[int]) -> Switcher:
    """The switcher with a guard, from fresh episodes in which it chose freely."""
    asked, policy = case.asked, SwitchedPolicy(case.model, switcher)
    seeds = fresh_seeds(asked.guard_episodes, seed=asked.seed + 1, avoid=collected_seeds(asked.run))
    free = evaluate_all({"free": policy}, case.env_id, seeds=seeds, max_steps=asked.max_steps)["free"]
    features, costs, episodes = _decisions(switcher.reader, free, switcher.horizon_steps)
    guard: Guard = make_guard(
        certified,
        asked.max_cost or 0.0,
        features=features,
        costs=costs,
        episodes=episodes,
        largest_cost=switcher.horizon_steps * asked.step_cost,
        settings=(4, asked.alpha, asked.seed),
    )
    return replace(switcher, guard=replace(guard, max_steps=asked.max_steps))


def _decisions(
    reader: SituationReader, found: Evaluation, horizon_steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every choice: what was seen, what it cost until the next, and the episode's place."""
    features, costs, episodes = [], [], []
    for place, episode in enumerate(found.rollouts.demos):
        if episode.costs is None:
            raise ConfigError(
                f"--guard needs an environment that tells costs; {found.env_id} tells none. Leave it out."
            )
        starts = np.arange(0, episode.n_steps, horizon_steps)
        features.append(reader.read(np.asarray(episode.observations[starts], dtype=np.float64)))
        costs.append(np.add.reduceat(np.asarray(episode.costs, dtype=np.float64), starts))
        episodes.append(np.full(len(starts), place))
    return np.concatenate(features), np.concatenate(costs), np.concatenate(episodes)


def _measured(case: _Case, switcher: Switcher) -> dict[str, Any]:
    """The switcher beside every mode alone, on the same seeds."""
    asked, model, weight = case.asked, case.model, case.cost_weight
    actors: dict[str, Any] = {_SWITCHER: SwitchedPolicy(model, switcher)}
    actors |= {f"mode {mode}": steer(model).toward(mode) for mode in range(model.n_modes)}
    seeds = fresh_seeds(asked.episodes, seed=asked.seed, avoid=collected_seeds(asked.run))
    found = evaluate_all(actors, case.env_id, seeds=seeds, max_steps=asked.max_steps)
    has_learned_costs = asked.use is None and asked.method != "preferences"
    if asked.cost_weight and not has_learned_costs and not any("cost" in one.values for one in found.values()):
        raise _without_costs(case)
    objective = {name: _objective(evaluation, weight) for name, evaluation in found.items()}
    best = max((name for name in found if name != _SWITCHER), key=lambda name: float(objective[name].mean()))
    shares, limited = _time_in_modes(switcher, found[_SWITCHER].rollouts.demos)
    return {
        "method": switcher.method,
        "env_id": case.env_id,
        "horizon_steps": switcher.horizon_steps,
        "cost_weight": weight,
        "actors": [
            {"name": name, "metrics": _metrics(evaluation, objective[name])} for name, evaluation in found.items()
        ],
        "best_mode": best,
        "gain": paired_difference(objective[_SWITCHER], objective[best]).to_json(),
        "shares": shares.tolist(),
        "guard": None if switcher.guard is None else switcher.guard.to_json(),
        "guarded": limited,
    }


def _objective(found: Evaluation, cost_weight: float) -> np.ndarray:
    return found.values["return"] - cost_weight * found.values.get("cost", np.zeros(len(found.seeds)))


def _metrics(found: Evaluation, objective: np.ndarray) -> Mapping[str, Any]:
    metrics = {name: found.metrics[name].to_json() for name in ("return", "cost") if name in found.metrics}
    return {**metrics, "objective": mean_interval(objective).to_json()}


def _time_in_modes(switcher: Switcher, rollouts: Demos) -> tuple[Float[np.ndarray, "mode"], float]:
    """The share of all steps in each mode, and the share of choices that the guard limited.

    An episode's last choice holds for as many steps as are left of it.
    """
    seen: list[np.ndarray] = []
    held: list[np.ndarray] = []
    for episode in rollouts:
        starts = np.arange(0, episode.n_steps, switcher.horizon_steps)
        seen.append(np.asarray(episode.observations[starts], dtype=np.float64))
        held.append(np.diff(starts, append=episode.n_steps))
    observations, n_steps = np.concatenate(seen), np.concatenate(held)
    of_modes = np.bincount(switcher.choose(observations), weights=n_steps, minlength=switcher.n_modes)
    if switcher.guard is None:
        return of_modes / n_steps.sum(), 0.0
    allowed = switcher.guard.allowed(switcher.reader.read(observations), switcher.n_modes)
    return of_modes / n_steps.sum(), float((~allowed.all(axis=1)).mean())
