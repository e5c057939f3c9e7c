"""What the step of an environment tells, checked where it comes in: numbers that are none are said with their place."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from unbraid.core.errors import WorldError

__all__ = ["observed", "one_number", "reward_and_cost"]

_REMEDY = "Find out why the environment gives that, or wrap it so that it does not"


def one_number(value: Any, what: str, remedy: str) -> float:
    """One number, also where it is an array of one.

    Args:
        value: what was told.
        what: it is, for a person.
        remedy: what to do about it, without a full stop.

    Raises:
        WorldError: it is no number, or several.
    """
    if isinstance(value, float):  # NumPy's, too; as nearly every environment has it, in every step
        return float(value)
    try:
        number = np.asarray(value)
    except ValueError:  # lists of several lengths
        number = np.asarray(None)
    if number.size != 1 or number.dtype.kind not in "biuf":
        raise WorldError(
            f"{what} must be one number; got {value!r:.60}, shape {number.shape} of {number.dtype}. {remedy}."
        )
    return float(number.reshape(()))


def reward_and_cost(reward: Any, info: Mapping[str, Any], place: str) -> tuple[float, float | None]:
    """What a step brought: its reward, and its cost, None where `info` tells none or None.

    Args:
        reward: as `step` gave it.
        info: likewise.
        place: which step of which environment, for a person.

    Raises:
        WorldError: one of them is not one finite number.
    """
    cost = info.get("cost")
    told = None if cost is None else _finite(cost, f'The cost (`info["cost"]`) of {place}')
    return _finite(reward, f"The reward of {place}"), told


def observed(observation: Any, size: int, place: str) -> Float[np.ndarray, "obs"]:
    """What was seen, as numbers that are finite as float32, which is what networks compute with.

    Args:
        observation: as `reset` or `step` gave it.
        size: how many numbers it must have.
        place: which step of which environment, for a person.

    Raises:
        WorldError: it has others.
    """
    try:
        seen = np.asarray(observation, dtype=np.float64)
    except (TypeError, ValueError):
        seen = np.zeros(0)
    if seen.shape != (size,):
        raise WorldError(
            f"The observation of {place} must be {size} numbers, as its space says; got {observation!r:.60}. {_REMEDY}."
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(seen.astype(np.float32))
    if not finite.all():
        column = int(finite.argmin())
        raise WorldError(
            f"The observation of {place} must be finite, as float32, too; column {column} is {seen[column]}. {_REMEDY}."
        )
    return seen


def _finite(value: Any, what: str) -> float:
    number = one_number(value, what, _REMEDY)
    if not np.isfinite(number):
        raise WorldError(f"{what} must be finite; got {number}. {_REMEDY}.")
    return number
