"""Writes a store as its episodes come, part after part: never more than one part is in memory.

The arrays grow side by side in a folder under a temporary name, which gets its own name when all is written (the
layout is that of `unbraid.demos.store`).
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Generator, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_folder, taken_path, write_json
from unbraid.demos.arrays import arrays_of
from unbraid.demos.episodes import Demos, require_demos

__all__ = ["MAPPED", "STORE_FORMAT", "STORE_VERSION", "StoreWriter", "new_store", "save_parts"]

STORE_FORMAT = "unbraid-demos"
STORE_VERSION = 1
MAPPED = ("observations", "actions", "rewards", "costs")
"""The large arrays: nobody reads them whole, so that no checksum is kept of them."""

_CHUNK_ROWS = 65536
_OF_ALL = ("action_low", "action_high")
"""Arrays that say something of all episodes: every part repeats them."""


def save_parts(parts: Iterable[Demos], path: str | os.PathLike[str]) -> Path:
    """Writes a store from parts of whole episodes, whole or not at all, and returns its folder.

    Args:
        parts: demonstrations with the same arrays, types, widths, names and facts; at least one. The next is asked for
            when the one before is written.
        path: the folder; must not exist.

    Raises:
        DataError: no parts, parts that don't fit together, or facts that JSON cannot say.
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    with new_store(path) as writer:
        for part in parts:
            writer.append(part)
    return Path(path)


@contextlib.contextmanager
def new_store(path: str | os.PathLike[str]) -> Generator["StoreWriter"]:
    """Gives a writer to append demonstrations to; the folder is there when the block ends well.

    Where it ends with an error nothing is left. Where the program is killed there is no folder of that name, and a
    hidden one beside it that ends in ``.part`` may be removed.

    Args:
        path: the folder; must not exist.

    Raises:
        DataError: nothing was appended.
        RunError: `path` exists already.
        StorageError: the disk refused.
    """
    with new_folder(taken_path(path)) as folder, contextlib.ExitStack() as files:
        writer = StoreWriter(folder, files)
        yield writer
        if writer.n_parts == 0:
            raise DataError(f"{path} must get at least one part; it got none. Append demonstrations to it.")
        writer.finish()


@final
class StoreWriter:
    """A store that is being written: `new_store` gives one, and finishes it.

    Attributes:
        n_parts, n_episodes, n_steps: how much was written so far.
    """

    def __init__(self, folder: Path, files: contextlib.ExitStack) -> None:
        """Args:
        folder: where the arrays grow.
        files: closes them.
        """
        self.n_parts = self.n_episodes = self.n_steps = 0
        self._folder, self._files = folder, files
        self._form: Demos | None = None
        self._arrays: dict[str, _GrowingArray] = {}

    def append(self, part: Demos) -> None:
        """Writes some more episodes, behind those that are there.

        Args:
            part: whole episodes with the arrays, types, widths, names and facts of the first part; may be
                memory-mapped, and of any size.

        Raises:
            DataError: it is no `Demos`, it does not fit the first part, or `facts` holds what JSON cannot say.
            StorageError: the disk refused.
        """
        require_demos(part)
        if self._form is None:
            _require_json(part.facts)
            self._form = part.select([])  # a first part that is kept would be a second one in memory
            for name, values in arrays_of(part).items():
                file = self._files.enter_context(open(self._folder / f"{name}.npy", "wb"))  # noqa: SIM115
                self._arrays[name] = _GrowingArray(file, values, summed=name not in MAPPED)
        else:
            _require_alike(self._form, part, self.n_episodes)
        for name, values in arrays_of(part).items():
            if name not in _OF_ALL or self.n_parts == 0:
                self._arrays[name].append(values)
        self.n_parts += 1
        self.n_episodes, self.n_steps = self.n_episodes + part.n_episodes, self.n_steps + part.n_steps

    def finish(self) -> None:
        """Writes what is known only now: how long the arrays are, and the index."""
        assert self._form is not None
        for array in self._arrays.values():
            array.finish()
        if self._form.label_names:
            about: dict[str, Any] = {"label_names": list(self._form.label_names)}
            if "labels" in self._arrays:
                about["sha256"] = self._arrays["labels"].entry()["sha256"]
            write_json(self._folder / "labels.json", about)
        index = {
            "format": STORE_FORMAT,
            "version": STORE_VERSION,
            "n_episodes": self.n_episodes,
            "n_steps": self.n_steps,
            "arrays": {name: array.entry() for name, array in self._arrays.items() if name != "labels"},
            "observation_names": list(self._form.observation_names),
            "facts": self._form.facts,
        }
        write_json(self._folder / "demos.json", index)


@final
class _GrowingArray:
    """One ``.npy`` file that grows along its first axis, in C order; its header says at the end how long it is."""

    def __init__(self, file: BinaryIO, like: np.ndarray, *, summed: bool) -> None:
        self._file, self._dtype, self._row, self.n_rows = file, like.dtype.newbyteorder("<"), like.shape[1:], 0
        self._sum = hashlib.sha256() if summed else None
        self._file.write(self._header())

    def append(self, values: np.ndarray) -> None:
        """Chunk by chunk, so that a memory-mapped array never has to fit in memory."""
        for start in range(0, len(values), _CHUNK_ROWS):
            chunk = np.ascontiguousarray(values[start : start + _CHUNK_ROWS], dtype=self._dtype)
            self._file.write(chunk.tobytes())
            if self._sum is not None:
                self._sum.update(chunk.tobytes())
        self.n_rows += len(values)

    def finish(self) -> None:
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        os.fsync(self._file.fileno())

    def entry(self) -> dict[str, Any]:
        """What the index says of it."""
        entry = {"dtype": self._dtype.name, "shape": [self.n_rows, *self._row]}
        return entry if self._sum is None else entry | {"sha256": self._sum.hexdigest()}

    def _header(self) -> bytes:
        """As long for any number of rows: numpy leaves room in it for the first axis to grow."""
        file, descr = BytesIO(), np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.n_rows, *self._row)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.getvalue()


def _require_alike(first: Demos, part: Demos, n_before: int) -> None:
    """Raises `DataError` where a part has not the form of the first, which `n_before` episodes had."""
    kinds = [
        {name: (v.dtype.name, v.shape[1:]) for name, v in arrays_of(demos).items() if name not in _OF_ALL}
        for demos in (first, part)
    ]
    differ = [name for name in {**kinds[0], **kinds[1]} if kinds[0].get(name) != kinds[1].get(name)]
    for name in ("label_names", "observation_names", "facts"):
        if getattr(first, name) != getattr(part, name):
            differ.append(name)
    for name in _OF_ALL:
        ours, theirs = getattr(first, name), getattr(part, name)
        if (ours is None) != (theirs is None) or (ours is not None and not np.array_equal(ours, theirs)):
            differ.append(name)
    if differ:
        name = differ[0]
        came = [kinds[i].get(name, getattr(demos, name)) for i, demos in enumerate((first, part))]
        raise DataError(
            f"`{name}` must be alike in all parts; from episode {n_before} on it is {came[1]!r:.80}, and "
            f"before {came[0]!r:.80}. Bring the sources to one form first, or write each by itself."
        )


def _require_json(facts: dict[str, Any]) -> None:
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"`facts` must be JSON values; {error}. Keep to text, finite numbers, lists, dicts.") from None
