"""Columns of observations by name: what a model was fitted on is what it reads, whatever the order it comes in."""

from collections.abc import Sequence
from typing import Any

from unbraid.core.errors import DataError

__all__ = ["columns_in_order", "names_in"]

_MOST_NAMED = 5
_OTHERWISE = (
    "Read these columns in the data (--obs, or --obs-columns for tables), rename them by "
    "save_demos(dataclasses.replace(demos, observation_names=...), path), or fit a model on these."
)


def columns_in_order(known: Sequence[str], given: Sequence[str]) -> tuple[int, ...] | None:
    """The place among the given columns of each that a model was fitted on; None where they are in order as they are,
    or one of the two has no names to go by.

    Args:
        known: the names of the columns that the model was fitted on; empty where they had none.
        given: those of the columns to be read, likewise.

    Raises:
        DataError: columns are missing, unknown, or share a name.
    """
    if not known or not given or tuple(known) == tuple(given):
        return None
    missing, unknown = _beyond(known, given), _beyond(given, known)
    if missing or unknown:
        told = [f"{what} {_listed(names)}" for what, names in (("lack", missing), ("hold", unknown)) if names]
        raise DataError(
            "Demonstrations must have the observation columns that the model was fitted on; these "
            f"{' and '.join(told)}{', which it does not know' if unknown else ''}. {_OTHERWISE}"
        )
    if len(set(given)) < len(given) or len(known) != len(given):
        twice = next(name for names in (given, known) for name in names if list(names).count(name) > 1)
        raise DataError(
            "Observation columns in another order than the model was fitted on must have names of their own to be "
            f"matched; {twice!r} comes twice. {_OTHERWISE}"
        )
    return tuple(given.index(name) for name in known)


def names_in(told: Any, n_columns: int) -> tuple[str, ...]:
    """The names of columns that a file tells: of all, or of none.

    Raises:
        ValueError: it tells other things.
    """
    if not isinstance(told, list) or len(told) not in (0, n_columns) or not all(isinstance(n, str) for n in told):
        raise ValueError(f"observation_names must name all {n_columns} columns or none")
    return tuple(told)


def _beyond(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The names that are not among the others, each once."""
    held = set(others)
    return [name for name in dict.fromkeys(names) if name not in held]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
