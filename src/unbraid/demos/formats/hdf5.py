"""HDF5 files: others' are opened so that a damaged one, or one with Python objects, is told in our words; ours are
written so that a full disk is.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int

from unbraid.core.errors import DataError
from unbraid.demos.episodes import Demos

__all__ = [
    "appended",
    "is_hdf5",
    "names_in",
    "new_hdf5",
    "opened_hdf5",
    "read_rows",
    "read_text",
    "require_following",
    "require_steps",
]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DAMAGE = (OSError, RuntimeError, KeyError)


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


@contextmanager
def opened_hdf5(path: Path) -> Generator[Any]:
    """The open file, to be read.

    Raises:
        DataError: missing, truncated, or no HDF5; or another program has it open to write.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"{path} must exist; there is no such file. Check the path.")
    try:
        file = h5py.File(path, "r")
    except (BlockingIOError, PermissionError) as error:
        why = "another program writes it" if isinstance(error, BlockingIOError) else "it may not be read"
        raise DataError(f"{path} must be there to be read; {why}. Close it there, or read a copy.") from None
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    with file:
        yield file


@contextmanager
def new_hdf5(path: Path, **settings: Any) -> Generator[tuple[Any, Callable[[], None]]]:
    """Gives an open file, to be written, and what to call now and then: it raises the `OSError` of a disk that refused.

    HDF5 must not hear of that: what it could not write it cannot let go of, and the process ends with a crash.

    Args:
        path: an empty file, or none.
        settings: of `h5py.File`.

    Raises:
        OSError: the disk refused.
    """
    import h5py

    with _Disk(path, "w+") as disk:
        with h5py.File(disk, "w", **settings) as file:
            yield file, disk.require_written
        disk.require_written()


@final
class _Disk(FileIO):
    """A file that takes whatever is written to it: what the disk refuses stands in memory, from then on."""

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._refusal: BaseException | None = None
        self._kept: list[tuple[int, bytes]] = []

    def require_written(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def write(self, data: Any, /) -> int:
        start, left = self.tell(), memoryview(data).cast("B")
        if self._refusal is None:
            try:
                while left:  # a disk that is nearly full takes a part
                    left = left[super().write(left) :]
                return len(data)
            except BaseException as refusal:  # Ctrl-C, too, which comes again when all is closed
                self._refusal = refusal
        self._kept.append((start, bytes(data)))
        self.seek(start + len(data))
        return len(data)

    def readinto(self, buffer: Any, /) -> int:
        start, view = self.tell(), memoryview(buffer).cast("B")
        super().readinto(view)
        for first, data in self._kept:
            low, high = max(first, start), min(first + len(data), start + len(view))
            if low < high:
                view[low - start : high - start] = data[low - first : high - first]
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        try:
            return super().truncate(size)
        except OSError as refusal:
            self._refusal = self._refusal or refusal
            return size or 0


def read_rows(node: Any, path: Path, rows: slice | None = None) -> np.ndarray:
    """The rows of a data set, or all of it.

    Raises:
        DataError: the file is damaged there.
    """
    try:
        return np.asarray(node[()] if rows is None else node[rows])
    except _DAMAGE as error:
        raise _damaged(path, error) from None


def names_in(file: Any, path: Path) -> list[str]:
    """What an open file holds that is not ours, at its top level and in the groups there.

    Raises:
        DataError: the file is damaged there.
    """
    import h5py

    names: list[str] = []
    try:
        for name in file:
            if name != "unbraid":
                is_group = file.get(name, getclass=True) is h5py.Group
                names += [f"{name}/{child}" for child in file[name]] if is_group else [name]
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return names


def read_text(node: Any, path: Path) -> bytes:
    """A text that is kept as a row of bytes, as `appended` keeps it; "{}" where there is none."""
    return b"{}" if node is None else bytes(read_rows(node, path).astype(np.uint8))


def _damaged(path: Path, error: BaseException) -> DataError:
    remedy = "Restore it from a copy, or write it again."
    return DataError(f"{path} must be a whole HDF5 file; it is truncated or damaged ({error}). {remedy}")


def appended(group: Any, name: str, values: np.ndarray) -> None:
    """Puts rows behind a data set, which is made where it is not there."""
    if name not in group:
        group.create_dataset(name, data=values, maxshape=(None, *values.shape[1:]), chunks=True)
        return
    table = group[name]
    table.resize(len(table) + len(values), axis=0)
    table[len(table) - len(values) :] = values


def require_following(
    observations: Float[np.ndarray, "step obs"],
    following: Float[np.ndarray, "step obs"],
    lengths: Int[np.ndarray, "episode"],
    *,
    path: Path,
    first: int,
    names: tuple[str, str] = ("observations", "next_observations"),
) -> None:
    """Within an episode, the next observation of a step must be the observation of the next: else rows are shifted.

    Args:
        observations, following: what was seen before and after each step, episode after episode.
        lengths: (episode,) the steps of each.
        path: the file, for the message.
        first: the number of the first of these episodes in the file.
        names: how the file calls the two.

    Raises:
        DataError: they differ.
    """
    if len(observations) == 0:
        return
    ends = np.cumsum(lengths)
    within = np.ones(len(observations) - 1, dtype=bool)
    within[ends[:-1] - 1] = False
    close = np.isclose(following[:-1], observations[1:], rtol=1e-4, atol=1e-6, equal_nan=True)
    astray = np.flatnonzero(within & ~np.all(close, axis=1))
    if len(astray):
        step = int(astray[0])
        episode = int(np.searchsorted(ends, step, side="right"))
        start = int(ends[episode - 1]) if episode else 0
        raise DataError(
            f"Episode {first + episode} of {path} must go on where it was: `{names[1]}` of its step {step - start} "
            f"must be `{names[0]}` of step {step - start + 1}; they differ. The rows are shifted, or an end is not "
            "marked; repair the file."
        )


def require_steps(demos: Demos, title: str) -> None:
    """Raises `DataError` where an episode has no steps: a format of steps has no row to keep its observation in."""
    if (demos.lengths == 0).any():
        raise DataError(
            f"Every episode must have a step to be written as {title}; episode "
            f"{int((demos.lengths == 0).argmax())} has none. Leave it out with `select`."
        )
