"""The store: a folder of ``.npy`` arrays and one ``demos.json``, memory-mapped on reading.

::

    FOLDER/  demos.json         format "unbraid-demos", version, what arrays there are, names of columns, facts
             observations.npy   and the other arrays of `unbraid.demos.arrays`, one file each
             labels.npy         who acted, and labels.json with the experts' names: kept apart, so that removing
             labels.json        these two leaves the same demonstrations without labels

The version is raised when an older unbraid would misread a newer store; a new optional file does not raise it.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_folder, read_json, write_json
from unbraid.demos.arrays import OPTIONAL_ARRAYS, REQUIRED_ARRAYS, arrays_of, demos_from_arrays, names_from
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import open_npy
from unbraid.demos.formats.format import Format
from unbraid.demos.parts import parts_of

__all__ = [
    "FORMAT",
    "STORE_FORMAT",
    "STORE_VERSION",
    "read_store",
    "recognise_store",
    "save_demos",
    "write_store_parts",
]

STORE_FORMAT = "unbraid-demos"
STORE_VERSION = 1

_MAPPED = ("observations", "actions", "rewards", "costs")
_BOUNDS = ("action_low", "action_high")
_CHUNK_ROWS = 65536
_REMEDY = "Restore it from a copy, or write the demonstrations again."


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
    return write_store_parts(iter([demos]), Path(path))


def write_store_parts(parts: Iterator[Demos], path: Path) -> Path:
    """`save_demos` of parts of whole episodes with the same fields, of which one at a time is in memory.

    Raises:
        DataError: there are no parts, or what `save_demos` raises.
        RunError, StorageError: as `save_demos`.
    """
    with new_folder(path) as folder, contextlib.ExitStack() as opened:
        first, n_episodes, n_steps = next(parts, None), 0, 0
        if first is None:
            raise DataError(f"{path} must get at least one episode; there is none. Give demonstrations that hold some.")
        _require_json(first.facts)
        growing: dict[str, _GrowingArray] = {}
        for part in itertools.chain([first], parts):
            n_episodes, n_steps = n_episodes + part.n_episodes, n_steps + part.n_steps
            for name, values in arrays_of(part).items():
                if name not in growing:
                    growing[name] = opened.enter_context(_GrowingArray(folder / f"{name}.npy", values))
                if part is first or name not in _BOUNDS:
                    growing[name].append(values)
        shapes = {n: {"dtype": a.dtype.name, "shape": list(a.shape)} for n, a in growing.items() if n != "labels"}
        opened.close()
        if first.label_names:
            write_json(folder / "labels.json", {"label_names": list(first.label_names)})
        index: dict[str, Any] = {"format": STORE_FORMAT, "version": STORE_VERSION}
        index |= {"n_episodes": n_episodes, "n_steps": n_steps, "arrays": shapes}
        index |= {"observation_names": list(first.observation_names), "facts": first.facts}
        write_json(folder / "demos.json", index)
    return path


def recognise_store(path: Path) -> str | None:
    """What shows a store: its `demos.json`."""
    return "it holds demos.json" if (path / "demos.json").is_file() else None


def read_store(path: Path, *, in_memory: bool = False) -> Demos:
    """Demonstrations from a store, memory-mapped: opening it reads the headers, not the rows.

    Args:
        path: the folder.
        in_memory: read the arrays into memory instead of mapping them.

    Raises:
        DataError: damaged, of another program or of a newer version; the message names file and field.
    """
    if not (path / "demos.json").is_file():
        raise DataError(
            f"{path} must be a store written by unbraid, with a demos.json; there is none. Give the folder that "
            "holds demos.json, or write one with `save_demos`."
        )
    index = _read_index(path / "demos.json")
    arrays: dict[str, np.ndarray] = {}
    for name in (*REQUIRED_ARRAYS, *OPTIONAL_ARRAYS):
        if name in index["arrays"]:
            values = open_npy(path / f"{name}.npy", _REMEDY)
            _require_as_written(values, index["arrays"][name], path / f"{name}.npy")
            arrays[name] = values if name in _MAPPED and not in_memory else np.array(values)
    label_names: tuple[str, ...] = ()
    if (path / "labels.npy").exists() or (path / "labels.json").exists():
        label_names = _read_label_names(path / "labels.json")
        if (path / "labels.npy").exists():
            arrays["labels"] = np.array(open_npy(path / "labels.npy", _REMEDY))
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


def _require_as_written(values: np.ndarray, entry: object, path: Path) -> None:
    wanted = entry if isinstance(entry, dict) else {}
    if list(values.shape) != wanted.get("shape") or values.dtype.name != wanted.get("dtype"):
        raise DataError(
            f"{path} must be as demos.json lists it, shape {wanted.get('shape')} of {wanted.get('dtype')}; got shape "
            f"{list(values.shape)} of {values.dtype.name}. Write the demonstrations again with `save_demos`."
        )


@final
class _GrowingArray:
    """One ``.npy`` file that grows by rows, chunk by chunk in C order, so that nothing of it has to fit in memory.

    NumPy pads its headers so that one with more rows is as long; the header is put right at the end."""

    def __init__(self, path: Path, like: np.ndarray) -> None:
        self.dtype, self.shape = like.dtype.newbyteorder("<"), (0, *like.shape[1:])
        self._file = open(path, "wb")  # noqa: SIM115, closed by __exit__
        self._header()

    def __enter__(self) -> "_GrowingArray":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._file as file:
            file.seek(0)
            self._header()
            file.flush()
            os.fsync(file.fileno())

    def _header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self._file, header)

    def append(self, values: np.ndarray) -> None:
        for start in range(0, len(values), _CHUNK_ROWS):
            chunk = values[start : start + _CHUNK_ROWS]
            self._file.write(np.ascontiguousarray(chunk, dtype=self.dtype).tobytes())
        self.shape = (self.shape[0] + len(values), *self.shape[1:])


def _require_json(facts: dict[str, Any]) -> None:
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"`facts` must be JSON values; {error}. Keep to text, finite numbers, lists, dicts.") from None


FORMAT = Format(
    name="store",
    title="a store written by unbraid",
    endings=(),
    options=frozenset(),
    recognise=recognise_store,
    read=lambda path, _: read_store(path),
    write=save_demos,
    read_parts=lambda path, _, n_steps: parts_of(read_store(path), n_steps),
    write_parts=write_store_parts,
)
