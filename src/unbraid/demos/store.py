"""The store: a folder of ``.npy`` arrays and one ``demos.json``, memory-mapped on reading.

::

    FOLDER/  demos.json         format "unbraid-demos", version, what arrays there are, names of columns, facts
             observations.npy   and the other arrays of `unbraid.demos.arrays`, one file each
             labels.npy         who acted, and labels.json with the experts' names: kept apart, so that removing
             labels.json        these two leaves the same demonstrations without labels

With each of the small arrays, which are read at once, stands the sha256 of its numbers; of the large ones the size
alone is looked at. Stores from before have no sha256, and are read without.

The version is raised when an older unbraid would misread a newer store; a new optional file does not raise it.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import read_json, refuse_existing, saying_what_the_disk_refused
from unbraid.demos.arrays import OPTIONAL_ARRAYS, REQUIRED_ARRAYS, demos_from_arrays, names_from
from unbraid.demos.episodes import Demos
from unbraid.demos.formats.archive import open_npy
from unbraid.demos.formats.format import Format
from unbraid.demos.parts import parts_of
from unbraid.demos.writing import MAPPED, STORE_FORMAT, STORE_VERSION, StoreWriter, save_parts

__all__ = [
    "FORMAT",
    "read_store",
    "recognise_store",
    "save_demos",
    "write_spooled",
]

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
    return save_parts([demos], path)


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
            arrays[name] = values if name in MAPPED and not in_memory else np.array(values)
    label_names: tuple[str, ...] = ()
    if (path / "labels.npy").exists() or (path / "labels.json").exists():
        label_names, known = _read_about_labels(path / "labels.json")
        if (path / "labels.npy").exists():
            arrays["labels"] = np.array(open_npy(path / "labels.npy", _REMEDY))
            _require_sum(arrays["labels"], known, path / "labels.npy", "labels.json")
    return demos_from_arrays(
        arrays,
        source=path,
        label_names=label_names,
        observation_names=names_from(index.get("observation_names", []), "observation_names", path / "demos.json"),
        facts=index.get("facts", {}),
    )


def write_spooled(write: Callable[[Demos, Path], Path], parts: Iterator[Demos], path: Path) -> Path:
    """Writes parts of whole episodes by a writer that must know from the start how many steps will come.

    They are kept in a store under a temporary name beside `path`, and mapped from there; it is gone afterwards. (A kill
    leaves a hidden folder that ends in ``.part`` and may be removed.)

    Args:
        write: (demos, path) -> path; takes memory-mapped demonstrations, and never reads all of them at once.
        parts: demonstrations with the same arrays, types, widths, names and facts; at least one.
        path: what is written.

    Raises:
        DataError: no parts, parts that don't fit together, or facts that JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    refuse_existing(path)
    with saying_what_the_disk_refused(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".part") as folder:
            with ExitStack() as files:
                writer = StoreWriter(Path(folder), files)
                for part in parts:
                    writer.append(part)
                if writer.n_parts == 0:
                    raise DataError("Demonstrations must hold at least one episode; got none. Record or select some.")
                writer.finish()
            return write(read_store(Path(folder)), path)


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


def _read_about_labels(path: Path) -> tuple[tuple[str, ...], object]:
    """The experts' names, and the sha256 of their numbers or None."""
    remedy = "Restore it, or remove labels.npy too to have the demonstrations without labels."
    about = read_json(path, error=DataError, remedy=remedy)
    known = about.get("sha256") if isinstance(about, dict) else None
    return names_from(about.get("label_names") if isinstance(about, dict) else about, "label_names", path), known


def _require_as_written(values: np.ndarray, entry: object, path: Path) -> None:
    wanted = entry if isinstance(entry, dict) else {}
    if list(values.shape) != wanted.get("shape") or values.dtype.name != wanted.get("dtype"):
        raise DataError(
            f"{path} must be as demos.json lists it, shape {wanted.get('shape')} of {wanted.get('dtype')}; got shape "
            f"{list(values.shape)} of {values.dtype.name}. Write the demonstrations again with `save_demos`."
        )
    _require_sum(values, wanted.get("sha256"), path, "demos.json")


def _require_sum(values: np.ndarray, known: object, path: Path, index: str) -> None:
    """Raises `DataError` where the numbers are not those that were written; stores from before do not say."""
    if known is not None and hashlib.sha256(values.tobytes()).hexdigest() != known:
        raise DataError(
            f"{path} must hold the numbers that were written, whose sha256 {index} keeps; it holds others. {_REMEDY}"
        )


FORMAT = Format(
    name="store",
    title="a store written by unbraid",
    endings=(),
    options=frozenset(),
    recognise=recognise_store,
    read=lambda path, _: read_store(path),
    write=save_demos,
    read_parts=lambda path, _, n_steps: parts_of(read_store(path), n_steps),
    write_parts=save_parts,
)
