"""The environment that a run is measured in: the one that was asked for, else that of its demonstrations; and in how
many episodes, of how many steps."""

from pathlib import Path
from typing import Any

from unbraid.core.errors import ConfigError, WorldError
from unbraid.core.numbers import MOST_EPISODES, require_whole
from unbraid.demos.altered import ALTERED
from unbraid.evaluation.evaluate import require_fitting_world
from unbraid.report.record import results_if_any
from unbraid.training.model import ModeModel
from unbraid.worlds.making import spec_of

__all__ = ["environment_entry", "environment_of", "require_possible_numbers"]

_OURS = "unbraid/PointGoal1-v0"
_EPISODES = ("episodes", "guard_episodes", "max_episodes")


def environment_entry(facts: dict[str, Any]) -> dict[str, Any]:
    """What a run keeps of the environment of its demonstrations: the id, where that alone makes it; else in words how
    it differs, and no id, so that nobody acts in another one unasked."""
    return {"env_id": None, ALTERED: facts[ALTERED]} if facts.get(ALTERED) else {"env_id": facts.get("env_id")}


def environment_of(run: Path, asked: str | None, model: ModeModel) -> str:
    """The id that was asked for, else the one that the run's demonstrations name; where they name none, PointGoal1 if
    the model has its widths.

    Raises:
        WorldError: the environment does not fit the model, or that of the demonstrations is not registered here.
        ConfigError: none is known, or the id alone does not make that of the demonstrations.
    """
    data = _recorded(run)
    known = asked or data.get("env_id")
    if known is None and data.get(ALTERED):
        raise ConfigError(
            f"The environment must be named: the demonstrations of {run} were recorded in {data[ALTERED]}, which "
            "its id alone does not make. Register one that is made so, in a module, and give --env module:Name-v0; or "
            "name another."
        )
    if known is None:
        try:
            require_fitting_world(model, _OURS)
        except WorldError:
            raise ConfigError(
                f"The environment must be named: {run} does not say where its demonstrations came from, and its model "
                f"of {model.observation_size} observation and {model.action_size} action columns does not fit {_OURS}. "
                "Give --env."
            ) from None
        return _OURS
    if asked is None:
        try:
            spec_of(known)
        except WorldError as error:
            raise WorldError(
                f"{error} It is where the demonstrations of {run} came from: give --env to name it as it is known "
                "here, or another one."
            ) from None
    require_fitting_world(model, known)
    return known


def require_possible_numbers(asked: object) -> None:
    """Raises `ConfigError` that names the option, where episodes or steps were asked for in impossible numbers."""
    for name in (*_EPISODES, "max_steps"):
        value = getattr(asked, name, None)
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            require_whole(option, value, most=MOST_EPISODES if name in _EPISODES else None)


def _recorded(run: Path) -> dict[str, str]:
    """What the run's results say of the environment of its demonstrations, as far as they do."""
    found: dict[str, Any] = results_if_any(run).get("data") or {}
    return {name: str(found[name]) for name in ("env_id", ALTERED) if found.get(name)}
