"""Our own words in the files of others: what a format has no place for, as one JSON text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.demos.arrays import names_from
from unbraid.demos.episodes import Demos

__all__ = ["Notes", "beside_the_format", "bounds_from", "bounds_noted", "notes_from", "notes_text"]

_VERSION = 1
_BESIDE = {
    "costs": "costs",
    "seeds": "seeds",
    "labels": "labels",
    "action_low": "action bounds",
    "observation_names": "names of columns",
    "facts": "facts",
}

Notes = dict[str, Any]
"""Arguments of `Demos`: label_names, observation_names, facts."""


def notes_text(demos: Demos, **more: Any) -> str:
    """The names and facts of `demos` as a JSON text.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
    """
    names = {"label_names": list(demos.label_names), "observation_names": list(demos.observation_names)}
    try:
        return json.dumps({"version": _VERSION, **more, **names, "facts": demos.facts}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"`facts` must be JSON values; {error}. Keep to text, finite numbers, lists, dicts.") from None


def notes_from(text: str | bytes, *, where: str, source: Path) -> Notes:
    """What such a text says, as arguments of `Demos`.

    Args:
        text: the JSON text; "{}" says nothing.
        where: the text's place in the file.
        source: the file or folder.

    Raises:
        DataError: it is not JSON, or of a newer version.
    """
    try:
        notes = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        remedy = "Restore it from a copy, or write it again."
        raise DataError(f"`{where}` of {source} must be JSON text; {error}. {remedy}") from None
    version = notes.get("version", 1) if isinstance(notes, dict) else None
    if not isinstance(version, int) or not 1 <= version <= _VERSION or not isinstance(notes.get("facts", {}), dict):
        raise DataError(
            f"`{where}` of {source} must have a version up to {_VERSION}; it has {version!r}. Use the unbraid that "
            "wrote it, or a newer one."
        )
    return {
        "label_names": names_from(notes.get("label_names", []), f"{where} label_names", source),
        "observation_names": names_from(notes.get("observation_names", []), f"{where} observation_names", source),
        "facts": dict(notes.get("facts", {})),
    }


def bounds_noted(demos: Demos) -> dict[str, Any]:
    """The actuators' bounds as JSON values, for `notes_text`: as texts, since JSON has no word for infinity."""
    noted: dict[str, Any] = {}
    for name in ("action_low", "action_high"):
        values = getattr(demos, name)
        if values is not None:
            noted[name] = {"dtype": values.dtype.name, "values": [repr(value) for value in values.tolist()]}
    return noted


def bounds_from(notes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What `bounds_noted` noted, as arrays by name."""
    noted = {name: notes[name] for name in ("action_low", "action_high") if name in notes}
    return {
        name: np.array([float(value) for value in kept["values"]], dtype=np.dtype(kept["dtype"]))
        for name, kept in noted.items()
    }


def beside_the_format(
    demos: Demos, *, place: str, held: tuple[str, ...] = (), lacks: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Sentences on what is kept where only unbraid looks; none where there is nothing of that kind.

    Args:
        demos: what is written.
        place: where it is kept.
        held: fields that the format has a place of its own for.
        lacks: "rewards" and "terminated", where the format has none for what most have.
    """
    beside = ({"rewards": "rewards"} if "rewards" in lacks else {}) | _BESIDE
    kept = [what for name, what in beside.items() if name not in held and _is_there(getattr(demos, name))]
    told = [", ".join(kept)] if kept else []
    if "terminated" in lacks and demos.terminated.any():  # apart: of some parts of a set it may be so, of others not
        told.append("how an episode ended")
    return tuple(f"It has no place for {what}: kept in {place}, where only unbraid looks." for what in told)


def _is_there(value: Any) -> bool:
    return value is not None and len(value) > 0
