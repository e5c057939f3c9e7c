"""Which format a file or folder has, by what is in it, and which one a target asks for."""

import importlib
from functools import cache
from pathlib import Path

from unbraid.core.errors import ConfigError, DataError
from unbraid.core.runs import kind_of_folder
from unbraid.demos.formats.archive import archive_arrays, keys_of
from unbraid.demos.formats.format import Format
from unbraid.demos.formats.hdf5 import is_hdf5, opened_hdf5

__all__ = ["format_for", "format_named", "formats", "located", "recognised"]

# In the order in which they are asked: the first that recognises a file reads it.
_MODULES = (
    "unbraid.demos.store",
    "unbraid.demos.recording",
    "unbraid.demos.formats.robomimic",
    "unbraid.demos.formats.minari",
    "unbraid.demos.formats.minari_arrow",
    "unbraid.demos.formats.d4rl",
    "unbraid.demos.formats.lerobot",
    "unbraid.demos.formats.ogbench",
    "unbraid.demos.formats.npz",
    "unbraid.demos.formats.padded",
    "unbraid.demos.formats.per_episode",
    "unbraid.demos.formats.tables",
)


@cache
def formats() -> tuple[Format, ...]:
    """All formats, in the order in which they are asked whether a file is theirs."""
    return tuple(importlib.import_module(name).FORMAT for name in _MODULES)


def format_named(name: str) -> Format:
    """The format of this name.

    Raises:
        ConfigError: there is none.
    """
    for format_ in formats():
        if format_.name == name:
            return format_
    names = ", ".join(format_.name for format_ in formats())
    raise ConfigError(f"A format must be one of {names}; got {name!r}. Choose one of them.")


def format_for(target: Path, name: str | None) -> Format:
    """The format that a target is written in: the one that is named, or the one its ending means, or a store's folder.

    Raises:
        ConfigError: there is no such format, it is only read, or the ending means none.
    """
    if name is not None:
        format_ = format_named(name)
    elif not target.suffix:
        format_ = format_named("store")
    else:
        meant = [f for f in formats() if target.suffix.lower() in f.endings]
        if not meant:
            raise ConfigError(
                f"The ending of {target} must say which format is meant; {target.suffix!r} says none. Name it with "
                f"--to, one of {', '.join(f.name for f in formats() if f.write is not None)}."
            )
        format_ = meant[0]
    if format_.write is None:
        raise ConfigError(
            f"{target} must be in a format that can be written; {format_.title} is only read. Choose another with --to."
        )
    return format_


def located(source: str) -> tuple[Path, Format | None]:
    """Where a source is: a path as it stands; or, for an id such as ``minari:NAME``, what the format finds by it.

    Raises:
        DataError: there is nothing of that name.
    """
    path = Path(source)
    if path.exists():
        return path, None
    prefix, _, rest = source.partition(":")
    for format_ in formats():
        wanted = rest if prefix == format_.name else source
        found = None if format_.locate is None else format_.locate(wanted)
        if found is not None:
            return found, format_
        if prefix == format_.name and format_.looked_in is not None:
            folder, remedy = format_.looked_in()
            raise DataError(f"{source} must name a set that is here; there is no {rest!r} in {folder}. {remedy}")
    raise DataError(f"{path} must exist; there is nothing there. Check the path, or record with `unbraid collect`.")


def recognised(path: Path) -> tuple[Format, str]:
    """The format of what is at `path`, and what in its content showed it.

    Raises:
        DataError: no format recognises it.
    """
    for format_ in formats():
        why = format_.recognise(path)
        if why is not None:
            return format_, why
    names = ", ".join(format_.name for format_ in formats())
    remedy = kind_of_folder(path, wanted="demonstrations") or (
        "Rename what it holds (docs/formats.md says what each format is known by), or make a store of it with "
        "`save_demos`."
    )
    raise DataError(
        f"{path} must be demonstrations in a format that is read here ({names}); {_what_is_there(path)}. {remedy}"
    )


def _what_is_there(path: Path) -> str:
    """What an unknown file or folder holds, as far as a look can tell."""
    if path.is_dir():
        if any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json")):
            return "it is a zarr store, which is not read: put its arrays in an .npz, with `numpy.savez`"
        return f"the folder holds {_some(sorted(child.name for child in path.iterdir()))}"
    if is_hdf5(path) or path.suffix.lower() in (".hdf5", ".h5", ".hdf"):
        with opened_hdf5(path) as file:  # says so where it is damaged
            return f"the HDF5 file holds {_some(sorted(file.keys()))}"
    if keys_of(path) is not None or path.suffix.lower() == ".npz":
        return f"the archive holds {_some(list(archive_arrays(path, ())) or list(keys_of(path) or ()))}"
    if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth"):
        return "a pickle is never read: put its arrays in an .npz, with `numpy.savez`"
    line = _first_line(path) if path.suffix.lower() in (".csv", ".tsv") else ""
    if line is None:
        return "it is no text in UTF-8, as a table must be: save it so"
    if line:
        return f"the first line of the table, {line!r:.60}, must name columns parted by commas: save it so, as .csv"
    return f"got a file of another kind, or a damaged one, that ends in {path.suffix!r}"


def _first_line(path: Path) -> str | None:
    """The first line of a text; None where it is no text in UTF-8, nothing where it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readline().strip()
    except UnicodeDecodeError:
        return None
    except OSError:
        return ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
