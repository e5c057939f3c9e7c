"""Demonstrations as named arrays: the one list of names that the store and the file formats share.

==============  ===================  ===========================================================================
name            shape                meaning
==============  ===================  ===========================================================================
observations    (sum of T + 1, obs)  episode after episode, the final observation of each included
actions         (sum of T, act)      episode after episode
lengths         (episode,)           T, the number of actions of each episode
terminated      (episode,)           whether the world ended it (as opposed to a time limit)
rewards, costs  (sum of T,)          optional
seeds           (episode,)           optional: what the world was reset with
labels          (episode,)           optional: who acted
action_low      (act,)               optional: the actuators' bounds, with action_high
==============  ===================  ===========================================================================
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos
from unbraid.demos.fields import require_labels, require_rows

__all__ = [
    "EPISODE_ARRAYS",
    "OPTIONAL_ARRAYS",
    "REQUIRED_ARRAYS",
    "STEP_ARRAYS",
    "arrays_of",
    "demos_from_arrays",
    "labels_and_names",
    "names_from",
    "one_row",
    "require_dtype",
    "require_flags",
    "require_form",
    "without_last_actions",
]

REQUIRED_ARRAYS = ("observations", "actions", "lengths", "terminated")
OPTIONAL_ARRAYS = ("rewards", "costs", "seeds", "labels", "action_low", "action_high")
STEP_ARRAYS = ("actions", "rewards", "costs")
EPISODE_ARRAYS = ("lengths", "terminated", "seeds", "labels")

_KINDS = {"lengths": "integer", "seeds": "integer", "labels": "integer", "terminated": "boolean"}
_AXES = {"observations": 2, "next_observations": 2, "actions": 2}


def arrays_of(demos: Demos) -> dict[str, np.ndarray]:
    """The arrays that `demos` has, by name."""
    arrays = {name: getattr(demos, name) for name in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS)}
    return {name: values for name, values in arrays.items() if values is not None}


def demos_from_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    source: Path,
    label_names: tuple[str, ...] = (),
    observation_names: tuple[str, ...] = (),
    facts: dict[str, Any] | None = None,
) -> Demos:
    """`Demos` of arrays that came from a file; every message names the file.

    Whole numbers, and true and false, are taken for observations, rewards and costs and become float64; actions must be
    continuous.

    Args:
        arrays: by the names above; others are not looked at.
        source: the file or folder they came from.

    Raises:
        DataError: an array is missing, or of a kind or shape that does not fit the others.
    """
    for name in REQUIRED_ARRAYS:
        if name not in arrays:
            raise DataError(f"{source} must hold `{name}`; it is missing. Add it, or write the file again.")
    require_form(arrays, source)
    known = {n: require_dtype(n, arrays[n], source) for n in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS) if n in arrays}
    try:
        return Demos(**known, label_names=label_names, observation_names=observation_names, facts=facts or {})
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def require_form(arrays: Mapping[str, np.ndarray], source: Path) -> None:
    """Sees that arrays fit together, by their shapes and types alone: before large ones are read.

    Args:
        arrays: by the names above, `lengths` among them, whose numbers are looked at.
        source: the file or folder they are in, for the message.

    Raises:
        DataError: an array is of a kind, or has a number of axes or rows, that it must not have.
    """
    for name in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS):
        if name in arrays:
            _dtype_of(name, arrays[name], source)
    try:
        require_rows(arrays, arrays["lengths"])
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def require_dtype(name: str, values: np.ndarray, source: Path) -> np.ndarray:
    """`values` in the type and with the number of axes that the array of this name must have; a table of one column is
    taken for the one row of numbers that it holds.

    Raises:
        DataError: Python objects, text or complex numbers; whole numbers for actions; a wrong number of axes; numbers
            that do not fit in 64 bits with a sign.
    """
    dtype = _dtype_of(name, values, source)
    if dtype.kind == "i" and values.dtype.kind == "u" and (values > np.iinfo(np.int64).max).any():
        raise DataError(f"`{name}` of {source} must fit in 64 bits with a sign; got {values.max()}. Leave them out.")
    return (values if name in _AXES else one_row(values)).astype(dtype, copy=False)


def one_row(values: np.ndarray) -> np.ndarray:
    """A table of one column as the one row of numbers that is meant; others as they are."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def require_flags(values: np.ndarray, name: str, source: Path) -> None:
    """Raises `DataError` where a flag of a step is NaN, which would count as true."""
    missing = np.flatnonzero(np.isnan(values))
    if len(missing):
        raise DataError(
            f"`{name}` of {source} must be 0 or 1 at every step; it is {values[missing[0]]} at row {missing[0]}. "
            "Repair it."
        )


def _dtype_of(name: str, values: np.ndarray, source: Path) -> np.dtype:
    """The type that the array of this name becomes."""
    n_axes = _AXES.get(name, 1)
    if (values if name in _AXES else one_row(values)).ndim != n_axes:
        wanted = "a table (row, column)" if n_axes == 2 else "one row of numbers"
        raise DataError(f"`{name}` of {source} must be {wanted}; got shape {values.shape}. Reshape it.")
    wanted, kind = _KINDS.get(name, "floating-point"), values.dtype.kind
    if wanted == "boolean" and kind in "biu":
        return np.dtype(bool)
    if wanted == "integer" and (kind in "iu" or len(values) == 0):
        return np.dtype(np.int64)
    if wanted == "floating-point" and kind == "f":
        return values.dtype.newbyteorder("=") if values.dtype.itemsize <= 8 else np.dtype(np.float64)
    if wanted == "floating-point" and kind in "biu" and name != "actions":
        return np.dtype(np.float64)
    if name == "actions" and kind in "iu":
        remedy = (
            "This release covers continuous actions only: if they are continuous, convert them to float; if they are "
            "a choice among few, choose another data set."
        )
    elif name == "actions" and kind == "b":
        remedy = "This release covers continuous actions only; choose a data set that has them."
    elif kind == "O":
        remedy = "Arrays of Python objects are never read; lay ragged episodes end to end, with `lengths`."
    else:
        remedy = f"Convert it to {wanted} numbers."
    raise DataError(f"`{name}` of {source} must be {wanted}; got {values.dtype}. {remedy}")


def without_last_actions(
    arrays: Mapping[str, np.ndarray], lengths: Int[np.ndarray, "episode"]
) -> dict[str, np.ndarray]:
    """T observations and T actions an episode -> T and T - 1: the last observation is what the last action but one led
    to, and what the last action led to was never recorded. Episodes of fewer than two steps are left out, and as the
    step that is left out is the one that ended it, no episode counts as terminated.

    Args:
        arrays: by the names above, `observations` with (sum of T) rows; `lengths` and `terminated` are made anew.
        lengths: (episode,) T of each.
    """
    kept = lengths > 1
    rows = np.repeat(kept, lengths)
    steps = rows.copy()
    steps[np.cumsum(lengths)[lengths > 0] - 1] = False
    shorter = {name: values for name, values in arrays.items() if name in ("action_low", "action_high")}
    shorter |= {name: arrays[name][steps] for name in STEP_ARRAYS if name in arrays}
    shorter |= {name: arrays[name][kept] for name in ("seeds", "labels") if name in arrays}
    shorter["observations"] = arrays["observations"][rows]
    shorter["lengths"] = lengths[kept] - 1
    shorter["terminated"] = np.zeros(int(kept.sum()), dtype=bool)
    return shorter


def labels_and_names(
    values: np.ndarray, names: tuple[str, ...], key: str, source: Path
) -> tuple[Int[np.ndarray, "episode"], tuple[str, ...]]:
    """(episode,) who acted as indices into `names`, and the names; where there are none, experts are called by their
    numbers.

    Args:
        values: (episode,) what a file says: whole numbers in any type.
        names: the experts' names, or none.
        key: how the file calls the array.
        source: the file or folder.

    Raises:
        DataError: something else than whole numbers from 0 on, or a number that has no name.
    """
    values = one_row(values)
    if values.ndim != 1 or values.dtype.kind not in "biuf":
        raise DataError(
            f"`{key}` of {source} must be one whole number for each episode; got shape {values.shape} of "
            f"{values.dtype}. Convert it, or drop the array."
        )
    numbers = values.astype(np.float64)
    astray = np.flatnonzero(~(np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= 0)))
    if len(astray):
        episode = int(astray[0])
        raise DataError(
            f"`{key}` of {source} must say who acted, by a whole number from 0 on; it gives episode {episode} "
            f"{values[episode]}. Number the experts; or drop the array where it is not known of every episode who "
            "acted: nothing is learned from it."
        )
    if not names:
        distinct, labels = np.unique(values.astype(np.uint64), return_inverse=True)
        return labels.reshape(-1).astype(np.int64), tuple(str(number) for number in distinct.tolist())
    labels = values.astype(np.int64)
    try:
        require_labels(labels, len(names))
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    return labels, names


def names_from(value: object, what: str, source: Path) -> tuple[str, ...]:
    """A list of strings that came from a file.

    Raises:
        DataError: it is no list of strings.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise DataError(f"`{what}` of {source} must be a list of names; got {value!r:.80}. Write it again.")
    return tuple(str(name) for name in value)
