"""The store: a folder of ``.npy`` arrays and one ``demos.json``, memory-mapped on reading.

::

    FOLDER/  demos.json         format "unbraid-demos", version, what arrays there are, names of columns, facts
             observations.npy   and the other arrays of `unbraid.demos.arrays`, one file each
             labels.npy         who acted, and labels.json with the experts' names: kept apart, so that removing
             labels.json        these two leaves the same demonstrations without labels

The version is raised when an older unbraid would misread a newer store; a new optional file does not raise it.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import read_json
from unbraid.demos.arrays import OPTIONAL_ARRAYS, REQUIRED_ARRAYS, demos_from_arrays, names_from
from unbraid.demos.episodes import Demos
from unbraid.demos.writing import STORE_FORMAT, STORE_VERSION, save_parts

__all__ = ["load_demos", "save_demos"]

_MAPPED = ("observations", "actions", "rewards", "costs")


def save_demos(demos: Demos, path: str | os.PathLike[str]) -> Path:
    """Writes a store, whole or not at all, and returns its folder.

    Args:
        demos: what to write; may itself be memory-mapped.
        path: the folder; must not exist.

    Raises:
        DataError: `demos.facts` holds what JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    return save_parts([demos], path)


def load_demos(
    path: str | os.PathLike[str],
    *,
    in_memory: bool = False,
    drop_last_action: bool = False,
    max_episode_steps: int | None = None,
) -> Demos:
    """Demonstrations from a store's folder, an ``.npz`` file, or an ``.hdf5``/``.h5`` file in D4RL's flat layout.

    A store is memory-mapped: opening it reads the headers, not the rows. `unbraid.demos.check.check_demos` looks at
    every row.

    Args:
        path: the folder or file.
        in_memory: read a store's arrays into memory instead of mapping them.
        drop_last_action: for an ``.npz`` without final observations: leave out each episode's last action.
        max_episode_steps: for a D4RL file without `timeouts`: the time limit that ended its episodes.

    Raises:
        DataError: missing, damaged, of another program or of a newer version; the message names file and field.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} must exist; there is nothing there. Check the path, or record with `unbraid collect`.")
    if path.is_dir():
        return _load_store(path, in_memory=in_memory)
    if path.suffix.lower() == ".npz":
        from unbraid.demos.formats.npz import read_npz

        return read_npz(path, drop_last_action=drop_last_action)
    if path.suffix.lower() in (".hdf5", ".h5", ".hdf"):
        from unbraid.demos.formats.d4rl import read_d4rl

        return read_d4rl(path, max_episode_steps=max_episode_steps)
    raise DataError(
        f"{path} must be a store's folder, an .npz file or an .hdf5 file in D4RL's layout; got a file that ends in "
        f"{path.suffix!r}. Give the folder that holds demos.json, or convert the file."
    )


def _load_store(path: Path, *, in_memory: bool) -> Demos:
    if not (path / "demos.json").is_file():
        raise DataError(
            f"{path} must be a store written by unbraid, with a demos.json; there is none. Give the folder that "
            "holds demos.json, or write one with `save_demos`."
        )
    index = _read_index(path / "demos.json")
    arrays: dict[str, np.ndarray] = {}
    for name in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS):
        if name in index["arrays"]:
            values = _open_array(path / f"{name}.npy")
            _require_as_written(values, index["arrays"][name], path / f"{name}.npy")
            arrays[name] = values if name in _MAPPED and not in_memory else np.array(values)
    label_names: tuple[str, ...] = ()
    if (path / "labels.npy").exists() or (path / "labels.json").exists():
        label_names = _read_label_names(path / "labels.json")
        if (path / "labels.npy").exists():
            arrays["labels"] = np.array(_open_array(path / "labels.npy"))
    return demos_from_arrays(
        arrays,
        source=path,
        label_names=label_names,
        observation_names=names_from(index.get("observation_names", []), "observation_names", path / "demos.json"),
        facts=index.get("facts", {}),
    )


def _read_index(path: Path) -> dict[str, Any]:
    index = read_json(path, error=DataError, remedy="Restore it from a copy, or write the demonstrations again.")
    if not isinstance(index, dict) or index.get("format") != STORE_FORMAT:
        raise DataError(f"{path} must say format {STORE_FORMAT!r}; it does not. Give a folder written by unbraid.")
    version = index.get("version")
    if not isinstance(version, int) or not 1 <= version <= STORE_VERSION:
        raise DataError(
            f"{path} must have a version up to {STORE_VERSION}; it has {version!r}. Use the unbraid that wrote it, or "
            "a newer one."
        )
    arrays = index.get("arrays")
    if not isinstance(arrays, dict) or not isinstance(index.get("facts", {}), dict):
        raise DataError(f"{path} must list its `arrays` and `facts`; it does not. Restore it from a copy.")
    for name in REQUIRED_ARRAYS:
        if name not in arrays:
            raise DataError(f"{path} must list the array `{name}`; it does not. Restore it from a copy.")
    return index


def _read_label_names(path: Path) -> tuple[str, ...]:
    remedy = "Restore it, or remove labels.npy too to have the demonstrations without labels."
    names = read_json(path, error=DataError, remedy=remedy)
    return names_from(names.get("label_names") if isinstance(names, dict) else names, "label_names", path)


def _open_array(path: Path) -> np.ndarray:
    """An ``.npy`` file, memory-mapped and read-only; never unpickled."""
    remedy = "Restore it from a copy, or write the demonstrations again."
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError(f"{path} must exist; the store's file is missing. {remedy}") from None
    except (ValueError, EOFError) as error:
        if "Python objects" in str(error):
            raise DataError(f"{path} must hold numbers; it holds Python objects, which are never read.") from None
        raise DataError(f"{path} must be a whole .npy array; it is truncated or damaged ({error}). {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} must be readable; the system said: {error.strerror}. {remedy}") from error


def _require_as_written(values: np.ndarray, entry: object, path: Path) -> None:
    wanted = entry if isinstance(entry, dict) else {}
    if list(values.shape) != wanted.get("shape") or values.dtype.name != wanted.get("dtype"):
        raise DataError(
            f"{path} must be as demos.json lists it, shape {wanted.get('shape')} of {wanted.get('dtype')}; got shape "
            f"{list(values.shape)} of {values.dtype.name}. Write the demonstrations again with `save_demos`."
        )
