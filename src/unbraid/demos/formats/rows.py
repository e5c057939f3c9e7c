"""Arrays of NumPy's files and archives, a few rows at a time: none of them has to be in memory as a whole.

Archives are written as `numpy.savez` writes them, byte for byte, but for arrays in Fortran order, which become C order.
"""

import zipfile
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, final

import numpy as np

from unbraid.core.errors import DataError
from unbraid.core.runs import new_file
from unbraid.demos.formats.archive import archive_arrays, naming_damage, open_npy
from unbraid.demos.formats.format import PART_STEPS

__all__ = ["Chunked", "Rows", "chunked", "opened_rows", "write_archive", "write_npy"]

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_READ_BYTES = 2**20


@final
class Rows:
    """An array of an archive, whose rows are read one after another: `opened_rows` gives them.

    Attributes:
        like: (row, ...) an array of its shape and type that takes no memory; its numbers mean nothing.
    """

    def __init__(
        self, place: tuple[Path, str], like: np.ndarray, source: IO[bytes] | BufferedIOBase | np.ndarray
    ) -> None:
        """Args:
        place: the archive, and what it calls the array.
        like: see above.
        source: the file, behind its header; or the array, where its rows do not follow one another there.
        """
        self.like, self._place, self._source, self._n_read = like, place, source, 0

    def next(self, n_rows: int) -> np.ndarray:
        """(n_rows, ...): the next rows.

        Raises:
            DataError: the archive is damaged there, or ends.
        """
        before, self._n_read = self._n_read, self._n_read + n_rows
        if isinstance(self._source, np.ndarray):
            return self._source[before : self._n_read]
        rows = np.empty((n_rows, *self.like.shape[1:]), dtype=self.like.dtype)
        room, n_filled = rows.reshape(-1).view(np.uint8), 0
        with naming_damage(*self._place):
            while n_filled < len(room):
                piece = self._source.read(min(_READ_BYTES, len(room) - n_filled))
                if not piece:
                    raise EOFError(f"`{self._place[1]}` ends before its last row")
                room[n_filled : n_filled + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
                n_filled += len(piece)
        return rows


@contextmanager
def opened_rows(path: Path, keys: Collection[str]) -> Generator[dict[str, Rows]]:
    """Arrays of an archive, or of the .npy files of a folder, by name, all to be read side by side.

    In Fortran order a row is spread over the whole array: such an array is read at once, as one with a header of
    another version is.

    Args:
        path: the archive, stored or deflated; or the folder, whose arrays are memory-mapped.
        keys: arrays that it holds.

    Raises:
        DataError: truncated or no archive; an array of Python objects, or without rows.
    """
    with ExitStack() as files:
        if path.is_dir():
            mapped = {key: open_npy(path / f"{key}.npy") for key in keys}
            yield {key: _as_rows(path, key, values, values) for key, values in mapped.items()}
            return
        with naming_damage(path):
            archive = files.enter_context(zipfile.ZipFile(path))
        yield {key: _opened(archive, key, path, files) for key in keys}


def _opened(archive: zipfile.ZipFile, key: str, path: Path, files: ExitStack) -> Rows:
    with naming_damage(path, key):
        file = files.enter_context(archive.open(f"{key}.npy"))
        read_header = _HEADERS.get(np.lib.format.read_magic(file))
        shape, by_column, dtype = ((), True, np.dtype(bool)) if read_header is None else read_header(file)
        at_once = by_column or dtype.hasobject
        source = archive_arrays(path, (key,))[key] if at_once else file  # refuses Python objects
        like = source if isinstance(source, np.ndarray) else np.broadcast_to(np.empty((), dtype=dtype), shape)
    return _as_rows(path, key, like, source)


def _as_rows(path: Path, key: str, like: np.ndarray, source: IO[bytes] | BufferedIOBase | np.ndarray) -> Rows:
    if like.ndim == 0:
        raise DataError(f"`{key}` of {path} must have a row for each step; it is a single value. Give all rows.")
    return Rows((path, key), like, source)


@dataclass(frozen=True)
class Chunked:
    """An array that is made a few rows at a time.

    Attributes:
        shape, dtype: those of the whole.
        chunks: its rows, in order.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: Iterable[np.ndarray]


def chunked(values: np.ndarray) -> Chunked:
    """An array that is there, or memory-mapped, some rows at a time."""
    starts = range(0, len(values), PART_STEPS) if values.ndim else ()
    chunks = (values[start : start + PART_STEPS] for start in starts) if values.ndim else (values,)
    return Chunked(values.shape, values.dtype, chunks)


def write_npy(file: IO[bytes] | BufferedIOBase, array: Chunked) -> None:
    """Writes an array into a file that is open, as `numpy.save` does, in C order."""
    header = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    for chunk in array.chunks:
        file.write(chunk.tobytes())


def write_archive(arrays: Mapping[str, Chunked], path: Path) -> Path:
    """Writes an uncompressed archive of arrays by name, whole or not at all.

    Raises:
        RunError: `path` exists already.
        StorageError: the disk refused; nothing is left behind.
    """
    with new_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                write_npy(member, array)
    return path
