"""NumPy archives of others: what is in them, and their arrays, never unpickled."""

import zipfile
import zlib
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from unbraid.core.errors import DataError

__all__ = [
    "ALIASES",
    "archive_arrays",
    "keys_of",
    "named",
    "naming_damage",
    "observations_of",
    "open_npy",
    "require_keys",
    "require_tables",
    "said_unread",
]

_REMEDY = "Restore it from a copy, or write it again."

ALIASES: Mapping[str, tuple[str, ...]] = {
    "observations": ("observations", "observation", "obs", "states", "state", "data/obs", "data/state"),
    "actions": ("actions", "action", "act", "data/action"),
    "rewards": ("rewards", "reward", "rew"),
    "costs": ("costs", "cost"),
    "lengths": ("lengths", "ep_len", "episode_lengths"),
    "episode_ends": ("episode_ends", "meta/episode_ends"),
    "terminated": ("terminated",),
    "seeds": ("seeds", "seed"),
    "labels": ("labels", "label"),
}
"""What others call our arrays; the first that is there counts."""


def named(keys: Collection[str], field: str) -> str | None:
    """The key that holds a field, by one of its `ALIASES`, or None."""
    return next((name for name in ALIASES.get(field, (field,)) if name in keys), None)


def keys_of(path: Path) -> tuple[str, ...] | None:
    """The names of an archive's arrays, or of the .npy files of a folder, unread; None where the file is no archive."""
    try:
        if path.is_dir():
            return tuple(sorted(file.stem for file in path.glob("*.npy")))
        if not path.is_file() or not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return None
    return tuple(name.removesuffix(".npy") for name in names) if all(n.endswith(".npy") for n in names) else None


def archive_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an archive, or of the .npy files of a folder, that are wanted, or all, in their order.

    Raises:
        DataError: missing, truncated or no archive; an array of Python objects.
    """
    if path.is_dir():
        names = [name for name in keys_of(path) or () if wanted is None or name in wanted]
        return {name: np.array(open_npy(path / f"{name}.npy")) for name in names}
    arrays: dict[str, np.ndarray] = {}
    with naming_damage(path), open(path, "rb") as file:  # opened here, as np.load leaves a damaged file open
        archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path} must be an .npz archive; it is a single array. Write it with `numpy.savez`.")
        for name in archive.files:
            if wanted is None or name in wanted:
                with naming_damage(path, name):
                    arrays[name] = archive[name]
    return arrays


def said_unread(keys: Collection[str], read: Collection[str]) -> tuple[str, ...]:
    """A sentence that names the arrays that are not read, for `facts["left_out"]`; none where all are read."""
    unread = [key for key in keys if key not in read]
    return (f"These arrays are not read: {', '.join(unread)}.",) if unread else ()


@contextmanager
def naming_damage(path: Path, name: str = "?") -> Generator[None]:
    """Turns what is raised where an archive is read into a `DataError` that says what is wrong with it.

    Args:
        path: the archive.
        name: the array that is read.
    """
    try:
        yield
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


def open_npy(path: Path, remedy: str = _REMEDY) -> np.ndarray:
    """An ``.npy`` file, memory-mapped and read-only; never unpickled.

    Raises:
        DataError: missing, truncated, longer than its array, or of Python objects.
    """
    try:
        values = np.lib.format.open_memmap(path, mode="r")
        n_bytes, n_held = path.stat().st_size, values.offset + values.nbytes
    except FileNotFoundError:
        raise DataError(f"{path} must exist; there is no such file. {remedy}") from None
    except (ValueError, EOFError) as error:
        if "Python objects" in str(error):
            raise DataError(f"{path} must hold numbers; it holds Python objects, which are never read.") from None
        raise DataError(f"{path} must be a whole .npy array; it is truncated or damaged ({error}). {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} must be readable; the system said: {error.strerror}. {remedy}") from error
    if n_bytes != n_held:
        raise DataError(
            f"{path} must hold one array and nothing behind it, {n_held} bytes by its header; it has {n_bytes}. "
            f"{remedy}"
        )
    return values


def require_keys(asked: Collection[str], keys: Collection[str], source: Path) -> None:
    """Raises `DataError` where a key that was asked for is not among those that are there."""
    for key in asked:
        if key not in keys:
            held = ", ".join(keys) or "nothing"
            raise DataError(f"{source} must hold `{key}`, which was asked for; it holds {held}. Choose among these.")


def observations_of(
    arrays: Mapping[str, np.ndarray], keys: tuple[str, ...], source: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The chosen tables side by side, and a name for every column: ``key`` where it has one column, else ``key_0``, ...

    Args:
        arrays: tables of equally many rows by name; a row of numbers counts as one column.
        keys: which of them, in this order.
        source: the file, for the message.

    Raises:
        DataError: a key is missing, holds images or no numbers, or has other rows than the first.
    """
    require_tables(arrays, keys, source)
    tables: list[np.ndarray] = []
    names: list[str] = []
    for key in keys:
        values = arrays[key]
        table = values[:, None] if values.ndim == 1 else values
        tables.append(table if table.dtype.kind == "f" else table.astype(np.float64))
        names += [key] if table.shape[1] == 1 else [f"{key}_{i}" for i in range(table.shape[1])]
    return (tables[0] if len(tables) == 1 else np.concatenate(tables, axis=1)), tuple(names)


def require_tables(arrays: Mapping[str, np.ndarray], keys: tuple[str, ...], source: Path) -> None:
    """Raises the `DataError` of `observations_of` where tables can't be observed, by their shapes and types alone."""
    require_keys(keys, arrays, source)
    for key in keys:
        values = arrays[key]
        if values.ndim not in (1, 2) or values.dtype.kind not in "fiub":
            what = "images or other tables with more axes" if values.dtype.kind in "fiub" else "no numbers"
            raise DataError(
                f"`{key}` of {source} must be a table (row, column) of numbers to be observed; it holds {what}, shape "
                f"{values.shape} of {values.dtype}. Leave it out, or reduce it to a vector first."
            )
        if len(values) != len(arrays[keys[0]]):
            raise DataError(
                f"`{key}` of {source} must have as many rows as `{keys[0]}`, {len(arrays[keys[0]])}; it has "
                f"{len(values)}. Choose tables that belong together."
            )
