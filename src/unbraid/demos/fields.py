"""The fields of an episode or of a pile, as they are given: made the arrays that they must be, or refused."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from os import PathLike
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError

__all__ = [
    "chosen_numbers",
    "kind_of",
    "labels_of",
    "require_flat",
    "require_labels",
    "require_names",
    "require_rows",
    "rows_of",
    "said_lacking",
    "said_partial",
    "taken_bounds",
    "taken_flag",
    "taken_of_episodes",
    "taken_one",
    "taken_table",
]

_NUMBERS = "biuf"
"""NumPy's kinds of numbers: of true and false, whole ones, and decimals."""
_OF_EPISODES = {"lengths": "iu", "terminated": "biuf", "seeds": "iu", "labels": "iu"}
"""The arrays with one entry for each episode, and the kinds of numbers that they may hold."""


def kind_of(value: object) -> str:
    """What something is, for a message: "a list of Episode", "the path 'runs/pile'"."""
    if isinstance(value, str | PathLike):
        return f"the path {str(value)!r:.80}"
    kind = type(value).__name__
    if isinstance(value, list | tuple) and value:
        kind += f" of {type(value[0]).__name__}"
    return "None" if value is None else f"{'an' if kind[0] in 'AEIOUaeiou' or kind == 'ndarray' else 'a'} {kind}"


def taken_table(value: Any, name: str, whose: str) -> np.ndarray:
    """Numbers as an array, which stays what it is where it is one already, mapped ones too; but decimals of more than
    64 bits become float64, as no format of others and no fit takes more.

    Args:
        value: an array, or lists of numbers.
        name: the field.
        whose: what has it, for the message.

    Raises:
        DataError: no numbers, rows of several lengths; or whole numbers for actions.
    """
    try:
        values = value if isinstance(value, np.ndarray) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of different lengths; a tensor on a GPU
        remedy = "Give every row as many."
        if hasattr(value, "detach"):
            remedy = "Convert it: tensor.detach().cpu().float().numpy()."
        said = str(error).rstrip(".")
        raise DataError(f"{whose}{name} must be an array of numbers; {said}. {remedy}") from None
    if values.dtype.kind not in _NUMBERS:
        raise DataError(
            f"{whose}{name} must be an array of numbers; got {kind_of(value)} of {values.dtype}. Convert it, as "
            "with numpy.asarray(..., dtype=numpy.float64)."
        )
    if name == "actions" and values.dtype.kind != "f":
        raise DataError(
            f"{whose}actions must be continuous; got {values.dtype}, as a choice among few would be. If they are "
            "continuous, convert them to float; a choice among few is not covered in this release."
        )
    return values.astype(np.float64) if values.dtype.kind == "f" and values.dtype.itemsize > 8 else values


def require_flat(observations: np.ndarray, actions: np.ndarray, *, rows: tuple[str, str]) -> None:
    """Raises `DataError` where tables of steps are no tables; `rows` says how many rows each must have."""
    if observations.ndim == 2 and actions.ndim == 2:
        return
    remedy = "Flatten what has more axes."
    if min(observations.ndim, actions.ndim) < 2:
        remedy = "Numbers of one column are a table, too: values.reshape(-1, 1)."
    raise DataError(
        f"Observations and actions must be flat tables, ({rows[0]}, obs) and ({rows[1]}, act); got shapes "
        f"{observations.shape} and {actions.shape}. {remedy}"
    )


def taken_of_episodes(value: Any, name: str) -> np.ndarray:
    """(episode,) lengths, ends, seeds or labels as an array.

    Raises:
        DataError: not one row of such numbers.
    """
    kinds = _OF_EPISODES[name]
    try:
        values = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        values = np.zeros((0, 0))
    unknown = values.dtype.kind == "f" and bool(np.isnan(values).any())  # which would count as true
    if values.ndim != 1 or unknown or (values.dtype.kind not in kinds and len(values)):
        what = "true or false" if "b" in kinds else "one whole number"
        raise DataError(
            f"`{name}` must hold {what} for each episode; got shape {values.shape} of {values.dtype}. Convert it first."
        )
    dtype = np.dtype(bool) if "b" in kinds else np.dtype(np.int64)
    wider = values.dtype.kind == "u" and (values > np.iinfo(np.int64).max).any()
    if wider:
        raise DataError(f"`{name}` must fit in 64 bits with a sign; got {values.max()}. Leave them out.")
    return values if values.dtype == dtype else values.astype(dtype)


def taken_bounds(value: Any) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of actions, (low, high), each (act,).

    Raises:
        DataError: they are no two of such.
    """
    try:
        low, high = (np.asarray(bound, dtype=np.float64) for bound in value)
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"`action_bounds` must be (low, high), each with one number for each actuator; got {value!r:.80}. Give "
            "those of the environment's action space."
        ) from None
    return low, high


def taken_flag(value: Any) -> bool:
    """True or false, also as a number, or as an array of one: Gymnasium, NumPy and replay buffers have all of these.

    Raises:
        DataError: it is something else, or NaN, which would count as true.
    """
    if isinstance(value, bool):
        return value
    try:
        flag = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):
        flag = np.zeros(0)
    if flag.size != 1 or flag.dtype.kind not in _NUMBERS or np.isnan(flag).any():
        raise DataError(
            f"An episode's terminated must be true or false; got {value!r:.80}. Say whether the world ended it, at its "
            "last step."
        )
    return bool(flag.reshape(()))


def taken_one(value: Any, name: str, remedy: str) -> int:
    """One whole number, of whatever type; an array of no axes is one, too.

    Raises:
        DataError: it is something else.
    """
    try:
        return index(value)
    except TypeError:
        raise DataError(f"An episode's {name} must be a whole number; got {value!r:.80}. {remedy}") from None


def require_names(names: Any, what: str) -> tuple[str, ...]:
    """Names as a tuple; of None, none.

    Raises:
        DataError: a single text, or what is no text among them.
    """
    if names is None:
        return ()
    given: tuple[Any, ...] | None = None
    if isinstance(names, Iterable) and not isinstance(names, str):
        given = tuple(names)  # once: what is made as it is read is then gone
    if given is None or not all(isinstance(name, str) for name in given):
        raise DataError(f"`{what}` must be a list of texts; got {given or names!r:.80}. Give a text for each.")
    return tuple(str(name) for name in given)


def labels_of(
    labels: Sequence[int | None], names: Sequence[str]
) -> tuple[Int[np.ndarray, "episode"] | None, tuple[str, ...]]:
    """(episode,) the labels where every episode has one, and the names; without any, each number is a name."""
    if any(label is None for label in labels):
        return None, tuple(names)
    numbers = np.asarray(labels, dtype=np.int64)
    if names or (numbers < 0).any():  # which is refused
        return numbers, tuple(names)
    distinct, indices = np.unique(numbers, return_inverse=True)
    return indices.reshape(-1).astype(np.int64), tuple(str(number) for number in distinct.tolist())


def said_partial(episodes: Sequence[Any]) -> list[str]:
    """Sentences on what only some of the episodes have, so that it is kept of none."""
    said: list[str] = []
    for what, name in (("Rewards", "rewards"), ("Costs", "costs"), ("Seeds", "seed"), ("Labels", "label")):
        said += said_lacking(what, [getattr(episode, name) is not None for episode in episodes])
    return said


def said_lacking(what: str, there: Sequence[bool]) -> list[str]:
    """A sentence on what only some of the episodes have; none where all have it, or none has."""
    lacking = [i for i, has in enumerate(there) if not has]
    if not 0 < len(lacking) < len(there):
        return []
    have = "has" if len(lacking) == 1 else "have"
    return [f"{what} are left out: {len(lacking)} of {len(there)} episodes {have} none, episode {lacking[0]} first."]


def chosen_numbers(episodes: Any, n_episodes: int) -> Int[np.ndarray, "chosen"]:
    """(chosen,) the numbers of episodes: given as such, as a slice, or as one true or false for each.

    Raises:
        DataError: something else, or a number that does not exist.
    """
    if isinstance(episodes, slice):
        return np.arange(n_episodes, dtype=np.int64)[episodes]
    try:
        chosen = np.asarray(episodes)
    except (ValueError, TypeError, RuntimeError):
        chosen = np.zeros((0, 0))
    if chosen.ndim != 1 or (chosen.dtype.kind not in "biu" and len(chosen)):
        raise DataError(
            f"Episodes must be chosen by a list of whole numbers, or by a true or false for each; got "
            f"{kind_of(episodes)}. Give numbers in [0, {n_episodes})."
        )
    if chosen.dtype.kind == "b":
        if len(chosen) != n_episodes:
            raise DataError(
                f"A choice by true and false must have one for each of {n_episodes} episodes; got {len(chosen)}. Give "
                "all, or the numbers of the episodes."
            )
        return np.flatnonzero(chosen)
    out_of_range = (chosen < 0) | (chosen >= n_episodes)
    if out_of_range.any():
        raise DataError(
            f"Episodes must lie in [0, {n_episodes}); got {chosen[out_of_range][0]}. Choose some that exist."
        )
    return chosen.astype(np.int64)


def require_labels(labels: Int[np.ndarray, "episode"], n_names: int) -> None:
    """Raises `DataError` where a label is no index into so many names of experts."""
    astray = np.flatnonzero((labels < 0) | (labels >= n_names))
    if len(astray) == 0:
        return
    episode = int(astray[0])
    if labels[episode] < 0:
        raise DataError(
            f"`labels` must not be negative; episode {episode} has {labels[episode]}. Drop `labels` where it is not "
            "known of every episode who acted: nothing is learned from them."
        )
    there = f"lie in [0, {n_names}), one for every name in" if n_names else "be named in"
    raise DataError(
        f"`labels` must {there} `label_names`; episode {episode} has {labels[episode]}"
        f"{'' if n_names else ', and there are no names'}. Name every expert, or drop `labels`."
    )


def require_rows(arrays: Mapping[str, Any], lengths: Int[np.ndarray, "episode"]) -> None:
    """Raises `DataError` where an array has not the rows that (episode,) `lengths` ask of the array of its name."""
    if (lengths < 0).any():
        episode = int((lengths < 0).argmax())
        raise DataError(
            f"Every episode must have 0 steps or more; `lengths` gives episode {episode} {lengths[episode]}. Repair "
            "`lengths`."
        )
    n_episodes, n_steps = len(lengths), int(lengths.sum())
    rows = {"observations": n_steps + n_episodes, "actions": n_steps, "rewards": n_steps, "costs": n_steps}
    rows |= {"terminated": n_episodes, "seeds": n_episodes, "labels": n_episodes}
    for name, expected in rows.items():
        values = arrays.get(name)
        if values is not None and (np.ndim(values) == 0 or len(values) != expected):
            has = len(values) if np.ndim(values) else "one number"
            raise DataError(
                f"`{name}` must have {expected} rows for {n_episodes} episodes of {n_steps} steps in all "
                f"(observations have one row more than actions in every episode); got {has}. "
                "Repair `lengths`, or append the final observations."
            )


def rows_of(starts: Int[np.ndarray, "episode_and_one"], chosen: Int[np.ndarray, "chosen"]) -> Int[np.ndarray, "row"]:
    """The flat rows of the chosen episodes, in order."""
    lengths = starts[chosen + 1] - starts[chosen]
    offsets = np.repeat(starts[chosen] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return offsets + np.arange(lengths.sum())
