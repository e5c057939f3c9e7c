"""NPZ: one NumPy archive with the arrays of `unbraid.demos.arrays`, as flat as the store.

What `read_npz` takes:

- ``observations`` (sum of T + 1, obs): the final observation of each episode included. Without them, (sum of T, obs),
  pass ``drop_last_action=True``: each episode's last observation is then taken as its final one, and the action taken
  on it (with its reward and cost) is left out.
- ``actions`` (sum of T, act), floating-point.
- ``lengths`` (episode,): T of each; or ``episode_ends`` (episode,): the number of actions up to the end of each.
- optional: ``terminated`` (all False where absent), ``rewards``, ``costs``, ``seeds``, ``labels``, ``action_low``,
  ``action_high``.
- optional: ``meta``, a JSON text with ``format``, ``version``, ``label_names``, ``observation_names``, ``facts``.
  Labels without names are called "0", "1", ...

`write_npz` writes ``lengths`` and ``meta`` and loses nothing.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from unbraid.core.errors import DataError
from unbraid.core.runs import new_file
from unbraid.demos.arrays import OPTIONAL_ARRAYS, REQUIRED_ARRAYS, arrays_of, demos_from_arrays, names_from
from unbraid.demos.episodes import Demos

__all__ = ["read_npz", "write_npz"]

_FORMAT = "unbraid-npz"
_VERSION = 1
_REMEDY = "Restore it from a copy, or write it again."


def write_npz(demos: Demos, path: Path) -> Path:
    """Writes one uncompressed archive, whole or not at all.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    meta = {
        "format": _FORMAT,
        "version": _VERSION,
        "label_names": list(demos.label_names),
        "observation_names": list(demos.observation_names),
        "facts": demos.facts,
    }
    try:
        text = json.dumps(meta, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"`facts` must be JSON values; {error}. Keep to text, finite numbers, lists, dicts.") from None
    arrays = arrays_of(demos)
    with new_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, meta=np.array(text), **arrays)
    return path


def read_npz(path: Path, *, drop_last_action: bool = False) -> Demos:
    """Demonstrations from an archive in the layout above, in memory.

    Args:
        path: the ``.npz`` file.
        drop_last_action: for archives without final observations; see above.

    Raises:
        DataError: missing, truncated, of another layout or a newer version; arrays that do not fit together.
    """
    arrays = _read_arrays(path)
    meta = _read_meta(arrays.pop("meta", None), path)
    if "observations" not in arrays or "actions" not in arrays:
        raise DataError(
            f"{path} must hold `observations` and `actions`; it holds {', '.join(arrays) or 'nothing'}. Rename them."
        )
    lengths = _read_lengths(arrays, path)
    arrays["lengths"] = lengths
    arrays.setdefault("terminated", np.zeros(len(lengths), dtype=bool))
    facts = dict(meta["facts"])
    if len(arrays["observations"]) == lengths.sum() and lengths.sum() > 0:
        if not drop_last_action:
            raise DataError(
                f"Every episode of {path} must have one more observation than actions; got {lengths.sum()} rows of "
                f"`observations` for {lengths.sum()} actions in {len(lengths)} episodes. Append the final observation, "
                "or pass drop_last_action=True (--drop-last-action)."
            )
        arrays = _without_last_actions(arrays, path)
        facts["dropped_last_actions"] = True
    label_names = names_from(meta["label_names"], "label_names", path)
    labels = arrays.get("labels")
    if labels is not None and not label_names and labels.dtype.kind in "iu" and labels.size and labels.max() < 1000:
        label_names = tuple(str(i) for i in range(int(labels.max()) + 1))
    return demos_from_arrays(
        arrays,
        source=path,
        label_names=label_names,
        observation_names=names_from(meta["observation_names"], "observation_names", path),
        facts=facts,
    )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    wanted = (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS, "episode_ends", "meta")
    arrays: dict[str, np.ndarray] = {}
    name = "?"
    try:
        with open(path, "rb") as file:  # opened here, as np.load leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} must be an .npz archive; it is a single array. Write it with `numpy.savez`.")
            for name in wanted:
                if name in archive.files:
                    arrays[name] = archive[name]
            return arrays
    except FileNotFoundError:
        raise DataError(f"{path} must exist; there is no such file. Check the path.") from None
    except ValueError as error:
        if "Object arrays" in str(error):
            raise DataError(
                f"`{name}` of {path} must hold numbers; it holds Python objects, which are never read. Lay ragged "
                "episodes end to end, with `lengths`."
            ) from None
        raise DataError(f"{path} must be a whole .npz archive; it is none, or damaged. {_REMEDY}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise DataError(
            f"{path} must be a whole .npz archive; it is truncated or damaged ({error}). {_REMEDY}"
        ) from None
    except OSError as error:
        said = error.strerror or error
        raise DataError(f"{path} must be readable; the system said: {said}. {_REMEDY}") from error


def _read_meta(value: np.ndarray | None, path: Path) -> dict[str, Any]:
    meta: Any = {}
    if value is not None:
        try:
            meta = json.loads(str(value))
        except json.JSONDecodeError as error:
            raise DataError(f"`meta` of {path} must be JSON text; {error}. {_REMEDY}") from None
    version = meta.get("version", 1) if isinstance(meta, dict) else None
    if not isinstance(version, int) or not 1 <= version <= _VERSION or not isinstance(meta.get("facts", {}), dict):
        raise DataError(
            f"`meta` of {path} must have a version up to {_VERSION}; it has {version!r}. Use the unbraid that wrote "
            "it, or a newer one."
        )
    return {"label_names": [], "observation_names": [], "facts": {}} | meta


def _read_lengths(arrays: Mapping[str, np.ndarray], path: Path) -> Int[np.ndarray, "episode"]:
    name = "lengths" if "lengths" in arrays else "episode_ends"
    if name not in arrays:
        raise DataError(
            f"{path} must say where its episodes end; it has neither `lengths` nor `episode_ends`. Add `lengths`, the "
            "number of actions of each episode."
        )
    values = arrays[name]
    if values.ndim != 1 or (values.dtype.kind not in "iu" and len(values)):
        raise DataError(
            f"`{name}` of {path} must be one row of whole numbers; got shape {values.shape} of {values.dtype}. "
            "Give one number for each episode."
        )
    values = values.astype(np.int64)
    lengths = values if name == "lengths" else np.diff(values, prepend=0)
    if (lengths < 0).any():
        episode = int((lengths < 0).argmax())
        raise DataError(
            f"Episode {episode} of {path} must have at least 0 steps; `{name}` gives {lengths[episode]}. Ends must "
            "not decrease, lengths must not be negative."
        )
    n_actions = len(arrays["actions"])
    if lengths.sum() != n_actions:
        raise DataError(
            f"`{name}` of {path} must account for every action; it gives {lengths.sum()} steps in {len(lengths)} "
            f"episodes, and there are {n_actions} rows of `actions`. Repair `{name}`."
        )
    return lengths


def _without_last_actions(arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """T observations and T actions an episode -> T and T - 1; no episode ends by the world any more."""
    lengths = arrays["lengths"]
    if (lengths < 1).any():
        raise DataError(
            f"Episode {int((lengths < 1).argmax())} of {path} must have at least 1 step to drop the last action of; it "
            "has 0. Remove it from `lengths`."
        )
    kept = np.ones(int(lengths.sum()), dtype=bool)
    kept[np.cumsum(lengths) - 1] = False
    shortened = dict(arrays, lengths=lengths - 1, terminated=np.zeros(len(lengths), dtype=bool))
    for name in ("actions", "rewards", "costs"):
        if name in arrays:
            if len(arrays[name]) != len(kept):
                raise DataError(
                    f"`{name}` of {path} must have {len(kept)} rows, one for each action; got {len(arrays[name])}. "
                    "Repair it, or leave it out."
                )
            shortened[name] = arrays[name][kept]
    return shortened
